/* The catalog, and capsule calls as the seed has them (capsule-node-spec.md §5). */
#include "base/err.h"
#include "capsules/doors.h"
#include "server/idem.h"
#include "server/routes.h"
#include "server/runview.h"
#include "server/wait.h"

#include <string.h>

/* ---- catalog ---- */

/* Takes items. */
static void reply_items(struct tl_req *req, int err, json_t *items)
{
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_json(req, 200, json_pack("{s:o,s:n}", "items", items, "next_cursor"));
}

static void reply_one(struct tl_req *req, int err, json_t *takes)
{
    if (err < 0)
        tl_reply_err(req, err == TL_EINVAL ? TL_ENOTFOUND : err, NULL);
    else
        tl_reply_json(req, 200, takes);
}

static void list_capsules(struct tl_req *req)
{
    json_t *items = NULL;
    int err = tl_cat_capsules(req->srv->conf.catalog, req->claims.org, req->admin, &items);
    reply_items(req, err, items);
}

static void get_capsule(struct tl_req *req)
{
    json_t *spec = NULL;
    int err = tl_cat_capsule(req->srv->conf.catalog, req->claims.org, req->params[0], req->params[1], req->admin, &spec);
    reply_one(req, err, spec);
}

static void list_node_types(struct tl_req *req)
{
    json_t *items = NULL;
    int err = tl_cat_node_types(req->srv->conf.catalog, req->claims.org, req->admin, &items);
    reply_items(req, err, items);
}

static void list_templates(struct tl_req *req)
{
    json_t *items = NULL;
    int err = tl_cat_templates(req->srv->conf.catalog, &items);
    reply_items(req, err, items);
}

static void get_template(struct tl_req *req)
{
    json_t *one = NULL;
    int err = tl_cat_template(req->srv->conf.catalog, req->params[0], &one);
    reply_one(req, err, one);
}

/* ---- templates become canvases ---- */

static json_t *find_node(const json_t *graph, const char *id, size_t len)
{
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(graph, "nodes"), i, node)
    {
        const char *is = tl_json_str(node, "id");
        if (is && strlen(is) == len && memcmp(is, id, len) == 0)
            return node;
    }
    return NULL;
}

/* The object at key of obj, made where there is none. Borrowed. */
static json_t *object_at(json_t *obj, const char *key)
{
    json_t *j = json_object_get(obj, key);
    if (!json_is_object(j)) {
        json_object_set_new(obj, key, json_object());
        j = json_object_get(obj, key);
    }
    return j;
}

/* Puts "node.param": value into the nodes' data. */
static void fill(json_t *graph, const json_t *inputs, struct tl_diag *diag)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)inputs, key, value)
    {
        const char *dot = strrchr(key, '.');
        json_t *node = dot ? find_node(graph, key, (size_t)(dot - key)) : NULL;
        if (!node) {
            tl_diag_add(diag, NULL, NULL, "$.inputs", "\"%s\" does not name a node of the template and its parameter (node.param)", key);
            continue;
        }
        json_object_set(object_at(object_at(node, "data"), "params"), dot + 1, value);
    }
}

/* A title is text, or text by language. */
static const char *title_of(const json_t *template)
{
    const char *title = tl_json_str(template, "title");
    return title ? title : tl_json_str(json_object_get(template, "title"), "en");
}

static void instantiate(struct tl_req *req)
{
    static const char *const keys[] = {"name", "inputs", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    TL_AUTO_JSON json_t *body = NULL, *template = NULL, *graph = NULL;
    int err = tl_cat_template(req->srv->conf.catalog, req->params[0], &template);
    if (err < 0) {
        reply_one(req, err, NULL);
        return;
    }
    err = tl_req_json(req, true, &body, &diag);
    const json_t *name = json_object_get(body, "name"), *inputs = json_object_get(body, "inputs");
    if (!err) {
        tl_json_only_keys(body, keys, NULL, "$", &diag);
        if (name && (!json_is_string(name) || json_string_length(name) > 200))
            tl_diag_add(&diag, NULL, NULL, "$.name", "must be text of at most 200 bytes");
        if (inputs && !json_is_object(inputs))
            tl_diag_add(&diag, NULL, NULL, "$.inputs", "must be an object");
        graph = json_deep_copy(json_object_get(template, "graph"));
        fill(graph, inputs, &diag);
        err = graph ? 0 : TL_ENOMEM;
    }
    if (!err && tl_diag_any(&diag))
        err = TL_EINVAL;
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    else
        tl_canvas_create(req, name ? json_string_value(name) : title_of(template), graph);
}

/* ---- calls ---- */

static void reply_wait(struct tl_req *req, const struct tl_id *run)
{
    tl_wait_run(req, run, tl_runview_reply_call);
}

static void call(struct tl_req *req)
{
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_server *srv = req->srv;
    TL_AUTO_JSON json_t *body = NULL, *graph = NULL, *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    if (!tl_idem_key_ok(req)) {
        tl_reply_err(req, TL_EINVAL, "Idempotency-Key must be 1 to %d printable ASCII characters", TL_IDEM_KEY_MAX);
        return;
    }
    int err = tl_req_json(req, false, &body, &diag);
    const char *canvas = tl_json_str(body, "canvas_id");
    if (!err && canvas && (err = tl_canvas_graph(req, canvas, &graph)) < 0) {
        tl_reply_err(req, err, NULL);
        return;
    }
    if (!err)
        err = tl_cap_call_plan(srv->conf.services, req->claims.org, body, graph, req->admin, &doc, &meta, &plan, &diag);
    if (err == TL_ENOTFOUND && tl_diag_any(&diag))
        err = TL_EINVAL; /* a node that cannot be there for want of its name is not an unknown one */
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    else
        tl_idem_start_run(req, &(struct tl_idem_run){.kind = TL_KIND_CAPSULE, .doc = doc, .meta = meta, .plan = plan},
                          tl_json_bool(body, "async_mode", false) ? tl_runview_reply_begun : reply_wait);
    tl_plan_unref(plan);
}

static void get_call(struct tl_req *req)
{
    struct tl_id id;
    int err = tl_runview_find_call(req->srv, req->claims.org, req->params[0], &id);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_runview_reply_call(req, &id, 200);
}

static void stream_call(struct tl_req *req)
{
    struct tl_id id;
    int err = tl_runview_find_call(req->srv, req->claims.org, req->params[0], &id);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_run_stream(req);
}

static void cancel_call(struct tl_req *req)
{
    struct tl_id id;
    int err = tl_runview_find_call(req->srv, req->claims.org, req->params[0], &id);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_run_reply_cancel(req);
}

const struct tl_route tl_routes_capsules[] = {
    {.method = TL_M_POST, .pattern = "/api/v1/capsules/run", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL | TL_R_IDEMPOTENT,
     .max_body = TL_JSON_MAX_BODY, .handle = call, .name = "runCapsule", .summary = "Runs a capsule and answers with its summary",
     .body = "CapsuleCall",
     .answers = {{200, "CapsuleRun", NULL, "The run has ended: done, failed or cancelled"},
                 {202, "CapsuleRun", NULL, "It goes on: async_mode was true, or 30 s have passed"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/capsules/run/{run_id}", .role = TL_ROLE_VIEWER, .handle = get_call, .name = "getCapsuleRun",
     .summary = "A capsule call and, when it has ended, its summary", .answers = {{200, "CapsuleRun"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/capsules/run/{run_id}/stream", .role = TL_ROLE_VIEWER, .flags = TL_R_SSE, .handle = stream_call,
     .name = "streamCapsuleRun", .summary = "The call's events as Server-Sent Events", .query = "after_seq",
     .answers = {{200, "RunEvent", "text/event-stream"}, {204, NULL, NULL, "Last-Event-ID is the terminal event: nothing follows"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/capsules/run/{run_id}/cancel", .role = TL_ROLE_MEMBER, .flags = TL_R_EMPTY_OK | TL_R_POOL,
     .max_body = TL_JSON_MAX_BODY, .handle = cancel_call, .name = "cancelCapsuleRun", .summary = "Asks for the call's end; run.cancelled follows",
     .body = "Cancel", .answers = {{202, "RunStarted"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/capsules", .role = TL_ROLE_VIEWER, .handle = list_capsules, .name = "listCapsules",
     .summary = "Public specs of the capsules that may be used, newest version of each", .answers = {{200, "CapsuleList"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/capsules/{id}", .role = TL_ROLE_VIEWER, .handle = get_capsule, .name = "getCapsule",
     .summary = "Public spec of the newest version", .answers = {{200, "CapsuleSpec"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/capsules/{id}/versions/{version}", .role = TL_ROLE_VIEWER, .handle = get_capsule,
     .name = "getCapsuleVersion", .summary = "Public spec of one version", .answers = {{200, "CapsuleSpec"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/node-types", .role = TL_ROLE_VIEWER, .handle = list_node_types, .name = "listNodeTypes",
     .summary = "What can be placed on a canvas, with ports and parameters", .answers = {{200, "NodeTypeList"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/templates", .role = TL_ROLE_VIEWER, .handle = list_templates, .name = "listTemplates",
     .summary = "Ready-made graphs", .answers = {{200, "TemplateList"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/templates/{id}", .role = TL_ROLE_VIEWER, .handle = get_template, .name = "getTemplate",
     .summary = "A template with its public graph", .answers = {{200, "Template"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/templates/{id}/instantiate", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL | TL_R_EMPTY_OK,
     .max_body = TL_JSON_MAX_BODY, .handle = instantiate, .name = "instantiateTemplate", .summary = "A new canvas made from a template",
     .body = "Instantiate", .answers = {{201, "Canvas"}}},
    {0},
};

/* Canvases: stored graphs, their checks, their runs. A canvas may be saved while it is incomplete, as one edits; a document that is no graph at all
 * is refused. What is run must be whole. */
#include "server/canvas.h"

#include "base/err.h"
#include "capsules/doors.h"
#include "server/etag.h"
#include "server/idem.h"
#include "server/page.h"
#include "server/routes.h"

#include <string.h>

/* Checks of form only. */
static int check_form(json_t *graph, struct tl_diag *diag)
{
    struct tl_doc *doc = NULL;
    int err = tl_doc_parse(graph, &doc, diag);
    tl_doc_free(doc);
    return err;
}

/* Problems from the from-th on were found in a graph; in a body and in a canvas it stands at "graph". Where there may be targets, they are the body's own. */
static int below_graph(struct tl_diag *diag, size_t from, bool targets)
{
    for (size_t i = from; i < diag->count; i++) {
        char *was = diag->items[i].path;
        struct tl_str path = {0};
        if (!was || was[0] != '$' || (targets && strcmp(was, "$.targets") == 0))
            continue;
        tl_str_printf(&path, "$.graph%s", was + 1);
        if (!(diag->items[i].path = tl_str_take(&path))) {
            diag->items[i].path = was;
            return TL_ENOMEM;
        }
        free(was);
    }
    return 0;
}

static void check_name(const json_t *body, struct tl_diag *diag)
{
    const json_t *name = json_object_get(body, "name");
    if (name && (!json_is_string(name) || json_string_length(name) > TL_CANVAS_NAME_MAX))
        tl_diag_add(diag, NULL, NULL, "$.name", "must be text of at most %d bytes", TL_CANVAS_NAME_MAX);
}

/* ---- writing ---- */

struct saving {
    struct tl_canvas_write write;
    struct tl_req *req; /* owned reference */
    char *name, *graph;  /* owned */
};

static void saving_free(struct saving *s)
{
    tl_req_unref(s->req);
    free(s->write.ret_head);
    free(s->name);
    free(s->graph);
    free(s);
}

static void saved(void *arg, int err)
{
    struct saving *s = arg;
    struct tl_req *req = s->req;
    const struct tl_canvas_write *w = &s->write;
    if (err < 0) {
        tl_reply_err(req, err, NULL);
    } else if (w->remove) {
        tl_reply_empty(req, 204);
    } else {
        char tag[TL_ETAG_TEXT], id[TL_ID_TEXT];
        tl_etag_revision(w->ret_revision, tag);
        tl_req_header(req, "ETag", "%s", tag);
        tl_id_text(&w->id, id);
        if (w->create)
            tl_req_header(req, "Location", "/api/v1/canvases/%s", id);
        char *text = w->create ? tl_canvas_text(w->ret_head, w->graph) : tl_strdup(w->ret_head);
        tl_reply_text(req, w->create ? 201 : 200, "application/json", text, text ? strlen(text) : 0);
    }
    saving_free(s);
}

static void save(struct tl_req *req, const struct tl_id *id, bool create, bool remove, const char *name, json_t *graph)
{
    struct saving *s = tl_calloc(1, sizeof(*s));
    if (s) {
        s->req = tl_req_ref(req);
        s->name = tl_strdup(name);
        s->graph = graph ? tl_json_text(graph) : NULL;
        s->write = (struct tl_canvas_write){
            .org = req->claims.org, .id = *id, .create = create, .remove = remove, .name = s->name, .graph = s->graph,
            .node_count = json_array_size(json_object_get(graph, "nodes")), .if_match = req->head.if_match};
    }
    bool short_of = !s || (name && !s->name) || (graph && !s->graph);
    int err = short_of ? TL_ENOMEM : tl_db_submit(req->srv->conf.db, tl_canvas_write, s, saved);
    if (err < 0) {
        if (s)
            saving_free(s);
        tl_reply_err(req, err, NULL);
    }
}

void tl_canvas_create(struct tl_req *req, const char *name, json_t *graph)
{
    struct tl_id id = tl_id_new();
    save(req, &id, true, false, name ? name : "", graph);
}

/* The body {"name","graph"} of POST, PUT and PATCH; problems are answered. */
static bool read_body(struct tl_req *req, bool want_graph, json_t **ret)
{
    static const char *const keys[] = {"name", "graph", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    int err = tl_req_json(req, false, ret, &diag);
    if (!err) {
        json_t *graph = json_object_get(*ret, "graph");
        tl_json_only_keys(*ret, keys, NULL, "$", &diag);
        check_name(*ret, &diag);
        size_t before = diag.count;
        if (graph)
            err = check_form(graph, &diag);
        if (below_graph(&diag, before, false) < 0)
            err = TL_ENOMEM;
        else if (!graph && want_graph)
            tl_diag_add(&diag, NULL, NULL, "$.graph", "is required");
    }
    if (err == TL_ENOMEM || err == 0)
        err = err ? err : tl_diag_any(&diag) ? TL_EINVAL : 0;
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    return err == 0;
}

static void create(struct tl_req *req)
{
    TL_AUTO_JSON json_t *body = NULL, *empty = json_pack("{s:[],s:[]}", "nodes", "edges");
    if (!read_body(req, false, &body))
        return;
    json_t *graph = json_object_get(body, "graph");
    tl_canvas_create(req, tl_json_str(body, "name"), graph ? graph : empty);
}

static void change(struct tl_req *req)
{
    struct tl_id id;
    TL_AUTO_JSON json_t *body = NULL;
    if (!tl_id_parse(req->params[0], &id))
        tl_reply_err(req, TL_ENOTFOUND, NULL);
    else if (read_body(req, req->method == TL_M_PUT, &body))
        save(req, &id, false, false, tl_json_str(body, "name"), json_object_get(body, "graph"));
}

static void destroy(struct tl_req *req)
{
    struct tl_id id;
    if (!tl_id_parse(req->params[0], &id))
        tl_reply_err(req, TL_ENOTFOUND, NULL);
    else
        save(req, &id, false, true, NULL, NULL);
}

/* ---- reading ---- */

static void list(struct tl_req *req)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_id room, next;
    const struct tl_id *before;
    json_t *items;
    bool more;
    tl_req_only_query(req, known, &diag);
    size_t limit = tl_page_query(req, &room, &before, &diag);
    int err = tl_diag_any(&diag) ? TL_EINVAL
                                 : tl_canvas_list(req->srv->conf.db, req->claims.org, before, limit, &items, &next, &more);
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    else
        tl_page_reply(req, items, &next, more);
}

static int read_canvas(struct tl_req *req, const char *id_text, char **ret, size_t *ret_len, uint64_t *ret_revision)
{
    struct tl_id id;
    *ret = NULL;
    return tl_id_parse(id_text, &id) ? tl_canvas_read(req->srv->conf.db, req->claims.org, &id, ret, ret_len, ret_revision)
                                     : TL_ENOTFOUND;
}

int tl_canvas_graph(struct tl_req *req, const char *id, json_t **ret)
{
    TL_AUTO_FREE char *text = NULL;
    TL_AUTO_JSON json_t *canvas = NULL;
    size_t len;
    uint64_t revision;
    *ret = NULL;
    int err = read_canvas(req, id, &text, &len, &revision);
    if (!err && tl_json_parse(text, len, &canvas, NULL) < 0)
        err = TL_ECORRUPT;
    if (!err && !(*ret = json_incref(json_object_get(canvas, "graph"))))
        err = TL_ECORRUPT;
    return err;
}

static void get(struct tl_req *req)
{
    char *text, tag[TL_ETAG_TEXT];
    size_t len;
    uint64_t revision;
    int err = read_canvas(req, req->params[0], &text, &len, &revision);
    if (err < 0) {
        tl_reply_err(req, err, NULL);
        return;
    }
    tl_etag_revision(revision, tag);
    tl_req_header(req, "ETag", "%s", tag);
    if (req->head.if_none_match && tl_etag_match(req->head.if_none_match, tag)) {
        free(text);
        tl_reply_empty(req, 304);
    } else {
        tl_reply_text(req, 200, "application/json", text, len);
    }
}

/* ---- checks and runs ---- */

static void validate(struct tl_req *req)
{
    static const char *const keys[] = {"graph", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_server *srv = req->srv;
    TL_AUTO_JSON json_t *body = NULL;
    int err = tl_req_json(req, false, &body, &diag);
    json_t *graph = json_object_get(body, "graph");
    if (!err) {
        tl_json_only_keys(body, keys, NULL, "$", &diag);
        if (!json_is_object(graph))
            tl_diag_add(&diag, NULL, NULL, "$.graph", "must be a graph");
        err = tl_diag_any(&diag) ? TL_EINVAL : 0;
    }
    if (err < 0) {
        tl_reply_diag(req, err, &diag);
        return;
    }
    err = tl_cap_check_canvas(srv->conf.services, req->claims.org, graph, req->admin, &diag);
    if (below_graph(&diag, 0, false) < 0)
        err = TL_ENOMEM;
    if (err < 0 && err != TL_EINVAL) {
        tl_reply_err(req, err, NULL);
        return;
    }
    json_t *found = tl_diag_json(&diag);
    if (found)
        json_object_set_new(found, "ok", json_boolean(!tl_diag_any(&diag)));
    tl_reply_json(req, 200, found);
}

void tl_run_reply_queued(struct tl_req *req, const struct tl_id *run)
{
    char id[TL_ID_TEXT];
    tl_id_text(run, id);
    tl_req_header(req, "Location", "/api/v1/runs/%s", id);
    tl_reply_json(req, 202, json_pack("{s:s,s:s}", "run_id", id, "status", "queued"));
}

static void run(struct tl_req *req)
{
    static const char *const keys[] = {"targets", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_server *srv = req->srv;
    TL_AUTO_JSON json_t *body = NULL, *graph = NULL, *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    if (!tl_idem_key_ok(req)) {
        tl_reply_err(req, TL_EINVAL, "Idempotency-Key must be 1 to %d printable ASCII characters", TL_IDEM_KEY_MAX);
        return;
    }
    int err = tl_canvas_graph(req, req->params[0], &graph);
    if (!err)
        err = tl_req_json(req, true, &body, &diag);
    if (!err) {
        tl_json_only_keys(body, keys, NULL, "$", &diag);
        doc = tl_cap_canvas_doc(graph, json_object_get(body, "targets"), req->admin);
        meta = json_pack("{s:s}", "canvas_id", req->params[0]);
        size_t before = diag.count;
        err = doc && meta ? tl_cap_replan(srv->conf.services, req->claims.org, TL_KIND_CANVAS, doc, &plan, &diag) : TL_ENOMEM;
        if (below_graph(&diag, before, true) < 0)
            err = TL_ENOMEM;
    }
    if (!err && tl_diag_any(&diag))
        err = TL_EINVAL;
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    else
        tl_idem_start_run(req, TL_KIND_CANVAS, doc, meta, plan, tl_run_reply_queued);
    tl_plan_unref(plan);
}

const struct tl_route tl_routes_canvases[] = {
    {.method = TL_M_GET, .pattern = "/api/v1/canvases", .role = TL_ROLE_VIEWER, .flags = TL_R_POOL, .handle = list, .name = "listCanvases",
     .summary = "Canvases, newest first, without their graphs", .query = "limit cursor", .answers = {{200, "CanvasList"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/canvases", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL, .max_body = TL_JSON_MAX_GRAPH, .handle = create,
     .name = "createCanvas", .summary = "A new canvas; it may be incomplete", .body = "CanvasIn", .answers = {{201, "Canvas"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/canvases/validate", .role = TL_ROLE_VIEWER, .flags = TL_R_POOL, .max_body = TL_JSON_MAX_GRAPH,
     .handle = validate, .name = "validateCanvas", .summary = "All problems of a graph at once, without storing it", .body = "GraphIn",
     .answers = {{200, "Validation"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/canvases/{id}", .role = TL_ROLE_VIEWER, .flags = TL_R_POOL, .handle = get, .name = "getCanvas",
     .summary = "A canvas with its graph", .answers = {{200, "Canvas"}, {304, NULL, NULL, "Not modified since the ETag in If-None-Match"}}},
    {.method = TL_M_PUT, .pattern = "/api/v1/canvases/{id}", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL | TL_R_IF_MATCH,
     .max_body = TL_JSON_MAX_GRAPH, .handle = change, .name = "replaceCanvas", .summary = "Replaces graph and, where given, name", .body = "CanvasPut",
     .answers = {{200, "CanvasHead"}}},
    {.method = TL_M_PATCH, .pattern = "/api/v1/canvases/{id}", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL | TL_R_IF_MATCH,
     .max_body = TL_JSON_MAX_GRAPH, .handle = change, .name = "changeCanvas", .summary = "Changes name or graph or both", .body = "CanvasIn",
     .answers = {{200, "CanvasHead"}}},
    {.method = TL_M_DELETE, .pattern = "/api/v1/canvases/{id}", .role = TL_ROLE_MEMBER, .flags = TL_R_IF_MATCH, .handle = destroy,
     .name = "deleteCanvas", .summary = "Takes a canvas away; its runs stay", .answers = {{204}}},
    {.method = TL_M_POST, .pattern = "/api/v1/canvases/{id}/runs", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL | TL_R_IDEMPOTENT | TL_R_EMPTY_OK,
     .max_body = TL_JSON_MAX_BODY, .handle = run, .name = "runCanvas", .summary = "Runs a canvas, or what its targets need", .body = "CanvasRun",
     .answers = {{202, "RunStarted"}}},
    {0},
};

/* Canvases: stored graphs, their checks, their runs. A canvas may be saved while it is incomplete, as one edits; a document that is no graph at all
 * is refused. What is run must be whole. */
#include "server/canvas.h"

#include "base/err.h"
#include "base/jread.h"
#include "capsules/doors.h"
#include "server/etag.h"
#include "server/idem.h"
#include "server/page.h"
#include "server/routes.h"
#include "server/run_options.h"
#include "server/runview.h"
#include "server/wait.h"

#include <string.h>

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
    struct tl_req *req;     /* owned reference; the graph may be a piece of its body */
    char *name, *own_graph; /* owned */
};

static void saving_free(struct saving *s)
{
    tl_req_unref(s->req);
    free(s->write.ret_head);
    free(s->name);
    free(s->own_graph);
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
        char *text = w->create ? tl_canvas_text(w->ret_head, w->graph, w->graph_len) : tl_strdup(w->ret_head);
        tl_reply_text(req, w->create ? 201 : 200, "application/json", text, text ? strlen(text) : 0);
    }
    saving_free(s);
}

/* What a request makes of a canvas. graph is a piece of the request's body, or own_graph, which is taken. */
struct edit {
    bool create, remove;
    const char *name;
    struct tl_jtext graph;
    size_t node_count;
    char *own_graph;
};

static void save(struct tl_req *req, const struct tl_id *id, const struct edit *c)
{
    struct saving *s = tl_calloc(1, sizeof(*s));
    if (s) {
        s->req = tl_req_ref(req);
        s->name = tl_strdup(c->name);
        s->own_graph = c->own_graph;
        s->write = (struct tl_canvas_write){
            .org = req->claims.org, .id = *id, .create = c->create, .remove = c->remove, .name = s->name, .graph = c->graph.s,
            .graph_len = c->graph.len, .node_count = c->node_count, .if_match = req->head.if_match};
        if (c->graph.s)
            tl_text_hash(c->graph.s, c->graph.len, s->write.hash);
    } else {
        free(c->own_graph);
    }
    int err = !s || (c->name && !s->name) ? TL_ENOMEM : tl_db_submit(req->srv->conf.db, tl_canvas_write, s, saved);
    if (err < 0) {
        if (s)
            saving_free(s);
        tl_reply_err(req, err, NULL);
    }
}

void tl_canvas_create(struct tl_req *req, const char *name, const json_t *graph)
{
    struct tl_id id = tl_id_new();
    char *text = tl_json_text(graph);
    if (!text) {
        tl_reply_err(req, TL_ENOMEM, NULL);
        return;
    }
    save(req, &id,
         &(struct edit){.create = true, .name = name ? name : "", .graph = {text, strlen(text)}, .own_graph = text,
                          .node_count = json_array_size(json_object_get(graph, "nodes"))});
}

/* The form of the graph at $.graph. */
static int check_form(struct tl_jtext graph, size_t *ret_nodes, struct tl_diag *diag)
{
    struct tl_doc *doc = NULL;
    size_t before = diag->count;
    int err = tl_doc_read(graph.s, graph.len, &doc, diag);
    *ret_nodes = doc ? doc->nnodes : 0;
    tl_doc_free(doc);
    return below_graph(diag, before, false) < 0 ? TL_ENOMEM : err;
}

/* The body {"name","graph"} of POST, PUT and PATCH; problems are answered. The name is that of ret_body. */
static bool read_body(struct tl_req *req, bool want_graph, json_t **ret_body, struct edit *ret)
{
    static const char *const keys[] = {"name", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    int err = tl_req_json_but(req, false, "graph", &ret->graph, ret_body, &diag);
    if (!err) {
        tl_json_only_keys(*ret_body, keys, NULL, "$", &diag);
        check_name(*ret_body, &diag);
        if (ret->graph.s)
            err = check_form(ret->graph, &ret->node_count, &diag);
        else if (want_graph)
            tl_diag_add(&diag, NULL, NULL, "$.graph", "is required");
    }
    if (err == 0 && tl_diag_any(&diag))
        err = TL_EINVAL;
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    ret->name = tl_json_str(*ret_body, "name");
    return err == 0;
}

static void create(struct tl_req *req)
{
    TL_AUTO_JSON json_t *body = NULL, *empty = json_pack("{s:[],s:[]}", "nodes", "edges");
    struct edit c = {.create = true};
    if (!read_body(req, false, &body, &c))
        return;
    if (!c.graph.s) {
        tl_canvas_create(req, c.name, empty);
        return;
    }
    struct tl_id id = tl_id_new();
    c.name = c.name ? c.name : "";
    save(req, &id, &c);
}

static void change(struct tl_req *req)
{
    struct tl_id id;
    struct edit c = {0};
    TL_AUTO_JSON json_t *body = NULL;
    if (!tl_id_parse(req->params[0], &id))
        tl_reply_err(req, TL_ENOTFOUND, NULL);
    else if (read_body(req, req->method == TL_M_PUT, &body, &c))
        save(req, &id, &c);
}

static void destroy(struct tl_req *req)
{
    struct tl_id id;
    if (!tl_id_parse(req->params[0], &id))
        tl_reply_err(req, TL_ENOTFOUND, NULL);
    else
        save(req, &id, &(struct edit){.remove = true});
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

int tl_canvas_graph(struct tl_req *req, const char *id_text, json_t **ret)
{
    TL_AUTO_FREE char *text = NULL;
    struct tl_id id;
    size_t len;
    *ret = NULL;
    if (!tl_id_parse(id_text, &id))
        return TL_ENOTFOUND;
    int err = tl_canvas_read_graph(req->srv->conf.db, req->claims.org, &id, &text, &len);
    if (!err && tl_json_parse(text, len, ret, NULL) < 0)
        err = TL_ECORRUPT;
    return err;
}

static void get(struct tl_req *req)
{
    struct tl_id id;
    char *text = NULL, tag[TL_ETAG_TEXT];
    size_t len;
    uint64_t revision;
    int err = tl_id_parse(req->params[0], &id) ? tl_canvas_read(req->srv->conf.db, req->claims.org, &id, &text, &len, &revision)
                                               : TL_ENOTFOUND;
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
    static const char *const keys[] = {NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_server *srv = req->srv;
    struct tl_jtext graph;
    TL_AUTO_JSON json_t *body = NULL;
    int err = tl_req_json_but(req, false, "graph", &graph, &body, &diag);
    if (!err) {
        tl_json_only_keys(body, keys, NULL, "$", &diag);
        if (!graph.s || graph.s[0] != '{')
            tl_diag_add(&diag, NULL, NULL, "$.graph", "must be a graph");
        err = tl_diag_any(&diag) ? TL_EINVAL : 0;
    }
    if (err < 0) {
        tl_reply_diag(req, err, &diag);
        return;
    }
    err = tl_cap_check_canvas(srv->conf.services, req->claims.org, graph.s, graph.len, req->admin, &diag);
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

static void reply_end(struct tl_req *req, const struct tl_id *run)
{
    tl_wait_run(req, run, tl_runview_reply_end);
}

static void start_planned(struct tl_req *req, const struct tl_run_options *options, struct tl_idem_run *run)
{
    TL_AUTO_FREE char *refusal = NULL;
    int err = tl_run_options_apply(req, options, run, &refusal);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_idem_start_run(req, run, options->wait ? reply_end : tl_run_reply_queued);
}

/* A run of the graph that hash names; text NULL: the store has it. canvas NULL: of no canvas. */
static void start(struct tl_req *req, const uint8_t *hash, struct tl_jtext text, const char *canvas, const json_t *body, struct tl_diag *diag)
{
    const struct tl_server *srv = req->srv;
    json_t *targets = json_object_get(body, "targets");
    TL_AUTO_JSON json_t *doc = tl_cap_named_doc(hash, targets, req->admin), *meta = json_object();
    struct tl_plan *plan = NULL;
    struct tl_run_options options;
    tl_run_options_read(body, &options, diag);
    size_t before = diag->count;
    bool form = before == 0 && (!targets || json_is_array(targets)); /* what is wrong is wrong with the graph */
    int err = doc && meta && (!canvas || json_object_set_new(meta, "canvas_id", json_string(canvas)) == 0) ? 0 : TL_ENOMEM;
    if (!err)
        err = tl_cap_plan_named(srv->conf.services, req->claims.org, doc, text.s, text.len, &plan, diag);
    if (below_graph(diag, before, true) < 0)
        err = TL_ENOMEM;
    if (!err && tl_diag_any(diag))
        err = TL_EINVAL;
    if (options.dry && form && (!err || err == TL_EINVAL))
        tl_run_options_reply_dry(req, &options, plan, diag);
    else if (err < 0)
        tl_reply_diag(req, err, diag);
    else
        start_planned(req, &options,
                      &(struct tl_idem_run){.kind = TL_KIND_CANVAS, .doc = doc, .meta = meta, .plan = plan, .graph = text.s, .graph_len = text.len});
    tl_plan_unref(plan);
}

static bool refuse_key(struct tl_req *req)
{
    bool ok = tl_idem_key_ok(req);
    if (!ok)
        tl_reply_err(req, TL_EINVAL, "Idempotency-Key must be 1 to %d printable ASCII characters", TL_IDEM_KEY_MAX);
    return !ok;
}

/* The graph of a canvas by its name alone; the second time, when it has changed before the run held it, with its text, which the run then brings along. */
static int find_graph(struct tl_req *req, const struct tl_id *id, uint8_t hash[TL_TEXT_HASH], char **ret_text, size_t *ret_len)
{
    if (!req->again)
        return tl_canvas_name_graph(req->srv->conf.db, req->claims.org, id, hash, ret_text, ret_len);
    int err = tl_canvas_read_graph(req->srv->conf.db, req->claims.org, id, ret_text, ret_len);
    if (!err)
        tl_text_hash(*ret_text, *ret_len, hash);
    return err;
}

static void run(struct tl_req *req)
{
    static const char *const keys[] = {TL_RUN_OPTION_KEYS, NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    TL_AUTO_JSON json_t *body = NULL;
    TL_AUTO_FREE char *text = NULL;
    uint8_t hash[TL_TEXT_HASH];
    struct tl_id id;
    size_t len = 0;
    if (refuse_key(req))
        return;
    int err = tl_id_parse(req->params[0], &id) ? find_graph(req, &id, hash, &text, &len) : TL_ENOTFOUND;
    if (!err)
        err = tl_req_json(req, true, &body, &diag);
    if (err < 0) {
        tl_reply_diag(req, err, &diag);
        return;
    }
    tl_json_only_keys(body, keys, NULL, "$", &diag);
    start(req, hash, (struct tl_jtext){text, len}, req->params[0], body, &diag);
}

static void run_graph(struct tl_req *req)
{
    static const char *const keys[] = {TL_RUN_OPTION_KEYS, NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    TL_AUTO_JSON json_t *body = NULL;
    struct tl_jtext graph;
    uint8_t hash[TL_TEXT_HASH];
    if (refuse_key(req))
        return;
    int err = tl_req_json_but(req, false, "graph", &graph, &body, &diag);
    if (!err && !graph.s)
        err = tl_diag_add(&diag, NULL, NULL, "$.graph", "is required");
    if (err < 0) {
        tl_reply_diag(req, err, &diag);
        return;
    }
    tl_json_only_keys(body, keys, NULL, "$", &diag);
    tl_text_hash(graph.s, graph.len, hash);
    start(req, hash, graph, NULL, body, &diag);
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
     .answers = {{200, "RunAnswer", NULL, "async_mode was false, and the run has ended; or a dry run"}, {202, "RunStarted"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/runs", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL | TL_R_IDEMPOTENT, .max_body = TL_JSON_MAX_GRAPH,
     .handle = run_graph, .name = "runGraph", .summary = "Runs a graph that is no canvas, or what its targets need", .body = "GraphRun",
     .answers = {{200, "RunAnswer", NULL, "async_mode was false, and the run has ended; or a dry run"}, {202, "RunStarted"}}},
    {0},
};

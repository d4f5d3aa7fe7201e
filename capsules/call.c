/* A capsule call: the body of POST /api/v1/capsules/run, checked, and the document that it becomes. */
#include "capsules/call.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/doors.h"

#include <string.h>

static const char *const body_keys[] = {"canvas_id",       "node_id", "capsule_id", "capsule_version",
                                        "pattern_version", "inputs",  "params",     "upstream_context",
                                        "async_mode",      NULL};

/* Body field, field of the node's data, JSON type. */
static const struct {
    const char *body, *data;
    json_type type;
} fields[] = {
    {"capsule_id", "capsuleId", JSON_STRING},
    {"capsule_version", "capsuleVersion", JSON_STRING},
    {"pattern_version", "patternVersion", JSON_STRING},
    {"inputs", "inputs", JSON_OBJECT},
    {"params", "params", JSON_OBJECT},
    {"upstream_context", "upstreamContext", JSON_OBJECT},
};

static int bad(struct tl_diag *diag, const char *path, const char *message)
{
    return tl_diag_add(diag, NULL, NULL, path, "%s", message);
}

static void want_type(const json_t *body, const char *key, json_type type, bool required, struct tl_diag *diag)
{
    static const char *const names[] = {[JSON_OBJECT] = "must be an object", [JSON_STRING] = "must be text"};
    const json_t *j = json_object_get(body, key);
    char path[64];
    snprintf(path, sizeof(path), "$.%s", key);
    if (!j && required)
        bad(diag, path, "is required");
    else if (j && json_typeof(j) != type)
        bad(diag, path, names[type]);
    else if (json_is_string(j) && (json_string_length(j) == 0 || json_string_length(j) > TL_GRAPH_MAX_ID))
        bad(diag, path, "must be text of 1 to 128 bytes");
}

static int depth_of(const json_t *j, int most)
{
    const char *key;
    json_t *v;
    int deepest = 0;
    if (!json_is_object(j) && !json_is_array(j))
        return 0;
    if (most == 0)
        return 1;
    for (size_t i = 0; i < json_array_size(j); i++) {
        int d = depth_of(json_array_get(j, i), most - 1);
        deepest = d > deepest ? d : deepest;
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, v) {
        int d = depth_of(v, most - 1);
        deepest = d > deepest ? d : deepest;
    }
    return deepest + 1;
}

static void check_context(const json_t *context, struct tl_diag *diag)
{
    if (!json_is_object(context))
        return;
    if (depth_of(context, TL_CALL_CONTEXT_DEPTH) > TL_CALL_CONTEXT_DEPTH)
        bad(diag, "$.upstream_context", "must not be nested deeper than 16 levels");
    else if (json_dumpb(context, NULL, 0, JSON_COMPACT) > TL_CALL_CONTEXT_MAX)
        bad(diag, "$.upstream_context", "must be at most 256 KiB");
}

void tl_call_check(const json_t *body, struct tl_diag *diag)
{
    if (!json_is_object(body)) {
        bad(diag, "$", "the body must be an object");
        return;
    }
    tl_json_only_keys(body, body_keys, NULL, "$", diag);
    for (size_t i = 0; i < TL_ARRAY_LEN(fields); i++)
        want_type(body, fields[i].body, fields[i].type, i < 2, diag);
    want_type(body, "canvas_id", JSON_STRING, false, diag);
    want_type(body, "node_id", JSON_STRING, false, diag);
    const json_t *async = json_object_get(body, "async_mode");
    if (async && !json_is_boolean(async))
        bad(diag, "$.async_mode", "must be true or false");
    bool canvas = json_object_get(body, "canvas_id"), node = json_object_get(body, "node_id");
    if (canvas != node)
        bad(diag, canvas ? "$.node_id" : "$.canvas_id", "is required: canvas_id and node_id name a node together");
    check_context(json_object_get(body, "upstream_context"), diag);
}

/* ---- the node and its graph ---- */

static json_t *copy_field(const json_t *body, size_t i)
{
    json_t *j = json_object_get(body, fields[i].body);
    return j && json_typeof(j) == fields[i].type ? json_incref(j) : NULL;
}

/* Data of the capsule node: what the request says, over what the canvas has where it is silent and means the same
 * capsule. */
static json_t *make_data(const json_t *body, const json_t *old)
{
    const char *was = tl_json_str(old, "capsuleId"), *is = tl_json_str(body, "capsule_id");
    bool same = was && is && strcmp(was, is) == 0;
    json_t *data = same ? json_copy((json_t *)(uintptr_t)old) : json_object();
    for (size_t i = 0; data && i < TL_ARRAY_LEN(fields); i++) {
        json_t *j = copy_field(body, i);
        if (j && json_object_set_new(data, fields[i].data, j) < 0) {
            json_decref(data);
            return NULL;
        }
    }
    return data;
}

/* A locked instance refuses changes of parameters and version (seed §3, CapsuleNodeInstance). */
static void check_lock(const json_t *body, const json_t *old, struct tl_diag *diag)
{
    if (!json_is_true(json_object_get(old, "locked")))
        return;
    for (size_t i = 0; i < TL_ARRAY_LEN(fields); i++) {
        const json_t *now = json_object_get(body, fields[i].body), *then = json_object_get(old, fields[i].data);
        bool pinned = i < 3 || strcmp(fields[i].body, "params") == 0;
        char path[64];
        snprintf(path, sizeof(path), "$.%s", fields[i].body);
        if (pinned && now && !json_equal((json_t *)(uintptr_t)now, (json_t *)(uintptr_t)then))
            bad(diag, path, "cannot be changed: the node is locked");
    }
}

static json_t *one_node(json_t *data)
{
    return json_pack("{s:[{s:s,s:s,s:{s:i,s:i},s:o}],s:[]}", "nodes", "id", TL_CALL_NODE, "type", "capsule", "position",
                     "x", 0, "y", 0, "data", data, "edges");
}

/* Inputs that are sent win over edges. */
static json_t *other_edges(const json_t *edges, const char *node, const json_t *inputs)
{
    json_t *kept = json_array();
    for (size_t i = 0; kept && i < json_array_size(edges); i++) {
        json_t *e = json_array_get(edges, i);
        const char *target = tl_json_str(e, "target"), *handle = tl_json_str(e, "targetHandle");
        if (target && handle && strcmp(target, node) == 0 && json_object_get(inputs, handle))
            continue;
        json_array_append(kept, e);
    }
    return kept;
}

static int in_canvas(const json_t *body, json_t *canvas, json_t **ret, struct tl_diag *diag)
{
    const char *id = tl_json_str(body, "node_id");
    json_t *nodes = json_object_get(canvas, "nodes");
    size_t at = 0;
    for (; id && at < json_array_size(nodes); at++) {
        const char *is = tl_json_str(json_array_get(nodes, at), "id");
        if (is && strcmp(is, id) == 0)
            break;
    }
    if (!id || at == json_array_size(nodes))
        return TL_ENOTFOUND;
    json_t *old = json_array_get(nodes, at);
    const char *type = tl_json_str(old, "type");
    if (!type || strcmp(type, "capsule") != 0)
        return bad(diag, "$.node_id", "must name a capsule node");
    check_lock(body, json_object_get(old, "data"), diag);
    TL_AUTO_JSON json_t *graph = json_copy(canvas), *list = json_copy(nodes), *node = json_copy(old);
    json_t *data = make_data(body, json_object_get(old, "data"));
    if (!graph || !list || !node || !data || json_object_set_new(node, "data", data) < 0 ||
        json_array_set(list, at, node) < 0 || json_object_set(graph, "nodes", list) < 0 ||
        json_object_set_new(graph, "edges",
                            other_edges(json_object_get(canvas, "edges"), id, json_object_get(body, "inputs"))) < 0)
        return TL_ENOMEM;
    *ret = json_incref(graph);
    return 0;
}

static json_t *make_meta(const json_t *body)
{
    static const char *const kept[] = {"canvas_id", "node_id", "capsule_id", "capsule_version", "pattern_version"};
    json_t *meta = json_object();
    for (size_t i = 0; meta && i < TL_ARRAY_LEN(kept); i++) {
        json_t *j = json_object_get(body, kept[i]);
        if (json_is_string(j))
            json_object_set(meta, kept[i], j);
    }
    return meta;
}

int tl_call_doc(const json_t *body, json_t *canvas, bool admin, json_t **ret_doc, json_t **ret_meta,
                struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *graph = NULL;
    const char *id = tl_json_str(body, "node_id");
    int err = 0;
    if (canvas) {
        err = in_canvas(body, canvas, &graph, diag);
    } else {
        json_t *data = make_data(body, NULL);
        graph = data ? one_node(data) : NULL;
        err = graph ? 0 : TL_ENOMEM;
    }
    if (err)
        return err;
    TL_AUTO_JSON json_t *targets = json_pack("[s]", canvas ? id : TL_CALL_NODE);
    *ret_doc = targets ? tl_cap_canvas_doc(graph, targets, admin) : NULL;
    *ret_meta = make_meta(body);
    if (*ret_doc && *ret_meta)
        return 0;
    json_decref(*ret_doc);
    json_decref(*ret_meta);
    *ret_doc = *ret_meta = NULL;
    return TL_ENOMEM;
}

/* ---- problems, in the words of the request ---- */

/* "$.nodes[2].data.params.x" of the called node is "$.params.x" of the body. */
static char *body_path(const char *path)
{
    const char *data = strstr(path, "].data");
    struct tl_str s = {0};
    if (!data)
        return tl_strdup("$");
    data += 6;
    for (size_t i = 0; i < TL_ARRAY_LEN(fields); i++) {
        size_t n = strlen(fields[i].data);
        if (data[0] == '.' && strncmp(data + 1, fields[i].data, n) == 0 &&
            (data[n + 1] == '.' || data[n + 1] == '\0')) {
            tl_str_printf(&s, "$.%s%s", fields[i].body, data + n + 1);
            return tl_str_take(&s);
        }
    }
    tl_str_printf(&s, "$%s", data);
    return tl_str_take(&s);
}

void tl_call_translate(struct tl_diag *diag, size_t from, const char *node, bool in_canvas_graph)
{
    for (size_t i = from; diag && i < diag->count; i++) {
        struct tl_problem *p = &diag->items[i];
        if (!p->node || strcmp(p->node, node) != 0)
            continue;
        char *path = body_path(p->path ? p->path : "$");
        if (path) {
            free(p->path);
            p->path = path;
        }
        if (!in_canvas_graph) {
            free(p->node);
            p->node = NULL;
        }
    }
}

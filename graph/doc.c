#include "graph/doc.h"

#include "base/err.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

static bool good_id(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    if (n == 0 || n > TL_GRAPH_MAX_ID)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)id[i] < 0x20 || id[i] == 0x7f)
            return false;
    return true;
}

/* clang-format off */
/* What React Flow (11 and 12) keeps in a document beside what a graph is. */
static const char *const top_keys[] = {"nodes", "edges", "viewport", NULL};
static const char *const node_keys[] = {
    "id", "type", "position", "data", "width", "height", "selected", "dragging", "resizing", "draggable", "selectable", "connectable", "deletable", "focusable",
    "hidden", "dragHandle", "sourcePosition", "targetPosition", "parentId", "parentNode", "extent", "expandParent", "zIndex", "style", "className",
    "positionAbsolute", "measured", "initialWidth", "initialHeight", "origin", "handles", "ariaLabel", NULL};
static const char *const edge_keys[] = {
    "id", "source", "target", "sourceHandle", "targetHandle", "type", "data", "label", "animated", "hidden", "selected", "selectable", "deletable", "focusable",
    "updatable", "reconnectable", "style", "className", "zIndex", "markerStart", "markerEnd", "interactionWidth", "pathOptions", "labelStyle",
    "labelShowBg", "labelBgStyle", "labelBgPadding", "labelBgBorderRadius", "ariaLabel", NULL};
/* clang-format on */

static int parse_nodes(struct tl_doc *doc, const json_t *nodes, struct tl_diag *diag)
{
    char path[64];
    for (uint32_t i = 0; i < doc->nnodes; i++) {
        const json_t *j = json_array_get(nodes, i);
        struct tl_doc_node *n = &doc->nodes[i];
        *n = (struct tl_doc_node){
            .id = tl_json_str(j, "id"), .type = tl_json_str(j, "type"), .data = json_object_get(j, "data"), .index = i};
        snprintf(path, sizeof(path), "$.nodes[%u]", i);
        if (!good_id(n->id)) {
            tl_diag_add(diag, NULL, NULL, path, "a node needs an id: text of 1 to %d bytes without control characters",
                        TL_GRAPH_MAX_ID);
            n->id = "";
        } else {
            int err = tl_idmap_add(&doc->ids, n->id, i);
            if (err == TL_ENOMEM)
                return err;
            if (err < 0)
                tl_diag_add(diag, n->id, NULL, path, "the id \"%s\" is used by another node too", n->id);
        }
        if (!n->type || !*n->type) {
            tl_diag_add(diag, n->id, NULL, path, "a node needs a type: the name of an op, or \"capsule\"");
            n->type = "";
        }
        if (n->data && !json_is_object(n->data)) {
            tl_diag_add(diag, n->id, NULL, path, "data must be an object");
            n->data = NULL;
        }
        tl_json_only_keys(j, node_keys, n->id, path, diag);
    }
    return 0;
}

static void edge_end(const struct tl_doc *doc, const json_t *edge, const char *end, const char *handle,
                     const char *path, uint32_t *ret_node, const char **ret_handle, struct tl_diag *diag)
{
    const char *id = tl_json_str(edge, end);
    *ret_node = id ? tl_idmap_find(&doc->ids, id) : UINT32_MAX;
    *ret_handle = tl_json_str(edge, handle);
    if (*ret_node == UINT32_MAX)
        tl_diag_add(diag, id, NULL, path, "the edge's %s %s%s%s", end, id ? "\"" : "is missing", id ? id : "",
                    id ? "\" is no node of this graph" : "");
    if (!*ret_handle)
        tl_diag_add(diag, id, NULL, path, "the edge needs %s: the name of a port", handle);
}

static int parse_edges(struct tl_doc *doc, const json_t *edges, struct tl_diag *diag)
{
    char path[64];
    struct tl_idmap seen = {0};
    int err = tl_idmap_init(&seen, doc->nedges);
    for (uint32_t i = 0; !err && i < doc->nedges; i++) {
        const json_t *j = json_array_get(edges, i);
        struct tl_doc_edge *e = &doc->edges[i];
        snprintf(path, sizeof(path), "$.edges[%u]", i);
        *e = (struct tl_doc_edge){.id = tl_json_str(j, "id"), .index = i};
        edge_end(doc, j, "source", "sourceHandle", path, &e->source, &e->source_handle, diag);
        edge_end(doc, j, "target", "targetHandle", path, &e->target, &e->target_handle, diag);
        if (e->id && tl_idmap_add(&seen, e->id, i) == TL_ECONFLICT)
            tl_diag_add(diag, NULL, NULL, path, "the id \"%s\" is used by another edge too", e->id);
        if (!e->source_handle || !e->target_handle)
            e->source = UINT32_MAX;
        tl_json_only_keys(j, edge_keys, NULL, path, diag);
    }
    tl_idmap_clear(&seen);
    return err;
}

static int list_size(const json_t *json, const char *key, uint32_t max, uint32_t *ret, struct tl_diag *diag)
{
    const json_t *list = json_object_get(json, key);
    char path[32];
    snprintf(path, sizeof(path), "$.%s", key);
    *ret = 0;
    if (!json_is_array(list))
        return tl_diag_add(diag, NULL, NULL, path, "a graph needs \"%s\": a list", key);
    if (json_array_size(list) > max)
        return tl_diag_add(diag, NULL, NULL, path, "%zu %s are more than the limit of %u", json_array_size(list), key,
                           max);
    *ret = (uint32_t)json_array_size(list);
    return 0;
}

/* TL_ETOOBIG where there is nothing to go on with. */
static int parse(struct tl_doc *doc, struct tl_diag *diag)
{
    size_t before = diag->count + diag->dropped;
    if (!json_is_object(doc->json)) {
        tl_diag_add(diag, NULL, NULL, "$", "a graph is an object with \"nodes\" and \"edges\"");
        return TL_ETOOBIG;
    }
    tl_json_only_keys(doc->json, top_keys, NULL, "$", diag);
    int bad_nodes = list_size(doc->json, "nodes", TL_GRAPH_MAX_NODES, &doc->nnodes, diag);
    int bad_edges = list_size(doc->json, "edges", TL_GRAPH_MAX_EDGES, &doc->nedges, diag);
    if (bad_nodes || bad_edges)
        return TL_ETOOBIG;
    doc->nodes = tl_arena_alloc(&doc->arena, (doc->nnodes + 1) * sizeof(*doc->nodes));
    doc->edges = tl_arena_alloc(&doc->arena, (doc->nedges + 1) * sizeof(*doc->edges));
    int err = doc->nodes && doc->edges ? tl_idmap_init(&doc->ids, doc->nnodes) : TL_ENOMEM;
    if (!err)
        err = parse_nodes(doc, json_object_get(doc->json, "nodes"), diag);
    if (!err)
        err = parse_edges(doc, json_object_get(doc->json, "edges"), diag);
    return err ? err : diag->count + diag->dropped > before ? TL_EINVAL : diag->err;
}

int tl_doc_read(json_t *json, struct tl_doc **ret, struct tl_diag *diag)
{
    struct tl_diag none = {0};
    *ret = NULL;
    struct tl_doc *doc = tl_calloc(1, sizeof(*doc));
    if (!doc)
        return TL_ENOMEM;
    doc->json = json_incref(json);
    int err = parse(doc, diag ? diag : &none);
    tl_diag_clear(&none);
    doc->sound = !err;
    if (!err || err == TL_EINVAL)
        *ret = doc;
    else
        tl_doc_free(doc);
    return err == TL_ETOOBIG ? TL_EINVAL : err;
}

int tl_doc_parse(json_t *json, struct tl_doc **ret, struct tl_diag *diag)
{
    int err = tl_doc_read(json, ret, diag);
    if (err) {
        tl_doc_free(*ret);
        *ret = NULL;
    }
    return err;
}

void tl_doc_free(struct tl_doc *doc)
{
    if (!doc)
        return;
    json_decref(doc->json);
    tl_idmap_clear(&doc->ids);
    tl_arena_clear(&doc->arena);
    free(doc);
}

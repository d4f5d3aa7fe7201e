#include "graph/doc.h"

#include "base/err.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

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

#define NONE UINT32_MAX
enum { READ_MAX = 4 };

/* "/" and "#" are for the ids of steps inside nodes ("map#3/grade"): with them a node could pass for another's step. */
static bool good_id(struct tl_jtext id)
{
    for (size_t i = 0; i < id.len; i++)
        if ((unsigned char)id.s[i] < 0x20 || id.s[i] == 0x7f || id.s[i] == '/' || id.s[i] == '#')
            return false;
    return id.len > 0 && id.len <= TL_GRAPH_MAX_ID;
}

static bool known(struct tl_jtext key, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++)
        if (tl_jtext_is(key, keys[i]))
            return true;
    return false;
}

/* Text, or nothing where the value is anything else. */
static void text_or_skip(struct tl_jread *r, struct tl_jtext *ret)
{
    if (tl_jread_kind(r) == TL_J_STRING)
        tl_jread_string(r, ret);
    else
        tl_jread_skip(r, NULL);
}

/* Tells the unknown fields of an object that has been read: its id may have come after them. */
static void tell_unknown(struct tl_jtext object, const char *const *keys, const char *id, const char *path,
                         struct tl_diag *diag)
{
    struct tl_arena arena = {0};
    struct tl_jread r;
    struct tl_jtext key;
    tl_jread_init(&r, object.s, object.len, &arena);
    tl_jread_object(&r);
    while (tl_jread_key(&r, &key)) {
        tl_jread_skip(&r, NULL);
        if (known(key, keys))
            continue;
        struct tl_str at = {0};
        tl_str_printf(&at, "%s.%.*s", path, (int)key.len, key.s);
        tl_diag_add(diag, id, NULL, at.data, "unknown field \"%.*s\"", (int)key.len, key.s);
        tl_str_clear(&at);
    }
    if (tl_jread_finish(&r, NULL) == TL_ENOMEM)
        diag->err = TL_ENOMEM;
    tl_arena_clear(&arena);
}

/* ---- nodes ---- */

static int read_node(struct tl_doc *doc, struct tl_jread *r, struct tl_diag *diag)
{
    struct tl_doc_node *n = &doc->nodes[doc->nnodes];
    struct tl_jtext key, id = {0}, type = {"", 0}, data = {"", 0}, whole;
    bool unknown = false, bad_data = false;
    tl_jread_kind(r);
    const char *start = r->at;
    if (tl_jread_kind(r) != TL_J_OBJECT) {
        tl_jread_skip(r, NULL);
    } else {
        tl_jread_object(r);
        while (tl_jread_key(r, &key)) {
            if (TL_JTEXT_IS(key, "id")) {
                text_or_skip(r, &id);
            } else if (TL_JTEXT_IS(key, "type")) {
                text_or_skip(r, &type);
            } else if (TL_JTEXT_IS(key, "data")) {
                bad_data = tl_jread_kind(r) != TL_J_OBJECT;
                tl_jread_skip(r, bad_data ? NULL : &data);
            } else {
                unknown |= !TL_JTEXT_IS(key, "position") && !known(key, node_keys);
                tl_jread_skip(r, NULL);
            }
        }
    }
    if (r->err)
        return 0;
    whole = (struct tl_jtext){start, (size_t)(r->at - start)};
    bool good = good_id(id);
    *n = (struct tl_doc_node){.id = "", .type = type, .data = data};
    if (good && tl_idmap_keep(&doc->ids, id.s, id.len, doc->nnodes) < 0)
        return TL_ENOMEM;
    if (good && type.len && !bad_data && !unknown)
        return 0;
    char path[64];
    const char *name = good ? doc->ids.pool + doc->ids.len - id.len - 1 : "";
    snprintf(path, sizeof(path), "$.nodes[%u]", doc->nnodes);
    if (!good)
        tl_diag_add(diag, NULL, NULL, path,
                    "a node needs an id: text of 1 to %d bytes without \"/\", \"#\" and control characters",
                    TL_GRAPH_MAX_ID);
    if (!type.len)
        tl_diag_add(diag, name, NULL, path, "a node needs a type: the name of an op, or \"capsule\"");
    if (bad_data)
        tl_diag_add(diag, name, NULL, path, "data must be an object");
    if (unknown)
        tell_unknown(whole, node_keys, name, path, diag);
    return 0;
}

static void node_twice(void *arg, uint32_t i, const char *id)
{
    char path[64];
    snprintf(path, sizeof(path), "$.nodes[%u]", i);
    tl_diag_add(arg, id, NULL, path, "the id \"%s\" is used by another node too", id);
}

static int index_nodes(struct tl_doc *doc, struct tl_diag *diag)
{
    int err = tl_idmap_build(&doc->ids, node_twice, diag);
    size_t at = 0;
    uint32_t i;
    const char *id;
    while (!err && tl_idmap_next(&doc->ids, &at, &i, &id))
        doc->nodes[i].id = id;
    return err;
}

/* ---- edges ---- */

struct end {
    const char *end, *handle; /* the names of the two fields */
    struct tl_jtext id, port; /* s is NULL where there is none */
    uint32_t hash;            /* of id */
};

static void read_end(const struct tl_doc *doc, struct tl_jread *r, struct end *e)
{
    text_or_skip(r, &e->id);
    if (e->id.s)
        e->hash = tl_idmap_hash(&doc->ids, e->id.s, e->id.len);
}

static uint32_t edge_end(struct tl_doc *doc, const struct end *e, struct tl_diag *diag)
{
    uint32_t node = e->id.s ? tl_idmap_find_hash(&doc->ids, e->id.s, e->id.len, e->hash) : NONE;
    if (node != NONE && e->port.s)
        return node;
    char path[64];
    const char *id = e->id.s ? tl_arena_strndup(&doc->arena, e->id.s, e->id.len) : NULL;
    if (e->id.s && !id)
        diag->err = TL_ENOMEM;
    snprintf(path, sizeof(path), "$.edges[%u]", doc->nedges);
    if (node == NONE)
        tl_diag_add(diag, id, NULL, path, "the edge's %s %s%s%s", e->end, id ? "\"" : "is missing", id ? id : "",
                    id ? "\" is no node of this graph" : "");
    if (!e->port.s)
        tl_diag_add(diag, id, NULL, path, "the edge needs %s: the name of a port", e->handle);
    return NONE;
}

static int read_edge(struct tl_doc *doc, struct tl_jread *r, struct tl_diag *diag)
{
    struct tl_doc_edge *e = &doc->edges[doc->nedges];
    struct end from = {.end = "source", .handle = "sourceHandle"}, to = {.end = "target", .handle = "targetHandle"};
    struct tl_jtext key, id = {0};
    bool unknown = false;
    tl_jread_kind(r);
    const char *start = r->at;
    if (tl_jread_kind(r) != TL_J_OBJECT) {
        tl_jread_skip(r, NULL);
    } else {
        tl_jread_object(r);
        while (tl_jread_key(r, &key)) {
            if (TL_JTEXT_IS(key, "source")) {
                read_end(doc, r, &from);
            } else if (TL_JTEXT_IS(key, "target")) {
                read_end(doc, r, &to);
            } else if (TL_JTEXT_IS(key, "sourceHandle")) {
                text_or_skip(r, &from.port);
            } else if (TL_JTEXT_IS(key, "targetHandle")) {
                text_or_skip(r, &to.port);
            } else if (TL_JTEXT_IS(key, "id")) {
                text_or_skip(r, &id);
            } else {
                unknown |= !known(key, edge_keys);
                tl_jread_skip(r, NULL);
            }
        }
    }
    if (r->err)
        return 0;
    uint32_t source = edge_end(doc, &from, diag), target = edge_end(doc, &to, diag);
    bool whole = source != NONE && target != NONE;
    *e = (struct tl_doc_edge){.source_handle = from.port,
                              .target_handle = to.port,
                              .source = whole ? source : NONE,
                              .target = whole ? target : NONE};
    if (unknown) {
        char path[64];
        snprintf(path, sizeof(path), "$.edges[%u]", doc->nedges);
        tell_unknown((struct tl_jtext){start, (size_t)(r->at - start)}, edge_keys, NULL, path, diag);
    }
    return id.s ? tl_idmap_keep(&doc->edge_ids, id.s, id.len, doc->nedges) : 0;
}

static void edge_twice(void *arg, uint32_t i, const char *id)
{
    char path[64];
    snprintf(path, sizeof(path), "$.edges[%u]", i);
    tl_diag_add(arg, NULL, NULL, path, "the id \"%s\" is used by another edge too", id);
}

/* ---- the document ---- */

struct reading {
    struct tl_doc *doc;
    struct tl_diag *diag;
    bool have_nodes, have_edges; /* lists, and all of them was read */
    struct tl_jtext edges;       /* that stand before the nodes they name */
};

/* The end of a list: one that is longer than it may be is told. Its first items, up to READ_MAX times as many as may be, are checked like all others; of what is beyond them
 * only the number is known, so the list does not count. */
static bool list_end(struct tl_jread *r, const char *what, size_t n, uint32_t max, bool more, struct tl_diag *diag)
{
    char path[32];
    for (bool on = more; on; on = tl_jread_item(r))
        n += tl_jread_skip(r, NULL);
    snprintf(path, sizeof(path), "$.%s", what);
    if (!r->err && n > max)
        tl_diag_add(diag, NULL, NULL, path, "%zu %s are more than the limit of %u", n, what, max);
    return !more;
}

static int read_nodes(struct reading *g, struct tl_jread *r)
{
    struct tl_doc *doc = g->doc;
    int err = tl_grow(&doc->nodes, &doc->nodes_cap, 1, sizeof(*doc->nodes));
    bool more = false;
    tl_jread_list(r);
    while (!err && (more = tl_jread_item(r)) && doc->nnodes < READ_MAX * TL_GRAPH_MAX_NODES) {
        if (doc->nnodes == doc->nodes_cap)
            err = tl_grow(&doc->nodes, &doc->nodes_cap, doc->nnodes + 1, sizeof(*doc->nodes));
        if (!err)
            err = read_node(doc, r, g->diag);
        doc->nnodes += !err && !r->err;
    }
    if (!err)
        g->have_nodes = list_end(r, "nodes", doc->nnodes, TL_GRAPH_MAX_NODES, more, g->diag);
    return err || r->err ? err : index_nodes(doc, g->diag);
}

static int read_edges(struct reading *g, struct tl_jread *r)
{
    struct tl_doc *doc = g->doc;
    int err = tl_grow(&doc->edges, &doc->edges_cap, 1, sizeof(*doc->edges));
    bool more = false;
    tl_jread_list(r);
    while (!err && (more = tl_jread_item(r)) && doc->nedges < READ_MAX * TL_GRAPH_MAX_EDGES) {
        if (doc->nedges == doc->edges_cap)
            err = tl_grow(&doc->edges, &doc->edges_cap, doc->nedges + 1, sizeof(*doc->edges));
        if (!err)
            err = read_edge(doc, r, g->diag);
        doc->nedges += !err && !r->err;
    }
    if (!err)
        g->have_edges = list_end(r, "edges", doc->nedges, TL_GRAPH_MAX_EDGES, more, g->diag);
    return err || r->err ? err : tl_idmap_build(&doc->edge_ids, edge_twice, g->diag);
}

static int read_early_edges(struct reading *g)
{
    struct tl_jread r;
    tl_jread_init(&r, g->edges.s, g->edges.len, &g->doc->arena);
    int err = read_edges(g, &r), ended = tl_jread_finish(&r, NULL);
    return err ? err : ended;
}

static int read_top(struct reading *g, struct tl_jread *r)
{
    struct tl_jtext key;
    bool unknown = false, list;
    int err = 0;
    tl_jread_kind(r);
    const char *start = r->at;
    if (tl_jread_kind(r) != TL_J_OBJECT) {
        tl_diag_add(g->diag, NULL, NULL, "$", "a graph is an object with \"nodes\" and \"edges\"");
        tl_jread_skip(r, NULL);
        return 0;
    }
    tl_jread_object(r);
    while (!err && tl_jread_key(r, &key)) {
        list = tl_jread_kind(r) == TL_J_LIST;
        unknown |= !known(key, top_keys);
        if (list && TL_JTEXT_IS(key, "nodes"))
            err = read_nodes(g, r);
        else if (list && TL_JTEXT_IS(key, "edges") && g->have_nodes)
            err = read_edges(g, r);
        else
            tl_jread_skip(r, list && TL_JTEXT_IS(key, "edges") ? &g->edges : NULL);
    }
    if (err || r->err)
        return err;
    if (g->edges.s && g->have_nodes)
        err = read_early_edges(g);
    if (!g->have_nodes && !g->doc->nnodes)
        tl_diag_add(g->diag, NULL, NULL, "$.nodes", "a graph needs \"nodes\": a list");
    if (!g->have_edges && !g->edges.s && !g->doc->nedges)
        tl_diag_add(g->diag, NULL, NULL, "$.edges", "a graph needs \"edges\": a list");
    if (unknown)
        tell_unknown((struct tl_jtext){start, (size_t)(r->at - start)}, top_keys, NULL, "$", g->diag);
    return err;
}

int tl_doc_read(const char *text, size_t len, struct tl_doc **ret, struct tl_diag *diag)
{
    struct tl_diag none = {0}, *d = diag ? diag : &none;
    size_t count = d->count, dropped = d->dropped;
    *ret = NULL;
    if (len > TL_JSON_MAX_GRAPH)
        return tl_diag_add(diag, NULL, NULL, "$", "a graph has at most %d MiB", TL_JSON_MAX_GRAPH / 1024 / 1024);
    struct tl_doc *doc = tl_calloc(1, sizeof(*doc));
    if (!doc)
        return TL_ENOMEM;
    struct reading g = {.doc = doc, .diag = d};
    struct tl_jread r;
    tl_jread_init(&r, text, len, &doc->arena);
    int err = read_top(&g, &r);
    if (err)
        r.err = err;
    else if (tl_jread_end(&r) == TL_EINVAL)
        tl_diag_cut(d, count, dropped); /* what was found in a text that is none is not told */
    err = tl_jread_finish(&r, d);
    if (!err)
        err = d->err ? d->err : d->count > count || d->dropped > dropped ? TL_EINVAL : 0;
    tl_diag_clear(&none);
    doc->sound = !err;
    if (!err || (err == TL_EINVAL && !r.err && g.have_nodes && g.have_edges))
        *ret = doc;
    else
        tl_doc_free(doc);
    return err;
}

int tl_doc_check(const char *text, size_t len, struct tl_diag *diag)
{
    struct tl_doc *doc;
    int err = tl_doc_read(text, len, &doc, diag);
    tl_doc_free(doc);
    return err;
}

void tl_doc_wipe(struct tl_doc *doc)
{
    tl_idmap_wipe(&doc->ids);
    tl_idmap_wipe(&doc->edge_ids);
    tl_arena_wipe(&doc->arena);
}

void tl_doc_free(struct tl_doc *doc)
{
    if (!doc)
        return;
    tl_idmap_clear(&doc->ids);
    tl_idmap_clear(&doc->edge_ids);
    tl_arena_clear(&doc->arena);
    free(doc->nodes);
    free(doc->edges);
    free(doc);
}

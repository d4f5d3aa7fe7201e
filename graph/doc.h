/* The graph document as data: React Flow's field names, nodes and edges, no meaning yet. Read from its text in one pass, without building it.
 * {"nodes":[{"id","type","position":{"x","y"},"data":{"params":{},"inputs":{},"label"}}],
 *  "edges":[{"id","source","sourceHandle","target","targetHandle"}]}
 * data.inputs gives an unconnected input port its value. React Flow's other fields (width, selected, style, viewport …) are kept in the stored document
 * and mean nothing here; any further field is a problem. */
#ifndef TL_GRAPH_DOC_H
#define TL_GRAPH_DOC_H

#include "base/diag.h"
#include "base/jread.h"
#include "base/mem.h"
#include "graph/idmap.h"

#include <stdint.h>

enum { TL_GRAPH_MAX_NODES = 100000, TL_GRAPH_MAX_EDGES = 400000, TL_GRAPH_MAX_NESTING = 8, TL_GRAPH_MAX_ID = 128 };

struct tl_doc_node {
    const char *id;       /* "" where the document has none that is sound; of doc->ids */
    struct tl_jtext type; /* empty where there is none */
    struct tl_jtext data; /* the text of an object; empty where there is none */
};

struct tl_doc_edge {
    struct tl_jtext source_handle, target_handle;
    uint32_t source, target; /* indices into nodes; both UINT32_MAX where the edge does not count */
};

/* Borrows the text it was read from. */
struct tl_doc {
    struct tl_arena arena;
    struct tl_doc_node *nodes;
    struct tl_doc_edge *edges;
    size_t nodes_cap, edges_cap;
    uint32_t nnodes, nedges;
    struct tl_idmap ids, edge_ids; /* a plan takes over the nodes' */
    bool sound;                    /* no problem of form was found */
};

/* Reads the structure and reports all problems of form at once (missing or duplicate ids, edges to nowhere, unknown fields, limits). TL_EINVAL with problems,
 * TL_ENOMEM. Wherever the document has nodes and edges at all, *ret is returned owned with TL_EINVAL too, its sound false, for who goes on to look for
 * what else is wrong; NULL otherwise. */
int tl_doc_read(const char *text, size_t len, struct tl_doc **ret, struct tl_diag *diag);
void tl_doc_free(struct tl_doc *doc);
void tl_doc_wipe(struct tl_doc *doc); /* overwrites its texts, before tl_doc_free */
/* The form only. */
int tl_doc_check(const char *text, size_t len, struct tl_diag *diag);

#endif

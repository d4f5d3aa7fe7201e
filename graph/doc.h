/* The graph document as data: React Flow's field names, nodes and edges, no meaning yet.
 * {"nodes":[{"id","type","position":{"x","y"},"data":{"params":{},"inputs":{},"label"}}],
 *  "edges":[{"id","source","sourceHandle","target","targetHandle"}]}
 * data.inputs gives an unconnected input port its value. Other React Flow fields that carry no meaning here (width, selected, style, viewport …) are
 * kept in the stored document and ignored. */
#ifndef TL_GRAPH_DOC_H
#define TL_GRAPH_DOC_H

#include "base/diag.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdint.h>

enum { TL_GRAPH_MAX_NODES = 100000, TL_GRAPH_MAX_EDGES = 400000, TL_GRAPH_MAX_NESTING = 8, TL_GRAPH_MAX_ID = 128 };

struct tl_doc_node {
    const char *id, *type;
    json_t *data;   /* borrowed from the document; NULL where there is none */
    uint32_t index; /* place in $.nodes */
};

struct tl_doc_edge {
    const char *id; /* may be NULL */
    const char *source_handle, *target_handle;
    uint32_t source, target; /* indices into nodes */
    uint32_t index;          /* place in $.edges */
};

struct tl_doc {
    struct tl_arena arena;
    json_t *json; /* the document; owned reference */
    struct tl_doc_node *nodes;
    struct tl_doc_edge *edges;
    uint32_t nnodes, nedges;
};

/* Reads the structure and reports all problems of form at once (missing or duplicate ids, edges to nowhere, limits). Shares json.
 * TL_EINVAL with problems, TL_ENOMEM; *ret is returned owned on 0 only. */
int tl_doc_parse(json_t *json, struct tl_doc **ret, struct tl_diag *diag);
void tl_doc_free(struct tl_doc *doc);

#endif

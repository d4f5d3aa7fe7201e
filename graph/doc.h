/* The graph document as data: React Flow's field names, nodes and edges, no meaning yet.
 * {"nodes":[{"id","type","position":{"x","y"},"data":{"params":{},"inputs":{},"label"}}],
 *  "edges":[{"id","source","sourceHandle","target","targetHandle"}]}
 * data.inputs gives an unconnected input port its value. React Flow's other fields (width, selected, style, viewport …) are kept in the stored document
 * and mean nothing here; any further field is a problem. */
#ifndef TL_GRAPH_DOC_H
#define TL_GRAPH_DOC_H

#include "base/diag.h"
#include "base/mem.h"
#include "graph/idmap.h"

#include <jansson.h>
#include <stdint.h>

enum { TL_GRAPH_MAX_NODES = 100000, TL_GRAPH_MAX_EDGES = 400000, TL_GRAPH_MAX_NESTING = 8, TL_GRAPH_MAX_ID = 128 };

struct tl_doc_node {
    const char *id, *type; /* "" where the document has none that is sound */
    json_t *data;          /* borrowed from the document; NULL where there is none */
    uint32_t index;        /* place in $.nodes */
};

struct tl_doc_edge {
    const char *id; /* may be NULL */
    const char *source_handle, *target_handle;
    uint32_t source, target; /* indices into nodes; UINT32_MAX where there is no such node */
    uint32_t index;          /* place in $.edges */
};

struct tl_doc {
    struct tl_arena arena;
    json_t *json; /* the document; owned reference */
    struct tl_doc_node *nodes;
    struct tl_doc_edge *edges;
    uint32_t nnodes, nedges;
    struct tl_idmap ids; /* nodes by id */
    bool sound;          /* no problem of form was found */
};

/* Reads the structure and reports all problems of form at once (missing or duplicate ids, edges to nowhere, unknown fields, limits). Shares json.
 * TL_EINVAL with problems, TL_ENOMEM; *ret is returned owned on 0 only. */
int tl_doc_parse(json_t *json, struct tl_doc **ret, struct tl_diag *diag);
/* The same for who goes on to look for what else is wrong: wherever the document has nodes and edges at all, *ret is returned owned with TL_EINVAL too,
 * its sound false; NULL otherwise. */
int tl_doc_read(json_t *json, struct tl_doc **ret, struct tl_diag *diag);
void tl_doc_free(struct tl_doc *doc);

#endif

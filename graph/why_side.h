/* One of the runs that an answer to "why" compares. Private to graph/why*.c. */
#ifndef TL_GRAPH_WHY_SIDE_H
#define TL_GRAPH_WHY_SIDE_H

#include "graph/run.h"

struct tl_why_side {
    struct tl_id id;
    char id_text[TL_ID_TEXT];
    json_t *record, *doc, *ops; /* ops: as tl_why_ops said when the run began; NULL for an old one */
    struct tl_plan *plan; /* NULL where it cannot be made any more */
    uint32_t node;        /* in the plan */
    json_t *outputs;      /* by node id: those that the node depends on */
};

/* TL_ENOTFOUND. nodes: also what the journal says of the nodes' states. */
int tl_why_load(struct tl_exec *exec, const char *org, const struct tl_id *id, bool nodes, struct tl_why_side *ret);
void tl_why_clear(struct tl_why_side *side);
/* Reads the outputs that the node depends on out of the journal. */
int tl_why_read_outputs(struct tl_exec *exec, struct tl_why_side *side);
/* Marks what the node's result depends on among the plan's nodes: its producers, or all ancestors where its op reads them. Returned owned. */
bool *tl_why_sources(const struct tl_plan *plan, uint32_t node);
/* What differs, as a list of changes. Both have a plan, a node and outputs. Returned owned. */
json_t *tl_why_changes(const struct tl_why_side *from, const struct tl_why_side *to, bool admin);

#endif

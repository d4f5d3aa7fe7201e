/* One of the runs that an answer to "why" compares. A journal may tell of 100,000 nodes: it is read as text, and only what is asked for is made of it. Private to
 * graph/why*.c. */
#ifndef TL_GRAPH_WHY_SIDE_H
#define TL_GRAPH_WHY_SIDE_H

#include "base/jread.h"
#include "graph/run.h"

struct tl_why_side {
    struct tl_id id;
    char id_text[TL_ID_TEXT];
    json_t *record, *doc, *ops; /* ops: as tl_why_ops said when the run began; NULL for an old one */
    struct tl_plan *plan;       /* NULL where it was not asked for, or cannot be made any more */
    uint32_t node;              /* in the plan */
    json_t *state;              /* what was told last of the node; NULL for nothing */
    bool *sources;              /* by node of the plan: those that the node depends on */
    struct tl_jtext *outputs;   /* by node of the plan: their outputs, a JSON object; empty where none were told */
    bool cut;                   /* nothing of outputs that it depends on is known: retention has removed it */
    struct tl_arena arena;
};

/* Record and document. TL_ENOTFOUND. */
int tl_why_load(struct tl_exec *exec, const char *org, const struct tl_id *id, struct tl_why_side *ret);
void tl_why_plan(struct tl_exec *exec, const char *org, struct tl_why_side *side);
void tl_why_clear(struct tl_why_side *side);
/* Marks what the node's result depends on among the plan's nodes: its producers, or all ancestors where its op reads them. Returned owned. */
bool *tl_why_sources(const struct tl_plan *plan, uint32_t node);
/* One of the outputs that were read; NULL where there was none. Returned owned. */
json_t *tl_why_output(const struct tl_why_side *side, uint32_t node, const char *port);

/* Reading the journal. */
int tl_why_read_state(struct tl_exec *exec, const struct tl_id *run, const char *step, json_t **ret);
/* Sets, per node of the plan, whether it has failed. */
int tl_why_read_failed(struct tl_exec *exec, const struct tl_why_side *side, bool *failed);
/* Fills sources, outputs and cut. */
int tl_why_read_outputs(struct tl_exec *exec, struct tl_why_side *side);
/* The payload of the event that ended the run; NULL where there is none. Returned owned. */
json_t *tl_why_read_end(struct tl_exec *exec, const struct tl_why_side *side);

/* What differs, as a list of changes; what arrived is left out where it is not known of one of them. Both have a plan, a node and outputs. Returned owned. */
json_t *tl_why_changes(const struct tl_why_side *from, const struct tl_why_side *to, bool admin);

#endif

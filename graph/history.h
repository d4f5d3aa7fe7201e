/* What nodes of each kind took so far, per organisation: what estimates are made of. Gathered while a run lives, written once, in its last commit. Only what a
 * client may see anyway is counted: nodes of the canvas and of open groups, a capsule as a whole. */
#ifndef TL_GRAPH_HISTORY_H
#define TL_GRAPH_HISTORY_H

#include "graph/op_ctx.h"
#include "store/db.h"

enum {
    TL_HISTORY_KINDS = 256, /* in one run; further ones are not counted */
    TL_HISTORY_NAME = 300,  /* bytes of a kind's name */
};

/* The name that a node's history is kept under: the op's, or what its shape says (a capsule's "id@version"). Borrowed. */
const char *tl_history_name(const struct tl_plan_node *node);

struct tl_history_line {
    const char *name; /* of the plan */
    uint32_t count, failures;
    double ms; /* of those that ended well, together */
    struct tl_usage usage;
};
/* Of an outermost run, under its lock; zeroed when it begins. */
struct tl_history {
    struct tl_history_line *lines;
    size_t cap;
    uint32_t n, last; /* last: the line found last */
};
void tl_history_took(struct tl_history *h, const struct tl_plan_node *node, uint32_t count, double ms,
                     const struct tl_usage *usage, bool failed);
void tl_history_clear(struct tl_history *h);
int tl_history_put(struct tl_txn *txn, const char *org, const struct tl_history *h);

/* Stored: {"count","failures","ms","recent_ms","tokens","recent_tokens","cost_usd","recent_cost_usd"}: sums, and means of one node in which later ones weigh more. */
struct tl_history_mean {
    double ms, tokens, cost_usd; /* of one node */
};
/* TL_ENOTFOUND where none of this kind has ended well. */
int tl_history_get(struct tl_txn *txn, const char *org, const char *name, struct tl_history_mean *ret);

#endif

/* A dry run: in which order a plan's nodes would run, which of them are there already, and what the others would take, by the history of their kinds. Nothing runs,
 * nothing is written. */
#ifndef TL_GRAPH_ESTIMATE_H
#define TL_GRAPH_ESTIMATE_H

#include "graph/run.h"

/* What a run may take; 0: no bound. */
struct tl_estimate_budget {
    double seconds, tokens, cost_usd;
};

/* *ret, owned, on 0 and on TL_EBUDGET (the estimate exceeds the budget; "message" says in which respect):
 * {"order":[id…],"cached":[id…],"estimate":{"seconds","tokens","cost_usd","nodes_cached","nodes_to_run","unknown_ops":[name…]},"message"?}.
 * A node counts as cached where all that it depends on is known to be what it was; one behind a node that must run counts as running, though the same
 * value may come out again. unknown_ops: kinds without history, which count as nothing. Seconds: the longest path, or a class's work by its
 * places where that is more. May take a while for large plans: not on a service thread. */
int tl_run_estimate(struct tl_exec *exec, const char *org, const struct tl_plan *plan,
                    const struct tl_estimate_budget *budget, json_t **ret);

#endif

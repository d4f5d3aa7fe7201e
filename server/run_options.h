/* What a request says of a run besides what is run: whether it waits for the end, its priority, what it may use, whether it is only asked what it would take. */
#ifndef TL_SERVER_RUN_OPTIONS_H
#define TL_SERVER_RUN_OPTIONS_H

#include "base/diag.h"
#include "graph/estimate.h"
#include "server/idem.h"

/* The fields of a body that are options, for tl_json_only_keys. */
#define TL_RUN_OPTION_KEYS "targets", "async_mode", "priority", "budget", "dry_run"

struct tl_run_options {
    bool wait;    /* async_mode: false */
    bool dry;     /* dry_run: true */
    bool bounded; /* the budget bounds something */
    int priority; /* TL_PRIORITY_… */
    struct tl_estimate_budget budget;
};

/* Reads them from a body; reports all that is wrong with them. */
void tl_run_options_read(const json_t *body, struct tl_run_options *ret, struct tl_diag *diag);
/* Answers a dry run of plan, which is NULL where diag says what is wrong with the graph. Pool thread. */
void tl_run_options_reply_dry(struct tl_req *req, const struct tl_run_options *o, const struct tl_plan *plan,
                              const struct tl_diag *diag);
/* Puts priority and budget into what is started. Where the budget is exceeded before it begins, *ret_refusal, owned, says in which respect; else it is NULL. Pool
 * thread: a bounded run is estimated. */
int tl_run_options_apply(struct tl_req *req, const struct tl_run_options *o, struct tl_idem_run *run,
                         char **ret_refusal);

#endif

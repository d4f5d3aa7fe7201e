/* Why a node ran, or did not: found out when somebody asks, from what the store has of this run and of an earlier one. Nothing is gathered for it beforehand but the
 * revisions of ops, in the run's document. */
#ifndef TL_GRAPH_WHY_H
#define TL_GRAPH_WHY_H

#include "graph/run.h"

/* {"name": revision} of a plan's ops, and {"label": identity} of those that have one: "ops" of a stored run document. Returned owned. */
json_t *tl_why_ops(const struct tl_plan *plan);

/* step: a node's id, or a step's inside a group ("map#3/grade": then what is said of differences is of the group as a whole). Returned owned:
 * {"node","ran": bool,"status","reason","compared_with"?: run id,"changes":[{"kind","name"?,"from"?,"to"?}],"sentence"}
 * reason: ran — first changed impure not_kept failed_before; did not — cached resumed skipped branch cancelled stopped pending; either: unknown.
 * kind of a change: op revision identity version parameter literal edge input upstream body. from and to are short: a long value is named by its hash. What only an administrator
 * may see does not exist for anybody else. TL_ENOTFOUND: no such run of org, or no such node in it. Reads journals: not on a service thread. */
int tl_run_why(struct tl_exec *exec, const char *org, const struct tl_id *run, const char *step, bool admin,
               json_t **ret);

#endif

/* A node's policy (data.policy): how long it may take, when it is tried again, and what its failure means for the run. Pure functions of their
 * arguments: the executor asks, and does. Source: runs-api-and-slides.md B.3. */
#ifndef TL_GRAPH_POLICY_H
#define TL_GRAPH_POLICY_H

#include "base/diag.h"
#include "base/mem.h"
#include "graph/value.h"
#include "wire/op.h"

enum { TL_POLICY_ATTEMPTS_MAX = 10, TL_POLICY_BACKOFFS = 10, TL_POLICY_LOSSES = 3 };
enum tl_on_error { TL_ON_ERROR_FAIL, TL_ON_ERROR_CONTINUE, TL_ON_ERROR_FALLBACK };

struct tl_policy {
    int64_t timeout_ms; /* of one attempt; 0: none (TL_OP_COMPOSITE) */
    unsigned max_attempts;
    uint32_t retry_on; /* bits by place in the table of codes in policy.c */
    uint32_t
        backoff_ms[TL_POLICY_BACKOFFS]; /* before attempt 2, 3, …; the last one again where there are more attempts */
    unsigned nbackoff;
    unsigned
        max_losses; /* of workers, that are no attempts: TL_POLICY_LOSSES for TL_OP_WORKER; 0 where a node holds others, whose losses were counted */
    enum tl_on_error on_error;
    const struct tl_value *fallback; /* one per output port, for TL_ON_ERROR_FALLBACK; none where not given */
};

/* The policy of an op whose node says nothing. Static. */
const struct tl_policy *tl_policy_of_op(const struct tl_op *op);
/* Reads data.policy of a node (NULL: none) on top of its op's own: {"timeout_sec","retry":{"max_attempts","on":[codes],"backoff_ms":[…]},
 * "on_error":"fail"|"continue"|"fallback","fallback":{port: value}}. path is the policy's own ("$.nodes[3].data.policy"). All problems are reported:
 * TL_EINVAL; *ret is then the op's own. Otherwise it is of the arena, or static; its fallback values are cleared by tl_policy_clear. Borrows json. */
int tl_policy_read(const struct tl_op *op, const struct tl_port *const *out, uint32_t nout, const json_t *json,
                   const char *node, const char *path, struct tl_arena *arena, const struct tl_policy **ret,
                   struct tl_diag *diag);
void tl_policy_clear(const struct tl_policy *policy, uint32_t nout); /* also of a static one */

enum tl_after { TL_AFTER_FAIL, TL_AFTER_RETRY, TL_AFTER_CONTINUE, TL_AFTER_FALLBACK };
/* What follows when an attempt ended with err. attempts: that were made, this one included, lost ones not; losses: workers lost so far, this one
 * included where err is TL_EWORKER. A lost worker is a lost lease, not an attempt, up to max_losses: the node is begun anew at once. Each further loss counts as an
 * attempt here (the caller goes on counting both as said). random is uniform over 32 bits, for the jitter (0.5 to 1.5 of the backoff). A cancel and a spent
 * budget always fail: they are of the run. */
enum tl_after tl_policy_after(const struct tl_policy *policy, int err, unsigned attempts, unsigned losses,
                              uint32_t random, int64_t *ret_delay_ms);

#endif

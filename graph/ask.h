/* Questions to people: a node that waits for an answer keeps its question in the store (TL_TBL_ASK), so that neither question nor answer nor the time it expires
 * at is lost or prolonged by a restart. An answer is durable before the node goes on. */
#ifndef TL_GRAPH_ASK_H
#define TL_GRAPH_ASK_H

#include "graph/op_ctx.h"
#include "graph/run.h"

enum {
    TL_ASK_SHOWN_MAX =
        65536, /* bytes of what is shown, as JSON; beyond it "value" is left out and "value_bytes" says so */
    TL_ASK_ANSWER_MAX = 262144, /* bytes of an answer's fields or outputs */
    TL_ASK_COMMENT_MAX = 4000,
};

/* What each kind of question may be answered with. */
#define TL_ASK_GATE "gate"               /* approve, reject */
#define TL_ASK_UNKNOWN "outcome_unknown" /* retry, fail, done */

struct tl_ask {
    const char *kind;
    const json_t *shown; /* an object. The answer must name the hex BLAKE2b-256 of its canonical text */
    int64_t expires_ms;  /* after the question was first asked; 0: never */
    const struct tl_port *
        form; /* what may be filled in with "approve"; ended by a NULL name, or NULL. With "done" it is the node's outputs */
    /* Once, on any thread, unless the node is cancelled; ctx is then the callee's to end by tl_op_done. err: 0 with the answer
     * {"decision","comment"?,"fields"?,"outputs"?,"who","at"}; TL_EEXPIRED; or the store's error. */
    void (*answered)(struct tl_op_ctx *ctx, int err, const json_t *answer);
};
/* From run(), which then returns TL_OP_PENDING: asks, or finds the same question with its answer. Sets tl_op_on_cancel and tl_op_alarm; shows the node as waiting.
 * On an error nothing follows. */
int tl_ask_open(struct tl_op_ctx *ctx, const struct tl_ask *ask);
/* Sets the outputs that an answer gives. */
int tl_ask_outputs(struct tl_op_ctx *ctx, const json_t *answer);

struct tl_answer {
    const char *decision, *hash, *who;
    const char *comment;      /* or NULL */
    json_t *fields, *outputs; /* shared; or NULL */
    struct tl_diag *diag;     /* what is wrong with the answer's form; or NULL */
};
/* Answers the question of a step, with a row in the audit table. 0: done(arg, err) follows, on any thread, when the answer is durable: 0 also for the same answer again. Otherwise, from here or by done:
 * TL_ENOTFOUND (also another organisation's run), TL_ENOTAPPROVABLE (the step does not wait), TL_ECONFLICT (another hash than was shown, or answered otherwise),
 * TL_EEXPIRED, TL_EINVAL with problems. */
int tl_run_answer(struct tl_exec *exec, const char *org, const struct tl_id *run, const char *step,
                  const struct tl_answer *answer, void (*done)(void *arg, int err), void *arg);

/* The executor's open questions. */
struct tl_asks;
int tl_asks_new(struct tl_exec *exec, struct tl_asks **ret);
void tl_asks_free(struct tl_asks *asks);

#endif

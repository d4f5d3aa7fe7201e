/* What an op may do while it runs: read inputs and parameters, set outputs, report progress and usage, fail with a sentence, and
 * finish later. All borrowed values live until the op has finished. run() is called on an executor thread and must not block;
 * tl_op_progress, tl_op_cancelled and tl_op_done may be called from any thread. */
#ifndef TL_GRAPH_OP_CTX_H
#define TL_GRAPH_OP_CTX_H

#include "graph/plan.h"

/* Inputs by port name; NULL where there is no value. Required ports always have one, of the port's type. */
const struct tl_value *tl_op_input(struct tl_op_ctx *ctx, const char *port);
const struct tl_value *tl_op_input_at(struct tl_op_ctx *ctx, uint32_t place); /* by its place among the inputs: for ops that take less time than a look-up */
double tl_op_input_number(struct tl_op_ctx *ctx, const char *port, double otherwise);
const char *tl_op_input_text(struct tl_op_ctx *ctx, const char *port); /* NULL where absent or no string */
json_t *tl_op_input_json(struct tl_op_ctx *ctx, const char *port); /* borrowed; NULL where absent, number or boolean */
/* Of a TL_PORT_MULTI input: the value of the first edge that brings one, with its own type. Borrowed; NULL where there is none. */
const struct tl_value *tl_op_input_first(struct tl_op_ctx *ctx, const char *port);
/* The next of them: begin with *at = 0, until NULL. Where no edge comes in, the value that was given is the only one. */
const struct tl_value *tl_op_input_next(struct tl_op_ctx *ctx, const char *port, uint32_t *at);
/* A float[] or string[] input as an array the caller frees (strings inside are borrowed). 0 with n = 0 where absent. */
int tl_op_input_floats(struct tl_op_ctx *ctx, const char *port, double **ret, size_t *ret_n);

/* The public outputs of every ancestor (seed: upstream_context), for ops with TL_OP_UPSTREAM. sequential: {"mode":"sequential","sequence":
 * [{"id","type","outputs"}]} in topological order; otherwise {"mode":"aggregate","nodes":{id:{"type","outputs"}}}. Returned owned; NULL on
 * want of memory. */
json_t *tl_op_upstream(struct tl_op_ctx *ctx, bool sequential);

/* Parameters by name; always there, checked against the op's list. */
const struct tl_value *tl_op_param(struct tl_op_ctx *ctx, const char *name);
const struct tl_value *tl_op_param_at(struct tl_op_ctx *ctx, uint32_t place); /* by its place in the op's list */
double tl_op_param_number(struct tl_op_ctx *ctx, const char *name);
const char *tl_op_param_text(struct tl_op_ctx *ctx, const char *name);
bool tl_op_param_bool(struct tl_op_ctx *ctx, const char *name);

/* Sets an output; takes the value. TL_EINVAL for an unknown port or another type (a fault of the op), TL_ENOMEM for no value. */
int tl_op_output(struct tl_op_ctx *ctx, const char *port, struct tl_value value);
int tl_op_output_json(struct tl_op_ctx *ctx, const char *port, json_t *takes); /* of the port's type */
int tl_op_output_number(struct tl_op_ctx *ctx, const char *port, double v);

void tl_op_progress(struct tl_op_ctx *ctx, double fraction,
                    const char *message); /* 0 to 1; message may be NULL, is copied */
bool tl_op_cancelled(struct tl_op_ctx *ctx);
/* Records why the op fails and returns err, so that run() can end with it. The text may be shown to whoever may see this node. */
int tl_op_fail(struct tl_op_ctx *ctx, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct tl_usage {
    int64_t tokens_in, tokens_out;
    double cost_usd;
};
void tl_op_usage(struct tl_op_ctx *ctx, const struct tl_usage *more); /* added to the run's */
/* Keeps the node's result for resuming this run only, not for other runs (a language model answered). */
void tl_op_impure(struct tl_op_ctx *ctx);

/* After run() returned TL_OP_PENDING: exactly once, from any thread; ctx is gone afterwards. */
void tl_op_done(struct tl_op_ctx *ctx, int err);
/* Called once when the run is cancelled while the op is pending, on any thread; the op must then end soon by tl_op_done(ctx, TL_ECANCELLED).
 * Set it before handing ctx to whoever will call tl_op_done. It may be called before run() returns. */
void tl_op_on_cancel(struct tl_op_ctx *ctx, void (*fn)(struct tl_op_ctx *ctx));

void *tl_op_priv(struct tl_op_ctx *ctx); /* priv_size zeroed bytes */
const struct tl_plan_node *tl_op_node(struct tl_op_ctx *ctx);
const char *tl_op_org(struct tl_op_ctx *ctx);      /* organisation that runs */
const char *tl_op_run_id(struct tl_op_ctx *ctx);   /* text; the outermost run's */
const char *tl_op_step_key(struct tl_op_ctx *ctx); /* "node/inner/…": unique in the outermost run */
void *tl_op_services(struct tl_op_ctx *ctx);       /* tl_exec_conf.services: struct tl_services of capsules/ */

/* Which attempt this is, from 1 (graph/policy.h: retries), and a text of 32 hexadecimal digits that is the same at every attempt of this step of this run, also
 * after a crash: the idempotency key for whoever is reached outside. */
unsigned tl_op_attempt(struct tl_op_ctx *ctx);
const char *tl_op_idempotency_key(struct tl_op_ctx *ctx);
/* For TL_OP_EFFECT: an earlier attempt of this step began and its outcome is not known (a crash, a connection lost). An op whose other side does not
 * honour the key then fails with TL_EUNKNOWN, and the node waits for a person. */
bool tl_op_interrupted(struct tl_op_ctx *ctx);

/* Whether its step is told in the journal: its run and all around it are open. */
bool tl_op_open(struct tl_op_ctx *ctx);
/* Before failing with an error that may pass: the next attempt begins no sooner than in ms. */
void tl_op_retry_after(struct tl_op_ctx *ctx, int64_t ms);

/* While the op is pending: the node is shown as "waiting" with what it waits for (takes what: {"kind","shown","hash","expires_at"?…}), in the journal and in the
 * record's waiting_for, until it ends. Holds no thread and no place of its class. */
void tl_op_waiting(struct tl_op_ctx *ctx, json_t *what);
/* Calls fn once while the op is pending, at or after at_ms of tl_op_now_ms, on any thread; ctx stays alive during the call, and fn may call tl_op_done. One alarm per op. */
int tl_op_alarm(struct tl_op_ctx *ctx, int64_t at_ms, void (*fn)(struct tl_op_ctx *ctx));
int64_t tl_op_now_ms(struct tl_op_ctx *ctx); /* the executor's wall clock */

/* Runs plan as a nested graph for this op, in the same executor, under the same cancel; several at once are allowed. On an error (TL_ECANCELLED where the node is being cancelled) done is not called. The op returns
 * TL_OP_PENDING; done is called once for each, on an executor thread, with the outputs of graph.output (borrowed, one per env.out port). After the last of them
 * the op ends by tl_op_done. When the node is cancelled the nested runs are, and done is called with TL_ECANCELLED. */
struct tl_nested_result {
    int err;
    const char *node, *message;     /* of the inner failure: for those who may see inside only */
    const struct tl_value *outputs; /* one per env.out port, none where not produced */
    struct tl_usage usage;
};
struct tl_nest {
    struct tl_plan *plan;
    const struct tl_value *inputs; /* one per env.in port; shared */
    const char *suffix;            /* "" or "#2": with it the steps inside are "node#2/inner" */
    bool open; /* a public group: its nodes are told in the journal and their results kept like any other's. Otherwise nothing of the inside reaches the journal */
    void *arg;
    /* An inner node finished (done of total wanted nodes); called on any thread, one at a time per nested run, its lock held. May be NULL. */
    void (*step)(void *arg, const struct tl_plan_node *node, uint32_t done, uint32_t total);
    void (*done)(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result);
};
int tl_op_nest(struct tl_op_ctx *ctx, const struct tl_nest *nest);
/* Counts what an op keeps for so many nested nodes to come (items of a list) against the organisation's share, until the op ends. TL_ELIMIT. */
int tl_op_claim(struct tl_op_ctx *ctx, size_t nodes);
/* Cancels the nested runs that there are; each still calls done. ctx may be gone when it returns. */
void tl_op_nest_stop(struct tl_op_ctx *ctx);

#endif

/* An attempt at a node: its inputs, the result that may be there already, the op, the time it is allowed; and a thread's turn at a run. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <string.h>

#define NONE UINT32_MAX

enum {
    COMPUTE_LOOK = 8,    /* nodes that compute, after which a thread looks whether another waits: some microseconds */
    CLOCK_LOOK = 256,    /* and at the clock, where nobody does */
    SLICE_US = 10 * 1000 /* of one slice: what an organisation has had is known to be so old at most when another comes */
};

/* The value an input port receives. Types that only now are known (any) are checked here. */
int tl_op_receive(struct tl_run *run, const struct tl_plan_port *port, struct tl_value *ret)
{
    const struct tl_plan_source *src = &run->plan->sources[port->first_source];
    if (port->def->flags & TL_PORT_MULTI && port->nsources) {
        json_t *list = json_array();
        for (uint32_t k = 0; k < port->nsources; k++) {
            const struct tl_value *out = &tl_run_values(run, src[k].node)[src[k].out];
            if (!tl_value_none(out) && json_array_append_new(list, tl_value_json(out)) < 0)
                json_decref(list), list = NULL;
        }
        *ret = tl_value_take(TL_T_JSON, list);
        return list ? 0 : TL_ENOMEM;
    }
    const struct tl_value *v = port->nsources ? &tl_run_values(run, src->node)[src->out] : port->literal;
    uint32_t needed = TL_PORT_REQUIRED | (port->nsources ? TL_PORT_EITHER : 0);
    if (tl_value_none(v))
        return port->def->flags & needed ? TL_ENOTFOUND : 0;
    return tl_value_as(port->def->type, v, ret, NULL);
}

static int receive_all(struct tl_run *run, struct tl_op_ctx *ctx)
{
    for (uint32_t p = 0; p < ctx->def->nin; p++) {
        const struct tl_port *def = ctx->def->in[p].def;
        int err = tl_op_receive(run, &ctx->def->in[p], &ctx->inputs[p]);
        if (err == TL_ENOTFOUND)
            return tl_op_fail(ctx, TL_ESCHEMA, "the input \"%s\" is required and received no value", def->name);
        if (err == TL_EINVAL)
            return tl_op_fail(ctx, TL_ESCHEMA, "the input \"%s\" received a value that is no %s", def->name,
                              tl_type_name(def->type));
        if (err)
            return tl_op_fail(ctx, err, "%s", tl_err_text(err));
    }
    return 0;
}

int tl_op_call(struct tl_op_ctx *ctx)
{
    const struct tl_op *op = ctx->def->op;
    int err = op->prepare ? op->prepare(ctx) : 0;
    return err ? err : op->run(ctx);
}

static int attempt(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    int err = receive_all(run, ctx);
    if (err)
        return err;
    if (ctx->node == run->plan->input_node) {
        for (uint32_t k = 0; k < ctx->def->nout; k++)
            ctx->outputs[k] = tl_value_ref(&run->inputs[k]);
        return 0;
    }
    if (ctx->node == run->plan->output_node)
        return 0;
    bool open = tl_op_open(ctx);
    if (run->exec->results && (open || !(ctx->def->op->flags & TL_OP_QUICK))) {
        err = open ? tl_result_key(ctx) : 0;
        if (err)
            return tl_op_fail(ctx, err, "%s", tl_err_text(err));
        if (tl_result_find(ctx) == 0) {
            pthread_mutex_lock(&run->lock);
            run->nodes[ctx->node].cached = true;
            pthread_mutex_unlock(&run->lock);
            return 0;
        }
    }
    return ctx->def->op->flags & TL_OP_EFFECT ? tl_op_mark_and_call(ctx) : tl_op_call(ctx);
}

static void time_out(struct tl_timer *timer)
{
    struct tl_node_timer *t = (struct tl_node_timer *)timer;
    struct tl_run *run = t->run;
    pthread_mutex_lock(&run->lock);
    struct tl_op_ctx *ctx = run->nodes[t->node].ctx;
    if (ctx && ctx->serial == t->serial && ctx->timeout == t) {
        ctx->timeout = NULL;
        ctx->timed_out = true;
        tl_op_ctx_cancel(ctx);
    }
    tl_run_unlock_and_end(run);
    tl_node_timer_free(t);
}

/* An attempt has returned err. Leaves run->lock held. */
void tl_op_after_attempt(struct tl_op_ctx *ctx, int err, struct tl_op_ctx **spare)
{
    struct tl_run *run = ctx->run;
    if (err != TL_OP_PENDING)
        tl_op_clean_up(ctx, err);
    pthread_mutex_lock(&run->lock);
    ctx->in_run = false;
    if (err != TL_OP_PENDING) {
        ctx->done = true;
        ctx->err = err;
    }
    if (!ctx->done && run->stopping) {
        tl_op_ctx_cancel(ctx); /* ended by the canceller or later */
        return;
    }
    int64_t allowed_ms = ctx->done ? 0 : tl_node_policy(ctx->def)->timeout_ms;
    if (allowed_ms)
        ctx->timeout =
            tl_node_timer_new(run, ctx->node, ctx->serial, tl_exec_mono_us(run->exec) + allowed_ms * 1000, time_out);
    if (!ctx->done || ctx->calls)
        return;
    if (!ctx->cleaned || ctx->err == TL_EUNKNOWN) {
        pthread_mutex_unlock(&run->lock);
        tl_op_clean_up(ctx, ctx->err);
        bool asked = tl_op_ask_person(ctx);
        pthread_mutex_lock(&run->lock);
        if (asked)
            return;
    }
    tl_run_settle(ctx, spare);
}

/* A context for the node's next attempt; NULL where the node has failed for want of memory. run->lock held. */
static struct tl_op_ctx *begin_node(struct tl_run *run, uint32_t i, struct tl_op_ctx **spare)
{
    struct tl_node_state *s = &run->nodes[i];
    const struct tl_op *op = run->plan->nodes[i].op;
    struct tl_op_ctx *ctx = tl_op_ctx_new(run, i, spare);
    s->attempts++;
    if (!ctx) {
        run->left--;
        tl_run_set_status(run, i, TL_NODE_FAILED);
        tl_run_stop_now(run, TL_ENOMEM, run->plan->nodes[i].id, tl_err_text(TL_ENOMEM));
        return NULL;
    }
    ctx->in_run = true;
    s->ctx = ctx;
    run->active++;
    s->status = TL_NODE_RUNNING;
    if (!(op->flags & TL_OP_QUICK)) {
        ctx->began_us = tl_exec_mono_us(run->exec);
        tl_journal_node_changed(run, i);
    }
    return ctx;
}

/* After n nodes of a slice, quick ones: whether to leave it. */
static bool must_leave(struct tl_run *run, int64_t began, uint32_t n, bool quick)
{
    bool hungry = run->exec->hungry;
    if (quick && n % (hungry ? COMPUTE_LOOK : CLOCK_LOOK))
        return false;
    int64_t us = tl_exec_mono_us(run->exec) - began;
    return us > SLICE_US || (hungry && tl_exec_must_yield(run, us, n));
}

uint32_t tl_run_slice(struct tl_run *run, enum tl_op_class cls, struct tl_op_ctx **spare, bool *ret_kept)
{
    uint32_t n = 0, i;
    bool all_quick = true;
    int64_t began = tl_exec_mono_us(run->exec);
    pthread_mutex_lock(&run->lock);
    while ((i = tl_run_pop_ready(run, cls)) != NONE) {
        if (run->walking) {
            uint32_t walked = run->walked;
            while (tl_run_walk(run) &&
                   !(run->exec->hungry &&
                     tl_exec_must_yield(run, tl_exec_mono_us(run->exec) - began, n + run->walked - walked)))
                ;
            n += run->walked - walked;
            if (run->walking)
                break;
            continue;
        }
        if (!run->stopping && run->parent && tl_run_stops(run->parent->run))
            tl_run_stop_now(run, TL_ECANCELLED, NULL,
                            NULL); /* before whoever tells one nested run after the other comes here */
        if (run->stopping || run->nodes[i].status != TL_NODE_QUEUED)
            continue;
        if (tl_run_compute(run, i)) {
            if (must_leave(run, began, ++n, true))
                break;
            continue;
        }
        struct tl_op_ctx *ctx = begin_node(run, i, spare);
        if (!ctx)
            continue;
        bool quick = ctx->def->op->flags & TL_OP_QUICK;
        n++;
        ctx->has_place = *ret_kept = cls != TL_CLASS_CPU;
        all_quick &= quick;
        run->soon += quick;
        tl_run_list_ready(run);
        pthread_mutex_unlock(&run->lock);
        int err = attempt(ctx);
        if (err == TL_OP_LATER)
            pthread_mutex_lock(&run->lock);
        else
            tl_op_after_attempt(ctx, err, spare);
        run->soon -= quick;
        if (cls != TL_CLASS_CPU)
            break;
        if (must_leave(run, began, n, false))
            break;
    }
    if (all_quick && n) {
        run->quick_us += (double)(tl_exec_mono_us(run->exec) - began);
        run->quick_nodes += n;
    }
    tl_run_list_ready(run);
    bool over = tl_run_is_over(run);
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_run_end(&run->end_task);
    return n;
}

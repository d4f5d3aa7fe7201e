#include "graph/state.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>

static void run_node(struct tl_task *task);
static void end_run(struct tl_task *task);

struct tl_run *tl_run_ref(struct tl_run *run)
{
    run->refs++;
    return run;
}

static void clear_values(struct tl_value *v, uint32_t n)
{
    for (uint32_t i = 0; v && i < n; i++)
        tl_value_clear(&v[i]);
    free(v);
}

static uint32_t input_count(const struct tl_run *run)
{
    const struct tl_plan *p = run->plan;
    return p->input_node == UINT32_MAX ? 0 : p->nodes[p->input_node].nout;
}

void tl_run_unref(struct tl_run *run)
{
    if (!run || --run->refs > 0)
        return;
    for (uint32_t i = 0; run->nodes && i < run->plan->nnodes; i++) {
        clear_values(run->nodes[i].outputs, run->plan->nodes[i].nout);
        free(run->nodes[i].hashes);
        free(run->nodes[i].message);
    }
    clear_values((struct tl_value *)(uintptr_t)run->inputs, input_count(run));
    tl_journal_free(run->journal);
    free(run->nodes);
    free(run->tasks);
    free(run->err_node);
    free(run->err_message);
    free(run->cancel_reason);
    free(run->org);
    free(run->sub);
    free(run->kind);
    json_decref(run->doc);
    json_decref(run->meta);
    tl_plan_unref(run->plan);
    pthread_mutex_destroy(&run->lock);
    tl_wipe(run->cache_key, sizeof(run->cache_key));
    free(run);
}

int tl_run_new(struct tl_exec *exec, struct tl_plan *plan, struct tl_run **ret)
{
    *ret = NULL;
    struct tl_run *run = tl_calloc(1, sizeof(*run));
    if (!run)
        return TL_ENOMEM;
    run->exec = exec;
    run->plan = tl_plan_ref(plan);
    run->refs = 1;
    run->left = plan->nwanted;
    run->end_task.fn = end_run;
    pthread_mutex_init(&run->lock, NULL);
    run->nodes = tl_calloc(plan->nnodes, sizeof(*run->nodes));
    run->tasks = tl_calloc(plan->nnodes, sizeof(*run->tasks));
    if (!run->nodes || !run->tasks) {
        tl_run_unref(run);
        return TL_ENOMEM;
    }
    for (uint32_t i = 0; i < plan->nnodes; i++) {
        run->nodes[i].waiting = plan->nodes[i].nproducers;
        run->tasks[i] = (struct tl_node_task){.task.fn = run_node, .run = run, .node = i};
    }
    *ret = run;
    return 0;
}

struct tl_run *tl_run_root(struct tl_run *run)
{
    while (run->parent)
        run = run->parent->run;
    return run;
}

/* With run->lock held. */
static void queue_node(struct tl_run *run, uint32_t node)
{
    tl_run_ref(run);
    tl_exec_ready(run->exec, &run->tasks[node].task);
}

static void finish_if_over(struct tl_run *run)
{
    if (run->left || run->active || run->ended)
        return;
    run->ended = true;
    tl_run_ref(run);
    tl_exec_ready(run->exec, &run->end_task);
}

void tl_run_begin(struct tl_run *run)
{
    pthread_mutex_lock(&run->lock);
    for (uint32_t k = 0; !run->stopping && k < run->plan->nwanted; k++) {
        uint32_t i = run->plan->order[k];
        if (run->nodes[i].waiting)
            break; /* the order begins with all that wait for nothing */
        queue_node(run, i);
    }
    finish_if_over(run);
    pthread_mutex_unlock(&run->lock);
}

static void set_status(struct tl_run *run, uint32_t i, enum tl_node_status status)
{
    struct tl_node_state *s = &run->nodes[i];
    s->status = (uint8_t)status;
    if (status == TL_NODE_DONE) {
        run->progress += 1.0 - (double)s->progress;
        s->progress = 1;
        run->ndone++;
    }
    if (run->journal && !run->suspended)
        tl_journal_node_changed(run, i);
}

bool tl_run_stop(struct tl_run *run, int err, const char *node, const char *message)
{
    pthread_mutex_lock(&run->lock);
    if (run->stopping || run->ended) {
        pthread_mutex_unlock(&run->lock);
        return false;
    }
    run->stopping = true;
    run->err = err;
    run->err_node = tl_strdup(node);
    run->err_message = tl_strdup(message);
    for (uint32_t i = 0; i < run->plan->nnodes; i++) {
        struct tl_node_state *s = &run->nodes[i];
        if (run->plan->nodes[i].wanted && s->status == TL_NODE_QUEUED) {
            run->left--;
            set_status(run, i, TL_NODE_SKIPPED);
        } else if (s->ctx) {
            tl_op_ctx_cancel(s->ctx);
        }
    }
    finish_if_over(run);
    pthread_mutex_unlock(&run->lock);
    return true;
}

/* The value an input port receives. Types that only now are known (any) are checked here. */
static int receive(struct tl_run *run, const struct tl_plan_port *port, struct tl_value *ret)
{
    const struct tl_plan_source *src = &run->plan->sources[port->first_source];
    if (port->def->flags & TL_PORT_MULTI && port->nsources) {
        json_t *list = json_array();
        for (uint32_t k = 0; k < port->nsources; k++) {
            const struct tl_value *out = run->nodes[src[k].node].outputs;
            if (out && !tl_value_none(&out[src[k].out]) &&
                json_array_append_new(list, tl_value_json(&out[src[k].out])) < 0)
                json_decref(list), list = NULL;
        }
        *ret = tl_value_take(TL_T_JSON, list);
        return list ? 0 : TL_ENOMEM;
    }
    const struct tl_value *v = &port->literal;
    if (port->nsources) {
        const struct tl_value *out = run->nodes[src->node].outputs;
        v = out ? &out[src->out] : NULL;
    }
    if (tl_value_none(v))
        return port->def->flags & TL_PORT_REQUIRED ? TL_ENOTFOUND : 0;
    if (v->type == port->def->type || port->def->type == TL_T_ANY) {
        *ret = tl_value_ref(v);
        return 0;
    }
    json_t *j = tl_value_json(v);
    int err = tl_value_from_json(port->def->type, j, ret, NULL);
    json_decref(j);
    return err;
}

static int receive_all(struct tl_run *run, struct tl_op_ctx *ctx)
{
    for (uint32_t p = 0; p < ctx->def->nin; p++) {
        const struct tl_port *def = ctx->def->in[p].def;
        int err = receive(run, &ctx->def->in[p], &ctx->inputs[p]);
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

static int run_op(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    if (ctx->node == run->plan->input_node) {
        for (uint32_t k = 0; k < ctx->def->nout; k++)
            ctx->outputs[k] = tl_value_ref(&run->inputs[k]);
        return 0;
    }
    if (ctx->node == run->plan->output_node)
        return 0;
    if (!run->parent) {
        int err = tl_result_key(ctx);
        if (err)
            return tl_op_fail(ctx, err, "%s", tl_err_text(err));
        if (tl_result_find(ctx) == 0) {
            pthread_mutex_lock(&run->lock);
            run->nodes[ctx->node].cached = true;
            pthread_mutex_unlock(&run->lock);
            return 0;
        }
    }
    const struct tl_op *op = ctx->def->op;
    int err = op->prepare ? op->prepare(ctx) : 0;
    return err ? err : op->run(ctx);
}

static void run_node(struct tl_task *task)
{
    struct tl_run *run = ((struct tl_node_task *)task)->run;
    uint32_t i = ((struct tl_node_task *)task)->node;
    pthread_mutex_lock(&run->lock);
    if (run->stopping || run->nodes[i].status != TL_NODE_QUEUED) {
        pthread_mutex_unlock(&run->lock);
        tl_run_unref(run);
        return;
    }
    struct tl_op_ctx *ctx = tl_op_ctx_new(run, i);
    if (!ctx) {
        run->left--;
        set_status(run, i, TL_NODE_FAILED);
        pthread_mutex_unlock(&run->lock);
        tl_run_stop(run, TL_ENOMEM, run->plan->nodes[i].id, tl_err_text(TL_ENOMEM));
        tl_run_unref(run);
        return;
    }
    ctx->in_run = true;
    run->nodes[i].ctx = ctx;
    run->active++;
    set_status(run, i, TL_NODE_RUNNING);
    pthread_mutex_unlock(&run->lock);

    int err = receive_all(run, ctx);
    if (!err)
        err = run_op(ctx);

    pthread_mutex_lock(&run->lock);
    ctx->in_run = false;
    if (err != TL_OP_PENDING) {
        ctx->done = true;
        ctx->err = err;
    } else if (run->stopping && !ctx->done) {
        tl_op_ctx_cancel(ctx);
        ctx = NULL; /* ended by the canceller or later */
    }
    bool over = ctx && ctx->done && !ctx->in_cancel;
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_run_node_ended(ctx);
    tl_run_unref(run);
}

/* With run->lock held: whoever waited for this node only may run. */
static void release_consumers(struct tl_run *run, uint32_t node)
{
    const struct tl_plan_node *n = &run->plan->nodes[node];
    for (uint32_t k = 0; k < n->nconsumers; k++) {
        uint32_t c = run->plan->consumers[n->first_consumer + k];
        if (--run->nodes[c].waiting == 0 && run->nodes[c].status == TL_NODE_QUEUED && !run->stopping)
            queue_node(run, c);
    }
}

void tl_run_node_ended(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    uint32_t i = ctx->node;
    int err = ctx->err;
    tl_run_ref(run);
    if (ctx->def->op->cleanup)
        ctx->def->op->cleanup(ctx);
    pthread_mutex_lock(&run->lock);
    struct tl_node_state *s = &run->nodes[i];
    s->ctx = NULL;
    run->usage.tokens_in += ctx->usage.tokens_in;
    run->usage.tokens_out += ctx->usage.tokens_out;
    run->usage.cost_usd += ctx->usage.cost_usd;
    if (!err) {
        if (run->journal && (!run->stopping || run->err != TL_ECANCELLED || run->suspended))
            tl_journal_result(run, i, ctx);
        s->outputs = ctx->outputs;
        ctx->outputs = NULL;
        set_status(run, i, TL_NODE_DONE);
        release_consumers(run, i);
    } else {
        set_status(run, i, run->stopping && err == TL_ECANCELLED ? TL_NODE_CANCELLED : TL_NODE_FAILED);
    }
    run->left--;
    if (run->watch.step && !err)
        run->watch.step(run->watch.arg, ctx->def, run->ndone, run->plan->nwanted);
    pthread_mutex_unlock(&run->lock);
    if (err)
        tl_run_stop(run, err, ctx->def->id, ctx->message ? ctx->message : tl_err_text(err));
    tl_op_ctx_free(ctx);
    pthread_mutex_lock(&run->lock);
    run->active--;
    finish_if_over(run);
    pthread_mutex_unlock(&run->lock);
    tl_run_unref(run);
}

static void end_nested(struct tl_run *run)
{
    struct tl_op_ctx *parent = run->parent;
    const struct tl_plan *plan = run->plan;
    struct tl_nested_result result = {.err = run->err, .message = run->err_message, .usage = run->usage};
    uint32_t n = plan->output_node == UINT32_MAX ? 0 : plan->nodes[plan->output_node].nin;
    struct tl_value *outputs = tl_calloc(n, sizeof(*outputs));
    if (!outputs)
        result.err = TL_ENOMEM;
    for (uint32_t p = 0; !result.err && p < n; p++)
        result.err = receive(run, &plan->nodes[plan->output_node].in[p], &outputs[p]);
    result.outputs = outputs;
    run->nested_done(parent, &result);
    clear_values(outputs, n);
}

static void end_run(struct tl_task *task)
{
    struct tl_run *run = (struct tl_run *)((char *)task - offsetof(struct tl_run, end_task));
    if (run->parent) {
        end_nested(run);
        tl_run_unref(run); /* the reference of tl_op_run_nested */
        tl_run_unref(run);
        return;
    }
    json_t *payload = json_object();
    const char *status = run->err == TL_ECANCELLED ? "cancelled" : run->err ? "failed" : "done";
    if (!run->err && run->exec->conf.complete) {
        int err = run->exec->conf.complete(run->exec->conf.arg, run, payload);
        if (err)
            run->err = err, status = "failed";
    }
    if (run->err && run->err != TL_ECANCELLED) {
        json_t *details = run->err_node ? json_pack("{s:s}", "node", run->err_node) : json_object();
        json_object_clear(payload);
        json_object_set_new(payload, "error",
                            json_pack("{s:s,s:s,s:o}", "code", tl_err_code(run->err), "message",
                                      run->err_message ? run->err_message : tl_err_text(run->err), "details", details));
    } else if (run->err && run->cancel_reason) {
        json_object_set_new(payload, "reason", json_string(run->cancel_reason));
    }
    pthread_mutex_lock(&run->lock);
    if (run->suspended || run->journal->failed) {
        json_decref(payload);
        tl_journal_suspend(run);
        pthread_mutex_unlock(&run->lock);
        tl_exec_remove_live(run->exec, run);
    } else {
        tl_journal_end(run, status, payload);
        pthread_mutex_unlock(&run->lock);
    }
    tl_run_unref(run);
}

int tl_run_cancel(struct tl_exec *exec, const char *org, const struct tl_id *id, const char *reason)
{
    struct tl_run *run = tl_exec_find(exec, id);
    if (!run || strcmp(run->org, org) != 0) {
        tl_run_unref(run);
        TL_AUTO_JSON json_t *record = NULL;
        int err = tl_run_get(exec->conf.db, org, id, &record);
        return err ? err : TL_ECONFLICT;
    }
    pthread_mutex_lock(&run->lock);
    if (!run->ended && !run->stopping && reason)
        run->cancel_reason = tl_strdup(reason);
    pthread_mutex_unlock(&run->lock);
    bool stopped = tl_run_stop(run, TL_ECANCELLED, NULL, NULL);
    tl_run_unref(run);
    return stopped ? 0 : TL_ECONFLICT;
}

const char *tl_run_kind(const struct tl_run *run)
{
    return run->kind;
}

const struct tl_plan *tl_run_plan(const struct tl_run *run)
{
    return run->plan;
}

const json_t *tl_run_doc(const struct tl_run *run)
{
    return run->doc;
}

const struct tl_value *tl_run_output_at(const struct tl_run *run, uint32_t node, uint32_t out)
{
    const struct tl_value *outputs = run->nodes[node].outputs;
    return outputs && !tl_value_none(&outputs[out]) ? &outputs[out] : NULL;
}

const struct tl_value *tl_run_output(const struct tl_run *run, const char *node, const char *port)
{
    uint32_t i = tl_plan_find(run->plan, node);
    const struct tl_plan_node *n = i == UINT32_MAX ? NULL : &run->plan->nodes[i];
    for (uint32_t k = 0; n && k < n->nout; k++)
        if (strcmp(n->out[k]->name, port) == 0)
            return tl_run_output_at(run, i, k);
    return NULL;
}

void tl_run_usage(const struct tl_run *run, struct tl_usage *ret, int64_t *ret_latency_ms)
{
    *ret = run->usage;
    *ret_latency_ms = tl_now_ms() - run->started_ms;
}

/* The nodes of a run: when they begin, what an attempt is, what follows its end, and how a run ends. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/ask.h"
#include "graph/state.h"

#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX

enum { BEGIN_US = 1000, LOOK_EVERY = 32 };

struct tl_run *tl_run_ref(struct tl_run *run)
{
    run->refs++;
    return run;
}

void tl_values_clear(struct tl_value *v, uint32_t n)
{
    for (uint32_t i = 0; v && i < n; i++)
        tl_value_clear(&v[i]);
}

static uint32_t input_count(const struct tl_run *run)
{
    const struct tl_plan *p = run->plan;
    return p->input_node == NONE ? 0 : p->nodes[p->input_node].nout;
}

static void free_extra(struct tl_node_extra *x)
{
    if (!x)
        return;
    free(x->message);
    json_decref(x->waits);
    free(x);
}

void tl_run_unref(struct tl_run *run)
{
    if (!run || --run->refs > 0)
        return;
    bool walked = run->walked == run->plan->nwanted; /* its nodes' states were never touched */
    for (uint32_t i = 0; run->nodes && !walked && i < run->plan->nnodes; i++) {
        free(run->nodes[i].hashes);
        free_extra(run->nodes[i].extra);
    }
    tl_values_clear(run->values, run->plan->nouts);
    free(run->values);
    tl_values_clear(run->inputs, input_count(run));
    free(run->inputs);
    if (run->root == run) {
        tl_exec_leave_flow(run->exec, run->flow);
    } else {
        if (run->counted)
            tl_exec_give_nested(run->root, run->plan->nnodes);
        tl_run_unref(run->root);
    }
    tl_journal_free(run->journal);
    tl_history_clear(&run->history);
    free(run->held);
    free(run->budget_step);
    free(run->nodes);
    free(run->prefix);
    free(run->err_node);
    free(run->err_message);
    free(run->cancel_reason);
    free(run->org);
    free(run->sub);
    free(run->kind);
    json_decref(run->doc);
    json_decref(run->meta);
    json_decref(run->told);
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
    run->root = run;
    run->plan = tl_plan_ref(plan);
    run->refs = 1;
    run->left = plan->nwanted;
    run->end_task.fn = tl_run_end;
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        run->ready[c].head = run->ready[c].tail = NONE;
    pthread_mutex_init(&run->lock, NULL);
    run->nodes = tl_calloc(plan->nnodes, sizeof(*run->nodes));
    run->values = tl_calloc(plan->nouts, sizeof(*run->values));
    if (!run->nodes || !run->values) {
        tl_run_unref(run);
        return TL_ENOMEM;
    }
    *ret = run;
    return 0;
}

void tl_run_count_waiting(struct tl_run *run)
{
    for (uint32_t i = 0; i < run->plan->nnodes; i++)
        run->nodes[i].waiting = run->plan->nodes[i].nproducers;
}

char *tl_run_step_id(const struct tl_run *run, uint32_t node)
{
    const char *id = run->plan->nodes[node].id;
    struct tl_str s = {0};
    tl_str_puts(&s, run->prefix ? run->prefix : "");
    tl_str_puts(&s, id);
    return tl_str_take(&s);
}

/* ---- ready nodes; run->lock held ---- */

/* An op that may reach outside waits until the run exists on disk. */
static bool hold_back(struct tl_run *run, uint32_t node)
{
    struct tl_run *root = run->root;
    if (root != run)
        pthread_mutex_lock(&root->lock);
    bool hold = !root->durable && tl_grow(&root->held, &root->held_cap, root->nheld + 1, sizeof(*root->held)) == 0;
    if (hold)
        root->held[root->nheld++] = (struct tl_held){tl_run_ref(run), node};
    if (root != run)
        pthread_mutex_unlock(&root->lock);
    return hold;
}

static void push_ready(struct tl_run *run, uint32_t node)
{
    struct tl_ready *r = &run->ready[tl_op_class(run->plan->nodes[node].op)];
    run->nodes[node].next_ready = NONE;
    if (r->tail == NONE)
        r->head = node;
    else
        run->nodes[r->tail].next_ready = node;
    r->tail = node;
}

/* Back to where it was taken from. */
static void push_front(struct tl_run *run, uint32_t node)
{
    struct tl_ready *r = &run->ready[tl_op_class(run->plan->nodes[node].op)];
    run->nodes[node].next_ready = r->head;
    r->head = node;
    if (r->tail == NONE)
        r->tail = node;
}

uint32_t tl_run_pop_ready(struct tl_run *run, enum tl_op_class cls)
{
    struct tl_ready *r = &run->ready[cls];
    uint32_t node = r->head;
    if (node != NONE && (r->head = run->nodes[node].next_ready) == NONE)
        r->tail = NONE;
    return node;
}

void tl_run_queue(struct tl_run *run, uint32_t node)
{
    bool pure = run->plan->nodes[node].op->flags & TL_OP_PURE;
    if (pure || run->root->durable || !hold_back(run, node))
        push_ready(run, node);
}

/* Lets the executor know of what is ready. A thread that is at a quick op of this run comes back for its cpu nodes by itself. */
void tl_run_list_ready(struct tl_run *run)
{
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        if (run->ready[c].head != NONE && !run->ready[c].listed && (c != TL_CLASS_CPU || !run->soon))
            tl_exec_list(run, (enum tl_op_class)c);
}

bool tl_run_is_over(struct tl_run *run)
{
    if (run->left || run->active || run->ended)
        return false;
    run->ended = true;
    tl_run_ref(run);
    return true;
}

void tl_run_unlock_and_end(struct tl_run *run)
{
    tl_run_list_ready(run);
    bool over = tl_run_is_over(run);
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_exec_task(run->exec, &run->end_task);
}

void tl_run_durable(struct tl_run *root)
{
    pthread_mutex_lock(&root->lock);
    struct tl_held *held = root->held;
    size_t n = root->nheld;
    root->durable = true;
    root->held = NULL;
    root->nheld = root->held_cap = 0;
    pthread_mutex_unlock(&root->lock);
    for (size_t k = 0; k < n; k++) {
        struct tl_run *run = held[k].run;
        pthread_mutex_lock(&run->lock);
        if (!run->stopping && run->nodes[held[k].node].status == TL_NODE_QUEUED)
            push_ready(run, held[k].node);
        tl_run_list_ready(run);
        pthread_mutex_unlock(&run->lock);
        tl_run_unref(run);
    }
    free(held);
}

/* ---- what became of a node; run->lock held ---- */

struct tl_node_extra *tl_node_extra(struct tl_node_state *s)
{
    if (!s->extra)
        s->extra = tl_calloc(1, sizeof(*s->extra));
    return s->extra;
}

static void note(struct tl_node_state *s, int err, const char *message)
{
    struct tl_node_extra *x = tl_node_extra(s);
    if (!x)
        return;
    free(x->message);
    x->message = tl_strdup(message);
    x->err = err;
}

void tl_run_set_status(struct tl_run *run, uint32_t i, enum tl_node_status status)
{
    struct tl_node_state *s = &run->nodes[i];
    s->status = (uint8_t)status;
    if (status == TL_NODE_DONE) {
        run->progress += 1.0 - (double)s->progress;
        s->progress = 1;
        run->ndone++;
    }
    tl_journal_node_changed(run, i);
}

void tl_run_stop_now(struct tl_run *run, int err, const char *node, const char *message)
{
    if (run->walking)
        tl_run_walk_leave(run);
    run->stopping = true;
    run->err = err;
    run->err_node = tl_strdup(node);
    run->err_message = tl_strdup(message);
    for (uint32_t i = 0; i < run->plan->nnodes; i++) {
        struct tl_node_state *s = &run->nodes[i];
        if (s->ctx) {
            tl_op_ctx_cancel(s->ctx);
        } else if (run->plan->nodes[i].wanted && (s->status == TL_NODE_QUEUED || s->status == TL_NODE_WAITING)) {
            if (s->extra)
                tl_node_timer_cancel(&s->extra->retry);
            run->left--;
            tl_run_set_status(run, i, s->attempts ? TL_NODE_CANCELLED : TL_NODE_SKIPPED);
        }
    }
}

bool tl_run_stop(struct tl_run *run, int err, const char *node, const char *message)
{
    pthread_mutex_lock(&run->lock);
    bool first = !run->stopping && !run->ended;
    if (first)
        tl_run_stop_now(run, err, node, message);
    tl_run_unlock_and_end(run);
    return first;
}

static bool has_value(const struct tl_run *run, const struct tl_plan_port *port)
{
    const struct tl_plan_source *src = &run->plan->sources[port->first_source];
    for (uint32_t k = 0; k < port->nsources; k++)
        if (!tl_value_none(&tl_run_values(run, src[k].node)[src[k].out]))
            return true;
    return false;
}

/* Whether a node lies behind branches not taken: a required port, or all that is connected, has nothing. */
static bool is_unreached(const struct tl_run *run, uint32_t node)
{
    const struct tl_plan_node *n = &run->plan->nodes[node];
    bool any = false;
    for (uint32_t p = 0; p < n->nin; p++) {
        if (!n->in[p].nsources)
            continue;
        bool has = has_value(run, &n->in[p]);
        if (!has && n->in[p].def->flags & (TL_PORT_REQUIRED | TL_PORT_EITHER))
            return true;
        any |= has;
    }
    return !any;
}

/* Tells the consumers of a node that has ended; those that now wait for nobody are queued, or skipped, which their own consumers are told in turn. */
static void release(struct tl_run *run, uint32_t first)
{
    uint32_t list = first;
    run->nodes[first].next_ready = NONE;
    while (list != NONE) {
        const struct tl_plan_node *n = &run->plan->nodes[list];
        const struct tl_node_state *from = &run->nodes[list];
        bool skipped = from->status == TL_NODE_SKIPPED;
        bool failed = from->status == TL_NODE_FAILED || (skipped && from->behind_failure);
        bool branch = n->op->flags & TL_OP_ROUTES || (skipped && !failed);
        list = from->next_ready;
        for (uint32_t k = 0; k < n->nconsumers; k++) {
            uint32_t c = run->plan->consumers[n->first_consumer + k];
            struct tl_node_state *s = &run->nodes[c];
            s->behind_failure |= failed;
            s->behind_branch |= branch;
            if (--s->waiting || s->status != TL_NODE_QUEUED || run->stopping)
                continue;
            if (s->behind_failure || (s->behind_branch && is_unreached(run, c))) {
                tl_run_set_status(run, c, TL_NODE_SKIPPED);
                run->left--;
                s->next_ready = list;
                list = c;
            } else {
                tl_run_queue(run, c);
            }
        }
    }
}

static void node_done(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    bool discard = run->stopping && run->err == TL_ECANCELLED && !run->root->suspended;
    if (!discard)
        tl_journal_result(ctx);
    tl_run_set_status(run, ctx->node, TL_NODE_DONE);
    run->left--;
    if (run->nest_step)
        run->nest_step(run->nest_arg, ctx->def, run->ndone, run->plan->nwanted);
    release(run, ctx->node);
}

void tl_run_computed(struct tl_run *run, uint32_t node, struct tl_op_ctx *ctx)
{
    run->nodes[node].attempts = 1;
    if (ctx)
        tl_journal_result(ctx);
    tl_run_set_status(run, node, TL_NODE_DONE);
    run->left--;
    if (run->nest_step)
        run->nest_step(run->nest_arg, &run->plan->nodes[node], run->ndone, run->plan->nwanted);
    release(run, node);
}

/* What only computes is done at once, on the thread that brought the run: it takes less time than waking another. */
static void compute_some(struct tl_run *run)
{
    int64_t until = tl_exec_mono_us(run->exec) + BEGIN_US;
    uint32_t i;
    while (run->walking && tl_run_walk(run) && tl_exec_mono_us(run->exec) <= until)
        ;
    if (run->walking)
        return;
    for (uint32_t n = 1; !run->stopping && (i = tl_run_pop_ready(run, TL_CLASS_CPU)) != NONE; n++)
        if ((n % LOOK_EVERY == 0 && tl_exec_mono_us(run->exec) > until) || !tl_run_compute(run, i)) {
            push_front(run, i);
            break;
        }
}

void tl_run_begin(struct tl_run *run)
{
    pthread_mutex_lock(&run->lock);
    if (!run->stopping)
        tl_run_walk_begin(run);
    if (!run->walking)
        tl_run_count_waiting(run);
    for (uint32_t k = 0; !run->stopping && !run->walking && k < run->plan->nwanted; k++) {
        uint32_t i = run->plan->order[k];
        if (run->nodes[i].waiting)
            break; /* the order begins with all that wait for nothing */
        tl_run_queue(run, i);
    }
    compute_some(run);
    tl_run_list_ready(run);
    bool over = tl_run_is_over(run);
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_run_end(&run->end_task);
}

const struct tl_policy *tl_node_policy(const struct tl_plan_node *n)
{
    return n->policy ? n->policy : tl_policy_of_op(n->op);
}

static void retry_now(struct tl_timer *timer)
{
    struct tl_node_timer *t = (struct tl_node_timer *)timer;
    struct tl_run *run = t->run;
    struct tl_node_state *s = &run->nodes[t->node];
    pthread_mutex_lock(&run->lock);
    if (s->extra && s->extra->retry == t) {
        s->extra->retry = NULL;
        if (!run->stopping && s->status == TL_NODE_QUEUED)
            tl_run_queue(run, t->node);
    }
    tl_run_list_ready(run);
    pthread_mutex_unlock(&run->lock);
    tl_node_timer_free(t);
}

/* False where it cannot be done for want of memory. */
static bool try_again(struct tl_op_ctx *ctx, int err, const char *message, int64_t delay_ms)
{
    struct tl_run *run = ctx->run;
    struct tl_node_state *s = &run->nodes[ctx->node];
    struct tl_str text = {0};
    tl_str_printf(&text, "tried again after: %s", message);
    note(s, err, text.data);
    tl_str_clear(&text);
    if (!s->extra)
        return false;
    s->extra->retry = tl_node_timer_new(run, ctx->node, 0, tl_exec_mono_us(run->exec) + delay_ms * 1000, retry_now);
    if (!s->extra->retry)
        return false;
    run->progress -= (double)s->progress;
    s->progress = 0;
    tl_run_set_status(run, ctx->node, TL_NODE_QUEUED);
    return true;
}

static void fall_back(struct tl_op_ctx *ctx, const struct tl_policy *policy)
{
    struct tl_run *run = ctx->run;
    for (uint32_t k = 0; policy->fallback && k < ctx->def->nout; k++)
        ctx->outputs[k] = tl_value_ref(&policy->fallback[k]);
    run->nodes[ctx->node].fallback = true;
    /* What stood in is no result of the op, but this run stays with it. */
    ctx->impure = true;
    if (run->parent)
        tl_op_impure(run->parent);
    if (tl_op_open(ctx))
        ctx->kept = tl_result_keep(ctx);
    node_done(ctx);
}

static void node_failed(struct tl_op_ctx *ctx, int err)
{
    struct tl_run *run = ctx->run;
    struct tl_node_state *s = &run->nodes[ctx->node];
    const struct tl_policy *policy = tl_node_policy(ctx->def);
    const char *message = ctx->message ? ctx->message : tl_err_text(err);
    int64_t delay_ms = 0;
    tl_values_clear(ctx->outputs, ctx->def->nout);
    if (err == TL_EWORKER) {
        s->losses++; /* ends by the policy long before it overflows */
        tl_count(&run->exec->counted.lost_workers, tl_op_open(ctx));
        s->attempts--;
    }
    enum tl_after after = tl_policy_after(policy, err, s->attempts, s->losses, tl_exec_random32(run->exec), &delay_ms);
    if (ctx->retry_after_ms > delay_ms)
        delay_ms = ctx->retry_after_ms;
    if (after == TL_AFTER_RETRY && try_again(ctx, err, message, delay_ms)) {
        tl_op_unmark(ctx);
        tl_count(&run->exec->counted.retries, tl_op_open(ctx));
        return;
    }
    note(s, err, message);
    tl_count(&run->exec->counted.failed, tl_op_open(ctx) && after != TL_AFTER_FALLBACK);
    if (after == TL_AFTER_FALLBACK) {
        fall_back(ctx, policy);
        return;
    }
    tl_run_set_status(run, ctx->node, TL_NODE_FAILED);
    run->left--;
    if (after == TL_AFTER_CONTINUE) {
        run->nfailed++;
        release(run, ctx->node);
    } else {
        tl_run_stop_now(run, err, ctx->def->id, message);
    }
}

/* How the run has gone beyond its budget; NULL where it has not. */
const char *tl_run_over_budget(const struct tl_run *root)
{
    const struct tl_budget *b = &root->budget;
    const struct tl_usage *u = &root->spent;
    if (b->tokens && u->tokens_in + u->tokens_out > b->tokens)
        return "the run used more tokens than its budget allows";
    return b->cost_usd > 0 && u->cost_usd > b->cost_usd ? "the run cost more than its budget allows" : NULL;
}

static void stop_over_budget(struct tl_task *task)
{
    struct tl_run *root = (struct tl_run *)((char *)task - offsetof(struct tl_run, budget_task));
    pthread_mutex_lock(&root->lock);
    const char *how = tl_run_over_budget(root);
    pthread_mutex_unlock(&root->lock);
    tl_run_stop(root, TL_EBUDGET, root->budget_step, how);
    tl_run_unref(root);
}

/* Against the budget counts what ops used themselves, at any depth: what holds others only hands on what they used. */
static void spend(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run, *root = run->root;
    const struct tl_budget *b = &root->budget;
    if ((!b->tokens && b->cost_usd <= 0) || ctx->def->op->flags & TL_OP_COMPOSITE)
        return;
    if (run != root)
        pthread_mutex_lock(&root->lock);
    struct tl_usage *u = &root->spent;
    u->tokens_in += ctx->usage.tokens_in;
    u->tokens_out += ctx->usage.tokens_out;
    u->cost_usd += ctx->usage.cost_usd;
    const char *over = tl_run_over_budget(root);
    if (over && run == root && !root->stopping) {
        tl_run_stop_now(root, TL_EBUDGET, ctx->def->id, over);
    } else if (over && run != root && !root->budget_task.fn) { /* its nested runs' locks may not be waited for here */
        root->budget_task.fn = stop_over_budget;
        root->budget_step = tl_op_open(ctx) ? tl_run_step_id(run, ctx->node) : NULL;
        tl_run_ref(root);
        tl_exec_task(root->exec, &root->budget_task);
    }
    if (run != root)
        pthread_mutex_unlock(&root->lock);
}

static void count_usage(struct tl_op_ctx *ctx)
{
    struct tl_usage *u = &ctx->run->usage;
    u->tokens_in += ctx->usage.tokens_in;
    u->tokens_out += ctx->usage.tokens_out;
    u->cost_usd += ctx->usage.cost_usd;
    spend(ctx);
}

/* For the estimates of later runs: what an attempt took whose outcome is its own, not a person's or a cancel's. run->lock held. */
static void count_time(const struct tl_op_ctx *ctx, int err)
{
    struct tl_run *run = ctx->run, *root = run->root;
    const struct tl_node_extra *x = run->nodes[ctx->node].extra;
    if (!ctx->began_us || !root->journal || (run != root && !run->open) || ctx->result.found || (x && x->waits) ||
        err == TL_ECANCELLED || err == TL_EUNKNOWN)
        return;
    double ms = (double)(tl_exec_mono_us(run->exec) - ctx->began_us) / 1000;
    if (run != root)
        pthread_mutex_lock(&root->lock);
    tl_history_took(&root->history, ctx->def, 1, ms, &ctx->usage, err != 0);
    if (run != root)
        pthread_mutex_unlock(&root->lock);
}

/* The quick nodes of a run that has ended, whose time nobody took one by one. */
void tl_run_count_quick(struct tl_run *run)
{
    double ms = run->quick_nodes ? run->quick_us / 1000 / (double)run->quick_nodes : 0;
    pthread_mutex_lock(&run->lock);
    for (uint32_t k = 0; k < run->plan->nwanted; k++) {
        const struct tl_plan_node *n = &run->plan->nodes[run->plan->order[k]];
        const struct tl_node_state *s = &run->nodes[run->plan->order[k]];
        if (n->op->flags & TL_OP_QUICK && !s->cached && (s->status == TL_NODE_DONE || s->status == TL_NODE_FAILED))
            tl_history_took(&run->history, n, 1, ms, NULL, s->status == TL_NODE_FAILED);
    }
    pthread_mutex_unlock(&run->lock);
}

/* An attempt has ended and nobody is inside: takes ctx. run->lock held. */
void tl_run_settle(struct tl_op_ctx *ctx, struct tl_op_ctx **spare)
{
    struct tl_run *run = ctx->run;
    struct tl_node_state *s = &run->nodes[ctx->node];
    int err = ctx->err;
    s->ctx = NULL;
    tl_node_timer_cancel(&ctx->timeout);
    tl_node_timer_cancel(&ctx->alarm);
    if (ctx->has_place)
        tl_exec_leave_place(run, tl_op_class(ctx->def->op), tl_exec_mono_us(run->exec) - ctx->began_us);
    count_time(ctx, err);
    if (s->extra && s->extra->waits) {
        json_decref(s->extra->waits);
        s->extra->waits = NULL;
    }
    s->unsure |= err == TL_ECANCELLED && ctx->timed_out && s->marked;
    if (err == TL_ECANCELLED && ctx->timed_out && !run->stopping)
        err = tl_op_fail(ctx, TL_ETIMEOUT, "it took longer than the %g s allowed",
                         (double)tl_node_policy(ctx->def)->timeout_ms / 1000);
    if (!err) {
        node_done(ctx);
    } else if (run->stopping) {
        note(s, err, ctx->message);
        tl_run_set_status(run, ctx->node, err == TL_ECANCELLED ? TL_NODE_CANCELLED : TL_NODE_FAILED);
        run->left--;
    } else {
        node_failed(ctx, err);
    }
    count_usage(ctx);
    tl_op_ctx_free(ctx, spare);
    run->active--;
}

void tl_op_clean_up(struct tl_op_ctx *ctx, int err)
{
    if (ctx->def->op->cleanup && !ctx->cleaned)
        ctx->def->op->cleanup(ctx);
    ctx->cleaned = true;
    if (!err)
        ctx->kept = tl_result_keep(ctx);
}

void tl_run_node_ended(struct tl_op_ctx *ctx)
{
    struct tl_run *run = tl_run_ref(ctx->run);
    tl_op_clean_up(ctx, ctx->err);
    if (!tl_op_ask_person(ctx)) {
        pthread_mutex_lock(&run->lock);
        tl_run_settle(ctx, NULL);
        tl_run_unlock_and_end(run);
    }
    tl_run_unref(run);
}

void tl_run_call_ended(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    bool over = --ctx->calls == 0 && ctx->done && !ctx->in_run;
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_run_node_ended(ctx);
}

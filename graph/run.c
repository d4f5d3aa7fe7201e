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
    for (uint32_t i = 0; run->nodes && i < run->plan->nnodes; i++) {
        free(run->nodes[i].hashes);
        free_extra(run->nodes[i].extra);
    }
    clear_values(run->values, run->plan->nouts);
    free(run->values);
    clear_values(run->inputs, input_count(run));
    free(run->inputs);
    if (run->root == run) {
        tl_exec_leave_flow(run->exec, run->flow);
    } else {
        run->exec->nested_nodes -= run->plan->nnodes;
        tl_run_unref(run->root);
    }
    tl_journal_free(run->journal);
    free(run->held);
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
    run->end_task.fn = end_run;
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        run->ready[c].head = run->ready[c].tail = NONE;
    pthread_mutex_init(&run->lock, NULL);
    run->nodes = tl_calloc(plan->nnodes, sizeof(*run->nodes));
    run->values = tl_calloc(plan->nouts, sizeof(*run->values));
    if (!run->nodes || !run->values) {
        tl_run_unref(run);
        return TL_ENOMEM;
    }
    for (uint32_t i = 0; i < plan->nnodes; i++)
        run->nodes[i].waiting = plan->nodes[i].nproducers;
    *ret = run;
    return 0;
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

static uint32_t pop_ready(struct tl_run *run, enum tl_op_class cls)
{
    struct tl_ready *r = &run->ready[cls];
    uint32_t node = r->head;
    if (node != NONE && (r->head = run->nodes[node].next_ready) == NONE)
        r->tail = NONE;
    return node;
}

static void queue_node(struct tl_run *run, uint32_t node)
{
    bool pure = run->plan->nodes[node].op->flags & TL_OP_PURE;
    if (pure || run->root->durable || !hold_back(run, node))
        push_ready(run, node);
}

/* Lets the executor know of what is ready. A thread that is at a quick op of this run comes back for its cpu nodes by itself. */
static void list_ready(struct tl_run *run)
{
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        if (run->ready[c].head != NONE && !run->ready[c].listed && (c != TL_CLASS_CPU || !run->soon))
            tl_exec_list(run, (enum tl_op_class)c);
}

static bool is_over(struct tl_run *run)
{
    if (run->left || run->active || run->ended)
        return false;
    run->ended = true;
    tl_run_ref(run);
    return true;
}

static void unlock_and_end(struct tl_run *run)
{
    list_ready(run);
    bool over = is_over(run);
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_exec_task(run->exec, &run->end_task);
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
    unlock_and_end(run);
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
        list_ready(run);
        pthread_mutex_unlock(&run->lock);
        tl_run_unref(run);
    }
    free(held);
}

/* ---- what became of a node; run->lock held ---- */

static struct tl_node_extra *extra_of(struct tl_node_state *s)
{
    if (!s->extra)
        s->extra = tl_calloc(1, sizeof(*s->extra));
    return s->extra;
}

static void note(struct tl_node_state *s, int err, const char *message)
{
    struct tl_node_extra *x = extra_of(s);
    if (!x)
        return;
    free(x->message);
    x->message = tl_strdup(message);
    x->err = err;
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
    tl_journal_node_changed(run, i);
}

static void stop(struct tl_run *run, int err, const char *node, const char *message)
{
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
            set_status(run, i, s->attempts ? TL_NODE_CANCELLED : TL_NODE_SKIPPED);
        }
    }
}

bool tl_run_stop(struct tl_run *run, int err, const char *node, const char *message)
{
    pthread_mutex_lock(&run->lock);
    bool first = !run->stopping && !run->ended;
    if (first)
        stop(run, err, node, message);
    unlock_and_end(run);
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
        if (!has && n->in[p].def->flags & TL_PORT_REQUIRED)
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
                set_status(run, c, TL_NODE_SKIPPED);
                run->left--;
                s->next_ready = list;
                list = c;
            } else {
                queue_node(run, c);
            }
        }
    }
}

static void node_done(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    bool discard = run->stopping && run->err == TL_ECANCELLED && !run->root->suspended;
    if (!discard)
        tl_journal_result(run, ctx->node, ctx);
    set_status(run, ctx->node, TL_NODE_DONE);
    run->left--;
    if (run->nest_step)
        run->nest_step(run->nest_arg, ctx->def, run->ndone, run->plan->nwanted);
    release(run, ctx->node);
}

static const struct tl_policy *policy_of(const struct tl_plan_node *n)
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
            queue_node(run, t->node);
    }
    list_ready(run);
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
    set_status(run, ctx->node, TL_NODE_QUEUED);
    return true;
}

static void fall_back(struct tl_op_ctx *ctx, const struct tl_policy *policy)
{
    struct tl_run *run = ctx->run;
    for (uint32_t k = 0; policy->fallback && k < ctx->def->nout; k++)
        ctx->outputs[k] = tl_value_ref(&policy->fallback[k]);
    run->nodes[ctx->node].fallback = true;
    ctx->has_key = false; /* what stood in is no result of the op */
    node_done(ctx);
}

static void node_failed(struct tl_op_ctx *ctx, int err)
{
    struct tl_run *run = ctx->run;
    struct tl_node_state *s = &run->nodes[ctx->node];
    const struct tl_policy *policy = policy_of(ctx->def);
    const char *message = ctx->message ? ctx->message : tl_err_text(err);
    int64_t delay_ms = 0;
    clear_values(ctx->outputs, ctx->def->nout);
    if (err == TL_EWORKER && s->losses < TL_POLICY_LOSSES) {
        s->losses++;
        s->attempts--;
    }
    enum tl_after after = tl_policy_after(policy, err, s->attempts, s->losses, tl_exec_random32(run->exec), &delay_ms);
    if (ctx->retry_after_ms > delay_ms)
        delay_ms = ctx->retry_after_ms;
    if (after == TL_AFTER_RETRY && try_again(ctx, err, message, delay_ms))
        return;
    note(s, err, message);
    if (after == TL_AFTER_FALLBACK) {
        fall_back(ctx, policy);
        return;
    }
    set_status(run, ctx->node, TL_NODE_FAILED);
    run->left--;
    if (after == TL_AFTER_CONTINUE) {
        run->nfailed++;
        release(run, ctx->node);
    } else {
        stop(run, err, ctx->def->id, message);
    }
}

static void count_usage(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    const struct tl_budget *b = &run->budget;
    run->usage.tokens_in += ctx->usage.tokens_in;
    run->usage.tokens_out += ctx->usage.tokens_out;
    run->usage.cost_usd += ctx->usage.cost_usd;
    bool tokens = b->tokens && run->usage.tokens_in + run->usage.tokens_out > b->tokens;
    bool cost = b->cost_usd > 0 && run->usage.cost_usd > b->cost_usd;
    if ((tokens || cost) && !run->stopping)
        stop(run, TL_EBUDGET, ctx->def->id, tokens ? "the run used more tokens than its budget allows" : "the run cost more than its budget allows");
}

/* An attempt has ended and nobody is inside: takes ctx. run->lock held. */
static void settle(struct tl_op_ctx *ctx, struct tl_op_ctx **spare)
{
    struct tl_run *run = ctx->run;
    struct tl_node_state *s = &run->nodes[ctx->node];
    int err = ctx->err;
    s->ctx = NULL;
    tl_node_timer_cancel(&ctx->timeout);
    tl_node_timer_cancel(&ctx->alarm);
    if (ctx->has_place)
        tl_exec_leave_place(run, tl_op_class(ctx->def->op), tl_exec_mono_us(run->exec) - ctx->began_us);
    if (s->extra && s->extra->waits) {
        json_decref(s->extra->waits);
        s->extra->waits = NULL;
    }
    if (err == TL_ECANCELLED && ctx->timed_out && !run->stopping)
        err = tl_op_fail(ctx, TL_ETIMEOUT, "it took longer than the %g s allowed", (double)policy_of(ctx->def)->timeout_ms / 1000);
    if (!err) {
        node_done(ctx);
    } else if (run->stopping) {
        note(s, err, ctx->message);
        set_status(run, ctx->node, err == TL_ECANCELLED ? TL_NODE_CANCELLED : TL_NODE_FAILED);
        run->left--;
    } else {
        node_failed(ctx, err);
    }
    count_usage(ctx);
    tl_op_ctx_free(ctx, spare);
    run->active--;
}

static bool ask_person(struct tl_op_ctx *ctx);

static void clean_up(struct tl_op_ctx *ctx)
{
    if (ctx->def->op->cleanup && !ctx->cleaned)
        ctx->def->op->cleanup(ctx);
    ctx->cleaned = true;
}

void tl_run_node_ended(struct tl_op_ctx *ctx)
{
    struct tl_run *run = tl_run_ref(ctx->run);
    clean_up(ctx);
    if (!ask_person(ctx)) {
        pthread_mutex_lock(&run->lock);
        settle(ctx, NULL);
        unlock_and_end(run);
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

/* ---- an attempt ---- */

/* The value an input port receives. Types that only now are known (any) are checked here. */
static int receive(struct tl_run *run, const struct tl_plan_port *port, struct tl_value *ret)
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
    const struct tl_value *v = port->nsources ? &tl_run_values(run, src->node)[src->out] : &port->literal;
    if (tl_value_none(v))
        return port->def->flags & TL_PORT_REQUIRED ? TL_ENOTFOUND : 0;
    if (v->type == port->def->type || port->def->type == TL_T_ANY) {
        *ret = tl_value_ref(v);
        return 0;
    }
    if (tl_type_is_media(port->def->type) && !tl_type_is_media(v->type))
        return TL_EINVAL; /* JSON of a reference's form is no right to a blob */
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

static int call_op(struct tl_op_ctx *ctx)
{
    const struct tl_op *op = ctx->def->op;
    int err = op->prepare ? op->prepare(ctx) : 0;
    return err ? err : op->run(ctx);
}

enum { LATER = 2 }; /* an attempt goes on when its mark is on disk */

struct mark {
    struct tl_op_ctx *ctx;
    uint8_t key[TL_ID_LEN + TL_BLAKE2B_LEN];
    uint8_t at_ms[8];
};

static struct mark *mark_of(struct tl_op_ctx *ctx)
{
    const char *step = tl_op_step_key(ctx);
    struct mark *m = tl_calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->ctx = ctx;
    memcpy(m->key, ctx->run->root->id.b, TL_ID_LEN);
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, step, strlen(step));
    tl_blake2b_final(&h, m->key + TL_ID_LEN);
    tl_key_u64(m->at_ms, (uint64_t)tl_exec_wall_ms(ctx->run->exec));
    return m;
}

static int get_mark(struct tl_txn *txn, void *arg)
{
    struct mark *m = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_MARK, m->key, sizeof(m->key), &v);
    if (!err && v.len == sizeof(m->at_ms))
        memcpy(m->at_ms, v.data, v.len);
    return err;
}

static int put_mark(struct tl_txn *txn, void *arg)
{
    const struct mark *m = arg;
    return tl_txn_put(txn, TL_TBL_MARK, m->key, sizeof(m->key), m->at_ms, sizeof(m->at_ms));
}

static void after_attempt(struct tl_op_ctx *ctx, int err, struct tl_op_ctx **spare);

static void go_on(struct tl_task *task)
{
    struct tl_op_ctx *ctx = (struct tl_op_ctx *)((char *)task - offsetof(struct tl_op_ctx, task));
    struct tl_run *run = tl_run_ref(ctx->run);
    pthread_mutex_lock(&run->lock);
    run->nodes[ctx->node].marked = !ctx->err;
    int err = ctx->err ? ctx->err : run->stopping ? TL_ECANCELLED : 0;
    ctx->err = 0;
    pthread_mutex_unlock(&run->lock);
    after_attempt(ctx, err ? err : call_op(ctx), NULL);
    unlock_and_end(run);
    tl_run_unref(run);
}

static void mark_done(void *arg, int err)
{
    struct mark *m = arg;
    struct tl_exec *exec = m->ctx->run->exec;
    m->ctx->err = err;
    m->ctx->task.fn = go_on;
    tl_exec_task(exec, &m->ctx->task);
    free(m);
    tl_exec_commits(exec, -1);
}

/* Takes m. LATER, or an error. */
static int submit_mark(struct mark *m)
{
    struct tl_exec *exec = m->ctx->run->exec;
    tl_exec_commits(exec, 1);
    m->ctx->mark_ms = (int64_t)tl_key_u64_read(m->at_ms);
    int err = tl_db_submit(exec->conf.db, put_mark, m, mark_done);
    if (!err)
        return LATER;
    free(m);
    tl_exec_commits(exec, -1);
    return err;
}

/* What reaches outside is marked first, so that a later life of the server knows that it may have happened. */
static int mark_and_call(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    bool marked = run->nodes[ctx->node].marked;
    pthread_mutex_unlock(&run->lock);
    if (marked || !run->exec->conf.db)
        return call_op(ctx);
    struct mark *m = mark_of(ctx);
    if (!m)
        return TL_ENOMEM;
    if (tl_db_read(run->exec->conf.db, get_mark, m) != 0)
        return submit_mark(m);
    ctx->mark_ms = (int64_t)tl_key_u64_read(m->at_ms);
    ctx->interrupted = true;
    free(m);
    pthread_mutex_lock(&run->lock);
    run->nodes[ctx->node].marked = true;
    pthread_mutex_unlock(&run->lock);
    return call_op(ctx);
}

/* A person has said what became of an attempt whose outcome was not known. */
static void unknown_answered(struct tl_op_ctx *ctx, int err, const json_t *answer)
{
    struct tl_run *run = ctx->run;
    const char *decision = tl_json_str(answer, "decision"), *comment = tl_json_str(answer, "comment"), *port;
    if (err) {
        tl_op_done(ctx, err);
    } else if (decision && strcmp(decision, "done") == 0) {
        json_t *value;
        json_object_foreach(json_object_get(answer, "outputs"), port, value)
            if (!err)
                err = tl_op_output_json(ctx, port, json_incref(value));
        tl_op_done(ctx, err);
    } else if (decision && strcmp(decision, "retry") == 0) {
        struct mark *m = mark_of(ctx);
        pthread_mutex_lock(&run->lock);
        run->nodes[ctx->node].status = TL_NODE_RUNNING;
        tl_journal_node_changed(run, ctx->node);
        memset(ctx->priv, 0, ctx->def->op->priv_size);
        ctx->on_cancel = NULL;
        ctx->cleaned = ctx->interrupted = ctx->cancel_told = false;
        ctx->in_run = true;
        pthread_mutex_unlock(&run->lock);
        int bad = m ? submit_mark(m) : TL_ENOMEM;
        if (bad != LATER) {
            after_attempt(ctx, bad, NULL);
            unlock_and_end(run);
        }
    } else {
        pthread_mutex_lock(&run->lock);
        run->nodes[ctx->node].answered = true;
        pthread_mutex_unlock(&run->lock);
        if (comment && *comment)
            tl_op_fail(ctx, TL_EUNKNOWN, "%s", comment);
        tl_op_done(ctx, TL_EUNKNOWN);
    }
}

/* Where an attempt has ended and what it did outside is not known, the node waits for a person. False where it ends. No lock is held; the context is done. */
static bool ask_person(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    bool ask = ctx->err == TL_EUNKNOWN && ctx->def->op->flags & TL_OP_EFFECT && tl_op_open(ctx) && run->exec->conf.db &&
               !run->nodes[ctx->node].answered && !run->stopping;
    if (ask) {
        tl_node_timer_cancel(&ctx->timeout);
        ctx->done = ctx->cancel_told = false;
        ctx->on_cancel = NULL;
        clear_values(ctx->outputs, ctx->def->nout);
    }
    pthread_mutex_unlock(&run->lock);
    if (!ask)
        return false;
    TL_AUTO_JSON json_t *shown = json_pack("{s:s,s:s,s:I}", "op", ctx->def->op->name, "message", ctx->message ? ctx->message : tl_err_text(TL_EUNKNOWN),
                                           "began_at", (json_int_t)ctx->mark_ms);
    const struct tl_ask question = {.kind = "outcome_unknown", .shown = shown, .answered = unknown_answered};
    int err = shown ? tl_ask_open(ctx, &question) : TL_ENOMEM;
    if (!err)
        return true;
    pthread_mutex_lock(&run->lock);
    ctx->done = true;
    ctx->err = TL_EUNKNOWN;
    pthread_mutex_unlock(&run->lock);
    return false;
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
    if (run->root->journal && (run == run->root || run->open)) {
        err = tl_result_key(ctx);
        if (err)
            return tl_op_fail(ctx, err, "%s", tl_err_text(err));
        if (tl_result_find(ctx) == 0) {
            pthread_mutex_lock(&run->lock);
            run->nodes[ctx->node].cached = true;
            pthread_mutex_unlock(&run->lock);
            return 0;
        }
    }
    return ctx->def->op->flags & TL_OP_EFFECT ? mark_and_call(ctx) : call_op(ctx);
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
    unlock_and_end(run);
    tl_node_timer_free(t);
}

/* An attempt has returned err. Leaves run->lock held. */
static void after_attempt(struct tl_op_ctx *ctx, int err, struct tl_op_ctx **spare)
{
    struct tl_run *run = ctx->run;
    if (err != TL_OP_PENDING)
        clean_up(ctx);
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
    int64_t allowed_ms = ctx->done ? 0 : policy_of(ctx->def)->timeout_ms;
    if (allowed_ms)
        ctx->timeout = tl_node_timer_new(run, ctx->node, ctx->serial, tl_exec_mono_us(run->exec) + allowed_ms * 1000, time_out);
    if (!ctx->done || ctx->calls)
        return;
    if ((!ctx->cleaned && ctx->def->op->cleanup) || ctx->err == TL_EUNKNOWN) {
        pthread_mutex_unlock(&run->lock);
        clean_up(ctx);
        bool asked = ask_person(ctx);
        pthread_mutex_lock(&run->lock);
        if (asked)
            return;
    }
    settle(ctx, spare);
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
        set_status(run, i, TL_NODE_FAILED);
        stop(run, TL_ENOMEM, run->plan->nodes[i].id, tl_err_text(TL_ENOMEM));
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

uint32_t tl_run_slice(struct tl_run *run, enum tl_op_class cls, struct tl_op_ctx **spare, bool *ret_kept)
{
    uint32_t n = 0, i;
    int64_t began = tl_exec_mono_us(run->exec);
    pthread_mutex_lock(&run->lock);
    while ((i = pop_ready(run, cls)) != NONE) {
        if (run->stopping || run->nodes[i].status != TL_NODE_QUEUED)
            continue;
        struct tl_op_ctx *ctx = begin_node(run, i, spare);
        if (!ctx)
            continue;
        bool quick = ctx->def->op->flags & TL_OP_QUICK;
        n++;
        ctx->has_place = *ret_kept = cls != TL_CLASS_CPU;
        run->soon += quick;
        list_ready(run);
        pthread_mutex_unlock(&run->lock);
        int err = attempt(ctx);
        if (err == LATER)
            pthread_mutex_lock(&run->lock);
        else
            after_attempt(ctx, err, spare);
        run->soon -= quick;
        if (cls != TL_CLASS_CPU)
            break;
        if (run->exec->hungry && tl_exec_must_yield(run, tl_exec_mono_us(run->exec) - began, n))
            break;
    }
    list_ready(run);
    bool over = is_over(run);
    pthread_mutex_unlock(&run->lock);
    if (over)
        end_run(&run->end_task);
    return n;
}

/* ---- the end ---- */

static void end_nested(struct tl_run *run)
{
    struct tl_op_ctx *parent = run->parent;
    const struct tl_plan *plan = run->plan;
    struct tl_nested_result result = {.err = run->err, .node = run->err_node, .message = run->err_message, .usage = run->usage};
    uint32_t n = plan->output_node == NONE ? 0 : plan->nodes[plan->output_node].nin;
    struct tl_value *outputs = tl_calloc(n, sizeof(*outputs));
    if (!outputs)
        result.err = TL_ENOMEM;
    for (uint32_t p = 0; !result.err && p < n; p++)
        result.err = receive(run, &plan->nodes[plan->output_node].in[p], &outputs[p]);
    result.outputs = outputs;
    pthread_mutex_lock(&parent->run->lock);
    if (run->prev_nested)
        run->prev_nested->next_nested = run->next_nested;
    else
        parent->nested = run->next_nested;
    if (run->next_nested)
        run->next_nested->prev_nested = run->prev_nested;
    pthread_mutex_unlock(&parent->run->lock);
    run->nest_done(parent, run->nest_arg, &result);
    clear_values(outputs, n);
    free(outputs);
}

static void fill_failure(const struct tl_run *run, struct tl_str *payload)
{
    TL_AUTO_JSON json_t *details = run->err_node ? json_pack("{s:s}", "node", run->err_node) : json_object();
    TL_AUTO_JSON json_t *error = json_pack("{s:{s:s,s:s,s:O}}", "error", "code", tl_err_code(run->err), "message",
                                           run->err_message ? run->err_message : tl_err_text(run->err), "details", details);
    tl_json_add(payload, error);
}

/* The payload of the terminal event and the status it stands for. */
static const char *fill_ending(struct tl_run *run, struct tl_str *payload)
{
    const struct tl_exec_conf *conf = &run->exec->conf;
    if (!run->err && conf->complete)
        run->err = conf->complete(conf->arg, run, payload);
    if (!run->err) {
        if (!payload->len)
            tl_str_puts(payload, "{}");
        return "done";
    }
    payload->len = 0;
    if (run->err != TL_ECANCELLED) {
        fill_failure(run, payload);
        return "failed";
    }
    tl_str_puts(payload, "{");
    if (run->cancel_reason) {
        tl_str_puts(payload, "\"reason\":");
        tl_json_add_text(payload, run->cancel_reason, strlen(run->cancel_reason));
    }
    tl_str_puts(payload, "}");
    return "cancelled";
}

static void end_outermost(struct tl_run *run)
{
    const struct tl_exec_conf *conf = &run->exec->conf;
    if (run->journal && (run->suspended || tl_journal_failed(run))) {
        tl_journal_suspend(run);
        tl_exec_remove_live(run->exec, run);
    } else if (run->journal) {
        struct tl_str payload = {0};
        const char *status = fill_ending(run, &payload);
        tl_journal_end(run, status, &payload);
        tl_str_clear(&payload);
    } else {
        if (conf->notify)
            conf->notify(conf->arg, &run->id, 0, true);
        tl_exec_remove_live(run->exec, run);
    }
}

static void end_run(struct tl_task *task)
{
    struct tl_run *run = (struct tl_run *)((char *)task - offsetof(struct tl_run, end_task));
    if (run->parent) {
        end_nested(run);
        tl_run_unref(run); /* the reference of tl_op_nest */
    } else {
        end_outermost(run);
    }
    tl_run_unref(run);
}

int tl_run_cancel(struct tl_exec *exec, const char *org, const struct tl_id *id, const char *reason)
{
    struct tl_run *run = tl_exec_find(exec, id);
    if (!run || strcmp(run->org, org) != 0) {
        tl_run_unref(run);
        TL_AUTO_JSON json_t *record = NULL;
        int err = exec->conf.db ? tl_run_get(exec->conf.db, org, id, &record) : TL_ENOTFOUND;
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
    const struct tl_value *v = &tl_run_values(run, node)[out];
    return tl_value_none(v) ? NULL : v;
}

const struct tl_value *tl_run_output(const struct tl_run *run, const char *node, const char *port)
{
    uint32_t i = tl_plan_find(run->plan, node);
    const struct tl_plan_node *n = i == NONE ? NULL : &run->plan->nodes[i];
    for (uint32_t k = 0; n && k < n->nout; k++)
        if (strcmp(n->out[k]->name, port) == 0)
            return tl_run_output_at(run, i, k);
    return NULL;
}

uint32_t tl_run_failed_nodes(const struct tl_run *run, uint32_t max, struct tl_str *s)
{
    uint32_t n = 0;
    tl_str_puts(s, "[");
    for (uint32_t i = 0; run->nfailed && i < run->plan->nnodes; i++) {
        const char *id = run->plan->nodes[i].id;
        if (run->nodes[i].status != TL_NODE_FAILED || n++ >= max)
            continue;
        tl_str_puts(s, n > 1 ? "," : "");
        tl_json_add_text(s, id, strlen(id));
    }
    tl_str_puts(s, "]");
    return n;
}

void tl_run_usage(const struct tl_run *run, struct tl_usage *ret, int64_t *ret_latency_ms)
{
    *ret = run->usage;
    *ret_latency_ms = tl_exec_wall_ms(run->exec) - run->started_ms;
}

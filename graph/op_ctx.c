#include "graph/op_ctx.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/state.h"

#include <stdarg.h>
#include <string.h>

enum { SPARE_MAX = 4096 /* bytes of a context worth keeping for the next node */, IDEM_BYTES = 16 };

static size_t rounded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

struct tl_op_ctx *tl_op_ctx_new(struct tl_run *run, uint32_t node, struct tl_op_ctx **spare)
{
    const struct tl_plan_node *def = &run->plan->nodes[node];
    size_t priv = rounded(def->op->priv_size),
           need = sizeof(struct tl_op_ctx) + priv + def->nin * sizeof(struct tl_value);
    struct tl_op_ctx *ctx = *spare && (*spare)->cap >= need ? *spare : NULL;
    if (ctx) {
        size_t cap = ctx->cap;
        *spare = NULL;
        memset(ctx, 0, need);
        ctx->cap = cap;
    } else {
        ctx = tl_calloc(1, need);
        if (!ctx)
            return NULL;
        ctx->cap = need;
    }
    ctx->run = run;
    ctx->node = node;
    ctx->serial = ++run->serial;
    ctx->def = def;
    ctx->inputs = (struct tl_value *)(void *)(ctx->priv + priv);
    ctx->outputs = tl_run_values(run, node);
    return ctx;
}

void tl_op_ctx_free(struct tl_op_ctx *ctx, struct tl_op_ctx **spare)
{
    for (uint32_t i = 0; i < ctx->def->nin; i++)
        tl_value_clear(&ctx->inputs[i]);
    tl_result_free(ctx->kept);
    free(ctx->message);
    free(ctx->step_key);
    free(ctx->idem_key);
    if (ctx->claimed)
        tl_exec_give_nested(ctx->run->root, ctx->claimed);
    if (spare && ctx->cap <= SPARE_MAX && (!*spare || (*spare)->cap < ctx->cap)) {
        struct tl_op_ctx *smaller = *spare;
        *spare = ctx;
        ctx = smaller;
    }
    free(ctx);
}

struct tl_node_timer *tl_node_timer_new(struct tl_run *run, uint32_t node, uint32_t serial, int64_t due_us,
                                        void (*fire)(struct tl_timer *timer))
{
    struct tl_node_timer *t = tl_calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    *t = (struct tl_node_timer){
        .timer = {.due_us = due_us, .fn = fire}, .run = tl_run_ref(run), .node = node, .serial = serial};
    if (tl_timers_arm(run->exec->timers, &t->timer) == 0)
        return t;
    tl_node_timer_free(t);
    return NULL;
}

void tl_node_timer_free(struct tl_node_timer *t)
{
    tl_run_unref(t->run);
    free(t);
}

/* One that is just being fired is freed by its own function. The run has other references: it does not go away here. */
void tl_node_timer_cancel(struct tl_node_timer **timer)
{
    struct tl_node_timer *t = *timer;
    *timer = NULL;
    if (t && tl_timers_cancel(t->run->exec->timers, &t->timer))
        tl_node_timer_free(t);
}

const struct tl_value *tl_op_input(struct tl_op_ctx *ctx, const char *port)
{
    for (uint32_t i = 0; i < ctx->def->nin; i++)
        if (strcmp(ctx->def->in[i].def->name, port) == 0)
            return tl_value_none(&ctx->inputs[i]) ? NULL : &ctx->inputs[i];
    return NULL;
}

const struct tl_value *tl_op_input_at(struct tl_op_ctx *ctx, uint32_t place)
{
    return place >= ctx->def->nin || tl_value_none(&ctx->inputs[place]) ? NULL : &ctx->inputs[place];
}

const struct tl_value *tl_op_input_next(struct tl_op_ctx *ctx, const char *port, uint32_t *at)
{
    for (uint32_t i = 0; i < ctx->def->nin; i++) {
        const struct tl_plan_port *in = &ctx->def->in[i];
        if (strcmp(in->def->name, port) != 0)
            continue;
        while (*at < in->nsources) {
            const struct tl_plan_source *src = &ctx->run->plan->sources[in->first_source + (*at)++];
            const struct tl_value *v = tl_run_output_at(ctx->run, src->node, src->out);
            if (v)
                return v;
        }
        return in->nsources || (*at)++ || tl_value_none(in->literal) ? NULL : in->literal;
    }
    return NULL;
}

const struct tl_value *tl_op_input_first(struct tl_op_ctx *ctx, const char *port)
{
    uint32_t at = 0;
    return tl_op_input_next(ctx, port, &at);
}

double tl_op_input_number(struct tl_op_ctx *ctx, const char *port, double otherwise)
{
    const struct tl_value *v = tl_op_input(ctx, port);
    return v && v->type == TL_T_NUMBER ? v->number : otherwise;
}

json_t *tl_op_input_json(struct tl_op_ctx *ctx, const char *port)
{
    const struct tl_value *v = tl_op_input(ctx, port);
    return v && v->type != TL_T_NUMBER && v->type != TL_T_BOOLEAN ? v->json : NULL;
}

const char *tl_op_input_text(struct tl_op_ctx *ctx, const char *port)
{
    return json_string_value(tl_op_input_json(ctx, port));
}

int tl_op_input_floats(struct tl_op_ctx *ctx, const char *port, double **ret, size_t *ret_n)
{
    json_t *j = tl_op_input_json(ctx, port);
    *ret = NULL;
    *ret_n = 0;
    return j ? tl_json_to_floats(j, ret, ret_n) : 0;
}

const struct tl_value *tl_op_param(struct tl_op_ctx *ctx, const char *name)
{
    for (uint32_t i = 0; i < ctx->def->nparams; i++)
        if (strcmp(ctx->def->shape->params[i].name, name) == 0)
            return tl_value_none(&ctx->def->params[i]) ? NULL : &ctx->def->params[i];
    return NULL;
}

const struct tl_value *tl_op_param_at(struct tl_op_ctx *ctx, uint32_t place)
{
    return place >= ctx->def->nparams || tl_value_none(&ctx->def->params[place]) ? NULL : &ctx->def->params[place];
}

double tl_op_param_number(struct tl_op_ctx *ctx, const char *name)
{
    const struct tl_value *v = tl_op_param(ctx, name);
    return v && v->type == TL_T_NUMBER ? v->number : 0;
}

const char *tl_op_param_text(struct tl_op_ctx *ctx, const char *name)
{
    const struct tl_value *v = tl_op_param(ctx, name);
    return v && v->type == TL_T_STRING ? json_string_value(v->json) : NULL;
}

bool tl_op_param_bool(struct tl_op_ctx *ctx, const char *name)
{
    const struct tl_value *v = tl_op_param(ctx, name);
    return v && v->type == TL_T_BOOLEAN && v->boolean;
}

int tl_op_output(struct tl_op_ctx *ctx, const char *port, struct tl_value value)
{
    if (tl_value_none(&value))
        return TL_ENOMEM;
    for (uint32_t i = 0; i < ctx->def->nout; i++) {
        const struct tl_port *def = ctx->def->out[i];
        if (strcmp(def->name, port) != 0)
            continue;
        if (def->type != TL_T_ANY && def->type != value.type)
            break;
        bool large = value.type != TL_T_NUMBER && value.type != TL_T_BOOLEAN &&
                     !tl_json_within(value.json, TL_VALUE_BYTES, TL_VALUE_LEVELS);
        if (large) {
            tl_value_clear(&value);
            return tl_op_fail(ctx, TL_ELIMIT, "the output \"%s\" is larger than %d MiB, or has more than %d levels",
                              port, TL_VALUE_BYTES >> 20, TL_VALUE_LEVELS);
        }
        tl_value_clear(&ctx->outputs[i]);
        ctx->outputs[i] = value;
        return 0;
    }
    tl_value_clear(&value);
    return tl_op_fail(ctx, TL_EINTERNAL, "the op \"%s\" set an output it does not have: \"%s\"", ctx->def->op->name,
                      port);
}

int tl_op_output_json(struct tl_op_ctx *ctx, const char *port, json_t *takes)
{
    if (!takes)
        return TL_ENOMEM;
    enum tl_type type = TL_T_ANY;
    for (uint32_t i = 0; i < ctx->def->nout; i++)
        if (strcmp(ctx->def->out[i]->name, port) == 0)
            type = ctx->def->out[i]->type;
    struct tl_value v;
    int err = tl_value_from_json(type, takes, &v, NULL);
    json_decref(takes);
    return err ? tl_op_fail(ctx, TL_EINTERNAL, "the output \"%s\" is no %s", port, tl_type_name(type))
               : tl_op_output(ctx, port, v);
}

int tl_op_output_number(struct tl_op_ctx *ctx, const char *port, double v)
{
    return tl_op_output(ctx, port, tl_value_number(v));
}

void tl_op_progress(struct tl_op_ctx *ctx, double fraction, const char *message)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    struct tl_node_state *s = &run->nodes[ctx->node];
    if (!run->stopping && s->status == TL_NODE_RUNNING) {
        fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
        if (fraction > (double)s->progress) {
            run->progress += fraction - (double)s->progress;
            s->progress = (float)fraction;
        }
        struct tl_node_extra *x = message ? tl_node_extra(s) : NULL;
        if (x && (!x->message || strcmp(x->message, message) != 0)) {
            free(x->message);
            x->message = tl_strdup(message);
        }
        tl_journal_node_changed(run, ctx->node);
    }
    pthread_mutex_unlock(&run->lock);
}

bool tl_op_cancelled(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    const struct tl_policy *policy = tl_node_policy(ctx->def);
    bool late =
        ctx->began_us && policy->timeout_ms && tl_exec_mono_us(run->exec) - ctx->began_us > policy->timeout_ms * 1000;
    pthread_mutex_lock(&run->lock);
    ctx->timed_out |= late;
    bool cancelled = tl_run_stops(run) || ctx->timed_out;
    pthread_mutex_unlock(&run->lock);
    return cancelled;
}

int tl_op_fail(struct tl_op_ctx *ctx, int err, const char *fmt, ...)
{
    struct tl_str s = {0};
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&s, fmt, ap);
    va_end(ap);
    free(ctx->message);
    ctx->message = tl_str_take(&s);
    return err;
}

void tl_op_usage(struct tl_op_ctx *ctx, const struct tl_usage *more)
{
    ctx->usage.tokens_in += more->tokens_in;
    ctx->usage.tokens_out += more->tokens_out;
    ctx->usage.cost_usd += more->cost_usd;
}

/* A nested run whose step was impure makes the node around it impure too. */
void tl_op_impure(struct tl_op_ctx *ctx)
{
    for (; ctx; ctx = ctx->run->parent) {
        pthread_mutex_lock(&ctx->run->lock);
        ctx->impure = true;
        pthread_mutex_unlock(&ctx->run->lock);
    }
}

void tl_op_done(struct tl_op_ctx *ctx, int err)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    ctx->done = true;
    ctx->err = err;
    bool over = !ctx->in_run && !ctx->calls;
    pthread_mutex_unlock(&run->lock);
    if (over)
        tl_run_node_ended(ctx);
}

void tl_op_on_cancel(struct tl_op_ctx *ctx, void (*fn)(struct tl_op_ctx *ctx))
{
    pthread_mutex_lock(&ctx->run->lock);
    ctx->on_cancel = fn;
    pthread_mutex_unlock(&ctx->run->lock);
}

/* Nested runs that have not been told, one after the other: run->lock is not held while a nested run is stopped. */
static void stop_nested(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    for (;;) {
        struct tl_run *r = ctx->nested;
        while (r && r->told_to_stop)
            r = r->next_nested;
        if (!r)
            return;
        r->told_to_stop = true;
        tl_run_ref(r);
        pthread_mutex_unlock(&run->lock);
        tl_run_stop(r, TL_ECANCELLED, NULL, NULL);
        tl_run_unref(r);
        pthread_mutex_lock(&run->lock);
    }
}

/* An op inside run() is left alone: whoever runs it looks again when it has returned. While it is called the context cannot end. */
void tl_op_ctx_cancel(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    if (ctx->in_run || ctx->done || ctx->cancel_told)
        return;
    ctx->cancel_told = true;
    ctx->calls++;
    stop_nested(ctx);
    if (ctx->on_cancel && !ctx->done) {
        pthread_mutex_unlock(&run->lock);
        ctx->on_cancel(ctx);
        pthread_mutex_lock(&run->lock);
    }
    tl_run_call_ended(ctx);
    pthread_mutex_lock(&run->lock);
}

void *tl_op_priv(struct tl_op_ctx *ctx)
{
    return ctx->priv;
}

const struct tl_plan_node *tl_op_node(struct tl_op_ctx *ctx)
{
    return ctx->def;
}

const char *tl_op_org(struct tl_op_ctx *ctx)
{
    return ctx->run->root->org;
}

const char *tl_op_run_id(struct tl_op_ctx *ctx)
{
    return ctx->run->root->id_text;
}

const char *tl_op_step_key(struct tl_op_ctx *ctx)
{
    if (!ctx->run->parent)
        return ctx->def->id;
    if (!ctx->step_key)
        ctx->step_key = tl_run_step_id(ctx->run, ctx->node);
    return ctx->step_key ? ctx->step_key : ctx->def->id;
}

unsigned tl_op_attempt(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&ctx->run->lock);
    unsigned attempt = ctx->run->nodes[ctx->node].attempts;
    pthread_mutex_unlock(&ctx->run->lock);
    return attempt;
}

const char *tl_op_idempotency_key(struct tl_op_ctx *ctx)
{
    if (!ctx->idem_key && (ctx->idem_key = tl_calloc(1, 2 * IDEM_BYTES + 1))) {
        const char *step = tl_op_step_key(ctx);
        struct tl_blake2b h;
        uint8_t hash[TL_BLAKE2B_LEN];
        tl_blake2b_init(&h, ctx->run->root->cache_key);
        tl_blake2b_field(&h, "talos-idempotency-1", 19);
        tl_blake2b_field(&h, ctx->run->root->id.b, TL_ID_LEN);
        tl_blake2b_field(&h, step, strlen(step));
        tl_blake2b_final(&h, hash);
        tl_hex(hash, IDEM_BYTES, ctx->idem_key);
    }
    return ctx->idem_key ? ctx->idem_key : "";
}

bool tl_op_interrupted(struct tl_op_ctx *ctx)
{
    return ctx->interrupted;
}

bool tl_op_open(struct tl_op_ctx *ctx)
{
    return ctx->run == ctx->run->root || ctx->run->open;
}

void tl_op_retry_after(struct tl_op_ctx *ctx, int64_t ms)
{
    ctx->retry_after_ms = ms;
}

void tl_op_waiting(struct tl_op_ctx *ctx, json_t *what)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    struct tl_node_state *s = &run->nodes[ctx->node];
    struct tl_node_extra *x = tl_node_extra(s);
    if (x && !ctx->done && !run->stopping) {
        json_decref(x->waits);
        x->waits = json_incref(what);
        s->status = TL_NODE_WAITING;
        tl_journal_node_changed(run, ctx->node);
        if (ctx->has_place)
            tl_exec_leave_place(run, tl_op_class(ctx->def->op), tl_exec_mono_us(run->exec) - ctx->began_us);
        ctx->has_place = false;
    }
    pthread_mutex_unlock(&run->lock);
    json_decref(what);
}

int64_t tl_op_now_ms(struct tl_op_ctx *ctx)
{
    return tl_exec_wall_ms(ctx->run->exec);
}

static void sound_alarm(struct tl_timer *timer)
{
    struct tl_node_timer *t = (struct tl_node_timer *)timer;
    struct tl_run *run = t->run;
    pthread_mutex_lock(&run->lock);
    struct tl_op_ctx *ctx = run->nodes[t->node].ctx;
    if (ctx && ctx->serial == t->serial && ctx->alarm == t && !ctx->done) {
        ctx->alarm = NULL;
        ctx->calls++;
        pthread_mutex_unlock(&run->lock);
        t->fn(ctx);
        pthread_mutex_lock(&run->lock);
        tl_run_call_ended(ctx);
    } else {
        pthread_mutex_unlock(&run->lock);
    }
    tl_node_timer_free(t);
}

int tl_op_alarm(struct tl_op_ctx *ctx, int64_t at_ms, void (*fn)(struct tl_op_ctx *ctx))
{
    struct tl_run *run = ctx->run;
    int64_t in_ms = at_ms - tl_exec_wall_ms(run->exec);
    pthread_mutex_lock(&run->lock);
    tl_node_timer_cancel(&ctx->alarm);
    ctx->alarm = tl_node_timer_new(run, ctx->node, ctx->serial,
                                   tl_exec_mono_us(run->exec) + (in_ms > 0 ? in_ms * 1000 : 0), sound_alarm);
    bool armed = ctx->alarm != NULL;
    if (armed)
        ctx->alarm->fn = fn;
    pthread_mutex_unlock(&run->lock);
    return armed ? 0 : TL_ENOMEM;
}

void *tl_op_services(struct tl_op_ctx *ctx)
{
    return ctx->run->exec->conf.services;
}

/* Marks the ancestors of a node; the outputs they have are final, for they all ended before the node began. */
static bool *ancestors(const struct tl_plan *plan, uint32_t node)
{
    bool *is = tl_calloc(plan->nnodes, sizeof(*is));
    if (!is)
        return NULL;
    is[node] = true;
    for (uint32_t k = plan->nwanted; k-- > 0;) {
        const struct tl_plan_node *n = &plan->nodes[plan->order[k]];
        if (!is[plan->order[k]])
            continue;
        for (uint32_t p = 0; p < n->nin; p++)
            for (uint32_t s = 0; s < n->in[p].nsources; s++)
                is[plan->sources[n->in[p].first_source + s].node] = true;
    }
    is[node] = false;
    return is;
}

static json_t *outputs_json(const struct tl_plan_node *n, const struct tl_value *outputs)
{
    json_t *o = json_object();
    for (uint32_t k = 0; o && outputs && k < n->nout; k++)
        if (!tl_value_none(&outputs[k]))
            json_object_set_new(o, n->out[k]->name, tl_value_json(&outputs[k]));
    return o;
}

json_t *tl_op_upstream(struct tl_op_ctx *ctx, bool sequential)
{
    const struct tl_run *run = ctx->run;
    TL_AUTO_FREE bool *is = ancestors(run->plan, ctx->node);
    json_t *all = sequential ? json_array() : json_object();
    for (uint32_t k = 0; is && all && k < run->plan->nwanted; k++) {
        uint32_t i = run->plan->order[k];
        const struct tl_plan_node *n = &run->plan->nodes[i];
        if (!is[i])
            continue;
        json_t *snap = json_pack("{s:s,s:o}", "type", n->op->name, "outputs", outputs_json(n, tl_run_values(run, i)));
        if (sequential) {
            json_object_set_new(snap, "id", json_string(n->id));
            json_array_append_new(all, snap);
        } else {
            json_object_set_new(all, n->id, snap);
        }
    }
    if (!is) {
        json_decref(all);
        return NULL;
    }
    return json_pack("{s:s,s:o}", "mode", sequential ? "sequential" : "aggregate", sequential ? "sequence" : "nodes",
                     all);
}

static int too_many(struct tl_op_ctx *ctx)
{
    return tl_op_fail(ctx, TL_ELIMIT, "the organisation has too many nodes of nested graphs under way");
}

int tl_op_claim(struct tl_op_ctx *ctx, size_t nodes)
{
    if (!tl_exec_take_nested(ctx->run->root, nodes))
        return too_many(ctx);
    ctx->claimed += nodes;
    return 0;
}

static int nest_new(struct tl_op_ctx *ctx, const struct tl_nest *nest, struct tl_run **ret)
{
    struct tl_run *outer = ctx->run, *run;
    struct tl_exec *exec = outer->exec;
    int err = tl_run_new(exec, nest->plan, ret);
    if (err)
        return err;
    run = *ret;
    run->root = tl_run_ref(outer->root);
    run->counted = tl_exec_take_nested(run->root, run->plan->nnodes);
    run->flow = run->root->flow;
    uint32_t n = run->plan->input_node == UINT32_MAX ? 0 : run->plan->nodes[run->plan->input_node].nout;
    struct tl_str prefix = {0};
    tl_str_printf(&prefix, "%s%s/", tl_op_step_key(ctx), nest->suffix ? nest->suffix : "");
    run->prefix = tl_str_take(&prefix);
    run->inputs = tl_calloc(n, sizeof(*run->inputs));
    if (!run->counted || !run->inputs || !run->prefix) {
        err = run->counted ? TL_ENOMEM : too_many(ctx);
        tl_run_unref(run);
        return err;
    }
    for (uint32_t i = 0; i < n; i++)
        run->inputs[i] = tl_value_ref(&nest->inputs[i]);
    run->parent = ctx;
    run->open = nest->open && (outer->root == outer || outer->open);
    run->nest_arg = nest->arg;
    run->nest_step = nest->step;
    run->nest_done = nest->done;
    return 0;
}

int tl_op_nest(struct tl_op_ctx *ctx, const struct tl_nest *nest)
{
    struct tl_run *outer = ctx->run, *run;
    int depth = 1;
    for (struct tl_run *r = outer; r->parent; r = r->parent->run)
        depth++;
    if (depth > TL_GRAPH_MAX_NESTING)
        return tl_op_fail(ctx, TL_EINVAL, "graphs are nested deeper than %d", TL_GRAPH_MAX_NESTING);
    if (tl_run_stops(outer))
        return TL_ECANCELLED;
    size_t most = outer->exec->conf.steps_max;
    if ((outer->root->steps += nest->plan->nnodes) > most)
        return tl_op_fail(ctx, TL_ELIMIT, "the run makes more than %zu steps in nested graphs", most);
    int err = nest_new(ctx, nest, &run);
    if (err)
        return err;
    pthread_mutex_lock(&outer->lock);
    if (ctx->cancel_told || outer->stopping) {
        pthread_mutex_unlock(&outer->lock);
        tl_run_unref(run);
        return TL_ECANCELLED;
    }
    tl_run_ref(run); /* for here; the first one goes with the nested run's end */
    run->next_nested = ctx->nested;
    if (ctx->nested)
        ctx->nested->prev_nested = run;
    ctx->nested = run;
    pthread_mutex_unlock(&outer->lock);
    tl_run_begin(run);
    tl_run_unref(run);
    return 0;
}

void tl_op_nest_stop(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&ctx->run->lock);
    ctx->calls++;
    stop_nested(ctx);
    tl_run_call_ended(ctx);
}

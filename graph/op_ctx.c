#include "graph/op_ctx.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/state.h"

#include <stdarg.h>
#include <string.h>

struct tl_op_ctx *tl_op_ctx_new(struct tl_run *run, uint32_t node)
{
    const struct tl_plan_node *def = &run->plan->nodes[node];
    struct tl_op_ctx *ctx = tl_calloc(1, sizeof(*ctx) + def->op->priv_size);
    if (!ctx)
        return NULL;
    ctx->run = run;
    ctx->node = node;
    ctx->def = def;
    ctx->inputs = tl_calloc(def->nin, sizeof(*ctx->inputs));
    ctx->outputs = tl_calloc(def->nout, sizeof(*ctx->outputs));
    if (!ctx->inputs || !ctx->outputs) {
        tl_op_ctx_free(ctx);
        return NULL;
    }
    return ctx;
}

void tl_op_ctx_free(struct tl_op_ctx *ctx)
{
    for (uint32_t i = 0; ctx->inputs && i < ctx->def->nin; i++)
        tl_value_clear(&ctx->inputs[i]);
    for (uint32_t i = 0; ctx->outputs && i < ctx->def->nout; i++)
        tl_value_clear(&ctx->outputs[i]);
    free(ctx->inputs);
    free(ctx->outputs);
    free(ctx->message);
    free(ctx->step_key);
    tl_run_unref(ctx->nested);
    free(ctx);
}

const struct tl_value *tl_op_input(struct tl_op_ctx *ctx, const char *port)
{
    for (uint32_t i = 0; i < ctx->def->nin; i++)
        if (strcmp(ctx->def->in[i].def->name, port) == 0)
            return tl_value_none(&ctx->inputs[i]) ? NULL : &ctx->inputs[i];
    return NULL;
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
        if (strcmp(ctx->def->shape.params[i].name, name) == 0)
            return tl_value_none(&ctx->def->params[i]) ? NULL : &ctx->def->params[i];
    return NULL;
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
    if (!run->journal)
        return;
    pthread_mutex_lock(&run->lock);
    struct tl_node_state *s = &run->nodes[ctx->node];
    if (!run->stopping && s->status == TL_NODE_RUNNING) {
        fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
        if (fraction > (double)s->progress) {
            run->progress += fraction - (double)s->progress;
            s->progress = (float)fraction;
        }
        if (message && (!s->message || strcmp(s->message, message) != 0)) {
            free(s->message);
            s->message = tl_strdup(message);
        }
        tl_journal_node_changed(run, ctx->node);
    }
    pthread_mutex_unlock(&run->lock);
}

bool tl_op_cancelled(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&ctx->run->lock);
    bool stopping = ctx->run->stopping;
    pthread_mutex_unlock(&ctx->run->lock);
    return stopping;
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
    bool over = !ctx->in_run && !ctx->in_cancel;
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

/* An op inside run() is left alone: whoever runs it looks again when it has returned. While on_cancel is called the context cannot end. */
void tl_op_ctx_cancel(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    if (ctx->in_run || ctx->done || ctx->cancel_told || !ctx->on_cancel)
        return;
    ctx->cancel_told = true;
    ctx->in_cancel = true;
    pthread_mutex_unlock(&run->lock);
    ctx->on_cancel(ctx);
    pthread_mutex_lock(&run->lock);
    ctx->in_cancel = false;
    if (!ctx->done)
        return;
    pthread_mutex_unlock(&run->lock);
    tl_run_node_ended(ctx);
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
    return tl_run_root(ctx->run)->org;
}

const char *tl_op_run_id(struct tl_op_ctx *ctx)
{
    return tl_run_root(ctx->run)->id_text;
}

const char *tl_op_step_key(struct tl_op_ctx *ctx)
{
    if (!ctx->run->parent)
        return ctx->def->id;
    if (!ctx->step_key) {
        struct tl_str s = {0};
        tl_str_printf(&s, "%s/%s", tl_op_step_key(ctx->run->parent), ctx->def->id);
        ctx->step_key = tl_str_take(&s);
    }
    return ctx->step_key ? ctx->step_key : ctx->def->id;
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
        json_t *snap = json_pack("{s:s,s:o}", "type", n->op->name, "outputs", outputs_json(n, run->nodes[i].outputs));
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

static void cancel_nested(struct tl_op_ctx *ctx)
{
    tl_run_stop(ctx->nested, TL_ECANCELLED, NULL, NULL);
}

int tl_op_run_nested(struct tl_op_ctx *ctx, struct tl_plan *plan, const struct tl_value *inputs,
                     const struct tl_nested_watch *watch,
                     void (*done)(struct tl_op_ctx *ctx, const struct tl_nested_result *result))
{
    int depth = 1;
    for (struct tl_run *r = ctx->run; r->parent; r = r->parent->run)
        depth++;
    if (depth > TL_GRAPH_MAX_NESTING)
        return tl_op_fail(ctx, TL_EINVAL, "graphs are nested deeper than %d", TL_GRAPH_MAX_NESTING);
    struct tl_run *run;
    int err = tl_run_new(ctx->run->exec, plan, &run);
    if (err)
        return err;
    uint32_t n = plan->input_node == UINT32_MAX ? 0 : plan->nodes[plan->input_node].nout;
    struct tl_value *copies = tl_calloc(n, sizeof(*copies));
    if (!copies) {
        tl_run_unref(run);
        return TL_ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++)
        copies[i] = tl_value_ref(&inputs[i]);
    run->inputs = copies;
    run->parent = ctx;
    run->nested_done = done;
    if (watch)
        run->watch = *watch;
    ctx->nested = tl_run_ref(run); /* on_cancel may come while the nested run ends by itself */
    tl_op_on_cancel(ctx, cancel_nested);
    tl_run_begin(run);
    return 0;
}

/* What stands outside the executor: ops that are quick, slow, pending, lost, failing, that change something, wait for a person, or never end by
 * themselves. What happens to an attempt is decided by chance when it begins; the world calls when its time has come. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/mem.h"
#include "graph/compute.h"
#include "graph/control/control.h"

#include <string.h>

enum { CANCEL_LATE_US = 100 * 1000, MAGIC = 0x51e };

struct priv {
    int magic, node;
    struct simrun *run;
};

static struct pend *pend_of(const struct tl_op_ctx *ctx)
{
    for (int i = 0; i < w.npends; i++)
        if (w.pends[i].ctx == ctx)
            return &w.pends[i];
    return NULL;
}

/* The question to a person shows it: the same for the same question. */
static int fail(struct tl_op_ctx *ctx, int err)
{
    if (err == TL_EUNKNOWN)
        return tl_op_fail(ctx, err, "nobody knows");
    return tl_op_fail(ctx, err, "attempt %u of %s", tl_op_attempt(ctx), tl_op_node(ctx)->id);
}

static int op_error(void)
{
    static const int errs[] = {TL_ERATE, TL_ETRANSIENT_IO, TL_ETRANSIENT_DB, TL_ESCHEMA, TL_EMEDIA, TL_ECAPSULE_RUN};
    return errs[rng_below(&w.rng, TL_ARRAY_LEN(errs))];
}

static enum kind kind_of(struct tl_op_ctx *ctx);

/* Everything begins here: what was received is read and checked. */
static struct priv *enter(struct tl_op_ctx *ctx, double *ret_value)
{
    struct priv *priv = tl_op_priv(ctx);
    double in[INS][SOURCES] = {{0}};
    int count[INS] = {0};
    static const char *const ports[INS] = {"a", "b", "c"};
    enum kind kind = kind_of(ctx);
    if (priv->magic || priv->run)
        sim_fail("%s: its private state is not zeroed", tl_op_node(ctx)->id);
    priv->magic = MAGIC;
    priv->run = check_run_of(ctx);
    priv->node = graph_find(priv->run->graph, tl_op_step_key(ctx));
    if (priv->node < 0)
        sim_fail("an op runs for a node that the graph does not have: %s", tl_op_step_key(ctx));
    for (int p = 0; p < INS && kind != K_SRC; p++) {
        if (kind == K_MERGE && p > 0)
            break;
        if (kind == K_MERGE) {
            size_t i;
            json_t *v;
            json_array_foreach(tl_op_input_json(ctx, "a"), i, v)
                in[0][count[0]++] = json_number_value(v);
        } else if (tl_op_input(ctx, ports[p])) {
            in[p][count[p]++] = tl_op_input_number(ctx, ports[p], 0);
        }
    }
    check_begin(priv->run, priv->node, ctx, in, count);
    w.contexts++;
    struct gnode n = priv->run->graph->node[priv->node];
    n.value = (int)tl_op_param_number(ctx, "value");
    n.shift = (int)tl_op_param_number(ctx, "shift");
    *ret_value = graph_eval(&n, in, count);
    return priv;
}

static const struct gnode *gnode_of(const struct priv *p)
{
    return &p->run->graph->node[p->node];
}

/* Something that nobody can compute beforehand. */
static double chance_value(double value)
{
    return value + (double)MODULUS * (double)(++w.unique);
}

static int leave(struct tl_op_ctx *ctx, const struct priv *p, int err, double value)
{
    enum kind kind = kind_of(ctx);
    if (err)
        fail(ctx, err);
    else
        err = tl_op_output_number(ctx, kind == K_ROUTE ? kind_out(kind, (int)value % 2) : "out", value);
    check_end(p->run, p->node, err, false, value);
    return err;
}

/* Ends in run() itself. */
static int run_now(struct tl_op_ctx *ctx)
{
    double value;
    struct priv *p = enter(ctx, &value);
    const struct gnode *n = gnode_of(p);
    int err = rng_chance(&w.rng, n->fail) ? op_error() : 0;
    if (n->kind == K_SLOW) {
        w.now_us += n->lasts_us;
        w.busy_us += n->lasts_us;
    }
    if (n->kind == K_CHANCE) {
        tl_op_impure(ctx);
        value = chance_value(value);
    }
    return leave(ctx, p, err, value);
}

static double value_of(const struct tl_value *v)
{
    return v->number;
}

/* Which run it is for cannot be seen here: check.c looks at what comes of it. */
static int compute_add(const struct tl_compute *c, struct tl_value *out)
{
    struct gnode n = {
        .kind = K_ADD, .value = (int)value_of(&c->node->params[0]), .shift = (int)value_of(&c->node->params[1])};
    double in[INS][SOURCES] = {{0}};
    int count[INS] = {0};
    if (rng_chance(&w.rng, 100))
        return 1; /* something is out of the ordinary */
    for (int p = 0; p < INS; p++)
        if (c->in[p])
            in[p][count[p]++] = value_of(c->in[p]);
    out[0] = tl_value_number(graph_eval(&n, in, count));
    return 0;
}

static void finish(struct pend *p)
{
    struct pend was = *p;
    *p = (struct pend){0};
    if (!was.cpu_free)
        w.held[tl_op_class(tl_op_node(was.ctx)->op)]--;
    struct priv *priv = tl_op_priv(was.ctx);
    if (priv->magic != MAGIC || priv->run != was.run)
        sim_fail("%s: its private state was overwritten", was.run->graph->node[was.node].id);
    int err = was.err;
    if (err)
        fail(was.ctx, err);
    else
        err = tl_op_output_number(was.ctx, "out", was.value);
    sim_note("run %d: %s ends: %s%s", was.run->index, was.run->graph->node[was.node].id, err ? tl_err_code(err) : "ok",
             was.told_cancel ? " (was told to)" : "");
    check_end(was.run, was.node, err, was.timed_out, was.value);
    tl_op_done(was.ctx, err);
}

static void on_cancel(struct tl_op_ctx *ctx)
{
    struct pend *p = pend_of(ctx);
    if (!p)
        sim_fail("an op that has ended is told to end");
    struct simrun *run = p->run;
    const char *id = run->graph->node[p->node].id;
    bool timed_out = p->timeout_us && w.now_us >= p->timeout_us;
    if (p->told_cancel)
        sim_fail("run %d: %s is told twice to end", run->index, id);
    if (!w.dying && !run->cancel_us && !run->failing && !timed_out)
        sim_fail("run %d: %s is told to end and nobody asked for it", run->index, id);
    sim_note("run %d: %s is told to end", run->index, id);
    p->told_cancel = true;
    p->timed_out = timed_out;
    if (!timed_out && p->err == 0 && p->due_us < w.now_us + CANCEL_LATE_US && !w.dying && rng_chance(&w.rng, 150))
        return; /* it ends well all the same, in its own time */
    p->err = TL_ECANCELLED;
    if (w.dying || rng_chance(&w.rng, 600)) {
        finish(p);
        return;
    }
    p->due_us = w.now_us + rng_range(&w.rng, 0, CANCEL_LATE_US);
}

static struct pend *hold(struct tl_op_ctx *ctx, struct priv *priv, double value)
{
    struct pend *p = pend_of(NULL);
    if (!p && w.npends < PENDS_MAX)
        p = &w.pends[w.npends++];
    if (!p)
        sim_fail("more than %d ops are pending at once", PENDS_MAX);
    const struct gnode *n = gnode_of(priv);
    enum tl_op_class class = tl_op_class(tl_op_node(ctx)->op);
    *p = (struct pend){.ctx = ctx,
                       .run = priv->run,
                       .node = priv->node,
                       .number = ++w.unique,
                       .due_us = w.now_us + 1 + n->lasts_us / 2 + rng_range(&w.rng, 0, n->lasts_us),
                       .change_us = INT64_MAX,
                       .timeout_us = n->policy.own ? n->policy.timeout_ms * 1000 : 0,
                       .value = value};
    if (!n->policy.timeout_ms) /* its op's own, which is longer than all that happens here but for what never ends */
        p->timeout_us = tl_op_node(ctx)->policy && tl_op_node(ctx)->policy->timeout_ms
                            ? tl_op_node(ctx)->policy->timeout_ms * 1000
                            : tl_policy_of_op(tl_op_node(ctx)->op)->timeout_ms * 1000;
    if (p->timeout_us)
        p->timeout_us += w.now_us;
    if (rng_chance(&w.rng, w.slow_permille))
        p->due_us += 400 * 1000; /* a slow machine */
    p->cpu_free = class == TL_CLASS_CPU || priv->run->node[priv->node].by_answer;
    priv->run->node[priv->node].by_answer = false;
    if (!p->cpu_free && ++w.held[class] > (int)w.conf.places[class])
        sim_fail("%d ops of class %d are at work, %u may be", w.held[class], (int)class, w.conf.places[class]);
    tl_op_on_cancel(ctx, on_cancel);
    return p;
}

static int run_pending(struct tl_op_ctx *ctx)
{
    double value;
    struct priv *priv = enter(ctx, &value);
    const struct gnode *n = gnode_of(priv);
    struct pend *p = hold(ctx, priv, n->kind == K_MEDIA ? value : chance_value(value));
    if (n->kind == K_NET)
        tl_op_usage(ctx, &(struct tl_usage){.tokens_in = 3, .tokens_out = 1, .cost_usd = 0.25});
    if (n->kind == K_LONG)
        p->due_us = INT64_MAX;
    else if (rng_chance(&w.rng, n->lose))
        p->err = TL_EWORKER;
    else if (rng_chance(&w.rng, n->fail))
        p->err = op_error();
    return TL_OP_PENDING;
}

static int run_effect(struct tl_op_ctx *ctx)
{
    double value;
    struct priv *priv = enter(ctx, &value);
    const struct gnode *n = gnode_of(priv);
    if (tl_op_interrupted(ctx) && !n->honours)
        return leave(ctx, priv, TL_EUNKNOWN, 0);
    struct pend *p = hold(ctx, priv, chance_value(value));
    p->change_us = w.now_us + rng_range(&w.rng, 0, p->due_us - w.now_us);
    if (rng_chance(&w.rng, n->fail)) { /* before or after it took effect */
        bool before = rng_chance(&w.rng, 500);
        if (before)
            p->change_us = INT64_MAX;
        p->err = before ? op_error() : n->honours ? TL_ETRANSIENT_IO : TL_EUNKNOWN;
    }
    return TL_OP_PENDING;
}

static void alarm_rings(struct tl_op_ctx *ctx)
{
    struct pend *p = pend_of(ctx);
    if (!p)
        sim_fail("an alarm of an op that has ended");
    if (p->due_us == INT64_MAX && p->change_us > w.now_us + 999)
        sim_fail("an alarm %lld us before its time", (long long)(p->change_us - w.now_us));
    if (!p->told_cancel)
        finish(p);
}

/* change_us tells when the alarm is due: it changes nothing. */
static int run_alarm(struct tl_op_ctx *ctx)
{
    double value;
    struct priv *priv = enter(ctx, &value);
    struct pend *p = hold(ctx, priv, value);
    int64_t after_ms = gnode_of(priv)->lasts_us / 1000 + 1;
    p->change_us = w.now_us + after_ms * 1000;
    p->due_us = INT64_MAX;
    if (rng_chance(&w.rng, gnode_of(priv)->fail))
        p->err = op_error();
    int err = tl_op_alarm(ctx, tl_op_now_ms(ctx) + after_ms, alarm_rings);
    if (err)
        sim_fail("tl_op_alarm: %s", tl_err_code(err));
    return TL_OP_PENDING;
}

static int run_ask(struct tl_op_ctx *ctx)
{
    double value;
    struct priv *priv = enter(ctx, &value);
    struct pend *p = hold(ctx, priv, chance_value(value));
    p->waiting = true;
    p->due_us += rng_range(&w.rng, 0, 300 * 1000);
    if (rng_chance(&w.rng, 200))
        p->due_us = INT64_MAX; /* nobody answers before everything else is over */
    if (!p->cpu_free)
        w.held[tl_op_class(tl_op_node(ctx)->op)]--;
    p->cpu_free = true;
    tl_op_waiting(ctx, json_pack("{s:s}", "kind", "sim"));
    return TL_OP_PENDING;
}

void ops_end(struct pend *p)
{
    finish(p);
}

void ops_progress(struct pend *p)
{
    tl_op_progress(p->ctx, (double)rng_below(&w.rng, 110) / 100, rng_chance(&w.rng, 500) ? "half way" : NULL);
}

void ops_change(struct pend *p)
{
    struct nstate *s = &p->run->node[p->node];
    const struct gnode *n = &p->run->graph->node[p->node];
    p->change_us = INT64_MAX;
    p->changed = true;
    if (n->kind != K_EFFECT)
        return;
    const char *key = tl_op_idempotency_key(p->ctx);
    sim_note("run %d: %s changes the outside, key %.8s", p->run->index, n->id, key);
    if (strlen(key) != 32)
        sim_fail("run %d: %s: the idempotency key has %zu digits", p->run->index, n->id, strlen(key));
    if (p->run->ended)
        sim_fail("run %d: %s changes the outside after the run's end", p->run->index, n->id);
    if (n->honours && s->changes)
        return; /* the outside knows the key; check_begin has seen that it is the same */
    if (++s->changes > 1 + s->allowed)
        sim_fail("run %d: %s changed the outside %u times, people allowed %u", p->run->index, n->id, s->changes,
                 1 + s->allowed);
}

void ops_let_go(void)
{
    for (int i = 0; i < w.npends; i++)
        if (w.pends[i].ctx && w.pends[i].told_cancel) {
            w.pends[i].err = TL_ECANCELLED;
            finish(&w.pends[i]);
        }
}

static void cleanup(struct tl_op_ctx *ctx)
{
    struct priv *p = tl_op_priv(ctx);
    if (p->magic != MAGIC)
        return; /* never ran, or ran no longer than a kept result took to be found */
    p->magic = 0;
    if (pend_of(ctx))
        sim_fail("an op is cleaned up while it is pending");
    if (!w.contexts--)
        sim_fail("an op is cleaned up twice");
}

#define A_PORT                                                                                                         \
    {                                                                                                                  \
        "a", TL_T_NUMBER, TL_PORT_REQUIRED, NULL                                                                       \
    }
#define BC_PORTS                                                                                                       \
    {"b", TL_T_NUMBER, 0, NULL},                                                                                       \
    {                                                                                                                  \
        "c", TL_T_NUMBER, 0, NULL                                                                                      \
    }
#define OUT(name)                                                                                                      \
    {                                                                                                                  \
        name, TL_T_NUMBER, TL_PORT_OUT, NULL                                                                           \
    }
static const struct tl_port src_ports[] = {OUT("out"), {0}};
static const struct tl_port mix_ports[] = {A_PORT, BC_PORTS, OUT("out"), {0}};
static const struct tl_port route_ports[] = {A_PORT, BC_PORTS, OUT("yes"), OUT("no"), {0}};
static const struct tl_port merge_ports[] = {
    {"a", TL_T_NUMBER, TL_PORT_REQUIRED | TL_PORT_MULTI, NULL}, OUT("out"), {0}};
#define VALUE_SHIFT                                                                                                    \
    {.name = "value", .type = TL_P_NUMBER, .min = 0, .max = 1000, .default_json = "0"},                                \
    {                                                                                                                  \
        .name = "shift", .type = TL_P_NUMBER, .min = 0, .max = 1000, .default_json = "0"                               \
    }
static const struct tl_param params[] = {VALUE_SHIFT, {0}};
static const struct tl_param effect_params[] = {
    VALUE_SHIFT, {.name = "honours", .type = TL_P_BOOLEAN, .default_json = "false"}, {0}};

#define OP(op_name, op_flags, op_ports, op_run)                                                                        \
    {                                                                                                                  \
        .name = op_name, .revision = 1, .flags = op_flags, .ports = op_ports, .params = params,                        \
        .priv_size = sizeof(struct priv), .run = op_run, .cleanup = cleanup                                            \
    }
static const struct tl_op ops[K_GROUP] = {
    [K_SRC] = OP("sim.src", TL_OP_PURE | TL_OP_QUICK, src_ports, run_now),
    [K_MIX] = OP("sim.mix", TL_OP_PURE | TL_OP_QUICK, mix_ports, run_now),
    [K_ADD] = {.name = "sim.add",
               .revision = 1,
               .flags = TL_OP_PURE | TL_OP_QUICK,
               .ports = mix_ports,
               .params = params,
               .priv_size = sizeof(struct priv),
               .run = run_now,
               .compute = compute_add,
               .cleanup = cleanup},
    [K_MERGE] = OP("sim.merge", TL_OP_PURE | TL_OP_QUICK, merge_ports, run_now),
    [K_ROUTE] = OP("sim.route", TL_OP_PURE | TL_OP_ROUTES, route_ports, run_now),
    [K_SLOW] = OP("sim.slow", TL_OP_PURE, mix_ports, run_now),
    [K_CHANCE] = OP("sim.chance", TL_OP_PURE, mix_ports, run_now),
    [K_MEDIA] = OP("sim.media", TL_OP_PURE | TL_OP_WORKER, mix_ports, run_pending),
    [K_NET] = OP("sim.net", TL_OP_NET, mix_ports, run_pending),
    [K_ALARM] = OP("sim.alarm", TL_OP_PURE, mix_ports, run_alarm),
    [K_EFFECT] = {.name = "sim.effect",
                  .revision = 1,
                  .flags = TL_OP_NET | TL_OP_EFFECT,
                  .ports = mix_ports,
                  .params = effect_params,
                  .priv_size = sizeof(struct priv),
                  .run = run_effect,
                  .cleanup = cleanup},
    [K_ASK] = OP("sim.ask", TL_OP_COMPOSITE, mix_ports, run_ask),
    [K_LONG] = OP("sim.long", TL_OP_NET, mix_ports, run_pending),
};

static enum kind kind_of(struct tl_op_ctx *ctx)
{
    return (enum kind)(tl_op_node(ctx)->op - ops);
}

const struct tl_op *ops_find(void *arg, const char *name)
{
    (void)arg;
    for (int k = 0; k < K_GROUP; k++)
        if (strcmp(ops[k].name, name) == 0)
            return &ops[k];
    size_t n;
    const struct tl_op *const *control = tl_control_ops(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(control[i]->name, name) == 0)
            return control[i];
    return NULL;
}

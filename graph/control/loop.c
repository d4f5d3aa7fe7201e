/* loop: runs its body until a condition holds over what the body gave, handing outputs on to the inputs of the same names. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/body.h"
#include "graph/cond.h"
#include "graph/control/control.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What shape() found out. */
struct loop_def {
    struct tl_body body;
    const struct tl_cond *until;
    uint32_t *from; /* per input of the body: the output that it takes from the iteration before, or UINT32_MAX */
};

/* An iteration may end before the call that starts it returns; whoever comes second goes on, so that quick ones are a loop and no recursion. */
enum phase { STARTING, STARTED, ENDED };
enum { GO_ON = 2 /* besides 0, TL_OP_PENDING and errors */ };

struct loop {
    const struct loop_def *def;
    uint32_t iteration;
    _Atomic int phase;
    int verdict;             /* of the last iteration: GO_ON, 0 or an error */
    struct tl_value *inputs; /* of the body; references */
    struct tl_value *state;  /* per output of the body, then the iteration: what the condition sees */
};

static const struct tl_port own_ports[] = {
    {"iterations", TL_T_NUMBER, TL_PORT_OUT, "how many times the body ran"},
    {"converged", TL_T_BOOLEAN, TL_PORT_OUT, "whether the condition held at the end"},
    {0}};

/* ---- shape ---- */

static int hand_on(const struct tl_shape_req *req, struct loop_def *def)
{
    const struct tl_body *b = &def->body;
    def->from = tl_arena_alloc(req->arena, (b->nin + 1) * sizeof(*def->from));
    if (!def->from)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < b->nin; i++) {
        def->from[i] = UINT32_MAX;
        for (uint32_t k = 0; k < b->nout; k++)
            if (strcmp(b->in[i].name, b->out[k].name) == 0)
                def->from[i] = k;
        if (def->from[i] != UINT32_MAX && !tl_type_accepts(b->in[i].type, b->out[def->from[i]].type))
            tl_body_problem(req, "ports", "\"%s\" goes out as %s and cannot come in again as %s", b->in[i].name,
                            tl_type_name(b->out[def->from[i]].type), tl_type_name(b->in[i].type));
    }
    return 0;
}

static int read_until(const struct tl_shape_req *req, struct loop_def *def)
{
    const json_t *until = json_object_get(json_object_get(req->data, "params"), "until");
    struct tl_port *roots = tl_arena_alloc(req->arena, (def->body.nout + 2) * sizeof(*roots));
    if (!roots)
        return TL_ENOMEM;
    memcpy(roots, def->body.out, def->body.nout * sizeof(*roots));
    roots[def->body.nout] = (struct tl_port){.name = "iteration", .type = TL_T_NUMBER};
    if (!json_is_string(until))
        return 0; /* the check of parameters tells */
    struct tl_str why = {0};
    int err = tl_cond_parse(json_string_value(until), json_string_length(until), roots, req->arena, &def->until, &why);
    if (err == TL_EINVAL)
        tl_body_problem(req, "params.until", "the condition cannot be read: %s", why.data);
    tl_str_clear(&why);
    return err == TL_EINVAL ? 0 : err;
}

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    static const char *const pins[] = {"ports", NULL};
    struct loop_def *def = tl_arena_alloc(req->arena, sizeof(*def));
    int err = def ? tl_body_read_ports(req, &def->body) : TL_ENOMEM;
    if (!err)
        err = hand_on(req, def);
    if (!err)
        err = read_until(req, def);
    if (!err)
        err = tl_body_plan(req, &def->body);
    if (err)
        return err;
    for (uint32_t k = 0; k < def->body.nout; k++)
        if (strcmp(def->body.out[k].name, "iteration") == 0)
            tl_body_problem(req, "ports", "the name \"iteration\" is the node's own");
    ret->priv = def;
    ret->ports = tl_body_join(req, own_ports, def->body.in, def->body.out);
    ret->identity = tl_body_identity(req, &def->body, pins);
    ret->inner_nodes = def->body.plan ? def->body.plan->ntotal : 0;
    return ret->ports && ret->identity ? 0 : TL_ENOMEM;
}

/* ---- run ---- */

static void done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result);

/* Iterates until it has to wait for an iteration or is through. */
static int iterate(struct tl_op_ctx *ctx, struct loop *l)
{
    l->verdict = GO_ON;
    while (l->verdict == GO_ON) {
        char suffix[16];
        if (tl_op_cancelled(ctx))
            return TL_ECANCELLED;
        snprintf(suffix, sizeof(suffix), "#%u", ++l->iteration);
        l->phase = STARTING;
        int err = tl_op_nest(ctx, &(struct tl_nest){.plan = l->def->body.plan,
                                                    .inputs = l->inputs,
                                                    .suffix = suffix,
                                                    .open = true,
                                                    .arg = l,
                                                    .done = done});
        if (err)
            return err;
        if (atomic_exchange(&l->phase, STARTED) != ENDED)
            return TL_OP_PENDING; /* ctx may be gone */
    }
    return l->verdict;
}

/* Keeps what the iteration gave; what it left out stays as it was before it among the inputs, and is none in the state. */
static void take_state(struct loop *l, const struct tl_nested_result *result)
{
    const struct tl_body *b = &l->def->body;
    for (uint32_t k = 0; k < b->nout; k++) {
        tl_value_clear(&l->state[k]);
        l->state[k] = tl_value_ref(&result->outputs[k]);
    }
    l->state[b->nout] = tl_value_number(l->iteration);
    for (uint32_t i = 0; i < b->nin; i++) {
        uint32_t k = l->def->from[i];
        if (k == UINT32_MAX || tl_value_none(&l->state[k]))
            continue;
        tl_value_clear(&l->inputs[i]);
        l->inputs[i] = tl_value_ref(&l->state[k]);
    }
}

static int emit(struct tl_op_ctx *ctx, const struct loop *l, bool converged)
{
    int err = tl_op_output(ctx, "converged", tl_value_bool(converged));
    if (!err)
        err = tl_op_output_number(ctx, "iterations", l->iteration);
    for (uint32_t k = 0; k < l->def->body.nout && !err; k++)
        if (!tl_value_none(&l->state[k]))
            err = tl_op_output(ctx, l->def->body.out[k].name, tl_value_ref(&l->state[k]));
    return err;
}

static int judge(struct tl_op_ctx *ctx, struct loop *l, const struct tl_nested_result *result)
{
    double max = tl_op_param_number(ctx, "max_iter");
    if (result->err)
        return tl_body_fail(ctx, "iteration", l->iteration, result);
    take_state(l, result);
    bool converged;
    size_t left = TL_COND_WORK;
    if (tl_cond_holds(l->def->until, l->state, &left, &converged) < 0)
        return tl_op_fail(ctx, TL_ELIMIT, "its condition looks at more than %d values", TL_COND_WORK);
    if (!converged && l->iteration < max) {
        char message[48];
        snprintf(message, sizeof(message), "iteration %u of at most %.0f", l->iteration + 1, max);
        tl_op_progress(ctx, l->iteration / max, message);
        return GO_ON;
    }
    if (converged || strcmp(tl_op_param_text(ctx, "on_max"), "accept") == 0)
        return emit(ctx, l, converged);
    return tl_op_fail(ctx, TL_ELIMIT, "the condition did not hold after %.0f iterations", max);
}

static void done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result)
{
    struct loop *l = arg;
    tl_op_usage(ctx, &result->usage);
    l->verdict = judge(ctx, l, result);
    if (atomic_exchange(&l->phase, ENDED) != STARTED)
        return;
    int err = l->verdict == GO_ON ? iterate(ctx, l) : l->verdict;
    if (err != TL_OP_PENDING)
        tl_op_done(ctx, err);
}

static int run(struct tl_op_ctx *ctx)
{
    struct loop *l = tl_op_priv(ctx);
    l->def = tl_op_node(ctx)->shape->priv;
    const struct tl_body *b = &l->def->body;
    l->inputs = tl_calloc(b->nin, sizeof(*l->inputs));
    l->state = tl_calloc(b->nout + 1, sizeof(*l->state));
    if (!l->inputs || !l->state)
        return TL_ENOMEM;
    for (uint32_t k = 0; k < b->nin; k++) {
        const struct tl_value *v = tl_op_input(ctx, b->in[k].name);
        if (v)
            l->inputs[k] = tl_value_ref(v);
    }
    if (!b->pure)
        tl_op_impure(ctx);
    return iterate(ctx, l);
}

static void cleanup(struct tl_op_ctx *ctx)
{
    struct loop *l = tl_op_priv(ctx);
    for (uint32_t k = 0; l->inputs && k < l->def->body.nin; k++)
        tl_value_clear(&l->inputs[k]);
    for (uint32_t k = 0; l->state && k < l->def->body.nout; k++)
        tl_value_clear(&l->state[k]);
    free(l->inputs);
    free(l->state);
}

static const char *const on_max[] = {"fail", "accept", NULL};
static const struct tl_param params[] = {{.name = "until",
                                          .type = TL_P_STRING,
                                          .flags = TL_PARAM_REQUIRED,
                                          .max = TL_COND_MAX,
                                          .doc = "a condition over the body's outputs and \"iteration\""},
                                         {.name = "max_iter",
                                          .type = TL_P_NUMBER,
                                          .min = 1,
                                          .max = TL_LOOP_ITER_MAX,
                                          .step = 1,
                                          .default_json = "10",
                                          .doc = "how many times at most"},
                                         {.name = "on_max",
                                          .type = TL_P_ENUM,
                                          .options = on_max,
                                          .default_json = "\"fail\"",
                                          .doc = "what it means that the condition never held"},
                                         {0}};

static const char *const data_keys[] = {"ports", "graph", NULL};

const struct tl_op tl_op_loop = {
    .name = "loop",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_COMPOSITE | TL_OP_ROUTES,
    .title = "Loop",
    .doc = "Runs a graph until a condition holds, handing its outputs on to its inputs of the same names.",
    .ports = own_ports,
    .params = params,
    .priv_size = sizeof(struct loop),
    .data_keys = data_keys,
    .shape = shape,
    .run = run,
    .cleanup = cleanup,
    .unshape = tl_body_unshape,
};

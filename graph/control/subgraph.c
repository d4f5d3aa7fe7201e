/* subgraph: a public group of nodes with ports of its own. It means what its nodes would mean in its place. */
#include "base/err.h"
#include "base/mem.h"
#include "graph/body.h"
#include "graph/control/control.h"

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    static const char *const pins[] = {"ports", NULL};
    struct tl_body *body = tl_arena_alloc(req->arena, sizeof(*body));
    int err = body ? tl_body_read_ports(req, body) : TL_ENOMEM;
    if (!err)
        err = tl_body_plan(req, body);
    if (err)
        return err;
    ret->priv = body;
    ret->ports = tl_body_join(req, NULL, body->in, body->out);
    ret->identity = tl_body_identity(req, body, pins);
    ret->inner_nodes = body->plan ? body->plan->ntotal : 0;
    return ret->ports && ret->identity ? 0 : TL_ENOMEM;
}

static void done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result)
{
    const struct tl_body *body = arg;
    int err = result->err ? tl_body_fail(ctx, NULL, 0, result) : 0;
    tl_op_usage(ctx, &result->usage);
    for (uint32_t k = 0; k < body->nout && !err; k++)
        if (!tl_value_none(&result->outputs[k]))
            err = tl_op_output(ctx, body->out[k].name, tl_value_ref(&result->outputs[k]));
    tl_op_done(ctx, err);
}

static int run(struct tl_op_ctx *ctx)
{
    struct tl_body *body = tl_op_node(ctx)->shape->priv;
    TL_AUTO_FREE struct tl_value *inputs = tl_calloc(body->nin, sizeof(*inputs));
    if (!inputs)
        return TL_ENOMEM;
    for (uint32_t k = 0; k < body->nin; k++) {
        const struct tl_value *v = tl_op_input(ctx, body->in[k].name);
        if (v)
            inputs[k] = *v; /* borrowed: tl_op_nest makes references of its own */
    }
    if (!body->pure)
        tl_op_impure(ctx);
    int err = tl_op_nest(
        ctx,
        &(struct tl_nest){.plan = body->plan, .inputs = inputs, .suffix = "", .open = true, .arg = body, .done = done});
    return err ? err : TL_OP_PENDING;
}

static const char *const data_keys[] = {"ports", "graph", NULL};

const struct tl_op tl_op_subgraph = {
    .name = "subgraph",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_COMPOSITE | TL_OP_ROUTES,
    .title = "Group",
    .doc = "A group of nodes with ports of its own.",
    .data_keys = data_keys,
    .shape = shape,
    .run = run,
    .unshape = tl_body_unshape,
};

/* input.number: a number typed on the canvas. */
#include "graph/compute.h"
#include "graph/op_ctx.h"

static const struct tl_port ports[] = {
    {"value", TL_T_NUMBER, TL_PORT_OUT, "the number"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"value", TL_P_NUMBER, 0, -1e12, 1e12, 0, NULL, "0", "any number"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    return tl_op_output_number(ctx, "value", tl_op_param_number(ctx, "value"));
}

static int compute(const struct tl_compute *c, struct tl_value *out)
{
    *out = c->node->params[0];
    return 0;
}

const struct tl_op tl_op_in_number = {
    .name = "input.number",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_QUICK,
    .title = "Number",
    .doc = "A number typed in",
    .ports = ports,
    .params = params,
    .run = run,
    .compute = compute,
};

/* merge: several branches come in, the first that was taken goes on. */
#include "base/err.h"
#include "graph/control/control.h"
#include "graph/op_ctx.h"

static int run(struct tl_op_ctx *ctx)
{
    const struct tl_value *v = tl_op_input_first(ctx, "values");
    return v ? tl_op_output(ctx, "value", tl_value_ref(v)) : 0;
}

static const struct tl_port ports[] = {
    {"values", TL_T_ANY, TL_PORT_MULTI | TL_PORT_REQUIRED, "the branches, in the order of the edges"},
    {"value", TL_T_ANY, TL_PORT_OUT, "the value of the first that was taken"},
    {0}};

const struct tl_op tl_op_merge = {
    .name = "merge",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_QUICK | TL_OP_ROUTES,
    .title = "Merge",
    .doc = "Goes on with the first branch that was taken.",
    .ports = ports,
    .run = run,
};

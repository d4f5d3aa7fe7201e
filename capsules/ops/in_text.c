/* input.text: a text typed on the canvas. */
#include "graph/op_ctx.h"

static const struct tl_port ports[] = {
    {"text", TL_T_STRING, TL_PORT_OUT, "the text"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"text", TL_P_STRING, 0, 0, 0, 0, NULL, "\"\"", "Korean or English, at most 64 KiB"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    return tl_op_output(ctx, "text", tl_value_ref(tl_op_param(ctx, "text")));
}

const struct tl_op tl_op_in_text = {
    .name = "input.text",
    .revision = 1,
    .flags = TL_OP_PURE,
    .title = "Text",
    .doc = "A text typed in",
    .ports = ports,
    .params = params,
    .run = run,
};

/* structure.repeat: two halves that answer each other: how alike they are already, and where the second begins. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"variation", TL_T_NUMBER, 0, "variation before"},
    {"variation_out", TL_T_NUMBER, TL_PORT_OUT, "less the more the halves are alike"},
    {"echo", TL_T_NUMBER, TL_PORT_OUT, "0 to 1: how alike they are"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "echo, half_sec"},
    {NULL, 0, 0, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double echo = tl_curve_halves(c.v, c.n);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "variation_out", tl_craft_in(ctx, "variation", 0.2, 0, 3) * (1 - 0.3 * echo));
    tl_out_number(&o, "echo", echo);
    tl_out_fact(&o, "echo", echo);
    tl_out_fact(&o, "half_sec", tl_craft_in(ctx, "duration", 60, 0.5, 7200) / 2);
    return tl_out_end(&o);
}

const struct tl_op tl_op_structure_repeat = {
    .name = "structure.repeat",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Repeat",
    .doc = "Two halves that answer each other",
    .ports = ports,
    .run = run,
};

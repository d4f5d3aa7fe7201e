/* tonal.swerve: the place where the tone slips: the sharpest turn of the curve. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"amount", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "swerve, swerve_sec"},
    {NULL, 0, 0, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double at, amount;
    tl_curve_swerve(c.v, c.n, &at, &amount);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "amount", amount);
    tl_out_fact(&o, "swerve", amount);
    tl_out_fact(&o, "swerve_sec", at * tl_craft_in(ctx, "duration", 60, 0.5, 7200));
    return tl_out_end(&o);
}

const struct tl_op tl_op_tonal_swerve = {
    .name = "tonal.swerve",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Find the swerve",
    .doc = "Where the tone of the scene turns most sharply",
    .ports = ports,
    .run = run,
};

/* curve.shape: how an auteur hears the emotion of a scene: bottled up, smoothed, never coming down again, sharpened or understated. */
#include "capsules/craft/op.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"by", TL_T_NUMBER, 0, "scales the amount, 0 to 1; 1 where it has no value"},
    {"curve_out", TL_T_FLOATS, TL_PORT_OUT, "the shaped curve"},
    {"mean", TL_T_NUMBER, TL_PORT_OUT, "its mean"},
    {"peak", TL_T_NUMBER, TL_PORT_OUT, "its highest value"},
    {"range", TL_T_NUMBER, TL_PORT_OUT, "highest less lowest"},
    {NULL, 0, 0, NULL},
};

static const char *const modes[] = {"pressure", "smooth", "ratchet", "contrast", "understate", NULL};
static const struct tl_param params[] = {
    {"mode", TL_P_ENUM, TL_PARAM_REQUIRED, 0, 0, 0, modes, NULL, "what is done to it"},
    TL_CRAFT_PARAM("amount", 0, 1, "0.5", "how much"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    static void (*const shape[])(const double *, size_t, double, double *) = {
        tl_curve_pressure, tl_curve_smooth, tl_curve_ratchet, tl_curve_contrast, tl_curve_understate};
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    TL_AUTO_FREE double *out = tl_calloc(c.n, sizeof(*out));
    if (!out)
        return TL_ENOMEM;
    size_t mode = 0;
    while (modes[mode + 1] && strcmp(modes[mode], tl_op_param_text(ctx, "mode")) != 0)
        mode++;
    shape[mode](c.v, c.n, tl_op_param_number(ctx, "amount") * tl_craft_in(ctx, "by", 1, 0, 1), out);
    struct tl_curve_stats s;
    tl_curve_stats(out, c.n, &s);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "curve_out", out, c.n);
    tl_out_number(&o, "mean", s.mean);
    tl_out_number(&o, "peak", s.peak);
    tl_out_number(&o, "range", s.peak - s.low);
    return tl_out_end(&o);
}

const struct tl_op tl_op_curve_shape = {
    .name = "curve.shape",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Shape the curve",
    .doc = "The emotion curve as this auteur hears it",
    .ports = ports,
    .params = params,
    .run = run,
};

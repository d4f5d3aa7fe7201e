/* palette.temper: white balance in OKLab: warmth moves every colour along yellow and a little along red. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …]"},
    {"warmth", TL_T_NUMBER, 0, "-1 cool to 1 warm"},
    {"colours_out", TL_T_JSON, TL_PORT_OUT, "the tempered colours"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("amount", 0, 2, "1", "1 moves b by 0.03 and a by 0.01"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    struct tl_lab v[TL_COLOURS_MAX];
    size_t n;
    int err = tl_craft_colours_in(ctx, "colours", v, &n);
    if (err)
        return err;
    double by = tl_op_param_number(ctx, "amount") * tl_craft_in(ctx, "warmth", 0, -1, 1);
    for (size_t i = 0; i < n; i++) {
        v[i].a += 0.01 * by;
        v[i].b += 0.03 * by;
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours_out", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_temper = {
    .name = "palette.temper",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Temper",
    .doc = "Warmer or cooler",
    .ports = ports,
    .params = params,
    .run = run,
};

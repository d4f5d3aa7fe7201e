/* palette.build: the colours of a capsule, given in OKLCh. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_OUT, "[[L, a, b], …]"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"lch", TL_P_JSON, TL_PARAM_REQUIRED, 0, 0, 0, NULL, NULL, "[[L, C, hue in degrees], …], 1 to 12 of them"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    json_t *list = tl_op_param(ctx, "lch")->json, *one;
    struct tl_lab v[TL_COLOURS_MAX];
    size_t i, n = json_array_size(list);
    if (n == 0 || n > TL_COLOURS_MAX)
        return tl_op_fail(ctx, TL_ESCHEMA, "lch must be a list of 1 to %d colours", TL_COLOURS_MAX);
    json_array_foreach(list, i, one) {
        if (json_array_size(one) != 3)
            return tl_op_fail(ctx, TL_ESCHEMA, "lch: a colour is three numbers");
        v[i] = tl_lab_from_lch(tl_craft_clamp(json_number_value(json_array_get(one, 0)), 0, 1),
                               tl_craft_clamp(json_number_value(json_array_get(one, 1)), 0, 0.4),
                               tl_craft_clamp(json_number_value(json_array_get(one, 2)), -360, 720));
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_build = {
    .name = "palette.build",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Palette",
    .doc = "Colours in OKLCh",
    .ports = ports,
    .params = params,
    .run = run,
};

/* palette.gradient: a sky from zenith to horizon: hue goes the short way from one to the other while lightness rises; chroma is fullest between. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"zenith_deg", TL_T_NUMBER, TL_PORT_REQUIRED, "hue of the dark end"},
    {"horizon_deg", TL_T_NUMBER, TL_PORT_REQUIRED, "hue of the light end"},
    {"glow", TL_T_NUMBER, 0, "0 to 1: how saturated the light is"},
    {"colours", TL_T_JSON, TL_PORT_OUT, "[[L, a, b], …]"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("count", 3, 8, "6", "colours"),
    TL_CRAFT_PARAM("dark", 0, 1, "0.35", "lightness of the zenith"),
    TL_CRAFT_PARAM("light", 0, 1, "0.95", "of the horizon"),
    TL_CRAFT_PARAM("chroma", 0, 0.4, "0.16", "chroma between the two"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    double from = tl_craft_in(ctx, "zenith_deg", 260, -360, 720), to = tl_craft_in(ctx, "horizon_deg", 350, -360, 720);
    double way = remainder(to - from, 360);
    size_t n = (size_t)tl_op_param_number(ctx, "count");
    double chroma = tl_op_param_number(ctx, "chroma") * tl_craft_mix(0.75, 1.25, tl_craft_in(ctx, "glow", 0.5, 0, 1));
    struct tl_lab v[TL_COLOURS_MAX];
    for (size_t i = 0; i < n; i++) {
        double p = (double)i / (double)(n - 1), between = 1 - (2 * p - 1) * (2 * p - 1);
        v[i] = tl_lab_from_lch(tl_craft_mix(tl_op_param_number(ctx, "dark"), tl_op_param_number(ctx, "light"), p),
                               chroma * (0.55 + 0.45 * between), from + way * p);
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_gradient = {
    .name = "palette.gradient",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Sky gradient",
    .doc = "Colours from zenith to horizon",
    .ports = ports,
    .params = params,
    .run = run,
};

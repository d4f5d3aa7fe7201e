/* palette.light: puts the palette at the key light: its mean lightness goes to the key, its spread grows with contrast; what would fall below 0.12 or
 * rise above 0.97 is compressed on its side of the key, not cut off. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …]"},
    {"key", TL_T_NUMBER, TL_PORT_REQUIRED, "lightness, 0 to 1"},
    {"contrast", TL_T_NUMBER, 0, "0 to 1"},
    {"colours_out", TL_T_JSON, TL_PORT_OUT, "the lit colours"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("flat", 0, 1, "0.3", "distance from darkest to lightest without contrast"),
    TL_CRAFT_PARAM("full", 0, 1, "0.85", "with full contrast"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    struct tl_lab v[TL_COLOURS_MAX];
    size_t n;
    int err = tl_craft_colours_in(ctx, "colours", v, &n);
    if (err)
        return err;
    struct tl_palette_stats s;
    tl_palette_stats(v, n, &s);
    double key = tl_craft_in(ctx, "key", 0.5, 0, 1);
    double spread = tl_craft_mix(tl_op_param_number(ctx, "flat"), tl_op_param_number(ctx, "full"),
                                 tl_craft_in(ctx, "contrast", 0.5, 0, 1));
    double scale = s.spread > 0.01 ? spread / s.spread : 1, below = 0, above = 0;
    for (size_t i = 0; i < n; i++) {
        below = v[i].l - s.light < below ? v[i].l - s.light : below;
        above = v[i].l - s.light > above ? v[i].l - s.light : above;
    }
    double down = tl_craft_clamp(key - 0.12, 0, 1), up = tl_craft_clamp(0.97 - key, 0, 1);
    down = -below * scale > down ? down / -below : scale;
    up = above * scale > up ? up / above : scale;
    for (size_t i = 0; i < n; i++)
        v[i].l = key + (v[i].l - s.light) * (v[i].l < s.light ? down : up);
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours_out", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_light = {
    .name = "palette.light",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Light the palette",
    .doc = "Lightness of the colours by key and contrast",
    .ports = ports,
    .params = params,
    .run = run,
};

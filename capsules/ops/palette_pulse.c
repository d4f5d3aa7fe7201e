/* palette.pulse: colours that answer the beat: energy saturates, and every other one flares while its neighbour falls back. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …]"},
    {"energy", TL_T_NUMBER, 0, "0 to 1"},
    {"sync", TL_T_NUMBER, 0, "0 to 1: how far light follows the beat"},
    {"colours_out", TL_T_JSON, TL_PORT_OUT, "the pulsing colours"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("chroma", 0, 1, "0.3", "what full energy adds to the chroma, as a share"),
    TL_CRAFT_PARAM("flare", 0, 0.3, "0.06", "lightness between beat and off-beat at full sync"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    struct tl_lab v[TL_COLOURS_MAX];
    size_t n;
    int err = tl_craft_colours_in(ctx, "colours", v, &n);
    if (err)
        return err;
    double scale = 1 + tl_op_param_number(ctx, "chroma") * (tl_craft_in(ctx, "energy", 0.5, 0, 1) - 0.5);
    double flare = tl_op_param_number(ctx, "flare") * tl_craft_in(ctx, "sync", 0.5, 0, 1) / 2;
    for (size_t i = 0; i < n; i++) {
        v[i].l = tl_craft_clamp(v[i].l + (i % 2 ? flare : -flare), 0, 1);
        v[i].a *= scale;
        v[i].b *= scale;
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours_out", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_pulse = {
    .name = "palette.pulse",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Pulse",
    .doc = "Colours that answer energy and beat",
    .ports = ports,
    .params = params,
    .run = run,
};

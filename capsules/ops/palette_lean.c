/* palette.lean: the palette leans towards the hue of the clip that it will meet, never so far that it is no longer this auteur's. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …]"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"colours_out", TL_T_JSON, TL_PORT_OUT, "the leaning colours"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("pull", 0, 0.3, "0.12", "share of the way from the palette's mean colour to the clip's"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    struct tl_lab v[TL_COLOURS_MAX], mean = {0};
    size_t n;
    int err = tl_craft_colours_in(ctx, "colours", v, &n);
    if (err)
        return err;
    const json_t *clip = tl_op_input_json(ctx, "clip");
    double pull = tl_craft_of(clip, "clip", 0, 1) > 0 ? tl_op_param_number(ctx, "pull") : 0;
    for (size_t i = 0; i < n; i++) {
        mean.a += v[i].a / (double)n;
        mean.b += v[i].b / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        v[i].a += pull * (tl_craft_of(clip, "clip_a", -0.4, 0.4) - mean.a);
        v[i].b += pull * (tl_craft_of(clip, "clip_b", -0.4, 0.4) - mean.b);
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours_out", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_lean = {
    .name = "palette.lean",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Lean to the clip",
    .doc = "Colours tilted towards the clip's",
    .ports = ports,
    .params = params,
    .run = run,
};

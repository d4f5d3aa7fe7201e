/* palette.complement: every other colour becomes the complement of the leading hue: red against green, as in wallpaper. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …], the leading hue in all of them"},
    {"by", TL_T_NUMBER, 0, "0 to 1: how strong the complement is"},
    {"colours_out", TL_T_JSON, TL_PORT_OUT, "the paired colours"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("angle", 90, 270, "170", "degrees from the leading hue"),
    TL_CRAFT_PARAM("ratio", 0, 1, "0.5", "chroma of the complement to that of the lead"),
    TL_CRAFT_PARAM("every", 2, 6, "3", "each how manieth colour"),
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
    size_t every = (size_t)tl_op_param_number(ctx, "every");
    double chroma =
        s.chroma * tl_op_param_number(ctx, "ratio") * tl_craft_mix(0.5, 1, tl_craft_in(ctx, "by", 0.5, 0, 1));
    for (size_t i = 1; i < n; i += every)
        v[i] = tl_lab_from_lch(v[i].l, chroma, s.hue_deg + tl_op_param_number(ctx, "angle"));
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours_out", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_complement = {
    .name = "palette.complement",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Complement",
    .doc = "The leading hue against its opposite",
    .ports = ports,
    .params = params,
    .run = run,
};

/* palette.drain: takes colour away, most of it in the shadows, and presses the shadows down. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …]"},
    {"by", TL_T_NUMBER, 0, "0 to 1: scales both effects; 1 where it has no value"},
    {"colours_out", TL_T_JSON, TL_PORT_OUT, "the drained colours"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("drain", 0, 1, "0.4", "share of the chroma taken from black; half of it from white"),
    TL_CRAFT_PARAM("crush", 0, 1, "0", "how far dark colours are pressed towards black"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    struct tl_lab v[TL_COLOURS_MAX];
    size_t n;
    int err = tl_craft_colours_in(ctx, "colours", v, &n);
    if (err)
        return err;
    double by = tl_craft_in(ctx, "by", 1, 0, 1), drain = tl_op_param_number(ctx, "drain") * by,
           crush = tl_op_param_number(ctx, "crush") * by;
    for (size_t i = 0; i < n; i++) {
        double keep = 1 - drain * (1 - 0.5 * v[i].l);
        v[i].a *= keep;
        v[i].b *= keep;
        v[i].l *= 1 - crush * (1 - v[i].l) * (1 - v[i].l);
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_colours(&o, "colours_out", v, n);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_drain = {
    .name = "palette.drain",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Drain",
    .doc = "Less colour, deeper shadows",
    .ports = ports,
    .params = params,
    .run = run,
};

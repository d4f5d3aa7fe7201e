/* style.compose: the style vector: every axis blended from neutral by intensity. An axis without a value stays neutral. */
#include "capsules/craft/op.h"
#include "wire/style.h"

#include <math.h>

/* One input per axis, named like it, but the first, which comes in seconds. */
static const struct tl_port ports[] = {
    {"shot_sec", TL_T_NUMBER, 0, "mean shot in seconds"},
#define X(sym, name, low, high, neutral, unit) {name, TL_T_NUMBER, 0, unit},
    TL_STYLE_TABLE(X)
#undef X
        {"intensity", TL_T_NUMBER, TL_PORT_REQUIRED, "style_intensity, 0 to 1"},
    {"style_vector", TL_T_FLOATS, TL_PORT_OUT, "twelve axes in the order of wire/style.h"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "intensity"},
    {NULL, 0, 0, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    double v[TL_STYLE_AXES], intensity = tl_craft_in(ctx, "intensity", 0.7, 0, 1);
    for (int i = 0; i < TL_STYLE_AXES; i++) {
        const struct tl_style_info *axis = &tl_style_info[i];
        double target = tl_op_input_number(ctx, axis->name, axis->neutral);
        if (i == TL_STYLE_SHOT_LENGTH && tl_op_input(ctx, "shot_sec"))
            target = log(tl_craft_in(ctx, "shot_sec", 4, 0.1, 600));
        v[i] = tl_craft_mix(axis->neutral, tl_craft_clamp(target, axis->low, axis->high), intensity);
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "style_vector", v, TL_STYLE_AXES);
    tl_out_fact(&o, "intensity", intensity);
    return tl_out_end(&o);
}

const struct tl_op tl_op_style_compose = {
    .name = "style.compose",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Compose the style vector",
    .doc = "Twelve axes, blended from neutral",
    .ports = ports,
    .run = run,
};

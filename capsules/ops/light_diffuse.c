/* light.diffuse: halo around highlights: the bias spans it, glow and wet surfaces feed it. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"bias", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"glow", TL_T_NUMBER, 0, "0 to 1"},
    {"scene", TL_T_JSON, 0, "facts of scene.read"},
    {"diffusion", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "diffusion, flare, reflections"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("low", 0, 1, "0.1", "diffusion without bias"),
    TL_CRAFT_PARAM("high", 0, 1, "0.95", "with all of it"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene");
    double bias = tl_craft_in(ctx, "bias", 0.5, 0, 1), glow = tl_craft_in(ctx, "glow", 0.5, 0, 1);
    double wet = tl_craft_of(scene, "rain", 0, 1) > tl_craft_of(scene, "water", 0, 1)
                     ? tl_craft_of(scene, "rain", 0, 1)
                     : tl_craft_of(scene, "water", 0, 1);
    double fed = tl_craft_clamp(0.82 + 0.12 * glow + 0.06 * wet, 0, 1);
    double diffusion = tl_craft_mix(tl_op_param_number(ctx, "low"), tl_op_param_number(ctx, "high"), bias * fed);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "diffusion", diffusion);
    tl_out_fact(&o, "diffusion", diffusion);
    tl_out_fact(&o, "flare", bias * glow);
    tl_out_fact(&o, "reflections", wet);
    return tl_out_end(&o);
}

const struct tl_op tl_op_light_diffuse = {
    .name = "light.diffuse",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Diffuse the light",
    .doc = "Halo around highlights",
    .ports = ports,
    .params = params,
    .run = run,
};

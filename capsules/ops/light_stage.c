/* light.stage: stage light: haze, beams and a key that rises with the music. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"energy", TL_T_NUMBER, 0, "0 to 1"},
    {"bpm", TL_T_NUMBER, 0, "beats a minute"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"key", TL_T_NUMBER, TL_PORT_OUT, "lightness"},
    {"contrast", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"haze", TL_T_NUMBER, TL_PORT_OUT, "diffusion, 0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "key, haze, sweep_sec (a light's way across, four bars)"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("key", 0.05, 0.95, "0.5", "key lightness at middling energy"),
    TL_CRAFT_PARAM("rise", 0, 0.4, "0.1", "what full energy adds"),
    TL_CRAFT_PARAM("haze", 0, 1, "0.25", "haze of an ordinary scene"),
    TL_CRAFT_PARAM("contrast", 0, 1, "0.75", "contrast"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's lightness counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double energy = tl_craft_in(ctx, "energy", 0.5, 0, 1), music = tl_craft_of(scene, "music", 0, 1);
    double key = tl_op_param_number(ctx, "key") + tl_op_param_number(ctx, "rise") * (energy - 0.5) -
                 0.04 * tl_craft_of(scene, "night", 0, 1) + 0.04 * tl_craft_of(scene, "day", 0, 1);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        key = tl_craft_mix(key, tl_craft_of(clip, "clip_luma", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    double haze = tl_craft_clamp(tl_op_param_number(ctx, "haze") + 0.1 * music, 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "key", tl_craft_clamp(key, 0.05, 0.95));
    tl_out_number(&o, "contrast", tl_craft_clamp(tl_op_param_number(ctx, "contrast") + 0.1 * music, 0, 1));
    tl_out_number(&o, "haze", haze);
    tl_out_fact(&o, "key", tl_craft_clamp(key, 0.05, 0.95));
    tl_out_fact(&o, "haze", haze);
    tl_out_fact(&o, "sweep_sec", 16 * 60 / tl_craft_in(ctx, "bpm", 110, 30, 300));
    return tl_out_end(&o);
}

const struct tl_op tl_op_light_stage = {
    .name = "light.stage",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Stage light",
    .doc = "Haze, beams and a rising key",
    .ports = ports,
    .params = params,
    .run = run,
};

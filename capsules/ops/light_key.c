/* light.key: key lightness from a base, the hour, tension, weather and, a little, the clip's own. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"tension", TL_T_NUMBER, 0, "0 to 1"},
    {"darken", TL_T_NUMBER, 0, "lightness to take away"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"key", TL_T_NUMBER, TL_PORT_OUT, "median OKLab L"},
    {"contrast", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "key, contrast"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("base", 0.05, 0.95, "0.45", "key lightness of an ordinary scene"),
    TL_CRAFT_PARAM("night", 0, 0.4, "0.06", "what night takes and day gives"),
    TL_CRAFT_PARAM("tension", 0, 0.4, "0.06", "what full tension takes"),
    TL_CRAFT_PARAM("contrast", 0, 1, "0.6", "contrast without tension"),
    TL_CRAFT_PARAM("contrast_gain", 0, 1, "0.2", "what full tension adds"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's lightness counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double hour = tl_craft_of(scene, "day", 0, 1) + 0.5 * tl_craft_of(scene, "dawn", 0, 1) -
                  0.4 * tl_craft_of(scene, "dusk", 0, 1) - tl_craft_of(scene, "night", 0, 1);
    double tension = tl_craft_in(ctx, "tension", 0.45, 0, 1);
    double key = tl_op_param_number(ctx, "base") + tl_op_param_number(ctx, "night") * tl_craft_clamp(hour, -1, 1) -
                 tl_op_param_number(ctx, "tension") * (tension - 0.45) - tl_craft_in(ctx, "darken", 0, 0, 0.5);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        key = tl_craft_mix(key, tl_craft_of(clip, "clip_luma", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    key = tl_craft_clamp(key, 0.05, 0.95);
    double contrast =
        tl_craft_clamp(tl_op_param_number(ctx, "contrast") + tl_op_param_number(ctx, "contrast_gain") * tension, 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "key", key);
    tl_out_number(&o, "contrast", contrast);
    tl_out_fact(&o, "key", key);
    tl_out_fact(&o, "contrast", contrast);
    return tl_out_end(&o);
}

const struct tl_op tl_op_light_key = {
    .name = "light.key",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Key light",
    .doc = "How light the picture is, and how hard",
    .ports = ports,
    .params = params,
    .run = run,
};

/* light.flat: the light that was there: windows and lamps, little contrast, the hour hardly moves it. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"still", TL_T_NUMBER, 0, "0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"key", TL_T_NUMBER, TL_PORT_OUT, "lightness"},
    {"contrast", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "key, contrast"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("key", 0.05, 0.95, "0.62", "key lightness"),
    TL_CRAFT_PARAM("contrast", 0, 1, "0.25", "contrast"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.2", "how far the clip's own light is kept"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double key = tl_op_param_number(ctx, "key") + 0.03 * tl_craft_of(scene, "day", 0, 1) +
                 0.02 * tl_craft_of(scene, "snow", 0, 1) - 0.05 * tl_craft_of(scene, "night", 0, 1);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        key = tl_craft_mix(key, tl_craft_of(clip, "clip_luma", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    double contrast =
        tl_op_param_number(ctx, "contrast") * tl_craft_mix(1.2, 0.9, tl_craft_in(ctx, "still", 0.5, 0, 1));
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "key", tl_craft_clamp(key, 0.05, 0.95));
    tl_out_number(&o, "contrast", tl_craft_clamp(contrast, 0, 1));
    tl_out_fact(&o, "key", tl_craft_clamp(key, 0.05, 0.95));
    tl_out_fact(&o, "contrast", tl_craft_clamp(contrast, 0, 1));
    return tl_out_end(&o);
}

const struct tl_op tl_op_light_flat = {
    .name = "light.flat",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Flat light",
    .doc = "The light that was there",
    .ports = ports,
    .params = params,
    .run = run,
};

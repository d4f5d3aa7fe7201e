/* frame.depth: the threat is staged in depth and height inside a wide frame; the camera goes sideways with it. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"peak", TL_T_NUMBER, 0, "highest tension, 0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"scale", TL_T_NUMBER, TL_PORT_OUT, "-1 extreme long to 1 close-up"},
    {"symmetry", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "depth, vertical"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("scale", -1, 1, "-0.2", "usual shot scale"),
    TL_CRAFT_PARAM("closer", 0, 1, "0.3", "what a full peak adds"),
    TL_CRAFT_PARAM("symmetry", 0, 1, "0.25", "usual symmetry"),
    TL_CRAFT_PARAM("planes", 1, 5, "3", "planes of action in a quiet scene"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's symmetry counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double peak = tl_craft_in(ctx, "peak", 0.6, 0, 1), vertical = tl_craft_of(scene, "class", 0, 1);
    double crowd = tl_craft_of(scene, "crowd", 0, 1), symmetry = tl_op_param_number(ctx, "symmetry") - 0.1 * vertical;
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        symmetry =
            tl_craft_mix(symmetry, tl_craft_of(clip, "clip_symmetry", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    double scale = tl_op_param_number(ctx, "scale") + tl_op_param_number(ctx, "closer") * (peak - 0.5) - 0.15 * crowd -
                   0.1 * tl_craft_of(scene, "outdoor", 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "scale", tl_craft_clamp(scale, -1, 1));
    tl_out_number(&o, "symmetry", tl_craft_clamp(symmetry, 0, 1));
    tl_out_fact(&o, "depth", tl_craft_clamp(tl_op_param_number(ctx, "planes") + (peak > 0.7) + (crowd > 0.5), 1, 5));
    tl_out_fact(&o, "vertical", vertical);
    return tl_out_end(&o);
}

const struct tl_op tl_op_frame_depth = {
    .name = "frame.depth",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Stage in depth",
    .doc = "Planes of action, height, sideways movement",
    .ports = ports,
    .params = params,
    .run = run,
};

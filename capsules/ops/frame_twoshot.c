/* frame.twoshot: two people and a table between them, from the side, a little far away. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"echo", TL_T_NUMBER, 0, "0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"scale", TL_T_NUMBER, TL_PORT_OUT, "-1 extreme long to 1 close-up"},
    {"symmetry", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "people, distance_m"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("scale", -1, 1, "-0.25", "usual shot scale"),
    TL_CRAFT_PARAM("symmetry", 0, 1, "0.4", "symmetry of two at a table"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's symmetry counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double table = tl_craft_of(scene, "table", 0, 1), alone = tl_craft_of(scene, "alone", 0, 1),
           crowd = tl_craft_of(scene, "crowd", 0, 1);
    double scale =
        tl_op_param_number(ctx, "scale") + 0.1 * table - 0.15 * tl_craft_of(scene, "outdoor", 0, 1) - 0.1 * crowd;
    double symmetry =
        tl_op_param_number(ctx, "symmetry") + 0.1 * table - 0.1 * alone + 0.05 * tl_craft_in(ctx, "echo", 0.5, 0, 1);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        symmetry =
            tl_craft_mix(symmetry, tl_craft_of(clip, "clip_symmetry", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "scale", tl_craft_clamp(scale, -1, 1));
    tl_out_number(&o, "symmetry", tl_craft_clamp(symmetry, 0, 1));
    tl_out_fact(&o, "people", alone > 0.5 ? 1 : crowd > 0.5 ? 4 : 2);
    tl_out_fact(&o, "distance_m", 3.5 - 4 * scale);
    return tl_out_end(&o);
}

const struct tl_op tl_op_frame_twoshot = {
    .name = "frame.twoshot",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Two-shot",
    .doc = "Two people and a table",
    .ports = ports,
    .params = params,
    .run = run,
};

/* camera.move: how much the camera moves and how much of that is a hand's. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"move", TL_T_NUMBER, 0, "-1 static to 1 dynamic"},
    {"energy", TL_T_NUMBER, 0, "0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"motion", TL_T_NUMBER, TL_PORT_OUT, "0 locked to 1 always moving"},
    {"handheld", TL_T_NUMBER, TL_PORT_OUT, "0 sticks to 1 running"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "motion, handheld"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("static", 0, 1, "0.1", "motion of a static camera here"),
    TL_CRAFT_PARAM("controlled", 0, 1, "0.4", "of a controlled one"),
    TL_CRAFT_PARAM("dynamic", 0, 1, "0.7", "of a dynamic one"),
    TL_CRAFT_PARAM("energy", 0, 0.5, "0.1", "what energy adds around its middle"),
    TL_CRAFT_PARAM("hand", 0, 1, "0.1", "handheld share of a controlled camera"),
    TL_CRAFT_PARAM("hand_gain", 0, 1, "0.1", "what a dynamic one adds"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's motion counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *clip = tl_op_input_json(ctx, "clip");
    double move = tl_craft_in(ctx, "move", 0, -1, 1), middle = tl_op_param_number(ctx, "controlled");
    double motion = move < 0 ? tl_craft_mix(middle, tl_op_param_number(ctx, "static"), -move)
                             : tl_craft_mix(middle, tl_op_param_number(ctx, "dynamic"), move);
    motion += tl_op_param_number(ctx, "energy") * (tl_craft_in(ctx, "energy", 0.5, 0, 1) - 0.5);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        motion = tl_craft_mix(motion, tl_craft_of(clip, "clip_motion", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    double handheld = tl_op_param_number(ctx, "hand") * (1 + (move < 0 ? move : 0)) +
                      tl_op_param_number(ctx, "hand_gain") * (move > 0 ? move : 0);
    motion = tl_craft_clamp(motion, 0, 1);
    handheld = tl_craft_clamp(handheld, 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "motion", motion);
    tl_out_number(&o, "handheld", handheld);
    tl_out_fact(&o, "motion", motion);
    tl_out_fact(&o, "handheld", handheld);
    return tl_out_end(&o);
}

const struct tl_op tl_op_camera_move = {
    .name = "camera.move",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Move the camera",
    .doc = "Motion and handheld share",
    .ports = ports,
    .params = params,
    .run = run,
};

/* frame.close: faces: the closer, the more violent the scene and the higher the curve; breath and sweat instead of geography. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"peak", TL_T_NUMBER, 0, "0 to 1"},
    {"scale", TL_T_NUMBER, TL_PORT_OUT, "-1 extreme long to 1 close-up"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "face_share"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("scale", -1, 1, "0.4", "usual shot scale"),
    TL_CRAFT_PARAM("closer", 0, 1, "0.5", "what a full peak adds"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene");
    double scale = tl_op_param_number(ctx, "scale") +
                   tl_op_param_number(ctx, "closer") * (tl_craft_in(ctx, "peak", 0.7, 0, 1) - 0.5) +
                   0.15 * tl_craft_of(scene, "violence", 0, 1) - 0.1 * tl_craft_of(scene, "outdoor", 0, 1);
    scale = tl_craft_clamp(scale, -1, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "scale", scale);
    tl_out_fact(&o, "face_share", tl_craft_clamp(0.3 + 0.5 * scale, 0, 1));
    return tl_out_end(&o);
}

const struct tl_op tl_op_frame_close = {
    .name = "frame.close",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Close to the face",
    .doc = "Shot scale of a pursuit",
    .ports = ports,
    .params = params,
    .run = run,
};

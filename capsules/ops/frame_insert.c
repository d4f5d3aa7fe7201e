/* frame.insert: masters and extreme inserts with little between: the closer to the peak and the more is kept secret, the more inserts. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"peak", TL_T_NUMBER, 0, "0 to 1"},
    {"symmetry", TL_T_NUMBER, 0, "0 to 1"},
    {"scale", TL_T_NUMBER, TL_PORT_OUT, "-1 extreme long to 1 close-up"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "insert_share, high_angle"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("scale", -1, 1, "0.05", "scale of the masters"),
    TL_CRAFT_PARAM("insert", 0, 1, "0.15", "share of inserts in a calm scene"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene");
    double secret = tl_craft_of(scene, "secret", 0, 1), peak = tl_craft_in(ctx, "peak", 0.6, 0, 1);
    double share = tl_craft_clamp(tl_op_param_number(ctx, "insert") + 0.2 * (peak - 0.5) + 0.15 * secret +
                                      0.1 * tl_craft_of(scene, "violence", 0, 1),
                                  0, 0.6);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "scale", tl_craft_clamp(tl_craft_mix(tl_op_param_number(ctx, "scale"), 1, share), -1, 1));
    tl_out_fact(&o, "insert_share", share);
    tl_out_fact(&o, "high_angle",
                tl_craft_clamp(0.2 + 0.5 * secret + 0.2 * tl_craft_in(ctx, "symmetry", 0.5, 0, 1), 0, 1));
    return tl_out_end(&o);
}

const struct tl_op tl_op_frame_insert = {
    .name = "frame.insert",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Masters and inserts",
    .doc = "Shot scale out of masters and extreme close inserts",
    .ports = ports,
    .params = params,
    .run = run,
};

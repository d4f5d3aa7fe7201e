/* symmetry.balance: how far the frame is mirrored about its middle: the bias spans it, rooms and mirrors invite it, the clip's own tilts it. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"bias", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"symmetry", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "symmetry, centre_share, doubling"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("low", 0, 1, "0.2", "symmetry without bias"),
    TL_CRAFT_PARAM("high", 0, 1, "0.95", "with all of it"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's symmetry counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double bias = tl_craft_in(ctx, "bias", 0.5, 0, 1), mirror = tl_craft_of(scene, "mirror", 0, 1);
    double invited = tl_craft_clamp(0.85 + 0.08 * tl_craft_of(scene, "indoor", 0, 1) + 0.1 * mirror -
                                        0.08 * tl_craft_of(scene, "outdoor", 0, 1),
                                    0, 1);
    double symmetry = tl_craft_mix(tl_op_param_number(ctx, "low"), tl_op_param_number(ctx, "high"), bias * invited);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        symmetry =
            tl_craft_mix(symmetry, tl_craft_of(clip, "clip_symmetry", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "symmetry", symmetry);
    tl_out_fact(&o, "symmetry", symmetry);
    tl_out_fact(&o, "centre_share", tl_craft_mix(0.4, 0.95, bias));
    tl_out_fact(&o, "doubling", tl_craft_clamp(bias * (0.5 + 0.5 * mirror), 0, 1));
    return tl_out_end(&o);
}

const struct tl_op tl_op_symmetry_balance = {
    .name = "symmetry.balance",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Balance the frame",
    .doc = "Mirrored structure about the middle",
    .ports = ports,
    .params = params,
    .run = run,
};

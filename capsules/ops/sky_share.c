/* sky.share: how much of the frame is sky, and how small people are under it. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"energy", TL_T_NUMBER, 0, "0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"scale", TL_T_NUMBER, TL_PORT_OUT, "-1 extreme long to 1 close-up"},
    {"symmetry", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "sky_share, horizon_at (from the top)"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("share", 0, 1, "0.62", "sky of an ordinary frame"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's symmetry counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double share =
        tl_craft_clamp(tl_op_param_number(ctx, "share") + 0.12 * tl_craft_of(scene, "sky", 0, 1) +
                           0.08 * tl_craft_of(scene, "alone", 0, 1) - 0.25 * tl_craft_of(scene, "indoor", 0, 1) +
                           0.1 * (tl_craft_in(ctx, "energy", 0.5, 0, 1) - 0.5),
                       0.2, 0.85);
    double symmetry = 0.3 + 0.1 * tl_craft_of(scene, "water", 0, 1); /* a reflecting surface doubles the sky */
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        symmetry =
            tl_craft_mix(symmetry, tl_craft_of(clip, "clip_symmetry", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "scale", tl_craft_clamp(0.5 - 1.6 * share, -1, 1));
    tl_out_number(&o, "symmetry", symmetry);
    tl_out_fact(&o, "sky_share", share);
    tl_out_fact(&o, "horizon_at", share);
    return tl_out_end(&o);
}

const struct tl_op tl_op_sky_share = {
    .name = "sky.share",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Share of sky",
    .doc = "The horizon, and people under it",
    .ports = ports,
    .params = params,
    .run = run,
};

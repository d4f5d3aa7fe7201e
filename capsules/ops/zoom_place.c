/* zoom.place: the one zoom: it comes just after the steepest rise of the curve, and is the longer the more there was to rise. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"motion", TL_T_NUMBER, 0, "motion before"},
    {"motion_out", TL_T_NUMBER, TL_PORT_OUT, "motion, with the zoom"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "zoom_sec, zoom_ratio, zoom_len_sec"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("late", 0, 0.2, "0.03", "how long after the rise, as a share of the scene"),
    TL_CRAFT_PARAM("ratio", 1, 3, "1.3", "zoom of a flat scene"),
    TL_CRAFT_PARAM("reach", 0, 2, "0.9", "what a full range adds"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), best = 0, at = 0.5,
           range = c.stats.peak - c.stats.low;
    size_t step = c.n / 12 > 1 ? c.n / 12 : 1;
    for (size_t i = step; i < c.n; i++) {
        double rise = c.v[i] - c.v[i - step];
        if (rise > best + 1e-9) {
            best = rise;
            at = (double)i / (double)(c.n - 1);
        }
    }
    at = tl_craft_clamp(at + tl_op_param_number(ctx, "late"), 0, 0.95);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "motion_out", tl_craft_clamp(tl_craft_in(ctx, "motion", 0, 0, 1) + 0.02 + 0.03 * range, 0, 1));
    tl_out_fact(&o, "zoom_sec", at * duration);
    tl_out_fact(&o, "zoom_ratio", tl_op_param_number(ctx, "ratio") + tl_op_param_number(ctx, "reach") * range);
    tl_out_fact(&o, "zoom_len_sec", tl_craft_clamp(duration / 15, 1, 6));
    return tl_out_end(&o);
}

const struct tl_op tl_op_zoom_place = {
    .name = "zoom.place",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Place the zoom",
    .doc = "One zoom, after the steepest rise",
    .ports = ports,
    .params = params,
    .run = run,
};

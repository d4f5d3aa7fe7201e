/* gesture.accent: the movements that carry the scene, each on the beat nearest to a rise of the curve. */
#include "capsules/craft/op.h"

#include <math.h>

enum { ACCENTS_MAX = 16 };

static const struct tl_port ports[] = {
    {"beats", TL_T_FLOATS, TL_PORT_REQUIRED, "seconds"},
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"motion", TL_T_NUMBER, 0, "motion of the camera, 0 to 1"},
    {"accents", TL_T_FLOATS, TL_PORT_OUT, "seconds"},
    {"motion_out", TL_T_NUMBER, TL_PORT_OUT, "motion, with the performer's"},
    {"scale", TL_T_NUMBER, TL_PORT_OUT, "-1 extreme long to 1 close-up"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "accents, accent_sec (the strongest)"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("rise", 0, 1, "0.05", "least rise over a fiftieth of the scene that is an accent"),
    TL_CRAFT_PARAM("motion", 0, 0.5, "0.15", "motion that a full set of accents adds"),
    TL_CRAFT_PARAM("scale", -1, 1, "0.2", "usual shot scale"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static double nearest(const double *beat, size_t n, double t)
{
    double best = t, away = INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (fabs(beat[i] - t) < away) {
            away = fabs(beat[i] - t);
            best = beat[i];
        }
    }
    return best;
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    TL_AUTO_FREE double *beat = NULL;
    size_t n = 0, count = 0;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    err = err ? err : tl_op_input_floats(ctx, "beats", &beat, &n);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), accent[ACCENTS_MAX], strongest = 0, at = 0;
    size_t step = c.n / 50 > 1 ? c.n / 50 : 1;
    for (size_t i = step; i < c.n; i += step) {
        double rise = c.v[i] - c.v[i - step], t = nearest(beat, n, (double)i / (double)(c.n - 1) * duration);
        if (rise > strongest + 1e-9) {
            strongest = rise;
            at = t;
        }
        if (rise > tl_op_param_number(ctx, "rise") && count < ACCENTS_MAX && (!count || t > accent[count - 1]))
            accent[count++] = t;
    }
    double share = (double)count / ACCENTS_MAX;
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "accents", accent, count);
    tl_out_number(
        &o, "motion_out",
        tl_craft_clamp(tl_craft_in(ctx, "motion", 0.6, 0, 1) + tl_op_param_number(ctx, "motion") * share, 0, 1));
    tl_out_number(&o, "scale", tl_craft_clamp(tl_op_param_number(ctx, "scale") + 0.2 * (c.stats.mean - 0.5), -1, 1));
    tl_out_fact(&o, "accents", (double)count);
    if (strongest > 0)
        tl_out_fact(&o, "accent_sec", at);
    return tl_out_end(&o);
}

const struct tl_op tl_op_gesture_accent = {
    .name = "gesture.accent",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Accents",
    .doc = "Gestures on beats",
    .ports = ports,
    .params = params,
    .run = run,
};

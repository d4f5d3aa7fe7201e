/* curve.resample: the emotion curve spread over the scene's duration, one value a second; where none was given, the clip's own, and without a
 * clip the shape that this auteur's scenes usually have, lifted or lowered by what the summary says. */
#include "capsules/craft/op.h"

#include <math.h>
#include <string.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, 0, "values 0 to 1, any number of them"},
    {"duration", TL_T_NUMBER, 0, "seconds; otherwise the clip's, otherwise one per value, otherwise 60"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"clip_curve", TL_T_FLOATS, 0, "the clip's own curve"},
    {"scene", TL_T_JSON, 0, "facts of scene.read"},
    {"curve_sec", TL_T_FLOATS, TL_PORT_OUT, "one value a second, at most 3600"},
    {"duration_sec", TL_T_NUMBER, TL_PORT_OUT, "0.5 to 7200"},
    {"energy", TL_T_NUMBER, TL_PORT_OUT, "mean of the curve"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "duration_sec, energy, peak, climax_sec, trend"},
    {NULL, 0, 0, NULL},
};

static const char *const shapes[] = {"arc", "rise", "wave", "plateau", NULL};
static const struct tl_param params[] = {
    {"shape", TL_P_ENUM, 0, 0, 0, 0, shapes, "\"arc\"", "the curve of a scene that says nothing about its own"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static double usual(const char *shape, double p)
{
    if (strcmp(shape, "rise") == 0)
        return 0.3 + 0.55 * p * p;
    if (strcmp(shape, "wave") == 0) /* two crests, the second higher */
        return 0.3 + (p < 0.5 ? 0.25 : 0.5) * (1 - fabs(4 * (p < 0.5 ? p : p - 0.5) - 1));
    if (strcmp(shape, "plateau") == 0)
        return p > 0.6 && p < 0.7 ? 0.5 : 0.35;
    return p < 0.75 ? 0.25 + 0.6 * p / 0.75 : 0.85 - 0.5 * (p - 0.75) / 0.25;
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_FREE double *given = NULL, *clip_curve = NULL, *out = NULL;
    size_t n = 0, nclip = 0;
    int err = tl_op_input_floats(ctx, "curve", &given, &n);
    err = err ? err : tl_op_input_floats(ctx, "clip_curve", &clip_curve, &nclip);
    if (err)
        return err;
    const json_t *clip = tl_op_input_json(ctx, "clip"), *scene = tl_op_input_json(ctx, "scene");
    double duration = tl_op_input_number(ctx, "duration", 0);
    if (!(duration > 0))
        duration = tl_json_num(clip, "clip_duration_sec", 0);
    if (!(duration > 0))
        duration = n > 1 ? (double)n : 60;
    duration = tl_craft_clamp(duration, 0.5, 7200);
    size_t m = tl_curve_count(duration);
    out = tl_calloc(m, sizeof(*out));
    if (!out)
        return TL_ENOMEM;
    if (n) {
        tl_curve_resample(given, n, out, m);
    } else if (nclip) {
        tl_curve_resample(clip_curve, nclip, out, m);
    } else {
        double lift = 0.6 * (tl_json_num(scene, "arousal", 0.45) - 0.45);
        for (size_t i = 0; i < m; i++)
            out[i] = tl_craft_clamp(usual(tl_op_param_text(ctx, "shape"), (double)i / (double)(m - 1)) + lift, 0, 1);
    }
    struct tl_curve_stats s;
    tl_curve_stats(out, m, &s);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "curve_sec", out, m);
    tl_out_number(&o, "duration_sec", duration);
    tl_out_number(&o, "energy", s.mean);
    tl_out_fact(&o, "duration_sec", duration);
    tl_out_fact(&o, "energy", s.mean);
    tl_out_fact(&o, "peak", s.peak);
    tl_out_fact(&o, "climax_sec", s.peak_at * duration);
    tl_out_fact(&o, "trend", s.trend);
    return tl_out_end(&o);
}

const struct tl_op tl_op_curve_resample = {
    .name = "curve.resample",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Spread the curve",
    .doc = "A curve of any length over the duration of the scene",
    .ports = ports,
    .params = params,
    .run = run,
};

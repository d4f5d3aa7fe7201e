/* media.analyze: shots, curves, palette, loudness and the emotion curve of a clip. */
#include "base/err.h"
#include "base/json.h"
#include "capsules/ops/media_job.h"

#include <string.h>

enum { SECONDS_MAX = 4 * 60 * 60 + 2, SHOTS_MAX = 20001, ONSETS_MAX = 100000, PALETTE_MAX = 6 };

static const struct tl_port ports[] = {
    {"clip", TL_T_VIDEO, TL_PORT_REQUIRED, "the clip to analyse"},
    {"emotion_curve", TL_T_FLOATS, TL_PORT_OUT, "0 to 1, one value a second"},
    {"duration_sec", TL_T_NUMBER, TL_PORT_OUT, "length in seconds"},
    {"palette", TL_T_STRINGS, TL_PORT_OUT, "six colours, dark to light"},
    {"shots", TL_T_JSON, TL_PORT_OUT, "where each shot begins and ends, and how"},
    {"analysis", TL_T_JSON, TL_PORT_OUT, "everything that was measured"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"cut_threshold", TL_P_NUMBER, 0, 0.05, 0.95, 0.01, NULL, "0.28",
     "how unlike two pictures must be for a cut; higher finds fewer"},
    {"dissolve", TL_P_BOOLEAN, 0, 0, 0, 0, NULL, "true", "look for dissolves too"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static bool shots_hold(const json_t *shots)
{
    size_t n = json_array_size(shots);
    double at = 0;
    bool ok = json_is_array(shots) && n >= 1 && n <= SHOTS_MAX;
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *s = json_array_get(shots, i);
        const char *t = tl_json_str(s, "transition");
        ok = tl_json_int(s, "index", -1) == (int64_t)i && tl_media_is_number(s, "start_sec", at, 1e5) &&
             tl_media_is_number(s, "end_sec", tl_json_num(s, "start_sec", 0), 1e5) &&
             tl_media_is_number(s, "start_frame", 0, 1e9) && tl_media_is_number(s, "end_frame", 0, 1e9) && t &&
             (strcmp(t, "start") == 0 || strcmp(t, "cut") == 0 || strcmp(t, "dissolve") == 0);
        at = tl_json_num(s, "start_sec", 0);
    }
    return ok;
}

static bool analysis_holds(const json_t *a)
{
    static const struct {
        const char *key;
        double min, max;
    } curves[] = {{"luma", 0, 1},  {"motion", 0, 1},      {"chroma", 0, 1},
                  {"hue", 0, 360}, {"cut_rate", 0, 1000}, {"loudness", 0, 1}};
    bool ok = tl_media_is_number(a, "fps", 0, 1000) && tl_media_is_number(a, "width", 1, 65536) &&
              tl_media_is_number(a, "height", 1, 65536) && tl_media_is_number(a, "symmetry", -1.001, 1.001) &&
              tl_media_is_number(a, "contrast", 0, 1) && tl_media_is_number(a, "mean_shot_sec", 0, 1e5) &&
              tl_media_is_number(a, "poster_sec", 0, 1e5) && tl_media_is_number(a, "duration_sec", 0, 1e5) &&
              tl_media_are_numbers(json_object_get(a, "onsets_sec"), ONSETS_MAX, 0, 1e5) &&
              tl_media_are_colours(json_object_get(a, "palette"), PALETTE_MAX);
    for (size_t i = 0; ok && i < sizeof(curves) / sizeof(curves[0]); i++)
        ok = tl_media_are_numbers(json_object_get(a, curves[i].key), SECONDS_MAX, curves[i].min, curves[i].max);
    return ok && shots_hold(json_object_get(a, "shots"));
}

static int finish(struct tl_op_ctx *ctx, const json_t *output)
{
    static const char *const outs[] = {"emotion_curve", "palette", "shots", "analysis"};
    if (!tl_media_are_numbers(json_object_get(output, "emotion_curve"), SECONDS_MAX, 0, 1) ||
        !tl_media_is_number(output, "duration_sec", 0, 1e5) ||
        !tl_media_are_colours(json_object_get(output, "palette"), PALETTE_MAX) ||
        !shots_hold(json_object_get(output, "shots")) || !analysis_holds(json_object_get(output, "analysis")))
        return tl_media_malformed(ctx);
    int err = tl_op_output_number(ctx, "duration_sec", tl_json_num(output, "duration_sec", 0));
    for (size_t i = 0; err == 0 && i < sizeof(outs) / sizeof(outs[0]); i++)
        err = tl_op_output_json(ctx, outs[i], json_incref(json_object_get(output, outs[i])));
    return err;
}

static int run(struct tl_op_ctx *ctx)
{
    json_t *p = json_pack("{s:f,s:b}", "cut_threshold", tl_op_param_number(ctx, "cut_threshold"), "dissolve",
                          tl_op_param_bool(ctx, "dissolve"));
    return tl_media_job_start(ctx, p, NULL, finish);
}

const struct tl_op tl_op_media_analyze = {
    .name = "media.analyze",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_WORKER,
    .title = "Analyse a clip",
    .doc = "Shots, light, movement, colour and loudness of a clip, and the emotion curve they make",
    .ports = ports,
    .params = params,
    .priv_size = sizeof(struct tl_media_job),
    .run = run,
};

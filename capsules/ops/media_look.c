/* media.look: grades a clip towards a palette and a style vector. */
#include "base/err.h"
#include "base/json.h"
#include "capsules/ops/media_job.h"
#include "wire/style.h"

#include <stdio.h>
#include <string.h>

enum { COLOURS_MAX = 16 };

static const struct tl_port ports[] = {
    {"clip", TL_T_VIDEO, TL_PORT_REQUIRED, "the clip to grade"},
    {"palette", TL_T_STRINGS, TL_PORT_REQUIRED, "the look's colours, dark to light"},
    {"style_vector", TL_T_FLOATS, TL_PORT_REQUIRED, "the look's twelve axes"},
    {"video", TL_T_VIDEO, TL_PORT_OUT, "the graded clip, MP4"},
    {"metrics", TL_T_JSON, TL_PORT_OUT, "lightness, chroma, hue, contrast and halo, before and after"},
    {NULL, 0, 0, NULL},
};

static const char *const aspects[] = {"source", "1.33", "1.66", "1.85", "2.39", NULL};

static const struct tl_param params[] = {
    {"strength", TL_P_NUMBER, 0, 0, 1, 0.05, NULL, "1", "how much of the look"},
    {"max_height", TL_P_NUMBER, 0, 144, 2160, 2, NULL, "720", "lines of the result at most"},
    {"aspect", TL_P_ENUM, 0, 0, 0, 0, aspects, "\"source\"",
     "shape of the picture; cropped around its middle, never stretched or barred"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int finish(struct tl_op_ctx *ctx, const json_t *output)
{
    json_t *metrics = json_object_get(output, "metrics"), *after = json_object_get(metrics, "result");
    if (!tl_media_is_number(after, "median_lightness", 0, 1) || !tl_media_is_number(after, "mean_chroma", 0, 1) ||
        !tl_media_is_number(after, "contrast", 0, 1) || !tl_media_is_number(after, "halo", 0, 1) ||
        !tl_media_are_numbers(json_object_get(after, "hue_histogram"), 12, 0, 1.001))
        return tl_media_malformed(ctx);
    const char *name = tl_json_str(tl_op_input_json(ctx, "clip"), "name");
    size_t stem = name ? strcspn(name, ".") : 0;
    char called[128];
    snprintf(called, sizeof(called), "%.*s-look.mp4", (int)(stem && stem < 100 ? stem : 4),
             stem && stem < 100 ? name : "clip");
    int err = tl_media_job_file(ctx, output, "video", "video", "video/mp4", called);
    return err < 0 ? err : tl_op_output_json(ctx, "metrics", json_incref(metrics));
}

static int run(struct tl_op_ctx *ctx)
{
    json_t *palette = tl_op_input_json(ctx, "palette"), *style = tl_op_input_json(ctx, "style_vector");
    if (!tl_media_are_colours(palette, COLOURS_MAX) || !json_array_size(palette))
        return tl_op_fail(ctx, TL_EINVAL, "the input \"palette\" must be 1 to %d colours of the form #RRGGBB",
                          COLOURS_MAX);
    if (json_array_size(style) != TL_STYLE_AXES)
        return tl_op_fail(ctx, TL_EINVAL, "the input \"style_vector\" must have %d numbers", TL_STYLE_AXES);
    json_t *p = json_pack("{s:O,s:O,s:f,s:i,s:s}", "palette", palette, "style_vector", style, "strength",
                          tl_op_param_number(ctx, "strength"), "max_height", (int)tl_op_param_number(ctx, "max_height"),
                          "aspect", tl_op_param_text(ctx, "aspect"));
    return tl_media_job_start(ctx, p, "video", finish);
}

const struct tl_op tl_op_media_look = {
    .name = "media.look",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_WORKER,
    .title = "Apply a look",
    .doc = "Grades a clip towards a palette and a style vector: tone, colour, contrast, bloom, aspect",
    .ports = ports,
    .params = params,
    .priv_size = sizeof(struct tl_media_job),
    .run = run,
};

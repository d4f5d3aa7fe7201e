/* media.sheet: a contact sheet of a clip's shots. */
#include "base/err.h"
#include "base/json.h"
#include "capsules/ops/media_job.h"

enum { COLOURS_MAX = 16, TITLE_MAX = 300 };

static const struct tl_port ports[] = {
    {"clip", TL_T_VIDEO, TL_PORT_REQUIRED, "the clip whose pictures are shown"},
    {"analysis", TL_T_JSON, TL_PORT_REQUIRED, "its analysis, from media.analyze"},
    {"palette", TL_T_STRINGS, 0, "colours of the strip; the analysis's own where absent"},
    {"emotion_curve", TL_T_FLOATS, 0, "the curve drawn below the shots"},
    {"title", TL_T_STRING, 0, "a heading"},
    {"image", TL_T_IMAGE, TL_PORT_OUT, "the contact sheet, PNG"},
    {NULL, 0, 0, NULL},
};

static int finish(struct tl_op_ctx *ctx, const json_t *output)
{
    return tl_media_job_file(ctx, output, "image", "image", "image/png", "contact-sheet.png");
}

static int run(struct tl_op_ctx *ctx)
{
    json_t *palette = tl_op_input_json(ctx, "palette"), *analysis = tl_op_input_json(ctx, "analysis");
    if (palette && !tl_media_are_colours(palette, COLOURS_MAX))
        return tl_op_fail(ctx, TL_EINVAL, "the input \"palette\" must be at most %d colours of the form #RRGGBB",
                          COLOURS_MAX);
    if (!json_is_object(analysis) || !json_is_array(json_object_get(analysis, "shots")))
        return tl_op_fail(ctx, TL_EINVAL,
                          "the input \"analysis\" must be the analysis of media.analyze: it has no list \"shots\"");
    const char *title = tl_op_input_text(ctx, "title");
    if (title && json_string_length(tl_op_input_json(ctx, "title")) > TITLE_MAX)
        return tl_op_fail(ctx, TL_EINVAL, "the input \"title\" must be at most %d bytes", TITLE_MAX);
    json_t *p = json_pack("{s:O,s:O*,s:O*,s:s*}", "analysis", analysis, "palette", palette, "emotion_curve",
                          tl_op_input_json(ctx, "emotion_curve"), "title", title);
    return tl_media_job_start(ctx, p, "image", finish);
}

const struct tl_op tl_op_media_sheet = {
    .name = "media.sheet",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_WORKER,
    .title = "Contact sheet",
    .doc = "The shots of a clip on one page, with timecodes, palette and emotion curve",
    .ports = ports,
    .priv_size = sizeof(struct tl_media_job),
    .run = run,
};

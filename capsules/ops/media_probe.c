/* media.probe: what a clip is. */
#include "base/err.h"
#include "base/json.h"
#include "capsules/ops/media_job.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"clip", TL_T_VIDEO, TL_PORT_REQUIRED, "the clip to look at"},
    {"info", TL_T_JSON, TL_PORT_OUT, "container, duration, picture size and rate, codecs"},
    {"duration_sec", TL_T_NUMBER, TL_PORT_OUT, "length in seconds"},
    {NULL, 0, 0, NULL},
};

static int finish(struct tl_op_ctx *ctx, const json_t *output)
{
    json_t *info = json_object_get(output, "info");
    if (!tl_json_str(info, "container") || !tl_media_is_number(info, "duration_sec", 0, 1e6) ||
        !tl_media_is_number(info, "width", 0, 65536) || !tl_media_is_number(info, "height", 0, 65536) ||
        !tl_media_is_number(info, "fps", 0, 1000) || !json_is_boolean(json_object_get(info, "has_audio")))
        return tl_media_malformed(ctx);
    int err = tl_op_output_json(ctx, "info", json_incref(info));
    return err < 0 ? err : tl_op_output_number(ctx, "duration_sec", tl_json_num(info, "duration_sec", 0));
}

static int run(struct tl_op_ctx *ctx)
{
    return tl_media_job_start(ctx, json_object(), NULL, finish);
}

const struct tl_op tl_op_media_probe = {
    .name = "media.probe",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_WORKER,
    .title = "Probe a clip",
    .doc = "What a media file is: container, length, size, rate, codecs",
    .ports = ports,
    .priv_size = sizeof(struct tl_media_job),
    .run = run,
};

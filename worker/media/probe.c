/* media.probe: what a file is, and that its first picture decodes. */
#include "base/err.h"
#include "base/json.h"
#include "worker/media/open.h"
#include "worker/media/ops.h"

#include <string.h>

static int first_picture(void *arg, AVFrame *frame, double t)
{
    (void)t;
    struct tl_wk_media *m = arg;
    if (frame->width <= 0 || frame->height <= 0)
        return tl_wk_fail(m->job, TL_EMEDIA, "the picture has no size");
    return 1;
}

static const char *container(const struct tl_wk_media *m)
{
    static const char *const names[][2] = {
        {"mov", "mp4"}, {"matroska", "matroska"}, {"png_pipe", "png"}, {"jpeg_pipe", "jpeg"}, {"webp_pipe", "webp"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(m->fmt->iformat->name, names[i][0], strlen(names[i][0])) == 0)
            return names[i][1];
    return m->fmt->iformat->name;
}

static const char *codec(const AVStream *st)
{
    return st ? avcodec_get_name(st->codecpar->codec_id) : NULL;
}

int tl_wk_media_probe(struct tl_wk_job *job, json_t **ret)
{
    struct tl_wk_media m;
    int err = tl_wk_media_open(&m, job, "clip", TL_WK_AUDIO);
    if (err < 0)
        return err;
    bool pictures = m.video != NULL;
    tl_wk_media_close(&m);
    err = tl_wk_media_open(&m, job, "clip", pictures ? TL_WK_VIDEO : TL_WK_AUDIO);
    if (err < 0)
        return err;
    if (pictures)
        err = tl_wk_media_decode(&m, &(struct tl_wk_sink){.arg = &m, .picture = first_picture});
    if (err == 0) {
        *ret =
            json_pack("{s:{s:s,s:f,s:i,s:i,s:f,s:s?,s:s?,s:b,s:I}}", "info", "container", container(&m), "duration_sec",
                      m.duration_sec, "width", m.width, "height", m.height, "fps", m.fps, "video_codec", codec(m.video),
                      "audio_codec", codec(m.audio), "has_audio", m.audio != NULL, "frames", (json_int_t)m.frames);
        err = *ret ? 0 : TL_ENOMEM;
    }
    tl_wk_media_close(&m);
    return err;
}

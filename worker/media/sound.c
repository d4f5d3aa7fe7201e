#include "worker/media/sound.h"

#include "base/err.h"
#include "worker/media/open.h"

#include <libavutil/mem.h>
#include <libswresample/swresample.h>

static int set_up(struct tl_wk_sound *s, const AVFrame *f)
{
    if (f->sample_rate <= 0 || f->ch_layout.nb_channels <= 0 || f->ch_layout.nb_channels > TL_WK_MAX_CHANNELS)
        return TL_EMEDIA;
    if (!s->rate)
        s->rate = f->sample_rate;
    if (!s->channels)
        s->channels = f->ch_layout.nb_channels;
    if (s->channels == f->ch_layout.nb_channels)
        av_channel_layout_copy(&s->out_layout, &f->ch_layout);
    else
        av_channel_layout_default(&s->out_layout, s->channels);
    av_channel_layout_copy(&s->in_layout, &f->ch_layout);
    s->in_rate = f->sample_rate;
    s->in_format = f->format;
    swr_free(&s->swr);
    if (swr_alloc_set_opts2(&s->swr, &s->out_layout, AV_SAMPLE_FMT_FLT, s->rate, &s->in_layout, f->format,
                            f->sample_rate, 0, NULL) < 0 ||
        swr_init(s->swr) < 0)
        return TL_EMEDIA;
    return 0;
}

int tl_wk_sound_take(struct tl_wk_sound *s, const AVFrame *frame, const float **ret, int *ret_n)
{
    *ret = s->buf;
    *ret_n = 0;
    if (frame && (!s->swr || frame->sample_rate != s->in_rate || frame->format != s->in_format ||
                  av_channel_layout_compare(&frame->ch_layout, &s->in_layout) != 0)) {
        int err = set_up(s, frame);
        if (err < 0)
            return err;
    }
    if (!s->swr)
        return 0;
    int room = swr_get_out_samples(s->swr, frame ? frame->nb_samples : 0);
    if (room > s->cap) {
        av_freep(&s->buf);
        s->cap = 0;
        s->buf = av_malloc_array((size_t)room * (size_t)s->channels, sizeof(*s->buf));
        if (!s->buf)
            return TL_ENOMEM;
        s->cap = room;
    }
    if (!room)
        return 0;
    uint8_t *out[1] = {(uint8_t *)s->buf};
    int n = swr_convert(s->swr, out, s->cap, frame ? (const uint8_t **)frame->extended_data : NULL,
                        frame ? frame->nb_samples : 0);
    if (n < 0)
        return TL_EMEDIA;
    *ret = s->buf;
    *ret_n = n;
    return 0;
}

void tl_wk_sound_clear(struct tl_wk_sound *s)
{
    swr_free(&s->swr);
    av_channel_layout_uninit(&s->in_layout);
    av_channel_layout_uninit(&s->out_layout);
    av_freep(&s->buf);
    s->cap = 0;
}

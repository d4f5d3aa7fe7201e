#include "worker/media/encode.h"

#include "base/err.h"

#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>

static const char preset[] = "veryfast", quality[] = "19";
enum { AUDIO_BIT_RATE = 160000 };

static int averr(struct tl_wk_encoder *e, int got, const char *what)
{
    int err = tl_wk_av_err(got);
    if (err == TL_ECANCELLED || err == TL_ENOMEM)
        return err;
    return tl_wk_fail(e->job, err == TL_EMEDIA ? TL_EINTERNAL : err, "the result could not be written: %s", what);
}

static int open_video(struct tl_wk_encoder *e, int width, int height, double fps)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    e->vst = avformat_new_stream(e->fmt, NULL);
    e->venc = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!e->vst || !e->venc)
        return codec ? TL_ENOMEM : tl_wk_fail(e->job, TL_ENOTCONFIGURED, "the H.264 encoder libx264 is not installed");
    AVCodecContext *c = e->venc;
    c->width = width;
    c->height = height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, TL_ENC_CLOCK};
    c->framerate = av_d2q(fps, 100000);
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->gop_size = (int)fmin(fmax(fps * 4, 12), 480);
    c->thread_count = TL_ENC_THREADS; /* the output depends on it */
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    av_opt_set(c->priv_data, "preset", preset, 0);
    av_opt_set(c->priv_data, "crf", quality, 0);
    int got = avcodec_open2(c, codec, NULL);
    if (got < 0)
        return averr(e, got, "the H.264 encoder does not start");
    e->vst->time_base = c->time_base;
    e->vst->avg_frame_rate = c->framerate;
    return avcodec_parameters_from_context(e->vst->codecpar, c) < 0 ? TL_ENOMEM : 0;
}

static int open_audio(struct tl_wk_encoder *e, int rate, int channels)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    e->ast = avformat_new_stream(e->fmt, NULL);
    e->aenc = codec ? avcodec_alloc_context3(codec) : NULL;
    e->sound = av_frame_alloc();
    if (!e->ast || !e->aenc || !e->sound)
        return TL_ENOMEM;
    AVCodecContext *c = e->aenc;
    c->sample_rate = rate;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    av_channel_layout_default(&c->ch_layout, channels);
    c->time_base = (AVRational){1, rate};
    c->bit_rate = AUDIO_BIT_RATE;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    int got = avcodec_open2(c, codec, NULL);
    if (got < 0)
        return averr(e, got, "the AAC encoder does not start");
    e->ast->time_base = c->time_base;
    e->sound->format = c->sample_fmt;
    e->sound->sample_rate = rate;
    e->sound->nb_samples = c->frame_size;
    if (av_channel_layout_copy(&e->sound->ch_layout, &c->ch_layout) < 0 || av_frame_get_buffer(e->sound, 0) < 0)
        return TL_ENOMEM;
    return avcodec_parameters_from_context(e->ast->codecpar, c) < 0 ? TL_ENOMEM : 0;
}

static int open_muxer(struct tl_wk_encoder *e, int fd)
{
    int err = tl_wk_io_writer(&e->io, e->job, fd);
    if (err < 0 || avformat_alloc_output_context2(&e->fmt, NULL, "mp4", "out.mp4") < 0)
        return TL_ENOMEM;
    e->fmt->pb = e->io.avio;
    e->fmt->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    e->fmt->opaque = &e->io;
    e->fmt->io_open = tl_wk_io_reread;
    e->fmt->io_close2 = tl_wk_io_reread_close;
    e->packet = av_packet_alloc();
    e->picture = av_frame_alloc();
    return e->packet && e->picture ? 0 : TL_ENOMEM;
}

int tl_wk_encode_open(struct tl_wk_encoder *e, struct tl_wk_job *job, int fd, int width, int height, double fps,
                      int rate, int channels)
{
    *e = (struct tl_wk_encoder){.job = job, .last_pts = -1, .step = llrint(TL_ENC_CLOCK / fps)};
    int err = open_muxer(e, fd);
    if (err == 0)
        err = open_video(e, width, height, fps);
    if (err == 0 && rate)
        err = open_audio(e, rate, channels);
    if (err < 0)
        return err;
    AVFrame *p = e->picture;
    p->format = AV_PIX_FMT_YUV420P;
    p->width = width;
    p->height = height;
    if (av_frame_get_buffer(p, 0) < 0)
        return TL_ENOMEM;
    e->sws = sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, AV_PIX_FMT_YUV420P,
                            SWS_BILINEAR | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
    if (!e->sws)
        return TL_ENOMEM;
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(e->sws, bt709, 1, bt709, 0, 0, 1 << 16, 1 << 16);
    AVDictionary *options = NULL;
    av_dict_set(&options, "movflags", "+faststart", 0);
    int got = avformat_write_header(e->fmt, &options);
    av_dict_free(&options);
    e->begun = got >= 0;
    return got < 0 ? averr(e, got, "the container does not start") : 0;
}

static int drain(struct tl_wk_encoder *e, AVCodecContext *enc, AVStream *st)
{
    for (;;) {
        int got = avcodec_receive_packet(enc, e->packet);
        if (got == AVERROR(EAGAIN) || got == AVERROR_EOF)
            return 0;
        if (got < 0)
            return averr(e, got, "the encoder failed");
        if (st == e->vst)
            e->packet->duration = e->step;
        e->packet->stream_index = st->index;
        av_packet_rescale_ts(e->packet, enc->time_base, st->time_base);
        got = av_interleaved_write_frame(e->fmt, e->packet);
        if (got < 0)
            return averr(e, got, "the file could not be extended");
    }
}

int tl_wk_encode_picture(struct tl_wk_encoder *e, const uint8_t *rgb, int stride, double t)
{
    int64_t pts = llrint(t * TL_ENC_CLOCK);
    if (pts <= e->last_pts)
        return 0;
    e->last_pts = pts;
    if (av_frame_make_writable(e->picture) < 0)
        return TL_ENOMEM;
    const uint8_t *in[4] = {rgb};
    const int strides[4] = {stride};
    sws_scale(e->sws, in, strides, 0, e->picture->height, e->picture->data, e->picture->linesize);
    e->picture->pts = pts;
    e->picture->color_range = AVCOL_RANGE_MPEG;
    e->picture->colorspace = AVCOL_SPC_BT709;
    int got = avcodec_send_frame(e->venc, e->picture);
    return got < 0 ? averr(e, got, "the H.264 encoder failed") : drain(e, e->venc, e->vst);
}

static int send_sound(struct tl_wk_encoder *e, int n)
{
    e->sound->nb_samples = n;
    e->sound->pts = e->samples;
    e->samples += n;
    e->filled = 0;
    int got = avcodec_send_frame(e->aenc, e->sound);
    return got < 0 ? averr(e, got, "the AAC encoder failed") : drain(e, e->aenc, e->ast);
}

int tl_wk_encode_sound(struct tl_wk_encoder *e, const float *samples, int n)
{
    int channels = e->aenc->ch_layout.nb_channels;
    while (n > 0) {
        if (e->filled == 0) {
            e->sound->nb_samples = e->aenc->frame_size;
            if (av_frame_make_writable(e->sound) < 0)
                return TL_ENOMEM;
        }
        int take = e->aenc->frame_size - e->filled < n ? e->aenc->frame_size - e->filled : n;
        for (int c = 0; c < channels; c++) {
            float *out = (float *)(void *)e->sound->extended_data[c] + e->filled;
            for (int i = 0; i < take; i++) {
                float v = samples[i * channels + c];
                out[i] = v > 1 ? 1 : v >= -1 ? v : v < -1 ? -1 : 0; /* NaN becomes silence */
            }
        }
        e->filled += take;
        samples += take * channels;
        n -= take;
        int err = e->filled == e->aenc->frame_size ? send_sound(e, e->filled) : 0;
        if (err < 0)
            return err;
    }
    return 0;
}

int tl_wk_encode_finish(struct tl_wk_encoder *e)
{
    int err = e->aenc && e->filled ? send_sound(e, e->filled) : 0;
    if (err == 0 && avcodec_send_frame(e->venc, NULL) >= 0)
        err = drain(e, e->venc, e->vst);
    if (err == 0 && e->aenc && avcodec_send_frame(e->aenc, NULL) >= 0)
        err = drain(e, e->aenc, e->ast);
    if (err < 0)
        return err;
    int got = av_write_trailer(e->fmt);
    if (got >= 0) {
        avio_flush(e->io.avio);
        got = e->io.avio->error;
    }
    return got < 0 ? averr(e, got, "the file could not be ended") : 0;
}

void tl_wk_encode_close(struct tl_wk_encoder *e)
{
    avcodec_free_context(&e->venc);
    avcodec_free_context(&e->aenc);
    av_frame_free(&e->picture);
    av_frame_free(&e->sound);
    av_packet_free(&e->packet);
    sws_freeContext(e->sws);
    avformat_free_context(e->fmt);
    e->fmt = NULL;
    e->sws = NULL;
    tl_wk_io_close(&e->io);
}

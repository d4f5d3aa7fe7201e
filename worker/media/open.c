#include "worker/media/open.h"

#include "base/err.h"

#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <string.h>

enum { MAX_ERRORS = 64 /* that a decoder may give in a row before it is asked no more */ };
static const double jump_sec = 0.5; /* a time that falls back by more is a new beginning */

/* Formats that hold everything in one file and refer to nothing outside it. */
static const char demuxers[] = "mov,mp4,matroska,webm,avi,mpegts,mp3,wav,flac,ogg,aac,png_pipe,jpeg_pipe,webp_pipe";
static const char decoders[] = "h264,hevc,vp8,libvpx,vp9,libvpx-vp9,av1,libdav1d,mpeg4,mpeg2video,mpeg1video,mjpeg,png,"
                               "webp,theora,prores,dnxhd,ffv1,"
                               "rawvideo,aac,mp3,mp3float,mp2,opus,libopus,vorbis,flac,alac,ac3,eac3,pcm_s16le,pcm_"
                               "s16be,pcm_s24le,pcm_s24be,pcm_s32le,"
                               "pcm_f32le,pcm_u8,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav";

static int interrupted(void *arg)
{
    return tl_wk_cancelled(arg);
}

static int open_format(struct tl_wk_media *m, int fd)
{
    int err = tl_wk_io_reader(&m->io, m->job, fd);
    m->fmt = err == 0 ? avformat_alloc_context() : NULL;
    if (!m->fmt)
        return TL_ENOMEM;
    m->fmt->pb = m->io.avio;
    m->fmt->flags |= AVFMT_FLAG_CUSTOM_IO;
    m->fmt->io_open = tl_wk_io_deny;
    m->fmt->interrupt_callback = (AVIOInterruptCB){interrupted, m->job};
    m->fmt->max_streams = TL_WK_MAX_STREAMS;
    m->fmt->format_whitelist = av_strdup(demuxers);
    m->fmt->codec_whitelist = av_strdup(decoders);
    m->fmt->protocol_whitelist = av_strdup("none");
    if (!m->fmt->format_whitelist || !m->fmt->codec_whitelist || !m->fmt->protocol_whitelist)
        return TL_ENOMEM;
    int e = avformat_open_input(&m->fmt, NULL, NULL, NULL);
    if (e < 0)
        return tl_wk_fail(m->job, tl_wk_av_err(e), "the file is not in a media format that can be read");
    if (m->fmt->nb_streams > TL_WK_MAX_STREAMS)
        return tl_wk_fail(m->job, TL_EMEDIA, "the file has more than %d streams", TL_WK_MAX_STREAMS);
    e = avformat_find_stream_info(m->fmt, NULL);
    if (e < 0)
        return tl_wk_fail(m->job, tl_wk_av_err(e), "the file's streams cannot be read");
    return 0;
}

static int open_decoder(struct tl_wk_media *m, AVStream *st, int want, AVCodecContext **ret)
{
    const AVCodec *codec = avcodec_find_decoder(st->codecpar->codec_id);
    if (!codec)
        return tl_wk_fail(m->job, TL_EMEDIA, "there is no decoder for %s", avcodec_get_name(st->codecpar->codec_id));
    AVCodecContext *c = *ret = avcodec_alloc_context3(codec);
    if (!c || avcodec_parameters_to_context(c, st->codecpar) < 0)
        return TL_ENOMEM;
    c->pkt_timebase = st->time_base;
    c->codec_whitelist = av_strdup(decoders);
    c->max_pixels = TL_WK_MAX_PIXELS;
    if (codec->type == AVMEDIA_TYPE_VIDEO) {
        c->thread_count = 0;
        if (want & TL_WK_KEYFRAMES)
            c->skip_frame = AVDISCARD_NONKEY;
        /* What deblocking would change of a cell of the grid is less than 0.001 of lightness. */
        if (want & TL_WK_COARSE)
            c->skip_loop_filter = AVDISCARD_ALL;
    }
    int e = avcodec_open2(c, codec, NULL);
    if (e < 0)
        return tl_wk_fail(m->job, tl_wk_av_err(e), "the %s stream cannot be decoded", avcodec_get_name(codec->id));
    return 0;
}

static int upright(const AVStream *st)
{
    const uint8_t *matrix = av_stream_get_side_data(st, AV_PKT_DATA_DISPLAYMATRIX, NULL);
    if (!matrix)
        return 0;
    double degrees = -av_display_rotation_get((const int32_t *)matrix);
    return isfinite(degrees) ? (((int)lrint(degrees / 90) % 4 + 4) % 4) * 90 : 0;
}

static int describe(struct tl_wk_media *m)
{
    AVStream *v = m->video;
    if (m->fmt->start_time != AV_NOPTS_VALUE)
        m->start_sec = (double)m->fmt->start_time / AV_TIME_BASE;
    if (m->fmt->duration != AV_NOPTS_VALUE && m->fmt->duration > 0)
        m->duration_sec = (double)m->fmt->duration / AV_TIME_BASE;
    if (m->duration_sec > TL_WK_MAX_SECONDS)
        return tl_wk_fail(m->job, TL_EMEDIA, "the clip is longer than %d hours", TL_WK_MAX_SECONDS / 3600);
    if (!v)
        return 0;
    const AVCodecParameters *par = v->codecpar;
    if (par->width <= 0 || par->height <= 0)
        return tl_wk_fail(m->job, TL_EMEDIA, "the picture has no size");
    if (par->width > TL_WK_MAX_SIDE || par->height > TL_WK_MAX_SIDE ||
        (int64_t)par->width * par->height > TL_WK_MAX_PIXELS)
        return tl_wk_fail(m->job, TL_EMEDIA, "the picture is larger than %d pixels", TL_WK_MAX_PIXELS);
    if (v->duration != AV_NOPTS_VALUE && v->duration > 0) {
        double d = (double)v->duration * av_q2d(v->time_base);
        m->duration_sec = d > 0 && d <= TL_WK_MAX_SECONDS ? d : m->duration_sec;
    }
    AVRational rate = v->avg_frame_rate.num > 0 && v->avg_frame_rate.den > 0 ? v->avg_frame_rate : v->r_frame_rate;
    double fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 25;
    bool still = strstr(m->fmt->iformat->name, "_pipe") != NULL;
    m->fps = still ? 0 : fps < 1 ? 1 : fps > TL_WK_MAX_FPS ? TL_WK_MAX_FPS : fps;
    if (still)
        m->duration_sec = 0;
    m->frames = still ? 1 : v->nb_frames > 0 ? v->nb_frames : (int64_t)(m->duration_sec * m->fps + 0.5);
    m->width = par->width;
    m->height = par->height;
    AVRational sar = av_guess_sample_aspect_ratio(m->fmt, v, NULL);
    if (sar.num > 0 && sar.den > 0 && av_q2d(sar) > 0.1 && av_q2d(sar) < 10)
        m->width = (int)fmin(fmax(lrint(par->width * av_q2d(sar)), 1), TL_WK_MAX_SIDE);
    m->rotation = upright(v);
    if (m->rotation % 180) {
        int w = m->width;
        m->width = m->height;
        m->height = w;
    }
    return 0;
}

static int open_streams(struct tl_wk_media *m, int want)
{
    int v = av_find_best_stream(m->fmt, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    int a = av_find_best_stream(m->fmt, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (v >= 0 && (!(m->fmt->streams[v]->disposition & AV_DISPOSITION_ATTACHED_PIC)))
        m->video = m->fmt->streams[v];
    if (a >= 0 && m->fmt->streams[a]->codecpar->ch_layout.nb_channels <= TL_WK_MAX_CHANNELS)
        m->audio = m->fmt->streams[a];
    if (!m->video && !m->audio)
        return tl_wk_fail(m->job, TL_EMEDIA, "the file holds neither picture nor sound");
    if (!m->video && want & TL_WK_VIDEO)
        return tl_wk_fail(m->job, TL_EMEDIA, "the file holds no picture");
    int err = describe(m);
    for (unsigned i = 0; i < m->fmt->nb_streams; i++) {
        AVStream *st = m->fmt->streams[i];
        if (!st)
            continue;
        bool used = (st == m->video && want & TL_WK_VIDEO) || (st == m->audio && want & TL_WK_AUDIO);
        st->discard = used ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
    if (err == 0 && m->video && want & TL_WK_VIDEO)
        err = open_decoder(m, m->video, want, &m->vdec);
    if (err == 0 && m->audio && want & TL_WK_AUDIO && open_decoder(m, m->audio, want, &m->adec) < 0) {
        /* A clip whose sound cannot be decoded is a silent clip. */
        avcodec_free_context(&m->adec);
        m->job->message[0] = '\0';
    }
    return err;
}

int tl_wk_media_open(struct tl_wk_media *m, struct tl_wk_job *job, const char *port, int want)
{
    *m = (struct tl_wk_media){.job = job};
    int fd = tl_wk_input(job, port);
    if (fd < 0)
        return tl_wk_fail(job, TL_EINVAL, "the job has no input file \"%s\"", port);
    int err = open_format(m, fd);
    if (err == 0)
        err = open_streams(m, want);
    if (err == 0 && (!(m->packet = av_packet_alloc()) || !(m->frame = av_frame_alloc())))
        err = TL_ENOMEM;
    if (tl_wk_cancelled(job) && err < 0)
        err = TL_ECANCELLED;
    if (err < 0)
        tl_wk_media_close(m);
    return err;
}

void tl_wk_media_close(struct tl_wk_media *m)
{
    avcodec_free_context(&m->vdec);
    avcodec_free_context(&m->adec);
    av_packet_free(&m->packet);
    av_frame_free(&m->frame);
    avformat_close_input(&m->fmt);
    tl_wk_io_close(&m->io);
}

/* Where a stream has got to while it is decoded. */
struct clock {
    int64_t count;
    double last, shift;
};

static double frame_time(const struct tl_wk_media *m, const AVStream *st, const AVFrame *f, struct clock *c)
{
    double step = st && st == m->video && m->fps > 0 ? 1 / m->fps : 0, t = c->count ? c->last + step : 0;
    if (st && f->best_effort_timestamp != AV_NOPTS_VALUE) {
        double said = (double)f->best_effort_timestamp * av_q2d(st->time_base) - m->start_sec + c->shift;
        /* Recordings that were put one behind the other begin to count anew: the time goes on. */
        if (c->count && said < c->last - jump_sec)
            c->shift += t - said;
        else
            t = said;
    }
    c->count++;
    return c->last = t < 0 || !isfinite(t) ? 0 : t;
}

/* Sends one packet (NULL: the end) and hands out what comes. */
static int pump(struct tl_wk_media *m, AVCodecContext *dec, const AVPacket *packet, const struct tl_wk_sink *sink,
                struct clock *c)
{
    bool video = dec == m->vdec;
    int e = avcodec_send_packet(dec, packet);
    if (e < 0 && e != AVERROR_EOF) {
        m->damaged++;
        return e == AVERROR(ENOMEM) ? TL_ENOMEM : 0;
    }
    int (*visit)(void *, AVFrame *, double) = video ? sink->picture : sink->sound;
    int errors = 0;
    for (;;) {
        e = avcodec_receive_frame(dec, m->frame);
        if (e == AVERROR(EAGAIN) || e == AVERROR_EOF || errors > MAX_ERRORS)
            return 0;
        if (e < 0) {
            m->damaged++;
            errors++;
            if (e == AVERROR(ENOMEM))
                return TL_ENOMEM;
            continue;
        }
        double t = frame_time(m, video ? m->video : m->audio, m->frame, c);
        int err = 0;
        if (t > TL_WK_MAX_SECONDS || c->count > (int64_t)TL_WK_MAX_SECONDS * TL_WK_MAX_FPS)
            err = tl_wk_fail(m->job, TL_EMEDIA, "the clip is longer than %d hours", TL_WK_MAX_SECONDS / 3600);
        else if (visit)
            err = visit(sink->arg, m->frame, t);
        av_frame_unref(m->frame);
        if (err)
            return err;
    }
}

int tl_wk_media_decode(struct tl_wk_media *m, const struct tl_wk_sink *sink)
{
    struct clock pictures = {0}, sounds = {0};
    int err = 0;
    while (err == 0) {
        int e = av_read_frame(m->fmt, m->packet);
        if (e == AVERROR_EXIT || tl_wk_cancelled(m->job))
            err = TL_ECANCELLED;
        else if (e == AVERROR(ENOMEM))
            err = TL_ENOMEM;
        if (e < 0)
            break; /* the end, or a damaged file's last readable packet */
        AVCodecContext *dec = m->video && m->packet->stream_index == m->video->index   ? m->vdec
                              : m->audio && m->packet->stream_index == m->audio->index ? m->adec
                                                                                       : NULL;
        if (err == 0 && dec)
            err = pump(m, dec, m->packet, sink, dec == m->vdec ? &pictures : &sounds);
        av_packet_unref(m->packet);
    }
    if (err == 0 && m->vdec)
        err = pump(m, m->vdec, NULL, sink, &pictures);
    if (err == 0 && m->adec)
        err = pump(m, m->adec, NULL, sink, &sounds);
    if (err == 0 && m->vdec && !pictures.count)
        return tl_wk_fail(m->job, TL_EMEDIA, "no picture of the clip could be decoded");
    return err > 0 ? 0 : err;
}

int tl_wk_media_seek(struct tl_wk_media *m, double t)
{
    int64_t ts = (int64_t)((t + m->start_sec) / av_q2d(m->video->time_base));
    if (av_seek_frame(m->fmt, m->video->index, ts, AVSEEK_FLAG_BACKWARD) < 0)
        return TL_EMEDIA;
    avcodec_flush_buffers(m->vdec);
    return 0;
}

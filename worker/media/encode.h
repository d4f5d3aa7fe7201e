/* Writing a clip: H.264 (libx264, pinned threads) and AAC in an MP4 whose index comes first. The same pictures and sound give the same bytes. */
#ifndef TL_WORKER_MEDIA_ENCODE_H
#define TL_WORKER_MEDIA_ENCODE_H

#include "worker/media/io.h"

#include <libavcodec/avcodec.h>

struct SwsContext;

enum { TL_ENC_THREADS = 2, TL_ENC_CLOCK = 90000 };

struct tl_wk_encoder {
    struct tl_wk_job *job;
    struct tl_wk_io io;
    AVFormatContext *fmt;
    AVStream *vst, *ast;
    AVCodecContext *venc, *aenc;
    AVFrame *picture, *sound;
    AVPacket *packet;
    struct SwsContext *sws;
    int64_t last_pts, step; /* of pictures, in TL_ENC_CLOCK */
    int64_t samples;        /* of sound, so far */
    int filled;             /* samples waiting in sound */
    bool begun;
};

/* Writes to fd. rate 0: no sound; else interleaved float of one or two channels comes to tl_wk_encode_sound. */
int tl_wk_encode_open(struct tl_wk_encoder *e, struct tl_wk_job *job, int fd, int width, int height, double fps,
                      int rate, int channels);
/* t in seconds, rising; a picture that is not later than the one before is dropped. */
int tl_wk_encode_picture(struct tl_wk_encoder *e, const uint8_t *rgb, int stride, double t);
int tl_wk_encode_sound(struct tl_wk_encoder *e, const float *samples, int n);
int tl_wk_encode_finish(struct tl_wk_encoder *e);
void tl_wk_encode_close(struct tl_wk_encoder *e); /* after an error too */

#endif

/* Opening a clip from a descriptor and decoding it: which formats are read at all, the caps on what a file may ask for, and one loop that hands out
 * decoded pictures and sound in order. */
#ifndef TL_WORKER_MEDIA_OPEN_H
#define TL_WORKER_MEDIA_OPEN_H

#include "worker/media/io.h"

#include <libavcodec/avcodec.h>

enum {
    TL_WK_MAX_STREAMS = 16,
    TL_WK_MAX_SIDE = 8192,
    TL_WK_MAX_PIXELS = 8192 * 4320,
    TL_WK_MAX_SECONDS = 4 * 60 * 60,
    TL_WK_MAX_FPS = 240,
    TL_WK_MAX_CHANNELS = 16,
};

struct tl_wk_media {
    struct tl_wk_job *job;
    struct tl_wk_io io;
    AVFormatContext *fmt;
    AVStream *video, *audio; /* NULL where there is none */
    AVCodecContext *vdec, *adec;
    AVPacket *packet;
    AVFrame *frame;
    double start_sec;    /* of the earliest stream; times handed out count from it */
    double fps;          /* average; 0 for a still picture or where there is no video */
    double duration_sec; /* as the file says; 0 where it does not */
    int width, height;   /* as shown: square pixels, upright */
    int rotation;        /* clockwise degrees that bring a decoded picture upright: 0, 90, 180, 270 */
    int64_t frames;      /* as the file says, or reckoned; 0 where not known */
    int64_t damaged;     /* packets that did not decode */
};

enum tl_wk_want {
    TL_WK_VIDEO = 1,
    TL_WK_AUDIO = 2,
    TL_WK_KEYFRAMES = 4 /* decode these only */,
    TL_WK_COARSE = 8 /* details may be lost */
};

/* Opens the job's input port; want: which decoders are made (those the file has). With TL_WK_VIDEO a clip without a picture is refused. TL_EMEDIA with a
 * sentence in the job. */
int tl_wk_media_open(struct tl_wk_media *m, struct tl_wk_job *job, const char *port, int want);
void tl_wk_media_close(struct tl_wk_media *m);

struct tl_wk_sink {
    void *arg;
    /* Both: a borrowed frame and its time from the start in seconds; an error ends the decoding; 1 ends it without. May be NULL. */
    int (*picture)(void *arg, AVFrame *frame, double t);
    int (*sound)(void *arg, AVFrame *frame, double t);
};
/* Decodes from where the file stands to its end. TL_EMEDIA where it holds no picture that decodes (with TL_WK_VIDEO). */
int tl_wk_media_decode(struct tl_wk_media *m, const struct tl_wk_sink *sink);
/* Goes to the last keyframe at or before t. An error where the file cannot be sought in. */
int tl_wk_media_seek(struct tl_wk_media *m, double t);

#endif

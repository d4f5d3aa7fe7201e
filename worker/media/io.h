/* FFmpeg's input and output over inherited descriptors. Nothing here can name a file: every other opening is denied. */
#ifndef TL_WORKER_MEDIA_IO_H
#define TL_WORKER_MEDIA_IO_H

#include "worker/worker.h"

#include <libavformat/avformat.h>

struct tl_wk_io {
    struct tl_wk_job *job; /* reading stops when it is cancelled */
    int fd;                /* borrowed */
    int64_t at;            /* a position of its own, so that several may read one descriptor */
    AVIOContext *avio;
};

/* Both hold io's address until tl_wk_io_close. TL_ENOMEM. */
int tl_wk_io_reader(struct tl_wk_io *io, struct tl_wk_job *job, int fd);
int tl_wk_io_writer(struct tl_wk_io *io, struct tl_wk_job *job, int fd);
void tl_wk_io_close(struct tl_wk_io *io);

/* For AVFormatContext.io_open: denies everything. */
int tl_wk_io_deny(AVFormatContext *fmt, AVIOContext **ret, const char *url, int flags, AVDictionary **options);
/* For a muxer whose opaque is its struct tl_wk_io: lets it read its own output again (MP4 faststart), nothing else. */
int tl_wk_io_reread(AVFormatContext *fmt, AVIOContext **ret, const char *url, int flags, AVDictionary **options);
int tl_wk_io_reread_close(AVFormatContext *fmt, AVIOContext *avio);

/* An FFmpeg error as ours, while a file is being read. */
int tl_wk_av_err(int averr);

#endif

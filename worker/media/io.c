#include "worker/media/io.h"

#include "base/err.h"

#include <errno.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024 };

static int read_some(void *arg, uint8_t *buf, int size)
{
    struct tl_wk_io *io = arg;
    if (tl_wk_cancelled(io->job))
        return AVERROR_EXIT;
    ssize_t n;
    do
        n = pread(io->fd, buf, (size_t)size, io->at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return AVERROR(errno);
    io->at += n;
    return n ? (int)n : AVERROR_EOF;
}

static int write_all(void *arg, uint8_t *buf, int size)
{
    struct tl_wk_io *io = arg;
    int done = 0;
    if (tl_wk_cancelled(io->job))
        return AVERROR_EXIT;
    while (done < size) {
        ssize_t n = pwrite(io->fd, buf + done, (size_t)(size - done), io->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return AVERROR(n < 0 ? errno : EIO);
        done += (int)n;
        io->at += n;
    }
    return size;
}

static int64_t seek(void *arg, int64_t to, int whence)
{
    struct tl_wk_io *io = arg;
    int64_t end = lseek(io->fd, 0, SEEK_END);
    if (end < 0)
        return AVERROR(errno);
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return end;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        to += io->at;
        break;
    case SEEK_END:
        to += end;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (to < 0)
        return AVERROR(EINVAL);
    return io->at = to;
}

static int make(struct tl_wk_io *io, struct tl_wk_job *job, int fd, bool write)
{
    *io = (struct tl_wk_io){.job = job, .fd = fd};
    unsigned char *buf = av_malloc(BUFFER);
    if (!buf)
        return TL_ENOMEM;
    io->avio = avio_alloc_context(buf, BUFFER, write, io, write ? NULL : read_some, write ? write_all : NULL, seek);
    if (!io->avio) {
        av_free(buf);
        return TL_ENOMEM;
    }
    return 0;
}

int tl_wk_io_reader(struct tl_wk_io *io, struct tl_wk_job *job, int fd)
{
    return make(io, job, fd, false);
}

int tl_wk_io_writer(struct tl_wk_io *io, struct tl_wk_job *job, int fd)
{
    return make(io, job, fd, true);
}

void tl_wk_io_close(struct tl_wk_io *io)
{
    if (io->avio)
        av_freep(&io->avio->buffer);
    avio_context_free(&io->avio);
}

int tl_wk_io_deny(AVFormatContext *fmt, AVIOContext **ret, const char *url, int flags, AVDictionary **options)
{
    (void)fmt;
    (void)url;
    (void)flags;
    (void)options;
    *ret = NULL;
    return AVERROR(EACCES);
}

int tl_wk_io_reread(AVFormatContext *fmt, AVIOContext **ret, const char *url, int flags, AVDictionary **options)
{
    (void)url;
    (void)options;
    struct tl_wk_io *own = fmt->opaque, *io;
    *ret = NULL;
    if (flags != AVIO_FLAG_READ)
        return AVERROR(EACCES);
    io = av_malloc(sizeof(*io));
    if (!io || tl_wk_io_reader(io, own->job, own->fd) < 0) {
        av_free(io);
        return AVERROR(ENOMEM);
    }
    *ret = io->avio;
    return 0;
}

int tl_wk_io_reread_close(AVFormatContext *fmt, AVIOContext *avio)
{
    (void)fmt;
    if (avio) {
        struct tl_wk_io *io = avio->opaque;
        tl_wk_io_close(io);
        av_free(io);
    }
    return 0;
}

int tl_wk_av_err(int averr)
{
    switch (averr) {
    case AVERROR_EXIT:
        return TL_ECANCELLED;
    case AVERROR(ENOMEM):
        return TL_ENOMEM;
    case AVERROR(EIO):
        return TL_EIO;
    case AVERROR(ENOSPC):
    case AVERROR(EDQUOT):
    case AVERROR(EFBIG):
        return TL_EFULL;
    default:
        return averr < 0 ? TL_EMEDIA : 0;
    }
}

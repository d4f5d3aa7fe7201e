#include "wire/job.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 4, READ_CHUNK = 64 * 1024 };

static size_t body_len(const unsigned char *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

/* Waits for room on sock until the deadline (monotonic, -1 for ever). */
static int wait_writable(int sock, int64_t deadline)
{
    for (;;) {
        int wait = -1;
        if (deadline >= 0) {
            int64_t left = deadline - tl_mono_us();
            if (left <= 0)
                return TL_ETIMEOUT;
            wait = (int)((left + 999) / 1000);
        }
        struct pollfd p = {.fd = sock, .events = POLLOUT};
        int n = poll(&p, 1, wait);
        if (n > 0)
            return p.revents & POLLOUT ? 0 : TL_EIO;
        if (n < 0 && errno != EINTR)
            return TL_EIO;
    }
}

int tl_frame_send(int sock, const json_t *json, const int *fds, size_t nfds, int timeout_ms)
{
    TL_AUTO_FREE char *text = tl_json_text(json);
    if (!text)
        return TL_ENOMEM;
    size_t len = strlen(text);
    if (len > TL_FRAME_MAX || nfds > TL_FRAME_FDS)
        return TL_ETOOBIG;
    unsigned char head[HEADER] = {(unsigned char)len, (unsigned char)(len >> 8), (unsigned char)(len >> 16),
                                  (unsigned char)(len >> 24)};
    int64_t deadline = timeout_ms < 0 ? -1 : tl_mono_us() + (int64_t)timeout_ms * 1000;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * TL_FRAME_FDS)] = {0};
    size_t sent = 0;
    while (sent < HEADER + len) {
        struct iovec iov[2];
        int n = 0;
        if (sent < HEADER)
            iov[n++] = (struct iovec){head + sent, HEADER - sent};
        size_t at = sent < HEADER ? 0 : sent - HEADER;
        iov[n++] = (struct iovec){text + at, len - at};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
        if (sent == 0 && nfds) {
            msg.msg_control = control;
            msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
            struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
            memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
        }
        ssize_t got = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (got >= 0) {
            sent += (size_t)got;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return TL_EIO;
        int err = wait_writable(sock, deadline);
        if (err < 0)
            return err;
    }
    return 0;
}

/* Where the last frame begins whose first byte has arrived. The kernel ends a read after a piece that carries descriptors, and a frame's descriptors
 * travel with its first byte: what just arrived with them belongs to that frame. */
static size_t last_start(const struct tl_frame_reader *r)
{
    size_t at = 0;
    while (r->len - at >= HEADER) {
        size_t end = at + HEADER + body_len(r->buf + at);
        if (end >= r->len)
            break;
        at = end;
    }
    return at;
}

/* Takes over the descriptors of a message; false where there is no room for all of them. */
static bool keep_fds(struct tl_frame_reader *r, struct msghdr *msg)
{
    bool ok = !(msg->msg_flags & MSG_CTRUNC);
    size_t start = last_start(r);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (r->nfds < TL_FRAME_FDS) {
                r->fd_at[r->nfds] = start;
                r->fds[r->nfds++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

int tl_frame_fill(struct tl_frame_reader *r, int sock)
{
    if (r->len > (size_t)TL_FRAME_MAX + HEADER)
        return TL_EIO;
    if (tl_grow(&r->buf, &r->cap, r->len + READ_CHUNK, 1) < 0)
        return TL_ENOMEM;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * TL_FRAME_FDS)];
    struct iovec iov = {r->buf + r->len, r->cap - r->len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? TL_EAGAIN : TL_EIO;
    r->len += (size_t)n;
    if (!keep_fds(r, &msg) || n == 0)
        return TL_EIO;
    return 0;
}

int tl_frame_next(struct tl_frame_reader *r, struct tl_frame *ret)
{
    *ret = (struct tl_frame){0};
    if (r->len < HEADER)
        return TL_EAGAIN;
    size_t len = body_len(r->buf);
    if (len > TL_FRAME_MAX)
        return TL_EINVAL;
    if (r->len < HEADER + len)
        return TL_EAGAIN;
    size_t kept = 0;
    for (size_t i = 0; i < r->nfds; i++) {
        if (r->fd_at[i] == 0) {
            ret->fds[ret->nfds++] = r->fds[i];
        } else {
            r->fds[kept] = r->fds[i];
            r->fd_at[kept++] = r->fd_at[i] - HEADER - len;
        }
    }
    r->nfds = kept;
    int err = tl_json_parse((const char *)r->buf + HEADER, len, &ret->json, NULL);
    if (err == 0 && !json_is_object(ret->json))
        err = TL_EINVAL;
    r->len -= HEADER + len;
    memmove(r->buf, r->buf + HEADER + len, r->len);
    if (err < 0)
        tl_frame_clear(ret);
    return err;
}

void tl_frame_clear(struct tl_frame *f)
{
    if (!f)
        return;
    json_decref(f->json);
    for (size_t i = 0; i < f->nfds; i++)
        tl_close_fd(&f->fds[i]);
    *f = (struct tl_frame){0};
}

void tl_frame_reader_clear(struct tl_frame_reader *r)
{
    if (!r)
        return;
    free(r->buf);
    for (size_t i = 0; i < r->nfds; i++)
        tl_close_fd(&r->fds[i]);
    *r = (struct tl_frame_reader){0};
}

json_t *tl_job_envelope(const char *job_id, const char *job_type, const char *org, const char *run_id,
                        const char *step_key, int attempt, const char *input_hash, json_t *inputs)
{
    char now[TL_TIME_TEXT];
    tl_time_text(tl_now_ms(), now);
    return json_pack("{s:s?,s:s?,s:n,s:s?,s:n,s:s?,s:n,s:s?,s:i,s:s,s:{s:b,s:b},s:o,s:{s:s?,s:n}}", "job_id", job_id,
                     "job_type", job_type, "trace_id", "org_id", org, "project_id", "run_id", run_id, "step_id",
                     "step_key", step_key, "attempt", attempt, "enqueued_at", now, "policy_snapshot",
                     "allow_external_web", 0, "pii_masking", 1, "inputs", inputs, "dedupe", "input_hash", input_hash,
                     "idempotency_key");
}

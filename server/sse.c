/* Server-Sent Events: the journal of a run as text, until its terminal event. */
#include "server/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static struct tl_conn *conn_of(struct tl_follower *f)
{
    return lws_container_of(f, struct tl_conn, follower);
}

static void ask(struct tl_conn *c)
{
    tl_conn_quiet(c, false);
    tl_conn_want_write(c);
}

static void wake(struct tl_follower *f, bool ended)
{
    struct tl_conn *c = conn_of(f);
    bool more = false;
    (void)ended;
    if (c->blocked)
        return; /* it reads on when it can be written to */
    if (tl_conn_push(c, TL_STREAM_SSE, &more) < 0)
        tl_conn_kill(c);
    else if (more)
        ask(c);
}

int tl_sse_begin(struct tl_conn *c)
{
    struct tl_stream *stream = c->req->reply.stream;
    c->req->reply.stream = NULL;
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
    lws_http_headers_detach(c->wsi); /* a stream needs no head, and heads are scarce */
    tl_req_unref(c->req);
    c->req = NULL;
    if (tl_conn_follow(c, TL_C_SSE, stream, wake) < 0)
        return -1;
    ask(c);
    return 0;
}

int tl_sse_writeable(struct tl_conn *c)
{
    static const char sign[] = ": still here\n\n";
    struct tl_http *http = c->http;
    bool more;
    if (c->stream.over)
        return -1;
    if (tl_conn_push(c, TL_STREAM_SSE, &more) < 0)
        return -1;
    if (!more && http->now_ms - c->wrote_ms >= http->heartbeat_ms) {
        memcpy(http->out + LWS_PRE, sign, sizeof(sign) - 1);
        if (lws_write(c->wsi, http->out + LWS_PRE, sizeof(sign) - 1, LWS_WRITE_HTTP) < 0)
            return -1;
        c->wrote_ms = http->now_ms;
        more = lws_partial_buffered(c->wsi);
    }
    if (more)
        tl_conn_want_write(c);
    else
        tl_conn_quiet(c, true);
    return 0;
}

/* libwebsockets does not read from a stream; whether the client is gone, or sends what it must not, is looked at here. */
static bool must_end(struct tl_conn *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void tl_sse_sweep(struct tl_conn *c, int64_t now_ms)
{
    if (must_end(c))
        tl_conn_kill(c);
    else if (!c->blocked && now_ms - c->wrote_ms >= c->http->heartbeat_ms)
        ask(c);
}

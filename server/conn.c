#include "server/conn.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLOTS_FIRST = 64, BODY_FIRST = 16 * 1024, DISCARD_MAX = 1024 * 1024 };

static int take_slot(struct tl_http *http, struct tl_conn *c)
{
    size_t i = 0;
    while (i < http->nslots && http->slots[i])
        i++;
    if (i == http->nslots) {
        size_t cap = http->nslots;
        if (tl_grow(&http->slots, &cap, http->nslots + SLOTS_FIRST, sizeof(*http->slots)) < 0)
            return TL_ENOMEM;
        memset(http->slots + http->nslots, 0, (cap - http->nslots) * sizeof(*http->slots));
        http->nslots = cap;
    }
    http->slots[i] = c;
    c->slot = (uint32_t)i;
    return 0;
}

/* The connection behind wsi, made on its first request. NULL on want of memory. */
struct tl_conn *tl_conn_of(struct tl_http *http, struct lws *wsi)
{
    struct tl_conn *c = lws_get_opaque_user_data(wsi);
    if (c)
        return c;
    if (!(c = tl_calloc(1, sizeof(*c))) || take_slot(http, c) < 0) {
        free(c);
        return NULL;
    }
    c->wsi = wsi;
    c->http = http;
    c->generation = ++http->generation;
    c->next = http->conns;
    if (c->next)
        c->next->prev = c;
    http->conns = c;
    http->nconns++;
    lws_set_opaque_user_data(wsi, c);
    return c;
}

void tl_conn_gone(struct tl_conn *c)
{
    struct tl_http *http = c->http;
    tl_follow_remove(http->srv->follows, &c->follower);
    http->slots[c->slot] = NULL;
    if (c->prev)
        c->prev->next = c->next;
    else
        http->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    http->nconns--;
    tl_ws_free(c->ws);
    if (c->seen.text)
        tl_wipe(c->seen.text, strlen(c->seen.text));
    free(c->seen.text);
    tl_req_unref(c->req);
    lws_set_opaque_user_data(c->wsi, NULL);
    free(c);
}

void tl_conn_kill(struct tl_conn *c)
{
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void tl_conn_want_write(struct tl_conn *c)
{
    c->blocked = true;
    lws_callback_on_writable(c->wsi);
}

/* Reading is switched off while a handler is at work: libwebsockets would spin on what it must not read yet. It must be on for writing. */
void tl_conn_quiet(struct tl_conn *c, bool quiet)
{
    if (c->quiet != quiet)
        lws_rx_flow_control(c->wsi, !quiet);
    c->quiet = quiet;
}

int tl_conn_follow(struct tl_conn *c, enum tl_conn_state state, struct tl_stream *takes, void (*wake)(struct tl_follower *f, bool ended))
{
    c->stream = *takes;
    tl_stream_free(takes);
    c->fd = lws_get_socket_fd(c->wsi);
    c->state = state;
    c->wrote_ms = c->http->now_ms;
    c->follower.wake = wake;
    return tl_follow_add(c->http->srv->follows, &c->follower, &c->stream.run);
}

int tl_conn_push(struct tl_conn *c, enum tl_stream_form form, bool *ret)
{
    struct tl_http *http = c->http;
    struct tl_stream_batch *b = &http->batches[form];
    *ret = true;
    if (lws_partial_buffered(c->wsi)) /* its bytes come first */
        return 0;
    if (tl_stream_read(http->srv->conf.db, &c->stream, form, b) < 0)
        return -1;
    *ret = c->stream.over;
    if (!b->n)
        return 0;
    ssize_t n = send(c->fd, b->text.data, b->text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        return -1;
    if (n > 0) {
        size_t rest = tl_stream_sent(&c->stream, b, (size_t)n);
        c->wrote_ms = http->now_ms;
        /* Within a frame, libwebsockets must not send a pong or a close: it has to know of the rest. With this kind of write it adds nothing. */
        if (rest && lws_write(c->wsi, (unsigned char *)b->text.data + n, rest, LWS_WRITE_HTTP) < 0)
            return -1;
    }
    *ret = !b->all || n < (ssize_t)b->text.len || c->stream.over;
    return 0;
}

static void not_blocked(struct tl_conn *c)
{
    c->blocked = false;
    c->patience = 0;
}

static int finish(struct tl_conn *c)
{
    tl_req_unref(c->req);
    c->req = NULL;
    not_blocked(c);
    if (!c->close_after) {
        c->state = TL_C_IDLE;
        c->lws_body = false;
            return lws_http_transaction_completed(c->wsi) ? -1 : 0;
    }
    if (!c->lws_body)
        return -1;
    /* Closing on bytes that were not read would reset the connection and may lose the answer. */
    c->state = TL_C_LINGER;
    c->deadline_ms = c->http->now_ms + TL_HTTP_LINGER_MS;
    return 0;
}

/* Fills up to room bytes of the reply's body from where it stands. */
static ssize_t body_part(struct tl_conn *c, unsigned char *to, size_t room)
{
    struct tl_reply *r = &c->req->reply;
    size_t n = r->len - c->sent < room ? (size_t)(r->len - c->sent) : room;
    if (r->kind == TL_REPLY_TEXT) {
        if (n)
            memcpy(to, r->text + c->sent, n);
        return (ssize_t)n;
    }
    size_t got = 0;
    while (got < n) {
        ssize_t k = pread(r->fd, to + got, n - got, (off_t)(r->offset + c->sent + got));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return -1; /* the file is shorter than was promised: only closing says so */
        got += (size_t)k;
    }
    return (ssize_t)n;
}

static int send_part(struct tl_conn *c, size_t head)
{
    unsigned char *out = c->http->out + LWS_PRE;
    bool bodyless = c->req->method == TL_M_HEAD || c->req->reply.status == 304;
    ssize_t n = bodyless ? 0 : body_part(c, out + head, TL_HTTP_SEND - head);
    size_t all = head + (n > 0 ? (size_t)n : 0);
    if (n < 0 || (all && lws_write(c->wsi, out, all, LWS_WRITE_HTTP) < 0))
        return -1;
    c->sent += (uint64_t)n;
    if ((bodyless || c->sent == c->req->reply.len) && !lws_partial_buffered(c->wsi))
        return finish(c);
    c->state = TL_C_SEND;
    tl_conn_want_write(c);
    return 0;
}

static int send_reply(struct tl_conn *c)
{
    struct tl_req *req = c->req;
    bool body_left = c->lws_body && c->body_got < req->content_length;
    if (req->reply.kind == TL_REPLY_STREAM || (body_left && req->content_length > DISCARD_MAX))
        c->close_after = true;
    size_t head = tl_head_write(req, c->close_after, (char *)c->http->out + LWS_PRE, TL_HTTP_OUT);
    if (head == 0 || head > TL_HTTP_SEND / 2)
        return -1;
    tl_server_note(req, req->reply.status);
    tl_conn_quiet(c, false);
    c->sent = 0;
    if (req->reply.kind != TL_REPLY_STREAM || req->method == TL_M_HEAD)
        return send_part(c, head);
    if (lws_write(c->wsi, c->http->out + LWS_PRE, head, LWS_WRITE_HTTP) < 0)
        return -1;
    return tl_sse_begin(c);
}

/* Between these two a reply on this thread is noted instead of queued. */
static void enter(struct tl_conn *c)
{
    c->http->dispatching = c->req;
    c->http->inline_reply = false;
}

static bool leave(struct tl_conn *c)
{
    c->http->dispatching = NULL;
    c->answered |= c->http->inline_reply;
    return c->answered;
}

/* The request is complete: calls its handler, and sends the reply at once where it is there at once. */
static int dispatch(struct tl_conn *c)
{
    enter(c);
    tl_server_handle(c->req);
    if (leave(c))
        return send_reply(c);
    c->state = TL_C_WAIT;
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
    tl_conn_quiet(c, true);
    return 0;
}

static int refuse(struct tl_conn *c, int err, const char *why)
{
    enter(c);
    tl_reply_err(c->req, err, "%s", why ? why : tl_err_text(err));
    leave(c);
    return send_reply(c);
}

int tl_conn_request(struct tl_conn *c)
{
    const char *why;
    bool expect;
    c->state = TL_C_BODY;
    c->close_after = c->answered = false;
    c->body_got = 0;
    c->body_began_ms = c->body_last_ms = c->http->now_ms;
    not_blocked(c);
    tl_req_unref(c->req);
    int err = tl_head_read(c, &c->req, &why, &expect);
    if (err == TL_ENOMEM)
        return -1;
    struct tl_req *req = c->req;
    bool may_have_body = (req->method & (TL_M_POST | TL_M_PUT | TL_M_PATCH)) != 0;
    bool has_length = lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0;
    c->lws_body = req->content_length > 0 || (may_have_body && !has_length);
    /* Without a length libwebsockets waits for a body that HTTP says is not there. */
    c->close_after = err < 0 || (may_have_body && !has_length);
    if (err < 0)
        return refuse(c, err, why);
    enter(c);
    err = tl_server_admit(req);
    if (err == 0 && req->route->sink)
        req->route->sink->begin(req);
    if (leave(c))
        return send_reply(c);
    if (req->content_length == 0)
        /* libwebsockets reports the end of an explicitly empty body for POST only. */
        return req->method == TL_M_POST && has_length ? 0 : dispatch(c);
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    memcpy(c->http->out + LWS_PRE, go_on, sizeof(go_on) - 1);
    return expect && lws_write(c->wsi, c->http->out + LWS_PRE, sizeof(go_on) - 1, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

/* All bodies that are gathered share a bound. */
static int gather(struct tl_req *req, const char *bytes, size_t len)
{
    size_t need = req->body_len + len + 1, had = req->body_cap;
    if (!req->body_cap && need < BODY_FIRST)
        need = BODY_FIRST < req->content_length + 1 ? BODY_FIRST : (size_t)req->content_length + 1;
    if (atomic_load(&req->srv->body_bytes) + need - had > req->srv->conf.body_budget)
        return TL_EAGAIN;
    if (tl_grow(&req->body, &req->body_cap, need, 1) < 0)
        return TL_ENOMEM;
    atomic_fetch_add(&req->srv->body_bytes, req->body_cap - had);
    req->body_counted = req->body_cap;
    memcpy(req->body + req->body_len, bytes, len);
    req->body_len += len;
    req->body[req->body_len] = '\0';
    return 0;
}

int tl_conn_body(struct tl_conn *c, const char *bytes, size_t len)
{
    struct tl_req *req = c->req;
    c->body_last_ms = c->http->now_ms;
    if (c->state != TL_C_BODY || !req || len == 0)
        return 0;
    c->body_got += len;
    if (c->answered)
        return 0;
    int err = 0;
    enter(c);
    if (req->route->sink)
        req->route->sink->chunk(req, bytes, len);
    else if (req->route->max_body) /* else none is wanted: it is dropped */
        err = gather(req, bytes, len);
    if (err < 0) {
        tl_req_drop_body(req);
        tl_reply_err(req, err, NULL);
    }
    if (leave(c) && c->body_got < req->content_length) {
        c->close_after = true;
        tl_conn_want_write(c); /* not from here: libwebsockets is in the middle of the body */
    }
    return 0;
}

int tl_conn_body_end(struct tl_conn *c)
{
    switch (c->state) {
    case TL_C_BODY: return c->answered ? send_reply(c) : dispatch(c);
    case TL_C_READY: return send_reply(c);
    case TL_C_IDLE: return 0;
    default:
        /* Bytes behind the body of a request that is still being answered: libwebsockets would report this end for ever. */
        return -1;
    }
}

int tl_conn_writeable(struct tl_conn *c)
{
    not_blocked(c);
    switch (c->state) {
    case TL_C_BODY: return c->answered ? send_reply(c) : 0;
    case TL_C_READY: return send_reply(c);
    case TL_C_SEND: return send_part(c, 0);
    case TL_C_SSE: return tl_sse_writeable(c);
    default: return 0;
    }
}

void tl_conn_replied(struct tl_conn *c, struct tl_req *req)
{
    if (c->req != req || c->state != TL_C_WAIT)
        return;
    c->state = TL_C_READY;
    tl_conn_quiet(c, false);
    tl_conn_want_write(c);
}

static bool body_too_slow(const struct tl_conn *c, int64_t now_ms)
{
    int64_t idle = now_ms - c->body_last_ms, all = now_ms - c->body_began_ms - 30000;
    bool held = c->req && c->req->body && now_ms - c->body_began_ms > TL_HTTP_BODY_MS;
    return held || idle > TL_HTTP_BODY_IDLE_MS || (all > 0 && c->body_got < (uint64_t)all * TL_HTTP_BODY_RATE / 1000);
}

void tl_conn_sweep(struct tl_conn *c, int64_t now_ms)
{
    if (c->blocked && ++c->patience > (unsigned)c->http->laggard_ms / TL_HTTP_SWEEP_MS)
        tl_conn_kill(c);
    else if (c->state == TL_C_LINGER && now_ms > c->deadline_ms)
        tl_conn_kill(c);
    else if (c->state == TL_C_BODY && c->lws_body && body_too_slow(c, now_ms))
        tl_conn_kill(c);
    else if (c->state == TL_C_SSE)
        tl_sse_sweep(c, now_ms);
    else if (c->state == TL_C_WS)
        tl_ws_sweep(c, now_ms);
}

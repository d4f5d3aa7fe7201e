/* WebSocket: the same events as SSE, each a message, and {"type":"cancel"} from the client. */
#include "server/conn.h"

#include "base/err.h"
#include "server/auth.h"
#include "server/wait.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct tl_ws {
    char org[TL_TOKEN_NAME];
    bool may_cancel;
    char in[TL_WS_MESSAGE];
    size_t in_len;
    unsigned fragments;
    int64_t second; /* in which messages are counted */
    unsigned messages;
    char *answer; /* owned: the one error message that waits to be sent */
    int64_t heard_ms;
    bool ping;
    enum lws_close_status leaving; /* 0: not; what the client still sends is dropped, as closing on it might lose the close's reason */
    const char *why;
    int64_t leave_by_ms;
    bool leave_now;
};

void tl_ws_free(struct tl_ws *ws)
{
    if (ws)
        free(ws->answer);
    free(ws);
}

/* Past libwebsockets, which must not be touched while it confirms an upgrade. What does not fit into an empty socket buffer is lost with a connection that
 * is closed anyway. */
static int refuse(struct tl_conn *c)
{
    struct tl_http *http = c->http;
    struct tl_req *req = c->req;
    char *out = (char *)http->out;
    size_t head = tl_head_write(req, true, out, TL_HTTP_OUT);
    tl_server_note(req, req->reply.status);
    if (head && req->reply.kind == TL_REPLY_TEXT && req->reply.len <= TL_HTTP_OUT - head) {
        if (req->reply.len)
            memcpy(out + head, req->reply.text, req->reply.len);
        if (send(lws_get_socket_fd(c->wsi), out, head + req->reply.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            return -1;
    }
    return -1;
}

static bool origin_ok(struct tl_req *req)
{
    if (!req->head.origin && !req->by_cookie)
        return true;
    if (tl_auth_same_origin(req))
        return true;
    tl_reply_err(req, TL_EFORBIDDEN, req->head.origin ? "the Origin is not this server's"
                                                      : "with a cookie an Origin is required");
    return false;
}

static int open_stream(struct tl_http *http, struct tl_req *req)
{
    struct tl_diag diag = {0};
    int err = tl_stream_open(http->srv->conf.db, req->claims.org, req->params[0], tl_req_query(req, "after_seq"),
                             &http->upgrade, &diag);
    if (err == TL_ENOTFOUND)
        tl_reply_err(req, err, NULL);
    else if (err < 0)
        tl_reply_diag(req, err, &diag);
    tl_diag_clear(&diag);
    return err;
}

int tl_ws_upgrade(struct tl_conn *c)
{
    struct tl_http *http = c->http;
    const char *why;
    bool expect;
    tl_req_unref(c->req);
    c->req = NULL;
    tl_stream_free(http->upgrade);
    http->upgrade = NULL;
    int err = tl_head_read(c, &c->req, &why, &expect);
    if (err == TL_ENOMEM)
        return -1;
    struct tl_req *req = c->req;
    http->dispatching = req;
    if (err < 0 || req->content_length)
        tl_reply_err(req, err < 0 ? err : TL_EINVAL, "%s", why ? why : "an upgrade has no body");
    else if ((err = tl_server_admit(req)) == 0 && !(req->route->flags & TL_R_WS))
        tl_reply_err(req, err = TL_ENOTFOUND, NULL);
    else if (err == 0 && !origin_ok(req))
        err = TL_EFORBIDDEN;
    else if (err == 0)
        err = open_stream(http, req);
    http->dispatching = NULL;
    return http->upgrade ? 0 : refuse(c);
}

static void wake(struct tl_follower *f, bool ended)
{
    struct tl_conn *c = lws_container_of(f, struct tl_conn, follower);
    bool more = false;
    (void)ended;
    if (c->blocked)
        return;
    if (tl_conn_push(c, TL_STREAM_WS, &more) < 0)
        tl_conn_kill(c);
    else if (more)
        tl_conn_want_write(c);
}

int tl_ws_begin(struct tl_conn *c)
{
    struct tl_http *http = c->http;
    struct tl_req *req = c->req;
    struct tl_stream *stream = http->upgrade;
    struct tl_ws *ws = stream && req ? tl_calloc(1, sizeof(*ws)) : NULL;
    if (!ws)
        return -1;
    http->upgrade = NULL;
    tl_ws_free(c->ws);
    c->ws = ws;
    memcpy(ws->org, req->claims.org, sizeof(ws->org));
    ws->may_cancel = req->claims.role >= TL_ROLE_MEMBER;
    ws->heard_ms = http->now_ms;
    tl_server_note(req, 101);
    tl_req_unref(req);
    c->req = NULL;
    if (tl_conn_follow(c, TL_C_WS, stream, wake) < 0)
        return -1;
    tl_conn_want_write(c);
    return 0;
}

/* One error waits at a time: whoever sends more before it has been read gets no second one. */
static void answer(struct tl_conn *c, int err, const char *message)
{
    if (!c->ws->answer) {
        char id[TL_REQ_ID_TEXT];
        tl_request_id(id);
        c->ws->answer = tl_error_text(err, message, NULL, id);
    }
    tl_conn_want_write(c);
}

static int end(struct tl_conn *c, enum lws_close_status status, const char *why)
{
    lws_close_reason(c->wsi, status, (unsigned char *)(uintptr_t)why, strlen(why));
    return -1;
}

/* Closes as soon as the client is silent, or soon. */
static int leave(struct tl_conn *c, enum lws_close_status status, const char *why)
{
    tl_follow_remove(c->http->srv->follows, &c->follower);
    c->ws->leaving = status;
    c->ws->why = why;
    c->ws->leave_by_ms = c->http->now_ms + TL_HTTP_LINGER_MS;
    return 0;
}

static void message(struct tl_conn *c)
{
    struct tl_ws *ws = c->ws;
    TL_AUTO_JSON json_t *j = NULL;
    const char *type = NULL;
    if (tl_json_parse(ws->in, ws->in_len, &j, NULL) == 0 && json_is_object(j) && json_object_size(j) == 1)
        type = tl_json_str(j, "type");
    if (!type || strcmp(type, "cancel") != 0) {
        answer(c, TL_EINVAL, "the only message known here is {\"type\":\"cancel\"}");
        return;
    }
    int err = ws->may_cancel ? tl_run_cancel(c->http->srv->conf.exec, ws->org, &c->stream.run, NULL) : TL_EFORBIDDEN;
    if (err < 0 && err != TL_ECONFLICT)
        answer(c, err, NULL);
}

int tl_ws_receive(struct tl_conn *c, const char *bytes, size_t len)
{
    struct tl_ws *ws = c->ws;
    int64_t second = c->http->now_ms / 1000;
    ws->heard_ms = c->http->now_ms;
    if (ws->leaving)
        return 0;
    if (lws_is_first_fragment(c->wsi)) {
        ws->in_len = 0;
        ws->fragments = 0;
        ws->messages = second == ws->second ? ws->messages + 1 : 1;
        ws->second = second;
    }
    if (ws->messages > TL_WS_RATE || ++ws->fragments > TL_WS_FRAGMENTS)
        return leave(c, LWS_CLOSE_STATUS_POLICY_VIOLATION, "too many messages or fragments");
    if (len > sizeof(ws->in) - ws->in_len)
        return leave(c, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "the message is too large");
    if (len)
        memcpy(ws->in + ws->in_len, bytes, len);
    ws->in_len += len;
    if (lws_is_final_fragment(c->wsi) && !lws_remaining_packet_payload(c->wsi))
        message(c);
    return 0;
}

void tl_ws_pong(struct tl_conn *c)
{
    c->ws->heard_ms = c->http->now_ms;
}

static int write_frame(struct tl_conn *c, const char *text, size_t len, enum lws_write_protocol kind)
{
    struct tl_http *http = c->http;
    if (len > TL_HTTP_SEND)
        return -1;
    if (len)
        memcpy(http->out + LWS_PRE, text, len);
    c->wrote_ms = http->now_ms;
    return lws_write(c->wsi, http->out + LWS_PRE, len, kind) < 0 ? -1 : 0;
}

int tl_ws_writeable(struct tl_conn *c)
{
    struct tl_ws *ws = c->ws;
    bool more;
    c->blocked = false;
    c->patience = 0;
    if (ws->leaving)
        return ws->leave_now ? end(c, ws->leaving, ws->why) : 0;
    if (ws->answer && !c->stream.skip) { /* not in the middle of a message */
        TL_AUTO_FREE char *text = ws->answer;
        ws->answer = NULL;
        if (write_frame(c, text, strlen(text), LWS_WRITE_TEXT) < 0)
            return -1;
    }
    if (c->stream.over)
        return end(c, LWS_CLOSE_STATUS_NORMAL, "");
    if (ws->ping && write_frame(c, NULL, 0, LWS_WRITE_PING) < 0)
        return -1;
    ws->ping = false;
    if (tl_conn_push(c, TL_STREAM_WS, &more) < 0)
        return -1;
    if (more || ws->answer)
        tl_conn_want_write(c);
    return 0;
}

void tl_ws_sweep(struct tl_conn *c, int64_t now_ms)
{
    if (c->ws->leaving) {
        c->ws->leave_now = now_ms - c->ws->heard_ms >= TL_HTTP_SWEEP_MS || now_ms >= c->ws->leave_by_ms;
        tl_conn_want_write(c);
    } else if (now_ms - c->ws->heard_ms > 3 * (int64_t)c->http->heartbeat_ms) {
        tl_conn_kill(c);
    } else if (!c->blocked && now_ms - c->wrote_ms >= c->http->heartbeat_ms) {
        c->ws->ping = true;
        tl_conn_want_write(c);
    }
}

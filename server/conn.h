/* One client's connection, between libwebsockets and requests. Service thread only. */
#ifndef TL_SERVER_CONN_H
#define TL_SERVER_CONN_H

#include "server/http.h"
#include "server/stream.h"

#include <libwebsockets.h>

enum tl_conn_state {
    TL_C_IDLE,   /* between requests */
    TL_C_BODY,   /* the body is coming */
    TL_C_WAIT,   /* a handler is at work elsewhere; nothing is read */
    TL_C_READY,  /* the reply is there, not sent yet */
    TL_C_SEND,   /* a long reply is on its way */
    TL_C_LINGER, /* answered and refused; what still comes is dropped until the client goes or time is up */
    TL_C_SSE,
    TL_C_WS,
};

struct tl_ws; /* ws.c */

struct tl_conn {
    /* What a walk over followers touches lies together. */
    struct tl_follower follower;
    struct lws *wsi;
    struct tl_http *http;
    struct tl_stream stream;
    int64_t wrote_ms; /* last write of a stream */
    int fd;           /* of a stream */
    bool blocked;     /* a write waits for the client */
    bool close_after; /* this reply is the connection's last */
    bool lws_body;    /* libwebsockets expects a body of the request at work */
    bool answered;    /* the reply to the request at work was given on this thread, before it was handed on */
    bool quiet;       /* reading is switched off */
    enum tl_conn_state state;
    unsigned patience; /* sweeps that a write has waited: they count this server's own time, so that its standing still is nobody's fault */
    struct tl_conn *prev, *next; /* all connections */
    uint32_t slot, generation;
    struct tl_req *req;
    uint64_t body_got;
    int64_t body_began_ms, body_last_ms;
    uint64_t sent;       /* of the reply's body */
    int64_t deadline_ms; /* TL_C_LINGER */
    struct tl_ws *ws;
    struct tl_seen seen;
};

struct tl_http {
    struct tl_server *srv;
    struct lws_context *ctx;
    struct lws_vhost *vhost;
    struct tl_poll *poll;
    pthread_t thread;
    _Atomic bool stop, woken;
    lws_sorted_usec_list_t sul;
    int64_t now_ms; /* of the last turn, monotonic */

    struct tl_conn *conns;
    size_t nconns;
    struct tl_conn **slots;
    size_t nslots;
    uint32_t generation;

    struct tl_req *dispatching;   /* whose handler is being called right now */
    bool inline_reply;            /* and whether it has replied already */
    struct tl_stream *upgrade;    /* of a WebSocket whose handshake is being done right now */
    unsigned char *out;           /* LWS_PRE and TL_HTTP_OUT bytes */
    struct tl_stream_batch batches[2]; /* by form; shared by the followers that stand at the same place */
    int heartbeat_ms, laggard_ms;

    pthread_mutex_t lock; /* what other threads hand in */
    bool closed;          /* ctx is gone */
    struct tl_req *replied, *replied_last;
    struct tl_call *calls, *calls_last;
};

enum { TL_HTTP_OUT = TL_HTTP_SEND + 8 * 1024, TL_HTTP_SWEEP_MS = 250 };

/* http.c: what becomes of a reply. */
void tl_req_deliver(struct tl_req *req);

/* conn.c: each returns what the callback of libwebsockets must: 0, or -1 to close. */
struct tl_conn *tl_conn_of(struct tl_http *http, struct lws *wsi);
void tl_conn_gone(struct tl_conn *c);
int tl_conn_request(struct tl_conn *c);
int tl_conn_body(struct tl_conn *c, const char *bytes, size_t len);
int tl_conn_body_end(struct tl_conn *c);
int tl_conn_writeable(struct tl_conn *c);
void tl_conn_replied(struct tl_conn *c, struct tl_req *req); /* a reply has come from elsewhere */
void tl_conn_sweep(struct tl_conn *c, int64_t now_ms);
void tl_conn_kill(struct tl_conn *c); /* soon, from outside its own callbacks */
void tl_conn_want_write(struct tl_conn *c);
/* c follows takes' run from now on. */
int tl_conn_follow(struct tl_conn *c, enum tl_conn_state state, struct tl_stream *takes, void (*wake)(struct tl_follower *f, bool ended));
/* Sends what follows the cursor of c's stream straight to its socket, past libwebsockets: a system call per follower for all the events there are, and nothing kept
 * for one who does not read but the rest of a WebSocket frame. Where *ret, it must be called again from the next callback for writing. -1: the
 * connection is to be closed. */
int tl_conn_push(struct tl_conn *c, enum tl_stream_form form, bool *ret);
void tl_conn_quiet(struct tl_conn *c, bool quiet);

/* head.c: reads the head of the request on wsi. TL_EINVAL with a message for a head that HTTP does not allow; TL_ELENGTH. *ret is owned also
 * then, so that it can be answered; NULL on TL_ENOMEM. */
int tl_head_read(struct tl_conn *c, struct tl_req **ret, const char **ret_why, bool *ret_expect);
/* The head of the reply as text; *ret_len 0 where it did not fit. */
size_t tl_head_write(const struct tl_req *req, bool close_after, char *ret, size_t cap);

/* sse.c, ws.c */
int tl_sse_begin(struct tl_conn *c);
int tl_sse_writeable(struct tl_conn *c);
void tl_sse_sweep(struct tl_conn *c, int64_t now_ms);
int tl_ws_upgrade(struct tl_conn *c);
int tl_ws_begin(struct tl_conn *c);
int tl_ws_receive(struct tl_conn *c, const char *bytes, size_t len);
void tl_ws_pong(struct tl_conn *c);
int tl_ws_writeable(struct tl_conn *c);
void tl_ws_sweep(struct tl_conn *c, int64_t now_ms);
void tl_ws_free(struct tl_ws *ws);

#endif

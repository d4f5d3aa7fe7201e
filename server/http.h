/* The connection layer: HTTP/1.1 and WebSocket on libwebsockets, on one thread. It turns bytes into tl_req, gathers or streams bodies within
 * their limits, sends replies, and feeds streams of events. What libwebsockets 4.1.6 does wrong is cured here and nowhere else. */
#ifndef TL_SERVER_HTTP_H
#define TL_SERVER_HTTP_H

#include "server/state.h"

enum {
    TL_HTTP_HEAD_MAX = 16 * 1024,   /* bytes of a request's head; more, and the connection is closed */
    TL_HTTP_CONNECTIONS = 8192,     /* at once, where the process may open that many files */
    TL_HTTP_SEND = 64 * 1024,       /* bytes per write */
    TL_HTTP_LINGER_MS = 2000,       /* how long what a refused client still sends is read and dropped */
    TL_HTTP_BODY_IDLE_MS = 20000,   /* a body that does not come on */
    TL_HTTP_BODY_RATE = 1024,       /* bytes a second that a body must come at, after the first 30 s */
    TL_HTTP_BODY_MS = 300000,       /* a body that is held in memory until it is complete */
    TL_HTTP_KEEP_S = 60,            /* an idle connection */
    TL_HTTP_HEAD_S = 10,            /* a head that is not complete */
    TL_WS_MESSAGE = 1024,           /* bytes of a message from a client */
    TL_WS_FRAGMENTS = 16,           /* and its pieces */
    TL_WS_RATE = 20,                /* messages a second from a client */
};

int tl_http_new(struct tl_server *srv, struct tl_http **ret);
int tl_http_port(const struct tl_http *http);
/* Serves until tl_http_stop. */
int tl_http_run(struct tl_http *http);
void tl_http_stop(struct tl_http *http); /* any thread, and a signal handler */
/* Ends all connections. What other threads still hand in is taken by tl_http_drain and dropped. */
void tl_http_close(struct tl_http *http);
void tl_http_drain(struct tl_http *http);
void tl_http_free(struct tl_http *http); /* NULL accepted */
size_t tl_http_connections(const struct tl_http *http);

#endif

/* The server's inside, for the files of this folder. What is marked "service thread" is touched by that thread only and needs no lock. */
#ifndef TL_SERVER_STATE_H
#define TL_SERVER_STATE_H

#include "server/follow.h"
#include "server/req.h"
#include "server/route.h"
#include "server/server.h"

#include <pthread.h>
#include <stdatomic.h>

struct tl_http;     /* http.c: the connection layer */
struct tl_auth;     /* auth.c: verified tokens and sessions */
struct tl_idem;     /* idem.c: idempotency keys at work */
struct tl_run_text; /* runview.c: rendered records of ended runs */
struct tl_waiter;   /* wait.c: calls that wait for a run to end */

enum { TL_STATUS_SPAN = 600 };
enum tl_ended { TL_ENDED_DONE, TL_ENDED_FAILED, TL_ENDED_CANCELLED, TL_ENDED_KINDS };

struct tl_server {
    struct tl_server_conf conf;
    struct tl_http *http;
    struct tl_auth *auth;
    struct tl_idem *idem;
    struct tl_run_text *run_text;
    struct tl_follows *follows;
    struct tl_waiter *waiters; /* service thread: see wait.c */
    char *openapi;               /* made on the first request; service thread */
    uint32_t *counts;            /* service thread: answers by route index (the last: no route) and status */
    _Atomic uint64_t ended[TL_ENDED_KINDS]; /* runs ended since the start */
    _Atomic size_t body_bytes;              /* of bodies that are held in memory */
    _Atomic int requests;                   /* that live: someone may still answer them */
    int64_t began_ms;
    bool said_read_only; /* service thread: the log has it */
};

/* Service thread. */
static inline void tl_count(const struct tl_req *req, int status)
{
    req->srv->counts[req->route_index * TL_STATUS_SPAN + (size_t)(status > 0 && status < TL_STATUS_SPAN ? status : 0)]++;
}

/* The reply is on its way: it is counted and logged. Service thread. */
void tl_server_note(const struct tl_req *req, int status);

/* Everything of a server but the connection layer; for tests of handlers without sockets too. */
int tl_server_init(const struct tl_server_conf *conf, struct tl_server **ret);
void tl_server_release(struct tl_server *srv);

/* What happens to a request whose head is complete, before its body: route, method, who asks, role, admin mode, size of the body. 0, or the request
 * was answered and must not go on. */
int tl_server_admit(struct tl_req *req);
/* Calls the route's handler, here or on the pool. The body is complete. */
void tl_server_handle(struct tl_req *req);
/* Every quarter of a second: calls that have waited long enough. Service thread. */
void tl_server_sweep(struct tl_server *srv, int64_t now_ms);

/* Runs fn(arg) on the service thread, soon; any thread. TL_ENOMEM. */
int tl_http_call(struct tl_http *http, void (*fn)(void *arg), void *arg);
/* Makes the service thread look at its news; any thread. */
void tl_http_wake(struct tl_http *http);

#endif

#include "server/wait.h"

#include "base/clock.h"
#include "base/err.h"
#include "server/runview.h"

enum { SYNC_WAIT_MS = 30000 };

struct tl_waiter {
    struct tl_follower follower; /* first */
    struct tl_waiter *prev, *next;
    struct tl_req *req; /* owned reference */
    struct tl_id run;
    void (*reply)(struct tl_req *req, const struct tl_id *run, int pending);
    int64_t until_ms;
};

static void end(struct tl_waiter *w)
{
    struct tl_server *srv = w->req->srv;
    tl_follow_remove(srv->follows, &w->follower);
    if (w->prev)
        w->prev->next = w->next;
    else
        srv->waiters = w->next;
    if (w->next)
        w->next->prev = w->prev;
    tl_req_unref(w->req);
    free(w);
}

static void woken(struct tl_follower *f, bool ended)
{
    struct tl_waiter *w = (struct tl_waiter *)f;
    if (!ended)
        return;
    w->reply(w->req, &w->run, 202);
    end(w);
}

static void start(void *arg)
{
    struct tl_waiter *w = arg;
    struct tl_server *srv = w->req->srv;
    int64_t wait = srv->conf.sync_wait_ms > 0 ? srv->conf.sync_wait_ms : SYNC_WAIT_MS;
    w->until_ms = tl_mono_us() / 1000 + wait;
    w->follower.wake = woken;
    w->next = srv->waiters;
    if (w->next)
        w->next->prev = w;
    srv->waiters = w;
    if (tl_follow_add(srv->follows, &w->follower, &w->run) < 0) {
        tl_reply_err(w->req, TL_ENOMEM, NULL);
        end(w);
    } else if (tl_runview_ended(srv, &w->run)) {
        woken(&w->follower, true);
    }
}

void tl_wait_run(struct tl_req *req, const struct tl_id *run, void (*reply)(struct tl_req *req, const struct tl_id *run, int pending))
{
    struct tl_waiter *w = tl_calloc(1, sizeof(*w));
    if (w) {
        w->req = tl_req_ref(req);
        w->run = *run;
        w->reply = reply;
    }
    if (!w || tl_http_call(req->srv->http, start, w) < 0) {
        if (w)
            tl_req_unref(req);
        free(w);
        tl_reply_err(req, TL_ENOMEM, NULL);
    }
}

void tl_wait_sweep(struct tl_server *srv, int64_t now_ms)
{
    for (struct tl_waiter *w = srv->waiters, *next; w; w = next) {
        next = w->next;
        if (now_ms >= w->until_ms) {
            w->reply(w->req, &w->run, 202);
            end(w);
        }
    }
}

void tl_wait_clear(struct tl_server *srv)
{
    while (srv->waiters)
        end(srv->waiters);
}

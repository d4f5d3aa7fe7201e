/* Starting a run for a request, once: with an Idempotency-Key the same request has the same run, however often, at once or later, it is sent. A key
 * belongs to who sent it and is remembered for a day. */
#ifndef TL_SERVER_IDEM_H
#define TL_SERVER_IDEM_H

#include "server/state.h"

enum { TL_IDEM_KEY_MAX = 200, TL_IDEM_TTL_MS = 24 * 3600 * 1000 };

int tl_idem_new(struct tl_idem **ret);
void tl_idem_free(struct tl_idem *idem);

/* Whether the request's Idempotency-Key, if any, has a form that is taken: 1 to 200 printable ASCII characters. */
bool tl_idem_key_ok(const struct tl_req *req);

/* What is started; everything is shared or borrowed for the call only. */
struct tl_idem_run {
    const char *kind; /* static */
    json_t *doc;
    json_t *meta; /* changed: it gets a field for the key */
    struct tl_plan *plan;
    const char *graph; /* as in struct tl_run_req; a piece of the request's body, or copied */
    size_t graph_len;
    int priority; /* as in struct tl_run_req */
    struct tl_budget budget;
    const char *refusal; /* why a new run must not start (TL_EBUDGET): one that the key has already is answered all the same. NULL: it may */
};
/* Starts the run and calls reply(req, run) when it exists, or when it existed already; on another thread. Errors are answered, TL_ECONFLICT where the key
 * was used for another request. Pool thread. */
void tl_idem_start_run(struct tl_req *req, const struct tl_idem_run *run, void (*reply)(struct tl_req *req, const struct tl_id *run));

#endif

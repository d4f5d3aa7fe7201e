#include "graph/retain.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_MAX = 2000 /* records in one piece */ };

/* One run to be pruned: what its journal becomes. */
struct cut {
    struct tl_id id;
    uint64_t last;        /* seq of its terminal event */
    char *reset, *record; /* the event for last - 1, and the new record */
};

struct piece {
    struct tl_db *db;
    int64_t before_ms;
    char before[TL_TIME_TEXT];
    struct tl_id after, settled; /* looked at so far; the runs up to here need never be looked at again */
    bool all_settled;
    size_t looked;
    struct cut cuts[TL_RETAIN_PIECE];
    size_t n;
    bool more;
};

static void clear_piece(struct piece *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->cuts[i].reset);
        free(p->cuts[i].record);
    }
    p->n = 0;
}

/* A run is cut once; one of two events has nothing to be cut. */
static bool is_settled(const json_t *record)
{
    return json_object_get(record, "pruned_before") ||
           (json_object_get(record, "ended_at") && tl_json_int(record, "last_seq", 0) <= 2);
}

static bool is_due(const struct piece *p, const json_t *record)
{
    const char *ended = tl_json_str(record, "ended_at");
    return ended && strcmp(ended, p->before) < 0 && !is_settled(record);
}

static int look_at(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct piece *p = arg;
    TL_AUTO_JSON json_t *record = NULL;
    struct tl_id id;
    if (key.len != TL_ID_LEN)
        return TL_ECORRUPT;
    memcpy(id.b, key.data, TL_ID_LEN);
    if (memcmp(id.b, p->after.b, TL_ID_LEN) <= 0)
        return 0;
    /* Ids are in the order in which runs were made: none behind this one ended before. */
    if (tl_id_ms(&id) >= p->before_ms)
        return 1;
    if (p->n == TL_RETAIN_PIECE || p->looked++ == LOOK_MAX) {
        p->more = true;
        return 1;
    }
    p->after = id;
    bool read = tl_json_parse(value.data, value.len, &record, NULL) == 0;
    if (p->all_settled && (!read || is_settled(record)))
        p->settled = id;
    else
        p->all_settled = false;
    if (read && is_due(p, record))
        p->cuts[p->n++] = (struct cut){.id = id, .last = (uint64_t)tl_json_int(record, "last_seq", 0)};
    return 0;
}

static int find_due(struct tl_txn *txn, void *arg)
{
    struct piece *p = arg;
    return tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_RUN, .from = p->after.b, .from_len = TL_ID_LEN}, look_at,
                       p);
}

static json_t *count_nodes(const json_t *nodes)
{
    const char *id;
    json_t *n, *counts = json_object();
    json_object_foreach((json_t *)(uintptr_t)nodes, id, n) {
        const char *status = tl_json_str(n, "status");
        if (status)
            json_object_set_new(counts, status, json_integer((json_int_t)tl_json_int(counts, status, 0) + 1));
    }
    return counts;
}

static json_t *reset_payload(const json_t *run)
{
    json_t *nodes = json_object_get(run, "nodes");
    json_t *payload = json_pack("{s:s,s:s,s:f}", "reason", "retention", "status", tl_json_str(run, "status"),
                                "progress", tl_json_num(run, "progress", 0));
    if (json_dumpb(nodes, NULL, 0, JSON_COMPACT) <= TL_RETAIN_NODES_BYTES)
        json_object_set(payload, "nodes", nodes);
    else
        json_object_set_new(payload, "node_counts", count_nodes(nodes));
    return payload;
}

static int read_time(void *arg, uint64_t seq, const char *json, size_t len)
{
    TL_AUTO_JSON json_t *e = NULL;
    (void)seq;
    int err = tl_json_parse(json, len, &e, NULL);
    const char *ts = err ? NULL : tl_json_str(e, "ts");
    if (!ts || strlen(ts) >= TL_TIME_TEXT)
        return err == TL_ENOMEM ? err : TL_ECORRUPT;
    memcpy(arg, ts, strlen(ts) + 1);
    return 1;
}

/* It has the time of the event whose place it takes: times in a journal never go back. */
static char *reset_text(const struct cut *c, json_t *payload, const char *ts)
{
    char run[TL_ID_TEXT], id[TL_ID_TEXT + 24];
    tl_id_text(&c->id, run);
    snprintf(id, sizeof(id), "%s:%llu", run, (unsigned long long)c->last - 1);
    TL_AUTO_JSON json_t *e = json_pack("{s:s,s:s,s:s,s:I,s:s,s:o}", "event_id", id, "run_id", run, "type", "run.reset",
                                       "seq", (json_int_t)(c->last - 1), "ts", ts, "payload", payload);
    return e ? tl_json_text(e) : NULL;
}

/* What the run's journal and record become. */
static int prepare(const struct piece *p, struct cut *c)
{
    TL_AUTO_JSON json_t *run = NULL;
    char ts[TL_TIME_TEXT] = "";
    int err = tl_run_read(p->db, &c->id, &run);
    if (!err)
        err = tl_events_read(p->db, &c->id, c->last - 2, read_time, ts);
    if (err < 0 || !*ts)
        return err < 0 ? err : TL_ECORRUPT;
    json_t *payload = reset_payload(run);
    c->reset = payload ? reset_text(c, payload, ts) : NULL;
    json_object_del(run, "nodes");
    json_object_del(run, "result");
    json_object_set_new(run, "pruned_before", json_integer((json_int_t)(c->last - 1)));
    c->record = tl_json_text(run);
    return c->reset && c->record ? 0 : TL_ENOMEM;
}

static int cut_one(struct tl_txn *txn, const struct cut *c)
{
    uint8_t k[TL_ID_LEN + 8];
    int err = 0;
    memcpy(k, c->id.b, TL_ID_LEN);
    for (uint64_t seq = 1; !err && seq + 1 < c->last; seq++) {
        tl_key_u64(k + TL_ID_LEN, seq);
        err = tl_txn_del(txn, TL_TBL_EVENT, k, sizeof(k));
        err = err == TL_ENOTFOUND ? 0 : err;
    }
    tl_key_u64(k + TL_ID_LEN, c->last - 1);
    if (!err)
        err = tl_txn_put(txn, TL_TBL_EVENT, k, sizeof(k), c->reset, strlen(c->reset));
    return err ? err : tl_txn_put(txn, TL_TBL_RUN, c->id.b, TL_ID_LEN, c->record, strlen(c->record));
}

static int cut_all(struct tl_txn *txn, void *arg)
{
    const struct piece *p = arg;
    int err = 0;
    for (size_t i = 0; !err && i < p->n; i++)
        err = cut_one(txn, &p->cuts[i]);
    return err;
}

static int prepare_piece(struct piece *p)
{
    tl_time_text(p->before_ms, p->before);
    int err = tl_db_read(p->db, find_due, p);
    err = err > 0 ? 0 : err;
    size_t kept = 0;
    for (size_t i = 0; !err && i < p->n; i++) {
        struct cut c = p->cuts[i];
        int bad = prepare(p, &c);
        if (bad == TL_ENOMEM)
            err = bad;
        if (bad) { /* one that cannot be read stays as it is: talos check tells of it */
            free(c.reset);
            free(c.record);
            p->cuts[i] = (struct cut){0};
        } else {
            p->cuts[i] = (struct cut){0};
            p->cuts[kept++] = c;
        }
    }
    p->n = err ? p->n : kept;
    return err;
}

int tl_retain_prune(struct tl_db *db, int64_t before_ms, struct tl_id *after, size_t *ret_pruned, bool *ret_more)
{
    struct piece p = {.db = db, .before_ms = before_ms, .after = *after};
    int err = prepare_piece(&p);
    if (!err && p.n)
        err = tl_db_update(db, cut_all, &p);
    *ret_pruned = err ? 0 : p.n;
    *ret_more = p.more;
    if (!err)
        *after = p.after;
    clear_piece(&p);
    return err;
}

/* ---- from time to time ---- */

struct tl_retain {
    struct tl_exec *exec;
    int64_t keep_ms;
    struct tl_timer timer;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    bool busy, armed, closing;
    struct piece piece;
};

static void work(void *arg);

/* r->lock held. */
static void arm(struct tl_retain *r)
{
    r->timer.due_us = tl_exec_mono_us(r->exec) + (int64_t)TL_RETAIN_EVERY_MS * 1000;
    r->armed = !r->closing && tl_timers_arm(r->exec->timers, &r->timer) == 0;
}

static void rest(struct tl_retain *r, bool more)
{
    pthread_mutex_lock(&r->lock);
    bool again = more && !r->closing && tl_exec_post(r->exec, work, r) == 0;
    if (!again) {
        r->busy = false;
        arm(r);
        pthread_cond_broadcast(&r->idle);
    }
    pthread_mutex_unlock(&r->lock);
}

static void committed(void *arg, int err)
{
    struct tl_retain *r = (struct tl_retain *)((char *)arg - offsetof(struct tl_retain, piece));
    bool more = r->piece.more && !err;
    clear_piece(&r->piece);
    rest(r, more);
}

static void work(void *arg)
{
    struct tl_retain *r = arg;
    struct piece *p = &r->piece;
    int64_t now = tl_exec_wall_ms(r->exec);
    bool first = !p->more;
    *p = (struct piece){.db = r->exec->conf.db,
                        .before_ms = now - r->keep_ms,
                        .after = first ? p->settled : p->after,
                        .settled = p->settled,
                        .all_settled = first || p->all_settled};
    int err = prepare_piece(p);
    if (!err && p->n && tl_db_submit(p->db, cut_all, p, committed) == 0)
        return;
    clear_piece(p);
    rest(r, p->more && !err);
}

static void wake(struct tl_timer *timer)
{
    struct tl_retain *r = (struct tl_retain *)((char *)timer - offsetof(struct tl_retain, timer));
    pthread_mutex_lock(&r->lock);
    r->armed = false;
    r->busy = !r->closing && tl_exec_post(r->exec, work, r) == 0;
    if (!r->busy)
        arm(r);
    pthread_cond_broadcast(&r->idle);
    pthread_mutex_unlock(&r->lock);
}

int tl_retain_new(struct tl_exec *exec, int64_t keep_ms, struct tl_retain **ret)
{
    *ret = NULL;
    if (!keep_ms || !exec->conf.db)
        return 0;
    struct tl_retain *r = tl_calloc(1, sizeof(*r));
    if (!r)
        return TL_ENOMEM;
    r->exec = exec;
    r->keep_ms = keep_ms;
    r->timer.fn = wake;
    r->timer.due_us = tl_exec_mono_us(exec);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->idle, NULL);
    r->armed = true;
    int err = tl_timers_arm(exec->timers, &r->timer);
    if (err)
        free(r);
    else
        *ret = r;
    return err;
}

void tl_retain_free(struct tl_retain *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    if (tl_timers_cancel(r->exec->timers, &r->timer))
        r->armed = false;
    while (r->busy || r->armed)
        pthread_cond_wait(&r->idle, &r->lock);
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->idle);
    free(r);
}

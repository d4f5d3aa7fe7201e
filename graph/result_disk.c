/* The tables of results. TL_TBL_RESULT_AGE holds lists of keys by when they were used last; a key that was used again stands in a newer list too, and counts where its record
 * has that list's stamp. So a use costs 32 bytes at the end of the newest list, and no search. TL_TBL_META has, under "results", the bytes of both tables (keys and
 * values) and the last stamp given. */
#include "graph/result_priv.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "graph/run.h"

#include <stdatomic.h>
#include <string.h>

enum {
    HASH = 32,
    LIST_KEYS = 124,    /* in one list: with its head it fills a page of the store */
    EVICT_KEYS = 4096,  /* looked at in one commit, besides as many as it puts; and in one transaction of trimming */
    REMOVE_STEPS = 512, /* of an ended run, in one go */
    REMOVE_GOES = 8,    /* in the commit that ends it */
    DEAD_RUNS = 1024,   /* found at one start */
    META_LEN = 16,
};
static const char meta_key[] = "results";

size_t tl_result_db_key(uint8_t *k, const char *org, const uint8_t key[32])
{
    size_t n = strlen(org) + 1;
    memcpy(k, org, n);
    memcpy(k + n, key, HASH);
    return n + HASH;
}

size_t tl_step_db_key(uint8_t *k, const struct tl_id *run, const uint8_t step[32])
{
    memcpy(k, run->b, TL_ID_LEN);
    memcpy(k + TL_ID_LEN, step, HASH);
    return TL_ID_LEN + HASH;
}

uint64_t tl_results_now(const struct tl_results *r)
{
    const struct tl_exec_env *env = &r->conf->env;
    int64_t now = env->wall_ms ? env->wall_ms(env->arg) : tl_now_ms();
    return now > 0 ? (uint64_t)now : 0;
}

/* A commit at work: the count of bytes, its stamp, and the list of keys that it begins. */
struct work {
    struct tl_txn *txn;
    const struct tl_result_commit *c;
    uint64_t bytes, stamp;
    uint8_t list[LIST_KEYS * HASH], last[HASH];
    size_t nlist, nput;
    bool any;
};

/* Goes on removing where a commit, or a smaller bound, left too much: by transactions of its own, one after the other. Lives until the last of them has come back. */
struct tl_bound {
    struct tl_db *db;
    uint64_t max;
    atomic_int refs;
    atomic_bool over; /* as the last transaction left it */
    atomic_bool at_work, closed;
};

static int get_meta(struct tl_txn *txn, uint64_t *ret_bytes, uint64_t *ret_stamp)
{
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_META, meta_key, sizeof(meta_key) - 1, &v);
    if (!err && v.len != META_LEN)
        err = TL_ENOTFOUND;
    *ret_bytes = err ? 0 : tl_key_u64_read(v.data);
    *ret_stamp = err ? 0 : tl_key_u64_read((const uint8_t *)v.data + 8);
    return err;
}

static int put_meta(struct tl_txn *txn, uint64_t bytes, uint64_t stamp)
{
    uint8_t v[META_LEN];
    tl_key_u64(v, bytes);
    tl_key_u64(v + 8, stamp);
    return tl_txn_put(txn, TL_TBL_META, meta_key, sizeof(meta_key) - 1, v, sizeof(v));
}

static int end_list(struct work *w)
{
    uint8_t k[8 + TL_ORG_MAX + HASH];
    if (!w->nlist)
        return 0;
    tl_key_u64(k, w->stamp);
    size_t klen = 8 + tl_result_db_key(k + 8, w->c->org, w->list), vlen = w->nlist * HASH;
    w->nlist = 0;
    w->bytes += klen + vlen;
    return tl_txn_put(w->txn, TL_TBL_RESULT_AGE, k, klen, w->list, vlen);
}

static int note_use(struct work *w, const uint8_t key[32])
{
    memcpy(w->list + HASH * w->nlist++, key, HASH);
    memcpy(w->last, key, HASH);
    w->any = true;
    w->nput++;
    return w->nlist == LIST_KEYS ? end_list(w) : 0;
}

static int put_result(struct work *w, struct tl_kept *k)
{
    uint8_t key[TL_ORG_MAX + HASH];
    size_t klen = tl_result_db_key(key, w->c->org, k->key);
    tl_key_u64(k->bytes + TL_RECORD_STAMP, w->stamp);
    int err = tl_txn_add(w->txn, TL_TBL_RESULT, key, klen, k->bytes, k->len);
    if (err == TL_ECONFLICT) {
        struct tl_bytes old;
        err = tl_txn_get(w->txn, TL_TBL_RESULT, key, klen, &old);
        if (!err)
            w->bytes -= klen + old.len;
        if (!err)
            err = tl_txn_put(w->txn, TL_TBL_RESULT, key, klen, k->bytes, k->len);
    }
    if (err)
        return err;
    w->bytes += klen + k->len;
    return note_use(w, k->key);
}

static int renew(struct work *w, const uint8_t key[32])
{
    uint8_t k[TL_ORG_MAX + HASH];
    size_t klen = tl_result_db_key(k, w->c->org, key);
    struct tl_bytes v;
    int err = tl_txn_get(w->txn, TL_TBL_RESULT, k, klen, &v);
    if (err || v.len < TL_RECORD_STAMP + 8)
        return err == TL_ENOTFOUND ? 0 : err; /* it went meanwhile */
    TL_AUTO_FREE uint8_t *copy = malloc(v.len);
    if (!copy)
        return TL_ENOMEM;
    memcpy(copy, v.data, v.len);
    if (tl_key_u64_read(copy + TL_RECORD_STAMP) >= w->stamp)
        return 0;
    tl_key_u64(copy + TL_RECORD_STAMP, w->stamp);
    err = tl_txn_put(w->txn, TL_TBL_RESULT, k, klen, copy, v.len);
    return err ? err : note_use(w, key);
}

static int put_step(struct work *w, const struct tl_kept *k)
{
    uint8_t key[TL_ID_LEN + HASH];
    return tl_txn_put(w->txn, TL_TBL_STEP, key, tl_step_db_key(key, w->c->run, k->key), k->bytes, k->len);
}

/* The oldest list. */
struct oldest {
    uint8_t key[8 + TL_ORG_MAX + HASH], keys[LIST_KEYS * HASH];
    size_t klen, n;
};

static int take_oldest(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct oldest *o = arg;
    if (key.len <= 8 + 1 + HASH || key.len > sizeof(o->key) || value.len > sizeof(o->keys) || value.len % HASH)
        return TL_ECORRUPT;
    memcpy(o->key, key.data, key.len);
    memcpy(o->keys, value.data, value.len);
    o->klen = key.len;
    o->n = value.len / HASH;
    return 1;
}

/* Removes what the oldest list names, from its first key on, until there is room; a list that is used up goes itself. 1 where there is none. */
static int evict_list(struct work *w, uint64_t max, size_t *looked)
{
    struct oldest o;
    int err = tl_txn_scan(w->txn, &(struct tl_scan){.table = TL_TBL_RESULT_AGE}, take_oldest, &o);
    if (err <= 0)
        return err ? err : 1;
    uint64_t stamp = tl_key_u64_read(o.key);
    size_t i = 0;
    *looked += 1 + o.n;
    for (err = 0; !err && i < o.n && w->bytes > max; i++, w->bytes -= HASH) {
        uint8_t k[TL_ORG_MAX + HASH];
        size_t klen = o.klen - 8;
        struct tl_bytes v;
        memcpy(k, o.key + 8, klen - HASH);
        memcpy(k + klen - HASH, o.keys + HASH * i, HASH);
        err = tl_txn_get(w->txn, TL_TBL_RESULT, k, klen, &v);
        bool current =
            !err && v.len >= TL_RECORD_STAMP + 8 && tl_key_u64_read((const uint8_t *)v.data + TL_RECORD_STAMP) == stamp;
        if (current) {
            w->bytes -= klen + v.len;
            err = tl_txn_del(w->txn, TL_TBL_RESULT, k, klen);
        }
        err = err == TL_ENOTFOUND ? 0 : err;
    }
    if (err)
        return err;
    if (i < o.n)
        return tl_txn_put(w->txn, TL_TBL_RESULT_AGE, o.key, o.klen, o.keys + HASH * i, HASH * (o.n - i));
    w->bytes -= o.klen;
    return tl_txn_del(w->txn, TL_TBL_RESULT_AGE, o.key, o.klen);
}

/* From the oldest lists on, until there is room or enough has been looked at. */
static int make_room(struct work *w, struct tl_bound *bound, size_t keys)
{
    int err = 0;
    for (size_t looked = 0; !err && looked < keys && w->bytes > bound->max;)
        err = evict_list(w, bound->max, &looked);
    if (err > 0)
        w->bytes = 0; /* nothing is left, whatever was counted */
    if (err >= 0)
        atomic_store(&bound->over, w->bytes > bound->max);
    return err > 0 ? 0 : err;
}

/* Two nodes of a run may have made the same at once. */
static int put_one(struct work *w, struct tl_kept *k)
{
    if (k->kind == TL_KEPT_STEP)
        return put_step(w, k);
    if (w->any && memcmp(w->last, k->key, HASH) == 0)
        return 0;
    return k->kind == TL_KEPT_USE ? renew(w, k->key) : put_result(w, k);
}

static int put_all(struct work *w)
{
    int err = 0;
    for (struct tl_kept *k = w->c->kept; !err && k; k = k->next)
        err = put_one(w, k);
    if (!err)
        err = end_list(w);
    return err ? err : make_room(w, w->c->results->bound, EVICT_KEYS + w->nput);
}

/* Up to REMOVE_STEPS keys of an ended run. */
struct steps {
    uint8_t keys[REMOVE_STEPS][TL_ID_LEN + HASH];
    size_t n;
};

static int collect_step(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct steps *s = arg;
    (void)value;
    if (key.len != sizeof(s->keys[0]))
        return TL_ECORRUPT;
    memcpy(s->keys[s->n++], key.data, key.len);
    return s->n == REMOVE_STEPS;
}

/* 1 where there may be more. */
static int remove_steps(struct tl_txn *txn, const struct tl_id *run)
{
    TL_AUTO_FREE struct steps *s = tl_calloc(1, sizeof(*s));
    if (!s)
        return TL_ENOMEM;
    int err = tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_STEP, .prefix = run->b, .prefix_len = TL_ID_LEN},
                          collect_step, s);
    bool more = err == 1;
    err = err > 0 ? 0 : err;
    for (size_t i = 0; !err && i < s->n; i++)
        err = tl_txn_del(txn, TL_TBL_STEP, s->keys[i], sizeof(s->keys[i]));
    return err ? err : more;
}

int tl_result_commit(struct tl_txn *txn, const struct tl_result_commit *c)
{
    if (!c->results)
        return 0;
    int err = 0;
    uint64_t bytes, last;
    if (c->kept) {
        get_meta(txn, &bytes, &last);
        uint64_t now = tl_results_now(c->results);
        struct work w = {.txn = txn, .c = c, .bytes = bytes, .stamp = now > last ? now : last + 1};
        err = put_all(&w);
        if (!err)
            err = put_meta(txn, w.bytes, w.stamp);
    }
    for (int i = 0, more = 1; !err && more && c->end && i < REMOVE_GOES; i++) {
        more = remove_steps(txn, c->run);
        err = more < 0 ? more : 0;
    }
    return err;
}

/* ---- trimming ---- */

static void release(struct tl_bound *b)
{
    if (b && atomic_fetch_sub(&b->refs, 1) == 1)
        free(b);
}

void tl_results_close(struct tl_results *r)
{
    if (r->bound)
        atomic_store(&r->bound->closed, true);
    release(r->bound);
}

static int trim(struct tl_txn *txn, void *arg)
{
    uint64_t bytes, last;
    int err = get_meta(txn, &bytes, &last);
    struct work w = {.txn = txn, .bytes = bytes};
    if (!err)
        err = make_room(&w, arg, EVICT_KEYS);
    return err ? err : put_meta(txn, w.bytes, last);
}

static void trim_more(struct tl_bound *b);

static void trimmed(void *arg, int err)
{
    struct tl_bound *b = arg;
    atomic_store(&b->at_work, false);
    if (!err)
        trim_more(b); /* else with the next commit, or at the next start */
    release(b);
}

static void trim_more(struct tl_bound *b)
{
    if (!atomic_load(&b->over) || atomic_load(&b->closed) || atomic_exchange(&b->at_work, true))
        return;
    atomic_fetch_add(&b->refs, 1);
    if (tl_db_submit(b->db, trim, b, trimmed) < 0) {
        atomic_store(&b->at_work, false);
        release(b);
    }
}

void tl_results_committed(const struct tl_results *r, const struct tl_kept *list)
{
    if (r && list)
        trim_more(r->bound);
    for (; r && list; list = list->next)
        if (list->kind == TL_KEPT_RESULT)
            tl_hot_on_disk(r->hot, list->key);
}

/* What is left of an ended run's steps, removed in transactions of their own. */
struct leftover {
    struct tl_db *db;
    struct tl_id run;
    bool more;
};

static int remove_leftover(struct tl_txn *txn, void *arg)
{
    struct leftover *l = arg;
    int more = remove_steps(txn, &l->run);
    l->more = more > 0;
    return more < 0 ? more : 0;
}

static void leftover_removed(void *arg, int err)
{
    struct leftover *l = arg;
    if (err || !l->more || tl_db_submit(l->db, remove_leftover, l, leftover_removed) < 0)
        free(l); /* what is left then goes at the next start */
}

static int any_step(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)arg, (void)key, (void)value;
    return 1;
}

static int has_steps(struct tl_txn *txn, void *arg)
{
    const struct tl_id *run = arg;
    return tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_STEP, .prefix = run->b, .prefix_len = TL_ID_LEN},
                       any_step, NULL);
}

void tl_results_ended(const struct tl_results *r, const struct tl_id *run)
{
    struct tl_id id = *run;
    if (!r || tl_db_read(r->db, has_steps, &id) != 1)
        return;
    struct leftover *l = tl_calloc(1, sizeof(*l));
    if (l)
        *l = (struct leftover){.db = r->db, .run = id};
    if (l && tl_db_submit(r->db, remove_leftover, l, leftover_removed) < 0)
        free(l);
}

/* Runs that have steps and are not under way: the server ended between their end and the last removal. */
struct dead {
    struct tl_txn *txn;
    struct tl_id ids[DEAD_RUNS], at;
    size_t n;
};

static int first_step(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct dead *d = arg;
    (void)value;
    if (key.len != TL_ID_LEN + HASH)
        return TL_ECORRUPT;
    memcpy(d->at.b, key.data, TL_ID_LEN);
    return 1;
}

static int find_dead(struct tl_txn *txn, void *arg)
{
    struct dead *d = arg;
    uint8_t from[TL_ID_LEN + HASH + 1];
    size_t len = 0;
    int err = 1;
    while (err == 1 && d->n < DEAD_RUNS) {
        struct tl_bytes v;
        err = tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_STEP, .from = len ? from : NULL, .from_len = len},
                          first_step, d);
        if (err == 1 && tl_txn_get(txn, TL_TBL_RUN_LIVE, d->at.b, TL_ID_LEN, &v) == TL_ENOTFOUND)
            d->ids[d->n++] = d->at;
        memcpy(from, d->at.b, TL_ID_LEN);
        memset(from + TL_ID_LEN, 0xff, HASH + 1);
        len = sizeof(from);
    }
    return err < 0 ? err : 0;
}

static int first_key(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct oldest *o = arg;
    (void)value;
    if (key.len > sizeof(o->key))
        return TL_ECORRUPT;
    memcpy(o->key, key.data, key.len);
    o->klen = key.len;
    return 1;
}

/* Records that no count knows of were made by an earlier format. */
static int remove_unknown(struct tl_txn *txn, void *arg)
{
    static const enum tl_table tables[] = {TL_TBL_RESULT, TL_TBL_RESULT_AGE};
    uint64_t bytes, stamp;
    (void)arg;
    if (get_meta(txn, &bytes, &stamp) == 0)
        return 0;
    for (size_t t = 0; t < TL_ARRAY_LEN(tables); t++) {
        struct oldest o;
        int err;
        while ((err = tl_txn_scan(txn, &(struct tl_scan){.table = tables[t]}, first_key, &o)) == 1)
            if ((err = tl_txn_del(txn, tables[t], o.key, o.klen)) < 0)
                break;
        if (err < 0)
            return err;
    }
    return put_meta(txn, 0, 0);
}

static int known(struct tl_txn *txn, void *arg)
{
    struct tl_bound *b = arg;
    uint64_t bytes, stamp;
    int err = get_meta(txn, &bytes, &stamp);
    atomic_store(&b->over, bytes > b->max);
    return err;
}

int tl_results_prepare(struct tl_results *r)
{
    struct tl_bound *b = r->bound = tl_calloc(1, sizeof(*b));
    if (!b)
        return TL_ENOMEM;
    b->db = r->db;
    b->max = r->cache_max;
    atomic_init(&b->refs, 1);
    int err = tl_db_read(r->db, known, b);
    if (!err)
        trim_more(b);
    if (err == TL_ENOTFOUND)
        err = tl_db_update(r->db, remove_unknown, NULL);
    TL_AUTO_FREE struct dead *d = err ? NULL : tl_calloc(1, sizeof(*d));
    if (!d)
        return err ? err : TL_ENOMEM;
    err = tl_db_read(r->db, find_dead, d);
    for (size_t i = 0; !err && i < d->n; i++)
        tl_results_ended(r, &d->ids[i]);
    return err;
}

#include "tests/sim/fakedb.h"

#include "base/err.h"
#include "base/mem.h"

#include <string.h>

enum { KEY_MAX = 511, LEVELS = 14, QUEUE_MAX = 100000 };

/* A table is a skip list; the heights come from a counter of its own, so that nothing depends on chance or on addresses. */
struct entry {
    uint8_t *key;
    size_t len;
    uint8_t *value;
    size_t value_len;
    struct entry *next[];
};

struct table {
    struct entry *head[LEVELS];
    uint64_t count;
    uint32_t tosses;
};

struct undo {
    enum tl_table table;
    uint8_t key[KEY_MAX];
    size_t len;
    uint8_t *old; /* owned; NULL: the key was not there */
    size_t old_len;
};

struct write {
    struct write *next;
    tl_db_fn fn;
    void *arg;
    void (*done)(void *arg, int err);
    int ret;
};

struct tl_db {
    struct table tables[TL_TABLE_COUNT];
    struct write *head, **tail;
    size_t pending;
    unsigned flags;
    int failed;
    bool in_write, telling;
    uint64_t commits, writes;
};

struct tl_txn {
    struct tl_db *db;
    bool writable;
    struct undo *undo;
    size_t nundo, cap;
};

static int compare(const void *a, size_t alen, const void *b, size_t blen)
{
    size_t n = alen < blen ? alen : blen;
    int c = n ? memcmp(a, b, n) : 0;
    return c ? c : (alen > blen) - (alen < blen);
}

/* The last entry < key at each level, as the address of its links; the entry at or after it is *links[0]. */
static void search(struct table *t, const void *key, size_t len, struct entry **links[LEVELS],
                   struct entry **ret_before)
{
    struct entry **row = t->head, *before = NULL;
    for (int l = LEVELS - 1; l >= 0; l--) {
        while (row[l] && compare(row[l]->key, row[l]->len, key, len) < 0) {
            before = row[l];
            row = row[l]->next;
        }
        if (links)
            links[l] = &row[l];
    }
    if (ret_before)
        *ret_before = before;
}

static struct entry *at_or_after(struct table *t, const void *key, size_t len)
{
    struct entry **links[LEVELS];
    search(t, key, len, links, NULL);
    return *links[0];
}

static struct entry *find(struct table *t, const void *key, size_t len)
{
    struct entry *e = at_or_after(t, key, len);
    return e && compare(e->key, e->len, key, len) == 0 ? e : NULL;
}

static struct entry *last_of(struct table *t)
{
    struct entry **row = t->head, *e = NULL;
    for (int l = LEVELS - 1; l >= 0; l--)
        while (row[l]) {
            e = row[l];
            row = e->next;
        }
    return e;
}

static uint8_t *copy_bytes(const void *bytes, size_t len)
{
    uint8_t *p = malloc(len ? len : 1);
    if (!p)
        abort();
    if (len)
        memcpy(p, bytes, len);
    return p;
}

static void set(struct table *t, const void *key, size_t len, const void *value, size_t value_len)
{
    uint8_t *v = copy_bytes(value, value_len);
    struct entry *e = find(t, key, len);
    if (e) {
        free(e->value);
        e->value = v;
        e->value_len = value_len;
        return;
    }
    int height = 1;
    for (uint32_t toss = ++t->tosses * 2654435761u; height < LEVELS && (toss & 1u << (31 - height)); height++) {
    }
    struct entry **links[LEVELS];
    search(t, key, len, links, NULL);
    e = calloc(1, sizeof(*e) + LEVELS * sizeof(e->next[0]));
    if (!e)
        abort();
    *e = (struct entry){.key = copy_bytes(key, len), .len = len, .value = v, .value_len = value_len};
    for (int l = 0; l < height; l++) {
        e->next[l] = *links[l];
        *links[l] = e;
    }
    t->count++;
}

static void unset(struct table *t, const void *key, size_t len)
{
    struct entry **links[LEVELS], *e;
    search(t, key, len, links, NULL);
    e = *links[0];
    if (!e || compare(e->key, e->len, key, len) != 0)
        return;
    for (int l = 0; l < LEVELS; l++)
        if (*links[l] == e)
            *links[l] = e->next[l];
    free(e->key);
    free(e->value);
    free(e);
    t->count--;
}

int tl_db_open(const char *dir, unsigned flags, struct tl_db **ret)
{
    (void)dir;
    struct tl_db *db = tl_calloc(1, sizeof(*db));
    if (!(*ret = db))
        return TL_ENOMEM;
    db->flags = flags;
    db->tail = &db->head;
    return 0;
}

void tl_db_close(struct tl_db *db)
{
    if (!db)
        return;
    while (db->pending)
        fake_commit(db, db->pending, false);
    for (int t = 0; t < TL_TABLE_COUNT; t++)
        while (db->tables[t].head[0])
            unset(&db->tables[t], db->tables[t].head[0]->key, db->tables[t].head[0]->len);
    free(db);
}

int tl_db_read(struct tl_db *db, tl_db_fn fn, void *arg)
{
    struct tl_txn txn = {.db = db};
    return fn(&txn, arg);
}

static void remember(struct tl_txn *txn, enum tl_table table, const void *key, size_t len)
{
    if (tl_grow(&txn->undo, &txn->cap, txn->nundo + 1, sizeof(*txn->undo)) < 0)
        abort();
    struct undo *u = &txn->undo[txn->nundo++];
    struct entry *e = find(&txn->db->tables[table], key, len);
    *u = (struct undo){.table = table, .len = len, .old_len = e ? e->value_len : 0};
    memcpy(u->key, key, len);
    u->old = e ? copy_bytes(e->value, e->value_len) : NULL;
}

static void end_txn(struct tl_txn *txn, bool undo)
{
    while (txn->nundo) {
        struct undo *u = &txn->undo[--txn->nundo];
        struct table *t = &txn->db->tables[u->table];
        if (undo && u->old)
            set(t, u->key, u->len, u->old, u->old_len);
        else if (undo)
            unset(t, u->key, u->len);
        free(u->old);
    }
    free(txn->undo);
    *txn = (struct tl_txn){.db = txn->db, .writable = txn->writable};
}

static int run_write(struct tl_db *db, tl_db_fn fn, void *arg, bool twice)
{
    struct tl_txn txn = {.db = db, .writable = true};
    db->in_write = true;
    int ret = fn(&txn, arg);
    if (twice) {
        end_txn(&txn, true);
        ret = fn(&txn, arg);
    }
    db->in_write = false;
    end_txn(&txn, ret < 0);
    return ret;
}

static struct write *take(struct tl_db *db)
{
    struct write *w = db->head;
    if (!(db->head = w->next))
        db->tail = &db->head;
    db->pending--;
    return w;
}

size_t fake_pending(const struct tl_db *db)
{
    return db->pending;
}

size_t fake_commit(struct tl_db *db, size_t n, bool twice)
{
    size_t told = 0;
    struct write *batch = NULL, **end = &batch;
    for (; n && db->pending; n--) {
        struct write *w = take(db);
        w->ret = db->failed ? db->failed : run_write(db, w->fn, w->arg, twice);
        w->next = NULL;
        *end = w;
        end = &w->next;
    }
    if (batch && !db->failed)
        db->commits++;
    while (batch) {
        struct write w = *batch;
        free(batch);
        batch = w.next;
        db->writes++;
        told++;
        db->telling = true;
        if (w.done)
            w.done(w.arg, w.ret);
        db->telling = false;
    }
    return told;
}

void fake_crash(struct tl_db *db, size_t n)
{
    for (struct write *w = db->head; w && n; w = w->next, n--)
        run_write(db, w->fn, w->arg, false);
    db->failed = TL_EIO;
    while (db->pending) /* whoever is told may try to write again, which fails at once */
        fake_commit(db, db->pending, false);
}

void fake_reopen(struct tl_db *db)
{
    db->failed = 0;
}

uint64_t fake_count(const struct tl_db *db, enum tl_table table)
{
    return db->tables[table].count;
}

int tl_db_submit(struct tl_db *db, tl_db_fn fn, void *arg, void (*done)(void *arg, int err))
{
    if (db->flags & TL_DB_READ)
        return TL_EINVAL;
    if (db->failed)
        return db->failed;
    if (db->pending >= QUEUE_MAX)
        return TL_ETRANSIENT_DB;
    struct write *w = tl_calloc(1, sizeof(*w));
    if (!w)
        return TL_ENOMEM;
    *w = (struct write){.fn = fn, .arg = arg, .done = done};
    *db->tail = w;
    db->tail = &w->next;
    db->pending++;
    return 0;
}

struct waiting {
    tl_db_fn fn;
    void *arg;
    int err;
};

static int run_waiting(struct tl_txn *txn, void *arg)
{
    struct waiting *u = arg;
    return u->fn(txn, u->arg);
}

static void end_waiting(void *arg, int err)
{
    ((struct waiting *)arg)->err = err;
}

/* There is one thread: who waits commits what waits. */
int tl_db_update(struct tl_db *db, tl_db_fn fn, void *arg)
{
    if (db->telling || db->in_write)
        return TL_EINTERNAL;
    struct waiting u = {.fn = fn, .arg = arg};
    int err = tl_db_submit(db, run_waiting, &u, end_waiting);
    if (err)
        return err;
    fake_commit(db, db->pending, false);
    return u.err;
}

bool tl_db_read_only(const struct tl_db *db)
{
    return db->failed || db->flags & TL_DB_READ;
}

int tl_txn_get(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, struct tl_bytes *ret)
{
    struct entry *e = len < 1 || len > KEY_MAX ? NULL : find(&txn->db->tables[table], key, len);
    *ret = e ? (struct tl_bytes){e->value, e->value_len} : (struct tl_bytes){NULL, 0};
    return e ? 0 : TL_ENOTFOUND;
}

static int put(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len, bool add)
{
    if (!txn->writable || len < 1 || len > KEY_MAX || value_len > UINT32_MAX)
        return TL_EINVAL;
    if (add && find(&txn->db->tables[table], key, len))
        return TL_ECONFLICT;
    remember(txn, table, key, len);
    set(&txn->db->tables[table], key, len, value, value_len);
    return 0;
}

int tl_txn_put(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len)
{
    return put(txn, table, key, len, value, value_len, false);
}

int tl_txn_add(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len)
{
    return put(txn, table, key, len, value, value_len, true);
}

int tl_txn_del(struct tl_txn *txn, enum tl_table table, const void *key, size_t len)
{
    if (!txn->writable)
        return TL_EINVAL;
    if (len < 1 || len > KEY_MAX || !find(&txn->db->tables[table], key, len))
        return TL_ENOTFOUND;
    remember(txn, table, key, len);
    unset(&txn->db->tables[table], key, len);
    return 0;
}

static bool starts_with(const struct entry *e, const void *prefix, size_t len)
{
    return e->len >= len && (len == 0 || memcmp(e->key, prefix, len) == 0);
}

/* The last entry < key, or ≤ where inclusive. */
static struct entry *last_below(struct table *t, const void *key, size_t len, bool inclusive)
{
    struct entry *before, **links[LEVELS];
    search(t, key, len, links, &before);
    struct entry *e = *links[0];
    return inclusive && e && compare(e->key, e->len, key, len) == 0 ? e : before;
}

static struct entry *first_reverse(struct table *t, const struct tl_scan *s)
{
    uint8_t end[KEY_MAX];
    size_t len = s->prefix_len;
    if (s->from && s->from_len) {
        size_t n = s->from_len < len ? s->from_len : len;
        bool within = s->from_len >= len && memcmp(s->from, s->prefix, n) == 0;
        if (within || compare(s->from, s->from_len, s->prefix, len) < 0)
            return last_below(t, s->from, s->from_len, true);
    }
    if (len)
        memcpy(end, s->prefix, len);
    while (len && end[len - 1] == 0xff)
        len--;
    if (!len)
        return last_of(t);
    end[len - 1]++;
    return last_below(t, end, len, false);
}

int tl_txn_scan(struct tl_txn *txn, const struct tl_scan *s, tl_visit_fn visit, void *arg)
{
    if (s->prefix_len > KEY_MAX || (s->from && s->from_len > KEY_MAX))
        return TL_EINVAL;
    struct table *t = &txn->db->tables[s->table];
    bool at_from = s->from && compare(s->from, s->from_len, s->prefix, s->prefix_len) > 0;
    struct entry *e = s->reverse ? first_reverse(t, s)
                                 : at_or_after(t, at_from ? s->from : s->prefix, at_from ? s->from_len : s->prefix_len);
    while (e && starts_with(e, s->prefix, s->prefix_len)) {
        uint8_t key[KEY_MAX];
        size_t len = e->len;
        memcpy(key, e->key, len);
        int stop = visit(arg, (struct tl_bytes){e->key, len}, (struct tl_bytes){e->value, e->value_len});
        if (stop)
            return stop;
        /* The visit may have changed the table, when writing; otherwise the next one is at hand. */
        if (s->reverse)
            e = last_below(t, key, len, false);
        else if (!txn->writable)
            e = e->next[0];
        else if ((e = at_or_after(t, key, len)) && compare(e->key, e->len, key, len) == 0)
            e = e->next[0];
    }
    return 0;
}

int tl_db_copy(struct tl_db *db, const char *dir)
{
    (void)db, (void)dir;
    return TL_EINTERNAL; /* there is no disk to copy to */
}

int tl_db_stat(struct tl_db *db, struct tl_db_stat *ret)
{
    *ret = (struct tl_db_stat){.commits = db->commits, .writes = db->writes};
    for (int t = 0; t < TL_TABLE_COUNT; t++)
        ret->entries[t] = db->tables[t].count;
    return 0;
}

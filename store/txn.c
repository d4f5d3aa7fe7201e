/* What a function may do inside a transaction. */
#include "store/db_priv.h"

#include "base/err.h"

#include <string.h>

enum { KEY_MAX = 511 };

static MDB_val val(const void *p, size_t len)
{
    return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)p};
}

/* An answer about one key leaves the transaction whole; any other error spoils it, whatever the function makes of it. */
static int outcome(struct tl_txn *txn, int rc)
{
    int err = tl_db_err(rc);
    if (rc && rc != MDB_NOTFOUND && rc != MDB_KEYEXIST && rc != MDB_BAD_VALSIZE && !txn->broken)
        txn->broken = err;
    return err;
}

int tl_txn_get(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, struct tl_bytes *ret)
{
    *ret = (struct tl_bytes){0};
    if (txn->broken)
        return txn->broken;
    if (len < 1 || len > KEY_MAX)
        return TL_ENOTFOUND;
    MDB_val k = val(key, len), v;
    int err = outcome(txn, mdb_get(txn->mdb, txn->db->dbi[table], &k, &v));
    if (!err)
        *ret = (struct tl_bytes){v.mv_data, v.mv_size};
    return err;
}

static int put(struct tl_txn *txn, enum tl_table table, MDB_val k, MDB_val v, unsigned flags)
{
    if (txn->broken)
        return txn->broken;
    if (!txn->writable || k.mv_size < 1 || k.mv_size > KEY_MAX || v.mv_size > UINT32_MAX)
        return TL_EINVAL;
    int err = outcome(txn, mdb_put(txn->mdb, txn->db->dbi[table], &k, &v, flags));
    if (!err) {
        txn->changes++;
        txn->bytes += k.mv_size + v.mv_size;
        txn->tables |= (uint64_t)1 << table;
    }
    return err;
}

int tl_txn_put(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len)
{
    return put(txn, table, val(key, len), val(value, value_len), 0);
}

int tl_txn_add(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len)
{
    return put(txn, table, val(key, len), val(value, value_len), MDB_NOOVERWRITE);
}

int tl_txn_del(struct tl_txn *txn, enum tl_table table, const void *key, size_t len)
{
    if (txn->broken)
        return txn->broken;
    if (!txn->writable)
        return TL_EINVAL;
    if (len < 1 || len > KEY_MAX)
        return TL_ENOTFOUND;
    MDB_val k = val(key, len);
    int err = outcome(txn, mdb_del(txn->mdb, txn->db->dbi[table], &k, NULL));
    if (!err) {
        txn->changes++;
        txn->tables |= (uint64_t)1 << table;
    }
    return err;
}

static bool starts_with(MDB_val k, const void *prefix, size_t len)
{
    return k.mv_size >= len && (len == 0 || memcmp(k.mv_data, prefix, len) == 0);
}

static int compare(const void *a, size_t alen, const void *b, size_t blen)
{
    size_t n = alen < blen ? alen : blen;
    int c = n ? memcmp(a, b, n) : 0;
    return c ? c : (alen > blen) - (alen < blen);
}

/* The first key that is ≥ all keys with this prefix: the prefix with its last byte below 0xff counted up. False where there is none. */
static bool after_prefix(const void *prefix, size_t len, uint8_t *ret, size_t *ret_len)
{
    if (len)
        memcpy(ret, prefix, len);
    for (; len && ret[len - 1] == 0xff; len--)
        ;
    if (!len)
        return false;
    ret[len - 1]++;
    *ret_len = len;
    return true;
}

static int first_forward(MDB_cursor *cur, const struct tl_scan *s, MDB_val *k, MDB_val *v)
{
    bool at_from = s->from && compare(s->from, s->from_len, s->prefix, s->prefix_len) > 0;
    *k = at_from ? val(s->from, s->from_len) : val(s->prefix, s->prefix_len);
    return mdb_cursor_get(cur, k, v, k->mv_size ? MDB_SET_RANGE : MDB_FIRST);
}

/* The last key < bound (≤ where inclusive). */
static int last_below(MDB_cursor *cur, MDB_val bound, bool inclusive, MDB_val *k, MDB_val *v)
{
    *k = bound;
    int rc = mdb_cursor_get(cur, k, v, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND)
        return mdb_cursor_get(cur, k, v, MDB_LAST);
    if (rc || (inclusive && compare(k->mv_data, k->mv_size, bound.mv_data, bound.mv_size) == 0))
        return rc;
    return mdb_cursor_get(cur, k, v, MDB_PREV);
}

static int first_reverse(MDB_cursor *cur, const struct tl_scan *s, MDB_val *k, MDB_val *v)
{
    uint8_t end[KEY_MAX];
    size_t end_len;
    bool from = s->from && s->from_len;
    MDB_val at = val(s->from, s->from_len);
    if (from &&
        (starts_with(at, s->prefix, s->prefix_len) || compare(at.mv_data, at.mv_size, s->prefix, s->prefix_len) < 0))
        return last_below(cur, at, true, k, v);
    if (after_prefix(s->prefix, s->prefix_len, end, &end_len))
        return last_below(cur, val(end, end_len), false, k, v);
    return mdb_cursor_get(cur, k, v, MDB_LAST);
}

int tl_txn_scan(struct tl_txn *txn, const struct tl_scan *s, tl_visit_fn visit, void *arg)
{
    if (txn->broken)
        return txn->broken;
    if (s->prefix_len > KEY_MAX || (s->from && s->from_len > KEY_MAX))
        return TL_EINVAL;
    MDB_cursor *cur;
    int rc = mdb_cursor_open(txn->mdb, txn->db->dbi[s->table], &cur);
    if (rc)
        return outcome(txn, rc);
    MDB_val k, v;
    int stop = 0;
    rc = s->reverse ? first_reverse(cur, s, &k, &v) : first_forward(cur, s, &k, &v);
    while (!rc && !stop && starts_with(k, s->prefix, s->prefix_len)) {
        stop = visit(arg, (struct tl_bytes){k.mv_data, k.mv_size}, (struct tl_bytes){v.mv_data, v.mv_size});
        if (!stop && !txn->broken)
            rc = mdb_cursor_get(cur, &k, &v, s->reverse ? MDB_PREV : MDB_NEXT);
        else if (!stop)
            stop = txn->broken;
    }
    mdb_cursor_close(cur);
    if (stop)
        return stop;
    return rc == MDB_NOTFOUND ? 0 : outcome(txn, rc);
}

/* Scans: forwards and in reverse, by prefix and from a key, stopping, deleting on the way. */
#include "base/err.h"
#include "base/mem.h"
#include "store/db.h"
#include "tests/unit/store/tmp.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct tl_db *open_db(void)
{
    struct tl_db *db;
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    return db;
}

/* Scans against a sorted list walked naively, with bytes that are hard for prefixes. */
enum { NKEYS = 300, KEYLEN = 5 };
struct model {
    uint8_t key[NKEYS][KEYLEN];
    size_t len[NKEYS], n;
    const struct tl_scan *scan;
    long at, seen;
};

static int cmp_bytes(const void *a, size_t alen, const void *b, size_t blen)
{
    size_t n = alen < blen ? alen : blen;
    int c = n ? memcmp(a, b, n) : 0;
    return c ? c : (alen > blen) - (alen < blen);
}

static int fill_model(struct tl_txn *txn, void *arg)
{
    struct model *m = arg;
    for (size_t i = 0; i < m->n; i++)
        assert_int_equal(tl_txn_put(txn, TL_TBL_KEY, m->key[i], m->len[i], "v", 1), 0);
    return 0;
}

static bool wanted(const struct model *m, size_t i)
{
    const struct tl_scan *s = m->scan;
    if (m->len[i] < s->prefix_len || (s->prefix_len && memcmp(m->key[i], s->prefix, s->prefix_len) != 0))
        return false;
    if (!s->from || (s->reverse && !s->from_len))
        return true;
    int c = cmp_bytes(m->key[i], m->len[i], s->from, s->from_len);
    return s->reverse ? c <= 0 : c >= 0;
}

static int visit_model(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct model *m = arg;
    long step = m->scan->reverse ? -1 : 1;
    assert_int_equal(value.len, 1);
    while (m->at >= 0 && m->at < (long)m->n && !wanted(m, (size_t)m->at))
        m->at += step;
    assert_in_range(m->at, 0, m->n - 1);
    assert_int_equal(key.len, m->len[m->at]);
    assert_memory_equal(key.data, m->key[m->at], key.len);
    m->at += step;
    m->seen++;
    return 0;
}

static int scan_model(struct tl_txn *txn, void *arg)
{
    struct model *m = arg;
    return tl_txn_scan(txn, m->scan, visit_model, m);
}

static size_t random_key(uint8_t *key, size_t least)
{
    static const uint8_t alphabet[] = {0x00, 0x01, 0x7f, 0xfe, 0xff};
    size_t len = least + (size_t)rand() % (KEYLEN - least + 1);
    for (size_t k = 0; k < len; k++)
        key[k] = alphabet[rand() % 5];
    return len;
}

static void add_to_model(struct model *m, const uint8_t *key, size_t len)
{
    size_t at = 0;
    int c = 1;
    while (at < m->n && (c = cmp_bytes(key, len, m->key[at], m->len[at])) > 0)
        at++;
    if (at < m->n && c == 0)
        return;
    memmove(m->key[at + 1], m->key[at], (m->n - at) * KEYLEN);
    memmove(&m->len[at + 1], &m->len[at], (m->n - at) * sizeof(m->len[0]));
    memcpy(m->key[at], key, len);
    m->len[at] = len;
    m->n++;
}

static void scans(void **state)
{
    (void)state;
    struct tl_db *db = open_db();
    struct model m = {.n = 0};
    uint8_t key[KEYLEN], prefix[KEYLEN], from[KEYLEN];
    srand(7);
    struct tl_scan s = {.table = TL_TBL_KEY};
    m.scan = &s;
    assert_int_equal(tl_db_read(db, scan_model, &m), 0); /* an empty table */
    while (m.n < NKEYS - 1)
        add_to_model(&m, key, random_key(key, 1));
    assert_int_equal(tl_db_update(db, fill_model, &m), 0);
    for (int round = 0; round < 20000; round++) {
        s.prefix = prefix;
        s.prefix_len = random_key(prefix, 0);
        s.from = rand() % 3 ? from : NULL;
        s.from_len = random_key(from, 0);
        s.reverse = rand() % 2;
        long expected = 0;
        for (size_t i = 0; i < m.n; i++)
            expected += wanted(&m, i);
        m.seen = 0;
        m.at = s.reverse ? (long)m.n - 1 : 0;
        assert_int_equal(tl_db_read(db, scan_model, &m), 0);
        assert_int_equal(m.seen, expected);
    }
    char big[600] = {0};
    s = (struct tl_scan){.table = TL_TBL_KEY, .prefix = big, .prefix_len = sizeof(big)};
    assert_int_equal(tl_db_read(db, scan_model, &m), TL_EINVAL);
    tl_db_close(db);
}

static int stop_at_third(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)key, (void)value;
    struct model *m = arg;
    return ++m->seen == 3 ? (int)m->at : 0;
}

static int scan_stopping(struct tl_txn *txn, void *arg)
{
    struct model *m = arg;
    return tl_txn_scan(txn, m->scan, stop_at_third, m);
}

struct deleting {
    struct tl_txn *txn;
    bool reverse;
    long seen;
};

static int delete_odd(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)value;
    struct deleting *d = arg;
    uint8_t k[8];
    memcpy(k, key.data, 8);
    d->seen++;
    return tl_key_u64_read(k) % 2 ? tl_txn_del(d->txn, TL_TBL_AUDIT, k, 8) : 0;
}

static int delete_in_scan(struct tl_txn *txn, void *arg)
{
    struct deleting *d = arg;
    struct tl_scan s = {.table = TL_TBL_AUDIT, .reverse = d->reverse};
    uint8_t k[8];
    d->txn = txn;
    for (uint64_t i = 0; i < 2000; i++) {
        tl_key_u64(k, i);
        assert_int_equal(tl_txn_put(txn, TL_TBL_AUDIT, k, 8, "x", 1), 0);
    }
    return tl_txn_scan(txn, &s, delete_odd, d);
}

static void scans_stop_and_delete(void **state)
{
    (void)state;
    struct tl_db *db = open_db();
    struct tl_scan s = {.table = TL_TBL_AUDIT};
    struct model m = {.scan = &s};
    struct tl_db_stat st;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct deleting d = {.reverse = reverse};
        assert_int_equal(tl_db_update(db, delete_in_scan, &d), 0);
        assert_int_equal(d.seen, 2000);
        assert_int_equal(tl_db_stat(db, &st), 0);
        assert_int_equal(st.entries[TL_TBL_AUDIT], 1000);
    }
    m.at = 5;
    assert_int_equal(tl_db_read(db, scan_stopping, &m), 5);
    assert_int_equal(m.seen, 3);
    m.seen = 0;
    m.at = TL_ESCHEMA;
    assert_int_equal(tl_db_read(db, scan_stopping, &m), TL_ESCHEMA);
    tl_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scans, tmp_setup, tmp_teardown),
        cmocka_unit_test_setup_teardown(scans_stop_and_delete, tmp_setup, tmp_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

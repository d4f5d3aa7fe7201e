/* The simulation's store keeps what store/db.h promises. The scans are tested by tests/unit/store/test_scan.c, linked with this store too. */
#include "base/err.h"
#include "tests/sim/fakedb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct kv {
    const char *key, *value; /* value NULL: delete */
    int ret;                 /* what the function returns at the end */
    int number, err;
    int calls;
};

static int order[16], norder;

static int put_kv(struct tl_txn *txn, void *arg)
{
    struct kv *k = arg;
    k->calls++;
    int err = k->value ? tl_txn_put(txn, TL_TBL_META, k->key, strlen(k->key), k->value, strlen(k->value))
                       : tl_txn_del(txn, TL_TBL_META, k->key, strlen(k->key));
    return err ? err : k->ret;
}

static void note(void *arg, int err)
{
    struct kv *k = arg;
    k->err = err;
    order[norder++] = k->number;
}

static int get_kv(struct tl_txn *txn, void *arg)
{
    struct kv *k = arg;
    struct tl_bytes b;
    int err = tl_txn_get(txn, TL_TBL_META, k->key, strlen(k->key), &b);
    if (!err && (b.len != strlen(k->value) || memcmp(b.data, k->value, b.len) != 0))
        return TL_ECORRUPT;
    return err;
}

static int has(struct tl_db *db, const char *key, const char *value)
{
    return tl_db_read(db, get_kv, &(struct kv){.key = key, .value = value});
}

static int chain_left;
static struct tl_db *chain_db;

static void chain(void *arg, int err)
{
    assert_int_equal(err, 0);
    assert_int_equal(tl_db_update(chain_db, put_kv, arg), TL_EINTERNAL); /* would wait for itself */
    if (--chain_left > 0)
        assert_int_equal(tl_db_submit(chain_db, put_kv, arg, chain), 0);
}

static void nothing_before_the_commit(void **state)
{
    (void)state;
    struct tl_db *db;
    assert_int_equal(tl_db_open("", 0, &db), 0);
    struct kv k[] = {{.key = "a", .value = "1", .number = 0}, {.key = "b", .value = "1", .number = 1}};
    norder = 0;
    assert_int_equal(tl_db_submit(db, put_kv, &k[0], note), 0);
    assert_int_equal(tl_db_submit(db, put_kv, &k[1], note), 0);
    assert_int_equal(fake_pending(db), 2);
    assert_int_equal(has(db, "a", "1"), TL_ENOTFOUND);
    assert_int_equal(fake_commit(db, 1, true), 1);
    assert_int_equal(k[0].calls, 2);
    assert_int_equal(norder, 1);
    assert_int_equal(has(db, "a", "1"), 0);
    assert_int_equal(has(db, "b", "1"), TL_ENOTFOUND);
    /* who waits sees what was submitted before */
    assert_int_equal(tl_db_update(db, put_kv, &(struct kv){.key = "b", .ret = 5}), 5);
    assert_int_equal(norder, 2);
    assert_int_equal(has(db, "b", "1"), TL_ENOTFOUND);
    chain_db = db;
    chain_left = 20;
    assert_int_equal(tl_db_submit(db, put_kv, &k[0], chain), 0);
    tl_db_close(db);
    assert_int_equal(chain_left, 0);
}

static void failure_undoes_itself_alone(void **state)
{
    (void)state;
    struct tl_db *db;
    assert_int_equal(tl_db_open("", 0, &db), 0);
    struct kv k[] = {
        {"a", "1", 0, 0, 9, 0},    {"b", "1", TL_ECONFLICT, 1, 9, 0}, {"nothing", NULL, 0, 2, 9, 0},
        {"c", "1", 3, 3, 9, 0},    {"a", "2", TL_EPOLICY, 4, 9, 0},   {"a", "3", 0, 5, 9, 0},
        {"c", NULL, -99, 6, 9, 0},
    };
    static const int expected[] = {0, TL_ECONFLICT, TL_ENOTFOUND, 3, TL_EPOLICY, 0, -99};
    norder = 0;
    for (int i = 0; i < 7; i++)
        assert_int_equal(tl_db_submit(db, put_kv, &k[i], note), 0);
    assert_int_equal(fake_commit(db, 100, true), 7);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(order[i], i);
        assert_int_equal(k[i].err, expected[i]);
    }
    assert_int_equal(has(db, "a", "3"), 0);
    assert_int_equal(has(db, "b", "1"), TL_ENOTFOUND);
    assert_int_equal(has(db, "c", "1"), 0);
    assert_int_equal(fake_count(db, TL_TBL_META), 2);
    tl_db_close(db);
}

static int many(struct tl_txn *txn, void *arg)
{
    (void)txn;
    return *(int *)arg;
}

static void crash_keeps_a_prefix(void **state)
{
    (void)state;
    struct tl_db *db;
    assert_int_equal(tl_db_open("", 0, &db), 0);
    struct kv k[] = {{.key = "a", .value = "1", .number = 0}, {.key = "b", .value = "1", .number = 1}};
    norder = 0;
    assert_int_equal(tl_db_submit(db, put_kv, &k[0], note), 0);
    assert_int_equal(tl_db_submit(db, put_kv, &k[1], note), 0);
    fake_crash(db, 1);
    assert_int_equal(fake_pending(db), 0);
    assert_int_equal(k[0].err, TL_EIO); /* nobody hears of it */
    assert_int_equal(k[1].err, TL_EIO);
    int zero = 0;
    assert_true(tl_db_read_only(db));
    assert_int_equal(tl_db_submit(db, many, &zero, NULL), TL_EIO);
    assert_int_equal(tl_db_update(db, many, &zero), TL_EIO);
    fake_reopen(db);
    assert_int_equal(has(db, "a", "1"), 0);
    assert_int_equal(has(db, "b", "1"), TL_ENOTFOUND);
    assert_int_equal(tl_db_update(db, many, &zero), 0);
    tl_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_before_the_commit),
        cmocka_unit_test(failure_undoes_itself_alone),
        cmocka_unit_test(crash_keeps_a_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

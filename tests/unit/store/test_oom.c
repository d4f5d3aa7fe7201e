/* The store without memory: each allocation on the way from opening to closing fails once. Nothing crashes, and what was acknowledged is there. */
#include "tests/unit/base/oom.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/check.h"
#include "tests/unit/store/tmp.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t acknowledged; /* numbers up to this one are in the table */
static _Atomic int told;

static int put_number(struct tl_txn *txn, void *arg)
{
    uint8_t key[16] = "acme";
    tl_key_u64(key + 8, (uint64_t)(uintptr_t)arg);
    return tl_txn_put(txn, TL_TBL_META, key, sizeof(key), "{}", 2);
}

static int get_number(struct tl_txn *txn, void *arg)
{
    struct tl_bytes b;
    uint8_t key[16] = "acme";
    tl_key_u64(key + 8, (uint64_t)(uintptr_t)arg);
    return tl_txn_get(txn, TL_TBL_META, key, sizeof(key), &b);
}

static void tell(void *arg, int err)
{
    (void)arg, (void)err;
    atomic_fetch_add(&told, 1);
}

static void store_blob(struct tl_blobs *blobs)
{
    struct tl_blob_writer *w;
    char hex[TL_SHA256_HEX];
    int fd;
    if (tl_blob_begin(blobs, 0, &w) < 0)
        return;
    if (tl_blob_write(w, &acknowledged, sizeof(acknowledged)) < 0)
        tl_blob_abort(w);
    else if (tl_blob_commit(w, hex, NULL) == 0 && tl_blob_open(blobs, hex, &fd, NULL) == 0)
        close(fd);
}

static void whole_life(void)
{
    struct tl_db *db;
    struct tl_blobs *blobs;
    if (tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db) < 0) {
        assert_true(oom_failed);
        return;
    }
    uint64_t next = acknowledged + 1;
    if (tl_db_update(db, put_number, (void *)(uintptr_t)next) == 0)
        acknowledged = next;
    int submitted = 0;
    atomic_store(&told, 0);
    for (int i = 0; i < 3; i++)
        submitted += tl_db_submit(db, put_number, (void *)(uintptr_t)next, tell) == 0;
    tl_db_read(db, get_number, (void *)(uintptr_t)next);
    if (tl_blobs_open(tmp_path("data"), db, &blobs) == 0) {
        store_blob(blobs);
        tl_blobs_close(blobs);
    }
    tl_db_close(db);
    assert_int_equal(told, submitted); /* each exactly once */
}

static void every_allocation_fails(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        long leaked;
        long runs = oom_each(whole_life, all, &leaked);
        if (oom_works)
            assert_in_range(runs, 50, 5000);
        struct tl_db *db;
        struct tl_check_counts counts;
        assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_EXCLUSIVE, &db), 0);
        for (uint64_t i = 1; i <= acknowledged; i++)
            assert_int_equal(tl_db_read(db, get_number, (void *)(uintptr_t)i), 0);
        assert_int_equal(tl_db_check(db, tmp_path("data"), true, NULL, NULL, &counts), 0);
        assert_int_equal(counts.problems, 0);
        tl_db_close(db);
    }
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(every_allocation_fails, tmp_setup, tmp_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Nothing is acknowledged before it is on disk, and nothing at all when the disk fails. The shim stands between LMDB and the kernel here, and notes
 * what is written and synced. */
#include "tests/crash/fsync_shim.c"

#include "base/err.h"
#include "store/blob.h"
#include "tests/unit/store/tmp.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What the shim saw of the database since the last acknowledgement. */
static _Atomic int unsynced, unmarked, syncs, acknowledged, errors;
static _Atomic int last_err;

static void watch(const char *what, int fd, const char *path)
{
    (void)fd;
    if (strcmp(what, "write") == 0) {
        atomic_store(&unsynced, 1); /* pages are in the kernel only */
        atomic_store(&unmarked, 1); /* and no meta page says that they are valid */
    } else if (strcmp(what, "sync") == 0 && is_database(path)) {
        atomic_store(&unsynced, 0);
        atomic_fetch_add(&syncs, 1);
    } else if (strcmp(what, "dwrite") == 0 && !atomic_load(&unsynced)) {
        atomic_store(&unmarked, 0);
    }
}

static int setup(void **state)
{
    if (tmp_setup(state) < 0)
        return -1;
    pthread_once(&shim_once, shim_init);
    unsynced = unmarked = syncs = acknowledged = errors = last_err = 0;
    shim_hook = watch;
    return 0;
}

static int teardown(void **state)
{
    shim_hook = NULL;
    atomic_store(&shim_fail_sync, 0);
    atomic_store(&shim_fail_dwrite, 0);
    return tmp_teardown(state);
}

static int put_number(struct tl_txn *txn, void *arg)
{
    return tl_txn_put(txn, TL_TBL_AUDIT, &arg, sizeof(arg), "{\"event_id\":\"x:1\"}", 18);
}

/* Runs on the writer thread, before the next batch is begun. */
static void acknowledge(void *arg, int err)
{
    (void)arg;
    if (err) {
        atomic_store(&last_err, err);
        atomic_fetch_add(&errors, 1);
        return;
    }
    atomic_fetch_add(&acknowledged, 1);
    if (atomic_load(&unsynced) || atomic_load(&unmarked) || !atomic_load(&syncs))
        atomic_fetch_add(&errors, 1);
}

static void synced_before_acknowledged(void **state)
{
    (void)state;
    struct tl_db *db;
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    int before = syncs;
    assert_true(before > 0); /* the shim is in the way */
    for (uintptr_t i = 1; i <= 500; i++) {
        assert_int_equal(tl_db_submit(db, put_number, (void *)i, acknowledge), 0);
        if (i % 10 == 0)
            assert_int_equal(tl_db_update(db, put_number, (void *)i), 0);
    }
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    tl_db_close(db);
    assert_int_equal(acknowledged, 500);
    assert_int_equal(errors, 0);
    assert_true(syncs - before >= (int)st.commits);
    assert_true(st.commits >= 50); /* each waiting update closes a batch */
}

static void failed_sync_acknowledges_nothing(void **state)
{
    (void)state;
    struct tl_db *db;
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_db_update(db, put_number, (void *)1), 0);
    atomic_store(&shim_fail_sync, 1);
    assert_int_equal(tl_db_submit(db, put_number, (void *)2, acknowledge), 0);
    assert_int_equal(tl_db_update(db, put_number, (void *)3), TL_EIO);
    assert_int_equal(acknowledged, 0);
    assert_int_equal(errors, 1);
    assert_int_equal(last_err, TL_EIO);
    assert_true(tl_db_read_only(db));
    atomic_store(&shim_fail_sync, 0); /* the disk says it is well again: what it lost is not known */
    assert_int_equal(tl_db_update(db, put_number, (void *)4), TL_EIO);
    assert_int_equal(tl_db_submit(db, put_number, (void *)5, acknowledge), TL_EIO);
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0); /* still read */
    assert_int_equal(st.entries[TL_TBL_AUDIT], 1);
    tl_db_close(db);
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_int_equal(st.entries[TL_TBL_AUDIT], 1);
    assert_int_equal(tl_db_update(db, put_number, (void *)6), 0);
    tl_db_close(db);
}

/* The pages are on disk, and the page that makes them valid is not. */
static void failed_meta_page_acknowledges_nothing(void **state)
{
    (void)state;
    struct tl_db *db;
    struct tl_db_stat st;
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_db_update(db, put_number, (void *)1), 0);
    atomic_store(&shim_fail_dwrite, 1);
    assert_int_equal(tl_db_submit(db, put_number, (void *)2, acknowledge), 0);
    assert_int_equal(tl_db_update(db, put_number, (void *)3), TL_EIO);
    atomic_store(&shim_fail_dwrite, 0);
    assert_int_equal(acknowledged, 0);
    assert_int_equal(last_err, TL_EIO);
    assert_true(tl_db_read_only(db));
    assert_int_equal(tl_db_update(db, put_number, (void *)4), TL_EIO);
    assert_int_equal(tl_db_stat(db, &st), TL_EIO); /* the engine itself does not trust its pages any more */
    tl_db_close(db);
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_in_range(st.entries[TL_TBL_AUDIT], 1, 3);
    assert_int_equal(tl_db_update(db, put_number, (void *)5), 0);
    tl_db_close(db);
}

/* The blob's file and both directories are synced before its entry is committed. */
static int file_syncs, syncs_before_commit;

static void watch_blob(const char *what, int fd, const char *path)
{
    (void)fd;
    if (strcmp(what, "sync") == 0 && strstr(path, "/blobs"))
        file_syncs++;
    else if (strcmp(what, "write") == 0)
        syncs_before_commit = file_syncs;
}

static void blob_synced_before_registered(void **state)
{
    (void)state;
    struct tl_db *db;
    struct tl_blobs *blobs;
    struct tl_blob_writer *w;
    char hex[TL_SHA256_HEX];
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_blobs_open(tmp_path("data"), db, &blobs), 0);
    assert_int_equal(tl_blob_begin(blobs, 0, &w), 0);
    assert_int_equal(tl_blob_write(w, "abc", 3), 0);
    file_syncs = syncs_before_commit = 0;
    shim_hook = watch_blob;
    assert_int_equal(tl_blob_commit(w, hex, NULL), 0);
    assert_int_equal(syncs_before_commit, 4); /* the file, blobs/ with the new folder, the folder with the name, blobs/ */
    tl_blobs_close(blobs);
    tl_db_close(db);
}

static void log_has_the_order(void **state)
{
    (void)state;
    int fds[2];
    char text[4096], first[64], second[64];
    struct tl_db *db;
    shim_log = open(tmp_path("log"), O_CREAT | O_RDWR | O_APPEND, 0600);
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(ftruncate(shim_log, 0), 0);
    assert_int_equal(tl_db_update(db, put_number, (void *)1), 0);
    tl_db_close(db);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(write(fds[0], "nothing", 7), 7);
    assert_int_equal(send(fds[0], "data: {\"event_id\":\"x:1\"}\n", 25, 0), 25);
    ssize_t n = pread(shim_log, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    const char *w = strstr(text, " write "), *s = strstr(text, " sync "), *d = strstr(text, " dwrite "),
               *p = strstr(text, " publish ");
    assert_true(w && s && d && p && w < s && s < d && d < p);
    assert_int_equal(sscanf(p, " publish %*d %*s %63s", first), 1);
    assert_string_equal(first, "x:1");
    assert_null(strstr(p + 1, " publish "));
    assert_int_equal(sscanf(strstr(text, "x:1"), "%63s", second), 1);
    assert_true(strstr(text, "x:1") < s); /* in the write's line */
    close(fds[0]);
    close(fds[1]);
    close(shim_log);
    shim_log = -1;
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(synced_before_acknowledged),
        TEST(failed_sync_acknowledges_nothing),
        TEST(failed_meta_page_acknowledges_nothing),
        TEST(blob_synced_before_registered),
        TEST(log_has_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

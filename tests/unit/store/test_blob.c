/* Blobs: written, found again, deduplicated, bounded, and what a crash leaves. */
#include "base/err.h"
#include "base/mem.h"
#include "store/blob.h"
#include "tests/unit/store/tmp.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct tl_db *db;
static struct tl_blobs *blobs;

/* "abc": FIPS 180-4's own example. */
static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void open_both(unsigned flags)
{
    assert_int_equal(tl_db_open(tmp_path("data"), flags, &db), 0);
    assert_int_equal(tl_blobs_open(tmp_path("data"), db, &blobs), 0);
}

static void close_both(void)
{
    tl_blobs_close(blobs);
    tl_db_close(db);
}

static int store(const void *bytes, size_t len, size_t piece, char *hex)
{
    struct tl_blob_writer *w;
    uint64_t size;
    int err = tl_blob_begin(blobs, 0, &w);
    for (size_t at = 0; !err && at < len; at += piece)
        err = tl_blob_write(w, (const char *)bytes + at, at + piece < len ? piece : len - at);
    assert_int_equal(err, 0);
    err = tl_blob_commit(w, hex, &size);
    if (!err)
        assert_int_equal(size, len);
    return err;
}

static size_t files_in(const char *name)
{
    char cmd[PATH_MAX * 2];
    char line[32] = "";
    snprintf(cmd, sizeof(cmd), "find '%.3000s' -type f | wc -l", tmp_path(name));
    FILE *p = popen(cmd, "r");
    assert_non_null(fgets(line, sizeof(line), p));
    pclose(p);
    return (size_t)strtoul(line, NULL, 10);
}

static void writes_and_reads(void **state)
{
    (void)state;
    open_both(TL_DB_CREATE | TL_DB_EXCLUSIVE);
    char hex[TL_SHA256_HEX], upper[TL_SHA256_HEX], text[4] = "";
    int fd;
    uint64_t size;
    struct stat st;
    struct tl_db_stat ds;
    assert_int_equal(store("abc", 3, 1, hex), 0);
    assert_string_equal(hex, abc);
    assert_int_equal(tl_blob_open(blobs, abc, &fd, &size), 0);
    assert_int_equal(size, 3);
    assert_int_equal(read(fd, text, 4), 3);
    assert_string_equal(text, "abc");
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    close(fd);
    for (int i = 0; i < TL_SHA256_HEX; i++)
        upper[i] = (char)(abc[i] >= 'a' ? abc[i] - 32 : abc[i]);
    assert_int_equal(tl_blob_open(blobs, upper, &fd, NULL), 0);
    close(fd);
    /* the same again: one file, one entry */
    assert_int_equal(store("abc", 3, 3, hex), 0);
    assert_string_equal(hex, abc);
    assert_int_equal(store("", 0, 1, hex), 0);
    assert_int_equal(files_in("data/blobs"), 2);
    assert_int_equal(tl_db_stat(db, &ds), 0);
    assert_int_equal(ds.entries[TL_TBL_BLOB], 2);
    static const char *const unknown[] = {"", "abc", "../../etc/passwd", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae",
                                          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
                                          "za7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", NULL};
    for (size_t i = 0; i < TL_ARRAY_LEN(unknown); i++) {
        assert_int_equal(tl_blob_open(blobs, unknown[i], &fd, &size), TL_ENOTFOUND);
        assert_int_equal(fd, -1);
    }
    close_both();
}

static void lost_files_come_back(void **state)
{
    (void)state;
    open_both(TL_DB_CREATE | TL_DB_EXCLUSIVE);
    char hex[TL_SHA256_HEX];
    int fd;
    assert_int_equal(store("abc", 3, 3, hex), 0);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.3000s/ba/%s", tmp_path("data/blobs"), abc);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(tl_blob_open(blobs, abc, &fd, NULL), TL_ENOTFOUND);
    assert_int_equal(store("abc", 3, 3, hex), 0);
    assert_int_equal(tl_blob_open(blobs, abc, &fd, NULL), 0);
    close(fd);
    assert_int_equal(truncate(path, 1), 0);
    assert_int_equal(store("abc", 3, 3, hex), 0);
    uint64_t size;
    assert_int_equal(tl_blob_open(blobs, abc, &fd, &size), 0);
    assert_int_equal(size, 3);
    close(fd);
    close_both();
}

static void limits(void **state)
{
    (void)state;
    open_both(TL_DB_CREATE | TL_DB_EXCLUSIVE);
    struct tl_blob_writer *w;
    char hex[TL_SHA256_HEX];
    assert_int_equal(tl_blob_begin(blobs, 5, &w), 0);
    assert_int_equal(tl_blob_write(w, "12345", 5), 0);
    assert_int_equal(tl_blob_write(w, "", 0), 0);
    assert_int_equal(tl_blob_write(w, "6", 1), TL_ETOOBIG);
    assert_int_equal(tl_blob_write(w, "", 0), TL_ETOOBIG); /* for good */
    assert_int_equal(tl_blob_commit(w, hex, NULL), TL_ETOOBIG);
    tl_blob_abort(NULL);
    /* a full disk, as far as a process can have one of its own */
    struct rlimit old, small = {4096, RLIM_INFINITY};
    char buf[8192] = {1};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(tl_blob_begin(blobs, 0, &w), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(tl_blob_write(w, buf, sizeof(buf)), TL_EFULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    tl_blob_abort(w);
    assert_int_equal(files_in("data/blobs"), 0);
    close_both();
}

static void written_by_another(void **state)
{
    (void)state;
    open_both(TL_DB_CREATE | TL_DB_EXCLUSIVE);
    struct tl_blob_writer *w;
    char hex[TL_SHA256_HEX];
    uint64_t size;
    assert_int_equal(tl_blob_begin(blobs, 3, &w), 0);
    int fd = tl_blob_fd(w);
    assert_int_equal(pwrite(fd, "abX", 3, 0), 3);
    assert_int_equal(pwrite(fd, "c", 1, 2), 1);
    assert_int_equal(tl_blob_write(w, "d", 1), TL_EINVAL);
    assert_int_equal(tl_blob_commit(w, hex, &size), 0);
    assert_string_equal(hex, abc);
    assert_int_equal(size, 3);
    assert_int_equal(tl_blob_begin(blobs, 3, &w), 0);
    assert_int_equal(pwrite(tl_blob_fd(w), "abcd", 4, 0), 4);
    assert_int_equal(tl_blob_commit(w, hex, &size), TL_ETOOBIG);
    close_both();
}

static void leave(const char *name)
{
    int fd = open(tmp_path(name), O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void leftovers(void **state)
{
    (void)state;
    static const char mine[] = "data/blobs/tmp-0123456789abcdef0123456789abcdef";
    static const char *const others[] = {"data/blobs/tmp-0123", "data/blobs/tmp-0123456789abcdef0123456789abcdeg",
                                         "data/blobs/readme.txt"};
    open_both(TL_DB_CREATE | TL_DB_EXCLUSIVE);
    close_both();
    leave(mine);
    for (size_t i = 0; i < TL_ARRAY_LEN(others); i++)
        leave(others[i]);
    open_both(0); /* another process may be writing them */
    assert_int_equal(access(tmp_path(mine), F_OK), 0);
    close_both();
    open_both(TL_DB_EXCLUSIVE);
    assert_int_equal(access(tmp_path(mine), F_OK), -1);
    for (size_t i = 0; i < TL_ARRAY_LEN(others); i++)
        assert_int_equal(access(tmp_path(others[i]), F_OK), 0);
    close_both();
}

static void *store_some(void *arg)
{
    char hex[TL_SHA256_HEX], text[32];
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "blob %d", i);
        if (store(text, strlen(text), 2, hex) < 0)
            return arg;
    }
    return NULL;
}

static void same_blobs_at_once(void **state)
{
    (void)state;
    open_both(TL_DB_CREATE | TL_DB_EXCLUSIVE);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, store_some, db), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(files_in("data/blobs"), 20);
    close_both();
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, tmp_setup, tmp_teardown)
    const struct CMUnitTest tests[] = {
        TEST(writes_and_reads), TEST(lost_files_come_back), TEST(limits),
        TEST(written_by_another), TEST(leftovers), TEST(same_blobs_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* talos check finds every broken promise, one at a time, and a backup opens as a data directory. */
#include "base/err.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/check.h"
#include "tests/unit/store/tmp.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char done_run[] = "01890a5d-ac96-774b-bcce-b302099a8057", live_run[] = "01890a5d-ac96-774b-bcce-b302099a8058";
static struct tl_db *db;
static struct tl_blobs *blobs;
static char said[4096];

struct entry {
    enum tl_table table;
    uint8_t key[128];
    size_t len;
    const char *value;
};

static int put_entry(struct tl_txn *txn, void *arg)
{
    struct entry *e = arg;
    return e->value ? tl_txn_put(txn, e->table, e->key, e->len, e->value, strlen(e->value))
                    : tl_txn_del(txn, e->table, e->key, e->len);
}

static void put(struct entry e, const char *value)
{
    e.value = value;
    assert_int_equal(tl_db_update(db, put_entry, &e), 0);
}

/* Key parts: an organisation (with its NUL) or NULL, an id or hash as text or NULL, a number or 0. */
static struct entry key(enum tl_table table, const char *org, const char *hex, uint64_t number)
{
    struct entry e = {.table = table};
    struct tl_id id;
    if (org) {
        e.len = strlen(org) + 1;
        memcpy(e.key, org, e.len);
    }
    if (hex && tl_id_parse(hex, &id)) {
        memcpy(e.key + e.len, id.b, TL_ID_LEN);
        e.len += TL_ID_LEN;
    } else if (hex) {
        assert_true(tl_unhex(hex, e.key + e.len, TL_SHA256_LEN));
        e.len += TL_SHA256_LEN;
    }
    if (number) {
        tl_key_u64(e.key + e.len, number);
        e.len += 8;
    }
    return e;
}

static char *record(const char *id, const char *status, int last)
{
    static char text[256];
    snprintf(text, sizeof(text), "{\"id\":\"%s\",\"org\":\"acme\",\"status\":\"%s\",\"last_seq\":%d}", id, status, last);
    return text;
}

static char *event(const char *id, int seq)
{
    static char text[256];
    snprintf(text, sizeof(text), "{\"event_id\":\"%s:%d\",\"run_id\":\"%s\",\"seq\":%d}", id, seq, id, seq);
    return text;
}

static const char file_ok[] = "{\"name\":\"a\",\"bytes\":3,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}";

/* A result that was used at the time "20260101", the list of what was used then, and the count of both. */
static const char result_ok[] = "2-20260101 and so on";
enum { USES_KEY = 8 + 5 + 32, RESULT_KEY = 5 + 32 };

static int put_uses(struct tl_txn *txn, void *arg)
{
    uint8_t k[USES_KEY] = "20260101acme", meta[16] = {0};
    (void)arg;
    assert_true(tl_unhex(abc, k + 8 + 5, 32));
    tl_key_u64(meta, RESULT_KEY + strlen(result_ok) + USES_KEY + 32);
    int err = tl_txn_put(txn, TL_TBL_META, "results", 7, meta, sizeof(meta));
    return err ? err : tl_txn_put(txn, TL_TBL_RESULT_AGE, k, sizeof(k), k + 8 + 5, 32);
}

static int put_no_uses(struct tl_txn *txn, void *arg)
{
    uint8_t k[USES_KEY] = "20260101acme", other[32] = {1};
    (void)arg;
    assert_true(tl_unhex(abc, k + 8 + 5, 32));
    return tl_txn_put(txn, TL_TBL_RESULT_AGE, k, sizeof(k), other, 32);
}

/* A directory in which all is well. */
static int setup(void **state)
{
    char hex[TL_SHA256_HEX];
    struct tl_blob_writer *w;
    if (tmp_setup(state) < 0)
        return -1;
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_blobs_open(tmp_path("data"), db, &blobs), 0);
    assert_int_equal(tl_blob_begin(blobs, 0, &w), 0);
    assert_int_equal(tl_blob_write(w, "abc", 3), 0);
    assert_int_equal(tl_blob_commit(w, hex, NULL), 0);
    put(key(TL_TBL_RUN, NULL, done_run, 0), record(done_run, "done", 3));
    put(key(TL_TBL_RUN, NULL, live_run, 0), record(live_run, "running", 1));
    put(key(TL_TBL_RUN_ORG, "acme", done_run, 0), "");
    put(key(TL_TBL_RUN_ORG, "acme", live_run, 0), "");
    put(key(TL_TBL_RUN_LIVE, NULL, live_run, 0), "");
    put(key(TL_TBL_RUN_DOC, NULL, live_run, 0), "{}");
    for (int i = 1; i <= 3; i++)
        put(key(TL_TBL_EVENT, NULL, done_run, (uint64_t)i), event(done_run, i));
    put(key(TL_TBL_EVENT, NULL, live_run, 1), event(live_run, 1));
    put(key(TL_TBL_FILE, "acme", done_run, 0), file_ok);
    put(key(TL_TBL_SEALED, NULL, abc, 0), "bytes");
    put(key(TL_TBL_WRAP, NULL, abc, 0), "bytes");
    put(key(TL_TBL_RESULT, "acme", abc, 0), result_ok);
    assert_int_equal(tl_db_update(db, put_uses, NULL), 0);
    struct entry capsule = {.table = TL_TBL_CAPSULE, .key = "auteur.x\0001.0.0", .len = 14};
    put(capsule, "{\"digest\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}");
    return 0;
}

static int teardown(void **state)
{
    tl_blobs_close(blobs);
    tl_db_close(db);
    return tmp_teardown(state);
}

static void say(void *arg, const char *text)
{
    (void)arg;
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "%s\n", text);
}

static uint64_t problems(bool deep)
{
    struct tl_check_counts counts;
    said[0] = '\0';
    assert_int_equal(tl_db_check(db, tmp_path("data"), deep, say, NULL, &counts), 0);
    assert_int_equal(counts.problems != 0, said[0] != 0);
    return counts.problems;
}

static void well(void **state)
{
    (void)state;
    struct tl_check_counts counts;
    assert_int_equal(problems(true), 0);
    assert_int_equal(tl_db_check(db, tmp_path("data"), true, NULL, NULL, &counts), 0);
    assert_int_equal(counts.blobs, 1);
    assert_int_equal(counts.bytes, 3);
    assert_int_equal(counts.entries, 1 + 2 + 2 + 1 + 1 + 4 + 1 + 1 + 1 + 1 + 1 + 1 + 2);
}

/* Does one thing wrong, wants it said, puts it right again. */
static void wrong(struct entry e, const char *value, const char *words)
{
    struct tl_db_stat before, after;
    put(e, value);
    assert_int_equal(tl_db_stat(db, &before), 0);
    if (problems(false) == 0 || !strstr(said, words))
        fail_msg("wanted \"%s\", got \"%s\"", words, said);
    assert_int_equal(tl_db_stat(db, &after), 0);
    assert_int_equal(before.writes, after.writes);
}

static void every_broken_promise(void **state)
{
    (void)state;
    struct entry e = key(TL_TBL_RUN, NULL, done_run, 0);
    wrong(e, record(done_run, "running", 3), "not among those that have not ended");
    wrong(e, record(done_run, "finished", 3), "unknown status");
    wrong(e, record(live_run, "done", 3), "another id");
    wrong(e, record(done_run, "done", 2), "events after its last");
    wrong(e, record(done_run, "done", 4), "its last event, 4, is missing");
    wrong(e, record(done_run, "done", 0), "is missing");
    wrong(e, "[]", "not a JSON object");
    wrong(e, "{", "not a JSON object");
    wrong(e, NULL, "is listed and does not exist");
    wrong(e, "{\"id\":\"01890a5d-ac96-774b-bcce-b302099a8057\",\"org\":\"other\",\"status\":\"done\",\"last_seq\":3}",
          "listed for another organisation");
    put(e, record(done_run, "done", 3));
    e = key(TL_TBL_RUN_LIVE, NULL, live_run, 0);
    wrong(e, NULL, "not among those that have not ended");
    put(e, "");
    e = key(TL_TBL_RUN_LIVE, NULL, done_run, 0);
    wrong(e, "", "still among those");
    put(e, NULL);
    e = key(TL_TBL_RUN_LIVE, NULL, "01890a5d-ac96-774b-bcce-000000000000", 0);
    wrong(e, "", "does not exist");
    put(e, NULL);
    e = key(TL_TBL_RUN_DOC, NULL, live_run, 0);
    wrong(e, NULL, "started with is missing");
    put(e, "{}");
    e = key(TL_TBL_RUN_ORG, "acme", live_run, 0);
    wrong(e, NULL, "not in its organisation's list");
    put(e, "");
    e = key(TL_TBL_EVENT, NULL, done_run, 2);
    wrong(e, NULL, "event 3 follows 1");
    wrong(e, event(done_run, 7), "says it is another");
    put(e, event(done_run, 2));
    e = key(TL_TBL_EVENT, NULL, "01890a5d-ac96-774b-bcce-000000000000", 1);
    wrong(e, event("01890a5d-ac96-774b-bcce-000000000000", 1), "has events and does not exist");
    put(e, NULL);
    e = key(TL_TBL_FILE, "acme", done_run, 0);
    wrong(e, "{\"bytes\":3}", "has no hash");
    wrong(e, "{\"bytes\":4,\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}", "3 bytes, not 4");
    wrong(e, "{\"bytes\":3,\"sha256\":\"aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}", "not registered");
    put(e, file_ok);
    e = key(TL_TBL_WRAP, NULL, abc, 0);
    wrong(e, NULL, "no entry in wrap");
    put(e, "bytes");
    e = key(TL_TBL_SEALED, NULL, abc, 0);
    wrong(e, NULL, "no entry in sealed");
    assert_non_null(strstr(said, "auteur.x: its sealed blob is missing"));
    put(e, "bytes");
    e = key(TL_TBL_RESULT, "acme", abc, 0);
    wrong(e, "{}", "not its form");
    wrong(e, "2-20260102 and so on", "missing in the list");
    wrong(e, "2-20260101 and so on, longer", "bytes are counted");
    put(e, result_ok);
    assert_int_equal(tl_db_update(db, put_no_uses, NULL), 0);
    assert_int_equal(problems(false), 1);
    assert_non_null(strstr(said, "missing in the list"));
    assert_int_equal(tl_db_update(db, put_uses, NULL), 0);
    e = (struct entry){.table = TL_TBL_RESULT_AGE, .key = "2026", .len = 4};
    wrong(e, "x", "has not this table's form");
    put(e, NULL);
    e = (struct entry){.table = TL_TBL_RESULT, .key = "acme", .len = 9};
    wrong(e, "{}", "not this table's form");
    put(e, NULL);
    e = (struct entry){.table = TL_TBL_CANVAS, .key = "acme", .len = 4};
    wrong(e, "{}", "without organisation");
    put(e, NULL);
    assert_int_equal(problems(true), 0);
}

static void damaged_blobs(void **state)
{
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.3000s/ba/%s", tmp_path("data/blobs"), abc);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 1), 1);
    close(fd);
    assert_int_equal(problems(false), 0);
    assert_int_equal(problems(true), 1);
    assert_non_null(strstr(said, "other bytes than its name says"));
    assert_int_equal(truncate(path, 2), 0);
    assert_int_equal(problems(false), 2); /* the entry's and the file's */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(problems(true), 2);
    assert_non_null(strstr(said, "is missing"));
}

static void backs_up(void **state)
{
    (void)state;
    struct tl_db *copy;
    struct tl_blobs *copied;
    struct stat a, b;
    uint64_t size;
    int fd;
    struct tl_check_counts counts;
    assert_int_equal(mkdir(tmp_path("full"), 0700), 0);
    close(open(tmp_path("full/x"), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(tl_store_backup(db, tmp_path("data"), tmp_path("full")), TL_ECONFLICT);
    close(open(tmp_path("data/blobs/tmp-0123456789abcdef0123456789abcdef"), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdir(tmp_path("empty"), 0700), 0);
    assert_int_equal(tl_store_backup(db, tmp_path("data"), tmp_path("empty")), 0);
    assert_int_equal(tl_store_backup(db, tmp_path("data"), tmp_path("new/one")), 0);
    assert_int_equal(access(tmp_path("empty/blobs/tmp-0123456789abcdef0123456789abcdef"), F_OK), -1);
    assert_int_equal(tl_db_open(tmp_path("new/one"), TL_DB_EXCLUSIVE, &copy), 0);
    assert_int_equal(tl_blobs_open(tmp_path("new/one"), copy, &copied), 0);
    assert_int_equal(tl_db_check(copy, tmp_path("new/one"), true, say, NULL, &counts), 0);
    assert_int_equal(counts.problems, 0);
    assert_int_equal(counts.blobs, 1);
    assert_int_equal(tl_blob_open(copied, abc, &fd, &size), 0);
    assert_int_equal(fstat(fd, &a), 0);
    close(fd);
    tl_blobs_close(copied);
    tl_db_close(copy);
    assert_int_equal(tl_blob_open(blobs, abc, &fd, &size), 0);
    assert_int_equal(fstat(fd, &b), 0);
    close(fd);
    assert_true(a.st_ino == b.st_ino && b.st_nlink == 3); /* hard links: the temporary folder is one file system */
}

/* A deleted value is in the database file for some time, and never in a backup. */
static void backup_forgets(void **state)
{
    (void)state;
    struct entry e = {.table = TL_TBL_KEY, .key = "k", .len = 1};
    put(e, "a secret that was deleted");
    put(e, NULL);
    assert_int_equal(tl_store_backup(db, tmp_path("data"), tmp_path("copy")), 0);
    static const char *const files[] = {"data/db/data.mdb", "copy/db/data.mdb"};
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        int fd = open(tmp_path(files[i]), O_RDONLY);
        assert_int_equal(fstat(fd, &st), 0);
        char *all = malloc((size_t)st.st_size);
        assert_int_equal(read(fd, all, (size_t)st.st_size), st.st_size);
        assert_int_equal(memmem(all, (size_t)st.st_size, "a secret that was deleted", 25) != NULL, i == 0);
        free(all);
        close(fd);
    }
}

static void without_blobs(void **state)
{
    (void)state;
    struct tl_db *bare;
    struct tl_check_counts counts;
    assert_int_equal(tl_db_open(tmp_path("bare"), TL_DB_CREATE, &bare), 0);
    assert_int_equal(tl_db_check(bare, tmp_path("bare"), true, say, NULL, &counts), 0);
    assert_int_equal(counts.problems, 0);
    assert_int_equal(tl_store_backup(bare, tmp_path("bare"), tmp_path("bare2")), 0);
    tl_db_close(bare);
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(well), TEST(every_broken_promise), TEST(damaged_blobs), TEST(backs_up), TEST(backup_forgets), TEST(without_blobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A store that keeps its word: a scripted life of the store, again and again, each time with the next write, sync, name or allocation failing, until one life
 * needs no more of them. Whatever fails: nothing is acknowledged that is not there afterwards, nothing is half there, the error says what it was, writing ends
 * exactly where the state of the disk is not known any more, and reading goes on. */
#include "tests/unit/store/faults.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/check.h"
#include "tests/unit/store/tmp.h"

#include <semaphore.h>
#include <setjmp.h>

#include <cmocka.h>

enum { ITEMS = 24, BLOBS = 3, BIG = 40000, NOT_RUN = 1 };

/* What a function does to its item, which is a pair of keys that must both be there with one value, or neither. */
enum deed {
    DO_PUT,
    DO_BIG,      /* values of several pages */
    DO_CONFLICT, /* changes, then adds a key that is there */
    DO_REFUSE,   /* changes half, then refuses */
};

struct item {
    int number;
    enum deed deed;
    int put, del; /* what was answered, or NOT_RUN */
};

static struct tl_db *db;
static struct tl_blobs *blobs;
static struct item items[ITEMS];
static struct {
    int ret;
    char hex[TL_SHA256_HEX];
    uint64_t size;
} stored[BLOBS];
static long life; /* the number of the call that fails */
static int opened, blobs_opened, backed_up, last_put;
static uint8_t bytes[300000];
static sem_t gate_shut, gate_open, told;

static size_t key_of(const struct item *it, uint8_t key[16])
{
    memcpy(key, "item", 5);
    tl_key_u64(key + 5, (uint64_t)it->number);
    return 13;
}

static int put_item(struct tl_txn *txn, void *arg)
{
    const struct item *it = arg;
    uint8_t key[16];
    size_t len = key_of(it, key), size = it->deed == DO_BIG ? BIG : 20 + (size_t)it->number;
    int err = tl_txn_put(txn, TL_TBL_META, key, len, bytes + it->number, size);
    if (!err && it->deed == DO_REFUSE)
        return TL_EFORBIDDEN;
    if (!err && it->deed == DO_CONFLICT) {
        return tl_txn_add(txn, TL_TBL_META, key, len, "x", 1);
    }
    return err ? err : tl_txn_add(txn, TL_TBL_KEY, key, len, bytes + it->number, size);
}

static int del_item(struct tl_txn *txn, void *arg)
{
    uint8_t key[16];
    size_t len = key_of(arg, key);
    int err = tl_txn_del(txn, TL_TBL_META, key, len);
    return err ? err : tl_txn_del(txn, TL_TBL_KEY, key, len);
}

static void put_done(void *arg, int err)
{
    struct item *it = arg;
    assert_int_equal(it->put, NOT_RUN); /* told once */
    it->put = err;
    sem_post(&told);
}

static int wait_at_gate(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    sem_post(&gate_shut);
    while (sem_wait(&gate_open) < 0)
        ;
    return 0;
}

/* These items in one batch: the writer is held until all of them are queued. */
static void put_together(int from, int to)
{
    int waiting = 0;
    bool held = tl_db_submit(db, wait_at_gate, NULL, NULL) == 0;
    while (held && sem_wait(&gate_shut) < 0)
        ;
    for (int i = from; i < to; i++) {
        int err = tl_db_submit(db, put_item, &items[i], put_done);
        if (err)
            items[i].put = err;
        waiting += !err;
    }
    if (held)
        sem_post(&gate_open);
    items[to].put = tl_db_update(db, put_item, &items[to]);
    for (; waiting; waiting--) /* where writing has ended, the update was refused at once */
        while (sem_wait(&told) < 0)
            ;
}

static void store_blob(int i, const void *p, size_t len)
{
    struct tl_blob_writer *w;
    int err = tl_blob_begin(blobs, 0, &w);
    for (size_t at = 0; !err && at < len; at += 100000)
        err = tl_blob_write(w, (const char *)p + at, len - at < 100000 ? len - at : 100000);
    if (!err)
        stored[i].ret = tl_blob_commit(w, stored[i].hex, &stored[i].size);
    else {
        stored[i].ret = err;
        tl_blob_abort(w);
    }
}

static int get_pair(struct tl_txn *txn, const struct item *it)
{
    uint8_t key[16];
    struct tl_bytes a, b;
    size_t len = key_of(it, key);
    int first = tl_txn_get(txn, TL_TBL_META, key, len, &a), second = tl_txn_get(txn, TL_TBL_KEY, key, len, &b);
    if (first != second)
        fail_msg("item %d is half there: %s, %s", it->number, tl_err_text(first), tl_err_text(second));
    if (!first &&
        (a.len != b.len || memcmp(a.data, b.data, a.len) != 0 || memcmp(a.data, bytes + it->number, a.len) != 0))
        fail_msg("item %d has other bytes", it->number);
    return first;
}

static int count_one(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)value;
    *(int *)arg += key.len == 13;
    return 0;
}

/* One snapshot holds whole pairs only. */
static int look_at_all(struct tl_txn *txn, void *arg)
{
    int a = 0, b = 0, err = 0;
    struct tl_scan scan = {.table = TL_TBL_META, .prefix = "item", .prefix_len = 4};
    for (int i = 0; !err && i < ITEMS; i++) {
        err = get_pair(txn, &items[i]);
        err = err == TL_ENOTFOUND ? 0 : err;
    }
    if (!err)
        err = tl_txn_scan(txn, &scan, count_one, &a);
    scan.table = TL_TBL_KEY;
    scan.reverse = true;
    if (!err)
        err = tl_txn_scan(txn, &scan, count_one, &b);
    if (!err)
        assert_int_equal(a, b);
    *(int *)arg = a;
    return err;
}

static void forget(void)
{
    for (int i = 0; i < ITEMS; i++)
        items[i] = (struct item){.number = i, .put = NOT_RUN, .del = NOT_RUN};
    items[6].deed = items[9].deed = DO_CONFLICT;
    items[8].deed = DO_REFUSE;
    items[10].deed = items[16].deed = DO_BIG;
    for (int i = 0; i < BLOBS; i++)
        stored[i].ret = NOT_RUN;
    opened = blobs_opened = backed_up = last_put = NOT_RUN;
    db = NULL;
    blobs = NULL;
}

static void live(void)
{
    int count;
    opened = tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db);
    if (opened)
        return;
    blobs_opened = tl_blobs_open(tmp_path("data"), db, &blobs);
    for (int i = 0; i < 3; i++)
        items[i].put = tl_db_update(db, put_item, &items[i]);
    put_together(3, 13); /* with failures in it: run again, nested */
    put_together(14, 17);
    for (int i = 1; i < 12; i += 5)
        items[i].del = tl_db_update(db, del_item, &items[i]);
    if (!blobs_opened) {
        store_blob(0, bytes, sizeof(bytes));
        store_blob(1, "abc", 3);
        store_blob(2, bytes, sizeof(bytes));
    }
    items[18].put = tl_db_update(db, put_item, &items[18]);
    tl_db_read(db, look_at_all, &count);
    backed_up = tl_store_backup(db, tmp_path("data"), tmp_path("backup"));
    items[19].put = tl_db_update(db, put_item, &items[19]);
}

static const char *say(int err)
{
    return err == NOT_RUN ? "not run" : err ? tl_err_text(err) : "done";
}

/* The codes that this fault may become, beside what the function itself answers. */
static void check_code(const char *what, int ret, int natural)
{
    bool ok = ret == 0 || ret == NOT_RUN || ret == natural;
    if (fault.hit_kind == FAULT_MEMORY)
        ok = ok || ret == TL_ENOMEM || (strcmp(fault.hit_path, "pthread_create") == 0 && ret == TL_EAGAIN);
    else if (fault.hit_kind)
        ok = ok || ret == tl_err_from_errno(fault.err) || (fault.mode == FAULT_SHORT && ret == TL_EIO);
    if (!ok)
        fail_msg("%s answered %d, %s", what, ret, tl_err_text(ret));
}

static void check_codes(void)
{
    check_code("opening", opened, 0);
    check_code("opening blobs", blobs_opened, 0);
    check_code("the backup", backed_up, fault.watched_dsync ? TL_EIO : 0);
    for (int i = 0; i < BLOBS; i++)
        check_code("a blob", stored[i].ret, 0);
    for (int i = 0; i < ITEMS; i++) {
        int natural = items[i].deed == DO_CONFLICT ? TL_ECONFLICT : items[i].deed == DO_REFUSE ? TL_EFORBIDDEN : 0;
        check_code("a write", items[i].put, natural);
        check_code("a deletion", items[i].del, items[i].put ? TL_ENOTFOUND : 0);
        if (natural)
            assert_int_not_equal(items[i].put, 0);
    }
}

/* Before the store is closed: it is read-only where a write or a sync of the database failed and nowhere else, and it is read in any case; but
 * where the page failed that makes a commit valid, nobody knows which of the two states is the last, and so none is shown. */
static void check_alive(void)
{
    int count;
    assert_int_equal(tl_db_read_only(db), fault.watched_hits > 0);
    assert_int_equal(tl_db_read(db, look_at_all, &count), fault.watched_dsync ? TL_EIO : 0);
    last_put = tl_db_update(db, put_item, &items[20]);
    items[20].put = last_put;
    if (fault.watched_hits)
        assert_true(last_put == tl_err_from_errno(fault.err) || (fault.mode == FAULT_SHORT && last_put == TL_EIO));
    else
        assert_int_equal(last_put, 0);
}

/* What must be there, and what must not. */
static int check_items(struct tl_txn *txn, void *arg)
{
    bool unknown = *(bool *)arg; /* what was answered by an error of the disk may have come through */
    for (int i = 0; i < ITEMS; i++) {
        const struct item *it = &items[i];
        int there = get_pair(txn, it);
        bool put_maybe = unknown && (it->put == TL_EIO || it->put == TL_EFULL);
        bool del_maybe = unknown && (it->del == TL_EIO || it->del == TL_EFULL);
        bool must = it->put == 0 && it->del != 0 && !del_maybe, may = must || put_maybe || del_maybe;
        if (there == 0 ? !may : must)
            fail_msg("item %d is %s; its write: %s, its deletion: %s", i, there ? "not there" : "there", say(it->put),
                     say(it->del));
    }
    return 0;
}

static void print_problem(void *arg, const char *text)
{
    (void)arg;
    print_error("%s\n", text);
}

static void check_store(const char *dir, bool backup)
{
    struct tl_check_counts counts;
    bool unknown = !backup && (fault.watched_dsync || fault.mode == FAULT_CUT);
    int count;
    assert_int_equal(tl_db_open(dir, backup ? 0 : TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_blobs_open(dir, db, &blobs), 0);
    assert_int_equal(tl_db_check(db, dir, true, print_problem, NULL, &counts), 0);
    assert_int_equal(counts.problems, 0);
    if (!backup)
        assert_int_equal(tl_db_read(db, check_items, &unknown), 0);
    assert_int_equal(tl_db_read(db, look_at_all, &count), 0);
    for (int i = 0; i < BLOBS; i++) {
        int fd;
        uint64_t size;
        if (stored[i].ret != 0)
            continue;
        assert_int_equal(tl_blob_open(blobs, stored[i].hex, &fd, &size), 0);
        assert_int_equal(size, stored[i].size);
        close(fd);
    }
    if (!backup)
        assert_int_equal(tl_db_update(db, put_item, &items[21]), 0);
    tl_blobs_close(blobs);
    tl_db_close(db);
}

/* Says which life it was that failed. */
static int life_ends(void **state)
{
    fault_disarm();
    if (life)
        print_error("with call %ld failing: kind %u on %s\n", life, fault.hit_kind, fault.hit_path);
    life = 0;
    return tmp_teardown(state);
}

static void remove_dir(const char *dir)
{
    if (access(dir, F_OK) == 0)
        assert_int_equal(nftw(dir, tmp_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* A life for each call of these kinds, with that call failing. Returns how many there were. */
static long each(unsigned kinds, enum fault_mode mode, int err, bool every_second)
{
    for (long n = 1;; n++) {
        life = n;
        forget();
        fault_arm(kinds, mode, err, n, tmp_path("data/db/data.mdb"));
        live();
        bool hit = fault_disarm();
        check_codes();
        if (!opened && mode != FAULT_CUT)
            check_alive();
        tl_blobs_close(blobs);
        tl_db_close(db);
        if (mode == FAULT_CUT)
            fault_cut_power(every_second);
        check_store(tmp_path("data"), false);
        if (!backed_up)
            check_store(tmp_path("backup"), true);
        remove_dir(tmp_path("data"));
        remove_dir(tmp_path("backup"));
        life = 0;
        if (!hit)
            return n - 1;
    }
}

static void every_write_fails(void **state)
{
    (void)state;
    long once = each(FAULT_WRITE, FAULT_ONCE, EIO, false), full = each(FAULT_WRITE, FAULT_ON, ENOSPC, false),
         half = each(FAULT_WRITE, FAULT_SHORT, ENOSPC, false);
    print_message("%ld, %ld and %ld writes\n", once, full, half);
    assert_true(once > 20 && full > 20 && half > 20); /* the layer is in the way */
}

static void every_sync_fails(void **state)
{
    (void)state;
    long once = each(FAULT_SYNC, FAULT_ONCE, EIO, false), on = each(FAULT_SYNC, FAULT_ON, EIO, false);
    print_message("%ld and %ld syncs\n", once, on);
    assert_true(once > 20 && on > 20);
}

static void every_name_fails(void **state)
{
    (void)state;
    long once = each(FAULT_NAME, FAULT_ONCE, EIO, false), full = each(FAULT_NAME, FAULT_ON, ENOSPC, false);
    print_message("%ld and %ld names\n", once, full);
    assert_true(once > 20 && full > 20);
}

static void every_allocation_fails(void **state)
{
    (void)state;
    long once = each(FAULT_MEMORY, FAULT_ONCE, ENOMEM, false), on = each(FAULT_MEMORY, FAULT_ON, ENOMEM, false);
    print_message("%ld and %ld allocations\n", once, on);
    assert_true(!fault_memory_works || (once > 50 && on > 50));
}

static void power_is_cut_anywhere(void **state)
{
    (void)state;
    unsigned kinds = FAULT_WRITE | FAULT_SYNC | FAULT_NAME;
    long all = each(kinds, FAULT_CUT, EIO, false), some = each(kinds, FAULT_CUT, EIO, true);
    print_message("%ld and %ld power cuts\n", all, some);
    assert_true(all > 60 && some > 60);
}

static int prepare(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    sem_init(&gate_shut, 0, 0);
    sem_init(&gate_open, 0, 0);
    sem_init(&told, 0, 0);
    tl_sha256_free(tl_sha256_new()); /* the library makes its own things once */
    return 0;
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, tmp_setup, life_ends)
    const struct CMUnitTest tests[] = {
        TEST(every_write_fails),      TEST(every_sync_fails),      TEST(every_name_fails),
        TEST(every_allocation_fails), TEST(power_is_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}

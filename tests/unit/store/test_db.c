/* The database: opening and locks, transactions, scans, group commit, a full map, a second process. */
#include "base/err.h"
#include "base/mem.h"
#include "store/db_priv.h"
#include "tests/unit/store/tmp.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { SERVE = TL_DB_CREATE | TL_DB_EXCLUSIVE };

static struct tl_db *open_db(unsigned flags)
{
    struct tl_db *db;
    assert_int_equal(tl_db_open(tmp_path("data"), flags, &db), 0);
    return db;
}

struct kv {
    enum tl_table table;
    const char *key, *value; /* value NULL: delete */
    int ret;                 /* what the function returns at the end */
};

static int put_kv(struct tl_txn *txn, void *arg)
{
    struct kv *k = arg;
    int err = k->value ? tl_txn_put(txn, k->table, k->key, strlen(k->key), k->value, strlen(k->value))
                       : tl_txn_del(txn, k->table, k->key, strlen(k->key));
    return err ? err : k->ret;
}

static int put_text(struct tl_db *db, const char *key, const char *value)
{
    struct kv k = {TL_TBL_META, key, value, 0};
    return tl_db_update(db, put_kv, &k);
}

struct got {
    const char *key;
    char value[64];
};

static int get_kv(struct tl_txn *txn, void *arg)
{
    struct got *g = arg;
    struct tl_bytes b;
    int err = tl_txn_get(txn, TL_TBL_META, g->key, strlen(g->key), &b);
    if (!err)
        snprintf(g->value, sizeof(g->value), "%.*s", (int)b.len, (const char *)b.data);
    return err;
}

static int get_text(struct tl_db *db, const char *key, char *ret)
{
    struct got g = {.key = key};
    int err = tl_db_read(db, get_kv, &g);
    if (ret)
        memcpy(ret, g.value, sizeof(g.value));
    return err;
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(tmp_path(name), &st), 0);
    return st.st_mode & 07777;
}

static void opens_and_keeps(void **state)
{
    (void)state;
    struct tl_db *db;
    char v[64];
    mode_t old = umask(0);
    assert_int_equal(tl_db_open(tmp_path("a/b/data"), 0, &db), TL_ENOTFOUND);
    assert_null(db);
    assert_int_equal(access(tmp_path("a"), F_OK), -1);
    assert_int_equal(tl_db_open(tmp_path("a/b/data"), SERVE, &db), 0);
    assert_int_equal(put_text(db, "k", "v"), 0);
    assert_false(tl_db_read_only(db));
    tl_db_close(db);
    umask(old);
    assert_int_equal(mode_of("a/b/data"), 0700);
    assert_int_equal(mode_of("a/b/data/db"), 0700);
    assert_int_equal(mode_of("a/b/data/db/data.mdb"), 0600);
    assert_int_equal(mode_of("a/b/data/db/lock.mdb"), 0600);
    assert_int_equal(mode_of("a/b/data/lock"), 0600);
    assert_int_equal(tl_db_open(tmp_path("a/b/data"), TL_DB_READ, &db), 0);
    assert_true(tl_db_read_only(db));
    assert_int_equal(get_text(db, "k", v), 0);
    assert_string_equal(v, "v");
    assert_int_equal(put_text(db, "k", "w"), TL_EINVAL);
    tl_db_close(db);
    tl_db_close(NULL);
}

/* A child process that runs another program gets nothing of the database. */
static void nothing_is_inherited(void **state)
{
    (void)state;
    struct tl_db *db = open_db(SERVE);
    char link[64], path[PATH_MAX];
    int ours = 0;
    for (int fd = 3; fd < 100; fd++) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof(path) - 1);
        path[n > 0 ? n : 0] = '\0';
        if (strncmp(path, tmp_dir, strlen(tmp_dir)) != 0)
            continue;
        ours++;
        if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC))
            fail_msg("%s is inherited", path);
    }
    assert_in_range(ours, 3, 10);
    tl_db_close(db);
}

static void other_files_stay(void **state)
{
    (void)state;
    assert_int_equal(mkdir(tmp_path("data"), 0755), 0);
    int fd = open(tmp_path("data/notes.txt"), O_CREAT | O_WRONLY, 0644);
    close(fd);
    tl_db_close(open_db(SERVE));
    assert_int_equal(mode_of("data"), 0755);
    assert_int_equal(mode_of("data/notes.txt"), 0644);
    struct tl_db *db;
    assert_int_equal(tl_db_open(tmp_path("data/notes.txt"), SERVE, &db), TL_EINVAL);
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void damage_is_refused(void **state)
{
    (void)state;
    struct tl_db *db = open_db(SERVE);
    assert_int_equal(put_text(db, "schema", "99"), 0);
    tl_db_close(db);
    assert_int_equal(tl_db_open(tmp_path("data"), SERVE, &db), TL_ECORRUPT);
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_READ, &db), TL_ECORRUPT);
    char junk[8192];
    memset(junk, 'x', sizeof(junk));
    write_file(tmp_path("data/db/data.mdb"), junk, sizeof(junk));
    assert_int_equal(tl_db_open(tmp_path("data"), SERVE, &db), TL_ECORRUPT);
    write_file(tmp_path("data/db/data.mdb"), junk, 100);
    assert_int_equal(tl_db_open(tmp_path("data"), SERVE, &db), TL_ECORRUPT);
    write_file(tmp_path("data/db/data.mdb"), junk, 0);
    assert_int_equal(tl_db_open(tmp_path("data"), 0, &db), TL_ECORRUPT);
}

/* A copy that did not end: its pages are missing, which must not kill whoever opens it. */
static void short_file_is_refused(void **state)
{
    (void)state;
    struct tl_db *db = open_db(SERVE);
    assert_int_equal(put_text(db, "k", "v"), 0);
    tl_db_close(db);
    assert_int_equal(truncate(tmp_path("data/db/data.mdb"), 2 * 4096), 0);
    assert_int_equal(tl_db_open(tmp_path("data"), TL_DB_READ, &db), TL_ECORRUPT);
    assert_int_equal(truncate(tmp_path("data/db/data.mdb"), 2 * 4096), 0);
    assert_int_equal(tl_db_open(tmp_path("data"), SERVE, &db), TL_ECORRUPT);
}

static void one_server_only(void **state)
{
    (void)state;
    struct tl_db *db = NULL, *again;
    int to_child[2], from_child[2];
    char c;
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(from_child), 0);
    pid_t child = fork(); /* before anything is open here */
    if (child == 0) {
        struct tl_db *mine;
        if (tl_db_open(tmp_path("data"), SERVE, &mine) == 0)
            c = put_text(mine, "who", "child") == 0 ? 'y' : 'n';
        else
            c = 'n';
        if (fork() == 0) { /* one that outlives it, as a program that is being started may; ends with this test */
            close(to_child[1]);
            _exit(read(to_child[0], &c, 1) == 0);
        }
        if (write(from_child[1], &c, 1) == 1 && read(to_child[0], &c, 1) == 1)
            pause(); /* until it is killed, with the lock held */
        _exit(1);
    }
    assert_int_equal(read(from_child[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(tl_db_open(tmp_path("data"), SERVE, &db), TL_EBUSY);
    /* beside it: reading and writing as talos token does */
    db = open_db(0);
    char v[64];
    assert_int_equal(get_text(db, "who", v), 0);
    assert_string_equal(v, "child");
    assert_int_equal(put_text(db, "who", "token"), 0);
    assert_int_equal(tl_db_open(tmp_path("data"), 0, &again), TL_EBUSY); /* twice in one process */
    tl_db_close(db);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    db = open_db(SERVE);
    assert_int_equal(get_text(db, "who", v), 0);
    assert_string_equal(v, "token");
    tl_db_close(db);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(from_child[i]);
    }
}

static int key_bounds(struct tl_txn *txn, void *arg)
{
    (void)arg;
    char key[600];
    struct tl_bytes b;
    memset(key, 'k', sizeof(key));
    assert_int_equal(tl_txn_put(txn, TL_TBL_META, key, 511, "", 0), 0);
    assert_int_equal(tl_txn_get(txn, TL_TBL_META, key, 511, &b), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(tl_txn_put(txn, TL_TBL_META, key, 512, "x", 1), TL_EINVAL);
    assert_int_equal(tl_txn_add(txn, TL_TBL_META, key, 512, "x", 1), TL_EINVAL);
    assert_int_equal(tl_txn_put(txn, TL_TBL_META, key, 0, "x", 1), TL_EINVAL);
    assert_int_equal(tl_txn_get(txn, TL_TBL_META, key, 512, &b), TL_ENOTFOUND);
    assert_null(b.data);
    assert_int_equal(tl_txn_get(txn, TL_TBL_META, key, 0, &b), TL_ENOTFOUND);
    assert_int_equal(tl_txn_del(txn, TL_TBL_META, key, 600), TL_ENOTFOUND);
    assert_int_equal(tl_txn_add(txn, TL_TBL_META, key, 511, "x", 1), TL_ECONFLICT);
    assert_int_equal(tl_txn_del(txn, TL_TBL_META, key, 511), 0);
    assert_int_equal(tl_txn_del(txn, TL_TBL_META, key, 511), TL_ENOTFOUND);
    assert_int_equal(tl_txn_add(txn, TL_TBL_META, key, 511, "x", 1), 0);
    return 7;
}

static int no_write_in_read(struct tl_txn *txn, void *arg)
{
    (void)arg;
    assert_int_equal(tl_txn_put(txn, TL_TBL_META, "a", 1, "b", 1), TL_EINVAL);
    assert_int_equal(tl_txn_del(txn, TL_TBL_META, "a", 1), TL_EINVAL);
    return -3;
}

static int put_large(struct tl_txn *txn, void *arg)
{
    return tl_txn_put(txn, TL_TBL_RESULT, "large", 5, arg, 5 << 20);
}

static int get_large(struct tl_txn *txn, void *arg)
{
    struct tl_bytes b;
    assert_int_equal(tl_txn_get(txn, TL_TBL_RESULT, "large", 5, &b), 0);
    assert_int_equal(b.len, 5 << 20);
    assert_memory_equal(b.data, arg, b.len);
    return 0;
}

static void keys_and_values(void **state)
{
    (void)state;
    struct tl_db *db = open_db(SERVE);
    assert_int_equal(tl_db_update(db, key_bounds, NULL), 7);
    assert_int_equal(tl_db_read(db, no_write_in_read, NULL), -3);
    char *large = malloc(5 << 20);
    for (size_t i = 0; i < 5 << 20; i++)
        large[i] = (char)(i * 31);
    assert_int_equal(tl_db_update(db, put_large, large), 0);
    assert_int_equal(tl_db_read(db, get_large, large), 0);
    free(large);
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_int_equal(st.entries[TL_TBL_RESULT], 1);
    assert_int_equal(st.entries[TL_TBL_META], 2);
    assert_int_equal(st.commits, 2);
    assert_int_equal(st.writes, 2);
    assert_true(st.bytes_used > 5 << 20);
    tl_db_close(db);
}

/* Keeps the writer in a function until the test has queued what belongs into the next batch. */
static sem_t gate_in, gate_out;

static int gate(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    sem_post(&gate_in);
    sem_wait(&gate_out);
    return 0;
}

static void shut_gate(struct tl_db *db)
{
    sem_init(&gate_in, 0, 0);
    sem_init(&gate_out, 0, 0);
    assert_int_equal(tl_db_submit(db, gate, NULL, NULL), 0);
    sem_wait(&gate_in);
}

static int order[16], norder;

struct queued {
    struct kv kv;
    int number, err;
};

static int run_queued(struct tl_txn *txn, void *arg)
{
    struct queued *q = arg;
    return put_kv(txn, &q->kv);
}

static void note_queued(void *arg, int err)
{
    struct queued *q = arg;
    q->err = err;
    order[norder++] = q->number;
}

static void failure_undoes_itself_alone(void **state)
{
    (void)state;
    struct tl_db *db = open_db(SERVE);
    struct queued q[] = {
        {{TL_TBL_META, "a", "1", 0}, 0, 9},
        {{TL_TBL_META, "b", "1", TL_ECONFLICT}, 1, 9}, /* after it has written */
        {{TL_TBL_META, "nothing", NULL, 0}, 2, 9},     /* before it has */
        {{TL_TBL_META, "c", "1", 3}, 3, 9},
        {{TL_TBL_META, "a", "2", TL_EPOLICY}, 4, 9},
        {{TL_TBL_META, "a", "3", 0}, 5, 9},
    };
    static const int expected[] = {0, TL_ECONFLICT, TL_ENOTFOUND, 3, TL_EPOLICY, 0};
    char v[64];
    norder = 0;
    shut_gate(db);
    for (int i = 0; i < 6; i++)
        assert_int_equal(tl_db_submit(db, run_queued, &q[i], note_queued), 0);
    sem_post(&gate_out);
    assert_int_equal(put_text(db, "last", "1"), 0);
    assert_int_equal(norder, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(order[i], i);
        assert_int_equal(q[i].err, expected[i]);
    }
    assert_int_equal(get_text(db, "a", v), 0);
    assert_string_equal(v, "3");
    assert_int_equal(get_text(db, "b", NULL), TL_ENOTFOUND);
    assert_int_equal(get_text(db, "c", NULL), 0);
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_in_range(st.commits, 1, 2); /* the six in one; the last with them or after */
    assert_int_equal(st.writes, 8);
    assert_false(tl_db_read_only(db));
    tl_db_close(db);
}

static int count_up(struct tl_txn *txn, void *arg)
{
    struct tl_bytes b;
    uint8_t n[8] = {0};
    if (tl_txn_get(txn, TL_TBL_META, arg, strlen(arg), &b) == 0)
        memcpy(n, b.data, 8);
    tl_key_u64(n, tl_key_u64_read(n) + 1);
    return tl_txn_put(txn, TL_TBL_META, arg, strlen(arg), n, 8);
}

static int read_count(struct tl_txn *txn, void *arg)
{
    struct tl_bytes b;
    int err = tl_txn_get(txn, TL_TBL_META, arg, strlen(arg), &b);
    return err ? err : (int)tl_key_u64_read(b.data);
}

static struct tl_db *chain_db;
static _Atomic int chain_left;

static void chain(void *arg, int err)
{
    assert_int_equal(err, 0);
    assert_int_equal(tl_db_update(chain_db, count_up, arg), TL_EINTERNAL); /* would wait for itself */
    if (atomic_fetch_sub(&chain_left, 1) > 1)
        assert_int_equal(tl_db_submit(chain_db, count_up, arg, chain), 0);
}

static void closing_runs_what_waits(void **state)
{
    (void)state;
    char name[] = "chain", other[] = "other";
    struct tl_db *db = chain_db = open_db(SERVE);
    atomic_store(&chain_left, 20);
    shut_gate(db);
    assert_int_equal(tl_db_submit(db, count_up, name, chain), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(tl_db_submit(db, count_up, other, NULL), 0);
    sem_post(&gate_out);
    tl_db_close(db);
    db = open_db(TL_DB_READ);
    assert_int_equal(tl_db_read(db, read_count, name), 20);
    assert_int_equal(tl_db_read(db, read_count, other), 100);
    tl_db_close(db);
}

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

static void queue_is_bounded(void **state)
{
    (void)state;
    struct tl_db *db = open_db(SERVE);
    shut_gate(db);
    for (int i = 0; i < TL_DB_QUEUE_MAX; i++)
        assert_int_equal(tl_db_submit(db, nothing, NULL, NULL), 0);
    assert_int_equal(tl_db_submit(db, nothing, NULL, NULL), TL_ETRANSIENT_DB);
    assert_int_equal(tl_db_update(db, nothing, NULL), TL_ETRANSIENT_DB);
    sem_post(&gate_out);
    tl_db_close(db);
}

static char filler[1 << 16];

static int fill_up(struct tl_txn *txn, void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < 1000; i++) {
        uint8_t k[8];
        tl_key_u64(k, i);
        tl_txn_put(txn, TL_TBL_RESULT, k, 8, filler, sizeof(filler)); /* an error that is overlooked counts all the same */
    }
    return 0;
}

static void full_map(void **state)
{
    (void)state;
    struct tl_db *db;
    struct queued q[] = {{{TL_TBL_META, "before", "1", 0}, 0, 9}, {{TL_TBL_META, "after", "1", 0}, 1, 9}};
    struct queued full = {.number = 2, .err = 9};
    norder = 0;
    assert_int_equal(tl_db_open_map(tmp_path("data"), SERVE, 4 << 20, &db), 0);
    shut_gate(db);
    assert_int_equal(tl_db_submit(db, run_queued, &q[0], note_queued), 0);
    assert_int_equal(tl_db_submit(db, fill_up, &full, note_queued), 0);
    assert_int_equal(tl_db_submit(db, run_queued, &q[1], note_queued), 0);
    sem_post(&gate_out);
    while (!tl_db_read_only(db))
        sched_yield();
    assert_int_equal(put_text(db, "later", "1"), TL_EFULL);
    tl_db_close(db);
    assert_int_equal(norder, 3);
    assert_int_equal(full.err, TL_EFULL);
    db = open_db(SERVE);
    for (int i = 0; i < 2; i++) /* acknowledged, so there */
        assert_int_equal(get_text(db, q[i].kv.key, NULL), q[i].err ? TL_ENOTFOUND : 0);
    assert_int_equal(q[0].err, 0);
    assert_int_equal(get_text(db, "later", NULL), TL_ENOTFOUND);
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_int_equal(st.entries[TL_TBL_RESULT], 0);
    assert_int_equal(put_text(db, "later", "1"), 0);
    tl_db_close(db);
}

static void full_disk(void **state)
{
    (void)state;
    struct rlimit old, small;
    struct tl_db *db = open_db(SERVE);
    struct queued full = {.number = 1, .err = 9};
    char v[64];
    assert_int_equal(put_text(db, "k", "v"), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){1 << 20, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    norder = 0;
    assert_int_equal(tl_db_submit(db, fill_up, &full, note_queued), 0);
    while (!tl_db_read_only(db))
        sched_yield();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    int err = put_text(db, "k", "w");
    assert_int_equal(get_text(db, "k", v), 0); /* still read */
    assert_string_equal(v, "v");
    tl_db_close(db);
    assert_true(err == full.err && (err == TL_EFULL || err == TL_EIO)); /* a limit of the process cuts a write short */
    db = open_db(SERVE);
    assert_int_equal(get_text(db, "k", v), 0);
    assert_string_equal(v, "v");
    assert_int_equal(put_text(db, "k", "w"), 0);
    tl_db_close(db);
}

static struct tl_db *busy_db;

static void *busy_writer(void *arg)
{
    for (int i = 0; i < 300; i++) {
        if (tl_db_update(busy_db, count_up, arg) < 0)
            return "update";
        if (i % 50 == 0 && tl_db_submit(busy_db, count_up, arg, NULL) < 0)
            return "submit";
    }
    return NULL;
}

static _Atomic bool busy_end;

static void *busy_reader(void *arg)
{
    for (int last = 0; !atomic_load(&busy_end);) {
        int n = tl_db_read(busy_db, read_count, arg);
        if (n < last && n != TL_ENOTFOUND)
            return "went back";
        last = n > last ? n : last;
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    char name[] = "count";
    struct tl_db *db = busy_db = open_db(SERVE), *copy;
    pthread_t t[8];
    void *why;
    atomic_store(&busy_end, false);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, i < 4 ? busy_writer : busy_reader, name), 0);
    assert_int_equal(mkdir(tmp_path("copy"), 0700), 0);
    assert_int_equal(tl_db_copy(db, tmp_path("copy")), 0);
    assert_int_equal(tl_db_copy(db, tmp_path("copy")), TL_ECONFLICT);
    for (int i = 0; i < 8; i++) {
        atomic_store(&busy_end, i >= 4);
        pthread_join(t[i], &why);
        assert_null(why);
        if (i == 3)
            atomic_store(&busy_end, true);
    }
    assert_int_equal(tl_db_read(db, read_count, name), 4 * 306);
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_int_equal(st.writes, 4 * 306);
    assert_in_range(st.commits, 1, 4 * 306);
    tl_db_close(db);
    assert_int_equal(tl_db_open(tmp_path("copy"), SERVE, &copy), 0);
    int n = tl_db_read(copy, read_count, name);
    assert_true(n == TL_ENOTFOUND || (n > 0 && n <= 4 * 306));
    assert_int_equal(mode_of("copy/db/data.mdb"), 0600);
    tl_db_close(copy);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tmp_setup, tmp_teardown)
    const struct CMUnitTest tests[] = {
        TEST(opens_and_keeps),
        TEST(nothing_is_inherited),
        TEST(other_files_stay),
        TEST(damage_is_refused),
        TEST(short_file_is_refused),
        TEST(one_server_only),
        TEST(keys_and_values),
        TEST(failure_undoes_itself_alone),
        TEST(closing_runs_what_waits),
        TEST(queue_is_bounded),
        TEST(full_map),
        TEST(full_disk),
        TEST(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

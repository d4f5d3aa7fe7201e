/* The writer thread: takes every write that waits, runs them in one transaction, commits once, then tells. */
#include "store/db_priv.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/statvfs.h>

enum {
    DEAD_READERS_US = 30 * 1000000,
    NO_ROOM = 1 << 20,   /* bytes: a disk with less is full */
    NESTED_BATCH = 1024, /* writes: ending a nested transaction costs as much as the batch has changed pages */
};

/* A write or a sync that failed leaves the state of the disk unknown: nothing is written after it until the next start. */
static void fail_for_good(struct tl_db *db, int err)
{
    if (err == TL_EIO || err == TL_EFULL || err == TL_ECORRUPT)
        atomic_store(&db->failed, err == TL_EFULL ? TL_EFULL : TL_EIO);
}

/* LMDB calls a write that was cut short an I/O error; on a disk without room it means that. */
static int commit_err(struct tl_db *db, int rc)
{
    int fd, err = tl_db_err(rc);
    struct statvfs fs;
    bool full = err == TL_EIO && mdb_env_get_fd(db->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 &&
                fs.f_bavail < NO_ROOM / fs.f_frsize + 1;
    return full ? TL_EFULL : err;
}

/* Runs one write, in a transaction of its own below the batch's where nested, so that a failure undoes it alone. Returns false where it has failed
 * and has spoilt the batch's transaction. */
static bool run_one(struct tl_txn *batch, struct tl_write *w, bool nested)
{
    struct tl_txn txn = {.db = batch->db, .mdb = batch->mdb, .writable = true};
    if (nested) {
        int rc = mdb_txn_begin(batch->db->env, batch->mdb, 0, &txn.mdb);
        if (rc) {
            w->ret = tl_db_err(rc);
            w->failed = true;
            return true;
        }
    }
    w->ret = w->fn(&txn, w->arg);
    if (txn.broken) {
        w->ret = txn.broken;
        fail_for_good(batch->db, txn.broken);
    }
    w->failed = w->ret < 0;
    if (nested && w->failed)
        mdb_txn_abort(txn.mdb);
    else if (nested) {
        int rc = mdb_txn_commit(txn.mdb);
        if (rc) {
            w->ret = tl_db_err(rc);
            w->failed = true;
            batch->broken = w->ret;
            return false;
        }
    }
    if (!w->failed) {
        batch->changes += txn.changes;
        batch->bytes += txn.bytes;
        batch->tables |= txn.tables;
    }
    return nested || !w->failed || (!txn.changes && !txn.broken);
}

/* Runs writes from first on until the batch is large enough, and commits. *ret_end is the first write that is not in it. A write that fails
 * after it has changed something makes the batch start over, each write then in a nested transaction: these cost, so only then. Returns the
 * error of the batch as a whole. */
static int run_batch(struct tl_db *db, struct tl_write *first, struct tl_write **ret_end)
{
    struct tl_txn batch;
    struct tl_write *w;
    bool nested = false;
    int left;
again:
    left = nested ? NESTED_BATCH : INT_MAX;
    batch = (struct tl_txn){.db = db, .writable = true};
    *ret_end = NULL;
    int rc = mdb_txn_begin(db->env, NULL, 0, &batch.mdb);
    if (rc) {
        fail_for_good(db, tl_db_err(rc));
        return tl_db_err(rc);
    }
    for (w = first; w && left > 0 && batch.bytes < TL_DB_BATCH_BYTES; w = w->next, left--) {
        if (run_one(&batch, w, nested))
            continue;
        mdb_txn_abort(batch.mdb);
        if (nested)
            return batch.broken;
        nested = true;
        goto again;
    }
    *ret_end = w;
    if (!batch.changes) {
        mdb_txn_abort(batch.mdb);
        return 0;
    }
    atomic_fetch_add(&db->commits_begun, 1);
    int err = commit_err(db, mdb_txn_commit(batch.mdb));
    atomic_fetch_add(&db->commits_ended, 1);
    if (err)
        fail_for_good(db, err);
    else
        atomic_fetch_add(&db->commits, 1);
    for (int t = 0; !err && t < TL_TABLE_COUNT; t++)
        if (batch.tables >> t & 1)
            atomic_fetch_add(&db->generation[t], 1);
    return err;
}

/* Each done function may free what the write belongs to. */
static void tell(struct tl_db *db, struct tl_write *w, struct tl_write *end, int err, bool ran)
{
    while (w != end) {
        struct tl_write *next = w->next;
        void (*done)(void *, int) = w->done;
        void *arg = w->arg;
        int ret = w->failed || !err ? w->ret : err;
        if (ran)
            atomic_fetch_add(&db->writes, 1);
        if (!w->on_stack)
            free(w);
        if (done)
            done(arg, ret);
        w = next;
    }
}

/* A process that was killed while it read keeps its snapshot's pages from being used again, until somebody looks. */
static void drop_dead_readers(struct tl_db *db, int64_t *last_us)
{
    int dead;
    int64_t now = tl_mono_us();
    if (now - *last_us < DEAD_READERS_US)
        return;
    *last_us = now;
    mdb_reader_check(db->env, &dead);
}

static void *writer_main(void *arg)
{
    struct tl_db *db = arg;
    int64_t looked_us = tl_mono_us();
    for (;;) {
        pthread_mutex_lock(&db->queue_lock);
        while (!db->head && !db->closing)
            pthread_cond_wait(&db->queue_more, &db->queue_lock);
        struct tl_write *first = db->head;
        db->head = NULL;
        db->tail = &db->head;
        db->queued = 0;
        pthread_mutex_unlock(&db->queue_lock);
        if (!first)
            return NULL;
        while (first) {
            struct tl_write *end = NULL;
            int err = atomic_load(&db->failed);
            bool ran = !err;
            if (ran)
                err = run_batch(db, first, &end);
            tell(db, first, end, err, ran);
            first = end;
        }
        drop_dead_readers(db, &looked_us);
    }
}

int tl_db_writer_start(struct tl_db *db)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the threads that expect them */
    int rc = pthread_create(&db->writer, NULL, writer_main, db);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    db->writer_runs = rc == 0;
    return tl_err_from_errno(rc);
}

void tl_db_writer_stop(struct tl_db *db)
{
    if (!db->writer_runs)
        return;
    pthread_mutex_lock(&db->queue_lock);
    db->closing = true;
    pthread_cond_signal(&db->queue_more);
    pthread_mutex_unlock(&db->queue_lock);
    pthread_join(db->writer, NULL);
    db->writer_runs = false;
}

static int enqueue(struct tl_db *db, struct tl_write *w)
{
    int err = db->flags & TL_DB_READ ? TL_EINVAL : atomic_load(&db->failed);
    if (err)
        return err;
    pthread_mutex_lock(&db->queue_lock);
    if (db->queued >= TL_DB_QUEUE_MAX) {
        err = TL_ETRANSIENT_DB;
    } else {
        *db->tail = w;
        db->tail = &w->next;
        db->queued++;
        pthread_cond_signal(&db->queue_more);
    }
    pthread_mutex_unlock(&db->queue_lock);
    return err;
}

int tl_db_submit(struct tl_db *db, tl_db_fn fn, void *arg, void (*done)(void *arg, int err))
{
    struct tl_write *w = tl_calloc(1, sizeof(*w));
    if (!w)
        return TL_ENOMEM;
    *w = (struct tl_write){.fn = fn, .arg = arg, .done = done};
    int err = enqueue(db, w);
    if (err)
        free(w);
    return err;
}

struct waiting {
    tl_db_fn fn;
    void *arg;
    int err;
    sem_t ended;
};

static int run_waiting(struct tl_txn *txn, void *arg)
{
    struct waiting *u = arg;
    return u->fn(txn, u->arg);
}

static void end_waiting(void *arg, int err)
{
    struct waiting *u = arg;
    u->err = err;
    sem_post(&u->ended);
}

int tl_db_update(struct tl_db *db, tl_db_fn fn, void *arg)
{
    if (db->writer_runs && pthread_equal(pthread_self(), db->writer))
        return TL_EINTERNAL; /* the writer would wait for itself */
    struct waiting u = {.fn = fn, .arg = arg};
    struct tl_write w = {.fn = run_waiting, .arg = &u, .done = end_waiting, .on_stack = true};
    sem_init(&u.ended, 0, 0);
    int err = enqueue(db, &w);
    if (!err) {
        while (sem_wait(&u.ended) < 0)
            ;
        err = u.err;
    }
    sem_destroy(&u.ended);
    return err;
}

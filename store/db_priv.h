/* The inside of the database, shared by the files of store/ only: the environment, a transaction, the writer's queue. */
#ifndef TL_STORE_DB_PRIV_H
#define TL_STORE_DB_PRIV_H

#include "store/db.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

enum {
    TL_DB_READ_POOL = 64,     /* read transactions kept for reuse */
    TL_DB_MAX_READERS = 1024, /* read transactions at once, of all processes */
    TL_DB_SNAPSHOT_TRIES = 1000,
    TL_DB_QUEUE_MAX = 100000,     /* writes that may wait */
    TL_DB_BATCH_BYTES = 32 << 20, /* values put after which a commit is due, so that a batch stays in memory */
};

struct tl_txn {
    struct tl_db *db;
    MDB_txn *mdb;
    bool writable;
    int broken;       /* sticky: an error after which the engine's transaction cannot be used, or 0 */
    uint64_t changes; /* puts and deletes so far */
    uint64_t bytes;   /* of values put so far */
    uint64_t tables;  /* that were changed, a bit each */
};
_Static_assert(TL_TABLE_COUNT <= 64, "a table is a bit of tl_txn.tables");

struct tl_write {
    struct tl_write *next;
    tl_db_fn fn;
    void *arg;
    void (*done)(void *arg, int err);
    int ret;
    bool failed, on_stack;
};

struct tl_db {
    MDB_env *env;
    MDB_dbi dbi[TL_TABLE_COUNT];
    unsigned flags;
    int lock_fd;
    dev_t dev; /* of DIR/db, for refusing to open it twice in one process */
    ino_t ino;
    struct tl_db *next_open;

    pthread_mutex_t pool_lock;
    MDB_txn *pool[TL_DB_READ_POOL];
    size_t pooled;

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_more;
    struct tl_write *head, **tail;
    size_t queued;
    bool closing;
    pthread_t writer;
    bool writer_runs;
    _Atomic int failed; /* TL_EIO or TL_EFULL after which nothing is written, or 0 */
    _Atomic uint64_t commits, writes;
    _Atomic uint64_t generation[TL_TABLE_COUNT];
    _Atomic uint64_t commits_begun, commits_ended; /* also those that fail */
};

/* tl_db_open with a map of another size than the usual one (tests of a full map). */
int tl_db_open_map(const char *dir, unsigned flags, size_t map, struct tl_db **ret);

bool tl_db_exclusive(const struct tl_db *db); /* opened with TL_DB_EXCLUSIVE */
int tl_db_err(int rc);                        /* LMDB's and errno's codes to enum tl_err */
int tl_db_begin_read(struct tl_db *db, struct tl_txn *txn);
void tl_db_end_read(struct tl_txn *txn);
int tl_db_writer_start(struct tl_db *db);
void tl_db_writer_stop(struct tl_db *db); /* after everything that was queued */

#endif

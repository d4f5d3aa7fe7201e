/* The database: ordered tables of byte keys and values, snapshots for reading, and writes as functions that the engine commits
 * together. The only place that knows LMDB. Nothing above knows which engine is below.
 *
 * Threads: any thread may read, update and submit. One writer thread owns the write transaction: it takes every write that has
 * queued up, runs them in one transaction, commits once, and only then calls the done functions (on that thread; they must be short).
 * A write function may be called again, after an abort: it must have no effect but through its transaction. */
#ifndef TL_STORE_DB_H
#define TL_STORE_DB_H

#include "store/tables.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_db;
struct tl_txn;

/* Borrowed bytes: valid until the transaction's next write or its end, whichever is first. */
struct tl_bytes {
    const void *data;
    size_t len;
};

enum tl_db_flags {
    TL_DB_CREATE = 1,    /* make the directory and an empty database where there is none */
    TL_DB_EXCLUSIVE = 2, /* hold the lock that only one serving process may have: TL_EBUSY where another has it */
    TL_DB_READ = 4,      /* no writer thread: beside a running server (backup, check) */
};

/* dir is the data directory; the database is DIR/db. TL_EBUSY, TL_ENOTFOUND (no database and no CREATE), TL_ECORRUPT (another schema
 * version or a damaged file), TL_EIO, TL_EFULL, TL_ENOMEM. *ret returns owned. */
int tl_db_open(const char *dir, unsigned flags, struct tl_db **ret);
/* Runs what was submitted before, then ends the writer. NULL is accepted. */
void tl_db_close(struct tl_db *db);

typedef int (*tl_db_fn)(struct tl_txn *txn, void *arg);

/* Runs fn in a read snapshot on this thread. Returns what fn returned, or TL_EIO/TL_ENOMEM. */
int tl_db_read(struct tl_db *db, tl_db_fn fn, void *arg);
/* Runs fn in a write transaction and waits until it is on disk. A negative return of fn undoes that fn alone and is handed back. Errors
 * are those of tl_db_submit; TL_EINTERNAL on the writer thread itself, which would wait for itself. */
int tl_db_update(struct tl_db *db, tl_db_fn fn, void *arg);
/* The same without waiting: done(arg, err) is called after the commit (or the failure), in the order of submission. done may be NULL.
 * Returns 0, or an error with nothing submitted and done not called: TL_ENOMEM, TL_ETRANSIENT_DB where too many wait, TL_EIO or TL_EFULL where the
 * database has become read-only, TL_EINVAL where it was opened with TL_DB_READ. */
int tl_db_submit(struct tl_db *db, tl_db_fn fn, void *arg, void (*done)(void *arg, int err));
/* Whether a failed write or fsync has made the database read-only until the next start; writes then answer TL_EIO or TL_EFULL. */
bool tl_db_read_only(const struct tl_db *db);

/* Inside a transaction. Keys: 1 to 511 bytes. TL_ENOTFOUND where absent. */
int tl_txn_get(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, struct tl_bytes *ret);
int tl_txn_put(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len);
/* TL_ECONFLICT where the key is there already. */
int tl_txn_add(struct tl_txn *txn, enum tl_table table, const void *key, size_t len, const void *value,
               size_t value_len);
int tl_txn_del(struct tl_txn *txn, enum tl_table table, const void *key, size_t len);

/* Walks the keys in order from the first one ≥ from (reverse: from the last one ≤ from; an empty from then means the end) while they start with prefix; visit
 * returns 0 to go on, a positive number to stop, a negative error. Returns 0, or visit's non-zero answer. */
typedef int (*tl_visit_fn)(void *arg, struct tl_bytes key, struct tl_bytes value);
struct tl_scan {
    enum tl_table table;
    const void *prefix;
    size_t prefix_len;
    const void *from; /* NULL: the prefix itself (or its end, in reverse) */
    size_t from_len;
    bool reverse;
};
int tl_txn_scan(struct tl_txn *txn, const struct tl_scan *scan, tl_visit_fn visit, void *arg);

/* A compacting copy of the database to DIR/db of the existing directory dir, which then opens as a data directory, while others read and write;
 * fsynced. TL_ECONFLICT where there is a database already. */
int tl_db_copy(struct tl_db *db, const char *dir);

struct tl_db_stat {
    uint64_t entries[TL_TABLE_COUNT];
    uint64_t bytes_used;
    uint64_t commits, writes; /* since open: commits made, write functions run in them */
};
int tl_db_stat(struct tl_db *db, struct tl_db_stat *ret);

/* How many commits have changed a table since the database was opened: what was made from it is made from the same as long as this number is the same. It has
 * changed by the time that a change is acknowledged. */
uint64_t tl_db_generation(const struct tl_db *db, enum tl_table table);

/* Big-endian integers for keys, so that byte order is number order. */
static inline void tl_key_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}
static inline uint64_t tl_key_u64_read(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

#endif

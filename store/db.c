/* The environment: opening, closing, reading, copying. Writing is in writer.c, what happens inside a transaction in txn.c. */
#include "store/db_priv.h"

#include "base/err.h"
#include "base/mem.h"
#include "store/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

static const char *const table_names[TL_TABLE_COUNT] = {
#define X(sym, name, key, value) [sym] = (name),
    TL_TABLES(X)
#undef X
};

static const char schema_key[] = "schema";

/* LMDB's locks break where one process opens the same file twice. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tl_db *open_list;

int tl_db_err(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return TL_ENOTFOUND;
    case MDB_KEYEXIST:
        return TL_ECONFLICT;
    case MDB_BAD_VALSIZE:
        return TL_EINVAL;
    case MDB_MAP_FULL:
        return TL_EFULL;
    case MDB_TXN_FULL:
        return TL_ETOOBIG;
    case MDB_READERS_FULL:
        return TL_ETRANSIENT_DB;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_DBI:
        return TL_ECORRUPT;
    default:
        return rc > 0 ? tl_err_from_errno(rc) : TL_EIO;
    }
}

static size_t usual_map(void)
{
#ifdef TL_SANITIZED
    return (size_t)16 << 30;
#else
    return RUNNING_ON_VALGRIND ? (size_t)16 << 30 : (size_t)1 << 40;
#endif
}

/* A record lock, not flock: a child between fork and exec would hold that one too, after its parent was killed. The other side of it: closing any
 * descriptor of the file gives it up, so it comes after enlist(). */
static int take_lock(struct tl_db *db, const char *dir)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    TL_AUTO_FREE char *path = tl_fs_join(dir, "lock");
    if (!path)
        return TL_ENOMEM;
    db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, TL_FILE_MODE);
    if (db->lock_fd < 0)
        return tl_err_from_errno(errno);
    if (fcntl(db->lock_fd, F_SETLK, &whole) < 0)
        return errno == EACCES || errno == EAGAIN ? TL_EBUSY : tl_err_from_errno(errno);
    return 0;
}

static int enlist(struct tl_db *db, const char *path)
{
    struct stat st;
    int err = 0;
    if (stat(path, &st) < 0)
        return tl_err_from_errno(errno);
    pthread_mutex_lock(&open_lock);
    for (struct tl_db *other = open_list; other; other = other->next_open)
        if (other->dev == st.st_dev && other->ino == st.st_ino)
            err = TL_EBUSY;
    if (!err) {
        db->dev = st.st_dev;
        db->ino = st.st_ino;
        db->next_open = open_list;
        open_list = db;
    }
    pthread_mutex_unlock(&open_lock);
    return err;
}

static void delist(struct tl_db *db)
{
    pthread_mutex_lock(&open_lock);
    for (struct tl_db **p = &open_list; *p; p = &(*p)->next_open)
        if (*p == db) {
            *p = db->next_open;
            break;
        }
    pthread_mutex_unlock(&open_lock);
}

/* Reading a mapped page beyond the file's end would kill the process. The file may rightly end before its last page, where that one is free; where it
 * was cut short (a copy that did not end), the pages that are missing become empty ones, which LMDB knows for damage. Never shortens, and
 * does what it can: a file system may refuse. */
static void cover_map(MDB_env *env, const char *path)
{
    MDB_envinfo info;
    MDB_stat st;
    struct stat file;
    TL_AUTO_FREE char *name = tl_fs_join(path, "data.mdb");
    if (!name || mdb_env_info(env, &info) || mdb_env_stat(env, &st))
        return;
    off_t want = (off_t)(info.me_last_pgno + 1) * (off_t)st.ms_psize;
    TL_AUTO_FD int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &file) == 0 && file.st_size < want && fallocate(fd, 0, want - 1, 1) < 0)
        return;
}

static int open_env(struct tl_db *db, const char *path, size_t map, unsigned flags)
{
    int rc = mdb_env_create(&db->env);
    if (!rc)
        rc = mdb_env_set_mapsize(db->env, map);
    if (!rc)
        rc = mdb_env_set_maxdbs(db->env, TL_TABLE_COUNT);
    if (!rc)
        rc = mdb_env_set_maxreaders(db->env, TL_DB_MAX_READERS);
    if (!rc)
        rc = mdb_env_open(db->env, path, MDB_NOTLS | (db->flags & TL_DB_READ ? MDB_RDONLY : 0) | flags, TL_FILE_MODE);
    int dead;
    if (!rc)
        rc = mdb_reader_check(db->env, &dead);
    int fd;
    if (!rc)
        rc = mdb_env_get_fd(db->env, &fd);
    if (!rc && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) /* LMDB leaves the whole database open to every child process */
        rc = errno;
    if (!rc && !(flags & MDB_NOSUBDIR))
        cover_map(db->env, path);
    return tl_db_err(rc);
}

/* The schema version: written once into an empty database, demanded ever after. */
static int check_schema(struct tl_db *db, MDB_txn *mdb, bool fresh)
{
    char want[16];
    int n = snprintf(want, sizeof(want), "%d", TL_SCHEMA_VERSION);
    MDB_val key = {sizeof(schema_key) - 1, (void *)(uintptr_t)schema_key}, have, value = {(size_t)n, want};
    int rc = mdb_get(mdb, db->dbi[TL_TBL_META], &key, &have);
    if (rc == MDB_NOTFOUND && fresh)
        return tl_db_err(mdb_put(mdb, db->dbi[TL_TBL_META], &key, &value, 0));
    if (rc)
        return rc == MDB_NOTFOUND ? TL_ECORRUPT : tl_db_err(rc);
    return have.mv_size == value.mv_size && memcmp(have.mv_data, want, value.mv_size) == 0 ? 0 : TL_ECORRUPT;
}

static int open_tables(struct tl_db *db)
{
    bool create = db->flags & TL_DB_CREATE;
    MDB_txn *mdb;
    MDB_stat st;
    int rc = mdb_txn_begin(db->env, NULL, create ? 0 : MDB_RDONLY, &mdb);
    if (rc)
        return tl_db_err(rc);
    MDB_dbi root;
    rc = mdb_dbi_open(mdb, NULL, 0, &root);
    if (!rc)
        rc = mdb_stat(mdb, root, &st);
    bool fresh = !rc && st.ms_entries == 0;
    for (int t = 0; !rc && t < TL_TABLE_COUNT; t++)
        rc = mdb_dbi_open(mdb, table_names[t], create ? MDB_CREATE : 0, &db->dbi[t]);
    int err = rc == MDB_NOTFOUND ? TL_ECORRUPT : tl_db_err(rc);
    if (!err)
        err = check_schema(db, mdb, create && fresh);
    if (err) {
        mdb_txn_abort(mdb);
        return err;
    }
    return tl_db_err(mdb_txn_commit(mdb)); /* of a read transaction too: only so do the handles outlive it */
}

/* A new file is found again after a power cut only when its directory is on disk too. */
static int sync_dirs(const char *dir, const char *path)
{
    TL_AUTO_FD int outer = -1, inner = -1;
    int err = tl_fs_open_dir(dir, &outer);
    if (!err)
        err = tl_fs_open_dir(path, &inner);
    if (!err)
        err = tl_fs_sync(inner);
    return err ? err : tl_fs_sync(outer);
}

/* Makes an empty database beside its place and puts it there when it is whole and on disk: a start that fails or is cut off leaves none. Under the exclusive
 * lock, so that nobody else makes one. */
static int make_whole(struct tl_db *db, const char *path, const char *file, size_t map)
{
    TL_AUTO_FREE char *unborn = tl_fs_join(path, "unborn.mdb");
    TL_AUTO_FREE char *lock = tl_fs_join(path, "unborn.mdb-lock");
    if (!unborn || !lock)
        return TL_ENOMEM;
    unlink(unborn);
    unlink(lock);
    int err = open_env(db, unborn, map, MDB_NOSUBDIR);
    if (!err)
        err = open_tables(db);
    if (!err)
        err = tl_db_err(mdb_env_sync(db->env, 1));
    if (db->env)
        mdb_env_close(db->env);
    db->env = NULL;
    unlink(lock);
    if (!err && rename(unborn, file) < 0)
        err = tl_err_from_errno(errno);
    return err;
}

static int open_all(struct tl_db *db, const char *dir, size_t map)
{
    TL_AUTO_FREE char *path = tl_fs_join(dir, "db");
    TL_AUTO_FREE char *file = path ? tl_fs_join(path, "data.mdb") : NULL;
    bool create = db->flags & TL_DB_CREATE;
    struct stat st;
    int err = file ? 0 : TL_ENOMEM;
    if (!err && create)
        err = tl_fs_mkdirs(dir);
    if (!err && create)
        err = tl_fs_mkdirs(path);
    if (!err && !create && stat(file, &st) < 0)
        err = tl_err_from_errno(errno);
    if (!err)
        err = enlist(db, path);
    if (!err && (db->flags & TL_DB_EXCLUSIVE))
        err = take_lock(db, dir);
    if (!err && create && (db->flags & TL_DB_EXCLUSIVE) && access(file, F_OK) < 0)
        err = make_whole(db, path, file, map);
    if (!err)
        err = open_env(db, path, map, 0);
    if (!err)
        err = open_tables(db);
    if (!err && create)
        err = sync_dirs(dir, path);
    if (!err && !(db->flags & TL_DB_READ))
        err = tl_db_writer_start(db);
    return err;
}

int tl_db_open_map(const char *dir, unsigned flags, size_t map, struct tl_db **ret)
{
    *ret = NULL;
    if ((flags & TL_DB_READ) && (flags & (TL_DB_CREATE | TL_DB_EXCLUSIVE)))
        return TL_EINVAL;
    struct tl_db *db = tl_calloc(1, sizeof(*db));
    if (!db)
        return TL_ENOMEM;
    db->flags = flags;
    db->lock_fd = -1;
    db->tail = &db->head;
    pthread_mutex_init(&db->pool_lock, NULL);
    pthread_mutex_init(&db->queue_lock, NULL);
    pthread_cond_init(&db->queue_more, NULL);
    int err = open_all(db, dir, map);
    if (err) {
        tl_db_close(db);
        return err;
    }
    *ret = db;
    return 0;
}

int tl_db_open(const char *dir, unsigned flags, struct tl_db **ret)
{
    return tl_db_open_map(dir, flags, usual_map(), ret);
}

void tl_db_close(struct tl_db *db)
{
    if (!db)
        return;
    tl_db_writer_stop(db);
    for (size_t i = 0; i < db->pooled; i++)
        mdb_txn_abort(db->pool[i]);
    if (db->env)
        mdb_env_close(db->env);
    tl_close_fd(&db->lock_fd);
    delist(db);
    pthread_cond_destroy(&db->queue_more);
    pthread_mutex_destroy(&db->queue_lock);
    pthread_mutex_destroy(&db->pool_lock);
    free(db);
}

bool tl_db_read_only(const struct tl_db *db)
{
    return (db->flags & TL_DB_READ) || atomic_load(&db->failed);
}

uint64_t tl_db_generation(const struct tl_db *db, enum tl_table table)
{
    return atomic_load(&db->generation[table]);
}

bool tl_db_exclusive(const struct tl_db *db)
{
    return db->flags & TL_DB_EXCLUSIVE;
}

/* LMDB takes the number of the last commit first and then what that commit left, from one of two places by turns. Where a whole commit ends and another begins
 * between the two, the place holds that later commit, which may not be on disk yet, and the next snapshot would be an older one. Too late only in a thread
 * that was held up for so long; so it looks again. */
static bool is_whole(struct tl_db *db, MDB_txn *mdb, uint64_t ended_before)
{
    MDB_envinfo info;
#ifndef __SANITIZE_THREAD__ /* which has no fences, and whose atomics are one */
    atomic_thread_fence(memory_order_seq_cst);
#endif
    return atomic_load(&db->commits_begun) < ended_before + 2 && mdb_env_info(db->env, &info) == 0 &&
           info.me_last_txnid <= mdb_txn_id(mdb) + 1; /* commits of other processes */
}

static int renew(struct tl_db *db, MDB_txn **mdb)
{
    int rc = 0;
    for (int i = 0; i < TL_DB_SNAPSHOT_TRIES; i++) {
        uint64_t ended = atomic_load(&db->commits_ended);
        rc = *mdb ? mdb_txn_renew(*mdb) : mdb_txn_begin(db->env, NULL, MDB_RDONLY, mdb);
        if (rc || is_whole(db, *mdb, ended))
            return rc;
        mdb_txn_reset(*mdb);
    }
    return MDB_READERS_FULL; /* never seen: the thread would have to be held up every time */
}

int tl_db_begin_read(struct tl_db *db, struct tl_txn *txn)
{
    *txn = (struct tl_txn){.db = db};
    pthread_mutex_lock(&db->pool_lock);
    MDB_txn *mdb = db->pooled ? db->pool[--db->pooled] : NULL;
    pthread_mutex_unlock(&db->pool_lock);
    int dead, rc = renew(db, &mdb);
    if (rc == MDB_READERS_FULL && !mdb && mdb_reader_check(db->env, &dead) == 0)
        rc = renew(db, &mdb);
    if (rc && mdb)
        mdb_txn_abort(mdb);
    if (!rc)
        txn->mdb = mdb;
    return tl_db_err(rc);
}

void tl_db_end_read(struct tl_txn *txn)
{
    struct tl_db *db = txn->db;
    mdb_txn_reset(txn->mdb);
    pthread_mutex_lock(&db->pool_lock);
    bool keep = db->pooled < TL_DB_READ_POOL;
    if (keep)
        db->pool[db->pooled++] = txn->mdb;
    pthread_mutex_unlock(&db->pool_lock);
    if (!keep)
        mdb_txn_abort(txn->mdb);
}

int tl_db_read(struct tl_db *db, tl_db_fn fn, void *arg)
{
    struct tl_txn txn;
    int err = tl_db_begin_read(db, &txn);
    if (err)
        return err;
    err = fn(&txn, arg);
    tl_db_end_read(&txn);
    return err;
}

int tl_db_copy(struct tl_db *db, const char *dir)
{
    TL_AUTO_FREE char *path = tl_fs_join(dir, "db");
    TL_AUTO_FREE char *file = path ? tl_fs_join(path, "data.mdb") : NULL;
    if (!file)
        return TL_ENOMEM;
    int err = tl_fs_mkdirs(path);
    if (err)
        return err;
    TL_AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, TL_FILE_MODE);
    if (fd < 0)
        return errno == EEXIST ? TL_ECONFLICT : tl_err_from_errno(errno);
    err = tl_db_err(mdb_env_copyfd2(db->env, fd, MDB_CP_COMPACT));
    if (!err)
        err = tl_fs_sync(fd);
    return err ? err : sync_dirs(dir, path);
}

int tl_db_stat(struct tl_db *db, struct tl_db_stat *ret)
{
    struct tl_txn txn;
    memset(ret, 0, sizeof(*ret));
    int rc = tl_db_begin_read(db, &txn);
    if (rc)
        return rc;
    MDB_stat st = {0};
    MDB_envinfo info;
    for (int t = 0; !rc && t < TL_TABLE_COUNT; t++) {
        rc = mdb_stat(txn.mdb, db->dbi[t], &st);
        ret->entries[t] = st.ms_entries;
    }
    tl_db_end_read(&txn);
    if (!rc)
        rc = mdb_env_info(db->env, &info);
    if (rc)
        return tl_db_err(rc);
    ret->bytes_used = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
    ret->commits = atomic_load(&db->commits);
    ret->writes = atomic_load(&db->writes);
    return 0;
}

#include "store/blob.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/db_priv.h"
#include "store/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TMP_NAME = 4 + 2 * 16 + 1 }; /* "tmp-", 32 digits, NUL */

struct tl_blobs {
    struct tl_db *db;
    int dir; /* of DIR/blobs */
};

struct tl_blob_writer {
    struct tl_blobs *blobs;
    struct tl_sha256 *sha;
    char name[TMP_NAME];
    int fd;
    uint64_t size, max;
    int err;        /* sticky */
    bool by_others; /* the descriptor was handed out: what is in the file is read again */
};

static bool is_tmp_name(const char *name)
{
    return strncmp(name, "tmp-", 4) == 0 && strlen(name) == TMP_NAME - 1 &&
           strspn(name + 4, "0123456789abcdef") == TMP_NAME - 5;
}

static int sweep(struct tl_blobs *blobs)
{
    int fd;
    int err = tl_fs_open_dir_at(blobs->dir, ".", &fd);
    if (err)
        return err;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return TL_ENOMEM;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (is_tmp_name(e->d_name))
            unlinkat(blobs->dir, e->d_name, 0);
    closedir(d);
    return 0;
}

int tl_blobs_open(const char *dir, struct tl_db *db, struct tl_blobs **ret)
{
    *ret = NULL;
    struct tl_blobs *blobs = tl_calloc(1, sizeof(*blobs));
    TL_AUTO_FREE char *path = tl_fs_join(dir, "blobs");
    int err = blobs && path ? 0 : TL_ENOMEM;
    if (!err) {
        *blobs = (struct tl_blobs){.db = db, .dir = -1};
        err = tl_db_read_only(db) ? 0 : tl_fs_mkdirs(path);
    }
    if (!err)
        err = tl_fs_open_dir(path, &blobs->dir);
    if (!err && tl_db_exclusive(db)) /* nobody else writes blobs now, so what has a temporary name is left over */
        err = sweep(blobs);
    if (err) {
        tl_blobs_close(blobs);
        return err;
    }
    *ret = blobs;
    return 0;
}

void tl_blobs_close(struct tl_blobs *blobs)
{
    if (!blobs)
        return;
    tl_close_fd(&blobs->dir);
    free(blobs);
}

int tl_blob_begin(struct tl_blobs *blobs, uint64_t max, struct tl_blob_writer **ret)
{
    *ret = NULL;
    struct tl_blob_writer *w = tl_calloc(1, sizeof(*w));
    if (!w)
        return TL_ENOMEM;
    *w = (struct tl_blob_writer){.blobs = blobs, .max = max, .fd = -1, .sha = tl_sha256_new()};
    uint8_t raw[16];
    tl_random(raw, sizeof(raw));
    memcpy(w->name, "tmp-", 4);
    tl_hex(raw, sizeof(raw), w->name + 4);
    int err = w->sha ? 0 : TL_ENOMEM;
    if (!err) {
        w->fd = openat(blobs->dir, w->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, TL_FILE_MODE);
        err = w->fd < 0 ? tl_err_from_errno(errno) : 0;
    }
    if (err) {
        tl_blob_abort(w);
        return err;
    }
    *ret = w;
    return 0;
}

int tl_blob_write(struct tl_blob_writer *w, const void *bytes, size_t len)
{
    if (w->err)
        return w->err;
    if (w->by_others)
        return TL_EINVAL;
    if (w->max && len > w->max - w->size)
        return w->err = TL_ETOOBIG;
    w->err = tl_fs_write_all(w->fd, bytes, len);
    if (w->err)
        return w->err;
    tl_sha256_update(w->sha, bytes, len);
    w->size += len;
    return 0;
}

int tl_blob_fd(struct tl_blob_writer *w)
{
    w->by_others = true;
    return w->fd;
}

struct registration {
    uint8_t hash[TL_SHA256_LEN];
    uint64_t size;
    char text[96];
    bool known;
};

/* What others wrote to the descriptor: measured and hashed from the file itself. */
static int read_again(struct tl_blob_writer *w, struct registration *r)
{
    struct stat st;
    if (fstat(w->fd, &st) < 0)
        return tl_err_from_errno(errno);
    if (w->max && (uint64_t)st.st_size > w->max)
        return TL_ETOOBIG;
    return tl_fs_sha256(w->fd, r->hash, &r->size);
}

static int register_blob(struct tl_txn *txn, void *arg)
{
    struct registration *r = arg;
    return tl_txn_put(txn, TL_TBL_BLOB, r->hash, sizeof(r->hash), r->text, strlen(r->text));
}

static int look_up(struct tl_txn *txn, void *arg)
{
    struct registration *r = arg;
    struct tl_bytes b;
    int err = tl_txn_get(txn, TL_TBL_BLOB, r->hash, sizeof(r->hash), &b);
    r->known = !err;
    return err == TL_ENOTFOUND ? 0 : err;
}

/* Whether the same bytes are there already, registered and on disk. */
static int is_known(struct tl_blobs *blobs, const char *path, struct registration *r, bool *ret)
{
    struct stat st;
    *ret = false;
    int err = tl_db_read(blobs->db, look_up, r);
    if (!err && r->known)
        *ret = fstatat(blobs->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
               (uint64_t)st.st_size == r->size;
    return err;
}

/* Syncs the file, gives it its name, syncs the name, registers it: in this order, so that a crash leaves nothing half true. */
static int publish(struct tl_blob_writer *w, const char *hex, struct registration *r)
{
    char path[3 + TL_SHA256_HEX], sub[3] = {hex[0], hex[1], '\0'};
    bool known;
    snprintf(path, sizeof(path), "%s/%s", sub, hex);
    int err = is_known(w->blobs, path, r, &known);
    if (err || known)
        return err;
    TL_AUTO_FD int dir = -1;
    err = tl_fs_sync(w->fd);
    if (!err)
        err = tl_fs_mkdir_at(w->blobs->dir, sub);
    if (!err)
        err = tl_fs_open_dir_at(w->blobs->dir, sub, &dir);
    if (err)
        return err;
    if (renameat(w->blobs->dir, w->name, dir, hex) < 0)
        return tl_err_from_errno(errno);
    w->name[0] = '\0';
    err = tl_fs_sync(dir);
    if (!err)
        err = tl_fs_sync(w->blobs->dir); /* the temporary name is gone, and sub may be new from another thread */
    return err ? err : tl_db_update(w->blobs->db, register_blob, r);
}

int tl_blob_commit(struct tl_blob_writer *w, char *hex, uint64_t *ret_size)
{
    struct registration r = {.size = w->size};
    char now[TL_TIME_TEXT];
    int err = w->err;
    if (!err && w->by_others)
        err = read_again(w, &r);
    else if (!err)
        tl_sha256_final(w->sha, r.hash);
    if (!err) {
        tl_time_text(tl_now_ms(), now);
        snprintf(r.text, sizeof(r.text), "{\"bytes\":%llu,\"created\":\"%s\"}", (unsigned long long)r.size, now);
        tl_hex(r.hash, sizeof(r.hash), hex);
        if (ret_size)
            *ret_size = r.size;
        err = publish(w, hex, &r);
    }
    tl_blob_abort(w);
    return err;
}

void tl_blob_abort(struct tl_blob_writer *w)
{
    if (!w)
        return;
    tl_sha256_free(w->sha);
    if (w->fd >= 0 && w->name[0])
        unlinkat(w->blobs->dir, w->name, 0);
    tl_close_fd(&w->fd);
    free(w);
}

int tl_blob_open(struct tl_blobs *blobs, const char *hex, int *ret_fd, uint64_t *ret_size)
{
    uint8_t raw[TL_SHA256_LEN];
    char lower[TL_SHA256_HEX], path[3 + TL_SHA256_HEX];
    struct stat st;
    *ret_fd = -1;
    if (!hex || !tl_unhex(hex, raw, sizeof(raw)))
        return TL_ENOTFOUND;
    tl_hex(raw, sizeof(raw), lower);
    snprintf(path, sizeof(path), "%.2s/%s", lower, lower);
    *ret_fd = openat(blobs->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_fd < 0)
        return tl_err_from_errno(errno);
    if (fstat(*ret_fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        tl_close_fd(ret_fd);
        return TL_EIO;
    }
    if (ret_size)
        *ret_size = (uint64_t)st.st_size;
    return 0;
}

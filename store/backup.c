/* The backup: first the database, then the blobs. A blob is on disk before its entry is, and stays: so every entry in the copy finds its file. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/check.h"
#include "store/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_hex(const char *name, size_t len)
{
    return strlen(name) == len && strspn(name, "0123456789abcdef") == len;
}

static int copy_one(int from, int to, const char *name)
{
    if (linkat(from, name, to, name, 0) == 0)
        return 0;
    if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
        return tl_err_from_errno(errno);
    TL_AUTO_FD int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return tl_err_from_errno(errno);
    TL_AUTO_FD int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, TL_FILE_MODE);
    if (out < 0)
        return tl_err_from_errno(errno);
    int err = tl_fs_copy(in, out);
    return err ? err : tl_fs_sync(out);
}

/* Calls each(from, to, name) for every name of so many hexadecimal digits, then syncs to. */
static int for_names(int from, int to, size_t digits, int (*each)(int from, int to, const char *name))
{
    int fd;
    int err = tl_fs_open_dir_at(from, ".", &fd);
    if (err)
        return err;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return TL_ENOMEM;
    }
    for (struct dirent *e; !err && (e = readdir(d)) != NULL;)
        if (is_hex(e->d_name, digits))
            err = each(from, to, e->d_name);
    closedir(d);
    return err ? err : tl_fs_sync(to);
}

static int copy_sub(int from, int to, const char *name)
{
    TL_AUTO_FD int in = -1, out = -1;
    int err = tl_fs_open_dir_at(from, name, &in);
    if (!err)
        err = tl_fs_mkdir_at(to, name);
    if (!err)
        err = tl_fs_open_dir_at(to, name, &out);
    return err ? err : for_names(in, out, TL_SHA256_HEX - 1, copy_one);
}

int tl_store_backup(struct tl_db *db, const char *dir, const char *target)
{
    bool empty = true;
    int err = tl_fs_is_empty(target, &empty);
    if (err && err != TL_ENOTFOUND)
        return err;
    if (!empty)
        return TL_ECONFLICT;
    TL_AUTO_FREE char *from = tl_fs_join(dir, "blobs");
    TL_AUTO_FREE char *to = tl_fs_join(target, "blobs");
    TL_AUTO_FD int in = -1, out = -1, top = -1;
    if (!from || !to)
        return TL_ENOMEM;
    err = tl_fs_mkdirs(target);
    if (!err)
        err = tl_db_copy(db, target);
    if (!err)
        err = tl_fs_mkdirs(to);
    if (!err)
        err = tl_fs_open_dir(to, &out);
    if (!err)
        err = tl_fs_open_dir(from, &in);
    if (err == TL_ENOTFOUND && out >= 0)
        err = 0; /* there were no blobs yet */
    else if (!err)
        err = for_names(in, out, 2, copy_sub);
    if (!err)
        err = tl_fs_open_dir(target, &top);
    return err ? err : tl_fs_sync(top);
}

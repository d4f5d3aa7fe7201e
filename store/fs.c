#include "store/fs.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tl_fs_sync(int fd)
{
    return fsync(fd) < 0 ? tl_err_from_errno(errno) : 0;
}

int tl_fs_open_dir_at(int dirfd, const char *name, int *ret_fd)
{
    *ret_fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? tl_err_from_errno(errno) : 0;
}

int tl_fs_open_dir(const char *path, int *ret_fd)
{
    return tl_fs_open_dir_at(AT_FDCWD, path, ret_fd);
}

int tl_fs_mkdir_at(int dirfd, const char *name)
{
    if (mkdirat(dirfd, name, TL_DIR_MODE) == 0)
        return tl_fs_sync(dirfd);
    return errno == EEXIST ? 0 : tl_err_from_errno(errno);
}

static int make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, TL_DIR_MODE) < 0) {
        int e = errno;
        if (stat(path, &st) == 0)
            return S_ISDIR(st.st_mode) ? 0 : TL_EINVAL;
        return tl_err_from_errno(e);
    }
    TL_AUTO_FREE char *parent = tl_fs_join(path, "..");
    TL_AUTO_FD int fd = -1;
    if (!parent)
        return TL_ENOMEM;
    int err = tl_fs_open_dir(parent, &fd);
    return err ? err : tl_fs_sync(fd);
}

int tl_fs_mkdirs(const char *path)
{
    TL_AUTO_FREE char *p = tl_strdup(path);
    if (!p)
        return TL_ENOMEM;
    for (char *slash = strchr(p + (*p == '/'), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int err = *p ? make_one(p) : 0;
        *slash = '/';
        if (err)
            return err;
    }
    return make_one(p);
}

int tl_fs_write_all(int fd, const void *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, (const char *)bytes + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tl_err_from_errno(errno);
        at += (size_t)n;
    }
    return 0;
}

/* Reads the file from its start in pieces and hands them on. */
static int each_piece(int fd, int (*take)(void *arg, const void *bytes, size_t len), void *arg, uint64_t *ret_size)
{
    enum { PIECE = 256 * 1024 };
    TL_AUTO_FREE char *buf = malloc(PIECE);
    if (!buf)
        return TL_ENOMEM;
    for (*ret_size = 0;;) {
        ssize_t n = pread(fd, buf, PIECE, (off_t)*ret_size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? tl_err_from_errno(errno) : 0;
        int err = take(arg, buf, (size_t)n);
        if (err)
            return err;
        *ret_size += (uint64_t)n;
    }
}

static int piece_to_fd(void *arg, const void *bytes, size_t len)
{
    return tl_fs_write_all(*(const int *)arg, bytes, len);
}

int tl_fs_copy(int in, int out)
{
    uint64_t size;
    return each_piece(in, piece_to_fd, &out, &size);
}

static int piece_to_hash(void *arg, const void *bytes, size_t len)
{
    tl_sha256_update(arg, bytes, len);
    return 0;
}

int tl_fs_sha256(int fd, uint8_t ret[TL_SHA256_LEN], uint64_t *ret_size)
{
    struct tl_sha256 *sha = tl_sha256_new();
    if (!sha)
        return TL_ENOMEM;
    int err = each_piece(fd, piece_to_hash, sha, ret_size);
    if (!err)
        tl_sha256_final(sha, ret);
    tl_sha256_free(sha);
    return err;
}

int tl_fs_is_empty(const char *path, bool *ret)
{
    DIR *d = opendir(path);
    if (!d)
        return tl_err_from_errno(errno);
    *ret = true;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            *ret = false;
    closedir(d);
    return 0;
}

char *tl_fs_join(const char *dir, const char *name)
{
    struct tl_str s = {0};
    tl_str_printf(&s, "%s/%s", dir, name);
    return tl_str_take(&s);
}

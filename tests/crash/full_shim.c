/* A preloaded library with which the disk is full for as long as the file named by TL_SHIM_FULL exists: writing to a regular file then fails with ENOSPC.
 *
 *   LD_PRELOAD=$PWD/full_shim.so TL_SHIM_FULL=/tmp/full build/talos serve …
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_full(int fd)
{
    struct stat st;
    int saved = errno;
    const char *mark = getenv("TL_SHIM_FULL");
    int full = mark && fd > STDERR_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && access(mark, F_OK) == 0;
    errno = full ? ENOSPC : saved;
    return full;
}

ssize_t write(int fd, const void *p, size_t n)
{
    return is_full(fd) ? -1 : syscall(SYS_write, fd, p, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    return is_full(fd) ? -1 : syscall(SYS_writev, fd, iov, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return is_full(fd) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}

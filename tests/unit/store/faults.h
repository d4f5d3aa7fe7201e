/* Faults, made: the Nth write, sync, name or allocation of the program fails, once or from there on, or the power is cut there. Included first, and by one file
 * of a test program, which then has these functions of libc's as its own, and LMDB with it. A sync does nothing but succeed: what a power cut would take is
 * noted instead, and taken back by fault_cut_power. Under the sanitizers, whose allocator is their own, no allocation fails. */
#ifndef TL_TESTS_UNIT_STORE_FAULTS_H
#define TL_TESTS_UNIT_STORE_FAULTS_H

#undef _FORTIFY_SOURCE /* which has open and its like inline */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault_kind {
    FAULT_WRITE = 1,
    FAULT_SYNC = 2,
    FAULT_NAME = 4, /* open, mkdir, rename, link, ftruncate, fallocate, and mapping a file */
    FAULT_MEMORY = 8,
};
enum fault_mode {
    FAULT_ONCE,
    FAULT_ON,    /* and all after it */
    FAULT_SHORT, /* half of the write is made, and all after it fail */
    FAULT_CUT,   /* and all after it, of whatever kind; what was not synced by then is lost */
};
enum { FAULT_UNDO_MAX = 4096, FAULT_UNDO_BYTES = 32 << 20 };

static struct {
    pthread_mutex_t lock;
    _Atomic unsigned kinds; /* armed for these; 0: nothing fails */
    enum fault_mode mode;
    int err;   /* errno of what fails */
    long left; /* calls until one fails */
    long hits;
    unsigned hit_kind; /* of the first hit, and what it was about */
    char hit_path[PATH_MAX];
    char watched[PATH_MAX]; /* a file of which is counted how many writes and syncs have failed */
    long watched_hits;
    bool watched_dsync;       /* one of them was a write that is its own sync */
    _Atomic bool dsync[1024]; /* descriptors opened with O_DSYNC, which costs time here and means nothing */
    size_t nundo, undo_used;
    struct fault_undo {
        char path[PATH_MAX];
        dev_t dev;
        ino_t ino;
        off_t at;
        size_t len, bytes; /* bytes: where in fault_undo_bytes */
    } undo[FAULT_UNDO_MAX];
    uint8_t undo_bytes[FAULT_UNDO_BYTES];
} fault = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void fault_path_of(int fd, char ret[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = fd < 0 ? -1 : readlink(link, ret, PATH_MAX - 1);
    ret[n > 0 ? n : 0] = '\0';
}

static bool fault_is_dsync(int fd)
{
    return fd >= 0 && fd < 1024 && atomic_load(&fault.dsync[fd]);
}

static int fault_opened(int fd, int flags)
{
    if (fd >= 0 && fd < 1024)
        atomic_store(&fault.dsync[fd], (flags & O_DSYNC) != 0);
    return fd;
}

/* Whether this call is to fail. */
static bool fault_now(enum fault_kind kind, int fd, const char *path)
{
    if (!(atomic_load(&fault.kinds) & kind) || (fd >= 0 && fd <= STDERR_FILENO))
        return false;
    pthread_mutex_lock(&fault.lock);
    bool first = fault.left > 0 && --fault.left == 0, now = first || (fault.left == 0 && fault.mode != FAULT_ONCE);
    char of_fd[PATH_MAX] = "";
    if (now && !path) {
        fault_path_of(fd, of_fd);
        path = of_fd;
    }
    if (first) {
        fault.hit_kind = kind;
        snprintf(fault.hit_path, PATH_MAX, "%s", path);
    }
    if (now && kind & (FAULT_WRITE | FAULT_SYNC) && strcmp(path, fault.watched) == 0) {
        fault.watched_hits++;
        fault.watched_dsync |= fault_is_dsync(fd);
    }
    fault.hits += now;
    int err = fault.err;
    pthread_mutex_unlock(&fault.lock);
    if (now)
        errno = err;
    return now;
}

/* Whether the write that fails now is the one of which half is made. */
static bool fault_half(void)
{
    return fault.mode == FAULT_SHORT && fault.hits == 1;
}

/* The calls of kinds from now on are counted, and the nth fails. watched: fault.watched. */
static void fault_arm(unsigned kinds, enum fault_mode mode, int err, long nth, const char *watched)
{
    pthread_mutex_lock(&fault.lock);
    fault.mode = mode;
    fault.err = err;
    fault.left = nth;
    fault.hits = 0;
    fault.hit_kind = 0;
    fault.hit_path[0] = '\0';
    snprintf(fault.watched, PATH_MAX, "%s", watched);
    fault.watched_hits = 0;
    fault.watched_dsync = false;
    fault.nundo = fault.undo_used = 0;
    pthread_mutex_unlock(&fault.lock);
    atomic_store(&fault.kinds, kinds);
}

/* Nothing fails any more. Returns whether something has. */
static bool fault_disarm(void)
{
    atomic_store(&fault.kinds, 0);
    return fault.hits > 0;
}

/* Notes what these bytes of a file are before they are written over. */
static void fault_note(int fd, off_t at, size_t len)
{
    struct stat st;
    if (!atomic_load(&fault.kinds) || fault.mode != FAULT_CUT || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        fault_is_dsync(fd))
        return;
    pthread_mutex_lock(&fault.lock);
    if (fault.nundo == FAULT_UNDO_MAX || fault.undo_used + len > FAULT_UNDO_BYTES)
        abort();
    struct fault_undo *u = &fault.undo[fault.nundo++];
    *u = (struct fault_undo){.dev = st.st_dev, .ino = st.st_ino, .at = at, .len = len, .bytes = fault.undo_used};
    fault_path_of(fd, u->path);
    memset(fault.undo_bytes + u->bytes, 0, len); /* what lies behind the file's end */
    int back = (int)syscall(SYS_openat, AT_FDCWD, u->path, O_RDONLY | O_CLOEXEC);
    if (back >= 0 && pread(back, fault.undo_bytes + u->bytes, len, at) >= 0)
        fault.undo_used += len;
    close(back);
    pthread_mutex_unlock(&fault.lock);
}

static void fault_synced(int fd)
{
    struct stat st;
    if (!atomic_load(&fault.kinds) || fstat(fd, &st) < 0)
        return;
    pthread_mutex_lock(&fault.lock);
    size_t kept = 0;
    for (size_t i = 0; i < fault.nundo; i++)
        if (fault.undo[i].dev != st.st_dev || fault.undo[i].ino != st.st_ino)
            fault.undo[kept++] = fault.undo[i];
    fault.nundo = kept;
    if (!kept)
        fault.undo_used = 0;
    pthread_mutex_unlock(&fault.lock);
}

/* After the program's files are closed: takes back what was written and not synced; all of it, or only every second write, as a disk that
 * reorders may. */
static void fault_cut_power(bool every_second)
{
    for (size_t i = fault.nundo; i-- > 0;) {
        const struct fault_undo *u = &fault.undo[i];
        int fd = every_second && i % 2 ? -1 : open(u->path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (pwrite(fd, fault.undo_bytes + u->bytes, u->len, u->at) < 0)
            abort();
        close(fd);
    }
    fault.nundo = 0;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (fault_now(FAULT_WRITE, fd, NULL))
        return fault_half() ? syscall(SYS_pwrite64, fd, p, n / 2, at) : -1;
    fault_note(fd, at, n);
    return syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t write(int fd, const void *p, size_t n)
{
    if (fault_now(FAULT_WRITE, fd, NULL))
        return fault_half() && n > 1 ? syscall(SYS_write, fd, p, n / 2) : -1;
    fault_note(fd, lseek(fd, 0, SEEK_CUR), n);
    return syscall(SYS_write, fd, p, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    size_t len = 0;
    if (fault_now(FAULT_WRITE, fd, NULL))
        return fault_half() ? syscall(SYS_writev, fd, iov, n / 2) : -1;
    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    fault_note(fd, lseek(fd, 0, SEEK_CUR), len);
    return syscall(SYS_writev, fd, iov, n);
}

int fsync(int fd)
{
    if (fault_now(FAULT_SYNC, fd, NULL))
        return -1;
    fault_synced(fd);
    return 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

int ftruncate(int fd, off_t len)
{
    return fault_now(FAULT_NAME, fd, NULL) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return fault_now(FAULT_NAME, fd, NULL) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}

#define FAULT_OPEN_MODE(flags, mode)                                                                                   \
    do {                                                                                                               \
        va_list ap;                                                                                                    \
        va_start(ap, flags);                                                                                           \
        mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                                               \
        va_end(ap);                                                                                                    \
    } while (0)

int open(const char *path, int flags, ...)
{
    mode_t mode;
    FAULT_OPEN_MODE(flags, mode);
    return openat(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    mode_t mode;
    FAULT_OPEN_MODE(flags, mode);
    return fault_now(FAULT_NAME, -1, path)
               ? -1
               : fault_opened((int)syscall(SYS_openat, dir, path, flags & ~O_DSYNC, mode), flags);
}

int mkdir(const char *path, mode_t mode)
{
    return fault_now(FAULT_NAME, -1, path) ? -1 : (int)syscall(SYS_mkdir, path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    return fault_now(FAULT_NAME, -1, path) ? -1 : (int)syscall(SYS_mkdirat, dir, path, mode);
}

/* What is noted of a file follows it to its new name. */
static void fault_renamed(int dir, const char *to)
{
    struct stat st;
    int fd = (int)syscall(SYS_openat, dir, to, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        abort();
    pthread_mutex_lock(&fault.lock);
    for (size_t i = 0; i < fault.nundo; i++)
        if (fault.undo[i].dev == st.st_dev && fault.undo[i].ino == st.st_ino)
            fault_path_of(fd, fault.undo[i].path);
    pthread_mutex_unlock(&fault.lock);
    close(fd);
}

int renameat(int dir, const char *from, int to_dir, const char *to)
{
    if (fault_now(FAULT_NAME, -1, from) || syscall(SYS_renameat, dir, from, to_dir, to) < 0)
        return -1;
    fault_renamed(to_dir, to);
    return 0;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
    return fault_now(FAULT_NAME, -1, from) ? -1 : (int)syscall(SYS_linkat, dir, from, to_dir, to, flags);
}

#ifdef TL_SANITIZED
static const bool fault_memory_works = false;
#else
static const bool fault_memory_works = true;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
    return fault_now(FAULT_MEMORY, -1, "malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fault_now(FAULT_MEMORY, -1, "calloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return fault_now(FAULT_MEMORY, -1, "realloc") ? NULL : __libc_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return fault_now(FAULT_MEMORY, -1, "aligned_alloc") ? NULL : __libc_memalign(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
    *ret = fault_now(FAULT_MEMORY, -1, "posix_memalign") ? NULL : __libc_memalign(align, size);
    return *ret ? 0 : ENOMEM;
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (fd >= 0 && fault_now(FAULT_NAME, fd, NULL))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset); // NOLINT(performance-no-int-to-ptr)
}

int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *p = real ? NULL : dlsym(RTLD_NEXT, "pthread_create");
    if (p)
        memcpy(&real, &p, sizeof(p));
    return fault_now(FAULT_MEMORY, -1, "pthread_create") ? EAGAIN : real(ret, attr, fn, arg);
}
#endif

#endif

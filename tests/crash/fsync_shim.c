/* A preloaded library that writes down, in order, what a program puts into its database, when it syncs, and what it tells the world:
 * proof that nothing is published before it is on disk, which a kill -9 alone cannot give (the kernel keeps what was written).
 *
 *   gcc -shared -fPIC -O2 -D_GNU_SOURCE -o fsync_shim.so tests/crash/fsync_shim.c
 *   LD_PRELOAD=$PWD/fsync_shim.so TL_SHIM_LOG=/tmp/log build/talos serve …
 *
 * Each line of the log: NUMBER WHAT FD PATH [EVENT_ID …]
 *   write    bytes went to a *.mdb file, and are not on disk yet
 *   dwrite   bytes went to a *.mdb file opened with O_DSYNC: they are on disk (LMDB's meta page, which makes a commit valid)
 *   sync     fdatasync, fsync or msync has succeeded (FD -1 for msync)
 *   nosync   the same has failed, or was made to fail
 *   publish  bytes with an "event_id" are about to go to a socket or a pipe
 * EVENT_ID are the values of "event_id":"…" found in the bytes. A write is noted after it was made, a sync after it has succeeded, a
 * publication before it is made; all under one lock, so NUMBER is an order in time. What must hold for every event id: its first write,
 * then a sync, then a dwrite, then its first publish.
 *
 * TL_SHIM_FAIL_SYNC=N makes the Nth sync of a *.mdb file, and all after it, fail with EIO; TL_SHIM_FAIL_DWRITE=N does so with the writes that are
 * noted as dwrite. A test may include this file instead of preloading it: a definition in the program is found before libc's. shim_hook then
 * sees each note; shim_fail_sync and shim_fail_dwrite are the N.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHIM_LINE = 8192, SHIM_ID_MAX = 128 };

static pthread_mutex_t shim_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t shim_once = PTHREAD_ONCE_INIT;
static int shim_log = -1;
static unsigned long shim_number;
static _Atomic long shim_fail_sync, shim_fail_dwrite; /* of *.mdb until they fail, counted down to 1; 0: never */
static void (*shim_hook)(const char *what, int fd, const char *path);

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_msync)(void *, size_t, int);

static void *next_symbol(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);
    if (!p)
        abort();
    return p;
}

static void shim_init(void)
{
#define FIND(name)                                                                                                     \
    do {                                                                                                               \
        void *p = next_symbol(#name);                                                                                  \
        memcpy(&real_##name, &p, sizeof(p));                                                                           \
    } while (0)
    FIND(write);
    FIND(writev);
    FIND(pwrite);
    FIND(pwritev);
    FIND(send);
    FIND(sendmsg);
    FIND(fsync);
    FIND(fdatasync);
    FIND(msync);
#undef FIND
    const char *log = getenv("TL_SHIM_LOG"), *fail = getenv("TL_SHIM_FAIL_SYNC"), *fail_dwrite = getenv("TL_SHIM_FAIL_DWRITE");
    if (log && *log)
        shim_log = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fail)
        shim_fail_sync = strtol(fail, NULL, 10);
    if (fail_dwrite)
        shim_fail_dwrite = strtol(fail_dwrite, NULL, 10);
}

static void path_of(int fd, char *ret, size_t cap)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = fd < 0 ? -1 : readlink(link, ret, cap - 1);
    snprintf(ret + (n > 0 ? n : 0), cap - (size_t)(n > 0 ? n : 0), "%s", n > 0 ? "" : "-");
}

static void note(const char *what, int fd, const char *path, const char *ids, size_t ids_len)
{
    int saved = errno;
    char head[SHIM_LINE];
    pthread_mutex_lock(&shim_lock);
    if (shim_log >= 0) {
        int n = snprintf(head, sizeof(head), "%lu %s %d %s", ++shim_number, what, fd, path);
        struct iovec iov[] = {{head, (size_t)n}, {(void *)(unsigned long)ids, ids_len}, {(void *)(unsigned long)"\n", 1}};
        syscall(SYS_writev, shim_log, iov, 3);
    }
    if (shim_hook)
        shim_hook(what, fd, path);
    pthread_mutex_unlock(&shim_lock);
    errno = saved;
}

/* A line of ids on its way; a full one is noted, and another begun. */
struct ids {
    const char *what, *path;
    int fd, found;
    size_t len;
    char line[SHIM_LINE];
};

static void add_ids(struct ids *ids, const void *bytes, size_t len)
{
    static const char mark[] = "\"event_id\":\"";
    const char *p = bytes, *end = p + len;
    while (p < end && (p = memmem(p, (size_t)(end - p), mark, sizeof(mark) - 1)) != NULL) {
        p += sizeof(mark) - 1;
        size_t n = 0; /* unused room in a page holds pieces of what was there: only what looks like an id is one */
        while (p + n < end && n <= SHIM_ID_MAX && (isalnum((unsigned char)p[n]) || strchr("-:._", p[n])) && p[n])
            n++;
        if (!n || n > SHIM_ID_MAX || p + n == end || p[n] != '"')
            continue;
        if (ids->len + n + 1 > sizeof(ids->line)) {
            note(ids->what, ids->fd, ids->path, ids->line, ids->len);
            ids->len = 0;
        }
        ids->found++;
        ids->line[ids->len++] = ' ';
        memcpy(ids->line + ids->len, p, n);
        ids->len += n;
    }
}

static int is_database(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".mdb") == 0;
}

static int is_watched(void)
{
    pthread_once(&shim_once, shim_init);
    return shim_log >= 0 || shim_hook;
}

/* Before is for what goes out, after for what went to a file. */
static void note_bytes(int fd, const struct iovec *iov, int n, int before)
{
    int saved = errno;
    struct stat st;
    char path[4200];
    struct ids ids = {.path = path, .fd = fd};
    if (is_watched() && fstat(fd, &st) == 0) {
        int file = S_ISREG(st.st_mode), out = S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode);
        if (before ? out : file)
            path_of(fd, path, sizeof(path));
        if (before ? out : file && is_database(path)) {
            ids.what = out ? "publish" : fcntl(fd, F_GETFL) & O_DSYNC ? "dwrite" : "write";
            for (int i = 0; i < n; i++)
                add_ids(&ids, iov[i].iov_base, iov[i].iov_len);
            if (file || ids.found)
                note(ids.what, fd, path, ids.line, ids.len);
        }
    }
    errno = saved;
}

static struct iovec one(const void *p, size_t n)
{
    return (struct iovec){.iov_base = (void *)(unsigned long)p, .iov_len = n};
}

/* Whether this call on a database is to fail. */
static int made_to_fail(const char *path, _Atomic long *count)
{
    if (!is_database(path))
        return 0;
    long left = atomic_load(count);
    if (left > 1)
        atomic_fetch_sub(count, 1);
    return left == 1;
}

static int dwrite_fails(int fd)
{
    char path[4200];
    int flags = atomic_load(&shim_fail_dwrite) ? fcntl(fd, F_GETFL) : 0;
    if (flags < 0 || !(flags & O_DSYNC))
        return 0;
    path_of(fd, path, sizeof(path));
    return made_to_fail(path, &shim_fail_dwrite);
}

#define WITH_NOTES(fd, iov, n, call)                                                                                   \
    do {                                                                                                               \
        pthread_once(&shim_once, shim_init);                                                                           \
        note_bytes(fd, iov, n, 1);                                                                                     \
        if (dwrite_fails(fd)) {                                                                                        \
            errno = EIO;                                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
        ssize_t r = (call);                                                                                            \
        if (r > 0)                                                                                                     \
            note_bytes(fd, iov, n, 0);                                                                                 \
        return r;                                                                                                      \
    } while (0)

ssize_t write(int fd, const void *p, size_t n)
{
    struct iovec v = one(p, n);
    WITH_NOTES(fd, &v, 1, real_write(fd, p, n));
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    WITH_NOTES(fd, iov, n, real_writev(fd, iov, n));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    struct iovec v = one(p, n);
    WITH_NOTES(fd, &v, 1, real_pwrite(fd, p, n, at));
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    WITH_NOTES(fd, iov, n, real_pwritev(fd, iov, n, at));
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    struct iovec v = one(p, n);
    WITH_NOTES(fd, &v, 1, real_send(fd, p, n, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    WITH_NOTES(fd, m->msg_iov, (int)m->msg_iovlen, real_sendmsg(fd, m, flags));
}

static int synced(int fd, int (*real)(int))
{
    char path[4200];
    path_of(fd, path, sizeof(path));
    int r = -1;
    if (made_to_fail(path, &shim_fail_sync))
        errno = EIO;
    else
        r = real(fd);
    if (is_watched())
        note(r == 0 ? "sync" : "nosync", fd, path, "", 0);
    return r;
}

int fsync(int fd)
{
    pthread_once(&shim_once, shim_init);
    return synced(fd, real_fsync);
}

int fdatasync(int fd)
{
    pthread_once(&shim_once, shim_init);
    return synced(fd, real_fdatasync);
}

int msync(void *p, size_t n, int flags)
{
    pthread_once(&shim_once, shim_init);
    int r = real_msync(p, n, flags);
    if (is_watched() && (flags & MS_SYNC))
        note(r == 0 ? "sync" : "nosync", -1, "-", "", 0);
    return r;
}

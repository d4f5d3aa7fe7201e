#include "server/poll.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { FEW = 64 /* files, for which poll() is as good */, EVENTS = 512, KNOWN = 1 << 14 };

struct tl_poll {
    const struct pollfd *fds; /* the array it answers for */
    int epfd;
    size_t cap;
    struct known {
        uint32_t index;  /* in fds */
        uint16_t events; /* as the kernel has been told, with KNOWN; 0: not told */
    } * known;           /* by file number */
    struct epoll_event events[EVENTS];
};

static _Thread_local struct tl_poll *used;
static int (*libc_poll)(struct pollfd *, nfds_t, int);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_poll(void)
{
    void *p = dlsym(RTLD_NEXT, "poll");
    memcpy(&libc_poll, &p, sizeof(p));
}

struct tl_poll *tl_poll_new(void)
{
    struct tl_poll *p = tl_calloc(1, sizeof(*p));
    if (p && (p->epfd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        free(p);
        p = NULL;
    }
    return p;
}

void tl_poll_free(struct tl_poll *p)
{
    if (!p)
        return;
    close(p->epfd);
    free(p->known);
    free(p);
}

void tl_poll_use(struct tl_poll *p)
{
    used = p;
}

void tl_poll_renewed(struct tl_poll *p, int fd)
{
    if (p && fd >= 0 && (size_t)fd < p->cap)
        p->known[fd].events = 0;
}

static int make_room(struct tl_poll *p, int fd)
{
    size_t had = p->cap;
    int err = tl_grow(&p->known, &p->cap, (size_t)fd + 1, sizeof(*p->known));
    if (!err)
        memset(p->known + had, 0, (p->cap - had) * sizeof(*p->known));
    return err;
}

/* A closed file leaves the kernel's set by itself, so what is known may be too much, never too little. */
static int tell(struct tl_poll *p, int fd, uint16_t events)
{
    struct epoll_event e = {.events = events & ~KNOWN, .data.fd = fd};
    int first = p->known[fd].events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int second = first == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(p->epfd, first, fd, &e) < 0 && epoll_ctl(p->epfd, second, fd, &e) < 0)
        return -1;
    p->known[fd].events = events;
    return 0;
}

/* -1: it cannot be done so. */
static int tell_all(struct tl_poll *p, struct pollfd *fds, nfds_t n)
{
    for (nfds_t i = 0; i < n; i++) {
        int fd = fds[i].fd;
        uint16_t events = (uint16_t)fds[i].events | KNOWN;
        fds[i].revents = 0;
        if (fd < 0)
            continue;
        if ((size_t)fd >= p->cap && make_room(p, fd) < 0)
            return -1;
        p->known[fd].index = (uint32_t)i;
        if (p->known[fd].events != events && tell(p, fd, events) < 0)
            return -1;
    }
    return 0;
}

static int wait_for(struct tl_poll *p, struct pollfd *fds, nfds_t n, int timeout)
{
    int ready = 0, got = epoll_wait(p->epfd, p->events, EVENTS, timeout);
    for (int i = 0; i < got; i++) {
        int fd = p->events[i].data.fd;
        struct known *k = &p->known[fd];
        if (k->index < n && fds[k->index].fd == fd) {
            fds[k->index].revents = (short)p->events[i].events;
            ready++;
        } else { /* closed here, and held open by a child that is just being started */
            epoll_ctl(p->epfd, EPOLL_CTL_DEL, fd, NULL);
            k->events = 0;
        }
    }
    return got < 0 ? got : ready;
}

/* In libc's place for the whole program, as the linker finds a program's own functions first. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    struct tl_poll *p = used;
    if (p && !p->fds)
        p->fds = fds;
    if (p && p->fds == fds && n > FEW && tell_all(p, fds, n) == 0)
        return wait_for(p, fds, n, timeout);
    pthread_once(&once, find_poll);
    return libc_poll(fds, n, timeout);
}

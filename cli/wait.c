#include "cli/wait.h"

#include "base/err.h"

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

int tl_cli_wait_init(struct tl_cli_wait *w)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    w->poked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->poked >= 0 && w->signals >= 0)
        return 0;
    tl_cli_wait_release(w);
    return TL_EIO;
}

void tl_cli_wait_release(struct tl_cli_wait *w)
{
    if (w->poked >= 0)
        close(w->poked);
    if (w->signals >= 0)
        close(w->signals);
    w->poked = w->signals = -1;
}

void tl_cli_wait_poke(struct tl_cli_wait *w)
{
    uint64_t one = 1;
    if (write(w->poked, &one, sizeof(one)) < 0) {
        /* the counter is full: whoever waits is poked already */
    }
}

enum tl_cli_wait_what tl_cli_wait_for(struct tl_cli_wait *w, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = w->signals, .events = POLLIN}, {.fd = w->poked, .events = POLLIN}};
    if (poll(fds, 2, timeout_ms) <= 0)
        return TL_WAIT_TIME;
    if (fds[0].revents & POLLIN) {
        struct signalfd_siginfo info;
        if (read(w->signals, &info, sizeof(info)) == sizeof(info))
            return TL_WAIT_SIGNAL;
    }
    uint64_t count;
    return read(w->poked, &count, sizeof(count)) == sizeof(count) ? TL_WAIT_POKE : TL_WAIT_TIME;
}

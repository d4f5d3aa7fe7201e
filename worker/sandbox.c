#include "worker/sandbox.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/sched.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Allowed whatever the arguments. No way here to name a file, a host, a process or a program. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getrandom),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(membarrier),
};

/* Refused without killing: libraries ask and live with the answer. clone3 cannot be checked by a filter; the C library then uses clone. */
static const int refused[] = {
    SCMP_SYS(clone3),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstat),
    SCMP_SYS(statx),
    SCMP_SYS(ioctl),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(sched_getparam),
    SCMP_SYS(sched_getscheduler),
    SCMP_SYS(set_mempolicy),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(fcntl),
    SCMP_SYS(fadvise64),
    SCMP_SYS(uname),
};

static int add_conditional(scmp_filter_ctx c)
{
    int e = 0;
    /* No memory that can be run as a program. */
    e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* Threads, not processes. */
    e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
    e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    /* abort() */
    e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    return e;
}

static int install_filter(void)
{
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!c)
        return TL_ESANDBOX;
    int e = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1);
    e |= seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < TL_ARRAY_LEN(allowed); i++)
        e |= seccomp_rule_add(c, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < TL_ARRAY_LEN(refused); i++)
        e |= seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), refused[i], 0);
    e |= add_conditional(c);
    if (e == 0)
        e = seccomp_load(c);
    seccomp_release(c);
    return e == 0 ? 0 : TL_ESANDBOX;
}

static bool limit(int what, uint64_t most)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) < 0)
        return false;
    rlim_t v = most < now.rlim_max ? (rlim_t)most : now.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &(struct rlimit){v, v}) == 0;
}

static bool set_limits(uint64_t fsize)
{
    bool ok = limit(RLIMIT_CORE, 0) && limit(RLIMIT_CPU, TL_WK_CPU_SEC) && limit(RLIMIT_NOFILE, TL_WK_NOFILE) &&
              limit(RLIMIT_FSIZE, fsize);
#ifndef TL_SANITIZED /* the sanitizers' shadow memory is larger than any sensible limit */
    ok = ok && limit(RLIMIT_AS, TL_WK_AS_BYTES);
#endif
    return ok;
}

int tl_wk_sandbox_enter(int keep, uint64_t fsize)
{
    /* Past the limit a write then answers EFBIG; a peer that is gone answers EPIPE. */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 4); /* each arena reserves address space */
    clearenv();
    if (close_range((unsigned)keep + 1, ~0u, 0) < 0 || !set_limits(fsize) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return TL_ESANDBOX;
    return install_filter();
}

/* Want of memory, made: the Nth allocation of the program fails, and all after it where asked for. Included by one file of a test program, which then has
 * malloc of its own; under the sanitizers, which have theirs, nothing fails and oom_works is false. */
#ifndef TL_TESTS_UNIT_BASE_OOM_H
#define TL_TESTS_UNIT_BASE_OOM_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

static _Atomic long oom_left = -1; /* allocations until one fails; negative: none does */
static _Atomic bool oom_all;       /* those after it fail too */
static _Atomic bool oom_failed;    /* one has */
static _Atomic long oom_live;      /* allocations not freed */

#ifdef TL_SANITIZED
static const bool oom_works = false;
#else
static const bool oom_works = true;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static bool oom_now(void)
{
    long left = atomic_load(&oom_left);
    if (left < 0 || (left > 0 && atomic_fetch_sub(&oom_left, 1) > 1))
        return false;
    if (!atomic_load(&oom_all))
        atomic_store(&oom_left, -1);
    atomic_store(&oom_failed, true);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    void *p = oom_now() ? NULL : __libc_malloc(size);
    atomic_fetch_add(&oom_live, p != NULL);
    return p;
}

void *calloc(size_t count, size_t size)
{
    void *p = oom_now() ? NULL : __libc_calloc(count, size);
    atomic_fetch_add(&oom_live, p != NULL);
    return p;
}

void *realloc(void *old, size_t size)
{
    void *p = oom_now() ? NULL : __libc_realloc(old, size);
    atomic_fetch_add(&oom_live, p != NULL && !old);
    return p;
}

void free(void *p)
{
    atomic_fetch_sub(&oom_live, p != NULL);
    __libc_free(p);
}
#endif

/* Runs fn with the first, the second … allocation failing, until one run needs no more. fn is told by oom_failed whether one has failed. Returns how many
 * runs there were; *ret_leaked is what was not freed in those where one failed. */
static long oom_each(void (*fn)(void), bool all, long *ret_leaked)
{
    *ret_leaked = 0;
    for (long n = 1;; n++) {
        long before = atomic_load(&oom_live);
        atomic_store(&oom_failed, false);
        atomic_store(&oom_all, all);
        atomic_store(&oom_left, oom_works ? n : -1);
        fn();
        atomic_store(&oom_left, -1);
        if (!atomic_load(&oom_failed))
            return n;
        *ret_leaked += atomic_load(&oom_live) - before;
    }
}

#endif

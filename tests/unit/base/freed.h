/* What is given back without having been overwritten: blocks in which a mark stands when they are freed, or moved, are counted. Included by one file of a test program,
 * which then has malloc of its own; under the sanitizers, which have theirs, nothing is seen and freed_works is false. */
#ifndef TL_TESTS_UNIT_BASE_FREED_H
#define TL_TESTS_UNIT_BASE_FREED_H

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *_Atomic freed_mark; /* NULL: nothing is looked at */
static _Atomic long freed_seen;

#ifdef TL_SANITIZED
static const bool freed_works = false;
#else
static const bool freed_works = true;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

/* Zeroed while there is a mark: what lay in a block before is not its user's. */
void *malloc(size_t size)
{
    return atomic_load(&freed_mark) ? __libc_calloc(1, size) : __libc_malloc(size);
}

void free(void *p)
{
    const char *mark = atomic_load(&freed_mark);
    if (p && mark && memmem(p, malloc_usable_size(p), mark, strlen(mark)))
        atomic_fetch_add(&freed_seen, 1);
    __libc_free(p);
}

void *realloc(void *old, size_t size)
{
    if (!old || !atomic_load(&freed_mark))
        return __libc_realloc(old, size);
    size_t had = malloc_usable_size(old);
    void *p = malloc(size);
    if (p) {
        memcpy(p, old, had < size ? had : size);
        free(old);
    }
    return p;
}
#endif

#endif

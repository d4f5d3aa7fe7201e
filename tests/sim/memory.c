/* Counts the blocks of memory that are in use, so that a world that leaves some behind is found out at once and without a sanitizer. */
#include "tests/sim/sim.h"

#include <malloc.h>
#include <stdlib.h>

#ifdef TL_SANITIZED
long mem_blocks(void)
{
    return 0; /* the sanitizer looks itself */
}
#else
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static long blocks;

long mem_blocks(void)
{
    return blocks;
}

static void *counted(void *p)
{
    blocks += p != NULL;
    return p;
}

void *malloc(size_t n)
{
    return counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    void *q = __libc_realloc(p, n);
    blocks += !p && q;
    blocks -= p && !q && !n;
    return q;
}

void *memalign(size_t align, size_t n)
{
    return counted(__libc_memalign(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
    return counted(__libc_memalign(align, n));
}

void free(void *p)
{
    blocks -= p != NULL;
    __libc_free(p);
}
#endif

#include "base/mem.h"

#include "base/err.h"
#include "base/hash.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

struct tl_arena_block {
    struct tl_arena_block *next;
    size_t used, cap;
    _Alignas(16) unsigned char data[];
};

enum { ARENA_BLOCK = 8192 };

void tl_free_ptr(void *pp)
{
    void *p;
    memcpy(&p, pp, sizeof(p));
    free(p);
}

void tl_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void *tl_calloc(size_t count, size_t size)
{
    count = count ? count : 1;
    size = size ? size : 1;
    return count > PTRDIFF_MAX / size ? NULL : calloc(count, size);
}

int tl_grow(void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    size_t n = *cap ? *cap : 8;
    while (n < need) {
        if (n > SIZE_MAX / 2)
            return TL_ENOMEM;
        n *= 2;
    }
    if (size == 0 || n > SIZE_MAX / size)
        return TL_ENOMEM;
    void *old;
    memcpy(&old, array, sizeof(old));
    void *fresh = realloc(old, n * size);
    if (!fresh)
        return TL_ENOMEM;
    memcpy(array, &fresh, sizeof(fresh));
    *cap = n;
    return 0;
}

char *tl_strdup(const char *s)
{
    return s ? strdup(s) : NULL;
}

char *tl_strndup(const char *s, size_t len)
{
    char *p = len < SIZE_MAX ? malloc(len + 1) : NULL;
    if (!p)
        return NULL;
    if (len)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

void *tl_arena_alloc(struct tl_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    struct tl_arena_block *b = arena->head;
    if (!b || b->cap - b->used < size) {
        size_t cap = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        b = calloc(1, sizeof(*b) + cap);
        if (!b)
            return NULL;
        b->cap = cap;
        b->next = arena->head;
        arena->head = b;
    }
    void *p = b->data + b->used;
    b->used += size;
    arena->total += size;
    return p;
}

char *tl_arena_strndup(struct tl_arena *arena, const char *s, size_t len)
{
    char *p = len < SIZE_MAX ? tl_arena_alloc(arena, len + 1) : NULL;
    if (p && len)
        memcpy(p, s, len);
    return p;
}

char *tl_arena_strdup(struct tl_arena *arena, const char *s)
{
    return s ? tl_arena_strndup(arena, s, strlen(s)) : NULL;
}

void tl_arena_wipe(struct tl_arena *arena)
{
    for (struct tl_arena_block *b = arena->head; b; b = b->next)
        tl_wipe(b->data, b->used);
}

void tl_arena_clear(struct tl_arena *arena)
{
    if (!arena)
        return;
    for (struct tl_arena_block *b = arena->head; b;) {
        struct tl_arena_block *next = b->next;
        free(b);
        b = next;
    }
    arena->head = NULL;
    arena->total = 0;
}

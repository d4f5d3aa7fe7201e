/* Memory: scope cleanup for locals and an arena for data that lives and dies together. */
#ifndef TL_BASE_MEM_H
#define TL_BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

/* Declares that the local is released with fn(&local) when it leaves its scope. */
#define TL_CLEANUP(fn) __attribute__((cleanup(fn)))
#define TL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

void tl_free_ptr(void *pp); /* for TL_CLEANUP on any malloc'd pointer: takes the address of the pointer */
void tl_close_fd(int *fd);  /* for TL_CLEANUP on a descriptor; negative is none */
#define TL_AUTO_FREE TL_CLEANUP(tl_free_ptr)
#define TL_AUTO_FD TL_CLEANUP(tl_close_fd)

/* NULL on overflow or want of memory; zeroed. */
void *tl_calloc(size_t count, size_t size);
/* Grows *array (of *cap items of size) to hold at least need items, doubling. TL_ENOMEM leaves it as it was. */
int tl_grow(void *array, size_t *cap, size_t need, size_t size);
char *tl_strdup(const char *s);              /* NULL in gives NULL out; returns owned */
char *tl_strndup(const char *s, size_t len); /* returns owned */

/* An arena: allocations are freed together. Not thread-safe. Init to {0}. */
struct tl_arena {
    struct tl_arena_block *head;
    size_t total; /* bytes asked for so far */
};
void *tl_arena_alloc(struct tl_arena *arena, size_t size); /* zeroed, 16-byte aligned; NULL on want of memory */
char *tl_arena_strdup(struct tl_arena *arena, const char *s);
char *tl_arena_strndup(struct tl_arena *arena, const char *s, size_t len);
void tl_arena_wipe(struct tl_arena *arena); /* overwrites what was allocated, before tl_arena_clear */
void tl_arena_clear(struct tl_arena *arena);

#endif

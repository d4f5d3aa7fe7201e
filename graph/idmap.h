/* From an id to its index: the ids themselves, one behind the other, and an open-addressing table over them. Filled once, then looked up in. */
#ifndef TL_GRAPH_IDMAP_H
#define TL_GRAPH_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_idmap {
    char *pool; /* per id: its index (32 bits), the id, a NUL; owned */
    size_t len, cap;
    struct tl_idmap_slot {
        uint32_t hash, at; /* the id's place in the pool; 0: an empty slot */
    } * slots;
    uint32_t count, mask;
};

/* Init to {0}, then keep all ids, then build. */
int tl_idmap_keep(struct tl_idmap *map, const char *id, size_t len, uint32_t index); /* copies id; TL_ENOMEM */
/* Tells twice() of each id that was kept before with a smaller index; it counts no further. TL_ENOMEM. From here on the ids stay where they are. */
int tl_idmap_build(struct tl_idmap *map, void (*twice)(void *arg, uint32_t index, const char *id), void *arg);
/* The ids in the order in which they were kept: *at is 0 at first; false at the end. */
bool tl_idmap_next(const struct tl_idmap *map, size_t *at, uint32_t *ret_index, const char **ret_id);

/* UINT32_MAX where it is not there, or nothing was built. id need not be terminated. */
uint32_t tl_idmap_find(const struct tl_idmap *map, const char *id, size_t len);
/* The same in two steps, with other work between them while memory answers the first. */
uint32_t tl_idmap_hash(const struct tl_idmap *map, const char *id, size_t len);
uint32_t tl_idmap_find_hash(const struct tl_idmap *map, const char *id, size_t len, uint32_t hash);
void tl_idmap_wipe(struct tl_idmap *map); /* overwrites the ids, before tl_idmap_clear */
void tl_idmap_clear(struct tl_idmap *map);

#endif

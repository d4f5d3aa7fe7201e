/* From a node's id to its index: an open-addressing table of borrowed strings, filled once. */
#ifndef TL_GRAPH_IDMAP_H
#define TL_GRAPH_IDMAP_H

#include <stdint.h>

struct tl_idmap {
    struct tl_idmap_slot {
        const char *id;
        uint32_t hash, index;
    } * slots;
    uint32_t mask;
};

int tl_idmap_init(struct tl_idmap *map, uint32_t count);                /* room for count ids; TL_ENOMEM */
int tl_idmap_add(struct tl_idmap *map, const char *id, uint32_t index); /* TL_ECONFLICT where the id is there already */
uint32_t tl_idmap_find(const struct tl_idmap *map, const char *id);     /* UINT32_MAX where it is not */
void tl_idmap_clear(struct tl_idmap *map);

#endif

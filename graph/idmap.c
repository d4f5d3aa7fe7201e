#include "graph/idmap.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

/* Seeded, so that a graph cannot be made whose ids all collide. */
static uint64_t seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    tl_random(&seed, sizeof(seed));
}

static uint32_t hash_of(const char *id)
{
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
    return (uint32_t)(h ^ h >> 32);
}

int tl_idmap_init(struct tl_idmap *map, uint32_t count)
{
    pthread_once(&seeded, make_seed);
    uint32_t size = 8;
    while (size < count * 2u)
        size *= 2;
    map->slots = tl_calloc(size, sizeof(*map->slots));
    map->mask = size - 1;
    return map->slots ? 0 : TL_ENOMEM;
}

static struct tl_idmap_slot *slot_of(const struct tl_idmap *map, const char *id, uint32_t hash)
{
    uint32_t i = hash & map->mask;
    while (map->slots[i].id && (map->slots[i].hash != hash || strcmp(map->slots[i].id, id) != 0))
        i = (i + 1) & map->mask;
    return &map->slots[i];
}

int tl_idmap_add(struct tl_idmap *map, const char *id, uint32_t index)
{
    uint32_t hash = hash_of(id);
    struct tl_idmap_slot *s = slot_of(map, id, hash);
    if (s->id)
        return TL_ECONFLICT;
    *s = (struct tl_idmap_slot){.id = id, .hash = hash, .index = index};
    return 0;
}

uint32_t tl_idmap_find(const struct tl_idmap *map, const char *id)
{
    if (!map->slots)
        return UINT32_MAX;
    const struct tl_idmap_slot *s = slot_of(map, id, hash_of(id));
    return s->id ? s->index : UINT32_MAX;
}

void tl_idmap_clear(struct tl_idmap *map)
{
    free(map->slots);
    memset(map, 0, sizeof(*map));
}

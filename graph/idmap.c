#include "graph/idmap.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/jread.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

enum { AHEAD = 8 }; /* slots that are asked of memory before they are needed */

/* Seeded, so that a graph cannot be made whose ids all collide. */
static uint64_t seed[2];
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    tl_random(seed, sizeof(seed));
    seed[1] |= 1;
}

/* Both halves of the whole product. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint32_t hash_of(const char *id, size_t len)
{
    uint64_t h = seed[0] ^ len, word;
    for (; len > 8; id += 8, len -= 8) {
        memcpy(&word, id, 8);
        h = mix(h ^ word, seed[1]);
    }
    word = 0;
    for (size_t i = 0; i < len; i++)
        word = word << 8 | (unsigned char)id[i];
    h = mix(mix(h ^ word, seed[1]), 0x9e3779b97f4a7c15u);
    return (uint32_t)(h ^ h >> 32);
}

/* By hand, so that no id stays behind: they may be of a private graph. */
static int resize(struct tl_idmap *map, size_t cap)
{
    char *pool = malloc(cap);
    if (!pool)
        return TL_ENOMEM;
    if (map->pool) {
        memcpy(pool, map->pool, map->len);
        tl_wipe(map->pool, map->len);
    }
    free(map->pool);
    map->pool = pool;
    map->cap = cap;
    return 0;
}

int tl_idmap_keep(struct tl_idmap *map, const char *id, size_t len, uint32_t index)
{
    size_t need = map->len + sizeof(index) + len + 1;
    if (need > UINT32_MAX)
        return TL_ENOMEM;
    if (need > map->cap && resize(map, need < 128 ? 256 : 2 * need) < 0)
        return TL_ENOMEM;
    char *to = map->pool + map->len;
    memcpy(to, &index, sizeof(index));
    memcpy(to + sizeof(index), id, len);
    to[sizeof(index) + len] = '\0';
    map->len = need;
    map->count++;
    return 0;
}

bool tl_idmap_next(const struct tl_idmap *map, size_t *at, uint32_t *ret_index, const char **ret_id)
{
    if (*at >= map->len)
        return false;
    memcpy(ret_index, map->pool + *at, sizeof(*ret_index));
    *ret_id = map->pool + *at + sizeof(*ret_index);
    *at += sizeof(*ret_index) + strlen(*ret_id) + 1;
    return true;
}

static struct tl_idmap_slot *slot_of(const struct tl_idmap *map, const char *id, size_t len, uint32_t hash)
{
    uint32_t i = hash & map->mask;
    for (; map->slots[i].at; i = (i + 1) & map->mask) {
        if (map->slots[i].hash == hash && tl_jtext_is((struct tl_jtext){id, len}, map->pool + map->slots[i].at))
            break;
    }
    return &map->slots[i];
}

static int make_slots(struct tl_idmap *map)
{
    pthread_once(&seeded, make_seed);
    uint32_t size = 8;
    while (size < map->count + map->count / 2 + 1)
        size *= 2;
    map->slots = tl_calloc(size, sizeof(*map->slots));
    map->mask = size - 1;
    if (map->len)
        resize(map, map->len); /* or it stays as large as it is */
    return map->slots ? 0 : TL_ENOMEM;
}

int tl_idmap_build(struct tl_idmap *map, void (*twice)(void *arg, uint32_t index, const char *id), void *arg)
{
    struct {
        const char *id;
        uint32_t index, hash, len;
    } ahead[AHEAD], *a;
    size_t at = 0;
    if (make_slots(map) < 0)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < map->count + AHEAD; i++) {
        a = &ahead[i % AHEAD];
        if (i >= AHEAD) {
            struct tl_idmap_slot *s = slot_of(map, a->id, a->len, a->hash);
            if (s->at)
                twice(arg, a->index, a->id);
            else
                *s = (struct tl_idmap_slot){.hash = a->hash, .at = (uint32_t)(a->id - map->pool)};
        }
        if (tl_idmap_next(map, &at, &a->index, &a->id)) {
            a->len = (uint32_t)(map->pool + at - a->id - 1);
            a->hash = tl_idmap_hash(map, a->id, a->len);
        }
    }
    return 0;
}

uint32_t tl_idmap_hash(const struct tl_idmap *map, const char *id, size_t len)
{
    uint32_t hash = hash_of(id, len);
    if (map->slots)
        __builtin_prefetch(&map->slots[hash & map->mask]);
    return hash;
}

uint32_t tl_idmap_find_hash(const struct tl_idmap *map, const char *id, size_t len, uint32_t hash)
{
    if (!map->slots)
        return UINT32_MAX;
    const struct tl_idmap_slot *s = slot_of(map, id, len, hash);
    uint32_t index = UINT32_MAX;
    if (s->at)
        memcpy(&index, map->pool + s->at - sizeof(index), sizeof(index));
    return index;
}

uint32_t tl_idmap_find(const struct tl_idmap *map, const char *id, size_t len)
{
    return tl_idmap_find_hash(map, id, len, hash_of(id, len));
}

void tl_idmap_wipe(struct tl_idmap *map)
{
    if (map->pool)
        tl_wipe(map->pool, map->len);
}

void tl_idmap_clear(struct tl_idmap *map)
{
    free(map->slots);
    free(map->pool);
    memset(map, 0, sizeof(*map));
}

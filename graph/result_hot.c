/* The cache in memory: shards by a byte of the key, each a table of chains and one list by last use. */
#include "graph/result_priv.h"

#include "base/mem.h"

#include <pthread.h>
#include <string.h>

enum {
    SHARDS = 16,
    FIRST_BUCKETS = 256,
    LARGEST_SHARE = 4, /* of a shard: what is larger than this part of it is not taken */
    OVERHEAD = 24,     /* of the allocation and its place in the table */
};

struct entry {
    struct entry *chain, *newer, *older;
    uint8_t key[32];
    struct tl_result_facts facts;
    size_t bytes;
    uint32_t n;
    bool hashed;
    struct tl_value values[]; /* n, and where hashed 32 bytes of hash for each */
};

struct shard {
    _Alignas(64) pthread_mutex_t lock;
    struct entry **buckets, *newest, *oldest;
    size_t nbuckets, count;
    uint64_t bytes;
};

struct tl_hot {
    uint64_t max; /* of a shard */
    struct shard shards[SHARDS];
};

struct tl_hot *tl_hot_new(uint64_t max)
{
    struct tl_hot *hot = aligned_alloc(64, sizeof(*hot));
    if (!hot)
        return NULL;
    memset(hot, 0, sizeof(*hot));
    hot->max = max / SHARDS;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&hot->shards[i].lock, NULL);
    return hot;
}

static void free_entry(struct entry *e)
{
    for (uint32_t i = 0; i < e->n; i++)
        tl_value_clear(&e->values[i]);
    free(e);
}

void tl_hot_free(struct tl_hot *hot)
{
    for (size_t i = 0; hot && i < SHARDS; i++) {
        struct shard *s = &hot->shards[i];
        for (struct entry *e = s->newest, *next; e; e = next) {
            next = e->older;
            free_entry(e);
        }
        free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    free(hot);
}

/* The key is a hash: any of its bytes will do. */
static struct shard *shard_of(struct tl_hot *hot, const uint8_t key[32])
{
    return &hot->shards[key[0] % SHARDS];
}

static struct entry **bucket_of(const struct shard *s, const uint8_t key[32])
{
    uint64_t h;
    memcpy(&h, key + 8, sizeof(h));
    return &s->buckets[h & (s->nbuckets - 1)];
}

static struct entry *find(const struct shard *s, const uint8_t key[32])
{
    struct entry *e = s->nbuckets ? *bucket_of(s, key) : NULL;
    while (e && memcmp(e->key, key, 32) != 0)
        e = e->chain;
    return e;
}

static void unlist(struct shard *s, struct entry *e)
{
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
}

static void enlist(struct shard *s, struct entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}

static void drop(struct shard *s, struct entry *e)
{
    struct entry **at = bucket_of(s, e->key);
    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    unlist(s, e);
    s->count--;
    s->bytes -= e->bytes;
    free_entry(e);
}

static void make_room(struct shard *s, uint64_t max)
{
    while (s->bytes > max && s->oldest)
        drop(s, s->oldest);
}

static bool grow(struct shard *s)
{
    if (s->count < s->nbuckets)
        return true;
    size_t n = s->nbuckets ? 2 * s->nbuckets : FIRST_BUCKETS;
    struct entry **buckets = tl_calloc(n, sizeof(struct entry *));
    if (!buckets)
        return s->nbuckets > 0;
    free(s->buckets);
    s->buckets = buckets;
    s->nbuckets = n;
    for (struct entry *e = s->newest; e; e = e->older) {
        struct entry **at = bucket_of(s, e->key);
        e->chain = *at;
        *at = e;
    }
    return true;
}

void tl_hot_put(struct tl_hot *hot, const uint8_t key[32], const struct tl_result_facts *facts,
                const struct tl_value *values, uint32_t n, const uint8_t *hashes, size_t bytes)
{
    size_t own = sizeof(struct entry) + n * (sizeof(*values) + (hashes ? 32 : 0));
    if (own + bytes > hot->max / LARGEST_SHARE)
        return;
    struct entry *e = malloc(own);
    if (!e)
        return;
    *e = (struct entry){.facts = *facts, .bytes = own + bytes + OVERHEAD, .n = n, .hashed = hashes != NULL};
    memcpy(e->key, key, 32);
    for (uint32_t i = 0; i < n; i++)
        e->values[i] = tl_value_ref(&values[i]);
    if (hashes)
        memcpy(e->values + n, hashes, (size_t)32 * n);
    struct shard *s = shard_of(hot, key);
    pthread_mutex_lock(&s->lock);
    bool room = !find(s, key) && grow(s);
    if (room) {
        struct entry **at = bucket_of(s, key);
        e->chain = *at;
        *at = e;
        enlist(s, e);
        s->count++;
        s->bytes += e->bytes;
        make_room(s, hot->max);
    }
    pthread_mutex_unlock(&s->lock);
    if (!room)
        free_entry(e);
}

bool tl_hot_get(struct tl_hot *hot, const uint8_t key[32], struct tl_result_facts *ret_facts, struct tl_value *values,
                uint32_t n, uint8_t **ret_hashes)
{
    struct shard *s = shard_of(hot, key);
    *ret_hashes = NULL;
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, key);
    bool ok = e && e->n == n && (!e->hashed || (*ret_hashes = malloc((size_t)32 * n)));
    if (ok) {
        unlist(s, e);
        enlist(s, e);
        *ret_facts = e->facts;
        for (uint32_t i = 0; i < n; i++)
            values[i] = tl_value_ref(&e->values[i]);
        if (e->hashed)
            memcpy(*ret_hashes, e->values + n, (size_t)32 * n);
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool tl_hot_hashes(struct tl_hot *hot, const uint8_t key[32], struct tl_result_facts *ret_facts, uint32_t n,
                   uint8_t *ret)
{
    struct shard *s = shard_of(hot, key);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, key);
    bool ok = e && e->n == n;
    if (ok)
        *ret_facts = e->facts;
    if (ok && e->hashed)
        memcpy(ret, e->values + n, (size_t)32 * n);
    for (uint32_t i = 0; ok && !e->hashed && i < n; i++)
        tl_value_hash(&e->values[i], ret + (size_t)32 * i);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void tl_hot_stamp(struct tl_hot *hot, const uint8_t key[32], uint64_t stamp)
{
    struct shard *s = shard_of(hot, key);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, key);
    if (e)
        e->facts.stamp = stamp;
    pthread_mutex_unlock(&s->lock);
}

void tl_hot_on_disk(struct tl_hot *hot, const uint8_t key[32])
{
    struct shard *s = shard_of(hot, key);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, key);
    if (e)
        e->facts.on_disk = true;
    pthread_mutex_unlock(&s->lock);
}

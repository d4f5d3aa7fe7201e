#include "capsules/plans.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    NODE_BYTES = 256 /* of text that count as a node */,
    PLAN_NODES = 64, /* what a plan within another takes beside its nodes, as so many of them */
};

struct kept {
    struct kept *next;           /* in its bucket */
    struct kept *newer, *older;  /* by last use */
    uint8_t key[TL_BLAKE2B_LEN]; /* of what was asked for */
    struct tl_plan *plan;        /* owned reference */
    size_t weight;
    bool looks_outside;
    uint64_t state; /* of the outside, when the plan was made */
};

struct tl_plans {
    pthread_mutex_t lock;
    struct tl_db *db;
    struct kept *buckets[BUCKETS];
    struct kept *newest, *oldest;
    size_t weight;
};

int tl_plans_new(struct tl_db *db, struct tl_plans **ret)
{
    if (!(*ret = tl_calloc(1, sizeof(**ret))))
        return TL_ENOMEM;
    (*ret)->db = db;
    pthread_mutex_init(&(*ret)->lock, NULL);
    return 0;
}

static struct kept **bucket(struct tl_plans *plans, const uint8_t *key)
{
    return &plans->buckets[((size_t)key[0] << 8 | key[1]) % BUCKETS];
}

static void unlink_use(struct tl_plans *plans, struct kept *k)
{
    *(k->newer ? &k->newer->older : &plans->newest) = k->older;
    *(k->older ? &k->older->newer : &plans->oldest) = k->newer;
}

static void link_newest(struct tl_plans *plans, struct kept *k)
{
    k->newer = NULL;
    k->older = plans->newest;
    *(k->older ? &k->older->newer : &plans->oldest) = k;
    plans->newest = k;
}

static void forget(struct tl_plans *plans, struct kept *k)
{
    struct kept **at = bucket(plans, k->key);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    unlink_use(plans, k);
    plans->weight -= k->weight;
    tl_plan_unref(k->plan);
    free(k);
}

void tl_plans_free(struct tl_plans *plans)
{
    if (!plans)
        return;
    while (plans->newest)
        forget(plans, plans->newest);
    pthread_mutex_destroy(&plans->lock);
    free(plans);
}

static void make_key(const struct tl_plan_ask *ask, uint8_t ret[TL_BLAKE2B_LEN])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, ask->org, strlen(ask->org));
    tl_blake2b_field(&h, ask->doc, TL_TEXT_HASH);
    tl_blake2b_field(&h, &ask->admin, sizeof(ask->admin));
    tl_blake2b_field(&h, ask->targets ? "some" : "all", ask->targets ? 4 : 3);
    for (size_t i = 0; i < ask->ntargets; i++)
        tl_blake2b_field(&h, ask->targets[i], strlen(ask->targets[i]));
    tl_blake2b_final(&h, ret);
}

/* Changes with everything that a node's shape may look at: the capsules that there are and may be opened, the files that clips name, the patterns. */
static uint64_t outside(const struct tl_plans *plans)
{
    static const enum tl_table tables[] = {TL_TBL_CAPSULE, TL_TBL_SEALED,  TL_TBL_WRAP,
                                           TL_TBL_KEY,     TL_TBL_PATTERN, TL_TBL_FILE};
    uint64_t sum = 0;
    for (size_t i = 0; plans->db && i < TL_ARRAY_LEN(tables); i++)
        sum += tl_db_generation(plans->db, tables[i]);
    return sum;
}

/* An op without shape() is the same for every document; one with it may look around. */
static bool looks_outside(const struct tl_plan *plan)
{
    for (uint32_t i = 0; i < plan->nnodes; i++)
        if (plan->nodes[i].wanted && plan->nodes[i].op->shape)
            return true;
    return false;
}

static struct kept *find(struct tl_plans *plans, const uint8_t *key)
{
    struct kept *k = *bucket(plans, key);
    while (k && memcmp(k->key, key, TL_BLAKE2B_LEN) != 0)
        k = k->next;
    return k;
}

struct tl_plan *tl_plans_find(struct tl_plans *plans, const struct tl_plan_ask *ask, uint64_t *ret_state)
{
    uint8_t key[TL_BLAKE2B_LEN];
    struct tl_plan *plan = NULL;
    *ret_state = 0;
    if (!plans)
        return NULL;
    make_key(ask, key);
    *ret_state = outside(plans);
    pthread_mutex_lock(&plans->lock);
    struct kept *k = find(plans, key);
    if (k && k->looks_outside && k->state != *ret_state) {
        forget(plans, k);
    } else if (k) {
        unlink_use(plans, k);
        link_newest(plans, k);
        plan = tl_plan_ref(k->plan);
    }
    pthread_mutex_unlock(&plans->lock);
    return plan;
}

void tl_plans_keep(struct tl_plans *plans, const struct tl_plan_ask *ask, uint64_t state, size_t text_len,
                   struct tl_plan *plan)
{
    size_t weight = plan->ntotal + text_len / NODE_BYTES + 1;
    for (uint32_t i = 0; i < plan->nnodes; i++)
        weight += plan->nodes[i].shape && plan->nodes[i].shape->inner_nodes ? PLAN_NODES : 0;
    bool around = looks_outside(plan);
    if (!plans || weight > TL_PLANS_MAX_NODES || (around && !plans->db))
        return;
    struct kept *k = tl_calloc(1, sizeof(*k));
    if (!k)
        return;
    *k = (struct kept){.plan = tl_plan_ref(plan), .weight = weight, .looks_outside = around, .state = state};
    make_key(ask, k->key);
    pthread_mutex_lock(&plans->lock);
    struct kept *old = find(plans, k->key);
    if (old)
        forget(plans, old);
    while (plans->oldest && plans->weight + weight > TL_PLANS_MAX_NODES)
        forget(plans, plans->oldest);
    k->next = *bucket(plans, k->key);
    *bucket(plans, k->key) = k;
    link_newest(plans, k);
    plans->weight += weight;
    pthread_mutex_unlock(&plans->lock);
}

#include "server/follow.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

enum { BUCKETS = 4096, SLICE_US = 8000, SLICE_LOOK = 64 /* followers woken between two looks at the clock */ };

struct tl_followed {
    struct tl_id run;
    struct tl_followed *next;      /* in its bucket */
    struct tl_follower *followers; /* service thread */
    struct tl_followed *next_news;
    bool news, ended;
    bool walking;             /* its followers are being woken: it must not go away */
    struct tl_follower *rest; /* who comes next then */
};

struct tl_follows {
    pthread_mutex_t lock; /* buckets and news; followers belong to the service thread */
    struct tl_followed *buckets[BUCKETS];
    struct tl_followed *news;
    struct tl_followed *taken,
        *walk; /* service thread: news being handed out; the run whose followers are being woken */
    bool walk_ended;
    size_t count;
};

struct tl_follows *tl_follows_new(void)
{
    struct tl_follows *all = tl_calloc(1, sizeof(*all));
    if (all)
        pthread_mutex_init(&all->lock, NULL);
    return all;
}

/* Ids end in random bits. */
static struct tl_followed **bucket(struct tl_follows *all, const struct tl_id *run)
{
    return &all->buckets[(run->b[TL_ID_LEN - 1] | run->b[TL_ID_LEN - 2] << 8) % BUCKETS];
}

static struct tl_followed *find(struct tl_follows *all, const struct tl_id *run)
{
    struct tl_followed *r = *bucket(all, run);
    while (r && !tl_id_equal(&r->run, run))
        r = r->next;
    return r;
}

void tl_follows_free(struct tl_follows *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct tl_followed *r = all->buckets[i]; r;) {
            struct tl_followed *next = r->next;
            free(r);
            r = next;
        }
    pthread_mutex_destroy(&all->lock);
    free(all);
}

int tl_follow_add(struct tl_follows *all, struct tl_follower *f, const struct tl_id *run)
{
    pthread_mutex_lock(&all->lock);
    struct tl_followed *r = find(all, run);
    if (!r && (r = tl_calloc(1, sizeof(*r)))) {
        struct tl_followed **at = bucket(all, run);
        r->run = *run;
        r->next = *at;
        *at = r;
    }
    pthread_mutex_unlock(&all->lock);
    if (!r)
        return TL_ENOMEM;
    f->of = r;
    f->prev = NULL;
    f->next = r->followers;
    if (f->next)
        f->next->prev = f;
    r->followers = f;
    all->count++;
    return 0;
}

/* Forgets a run that nobody follows. */
static void drop_if_idle(struct tl_follows *all, struct tl_followed *r)
{
    if (r->followers || r->walking)
        return;
    pthread_mutex_lock(&all->lock);
    if (!r->news) {
        struct tl_followed **at = bucket(all, &r->run);
        while (*at != r)
            at = &(*at)->next;
        *at = r->next;
        free(r);
    }
    pthread_mutex_unlock(&all->lock);
}

void tl_follow_remove(struct tl_follows *all, struct tl_follower *f)
{
    struct tl_followed *r = f->of;
    if (!r)
        return;
    if (r->rest == f)
        r->rest = f->next;
    if (f->prev)
        f->prev->next = f->next;
    else
        r->followers = f->next;
    if (f->next)
        f->next->prev = f->prev;
    f->of = NULL;
    f->prev = f->next = NULL;
    all->count--;
    drop_if_idle(all, r);
}

size_t tl_follow_count(const struct tl_follows *all)
{
    return all->count;
}

bool tl_follow_notify(struct tl_follows *all, const struct tl_id *run, bool ended)
{
    pthread_mutex_lock(&all->lock);
    struct tl_followed *r = find(all, run);
    bool wake = false;
    if (r) {
        r->ended |= ended;
        if (!r->news) {
            wake = !all->news;
            r->news = true;
            r->next_news = all->news;
            all->news = r;
        }
    }
    pthread_mutex_unlock(&all->lock);
    return wake;
}

static void take_next(struct tl_follows *all)
{
    struct tl_followed *r = all->taken;
    if (!r)
        return;
    pthread_mutex_lock(&all->lock);
    all->taken = r->next_news;
    all->walk_ended = r->ended;
    r->news = false;
    pthread_mutex_unlock(&all->lock);
    r->walking = true;
    r->rest = r->followers;
    all->walk = r;
}

static bool out_of_time(unsigned *woken, int64_t until_us)
{
    return ++*woken % SLICE_LOOK == 0 && tl_mono_us() >= until_us;
}

/* False where time is up. */
static bool walk(struct tl_follows *all, unsigned *woken, int64_t until_us)
{
    while (all->walk || all->taken) {
        struct tl_followed *r = all->walk;
        if (!r) {
            take_next(all);
            continue;
        }
        for (struct tl_follower *f; (f = r->rest);) {
            r->rest = f->next;
            if (f->next) { /* and what it is part of */
                __builtin_prefetch(f->next);
                __builtin_prefetch((const char *)f->next + 64);
            }
            f->wake(f, all->walk_ended);
            if (out_of_time(woken, until_us))
                return false;
        }
        r->walking = false;
        all->walk = NULL;
        drop_if_idle(all, r);
    }
    return true;
}

bool tl_follow_dispatch(struct tl_follows *all)
{
    int64_t until_us = tl_mono_us() + SLICE_US;
    unsigned woken = 0;
    if (!walk(all, &woken, until_us)) /* what the last call has left */
        return true;
    pthread_mutex_lock(&all->lock);
    all->taken = all->news; /* what comes in meanwhile waits for the next time */
    all->news = NULL;
    pthread_mutex_unlock(&all->lock);
    return !walk(all, &woken, until_us);
}

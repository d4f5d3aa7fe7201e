#include "graph/lanes.h"

#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>

struct posted {
    struct posted *next;
    void (*fn)(void *arg);
    void *arg;
};

struct lane {
    struct tl_lanes *lanes;
    struct posted *head, **tail;
    size_t n;
    pthread_cond_t more;
};

struct tl_lanes {
    pthread_mutex_t lock; /* all below */
    struct lane lane[TL_LANE_COUNT];
    bool closing;
    pthread_t *threads;
    size_t nthreads;
};

static struct posted *take(struct lane *l)
{
    struct posted *p = l->head;
    if (p && !(l->head = p->next))
        l->tail = &l->head;
    l->n -= p != NULL;
    return p;
}

/* The lock is held, and held again on return. */
static bool run_one(struct lane *l)
{
    struct posted *p = take(l);
    if (!p)
        return false;
    pthread_mutex_unlock(&l->lanes->lock);
    p->fn(p->arg);
    free(p);
    pthread_mutex_lock(&l->lanes->lock);
    return true;
}

static void *work(void *arg)
{
    struct lane *l = arg;
    struct tl_lanes *lanes = l->lanes;
    pthread_mutex_lock(&lanes->lock);
    while (run_one(l) || !lanes->closing)
        if (!l->head && !lanes->closing)
            pthread_cond_wait(&l->more, &lanes->lock);
    pthread_mutex_unlock(&lanes->lock);
    return NULL;
}

int tl_lanes_post(struct tl_lanes *lanes, enum tl_lane lane, void (*fn)(void *arg), void *arg)
{
    struct lane *l = &lanes->lane[lane];
    struct posted *p = tl_calloc(1, sizeof(*p));
    if (!p)
        return TL_ENOMEM;
    *p = (struct posted){.fn = fn, .arg = arg};
    pthread_mutex_lock(&lanes->lock);
    bool full = l->n >= TL_LANE_MAX || lanes->closing;
    if (!full) {
        l->n++;
        *l->tail = p;
        l->tail = &p->next;
        pthread_cond_signal(&l->more);
    }
    pthread_mutex_unlock(&lanes->lock);
    if (full)
        free(p);
    return full ? TL_EAGAIN : 0;
}

bool tl_lanes_step(struct tl_lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    bool ran = run_one(&lanes->lane[TL_LANE_REQUESTS]) || run_one(&lanes->lane[TL_LANE_LONG]);
    pthread_mutex_unlock(&lanes->lock);
    return ran;
}

int tl_lanes_new(unsigned threads, struct tl_lanes **ret)
{
    struct tl_lanes *lanes = *ret = tl_calloc(1, sizeof(*lanes));
    if (!lanes)
        return TL_ENOMEM;
    pthread_mutex_init(&lanes->lock, NULL);
    for (int i = 0; i < TL_LANE_COUNT; i++) {
        lanes->lane[i].lanes = lanes;
        lanes->lane[i].tail = &lanes->lane[i].head;
        pthread_cond_init(&lanes->lane[i].more, NULL);
    }
    size_t n = threads ? (size_t)threads + 1 : 0;
    lanes->threads = tl_calloc(n, sizeof(*lanes->threads));
    bool bad = !lanes->threads;
    for (; !bad && lanes->nthreads < n; lanes->nthreads += !bad)
        bad = pthread_create(&lanes->threads[lanes->nthreads], NULL, work,
                             &lanes->lane[lanes->nthreads ? TL_LANE_REQUESTS : TL_LANE_LONG]) != 0;
    if (!bad)
        return 0;
    tl_lanes_free(lanes);
    *ret = NULL;
    return TL_ENOMEM;
}

void tl_lanes_free(struct tl_lanes *lanes)
{
    if (!lanes)
        return;
    pthread_mutex_lock(&lanes->lock);
    lanes->closing = true;
    for (int i = 0; i < TL_LANE_COUNT; i++)
        pthread_cond_broadcast(&lanes->lane[i].more);
    pthread_mutex_unlock(&lanes->lock);
    for (size_t i = 0; i < lanes->nthreads; i++)
        pthread_join(lanes->threads[i], NULL);
    while (tl_lanes_step(lanes)) {
    }
    for (int i = 0; i < TL_LANE_COUNT; i++)
        pthread_cond_destroy(&lanes->lane[i].more);
    pthread_mutex_destroy(&lanes->lock);
    free(lanes->threads);
    free(lanes);
}

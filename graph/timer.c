#include "graph/timer.h"

#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>
#include <time.h>

struct tl_timers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, closing;
    struct tl_timer **heap; /* from 1: the first is due first */
    size_t n, cap;
    int64_t (*now)(void *arg);
    void *arg;
};

static void place(struct tl_timers *t, size_t at, struct tl_timer *timer)
{
    t->heap[at] = timer;
    timer->place = at;
}

/* Puts timer where it belongs, beginning at a free place. */
static void sift(struct tl_timers *t, size_t at, struct tl_timer *timer)
{
    while (at > 1 && t->heap[at / 2]->due_us > timer->due_us) {
        place(t, at, t->heap[at / 2]);
        at /= 2;
    }
    for (;;) {
        size_t child = 2 * at;
        if (child < t->n && t->heap[child + 1]->due_us < t->heap[child]->due_us)
            child++;
        if (child > t->n || t->heap[child]->due_us >= timer->due_us)
            break;
        place(t, at, t->heap[child]);
        at = child;
    }
    place(t, at, timer);
}

static void take_out(struct tl_timers *t, struct tl_timer *timer)
{
    struct tl_timer *last = t->heap[t->n--];
    if (last != timer)
        sift(t, timer->place, last);
    timer->place = 0;
}

int tl_timers_arm(struct tl_timers *t, struct tl_timer *timer)
{
    pthread_mutex_lock(&t->lock);
    int err = tl_grow(&t->heap, &t->cap, t->n + 2, sizeof(struct tl_timer *));
    if (!err) {
        t->n++;
        sift(t, t->n, timer);
        if (timer->place == 1)
            pthread_cond_signal(&t->wake);
    }
    pthread_mutex_unlock(&t->lock);
    return err;
}

bool tl_timers_cancel(struct tl_timers *t, struct tl_timer *timer)
{
    pthread_mutex_lock(&t->lock);
    bool armed = timer->place != 0;
    if (armed)
        take_out(t, timer);
    pthread_mutex_unlock(&t->lock);
    return armed;
}

/* With the lock held, and held again on return. */
static bool fire_one(struct tl_timers *t)
{
    struct tl_timer *first = t->n ? t->heap[1] : NULL;
    if (!first || first->due_us > t->now(t->arg))
        return false;
    take_out(t, first);
    pthread_mutex_unlock(&t->lock);
    first->fn(first);
    pthread_mutex_lock(&t->lock);
    return true;
}

bool tl_timers_fire(struct tl_timers *t)
{
    pthread_mutex_lock(&t->lock);
    bool fired = fire_one(t);
    pthread_mutex_unlock(&t->lock);
    return fired;
}

int64_t tl_timers_next(struct tl_timers *t)
{
    pthread_mutex_lock(&t->lock);
    int64_t due = t->n ? t->heap[1]->due_us : INT64_MAX;
    pthread_mutex_unlock(&t->lock);
    return due;
}

static void wait_for(struct tl_timers *t, int64_t us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += us / 1000000;
    until.tv_nsec += us % 1000000 * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&t->wake, &t->lock, &until);
}

static void *keep_time(void *arg)
{
    struct tl_timers *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->closing) {
        if (fire_one(t))
            continue;
        if (t->n)
            wait_for(t, t->heap[1]->due_us - t->now(t->arg));
        else
            pthread_cond_wait(&t->wake, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int tl_timers_new(int64_t (*now)(void *arg), void *arg, bool manual, struct tl_timers **ret)
{
    struct tl_timers *t = *ret = tl_calloc(1, sizeof(*t));
    if (!t)
        return TL_ENOMEM;
    t->now = now;
    t->arg = arg;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &mono);
    pthread_condattr_destroy(&mono);
    t->runs = !manual && pthread_create(&t->thread, NULL, keep_time, t) == 0;
    if (manual || t->runs)
        return 0;
    tl_timers_free(t);
    *ret = NULL;
    return TL_ENOMEM;
}

void tl_timers_free(struct tl_timers *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    if (t->runs)
        pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    free(t->heap);
    free(t);
}

#include "graph/state.h"

#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Threads: nthreads executor threads run posted functions first, then ready nodes; one timer thread flushes journals whose
 * run.progress was held back. */

static void push(struct tl_task ***tail, struct tl_task *task)
{
    task->next = NULL;
    **tail = task;
    *tail = &task->next;
}

static struct tl_task *pop(struct tl_task **head, struct tl_task ***tail)
{
    struct tl_task *t = *head;
    if (t && !(*head = t->next))
        *tail = head;
    return t;
}

void tl_exec_ready(struct tl_exec *exec, struct tl_task *task)
{
    pthread_mutex_lock(&exec->lock);
    push(&exec->ready_tail, task);
    pthread_cond_signal(&exec->work);
    pthread_mutex_unlock(&exec->lock);
}

struct posted {
    struct tl_task task;
    void (*fn)(void *arg);
    void *arg;
};

static void run_posted(struct tl_task *task)
{
    struct posted p = *(struct posted *)task;
    free(task);
    p.fn(p.arg);
}

int tl_exec_post(struct tl_exec *exec, void (*fn)(void *arg), void *arg)
{
    struct posted *p = tl_calloc(1, sizeof(*p));
    if (!p)
        return TL_ENOMEM;
    *p = (struct posted){.task.fn = run_posted, .fn = fn, .arg = arg};
    pthread_mutex_lock(&exec->lock);
    bool full = exec->nposted >= TL_POST_MAX || exec->closing;
    if (!full) {
        exec->nposted++;
        push(&exec->posted_tail, &p->task);
        pthread_cond_signal(&exec->work);
    }
    pthread_mutex_unlock(&exec->lock);
    if (full)
        free(p);
    return full ? TL_EAGAIN : 0;
}

static void *work(void *arg)
{
    struct tl_exec *exec = arg;
    pthread_mutex_lock(&exec->lock);
    for (;;) {
        struct tl_task *t = pop(&exec->posted, &exec->posted_tail);
        if (t)
            exec->nposted--;
        else
            t = pop(&exec->ready, &exec->ready_tail);
        if (!t && exec->closing)
            break;
        if (!t) {
            pthread_cond_wait(&exec->work, &exec->lock);
            continue;
        }
        exec->running++;
        pthread_mutex_unlock(&exec->lock);
        t->fn(t);
        pthread_mutex_lock(&exec->lock);
        exec->running--;
    }
    pthread_mutex_unlock(&exec->lock);
    return NULL;
}

void tl_exec_flush_later(struct tl_exec *exec, struct tl_journal *journal)
{
    pthread_mutex_lock(&exec->lock);
    journal->next_timed = NULL;
    *exec->timed_tail = journal;
    exec->timed_tail = &journal->next_timed;
    pthread_cond_signal(&exec->timer_wake);
    pthread_mutex_unlock(&exec->lock);
}

/* Every delay has the same length, so the list is in the order of the due times. */
static void *keep_time(void *arg)
{
    struct tl_exec *exec = arg;
    pthread_mutex_lock(&exec->lock);
    while (!exec->closing || exec->timed) {
        struct tl_journal *j = exec->timed;
        int64_t wait_us = j ? j->due_us - tl_mono_us() : -1;
        if (!j) {
            pthread_cond_wait(&exec->timer_wake, &exec->lock);
        } else if (wait_us > 0 && !exec->closing) {
            struct timespec t;
            clock_gettime(CLOCK_MONOTONIC, &t);
            int64_t ns = t.tv_nsec + wait_us * 1000;
            t.tv_sec += ns / 1000000000;
            t.tv_nsec = ns % 1000000000;
            pthread_cond_timedwait(&exec->timer_wake, &exec->lock, &t);
        } else {
            if (!(exec->timed = j->next_timed))
                exec->timed_tail = &exec->timed;
            pthread_mutex_unlock(&exec->lock);
            tl_journal_flush(j);
            pthread_mutex_lock(&exec->lock);
        }
    }
    pthread_mutex_unlock(&exec->lock);
    return NULL;
}

static struct tl_run **bucket(struct tl_exec *exec, const struct tl_id *id)
{
    return &exec->live[(id->b[14] << 8 | id->b[15]) % TL_LIVE_BUCKETS];
}

struct tl_run *tl_exec_find(struct tl_exec *exec, const struct tl_id *id)
{
    pthread_mutex_lock(&exec->lock);
    struct tl_run *r = *bucket(exec, id);
    while (r && !tl_id_equal(&r->id, id))
        r = r->next_live;
    if (r)
        tl_run_ref(r);
    pthread_mutex_unlock(&exec->lock);
    return r;
}

void tl_exec_add_live(struct tl_exec *exec, struct tl_run *run)
{
    tl_run_ref(run);
    pthread_mutex_lock(&exec->lock);
    struct tl_run **b = bucket(exec, &run->id);
    run->next_live = *b;
    *b = run;
    exec->nlive++;
    exec->live_nodes += run->plan->nwanted;
    pthread_mutex_unlock(&exec->lock);
}

void tl_exec_remove_live(struct tl_exec *exec, struct tl_run *run)
{
    pthread_mutex_lock(&exec->lock);
    struct tl_run **at = bucket(exec, &run->id);
    while (*at && *at != run)
        at = &(*at)->next_live;
    bool found = *at == run;
    if (found) {
        *at = run->next_live;
        exec->nlive--;
        exec->live_nodes -= run->plan->nwanted;
        pthread_cond_broadcast(&exec->idle);
    }
    pthread_mutex_unlock(&exec->lock);
    if (found)
        tl_run_unref(run);
}

bool tl_exec_has_room(struct tl_exec *exec, uint32_t nodes)
{
    pthread_mutex_lock(&exec->lock);
    bool room = exec->live_nodes + nodes <= TL_LIVE_NODES_MAX;
    pthread_mutex_unlock(&exec->lock);
    return room;
}

void tl_exec_commits(struct tl_exec *exec, int more)
{
    pthread_mutex_lock(&exec->lock);
    exec->ncommits += (size_t)more;
    if (!exec->ncommits)
        pthread_cond_broadcast(&exec->idle);
    pthread_mutex_unlock(&exec->lock);
}

static int start_threads(struct tl_exec *exec)
{
    unsigned want = exec->conf.threads ? exec->conf.threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    exec->threads = tl_calloc(want, sizeof(*exec->threads));
    if (!exec->threads)
        return TL_ENOMEM;
    for (; exec->nthreads < want; exec->nthreads++)
        if (pthread_create(&exec->threads[exec->nthreads], NULL, work, exec) != 0)
            return TL_EAGAIN;
    if (pthread_create(&exec->timer, NULL, keep_time, exec) != 0)
        return TL_EAGAIN;
    exec->timer_started = true;
    return 0;
}

int tl_exec_new(const struct tl_exec_conf *conf, struct tl_exec **ret)
{
    *ret = NULL;
    struct tl_exec *exec = tl_calloc(1, sizeof(*exec));
    if (!exec)
        return TL_ENOMEM;
    exec->conf = *conf;
    exec->posted_tail = &exec->posted;
    exec->ready_tail = &exec->ready;
    exec->timed_tail = &exec->timed;
    pthread_mutex_init(&exec->lock, NULL);
    pthread_cond_init(&exec->work, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&exec->idle, &mono);
    pthread_cond_init(&exec->timer_wake, &mono);
    pthread_condattr_destroy(&mono);
    int err = start_threads(exec);
    if (err) {
        tl_exec_free(exec);
        return err;
    }
    *ret = exec;
    return 0;
}

/* Tells every live run to let go of what it runs; they stay unended in the store. */
static void suspend_all(struct tl_exec *exec)
{
    pthread_mutex_lock(&exec->lock);
    size_t n = 0, count = exec->nlive;
    struct tl_run **runs = tl_calloc(count, sizeof(struct tl_run *));
    for (size_t b = 0; runs && b < TL_LIVE_BUCKETS; b++)
        for (struct tl_run *r = exec->live[b]; r; r = r->next_live)
            runs[n++] = tl_run_ref(r);
    pthread_mutex_unlock(&exec->lock);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&runs[i]->lock);
        runs[i]->suspended = true;
        pthread_mutex_unlock(&runs[i]->lock);
        tl_run_stop(runs[i], TL_ECANCELLED, NULL, NULL);
        tl_run_unref(runs[i]);
    }
    free(runs);
}

void tl_exec_free(struct tl_exec *exec)
{
    if (!exec)
        return;
    suspend_all(exec);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&exec->lock);
    while ((exec->nlive || exec->ncommits) && pthread_cond_timedwait(&exec->idle, &exec->lock, &until) != ETIMEDOUT) {
    }
    bool stuck = exec->nlive || exec->ncommits; /* an op does not let go: its context must stay */
    exec->closing = true;
    pthread_cond_broadcast(&exec->work);
    pthread_cond_broadcast(&exec->timer_wake);
    pthread_mutex_unlock(&exec->lock);
    for (unsigned i = 0; i < exec->nthreads; i++)
        pthread_join(exec->threads[i], NULL);
    if (exec->timer_started)
        pthread_join(exec->timer, NULL);
    if (stuck)
        return;
    free(exec->threads);
    pthread_cond_destroy(&exec->work);
    pthread_cond_destroy(&exec->idle);
    pthread_cond_destroy(&exec->timer_wake);
    pthread_mutex_destroy(&exec->lock);
    free(exec);
}

/* Threads, places and queues. Executor threads run the executor's own tasks first, then the runs that have ready nodes: in each class that has a place free, the
 * organisation that has had the least of the machine, its run of the highest priority. A thread stays with a run while nobody else must be let in. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "graph/ask.h"
#include "graph/state.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

enum {
    CREDIT_US =
        10 * 1000,      /* an organisation that comes anew is let in before those that had more than this ahead of it */
    TURN_US = 2 * 1000, /* after which another run of the same organisation and priority has its turn */
    RUN_WEIGHT = 40,    /* a run takes some 20 kB beside its nodes: as much as so many of them */
    TRIM_NODES = 50000, /* of a run, beyond which its memory is given back to the system */
    CLOSE_S = 10,       /* for ops to let go when the executor closes */
};

int64_t tl_exec_mono_us(const struct tl_exec *exec)
{
    return exec->conf.env.mono_us ? exec->conf.env.mono_us(exec->conf.env.arg) : tl_mono_us();
}

int64_t tl_exec_wall_ms(const struct tl_exec *exec)
{
    return exec->conf.env.wall_ms ? exec->conf.env.wall_ms(exec->conf.env.arg) : tl_now_ms();
}

static void random_bytes(const struct tl_exec *exec, void *bytes, size_t n)
{
    if (exec->conf.env.random)
        exec->conf.env.random(exec->conf.env.arg, bytes, n);
    else
        tl_random(bytes, n);
}

uint32_t tl_exec_random32(const struct tl_exec *exec)
{
    uint32_t v;
    random_bytes(exec, &v, sizeof(v));
    return v;
}

struct tl_id tl_exec_new_id(struct tl_exec *exec)
{
    struct tl_id id;
    random_bytes(exec, id.b, sizeof(id.b));
    pthread_mutex_lock(&exec->lock);
    int64_t ms = tl_exec_wall_ms(exec);
    exec->id_count = ms == exec->id_ms ? exec->id_count + 1 : (id.b[6] << 8 | id.b[7]) & 0x7ff;
    exec->id_ms = ms;
    id.b[6] = (uint8_t)(exec->id_count >> 8);
    id.b[7] = (uint8_t)exec->id_count;
    pthread_mutex_unlock(&exec->lock);
    return tl_id_make(id.b, ms);
}

/* ---- the executor's own tasks, ahead of nodes ---- */

static void push_posted(struct tl_exec *exec, struct tl_task *task)
{
    task->next = NULL;
    *exec->posted_tail = task;
    exec->posted_tail = &task->next;
    exec->hungry++;
    if (exec->sleeping)
        pthread_cond_signal(&exec->work);
}

static struct tl_task *pop_posted(struct tl_exec *exec)
{
    struct tl_task *t = exec->posted;
    if (t && !(exec->posted = t->next))
        exec->posted_tail = &exec->posted;
    if (t)
        exec->hungry--;
    return t;
}

void tl_exec_task(struct tl_exec *exec, struct tl_task *task)
{
    pthread_mutex_lock(&exec->lock);
    push_posted(exec, task);
    pthread_mutex_unlock(&exec->lock);
}

int tl_exec_post(struct tl_exec *exec, void (*fn)(void *arg), void *arg)
{
    return tl_lanes_post(exec->lanes, TL_LANE_REQUESTS, fn, arg);
}

int tl_exec_post_long(struct tl_exec *exec, void (*fn)(void *arg), void *arg)
{
    return tl_lanes_post(exec->lanes, TL_LANE_LONG, fn, arg);
}

/* ---- who is served next ---- */

static unsigned queue_of(const struct tl_run *run)
{
    return (unsigned)(TL_PRIORITY_HIGH - run->root->priority);
}

void tl_exec_list(struct tl_run *run, enum tl_op_class cls)
{
    struct tl_exec *exec = run->exec;
    struct tl_flow *f = run->flow;
    pthread_mutex_lock(&exec->lock);
    if (!run->ready[cls].listed) {
        unsigned q = queue_of(run);
        tl_run_ref(run);
        run->ready[cls].listed = true;
        run->ready[cls].next_run = NULL;
        if (f->tail[cls][q])
            f->tail[cls][q]->ready[cls].next_run = run;
        else
            f->head[cls][q] = run;
        f->tail[cls][q] = run;
        if (f->listed[cls]++ == 0 && f->used_us[cls] < exec->now_us[cls] - CREDIT_US)
            f->used_us[cls] = exec->now_us[cls] - CREDIT_US;
        exec->listed[cls]++;
        exec->hungry += cls == TL_CLASS_CPU;
        if (exec->sleeping)
            pthread_cond_signal(&exec->work);
    }
    pthread_mutex_unlock(&exec->lock);
}

/* Organisations with live runs are few enough to look at each. */
static struct tl_flow *neediest(struct tl_exec *exec, enum tl_op_class cls, const struct tl_flow *but)
{
    struct tl_flow *best = NULL;
    for (struct tl_flow *f = exec->flows; f; f = f->next)
        if (f != but && f->listed[cls] && (!best || f->used_us[cls] < best->used_us[cls]))
            best = f;
    return best;
}

static struct tl_run *take_run(struct tl_exec *exec, struct tl_flow *f, enum tl_op_class cls)
{
    unsigned q = 0;
    while (!f->head[cls][q])
        q++;
    struct tl_run *run = f->head[cls][q];
    if (!(f->head[cls][q] = run->ready[cls].next_run))
        f->tail[cls][q] = NULL;
    run->ready[cls].listed = false;
    f->listed[cls]--;
    exec->listed[cls]--;
    exec->hungry -= cls == TL_CLASS_CPU;
    return run;
}

/* A run with ready nodes in a class that has a place free, which is then taken. Those that only hand work on go first: it takes long, and no thread. */
static struct tl_run *pick(struct tl_exec *exec, enum tl_op_class *ret)
{
    static const enum tl_op_class order[] = {TL_CLASS_NET, TL_CLASS_MEDIA, TL_CLASS_CPU};
    for (size_t i = 0; i < TL_ARRAY_LEN(order); i++) {
        enum tl_op_class cls = order[i];
        if (!exec->listed[cls] || exec->busy[cls] >= exec->conf.places[cls])
            continue;
        struct tl_flow *f = neediest(exec, cls, NULL);
        exec->now_us[cls] = f->used_us[cls];
        exec->busy[cls]++;
        *ret = cls;
        return take_run(exec, f, cls);
    }
    return NULL;
}

static bool another_waits(const struct tl_flow *f, const struct tl_run *run, int64_t us)
{
    unsigned mine = queue_of(run);
    for (unsigned q = 0; q < mine; q++)
        if (f->head[TL_CLASS_CPU][q])
            return true;
    const struct tl_run *first = f->head[TL_CLASS_CPU][mine];
    return us > TURN_US && first && (first != run || first->ready[TL_CLASS_CPU].next_run);
}

bool tl_exec_must_yield(struct tl_run *run, int64_t us, uint32_t nodes)
{
    struct tl_exec *exec = run->exec;
    pthread_mutex_lock(&exec->lock);
    double used = run->flow->used_us[TL_CLASS_CPU] + (double)(us > nodes ? us : nodes);
    bool yield = exec->posted || another_waits(run->flow, run, us);
    if (!yield) {
        const struct tl_flow *other = neediest(exec, TL_CLASS_CPU, run->flow);
        yield = other && other->used_us[TL_CLASS_CPU] <= used;
    }
    yield &= !exec->sleeping;
    pthread_mutex_unlock(&exec->lock);
    return yield;
}

static void charge(struct tl_exec *exec, struct tl_flow *f, enum tl_op_class cls, int64_t us, uint32_t nodes)
{
    f->used_us[cls] += (double)(us > nodes ? us : nodes);
    exec->busy[cls]--;
    if (exec->listed[cls] && exec->sleeping)
        pthread_cond_signal(&exec->work);
}

void tl_exec_leave_place(struct tl_run *run, enum tl_op_class cls, int64_t us)
{
    pthread_mutex_lock(&run->exec->lock);
    charge(run->exec, run->flow, cls, us, 1);
    pthread_mutex_unlock(&run->exec->lock);
}

struct tl_flow *tl_exec_flow(struct tl_exec *exec, const char *org)
{
    size_t len = strlen(org) + 1;
    pthread_mutex_lock(&exec->lock);
    struct tl_flow *f = exec->flows;
    while (f && strcmp(f->org, org) != 0)
        f = f->next;
    if (!f && (f = tl_calloc(1, sizeof(*f) + len))) {
        memcpy(f->org, org, len);
        f->next = exec->flows;
        exec->flows = f;
    }
    if (f)
        f->runs++;
    pthread_mutex_unlock(&exec->lock);
    return f;
}

/* What an organisation has had is remembered while it is ahead of the others. */
static bool forgettable(const struct tl_exec *exec, const struct tl_flow *f)
{
    bool ahead = false;
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        ahead |= f->used_us[c] > exec->now_us[c];
    return !f->runs && (!ahead || exec->closing);
}

void tl_exec_leave_flow(struct tl_exec *exec, struct tl_flow *flow)
{
    if (!flow)
        return;
    pthread_mutex_lock(&exec->lock);
    flow->runs--;
    for (struct tl_flow **at = &exec->flows; *at;) {
        struct tl_flow *f = *at;
        if (forgettable(exec, f)) {
            *at = f->next;
            free(f);
        } else {
            at = &f->next;
        }
    }
    pthread_mutex_unlock(&exec->lock);
}

/* ---- threads ---- */

/* Does one piece of work, exec->lock held. False where there is none. */
static bool work_once(struct tl_exec *exec, struct tl_op_ctx **spare)
{
    struct tl_task *t = pop_posted(exec);
    if (t) {
        pthread_mutex_unlock(&exec->lock);
        t->fn(t);
        pthread_mutex_lock(&exec->lock);
        return true;
    }
    enum tl_op_class cls;
    struct tl_run *run = pick(exec, &cls);
    if (!run)
        return false;
    pthread_mutex_unlock(&exec->lock);
    int64_t began = tl_exec_mono_us(exec);
    bool kept = false;
    uint32_t nodes = tl_run_slice(run, cls, spare, &kept);
    int64_t us = tl_exec_mono_us(exec) - began;
    if (!kept) {
        pthread_mutex_lock(&exec->lock);
        charge(exec, run->flow, cls, us, nodes);
        pthread_mutex_unlock(&exec->lock);
    }
    tl_run_unref(run);
    pthread_mutex_lock(&exec->lock);
    return true;
}

static void *work(void *arg)
{
    struct tl_exec *exec = arg;
    struct tl_op_ctx *spare = NULL;
    pthread_mutex_lock(&exec->lock);
    while (work_once(exec, &spare) || !exec->closing) {
        if (exec->posted || exec->closing)
            continue;
        bool idle = true;
        for (int c = 0; c < TL_CLASS_COUNT; c++)
            idle &= !exec->listed[c] || exec->busy[c] >= exec->conf.places[c];
        if (!idle)
            continue;
        if (exec->trim) {
            exec->trim = false;
            pthread_mutex_unlock(&exec->lock);
            malloc_trim(0);
            pthread_mutex_lock(&exec->lock);
            continue;
        }
        exec->sleeping++;
        pthread_cond_wait(&exec->work, &exec->lock);
        exec->sleeping--;
    }
    pthread_mutex_unlock(&exec->lock);
    free(spare);
    return NULL;
}

bool tl_exec_step(struct tl_exec *exec)
{
    if (tl_timers_fire(exec->timers) || (exec->lanes && tl_lanes_step(exec->lanes)))
        return true;
    pthread_mutex_lock(&exec->lock);
    bool worked = work_once(exec, &exec->spare);
    pthread_mutex_unlock(&exec->lock);
    return worked;
}

int64_t tl_exec_next_due(struct tl_exec *exec)
{
    return tl_timers_next(exec->timers);
}

/* ---- live runs ---- */

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

bool tl_exec_add_live(struct tl_exec *exec, struct tl_run *run)
{
    pthread_mutex_lock(&exec->lock);
    bool may = !exec->suspending;
    if (may) {
        struct tl_run **b = bucket(exec, &run->id);
        run->next_live = *b;
        *b = tl_run_ref(run);
        exec->nlive++;
        exec->live_nodes += run->plan->nwanted + RUN_WEIGHT;
        run->flow->nodes += run->plan->nwanted + RUN_WEIGHT;
    }
    pthread_mutex_unlock(&exec->lock);
    return may;
}

/* Half of what the others leave: whoever comes finds room. */
static bool fits(size_t max, size_t all, size_t own, size_t more)
{
    size_t others = all - own;
    return others < max && own + more <= (max - others) / 2;
}

bool tl_exec_has_room(struct tl_exec *exec, const char *org, uint32_t nodes)
{
    pthread_mutex_lock(&exec->lock);
    const struct tl_flow *f = exec->flows;
    while (f && strcmp(f->org, org) != 0)
        f = f->next;
    bool room = fits(exec->conf.live_max, exec->live_nodes, f ? f->nodes : 0, nodes + RUN_WEIGHT);
    pthread_mutex_unlock(&exec->lock);
    return room;
}

bool tl_exec_take_nested(struct tl_run *root, size_t nodes)
{
    struct tl_exec *exec = root->exec;
    pthread_mutex_lock(&exec->lock);
    bool room = fits(exec->conf.nested_max, exec->nested_nodes, root->flow->nested, nodes);
    if (room) {
        exec->nested_nodes += nodes;
        root->flow->nested += nodes;
    }
    pthread_mutex_unlock(&exec->lock);
    return room;
}

void tl_exec_give_nested(struct tl_run *root, size_t nodes)
{
    struct tl_exec *exec = root->exec;
    pthread_mutex_lock(&exec->lock);
    exec->nested_nodes -= nodes;
    root->flow->nested -= nodes;
    pthread_mutex_unlock(&exec->lock);
}

/* Nothing may be freed while someone still comes back. */
static void tell_idle(struct tl_exec *exec)
{
    if (!exec->nlive && !exec->ncommits)
        pthread_cond_broadcast(&exec->idle);
}

void tl_exec_remove_live(struct tl_exec *exec, struct tl_run *run)
{
    pthread_mutex_lock(&exec->lock);
    struct tl_run **at = bucket(exec, &run->id);
    while (*at && *at != run)
        at = &(*at)->next_live;
    bool was = *at == run;
    if (was) {
        *at = run->next_live;
        exec->nlive--;
        exec->live_nodes -= run->plan->nwanted + RUN_WEIGHT;
        run->flow->nodes -= run->plan->nwanted + RUN_WEIGHT;
        exec->trim |= run->plan->nnodes + run->steps > TRIM_NODES;
        tell_idle(exec);
    }
    pthread_mutex_unlock(&exec->lock);
    if (was)
        tl_run_unref(run);
}

void tl_exec_commits(struct tl_exec *exec, int more)
{
    pthread_mutex_lock(&exec->lock);
    exec->ncommits += (size_t)more;
    tell_idle(exec);
    pthread_mutex_unlock(&exec->lock);
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void tl_exec_figures(struct tl_exec *exec, struct tl_exec_figures *ret)
{
    const struct tl_counters *c = &exec->counted;
    uint64_t done = counted(&c->done), hits = counted(&c->hits);
    *ret = (struct tl_exec_figures){.hits = hits,
                                    .misses = counted(&c->misses),
                                    .done = done > hits ? done - hits : 0,
                                    .cached = hits,
                                    .failed = counted(&c->failed),
                                    .retries = counted(&c->retries),
                                    .lost_workers = counted(&c->lost_workers),
                                    .waiting = counted(&c->waiting)};
    pthread_mutex_lock(&exec->lock);
    memcpy(ret->busy, exec->busy, sizeof(ret->busy));
    memcpy(ret->places, exec->conf.places, sizeof(ret->places));
    pthread_mutex_unlock(&exec->lock);
}

/* ---- beginning and end ---- */

static int64_t clock_of(void *arg)
{
    return tl_exec_mono_us(arg);
}

static int start_threads(struct tl_exec *exec)
{
    unsigned n = exec->conf.threads;
    if (!n) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        n = cores > 0 ? (unsigned)cores : 1;
    }
    static const unsigned usual[TL_CLASS_COUNT] = {0, TL_MEDIA_PLACES, TL_NET_PLACES};
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        if (!exec->conf.places[c])
            exec->conf.places[c] = usual[c] ? usual[c] : n;
    int err = tl_timers_new(clock_of, exec, exec->conf.manual, &exec->timers);
    if (!err)
        err = tl_lanes_new(exec->conf.manual ? 0 : n, &exec->lanes);
    if (err || exec->conf.manual)
        return err;
    exec->threads = tl_calloc(n, sizeof(*exec->threads));
    for (unsigned i = 0; exec->threads && i < n; i++) {
        if (pthread_create(&exec->threads[i], NULL, work, exec) != 0)
            return TL_ENOMEM;
        exec->nthreads++;
    }
    return exec->threads ? 0 : TL_ENOMEM;
}

int tl_exec_new(const struct tl_exec_conf *conf, struct tl_exec **ret)
{
    *ret = NULL;
    struct tl_exec *exec = tl_calloc(1, sizeof(*exec));
    if (!exec)
        return TL_ENOMEM;
    exec->conf = *conf;
    exec->conf.live_max = conf->live_max ? conf->live_max : TL_LIVE_NODES_MAX;
    exec->conf.nested_max = conf->nested_max ? conf->nested_max : TL_NESTED_NODES_MAX;
    exec->conf.steps_max = conf->steps_max ? conf->steps_max : TL_RUN_STEPS_MAX;
    exec->posted_tail = &exec->posted;
    pthread_mutex_init(&exec->lock, NULL);
    pthread_cond_init(&exec->work, NULL);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&exec->idle, &mono);
    pthread_condattr_destroy(&mono);
    int err = tl_asks_new(exec, &exec->asks);
    if (!err)
        err = tl_results_new(&exec->conf, &exec->results);
    if (!err)
        err = start_threads(exec);
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
    exec->suspending = true;
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

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

/* A manual executor does what there is to do, and lets the writer do what was submitted: a write that is waited for comes after all others. */
static void work_off(struct tl_exec *exec)
{
    bool more;
    do {
        while (tl_exec_step(exec)) {
        }
        pthread_mutex_lock(&exec->lock);
        more = exec->ncommits > 0;
        pthread_mutex_unlock(&exec->lock);
    } while (more && tl_db_update(exec->conf.db, nothing, NULL) == 0);
}

/* Waits until no run lives and no commit is under way; a manual executor works them off. */
static bool wait_idle(struct tl_exec *exec)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CLOSE_S;
    if (exec->conf.manual)
        work_off(exec);
    pthread_mutex_lock(&exec->lock);
    while (!exec->conf.manual && (exec->nlive || exec->ncommits) &&
           pthread_cond_timedwait(&exec->idle, &exec->lock, &until) != ETIMEDOUT) {
    }
    bool idle = !exec->nlive && !exec->ncommits;
    exec->closing = true;
    pthread_cond_broadcast(&exec->work);
    pthread_mutex_unlock(&exec->lock);
    return idle;
}

void tl_exec_free(struct tl_exec *exec)
{
    if (!exec)
        return;
    suspend_all(exec);
    tl_lanes_free(exec->lanes);
    exec->lanes = NULL;
    bool idle = wait_idle(exec);
    for (unsigned i = 0; i < exec->nthreads; i++)
        pthread_join(exec->threads[i], NULL);
    if (!idle && !exec->conf.manual)
        return; /* an op does not let go: its context must stay, and what it will call */
    tl_timers_free(exec->timers);
    tl_asks_free(exec->asks);
    while (exec->flows) {
        struct tl_flow *f = exec->flows;
        exec->flows = f->next;
        free(f);
    }
    free(exec->spare);
    free(exec->threads);
    tl_results_free(exec->results);
    pthread_cond_destroy(&exec->work);
    pthread_cond_destroy(&exec->idle);
    pthread_mutex_destroy(&exec->lock);
    free(exec);
}

#include "jobs/state.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_WORKERS = 64 };

static void wake(struct tl_jobs *jobs)
{
    uint64_t one = 1;
    if (write(jobs->wake, &one, sizeof(one)) < 0) {
        /* the counter is full: it wakes all the same */
    }
}

int tl_jobs_submit(struct tl_jobs *jobs, const struct tl_job_req *req, struct tl_id *ret_id)
{
    struct tl_job *job;
    int err = tl_job_new(req, &job);
    if (err < 0)
        return err;
    pthread_mutex_lock(&jobs->lock);
    *ret_id = job->id;
    tl_jobs_list_push(&jobs->inbox, job);
    wake(jobs);
    pthread_mutex_unlock(&jobs->lock);
    return 0;
}

void tl_jobs_cancel(struct tl_jobs *jobs, const struct tl_id *id)
{
    pthread_mutex_lock(&jobs->lock);
    if (tl_grow(&jobs->cancels, &jobs->cap_cancels, jobs->ncancels + 1, sizeof(*id)) == 0)
        jobs->cancels[jobs->ncancels++] = *id;
    wake(jobs);
    pthread_mutex_unlock(&jobs->lock);
}

static void tell(struct tl_job *job)
{
    if (job->req.done) /* otherwise told of its cancel while its files were committed */
        job->req.done(job->req.arg, job->err, job->message, job->err == 0 ? job->output : NULL);
    tl_job_free(job);
}

/* A job that a worker ends with is cancelled by asking, then killing. */
static void cancel_at_work(struct tl_worker *w, int64_t now)
{
    struct tl_job *job = w->job;
    if (job->cancel)
        return;
    job->cancel = true;
    w->kill_us = now + TL_JOBS_CANCEL_MS * 1000;
    TL_AUTO_JSON json_t *m = json_pack("{s:s,s:s}", "type", "cancel", "job_id", job->id_text);
    if (w->sock < 0 || !m || tl_frame_send(w->sock, m, NULL, 0, 0) < 0)
        tl_worker_kill(w);
}

/* A job whose files are being made durable: that may take seconds, and nobody waits for it any more. */
static void cancel_finishing(struct tl_jobs *jobs, const struct tl_id *id)
{
    struct tl_job *found = NULL;
    void (*done)(void *arg, int err, const char *message, json_t *output) = NULL;
    pthread_mutex_lock(&jobs->lock);
    found = tl_jobs_list_take(&jobs->finish, id);
    struct tl_job *committing = jobs->committing;
    if (!found && committing && tl_id_equal(&committing->id, id)) {
        done = committing->req.done;
        committing->req.done = NULL;
    }
    void *arg = done ? committing->req.arg : NULL;
    pthread_mutex_unlock(&jobs->lock);
    if (done)
        done(arg, TL_ECANCELLED, NULL, NULL);
    if (found) {
        tl_job_fail(found, TL_ECANCELLED, NULL);
        tell(found);
    }
}

static void cancel_one(struct tl_jobs *jobs, const struct tl_id *id, int64_t now)
{
    for (struct tl_worker *w = jobs->workers; w; w = w->next)
        if (w->job && tl_id_equal(&w->job->id, id)) {
            cancel_at_work(w, now);
            return;
        }
    struct tl_job *job = tl_jobs_list_take(&jobs->queue, id);
    if (job) {
        tl_job_fail(job, TL_ECANCELLED, NULL);
        tell(job);
    } else {
        cancel_finishing(jobs, id);
    }
}

/* What other threads have left: submissions, cancels, committed jobs. True where the supervisor is to end. */
static bool take_inbox(struct tl_jobs *jobs, int64_t now)
{
    struct tl_jobs_list told;
    tl_jobs_list_init(&told);
    pthread_mutex_lock(&jobs->lock);
    struct tl_job *job;
    while ((job = tl_jobs_list_pop(&jobs->inbox))) {
        tl_jobs_list_push(&jobs->queue, job);
        jobs->failed_starts = 0; /* a new job is worth new tries */
    }
    while ((job = tl_jobs_list_pop(&jobs->finished)))
        tl_jobs_list_push(&told, job);
    struct tl_id *cancels = jobs->cancels;
    size_t n = jobs->ncancels;
    jobs->cancels = NULL;
    jobs->ncancels = jobs->cap_cancels = 0;
    bool stop = jobs->stop;
    pthread_mutex_unlock(&jobs->lock);
    for (size_t i = 0; i < n; i++)
        cancel_one(jobs, &cancels[i], now);
    free(cancels);
    while ((job = tl_jobs_list_pop(&told)))
        tell(job);
    return stop;
}

static void commit_later(struct tl_jobs *jobs, struct tl_job *job)
{
    pthread_mutex_lock(&jobs->lock);
    tl_jobs_list_push(&jobs->finish, job);
    pthread_cond_signal(&jobs->finish_cond);
    pthread_mutex_unlock(&jobs->lock);
}

/* The next thing a job needs after a worker did its part: a fresh worker for a file that was written, or to be made blobs. */
static void next_stage(struct tl_jobs *jobs, struct tl_job *job)
{
    size_t i = job->stage == TL_JOB_RUN ? 0 : job->verifying + 1;
    while (i < job->nouts && !(job->outs[i].writer && job->outs[i].content_type))
        i++;
    if (i >= job->nouts) {
        commit_later(jobs, job);
        return;
    }
    job->stage = TL_JOB_VERIFY;
    job->verifying = i;
    tl_jobs_list_unshift(&jobs->queue, job);
}

static void worker_ended(struct tl_jobs *jobs, struct tl_worker *w)
{
    struct tl_job *job = w->job;
    char *message;
    int err = tl_worker_reap(w, &message);
    if (!job) { /* also one that stood ready: who cannot wait cannot work, and is not started again and again */
        jobs->failed_starts++;
        jobs->start_err = err == TL_ESANDBOX ? err : TL_EWORKER;
    } else if (w->answered) {
        jobs->failed_starts = 0;
    }
    if (!job) {
        free(message);
        return;
    }
    job->worker = NULL;
    if (job->cancel && err != 0) {
        err = TL_ECANCELLED;
        free(message);
        message = NULL;
    }
    if (err == 0 && job->stage == TL_JOB_RUN) {
        job->output = json_incref(w->output);
        err = tl_job_look_at_outputs(job);
    } else if (err == 0) {
        job->outs[job->verifying].info = json_incref(json_object_get(w->output, "info"));
    } else if (job->stage == TL_JOB_VERIFY && err != TL_ECANCELLED && err != TL_EWORKER) {
        free(message);
        message = tl_strdup("the file that was written could not be read back");
    }
    if (err < 0 || job->cancel) {
        tl_job_fail(job, job->cancel ? TL_ECANCELLED : err, message);
        tell(job);
        return;
    }
    free(message);
    next_stage(jobs, job);
}

static void reap_ended(struct tl_jobs *jobs, const struct pollfd *p, struct tl_worker *const *who, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!p[i].revents)
            continue;
        struct tl_worker *w = who[i];
        /* What it said before it died counts. */
        for (int again = 0; w->sock >= 0 && !w->answered && again < 1024; again++)
            tl_worker_read(w);
        struct tl_worker **at = &jobs->workers;
        while (*at != w)
            at = &(*at)->next;
        *at = w->next;
        jobs->nworkers--;
        worker_ended(jobs, w);
        tl_worker_free(w);
    }
}

/* Kills whoever is past its time; returns the milliseconds until the next such moment, -1 for none. */
static int enforce_deadlines(struct tl_jobs *jobs, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct tl_worker *w = jobs->workers; w; w = w->next) {
        if (w->killed)
            continue;
        if (w->kill_us && now >= w->kill_us) {
            tl_worker_kill(w);
        } else if (w->deadline_us && now >= w->deadline_us) {
            w->err = TL_ETIMEOUT;
            tl_worker_kill(w);
        }
        if (w->kill_us && w->kill_us < next)
            next = w->kill_us;
        if (w->deadline_us && w->deadline_us < next)
            next = w->deadline_us;
    }
    if (next == INT64_MAX)
        return -1;
    int64_t ms = next <= now ? 0 : (next - now + 999) / 1000;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static struct tl_worker *ready_worker(struct tl_jobs *jobs)
{
    for (struct tl_worker *w = jobs->workers; w; w = w->next)
        if (w->ready && !w->job && !w->killed)
            return w;
    return NULL;
}

static unsigned count(const struct tl_jobs *jobs, bool busy)
{
    unsigned n = 0;
    for (const struct tl_worker *w = jobs->workers; w; w = w->next)
        n += busy ? w->job != NULL : !w->job && !w->killed;
    return n;
}

static void dispatch(struct tl_jobs *jobs)
{
    struct tl_worker *w;
    while (jobs->queue.head && count(jobs, true) < jobs->conf.max_workers && (w = ready_worker(jobs))) {
        struct tl_job *job = tl_jobs_list_pop(&jobs->queue);
        bool spoilt = false;
        int err = job->req.cancelled && job->req.cancelled(job->req.arg) ? TL_ECANCELLED
                                                                         : tl_worker_give(jobs, w, job, &spoilt);
        if (spoilt)
            tl_worker_kill(w);
        if (err < 0) {
            tl_job_fail(job, err, spoilt ? tl_strdup("the worker process ended before it took the job") : NULL);
            tell(job);
        }
    }
}

/* Keeps one worker beyond those at work ready, so that the time of starting is hidden; more only as far as jobs wait. */
static void keep_ready(struct tl_jobs *jobs)
{
    unsigned waiting = 0, busy = count(jobs, true), spare = count(jobs, false);
    for (const struct tl_job *j = jobs->queue.head; j; j = j->next)
        waiting++;
    unsigned room = jobs->conf.max_workers > busy ? jobs->conf.max_workers - busy : 0;
    unsigned want = waiting < room ? waiting : room;
    want = want ? want : 1;
    while (spare < want && jobs->nworkers < 2 * MAX_WORKERS && jobs->failed_starts < TL_JOBS_START_TRIES) {
        int err = tl_worker_spawn(jobs);
        if (err < 0) {
            jobs->failed_starts++;
            jobs->start_err = err;
        } else {
            spare++;
        }
    }
    if (jobs->failed_starts < TL_JOBS_START_TRIES || spare || busy)
        return;
    /* No worker can be had: say so to whoever waits. */
    struct tl_job *job;
    while ((job = tl_jobs_list_pop(&jobs->queue))) {
        tl_job_fail(job, jobs->start_err, NULL);
        tell(job);
    }
}

static void wait_and_read(struct tl_jobs *jobs, int ms)
{
    enum { MAX = 2 * MAX_WORKERS };
    struct pollfd p[1 + 2 * MAX];
    struct tl_worker *who[MAX];
    size_t n = 0;
    for (struct tl_worker *w = jobs->workers; w && n < MAX; w = w->next)
        who[n++] = w;
    p[0] = (struct pollfd){.fd = jobs->wake, .events = POLLIN};
    for (size_t i = 0; i < n; i++) {
        p[1 + i] = (struct pollfd){.fd = who[i]->pidfd, .events = POLLIN};
        p[1 + n + i] = (struct pollfd){.fd = who[i]->sock, .events = POLLIN};
    }
    if (poll(p, (nfds_t)(1 + 2 * n), ms) <= 0)
        return;
    uint64_t drained;
    if (p[0].revents && read(jobs->wake, &drained, sizeof(drained)) < 0) {
        /* another turn will */
    }
    for (size_t i = 0; i < n; i++)
        if (p[1 + n + i].revents && who[i]->sock >= 0)
            tl_worker_read(who[i]);
    reap_ended(jobs, p + 1, who, n);
}

static void end_all(struct tl_jobs *jobs)
{
    struct tl_job *job;
    while ((job = tl_jobs_list_pop(&jobs->queue))) {
        tl_job_fail(job, TL_ECANCELLED, NULL);
        tell(job);
    }
    for (struct tl_worker *w = jobs->workers; w; w = w->next) {
        if (w->job)
            w->job->cancel = true;
        tl_worker_kill(w);
    }
    while (jobs->workers)
        wait_and_read(jobs, -1);
}

static void *supervise(void *arg)
{
    struct tl_jobs *jobs = arg;
    while (!take_inbox(jobs, tl_mono_us())) {
        dispatch(jobs);
        keep_ready(jobs);
        wait_and_read(jobs, enforce_deadlines(jobs, tl_mono_us()));
    }
    end_all(jobs);
    pthread_mutex_lock(&jobs->lock);
    jobs->finish_stop = true;
    pthread_cond_signal(&jobs->finish_cond);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->finisher, NULL);
    take_inbox(jobs, tl_mono_us());
    end_all(jobs);
    return NULL;
}

static void release(struct tl_jobs *jobs)
{
    tl_close_fd(&jobs->wake);
    pthread_cond_destroy(&jobs->finish_cond);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs->cancels);
    free(jobs->worker_path);
    free(jobs);
}

int tl_jobs_new(const struct tl_jobs_conf *conf, struct tl_jobs **ret)
{
    *ret = NULL;
    if (access(conf->worker_path, X_OK) < 0)
        return TL_ENOTFOUND;
    struct tl_jobs *jobs = tl_calloc(1, sizeof(*jobs));
    if (!jobs)
        return TL_ENOMEM;
    jobs->conf = *conf;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!jobs->conf.max_workers)
        jobs->conf.max_workers = cores > 0 ? (unsigned)cores : 1;
    if (jobs->conf.max_workers > MAX_WORKERS)
        jobs->conf.max_workers = MAX_WORKERS;
    tl_jobs_list_init(&jobs->inbox);
    tl_jobs_list_init(&jobs->finish);
    tl_jobs_list_init(&jobs->finished);
    tl_jobs_list_init(&jobs->queue);
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->finish_cond, NULL);
    jobs->worker_path = tl_strdup(conf->worker_path);
    jobs->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!jobs->worker_path || jobs->wake < 0) {
        release(jobs);
        return TL_ENOMEM;
    }
    if (pthread_create(&jobs->finisher, NULL, tl_jobs_finisher, jobs) != 0) {
        release(jobs);
        return TL_ENOMEM;
    }
    if (pthread_create(&jobs->thread, NULL, supervise, jobs) != 0) {
        pthread_mutex_lock(&jobs->lock);
        jobs->finish_stop = true;
        pthread_cond_signal(&jobs->finish_cond);
        pthread_mutex_unlock(&jobs->lock);
        pthread_join(jobs->finisher, NULL);
        release(jobs);
        return TL_ENOMEM;
    }
    *ret = jobs;
    return 0;
}

void tl_jobs_free(struct tl_jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->stop = true;
    wake(jobs);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->thread, NULL);
    release(jobs);
}

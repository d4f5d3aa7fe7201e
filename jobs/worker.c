#include "jobs/state.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKER_FD = 3, SEND_MS = 1000, OUTPUT_MAX_GIB = 4, TIMEOUT_MS = 30 * 60 * 1000 };

/* Descriptor 3 is the socket; the worker itself closes what lies above it. */
static int start_process(struct tl_jobs *jobs, int sock, pid_t *ret)
{
    char fsize[24];
    uint64_t max = jobs->conf.output_max ? jobs->conf.output_max : (uint64_t)OUTPUT_MAX_GIB << 30;
    snprintf(fsize, sizeof(fsize), "%llu", (unsigned long long)max);
    char *argv[] = {(char[]){"talos-worker"}, (char[]){"--fsize"}, fsize, NULL};
    char *envp[] = {NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    if (posix_spawn_file_actions_init(&fa) != 0)
        return TL_ENOMEM;
    if (posix_spawnattr_init(&at) != 0) {
        posix_spawn_file_actions_destroy(&fa);
        return TL_ENOMEM;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int e = posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    e |= posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
#ifndef TL_SANITIZED /* the sanitizers' reports go there */
    e |= posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
#endif
    e |= posix_spawn_file_actions_adddup2(&fa, sock, WORKER_FD);
    e |= posix_spawnattr_setsigmask(&at, &none);
    e |= posix_spawnattr_setsigdefault(&at, &all);
    e |= posix_spawnattr_setpgroup(&at, 0); /* Ctrl-C in a terminal is for talos, which ends its workers itself */
    e |= posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (e == 0)
        e = posix_spawn(ret, jobs->worker_path, &fa, &at, argv, envp);
    posix_spawnattr_destroy(&at);
    posix_spawn_file_actions_destroy(&fa);
    return e == 0 ? 0 : tl_err_from_errno(e);
}

int tl_worker_spawn(struct tl_jobs *jobs)
{
    int pair[2];
    struct tl_worker *w = tl_calloc(1, sizeof(*w));
    if (!w)
        return TL_ENOMEM;
    w->pidfd = w->sock = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        tl_worker_free(w);
        return tl_err_from_errno(errno);
    }
    w->sock = pair[0];
    TL_AUTO_FD int theirs = pair[1];
    /* dup2 of 3 onto itself would keep close-on-exec. */
    if (theirs == WORKER_FD) {
        theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, WORKER_FD + 1);
        close(pair[1]);
    }
    int err = theirs < 0 ? tl_err_from_errno(errno) : start_process(jobs, theirs, &w->pid);
    if (err < 0) {
        tl_worker_free(w);
        return err;
    }
    w->pidfd = pidfd_open(w->pid, 0);
    if (w->pidfd < 0) {
        kill(w->pid, SIGKILL); /* our child, not yet waited for: the id is still its own */
        waitpid(w->pid, NULL, 0);
        tl_worker_free(w);
        return TL_EIO;
    }
    w->deadline_us = tl_mono_us() + (int64_t)TL_JOBS_START_MS * 1000;
    w->next = jobs->workers;
    jobs->workers = w;
    jobs->nworkers++;
    return 0;
}

void tl_worker_free(struct tl_worker *w)
{
    if (!w)
        return;
    tl_close_fd(&w->sock);
    tl_close_fd(&w->pidfd);
    tl_frame_reader_clear(&w->reader);
    json_decref(w->output);
    free(w->message);
    free(w);
}

void tl_worker_kill(struct tl_worker *w)
{
    if (!w->killed && w->pidfd >= 0)
        pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
    w->killed = true;
}

static json_t *file_list(json_t *list, const char *name, int fd)
{
    return json_array_append_new(list, json_pack("{s:s,s:i}", "name", name, "fd", fd)) < 0 ? NULL : list;
}

/* Another, read-only opening of a file being written. */
static int reopen(int fd)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Opens inputs and begins outputs of the run stage. Descriptors of inputs are owned by the caller. */
static int open_files(struct tl_jobs *jobs, struct tl_job *job, int *fds, size_t *nfds, json_t *files, json_t *outs)
{
    for (size_t i = 0; i < job->ninputs; i++) {
        uint64_t size;
        int fd, err = tl_blob_open(jobs->conf.blobs, job->inputs[i].sha256, &fd, &size);
        if (err == TL_ENOTFOUND)
            tl_job_fail(job, err, tl_strdup("the input file is not in the store"));
        if (err < 0)
            return err;
        fds[(*nfds)++] = fd;
        if (!file_list(files, job->inputs[i].name, (int)i))
            return TL_ENOMEM;
    }
    for (size_t i = 0; i < job->nouts; i++) {
        int err = tl_blob_begin(jobs->conf.blobs, jobs->conf.output_max, &job->outs[i].writer);
        if (err < 0)
            return err;
        if (!file_list(outs, job->outs[i].name, (int)(job->ninputs + i)))
            return TL_ENOMEM;
    }
    return 0;
}

static int send_job(struct tl_jobs *jobs, struct tl_worker *w, struct tl_job *job, const int *in, size_t nin,
                    json_t *inputs, const char *type, bool *ret_spoilt)
{
    int fds[TL_FRAME_FDS];
    size_t n = 0;
    for (; n < nin; n++)
        fds[n] = in[n];
    for (size_t i = 0; job->stage == TL_JOB_RUN && i < job->nouts; i++)
        fds[n++] = tl_blob_fd(job->outs[i].writer);
    TL_AUTO_JSON json_t *m = json_pack("{s:s,s:o}", "type", "job", "envelope",
                                       tl_job_envelope(job->id_text, type, job->org, job->run_id, job->step_key,
                                                       job->req.attempt, NULL, json_incref(inputs)));
    if (!m)
        return TL_ENOMEM;
    int err = tl_frame_send(w->sock, m, fds, n, SEND_MS);
    *ret_spoilt = err < 0 && err != TL_ETOOBIG;
    if (err < 0)
        return err == TL_ETOOBIG || err == TL_ENOMEM ? err : TL_EWORKER;
    int ms = job->stage == TL_JOB_VERIFY     ? TL_JOBS_VERIFY_MS
             : job->req.timeout_ms           ? job->req.timeout_ms
             : jobs->conf.default_timeout_ms ? jobs->conf.default_timeout_ms
                                             : TIMEOUT_MS;
    w->deadline_us = tl_mono_us() + (int64_t)ms * 1000;
    w->job = job;
    job->worker = w;
    return 0;
}

int tl_worker_give(struct tl_jobs *jobs, struct tl_worker *w, struct tl_job *job, bool *ret_spoilt)
{
    *ret_spoilt = false;
    int fds[TL_FRAME_FDS];
    size_t nfds = 0;
    bool run = job->stage == TL_JOB_RUN;
    json_t *files = json_array(), *outs = json_array();
    TL_AUTO_JSON json_t *inputs =
        json_pack("{s:O?,s:o,s:o}", "params", run ? job->req.params : NULL, "files", files, "outputs", outs);
    int err = inputs ? 0 : TL_ENOMEM;
    if (err == 0 && run) {
        err = open_files(jobs, job, fds, &nfds, files, outs);
    } else if (err == 0) {
        int fd = reopen(tl_blob_fd(job->outs[job->verifying].writer));
        err = fd < 0 ? TL_EIO : file_list(files, "clip", 0) ? 0 : TL_ENOMEM;
        if (fd >= 0)
            fds[nfds++] = fd;
    }
    if (err == 0)
        err = send_job(jobs, w, job, fds, nfds, inputs, run ? job->type : "media.probe", ret_spoilt);
    for (size_t i = 0; i < nfds; i++)
        close(fds[i]);
    return err;
}

/* What a worker says of its job; that it was lost or asked to stop, and what only the executor decides, is not its to say. */
static int failure(const char *code)
{
    int err = tl_err_from_code(code);
    return err == TL_EWORKER || err == TL_ECANCELLED || err == TL_EUNKNOWN || err == TL_EBUDGET ? TL_EINTERNAL : err;
}

static void on_progress(struct tl_worker *w, const json_t *m)
{
    struct tl_job *job = w->job;
    int64_t now = tl_mono_us();
    if (job->stage != TL_JOB_RUN || !job->req.progress || now - w->said_us < TL_JOBS_PROGRESS_MS * 1000)
        return;
    double done = tl_json_num(m, "done", 0), total = tl_json_num(m, "total", 0);
    w->said_us = now;
    job->req.progress(job->req.arg, total > 0 && done > 0 ? (done < total ? done / total : 1) : 0,
                      tl_json_str(m, "message"));
}

/* False where the message makes no sense in the worker's present state. */
static bool on_message(struct tl_worker *w, const json_t *m)
{
    const char *type = tl_json_str(m, "type"), *id = tl_json_str(m, "job_id");
    if (!type || w->answered)
        return false;
    if (!w->ready) {
        w->ready = strcmp(type, "ready") == 0;
        if (!w->ready && strcmp(type, "failed") == 0)
            w->err = TL_ESANDBOX;
        w->deadline_us = 0;
        return w->ready;
    }
    if (!w->job || !id || strcmp(id, w->job->id_text) != 0)
        return false;
    if (strcmp(type, "progress") == 0) {
        on_progress(w, m);
        return true;
    }
    w->answered = true;
    if (strcmp(type, "done") == 0) {
        w->output = json_incref(json_object_get(m, "output"));
        w->err = json_is_object(w->output) ? 0 : TL_ESCHEMA;
    } else if (strcmp(type, "cancelled") == 0 && w->job->cancel) {
        w->err = TL_ECANCELLED;
    } else if (strcmp(type, "failed") == 0) {
        w->err = failure(tl_json_str(m, "code"));
        w->message = tl_strdup(tl_json_str(m, "message"));
    } else {
        w->answered = false;
    }
    return w->answered;
}

void tl_worker_read(struct tl_worker *w)
{
    int err = tl_frame_fill(&w->reader, w->sock);
    struct tl_frame f;
    bool sense = true;
    int got = 0;
    while (sense && !w->answered && (got = tl_frame_next(&w->reader, &f)) == 0) {
        sense = f.nfds == 0 && on_message(w, f.json);
        tl_frame_clear(&f);
    }
    bool malformed = got < 0 && got != TL_EAGAIN;
    /* A worker does one job: once it has answered it may go. So may one whose socket has ended, or that talks nonsense. */
    if ((err < 0 && err != TL_EAGAIN) || malformed || !sense || w->answered) {
        tl_close_fd(&w->sock);
        tl_worker_kill(w);
    }
}

int tl_worker_reap(struct tl_worker *w, char **ret_message)
{
    siginfo_t si = {0};
    int got;
    do
        got = waitid(P_PIDFD, (id_t)w->pidfd, &si, WEXITED);
    while (got < 0 && errno == EINTR);
    *ret_message = NULL;
    if (w->answered || w->err < 0) {
        *ret_message = w->message;
        w->message = NULL;
        return w->err;
    }
    struct tl_str s = {0};
    if (got == 0 && (si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED) && si.si_status == SIGSYS)
        tl_str_puts(&s, "the worker tried something its sandbox forbids and was ended");
    else if (got == 0 && (si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED))
        tl_str_printf(&s, "the worker process was ended by signal %d", si.si_status);
    else
        tl_str_puts(&s, "the worker process ended without an answer");
    *ret_message = tl_str_take(&s);
    return TL_EWORKER;
}

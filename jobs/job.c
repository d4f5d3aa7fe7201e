#include "jobs/state.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tl_jobs_list_init(struct tl_jobs_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

void tl_jobs_list_push(struct tl_jobs_list *l, struct tl_job *job)
{
    job->next = NULL;
    *l->tail = job;
    l->tail = &job->next;
}

struct tl_job *tl_jobs_list_take(struct tl_jobs_list *l, const struct tl_id *id)
{
    struct tl_job **at = &l->head, *job;
    while ((job = *at) && !tl_id_equal(&job->id, id))
        at = &job->next;
    if (job) {
        *at = job->next;
        if (!job->next)
            l->tail = at;
        job->next = NULL;
    }
    return job;
}

void tl_jobs_list_unshift(struct tl_jobs_list *l, struct tl_job *job)
{
    job->next = l->head;
    l->head = job;
    if (!job->next)
        l->tail = &job->next;
}

struct tl_job *tl_jobs_list_pop(struct tl_jobs_list *l)
{
    struct tl_job *job = l->head;
    if (!job)
        return NULL;
    l->head = job->next;
    if (!l->head)
        l->tail = &l->head;
    job->next = NULL;
    return job;
}

static bool copy(char **to, const char *from)
{
    *to = tl_strdup(from);
    return *to || !from;
}

int tl_job_new(const struct tl_job_req *req, struct tl_job **ret)
{
    *ret = NULL;
    if (!req->job_type || !req->done || req->ninputs + req->noutputs > TL_FRAME_FDS)
        return TL_EINVAL;
    struct tl_job *job = tl_calloc(1, sizeof(*job));
    if (!job)
        return TL_ENOMEM;
    job->req = *req;
    job->req.params = json_incref(req->params);
    job->inputs = tl_calloc(req->ninputs, sizeof(*job->inputs));
    job->outs = tl_calloc(req->noutputs, sizeof(*job->outs));
    bool ok = job->inputs && job->outs && copy(&job->type, req->job_type) && copy(&job->org, req->org) &&
              copy(&job->run_id, req->run_id) && copy(&job->step_key, req->step_key);
    for (; ok && job->ninputs < req->ninputs; job->ninputs++) {
        const struct tl_job_file *from = &req->inputs[job->ninputs];
        ok = copy((char **)&job->inputs[job->ninputs].name, from->name) &&
             copy((char **)&job->inputs[job->ninputs].sha256, from->sha256);
    }
    for (; ok && job->nouts < req->noutputs; job->nouts++)
        ok = copy(&job->outs[job->nouts].name, req->outputs[job->nouts].name);
    if (!ok) {
        tl_job_free(job);
        return TL_ENOMEM;
    }
    job->id = tl_id_new();
    tl_id_text(&job->id, job->id_text);
    *ret = job;
    return 0;
}

void tl_job_free(struct tl_job *job)
{
    if (!job)
        return;
    json_decref(job->req.params);
    for (size_t i = 0; job->inputs && i < job->req.ninputs; i++) {
        free((void *)(uintptr_t)job->inputs[i].name);
        free((void *)(uintptr_t)job->inputs[i].sha256);
    }
    for (size_t i = 0; job->outs && i < job->req.noutputs; i++) {
        free(job->outs[i].name);
        tl_blob_abort(job->outs[i].writer);
        json_decref(job->outs[i].info);
    }
    free(job->inputs);
    free(job->outs);
    free(job->type);
    free(job->org);
    free(job->run_id);
    free(job->step_key);
    free(job->message);
    json_decref(job->output);
    free(job);
}

void tl_job_fail(struct tl_job *job, int err, char *message)
{
    if (job->err == 0) {
        job->err = err;
        job->message = message;
    } else {
        free(message);
    }
}

static const char *sniff(const unsigned char *head, ssize_t n)
{
    static const unsigned char png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (n >= (ssize_t)sizeof(png) && memcmp(head, png, sizeof(png)) == 0)
        return "image/png";
    return n >= 12 && memcmp(head + 4, "ftyp", 4) == 0 ? "video/mp4" : NULL;
}

int tl_job_look_at_outputs(struct tl_job *job)
{
    for (size_t i = 0; i < job->nouts; i++) {
        struct tl_job_out *o = &job->outs[i];
        int fd = tl_blob_fd(o->writer);
        unsigned char head[16];
        struct stat st;
        if (fstat(fd, &st) < 0)
            return TL_EIO;
        o->bytes = (uint64_t)st.st_size;
        o->content_type = sniff(head, pread(fd, head, sizeof(head), 0));
        if (!o->bytes) {
            tl_blob_abort(o->writer);
            o->writer = NULL;
        }
    }
    return 0;
}

/* Turns what was written and verified into blobs, all or none told of. */
static void commit(struct tl_job *job)
{
    TL_AUTO_JSON json_t *files = json_object();
    for (size_t i = 0; i < job->nouts && job->err == 0; i++) {
        struct tl_job_out *o = &job->outs[i];
        if (!o->writer)
            continue;
        struct tl_blob_writer *writer = o->writer;
        o->writer = NULL;
        int err = tl_blob_commit(writer, o->sha256, &o->bytes);
        json_t *item = err < 0 ? NULL : json_pack("{s:s,s:I}", "sha256", o->sha256, "bytes", (json_int_t)o->bytes);
        if (item && o->info) {
            bool pictures = tl_json_num(o->info, "width", 0) > 0;
            const char *type = !pictures && strcmp(o->content_type, "video/mp4") == 0 ? "audio/mp4" : o->content_type;
            if (json_object_set_new(item, "content_type", json_string(type)) < 0 ||
                json_object_set(item, "info", o->info) < 0)
                err = TL_ENOMEM;
        }
        if (err == 0 && json_object_set_new(files, o->name, item) < 0)
            err = TL_ENOMEM;
        else if (err < 0)
            json_decref(item);
        if (err < 0)
            tl_job_fail(job, err, NULL);
    }
    if (job->err == 0 && json_object_set(job->output, "files", files) < 0)
        tl_job_fail(job, TL_ENOMEM, NULL);
}

/* Syncing and hashing a large file takes seconds, in which the supervisor must still hear a cancel: so they have a thread of their own. */
void *tl_jobs_finisher(void *arg)
{
    struct tl_jobs *jobs = arg;
    pthread_mutex_lock(&jobs->lock);
    for (;;) {
        struct tl_job *job = tl_jobs_list_pop(&jobs->finish);
        if (!job && jobs->finish_stop)
            break;
        if (!job) {
            pthread_cond_wait(&jobs->finish_cond, &jobs->lock);
            continue;
        }
        jobs->committing = job;
        pthread_mutex_unlock(&jobs->lock);
        commit(job);
        pthread_mutex_lock(&jobs->lock);
        jobs->committing = NULL;
        tl_jobs_list_push(&jobs->finished, job);
        uint64_t one = 1;
        if (write(jobs->wake, &one, sizeof(one)) < 0) {
            /* the counter is full: the supervisor is awake */
        }
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

#include "worker/worker.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "worker/media/ops.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_US = 20 * 1000, SAY_US = 100 * 1000, SEND_MS = 10 * 1000 };

static const struct {
    const char *name;
    tl_wk_run_fn run;
} ops[] = {
    {"media.analyze", tl_wk_media_analyze},
    {"media.look", tl_wk_media_look},
    {"media.probe", tl_wk_media_probe},
    {"media.sheet", tl_wk_media_sheet},
};

tl_wk_run_fn tl_wk_find(const char *job_type)
{
    for (size_t i = 0; job_type && i < sizeof(ops) / sizeof(ops[0]); i++)
        if (strcmp(ops[i].name, job_type) == 0)
            return ops[i].run;
    return NULL;
}

json_t *tl_wk_op_names(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        json_array_append_new(list, json_string(ops[i].name));
    return list;
}

static int find_fd(const struct tl_wk_file *files, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(files[i].name, name) == 0)
            return files[i].fd;
    return -1;
}

int tl_wk_input(const struct tl_wk_job *job, const char *name)
{
    return find_fd(job->inputs, job->ninputs, name);
}

int tl_wk_output(const struct tl_wk_job *job, const char *name)
{
    return find_fd(job->outputs, job->noutputs, name);
}

int tl_wk_fail(struct tl_wk_job *job, int err, const char *fmt, ...)
{
    if (job->message[0])
        return err;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(job->message, sizeof(job->message), fmt, ap);
    va_end(ap);
    return err;
}

bool tl_wk_cancelled(struct tl_wk_job *job)
{
    int64_t now = tl_mono_us();
    if (job->sock < 0 || job->cancelled || now - job->looked_us < LOOK_US)
        return job->cancelled;
    job->looked_us = now;
    int err = tl_frame_fill(&job->reader, job->sock);
    if (err < 0 && err != TL_EAGAIN)
        job->cancelled = true; /* nobody is left to work for */
    struct tl_frame f;
    while (tl_frame_next(&job->reader, &f) == 0) {
        const char *type = tl_json_str(f.json, "type"), *id = tl_json_str(f.json, "job_id");
        if (type && id && strcmp(type, "cancel") == 0 && strcmp(id, job->id) == 0)
            job->cancelled = true;
        tl_frame_clear(&f);
    }
    return job->cancelled;
}

int tl_wk_progress(struct tl_wk_job *job, int64_t done, int64_t total, const char *message)
{
    if (tl_wk_cancelled(job))
        return TL_ECANCELLED;
    int64_t now = tl_mono_us();
    if (job->sock < 0 || now - job->said_us < SAY_US)
        return 0;
    job->said_us = now;
    TL_AUTO_JSON json_t *m = json_pack("{s:s,s:s,s:I,s:I,s:s?}", "type", "progress", "job_id", job->id, "done",
                                       (json_int_t)done, "total", (json_int_t)total, "message", message);
    if (m && tl_frame_send(job->sock, m, NULL, 0, SEND_MS) < 0)
        job->cancelled = true;
    return job->cancelled ? TL_ECANCELLED : 0;
}

/* Names and descriptors of one list of the envelope. Each descriptor may be named once. */
static int take_files(const json_t *list, const struct tl_frame *f, bool *used, struct tl_wk_file *ret, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = tl_json_str(item, "name");
        int64_t k = tl_json_int(item, "fd", -1);
        if (!name || k < 0 || (size_t)k >= f->nfds || used[k] || i >= TL_WK_FILES)
            return TL_EINVAL;
        used[k] = true;
        ret[(*ret_n)++] = (struct tl_wk_file){name, f->fds[k]};
    }
    return 0;
}

static int run_job(struct tl_wk_job *job, const struct tl_frame *f, const json_t *envelope, json_t **ret)
{
    const json_t *in = json_object_get(envelope, "inputs");
    bool used[TL_FRAME_FDS] = {false};
    job->params = json_object_get(in, "params");
    tl_wk_run_fn run = tl_wk_find(tl_json_str(envelope, "job_type"));
    if (!run)
        return tl_wk_fail(job, TL_EINVAL, "this worker does not know this kind of job");
    if (take_files(json_object_get(in, "files"), f, used, job->inputs, &job->ninputs) < 0 ||
        take_files(json_object_get(in, "outputs"), f, used, job->outputs, &job->noutputs) < 0)
        return tl_wk_fail(job, TL_EINVAL, "the job envelope does not match the descriptors sent along");
    int err = run(job, ret);
    return err == 0 && !*ret ? TL_ENOMEM : err;
}

static json_t *answer(struct tl_wk_job *job, int err, json_t *output)
{
    if (err == 0)
        return json_pack("{s:s,s:s,s:O}", "type", "done", "job_id", job->id, "output", output);
    if (err == TL_ECANCELLED)
        return json_pack("{s:s,s:s}", "type", "cancelled", "job_id", job->id);
    /* A cut-off message may end inside a character. */
    size_t n = strlen(job->message);
    while (n && !tl_utf8_valid(job->message, n))
        job->message[--n] = '\0';
    return json_pack("{s:s,s:s,s:s,s:s}", "type", "failed", "job_id", job->id, "code", tl_err_code(err), "message",
                     job->message[0] ? job->message : tl_err_text(err));
}

static int handle(struct tl_wk_job *job, struct tl_frame *f)
{
    const json_t *envelope = json_object_get(f->json, "envelope");
    job->id = tl_json_str(envelope, "job_id");
    if (!job->id)
        return TL_EINVAL;
    TL_AUTO_JSON json_t *output = NULL;
    int err = run_job(job, f, envelope, &output);
    TL_AUTO_JSON json_t *m = answer(job, err, output);
    if (!m)
        return TL_ENOMEM;
    err = tl_frame_send(job->sock, m, NULL, 0, SEND_MS);
    if (err != TL_ETOOBIG)
        return err;
    TL_AUTO_JSON json_t *big =
        json_pack("{s:s,s:s,s:s,s:s}", "type", "failed", "job_id", job->id, "code", tl_err_code(TL_EMEDIA), "message",
                  "the result is too large to be handed over");
    return big ? tl_frame_send(job->sock, big, NULL, 0, SEND_MS) : TL_ENOMEM;
}

int tl_wk_serve(int sock)
{
    struct tl_wk_job job = {.sock = sock};
    struct tl_frame f;
    int err;
    /* Ends when the supervisor goes: the socket then reads as ended. */
    while ((err = tl_frame_next(&job.reader, &f)) == TL_EAGAIN) {
        struct pollfd p = {.fd = sock, .events = POLLIN};
        poll(&p, 1, -1);
        err = tl_frame_fill(&job.reader, sock);
        if (err < 0 && err != TL_EAGAIN)
            break;
    }
    if (err == 0) {
        const char *type = tl_json_str(f.json, "type");
        err = type && strcmp(type, "job") == 0 ? handle(&job, &f) : TL_EINVAL;
        tl_frame_clear(&f);
    }
    tl_frame_reader_clear(&job.reader);
    return err;
}

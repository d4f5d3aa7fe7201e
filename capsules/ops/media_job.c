#include "capsules/ops/media_job.h"

#include "base/err.h"
#include "base/json.h"

#include <string.h>

static void on_progress(void *arg, double fraction, const char *message)
{
    tl_op_progress(arg, fraction, message);
}

static bool on_asked(void *arg)
{
    return tl_op_cancelled(arg);
}

static void on_cancel(struct tl_op_ctx *ctx)
{
    struct tl_media_job *m = tl_op_priv(ctx);
    /* Read under the supervisor's lock, under which it is written. Not yet submitted: the supervisor asks on_asked before it begins. */
    tl_jobs_cancel(m->jobs, &m->id);
}

static void on_done(void *arg, int err, const char *message, json_t *output)
{
    struct tl_op_ctx *ctx = arg;
    const struct tl_media_job *m = tl_op_priv(ctx);
    if (err == 0)
        err = m->finish(ctx, output);
    else if (err != TL_ECANCELLED)
        tl_op_fail(ctx, err, "%s", message ? message : tl_err_text(err));
    tl_op_done(ctx, err);
}

int tl_media_job_start(struct tl_op_ctx *ctx, json_t *params, const char *out,
                       int (*finish)(struct tl_op_ctx *ctx, const json_t *output))
{
    TL_AUTO_JSON json_t *owned = params;
    struct tl_services *services = tl_cap_services(ctx);
    struct tl_media_job *m = tl_op_priv(ctx);
    const char *sha256 = tl_value_sha256(tl_op_input(ctx, "clip"));
    if (!services || !services->jobs)
        return tl_op_fail(ctx, TL_ENOTCONFIGURED, "media cannot be opened: there is no talos-worker");
    if (!sha256)
        return tl_op_fail(ctx, TL_EINVAL, "the input \"clip\" is no media file");
    if (!owned)
        return TL_ENOMEM;
    m->jobs = services->jobs;
    m->finish = finish;
    const struct tl_plan_node *node = tl_op_node(ctx);
    const struct tl_policy *policy = node->policy ? node->policy : tl_policy_of_op(node->op);
    struct tl_job_file in = {"clip", sha256}, written = {out, NULL};
    struct tl_job_req req = {
        .job_type = node->op->name,
        .org = tl_op_org(ctx),
        .run_id = tl_op_run_id(ctx),
        .step_key = tl_op_step_key(ctx),
        .attempt = (int)tl_op_attempt(ctx),
        .params = owned,
        .inputs = &in,
        .ninputs = 1,
        .outputs = &written,
        .noutputs = out ? 1 : 0,
        .timeout_ms = (int)policy->timeout_ms,
        .arg = ctx,
        .cancelled = on_asked,
        .progress = on_progress,
        .done = on_done,
    };
    tl_op_on_cancel(ctx, on_cancel);
    int err = tl_jobs_submit(m->jobs, &req, &m->id); /* ctx may be gone when this returns 0 */
    return err < 0 ? err : TL_OP_PENDING;
}

int tl_media_malformed(struct tl_op_ctx *ctx)
{
    return tl_op_fail(ctx, TL_ESCHEMA, "the worker's result does not have the form asked for");
}

int tl_media_job_file(struct tl_op_ctx *ctx, const json_t *output, const char *port, const char *kind,
                      const char *content_type, const char *name)
{
    const json_t *file = json_object_get(json_object_get(output, "files"), port);
    const char *sha256 = tl_json_str(file, "sha256"), *type = tl_json_str(file, "content_type");
    if (!sha256 || !type || strcmp(type, content_type) != 0)
        return tl_op_fail(ctx, TL_ESCHEMA, "the worker has not written a valid %s file", content_type);
    return tl_op_output_json(ctx, port,
                             tl_media_json(kind, sha256, content_type, (uint64_t)tl_json_int(file, "bytes", 0), name));
}

static bool in_range(const json_t *j, double min, double max)
{
    double v = json_number_value(j);
    return json_is_number(j) && v >= min && v <= max;
}

bool tl_media_is_number(const json_t *obj, const char *key, double min, double max)
{
    return in_range(json_object_get(obj, key), min, max);
}

bool tl_media_are_numbers(const json_t *list, size_t most, double min, double max)
{
    size_t n = json_array_size(list);
    bool ok = json_is_array(list) && n <= most;
    for (size_t i = 0; ok && i < n; i++)
        ok = in_range(json_array_get(list, i), min, max);
    return ok;
}

bool tl_media_are_colours(const json_t *list, size_t most)
{
    size_t n = json_array_size(list);
    bool ok = json_is_array(list) && n <= most;
    for (size_t i = 0; ok && i < n; i++) {
        const char *c = json_string_value(json_array_get(list, i));
        ok = c && strlen(c) == 7 && c[0] == '#' && strspn(c + 1, "0123456789ABCDEFabcdef") == 6;
    }
    return ok;
}

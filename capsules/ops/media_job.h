/* What the media ops share: their work is a job for a talos-worker, and what comes back is checked before it is handed on. */
#ifndef TL_CAPSULES_OPS_MEDIA_JOB_H
#define TL_CAPSULES_OPS_MEDIA_JOB_H

#include "capsules/services.h"
#include "jobs/jobs.h"

/* The private state of such an op. */
struct tl_media_job {
    struct tl_id id;
    struct tl_jobs *jobs;
    /* Checks the worker's result and sets outputs; an error with a sentence by tl_op_fail. */
    int (*finish)(struct tl_op_ctx *ctx, const json_t *output);
};

/* Starts the op's job with the medium at input port "clip" and, where out is not NULL, one file to be written. Takes params (NULL: out of memory).
 * Returns what run() returns. */
int tl_media_job_start(struct tl_op_ctx *ctx, json_t *params, const char *out,
                       int (*finish)(struct tl_op_ctx *ctx, const json_t *output));

/* The file that the job wrote as an output of the op, if it is of that content type; name is what it is called. */
int tl_media_job_file(struct tl_op_ctx *ctx, const json_t *output, const char *port, const char *kind,
                      const char *content_type, const char *name);

/* Checks on what a worker says. */
bool tl_media_is_number(const json_t *obj, const char *key, double min, double max);
bool tl_media_are_numbers(const json_t *list, size_t most, double min, double max);
bool tl_media_are_colours(const json_t *list, size_t most);
/* The failure of a check. */
int tl_media_malformed(struct tl_op_ctx *ctx);

#endif

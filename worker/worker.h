/* What the halves of ops that run in talos-worker see: one job with its parameters and descriptors, progress, cancellation and a way to say why it
 * failed. An op is one function in the table of worker/job.c. */
#ifndef TL_WORKER_WORKER_H
#define TL_WORKER_WORKER_H

#include "wire/job.h"

#include <stdbool.h>
#include <stdint.h>

enum { TL_WK_SOCK = 3, TL_WK_FILES = TL_FRAME_FDS, TL_WK_MESSAGE = 240 };

struct tl_wk_file {
    const char *name; /* the op's port; borrowed from the envelope */
    int fd;
};

struct tl_wk_job {
    int sock; /* -1: nobody listens (tests, tools) */
    const char *id;
    const json_t *params;
    struct tl_wk_file inputs[TL_WK_FILES], outputs[TL_WK_FILES];
    size_t ninputs, noutputs;
    bool cancelled;
    int64_t looked_us, said_us; /* when the socket was last read, and progress last written */
    struct tl_frame_reader reader;
    char message[TL_WK_MESSAGE]; /* why it failed, for the person who runs the graph; "" where nothing was said */
};

/* The descriptor of a port, -1 where the job has none. */
int tl_wk_input(const struct tl_wk_job *job, const char *name);
int tl_wk_output(const struct tl_wk_job *job, const char *name);
/* Says how far the job is, at most some ten times a second, and looks whether it is to stop: 0 or TL_ECANCELLED. Cheap: call it for every frame. */
int tl_wk_progress(struct tl_wk_job *job, int64_t done, int64_t total, const char *message);
bool tl_wk_cancelled(struct tl_wk_job *job);
/* Records why and returns err, so that an op can end with it. The first sentence stays. */
int tl_wk_fail(struct tl_wk_job *job, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Runs an op; *ret is its output, owned, on 0. */
typedef int (*tl_wk_run_fn)(struct tl_wk_job *job, json_t **ret);
tl_wk_run_fn tl_wk_find(const char *job_type);
json_t *tl_wk_op_names(void); /* returned owned */

/* Waits for one job on sock, runs it and answers. Returns when the job is answered or the other end is gone. */
int tl_wk_serve(int sock);

#endif

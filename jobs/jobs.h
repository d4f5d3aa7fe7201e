/* The supervisor of talos-worker processes: hands job envelopes to them, turns blob hashes into descriptors and written files into blobs,
 * carries progress and cancellation, and survives their death. A worker gets an empty environment and sandboxes itself before it reads a byte of a file; a
 * worker that has opened an untrusted file is not used again. */
#ifndef TL_JOBS_JOBS_H
#define TL_JOBS_JOBS_H

#include "store/blob.h"
#include "wire/job.h"

struct tl_jobs;

struct tl_jobs_conf {
    const char *worker_path; /* the talos-worker program */
    unsigned max_workers;    /* at work at once; 0: one per core */
    struct tl_blobs *blobs;
    uint64_t output_max;    /* bytes of one output file; 0: 4 GiB */
    int default_timeout_ms; /* wall clock of a job; 0: 30 minutes */
};
/* TL_ENOTFOUND where there is no such program. */
int tl_jobs_new(const struct tl_jobs_conf *conf, struct tl_jobs **ret);
/* Cancels what runs (done is called with TL_ECANCELLED), ends all workers, joins. */
void tl_jobs_free(struct tl_jobs *jobs);

struct tl_job_file {
    const char *name;   /* the op's port */
    const char *sha256; /* inputs: which blob */
};
struct tl_job_req {
    const char *job_type; /* "media.analyze" */
    const char *org, *run_id, *step_key;
    int attempt;
    json_t *params; /* shared: parameters and small inputs */
    const struct tl_job_file *inputs, *outputs;
    size_t ninputs, noutputs;
    int timeout_ms; /* 0: the default */
    void *arg;
    /* All on the supervisor's thread; must be short. done exactly once; output (borrowed) has, per file written, "files":{name:{"sha256","bytes",
     * "content_type","info"}}: an MP4 or PNG has been opened by a fresh worker, and info is what media.probe said of it; other files have
     * neither. err: 0, TL_ECANCELLED, TL_EWORKER, TL_ETIMEOUT, TL_ESANDBOX, TL_EMEDIA or what the worker said; message is a sentence or NULL. */
    bool (*cancelled)(
        void *
            arg); /* asked before the job is handed to a worker; may be NULL. Closes the gap between a cancel and the submission */
    void (*progress)(void *arg, double fraction, const char *message); /* may be NULL */
    void (*done)(void *arg, int err, const char *message, json_t *output);
};
/* Queues a job; *ret_id names it for cancelling and is written before done can be called (whose arg may own it). 0, TL_ENOMEM, TL_EINVAL; then
 * done is not called. */
int tl_jobs_submit(struct tl_jobs *jobs, const struct tl_job_req *req, struct tl_id *ret_id);
/* Takes effect within 500 ms: the worker is asked, then killed. Unknown ids are ignored. */
void tl_jobs_cancel(struct tl_jobs *jobs, const struct tl_id *id);

#endif

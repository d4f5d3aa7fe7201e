/* Inside of jobs/: a job on its way (queued, at work, its files verified, committed) and a worker process. Everything but the inbox and the finisher's
 * two lists belongs to the supervisor's thread. */
#ifndef TL_JOBS_STATE_H
#define TL_JOBS_STATE_H

#include "jobs/jobs.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

enum {
    TL_JOBS_CANCEL_MS = 250,       /* a cancelled worker has this long before it is killed */
    TL_JOBS_START_MS = 20 * 1000,  /* a worker has this long to enter its sandbox */
    TL_JOBS_VERIFY_MS = 60 * 1000, /* a written file has this long to be opened by a fresh worker */
    TL_JOBS_START_TRIES = 3, /* workers that die without a job, in a row, until none is started and waiting jobs fail */
    TL_JOBS_PROGRESS_MS = 80, /* a worker's progress is passed on at most this often */
};

enum tl_job_stage { TL_JOB_RUN, TL_JOB_VERIFY };

struct tl_job_out {
    char *name;
    struct tl_blob_writer *writer; /* NULL: nothing was written, or it is a blob by now */
    const char *content_type;      /* by its first bytes; NULL where it is not to be verified */
    uint64_t bytes;
    json_t *info; /* what the verifying worker said */
    char sha256[TL_SHA256_HEX];
};

struct tl_job {
    struct tl_job *next;
    struct tl_id id;
    char id_text[TL_ID_TEXT];
    struct tl_job_req req; /* its strings and lists point into what follows */
    char *type, *org, *run_id, *step_key;
    struct tl_job_file *inputs; /* names and hashes owned */
    struct tl_job_out *outs;
    size_t ninputs, nouts;

    enum tl_job_stage stage;
    size_t verifying; /* index into outs */
    bool cancel;
    struct tl_worker *worker;
    json_t *output;
    int err;
    char *message;
};

struct tl_worker {
    struct tl_worker *next;
    pid_t pid;
    int pidfd, sock; /* sock -1: closed */
    struct tl_frame_reader reader;
    bool ready, killed;
    struct tl_job *job; /* NULL: starting or idle */
    bool answered;      /* the job's result has come */
    int err;            /* of the answer, or why it was killed; 0 with answered: done */
    json_t *output;     /* of the answer */
    char *message;
    int64_t deadline_us; /* killed then with TL_ETIMEOUT; 0 for none */
    int64_t kill_us;     /* killed then after a cancel; 0 for none */
    int64_t said_us;
};

struct tl_jobs_list {
    struct tl_job *head, **tail;
};

struct tl_jobs {
    struct tl_jobs_conf conf;
    char *worker_path;
    pthread_t thread, finisher;
    int wake; /* eventfd */

    pthread_mutex_t lock;
    pthread_cond_t finish_cond;
    struct tl_jobs_list inbox;    /* submitted */
    struct tl_jobs_list finish;   /* done by its worker, to be committed */
    struct tl_job *committing;    /* by the finisher; its req.done is under the lock */
    struct tl_jobs_list finished; /* committed or failed, to be told */
    struct tl_id *cancels;        /* asked for */
    size_t ncancels, cap_cancels;
    bool stop, finish_stop;

    struct tl_jobs_list queue; /* waiting for a worker */
    struct tl_worker *workers;
    unsigned nworkers;
    unsigned failed_starts; /* workers that died without a job, since one answered or a job came */
    int start_err;
};

void tl_jobs_list_init(struct tl_jobs_list *l);
void tl_jobs_list_push(struct tl_jobs_list *l, struct tl_job *job);
void tl_jobs_list_unshift(struct tl_jobs_list *l, struct tl_job *job);
struct tl_job *tl_jobs_list_pop(struct tl_jobs_list *l);
struct tl_job *tl_jobs_list_take(struct tl_jobs_list *l, const struct tl_id *id); /* NULL where it is not in it */

int tl_job_new(const struct tl_job_req *req, struct tl_job **ret);
void tl_job_free(struct tl_job *job);
/* The first failure of a job stays. Takes message. */
void tl_job_fail(struct tl_job *job, int err, char *message);

/* Starts a process; it is on jobs->workers when this returns 0. */
int tl_worker_spawn(struct tl_jobs *jobs);
/* Hands the job in its present stage to a ready worker. An error is the job's, the worker is as fresh as before unless *ret_spoilt. */
int tl_worker_give(struct tl_jobs *jobs, struct tl_worker *w, struct tl_job *job, bool *ret_spoilt);
/* Reads what the worker says; kills it once it has answered or talks nonsense. */
void tl_worker_read(struct tl_worker *w);
void tl_worker_kill(struct tl_worker *w);
/* Once its pidfd is readable: collects the exit and returns how its job ended (answer, death, timeout) with a sentence, owned or NULL. */
int tl_worker_reap(struct tl_worker *w, char **ret_message);
void tl_worker_free(struct tl_worker *w);

/* Looks at what a job's worker has written; sizes and content types by first bytes. */
int tl_job_look_at_outputs(struct tl_job *job);
void *tl_jobs_finisher(void *arg);

#endif

/* Runs: starting, cancelling, going on after a crash, and reading their records and events. A run is a journal: its events are committed,
 * then published; record and status are written in the same transactions. Everything here is public: what a sealed node keeps to itself
 * never arrives here. */
#ifndef TL_GRAPH_RUN_H
#define TL_GRAPH_RUN_H

#include "base/id.h"
#include "graph/plan.h"
#include "store/db.h"

struct tl_exec;
struct tl_run;

/* Published events of a run may be read up to seq; called on the database's writer thread after the commit: must be short.
 * ended: seq is the run's last event. */
typedef void (*tl_run_notify_fn)(void *arg, const struct tl_id *run, uint64_t seq, bool ended);

/* The executor's ports to time and chance; zeroed: the machine's. */
struct tl_exec_env {
    int64_t (*wall_ms)(void *arg); /* since 1970 UTC */
    int64_t (*mono_us)(void *arg);
    void (*random)(void *arg, void *bytes, size_t n);
    void *arg;
};

struct tl_exec_conf {
    unsigned threads; /* 0: one per core */
    bool manual;      /* no threads at all: tl_exec_step does the work */
    struct tl_exec_env env;
    unsigned places[TL_CLASS_COUNT]; /* nodes of each class at work at once; 0: as many as threads, 2, 64 */
    /* Nodes under way at once, of live runs and within them (one organisation may have half of what the others leave), and nodes of nested graphs that one run
     * makes in its life; 0: 1,000,000, 2,000,000, 1,000,000. */
    size_t live_max, nested_max, steps_max;
    struct tl_db *db; /* NULL: in memory only, without journal and kept results */
    void *services; /* handed to ops */
    /* Makes the plan of a stored run again (kind and document as they were handed to tl_run_start). */
    int (*replan)(void *arg, const char *org, const char *kind, json_t *doc, struct tl_plan **ret,
                  struct tl_diag *diag);
    uint64_t cache_max; /* bytes of results kept on disk; 0: 1 GiB */
    uint64_t hot_max;   /* bytes of results in memory; 0: 64 MiB */
    int64_t renew_ms;   /* a result's time of use is renewed on disk where it is older; 0: an hour, negative: always */
    /* Sealing of private steps' results: the id of a step's record, and its contents, malloc'd. NULL: private steps are repeated after a crash. */
    void (*step_id)(void *arg, const char *org, const char *run_id, const char *step, uint8_t ret[32]);
    int (*step_seal)(void *arg, const char *org, const uint8_t id[32], const void *plain, size_t len, uint8_t **ret,
                     size_t *ret_len);
    int (*step_open)(void *arg, const char *org, const uint8_t id[32], const void *sealed, size_t len, uint8_t **ret,
                     size_t *ret_len);
    /* The organisation's key for result hashes (32 bytes). */
    int (*cache_key)(void *arg, const char *org, uint8_t ret[32]);
    /* Shapes the public ending of a run of this kind: appends the payload of run.completed, a JSON object, made from the nodes' outputs. NULL: {}. */
    int (*complete)(void *arg, const struct tl_run *run, struct tl_str *payload);
    tl_run_notify_fn notify;
    void *arg;
};

int tl_exec_new(const struct tl_exec_conf *conf, struct tl_exec **ret);
/* Stops taking work, lets running ops be cancelled without ending their runs (they go on at the next start), joins all threads. */
void tl_exec_free(struct tl_exec *exec);
/* Manual executors: does one piece of work that is due now. False where there is none. */
bool tl_exec_step(struct tl_exec *exec);
/* When the next timer is due, by env.mono_us; INT64_MAX where there is none. */
int64_t tl_exec_next_due(struct tl_exec *exec);
/* Runs fn(arg) on a thread for requests: what parses, plans or computes. TL_ENOMEM, or TL_EAGAIN where too much waits or the executor closes. */
int tl_exec_post(struct tl_exec *exec, void (*fn)(void *arg), void *arg);
/* The same for what may read much: such functions wait for one another, and nobody waits for them. */
int tl_exec_post_long(struct tl_exec *exec, void (*fn)(void *arg), void *arg);
/* Takes up all runs that had not ended. Returns how many, or an error; *ret_failed says how many could not be: they are ended as failed, or, where memory or the disk
 * are wanting, left for the next start. */
int tl_exec_resume(struct tl_exec *exec, int *ret_failed);

/* What the executor did since it was made, and what is at work now; any thread. Nodes of sealed graphs count like all others. */
struct tl_exec_figures {
    uint64_t hits, misses;                /* results looked for */
    uint64_t done, cached, failed;        /* nodes that ended: done without the cached ones */
    uint64_t retries, lost_workers;       /* attempts begun anew; processes that ended under a node */
    uint64_t waiting;                     /* steps that wait for a person now */
    unsigned busy[TL_CLASS_COUNT], places[TL_CLASS_COUNT];
};
void tl_exec_figures(struct tl_exec *exec, struct tl_exec_figures *ret);

enum { TL_PRIORITY_LOW = -1, TL_PRIORITY_USUAL = 0, TL_PRIORITY_HIGH = 1 };
/* What a run may use; 0: no bound. A run that goes beyond it fails with TL_EBUDGET. */
struct tl_budget {
    double cost_usd;
    int64_t tokens;
};
struct tl_run_req {
    const char *org, *sub;
    const char *kind;     /* "capsule" (one node, a capsule call) or "canvas" */
    json_t *doc; /* shared: what replan needs: {"graph":{…}} or {"doc": the hash of the graph's text, hex}, "targets":[…],"admin":bool,… */
    const char *graph; /* the text that doc names, borrowed until started() is called; NULL: the store has it, or doc names none */
    size_t graph_len;
    struct tl_plan *plan; /* takes a reference of its own */
    json_t *meta; /* shared: public facts kept in the record ("canvas_id", "node_id", "capsule_id" …); may be NULL */
    int priority; /* TL_PRIORITY_LOW to _HIGH; among the runs of one organisation */
    struct tl_budget budget;
};
/* Makes the run and its run.queued event durable, then schedules it and calls started(arg, err, id) on the writer thread. 0, or an error and
 * started is not called: TL_ERATE where too many nodes are under way. TL_ECONFLICT where the text that doc names is not in the store any more. */
int tl_run_start(struct tl_exec *exec, const struct tl_run_req *req,
                 void (*started)(void *arg, int err, const struct tl_id *id), void *arg);
/* The same, waiting until the run exists. */
int tl_run_start_wait(struct tl_exec *exec, const struct tl_run_req *req, struct tl_id *ret);
/* Asks for cancellation; the run.cancelled event follows. TL_ENOTFOUND (also for another organisation's), TL_ECONFLICT where it has ended. */
int tl_run_cancel(struct tl_exec *exec, const char *org, const struct tl_id *id, const char *reason);

/* What a finished run is asked for by tl_exec_conf.complete; valid during that call only. */
const char *tl_run_kind(const struct tl_run *run);
const struct tl_plan *tl_run_plan(const struct tl_run *run);
const json_t *tl_run_doc(const struct tl_run *run);
/* Output of a wanted node by port name; NULL where there is none. Borrowed. */
const struct tl_value *tl_run_output(const struct tl_run *run, const char *node, const char *port);
/* The same by index of node and output: for walking all of them. */
const struct tl_value *tl_run_output_at(const struct tl_run *run, uint32_t node, uint32_t out);
/* The nodes that failed without ending the run (policy on_error: continue), as a JSON list of at most max ids appended to s; how many there are. */
uint32_t tl_run_failed_nodes(const struct tl_run *run, uint32_t max, struct tl_str *s);
struct tl_usage;
void tl_run_usage(const struct tl_run *run, struct tl_usage *ret, int64_t *ret_latency_ms);

/* The record: {"id","org","sub","kind","status":queued|running|done|failed|cancelled,"progress":0..100,"created_at","updated_at","ended_at","last_seq","graph_hash",
 * "nodes":{id:{"status","op","cached"}},"result":{payload of the terminal event},"error":…, and meta's fields}. Returned owned. */
int tl_run_get(struct tl_db *db, const char *org, const struct tl_id *id, json_t **ret);
/* Newest first; cursor NULL or as returned; *ret_next is the cursor for the next page or empty. items: records without "nodes" and "result". */
int tl_run_list(struct tl_db *db, const char *org, const char *status, const struct tl_id *before, size_t limit,
                json_t **ret_items, struct tl_id *ret_next, bool *ret_more);

/* Events after a seq, in order: their JSON text as stored, appended to out one by one by visit until it returns non-zero. */
int tl_events_read(struct tl_db *db, const struct tl_id *run, uint64_t after_seq,
                   int (*visit)(void *arg, uint64_t seq, const char *json, size_t len), void *arg);

#endif

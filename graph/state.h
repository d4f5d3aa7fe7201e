/* What a run is made of while it lives. Private to graph/: exec.c (threads and queues), start.c (a run's first commit, and going on), run.c
 * (its nodes), op_ctx.c (what ops call), journal.c (events and records), result.c (results kept), read.c.
 *
 * Locks: run->lock guards everything of a run that changes, nodes included; exec->lock guards queues and the table of live runs. A run's lock may be held when the
 * executor's is taken, never the other way round. Neither is held while an op, a hook or the database's update runs. */
#ifndef TL_GRAPH_STATE_H
#define TL_GRAPH_STATE_H

#include "base/clock.h"
#include "graph/op_ctx.h"
#include "graph/run.h"

#include <pthread.h>
#include <stdatomic.h>

enum tl_node_status {
    TL_NODE_QUEUED,
    TL_NODE_RUNNING,
    TL_NODE_DONE,
    TL_NODE_FAILED,
    TL_NODE_CANCELLED,
    TL_NODE_SKIPPED
};

struct tl_node_state {
    struct tl_value *outputs;     /* node->nout of them, once done */
    struct tl_op_ctx *ctx;        /* while running */
    uint8_t *hashes;              /* 32 bytes per output, once asked for */
    char *message;                /* the last one of its progress */
    uint32_t waiting;             /* producers that have not finished */
    float progress;               /* 0 to 1 */
    uint8_t status;               /* enum tl_node_status */
    bool cached, dirty, reported; /* dirty: in the next run.progress; reported: its outputs are in the journal */
};

/* An item of work: a node to run, or a function. Intrusive, so that queueing cannot fail. */
struct tl_task {
    struct tl_task *next;
    void (*fn)(struct tl_task *task);
};

struct tl_run {
    struct tl_exec *exec;
    struct tl_plan *plan;
    _Atomic int refs;
    pthread_mutex_t lock;
    struct tl_node_state *nodes;
    struct tl_node_task *tasks; /* one per node: its place in the ready queue */
    uint32_t left;              /* wanted nodes that have not ended */
    uint32_t ndone;             /* wanted nodes that ended well */
    double progress;            /* sum of the nodes' progress */
    uint32_t active;            /* contexts alive */
    int err;                    /* the first failure, TL_ECANCELLED when cancelled */
    char *err_node, *err_message, *cancel_reason;
    bool stopping; /* no further node starts */
    bool ended;    /* finish has been decided */
    struct tl_usage usage;

    /* Nested runs */
    struct tl_op_ctx *parent;
    const struct tl_value *inputs; /* per env.in port; owned copies */
    struct tl_nested_watch watch;
    void (*nested_done)(struct tl_op_ctx *ctx, const struct tl_nested_result *result);
    struct tl_task begin_task, end_task;

    /* Outermost runs only */
    struct tl_id id;
    char id_text[TL_ID_TEXT];
    char *org, *sub, *kind;
    json_t *doc, *meta;
    uint8_t cache_key[32];
    int64_t created_ms, started_ms;
    struct tl_run *next_live; /* exec->live chain */
    bool suspended;           /* the executor closes: no terminal event */
    struct tl_journal *journal;
};

struct tl_node_task {
    struct tl_task task;
    struct tl_run *run;
    uint32_t node;
};

struct tl_op_ctx {
    struct tl_run *run;
    uint32_t node;
    const struct tl_plan_node *def;
    struct tl_value *inputs; /* one per input port */
    struct tl_value *outputs;
    void (*on_cancel)(struct tl_op_ctx *ctx);
    bool in_run, in_cancel, done, cancel_told, impure; /* under run->lock */
    int err;
    char *message;
    char *step_key;
    struct tl_run *nested;
    struct tl_usage usage; /* this node's, kept with its result */
    uint8_t key[32];       /* result key; valid where has_key */
    bool has_key;
    _Alignas(16) unsigned char priv[];
};

enum {
    TL_LIVE_BUCKETS = 1024,
    TL_POST_MAX = 10000,
    TL_LIVE_NODES_MAX = 500000, /* some 850 bytes each; a run beyond it is refused until others have ended */
};

struct tl_exec {
    struct tl_exec_conf conf;
    pthread_mutex_t lock;
    pthread_cond_t work, idle, timer_wake;
    struct tl_task *posted, **posted_tail;
    struct tl_task *ready, **ready_tail;
    size_t nposted;
    unsigned running; /* threads at work */
    bool closing;
    pthread_t *threads;
    unsigned nthreads;
    pthread_t timer;
    bool timer_started;
    struct tl_journal *timed, **timed_tail; /* journals that want a flush later, by due time */
    struct tl_run *live[TL_LIVE_BUCKETS];
    size_t nlive;
    size_t live_nodes; /* of all live runs */
    size_t ncommits;   /* commits under way that will come back here */
};

/* exec.c */
void tl_exec_ready(struct tl_exec *exec, struct tl_task *task);
struct tl_run *tl_exec_find(struct tl_exec *exec, const struct tl_id *id); /* a reference, or NULL */
void tl_exec_add_live(struct tl_exec *exec, struct tl_run *run);           /* takes a reference of its own */
void tl_exec_remove_live(struct tl_exec *exec, struct tl_run *run);
bool tl_exec_has_room(struct tl_exec *exec, uint32_t nodes);                /* for another run of so many */
void tl_exec_commits(struct tl_exec *exec, int more);                       /* counts commits under way, up or down */
void tl_exec_flush_later(struct tl_exec *exec, struct tl_journal *journal); /* journal->due_us is set */

/* run.c */
int tl_run_new(struct tl_exec *exec, struct tl_plan *plan, struct tl_run **ret);
struct tl_run *tl_run_ref(struct tl_run *run);
void tl_run_unref(struct tl_run *run);
void tl_run_begin(struct tl_run *run); /* queues the nodes that wait for nothing */
bool tl_run_stop(struct tl_run *run, int err, const char *node,
                 const char *message);         /* the first reason counts: true where this is it; cancels what runs */
void tl_run_node_ended(struct tl_op_ctx *ctx); /* ctx is done; takes it */
struct tl_run *tl_run_root(struct tl_run *run);

/* read.c */
int tl_run_read_record(struct tl_txn *txn, const struct tl_id *id, json_t **ret);

/* op_ctx.c */
struct tl_op_ctx *tl_op_ctx_new(struct tl_run *run, uint32_t node);
void tl_op_ctx_free(struct tl_op_ctx *ctx);
void tl_op_ctx_cancel(
    struct tl_op_ctx *ctx); /* calls on_cancel once; run->lock must be held and is held again on return */

/* journal.c: events of an outermost run. Those that take a run are called with run->lock held. */
struct tl_event {
    uint64_t seq;
    char *text;
};
/* An event's text in the seed's order of fields (capsule-node-spec.md §5.3), takes payload; a record's text. Both owned, NULL on want of memory. */
char *tl_journal_event_text(const char *run_id, uint64_t seq, const char *type, json_t *payload);
char *tl_journal_record_text(struct tl_run *run, const char *status, double progress, uint64_t seq, bool ended);
int tl_journal_put_event(struct tl_txn *txn, const struct tl_id *run, const struct tl_event *e);
int tl_journal_new(struct tl_run *run, uint64_t seq, bool started);
void tl_journal_free(struct tl_journal *journal);
void tl_journal_node_changed(struct tl_run *run, uint32_t node);
void tl_journal_result(struct tl_run *run, uint32_t node,
                       const struct tl_op_ctx *ctx); /* outputs to publish, and to keep under ctx's key */
void tl_journal_started(struct tl_run *run);
void tl_journal_end(struct tl_run *run, const char *status, json_t *payload); /* takes payload: the terminal event */
void tl_journal_suspend(struct tl_run *run);       /* keeps the results there are and makes no further event */
void tl_journal_flush(struct tl_journal *journal); /* without the lock: from the timer */
void tl_journal_begin(struct tl_run *run);         /* schedules the run; the lock is not needed */
struct tl_journal {
    struct tl_run *run;
    uint64_t seq; /* of the last event made */
    bool committing, scheduled, wants_flush, start_due, failed;
    bool closed; /* the terminal event has been made */
    char *message;
    const char *end_status;
    json_t *end_payload;
    json_t *results;      /* lists of {"node","outputs","cached"}, one for each run.partial to come */
    size_t results_bytes; /* of the last list */
    struct tl_kept *kept; /* results to be stored with the next commit */
    uint32_t *dirty;      /* nodes changed since the last run.progress */
    uint32_t ndirty;
    double percent;
    int64_t last_progress_us, due_us;
    struct tl_journal *next_timed;
};

/* result.c */
struct tl_kept {
    struct tl_kept *next;
    uint8_t key[32];
    char *text;
};
int tl_result_key(struct tl_op_ctx *ctx); /* fills key; TL_ENOMEM */
/* Outputs of an earlier run under this key, or of this run for an impure op. 0 with ctx->outputs and usage filled, TL_ENOTFOUND. */
int tl_result_find(struct tl_op_ctx *ctx);
struct tl_kept *tl_result_keep(const struct tl_op_ctx *ctx); /* owned, NULL where it must not or cannot be kept */
int tl_result_put(struct tl_txn *txn, const char *org, const struct tl_kept *kept);

#endif

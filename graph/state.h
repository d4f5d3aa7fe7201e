/* What a run is made of while it lives. Private to graph/: exec.c (threads, places, queues), timer.c, start.c (a run's first commit, and going on), run.c
 * (its nodes), op_ctx.c (what ops call), journal.c (events and records), result.c (results kept), read.c.
 *
 * Locks, in the order in which they may be taken while another is held: a nested run's, its parent's …, the outermost run's; then one of the leaves: the
 * journal's, the executor's, the timers'. No lock is held while an op, a hook or the database's update runs, but the nested run's own while step is told. */
#ifndef TL_GRAPH_STATE_H
#define TL_GRAPH_STATE_H

#include "base/clock.h"
#include "base/str.h"
#include "graph/history.h"
#include "graph/lanes.h"
#include "graph/op_ctx.h"
#include "graph/policy.h"
#include "graph/result.h"
#include "graph/run.h"
#include "graph/timer.h"

#include <pthread.h>
#include <stdatomic.h>

enum tl_node_status {
    TL_NODE_QUEUED,
    TL_NODE_RUNNING,
    TL_NODE_WAITING, /* for a person */
    TL_NODE_DONE,
    TL_NODE_FAILED,
    TL_NODE_CANCELLED,
    TL_NODE_SKIPPED
};

/* What only few nodes have. */
struct tl_node_extra {
    char *message; /* the last one of its progress, or of its error */
    int err;       /* of a failed node */
    json_t *waits; /* what a waiting node waits for */
    struct tl_node_timer *retry;
};

struct tl_node_state {
    struct tl_op_ctx *ctx; /* while it runs or waits */
    struct tl_node_extra *extra;
    _Atomic(uint8_t *) hashes; /* 32 bytes per output, once asked for, where one is neither number nor boolean */
    uint32_t waiting;          /* producers that have not ended */
    uint32_t next_ready;       /* in its list of ready nodes */
    uint32_t change;           /* its place in the journal's list of changes, if it has one there */
    float progress;            /* 0 to 1 */
    uint8_t status;            /* enum tl_node_status */
    uint8_t attempts, losses;
    bool cached : 1, reported : 1; /* reported: its outputs are in the journal */
    bool behind_failure : 1;       /* a producer failed, or was skipped for such a reason */
    bool behind_branch : 1;        /* a producer left outputs unset as branches not taken, or was skipped for that */
    bool marked : 1;               /* that it began is on disk (TL_OP_EFFECT) */
    bool unsure : 1;               /* an attempt was given up while it may have been at work outside */
    bool fallback : 1;             /* its policy's outputs stand in for its own */
    bool asks : 1;                 /* it stands in the journal's list of those that wait */
    bool answered : 1;             /* a person said what became of it */
};

/* A function that waits for a thread. Intrusive, so that queueing cannot fail. */
struct tl_task {
    struct tl_task *next;
    void (*fn)(struct tl_task *task);
};

/* Ready nodes of a run in one class, first in first out. */
struct tl_ready {
    uint32_t head, tail; /* UINT32_MAX: none */
    _Atomic bool
        listed; /* the run stands in its organisation's queue of this class, which holds a reference; under exec->lock */
    struct tl_run *next_run;
};

/* Runs with ready nodes, and the machine's time that an organisation has had. Under exec->lock. */
struct tl_flow {
    struct tl_flow *next;                                             /* in exec->flows */
    size_t runs;                                                      /* live outermost runs */
    size_t nodes, nested;                                             /* of them, and of nested runs */
    double used_us[TL_CLASS_COUNT];                                   /* virtual time: the least goes first */
    struct tl_run *head[TL_CLASS_COUNT][3], *tail[TL_CLASS_COUNT][3]; /* by priority, high first */
    size_t listed[TL_CLASS_COUNT];
    char org[];
};

struct tl_held {
    struct tl_run *run;
    uint32_t node;
};

struct tl_run {
    struct tl_exec *exec;
    struct tl_plan *plan;
    struct tl_run *root; /* the outermost run: itself where it is that */
    struct tl_flow *flow;
    _Atomic int refs;
    pthread_mutex_t lock;
    struct tl_node_state *nodes;
    struct tl_value *values; /* outputs of all nodes, from plan node's first_out */
    struct tl_ready ready[TL_CLASS_COUNT];
    uint32_t left;    /* wanted nodes that have not ended */
    uint32_t ndone;   /* wanted nodes that ended well */
    uint32_t nfailed; /* nodes that failed and did not stop the run */
    uint32_t active;  /* contexts alive */
    uint32_t serial;  /* of the last context made */
    uint32_t soon;    /* threads at a quick op of this run: they come back for what is ready */
    double progress;  /* sum of the nodes' progress */
    int err;          /* the first failure, TL_ECANCELLED when cancelled */
    char *err_node, *err_message, *cancel_reason;
    _Atomic bool stopping; /* no further node starts; also looked at by the nested runs inside, without the lock */
    bool ended;            /* finish has been decided */
    struct tl_usage usage;
    struct tl_task end_task;

    /* Nested runs */
    struct tl_op_ctx *parent;
    struct tl_run *next_nested, *prev_nested; /* in parent->nested; under the parent run's lock */
    struct tl_value *inputs;                  /* per env.in port; owned */
    char *prefix;                             /* what step ids inside begin with: "node#2/" */
    bool open, told_to_stop, counted;
    void *nest_arg;
    void (*nest_step)(void *arg, const struct tl_plan_node *node, uint32_t done, uint32_t total);
    void (*nest_done)(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result);

    /* Outermost runs only */
    struct tl_id id;
    char id_text[TL_ID_TEXT];
    char *org, *sub, *kind;
    json_t *doc, *meta;
    uint8_t cache_key[32];
    int64_t created_ms, started_ms;
    int priority;
    struct tl_budget budget;
    struct tl_usage spent;      /* against the budget, at any depth */
    struct tl_task budget_task; /* stops the run, once */
    char *budget_step;          /* that went beyond it; NULL inside a capsule */
    struct tl_run *next_live;   /* exec->live chain */
    _Atomic bool suspended;     /* the executor closes: no terminal event */
    _Atomic bool durable;       /* its first commit is on disk */
    bool resumed;               /* an earlier life of the server began it */
    struct tl_history history;  /* what its nodes took */
    uint32_t walked;            /* walk.c: so many of the plan's order are done, while walking and afterwards */
    bool walking;
    double quick_us;      /* time of threads that met nothing but quick nodes … */
    uint64_t quick_nodes; /* … and how many */
    struct tl_held *held; /* nodes that wait for that, each with a reference to its run */
    size_t nheld, held_cap;
    _Atomic uint32_t steps; /* nodes of nested graphs made so far */
    json_t *told; /* step ids inside groups whose outputs the journal had when the run was taken up; NULL for none */
    struct tl_journal *journal; /* NULL without a database */
};

static inline struct tl_value *tl_run_values(const struct tl_run *run, uint32_t node)
{
    return run->values + run->plan->nodes[node].first_out;
}

/* A node's timer: for its time allowed, its alarm, or its next attempt. */
struct tl_node_timer {
    struct tl_timer timer;
    struct tl_run *run; /* a reference */
    uint32_t node, serial;
    void (*fn)(struct tl_op_ctx *ctx); /* an alarm's */
};

struct tl_op_ctx {
    struct tl_run *run;
    uint32_t node, serial;
    const struct tl_plan_node *def;
    struct tl_value *inputs;  /* one per input port */
    struct tl_value *outputs; /* the run's, of this node */
    void (*on_cancel)(struct tl_op_ctx *ctx);
    unsigned calls; /* callbacks from outside that are under way: the context stays */
    bool in_run, done, cancel_told, impure, timed_out, has_place, interrupted, cleaned; /* under run->lock */
    int err;
    char *message;
    char *step_key, *idem_key;
    struct tl_node_timer *timeout, *alarm;
    int64_t began_us; /* 0 for quick ops */
    int64_t mark_ms;  /* when the attempt that left a mark began */
    int64_t retry_after_ms;
    struct tl_run *nested;
    struct tl_usage usage; /* this node's, kept with its result */
    struct tl_task task;   /* going on after its mark is on disk */
    struct tl_result_ctx result;
    struct tl_kept *kept; /* for the next commit; from the end of the attempt on */
    size_t claimed;       /* nested nodes (tl_op_claim) */
    size_t cap;           /* bytes of the whole block */
    _Alignas(16) unsigned char priv[];
};

enum {
    TL_LIVE_BUCKETS = 1024,
    TL_LIVE_NODES_MAX = 1000000,
    TL_NESTED_NODES_MAX = 2000000,
    TL_RUN_STEPS_MAX = 1000000,
    TL_MEDIA_PLACES = 2,
    TL_NET_PLACES = 64,
};

/* For tl_exec_figures. done: with the cached ones. */
struct tl_counters {
    _Atomic uint64_t hits, misses, done, failed, retries, lost_workers, waiting;
};
static inline void tl_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

struct tl_exec {
    struct tl_exec_conf conf;
    struct tl_counters counted;
    struct tl_results *results; /* NULL without a database */
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct tl_task *posted, **posted_tail;
    struct tl_lanes *lanes;   /* requests */
    unsigned sleeping;        /* threads that wait for work */
    bool closing, suspending; /* suspending: what begins now is not begun */
    pthread_t *threads;
    unsigned nthreads;
    struct tl_timers *timers;
    struct tl_flow *flows;
    double now_us[TL_CLASS_COUNT]; /* virtual time of the flow served last */
    unsigned busy[TL_CLASS_COUNT]; /* places taken */
    size_t listed[TL_CLASS_COUNT]; /* runs in queues */
    _Atomic size_t hungry;         /* listed cpu runs and posted functions: someone may have to be let in */
    struct tl_run *live[TL_LIVE_BUCKETS];
    size_t nlive;
    size_t live_nodes, nested_nodes; /* of all live runs, and within them */
    bool trim;       /* a large run is gone: what it held is given back when a thread has nothing to do */
    size_t ncommits; /* commits under way that will come back here */
    struct tl_asks *asks;
    int64_t id_ms; /* of the last id made */
    unsigned id_count;
    struct tl_op_ctx *spare; /* of a manual executor */
};

/* exec.c */
int64_t tl_exec_mono_us(const struct tl_exec *exec);
int64_t tl_exec_wall_ms(const struct tl_exec *exec);
uint32_t tl_exec_random32(const struct tl_exec *exec);
struct tl_id tl_exec_new_id(struct tl_exec *exec); /* in the order in which they are made, also within a millisecond */
void tl_exec_task(struct tl_exec *exec, struct tl_task *task); /* ahead of nodes */
void tl_exec_list(struct tl_run *run,
                  enum tl_op_class cls); /* the run has ready nodes: any lock of a run may be held */
void tl_exec_leave_place(struct tl_run *run, enum tl_op_class cls, int64_t us); /* that a pending node held so long */
/* Whether a thread that works on run since so many microseconds must let another go first. */
bool tl_exec_must_yield(struct tl_run *run, int64_t us, uint32_t nodes);
struct tl_flow *tl_exec_flow(struct tl_exec *exec, const char *org); /* counts a live run; NULL on want of memory */
void tl_exec_leave_flow(struct tl_exec *exec, struct tl_flow *flow);
struct tl_run *tl_exec_find(struct tl_exec *exec, const struct tl_id *id); /* a reference, or NULL */
bool tl_exec_add_live(struct tl_exec *exec,
                      struct tl_run *run); /* takes a reference of its own; false where the executor closes */
void tl_exec_remove_live(struct tl_exec *exec, struct tl_run *run);
/* Whether an organisation may have so many nodes more under way. */
bool tl_exec_has_room(struct tl_exec *exec, const char *org, uint32_t nodes);
/* The same for nested nodes, which are counted until they are given back. */
bool tl_exec_take_nested(struct tl_run *root, size_t nodes);
void tl_exec_give_nested(struct tl_run *root, size_t nodes);
void tl_exec_commits(struct tl_exec *exec, int more); /* counts commits under way, up or down */

/* Whether the run or one around it stops. Any thread, no lock. */
static inline bool tl_run_stops(const struct tl_run *run)
{
    while (!run->stopping && run->parent)
        run = run->parent->run;
    return run->stopping;
}

/* start.c */
int tl_run_make(struct tl_exec *exec, const struct tl_run_req *req, const struct tl_id *id, bool fresh,
                struct tl_run **ret);

/* attempt.c */
/* The value an input port receives; TL_ENOTFOUND where a required one has none, TL_EINVAL where it is of another type. */
int tl_op_receive(struct tl_run *run, const struct tl_plan_port *port, struct tl_value *ret);
int tl_op_call(struct tl_op_ctx *ctx); /* prepare and run */
/* An attempt has returned err. Leaves run->lock held. */
void tl_op_after_attempt(struct tl_op_ctx *ctx, int err, struct tl_op_ctx **spare);
/* Works on ready nodes of one class until there is none or another must go first. The caller has taken a place. *ret_kept: the place went with a pending node. */
uint32_t tl_run_slice(struct tl_run *run, enum tl_op_class cls, struct tl_op_ctx **spare, bool *ret_kept);

/* quick.c */
bool tl_run_compute(struct tl_run *run, uint32_t node); /* run->lock held. False where an ordinary attempt must do it */
bool tl_run_compute_plain(struct tl_run *run,
                          const struct tl_plan_node *n); /* the same for its values alone, where no result is kept */

/* walk.c */
void tl_run_walk_begin(
    struct tl_run *run); /* before anything of it is queued: sets run->walking where it may. run->lock held, as below */
bool tl_run_walk(
    struct tl_run *
        run); /* some nodes of a walking run. Whether it goes on walking; if not, it is over or its ready nodes are queued */
void tl_run_walk_leave(struct tl_run *run); /* a walking run goes on as any other */

/* outside.c */
enum { TL_OP_LATER = 2 }; /* an attempt goes on when its mark is on disk */
int tl_op_mark_and_call(struct tl_op_ctx *ctx);
void tl_op_unmark(struct tl_op_ctx *ctx); /* it has failed and it is known what it did; run->lock held */
/* Where an attempt has ended and what it did outside is not known, the node waits for a person. False where it ends. No lock is held; the context is done. */
bool tl_op_ask_person(struct tl_op_ctx *ctx);

/* run.c */
void tl_values_clear(struct tl_value *v, uint32_t n);
const struct tl_policy *tl_node_policy(const struct tl_plan_node *n);
/* Made at the first call; NULL on want of memory. run->lock held. */
struct tl_node_extra *tl_node_extra(struct tl_node_state *s);
int tl_run_new(struct tl_exec *exec, struct tl_plan *plan, struct tl_run **ret);
struct tl_run *tl_run_ref(struct tl_run *run);
void tl_run_unref(struct tl_run *run);
/* Queues the nodes that wait for nothing; works on those that only compute on this thread, for a millisecond at most. */
void tl_run_begin(struct tl_run *run);
void tl_run_durable(struct tl_run *run); /* the first commit is on disk: what waited for it may begin */
/* The first reason counts: true where this is it; cancels what runs. */
bool tl_run_stop(struct tl_run *run, int err, const char *node, const char *message);
void tl_run_node_ended(struct tl_op_ctx *ctx); /* ctx is done and nobody is inside */
void tl_run_call_ended(struct tl_op_ctx *ctx); /* a callback has returned; run->lock held, let go on return */
/* With run->lock held: */
void tl_run_queue(struct tl_run *run, uint32_t node); /* it waits for nothing */
void tl_run_count_waiting(struct tl_run *run);        /* once, before nodes are told of the end of others */
uint32_t tl_run_pop_ready(struct tl_run *run, enum tl_op_class cls); /* UINT32_MAX where there is none */
void tl_run_list_ready(struct tl_run *run);                          /* lets the executor know of what is ready */
void tl_run_set_status(struct tl_run *run, uint32_t i, enum tl_node_status status);
void tl_run_stop_now(struct tl_run *run, int err, const char *node,
                     const char *message); /* where nothing has stopped it yet */
void tl_run_settle(struct tl_op_ctx *ctx,
                   struct tl_op_ctx **spare); /* an attempt has ended and nobody is inside: takes ctx */
void tl_run_computed(
    struct tl_run *run, uint32_t node,
    struct tl_op_ctx *ctx); /* its outputs are there, without an attempt; ctx: what is to be kept, or NULL */
bool tl_run_is_over(struct tl_run *run); /* true once: the caller has a reference and calls tl_run_end */
void tl_run_unlock_and_end(struct tl_run *run);
/* Without: */
void tl_run_count_quick(struct tl_run *run); /* the time of quick nodes, for the history, when it has ended */
const char *tl_run_over_budget(const struct tl_run *root); /* in words */
void tl_run_end(struct tl_task *end_task);                 /* ending.c */
/* After the last callback of an attempt that ended with err, no lock held: the op lets go, and what it made is kept. */
void tl_op_clean_up(struct tl_op_ctx *ctx, int err);
/* "prefix/node", returned owned. */
char *tl_run_step_id(const struct tl_run *run, uint32_t node);

/* read.c */
int tl_run_read(struct tl_db *db, const struct tl_id *id, json_t **ret); /* as tl_run_get, of any organisation */
int tl_run_read_record(struct tl_txn *txn, const struct tl_id *id, json_t **ret);

/* op_ctx.c */
struct tl_op_ctx *tl_op_ctx_new(struct tl_run *run, uint32_t node, struct tl_op_ctx **spare);
void tl_op_ctx_free(struct tl_op_ctx *ctx, struct tl_op_ctx **spare);
void tl_op_ctx_cancel(
    struct tl_op_ctx *ctx); /* calls on_cancel once; run->lock must be held and is held again on return */
/* Arms a timer for a node; run->lock held. NULL on want of memory. */
struct tl_node_timer *tl_node_timer_new(struct tl_run *run, uint32_t node, uint32_t serial, int64_t due_us,
                                        void (*fire)(struct tl_timer *timer));
void tl_node_timer_cancel(struct tl_node_timer **timer); /* NULL inside accepted */
void tl_node_timer_free(struct tl_node_timer *timer);    /* one that has fired */

/* journal.c: events of an outermost run. */
struct tl_event {
    uint64_t seq;
    char *text;
    size_t len;
};
/* An event's text in the seed's order of fields (capsule-node-spec.md §5.3); payload is JSON text. Owned, NULL on want of memory. */
char *tl_journal_event_text(const struct tl_run *run, uint64_t seq, const char *type, const char *payload,
                            size_t payload_len, size_t *ret_len);
int tl_journal_put_event(struct tl_txn *txn, const struct tl_id *run, const struct tl_event *e);
int tl_journal_new(struct tl_run *run, uint64_t seq, bool started);
void tl_journal_free(struct tl_journal *journal);
char *tl_journal_first_record(struct tl_run *run);
/* Below: any run, its lock held (or nobody else has it yet). Nested runs that are not open tell nothing. */
void tl_journal_node_changed(struct tl_run *run, uint32_t node);
void tl_journal_result(struct tl_op_ctx *ctx); /* outputs to publish, and what ctx has to keep */
/* Outermost runs. */
void tl_journal_started(struct tl_run *run);
void tl_journal_go_on(struct tl_run *run, double percent,
                      const char *message); /* before the run begins: where it stood, and what to say first, or NULL */
void tl_journal_end(struct tl_run *run, const char *status, const struct tl_str *payload); /* the terminal event */
void tl_journal_suspend(struct tl_run *run); /* keeps the results there are and makes no further event */
/* Of a run that has ended before its first commit was on its way: the last events, for that commit. NULL where it has not. */
struct batch *tl_journal_take_end(struct tl_run *run);
int tl_journal_put_batch(struct tl_txn *txn, void *batch);
void tl_journal_batch_done(void *batch, int err);        /* takes it */
void tl_journal_first_sent(struct tl_run *run);          /* the run's first commit waits in the store */
void tl_journal_first_done(struct tl_run *run, int err); /* the run's first commit has come back */
bool tl_journal_failed(struct tl_run *run);

#endif

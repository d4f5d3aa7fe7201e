/* What the files of the simulation share: the world (clock, chance, what is under way), graphs with their model, runs and what is known of them.
 * Everything runs on one thread and is decided by the seed. */
#ifndef TL_SIM_H
#define TL_SIM_H

#include "base/str.h"
#include "graph/op_ctx.h"
#include "graph/run.h"
#include "tests/sim/fakedb.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    NODES_MAX = 400,
    RUNS_MAX = 12,
    GRAPHS_MAX = 3,
    INS = 3,
    SOURCES = 6, /* edges into one port that takes several */
    MODULUS = 99991,
};

/* Chance: the same seed gives the same numbers everywhere. */
struct rng {
    uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);            /* 0 to n-1; 0 for n = 0 */
bool rng_chance(struct rng *r, unsigned permille);        /* true so many times in a thousand */
int64_t rng_range(struct rng *r, int64_t lo, int64_t hi); /* both included */

enum kind {
    K_SRC,    /* a number */
    K_MIX,    /* quick and pure */
    K_ADD,    /* the same without a context, where nothing is out of the ordinary */
    K_MERGE,  /* takes several edges into one port */
    K_ROUTE,  /* one of two outputs */
    K_SLOW,   /* pure, takes the thread for a while */
    K_CHANCE, /* pure by its table, impure by what it does */
    K_MEDIA,  /* pure, in a worker, which may be lost */
    K_NET,    /* waits for the network, may fail */
    K_ALARM,  /* ends by an alarm */
    K_EFFECT, /* changes something outside */
    K_ASK,    /* waits for a person */
    K_LONG,   /* never ends by itself */
    K_GROUP,  /* a subgraph, or a map over some numbers; its body's nodes follow it, once for each item */
    K_COUNT
};

struct gpolicy {
    bool own; /* the document has one */
    int64_t timeout_ms;
    unsigned max_attempts;
    unsigned on; /* bits by place in sim_codes */
    unsigned nbackoff;
    uint32_t backoff_ms[3];
    int on_error; /* enum tl_on_error */
    double fallback;
};
extern const struct sim_code {
    const char *name;
    int err;
} sim_codes[6];

struct gsource {
    int node, out;
};

struct gnode {
    enum kind kind;
    char id[40];      /* its step id: of a body's nodes "n5/b0" or "n5#2/b0" */
    int value, shift; /* parameters */
    bool honours;     /* K_EFFECT: the other side honours the key */
    struct gport {
        int n;
        struct gsource src[SOURCES];
        bool literal; /* data.inputs gives it a value */
        double lit;
        bool item; /* the literal is what a map hands in: an edge for all that the executor knows */
    } in[INS];
    struct gpolicy policy;
    unsigned fail, lose; /* permille of attempts */
    int64_t lasts_us;    /* about so long */
    bool wanted;
    int group;               /* for a body's node: its group; otherwise -1 */
    int first, nbody, items; /* K_GROUP: its body's nodes, how many, and how often; items 0: once, a subgraph */
};

struct graph {
    int n, targets[3], ntargets, nwanted;
    struct gnode node[NODES_MAX];
    char *text; /* {"graph":{…},"targets":[…]} */
};

/* What a person says of a step whose outcome is not known. */
enum answer { A_NONE, A_RETRY, A_FAIL, A_DONE };

/* A node of a run as the model has it. */
enum outcome { O_NONE, O_DONE, O_FALLBACK, O_CONTINUED, O_FAILED };
struct nstate {
    uint8_t outcome, skip; /* skip: enum resolved, once it is known */
    bool alive;            /* an attempt is under way */
    bool committed;        /* its outputs are in a published event */
    bool assumed;          /* its outcome is: by a kept result */
    bool maybe;            /* its outputs of an earlier life may have been kept */
    bool either;           /* they, or other */
    double other;
    bool fell_back, surely; /* with maybe: they were its policy's; it is sure that they were kept */
    bool has[2];
    bool unsure;    /* its outcome is not known: a person is asked */
    uint8_t answer; /* enum answer: that a person gave and a crash may have kept from having its effect */
    bool by_answer; /* its next attempt goes on with the one before, which has left its place of the class */
    double answer_value;
    unsigned allowed; /* changes of the outside that people allowed besides the first */
    double out[2];
    unsigned attempts, losses; /* in this life */
    unsigned calls;
    int err; /* of the last attempt that ended */
    int64_t ended_us, not_before_us, begun_us;
    int told; /* the last status in the journal: place in sim_statuses, -1: none */
    int told_life;
    /* The outside */
    unsigned changes;
    char key[40]; /* the first idempotency key it saw */
};
extern const char *const sim_statuses[8];

struct simrun {
    int index;
    struct graph *graph;
    const char *org;
    int priority;
    struct tl_plan *plan;
    struct tl_id id;
    char id_text[TL_ID_TEXT];
    bool requested, known, exists, started, ended, lost; /* lost: a crash came before its first commit */
    bool died;                                           /* a crash came while it lived */
    uint64_t seen;
    double progress;
    int64_t last_progress_ms, last_ts_ms;
    int last_progress_life;
    bool last_was_progress, crowded;   /* crowded: less than 50 ms after the one before, allowed before the end only */
    int64_t cancel_us, cancel_busy_us; /* when somebody asked, 0: nobody; and w.busy_us then */
    bool failing;                      /* some node failed for good */
    char terminal[16];
    struct nstate node[NODES_MAX];
};

struct action {
    int64_t at_us;
    enum { A_START, A_CANCEL, A_CRASH, A_RESTART } what;
    int run;
    bool over;
};

/* An op that has not ended. */
struct pend {
    struct tl_op_ctx *ctx; /* NULL: free */
    struct simrun *run;
    int node;
    uint64_t number;
    int64_t due_us, change_us; /* INT64_MAX: not by itself */
    int64_t timeout_us;
    int err;
    bool changed, told_cancel, timed_out, waiting, cpu_free;
    double value;
};
enum { PENDS_MAX = 512 };

struct world {
    uint64_t seed;
    struct rng rng;
    bool verbose, dying, crashed;    /* dying: the executor closes; crashed: and nothing reaches the disk */
    int64_t now_us, end_us, busy_us; /* busy_us: that ops had the thread, in which nothing else can happen here */
    int life;
    struct tl_db *db;
    struct tl_exec *exec;
    struct tl_exec_conf conf;
    bool idle;
    int64_t commit_us; /* when the writer is ready, INT64_MAX: nothing waits */
    uint64_t decisions, unique, contexts;
    struct graph graphs[GRAPHS_MAX];
    int ngraphs;
    struct simrun runs[RUNS_MAX];
    int nruns;
    struct action actions[48];
    int nactions;
    struct pend pends[PENDS_MAX];
    int npends, held[TL_CLASS_COUNT];
    unsigned slow_permille, lose_permille, fail_permille;
    int64_t commit_max_us;
    struct known *known; /* pure results there must be, see model.c */
};
extern struct world w;

/* Reports a broken invariant and ends the program. */
void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void sim_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* graphs.c */
void graph_make(struct graph *g, struct rng *r, int n);
void graph_write(struct graph *g); /* makes text and what is wanted, from the nodes */
void graph_clear(struct graph *g);
int graph_find(const struct graph *g, const char *id); /* -1 where there is none */
/* The value of a node whose value depends on its inputs only. in: per port, per source present, the values. */
double graph_eval(const struct gnode *n, const double in[INS][SOURCES], const int count[INS]);
bool group_is_pure(const struct graph *g, int i);
bool kind_is_pure(enum kind kind); /* its result serves other runs */
int kind_outs(enum kind kind);
const char *kind_out(enum kind kind, int out);
const char *kind_op(enum kind kind);

/* ops.c */
const struct tl_op *ops_find(void *arg, const char *name);
void ops_end(struct pend *p);    /* the op's own time has come */
void ops_change(struct pend *p); /* the outside is changed */
void ops_progress(struct pend *p);
void ops_let_go(void); /* the machine stops: all that had been told to end does */

/* model.c */
enum resolved { R_UNKNOWN, R_DONE, R_FAILED, R_SKIP_FAIL, R_SKIP_BRANCH };
enum resolved model_resolve(struct simrun *run, int node); /* as far as it is decided */
/* What a node receives, once all its producers are resolved. */
void model_inputs(const struct simrun *run, int node, double in[INS][SOURCES], int count[INS]);
void model_set(struct nstate *s, const struct gnode *n, double value); /* its output */
/* A pure node with these inputs has a result; committed: one that must be found again. */
void model_know(const struct simrun *run, const struct gnode *n, double in[INS][SOURCES], const int count[INS],
                bool committed);
bool model_is_kept(const struct simrun *run, const struct gnode *n, double in[INS][SOURCES], const int count[INS]);
void model_free(void);

/* check.c: the model follows what is seen, and complains. */
struct simrun *check_run_of(struct tl_op_ctx *ctx);
void check_begin(struct simrun *run, int node, struct tl_op_ctx *ctx, double in[INS][SOURCES], int count[INS]);
void check_end(struct simrun *run, int node, int err, bool timed_out, double value); /* an attempt ended */
void check_answer(struct simrun *run, int node, enum answer what, double value, bool now);
void check_notify(struct simrun *run, uint64_t seq, bool ended);
void check_crash(void);
void check_quiet(void); /* nothing is left to do: each run has ended or says what it waits for */
void check_final(void);

/* people.c */
bool people_answer(void); /* somebody answers one question; false where there is none */
bool people_wait(void);   /* an answer is on its way to the store */
void people_forget(void);

/* memory.c */
long mem_blocks(void); /* in use */

/* world.c */
void world_open(uint64_t seed, bool verbose);
void world_fill(void); /* graphs, runs, faults, as the seed has them */
void world_exec(void); /* a new executor on the store */
void world_start(struct simrun *run);
void world_run(void);
void world_close(void);

/* scenes.c */
void scene_fair(bool verbose);

#endif

/* Ops and a store for the tests of graph/: arithmetic, failure, waiting for the test, nesting. */
#ifndef TL_TEST_GRAPH_FIXTURE_H
#define TL_TEST_GRAPH_FIXTURE_H

#include "graph/run.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fx {
    char dir[64];
    struct tl_exec_conf conf; /* what fx_restart starts from */
    struct tl_db *db;
    struct tl_exec *exec;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t seen;          /* last seq published, of any run */
    uint64_t published; /* how many times events were */
    int ended;              /* runs whose last event was published */
    int calls;              /* times that the ops "add" and "impure" ran */
    int remote_calls;       /* and "remote" */
    struct tl_op_ctx *held; /* the context that "hold" waits with */
    int lost;               /* how many times more "send" will not know what became of it */
    bool manual;                 /* set between fx_crash and fx_restart: an executor without threads, driven by fx_drive */
    _Atomic int64_t ahead_ms;    /* how far the executor's clock is ahead of the machine's */
};
extern struct fx fx;

const struct tl_op *fx_find_op(void *arg, const char *name);
extern const struct tl_graph_env fx_env;

void fx_open(void);    /* a fresh directory, store and executor */
void fx_restart(void); /* the same directory, opened again, as after a crash */
void fx_crash(void);   /* closes executor and store; runs stay as the store has them */
void fx_close(void);
/* With a manual executor: works until nothing more is due and nothing is under way in the store. */
void fx_drive(void);

json_t *fx_json(const char *text);
/* Plans a document; asserts that it has no problems. */
struct tl_plan *fx_plan(json_t *graph);
/* Starts a run of the document and waits until it exists. */
struct tl_id fx_start(const char *graph);
void fx_wait_ended(int count);
struct tl_op_ctx *fx_wait_held(void); /* takes it */
/* The run's events, in order, as an array. */
json_t *fx_events(const struct tl_id *id);
json_t *fx_record(const struct tl_id *id);
/* The output that the journal gives a node, or NULL. Borrowed from events. */
json_t *fx_output(json_t *events, const char *node, const char *port);

#endif

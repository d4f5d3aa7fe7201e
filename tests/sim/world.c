/* The world: virtual time, chance, what is under way outside, and the order in which it all happens. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DECISIONS_MAX = 400000,
    STEP_US = 20,    /* a step of the executor takes up to so long */
    PEOPLE_MAX = 50, /* times that a person looks at what waits */
};
static const int64_t wall_base_ms = 1767225600000; /* 2026-01-01 */

struct world w;

uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->s += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    return n ? (uint32_t)((rng_next(r) >> 32) * n >> 32) : 0;
}

bool rng_chance(struct rng *r, unsigned permille)
{
    return rng_below(r, 1000) < permille;
}

int64_t rng_range(struct rng *r, int64_t lo, int64_t hi)
{
    return hi > lo ? lo + (int64_t)rng_below(r, (uint32_t)(hi - lo + 1)) : lo;
}

void sim_note(const char *fmt, ...)
{
    va_list ap;
    if (!w.verbose)
        return;
    va_start(ap, fmt);
    printf("%10.3f ms  ", (double)w.now_us / 1000);
    vprintf(fmt, ap);
    putchar('\n');
    va_end(ap);
}

static int64_t wall_ms(void *arg)
{
    (void)arg;
    return wall_base_ms + w.now_us / 1000;
}

static int64_t mono_us(void *arg)
{
    (void)arg;
    return w.now_us;
}

static void random_bytes(void *arg, void *bytes, size_t n)
{
    (void)arg;
    for (uint8_t *p = bytes; n--; p++)
        *p = (uint8_t)rng_next(&w.rng);
}

static struct simrun *run_of(const struct tl_id *id)
{
    for (int i = 0; i < w.nruns; i++)
        if (w.runs[i].known && tl_id_equal(&w.runs[i].id, id))
            return &w.runs[i];
    return NULL;
}

static void learn(struct simrun *run, const struct tl_id *id)
{
    run->known = true;
    run->id = *id;
    tl_id_text(id, run->id_text);
}

static void notify(void *arg, const struct tl_id *id, uint64_t seq, bool ended)
{
    (void)arg;
    struct simrun *run = run_of(id);
    for (int i = 0; i < w.nruns && !run; i++)
        if (w.runs[i].requested && !w.runs[i].known) {
            run = &w.runs[i];
            learn(run, id);
        }
    if (!run)
        sim_fail("an event of a run that nobody started is published");
    check_notify(run, seq, ended);
}

static int replan(void *arg, const char *org, const char *kind, json_t *doc, struct tl_plan **ret, struct tl_diag *diag)
{
    static const struct tl_graph_env env = {.find_op = ops_find};
    const char *targets[3];
    size_t n = 0, i;
    json_t *t;
    (void)arg, (void)org, (void)kind;
    json_array_foreach(json_object_get(doc, "targets"), i, t)
        targets[n++] = json_string_value(t);
    return tl_plan_json(json_object_get(doc, "graph"), &env, n ? targets : NULL, n, ret, diag);
}

static int cache_key(void *arg, const char *org, uint8_t ret[32])
{
    (void)arg;
    memset(ret, org[3], 32);
    return 0;
}

void world_exec(void)
{
    int err = tl_exec_new(&w.conf, &w.exec);
    if (err)
        sim_fail("tl_exec_new: %s", tl_err_code(err));
    w.idle = false;
    w.life++;
}

static void started(void *arg, int err, const struct tl_id *id)
{
    struct simrun *run = arg;
    sim_note("run %d is started: %s", run->index, err ? tl_err_code(err) : "ok");
    if (run->known && !tl_id_equal(&run->id, id))
        sim_fail("run %d has two ids", run->index);
    learn(run, id);
    if (!err && w.crashed)
        sim_fail("run %d is started after the crash", run->index);
    if (!err)
        run->exists = true;
    else if (!w.crashed)
        sim_fail("run %d cannot be started: %s", run->index, tl_err_code(err));
}

void world_start(struct simrun *run)
{
    TL_AUTO_JSON json_t *doc = NULL;
    struct tl_diag diag = {0};
    if (tl_json_parse(run->graph->text, strlen(run->graph->text), &doc, NULL) < 0)
        sim_fail("the document of a graph is no JSON");
    for (int i = 0; i < w.nruns && rng_chance(&w.rng, 500); i++)
        if (w.runs[i].plan && w.runs[i].graph == run->graph && !run->plan)
            run->plan = tl_plan_ref(w.runs[i].plan);
    if (!run->plan && replan(NULL, NULL, NULL, doc, &run->plan, &diag) < 0)
        sim_fail("a graph cannot be planned: %s %s: %s", diag.count ? diag.items[0].node : "",
                 diag.count ? diag.items[0].path : "", diag.count ? diag.items[0].message : "");
    tl_diag_clear(&diag);
    for (int i = 0; i < run->graph->n; i++)
        run->node[i].told = -1;
    sim_note("run %d is asked for: %d nodes, %s, priority %d", run->index, run->graph->nwanted, run->org,
             run->priority);
    run->requested = true;
    struct tl_run_req req = {
        .org = run->org, .sub = "kim", .kind = "canvas", .doc = doc, .plan = run->plan, .priority = run->priority};
    int err = tl_run_start(w.exec, &req, started, run);
    if (err)
        sim_fail("tl_run_start: %s", tl_err_code(err));
}

static int by_time(const void *a, const void *b)
{
    const struct action *x = a, *y = b;
    return x->at_us != y->at_us ? (x->at_us > y->at_us) - (x->at_us < y->at_us)
                                : (x->what > y->what) - (x->what < y->what);
}

static void plan_action(int64_t at_us, int what, int run)
{
    w.actions[w.nactions++] = (struct action){.at_us = at_us, .what = what, .run = run};
}

/* What the seed has in store: graphs, runs, cancels, crashes. */
void world_fill(void)
{
    static const char *const orgs[] = {"orgA", "orgB", "orgC"};
    struct rng *r = &w.rng;
    w.fail_permille = rng_chance(r, 400) ? 0 : (unsigned)rng_range(r, 20, 300);
    w.lose_permille = rng_chance(r, 500) ? 0 : 500;
    w.slow_permille = rng_chance(r, 600) ? 0 : (unsigned)rng_range(r, 5, 80);
    w.commit_max_us = rng_chance(r, 300) ? 10 : rng_range(r, 100, 8000);
    w.conf.places[TL_CLASS_CPU] = (unsigned)rng_range(r, 1, 2);
    w.conf.places[TL_CLASS_MEDIA] = (unsigned)rng_range(r, 1, 3);
    w.conf.places[TL_CLASS_NET] = (unsigned)rng_range(r, 1, 6);
    w.ngraphs = (int)rng_range(r, 1, GRAPHS_MAX);
    for (int i = 0; i < w.ngraphs; i++)
        graph_make(&w.graphs[i], r, rng_chance(r, 30) ? (int)rng_range(r, 50, NODES_MAX) : (int)rng_range(r, 1, 24));
    w.nruns = (int)rng_range(r, 1, rng_chance(r, 200) ? RUNS_MAX : 5);
    w.end_us = rng_range(r, 1000, 150 * 1000);
    for (int i = 0; i < w.nruns; i++) {
        struct simrun *run = &w.runs[i];
        run->index = i;
        run->graph = &w.graphs[rng_below(r, (uint32_t)w.ngraphs)];
        run->org = orgs[rng_below(r, rng_chance(r, 500) ? 1 : 3)];
        run->priority = (int)rng_range(r, -1, 1);
        int64_t at = i == 0 ? 0 : rng_range(r, 0, w.end_us);
        plan_action(at, A_START, i);
        if (rng_chance(r, 250))
            plan_action(at + rng_range(r, 0, rng_chance(r, 500) ? 2000 : w.end_us), A_CANCEL, i);
    }
    for (int n = rng_chance(r, 500) ? 0 : (int)rng_range(r, 1, 3); n > 0; n--)
        plan_action(rng_range(r, 0, rng_chance(r, 500) ? 5000 : 2 * w.end_us), rng_chance(r, 700) ? A_CRASH : A_RESTART,
                    0);
    qsort(w.actions, (size_t)w.nactions, sizeof(w.actions[0]), by_time);
}

void world_open(uint64_t seed, bool verbose)
{
    memset(&w, 0, sizeof(w));
    people_forget();
    w.seed = seed;
    w.rng.s = seed * 0xd1342543de82ef95u + 1;
    w.verbose = verbose;
    w.commit_us = INT64_MAX;
    if (tl_db_open("", TL_DB_CREATE | TL_DB_EXCLUSIVE, &w.db) < 0)
        sim_fail("no memory for a store");
    w.conf = (struct tl_exec_conf){
        .threads = 1,
        .manual = true,
        .env = {.wall_ms = wall_ms, .mono_us = mono_us, .random = random_bytes},
        .places = {1, 2, 4},
        .db = w.db,
        .replan = replan,
        .cache_key = cache_key,
        .notify = notify,
    };
}

/* The machine stops, or the server is told to end. */
static void stop(bool crash)
{
    sim_note(crash ? "crash" : "restart");
    if (!crash) /* what was submitted is written first, and what it brings about */
        while (fake_pending(w.db))
            fake_commit(w.db, fake_pending(w.db), false);
    w.dying = true;
    w.crashed = crash;
    if (crash) /* whether an answer was kept must be known */
        fake_crash(w.db, people_wait() ? fake_pending(w.db) : rng_below(&w.rng, (uint32_t)fake_pending(w.db) + 1));
    ops_let_go();
    tl_exec_free(w.exec);
    w.exec = NULL;
    if (w.contexts)
        sim_fail("the executor is gone and %llu ops were not cleaned up", (unsigned long long)w.contexts);
    fake_reopen(w.db);
    check_crash();
    w.dying = w.crashed = false;
    w.commit_us = INT64_MAX;
}

static void go_on(void)
{
    int failed, live = (int)fake_count(w.db, TL_TBL_RUN_LIVE);
    world_exec();
    int n = tl_exec_resume(w.exec, &failed);
    sim_note("%d runs are taken up again", n);
    if (n != live || failed)
        sim_fail("%d of %d runs are taken up after a crash, %d cannot be", n, live, failed);
}

static void cancel(struct simrun *run)
{
    if (!run->known || run->lost)
        return;
    if (rng_chance(&w.rng, 30)) {
        int err = tl_run_cancel(w.exec, "orgX", &run->id, "mine");
        if (err != TL_ENOTFOUND)
            sim_fail("run %d can be cancelled by another organisation: %s", run->index, tl_err_code(err));
    }
    int64_t before = run->cancel_us;
    if (!before) { /* ops are told to end before the call returns */
        run->cancel_us = w.now_us ? w.now_us : 1;
        run->cancel_busy_us = w.busy_us;
    }
    int err = tl_run_cancel(w.exec, run->org, &run->id, "changed my mind");
    sim_note("run %d is cancelled: %s", run->index, err ? tl_err_code(err) : "ok");
    if (err)
        run->cancel_us = before;
    if (err == TL_ENOTFOUND && !run->exists)
        return; /* its first commit is under way */
    if (err && err != TL_ECONFLICT)
        sim_fail("run %d cannot be cancelled: %s", run->index, tl_err_code(err));
    if (!err && run->ended)
        sim_fail("run %d is cancelled after its end", run->index);
}

/* A run whose id is not known yet is the only one such, so that what comes of it can be told. */
static bool may_start(void)
{
    for (int i = 0; i < w.nruns; i++)
        if (w.runs[i].requested && !w.runs[i].known)
            return false;
    return true;
}

static bool do_action(struct action *a)
{
    if (a->what == A_START && !may_start())
        return false;
    a->over = true;
    w.idle = false;
    switch (a->what) {
    case A_START:
        world_start(&w.runs[a->run]);
        break;
    case A_CANCEL:
        cancel(&w.runs[a->run]);
        break;
    default:
        stop(a->what == A_CRASH);
        go_on();
        break;
    }
    return true;
}

static struct action *next_action(void)
{
    for (int i = 0; i < w.nactions; i++)
        if (!w.actions[i].over)
            return &w.actions[i];
    return NULL;
}

/* One of the pending ops whose time has come, or NULL. change: whose change of the outside is due. */
static struct pend *due_op(bool change)
{
    struct pend *found = NULL;
    uint32_t n = 0;
    for (int i = 0; i < w.npends; i++) {
        struct pend *p = &w.pends[i];
        bool alarm = p->run && p->run->graph->node[p->node].kind == K_ALARM;
        if (p->ctx && (change ? !alarm && p->change_us <= w.now_us : p->due_us <= w.now_us) &&
            rng_below(&w.rng, ++n) == 0)
            found = p;
    }
    return found;
}

static bool end_one(void)
{
    struct pend *p = due_op(true);
    if (p) {
        ops_change(p);
        return true;
    }
    p = due_op(false);
    if (p)
        ops_end(p);
    return p != NULL;
}

static bool commit_some(void)
{
    size_t n = fake_pending(w.db);
    if (!n) {
        w.commit_us = INT64_MAX;
        return false;
    }
    if (w.commit_us == INT64_MAX)
        w.commit_us = w.now_us + rng_range(&w.rng, 0, w.commit_max_us);
    if (w.commit_us > w.now_us)
        return false;
    n = rng_chance(&w.rng, 600) ? n : 1 + rng_below(&w.rng, (uint32_t)n);
    sim_note("%zu writes are committed", n);
    w.commit_us = INT64_MAX;
    fake_commit(w.db, n, rng_chance(&w.rng, 50));
    return true;
}

static bool step(void)
{
    w.now_us += rng_range(&w.rng, 0, STEP_US);
    if (tl_exec_step(w.exec))
        return true;
    w.idle = true;
    return false;
}

static void some_progress(void)
{
    struct pend *p = w.npends ? &w.pends[rng_below(&w.rng, (uint32_t)w.npends)] : NULL;
    if (p && p->ctx)
        ops_progress(p);
}

/* The time at which something is due next. */
static int64_t next_time(void)
{
    int64_t t = tl_exec_next_due(w.exec);
    struct action *a = next_action();
    if (w.commit_us < t)
        t = w.commit_us;
    if (a && a->at_us < t && (a->what != A_START || may_start()))
        t = a->at_us;
    for (int i = 0; i < w.npends; i++)
        if (w.pends[i].ctx) {
            bool alarm = w.pends[i].run->graph->node[w.pends[i].node].kind == K_ALARM;
            if (w.pends[i].due_us < t)
                t = w.pends[i].due_us;
            if (!alarm && w.pends[i].change_us < t)
                t = w.pends[i].change_us;
        }
    return t;
}

/* Nothing is due: every run that has not ended must say why. A person then looks: answers what was asked, cancels what stays. */
static bool people_act(void)
{
    check_quiet();
    if (people_answer())
        return true;
    for (int i = 0; i < w.npends; i++)
        if (w.pends[i].ctx && w.pends[i].waiting && !w.pends[i].told_cancel) {
            ops_end(&w.pends[i]);
            return true;
        }
    for (int i = 0; i < w.nruns; i++)
        if (w.runs[i].exists && !w.runs[i].ended && !w.runs[i].cancel_us) {
            cancel(&w.runs[i]);
            return true;
        }
    return false;
}

static bool pass_time(int *people)
{
    int64_t t = next_time();
    if (t == INT64_MAX) {
        bool over = true;
        for (int i = 0; i < w.nruns; i++)
            over &= w.runs[i].ended || w.runs[i].lost;
        if (over)
            return false;
        sim_note("nothing is due");
        if (++*people > PEOPLE_MAX || !people_act())
            sim_fail("nothing is left to do and not all runs have ended");
        return true;
    }
    if (t > w.now_us) {
        w.now_us = t;
        return true;
    }
    struct action *a = next_action();
    if (a && a->at_us <= w.now_us && do_action(a))
        return true;
    if (t == tl_exec_next_due(w.exec))
        sim_fail("the executor has something due at %lld us and does not do it", (long long)t);
    return true;
}

void world_run(void)
{
    int people = 0;
    for (;;) {
        if (++w.decisions > DECISIONS_MAX)
            sim_fail("no end after %d decisions", DECISIONS_MAX);
        struct action *a = next_action();
        uint32_t what = rng_below(&w.rng, 100);
        bool did;
        if (a && (a->at_us <= w.now_us || rng_chance(&w.rng, 2)) && what < 30)
            did = do_action(a);
        else if (what < 45)
            did = end_one();
        else if (what < 60)
            did = commit_some();
        else if (what < 62) {
            some_progress();
            did = true;
        } else if (what < 64)
            did = people_answer();
        else
            did = !w.idle && step();
        if (did) {
            if (what < 64)
                w.idle = false;
            continue;
        }
        if (w.idle && !end_one() && !commit_some()) {
            if (!pass_time(&people))
                break;
        } else if (!w.idle) {
            continue;
        }
        w.idle = false;
    }
    check_final();
}

void world_close(void)
{
    if (w.exec) {
        w.dying = true;
        tl_exec_free(w.exec);
    }
    if (w.contexts)
        sim_fail("%llu ops were not cleaned up", (unsigned long long)w.contexts);
    tl_db_close(w.db);
    w.db = NULL;
    for (int i = 0; i < w.nruns; i++)
        tl_plan_unref(w.runs[i].plan);
    for (int i = 0; i < w.ngraphs; i++)
        graph_clear(&w.graphs[i]);
    model_free();
}

/* People: they answer what nodes ask, rightly or not, whenever chance has it. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/json.h"
#include "graph/ask.h"

#include <string.h>

struct reply {
    struct simrun *run; /* NULL: free */
    int node;
    enum answer what;
    double value;
};
static struct reply replies[8];

void people_forget(void)
{
    memset(replies, 0, sizeof(replies));
}

bool people_wait(void)
{
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        if (replies[i].run)
            return true;
    return false;
}

static void answered(void *arg, int err)
{
    struct reply r = *(struct reply *)arg;
    ((struct reply *)arg)->run = NULL;
    sim_note("run %d: the answer for %s is kept: %s", r.run->index, r.run->graph->node[r.node].id,
             err ? tl_err_code(err) : "ok");
    bool late = r.run->ended || r.run->cancel_us || r.run->failing || w.dying;
    if (w.crashed)
        check_answer(r.run, r.node, r.what, r.value, false);
    else if (!err)
        check_answer(r.run, r.node, r.what, r.value, true);
    else if (!late &&
             (err != TL_ECONFLICT || !r.run->node[r.node].allowed)) /* the record may show the question before */
        sim_fail("run %d: an answer for %s is refused: %s", r.run->index, r.run->graph->node[r.node].id,
                 tl_err_code(err));
}

/* Answers that must be refused change nothing. */
static void answer_wrongly(struct simrun *run, const char *step, const char *hash)
{
    struct tl_answer a = {.decision = "retry", .hash = hash, .who = "kim"};
    int err = tl_run_answer(w.exec, "orgX", &run->id, step, &a, NULL, NULL);
    if (err != TL_ENOTFOUND)
        sim_fail("run %d: another organisation may answer for %s: %s", run->index, step, tl_err_code(err));
    a.decision = "approve";
    err = tl_run_answer(w.exec, run->org, &run->id, step, &a, NULL, NULL);
    if (err != TL_EINVAL)
        sim_fail("run %d: %s is answered with what nobody asked: %s", run->index, step, tl_err_code(err));
}

static bool answer(struct simrun *run, const json_t *wait)
{
    static const char *const decisions[] = {[A_RETRY] = "retry", [A_FAIL] = "fail", [A_DONE] = "done"};
    const char *step = tl_json_str(wait, "node"), *hash = tl_json_str(wait, "hash");
    int node = step ? graph_find(run->graph, step) : -1;
    struct reply *r = NULL;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        if (!replies[i].run)
            r = &replies[i];
        else if (replies[i].run == run && replies[i].node == node)
            return false;
    }
    if (!r || node < 0 || !hash || !run->node[node].unsure)
        return false;
    if (rng_chance(&w.rng, 100))
        answer_wrongly(run, step, hash);
    *r = (struct reply){
        .run = run, .node = node, .what = (enum answer)rng_range(&w.rng, A_RETRY, A_DONE), .value = ++w.unique};
    json_t *outputs = r->what == A_DONE ? json_pack("{s:f}", "out", r->value) : NULL;
    struct tl_answer a = {.decision = decisions[r->what], .hash = hash, .who = "kim", .outputs = outputs};
    sim_note("run %d: %s is answered: %s", run->index, step, a.decision);
    int err = tl_run_answer(w.exec, run->org, &run->id, step, &a, answered, r);
    json_decref(outputs);
    if (err)
        sim_fail("run %d: %s cannot be answered: %s", run->index, step, tl_err_code(err));
    return true;
}

bool people_answer(void)
{
    uint32_t first = rng_below(&w.rng, (uint32_t)w.nruns);
    for (int i = 0; i < w.nruns; i++) {
        struct simrun *run = &w.runs[(i + (int)first) % w.nruns];
        bool unsure = false;
        if (!run->exists || run->ended || run->cancel_us || run->failing)
            continue;
        for (int k = 0; k < run->graph->n; k++)
            unsure |= run->node[k].unsure;
        json_t *record = NULL, *wait;
        if (!unsure || tl_run_get(w.db, run->org, &run->id, &record) < 0)
            continue;
        bool did = false;
        size_t k;
        json_array_foreach(json_object_get(record, "waiting_for"), k, wait)
            did = did || (tl_json_str(wait, "kind") && strcmp(tl_json_str(wait, "kind"), TL_ASK_UNKNOWN) == 0 &&
                          answer(run, wait));
        json_decref(record);
        if (did)
            return true;
    }
    return false;
}

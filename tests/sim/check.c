/* Follows every attempt that the ops see and every event that is published, compares them with the model, and complains. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { CANCEL_MS = 500, PROGRESS_MS = 50, ROUNDING_MS = 1 };

const char *const sim_statuses[8] = {"queued", "running", "waiting", "done", "failed", "cancelled", "skipped", NULL};
enum { ST_QUEUED, ST_RUNNING, ST_WAITING, ST_DONE, ST_FAILED, ST_CANCELLED, ST_SKIPPED };

struct simrun *check_run_of(struct tl_op_ctx *ctx)
{
    const char *id = tl_op_run_id(ctx);
    struct simrun *starting = NULL;
    for (int i = 0; i < w.nruns; i++) {
        if (w.runs[i].known && strcmp(w.runs[i].id_text, id) == 0)
            return &w.runs[i];
        if (w.runs[i].requested && !w.runs[i].known)
            starting = &w.runs[i];
    }
    if (!starting)
        sim_fail("an op runs for a run that nobody started: %s", id);
    starting->known = true;
    snprintf(starting->id_text, sizeof(starting->id_text), "%s", id);
    if (!tl_id_parse(id, &starting->id))
        sim_fail("a run's id is no id: %s", id);
    return starting;
}

/* A fallback of an earlier life, or what another run has come to: which of them was kept shows when it is used. */
static void settle(struct simrun *run, int i, double got)
{
    struct nstate *s = &run->node[i];
    if (s->assumed && s->either && got == s->other)
        model_set(s, &run->graph->node[i], got);
    s->either = false;
}

static void check_inputs(struct simrun *run, int i, double in[INS][SOURCES], const int count[INS])
{
    const struct gnode *n = &run->graph->node[i];
    double want[INS][SOURCES];
    int nwant[INS];
    for (int p = 0; p < INS; p++)
        for (int k = 0; k < n->in[p].n; k++) {
            int from = n->in[p].src[k].node;
            enum resolved r = model_resolve(run, from);
            if (r == R_UNKNOWN)
                sim_fail("run %d: %s begins before %s is done", run->index, n->id, run->graph->node[from].id);
            if (r == R_FAILED || r == R_SKIP_FAIL)
                sim_fail("run %d: %s runs though %s failed or was skipped", run->index, n->id,
                         run->graph->node[from].id);
            if (k < count[p])
                settle(run, from, in[p][k]);
            run->node[from].assumed = false;
        }
    if (model_resolve(run, i) == R_SKIP_BRANCH)
        sim_fail("run %d: %s runs though its branch was not taken", run->index, n->id);
    model_inputs(run, i, want, nwant);
    for (int p = 0; p < INS; p++) {
        if (count[p] != nwant[p])
            sim_fail("run %d: %s receives %d values at \"%c\" instead of %d", run->index, n->id, count[p], 'a' + p,
                     nwant[p]);
        for (int k = 0; k < count[p]; k++)
            if (in[p][k] != want[p][k])
                sim_fail("run %d: %s receives %.17g at \"%c\" instead of %.17g", run->index, n->id, in[p][k], 'a' + p,
                         want[p][k]);
    }
}

static void check_key(struct simrun *run, int i, struct tl_op_ctx *ctx)
{
    struct nstate *s = &run->node[i];
    const char *key = tl_op_idempotency_key(ctx);
    if (s->key[0] && strcmp(s->key, key) != 0)
        sim_fail("run %d: %s shows the outside another idempotency key than before", run->index,
                 run->graph->node[i].id);
    snprintf(s->key, sizeof(s->key), "%s", key);
    for (int r = 0; r < w.nruns; r++)
        for (int k = 0; w.runs[r].known && k < w.runs[r].graph->n; k++)
            if (&w.runs[r].node[k] != s && strcmp(w.runs[r].node[k].key, key) == 0)
                sim_fail("run %d: %s has the idempotency key of another step", run->index, run->graph->node[i].id);
}

void check_begin(struct simrun *run, int i, struct tl_op_ctx *ctx, double in[INS][SOURCES], int count[INS])
{
    struct nstate *s = &run->node[i];
    const struct gnode *n = &run->graph->node[i];
    sim_note("run %d: %s (%s) begins, attempt %u", run->index, n->id, kind_op(n->kind), tl_op_attempt(ctx));
    if (w.dying)
        sim_fail("run %d: %s begins while the executor closes", run->index, n->id);
    if (run->ended)
        sim_fail("run %d: %s begins after the run's end", run->index, n->id);
    if (!n->wanted)
        sim_fail("run %d: %s begins though no target needs it", run->index, n->id);
    if (run->cancel_us)
        sim_fail("run %d: %s begins after the run was cancelled", run->index, n->id);
    if (s->alive)
        sim_fail("run %d: %s begins while it runs", run->index, n->id);
    if (s->committed)
        sim_fail("run %d: %s runs again though its result is committed", run->index, n->id);
    if (s->assumed) {
        s->outcome = O_NONE;
        s->assumed = false;
    }
    s->maybe = false;
    if (n->group >= 0) {
        struct nstate *group = &run->node[n->group];
        group->maybe = false;
        if (group->assumed)
            group->outcome = O_NONE;
        group->assumed = false;
    }
    if (s->outcome != O_NONE)
        sim_fail("run %d: %s runs again after it has ended", run->index, n->id);
    if (w.now_us < s->not_before_us)
        sim_fail("run %d: %s is tried again %lld us before its time", run->index, n->id,
                 (long long)(s->not_before_us - w.now_us));
    check_inputs(run, i, in, count);
    if (kind_is_pure(n->kind)) {
        if (model_is_kept(run, n, in, count))
            sim_fail("run %d: %s runs though its result is kept", run->index, n->id);
    } else if (n->kind != K_CHANCE && !run->exists) {
        sim_fail("run %d: %s is not pure and begins before the run is durable", run->index, n->id);
    }
    if (s->losses == 0 && tl_op_attempt(ctx) != s->attempts + 1)
        sim_fail("run %d: %s begins as attempt %u and is attempt %u", run->index, n->id, tl_op_attempt(ctx),
                 s->attempts + 1);
    if (tl_op_attempt(ctx) > n->policy.max_attempts)
        sim_fail("run %d: %s begins attempt %u of %u", run->index, n->id, tl_op_attempt(ctx), n->policy.max_attempts);
    if (n->kind == K_EFFECT)
        check_key(run, i, ctx);
    s->alive = true;
    s->calls++;
    s->begun_us = w.now_us;
}

/* What the policy says, said again. */
static void after_error(struct simrun *run, int i, int err)
{
    struct nstate *s = &run->node[i];
    const struct gnode *n = &run->graph->node[i];
    const struct gpolicy *p = &n->policy;
    unsigned may_lose = n->kind == K_MEDIA ? TL_POLICY_LOSSES : 0, made;
    s->err = err;
    if (err == TL_EWORKER) {
        if (++s->losses <= may_lose)
            return;
    } else {
        s->attempts++;
    }
    made = s->attempts + (s->losses > may_lose ? s->losses - may_lose : 0);
    for (int c = 0; made < p->max_attempts && c < 6; c++)
        if (sim_codes[c].err == err && p->on & 1u << c) {
            unsigned b = made - 1 < p->nbackoff ? made - 1 : p->nbackoff - 1;
            s->not_before_us = w.now_us + (p->nbackoff ? (int64_t)p->backoff_ms[b] * 1000 / 2 - 1000 : 0);
            return;
        }
    s->outcome = p->on_error == TL_ON_ERROR_FAIL       ? O_FAILED
                 : p->on_error == TL_ON_ERROR_CONTINUE ? O_CONTINUED
                                                       : O_FALLBACK;
    if (s->outcome == O_FAILED)
        run->failing = true;
    if (s->outcome == O_FALLBACK)
        model_set(s, n, p->fallback);
}

void check_end(struct simrun *run, int i, int err, bool timed_out, double value)
{
    struct nstate *s = &run->node[i];
    const struct gnode *n = &run->graph->node[i];
    s->alive = false;
    s->ended_us = w.now_us;
    if (err == TL_ECANCELLED) {
        if (run->cancel_us || run->failing || !timed_out)
            return;
        err = TL_ETIMEOUT;
    }
    if (err == TL_EUNKNOWN) {
        s->unsure = true;
        if (s->answer)
            check_answer(run, i, s->answer, s->answer_value, true);
    } else if (err) {
        after_error(run, i, err);
    } else {
        double in[INS][SOURCES];
        int count[INS];
        model_inputs(run, i, in, count);
        if (kind_is_pure(n->kind))
            model_know(run, n, in, count, false);
        s->outcome = O_DONE;
        model_set(s, n, value);
    }
}

/* A person has said what became of a step. now: the node goes on by it; otherwise when it asks the same again. */
void check_answer(struct simrun *run, int i, enum answer what, double value, bool now)
{
    struct nstate *s = &run->node[i];
    s->answer = what == A_RETRY && now ? A_NONE : what;
    s->answer_value = value;
    if (!now || run->ended || run->cancel_us || run->failing)
        return;
    s->unsure = false;
    if (what == A_RETRY) {
        s->allowed++;
        s->by_answer = true;
    } else if (what == A_FAIL) {
        after_error(run, i, TL_EUNKNOWN);
    } else {
        s->outcome = O_DONE;
        model_set(s, &run->graph->node[i], value);
    }
}

/* Events */

static int64_t ts_ms(const char *ts)
{
    int day, hour, min, sec, ms;
    if (!ts || sscanf(ts, "2026-01-%2dT%2d:%2d:%2d.%3dZ", &day, &hour, &min, &sec, &ms) != 5)
        sim_fail("an event has no time: %s", ts ? ts : "");
    return (((day * 24 + hour) * 60 + min) * 60LL + sec) * 1000 + ms;
}

static int node_of(const struct simrun *run, const json_t *j, const char *key)
{
    const char *id = tl_json_str(j, key);
    int i = id ? graph_find(run->graph, id) : -1;
    const char *slash = id ? strchr(id, '/') : NULL;
    if (i < 0 && slash && (strcmp(slash, "/i") == 0 || strcmp(slash, "/o") == 0))
        return -1; /* the ends of a body */
    if (i < 0 || !run->graph->node[i].wanted)
        sim_fail("run %d: an event tells of a node that there is not: %s", run->index, id ? id : "");
    return i;
}

static void on_progress(struct simrun *run, const json_t *payload, int64_t ms)
{
    double v = tl_json_num(payload, "progress", -1);
    if (v < run->progress || v > 100)
        sim_fail("run %d: progress goes from %g to %g", run->index, run->progress, v);
    run->progress = v;
    bool same_life = run->last_progress_life == w.life && run->last_progress_ms;
    if (same_life && run->crowded)
        sim_fail("run %d: two run.progress within %d ms, and not before its end", run->index, PROGRESS_MS);
    run->crowded = same_life && ms - run->last_progress_ms < PROGRESS_MS - ROUNDING_MS;
    run->last_progress_ms = ms;
    run->last_progress_life = w.life;
    size_t k;
    json_t *j;
    json_array_foreach(json_object_get(payload, "nodes"), k, j) {
        int i = node_of(run, j, "id");
        if (i < 0)
            continue;
        struct nstate *s = &run->node[i];
        const char *status = tl_json_str(j, "status");
        int at = 0;
        while (sim_statuses[at] && (!status || strcmp(sim_statuses[at], status) != 0))
            at++;
        if (!sim_statuses[at])
            sim_fail("run %d: %s has the status %s", run->index, run->graph->node[i].id, status ? status : "");
        if (s->told == ST_DONE && at != ST_DONE && s->told_life == w.life)
            sim_fail("run %d: %s goes from done to %s", run->index, run->graph->node[i].id, status);
        s->told = at;
        s->told_life = w.life;
    }
}

static void on_partial(struct simrun *run, const json_t *payload)
{
    size_t k;
    json_t *j;
    json_array_foreach(json_object_get(payload, "results"), k, j) {
        int i = node_of(run, j, "node");
        if (i < 0)
            continue;
        struct nstate *s = &run->node[i];
        const struct gnode *n = &run->graph->node[i];
        const json_t *outputs = json_object_get(j, "outputs");
        if (s->committed)
            sim_fail("run %d: the outputs of %s are told twice", run->index, n->id);
        if (model_resolve(run, i) != R_DONE)
            sim_fail("run %d: outputs of %s, which is not done", run->index, n->id);
        settle(run, i, json_number_value(json_object_get(outputs, kind_out(n->kind, 0))));
        s->assumed = false;
        size_t want = 0;
        for (int o = 0; o < kind_outs(n->kind); o++) {
            const json_t *v = json_object_get(outputs, kind_out(n->kind, o));
            if ((v != NULL) != s->has[o])
                sim_fail("run %d: %s %s the output \"%s\"", run->index, n->id, v ? "has" : "lacks",
                         kind_out(n->kind, o));
            want += s->has[o];
            if (v && !n->items && json_number_value(v) != s->out[o])
                sim_fail("run %d: %s gives %.17g instead of %.17g", run->index, n->id, json_number_value(v), s->out[o]);
        }
        if (json_object_size(outputs) != want + (n->items > 0)) /* a map's errors */
            sim_fail("run %d: %s has outputs of no port", run->index, n->id);
        s->committed = true;
        if (kind_is_pure(n->kind) && s->outcome == O_DONE) {
            double in[INS][SOURCES];
            int count[INS];
            model_inputs(run, i, in, count);
            model_know(run, n, in, count, true);
        }
    }
}

static void on_completed(struct simrun *run)
{
    if (run->failing)
        sim_fail("run %d is completed though a node failed", run->index);
    for (int i = 0; i < run->graph->n; i++) {
        struct nstate *s = &run->node[i];
        const struct gnode *n = &run->graph->node[i];
        if (!n->wanted || n->group >= 0) /* the body of a group that was found as a whole never runs */
            continue;
        enum resolved r = model_resolve(run, i);
        if (r == R_UNKNOWN)
            sim_fail("run %d is completed and %s never ran", run->index, n->id);
        int want = r == R_DONE ? ST_DONE : r == R_FAILED ? ST_FAILED : ST_SKIPPED;
        if (s->told != want)
            sim_fail("run %d: %s ends as %s instead of %s", run->index, n->id,
                     s->told < 0 ? "nothing" : sim_statuses[s->told], sim_statuses[want]);
        if (r == R_DONE && !s->committed)
            sim_fail("run %d is completed and the outputs of %s were never told", run->index, n->id);
    }
}

static void on_failed(struct simrun *run, const json_t *payload)
{
    const json_t *error = json_object_get(payload, "error");
    const char *code = tl_json_str(error, "code"), *node = tl_json_str(json_object_get(error, "details"), "node");
    int i = node ? graph_find(run->graph, node) : -1;
    if (!run->failing)
        sim_fail("run %d failed (%s) and nothing of it did", run->index, code ? code : "");
    if (i < 0 || run->node[i].outcome != O_FAILED)
        sim_fail("run %d says that %s failed", run->index, node ? node : "nothing");
    if (!code || strcmp(code, tl_err_code(run->node[i].err)) != 0)
        sim_fail("run %d: %s failed with %s, not %s", run->index, node, tl_err_code(run->node[i].err),
                 code ? code : "");
}

static void on_stopped(struct simrun *run)
{
    for (int i = 0; i < run->graph->n; i++) {
        struct nstate *s = &run->node[i];
        const struct gnode *n = &run->graph->node[i];
        if (n->wanted && n->group < 0 && (s->told < ST_DONE || (s->told == ST_DONE && model_resolve(run, i) != R_DONE)))
            sim_fail("run %d %s and %s is %s", run->index, run->terminal, n->id,
                     s->told < 0 ? "nothing" : sim_statuses[s->told]);
    }
}

static void on_end(struct simrun *run, const char *type, const json_t *payload)
{
    run->ended = true;
    snprintf(run->terminal, sizeof(run->terminal), "%s", type + 4);
    for (int i = 0; i < run->graph->n; i++)
        if (run->node[i].alive)
            sim_fail("run %d: %s while %s runs", run->index, type, run->graph->node[i].id);
    if (run->cancel_us && !run->failing && strcmp(type, "run.cancelled") != 0)
        sim_fail("run %d was cancelled and ends with %s", run->index, type);
    int64_t late_us = w.now_us - run->cancel_us - (w.busy_us - run->cancel_busy_us);
    if (run->cancel_us && late_us > CANCEL_MS * 1000)
        sim_fail("run %d ends %lld ms after it was cancelled", run->index, (long long)late_us / 1000);
    if (strcmp(type, "run.completed") == 0)
        on_completed(run);
    else if (strcmp(type, "run.failed") == 0)
        on_failed(run, payload), on_stopped(run);
    else if (!run->cancel_us)
        sim_fail("run %d is cancelled and nobody asked for it", run->index);
    else
        on_stopped(run);
}

static int on_event(void *arg, uint64_t seq, const char *text, size_t len)
{
    struct simrun *run = arg;
    TL_AUTO_JSON json_t *e = NULL;
    if (tl_json_parse(text, len, &e, NULL) < 0)
        sim_fail("run %d: event %llu is no JSON", run->index, (unsigned long long)seq);
    sim_note("run %d: %.*s", run->index, (int)(len > 400 ? 400 : len), text);
    const char *type = tl_json_str(e, "type"), *id = tl_json_str(e, "run_id");
    const json_t *payload = json_object_get(e, "payload");
    int64_t ms = ts_ms(tl_json_str(e, "ts"));
    if (run->ended)
        sim_fail("run %d: %s after its end", run->index, type);
    if (seq != run->seen + 1 || tl_json_int(e, "seq", 0) != (int64_t)seq)
        sim_fail("run %d: event %llu after %llu", run->index, (unsigned long long)seq, (unsigned long long)run->seen);
    if (!type || !id || strcmp(id, run->id_text) != 0 || !payload)
        sim_fail("run %d: event %llu lacks a field", run->index, (unsigned long long)seq);
    if (ms < run->last_ts_ms)
        sim_fail("run %d: event %llu is older than the one before", run->index, (unsigned long long)seq);
    if ((strcmp(type, "run.queued") == 0) != (seq == 1))
        sim_fail("run %d: %s is event %llu", run->index, type, (unsigned long long)seq);
    run->seen = seq;
    run->last_ts_ms = ms;
    if (seq == 1 && tl_json_int(payload, "node_count", -1) != run->graph->nwanted)
        sim_fail("run %d: run.queued counts wrongly", run->index);
    if (strcmp(type, "run.started") == 0) {
        if (run->started)
            sim_fail("run %d is started twice", run->index);
        run->started = true;
    } else if (strcmp(type, "run.progress") == 0) {
        on_progress(run, payload, ms);
    } else if (strcmp(type, "run.partial") == 0) {
        on_partial(run, payload);
    } else if (strcmp(type, "run.completed") == 0 || strcmp(type, "run.failed") == 0 ||
               strcmp(type, "run.cancelled") == 0) {
        on_end(run, type, payload);
    } else if (seq != 1) {
        sim_fail("run %d: an event of the type %s", run->index, type);
    }
    return 0;
}

static void read_events(struct simrun *run)
{
    int err = tl_events_read(w.db, &run->id, run->seen, on_event, run);
    if (err)
        sim_fail("run %d: its events cannot be read: %s", run->index, tl_err_code(err));
}

void check_notify(struct simrun *run, uint64_t seq, bool ended)
{
    if (w.crashed)
        sim_fail("run %d: event %llu is published after the crash", run->index, (unsigned long long)seq);
    run->exists = true;
    read_events(run);
    if (run->seen < seq)
        sim_fail("run %d: event %llu is published and not committed", run->index, (unsigned long long)seq);
    if (run->seen == seq && run->ended != ended)
        sim_fail("run %d: event %llu is published as %s", run->index, (unsigned long long)seq,
                 ended ? "the last and is not" : "not the last and is");
}

static json_t *record_of(const struct simrun *run)
{
    json_t *record = NULL;
    int err = run->known ? tl_run_get(w.db, run->org, &run->id, &record) : TL_ENOTFOUND;
    if (err && err != TL_ENOTFOUND)
        sim_fail("run %d: its record cannot be read: %s", run->index, tl_err_code(err));
    return record;
}

/* What was committed counts, also what nobody was told of; everything else is forgotten. */
void check_crash(void)
{
    for (int r = 0; r < w.nruns; r++) {
        struct simrun *run = &w.runs[r];
        if (!run->requested || run->lost || run->ended)
            continue;
        TL_AUTO_JSON json_t *record = record_of(run);
        run->lost = !record;
        if (!record && run->exists)
            sim_fail("run %d was made durable and is gone", run->index);
        if (!record)
            continue;
        run->exists = run->died = true;
        read_events(run);
        for (int i = 0; i < run->graph->n && !run->ended; i++) {
            struct nstate *s = &run->node[i];
            if (s->alive)
                sim_fail("run %d: %s still runs though the executor is gone", run->index, run->graph->node[i].id);
            /* Results are kept in the commit that tells of them; those of a run that is stopped, and when the executor closes, are not told. */
            if (!s->committed && !s->assumed && (!w.crashed || run->failing || run->cancel_us)) {
                s->fell_back = s->outcome == O_FALLBACK;
                s->maybe |= s->outcome == O_DONE || s->fell_back;
                s->surely = !w.crashed;
            }
            if (!s->committed)
                s->outcome = O_NONE;
            s->assumed = false;
            s->skip = 0;
            s->attempts = s->losses = 0;
            s->not_before_us = 0;
            s->unsure = s->by_answer = false;
        }
        if (!run->ended) {
            run->cancel_us = 0;
            run->failing = run->crowded = false;
        }
    }
}

void check_quiet(void)
{
    for (int r = 0; r < w.nruns; r++) {
        struct simrun *run = &w.runs[r];
        if (!run->requested || run->lost || run->ended)
            continue;
        TL_AUTO_JSON json_t *record = record_of(run);
        const json_t *list = json_object_get(record, "waiting_for");
        size_t k;
        json_t *wait;
        if (!json_array_size(list))
            sim_fail("run %d has not ended, nothing is left to do, and it does not say what it waits for", run->index);
        json_array_foreach(list, k, wait) {
            int i = node_of(run, wait, "node");
            if (i < 0 || (!run->node[i].unsure && run->graph->node[i].kind != K_ASK))
                sim_fail("run %d waits for %s, which nobody can answer", run->index, tl_json_str(wait, "node"));
        }
    }
}

static int count_event(void *arg, uint64_t seq, const char *text, size_t len)
{
    uint64_t *n = arg;
    (void)text, (void)len;
    return seq == ++*n ? 0 : TL_ECORRUPT;
}

void check_final(void)
{
    for (int r = 0; r < w.nruns; r++) {
        struct simrun *run = &w.runs[r];
        if (!run->requested || run->lost)
            continue;
        if (!run->ended)
            sim_fail("run %d never ends", run->index);
        TL_AUTO_JSON json_t *record = record_of(run);
        const char *status = tl_json_str(record, "status");
        const char *want = strcmp(run->terminal, "completed") == 0 ? "done" : run->terminal;
        uint64_t n = 0;
        if (!status || strcmp(status, want) != 0)
            sim_fail("run %d is %s and its record says %s", run->index, want, status ? status : "nothing");
        if (tl_events_read(w.db, &run->id, 0, count_event, &n) < 0 || n != run->seen ||
            tl_json_int(record, "last_seq", 0) != (int64_t)n)
            sim_fail("run %d: its journal and its record do not agree", run->index);
        if (strcmp(want, "done") == 0 && tl_json_num(record, "progress", 0) != 100)
            sim_fail("run %d is done and at %g %%", run->index, tl_json_num(record, "progress", 0));
        if (json_array_size(json_object_get(record, "waiting_for")))
            sim_fail("run %d has ended and waits for something", run->index);
    }
    if (fake_count(w.db, TL_TBL_RUN_LIVE))
        sim_fail("all runs have ended and %llu are kept as live",
                 (unsigned long long)fake_count(w.db, TL_TBL_RUN_LIVE));
}

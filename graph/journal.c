/* The journal of a run: events are made under the run's lock, committed together with the record and the results they tell of, and
 * only then published. At most one commit of a run is under way; what happens meanwhile goes into the next one, so a busy run's events grow
 * larger, not more. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    PROGRESS_EVERY_US = 50 * 1000,
    PARTIAL_BYTES = 512 * 1024 /* of outputs in one run.partial, where a single node has no more */
};

struct batch {
    struct tl_run *run; /* a reference */
    struct tl_event *events;
    size_t nevents, cap;
    struct tl_kept *kept;
    char *record;
    bool end;
};

int tl_journal_new(struct tl_run *run, uint64_t seq, bool started)
{
    struct tl_journal *j = tl_calloc(1, sizeof(*j));
    if (!j)
        return TL_ENOMEM;
    j->run = run;
    j->seq = seq;
    j->start_due = !started;
    j->dirty = tl_calloc(run->plan->nnodes, sizeof(*j->dirty));
    run->journal = j;
    return j->dirty ? 0 : TL_ENOMEM;
}

static void free_kept(struct tl_kept *k)
{
    while (k) {
        struct tl_kept *next = k->next;
        free(k->text);
        free(k);
        k = next;
    }
}

void tl_journal_free(struct tl_journal *j)
{
    if (!j)
        return;
    free(j->message);
    json_decref(j->end_payload);
    json_decref(j->results);
    free_kept(j->kept);
    free(j->dirty);
    free(j);
}

static void free_batch(struct batch *b)
{
    struct tl_exec *exec = b->run->exec;
    for (size_t i = 0; i < b->nevents; i++)
        free(b->events[i].text);
    free(b->events);
    free_kept(b->kept);
    free(b->record);
    tl_run_unref(b->run);
    free(b);
    tl_exec_commits(exec, -1);
}

char *tl_journal_event_text(const char *run_id, uint64_t seq, const char *type, json_t *payload)
{
    char id[TL_ID_TEXT + 24], ts[TL_TIME_TEXT];
    snprintf(id, sizeof(id), "%s:%llu", run_id, (unsigned long long)seq);
    tl_time_text(tl_now_ms(), ts);
    TL_AUTO_JSON json_t *e = json_pack("{s:s,s:s,s:s,s:I,s:s,s:o}", "event_id", id, "run_id", run_id, "type", type,
                                       "seq", (json_int_t)seq, "ts", ts, "payload", payload);
    return e ? tl_json_text(e) : NULL;
}

static int add_event(struct batch *b, struct tl_journal *j, const char *type, json_t *payload)
{
    char *text = payload ? tl_journal_event_text(j->run->id_text, j->seq + 1, type, payload) : NULL;
    if (!text || tl_grow(&b->events, &b->cap, b->nevents + 1, sizeof(*b->events)) < 0) {
        free(text);
        return TL_ENOMEM;
    }
    b->events[b->nevents++] = (struct tl_event){.seq = ++j->seq, .text = text};
    return 0;
}

static const char *const status_names[] = {"queued", "running", "done", "failed", "cancelled", "skipped"};

static double round1(double v)
{
    return floor(v * 10 + 1e-9) / 10;
}

static json_t *progress_payload(struct tl_journal *j)
{
    struct tl_run *run = j->run;
    double pct = run->plan->nwanted ? round1(100.0 * run->progress / run->plan->nwanted) : 100;
    if (pct > j->percent)
        j->percent = pct;
    json_t *nodes = json_array();
    for (uint32_t k = 0; k < j->ndirty; k++) {
        struct tl_node_state *s = &run->nodes[j->dirty[k]];
        s->dirty = false;
        json_t *n = json_pack("{s:s,s:s}", "id", run->plan->nodes[j->dirty[k]].id, "status", status_names[s->status]);
        if (s->status == TL_NODE_RUNNING)
            json_object_set_new(n, "progress", json_real(round1(100.0 * (double)s->progress)));
        if (s->status == TL_NODE_RUNNING && s->message)
            json_object_set_new(n, "message", json_string(s->message));
        if (s->cached)
            json_object_set_new(n, "cached", json_true());
        json_array_append_new(nodes, n);
    }
    j->ndirty = 0;
    char counted[64];
    snprintf(counted, sizeof(counted), "%u of %u nodes", run->ndone, run->plan->nwanted);
    json_t *p = json_pack("{s:f,s:s,s:o}", "progress", j->percent, "message", j->message ? j->message : counted,
                          "nodes", nodes);
    free(j->message);
    j->message = NULL;
    return p;
}

static const char *record_status(const struct tl_journal *j)
{
    return j->end_status ? j->end_status : j->start_due ? "queued" : "running";
}

char *tl_journal_record_text(struct tl_run *run, const char *status, double progress, uint64_t seq, bool ended)
{
    char created[TL_TIME_TEXT], now[TL_TIME_TEXT], started[TL_TIME_TEXT];
    tl_time_text(run->created_ms, created);
    tl_time_text(tl_now_ms(), now);
    TL_AUTO_JSON json_t *r =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:f,s:s,s:s,s:I,s:s,s:i}", "id", run->id_text, "org", run->org, "sub", run->sub,
                  "kind", run->kind, "status", status, "progress", progress, "created_at", created, "updated_at", now,
                  "last_seq", (json_int_t)seq, "graph_hash", run->plan->hash, "node_count", (int)run->plan->nwanted);
    if (!r)
        return NULL;
    if (run->started_ms) {
        tl_time_text(run->started_ms, started);
        json_object_set_new(r, "started_at", json_string(started));
    }
    if (ended)
        json_object_set_new(r, "ended_at", json_string(now));
    if (run->meta)
        json_object_update_missing(r, run->meta);
    return tl_json_text(r);
}

int tl_journal_put_event(struct tl_txn *txn, const struct tl_id *run, const struct tl_event *e)
{
    uint8_t k[TL_ID_LEN + 8];
    memcpy(k, run->b, TL_ID_LEN);
    tl_key_u64(k + TL_ID_LEN, e->seq);
    return tl_txn_put(txn, TL_TBL_EVENT, k, sizeof(k), e->text, strlen(e->text));
}

static int put_batch(struct tl_txn *txn, void *arg)
{
    const struct batch *b = arg;
    const struct tl_id *id = &b->run->id;
    int err = tl_txn_put(txn, TL_TBL_RUN, id->b, TL_ID_LEN, b->record, strlen(b->record));
    for (size_t i = 0; !err && i < b->nevents; i++)
        err = tl_journal_put_event(txn, id, &b->events[i]);
    for (const struct tl_kept *k = b->kept; !err && k; k = k->next)
        err = tl_result_put(txn, b->run->org, k);
    if (!err && b->end) {
        err = tl_txn_del(txn, TL_TBL_RUN_LIVE, id->b, TL_ID_LEN);
        err = err == TL_ENOTFOUND ? 0 : err;
    }
    return err;
}

static void flush_now(struct tl_journal *j);

static void batch_done(void *arg, int err)
{
    struct batch *b = arg;
    struct tl_run *run = b->run;
    struct tl_journal *j = run->journal;
    const struct tl_exec_conf *conf = &run->exec->conf;
    if (!err && conf->notify && b->nevents)
        conf->notify(conf->arg, &run->id, b->events[b->nevents - 1].seq, b->end);
    pthread_mutex_lock(&run->lock);
    j->committing = false;
    if (err)
        j->failed = true;
    else if (j->wants_flush)
        flush_now(j);
    bool drop = b->end || (j->failed && run->ended);
    pthread_mutex_unlock(&run->lock);
    /* A run that cannot be written stops here and goes on at the next start. */
    if (err)
        tl_run_stop(run, err, NULL, NULL);
    if (drop)
        tl_exec_remove_live(run->exec, run);
    free_batch(b);
}

static int fill_batch(struct batch *b, struct tl_journal *j, int64_t now)
{
    int err = 0;
    if (j->start_due) {
        j->start_due = false;
        err = add_event(b, j, "run.started", json_object());
    }
    bool due = now - j->last_progress_us >= PROGRESS_EVERY_US || j->end_payload;
    if (!err && due && (j->ndirty || j->message)) {
        j->last_progress_us = now;
        err = add_event(b, j, "run.progress", progress_payload(j));
    }
    for (size_t i = 0; !err && i < json_array_size(j->results); i++)
        err = add_event(b, j, "run.partial", json_pack("{s:O}", "results", json_array_get(j->results, i)));
    json_decref(j->results);
    j->results = NULL;
    if (!err && j->end_payload) {
        char type[32];
        snprintf(type, sizeof(type), "run.%s", strcmp(j->end_status, "done") == 0 ? "completed" : j->end_status);
        err = add_event(b, j, type, json_incref(j->end_payload));
        if (strcmp(j->end_status, "done") == 0)
            j->percent = 100;
    }
    b->kept = j->kept;
    j->kept = NULL;
    b->end = j->end_payload != NULL;
    b->record = err ? NULL : tl_journal_record_text(j->run, record_status(j), j->percent, j->seq, b->end);
    return b->record ? 0 : TL_ENOMEM;
}

/* The run.progress that must wait. */
static void flush_soon(struct tl_journal *j, int64_t now)
{
    if (j->scheduled || j->closed)
        return;
    j->scheduled = true;
    j->due_us = now + PROGRESS_EVERY_US;
    tl_run_ref(j->run);
    tl_exec_flush_later(j->run->exec, j);
}

/* With run->lock held and nothing committing. */
static void flush_now(struct tl_journal *j)
{
    struct batch *b = tl_calloc(1, sizeof(*b));
    j->wants_flush = false;
    if (!b) {
        j->failed = true;
        return;
    }
    b->run = tl_run_ref(j->run);
    tl_exec_commits(b->run->exec, 1);
    j->committing = true;
    j->closed |= j->end_payload != NULL;
    if (fill_batch(b, j, tl_mono_us()) < 0 || tl_db_submit(j->run->exec->conf.db, put_batch, b, batch_done) < 0) {
        j->committing = false;
        j->failed = true;
        if (b->end)
            tl_exec_remove_live(j->run->exec, j->run);
        free_batch(b);
    } else if (j->ndirty) {
        flush_soon(j, tl_mono_us());
    }
}

static void poke(struct tl_journal *j, bool urgent)
{
    if (j->failed || j->closed)
        return;
    int64_t now = tl_mono_us();
    if (!urgent && now - j->last_progress_us < PROGRESS_EVERY_US) {
        flush_soon(j, now);
    } else if (j->committing) {
        j->wants_flush = true;
    } else {
        flush_now(j);
    }
}

void tl_journal_flush(struct tl_journal *j)
{
    struct tl_run *run = j->run;
    pthread_mutex_lock(&run->lock);
    j->scheduled = false;
    if (j->ndirty || j->message)
        poke(j, true);
    pthread_mutex_unlock(&run->lock);
    tl_run_unref(run);
}

void tl_journal_node_changed(struct tl_run *run, uint32_t node)
{
    struct tl_journal *j = run->journal;
    if (!run->nodes[node].dirty) {
        run->nodes[node].dirty = true;
        j->dirty[j->ndirty++] = node;
    }
    poke(j, false);
}

/* Results are gathered in lists of bounded size, a run.partial each. Takes r. */
static void add_result(struct tl_journal *j, json_t *r)
{
    size_t bytes = json_dumpb(r, NULL, 0, JSON_COMPACT);
    if (!j->results)
        j->results = json_array();
    if (!json_array_size(j->results) || j->results_bytes + bytes > PARTIAL_BYTES) {
        json_array_append_new(j->results, json_array());
        j->results_bytes = 0;
    }
    j->results_bytes += bytes;
    json_array_append_new(json_array_get(j->results, json_array_size(j->results) - 1), r);
}

void tl_journal_result(struct tl_run *run, uint32_t node, const struct tl_op_ctx *ctx)
{
    struct tl_journal *j = run->journal;
    struct tl_node_state *s = &run->nodes[node];
    struct tl_kept *kept = s->cached ? NULL : tl_result_keep(ctx);
    if (kept) {
        kept->next = j->kept;
        j->kept = kept;
    }
    if (!s->reported && !run->stopping) {
        json_t *outputs = json_object();
        for (uint32_t k = 0; k < ctx->def->nout; k++)
            if (!tl_value_none(&ctx->outputs[k]))
                json_object_set_new(outputs, ctx->def->out[k]->name, tl_value_json(&ctx->outputs[k]));
        json_t *r = json_pack("{s:s,s:o}", "node", ctx->def->id, "outputs", outputs);
        if (s->cached)
            json_object_set_new(r, "cached", json_true());
        add_result(j, r);
        s->reported = true;
    }
    poke(j, true);
}

void tl_journal_started(struct tl_run *run)
{
    if (run->journal->start_due)
        run->started_ms = tl_now_ms();
    poke(run->journal, true);
}

void tl_journal_end(struct tl_run *run, const char *status, json_t *payload)
{
    run->journal->end_status = status;
    run->journal->end_payload = payload;
    poke(run->journal, true);
}

void tl_journal_suspend(struct tl_run *run)
{
    struct tl_journal *j = run->journal;
    j->closed = true;
    if (!j->failed && j->kept && !j->committing)
        flush_now(j);
    else if (j->kept)
        j->wants_flush = true;
}

static void begin(struct tl_task *task)
{
    struct tl_run *run = (struct tl_run *)((char *)task - offsetof(struct tl_run, begin_task));
    pthread_mutex_lock(&run->lock);
    tl_journal_started(run);
    pthread_mutex_unlock(&run->lock);
    tl_run_begin(run);
    tl_run_unref(run);
}

void tl_journal_begin(struct tl_run *run)
{
    run->begin_task.fn = begin;
    tl_run_ref(run);
    tl_exec_ready(run->exec, &run->begin_task);
}

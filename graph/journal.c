/* The journal of a run: events are made under its lock, committed together with the record and the results they tell of, and only then
 * published. At most one commit of a run is under way; what happens meanwhile goes into the next one, so a busy run's events grow larger, not more. (The
 * last one alone may follow the very first before that has come back: commits keep their order.) */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/journal_text.h"
#include "graph/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    EVERY_US = 50 * 1000,       /* between two commits, and between two run.progress */
    PARTIAL_BYTES = 512 * 1024, /* of outputs in one run.partial, where a single node has no more */
    WAITS_SHOWN = 20,           /* in a record */
    WAIT_BYTES = 4096,          /* of each, where what is shown is more it is left out there */
    SMALL_BATCH = 64, /* changes and results; more are put into words on an executor thread, not the writer's */
};

struct wait {
    char *step;
    json_t *what;
};

struct tl_journal {
    struct tl_run *run;
    pthread_mutex_t lock; /* all below */
    uint64_t seq;         /* of the last event made */
    unsigned committing;
    bool sent; /* its first commit is in the store's queue: others may follow */
    bool wants_flush, start_due, failed, flushing, scheduled; /* flushing: a task for it is queued */
    bool closed;                                              /* the terminal event has been made, or none will be */
    char *message;
    const char *end_status;
    char *end_payload;
    size_t end_len;
    struct tl_str *partials; /* lists of {"node","outputs","cached"}, one for each run.partial to come */
    size_t npartials, partials_cap;
    struct tl_kept *kept; /* results to be stored with the next commit */
    size_t nkept;
    struct tl_change *changes;
    size_t nchanges, changes_cap;
    struct wait *waits;
    size_t nwaits, waits_cap;
    double done; /* sum of the outermost nodes' progress */
    uint32_t ndone;
    double percent;
    int64_t last_progress_us, last_commit_us; /* when the last of each was made */
    struct tl_timer timer;                    /* for the run.progress that must wait; holds a reference while armed */
    struct tl_task flush_task;
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
    struct tl_journal *j = run->journal = tl_calloc(1, sizeof(*j));
    if (!j)
        return TL_ENOMEM;
    pthread_mutex_init(&j->lock, NULL);
    j->run = run;
    j->seq = seq;
    j->start_due = !started;
    j->committing = !run->durable; /* its first commit */
    j->sent = run->durable;
    j->last_progress_us = INT64_MIN / 2;
    j->last_commit_us = run->durable ? INT64_MIN / 2 : tl_exec_mono_us(run->exec);
    return 0;
}

static void drop_changes(struct tl_journal *j, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (j->changes[i].run != j->run)
            tl_run_unref(j->changes[i].run);
        free(j->changes[i].more);
    }
    j->nchanges -= n;
    if (j->nchanges)
        memmove(j->changes, j->changes + n, j->nchanges * sizeof(*j->changes));
}

static void drop_partials(struct tl_journal *j)
{
    for (size_t i = 0; i < j->npartials; i++)
        tl_str_clear(&j->partials[i]);
    j->npartials = 0;
}

static void drop_wait(struct tl_journal *j, size_t i)
{
    free(j->waits[i].step);
    json_decref(j->waits[i].what);
    j->waits[i] = j->waits[--j->nwaits];
}

void tl_journal_free(struct tl_journal *j)
{
    if (!j)
        return;
    drop_changes(j, j->nchanges);
    drop_partials(j);
    while (j->nwaits)
        drop_wait(j, 0);
    free(j->changes);
    free(j->partials);
    free(j->waits);
    free(j->message);
    free(j->end_payload);
    tl_result_free(j->kept);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static void free_batch(struct batch *b)
{
    struct tl_exec *exec = b->run->exec;
    for (size_t i = 0; i < b->nevents; i++)
        free(b->events[i].text);
    free(b->events);
    tl_result_free(b->kept);
    free(b->record);
    tl_run_unref(b->run);
    free(b);
    tl_exec_commits(exec, -1);
}

/* ---- events ---- */

static int add_event(struct batch *b, struct tl_journal *j, const char *type, const char *payload, size_t len)
{
    if (tl_grow(&b->events, &b->cap, b->nevents + 1, sizeof(*b->events)) < 0)
        return TL_ENOMEM;
    struct tl_event *e = &b->events[b->nevents];
    e->text = tl_journal_event_text(j->run, j->seq + 1, type, payload, len, &e->len);
    if (!e->text)
        return TL_ENOMEM;
    e->seq = ++j->seq;
    b->nevents++;
    return 0;
}

/* A run.progress of some PARTIAL_BYTES at most; the changes that it does not hold stay for the next. */
static int add_progress(struct batch *b, struct tl_journal *j)
{
    size_t told = 0;
    uint32_t wanted = j->run->plan->nwanted;
    double pct = wanted ? tl_journal_percent(100.0 * j->done / wanted) : 100;
    if (pct > j->percent)
        j->percent = pct;
    char counted[64];
    snprintf(counted, sizeof(counted), "%u of %u nodes", j->ndone, wanted);
    const char *message = j->message ? j->message : counted;
    struct tl_str s = {0};
    tl_str_puts(&s, "{\"progress\":");
    tl_json_add_number(&s, j->percent);
    tl_str_puts(&s, ",\"message\":");
    tl_json_add_text(&s, message, strlen(message));
    tl_str_puts(&s, ",\"nodes\":[");
    for (; told < j->nchanges && s.len < PARTIAL_BYTES; told++) {
        if (told)
            tl_str_puts(&s, ",");
        tl_journal_add_change(&s, &j->changes[told]);
    }
    tl_str_puts(&s, "]}");
    drop_changes(j, told);
    free(j->message);
    j->message = NULL;
    int err = s.err ? TL_ENOMEM : add_event(b, j, "run.progress", s.data, s.len);
    tl_str_clear(&s);
    return err;
}

/* What a record says of those that wait: as much as a reader of many records can take. The whole is in the nodes' states. */
static json_t *waiting_list(const struct tl_journal *j)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < j->nwaits && i < WAITS_SHOWN; i++) {
        json_t *w = json_pack("{s:s}", "node", j->waits[i].step);
        json_object_update_missing(w, j->waits[i].what);
        if (json_dumpb(w, NULL, 0, JSON_COMPACT) > WAIT_BYTES) {
            json_object_del(w, "shown");
            json_object_set_new(w, "shown_omitted", json_true());
        }
        if (json_dumpb(w, NULL, 0, JSON_COMPACT) > WAIT_BYTES)
            json_object_del(w, "form");
        json_array_append_new(list, w);
    }
    return list;
}

char *tl_journal_first_record(struct tl_run *run)
{
    return tl_journal_record(run, &(struct tl_record_facts){.status = "running", .seq = run->journal->seq});
}

/* ---- commits ---- */

int tl_journal_put_event(struct tl_txn *txn, const struct tl_id *run, const struct tl_event *e)
{
    uint8_t k[TL_ID_LEN + 8];
    memcpy(k, run->b, TL_ID_LEN);
    tl_key_u64(k + TL_ID_LEN, e->seq);
    return tl_txn_put(txn, TL_TBL_EVENT, k, sizeof(k), e->text, e->len);
}

struct first_key {
    uint8_t key[TL_ID_LEN + 32];
    size_t len;
};

static int take_key(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct first_key *f = arg;
    (void)value;
    if (key.len > sizeof(f->key))
        return TL_ECORRUPT;
    memcpy(f->key, key.data, key.len);
    f->len = key.len;
    return 1;
}

/* What only a run that goes on after a crash would ask for. */
static int forget(struct tl_txn *txn, const struct tl_id *id, enum tl_table table)
{
    for (;;) {
        struct first_key f = {0};
        int err =
            tl_txn_scan(txn, &(struct tl_scan){.table = table, .prefix = id->b, .prefix_len = TL_ID_LEN}, take_key, &f);
        if (err <= 0)
            return err;
        err = tl_txn_del(txn, table, f.key, f.len);
        if (err < 0)
            return err;
    }
}

static int put_end(struct tl_txn *txn, const struct tl_id *id)
{
    int err = tl_txn_del(txn, TL_TBL_RUN_LIVE, id->b, TL_ID_LEN);
    if (!err || err == TL_ENOTFOUND)
        err = forget(txn, id, TL_TBL_MARK);
    return err;
}

int tl_journal_put_batch(struct tl_txn *txn, void *arg)
{
    const struct batch *b = arg;
    const struct tl_id *id = &b->run->id;
    struct tl_bytes there;
    int err = tl_txn_get(txn, TL_TBL_RUN, id->b, TL_ID_LEN, &there); /* its first commit may have failed */
    if (!err)
        err = tl_txn_put(txn, TL_TBL_RUN, id->b, TL_ID_LEN, b->record, strlen(b->record));
    for (size_t i = 0; !err && i < b->nevents; i++)
        err = tl_journal_put_event(txn, id, &b->events[i]);
    const struct tl_result_commit results = {
        .results = b->run->exec->results, .org = b->run->org, .run = id, .kept = b->kept, .end = b->end};
    if (!err)
        err = tl_result_commit(txn, &results);
    if (!err && b->end)
        err = tl_history_put(txn, b->run->org, &b->run->history);
    return !err && b->end ? put_end(txn, id) : err;
}

static void flush_now(struct tl_journal *j);
static void flush_or_hand_on(struct tl_journal *j);

/* Nothing more is written. j->lock held, and by the caller a reference to the run. */
static void give_up(struct tl_journal *j)
{
    j->failed = true;
    drop_changes(j, j->nchanges); /* they hold nested runs, which hold this one */
    if (tl_timers_cancel(j->run->exec->timers, &j->timer))
        tl_run_unref(j->run);
}

/* The common part of a commit that has come back; j->lock held, and let go on return. */
static void came_back(struct tl_journal *j, int err)
{
    struct tl_run *run = j->run;
    j->committing--;
    if (err)
        give_up(j);
    else if (j->wants_flush)
        flush_or_hand_on(j);
    bool drop = j->failed && j->end_status && !j->closed;
    pthread_mutex_unlock(&j->lock);
    /* A run that cannot be written stops here and goes on at the next start. */
    if (err)
        tl_run_stop(run, err, NULL, NULL);
    if (drop)
        tl_exec_remove_live(run->exec, run);
}

void tl_journal_batch_done(void *arg, int err)
{
    struct batch *b = arg;
    struct tl_run *run = b->run;
    const struct tl_exec_conf *conf = &run->exec->conf;
    if (!err)
        tl_results_committed(run->exec->results, b->kept); /* before somebody is told that he may ask for them */
    if (!err && conf->notify && b->nevents)
        conf->notify(conf->arg, &run->id, b->events[b->nevents - 1].seq, b->end);
    pthread_mutex_lock(&run->journal->lock);
    came_back(run->journal, err);
    if (b->end && !err)
        tl_results_ended(run->exec->results, &run->id);
    if (b->end)
        tl_exec_remove_live(run->exec, run);
    free_batch(b);
}

void tl_journal_first_sent(struct tl_run *run)
{
    struct tl_journal *j = run->journal;
    pthread_mutex_lock(&j->lock);
    j->sent = true;
    if (j->wants_flush && j->end_payload && j->committing == 1 && !j->failed)
        flush_now(j);
    pthread_mutex_unlock(&j->lock);
}

void tl_journal_first_done(struct tl_run *run, int err)
{
    pthread_mutex_lock(&run->journal->lock);
    came_back(run->journal, err);
    tl_run_durable(run); /* where it failed the run has been stopped: what waited is let go of */
}

static const char *record_status(const struct tl_journal *j)
{
    return j->end_status ? j->end_status : j->start_due ? "queued" : "running";
}

static int add_partials(struct batch *b, struct tl_journal *j)
{
    int err = 0;
    for (size_t i = 0; !err && i < j->npartials; i++) {
        tl_str_puts(&j->partials[i], "]}");
        err = j->partials[i].err ? TL_ENOMEM : add_event(b, j, "run.partial", j->partials[i].data, j->partials[i].len);
    }
    drop_partials(j);
    return err;
}

static int fill_batch(struct batch *b, struct tl_journal *j, int64_t now)
{
    int err = 0;
    bool last = j->end_payload != NULL;
    if (j->start_due) {
        j->start_due = false;
        err = add_event(b, j, "run.started", "{}", 2);
    }
    bool due = now - j->last_progress_us >= EVERY_US || last;
    if (due && (j->nchanges || j->message)) {
        j->last_progress_us = now;
        do
            err = err ? err : add_progress(b, j);
        while (!err && last && j->nchanges); /* before the end, all of it */
    }
    if (!err)
        err = add_partials(b, j);
    if (!err && last) {
        char type[32];
        bool done = strcmp(j->end_status, "done") == 0;
        snprintf(type, sizeof(type), "run.%s", done ? "completed" : j->end_status);
        err = add_event(b, j, type, j->end_payload, j->end_len);
        if (done)
            j->percent = 100;
    }
    b->kept = tl_result_sorted(j->kept);
    j->kept = NULL;
    j->nkept = 0;
    b->end = last;
    TL_AUTO_JSON json_t *waiting = j->nwaits ? waiting_list(j) : NULL;
    const struct tl_record_facts facts = {.status = record_status(j),
                                          .progress = j->percent,
                                          .seq = j->seq,
                                          .ended = last,
                                          .waiting = waiting,
                                          .nwaiting = j->nwaits};
    b->record = err ? NULL : tl_journal_record(j->run, &facts);
    return b->record ? 0 : TL_ENOMEM;
}

static void flush_late(struct tl_timer *timer);

/* What there is to tell must wait until then. */
static void flush_soon(struct tl_journal *j, int64_t due_us)
{
    if (j->scheduled || j->closed)
        return;
    j->timer.due_us = due_us;
    j->timer.fn = flush_late;
    tl_run_ref(j->run);
    j->scheduled = tl_timers_arm(j->run->exec->timers, &j->timer) == 0;
    if (!j->scheduled)
        tl_run_unref(j->run);
}

/* Of one that will not be committed. */
static void drop_batch(struct tl_journal *j, struct batch *b)
{
    j->committing--;
    j->failed = true;
    if (b->end)
        tl_exec_remove_live(j->run->exec, j->run);
    free_batch(b);
}

/* j->lock held, and no commit under way but perhaps the first. */
static struct batch *take_batch(struct tl_journal *j)
{
    struct tl_exec *exec = j->run->exec;
    struct batch *b = tl_calloc(1, sizeof(*b));
    j->wants_flush = false;
    if (!b) {
        j->failed = true;
        return NULL;
    }
    b->run = tl_run_ref(j->run);
    tl_exec_commits(exec, 1);
    j->committing++;
    j->closed |= j->end_payload != NULL;
    if (j->closed && tl_timers_cancel(exec->timers, &j->timer))
        tl_run_unref(j->run);
    int64_t now = j->last_commit_us = tl_exec_mono_us(exec);
    if (fill_batch(b, j, now) == 0)
        return b;
    drop_batch(j, b);
    return NULL;
}

static void flush_now(struct tl_journal *j)
{
    struct batch *b = take_batch(j);
    if (b && tl_db_submit(j->run->exec->conf.db, tl_journal_put_batch, b, tl_journal_batch_done) < 0)
        drop_batch(j, b);
    else if (b && j->nchanges)
        flush_soon(j, j->last_progress_us + EVERY_US);
}

struct batch *tl_journal_take_end(struct tl_run *run)
{
    struct tl_journal *j = run->journal;
    pthread_mutex_lock(&j->lock);
    struct batch *b = j->end_payload && !j->failed && !j->closed ? take_batch(j) : NULL;
    pthread_mutex_unlock(&j->lock);
    return b;
}

static void flush_task(struct tl_task *task)
{
    struct tl_journal *j = (struct tl_journal *)((char *)task - offsetof(struct tl_journal, flush_task));
    struct tl_run *run = j->run;
    pthread_mutex_lock(&j->lock);
    j->flushing = false;
    if (j->wants_flush && !j->committing && !j->failed)
        flush_now(j);
    pthread_mutex_unlock(&j->lock);
    tl_run_unref(run);
}

/* From the writer's thread, which others wait for. */
static void flush_or_hand_on(struct tl_journal *j)
{
    if (j->committing) {
        return;
    } else if (j->nchanges + j->nkept <= SMALL_BATCH) {
        flush_now(j);
    } else if (!j->flushing) {
        j->flushing = true;
        j->flush_task.fn = flush_task;
        tl_run_ref(j->run);
        tl_exec_task(j->run->exec, &j->flush_task);
    }
}

/* now: who waits for it is a person, or the end. Otherwise commits of one run are at least EVERY_US apart, so that a busy run makes few large ones: each dirties pages
 * all over the table of results. */
static void poke(struct tl_journal *j, bool now)
{
    if (j->failed || j->closed || (j->scheduled && !now))
        return;
    int64_t due_us = j->last_commit_us + EVERY_US;
    if (!now && tl_exec_mono_us(j->run->exec) < due_us)
        flush_soon(j, due_us);
    else if (!j->sent || j->committing > (j->end_payload && !j->run->durable) || j->flushing)
        j->wants_flush = true;
    else
        flush_now(j);
}

static void flush_late(struct tl_timer *timer)
{
    struct tl_journal *j = (struct tl_journal *)((char *)timer - offsetof(struct tl_journal, timer));
    struct tl_run *run = j->run;
    pthread_mutex_lock(&j->lock);
    j->scheduled = false;
    if (j->nchanges || j->message || j->npartials || j->kept)
        poke(j, true);
    pthread_mutex_unlock(&j->lock);
    tl_run_unref(run);
}

/* ---- what happens to nodes ---- */

/* The journal in which a run tells of a node: NULL for none. The ends of a nested graph are no steps. */
static struct tl_journal *journal_of(const struct tl_run *run, uint32_t node)
{
    bool told = run == run->root || (run->open && node != run->plan->input_node && node != run->plan->output_node);
    return told && !run->root->suspended ? run->root->journal : NULL;
}

static void note_wait(struct tl_journal *j, const struct tl_run *run, uint32_t node, json_t *what)
{
    TL_AUTO_FREE char *step = tl_run_step_id(run, node);
    for (size_t i = 0; step && i < j->nwaits; i++)
        if (strcmp(j->waits[i].step, step) == 0) {
            drop_wait(j, i);
            break;
        }
    if (!step || !what || tl_grow(&j->waits, &j->waits_cap, j->nwaits + 1, sizeof(*j->waits)) < 0)
        return;
    j->waits[j->nwaits++] = (struct wait){.step = step, .what = json_incref(what)};
    step = NULL;
}

static struct tl_change *change_of(struct tl_journal *j, struct tl_run *run, uint32_t node)
{
    struct tl_node_state *s = &run->nodes[node];
    if (s->change < j->nchanges && j->changes[s->change].run == run && j->changes[s->change].node == node)
        return &j->changes[s->change];
    if (tl_grow(&j->changes, &j->changes_cap, j->nchanges + 1, sizeof(*j->changes)) < 0)
        return NULL;
    s->change = (uint32_t)j->nchanges;
    struct tl_change *c = &j->changes[j->nchanges++];
    *c = (struct tl_change){.run = run == j->run ? run : tl_run_ref(run), .node = node};
    return c;
}

void tl_journal_node_changed(struct tl_run *run, uint32_t node)
{
    struct tl_journal *j = journal_of(run, node);
    if (!j)
        return;
    const struct tl_node_state *s = &run->nodes[node];
    pthread_mutex_lock(&j->lock);
    struct tl_change *c = j->failed ? NULL : change_of(j, run, node);
    if (!c) {
        j->failed = true;
    } else {
        c->status = s->status;
        c->progress = s->progress;
        c->cached = s->cached;
        free(c->more);
        c->more = s->extra || s->attempts > 1 ? tl_journal_more(s) : NULL;
        bool asks = s->status == TL_NODE_WAITING;
        if (asks || s->asks)
            note_wait(j, run, node, asks && s->extra ? s->extra->waits : NULL);
        run->nodes[node].asks = asks;
        if (run == j->run) {
            j->done = run->progress;
            j->ndone = run->ndone;
        }
        poke(j, s->status == TL_NODE_WAITING);
    }
    pthread_mutex_unlock(&j->lock);
}

static struct tl_str *open_partial(struct tl_journal *j)
{
    if (j->npartials && j->partials[j->npartials - 1].len < PARTIAL_BYTES) {
        tl_str_puts(&j->partials[j->npartials - 1], ",");
        return &j->partials[j->npartials - 1];
    }
    if (tl_grow(&j->partials, &j->partials_cap, j->npartials + 1, sizeof(*j->partials)) < 0)
        return NULL;
    struct tl_str *s = &j->partials[j->npartials++];
    *s = (struct tl_str){0};
    tl_str_puts(s, "{\"results\":[");
    return s;
}

static bool is_told(const struct tl_run *run, uint32_t node)
{
    if (!run->root->told || run == run->root)
        return run->nodes[node].reported;
    TL_AUTO_FREE char *step = tl_run_step_id(run, node);
    return step && json_object_get(run->root->told, step);
}

void tl_journal_result(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    uint32_t node = ctx->node;
    struct tl_journal *j = run->root->journal;
    struct tl_node_state *s = &run->nodes[node];
    if (!j)
        return;
    struct tl_kept *kept = ctx->kept;
    ctx->kept = NULL;
    pthread_mutex_lock(&j->lock);
    if (kept) {
        kept->next = j->kept;
        j->kept = kept;
        j->nkept++;
    }
    if (journal_of(run, node) && !run->stopping && !is_told(run, node)) {
        struct tl_str *partial = open_partial(j);
        if (partial)
            tl_journal_add_result(partial, run, node);
        else
            j->failed = true;
        s->reported = true;
    }
    /* What was waited or paid for outside is not left to a crash for the sake of fewer commits. */
    const struct tl_usage *u = &ctx->usage;
    bool dear = kept && (ctx->def->op->flags & (TL_OP_NET | TL_OP_WORKER) || u->tokens_in + u->tokens_out > 0 ||
                         u->cost_usd > 0);
    if (kept || j->npartials)
        poke(j, dear);
    pthread_mutex_unlock(&j->lock);
}

/* ---- the outermost run ---- */

void tl_journal_started(struct tl_run *run)
{
    struct tl_journal *j = run->journal;
    pthread_mutex_lock(&j->lock);
    if (j->start_due)
        run->started_ms = tl_exec_wall_ms(run->exec);
    poke(j, true);
    pthread_mutex_unlock(&j->lock);
}

void tl_journal_go_on(struct tl_run *run, double percent, const char *message)
{
    run->journal->percent = percent;
    run->journal->message = tl_strdup(message);
}

void tl_journal_end(struct tl_run *run, const char *status, const struct tl_str *payload)
{
    struct tl_journal *j = run->journal;
    pthread_mutex_lock(&j->lock);
    j->end_status = status;
    j->end_payload = payload->err ? NULL : tl_strndup(payload->data, payload->len);
    j->end_len = payload->len;
    if (!j->end_payload)
        j->failed = true;
    bool drop = j->failed && !j->closed;
    poke(j, true);
    pthread_mutex_unlock(&j->lock);
    if (drop)
        tl_exec_remove_live(run->exec, run);
}

void tl_journal_suspend(struct tl_run *run)
{
    struct tl_journal *j = run->journal;
    pthread_mutex_lock(&j->lock);
    j->closed = true;
    drop_changes(j, j->nchanges);
    if (tl_timers_cancel(run->exec->timers, &j->timer))
        tl_run_unref(run);
    if (!j->failed && j->kept && !j->committing)
        flush_now(j);
    else if (j->kept)
        j->wants_flush = true;
    pthread_mutex_unlock(&j->lock);
}

bool tl_journal_failed(struct tl_run *run)
{
    pthread_mutex_lock(&run->journal->lock);
    bool failed = run->journal->failed;
    pthread_mutex_unlock(&run->journal->lock);
    return failed;
}

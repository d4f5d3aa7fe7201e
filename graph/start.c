/* Making runs: the first commit, waiting until a run exists, and taking up the unfinished ones. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"
#include "graph/why.h"
#include "store/text.h"

#include <stdio.h>
#include <string.h>

static int make_run(struct tl_exec *exec, const struct tl_run_req *req, const struct tl_id *id, bool fresh, struct tl_run **ret)
{
    if (strlen(req->org) >= TL_ORG_MAX || req->priority < TL_PRIORITY_LOW || req->priority > TL_PRIORITY_HIGH)
        return TL_EINVAL;
    int err = tl_run_new(exec, req->plan, ret);
    struct tl_run *run = *ret;
    if (err)
        return err;
    run->id = *id;
    tl_id_text(id, run->id_text);
    run->org = tl_strdup(req->org);
    run->sub = tl_strdup(req->sub);
    run->kind = tl_strdup(req->kind);
    run->doc = json_incref(req->doc);
    run->meta = json_incref(req->meta);
    run->created_ms = run->started_ms = tl_id_ms(id);
    run->priority = req->priority;
    run->budget = req->budget;
    run->durable = !fresh || !exec->conf.db;
    run->resumed = !fresh;
    run->flow = tl_exec_flow(exec, req->org);
    err = run->org && run->sub && run->kind && run->flow ? 0 : TL_ENOMEM;
    if (!err && exec->conf.cache_key)
        err = exec->conf.cache_key(exec->conf.arg, req->org, run->cache_key);
    if (!err)
        tl_result_run_key(run->cache_key, run->org);
    if (err) {
        tl_run_unref(run);
        *ret = NULL;
    }
    return err;
}

/* The run's first commit: record, document, indexes, run.queued and run.started in one transaction. */
struct first {
    struct tl_exec *exec;
    struct tl_run *run;
    char *record, *doc;
    const char *graph; /* borrowed: see tl_run_req */
    size_t graph_len;
    struct tl_event events[2];
    struct batch *end; /* the run has ended already */
    void (*started)(void *arg, int err, const struct tl_id *id);
    void *arg;
};

/* The graph's text stays as long as the run. */
static int hold_graph(struct tl_txn *txn, const struct first *f)
{
    const char *hex = tl_json_str(f->run->doc, "doc");
    uint8_t hash[TL_TEXT_HASH];
    if (!hex)
        return 0;
    if (!tl_unhex(hex, hash, sizeof(hash)))
        return TL_EINVAL;
    int err = tl_text_hold(txn, f->run->org, hash, &f->run->id, f->graph, f->graph_len);
    return err == TL_ENOTFOUND ? TL_ECONFLICT : err;
}

static int put_first(struct tl_txn *txn, void *arg)
{
    const struct first *f = arg;
    const struct tl_id *id = &f->run->id;
    uint8_t by_org[TL_ORG_MAX + TL_ID_LEN];
    size_t n = strlen(f->run->org) + 1;
    memcpy(by_org, f->run->org, n);
    memcpy(by_org + n, id->b, TL_ID_LEN);
    int err = hold_graph(txn, f);
    if (!err)
        err = tl_txn_add(txn, TL_TBL_RUN, id->b, TL_ID_LEN, f->record, strlen(f->record));
    if (!err)
        err = tl_txn_put(txn, TL_TBL_RUN_DOC, id->b, TL_ID_LEN, f->doc, strlen(f->doc));
    if (!err)
        err = tl_txn_put(txn, TL_TBL_RUN_ORG, by_org, n + TL_ID_LEN, "", 0);
    if (!err)
        err = tl_txn_put(txn, TL_TBL_RUN_LIVE, id->b, TL_ID_LEN, "", 0);
    for (size_t i = 0; !err && i < TL_ARRAY_LEN(f->events); i++)
        err = tl_journal_put_event(txn, id, &f->events[i]);
    return !err && f->end ? tl_journal_put_batch(txn, f->end) : err;
}

static void free_first(struct first *f)
{
    struct tl_exec *exec = f->exec;
    tl_run_unref(f->run);
    free(f->record);
    free(f->doc);
    for (size_t i = 0; i < TL_ARRAY_LEN(f->events); i++)
        free(f->events[i].text);
    free(f);
    tl_exec_commits(exec, -1);
}

static void first_done(void *arg, int err)
{
    struct first *f = arg;
    struct tl_run *run = f->run;
    const struct tl_exec_conf *conf = &run->exec->conf;
    if (!err && conf->notify)
        conf->notify(conf->arg, &run->id, TL_ARRAY_LEN(f->events), false);
    if (f->started)
        f->started(f->arg, err, &run->id);
    tl_journal_first_done(run, err);
    if (f->end)
        tl_journal_batch_done(f->end, err);
    free_first(f);
}

/* What replanning needs, and the revisions of its ops, for who asks later why a node ran. */
static char *doc_text(const struct tl_run_req *req)
{
    TL_AUTO_JSON json_t *doc = json_copy(req->doc);
    if (!doc || json_object_set_new(doc, "ops", tl_why_ops(req->plan)) < 0)
        return NULL;
    return tl_json_text(doc);
}

static int first_events(struct first *f, uint32_t nodes)
{
    static const char *const types[] = {"run.queued", "run.started"};
    char queued[64];
    snprintf(queued, sizeof(queued), "{\"node_count\":%u}", nodes);
    for (size_t i = 0; i < TL_ARRAY_LEN(f->events); i++) {
        const char *payload = i ? "{}" : queued;
        struct tl_event *e = &f->events[i];
        e->seq = i + 1;
        e->text = tl_journal_event_text(f->run, e->seq, types[i], payload, strlen(payload), &e->len);
        if (!e->text)
            return TL_ENOMEM;
    }
    return 0;
}

/* Its nodes begin before the first commit is on its way, so that a run that only computes a little is in one commit from its first event to its last; those that
 * may reach outside wait until it is on disk. */
static int start_stored(struct first *f, const struct tl_run_req *req)
{
    struct tl_exec *exec = f->exec;
    struct tl_run *run = f->run;
    int err = tl_journal_new(run, TL_ARRAY_LEN(f->events), true);
    if (!err)
        err = first_events(f, req->plan->nwanted);
    if (err)
        return err;
    f->doc = doc_text(req);
    f->record = tl_journal_first_record(run);
    if (!f->doc || !f->record)
        return TL_ENOMEM;
    if (!tl_exec_add_live(exec, run))
        return TL_EAGAIN;
    tl_run_ref(run);
    tl_run_begin(run);
    f->end = tl_journal_take_end(run);
    err = tl_db_submit(exec->conf.db, put_first, f, first_done);
    if (err) { /* as if it had come back: the run stops and is forgotten */
        tl_journal_first_done(run, err);
        if (f->end)
            tl_journal_batch_done(f->end, err);
    } else {
        tl_journal_first_sent(run);
    }
    tl_run_unref(run);
    return err;
}

static int start_in_memory(struct first *f)
{
    struct tl_run *run = f->run;
    if (!tl_exec_add_live(f->exec, run))
        return TL_EAGAIN;
    tl_run_ref(run);
    if (f->started)
        f->started(f->arg, 0, &run->id);
    tl_run_begin(run);
    tl_run_unref(run);
    free_first(f);
    return 0;
}

int tl_run_start(struct tl_exec *exec, const struct tl_run_req *req,
                 void (*started)(void *arg, int err, const struct tl_id *id), void *arg)
{
    if (!tl_exec_has_room(exec, req->org, req->plan->nwanted))
        return TL_ERATE;
    struct tl_id id = tl_exec_new_id(exec);
    struct first *f = tl_calloc(1, sizeof(*f));
    if (!f)
        return TL_ENOMEM;
    *f = (struct first){.exec = exec, .graph = req->graph, .graph_len = req->graph_len, .started = started, .arg = arg};
    tl_exec_commits(exec, 1);
    int err = make_run(exec, req, &id, true, &f->run);
    if (!err && exec->conf.db) {
        err = start_stored(f, req);
    } else if (!err) {
        err = start_in_memory(f);
    }
    if (err)
        free_first(f);
    return err;
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
    int err;
    struct tl_id id;
};

static void wake(void *arg, int err, const struct tl_id *id)
{
    struct waiter *w = arg;
    pthread_mutex_lock(&w->lock);
    w->over = true;
    w->err = err;
    w->id = *id;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int tl_run_start_wait(struct tl_exec *exec, const struct tl_run_req *req, struct tl_id *ret)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    int err = tl_run_start(exec, req, wake, &w);
    if (err)
        return err;
    pthread_mutex_lock(&w.lock);
    while (!w.over)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    *ret = w.id;
    return w.err;
}

/* What the store knows of a run. */
struct stored {
    struct tl_id id;
    json_t *record, *doc;
};

static void clear_stored(struct stored *s)
{
    json_decref(s->record);
    json_decref(s->doc);
}

static int read_stored(struct tl_txn *txn, void *arg)
{
    struct stored *s = arg;
    struct tl_bytes v;
    int err = tl_run_read_record(txn, &s->id, &s->record);
    if (!err)
        err = tl_txn_get(txn, TL_TBL_RUN_DOC, s->id.b, TL_ID_LEN, &v);
    if (!err)
        err = tl_json_parse(v.data, v.len, &s->doc, NULL);
    json_object_del(s->doc, "ops"); /* doc_text() added them */
    return err;
}

/* Marks the nodes whose outputs the journal has already. */
static int note_reported(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct tl_run *run = arg;
    (void)seq;
    if (!memmem(json, len, "\"run.partial\"", 13))
        return 0;
    TL_AUTO_JSON json_t *e = NULL;
    if (tl_json_parse(json, len, &e, NULL) < 0)
        return 0;
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(json_object_get(e, "payload"), "results"), i, r) {
        const char *id = tl_json_str(r, "node");
        uint32_t node = id ? tl_plan_find(run->plan, id) : UINT32_MAX;
        if (node != UINT32_MAX)
            run->nodes[node].reported = true;
        else if (id && (run->told || (run->told = json_object())))
            json_object_set_new(run->told, id, json_true());
    }
    return 0;
}

/* The facts that the record holds beyond the executor's own fields. */
static json_t *meta_of(const json_t *record)
{
    static const char *const own[] = {"id",       "org",        "sub",        "kind",       "status",
                                      "progress", "created_at", "started_at", "updated_at", "ended_at",
                                      "last_seq", "graph_hash", "node_count", "result", "waiting_for", "waiting_count", "priority", "budget_tokens", "budget_cost_usd", NULL};
    json_t *meta = json_copy((json_t *)(uintptr_t)record);
    for (size_t i = 0; meta && own[i]; i++)
        json_object_del(meta, own[i]);
    return meta;
}

static int resume_one(struct tl_exec *exec, const struct stored *s)
{
    const char *org = tl_json_str(s->record, "org"), *kind = tl_json_str(s->record, "kind"),
               *sub = tl_json_str(s->record, "sub");
    struct tl_diag diag = {0};
    struct tl_plan *plan = NULL;
    struct tl_run *run = NULL;
    if (!org || !kind || !sub)
        return TL_ECORRUPT;
    int planned = exec->conf.replan(exec->conf.arg, org, kind, s->doc, &plan, &diag);
    if (planned < 0) {
        /* An empty plan carries the run to its end, so that there is one way to end. */
        TL_AUTO_JSON json_t *empty = json_pack("{s:[],s:[]}", "nodes", "edges");
        struct tl_graph_env env = {0};
        int err = empty ? tl_plan_json(empty, &env, NULL, 0, &plan, NULL) : TL_ENOMEM;
        if (err) {
            tl_diag_clear(&diag);
            return err;
        }
    }
    TL_AUTO_JSON json_t *meta = meta_of(s->record);
    struct tl_run_req req = {.org = org,
                             .sub = sub,
                             .kind = kind,
                             .doc = s->doc,
                             .plan = plan,
                             .meta = meta,
                             .priority = (int)tl_json_int(s->record, "priority", 0),
                             .budget = {.tokens = tl_json_int(s->record, "budget_tokens", 0),
                                        .cost_usd = tl_json_num(s->record, "budget_cost_usd", 0)}};
    int err = make_run(exec, &req, &s->id, false, &run);
    bool started = strcmp(tl_json_str(s->record, "status"), "running") == 0;
    if (!err)
        err = tl_journal_new(run, (uint64_t)tl_json_int(s->record, "last_seq", 1), started);
    if (!err)
        err = tl_events_read(exec->conf.db, &s->id, 0, note_reported, run);
    if (!err) {
        tl_journal_go_on(run, tl_json_num(s->record, "progress", 0), started ? "going on after a restart" : NULL);
        err = tl_exec_add_live(exec, run) ? 0 : TL_EAGAIN;
    }
    if (!err) {
        if (planned < 0)
            tl_run_stop(run, planned, diag.count ? diag.items[0].node : NULL,
                        diag.count ? diag.items[0].message : tl_err_text(planned));
        tl_journal_started(run);
        tl_run_begin(run);
    }
    tl_run_unref(run);
    tl_plan_unref(plan);
    tl_diag_clear(&diag);
    return err;
}

struct ids {
    struct tl_id *id;
    size_t n, cap;
};

static int collect_id(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct ids *ids = arg;
    (void)value;
    if (key.len != TL_ID_LEN)
        return TL_ECORRUPT;
    if (tl_grow(&ids->id, &ids->cap, ids->n + 1, sizeof(*ids->id)) < 0)
        return TL_ENOMEM;
    memcpy(ids->id[ids->n++].b, key.data, TL_ID_LEN);
    return 0;
}

static int scan_live(struct tl_txn *txn, void *arg)
{
    return tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_RUN_LIVE}, collect_id, arg);
}

int tl_exec_resume(struct tl_exec *exec, int *ret_failed)
{
    struct ids ids = {0};
    int err = tl_db_read(exec->conf.db, scan_live, &ids), count = 0;
    *ret_failed = 0;
    for (size_t i = 0; !err && i < ids.n; i++) {
        struct stored s = {.id = ids.id[i]};
        int bad = tl_db_read(exec->conf.db, read_stored, &s);
        if (!bad)
            bad = resume_one(exec, &s);
        clear_stored(&s);
        count += !bad;
        *ret_failed += bad != 0;
    }
    free(ids.id);
    return err ? err : count;
}

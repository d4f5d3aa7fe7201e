/* Making runs: the first commit, and waiting until a run exists. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"
#include "graph/why.h"
#include "store/text.h"

#include <stdio.h>
#include <string.h>

int tl_run_make(struct tl_exec *exec, const struct tl_run_req *req, const struct tl_id *id, bool fresh,
                struct tl_run **ret)
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
    int err = tl_run_make(exec, req, &id, true, &f->run);
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

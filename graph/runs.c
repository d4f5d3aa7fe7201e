/* Runs from outside: making one, waiting until it exists, taking up the unfinished ones, and reading records and events. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <string.h>

int tl_run_make(struct tl_exec *exec, const struct tl_run_req *req, const struct tl_id *id, struct tl_run **ret)
{
    if (strlen(req->org) >= TL_ORG_MAX)
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
    err = run->org && run->sub && run->kind ? 0 : TL_ENOMEM;
    if (!err && exec->conf.cache_key)
        err = exec->conf.cache_key(exec->conf.arg, req->org, run->cache_key);
    if (err) {
        tl_run_unref(run);
        *ret = NULL;
    }
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

static int read_record(struct tl_txn *txn, const struct tl_id *id, json_t **ret)
{
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_RUN, id->b, TL_ID_LEN, &v);
    return err ? err : tl_json_parse(v.data, v.len, ret, NULL);
}

static int read_stored(struct tl_txn *txn, void *arg)
{
    struct stored *s = arg;
    struct tl_bytes v;
    int err = read_record(txn, &s->id, &s->record);
    if (!err)
        err = tl_txn_get(txn, TL_TBL_RUN_DOC, s->id.b, TL_ID_LEN, &v);
    return err ? err : tl_json_parse(v.data, v.len, &s->doc, NULL);
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
    json_array_foreach(json_object_get(json_object_get(e, "payload"), "results"), i, r)
    {
        const char *id = tl_json_str(r, "node");
        uint32_t node = id ? tl_plan_find(run->plan, id) : UINT32_MAX;
        if (node != UINT32_MAX)
            run->nodes[node].reported = true;
    }
    return 0;
}

/* The facts that the record holds beyond the executor's own fields. */
static json_t *meta_of(const json_t *record)
{
    static const char *const own[] = {"id", "org", "sub", "kind", "status", "progress", "created_at", "started_at", "updated_at",
                                      "ended_at", "last_seq", "graph_hash", "node_count", "result", NULL};
    json_t *meta = json_copy((json_t *)(uintptr_t)record);
    for (size_t i = 0; meta && own[i]; i++)
        json_object_del(meta, own[i]);
    return meta;
}

static int resume_one(struct tl_exec *exec, const struct stored *s)
{
    const char *org = tl_json_str(s->record, "org"), *kind = tl_json_str(s->record, "kind"), *sub = tl_json_str(s->record, "sub");
    struct tl_diag diag = {0};
    struct tl_plan *plan = NULL;
    struct tl_run *run = NULL;
    if (!org || !kind || !sub)
        return TL_ECORRUPT;
    int planned = exec->conf.replan(exec->conf.arg, org, kind, s->doc, &plan, &diag);
    if (planned < 0) {
        /* An empty plan carries the run to its end, so that there is one way to end. */
        TL_AUTO_JSON json_t *empty = json_pack("{s:[],s:[]}", "nodes", "edges");
        struct tl_doc *doc = NULL;
        struct tl_graph_env env = {0};
        int err = empty ? tl_doc_parse(empty, &doc, NULL) : TL_ENOMEM;
        if (!err)
            err = tl_plan_new(doc, &env, NULL, 0, &plan, NULL);
        if (err) {
            tl_diag_clear(&diag);
            return err;
        }
    }
    TL_AUTO_JSON json_t *meta = meta_of(s->record);
    struct tl_run_req req = {.org = org, .sub = sub, .kind = kind, .doc = s->doc, .plan = plan, .meta = meta};
    int err = tl_run_make(exec, &req, &s->id, &run);
    bool started = strcmp(tl_json_str(s->record, "status"), "running") == 0;
    if (!err)
        err = tl_journal_new(run, (uint64_t)tl_json_int(s->record, "last_seq", 1), started);
    if (!err)
        err = tl_events_read(exec->conf.db, &s->id, 0, note_reported, run);
    if (!err) {
        run->journal->percent = tl_json_num(s->record, "progress", 0);
        run->journal->message = started ? tl_strdup("going on after a restart") : NULL;
        tl_exec_add_live(exec, run);
        if (planned < 0)
            tl_run_stop(run, planned, diag.count ? diag.items[0].node : NULL, diag.count ? diag.items[0].message : tl_err_text(planned));
        else
            tl_journal_begin(run);
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

int tl_exec_resume(struct tl_exec *exec)
{
    struct ids ids = {0};
    int err = tl_db_read(exec->conf.db, scan_live, &ids), count = 0;
    for (size_t i = 0; !err && i < ids.n; i++) {
        struct stored s = {.id = ids.id[i]};
        err = tl_db_read(exec->conf.db, read_stored, &s);
        if (!err)
            err = resume_one(exec, &s);
        clear_stored(&s);
        count += !err;
    }
    free(ids.id);
    return err ? err : count;
}

struct events_read {
    const struct tl_id *run;
    uint64_t after;
    int (*visit)(void *arg, uint64_t seq, const char *json, size_t len);
    void *arg;
};

static int one_event(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    const struct events_read *r = arg;
    if (key.len != TL_ID_LEN + 8)
        return TL_ECORRUPT;
    return r->visit(r->arg, tl_key_u64_read((const uint8_t *)key.data + TL_ID_LEN), value.data, value.len);
}

static int scan_events(struct tl_txn *txn, void *arg)
{
    const struct events_read *r = arg;
    uint8_t from[TL_ID_LEN + 8];
    memcpy(from, r->run->b, TL_ID_LEN);
    tl_key_u64(from + TL_ID_LEN, r->after == UINT64_MAX ? r->after : r->after + 1);
    return tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_EVENT, .prefix = r->run->b, .prefix_len = TL_ID_LEN, .from = from, .from_len = sizeof(from)},
                       one_event, arg);
}

int tl_events_read(struct tl_db *db, const struct tl_id *run, uint64_t after_seq,
                   int (*visit)(void *arg, uint64_t seq, const char *json, size_t len), void *arg)
{
    struct events_read r = {run, after_seq, visit, arg};
    int err = tl_db_read(db, scan_events, &r);
    return err > 0 ? 0 : err;
}

/* The nodes' states, as the run.progress events tell them. */
static int collect_nodes(void *arg, uint64_t seq, const char *json, size_t len)
{
    json_t *nodes = arg;
    (void)seq;
    if (!memmem(json, len, "\"run.progress\"", 14))
        return 0;
    TL_AUTO_JSON json_t *e = NULL;
    if (tl_json_parse(json, len, &e, NULL) < 0)
        return 0;
    size_t i;
    json_t *n;
    json_array_foreach(json_object_get(json_object_get(e, "payload"), "nodes"), i, n)
    {
        TL_AUTO_JSON json_t *state = json_copy(n);
        json_object_del(state, "id");
        if (tl_json_str(n, "id"))
            json_object_set(nodes, tl_json_str(n, "id"), state);
    }
    return 0;
}

struct one_record {
    const struct tl_id *id;
    json_t *record;
};

static int get_record(struct tl_txn *txn, void *arg)
{
    struct one_record *r = arg;
    return read_record(txn, r->id, &r->record);
}

int tl_run_get(struct tl_db *db, const char *org, const struct tl_id *id, json_t **ret)
{
    struct one_record r = {.id = id};
    *ret = NULL;
    int err = tl_db_read(db, get_record, &r);
    const char *owner = tl_json_str(r.record, "org");
    if (!err && (!owner || strcmp(owner, org) != 0))
        err = TL_ENOTFOUND;
    json_t *nodes = err ? NULL : json_object();
    if (!err)
        err = tl_events_read(db, id, 0, collect_nodes, nodes);
    if (err) {
        json_decref(nodes);
        json_decref(r.record);
        return err;
    }
    json_object_set_new(r.record, "nodes", nodes);
    *ret = r.record;
    return 0;
}

struct list {
    struct tl_txn *txn;
    const char *org, *status;
    const struct tl_id *before;
    size_t limit;
    json_t *items;
    struct tl_id last;
    bool more;
};

static int one_of_list(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct list *l = arg;
    struct tl_id id;
    json_t *record = NULL;
    (void)value;
    memcpy(id.b, (const uint8_t *)key.data + key.len - TL_ID_LEN, TL_ID_LEN);
    if (l->before && memcmp(id.b, l->before->b, TL_ID_LEN) >= 0)
        return 0;
    int err = read_record(l->txn, &id, &record);
    if (err)
        return err == TL_ENOTFOUND ? 0 : err;
    const char *status = tl_json_str(record, "status");
    bool fits = !l->status || (status && strcmp(status, l->status) == 0);
    if (fits && json_array_size(l->items) == l->limit) {
        json_decref(record);
        l->more = true;
        return 1;
    }
    json_object_del(record, "result");
    if (!fits) {
        json_decref(record);
    } else {
        l->last = id;
        json_array_append_new(l->items, record);
    }
    return 0;
}

static int scan_list(struct tl_txn *txn, void *arg)
{
    struct list *l = arg;
    l->txn = txn;
    uint8_t from[TL_ORG_MAX + TL_ID_LEN];
    size_t n = strlen(l->org) + 1;
    memcpy(from, l->org, n);
    if (l->before)
        memcpy(from + n, l->before->b, TL_ID_LEN);
    return tl_txn_scan(txn,
                       &(struct tl_scan){.table = TL_TBL_RUN_ORG, .prefix = l->org, .prefix_len = n, .reverse = true,
                                         .from = l->before ? from : NULL, .from_len = l->before ? n + TL_ID_LEN : 0},
                       one_of_list, l);
}

int tl_run_list(struct tl_db *db, const char *org, const char *status, const struct tl_id *before, size_t limit, json_t **ret_items,
                struct tl_id *ret_next, bool *ret_more)
{
    struct list l = {.org = org, .status = status, .before = before, .limit = limit, .items = json_array()};
    *ret_items = NULL;
    if (!l.items || strlen(org) >= TL_ORG_MAX) {
        json_decref(l.items);
        return l.items ? TL_ENOTFOUND : TL_ENOMEM;
    }
    int err = tl_db_read(db, scan_list, &l);
    if (err < 0) {
        json_decref(l.items);
        return err;
    }
    *ret_items = l.items;
    *ret_next = l.last;
    *ret_more = l.more;
    return 0;
}

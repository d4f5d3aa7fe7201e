/* Taking up the runs that had not ended; one that cannot be taken up is ended in the store, and says why. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <stdio.h>
#include <string.h>

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
    static const char *const own[] = {
        "id",          "org",           "sub",      "kind",          "status",          "progress",   "created_at",
        "started_at",  "updated_at",    "ended_at", "last_seq",      "graph_hash",      "node_count", "result",
        "waiting_for", "waiting_count", "priority", "budget_tokens", "budget_cost_usd", NULL};
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
    int err = tl_run_make(exec, &req, &s->id, false, &run);
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

/* A run of which the store has too little to go on with. */
struct broken {
    struct tl_id id;
    int err;
    int64_t now_ms;
};

static int put_failed(struct tl_txn *txn, const struct broken *b, json_t *record)
{
    char run[TL_ID_TEXT], id[TL_ID_TEXT + 24], ts[TL_TIME_TEXT];
    struct tl_event e = {.seq = (uint64_t)tl_json_int(record, "last_seq", 0) + 1};
    tl_id_text(&b->id, run);
    snprintf(id, sizeof(id), "%s:%llu", run, (unsigned long long)e.seq);
    tl_time_text(b->now_ms, ts);
    TL_AUTO_JSON json_t *event =
        json_pack("{s:s,s:s,s:s,s:I,s:s,s:{s:{s:s,s:s,s:{}}}}", "event_id", id, "run_id", run, "type", "run.failed",
                  "seq", (json_int_t)e.seq, "ts", ts, "payload", "error", "code", tl_err_code(b->err), "message",
                  "what is stored of the run does not serve to go on with it", "details");
    json_object_set_new(record, "status", json_string("failed"));
    json_object_set_new(record, "ended_at", json_string(ts));
    json_object_set_new(record, "updated_at", json_string(ts));
    json_object_set_new(record, "last_seq", json_integer((json_int_t)e.seq));
    json_object_del(record, "waiting_for");
    TL_AUTO_FREE char *text = event ? tl_json_text(event) : NULL;
    TL_AUTO_FREE char *written = tl_json_text(record);
    if (!text || !written)
        return TL_ENOMEM;
    e.text = text;
    e.len = strlen(text);
    int err = tl_journal_put_event(txn, &b->id, &e);
    return err ? err : tl_txn_put(txn, TL_TBL_RUN, b->id.b, TL_ID_LEN, written, strlen(written));
}

static int end_in_store(struct tl_txn *txn, void *arg)
{
    const struct broken *b = arg;
    TL_AUTO_JSON json_t *record = NULL;
    int err = tl_run_read_record(txn, &b->id, &record);
    err = err ? 0 : put_failed(txn, b, record); /* one that cannot be read at all is for talos check to tell of */
    return err ? err : tl_txn_del(txn, TL_TBL_RUN_LIVE, b->id.b, TL_ID_LEN);
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
        struct broken b = {.id = ids.id[i], .err = bad, .now_ms = tl_exec_wall_ms(exec)};
        if (bad == TL_ECORRUPT || bad == TL_EINVAL || bad == TL_ENOTFOUND)
            tl_db_update(exec->conf.db, end_in_store,
                         &b); /* for want of memory or of a disk it stays, for the next start */
    }
    free(ids.id);
    return err ? err : count;
}

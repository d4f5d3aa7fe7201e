#include "server/runview.h"

#include "base/err.h"
#include "base/jread.h"
#include "base/hash.h"
#include "capsules/doors.h"

#include <stdio.h>
#include <string.h>

enum {
    CACHE_RUNS = 1024,
    CACHE_TEXT_MAX = 64 * 1024, /* at most 64 MiB, where every run is that large */
    INLINE_EVENTS = 64,         /* a journal that is read on the service thread: so many events at most */
    INLINE_BYTES = 64 * 1024,   /* of so many bytes together */
};

struct kept {
    struct tl_id run;
    char *org, *text; /* owned; NULL: free */
    size_t len;
    uint64_t cut; /* pruned_before, as the text has it */
};

struct tl_run_text {
    pthread_mutex_t lock;
    struct kept kept[CACHE_RUNS];
};

int tl_run_text_new(struct tl_run_text **ret)
{
    if (!(*ret = tl_calloc(1, sizeof(**ret))))
        return TL_ENOMEM;
    pthread_mutex_init(&(*ret)->lock, NULL);
    return 0;
}

static void kept_clear(struct kept *k)
{
    free(k->org);
    free(k->text);
    memset(k, 0, sizeof(*k));
}

void tl_run_text_free(struct tl_run_text *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < CACHE_RUNS; i++)
        kept_clear(&cache->kept[i]);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static struct kept *place(struct tl_run_text *cache, const struct tl_id *run)
{
    return &cache->kept[(run->b[TL_ID_LEN - 1] | run->b[TL_ID_LEN - 2] << 8) % CACHE_RUNS];
}

bool tl_run_status_ended(const char *status)
{
    return status && strcmp(status, "queued") != 0 && strcmp(status, "running") != 0;
}

/* What is asked of a record most often, read without building it. */
struct state {
    const struct tl_id *id;
    const char *org; /* NULL: whoever's */
    char status[16];
    uint64_t last_seq, cut; /* cut: pruned_before, 0 where nothing was */
};

static int read_state(struct tl_txn *txn, void *arg)
{
    struct state *s = arg;
    struct tl_arena arena TL_CLEANUP(tl_arena_clear) = {0};
    struct tl_jtext key, value;
    struct tl_jread r;
    struct tl_bytes v;
    bool theirs = !s->org;
    double last = 0, cut = 0;
    int err = tl_txn_get(txn, TL_TBL_RUN, s->id->b, TL_ID_LEN, &v);
    if (err < 0)
        return err;
    s->status[0] = '\0';
    tl_jread_init(&r, v.data, v.len, &arena);
    tl_jread_object(&r);
    while (tl_jread_key(&r, &key)) {
        if (TL_JTEXT_IS(key, "last_seq"))
            tl_jread_number(&r, &last);
        else if (TL_JTEXT_IS(key, "pruned_before"))
            tl_jread_number(&r, &cut);
        else if (TL_JTEXT_IS(key, "org") && s->org && tl_jread_string(&r, &value))
            theirs = tl_jtext_is(value, s->org);
        else if (TL_JTEXT_IS(key, "status") && tl_jread_string(&r, &value))
            snprintf(s->status, sizeof(s->status), "%.*s", (int)(value.len < sizeof(s->status) ? value.len : 0), value.s);
        else
            tl_jread_skip(&r, NULL);
    }
    s->last_seq = (uint64_t)last;
    s->cut = (uint64_t)cut;
    return tl_jread_finish(&r, NULL) < 0 ? TL_ECORRUPT : theirs ? 0 : TL_ENOTFOUND;
}

static void keep(struct tl_run_text *cache, const char *org, const struct tl_id *run, const char *text, size_t len, uint64_t cut)
{
    struct kept *k = place(cache, run);
    if (len > CACHE_TEXT_MAX)
        return;
    pthread_mutex_lock(&cache->lock);
    kept_clear(k);
    k->org = tl_strdup(org);
    k->text = tl_strndup(text, len);
    if (k->org && k->text) {
        k->run = *run;
        k->len = len;
        k->cut = cut;
    } else {
        kept_clear(k);
    }
    pthread_mutex_unlock(&cache->lock);
}

/* A copy of what is kept, which stands as long as retention has not cut the run since; returned owned, NULL where nothing is. */
static char *kept_text(struct tl_run_text *cache, const char *org, const struct tl_id *run, size_t *ret_len, uint64_t *ret_cut)
{
    const struct kept *k = place(cache, run);
    pthread_mutex_lock(&cache->lock);
    bool here = k->text && tl_id_equal(&k->run, run) && strcmp(k->org, org) == 0;
    char *text = here ? tl_strndup(k->text, k->len) : NULL;
    *ret_len = k->len;
    *ret_cut = k->cut;
    pthread_mutex_unlock(&cache->lock);
    return text;
}

/* The record with its nodes, which are read off the whole journal. Any thread. */
static void reply_whole(struct tl_req *req, const struct tl_id *id)
{
    TL_AUTO_JSON json_t *record = NULL;
    int err = tl_run_get(req->srv->conf.db, req->claims.org, id, &record);
    char *text = err < 0 ? NULL : tl_json_text(record);
    size_t len = text ? strlen(text) : 0;
    if (text && tl_run_status_ended(tl_json_str(record, "status")))
        keep(req->srv->run_text, req->claims.org, id, text, len, (uint64_t)tl_json_int(record, "pruned_before", 0));
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_text(req, 200, "application/json", text, len);
}

struct later {
    struct tl_req *req; /* owned reference */
    struct tl_id id;
    void (*reply)(struct tl_req *req, const struct tl_id *id);
};

static void on_pool(void *arg)
{
    struct later *l = arg;
    l->reply(l->req, &l->id);
    tl_req_unref(l->req);
    free(l);
}

static int weigh(void *arg, uint64_t seq, const char *json, size_t len)
{
    size_t *left = arg;
    (void)seq, (void)json;
    bool fits = len <= *left;
    *left = fits ? *left - len : 0;
    return !fits;
}

/* Calls reply, which reads the whole journal: at once where that is little, else on the pool. */
static int reply_from_journal(struct tl_req *req, const struct tl_id *id, const json_t *record,
                              void (*reply)(struct tl_req *req, const struct tl_id *id))
{
    size_t left = INLINE_BYTES;
    if (tl_json_int(record, "last_seq", 0) <= INLINE_EVENTS && tl_events_read(req->srv->conf.db, id, 0, weigh, &left) == 0 && left) {
        reply(req, id);
        return 0;
    }
    struct later *l = tl_calloc(1, sizeof(*l));
    if (!l)
        return TL_ENOMEM;
    *l = (struct later){tl_req_ref(req), *id, reply};
    int err = tl_exec_post_long(req->srv->conf.exec, on_pool, l);
    if (err < 0) {
        tl_req_unref(req);
        free(l);
    }
    return err;
}

void tl_runview_reply_record(struct tl_req *req)
{
    struct tl_server *srv = req->srv;
    struct tl_id id;
    size_t len;
    if (!tl_id_parse(req->params[0], &id)) {
        tl_reply_err(req, TL_ENOTFOUND, NULL);
        return;
    }
    uint64_t cut;
    char *text = kept_text(srv->run_text, req->claims.org, &id, &len, &cut);
    struct state now = {.id = &id};
    if (text && (tl_db_read(srv->conf.db, read_state, &now) < 0 || now.cut != cut)) {
        free(text);
        text = NULL;
    }
    if (text) {
        tl_reply_text(req, 200, "application/json", text, len);
        return;
    }
    TL_AUTO_JSON json_t *record = NULL;
    int err = tl_runview_record(srv->conf.db, req->claims.org, &id, &record);
    if (!err)
        err = reply_from_journal(req, &id, record, reply_whole);
    if (err < 0)
        tl_reply_err(req, err, NULL);
}

struct head_read {
    const struct tl_id *id;
    json_t *record;
};

static int read_head(struct tl_txn *txn, void *arg)
{
    struct head_read *r = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_RUN, r->id->b, TL_ID_LEN, &v);
    return err < 0 ? err : tl_json_parse(v.data, v.len, &r->record, NULL) < 0 ? TL_ECORRUPT : 0;
}

int tl_runview_record(struct tl_db *db, const char *org, const struct tl_id *run, json_t **ret)
{
    struct head_read r = {.id = run};
    *ret = NULL;
    int err = tl_db_read(db, read_head, &r);
    const char *owner = tl_json_str(r.record, "org");
    if (err == 0 && org && (!owner || strcmp(owner, org) != 0))
        err = TL_ENOTFOUND;
    if (err < 0)
        json_decref(r.record);
    else
        *ret = r.record;
    return err;
}

bool tl_runview_ended(struct tl_server *srv, const struct tl_id *run)
{
    struct state s = {.id = run};
    return tl_db_read(srv->conf.db, read_state, &s) == 0 && tl_run_status_ended(s.status);
}

static int call_record(struct tl_server *srv, const char *org, const struct tl_id *id, json_t **ret)
{
    int err = tl_runview_record(srv->conf.db, org, id, ret);
    const char *kind = err < 0 ? NULL : tl_json_str(*ret, "kind");
    if (err < 0 || (kind && strcmp(kind, TL_KIND_CAPSULE) == 0))
        return err;
    json_decref(*ret);
    *ret = NULL;
    return TL_ENOTFOUND;
}

int tl_runview_find_call(struct tl_server *srv, const char *org, const char *run, struct tl_id *ret)
{
    TL_AUTO_JSON json_t *record = NULL;
    return tl_id_parse(run, ret) ? call_record(srv, org, ret, &record) : TL_ENOTFOUND;
}

static void copy_fields(json_t *to, const json_t *from, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        json_t *v = json_object_get(from, names[i]);
        if (v)
            json_object_set(to, names[i], v);
    }
}

/* Seed §5.1: what has ended shows its result's fields beside run_id and status; what failed shows its error. */
static json_t *call_view(const json_t *record)
{
    static const char *const facts[] = {"capsule_id", "canvas_id", "node_id", "progress", "created_at", "updated_at", NULL};
    static const char *const outcome[] = {"summary", "evidence_refs", "token_usage", "latency_ms", "cost_usd_est", "version",
                                          "error", "reason", NULL};
    json_t *view = json_object();
    json_object_set(view, "run_id", json_object_get(record, "id"));
    json_object_set(view, "status", json_object_get(record, "status"));
    json_t *version = json_object_get(record, "capsule_version");
    if (version)
        json_object_set(view, "version", version);
    copy_fields(view, record, facts);
    copy_fields(view, json_object_get(record, "result"), outcome);
    return view;
}

/* What has ended: its result is the payload of the last event. */
static void reply_ended(struct tl_req *req, const struct tl_id *run)
{
    TL_AUTO_JSON json_t *record = NULL;
    int err = tl_run_get(req->srv->conf.db, req->claims.org, run, &record);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_json(req, 200, call_view(record));
}

void tl_runview_reply_call(struct tl_req *req, const struct tl_id *run, int pending)
{
    TL_AUTO_JSON json_t *record = NULL;
    int err = call_record(req->srv, req->claims.org, run, &record);
    bool ended = !err && tl_run_status_ended(tl_json_str(record, "status"));
    if (ended)
        err = reply_from_journal(req, run, record, reply_ended);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else if (!ended)
        tl_reply_json(req, pending, call_view(record));
}

void tl_runview_reply_begun(struct tl_req *req, const struct tl_id *run)
{
    TL_AUTO_JSON json_t *record = NULL;
    int err = call_record(req->srv, req->claims.org, run, &record);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_json(req, 202, call_view(record));
}

/* Appends the payload of an event, as it is. */
static int add_payload(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct tl_str *text = arg;
    struct tl_arena arena TL_CLEANUP(tl_arena_clear) = {0};
    struct tl_jtext key, value, payload = {0};
    struct tl_jread r;
    (void)seq;
    tl_jread_init(&r, json, len, &arena);
    tl_jread_object(&r);
    while (tl_jread_key(&r, &key) && tl_jread_skip(&r, &value))
        if (TL_JTEXT_IS(key, "payload"))
            payload = value;
    if (tl_jread_finish(&r, NULL) < 0 || !payload.s)
        return TL_ECORRUPT;
    tl_str_puts(text, ",\"result\":");
    tl_str_add(text, payload.s, payload.len);
    return 1;
}

void tl_runview_reply_end(struct tl_req *req, const struct tl_id *run, int pending)
{
    struct state s = {.id = run, .org = req->claims.org};
    struct tl_str text = {0};
    char id[TL_ID_TEXT];
    int err = tl_db_read(req->srv->conf.db, read_state, &s);
    bool ended = tl_run_status_ended(s.status);
    tl_id_text(run, id);
    tl_str_printf(&text, "{\"run_id\":\"%s\",\"status\":\"%s\"", id, s.status);
    if (!err && ended)
        err = tl_events_read(req->srv->conf.db, run, s.last_seq ? s.last_seq - 1 : 0, add_payload, &text);
    tl_str_puts(&text, "}");
    size_t len = text.len;
    if (err < 0) {
        tl_str_clear(&text);
        tl_reply_err(req, err, NULL);
    } else {
        tl_reply_text(req, ended ? 200 : pending, "application/json", tl_str_take(&text), len);
    }
}

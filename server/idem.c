#include "server/idem.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

#include <string.h>

/* Where a run's record says which key it was started with (a hash of it): what finds the run again after a crash between its start and
 * the key's entry. */
#define KEY_FIELD "request_key"

enum { KEY_BYTES = 2 * TL_TOKEN_NAME + TL_IDEM_KEY_MAX + 2, FIND_PAGE = 100, FIND_PAGES = 20, SWEEP = 32 };

struct waiting {
    struct tl_req *req; /* owned reference */
    struct waiting *next;
};

/* One start of a run, and all requests that wait for it. */
struct flight {
    struct flight *next;
    struct tl_server *srv;
    char org[TL_TOKEN_NAME], sub[TL_TOKEN_NAME];
    uint8_t key[KEY_BYTES];
    size_t key_len; /* 0: no key */
    size_t sub_len; /* bytes of the key that name org and sub */
    uint8_t hash[TL_BLAKE2B_LEN];
    char mark[2 * TL_BLAKE2B_LEN + 1]; /* value of KEY_FIELD */
    struct waiting *waiting;
    const char *kind;
    json_t *doc, *meta;   /* owned references */
    struct tl_plan *plan; /* owned reference */
    char *graph;          /* owned; NULL where the store has the text */
    size_t graph_len;
    int priority;
    struct tl_budget budget;
    char *refused; /* owned: why no new run starts; or NULL */
    void (*reply)(struct tl_req *req, const struct tl_id *run);
    struct tl_id run;
    int64_t now_ms, reserved_ms;
    bool started, flew; /* flew: the run was tried */
};

struct tl_idem {
    pthread_mutex_t lock;
    struct flight *flights; /* with a key */
};

int tl_idem_new(struct tl_idem **ret)
{
    if (!(*ret = tl_calloc(1, sizeof(**ret))))
        return TL_ENOMEM;
    pthread_mutex_init(&(*ret)->lock, NULL);
    return 0;
}

void tl_idem_free(struct tl_idem *idem)
{
    if (idem)
        pthread_mutex_destroy(&idem->lock);
    free(idem);
}

bool tl_idem_key_ok(const struct tl_req *req)
{
    const char *key = req->head.idempotency_key;
    size_t len = key ? strlen(key) : 1;
    bool ok = len >= 1 && len <= TL_IDEM_KEY_MAX;
    for (size_t i = 0; key && ok && i < len; i++)
        ok = key[i] >= 0x20 && key[i] < 0x7f;
    return ok;
}

static void request_hash(const struct tl_req *req, uint8_t ret[TL_BLAKE2B_LEN])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, req->path, strlen(req->path));
    tl_blake2b_field(&h, req->admin ? "admin" : "", req->admin ? 5 : 0);
    tl_blake2b_field(&h, req->body ? req->body : "", req->body_len);
    tl_blake2b_final(&h, ret);
}

static void set_key(struct flight *f, const struct tl_req *req)
{
    const char *key = req->head.idempotency_key;
    size_t org = strlen(req->claims.org) + 1, sub = strlen(req->claims.sub) + 1, len = strlen(key);
    memcpy(f->key, req->claims.org, org);
    memcpy(f->key + org, req->claims.sub, sub);
    memcpy(f->key + org + sub, key, len);
    f->sub_len = org + sub;
    f->key_len = org + sub + len;
    uint8_t hash[TL_BLAKE2B_LEN];
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, f->key, f->key_len);
    tl_blake2b_final(&h, hash);
    tl_hex(hash, sizeof(hash), f->mark);
}

static void free_flight(struct flight *f)
{
    json_decref(f->doc);
    json_decref(f->meta);
    tl_plan_unref(f->plan);
    free(f->graph);
    free(f->refused);
    free(f);
}

/* The canvas has changed between being read and the run's first commit: the request is handled once more. */
static bool handle_again(const struct flight *f, struct tl_req *req, int err)
{
    if (err != TL_ECONFLICT || !f->flew || req->again)
        return false;
    req->again = true;
    tl_server_handle(req);
    return true;
}

static const char *refusal(const struct flight *f, int err)
{
    if (err != TL_ECONFLICT)
        return err == TL_EBUDGET && f->refused ? f->refused : tl_err_text(err);
    return f->flew ? "the canvas has changed meanwhile" : "this Idempotency-Key was used for another request";
}

/* Answers all who wait, and forgets the flight. */
static void settle(struct flight *f, int err)
{
    struct tl_idem *idem = f->srv->idem;
    pthread_mutex_lock(&idem->lock);
    for (struct flight **at = &idem->flights; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    pthread_mutex_unlock(&idem->lock);
    for (struct waiting *w = f->waiting, *next; w; w = next) {
        next = w->next;
        if (err < 0 && !handle_again(f, w->req, err))
            tl_reply_err(w->req, err, "%s", refusal(f, err));
        else if (!err)
            f->reply(w->req, &f->run);
        tl_req_unref(w->req);
        free(w);
    }
    free_flight(f);
}

static char *entry_text(const struct flight *f)
{
    char hash[2 * TL_BLAKE2B_LEN + 1], id[TL_ID_TEXT];
    tl_hex(f->hash, sizeof(f->hash), hash);
    TL_AUTO_JSON json_t *j = json_pack("{s:s,s:I}", "hash", hash, "at", (json_int_t)f->reserved_ms);
    if (f->started) {
        tl_id_text(&f->run, id);
        json_object_set_new(j, "run_id", json_string(id));
    }
    return j ? tl_json_text(j) : NULL;
}

/* 0 with what the entry says (reserved_ms, started and run), TL_ENOTFOUND for none or an old one, TL_ECONFLICT for another request's. */
static int read_entry(struct tl_txn *txn, void *arg)
{
    struct flight *f = arg;
    struct tl_bytes v;
    TL_AUTO_JSON json_t *j = NULL;
    uint8_t hash[TL_BLAKE2B_LEN];
    int err = tl_txn_get(txn, TL_TBL_IDEM, f->key, f->key_len, &v);
    if (err < 0)
        return err;
    const char *text = tl_json_parse(v.data, v.len, &j, NULL) < 0 ? NULL : tl_json_str(j, "hash");
    int64_t at = tl_json_int(j, "at", 0);
    if (!text || !tl_unhex(text, hash, sizeof(hash)))
        return TL_ECORRUPT;
    if (at + TL_IDEM_TTL_MS < f->now_ms)
        return TL_ENOTFOUND;
    if (memcmp(hash, f->hash, sizeof(hash)) != 0)
        return TL_ECONFLICT;
    f->reserved_ms = at;
    f->started = tl_json_str(j, "run_id") && tl_id_parse(tl_json_str(j, "run_id"), &f->run);
    return 0;
}

struct old_key {
    const struct flight *f;
    uint8_t key[KEY_BYTES];
    size_t len;
};

static int is_old(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct old_key *o = arg;
    TL_AUTO_JSON json_t *j = NULL;
    if (key.len > sizeof(o->key) ||
        (tl_json_parse(value.data, value.len, &j, NULL) == 0 && tl_json_int(j, "at", 0) + TL_IDEM_TTL_MS >= o->f->now_ms))
        return 0;
    memcpy(o->key, key.data, key.len);
    o->len = key.len;
    return 1;
}

/* Takes away some old keys of the same person, so that they do not gather. */
static int sweep(struct tl_txn *txn, const struct flight *f)
{
    struct old_key old = {.f = f};
    struct tl_scan scan = {.table = TL_TBL_IDEM, .prefix = f->key, .prefix_len = f->sub_len};
    for (int i = 0; i < SWEEP; i++) {
        int err = tl_txn_scan(txn, &scan, is_old, &old);
        if (err <= 0)
            return err;
        if ((err = tl_txn_del(txn, TL_TBL_IDEM, old.key, old.len)) < 0)
            return err;
    }
    return 0;
}

static int write_entry(struct tl_txn *txn, void *arg)
{
    const struct flight *f = arg;
    int err = f->started ? 0 : sweep(txn, f);
    TL_AUTO_FREE char *text = entry_text(f);
    if (err < 0)
        return err;
    return text ? tl_txn_put(txn, TL_TBL_IDEM, f->key, f->key_len, text, strlen(text)) : TL_ENOMEM;
}

static void entered(void *arg, int err)
{
    (void)err; /* the run exists, and its record names the key */
    settle(arg, 0);
}

static void started(void *arg, int err, const struct tl_id *id)
{
    struct flight *f = arg;
    if (err < 0) {
        settle(f, err);
        return;
    }
    f->run = *id;
    f->started = true;
    if (!f->key_len || tl_db_submit(f->srv->conf.db, write_entry, f, entered) < 0)
        settle(f, 0);
}

static void start(struct flight *f)
{
    f->flew = true;
    struct tl_run_req run = {.org = f->org, .sub = f->sub, .kind = f->kind, .doc = f->doc, .plan = f->plan, .meta = f->meta,
                             .graph = f->graph, .graph_len = f->graph_len, .priority = f->priority, .budget = f->budget};
    int err = tl_run_start(f->srv->conf.exec, &run, started, f);
    if (err < 0)
        settle(f, err);
}

static void reserved(void *arg, int err)
{
    if (err < 0)
        settle(arg, err);
    else
        start(arg);
}

/* The run that was started with this key before a crash kept its entry from being completed. */
static int find_run(struct flight *f)
{
    struct tl_id before;
    bool more = true;
    for (int page = 0; more && page < FIND_PAGES; page++) {
        TL_AUTO_JSON json_t *items = NULL;
        int err = tl_run_list(f->srv->conf.db, f->org, NULL, page ? &before : NULL, FIND_PAGE, &items, &before, &more);
        if (err < 0)
            return err;
        for (size_t i = 0; i < json_array_size(items); i++) {
            const json_t *r = json_array_get(items, i);
            const char *mark = tl_json_str(r, KEY_FIELD);
            if (mark && strcmp(mark, f->mark) == 0 && tl_id_parse(tl_json_str(r, "id"), &f->run))
                return 0;
        }
        uint64_t ms = 0; /* ids begin with their time */
        for (int i = 0; i < 6; i++)
            ms = ms << 8 | before.b[i];
        if ((int64_t)ms < f->reserved_ms)
            break;
    }
    return TL_ENOTFOUND;
}

static void begin(struct flight *f)
{
    int err = tl_db_read(f->srv->conf.db, read_entry, f);
    if (err == TL_ENOTFOUND && f->refused) {
        settle(f, TL_EBUDGET);
    } else if (err == TL_ENOTFOUND) {
        f->reserved_ms = f->now_ms;
        if ((err = tl_db_submit(f->srv->conf.db, write_entry, f, reserved)) < 0)
            settle(f, err);
    } else if (err < 0) {
        settle(f, err);
    } else if (f->started || (err = find_run(f)) == 0) {
        settle(f, 0);
    } else if (err == TL_ENOTFOUND) {
        if (f->refused)
            settle(f, TL_EBUDGET);
        else
            start(f);
    } else {
        settle(f, err);
    }
}

static bool same_key(const struct flight *a, const struct flight *b)
{
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

/* Joins a flight with the same key where there is one; then f is gone. Otherwise f flies. */
static void board(struct flight *f)
{
    struct tl_idem *idem = f->srv->idem;
    pthread_mutex_lock(&idem->lock);
    struct flight *at = idem->flights;
    while (at && !same_key(at, f))
        at = at->next;
    bool other = at && memcmp(at->hash, f->hash, sizeof(f->hash)) != 0;
    if (at && !other) {
        f->waiting->next = at->waiting;
        at->waiting = f->waiting;
    } else if (!at) {
        f->next = idem->flights;
        idem->flights = f;
    }
    pthread_mutex_unlock(&idem->lock);
    if (other)
        settle(f, TL_ECONFLICT);
    else if (at)
        free_flight(f);
    else
        begin(f);
}

void tl_idem_start_run(struct tl_req *req, const struct tl_idem_run *run, void (*reply)(struct tl_req *req, const struct tl_id *run))
{
    struct flight *f = tl_calloc(1, sizeof(*f));
    struct waiting *w = tl_calloc(1, sizeof(*w));
    char *graph = run->graph ? tl_strndup(run->graph, run->graph_len) : NULL, *refused = tl_strdup(run->refusal);
    if (!f || !w || (run->graph && !graph) || (run->refusal && !refused)) {
        free(f);
        free(w);
        free(graph);
        free(refused);
        tl_reply_err(req, TL_ENOMEM, NULL);
        return;
    }
    w->req = tl_req_ref(req);
    f->waiting = w;
    f->srv = req->srv;
    f->kind = run->kind;
    f->doc = json_incref(run->doc);
    f->meta = json_incref(run->meta);
    f->plan = tl_plan_ref(run->plan);
    f->graph = graph;
    f->graph_len = run->graph_len;
    f->priority = run->priority;
    f->budget = run->budget;
    f->refused = refused;
    f->reply = reply;
    f->now_ms = tl_now_ms();
    memcpy(f->org, req->claims.org, sizeof(f->org));
    memcpy(f->sub, req->claims.sub, sizeof(f->sub));
    if (!req->head.idempotency_key) {
        if (refused)
            settle(f, TL_EBUDGET);
        else
            start(f);
        return;
    }
    set_key(f, req);
    request_hash(req, f->hash);
    json_object_set_new(run->meta, KEY_FIELD, json_string(f->mark));
    board(f);
}

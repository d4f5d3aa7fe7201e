/* Reading what the store knows of runs: events, records, lists. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <string.h>

enum { TYPE_WITHIN = 200 /* bytes of an event within which its type stands */ };

int tl_run_read_record(struct tl_txn *txn, const struct tl_id *id, json_t **ret)
{
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_RUN, id->b, TL_ID_LEN, &v);
    return err ? err : tl_json_parse(v.data, v.len, ret, NULL);
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
    return tl_txn_scan(txn,
                       &(struct tl_scan){.table = TL_TBL_EVENT,
                                         .prefix = r->run->b,
                                         .prefix_len = TL_ID_LEN,
                                         .from = from,
                                         .from_len = sizeof(from)},
                       one_event, arg);
}

int tl_events_read(struct tl_db *db, const struct tl_id *run, uint64_t after_seq,
                   int (*visit)(void *arg, uint64_t seq, const char *json, size_t len), void *arg)
{
    struct events_read r = {run, after_seq, visit, arg};
    int err = tl_db_read(db, scan_events, &r);
    return err > 0 ? 0 : err;
}

/* The nodes' states, as the run.progress events tell them, and the payload of the event that ended the run. */
struct told {
    json_t *nodes, *result;
    uint64_t end_seq; /* 0: the run has not ended */
};

static int collect(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct told *told = arg;
    bool end = seq == told->end_seq;
    /* The type stands before the payload, so that a payload that quotes it misleads nobody. */
    size_t within = len < TYPE_WITHIN ? len : TYPE_WITHIN;
    bool reset = memmem(json, within, "\"type\":\"run.reset\"", 18);
    if (!end && !reset && !memmem(json, within, "\"type\":\"run.progress\"", 21))
        return 0;
    TL_AUTO_JSON json_t *e = NULL;
    if (tl_json_parse(json, len, &e, NULL) < 0)
        return 0;
    size_t i;
    json_t *n, *payload = json_object_get(e, "payload");
    if (end)
        told->result = json_incref(payload);
    if (reset && json_is_object(json_object_get(payload, "nodes")))
        json_object_update(told->nodes, json_object_get(payload, "nodes"));
    json_array_foreach(end || reset ? NULL : json_object_get(payload, "nodes"), i, n) {
        TL_AUTO_JSON json_t *state = json_copy(n);
        json_object_del(state, "id");
        if (tl_json_str(n, "id"))
            json_object_set(told->nodes, tl_json_str(n, "id"), state);
    }
    return 0;
}

/* Steps inside a group of whose end nobody told: the group was under way when a server ended, and was found as a whole by the next. */
static void drop_unended(json_t *nodes)
{
    static const char *const unended[] = {"queued", "running", "waiting"};
    const char *id;
    json_t *n;
    void *next;
    json_object_foreach_safe(nodes, next, id, n) {
        const char *status = tl_json_str(n, "status");
        for (size_t i = 0; status && strchr(id, '/') && i < TL_ARRAY_LEN(unended); i++)
            if (strcmp(status, unended[i]) == 0) {
                json_object_del(nodes, id);
                break;
            }
    }
}

struct one_record {
    const struct tl_id *id;
    json_t *record;
};

static int get_record(struct tl_txn *txn, void *arg)
{
    struct one_record *r = arg;
    return tl_run_read_record(txn, r->id, &r->record);
}

/* org NULL: whosever it is. */
static int get(struct tl_db *db, const char *org, const struct tl_id *id, json_t **ret)
{
    struct one_record r = {.id = id};
    *ret = NULL;
    int err = tl_db_read(db, get_record, &r);
    const char *owner = tl_json_str(r.record, "org");
    if (!err && org && (!owner || strcmp(owner, org) != 0))
        err = TL_ENOTFOUND;
    bool ended = !err && json_object_get(r.record, "ended_at");
    struct told told = {.end_seq = ended ? (uint64_t)tl_json_int(r.record, "last_seq", 0) : 0,
                        .nodes = err ? NULL : json_object()};
    if (!err)
        err = told.nodes ? tl_events_read(db, id, 0, collect, &told) : TL_ENOMEM;
    if (err) {
        json_decref(told.nodes);
        json_decref(told.result);
        json_decref(r.record);
        return err;
    }
    if (ended)
        drop_unended(told.nodes);
    json_object_set_new(r.record, "nodes", told.nodes);
    if (told.result)
        json_object_set_new(r.record, "result", told.result);
    *ret = r.record;
    return 0;
}

int tl_run_get(struct tl_db *db, const char *org, const struct tl_id *id, json_t **ret)
{
    return get(db, org, id, ret);
}

int tl_run_read(struct tl_db *db, const struct tl_id *id, json_t **ret)
{
    return get(db, NULL, id, ret);
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
    int err = tl_run_read_record(l->txn, &id, &record);
    if (err)
        return err == TL_ENOTFOUND ? 0 : err;
    const char *status = tl_json_str(record, "status");
    bool fits = !l->status || (status && strcmp(status, l->status) == 0);
    if (fits && json_array_size(l->items) == l->limit) {
        json_decref(record);
        l->more = true;
        return 1;
    }
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
                       &(struct tl_scan){.table = TL_TBL_RUN_ORG,
                                         .prefix = l->org,
                                         .prefix_len = n,
                                         .reverse = true,
                                         .from = l->before ? from : NULL,
                                         .from_len = l->before ? n + TL_ID_LEN : 0},
                       one_of_list, l);
}

int tl_run_list(struct tl_db *db, const char *org, const char *status, const struct tl_id *before, size_t limit,
                json_t **ret_items, struct tl_id *ret_next, bool *ret_more)
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

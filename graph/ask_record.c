#include "graph/ask_record.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/body.h"
#include "graph/state.h"

#include <stdio.h>
#include <string.h>

void tl_ask_key(const struct tl_id *run, const char *step, uint8_t ret[TL_ASK_KEY_LEN])
{
    struct tl_blake2b h;
    memcpy(ret, run->b, TL_ID_LEN);
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, step, strlen(step));
    tl_blake2b_final(&h, ret + TL_ID_LEN);
}

static int read_record(struct tl_txn *txn, const uint8_t *key, json_t **ret)
{
    struct tl_bytes v;
    *ret = NULL;
    int err = tl_txn_get(txn, TL_TBL_ASK, key, TL_ASK_KEY_LEN, &v);
    return err ? err : tl_json_parse(v.data, v.len, ret, NULL);
}

static int write_record(struct tl_txn *txn, const uint8_t *key, const json_t *record)
{
    TL_AUTO_FREE char *text = tl_json_text(record);
    return text ? tl_txn_put(txn, TL_TBL_ASK, key, TL_ASK_KEY_LEN, text, strlen(text)) : TL_ENOMEM;
}

static bool is_late(const json_t *record, int64_t now)
{
    int64_t at = tl_json_int(record, "expires_ms", 0);
    return at && now >= at;
}

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
    const char *x = tl_json_str(a, key), *y = tl_json_str(b, key);
    return x && y ? strcmp(x, y) == 0 : x == y;
}

/* ---- asking ---- */

/* What is shown, as long as it is not too much. */
static json_t *bounded(const json_t *shown, size_t len)
{
    if (len <= TL_ASK_SHOWN_MAX)
        return json_deep_copy(shown);
    json_t *copy = json_copy((json_t *)(uintptr_t)shown);
    size_t bytes = json_dumpb(json_object_get(shown, "value"), NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    json_object_del(copy, "value");
    json_object_set_new(copy, "value_bytes", json_integer((json_int_t)bytes));
    return copy;
}

static json_t *form_json(const struct tl_port *form)
{
    json_t *list = json_array();
    for (const struct tl_port *p = form; p && p->name; p++) {
        json_t *f = json_pack("{s:s,s:s}", "name", p->name, "type", tl_type_name(p->type));
        if (f && p->flags & TL_PORT_REQUIRED)
            json_object_set_new(f, "required", json_true());
        json_array_append_new(list, f);
    }
    return list;
}

json_t *tl_ask_record_new(const struct tl_ask *ask, const char *step, int64_t now)
{
    uint8_t raw[TL_BLAKE2B_LEN];
    char hash[2 * TL_BLAKE2B_LEN + 1], at[TL_TIME_TEXT];
    struct tl_blake2b h;
    TL_AUTO_FREE char *text = tl_json_canonical(ask->shown);
    if (!text)
        return NULL;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, text, strlen(text));
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), hash);
    tl_time_text(now, at);
    json_t *decisions = strcmp(ask->kind, TL_ASK_GATE) == 0 ? json_pack("[s,s]", "approve", "reject")
                                                            : json_pack("[s,s,s]", "retry", "fail", "done");
    json_t *r = json_pack("{s:s,s:s,s:s,s:o,s:o,s:s,s:I}", "step", step, "kind", ask->kind, "hash", hash, "shown",
                          bounded(ask->shown, strlen(text)), "decisions", decisions, "opened_at", at, "opened_ms",
                          (json_int_t)now);
    if (r && ask->expires_ms) {
        tl_time_text(now + ask->expires_ms, at);
        json_object_set_new(r, "expires_at", json_string(at));
        json_object_set_new(r, "expires_ms", json_integer((json_int_t)(now + ask->expires_ms)));
    }
    if (r && ask->form)
        json_object_set_new(r, "form", form_json(ask->form));
    return r;
}

int tl_ask_record_open(struct tl_txn *txn, const uint8_t *key, const json_t *record, int64_t now, json_t **ret)
{
    TL_AUTO_JSON json_t *old = NULL;
    int err = read_record(txn, key, &old);
    if (err && err != TL_ENOTFOUND)
        return err;
    bool same = old && same_text(old, record, "hash") && same_text(old, record, "kind");
    json_t *now_is = *ret = json_deep_copy(same ? old : record);
    const char *closed = tl_json_str(now_is, "closed");
    if (!now_is)
        return TL_ENOMEM;
    if (closed && strcmp(closed, "cancelled") == 0)
        json_object_del(now_is, "closed");
    if (!json_object_get(now_is, "answer") && is_late(now_is, now))
        json_object_set_new(now_is, "closed", json_string("expired"));
    return write_record(txn, key, now_is);
}

int tl_ask_record_close(struct tl_txn *txn, const uint8_t *key, const char *why, json_t **ret)
{
    int err = read_record(txn, key, ret);
    if (err || json_object_get(*ret, "answer") || json_object_get(*ret, "closed"))
        return err == TL_ENOTFOUND ? 0 : err;
    return json_object_set_new(*ret, "closed", json_string(why)) < 0 ? TL_ENOMEM : write_record(txn, key, *ret);
}

/* ---- answering ---- */

json_t *tl_ask_answer_json(const struct tl_answer *answer, int64_t now)
{
    char at[TL_TIME_TEXT];
    tl_time_text(now, at);
    json_t *j = json_pack("{s:s,s:s,s:s}", "decision", answer->decision, "who", answer->who, "at", at);
    if (!j || (answer->comment && json_object_set_new(j, "comment", json_string(answer->comment)) < 0) ||
        (answer->fields && json_object_set(j, "fields", answer->fields) < 0) ||
        (answer->outputs && json_object_set(j, "outputs", answer->outputs) < 0)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static void check_value(const json_t *field, json_t *v, const char *key, struct tl_diag *diag)
{
    const char *name = tl_json_str(field, "name"), *why = "";
    enum tl_type type = TL_T_ANY;
    struct tl_value value = {0};
    struct tl_str at = {0};
    tl_str_printf(&at, "$.%s.%s", key, name ? name : "");
    tl_type_parse(tl_json_str(field, "type"), &type);
    if (tl_body_value(type, v, &value, &why) < 0)
        tl_diag_add(diag, NULL, name, at.data, "%s %s", name, why);
    else if (tl_value_none(&value) && json_is_true(json_object_get(field, "required")))
        tl_diag_add(diag, NULL, name, at.data, "%s is required", name);
    tl_value_clear(&value);
    tl_str_clear(&at);
}

/* Fields or outputs against the question's form. */
static void check_form(const json_t *form, json_t *given, const char *key, struct tl_diag *diag)
{
    const char *names[TL_BODY_PORTS_MAX + 8] = {0};
    char path[32];
    size_t i;
    json_t *field;
    snprintf(path, sizeof(path), "$.%s", key);
    if (given && !json_is_object(given)) {
        tl_diag_add(diag, NULL, NULL, path, "must be an object of names and values");
        return;
    }
    if (given && json_dumpb(given, NULL, 0, JSON_COMPACT) > TL_ASK_ANSWER_MAX) {
        tl_diag_add(diag, NULL, NULL, path, "must be at most %d bytes", TL_ASK_ANSWER_MAX);
        return;
    }
    json_array_foreach((json_t *)(uintptr_t)form, i, field) {
        check_value(field, json_object_get(given, tl_json_str(field, "name")), key, diag);
        if (i + 1 < TL_ARRAY_LEN(names))
            names[i] = tl_json_str(field, "name");
    }
    tl_json_only_keys(given, names, NULL, path, diag);
}

int tl_ask_answer_check(const json_t *record, const struct tl_answer *a)
{
    struct tl_diag own = {0}, *diag = a->diag ? a->diag : &own;
    size_t before = diag->count + diag->dropped, i;
    const json_t *form = json_object_get(record, "form");
    bool approves = strcmp(a->decision, "approve") == 0, fills = strcmp(a->decision, "done") == 0, fits = false;
    json_t *d;
    json_array_foreach(json_object_get(record, "decisions"), i, d)
        fits |= strcmp(json_string_value(d), a->decision) == 0;
    if (!fits)
        tl_diag_add(diag, NULL, NULL, "$.decision", "is not what this step can be answered with");
    if (a->comment && strlen(a->comment) > TL_ASK_COMMENT_MAX)
        tl_diag_add(diag, NULL, NULL, "$.comment", "must be at most %d bytes", TL_ASK_COMMENT_MAX);
    if (a->fields && !approves)
        tl_diag_add(diag, NULL, NULL, "$.fields", "go with \"approve\" only");
    if (a->outputs && !fills)
        tl_diag_add(diag, NULL, NULL, "$.outputs", "go with \"done\" only");
    if (fits && approves)
        check_form(form, a->fields, "fields", diag);
    if (fits && fills)
        check_form(form, a->outputs, "outputs", diag);
    bool bad = diag->count + diag->dropped > before;
    int err = diag->err;
    tl_diag_clear(&own);
    return bad ? TL_EINVAL : err;
}

/* Who and when apart. */
static bool same_answer(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"decision", "comment", "fields", "outputs"};
    for (size_t i = 0; i < TL_ARRAY_LEN(keys); i++) {
        const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);
        if (x != y && !json_equal(x, y))
            return false;
    }
    return true;
}

/* In the same transaction as the answer. The number is the same when the transaction is tried again. */
static int audit(struct tl_txn *txn, const uint8_t *key, const char *org, const json_t *record, const json_t *answer,
                 int64_t now)
{
    uint8_t k[TL_ORG_MAX + 16];
    char run[TL_ID_TEXT];
    struct tl_id id;
    size_t n = strlen(org) + 1;
    memcpy(id.b, key, TL_ID_LEN);
    tl_id_text(&id, run);
    memcpy(k, org, n);
    tl_key_u64(k + n, (uint64_t)now);
    memcpy(k + n + 8, key + TL_ID_LEN, 8);
    TL_AUTO_JSON json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "what", "run.answered", "run_id", run, "node",
                                         tl_json_str(record, "step"), "hash", tl_json_str(record, "hash"), "decision",
                                         tl_json_str(answer, "decision"), "who", tl_json_str(answer, "who"));
    TL_AUTO_FREE char *text = row ? tl_json_text(row) : NULL;
    return text ? tl_txn_put(txn, TL_TBL_AUDIT, k, n + 16, text, strlen(text)) : TL_ENOMEM;
}

int tl_ask_record_find(struct tl_txn *txn, const uint8_t *key, const char *org, json_t **ret_run, json_t **ret_record)
{
    struct tl_id id;
    memcpy(id.b, key, TL_ID_LEN);
    int err = tl_run_read_record(txn, &id, ret_run);
    const char *owner = tl_json_str(*ret_run, "org");
    if (err || !owner || strcmp(owner, org) != 0)
        return err ? err : TL_ENOTFOUND;
    err = read_record(txn, key, ret_record);
    if (!err && !(tl_json_str(*ret_record, "hash") && tl_json_str(*ret_record, "step")))
        return TL_ECORRUPT;
    return err == TL_ENOTFOUND ? TL_ENOTAPPROVABLE : err;
}

int tl_ask_record_answer(struct tl_txn *txn, const uint8_t *key, const char *org, const char *hash, json_t *answer,
                         int64_t now)
{
    TL_AUTO_JSON json_t *run = NULL, *record = NULL;
    int err = tl_ask_record_find(txn, key, org, &run, &record);
    if (err)
        return err;
    const char *closed = tl_json_str(record, "closed");
    const json_t *before = json_object_get(record, "answer");
    bool shown = strcmp(tl_json_str(record, "hash"), hash) == 0;
    if (before)
        return shown && same_answer(before, answer) ? 0 : TL_ECONFLICT;
    if (is_late(record, now) || (closed && strcmp(closed, "expired") == 0))
        return TL_EEXPIRED;
    if (closed || json_object_get(run, "ended_at"))
        return TL_ENOTAPPROVABLE;
    if (!shown)
        return TL_ECONFLICT;
    if (json_object_set(record, "answer", answer) < 0)
        return TL_ENOMEM;
    err = audit(txn, key, org, record, answer, now);
    return err ? err : write_record(txn, key, record);
}

#include "capsules/sheet.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>

enum { KEY_MAX = 511 };

struct append {
    uint8_t prefix[KEY_MAX]; /* org NUL sheet NUL */
    size_t prefix_len;
    uint8_t content[32];
    char *text; /* owned */
    uint64_t number;
    void (*done)(void *arg, int err, uint64_t number);
    void *arg;
};

static int make_prefix(const char *org, const char *sheet, uint8_t ret[KEY_MAX], size_t *ret_len)
{
    size_t n = strlen(org) + 1, m = strlen(sheet) + 1;
    if (n + m + 32 > KEY_MAX)
        return TL_EINVAL;
    memcpy(ret, org, n);
    memcpy(ret + n, sheet, m);
    *ret_len = n + m;
    return 0;
}

static int see_last(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)value;
    if (key.len < 8)
        return TL_ECORRUPT;
    *(uint64_t *)arg = tl_key_u64_read((const uint8_t *)key.data + key.len - 8);
    return 1;
}

static int append(struct tl_txn *txn, void *arg)
{
    struct append *a = arg;
    uint8_t key[KEY_MAX], number[8];
    struct tl_bytes v;
    memcpy(key, a->prefix, a->prefix_len);
    memcpy(key + a->prefix_len, a->content, 32);
    int err = tl_txn_get(txn, TL_TBL_SHEET_KEY, key, a->prefix_len + 32, &v);
    if (err == 0 && v.len == 8) {
        a->number = tl_key_u64_read(v.data);
        return 0;
    }
    if (err != TL_ENOTFOUND)
        return err ? err : TL_ECORRUPT;
    uint64_t last = 0;
    struct tl_scan scan = {.table = TL_TBL_SHEET, .prefix = a->prefix, .prefix_len = a->prefix_len, .reverse = true};
    err = tl_txn_scan(txn, &scan, see_last, &last);
    if (err < 0)
        return err;
    a->number = last + 1;
    tl_key_u64(number, a->number);
    err = tl_txn_put(txn, TL_TBL_SHEET_KEY, key, a->prefix_len + 32, number, 8);
    memcpy(key + a->prefix_len, number, 8);
    return err ? err : tl_txn_add(txn, TL_TBL_SHEET, key, a->prefix_len + 8, a->text, strlen(a->text));
}

static void appended(void *arg, int err)
{
    struct append *a = arg;
    a->done(a->arg, err, a->number);
    free(a->text);
    free(a);
}

int tl_sheet_append(struct tl_db *db, const char *org, const char *sheet, const uint8_t key[32], const json_t *row,
                    void (*done)(void *arg, int err, uint64_t number), void *arg)
{
    struct append *a = tl_calloc(1, sizeof(*a));
    if (!a)
        return TL_ENOMEM;
    a->done = done;
    a->arg = arg;
    memcpy(a->content, key, 32);
    a->text = tl_json_text(row);
    int err = a->text ? make_prefix(org, sheet, a->prefix, &a->prefix_len) : TL_ENOMEM;
    if (!err)
        err = tl_db_submit(db, append, a, appended);
    if (err) {
        free(a->text);
        free(a);
    }
    return err;
}

struct lookup {
    uint8_t key[KEY_MAX];
    size_t len;
    json_t **ret;
};

static int look_up(struct tl_txn *txn, void *arg)
{
    struct lookup *l = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_SHEET, l->key, l->len, &v);
    if (!err && tl_json_parse(v.data, v.len, l->ret, NULL) < 0)
        err = TL_ECORRUPT;
    return err;
}

int tl_sheet_row(struct tl_db *db, const char *org, const char *sheet, uint64_t number, json_t **ret)
{
    struct lookup l = {.ret = ret};
    *ret = NULL;
    int err = make_prefix(org, sheet, l.key, &l.len);
    if (err)
        return err;
    tl_key_u64(l.key + l.len, number);
    l.len += 8;
    return tl_db_read(db, look_up, &l);
}

#include "catalog/registry.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"

#include <string.h>

enum { KEY_MAX = TL_CAP_ID_MAX + 1 + TL_CAP_NAME_MAX };

/* id NUL version; without a version the prefix of all of an id's rows. 0 for what cannot be a key. */
static size_t make_key(const char *id, const char *version, uint8_t ret[KEY_MAX])
{
    if (!tl_cap_id_valid(id) || (version && !tl_cap_version_valid(version)))
        return 0;
    size_t n = strlen(id) + 1, m = version ? strlen(version) : 0;
    memcpy(ret, id, n);
    memcpy(ret + n, version ? version : "", m);
    return n + m;
}

struct lookup {
    uint8_t key[KEY_MAX];
    size_t len;
    json_t *found;
};

static int read_row(struct tl_txn *txn, void *arg)
{
    struct lookup *l = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_CAPSULE, l->key, l->len, &v);
    return err ? err : tl_json_parse(v.data, v.len, &l->found, NULL) < 0 ? TL_ECORRUPT : 0;
}

int tl_reg_row(struct tl_db *db, const char *id, const char *version, json_t **ret)
{
    struct lookup l = {.len = make_key(id, version, l.key)};
    *ret = NULL;
    int err = l.len && version ? tl_db_read(db, read_row, &l) : TL_ENOTFOUND;
    if (err)
        json_decref(l.found);
    else
        *ret = l.found;
    return err;
}

static int see_row(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)key;
    struct lookup *l = arg;
    json_t *row;
    int err = tl_json_parse(value.data, value.len, &row, NULL);
    if (err)
        return err == TL_ENOMEM ? err : TL_ECORRUPT;
    return json_array_append_new(l->found, row) < 0 ? TL_ENOMEM : 0;
}

static int read_rows(struct tl_txn *txn, void *arg)
{
    struct lookup *l = arg;
    struct tl_scan scan = {.table = TL_TBL_CAPSULE, .prefix = l->key, .prefix_len = l->len};
    return tl_txn_scan(txn, &scan, see_row, l);
}

int tl_reg_rows(struct tl_db *db, const char *id, json_t **ret)
{
    struct lookup l = {.len = id ? make_key(id, NULL, l.key) : 0, .found = json_array()};
    *ret = NULL;
    int err = !l.found ? TL_ENOMEM : id && !l.len ? 0 : tl_db_read(db, read_rows, &l);
    if (err)
        json_decref(l.found);
    else
        *ret = l.found;
    return err;
}

bool tl_reg_visible(const json_t *row, const char *org)
{
    const char *owner = tl_json_str(row, "owner"), *state = tl_json_str(row, "state");
    return owner && state && strcmp(state, "active") == 0 &&
           (strcmp(owner, org) == 0 || strcmp(owner, TL_ORG_BUILTIN) == 0);
}

const json_t *tl_reg_newest(const json_t *rows, const char *id, const char *org)
{
    const json_t *best = NULL;
    bool best_pre = false;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *is = tl_json_str(row, "id"), *version = tl_json_str(row, "version");
        if (!is || !version || strcmp(is, id) != 0 || !tl_reg_visible(row, org))
            continue;
        bool pre = strchr(version, '-') != NULL;
        if (!best || (best_pre && !pre) ||
            (best_pre == pre && tl_cap_version_compare(version, tl_json_str(best, "version")) > 0)) {
            best = row;
            best_pre = pre;
        }
    }
    return best;
}

bool tl_reg_digest(const json_t *row, uint8_t ret[TL_DIGEST_LEN])
{
    const char *hex = tl_json_str(row, "digest");
    return hex && tl_unhex(hex, ret, TL_DIGEST_LEN);
}

/* ---- sealed bytes ---- */

struct fetch {
    const uint8_t *digest;
    struct tl_capsule_bytes *ret;
};

static int copy_out(struct tl_txn *txn, enum tl_table table, const uint8_t *digest, uint8_t **ret, size_t *ret_len)
{
    struct tl_bytes v;
    int err = tl_txn_get(txn, table, digest, TL_DIGEST_LEN, &v);
    if (err)
        return err == TL_ENOTFOUND ? TL_ECAPSULE : err;
    *ret = malloc(v.len ? v.len : 1);
    if (!*ret)
        return TL_ENOMEM;
    memcpy(*ret, v.data, v.len);
    *ret_len = v.len;
    return 0;
}

static int read_bytes(struct tl_txn *txn, void *arg)
{
    struct fetch *f = arg;
    int err = copy_out(txn, TL_TBL_SEALED, f->digest, &f->ret->blob, &f->ret->len);
    return err ? err : copy_out(txn, TL_TBL_WRAP, f->digest, &f->ret->wrap, &f->ret->wrap_len);
}

int tl_reg_fetch(void *db, const uint8_t digest[TL_DIGEST_LEN], struct tl_capsule_bytes *ret)
{
    struct fetch f = {.digest = digest, .ret = ret};
    memset(ret, 0, sizeof(*ret));
    return tl_db_read(db, read_bytes, &f);
}

/* ---- publishing ---- */

int tl_reg_put(struct tl_txn *txn, const struct tl_reg_item *item)
{
    uint8_t key[KEY_MAX];
    size_t n = make_key(item->id, item->version, key);
    if (!n)
        return TL_EINVAL;
    int err = tl_txn_add(txn, TL_TBL_CAPSULE, key, n, item->row, strlen(item->row));
    if (!err)
        err = tl_txn_put(txn, TL_TBL_SEALED, item->sealed.digest, TL_DIGEST_LEN, item->sealed.blob, item->sealed.len);
    if (!err)
        err =
            tl_txn_put(txn, TL_TBL_WRAP, item->sealed.digest, TL_DIGEST_LEN, item->sealed.wrap, item->sealed.wrap_len);
    return err;
}

void tl_reg_item_clear(struct tl_reg_item *item)
{
    free(item->id);
    free(item->version);
    free(item->row);
    tl_sealed_clear(&item->sealed);
    memset(item, 0, sizeof(*item));
}

#include "catalog/builtin.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "catalog/registry.h"

#include <string.h>

/* What is to be written, gathered first: one transaction, one commit. */
struct batch {
    struct tl_keyring *kr;
    struct tl_db *db;
    struct tl_services *services;
    struct tl_diag *diag;
    struct tl_locked *locked; /* made at the first seal */
    struct tl_reg_item *items;
    size_t n, cap;
    json_t *patterns; /* [{"snapshot","patterns":[…],"meta":key,"source":hex}] */
};

static int parse(const struct tl_builtin_file *f, json_t **ret, struct tl_diag *diag)
{
    struct tl_diag own = {0};
    int err = tl_json_parse(f->data, (size_t)(f->end - f->data), ret, &own);
    for (size_t i = 0; i < own.count; i++)
        tl_diag_add(diag, NULL, NULL, f->path, "%s", own.items[i].message);
    tl_diag_clear(&own);
    return err;
}

/* A keyed hash: the database must not be a means to test guesses of a private text. */
static void fingerprint(const struct tl_keyring *kr, const struct tl_builtin_file *files, size_t n,
                        char ret[2 * TL_BLAKE2B_LEN + 1])
{
    uint8_t key[32], raw[TL_BLAKE2B_LEN];
    struct tl_blake2b h;
    tl_keyring_subkey(kr, TL_SUBKEY_SOURCE, "", key);
    tl_blake2b_init(&h, key);
    for (size_t i = 0; i < n; i++)
        tl_blake2b_field(&h, files[i].data, (size_t)(files[i].end - files[i].data));
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), ret);
    tl_wipe(key, sizeof(key));
}

static char *make_row(const struct tl_cap_spec *spec, const char *source, const struct tl_sealed *sealed)
{
    char now[TL_TIME_TEXT], digest[2 * TL_DIGEST_LEN + 1];
    tl_time_text(tl_now_ms(), now);
    tl_hex(sealed->digest, TL_DIGEST_LEN, digest);
    TL_AUTO_JSON json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o}", "id", spec->id, "version", spec->version,
                                         "owner", TL_ORG_BUILTIN, "state", "active", "digest", digest, "source", source,
                                         "created_at", now, "spec", tl_cap_spec_public(spec->json, true));
    return row ? tl_json_text(row) : NULL;
}

static int seal_one(struct batch *b, const struct tl_cap_spec *spec, json_t *private_doc, const char *source)
{
    struct tl_reg_item item = {.id = tl_strdup(spec->id), .version = tl_strdup(spec->version)};
    struct tl_seal_id id = {.org = TL_ORG_BUILTIN,
                            .capsule = spec->id,
                            .version = spec->version,
                            .author_public = tl_keyring_author_public(b->kr)};
    size_t len;
    char *plain = tl_capsule_plain(spec->json, private_doc, &len);
    int err = item.id && item.version && plain ? 0 : TL_ENOMEM;
    if (!err && !b->locked)
        err = tl_locked_new(&b->locked);
    if (!err)
        err = tl_seal(b->kr, &id, tl_keyring_author_secret(b->kr), plain, len, b->locked, &item.sealed);
    tl_wipe_free(plain, len);
    if (!err && !(item.row = make_row(spec, source, &item.sealed)))
        err = TL_ENOMEM;
    if (!err)
        err = tl_grow(&b->items, &b->cap, b->n + 1, sizeof(*b->items));
    if (err)
        tl_reg_item_clear(&item);
    else
        b->items[b->n++] = item;
    return err;
}

/* A file's problems, told with its path. */
static void tell(struct tl_diag *diag, const char *file, const struct tl_diag *own)
{
    for (size_t i = 0; i < own->count; i++) {
        const struct tl_problem *p = &own->items[i];
        struct tl_str at = {0};
        tl_str_printf(&at, "%s: %s", file, p->path ? p->path : "$");
        tl_diag_add(diag, p->node, p->port, at.data, "%s", p->message);
        tl_str_clear(&at);
    }
}

static int check_and_seal(struct batch *b, const struct tl_builtin_file *files, json_t *spec_json, const char *source)
{
    TL_AUTO_JSON json_t *doc = NULL;
    struct tl_cap_spec *spec = NULL;
    struct tl_diag own = {0};
    int err = parse(&files[1], &doc, b->diag);
    if (err)
        return err;
    err = tl_cap_spec_parse(spec_json, &spec, &own);
    tell(b->diag, files[0].path, &own);
    tl_diag_clear(&own);
    if (!err) {
        err = tl_capsule_check(b->services, TL_ORG_BUILTIN, spec, doc, &own);
        tell(b->diag, files[1].path, &own);
        tl_diag_clear(&own);
    }
    if (!err)
        err = seal_one(b, spec, doc, source);
    tl_cap_spec_free(spec);
    return err;
}

static int take_capsule(struct batch *b, const struct tl_builtin_file *files)
{
    TL_AUTO_JSON json_t *spec = NULL, *row = NULL;
    char source[2 * TL_BLAKE2B_LEN + 1];
    int err = parse(&files[0], &spec, b->diag);
    if (err)
        return err;
    const char *id = tl_json_str(spec, "id"), *version = tl_json_str(spec, "version");
    fingerprint(b->kr, files, 2, source);
    err = id && version ? tl_reg_row(b->db, id, version, &row) : TL_ENOTFOUND;
    if (err == TL_ENOTFOUND)
        return check_and_seal(b, files, spec, source);
    const char *was = tl_json_str(row, "source");
    if (!err && (!was || strcmp(was, source) != 0)) {
        tl_diag_add(b->diag, NULL, NULL, files[0].path,
                    "the built-in capsule %s@%s has changed, but its version has not, and this data directory holds it "
                    "already: raise its "
                    "version, or start with an empty data directory",
                    id, version);
        return TL_ECONFLICT;
    }
    return err;
}

/* ---- patterns ---- */

struct known {
    const char *key;
    char *text;
};

static int read_meta(struct tl_txn *txn, void *arg)
{
    struct known *k = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_META, k->key, strlen(k->key), &v);
    if (!err)
        k->text = tl_strndup(v.data, v.len);
    return err ? err : k->text ? 0 : TL_ENOMEM;
}

static int take_patterns(struct batch *b, const struct tl_builtin_file *f)
{
    TL_AUTO_JSON json_t *j = NULL;
    char source[2 * TL_BLAKE2B_LEN + 1], meta[96];
    int err = parse(f, &j, b->diag);
    if (err)
        return err;
    const char *snapshot = tl_json_str(j, "snapshot");
    const json_t *list = json_object_get(j, "patterns");
    if (!snapshot || strlen(snapshot) > TL_CAP_NAME_MAX || !json_is_array(list))
        return tl_diag_add(b->diag, NULL, NULL, f->path, "must have a snapshot name and a list of patterns");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!tl_json_str(json_array_get(list, i), "id"))
            return tl_diag_add(b->diag, NULL, NULL, f->path, "the pattern with index %zu has no id", i);
    fingerprint(b->kr, f, 1, source);
    snprintf(meta, sizeof(meta), "patterns/%s", snapshot);
    struct known k = {.key = meta};
    err = tl_db_read(b->db, read_meta, &k);
    bool changed = !err && strcmp(k.text, source) != 0;
    free(k.text);
    if (changed) {
        tl_diag_add(b->diag, NULL, NULL, f->path,
                    "the pattern snapshot %s has changed, but its name has not, and this data directory holds it "
                    "already: give it a new name, or "
                    "start with an empty data directory",
                    snapshot);
        return TL_ECONFLICT;
    }
    if (err != TL_ENOTFOUND)
        return err;
    json_t *entry =
        json_pack("{s:s,s:O,s:s,s:s}", "snapshot", snapshot, "patterns", list, "meta", meta, "source", source);
    if (!b->patterns)
        b->patterns = json_array();
    return json_array_append_new(b->patterns, entry) < 0 ? TL_ENOMEM : 0;
}

static int put_pattern(struct tl_txn *txn, const char *snapshot, const json_t *pattern)
{
    const char *id = tl_json_str(pattern, "id");
    char key[256];
    int n = snprintf(key, sizeof(key), "%s%c%s", snapshot, 0, id);
    TL_AUTO_FREE char *text = tl_json_text(pattern);
    if (!text)
        return TL_ENOMEM;
    return n >= (int)sizeof(key) ? TL_EINVAL : tl_txn_put(txn, TL_TBL_PATTERN, key, (size_t)n, text, strlen(text));
}

static int put_patterns(struct tl_txn *txn, const json_t *entry)
{
    const char *snapshot = tl_json_str(entry, "snapshot"), *meta = tl_json_str(entry, "meta"),
               *source = tl_json_str(entry, "source");
    const json_t *list = json_object_get(entry, "patterns");
    int err = 0;
    for (size_t i = 0; i < json_array_size(list) && !err; i++)
        err = put_pattern(txn, snapshot, json_array_get(list, i));
    return err ? err : tl_txn_put(txn, TL_TBL_META, meta, strlen(meta), source, strlen(source));
}

/* ---- all ---- */

static int write_batch(struct tl_txn *txn, void *arg)
{
    const struct batch *b = arg;
    int err = 0;
    for (size_t i = 0; i < json_array_size(b->patterns) && !err; i++)
        err = put_patterns(txn, json_array_get(b->patterns, i));
    for (size_t i = 0; i < b->n && !err; i++)
        err = tl_reg_put(txn, &b->items[i]);
    return err;
}

int tl_builtin_publish_files(const struct tl_builtin_file *files, size_t count, struct tl_db *db, struct tl_keyring *kr,
                             struct tl_services *services, struct tl_diag *diag)
{
    struct batch b = {.kr = kr, .db = db, .services = services, .diag = diag};
    int err = 0;
    for (size_t i = 0; i < count && !err; i++)
        if (files[i].kind == TL_BUILTIN_PATTERNS)
            err = take_patterns(&b, &files[i]);
    /* Private graphs cite patterns: the snapshot must be there when they are checked. */
    if (!err && b.patterns)
        err = tl_db_update(db, write_batch, &b);
    json_decref(b.patterns);
    b.patterns = NULL;
    for (size_t i = 0; i + 1 < count && !err; i++)
        if (files[i].kind == TL_BUILTIN_SPEC)
            err = files[i + 1].kind == TL_BUILTIN_PRIVATE ? take_capsule(&b, &files[i]) : TL_EINTERNAL;
    if (!err && b.n)
        err = tl_db_update(db, write_batch, &b);
    for (size_t i = 0; i < b.n; i++)
        tl_reg_item_clear(&b.items[i]);
    free(b.items);
    tl_locked_free(b.locked);
    return err;
}

int tl_builtin_publish(struct tl_db *db, struct tl_keyring *kr, struct tl_services *services, struct tl_diag *diag)
{
    return tl_builtin_publish_files(tl_builtin_files, tl_builtin_count, db, kr, services, diag);
}

int tl_builtin_templates(json_t **ret, struct tl_diag *diag)
{
    json_t *list = *ret = json_array();
    int err = list ? 0 : TL_ENOMEM;
    for (size_t i = 0; i < tl_builtin_count && !err; i++) {
        json_t *t = NULL;
        if (tl_builtin_files[i].kind != TL_BUILTIN_TEMPLATE)
            continue;
        err = parse(&tl_builtin_files[i], &t, diag);
        if (!err && (!tl_json_str(t, "id") || !json_is_object(json_object_get(t, "graph")))) {
            err = tl_diag_add(diag, NULL, NULL, tl_builtin_files[i].path, "a template needs an id and a graph");
            json_decref(t);
        } else if (!err && json_array_append_new(list, t) < 0) {
            err = TL_ENOMEM;
        }
    }
    if (err) {
        json_decref(list);
        *ret = NULL;
    }
    return err;
}

#include "catalog/catalog.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "capsules/keyring.h"
#include "catalog/builtin.h"
#include "catalog/highwater.h"
#include "catalog/registry.h"

#include <pthread.h>
#include <string.h>

struct tl_catalog {
    struct tl_db *db;
    struct tl_keyring *kr;
    struct tl_capsules *opened;
    json_t *templates; /* never changed */
    json_t *refused;   /* ids whose versions went back */
    pthread_mutex_t lock;
    json_t *audited; /* what was refused and written down already: {id@version: true} */
};

enum { AUDITED_MAX = 1000 };

/* ---- refusals are audited, once for each version and start ---- */

struct audit {
    uint8_t key[300];
    size_t len;
    char *text;
};

static int write_audit(struct tl_txn *txn, void *arg)
{
    const struct audit *a = arg;
    return tl_txn_put(txn, TL_TBL_AUDIT, a->key, a->len, a->text, strlen(a->text));
}

static void audit_written(void *arg, int err)
{
    struct audit *a = arg;
    (void)err;
    free(a->text);
    free(a);
}

static void audit_refusal(struct tl_catalog *cat, const char *org, const char *id, const char *version)
{
    char name[TL_CAP_ID_MAX + TL_CAP_NAME_MAX + 2];
    snprintf(name, sizeof(name), "%s@%s", id, version);
    pthread_mutex_lock(&cat->lock);
    bool known = json_object_get(cat->audited, name) || json_object_size(cat->audited) >= AUDITED_MAX;
    if (!known)
        json_object_set_new(cat->audited, name, json_true());
    pthread_mutex_unlock(&cat->lock);
    size_t n = strlen(org) + 1;
    struct audit *a = known ? NULL : tl_calloc(1, sizeof(*a));
    if (!a || n + 16 > sizeof(a->key)) {
        free(a);
        return;
    }
    TL_AUTO_JSON json_t *row =
        json_pack("{s:s,s:s,s:s}", "what", "capsule.refused", "capsule_id", id, "capsule_version", version);
    a->text = row ? tl_json_text(row) : NULL;
    memcpy(a->key, org, n);
    tl_key_u64(a->key + n, (uint64_t)tl_now_ms());
    tl_random(a->key + n + 8, 8);
    a->len = n + 16;
    if (!a->text || tl_db_submit(cat->db, write_audit, a, audit_written) < 0)
        audit_written(a, 0);
}

/* ---- what services hands to graphs ---- */

static bool contains(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
            return true;
    return false;
}

static int open_row(struct tl_catalog *cat, const json_t *row, struct tl_capsule **ret)
{
    const char *id = tl_json_str(row, "id"), *owner = tl_json_str(row, "owner");
    struct tl_capsule_ref ref = {.id = {.org = owner, .capsule = id, .version = tl_json_str(row, "version")}};
    /* Authors of other organisations are enrolled with authoring; until then only the built-ins have one. */
    if (strcmp(owner, TL_ORG_BUILTIN) == 0)
        ref.id.author_public = tl_keyring_author_public(cat->kr);
    if (!tl_reg_digest(row, ref.digest) || contains(cat->refused, id) || !ref.id.author_public)
        return TL_ECAPSULE;
    return tl_capsules_open(cat->opened, &ref, tl_reg_fetch, cat->db, ret);
}

static int open_capsule(void *arg, const char *org, const char *id, const char *version, struct tl_capsule **ret)
{
    struct tl_catalog *cat = arg;
    TL_AUTO_JSON json_t *row = NULL;
    *ret = NULL;
    int err = tl_reg_row(cat->db, id, version, &row);
    if (!err && !tl_reg_visible(row, org))
        err = TL_ENOTFOUND;
    if (!err)
        err = open_row(cat, row, ret);
    if (err == TL_ECORRUPT)
        err = TL_ECAPSULE;
    if (err == TL_ECAPSULE)
        audit_refusal(cat, org, id, version);
    return err;
}

static bool has_capsule(void *arg, const char *org, const char *id)
{
    struct tl_catalog *cat = arg;
    TL_AUTO_JSON json_t *rows = NULL;
    return tl_reg_rows(cat->db, id, &rows) == 0 && tl_reg_newest(rows, id, org);
}

struct pattern {
    char key[256];
    size_t len;
    json_t *found;
};

static int read_pattern(struct tl_txn *txn, void *arg)
{
    struct pattern *p = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_PATTERN, p->key, p->len, &v);
    return err ? err : tl_json_parse(v.data, v.len, &p->found, NULL) < 0 ? TL_ECORRUPT : 0;
}

static int see_pattern(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct pattern *p = arg;
    (void)value;
    return json_array_append_new(p->found, json_stringn((const char *)key.data + p->len, key.len - p->len)) < 0
               ? TL_ENOMEM
               : 0;
}

static int list_patterns(struct tl_txn *txn, void *arg)
{
    struct pattern *p = arg;
    struct tl_scan scan = {.table = TL_TBL_PATTERN, .prefix = p->key, .prefix_len = p->len};
    return tl_txn_scan(txn, &scan, see_pattern, p);
}

static int open_pattern(void *arg, const char *snapshot, const char *id, json_t **ret)
{
    struct tl_catalog *cat = arg;
    struct pattern p = {.found = NULL};
    int n = snprintf(p.key, sizeof(p.key), "%s%c%s", snapshot, 0, id ? id : "");
    *ret = NULL;
    if (n >= (int)sizeof(p.key))
        return TL_ENOTFOUND;
    p.len = (size_t)n;
    if (!id)
        p.found = json_array();
    int err = id ? tl_db_read(cat->db, read_pattern, &p) : p.found ? tl_db_read(cat->db, list_patterns, &p) : TL_ENOMEM;
    if (!err && !id && !json_array_size(p.found))
        err = TL_ENOTFOUND;
    if (err) {
        json_decref(p.found);
        return err;
    }
    *ret = id ? p.found : json_pack("{s:s,s:o}", "snapshot", snapshot, "patterns", p.found);
    return *ret ? 0 : TL_ENOMEM;
}

/* ---- opening ---- */

#define META_HIGH "capsules.high"

static int know_high(struct tl_txn *txn, void *arg)
{
    struct tl_bytes v;
    (void)arg;
    return tl_txn_get(txn, TL_TBL_META, META_HIGH, strlen(META_HIGH), &v);
}

static int mark_high(struct tl_txn *txn, void *arg)
{
    (void)arg;
    return tl_txn_put(txn, TL_TBL_META, META_HIGH, strlen(META_HIGH), "1", 1);
}

/* The file is written after what it marks, so a crash in between leaves it lower, never higher. That it ever was there
 * is noted in the database: taking the file away is no way around it. */
static int hold_high(struct tl_catalog *cat, struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *marks = NULL, *rows = NULL;
    bool raised = false;
    int known = tl_db_read(cat->db, know_high, NULL), err = tl_high_load(cat->kr, &marks);
    if (known && known != TL_ENOTFOUND)
        return known;
    if (err == TL_ENOTFOUND && known == TL_ENOTFOUND) {
        marks = json_object();
        err = marks ? 0 : TL_ENOMEM;
    }
    if (err == TL_ENOTFOUND || err == TL_ECORRUPT) {
        tl_diag_add(
            diag, NULL, NULL, "capsules.high",
            "the record of published capsule versions is missing or was changed: put back the file that belongs "
            "to this database, from the same backup");
        return TL_ECAPSULE;
    }
    if (!err)
        err = tl_reg_rows(cat->db, NULL, &rows);
    if (!err)
        err = tl_high_check(rows, marks, &cat->refused, &raised);
    for (size_t i = 0; i < json_array_size(cat->refused) && !err; i++) {
        const char *id = json_string_value(json_array_get(cat->refused, i));
        tl_diag_add(diag, NULL, NULL, "capsules.high",
                    "versions of %s were taken away, exchanged or put back: it is refused", id);
        audit_refusal(cat, TL_ORG_BUILTIN, id, "*");
    }
    if (!err && (raised || known))
        err = tl_high_save(cat->kr, marks);
    return err || !known ? err : tl_db_update(cat->db, mark_high, NULL);
}

int tl_cat_open(struct tl_db *db, struct tl_keyring *keyring, struct tl_services *services, struct tl_catalog **ret,
                struct tl_diag *diag)
{
    *ret = NULL;
    struct tl_catalog *cat = tl_calloc(1, sizeof(*cat));
    if (!cat)
        return TL_ENOMEM;
    cat->db = db;
    cat->kr = keyring;
    pthread_mutex_init(&cat->lock, NULL);
    cat->audited = json_object();
    services->keyring = keyring;
    services->open_capsule = open_capsule;
    services->has_capsule = has_capsule;
    services->open_pattern = open_pattern;
    services->arg = cat;
    int err = cat->audited ? tl_capsules_new(keyring, TL_CAPSULES_KEPT, &cat->opened) : TL_ENOMEM;
    if (!err)
        err = tl_builtin_templates(&cat->templates, diag);
    if (!err)
        err = tl_builtin_publish(db, keyring, services, diag);
    if (!err)
        err = hold_high(cat, diag);
    if (err) {
        services->open_capsule = NULL;
        services->has_capsule = NULL;
        services->open_pattern = NULL;
        services->arg = NULL;
        tl_cat_close(cat);
    } else {
        *ret = cat;
    }
    return err;
}

void tl_cat_close(struct tl_catalog *cat)
{
    if (!cat)
        return;
    tl_capsules_free(cat->opened);
    json_decref(cat->templates);
    json_decref(cat->refused);
    json_decref(cat->audited);
    pthread_mutex_destroy(&cat->lock);
    free(cat);
}

/* ---- lists ---- */

/* Calls each() with the newest row of every id that org may use. */
static int each_newest(struct tl_catalog *cat, const char *org, int (*each)(void *arg, const json_t *row), void *arg)
{
    TL_AUTO_JSON json_t *rows = NULL;
    const char *last = "";
    int err = tl_reg_rows(cat->db, NULL, &rows);
    for (size_t i = 0; i < json_array_size(rows) && !err; i++) {
        const char *id = tl_json_str(json_array_get(rows, i), "id");
        if (!id || strcmp(id, last) == 0)
            continue;
        last = id;
        const json_t *row = tl_reg_newest(rows, id, org);
        if (row)
            err = each(arg, row);
    }
    return err;
}

struct listing {
    json_t *items;
    bool admin;
};

static int list_spec(void *arg, const json_t *row)
{
    struct listing *l = arg;
    return json_array_append_new(l->items, tl_cap_spec_public(json_object_get(row, "spec"), l->admin)) < 0 ? TL_ENOMEM
                                                                                                           : 0;
}

int tl_cat_capsules(struct tl_catalog *cat, const char *org, bool admin, json_t **ret_items)
{
    struct listing l = {.items = json_array(), .admin = admin};
    int err = l.items ? each_newest(cat, org, list_spec, &l) : TL_ENOMEM;
    if (err)
        json_decref(l.items);
    *ret_items = err ? NULL : l.items;
    return err;
}

int tl_cat_capsule(struct tl_catalog *cat, const char *org, const char *id, const char *version, bool admin,
                   json_t **ret)
{
    TL_AUTO_JSON json_t *held = NULL;
    const json_t *row = NULL;
    *ret = NULL;
    int err = version ? tl_reg_row(cat->db, id, version, &held) : tl_reg_rows(cat->db, id, &held);
    if (err)
        return err;
    if (!version)
        row = tl_reg_newest(held, id, org);
    else if (tl_reg_visible(held, org))
        row = held;
    if (!row)
        return TL_ENOTFOUND;
    *ret = tl_cap_spec_public(json_object_get(row, "spec"), admin);
    return *ret ? 0 : TL_ENOMEM;
}

/* The keys that its data may have besides params, inputs, label and ui. */
static json_t *data_keys(const struct tl_op *op)
{
    json_t *list = json_array();
    int bad = json_array_append_new(list, json_string("policy"));
    for (size_t i = 0; op->data_keys && op->data_keys[i]; i++)
        bad |= json_array_append_new(list, json_string(op->data_keys[i]));
    if (!bad)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *node_type(const struct tl_op *op, const char *title, const char *doc, uint32_t revision,
                         const struct tl_port *in, const struct tl_port *out, const struct tl_param *params, bool admin)
{
    return json_pack("{s:s,s:s,s:s,s:i,s:{s:o,s:o},s:o,s:o}", "type", op->name, "title", title ? title : op->name,
                     "doc", doc ? doc : "", "revision", (int)revision, "ports", "in", tl_ports_json(in, false), "out",
                     tl_ports_json(out, true), "params", tl_params_json(params, admin), "data_keys", data_keys(op));
}

/* The palette shows a capsule as the node that it becomes. A row's spec has no adapter; any will do to read the rest.
 */
static int list_type(void *arg, const json_t *row)
{
    struct listing *l = arg;
    TL_AUTO_JSON json_t *json = json_copy(json_object_get(row, "spec"));
    struct tl_cap_spec *spec = NULL;
    if (!json ||
        json_object_set_new(json, "adapter",
                            json_pack("{s:s,s:s}", "type", "internal", "internalGraphRef", "private-dag://sealed")) < 0)
        return TL_ENOMEM;
    int err = tl_cap_spec_parse(json, &spec, NULL);
    if (err)
        return err == TL_ENOMEM ? err : 0; /* not a spec: its capsule cannot be opened either */
    json_t *type = node_type(tl_cap_find_op(NULL, "capsule"), spec->display_name, tl_json_str(spec->json, "description"), 1, spec->inputs,
                             spec->outputs, spec->params, l->admin);
    json_t *out = json_object_get(json_object_get(type, "ports"), "out");
    int bad = json_array_append_new(out, json_pack("{s:s,s:s}", "name", "summary", "type", "json"));
    bad |= json_array_append_new(out, json_pack("{s:s,s:s}", "name", "evidence_refs", "type", "string[]"));
    bad |= json_object_set_new(type, "capsule", json_pack("{s:s,s:s}", "id", spec->id, "version", spec->version));
    bad |= json_array_append_new(l->items, type);
    tl_cap_spec_free(spec);
    return bad ? TL_ENOMEM : 0;
}

int tl_cat_node_types(struct tl_catalog *cat, const char *org, bool admin, json_t **ret_items)
{
    struct listing l = {.items = json_array(), .admin = admin};
    size_t n;
    const struct tl_op *const *ops = tl_cap_ops(&n);
    int err = l.items ? 0 : TL_ENOMEM;
    *ret_items = NULL;
    for (size_t i = 0; i < n && !err; i++) {
        const struct tl_op *op = ops[i];
        if (op->flags & TL_OP_PRIVATE || strcmp(op->name, "capsule") == 0)
            continue;
        if (json_array_append_new(l.items, node_type(op, op->title, op->doc, op->revision, op->ports, op->ports,
                                                     op->params, admin)) < 0)
            err = TL_ENOMEM;
    }
    if (!err)
        err = each_newest(cat, org, list_type, &l);
    if (err)
        json_decref(l.items);
    else
        *ret_items = l.items;
    return err;
}

/* ---- templates: shared constants inside, copies outside ---- */

int tl_cat_templates(struct tl_catalog *cat, json_t **ret_items)
{
    json_t *items = *ret_items = json_array();
    for (size_t i = 0; i < json_array_size(cat->templates); i++) {
        json_t *t = json_copy(json_array_get(cat->templates, i));
        json_object_del(t, "graph");
        if (json_array_append_new(items, t) < 0) {
            json_decref(items);
            *ret_items = NULL;
            return TL_ENOMEM;
        }
    }
    return items ? 0 : TL_ENOMEM;
}

int tl_cat_template(struct tl_catalog *cat, const char *id, json_t **ret)
{
    *ret = NULL;
    for (size_t i = 0; i < json_array_size(cat->templates); i++) {
        const json_t *t = json_array_get(cat->templates, i);
        if (strcmp(tl_json_str(t, "id"), id) == 0) {
            *ret = json_deep_copy(t);
            return *ret ? 0 : TL_ENOMEM;
        }
    }
    return TL_ENOTFOUND;
}

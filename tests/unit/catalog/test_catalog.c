#include "catalog/catalog.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "capsules/doors.h"
#include "capsules/sheet.h"
#include "catalog/builtin.h"
#include "catalog/highwater.h"
#include "catalog/registry.h"
#include "tests/unit/capsules/keys.h"

static struct tl_services services;
static struct tl_catalog *cat;

static int open_catalog(char *message, size_t cap)
{
    struct tl_diag diag = {0};
    memset(&services, 0, sizeof(services));
    services.db = keys_db;
    int err = tl_cat_open(keys_db, keys_kr, &services, &cat, &diag);
    if (message)
        snprintf(message, cap, "%s", diag.count ? diag.items[0].message : "");
    else
        for (size_t i = 0; i < diag.count; i++)
            print_error("%s: %s\n", diag.items[i].path, diag.items[i].message);
    tl_diag_clear(&diag);
    return err;
}

static void reopen(void)
{
    tl_cat_close(cat);
    cat = NULL;
    keys_close();
    keys_open();
}

static int setup(void **state)
{
    return keys_setup(state) || open_catalog(NULL, 0);
}

static int teardown(void **state)
{
    tl_cat_close(cat);
    cat = NULL;
    return keys_teardown(state);
}

static void the_six_auteurs_are_there_for_everybody(void **state)
{
    (void)state;
    static const char *const ids[] = {"auteur.bong-joon-ho", "auteur.hong-sangsoo",   "auteur.lee-junho",
                                      "auteur.na-hongjin",   "auteur.park-chan-wook", "auteur.shinkai"};
    TL_AUTO_JSON json_t *items = NULL;
    assert_int_equal(tl_cat_capsules(cat, "acme", false, &items), 0);
    assert_int_equal(json_array_size(items), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *spec = json_array_get(items, i);
        assert_string_equal(tl_json_str(spec, "id"), ids[i]);
        assert_string_equal(tl_json_str(spec, "version"), "1.0.0");
        assert_null(json_object_get(spec, "adapter"));
        struct tl_capsule *cap;
        assert_int_equal(services.open_capsule(services.arg, "acme", ids[i], "1.0.0", &cap), 0);
        assert_string_equal(cap->spec->id, ids[i]);
        assert_string_equal(cap->owner, "talos");
        tl_capsule_unref(cap);
        assert_int_equal(services.open_capsule(services.arg, "acme", ids[i], "1.0.1", &cap), TL_ENOTFOUND);
        TL_AUTO_JSON json_t *one = NULL, *newest = NULL;
        assert_int_equal(tl_cat_capsule(cat, "acme", ids[i], "1.0.0", false, &one), 0);
        assert_int_equal(tl_cat_capsule(cat, "acme", ids[i], NULL, false, &newest), 0);
        assert_true(json_equal(one, newest));
    }
    TL_AUTO_JSON json_t *none = NULL;
    static const char *const unknown[] = {"auteur.nobody", "", "AUTEUR", "a/../b", "auteur.bong-joon-ho\n"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(tl_cat_capsule(cat, "acme", unknown[i], NULL, false, &none), TL_ENOTFOUND);
    assert_int_equal(tl_cat_capsule(cat, "acme", ids[0], "1.0", false, &none), TL_ENOTFOUND);
}

static void assert_data_keys(const json_t *type)
{
    static const struct {
        const char *type, *keys;
    } holds[] = {{"capsule", "[\"policy\",\"capsuleId\",\"capsuleVersion\",\"patternVersion\",\"locked\",\"upstreamContext\"]"},
                 {"gate", "[\"policy\",\"form\"]"},
                 {"loop", "[\"policy\",\"ports\",\"graph\"]"},
                 {"map", "[\"policy\",\"ports\",\"graph\"]"},
                 {"subgraph", "[\"policy\",\"ports\",\"graph\"]"},
                 {"switch", "[\"policy\",\"ports\",\"cases\"]"}};
    const char *expected = "[\"policy\"]";
    for (size_t i = 0; i < TL_ARRAY_LEN(holds); i++)
        if (strcmp(holds[i].type, tl_json_str(type, "type")) == 0)
            expected = holds[i].keys;
    TL_AUTO_FREE char *is = tl_json_canonical(json_object_get(type, "data_keys"));
    assert_string_equal(is, expected);
}

static void node_types_show_public_ops_and_capsules(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *items = NULL;
    size_t capsules = 0, ops = 0;
    assert_int_equal(tl_cat_node_types(cat, "acme", false, &items), 0);
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *t = json_array_get(items, i);
        const char *type = tl_json_str(t, "type");
        const struct tl_op *op = tl_cap_find_op(NULL, type);
        assert_non_null(op);
        assert_false(op->flags & TL_OP_PRIVATE);
        assert_true(json_is_array(json_object_get(json_object_get(t, "ports"), "in")));
        assert_true(json_is_array(json_object_get(t, "params")));
        assert_non_null(tl_json_str(t, "title"));
        assert_data_keys(t);
        if (strcmp(type, "capsule") == 0) {
            capsules++;
            assert_non_null(tl_json_str(json_object_get(t, "capsule"), "id"));
            const json_t *out = json_object_get(json_object_get(t, "ports"), "out");
            assert_string_equal(tl_json_str(json_array_get(out, json_array_size(out) - 1), "name"), "evidence_refs");
        } else {
            ops++;
        }
    }
    assert_int_equal(capsules, 6);
    assert_true(ops >= 3);
}

static void templates_are_public_graphs_that_hold(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *items = NULL;
    assert_int_equal(tl_cat_templates(cat, &items), 0);
    assert_true(json_array_size(items) >= 3);
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *t = json_array_get(items, i);
        assert_null(json_object_get(t, "graph"));
        TL_AUTO_JSON json_t *whole = NULL;
        assert_int_equal(tl_cat_template(cat, tl_json_str(t, "id"), &whole), 0);
        assert_true(json_is_object(json_object_get(whole, "graph")));
        TL_AUTO_FREE char *text = tl_json_text(whole);
        assert_null(strstr(text, "private-dag"));
        /* Valid but for the files that a person still has to give. */
        struct tl_diag diag = {0};
        TL_AUTO_FREE char *graph = tl_json_text(json_object_get(whole, "graph"));
        tl_cap_check_canvas(&services, "acme", graph, strlen(graph), false, &diag);
        for (size_t k = 0; k < diag.count; k++)
            if (!strstr(diag.items[k].message, "required"))
                fail_msg("%s: %s %s", tl_json_str(t, "id"), diag.items[k].path, diag.items[k].message);
        tl_diag_clear(&diag);
    }
    TL_AUTO_JSON json_t *none = NULL;
    assert_int_equal(tl_cat_template(cat, "nothing", &none), TL_ENOTFOUND);
}

static void patterns_of_the_snapshot_are_there(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *all = NULL, *one = NULL, *none = NULL;
    assert_int_equal(services.open_pattern(services.arg, "v1", NULL, &all), 0);
    const json_t *ids = json_object_get(all, "patterns");
    assert_true(json_array_size(ids) >= 6);
    const char *id = json_string_value(json_array_get(ids, 0));
    assert_int_equal(services.open_pattern(services.arg, "v1", id, &one), 0);
    assert_string_equal(tl_json_str(one, "id"), id);
    assert_int_equal(services.open_pattern(services.arg, "v1", "nothing", &none), TL_ENOTFOUND);
    assert_int_equal(services.open_pattern(services.arg, "v", NULL, &none), TL_ENOTFOUND);
    assert_int_equal(services.open_pattern(services.arg, "v2", NULL, &none), TL_ENOTFOUND);
}

static void publishing_again_writes_nothing(void **state)
{
    (void)state;
    struct tl_db_stat before, after;
    assert_int_equal(tl_db_stat(keys_db, &before), 0);
    tl_cat_close(cat);
    assert_int_equal(open_catalog(NULL, 0), 0);
    assert_int_equal(tl_db_stat(keys_db, &after), 0);
    assert_int_equal(before.writes, after.writes);
    assert_int_equal(before.entries[TL_TBL_SEALED], 6);
    assert_int_equal(before.entries[TL_TBL_WRAP], 6);
}

/* ---- built-ins that are not valid, or changed ---- */

static const char mini_spec[] =
    "{\"id\":\"test.mini\",\"version\":\"%s\",\"displayName\":\"m\",\"inputContracts\":{\"required\":[]},"
    "\"outputContracts\":{\"types\":[\"json\"]},"
    "\"inputs\":{\"a\":{\"type\":\"json\"}},\"outputs\":{\"a\":{\"type\":\"json\"}},\"exposedParams\":{},"
    "\"policy\":{\"evidence\":\"summary_only\",\"allowRawLogs\":false},\"adapter\":{\"type\":\"internal\","
    "\"internalGraphRef\":\"private-dag://m\"}}";
static const char mini_private[] =
    "{\"nodes\":[{\"id\":\"i\",\"type\":\"graph.input\"},{\"id\":\"o\",\"type\":\"graph.output\"}],"
    "\"edges\":[{\"source\":\"i\",\"sourceHandle\":\"a\",\"target\":\"o\",\"targetHandle\":\"%s\"}]}";

static int publish_mini(const char *version, const char *handle, char *message, size_t cap)
{
    char spec[1024], priv[512];
    int n = snprintf(spec, sizeof(spec), mini_spec, version), m = snprintf(priv, sizeof(priv), mini_private, handle);
    struct tl_builtin_file files[] = {{TL_BUILTIN_SPEC, "m/spec.json", spec, spec + n},
                                      {TL_BUILTIN_PRIVATE, "m/private.json", priv, priv + m}};
    struct tl_diag diag = {0};
    int err = tl_builtin_publish_files(files, 2, keys_db, keys_kr, &services, &diag);
    snprintf(message, cap, "%s: %s", diag.count && diag.items[0].path ? diag.items[0].path : "",
             diag.count ? diag.items[0].message : "");
    tl_diag_clear(&diag);
    return err;
}

static void a_changed_built_in_with_the_same_version_is_refused(void **state)
{
    (void)state;
    char m[400];
    assert_int_equal(publish_mini("1.0.0", "a", m, sizeof(m)), 0);
    assert_int_equal(publish_mini("1.0.0", "a", m, sizeof(m)), 0);
    /* Only the private side differs, and only in a name: still the plan holds, still it is refused. */
    char spec[1024], priv[512];
    int n = snprintf(spec, sizeof(spec), mini_spec, "1.0.0"), k = snprintf(priv, sizeof(priv), mini_private, "a");
    priv[k++] = ' ';
    struct tl_builtin_file files[] = {{TL_BUILTIN_SPEC, "m/spec.json", spec, spec + n},
                                      {TL_BUILTIN_PRIVATE, "m/private.json", priv, priv + k}};
    struct tl_diag diag = {0};
    assert_int_equal(tl_builtin_publish_files(files, 2, keys_db, keys_kr, &services, &diag), TL_ECONFLICT);
    assert_non_null(strstr(diag.items[0].message, "test.mini@1.0.0 has changed"));
    tl_diag_clear(&diag);
    assert_int_equal(publish_mini("1.0.1", "a", m, sizeof(m)), 0);
}

static void a_built_in_that_is_not_valid_is_told_with_its_file(void **state)
{
    (void)state;
    char m[400];
    assert_int_equal(publish_mini("1.0", "a", m, sizeof(m)), TL_EINVAL);
    assert_non_null(strstr(m, "m/spec.json: $.version"));
    assert_int_equal(publish_mini("1.0.0", "b", m, sizeof(m)), TL_EINVAL);
    assert_non_null(strstr(m, "m/private.json"));
    TL_AUTO_JSON json_t *row = NULL;
    assert_int_equal(tl_reg_row(keys_db, "test.mini", "1.0.0", &row), TL_ENOTFOUND);
}

static void the_newest_version_is_a_release(void **state)
{
    (void)state;
    char m[400];
    static const char *const versions[] = {"1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(publish_mini(versions[i], "a", m, sizeof(m)), 0);
    TL_AUTO_JSON json_t *one = NULL, *items = NULL;
    assert_int_equal(tl_cat_capsule(cat, "acme", "test.mini", NULL, false, &one), 0);
    assert_string_equal(tl_json_str(one, "version"), "1.10.0");
    assert_int_equal(tl_cat_capsules(cat, "acme", false, &items), 0);
    assert_int_equal(json_array_size(items), 7);
}

/* ---- tampering with the store ---- */

struct edit {
    enum tl_table table;
    uint8_t key[300];
    size_t len;
    const void *value; /* NULL: delete */
    size_t value_len;
    size_t flip; /* SIZE_MAX: none */
};

static int edit(struct tl_txn *txn, void *arg)
{
    struct edit *e = arg;
    struct tl_bytes v;
    if (e->flip == SIZE_MAX)
        return e->value ? tl_txn_put(txn, e->table, e->key, e->len, e->value, e->value_len)
                        : tl_txn_del(txn, e->table, e->key, e->len);
    int err = tl_txn_get(txn, e->table, e->key, e->len, &v);
    uint8_t *copy = malloc(v.len);
    memcpy(copy, v.data, v.len);
    copy[e->flip % v.len] ^= 1;
    err = err ? err : tl_txn_put(txn, e->table, e->key, e->len, copy, v.len);
    free(copy);
    return err;
}

static struct edit of_version(enum tl_table table, const char *id, const char *version)
{
    struct edit e = {.table = table, .flip = SIZE_MAX};
    e.len = (size_t)snprintf((char *)e.key, sizeof(e.key), "%s%c%s", id, 0, version);
    return e;
}

static struct edit of_digest(enum tl_table table, const char *id, const char *version)
{
    TL_AUTO_JSON json_t *row = NULL;
    struct edit e = {.table = table, .len = 32, .flip = SIZE_MAX};
    assert_int_equal(tl_reg_row(keys_db, id, version, &row), 0);
    assert_true(tl_reg_digest(row, e.key));
    return e;
}

#define BONG "auteur.bong-joon-ho"
#define PARK "auteur.park-chan-wook"

static int try_open(const char *id)
{
    struct tl_capsule *cap;
    int err = services.open_capsule(services.arg, "acme", id, "1.0.0", &cap);
    tl_capsule_unref(cap);
    return err;
}

static uint64_t audits(void)
{
    struct tl_db_stat st;
    /* Audit rows are submitted: an update of one's own waits for what was submitted before. */
    struct edit nothing = {
        .table = TL_TBL_META, .key = "test", .len = 4, .value = "1", .value_len = 1, .flip = SIZE_MAX};
    assert_int_equal(tl_db_update(keys_db, edit, &nothing), 0);
    assert_int_equal(tl_db_stat(keys_db, &st), 0);
    return st.entries[TL_TBL_AUDIT];
}

static void damage_gives_one_opaque_error_and_an_audit_row(void **state)
{
    (void)state;
    struct edit damage[] = {of_digest(TL_TBL_SEALED, BONG, "1.0.0"), of_digest(TL_TBL_SEALED, BONG, "1.0.0"),
                            of_digest(TL_TBL_WRAP, BONG, "1.0.0"), of_digest(TL_TBL_SEALED, BONG, "1.0.0"),
                            of_digest(TL_TBL_WRAP, BONG, "1.0.0")};
    damage[0].flip = 5000;
    damage[1].flip = 0;
    damage[2].flip = 40;
    for (int i = 0; i < 5; i++) {
        uint64_t before = audits();
        struct edit back = damage[i];
        struct tl_capsule_bytes b;
        assert_int_equal(tl_reg_fetch(keys_db, damage[i].key, &b), 0);
        back.flip = SIZE_MAX;
        back.value = damage[i].table == TL_TBL_SEALED ? b.blob : b.wrap;
        back.value_len = damage[i].table == TL_TBL_SEALED ? b.len : b.wrap_len;
        assert_int_equal(tl_db_update(keys_db, edit, &damage[i]), 0);
        assert_int_equal(try_open(BONG), TL_ECAPSULE);
        assert_int_equal(try_open(BONG), TL_ECAPSULE);
        assert_int_equal(try_open(PARK), 0);
        assert_int_equal(audits(), before + 1);
        assert_int_equal(tl_db_update(keys_db, edit, &back), 0);
        free(b.blob);
        free(b.wrap);
        assert_int_equal(try_open(BONG), 0);
        reopen(); /* a fresh cache */
        assert_int_equal(open_catalog(NULL, 0), 0);
    }
}

static void another_capsules_blob_under_this_name_is_refused(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *bong = NULL, *park = NULL;
    assert_int_equal(tl_reg_row(keys_db, BONG, "1.0.0", &bong), 0);
    assert_int_equal(tl_reg_row(keys_db, PARK, "1.0.0", &park), 0);
    json_object_set(bong, "digest", json_object_get(park, "digest"));
    TL_AUTO_FREE char *text = tl_json_text(bong);
    struct edit e = of_version(TL_TBL_CAPSULE, BONG, "1.0.0");
    e.value = text;
    e.value_len = strlen(text);
    assert_int_equal(tl_db_update(keys_db, edit, &e), 0);
    assert_int_equal(try_open(PARK), 0); /* in the cache under its own name */
    assert_int_equal(try_open(BONG), TL_ECAPSULE);
}

/* Sealed again by the true author, under the same version, and put in the place of the first: the row's digest is not
 * its own. */
static void another_seal_of_the_same_version_is_refused(void **state)
{
    (void)state;
    json_t *spec = NULL, *doc = NULL;
    const struct tl_builtin_file *f = tl_builtin_files;
    struct tl_sealed sealed;
    struct tl_locked *locked;
    size_t len;
    while (f->kind != TL_BUILTIN_SPEC)
        f++;
    assert_int_equal(tl_json_parse(f[0].data, (size_t)(f[0].end - f[0].data), &spec, NULL), 0);
    assert_int_equal(tl_json_parse(f[1].data, (size_t)(f[1].end - f[1].data), &doc, NULL), 0);
    assert_string_equal(tl_json_str(spec, "id"), BONG);
    char *plain = tl_capsule_plain(spec, doc, &len);
    struct tl_seal_id id = {"talos", BONG, "1.0.0", tl_keyring_author_public(keys_kr)};
    assert_int_equal(tl_locked_new(&locked), 0);
    assert_int_equal(tl_seal(keys_kr, &id, tl_keyring_author_secret(keys_kr), plain, len, locked, &sealed), 0);
    struct edit blob = of_digest(TL_TBL_SEALED, BONG, "1.0.0"), wrap = of_digest(TL_TBL_WRAP, BONG, "1.0.0");
    blob.value = sealed.blob, blob.value_len = sealed.len;
    wrap.value = sealed.wrap, wrap.value_len = sealed.wrap_len;
    assert_int_equal(tl_db_update(keys_db, edit, &blob), 0);
    assert_int_equal(tl_db_update(keys_db, edit, &wrap), 0);
    assert_int_equal(try_open(BONG), TL_ECAPSULE);
    tl_wipe_free(plain, len);
    tl_sealed_clear(&sealed);
    tl_locked_free(locked);
    json_decref(spec);
    json_decref(doc);
}

static void another_organisations_capsule_is_not_there(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *row = NULL, *none = NULL, *items = NULL;
    assert_int_equal(tl_reg_row(keys_db, BONG, "1.0.0", &row), 0);
    json_object_set_new(row, "owner", json_string("other"));
    TL_AUTO_FREE char *text = tl_json_text(row);
    struct edit e = of_version(TL_TBL_CAPSULE, BONG, "1.0.0");
    e.value = text;
    e.value_len = strlen(text);
    assert_int_equal(tl_db_update(keys_db, edit, &e), 0);
    assert_int_equal(try_open(BONG), TL_ENOTFOUND);
    assert_int_equal(tl_cat_capsule(cat, "acme", BONG, "1.0.0", true, &none), TL_ENOTFOUND);
    assert_int_equal(tl_cat_capsule(cat, "acme", BONG, NULL, true, &none), TL_ENOTFOUND);
    assert_int_equal(tl_cat_capsules(cat, "acme", true, &items), 0);
    assert_int_equal(json_array_size(items), 5);
}

/* ---- the high-water mark ---- */

static void a_version_that_was_taken_away_is_noticed(void **state)
{
    (void)state;
    char m[400];
    assert_int_equal(publish_mini("1.0.0", "a", m, sizeof(m)), 0);
    assert_int_equal(publish_mini("1.1.0", "a", m, sizeof(m)), 0);
    reopen();
    assert_int_equal(open_catalog(NULL, 0), 0); /* marks both */
    assert_int_equal(try_open("test.mini"), 0);
    /* The newest is taken away, so that the older signed one would be "the newest" again. */
    struct edit e = of_version(TL_TBL_CAPSULE, "test.mini", "1.1.0");
    assert_int_equal(tl_db_update(keys_db, edit, &e), 0);
    reopen();
    assert_int_equal(open_catalog(m, sizeof(m)), 0);
    assert_non_null(strstr(m, "test.mini"));
    assert_int_equal(try_open("test.mini"), TL_ECAPSULE);
    assert_int_equal(try_open(BONG), 0);
    assert_true(audits() >= 1);
}

static void an_older_version_that_is_put_back_is_noticed(void **state)
{
    (void)state;
    char m[400];
    assert_int_equal(publish_mini("1.1.0", "a", m, sizeof(m)), 0);
    reopen();
    assert_int_equal(open_catalog(NULL, 0), 0);
    assert_int_equal(publish_mini("1.0.0", "a", m, sizeof(m)), 0);
    reopen();
    assert_int_equal(open_catalog(m, sizeof(m)), 0);
    assert_int_equal(try_open("test.mini"), TL_ECAPSULE);
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(tmp_path(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void the_record_can_be_neither_removed_nor_forged(void **state)
{
    (void)state;
    char m[400];
    assert_int_equal(rename(tmp_path("capsules.high"), tmp_path("kept")), 0);
    reopen();
    assert_int_equal(open_catalog(m, sizeof(m)), TL_ECAPSULE);
    assert_non_null(strstr(m, "missing or was changed"));
    write_file("capsules.high", "{\"format\":1,\"capsules\":{},\"mac\":\"00\"}");
    assert_int_equal(open_catalog(m, sizeof(m)), TL_ECAPSULE);
    write_file(
        "capsules.high",
        "{\"format\":1,\"capsules\":{},\"mac\":\"0000000000000000000000000000000000000000000000000000000000000000\"}");
    assert_int_equal(open_catalog(m, sizeof(m)), TL_ECAPSULE);
    write_file("capsules.high", "nothing");
    assert_int_equal(open_catalog(m, sizeof(m)), TL_ECAPSULE);
    assert_null(services.open_capsule);
    assert_int_equal(rename(tmp_path("kept"), tmp_path("capsules.high")), 0);
    assert_int_equal(open_catalog(NULL, 0), 0);
}

/* A crash after the first commit and before the record was written. */
static void a_record_that_was_not_written_yet_is_made_up_for(void **state)
{
    (void)state;
    struct edit e = {.table = TL_TBL_META, .key = "capsules.high", .len = 13, .flip = SIZE_MAX};
    assert_int_equal(tl_db_update(keys_db, edit, &e), 0);
    assert_int_equal(unlink(tmp_path("capsules.high")), 0);
    reopen();
    assert_int_equal(open_catalog(NULL, 0), 0);
    assert_int_equal(access(tmp_path("capsules.high"), F_OK), 0);
    assert_int_equal(try_open(BONG), 0);
}

/* ---- nothing private on disk ---- */

static void each_private_text(const json_t *j, void (*fn)(const char *text, size_t len))
{
    const char *key;
    json_t *v;
    if (json_is_string(j))
        fn(json_string_value(j), json_string_length(j));
    for (size_t i = 0; i < json_array_size(j); i++)
        each_private_text(json_array_get(j, i), fn);
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        each_private_text(v, fn);
}

static char *disk;
static size_t disk_len, compared;

static int slurp(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    FILE *f = type == FTW_F && st->st_size > 0 ? fopen(path, "rb") : NULL;
    if (!f)
        return 0;
    char *grown = realloc(disk, disk_len + (size_t)st->st_size);
    assert_non_null(grown);
    disk = grown;
    disk_len += fread(disk + disk_len, 1, (size_t)st->st_size, f);
    fclose(f);
    return 0;
}

static void not_on_disk(const char *text, size_t len)
{
    if (len < 24)
        return; /* short words are everywhere */
    compared++;
    if (memmem(disk, disk_len, text, len))
        fail_msg("private text on disk: %.60s", text);
}

static void private_texts_are_not_in_the_data_directory(void **state)
{
    (void)state;
    reopen();
    assert_int_equal(open_catalog(NULL, 0), 0);
    assert_int_equal(try_open(BONG), 0);
    disk = NULL;
    disk_len = compared = 0;
    nftw(tmp_dir, slurp, 16, FTW_PHYS);
    assert_non_null(memmem(disk, disk_len, "TLSCAP1", 7));
    for (size_t i = 0; i < tl_builtin_count; i++)
        if (tl_builtin_files[i].kind == TL_BUILTIN_PRIVATE) {
            json_t *j = NULL;
            const struct tl_builtin_file *f = &tl_builtin_files[i];
            assert_int_equal(tl_json_parse(f->data, (size_t)(f->end - f->data), &j, NULL), 0);
            each_private_text(j, not_on_disk);
            json_decref(j);
        }
    assert_true(compared > 20);
    free(disk);
}

/* Not a limit: a figure for the person who reads the test's output. */
static void opening_is_quick(void **state)
{
    (void)state;
    reopen();
    int64_t t = tl_mono_us();
    assert_int_equal(open_catalog(NULL, 0), 0);
    int64_t again = tl_mono_us() - t;
    tl_cat_close(cat);
    keys_close();
    tmp_teardown(state);
    tmp_setup(state);
    t = tl_mono_us();
    keys_open();
    int64_t keys = tl_mono_us() - t;
    t = tl_mono_us();
    assert_int_equal(open_catalog(NULL, 0), 0);
    print_message("opening with the built-ins sealed: %.1f ms; first start: keys and store %.1f ms, sealing %.1f ms\n",
                  (double)again / 1000, (double)keys / 1000, (double)(tl_mono_us() - t) / 1000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_six_auteurs_are_there_for_everybody),
        T(node_types_show_public_ops_and_capsules),
        T(templates_are_public_graphs_that_hold),
        T(patterns_of_the_snapshot_are_there),
        T(publishing_again_writes_nothing),
        T(a_changed_built_in_with_the_same_version_is_refused),
        T(a_built_in_that_is_not_valid_is_told_with_its_file),
        T(the_newest_version_is_a_release),
        T(damage_gives_one_opaque_error_and_an_audit_row),
        T(another_capsules_blob_under_this_name_is_refused),
        T(another_seal_of_the_same_version_is_refused),
        T(another_organisations_capsule_is_not_there),
        T(a_version_that_was_taken_away_is_noticed),
        T(an_older_version_that_is_put_back_is_noticed),
        T(the_record_can_be_neither_removed_nor_forged),
        T(a_record_that_was_not_written_yet_is_made_up_for),
        T(private_texts_are_not_in_the_data_directory),
        T(opening_is_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

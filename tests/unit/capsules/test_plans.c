/* Plans that are kept: found again for the same question, never for another, made anew when what they look at has changed, and not without bound. */
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/doors.h"
#include "capsules/plans.h"
#include "tests/unit/store/tmp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct tl_db *db;
static struct tl_services services;
static char clip_id[TL_ID_TEXT];

static int setup(void **state)
{
    if (tmp_setup(state) || tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db))
        return -1;
    services = (struct tl_services){.db = db};
    return tl_plans_new(db, &services.plans);
}

static int teardown(void **state)
{
    tl_plans_free(services.plans);
    tl_db_close(db);
    return tmp_teardown(state);
}

/* The plan of a text, which need not be in the store; NULL where it is refused. */
static struct tl_plan *plan(const char *org, const char *text, const char *targets, bool admin)
{
    uint8_t hash[TL_TEXT_HASH];
    struct tl_plan *ret;
    tl_text_hash(text, strlen(text), hash);
    TL_AUTO_JSON json_t *list = targets ? json_loads(targets, 0, NULL) : NULL,
                        *doc = tl_cap_named_doc(hash, list, admin);
    int err = tl_cap_plan_named(&services, org, doc, text, strlen(text), &ret, NULL);
    assert_int_equal(err == 0, ret != NULL);
    return ret;
}

/* The same, for comparing only. */
static const struct tl_plan *peek(const char *org, const char *text, const char *targets, bool admin)
{
    struct tl_plan *p = plan(org, text, targets, admin);
    tl_plan_unref(p);
    return p;
}

static const char numbers[] =
    "{\"nodes\":[{\"id\":\"a\",\"type\":\"input.number\"},{\"id\":\"b\",\"type\":\"input.number\"}],\"edges\":[]}";

static void one_question_one_plan(void **state)
{
    (void)state;
    struct tl_plan *first = plan("acme", numbers, NULL, false);
    assert_non_null(first);
    assert_ptr_equal(peek("acme", numbers, NULL, false), first);
    struct tl_plan *others[] = {
        plan("acme", numbers, "[\"a\"]", false),       plan("acme", numbers, "[\"b\"]", false),
        plan("acme", numbers, "[\"a\",\"b\"]", false), plan("acme", numbers, NULL, true),
        plan("other", numbers, NULL, false),           plan("acme", numbers, "[]", false),
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(others); i++) {
        assert_non_null(others[i]);
        assert_ptr_not_equal(others[i], first);
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(others[i], others[k]);
    }
    assert_int_equal(others[0]->nwanted, 1);
    assert_ptr_equal(peek("acme", numbers, "[\"a\"]", false), others[0]);
    for (size_t i = 0; i < TL_ARRAY_LEN(others); i++)
        tl_plan_unref(others[i]);
    tl_plan_unref(first);
}

static void problems_are_not_kept(void **state)
{
    (void)state;
    static const char bad[] = "{\"nodes\":[{\"id\":\"a\",\"type\":\"no.such\"}],\"edges\":[]}";
    for (int i = 0; i < 2; i++) {
        struct tl_diag diag = {0};
        struct tl_plan *p;
        uint8_t hash[TL_TEXT_HASH];
        tl_text_hash(bad, strlen(bad), hash);
        TL_AUTO_JSON json_t *doc = tl_cap_named_doc(hash, NULL, false);
        assert_int_equal(tl_cap_plan_named(&services, "acme", doc, bad, strlen(bad), &p, &diag), TL_EINVAL);
        assert_int_equal(diag.count, 1);
        tl_diag_clear(&diag);
        assert_int_equal(tl_cap_replan(&services, "acme", TL_KIND_CANVAS, doc, &p, &diag),
                         TL_ENOTFOUND); /* never stored */
        assert_null(p);
        tl_diag_clear(&diag);
    }
    TL_AUTO_JSON json_t *doc = json_pack("{s:s}", "doc", "00");
    struct tl_plan *p;
    assert_int_equal(tl_cap_replan(&services, "acme", TL_KIND_CANVAS, doc, &p, NULL), TL_ECORRUPT);
}

struct file {
    uint8_t key[5 + TL_ID_LEN];
    const char *text; /* NULL: deleted */
};

static int put_file(struct tl_txn *txn, void *arg)
{
    const struct file *f = arg;
    return f->text ? tl_txn_put(txn, TL_TBL_FILE, f->key, sizeof(f->key), f->text, strlen(f->text))
                   : tl_txn_del(txn, TL_TBL_FILE, f->key, sizeof(f->key));
}

static void set_file(const struct tl_id *id, const char *text)
{
    struct file f = {.key = "acme", .text = text};
    memcpy(f.key + 5, id->b, TL_ID_LEN);
    assert_int_equal(tl_db_update(db, put_file, &f), 0);
}

static void outside_changes_are_seen(void **state)
{
    (void)state;
    char graph[256];
    struct tl_id id = tl_id_new();
    tl_id_text(&id, clip_id);
    snprintf(
        graph, sizeof(graph),
        "{\"nodes\":[{\"id\":\"c\",\"type\":\"input.clip\",\"data\":{\"params\":{\"file\":\"%s\"}}}],\"edges\":[]}",
        clip_id);
    assert_null(plan("acme", graph, NULL, false));
    set_file(&id, "{\"name\":\"a\",\"content_type\":\"video/mp4\",\"bytes\":3,\"sha256\":\"aa\"}");
    struct tl_plan *first = plan("acme", graph, NULL, false), *plain = plan("acme", numbers, NULL, false);
    assert_non_null(first);
    assert_ptr_equal(peek("acme", graph, NULL, false), first);
    set_file(&id, "{\"name\":\"a\",\"content_type\":\"video/mp4\",\"bytes\":3,\"sha256\":\"bb\"}");
    struct tl_plan *second = plan("acme", graph, NULL, false);
    assert_string_equal(first->nodes[0].shape->identity, "aa");
    assert_string_equal(second->nodes[0].shape->identity, "bb");
    assert_ptr_equal(peek("acme", numbers, NULL, false), plain); /* looks at nothing but its document */
    set_file(&id, NULL);
    assert_null(plan("acme", graph, NULL, false));
    tl_plan_unref(first);
    tl_plan_unref(second);
    tl_plan_unref(plain);
}

static void bounded(void **state)
{
    (void)state;
    enum { NODES = 20000 };
    struct tl_str text = {0};
    tl_str_puts(&text, "{\"nodes\":[");
    for (int i = 0; i < NODES; i++)
        tl_str_printf(&text, "%s{\"id\":\"n%d\",\"type\":\"input.number\"}", i ? "," : "", i);
    tl_str_puts(&text, "],\"edges\":[]}");
    assert_int_equal(text.err, 0);
    struct tl_plan *plans[32];
    int kept = 0;
    for (int i = 0; i < 32; i++) {
        char org[16];
        snprintf(org, sizeof(org), "o%d", i);
        plans[i] = plan(org, text.data, NULL, false);
        assert_non_null(plans[i]);
        assert_ptr_equal(peek("o0", text.data, NULL, false), plans[0]); /* in use: it stays */
    }
    for (int i = 0; i < 32; i++)
        kept += plans[i]->refs == 2;
    assert_in_range(kept, 5, TL_PLANS_MAX_NODES / NODES);
    assert_int_equal(plans[1]->refs, 1); /* the one that was not used for longest is gone */
    assert_int_equal(plans[31]->refs, 2);
    for (int i = 0; i < 32; i++)
        tl_plan_unref(plans[i]);
    tl_str_clear(&text);
}

/* Without a store there is nothing to tell whether the outside has changed. */
static void without_a_store(void **state)
{
    (void)state;
    struct tl_plans *none, *own = services.plans;
    assert_int_equal(tl_plans_new(NULL, &none), 0);
    services.plans = none;
    static const char curve[] = "{\"nodes\":[{\"id\":\"a\",\"type\":\"input.curve\"}],\"edges\":[]}";
    struct tl_plan *a = plan("acme", curve, NULL, false), *b = plan("acme", numbers, NULL, false);
    assert_int_equal(a->refs, 1);
    assert_int_equal(b->refs, 2);
    services.plans = NULL;
    struct tl_plan *c = plan("acme", numbers, NULL, false);
    assert_ptr_not_equal(b, c);
    services.plans = own;
    tl_plans_free(none);
    tl_plans_free(NULL);
    tl_plan_unref(a);
    tl_plan_unref(b);
    tl_plan_unref(c);
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_question_one_plan), TEST(problems_are_not_kept), TEST(outside_changes_are_seen), TEST(bounded),
        TEST(without_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What nodes took so far, and what a dry run makes of it. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/estimate.h"
#include "graph/history.h"
#include "tests/unit/graph/fixture.h"

#include <string.h>

static int open_all(void **state)
{
    (void)state;
    fx_open();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fx_close();
    return 0;
}

/* a and b into s, s and a into t; t's b is a literal. */
#define SUM(a, b)                                                                                                      \
    "{\"nodes\":[{\"id\":\"a\",\"type\":\"number\",\"data\":{\"params\":{\"value\":" a "}}},"                          \
    "{\"id\":\"b\",\"type\":\"number\",\"data\":{\"params\":{\"value\":" b "}}},{\"id\":\"s\",\"type\":\"add\"},"      \
    "{\"id\":\"t\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":1}}}],\"edges\":["                                     \
    "{\"id\":\"1\",\"source\":\"a\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"},"              \
    "{\"id\":\"2\",\"source\":\"b\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"b\"},"              \
    "{\"id\":\"3\",\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"a\"}]}"

/* Three calls to the outside, two of them one after the other. */
#define REMOTE                                                                                                         \
    "{\"nodes\":[{\"id\":\"r\",\"type\":\"remote\"},{\"id\":\"q\",\"type\":\"remote\"},{\"id\":\"p\",\"type\":"        \
    "\"remote\"}],"                                                                                                    \
    "\"edges\":[{\"id\":\"1\",\"source\":\"r\",\"sourceHandle\":\"y\",\"target\":\"q\",\"targetHandle\":\"x\"}]}"

static int estimate(const char *graph, const struct tl_estimate_budget *budget, json_t **ret)
{
    TL_AUTO_JSON json_t *j = fx_json(graph);
    struct tl_plan *plan = fx_plan(j);
    int err = tl_run_estimate(fx.exec, "studio", plan, budget, ret);
    tl_plan_unref(plan);
    return err;
}

static void run(const char *graph)
{
    int ended = fx.ended;
    fx_start(graph);
    fx_wait_ended(ended + 1);
}

static double of(const json_t *answer, const char *key)
{
    return tl_json_num(json_object_get(answer, "estimate"), key, -1);
}

static bool lists(const json_t *answer, const char *key, const char *id)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(answer, key), i, v)
        if (strcmp(json_string_value(v), id) == 0)
            return true;
    return false;
}

static void test_what_is_there(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *before = NULL, *same = NULL, *changed = NULL, *cold = NULL;
    assert_int_equal(estimate(SUM("2", "3"), NULL, &before), 0);
    assert_true(of(before, "nodes_cached") == 0 && of(before, "nodes_to_run") == 4);
    json_t *unknown = json_object_get(json_object_get(before, "estimate"), "unknown_ops");
    assert_int_equal(json_array_size(unknown), 2); /* number, add */
    assert_int_equal(json_array_size(json_object_get(before, "order")), 4);
    assert_string_equal(json_string_value(json_array_get(json_object_get(before, "order"), 3)), "t");
    run(SUM("2", "3"));
    assert_int_equal(fx.calls, 2);
    assert_int_equal(estimate(SUM("2", "3"), NULL, &same), 0);
    assert_true(of(same, "nodes_cached") == 4 && of(same, "nodes_to_run") == 0 && of(same, "seconds") == 0);
    assert_int_equal(estimate(SUM("2", "4"), NULL, &changed), 0);
    assert_true(of(changed, "nodes_cached") == 1 && of(changed, "nodes_to_run") == 3);
    assert_true(lists(changed, "cached", "a") && !lists(changed, "cached", "b") && !lists(changed, "cached", "t"));
    assert_int_equal(json_array_size(json_object_get(json_object_get(changed, "estimate"), "unknown_ops")), 0);
    fx_crash();
    fx_restart();
    assert_int_equal(estimate(SUM("2", "3"), NULL, &cold), 0);
    assert_true(of(cold, "nodes_cached") == 4);
    assert_int_equal(fx.calls, 2); /* nothing ran */
}

static void test_tokens_and_budget(void **state)
{
    (void)state;
    run(REMOTE);
    TL_AUTO_JSON json_t *all = NULL, *enough = NULL, *less = NULL;
    assert_int_equal(estimate(REMOTE, NULL, &all), 0);
    assert_true(of(all, "tokens") == 33 && of(all, "nodes_to_run") == 3 && of(all, "seconds") > 0);
    assert_int_equal(estimate(REMOTE, &(struct tl_estimate_budget){.tokens = 33, .seconds = 1000}, &enough), 0);
    assert_int_equal(estimate(REMOTE, &(struct tl_estimate_budget){.tokens = 32, .seconds = 1000}, &less), TL_EBUDGET);
    assert_string_equal(tl_json_str(less, "message"), "the run would take some 33 tokens of the 32 allowed");
    assert_true(of(less, "tokens") == 33);
}

/* ---- history ---- */

struct kept {
    const char *org, *name;
    struct tl_history_mean mean;
    struct tl_history h;
};

static int put(struct tl_txn *txn, void *arg)
{
    const struct kept *k = arg;
    return tl_history_put(txn, k->org, &k->h);
}

static int get(struct tl_txn *txn, void *arg)
{
    struct kept *k = arg;
    return tl_history_get(txn, k->org, k->name, &k->mean);
}

static void took(struct kept *k, uint32_t count, double ms, bool failed)
{
    const struct tl_plan_node node = {.op = fx_find_op(NULL, k->name)};
    tl_history_took(&k->h, &node, count, ms, NULL, failed);
    assert_int_equal(tl_db_update(fx.db, put, k), 0);
    tl_history_clear(&k->h);
}

static void test_later_ones_weigh_more(void **state)
{
    (void)state;
    struct kept k = {.org = "studio", .name = "add"};
    assert_int_equal(tl_db_read(fx.db, get, &k), TL_ENOTFOUND);
    took(&k, 1, 500, true);
    assert_int_equal(tl_db_read(fx.db, get, &k), TL_ENOTFOUND); /* what failed says nothing of what it takes */
    took(&k, 2, 200, false);
    assert_int_equal(tl_db_read(fx.db, get, &k), 0);
    assert_true(k.mean.ms == 100);
    took(&k, 1, 200, false);
    assert_int_equal(tl_db_read(fx.db, get, &k), 0);
    assert_true(k.mean.ms > 119.9 && k.mean.ms < 120.1);
    took(&k, 100, 100 * 300, false);
    assert_int_equal(tl_db_read(fx.db, get, &k), 0);
    assert_true(k.mean.ms > 299.9 && k.mean.ms <= 300);
    k.org = "other";
    assert_int_equal(tl_db_read(fx.db, get, &k), TL_ENOTFOUND);
}

/* Nodes take as long as the longest way through them, or as their class's work takes with its places: 2 for the CPU here, enough for REMOTE. */
static void test_seconds(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *net = NULL, *cpu = NULL, *places = NULL;
    struct kept remote = {.org = "studio", .name = "remote"}, add = {.org = "studio", .name = "add"},
                number = {.org = "studio", .name = "number"};
    took(&remote, 1, 1000, false);
    took(&add, 1, 4000, false);
    took(&number, 1, 250, false);
    assert_int_equal(estimate(REMOTE, NULL, &net), 0);
    assert_true(of(net, "seconds") == 2); /* r and q; p goes beside them */
    assert_int_equal(estimate(SUM("2", "3"), NULL, &cpu), 0);
    assert_true(of(cpu, "seconds") == 8.25); /* one of a and b, s, t */
    assert_int_equal(estimate("{\"nodes\":[{\"id\":\"a\",\"type\":\"number\"},{\"id\":\"b\",\"type\":\"number\"},"
                              "{\"id\":\"c\",\"type\":\"number\"},{\"id\":\"d\",\"type\":\"number\"}],\"edges\":[]}",
                              NULL, &places),
                     0);
    assert_true(of(places, "seconds") == 0.5); /* four of them in two places */
}

/* What was found is not counted, what failed is. */
static void test_what_is_counted(void **state)
{
    (void)state;
    run(REMOTE);
    run(SUM("2", "3"));
    run(SUM("2", "3"));
    struct kept k = {.org = "studio", .name = "remote"};
    assert_int_equal(tl_db_read(fx.db, get, &k), 0);
    assert_true(k.mean.tokens == 11);
    struct tl_db_stat stat;
    assert_int_equal(tl_db_stat(fx.db, &stat), 0);
    assert_int_equal(stat.entries[TL_TBL_HISTORY], 3); /* remote, number, add */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
    const struct CMUnitTest tests[] = {
        T(test_what_is_there),
        T(test_tokens_and_budget),
        T(test_later_ones_weigh_more),
        T(test_seconds),
        T(test_what_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

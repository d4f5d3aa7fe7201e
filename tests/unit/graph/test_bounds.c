/* What one run, and one organisation, may have under way: bounds that leave room for others, and that name themselves. */
#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/op_ctx.h"

#include <stdio.h>
#include <string.h>

enum { LIVE = 1000, OF_A_RUN = 40, NESTED = 100, STEPS = 200 }; /* a run counts as 40 nodes more */

static int setup(void **state)
{
    (void)state;
    fx_open();
    fx_crash();
    fx.conf.live_max = LIVE;
    fx.conf.nested_max = NESTED;
    fx.conf.steps_max = STEPS;
    fx_restart();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fx_close();
    return 0;
}

/* A run of n nodes of which the first one waits for the test and all others for it. */
static int start(const char *org, int n, struct tl_id *ret)
{
    TL_AUTO_JSON json_t *nodes = json_array();
    TL_AUTO_JSON json_t *edges = json_array();
    json_array_append_new(nodes, json_pack("{s:s,s:s}", "id", "h", "type", "hold"));
    for (int i = 1; i < n; i++) {
        char id[16];
        snprintf(id, sizeof(id), "n%d", i);
        json_array_append_new(nodes, json_pack("{s:s,s:s}", "id", id, "type", "upstream"));
        json_array_append_new(edges, json_pack("{s:s,s:s,s:s,s:s}", "source", "h", "sourceHandle", "out", "target", id,
                                               "targetHandle", "in"));
    }
    TL_AUTO_JSON json_t *graph = json_pack("{s:O,s:O}", "nodes", nodes, "edges", edges);
    struct tl_plan *plan = fx_plan(graph);
    struct tl_run_req req = {.org = org, .sub = "kim", .kind = "canvas", .doc = graph, .plan = plan};
    int err = tl_run_start_wait(fx.exec, &req, ret);
    tl_plan_unref(plan);
    return err;
}

static void test_room_is_left_for_others(void **state)
{
    (void)state;
    struct tl_id id[4];
    assert_int_equal(start("greedy", LIVE / 2 - OF_A_RUN, &id[0]), 0);
    struct tl_op_ctx *greedy = fx_wait_held();
    assert_int_equal(start("greedy", 1, &id[3]), TL_ERATE);           /* half of it all, and no more */
    assert_int_equal(start("other", LIVE / 4 - OF_A_RUN, &id[1]), 0); /* half of what is left */
    struct tl_op_ctx *other = fx_wait_held();
    assert_int_equal(start("third", LIVE / 8 - OF_A_RUN, &id[2]), 0);
    struct tl_op_ctx *third = fx_wait_held();
    tl_op_done(greedy, 0);
    tl_op_done(other, 0);
    tl_op_done(third, 0);
    fx_wait_ended(3);
    int err;
    do /* it comes back when the executor has let go of the runs, which is after their ends were told */
        err = start("greedy", LIVE / 2 - OF_A_RUN, &id[3]);
    while (err == TL_ERATE);
    assert_int_equal(err, 0);
    tl_op_done(fx_wait_held(), 0);
    fx_wait_ended(4);
}

/* A map of n items whose body has three nodes. */
static struct tl_id map_of(int n)
{
    TL_AUTO_JSON json_t *items = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(items, json_integer(i));
    TL_AUTO_JSON json_t *graph = fx_json(
        "{\"nodes\":[{\"id\":\"m\",\"type\":\"map\",\"data\":{\"ports\":{\"in\":[{\"name\":\"item\",\"type\":"
        "\"number\"}],\"out\":[{\"name\":\"y\",\"type\":\"number\"}]},"
        "\"graph\":{\"nodes\":[{\"id\":\"in\",\"type\":\"graph.input\"},{\"id\":\"a\",\"type\":\"add\"},{\"id\":"
        "\"out\",\"type\":\"graph.output\"}],"
        "\"edges\":[{\"source\":\"in\",\"sourceHandle\":\"item\",\"target\":\"a\",\"targetHandle\":\"a\"},"
        "{\"source\":\"a\",\"sourceHandle\":\"sum\",\"target\":\"out\",\"targetHandle\":\"y\"}]}}}],\"edges\":[]}");
    json_t *data = json_object_get(json_array_get(json_object_get(graph, "nodes"), 0), "data");
    json_object_set_new(data, "inputs", json_pack("{s:O}", "items", items));
    TL_AUTO_FREE char *text = tl_json_text(graph);
    return fx_start(text);
}

static void assert_ended(const struct tl_id *id, const char *code, const char *message)
{
    TL_AUTO_JSON json_t *record = fx_record(id);
    json_t *error = json_object_get(json_object_get(record, "result"), "error");
    if (!code) {
        assert_string_equal(tl_json_str(record, "status"), "done");
        return;
    }
    assert_string_equal(tl_json_str(error, "code"), code);
    assert_non_null(strstr(tl_json_str(error, "message"), message));
}

static void test_steps_of_a_run(void **state)
{
    (void)state;
    fx_crash();
    fx.conf.nested_max = 0; /* the usual one */
    fx_restart();
    struct tl_id id = map_of(STEPS / 3);
    fx_wait_ended(1);
    assert_ended(&id, NULL, NULL);
    id = map_of(STEPS / 3 + 1);
    fx_wait_ended(2);
    assert_ended(&id, "LIMIT_REACHED", "a limit");
}

/* What a map keeps for its items counts before any of them has begun. */
static void test_items_count(void **state)
{
    (void)state;
    struct tl_id id = map_of(NESTED / 2 + 1);
    fx_wait_ended(1);
    assert_ended(&id, "LIMIT_REACHED", "too many nodes of nested graphs");
    id = map_of(NESTED / 10);
    fx_wait_ended(2);
    assert_ended(&id, NULL, NULL);
}

/* Graphs within count with the graph around them. */
static void test_bodies_count(void **state)
{
    (void)state;
    enum { INNER = 1000, GROUPS = TL_GRAPH_MAX_NODES / INNER };
    TL_AUTO_JSON json_t *inner = json_array();
    TL_AUTO_JSON json_t *nodes = json_array();
    for (int i = 0; i < INNER; i++) {
        char id[16];
        snprintf(id, sizeof(id), "n%d", i);
        json_array_append_new(inner, json_pack("{s:s,s:s}", "id", id, "type", "number"));
    }
    for (int i = 0; i < GROUPS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "g%d", i);
        json_array_append_new(nodes, json_pack("{s:s,s:s,s:{s:{s:O,s:[]}}}", "id", id, "type", "subgraph", "data",
                                               "graph", "nodes", inner, "edges"));
    }
    TL_AUTO_JSON json_t *graph = json_pack("{s:O,s:[]}", "nodes", nodes, "edges");
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    assert_int_equal(tl_plan_json(graph, &fx_env, NULL, 0, &plan, &diag), TL_EINVAL);
    assert_int_equal(diag.count, 1);
    assert_string_equal(diag.items[0].path, "$.nodes");
    assert_non_null(strstr(diag.items[0].message, "100100 nodes, with those of the graphs within"));
    tl_diag_clear(&diag);
    json_array_remove(nodes, 0);
    assert_int_equal(tl_plan_json(graph, &fx_env, NULL, 0, &plan, &diag), 0);
    assert_int_equal(plan->ntotal, (GROUPS - 1) * (INNER + 1));
    tl_plan_unref(plan);
    tl_diag_clear(&diag);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_room_is_left_for_others), T(test_steps_of_a_run), T(test_items_count),
                                       T(test_bodies_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

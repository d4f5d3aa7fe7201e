/* Checking and planning: every problem at once, with node and path; the order of what is sound. */
#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

#include <string.h>

static int check(const char *text, struct tl_diag *diag, bool admin, const char *target, struct tl_plan **ret)
{
    TL_AUTO_JSON json_t *j = fx_json(text);
    struct tl_graph_env env = fx_env;
    env.admin = admin;
    return tl_plan_json(j, &env, target ? &target : NULL, target ? 1 : 0, ret, diag);
}

static bool says(const struct tl_diag *d, const char *node, const char *path, const char *words)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct tl_problem *p = &d->items[i];
        if ((!node || (p->node && strcmp(p->node, node) == 0)) && (!path || (p->path && strcmp(p->path, path) == 0)) &&
            strstr(p->message, words))
            return true;
    }
    return false;
}

static void test_all_problems_at_once(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    int err = check(
        "{\"nodes\":["
        "{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":0.3,\"secret\":true,\"colour\":1},\"x\":1}},"
        "{\"id\":\"far\",\"type\":\"number\",\"data\":{\"params\":{\"value\":1001}}},"
        "{\"id\":\"a\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":\"no\",\"c\":1}}},"
        "{\"id\":\"b\",\"type\":\"add\"},"
        "{\"id\":\"h\",\"type\":\"hidden\"},{\"id\":\"u\",\"type\":\"nope\"},"
        "{\"id\":\"clip\",\"type\":\"clip\"}],"
        "\"edges\":[{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"b\",\"targetHandle\":\"a\"},"
        "{\"source\":\"far\",\"sourceHandle\":\"value\",\"target\":\"b\",\"targetHandle\":\"a\"},"
        "{\"source\":\"far\",\"sourceHandle\":\"value\",\"target\":\"clip\",\"targetHandle\":\"clip\"},"
        "{\"source\":\"far\",\"sourceHandle\":\"size\",\"target\":\"b\",\"targetHandle\":\"c\"}]}",
        &d, false, NULL, &plan);
    assert_int_equal(err, TL_EINVAL);
    assert_null(plan);
    assert_true(says(&d, "n", "$.nodes[0].data.params.value", "steps of 0.5"));
    assert_true(says(&d, "n", "$.nodes[0].data.params.colour", "unknown parameter"));
    assert_true(says(&d, "n", "$.nodes[0].data.params.secret", "unknown parameter"));
    assert_true(says(&d, "n", "$.nodes[0].data.x", "unknown field"));
    assert_true(says(&d, "far", "$.nodes[1].data.params.value", "between -1000 and 1000"));
    assert_true(says(&d, "a", "$.nodes[2].data.inputs.b", "must be a number"));
    assert_true(says(&d, "a", "$.nodes[2].data.inputs.c", "unknown input"));
    assert_true(says(&d, "a", "$.nodes[2]", "\"a\" (number) is required"));
    assert_true(says(&d, "h", "$.nodes[4]", "unknown node type"));
    assert_true(says(&d, "u", "$.nodes[5]", "unknown node type"));
    assert_true(says(&d, "b", "$.edges[1]", "takes one edge only"));
    assert_true(says(&d, "clip", "$.edges[2]", "takes video"));
    assert_true(says(&d, "far", "$.edges[3]", "no output \"size\""));
    assert_true(says(&d, "b", "$.edges[3]", "no input \"c\""));
    tl_diag_clear(&d);
}

static void test_form(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    assert_int_equal(
        check("{\"nodes\":[{\"id\":\"a\",\"type\":\"number\"},{\"id\":\"a\",\"type\":\"number\"},{\"type\":\"number\"},"
              "{\"id\":\"z\"},"
              "{\"id\":\"bad\\u0001\",\"type\":\"number\",\"owner\":\"me\",\"data\":[]},{\"id\":\"u\",\"type\":"
              "\"nope\",\"selected\":true},"
              "{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":0.3}}}],\"org_id\":\"x\",\"viewport\":"
              "{},"
              "\"edges\":[{\"id\":\"e\",\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"u\",\"targetHandle\":"
              "\"a\"},"
              "{\"id\":\"e\",\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"u\",\"targetHandle\":\"a\"},"
              "{\"source\":\"q\",\"sourceHandle\":\"value\",\"target\":\"a\"}]}",
              &d, false, NULL, &plan),
        TL_EINVAL);
    assert_true(says(&d, "a", "$.nodes[1]", "used by another node"));
    assert_true(says(&d, NULL, "$.nodes[2]", "needs an id"));
    assert_true(says(&d, "z", "$.nodes[3]", "needs a type"));
    assert_true(says(&d, NULL, "$.nodes[4]", "needs an id"));
    assert_true(says(&d, NULL, "$.nodes[4].owner", "unknown field"));
    assert_true(says(&d, NULL, "$.nodes[4]", "data must be"));
    assert_true(says(&d, NULL, "$.org_id", "unknown field"));
    assert_false(says(&d, NULL, "$.viewport", ""));
    assert_true(says(&d, NULL, "$.edges[1]", "used by another edge"));
    assert_true(says(&d, NULL, "$.edges[2]", "is no node"));
    assert_true(says(&d, NULL, "$.edges[2]", "needs targetHandle"));
    /* What is wrong with the meaning is told beside what is wrong with the form. */
    assert_true(says(&d, "u", "$.nodes[5]", "unknown node type"));
    assert_false(says(&d, "u", "$.nodes[5].selected", ""));
    assert_true(says(&d, "n", "$.nodes[6].data.params.value", "steps of 0.5"));
    tl_diag_clear(&d);
    assert_int_equal(check("[]", &d, false, NULL, &plan), TL_EINVAL);
    tl_diag_clear(&d);
    assert_int_equal(check("{\"nodes\":{}}", &d, false, NULL, &plan), TL_EINVAL);
    assert_int_equal(d.count, 2);
    tl_diag_clear(&d);
}

/* What step ids are made with: a node could pass for a step inside another. */
static void test_no_steps_as_ids(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    assert_int_equal(check("{\"nodes\":[{\"id\":\"map#0\",\"type\":\"number\"},{\"id\":\"map/g\",\"type\":\"number\"}],\"edges\":[]}", &d, false, NULL, &plan), TL_EINVAL);
    assert_true(says(&d, NULL, "$.nodes[0]", "without"));
    assert_true(says(&d, NULL, "$.nodes[1]", "without"));
    tl_diag_clear(&d);
}

static void test_cycle(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    assert_int_equal(
        check("{\"nodes\":[{\"id\":\"a\",\"type\":\"add\"},{\"id\":\"b\",\"type\":\"add\"},{\"id\":\"c\",\"type\":"
              "\"add\"}],"
              "\"edges\":[{\"source\":\"a\",\"sourceHandle\":\"sum\",\"target\":\"b\",\"targetHandle\":\"a\"},"
              "{\"source\":\"b\",\"sourceHandle\":\"sum\",\"target\":\"a\",\"targetHandle\":\"a\"},"
              "{\"source\":\"b\",\"sourceHandle\":\"sum\",\"target\":\"c\",\"targetHandle\":\"a\"}]}",
              &d, false, NULL, &plan),
        TL_EINVAL);
    assert_true(says(&d, NULL, "$.edges", "\"a\" → \"b\" → \"a\"") ||
                says(&d, NULL, "$.edges", "\"b\" → \"a\" → \"b\""));
    tl_diag_clear(&d);
}

/* Every cycle is told once: also one through a node that is unknown, and one that an edge with another problem closes. */
static void test_cycles(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    struct tl_str g = {0};
    static const char *const types[] = {"add", "add", "add", "nope", "add", "clip", "add", "total", "add", "add"};
    static const struct {
        int from, to;
        const char *out, *in;
    } edges[] = {{0, 1, "sum", "a"}, {1, 0, "sum", "a"}, {1, 2, "sum", "a"}, {2, 3, "sum", "x"}, {3, 2, "x", "b"},
                 {4, 5, "sum", "clip"}, {5, 4, "x", "a"}, {6, 6, "sum", "a"}, {7, 8, "sum", "a"}, {8, 7, "sum", "all"},
                 {7, 9, "sum", "a"}, {9, 7, "sum", "all"}};
    static const char *const told[] = {"0", "\"0\" → \"1\" → \"0\"", "2", "\"2\" → \"3\" → \"2\"",
                                       "4", "\"4\" → \"5\" → \"4\"", "6", "cycle: \"6\" → \"6\"",
                                       "7", "\"7\"; and 1 more on cycles with them"};
    tl_str_puts(&g, "{\"nodes\":[");
    for (size_t i = 0; i < TL_ARRAY_LEN(types); i++)
        tl_str_printf(&g, "%s{\"id\":\"%zu\",\"type\":\"%s\"}", i ? "," : "", i, types[i]);
    tl_str_puts(&g, "],\"edges\":[");
    for (size_t e = 0; e < TL_ARRAY_LEN(edges); e++)
        tl_str_printf(&g, "%s{\"source\":\"%d\",\"sourceHandle\":\"%s\",\"target\":\"%d\",\"targetHandle\":\"%s\"}", e ? "," : "",
                      edges[e].from, edges[e].out, edges[e].to, edges[e].in);
    tl_str_puts(&g, "]}");
    assert_int_equal(check(g.data, &d, false, NULL, &plan), TL_EINVAL);
    size_t cycles = 0;
    for (size_t i = 0; i < d.count; i++)
        cycles += strstr(d.items[i].message, "cycle") != NULL;
    for (size_t i = 0; i < TL_ARRAY_LEN(told); i += 2)
        if (!says(&d, told[i], "$.edges", told[i + 1]))
            fail_msg("not told: %s", told[i + 1]);
    assert_int_equal(cycles, TL_ARRAY_LEN(told) / 2);
    tl_diag_clear(&d);
    assert_int_equal(check(g.data, &d, false, "8", &plan), TL_EINVAL); /* what is not wanted is not told */
    assert_true(says(&d, "7", "$.edges", "cycle"));
    assert_false(says(&d, "0", "$.edges", "cycle"));
    tl_diag_clear(&d);
    tl_str_clear(&g);
}

static void test_targets_plan_ancestors_only(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    static const char *g = "{\"nodes\":[{\"id\":\"broken\",\"type\":\"nope\"},{\"id\":\"n\",\"type\":\"number\"},"
                           "{\"id\":\"s\",\"type\":\"add\"},{\"id\":\"t\",\"type\":\"add\"}],\"edges\":["
                           "{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"},"
                           "{\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"a\"},"
                           "{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"t\",\"targetHandle\":\"b\"}]}";
    assert_int_equal(check(g, &d, false, "s", &plan), 0);
    assert_int_equal(plan->nwanted, 2);
    assert_string_equal(plan->nodes[plan->order[0]].id, "n");
    assert_string_equal(plan->nodes[plan->order[1]].id, "s");
    tl_plan_unref(plan);
    assert_int_equal(check(g, &d, false, "gone", &plan), TL_EINVAL);
    assert_true(says(&d, "gone", "$.targets", "no node"));
    tl_diag_clear(&d);
    assert_int_equal(check(g, &d, false, NULL, &plan), TL_EINVAL);
    tl_diag_clear(&d);
}

static void test_admin_and_literals(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    struct tl_plan *plan;
    assert_int_equal(check("{\"nodes\":[{\"id\":\"n\",\"type\":\"number\",\"position\":{\"x\":1,\"y\":2},\"data\":{"
                           "\"params\":{\"secret\":true}}},"
                           "{\"id\":\"a\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":5}}}],\"edges\":[]}",
                           &d, true, NULL, &plan),
                     0);
    assert_int_equal(plan->nodes[1].in[0].literal->type, TL_T_NUMBER);
    assert_true(plan->nodes[0].params[1].boolean);
    tl_plan_unref(plan);
    /* A hash is no right to a blob. */
    assert_int_equal(
        check(
            "{\"nodes\":[{\"id\":\"c\",\"type\":\"clip\",\"data\":{\"inputs\":{\"clip\":{\"kind\":\"video\",\"sha256\":"
            "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"content_type\":\"video/"
            "mp4\",\"bytes\":1,\"name\":\"x\"}}}}],"
            "\"edges\":[]}",
            &d, false, NULL, &plan),
        TL_EINVAL);
    assert_true(says(&d, "c", "$.nodes[0].data.inputs.clip", "from an edge only"));
    tl_diag_clear(&d);
}

static struct tl_plan *plan_text(const char *text)
{
    struct tl_plan *plan = NULL;
    struct tl_diag d = {0};
    int err = tl_plan_text(text, strlen(text), &fx_env, NULL, 0, &plan, &d);
    if (err)
        fail_msg("%s: %s", d.count ? d.items[0].path : "", d.count ? d.items[0].message : "");
    return plan;
}

#define NODE_N "{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":2}}}"
#define NODE_M "{\"id\":\"m\",\"type\":\"number\",\"data\":{\"params\":{\"value\":2}}}"
#define NODE_A "{\"id\":\"a\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":1}}}"
#define EDGE(from, to)                                                                                                 \
    "{\"source\":\"" from "\",\"sourceHandle\":\"value\",\"target\":\"a\",\"targetHandle\":\"" to "\"}"
#define GRAPH(nodes, edges) "{\"nodes\":[" nodes "],\"edges\":[" edges "]}"

/* What the plan is does not depend on how its document is written; what the graph's hash is does depend on everything that a run does. */
static void test_same_and_other(void **state)
{
    (void)state;
    struct tl_plan *plan = plan_text(GRAPH(NODE_N "," NODE_M "," NODE_A, EDGE("n", "a")));
    static const char *const same[] = {
        "{\"edges\":[" EDGE("n", "a") "],\"viewport\":{},\"nodes\":[" NODE_N "," NODE_M "," NODE_A "]}",
        " { \"nodes\" : [ "
        "{\"position\":{\"x\":1,\"y\":2},\"data\":{\"label\":\"two\",\"ui\":{},\"params\":{\"value\":2.0}},\"width\":3,"
        "\"type\":\"number\",\"id\":\"n\"}, " NODE_M " ," NODE_A " ] , \"edges\":\n[" EDGE("\\u006e", "a") "]}",
        GRAPH("{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":20e-1}}}," NODE_M "," NODE_A,
              EDGE("n", "a")),
    };
    static const char *const other[] = {
        GRAPH("{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":2.5}}}," NODE_M "," NODE_A,
              EDGE("n", "a")),
        GRAPH("{\"id\":\"n\",\"type\":\"number\"}," NODE_M "," NODE_A, EDGE("n", "a")),
        GRAPH("{\"id\":\"n\",\"type\":\"impure\",\"data\":{\"params\":{\"value\":2}}}," NODE_M "," NODE_A,
              EDGE("n", "a")),
        GRAPH(NODE_N ",{\"id\":\"o\",\"type\":\"number\",\"data\":{\"params\":{\"value\":2}}}," NODE_A, EDGE("n", "a")),
        GRAPH(NODE_N "," NODE_M ",{\"id\":\"a\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":2}}}", EDGE("n", "a")),
        GRAPH(NODE_N "," NODE_M "," NODE_A, EDGE("m", "a")),
        GRAPH(NODE_N "," NODE_M "," NODE_A, EDGE("n", "a") "," EDGE("m", "b")),
        GRAPH(NODE_N "," NODE_M "," NODE_A ",{\"id\":\"x\",\"type\":\"number\"}", EDGE("n", "a")),
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct tl_plan *p = plan_text(same[i]);
        assert_string_equal(p->hash, plan->hash);
        tl_plan_unref(p);
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        struct tl_plan *p = plan_text(other[i]);
        assert_string_not_equal(p->hash, plan->hash);
        tl_plan_unref(p);
    }
    /* As JSON it is the same plan. */
    TL_AUTO_JSON json_t *j = fx_json(same[1]);
    struct tl_plan *p = NULL;
    assert_int_equal(tl_plan_json(j, &fx_env, NULL, 0, &p, NULL), 0);
    assert_string_equal(p->hash, plan->hash);
    tl_plan_unref(p);
    tl_plan_unref(plan);
}

static const uint8_t *digest(const struct tl_plan *plan, const char *id)
{
    return plan->nodes[tl_plan_find(plan, id)].digest;
}

static void test_digests(void **state)
{
    (void)state;
    struct tl_plan *plan = plan_text(GRAPH(
        NODE_N
        "," NODE_M
        ",{\"id\":\"d\",\"type\":\"number\"},{\"id\":\"z\",\"type\":\"number\",\"data\":{\"params\":{\"value\":0}}},"
        "{\"id\":\"i\",\"type\":\"impure\",\"data\":{\"params\":{\"value\":2}}},"
        "{\"id\":\"p\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":1}}},{\"id\":\"q\",\"type\":\"add\",\"data\":{"
        "\"inputs\":{\"a\":2}}},"
        "{\"id\":\"r\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":1,\"b\":1}}}," NODE_A
        ",{\"id\":\"e\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":7,\"b\":1}}}",
        EDGE("n", "a") ",{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"e\",\"targetHandle\":\"a\"}"));
    assert_memory_equal(digest(plan, "n"), digest(plan, "m"), 32);
    assert_memory_equal(digest(plan, "d"), digest(plan, "z"), 32); /* the default, written or not */
    assert_memory_equal(digest(plan, "a"), digest(plan, "e"),
                        32); /* an edge wins over a literal, which then counts for nothing */
    static const char *const differ[] = {"n", "d", "i", "p", "q", "r", "a"};
    for (size_t i = 0; i < sizeof(differ) / sizeof(differ[0]); i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(digest(plan, differ[i]), digest(plan, differ[k]), 32);
    assert_int_equal(plan->nouts, plan->nnodes);
    for (uint32_t i = 0; i < plan->nnodes; i++)
        assert_int_equal(plan->nodes[i].first_out, i);
    tl_plan_unref(plan);
}

/* The definition, worked out by hand: what a second implementation would compute. */
static void test_digest_definition(void **state)
{
    (void)state;
    struct tl_plan *plan =
        plan_text(GRAPH("{\"id\":\"a\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":-1.5,\"a\":0}}}," NODE_N, ""));
    struct tl_blake2b h;
    uint8_t kind[32], want[32], value[32] = {'n'};
    uint32_t one = 1, index;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-node-1", 12);
    tl_blake2b_field(&h, "add", 3);
    tl_blake2b_field(&h, &one, 4);
    tl_blake2b_field(&h, "", 0);
    tl_blake2b_field(&h, "", 0);
    tl_blake2b_field(&h, "a", 1);
    tl_blake2b_field(&h, "b", 1);
    tl_blake2b_final(&h, kind);
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, kind, 32);
    tl_blake2b_update(&h, (index = 0, &index), 4);
    tl_blake2b_update(&h, value, 32);
    memcpy(value + 8, &(double){-1.5}, 8);
    tl_blake2b_update(&h, (index = 1, &index), 4);
    tl_blake2b_update(&h, value, 32);
    tl_blake2b_final(&h, want);
    assert_memory_equal(digest(plan, "a"), want, 32);
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-node-1", 12);
    tl_blake2b_field(&h, "number", 6);
    tl_blake2b_field(&h, &one, 4);
    tl_blake2b_field(&h, "", 0);
    tl_blake2b_field(&h, "value", 5);
    tl_blake2b_field(&h, "secret", 6);
    tl_blake2b_field(&h, "", 0);
    tl_blake2b_final(&h, kind);
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, kind, 32);
    memcpy(value + 8, &(double){2}, 8);
    tl_blake2b_update(&h, value, 32);
    memset(value, 0, 32);
    value[0] = 'b';
    tl_blake2b_update(&h, value, 32);
    tl_blake2b_final(&h, want);
    assert_memory_equal(digest(plan, "n"), want, 32);
    tl_plan_unref(plan);
}

static void test_value_hashes(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *text = json_string("x"), *list = fx_json("[1,2]");
    struct tl_value v[] = {tl_value_number(0),
                           tl_value_number(1),
                           tl_value_number(0.1),
                           tl_value_number(0.1 + 1e-18),
                           tl_value_number(0.30000000000000004),
                           tl_value_number(0.3),
                           tl_value_bool(false),
                           tl_value_bool(true),
                           {.type = TL_T_ANY},
                           {.type = TL_T_STRING, .json = text},
                           {.type = TL_T_JSON, .json = text},
                           {.type = TL_T_FLOATS, .json = list}};
    size_t n = sizeof(v) / sizeof(v[0]);
    uint8_t h[12][32], minus[32];
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tl_value_hash(&v[i], h[i]), 0);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (i == 3 && k == 2)
                assert_memory_equal(h[i], h[k], 32); /* one and the same double */
            else
                assert_memory_not_equal(h[i], h[k], 32);
    struct tl_value zero = tl_value_number(-0.0);
    assert_int_equal(tl_value_hash(&zero, minus), 0);
    assert_memory_equal(minus, h[0], 32);
}

/* Who waits for whom counts once, however many edges there are; values come by every edge, in the order of the edges. */
static void test_links(void **state)
{
    (void)state;
    struct tl_plan *plan = plan_text(GRAPH(
        NODE_N "," NODE_A ",{\"id\":\"t\",\"type\":\"total\"}",
        EDGE("n", "b") ",{\"source\":\"a\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"all\"}," EDGE(
            "n", "a") ",{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"t\",\"targetHandle\":\"all\"}"
                      ",{\"source\":\"a\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"all\"}"));
    const struct tl_plan_node *n = &plan->nodes[0], *a = &plan->nodes[1], *t = &plan->nodes[2];
    assert_int_equal(n->nconsumers, 2);
    assert_int_equal(plan->consumers[n->first_consumer], 1);
    assert_int_equal(plan->consumers[n->first_consumer + 1], 2);
    assert_int_equal(a->nconsumers, 1);
    assert_int_equal(plan->consumers[a->first_consumer], 2);
    assert_int_equal(t->nconsumers, 0);
    assert_int_equal(n->nproducers, 0);
    assert_int_equal(a->nproducers, 1);
    assert_int_equal(t->nproducers, 2);
    assert_int_equal(a->in[0].nsources, 1);
    assert_int_equal(a->in[1].nsources, 1);
    static const uint32_t order[] = {1, 0, 1};
    assert_int_equal(t->in[0].nsources, 3);
    for (uint32_t k = 0; k < 3; k++)
        assert_int_equal(plan->sources[t->in[0].first_source + k].node, order[k]);
    tl_plan_unref(plan);
}

static void only_problem(const char *text, const char *path, const char *words)
{
    struct tl_diag d = {0};
    struct tl_plan *plan;
    assert_int_equal(tl_plan_text(text, strlen(text), &fx_env, NULL, 0, &plan, &d), TL_EINVAL);
    assert_null(plan);
    if (d.count != 1 || !says(&d, NULL, path, words))
        fail_msg("%.100s: %zu problems, first %s: %s", text, d.count, d.count ? d.items[0].path : "",
                 d.count ? d.items[0].message : "");
    tl_diag_clear(&d);
}

static void test_text(void **state)
{
    (void)state;
    /* What no JSON is has one problem, whatever was found in it before. */
    only_problem("{\"x\":1,\"nodes\":[{\"id\":\"\"},{\"type\":7}],\"edges\":[{}", "$", "ends too early");
    only_problem("{\"nodes\":[],\"edges\":[{\"source\":\"a\"}]}}", "$", "line 1");
    only_problem(GRAPH("{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":1,\"value\":1}}}", ""), "$",
                 "twice");
    only_problem(GRAPH("{\"id\":\"n\",\"type\":\"number\",\"style\":{\"a\":{\"b\":1,\"\\u0062\":1}}}", ""), "$",
                 "twice");
    only_problem("", "$", "ends too early");
    /* The id may come after what is wrong. */
    only_problem(GRAPH("{\"owner\":1,\"type\":\"number\",\"id\":\"n\"}", ""), "$.nodes[0].owner", "unknown field");
    only_problem("7", "$", "a graph is an object");
    only_problem("{\"edges\":[{\"source\":\"q\"}]}", "$.nodes", "a list");
    only_problem("{\"edges\":{},\"nodes\":[]}", "$.edges", "a list");
    only_problem(GRAPH("{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":7}}", ""), "$.nodes[0].data.params",
                 "must be an object");
    only_problem(GRAPH("{\"id\":\"n\",\"type\":\"number\",\"data\":{\"inputs\":[]}}", ""), "$.nodes[0].data",
                 "inputs must be");
    only_problem(GRAPH("{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":\"1\"}}}", ""),
                 "$.nodes[0].data.params.value", "must be a number");
}

static void test_policy_of_a_node(void **state)
{
    (void)state;
    struct tl_plan *plan = plan_text(GRAPH(NODE_N ",{\"id\":\"p\",\"type\":\"number\",\"data\":{\"policy\":{\"timeout_"
                                                  "sec\":3,\"on_error\":\"fallback\",\"fallback\":{\"value\":4}}}}",
                                           ""));
    assert_null(plan->nodes[0].policy);
    assert_non_null(plan->nodes[1].policy);
    assert_int_equal(plan->nodes[1].policy->timeout_ms, 3000);
    assert_true(plan->nodes[1].policy->fallback[0].number == 4);
    tl_plan_unref(plan);
    only_problem(GRAPH("{\"id\":\"p\",\"type\":\"number\",\"data\":{\"policy\":{\"timeout_sec\":-1}}}", ""),
                 "$.nodes[0].data.policy.timeout_sec", "timeout_sec");
}

/* Documents of the largest size, and one beyond it. */
static char *large(uint32_t nodes, uint32_t edges)
{
    struct tl_str s = {0};
    tl_str_puts(&s, "{\"nodes\":[");
    for (uint32_t i = 0; i < nodes; i++)
        tl_str_printf(&s, "%s{\"id\":\"n%u\",\"type\":\"total\",\"data\":{\"inputs\":{\"all\":1}}}", i ? "," : "", i);
    tl_str_puts(&s, "],\"edges\":[");
    for (uint32_t e = 0; e < edges; e++)
        tl_str_printf(&s, "%s{\"source\":\"n%u\",\"sourceHandle\":\"sum\",\"target\":\"n%u\",\"targetHandle\":\"all\"}",
                      e ? "," : "", e % (nodes / 2), nodes / 2 + e % (nodes / 2 - 1));
    tl_str_puts(&s, "]}");
    return tl_str_take(&s);
}

static void test_limits(void **state)
{
    (void)state;
    TL_AUTO_FREE char *most = large(TL_GRAPH_MAX_NODES, TL_GRAPH_MAX_EDGES), *nodes = large(TL_GRAPH_MAX_NODES + 2, 1),
                      *edges = large(10, TL_GRAPH_MAX_EDGES + 3);
    struct tl_plan *plan = plan_text(most);
    assert_int_equal(plan->nnodes, TL_GRAPH_MAX_NODES);
    assert_int_equal(plan->nwanted, TL_GRAPH_MAX_NODES);
    uint32_t coming = 0, going = 0, waiting = 0;
    for (uint32_t i = 0; i < plan->nnodes; i++) {
        coming += plan->nodes[i].in[0].nsources;
        going += plan->nodes[i].nconsumers;
        waiting += plan->nodes[i].nproducers;
        assert_int_equal(tl_plan_find(plan, plan->nodes[i].id), i);
    }
    assert_int_equal(coming, TL_GRAPH_MAX_EDGES);
    assert_int_equal(going, waiting);
    assert_int_equal(tl_plan_find(plan, "n100000"), UINT32_MAX);
    tl_plan_unref(plan);
    only_problem(nodes, "$.nodes", "100002 nodes are more than the limit of 100000");
    only_problem(edges, "$.edges", "400003 edges are more than the limit of 400000");
}

static void add_deep(struct tl_str *s, int depth)
{
    if (depth == 0)
        tl_str_puts(s, "{\"nodes\":[{\"id\":\"end\",\"type\":\"nope\"}],\"edges\":[]}");
    for (int i = 0; i < depth; i++)
        tl_str_puts(s, "{\"nodes\":[{\"id\":\"s\",\"type\":\"subgraph\",\"data\":{\"graph\":");
    if (depth)
        add_deep(s, 0);
    for (int i = 0; i < depth; i++)
        tl_str_puts(s, "}}],\"edges\":[]}");
}

/* A document with every kind of problem, and more nodes, edges, depth, items and iterations than may be. */
static char *all_wrong(uint32_t nodes, uint32_t edges)
{
    struct tl_str s = {0};
    tl_str_puts(&s, "{\"nodes\":[{\"id\":\"a\",\"type\":\"add\"},{\"id\":\"b\",\"type\":\"add\"},{\"id\":\"u\",\"type\":\"nope\"},"
                    "{\"id\":\"lacks\",\"type\":\"add\"},{\"id\":\"two\",\"type\":\"add\"},{\"id\":\"clip\",\"type\":\"clip\"},"
                    "{\"id\":\"t\",\"type\":\"total\"},{\"id\":\"loop\",\"type\":\"loop\",\"data\":{\"params\":{\"until\":\"x > 1\","
                    "\"max_iter\":101},\"inputs\":{\"x\":1},\"ports\":{\"in\":[{\"name\":\"x\",\"type\":\"number\"}],\"out\":[{\"name\":\"x\","
                    "\"type\":\"number\"}]},\"graph\":{\"nodes\":[{\"id\":\"out\",\"type\":\"graph.output\"}],\"edges\":[]}}},"
                    "{\"id\":\"map\",\"type\":\"map\",\"data\":{\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"number\"}]},"
                    "\"graph\":{\"nodes\":[],\"edges\":[]},\"inputs\":{\"items\":[0");
    for (int i = 0; i < 10000; i++)
        tl_str_puts(&s, ",0");
    tl_str_puts(&s, "]}}},{\"id\":\"deep\",\"type\":\"subgraph\",\"data\":{\"graph\":");
    add_deep(&s, TL_GRAPH_MAX_NESTING + 4);
    tl_str_puts(&s, "}}");
    for (uint32_t i = 10; i < nodes; i++)
        tl_str_printf(&s, ",{\"id\":\"%u\",\"type\":\"number\"}", i);
    tl_str_puts(&s, "],\"edges\":[");
    static const char *const first[] = {"a\",\"sourceHandle\":\"sum\",\"target\":\"b\",\"targetHandle\":\"a\"},",
                                        "b\",\"sourceHandle\":\"sum\",\"target\":\"a\",\"targetHandle\":\"a\"},",
                                        "10\",\"sourceHandle\":\"value\",\"target\":\"two\",\"targetHandle\":\"a\"},",
                                        "11\",\"sourceHandle\":\"value\",\"target\":\"two\",\"targetHandle\":\"a\"},",
                                        "10\",\"sourceHandle\":\"value\",\"target\":\"clip\",\"targetHandle\":\"clip\"},",
                                        "10\",\"sourceHandle\":\"size\",\"target\":\"two\",\"targetHandle\":\"b\"}"};
    for (size_t e = 0; e < TL_ARRAY_LEN(first); e++)
        tl_str_printf(&s, "{\"source\":\"%s", first[e]);
    for (uint32_t e = TL_ARRAY_LEN(first); e < edges; e++)
        tl_str_puts(&s, ",{\"source\":\"10\",\"sourceHandle\":\"value\",\"target\":\"t\",\"targetHandle\":\"all\"}");
    tl_str_puts(&s, "]}");
    return tl_str_take(&s);
}

/* No problem hides another one. */
static void test_all_limits_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *node, *port, *path, *words;
    } want[] = {{NULL, NULL, "$.nodes", "100001 nodes are more than the limit of 100000"},
                {NULL, NULL, "$.edges", "400001 edges are more than the limit of 400000"},
                {"a", NULL, "$.edges", "cycle"},
                {"u", NULL, "$.nodes[2]", "unknown node type"},
                {"lacks", "a", "$.nodes[3]", "is required"},
                {"two", "a", "$.edges[3]", "one edge only"},
                {"clip", "clip", "$.edges[4]", "takes video"},
                {"10", "size", "$.edges[5]", "no output"},
                {"loop", NULL, "$.nodes[7].data.params.max_iter", "100"},
                {"map", "items", "$.nodes[8].data.inputs.items", "10001 items are more than the limit of 10000"},
                {"deep/s/s/s/s/s/s/s/s", NULL, NULL, "nested deeper than 8"},
                {"deep/s/s/s/s/s/s/s/s/s/s/s/s/end", NULL, NULL, "unknown node type"}};
    TL_AUTO_FREE char *text = all_wrong(TL_GRAPH_MAX_NODES + 1, TL_GRAPH_MAX_EDGES + 1);
    struct tl_plan *plan;
    struct tl_diag d = {0};
    assert_int_equal(tl_plan_text(text, strlen(text), &fx_env, NULL, 0, &plan, &d), TL_EINVAL);
    for (size_t k = 0; k < TL_ARRAY_LEN(want); k++) {
        bool told = false;
        for (size_t i = 0; i < d.count; i++) {
            const struct tl_problem *p = &d.items[i];
            told |= strstr(p->message, want[k].words) && (!want[k].node || (p->node && strcmp(p->node, want[k].node) == 0)) &&
                    (!want[k].port || (p->port && strcmp(p->port, want[k].port) == 0)) &&
                    (!want[k].path || strcmp(p->path, want[k].path) == 0);
        }
        if (!told)
            fail_msg("not told: %s", want[k].words);
    }
    size_t deeper = 0;
    for (size_t i = 0; i < d.count; i++)
        deeper += strstr(d.items[i].message, "deeper") != NULL;
    assert_int_equal(deeper, 1);
    assert_int_equal(d.dropped, 0);
    tl_diag_clear(&d);
    /* Far beyond, the limit is all that is told of the list. */
    TL_AUTO_FREE char *far = all_wrong(4 * TL_GRAPH_MAX_NODES + 1, 10);
    only_problem(far, "$.nodes", "400001 nodes are more than the limit of 100000");
}

/* Ids of each length, and such as differ in one byte only. */
static void test_idmap(void **state)
{
    (void)state;
    struct tl_idmap map = {0};
    char id[200];
    uint32_t n = 0;
    for (size_t len = 1; len <= TL_GRAPH_MAX_ID; len++)
        for (size_t at = 0; at < len; at++) {
            memset(id, 'a', len);
            id[at] = 'b';
            assert_int_equal(tl_idmap_keep(&map, id, len, n++), 0);
        }
    assert_int_equal(tl_idmap_find(&map, "a", 1), UINT32_MAX);
    assert_int_equal(tl_idmap_build(&map, NULL, NULL), 0);
    n = 0;
    for (size_t len = 1; len <= TL_GRAPH_MAX_ID; len++)
        for (size_t at = 0; at < len; at++) {
            memset(id, 'a', sizeof(id));
            id[at] = 'b';
            assert_int_equal(tl_idmap_find(&map, id, len), n++);
            id[at] = 'a';
            assert_int_equal(tl_idmap_find(&map, id, len), UINT32_MAX);
        }
    assert_int_equal(tl_idmap_find(&map, "", 0), UINT32_MAX);
    tl_idmap_clear(&map);
}

static int setup(void **state)
{
    (void)state;
    return tl_hash_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_problems_at_once),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_no_steps_as_ids),
        cmocka_unit_test(test_cycle),
        cmocka_unit_test(test_cycles),
        cmocka_unit_test(test_targets_plan_ancestors_only),
        cmocka_unit_test(test_admin_and_literals),
        cmocka_unit_test(test_same_and_other),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_digest_definition),
        cmocka_unit_test(test_value_hashes),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_policy_of_a_node),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_all_limits_at_once),
        cmocka_unit_test(test_idmap),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

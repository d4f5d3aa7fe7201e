/* Checking and planning: every problem at once, with node and path; the order of what is sound. */
#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"

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
        cmocka_unit_test(test_cycle),
        cmocka_unit_test(test_targets_plan_ancestors_only),
        cmocka_unit_test(test_admin_and_literals),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

/* Of a private graph nothing stays behind in freed memory: neither of opening it, nor of planning it, nor of giving it back. */
#include "graph/control/control.h"
#include "tests/unit/base/freed.h"
#include "tests/unit/capsules/sealed.h"

#define MARK "quiet-orange-harbour-at-dusk"
#define EDGE(s, sh, t, th)                                                                                             \
    "{\"source\":\"" s "\",\"sourceHandle\":\"" sh "\",\"target\":\"" t "\",\"targetHandle\":\"" th "\"}"

static void what_is_evicted_is_wiped(void **state)
{
    (void)state;
    struct tl_capsule *cap;
    struct tl_plan *plan;
    if (!freed_works)
        skip();
    sx_seal("talos", SX_SPEC("test.mark", "", "", "\"text\":{\"type\":\"string\"}", ""),
            "{\"nodes\":[{\"id\":\"" MARK "-in\",\"type\":\"graph.input\"},{\"id\":\"" MARK
            "-out\",\"type\":\"graph.output\"},{\"id\":\"" MARK
            "\",\"type\":\"pub.text\",\"data\":{\"params\":{\"text\":\"" MARK " \\u00e9 " MARK
            "\"},\"label\":\"" MARK "\"}},{\"id\":\"c\",\"type\":\"test.const\",\"data\":{\"params\":{\"value\":{\"" MARK
            "\":[\"" MARK "\"]}}}},{\"id\":\"e\",\"type\":\"test.echo\",\"data\":{\"inputs\":{\"value\":\"" MARK
            "\"}}}],\"edges\":[" EDGE(MARK, "text", MARK "-out", "text") "]}");
    atomic_store(&freed_mark, MARK);
    assert_int_equal(sx_open_capsule(NULL, "acme", "test.mark", "1.0.0", &cap), 0);
    long opened = atomic_load(&freed_seen);
    assert_int_equal(tl_capsule_plan(cap, &sx.services, &plan), 0);
    long planned = atomic_load(&freed_seen);
    tl_plan_unref(plan);
    tl_capsule_unref(cap);
    tl_exec_free(sx.exec);
    sx.exec = NULL;
    tl_capsules_free(sx.set);
    sx.set = NULL;
    atomic_store(&freed_mark, NULL);
    if (freed_seen)
        fail_msg("seen in freed blocks: %ld of opening, %ld of planning, %ld of giving back", opened, planned - opened,
                 freed_seen - planned);
}

static const struct tl_op *find_op(void *arg, const char *name)
{
    size_t n;
    const struct tl_op *const *control = tl_control_ops(&n), *op = tl_cap_find_op(arg, name);
    for (size_t i = 0; i < n && !op; i++)
        op = strcmp(control[i]->name, name) == 0 ? control[i] : NULL;
    return op;
}

/* Bodies are documents and plans of their own. */
static void bodies_are_wiped(void **state)
{
    static const char text[] =
        "{\"nodes\":[{\"id\":\"l\",\"type\":\"loop\",\"data\":{\"params\":{\"until\":\"iteration == 1 or '" MARK
        "' == '" MARK "'\"},\"ports\":{\"out\":[{\"name\":\"y\",\"type\":\"any\"}]},\"graph\":{\"nodes\":[{\"id\":\"" MARK
        "\",\"type\":\"subgraph\",\"data\":{\"graph\":{\"nodes\":[{\"id\":\"t\",\"type\":\"pub.text\",\"data\":{\"params\":{\"text\":\"" MARK
        "\"},\"policy\":{\"on_error\":\"fallback\",\"fallback\":{\"text\":\"" MARK
        "\"}}}}],\"edges\":[]}}},{\"id\":\"o\",\"type\":\"graph.output\"}],\"edges\":[]}}}],\"edges\":[]}";
    static const struct tl_graph_env env = {.find_op = find_op, .allow_private = true, .admin = true};
    TL_AUTO_JSON json_t *j = NULL;
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    (void)state;
    if (!freed_works)
        skip();
    assert_int_equal(tl_json_parse(text, strlen(text), &j, NULL), 0);
    atomic_store(&freed_seen, 0);
    atomic_store(&freed_mark, MARK);
    int err = tl_plan_json(j, &env, NULL, 0, &plan, &diag);
    tl_plan_unref(plan);
    atomic_store(&freed_mark, NULL);
    if (err)
        fail_msg("%s", diag.count ? diag.items[0].message : "");
    assert_int_equal(freed_seen, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_evicted_is_wiped, sx_setup, sx_teardown),
        cmocka_unit_test(bodies_are_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

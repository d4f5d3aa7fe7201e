/* Of a private graph nothing stays behind in freed memory: neither of opening it, nor of planning it, nor of giving it back. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_evicted_is_wiped, sx_setup, sx_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

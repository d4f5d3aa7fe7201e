/* Planning without memory: every allocation fails once, alone and with all after it. There is a whole plan or none, nothing leaks, and it is never called a
 * mistake of the document's. */
#include "tests/unit/base/oom.h"

#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/hash.h"

#include <string.h>

static const char *text;

static void planning(void)
{
    struct tl_plan *plan = NULL;
    int err = tl_plan_text(text, strlen(text), &fx_env, NULL, 0, &plan, NULL);
    bool failed = oom_failed;
    atomic_store(&oom_left, -1);
    assert_int_equal(err != 0, plan == NULL);
    assert_true(err == 0 ||
                (failed && err == TL_ENOMEM)); /* some want is borne: nothing is shared, nothing is cut to size */
    tl_plan_unref(plan);
}

static void refusing(void)
{
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    int err = tl_plan_text(text, strlen(text), &fx_env, NULL, 0, &plan, &diag);
    bool failed = oom_failed;
    atomic_store(&oom_left, -1);
    assert_null(plan);
    assert_true(err == TL_EINVAL || (failed && err == TL_ENOMEM));
    tl_diag_clear(&diag);
}

static void each(void (*fn)(void), const char *of)
{
    long leaked;
    text = of;
    fn();
    for (int all = 0; all < 2; all++) {
        assert_true(oom_each(fn, all, &leaked) > (oom_works ? 5 : 0));
        assert_int_equal(leaked, 0);
    }
}

static void plans(void **state)
{
    (void)state;
    each(planning, "{\"nodes\":[{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":2}}},"
                   "{\"id\":\"\\u0061\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":1},\"policy\":{\"timeout_sec\":3,"
                   "\"on_error\":\"fallback\",\"fallback\":{\"sum\":4}}}},"
                   "{\"id\":\"w\",\"type\":\"nest\",\"data\":{\"body\":{\"nodes\":[]},\"inputs\":{\"x\":3}}},"
                   "{\"id\":\"u\",\"type\":\"upstream\",\"data\":{\"inputs\":{\"in\":[\"x\",{\"a\":\"y\"}]}}}],"
                   "\"edges\":[{\"id\":\"e\",\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"a\","
                   "\"targetHandle\":\"a\"}]}");
    each(planning, "{\"edges\":[{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"a\",\"targetHandle\":\"a\"}],"
                   "\"nodes\":[{\"id\":\"n\",\"type\":\"number\"},{\"id\":\"a\",\"type\":\"add\"}]}");
}

static void problems(void **state)
{
    (void)state;
    each(refusing, "{\"nodes\":[{\"id\":\"n\",\"type\":\"number\",\"x\":1,\"data\":{\"params\":{\"value\":0.3,\"q\":1},"
                   "\"y\":1}},{\"id\":\"n\",\"type\":\"nope\"},"
                   "{\"id\":\"a\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":\"z\",\"c\":1}}}],"
                   "\"edges\":[{\"id\":\"e\",\"source\":\"n\",\"sourceHandle\":\"v\",\"target\":\"a\",\"targetHandle\":"
                   "\"q\"},{\"id\":\"e\",\"source\":\"gone\"}]}");
    each(refusing, "{\"nodes\":[{\"id\":\"b\",\"type\":\"add\"},{\"id\":\"a\",\"type\":\"add\"}],"
                   "\"edges\":[{\"source\":\"b\",\"sourceHandle\":\"sum\",\"target\":\"a\",\"targetHandle\":\"a\"},"
                   "{\"source\":\"a\",\"sourceHandle\":\"sum\",\"target\":\"b\",\"targetHandle\":\"a\"}]}");
}

static int setup(void **state)
{
    (void)state;
    return tl_hash_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans), cmocka_unit_test(problems)};
    return cmocka_run_group_tests(tests, setup, NULL);
}

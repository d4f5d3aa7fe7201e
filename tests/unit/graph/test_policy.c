/* Policies: what a node may say and what follows from an error; every problem at once. */
#include "graph/policy.h"

#include "base/err.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct tl_op cpu = {.name = "cpu"}, net = {.name = "net", .flags = TL_OP_NET},
                          media = {.name = "media", .flags = TL_OP_WORKER},
                          group = {.name = "group", .flags = TL_OP_COMPOSITE};
static const struct tl_port number = {"value", TL_T_NUMBER, TL_PORT_OUT, NULL},
                            text = {"text", TL_T_STRING, TL_PORT_OUT, NULL},
                            clip = {"clip", TL_T_VIDEO, TL_PORT_OUT, NULL}, any = {"any", TL_T_ANY, TL_PORT_OUT, NULL};
static const struct tl_port *const out[] = {&number, &text, &clip, &any};

struct got {
    struct tl_arena arena;
    struct tl_diag diag;
    const struct tl_policy *policy;
    int err;
};

static struct got read_as(const struct tl_op *op, const char *json)
{
    struct got g = {0};
    TL_AUTO_JSON json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    g.err = tl_policy_read(op, out, TL_ARRAY_LEN(out), j, "n", "$.nodes[3].data.policy", &g.arena, &g.policy, &g.diag);
    return g;
}

static void done(struct got *g)
{
    tl_policy_clear(g->policy, TL_ARRAY_LEN(out));
    tl_diag_clear(&g->diag);
    tl_arena_clear(&g->arena);
}

static bool says(const struct tl_diag *d, const char *path, const char *words)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->items[i].path, path) == 0 && strstr(d->items[i].message, words) &&
            strcmp(d->items[i].node, "n") == 0)
            return true;
    return false;
}

static void test_of_op(void **state)
{
    (void)state;
    assert_int_equal(tl_policy_of_op(&cpu)->timeout_ms, 600000);
    assert_int_equal(tl_policy_of_op(&cpu)->max_attempts, 1);
    assert_int_equal(tl_policy_of_op(&media)->timeout_ms, 3600000);
    assert_int_equal(tl_policy_of_op(&media)->max_attempts, 1);
    assert_int_equal(tl_policy_of_op(&net)->timeout_ms, 120000);
    assert_int_equal(tl_policy_of_op(&net)->max_attempts, 3);
    assert_int_equal(tl_policy_of_op(&group)->timeout_ms, 0);
    assert_int_equal(tl_policy_of_op(&group)->max_attempts, 1);
    struct got g = {0};
    assert_int_equal(tl_policy_read(&net, NULL, 0, NULL, "n", "$", &g.arena, &g.policy, &g.diag), 0);
    assert_ptr_equal(g.policy, tl_policy_of_op(&net));
    done(&g);
}

static void test_read(void **state)
{
    (void)state;
    struct got g =
        read_as(&cpu, "{\"timeout_sec\":0.1,\"retry\":{\"max_attempts\":10,\"on\":[\"TIMEOUT\",\"RATE_LIMIT\","
                      "\"TRANSIENT_IO\",\"TRANSIENT_DB\",\"WORKER_CRASH\",\"SCHEMA_INVALID\"],"
                      "\"backoff_ms\":[0,1,2,3,4,5,6,7,8,3600000]},\"on_error\":\"fallback\","
                      "\"fallback\":{\"value\":7,\"any\":[1]}}");
    assert_int_equal(g.err, 0);
    assert_int_equal(g.policy->timeout_ms, 100);
    assert_int_equal(g.policy->max_attempts, 10);
    assert_int_equal(g.policy->retry_on, 63);
    assert_int_equal(g.policy->nbackoff, 10);
    assert_int_equal(g.policy->backoff_ms[9], 3600000);
    assert_int_equal(g.policy->on_error, TL_ON_ERROR_FALLBACK);
    assert_true(g.policy->fallback[0].number == 7);
    assert_true(tl_value_none(&g.policy->fallback[1]) && tl_value_none(&g.policy->fallback[2]));
    assert_int_equal(g.policy->fallback[3].type, TL_T_JSON);
    done(&g);

    /* What is not said is the op's own; both spellings are one code. */
    g = read_as(
        &net, "{\"timeout_sec\":86400,\"retry\":{\"on\":[\"RATE_LIMITED\",\"RATE_LIMIT\"]},\"on_error\":\"continue\"}");
    assert_int_equal(g.err, 0);
    assert_int_equal(g.policy->timeout_ms, 86400000);
    assert_int_equal(g.policy->max_attempts, 3);
    assert_int_equal(g.policy->nbackoff, 3);
    int64_t delay;
    assert_int_equal(tl_policy_after(g.policy, TL_ERATE, 1, 0, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(tl_policy_after(g.policy, TL_ETIMEOUT, 1, 0, 0, &delay), TL_AFTER_CONTINUE);
    done(&g);

    g = read_as(&net, "{\"retry\":{\"on\":[],\"backoff_ms\":[]}}");
    assert_int_equal(g.err, 0);
    assert_int_equal(tl_policy_after(g.policy, TL_ERATE, 1, 0, 0, &delay), TL_AFTER_FAIL);
    done(&g);
}

static void test_problems_at_once(void **state)
{
    (void)state;
    struct got g = read_as(&cpu, "{\"timeout_sec\":0.09,\"tries\":2,\"retry\":{\"max_attempts\":11,\"on\":[\"TIMEOUT\","
                                 "\"timeout\",7],\"backoff_ms\":[-1,3600001,1.5,\"1\",5],\"jitter\":false},"
                                 "\"on_error\":\"fallback\",\"fallback\":{\"value\":\"x\",\"text\":null,\"nope\":1,"
                                 "\"clip\":{\"kind\":\"video\",\"sha256\":\""
                                 "0123456789abcdef0123456789abcdef"
                                 "0123456789abcdef0123456789abcdef\"},"
                                 "\"any\":{\"kind\":\"file\",\"sha256\":\""
                                 "0123456789abcdef0123456789abcdef"
                                 "0123456789abcdef0123456789abcdef\"}}}");
    assert_int_equal(g.err, TL_EINVAL);
    assert_ptr_equal(g.policy, tl_policy_of_op(&cpu));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.timeout_sec", "between 0.1 and 86400"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.tries", "unknown field"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.retry.jitter", "unknown field"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.retry.max_attempts", "between 1 and 10"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.retry.on[1]", "must be one of"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.retry.on[2]", "must be one of"));
    for (int i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof(path), "$.nodes[3].data.policy.retry.backoff_ms[%d]", i);
        assert_true(says(&g.diag, path, "whole number of milliseconds"));
    }
    assert_true(says(&g.diag, "$.nodes[3].data.policy.fallback.value", "must be a number"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.fallback.text", "must be text"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.fallback.nope", "unknown output"));
    assert_true(says(&g.diag, "$.nodes[3].data.policy.fallback.clip", "cannot be a fallback"));
    /* JSON of the form of a medium is JSON where any value will do. */
    assert_int_equal(g.diag.count, 14);
    done(&g);
}

static void test_wrong_forms(void **state)
{
    (void)state;
    static const struct {
        const char *json, *path, *words;
        size_t count;
    } cases[] = {
        {"7", "$.nodes[3].data.policy", "must be an object", 1},
        {"null", "$.nodes[3].data.policy", "must be an object", 1},
        {"{\"timeout_sec\":\"1\"}", "$.nodes[3].data.policy.timeout_sec", "must be a number", 1},
        {"{\"timeout_sec\":86400.1}", "$.nodes[3].data.policy.timeout_sec", "must be a number", 1},
        {"{\"timeout_sec\":-1e300}", "$.nodes[3].data.policy.timeout_sec", "must be a number", 1},
        {"{\"timeout_sec\":1e300}", "$.nodes[3].data.policy.timeout_sec", "must be a number", 1},
        {"{\"timeout_sec\":null}", "$.nodes[3].data.policy.timeout_sec", "must be a number", 1},
        {"{\"retry\":3}", "$.nodes[3].data.policy.retry", "must be an object", 1},
        {"{\"retry\":{\"max_attempts\":0}}", "$.nodes[3].data.policy.retry.max_attempts", "between 1 and 10", 1},
        {"{\"retry\":{\"max_attempts\":1.5}}", "$.nodes[3].data.policy.retry.max_attempts", "between 1 and 10", 1},
        {"{\"retry\":{\"on\":\"TIMEOUT\"}}", "$.nodes[3].data.policy.retry.on", "must be a list", 1},
        {"{\"retry\":{\"on\":[\"RUN_CANCELLED\"]}}", "$.nodes[3].data.policy.retry.on[0]", "must be one of", 1},
        {"{\"retry\":{\"backoff_ms\":5}}", "$.nodes[3].data.policy.retry.backoff_ms", "must be a list", 1},
        {"{\"retry\":{\"backoff_ms\":[1,1,1,1,1,1,1,1,1,1,1]}}", "$.nodes[3].data.policy.retry.backoff_ms",
         "at most 10", 1},
        {"{\"on_error\":\"ignore\"}", "$.nodes[3].data.policy.on_error", "must be \"fail\"", 1},
        {"{\"on_error\":false}", "$.nodes[3].data.policy.on_error", "must be \"fail\"", 1},
        {"{\"on_error\":\"fallback\"}", "$.nodes[3].data.policy", "needs a fallback", 1},
        {"{\"fallback\":{\"value\":1}}", "$.nodes[3].data.policy.fallback", "with on_error \"fallback\" only", 1},
        {"{\"on_error\":\"continue\",\"fallback\":{}}", "$.nodes[3].data.policy.fallback", "with on_error", 1},
        {"{\"on_error\":\"fallback\",\"fallback\":[1]}", "$.nodes[3].data.policy.fallback", "must be an object", 1},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        struct got g = read_as(&cpu, cases[i].json);
        if (g.err != TL_EINVAL || !says(&g.diag, cases[i].path, cases[i].words) || g.diag.count != cases[i].count)
            fail_msg("%s: %d, %zu problems, %s: %s", cases[i].json, g.err, g.diag.count,
                     g.diag.count ? g.diag.items[0].path : "", g.diag.count ? g.diag.items[0].message : "");
        done(&g);
    }
}

static void test_attempts_and_jitter(void **state)
{
    (void)state;
    struct got g =
        read_as(&cpu, "{\"retry\":{\"max_attempts\":5,\"on\":[\"TRANSIENT_IO\"],\"backoff_ms\":[1000,3600000]}}");
    int64_t delay;
    assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, 1, 0, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(delay, 500);
    assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, 1, 0, UINT32_MAX, &delay), TL_AFTER_RETRY);
    assert_int_equal(delay, 1499);
    for (unsigned attempts = 2; attempts <= 4; attempts++) { /* the last backoff again */
        assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, attempts, 0, 0, &delay), TL_AFTER_RETRY);
        assert_int_equal(delay, 1800000);
        assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, attempts, 0, UINT32_MAX, &delay), TL_AFTER_RETRY);
        assert_int_equal(delay, 5399999);
    }
    for (uint64_t r = 0; r <= UINT32_MAX; r += 65537 * 13) {
        assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, 1, 0, (uint32_t)r, &delay), TL_AFTER_RETRY);
        assert_in_range(delay, 500, 1500);
    }
    assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, 5, 0, 0, &delay), TL_AFTER_FAIL);
    assert_int_equal(delay, 0);
    assert_int_equal(tl_policy_after(g.policy, TL_ERATE, 1, 0, 0, &delay), TL_AFTER_FAIL);
    assert_int_equal(tl_policy_after(g.policy, TL_EMEDIA, 1, 0, 0, &delay), TL_AFTER_FAIL);
    done(&g);
}

static void test_losses(void **state)
{
    (void)state;
    int64_t delay;
    const struct tl_policy *p = tl_policy_of_op(&media);
    for (unsigned losses = 1; losses <= 3; losses++) {
        assert_int_equal(tl_policy_after(p, TL_EWORKER, 0, losses, UINT32_MAX, &delay), TL_AFTER_RETRY);
        assert_int_equal(delay, 0);
    }
    assert_int_equal(tl_policy_after(p, TL_EWORKER, 0, 4, 0, &delay), TL_AFTER_FAIL);

    /* Where the node asks for it, further losses are attempts like others, and end. */
    struct got g = read_as(
        &media, "{\"retry\":{\"max_attempts\":3,\"on\":[\"WORKER_CRASH\",\"TIMEOUT\"]},\"on_error\":\"continue\"}");
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 0, 3, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(delay, 0);
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 0, 4, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(delay, 250);
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 0, 5, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(delay, 1000);
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 0, 6, 0, &delay), TL_AFTER_CONTINUE);
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 2, 4, 0, &delay), TL_AFTER_CONTINUE);
    assert_int_equal(tl_policy_after(g.policy, TL_ETIMEOUT, 2, 3, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(tl_policy_after(g.policy, TL_ETIMEOUT, 2, 4, 0, &delay), TL_AFTER_CONTINUE);
    done(&g);
}

/* A capsule whose inner node has lost four workers is not begun anew: they were counted inside. */
static void test_losses_inside(void **state)
{
    (void)state;
    int64_t delay;
    assert_int_equal(tl_policy_after(tl_policy_of_op(&group), TL_EWORKER, 0, 1, 0, &delay), TL_AFTER_FAIL);
    struct got g = read_as(&group, "{\"retry\":{\"max_attempts\":2,\"on\":[\"WORKER_CRASH\"]}}");
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 0, 1, 0, &delay), TL_AFTER_RETRY);
    assert_int_equal(delay, 250);
    assert_int_equal(tl_policy_after(g.policy, TL_EWORKER, 0, 2, 0, &delay), TL_AFTER_FAIL);
    done(&g);
}

static void test_on_error(void **state)
{
    (void)state;
    int64_t delay;
    struct got g = read_as(&cpu, "{\"on_error\":\"fallback\",\"fallback\":{\"text\":\"none\"}}");
    assert_int_equal(g.err, 0);
    assert_int_equal(tl_policy_after(g.policy, TL_EMEDIA, 1, 0, 0, &delay), TL_AFTER_FALLBACK);
    assert_int_equal(tl_policy_after(g.policy, TL_ETRANSIENT_IO, 1, 0, 0, &delay), TL_AFTER_FALLBACK);
    assert_int_equal(tl_policy_after(g.policy, TL_ECANCELLED, 1, 0, 0, &delay), TL_AFTER_FAIL);
    assert_int_equal(tl_policy_after(g.policy, TL_EBUDGET, 1, 0, 0, &delay), TL_AFTER_FAIL);
    done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_op),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_problems_at_once),
        cmocka_unit_test(test_wrong_forms),
        cmocka_unit_test(test_attempts_and_jitter),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_losses_inside),
        cmocka_unit_test(test_on_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

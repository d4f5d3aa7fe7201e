/* Retention: old journals become their state and their ending, and no cursor finds a gap. */
#include "tests/unit/graph/fixture.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "graph/op_ctx.h"
#include "graph/retain.h"
#include "store/check.h"

#include <string.h>

static int setup(void **state)
{
    (void)state;
    fx_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fx_close();
    return 0;
}

static const char sum[] = "{\"nodes\":[{\"id\":\"a\",\"type\":\"number\",\"data\":{\"params\":{\"value\":3}}},{\"id\":\"s\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":2}}}],"
                          "\"edges\":[{\"source\":\"a\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"}]}";

static int collect(void *arg, uint64_t seq, const char *json, size_t len)
{
    json_t *e = NULL;
    assert_int_equal(tl_json_parse(json, len, &e, NULL), 0);
    assert_int_equal(tl_json_int(e, "seq", 0), seq);
    json_array_append_new(arg, e);
    return 0;
}

static json_t *events_after(const struct tl_id *id, uint64_t after)
{
    json_t *all = json_array();
    assert_int_equal(tl_events_read(fx.db, id, after, collect, all), 0);
    return all;
}

static const char *type_at(const json_t *events, size_t i)
{
    return tl_json_str(json_array_get(events, i), "type");
}

static void no_problem(void *arg, const char *text)
{
    (void)arg;
    fail_msg("%s", text);
}

static size_t prune(int64_t before_ms)
{
    struct tl_id after = {0};
    size_t n;
    bool more;
    assert_int_equal(tl_retain_prune(fx.db, before_ms, &after, &n, &more), 0);
    assert_false(more);
    return n;
}

static void test_state_and_ending_stay(void **state)
{
    (void)state;
    struct tl_id id = fx_start(sum);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *before = fx_record(&id), *whole = events_after(&id, 0);
    uint64_t last = (uint64_t)tl_json_int(before, "last_seq", 0);
    assert_true(last > 3);
    assert_int_equal(prune(tl_now_ms() - 60000), 0); /* too young */
    assert_int_equal(prune(tl_now_ms() + 60000), 1);
    assert_int_equal(prune(tl_now_ms() + 60000), 0); /* once */

    TL_AUTO_JSON json_t *all = events_after(&id, 0);
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(type_at(all, 0), "run.reset");
    assert_int_equal(tl_json_int(json_array_get(all, 0), "seq", 0), last - 1);
    assert_string_equal(type_at(all, 1), "run.completed");
    /* Times never go back: the reset has that of the event whose place it takes. */
    assert_string_equal(tl_json_str(json_array_get(all, 0), "ts"), tl_json_str(json_array_get(whole, last - 2), "ts"));
    json_t *payload = json_object_get(json_array_get(all, 0), "payload");
    assert_string_equal(tl_json_str(payload, "status"), "done");
    assert_string_equal(tl_json_str(json_object_get(json_object_get(payload, "nodes"), "s"), "status"), "done");

    TL_AUTO_JSON json_t *older = events_after(&id, 1);
    assert_true(json_equal(older, all)); /* a cursor into what was cut gets the state */
    TL_AUTO_JSON json_t *newer = events_after(&id, last - 1);
    assert_int_equal(json_array_size(newer), 1); /* one behind it gets what it lacks */

    TL_AUTO_JSON json_t *after = fx_record(&id);
    assert_true(json_equal(json_object_get(before, "nodes"), json_object_get(after, "nodes")));
    assert_true(json_equal(json_object_get(before, "result"), json_object_get(after, "result")));
    assert_int_equal(tl_json_int(after, "pruned_before", 0), last - 1);
    struct tl_check_counts counts;
    assert_int_equal(tl_db_check(fx.db, fx.dir, false, no_problem, NULL, &counts), 0);
}

static void test_live_runs_stay(void **state)
{
    (void)state;
    struct tl_id id = fx_start("{\"nodes\":[{\"id\":\"h\",\"type\":\"hold\"}],\"edges\":[]}");
    struct tl_op_ctx *held = fx_wait_held();
    assert_int_equal(prune(tl_now_ms() + 60000), 0);
    tl_op_done(held, 0);
    fx_wait_ended(1);
    assert_int_equal(prune(tl_now_ms() + 60000), 1);
    (void)id;
}

static void test_many_in_pieces(void **state)
{
    (void)state;
    enum { RUNS = TL_RETAIN_PIECE + 5 };
    for (int i = 0; i < RUNS; i++)
        fx_start(sum);
    fx_wait_ended(RUNS);
    struct tl_id after = {0};
    size_t first, second;
    bool more;
    assert_int_equal(tl_retain_prune(fx.db, tl_now_ms() + 60000, &after, &first, &more), 0);
    assert_true(more);
    assert_int_equal(tl_retain_prune(fx.db, tl_now_ms() + 60000, &after, &second, &more), 0);
    assert_false(more);
    assert_int_equal(first + second, RUNS);
}

/* The same on the executor's own threads. */
static void test_from_time_to_time(void **state)
{
    (void)state;
    struct tl_id id = fx_start(sum);
    fx_wait_ended(1);
    struct tl_retain *retain;
    assert_int_equal(tl_retain_new(fx.exec, -60000, &retain), 0); /* everything that ended until a minute from now */
    bool pruned = false;
    for (int64_t until = tl_now_ms() + 30000; !pruned && tl_now_ms() < until;) {
        TL_AUTO_JSON json_t *record = fx_record(&id);
        pruned = json_object_get(record, "pruned_before");
    }
    assert_true(pruned);
    tl_retain_free(retain);
    assert_int_equal(tl_retain_new(fx.exec, 0, &retain), 0);
    assert_null(retain);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(test_state_and_ending_stay), T(test_live_runs_stay), T(test_many_in_pieces), T(test_from_time_to_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

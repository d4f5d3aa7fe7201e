/* Running: order, results, failure, cancellation, nesting, going on after a crash. */
#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/json.h"
#include "graph/op_ctx.h"

#include <string.h>

#define SUM_GRAPH                                                                                                      \
    "{\"nodes\":[{\"id\":\"x\",\"type\":\"number\",\"data\":{\"params\":{\"value\":2}}},"                              \
    "{\"id\":\"y\",\"type\":\"number\",\"data\":{\"params\":{\"value\":3.5}}},{\"id\":\"s\",\"type\":\"add\"},"        \
    "{\"id\":\"t\",\"type\":\"total\"}],\"edges\":["                                                                   \
    "{\"source\":\"x\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"},"                           \
    "{\"source\":\"y\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"b\"},"                           \
    "{\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"all\"},"                           \
    "{\"source\":\"x\",\"sourceHandle\":\"value\",\"target\":\"t\",\"targetHandle\":\"all\"}]}"

static const char *type_of(json_t *events, size_t i)
{
    return tl_json_str(json_array_get(events, i), "type");
}

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

static void test_sum(void **state)
{
    (void)state;
    struct tl_id id = fx_start(SUM_GRAPH);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(type_of(events, 0), "run.queued");
    assert_string_equal(type_of(events, 1), "run.started");
    assert_string_equal(type_of(events, json_array_size(events) - 1), "run.completed");
    assert_float_equal(json_number_value(fx_output(events, "s", "sum")), 5.5, 0);
    assert_float_equal(json_number_value(fx_output(events, "t", "sum")), 7.5, 0);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_string_equal(tl_json_str(record, "canvas_id"), "c1");
    assert_float_equal(tl_json_num(record, "progress", 0), 100, 0);
    assert_int_equal(tl_json_int(record, "last_seq", 0), json_array_size(events));
    assert_string_equal(tl_json_str(json_object_get(json_object_get(record, "nodes"), "t"), "status"), "done");
    json_t *other = NULL;
    assert_int_equal(tl_run_get(fx.db, "rival", &id, &other), TL_ENOTFOUND);
}

static void test_unchanged_is_not_run_again(void **state)
{
    (void)state;
    fx_start(SUM_GRAPH);
    fx_wait_ended(1);
    assert_int_equal(fx.calls, 1);
    struct tl_id id = fx_start(SUM_GRAPH);
    fx_wait_ended(2);
    assert_int_equal(fx.calls, 1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    assert_float_equal(json_number_value(fx_output(events, "t", "sum")), 7.5, 0);
    fx_crash();
    fx_restart();
    fx_start(SUM_GRAPH);
    fx_wait_ended(3);
    assert_int_equal(fx.calls, 1);
}

static void test_failure(void **state)
{
    (void)state;
    struct tl_id id =
        fx_start("{\"nodes\":[{\"id\":\"x\",\"type\":\"number\"},{\"id\":\"bad\",\"type\":\"fail\"},{\"id\":\"after\","
                 "\"type\":\"add\"}],"
                 "\"edges\":[{\"source\":\"x\",\"sourceHandle\":\"value\",\"target\":\"bad\",\"targetHandle\":\"in\"},"
                 "{\"source\":\"bad\",\"sourceHandle\":\"out\",\"target\":\"after\",\"targetHandle\":\"a\"}]}");
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    json_t *last = json_array_get(events, json_array_size(events) - 1);
    json_t *error = json_object_get(json_object_get(last, "payload"), "error");
    assert_string_equal(tl_json_str(last, "type"), "run.failed");
    assert_string_equal(tl_json_str(error, "code"), "MEDIA_INVALID");
    assert_string_equal(tl_json_str(error, "message"), "nothing can be made of this");
    assert_string_equal(tl_json_str(json_object_get(error, "details"), "node"), "bad");
    assert_string_equal(tl_json_str(record, "status"), "failed");
    assert_string_equal(tl_json_str(json_object_get(json_object_get(record, "nodes"), "after"), "status"), "skipped");
    assert_int_equal(fx.calls, 0);
}

#define HOLD_GRAPH                                                                                                     \
    "{\"nodes\":[{\"id\":\"i\",\"type\":\"impure\"},{\"id\":\"h\",\"type\":\"hold\"},{\"id\":\"s\",\"type\":\"add\"}]" \
    ",\"edges\":["                                                                                                     \
    "{\"source\":\"i\",\"sourceHandle\":\"value\",\"target\":\"h\",\"targetHandle\":\"in\"},"                          \
    "{\"source\":\"h\",\"sourceHandle\":\"out\",\"target\":\"s\",\"targetHandle\":\"a\"}]}"

static void test_cancel(void **state)
{
    (void)state;
    struct tl_id id = fx_start(HOLD_GRAPH);
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    assert_int_equal(tl_run_cancel(fx.exec, "rival", &id, NULL), TL_ENOTFOUND);
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &id, "wrong clip"), 0);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    json_t *last = json_array_get(events, json_array_size(events) - 1);
    assert_string_equal(tl_json_str(last, "type"), "run.cancelled");
    assert_string_equal(tl_json_str(json_object_get(last, "payload"), "reason"), "wrong clip");
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &id, NULL), TL_ECONFLICT);
    struct tl_id unknown = tl_id_new();
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &unknown, NULL), TL_ENOTFOUND);
}

/* A value of an open type is checked where it arrives. */
static void test_late_type(void **state)
{
    (void)state;
    struct tl_id id = fx_start(HOLD_GRAPH);
    struct tl_op_ctx *ctx = fx_wait_held();
    tl_op_output(ctx, "out", tl_value_take(TL_T_STRING, json_string("seven")));
    tl_op_done(ctx, 0);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    json_t *error = json_object_get(json_object_get(record, "result"), "error");
    assert_string_equal(tl_json_str(error, "code"), "SCHEMA_INVALID");
    assert_string_equal(tl_json_str(json_object_get(error, "details"), "node"), "s");
}

static void test_goes_on_after_a_crash(void **state)
{
    (void)state;
    struct tl_id id = fx_start(HOLD_GRAPH);
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    fx_crash();
    assert_int_equal(fx.ended, 0);
    assert_int_equal(fx.calls, 1);
    fx_restart();
    int failed1;
    assert_int_equal(tl_exec_resume(fx.exec, &failed1), 1);
    assert_int_equal(failed1, 0);
    struct tl_op_ctx *ctx = fx_wait_held();
    assert_float_equal(tl_op_input_number(ctx, "in", 0), 7, 0);
    tl_op_output(ctx, "out", tl_value_number(1));
    tl_op_done(ctx, 0);
    fx_wait_ended(1);
    /* The impure node ran once, its usage counts once, its result was told once. */
    assert_int_equal(fx.calls, 2);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_int_equal(tl_json_int(json_object_get(record, "result"), "tokens", 0), 5);
    TL_AUTO_FREE char *text = tl_json_text(events);
    char *first = strstr(text, "{\"node\":\"i\"");
    assert_non_null(first);
    assert_null(strstr(first + 1, "{\"node\":\"i\""));
    int started = 0;
    for (size_t i = 0; i < json_array_size(events); i++)
        started += strcmp(type_of(events, i), "run.started") == 0;
    assert_int_equal(started, 1);
    int failed0;
    assert_int_equal(tl_exec_resume(fx.exec, &failed0), 0);
    assert_int_equal(failed0, 0);
}

static int spoil_doc(struct tl_txn *txn, void *arg)
{
    const struct tl_id *id = arg;
    return tl_txn_put(txn, TL_TBL_RUN_DOC, id->b, TL_ID_LEN, "no JSON", 7);
}

/* What cannot be gone on with does not stay "running" for ever. */
static void test_a_broken_run_ends(void **state)
{
    (void)state;
    struct tl_id id = fx_start(HOLD_GRAPH);
    fx_wait_held();
    fx_crash();
    fx_restart();
    assert_int_equal(tl_db_update(fx.db, spoil_doc, &id), 0);
    int failed;
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 0);
    assert_int_equal(failed, 1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(type_of(events, json_array_size(events) - 1), "run.failed");
    assert_string_equal(tl_json_str(record, "status"), "failed");
    assert_non_null(tl_json_str(json_object_get(json_object_get(record, "result"), "error"), "code"));
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 0);
    assert_int_equal(failed, 0); /* once */
}

static int tell_of_a_step(struct tl_txn *txn, void *arg)
{
    const struct tl_id *id = arg;
    char run[TL_ID_TEXT], text[512];
    uint8_t key[TL_ID_LEN + 8];
    tl_id_text(id, run);
    memcpy(key, id->b, TL_ID_LEN);
    tl_key_u64(key + TL_ID_LEN, 2);
    int n = snprintf(text, sizeof(text),
                     "{\"event_id\":\"%s:2\",\"run_id\":\"%s\",\"type\":\"run.progress\",\"seq\":2,\"ts\":\"x\",\"payload\":{\"progress\":1,\"message\":\"\",\"nodes\":"
                     "[{\"id\":\"m#1/a\",\"status\":\"running\"},{\"id\":\"m#0/a\",\"status\":\"done\"}]}}",
                     run, run);
    return tl_txn_put(txn, TL_TBL_EVENT, key, sizeof(key), text, (size_t)n);
}

/* A group that was under way at a crash may be found whole: its steps did not stay at work. */
static void test_no_step_outlives_its_run(void **state)
{
    (void)state;
    struct tl_id id = fx_start("{\"nodes\":[{\"id\":\"a\",\"type\":\"number\"}],\"edges\":[]}");
    fx_wait_ended(1);
    assert_int_equal(tl_db_update(fx.db, tell_of_a_step, &id), 0);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    json_t *nodes = json_object_get(record, "nodes");
    assert_null(json_object_get(nodes, "m#1/a"));
    assert_non_null(json_object_get(nodes, "m#0/a"));
}

static void test_impure_is_run_by_each_run(void **state)
{
    (void)state;
    fx_start("{\"nodes\":[{\"id\":\"i\",\"type\":\"impure\"}],\"edges\":[]}");
    fx_wait_ended(1);
    fx_start("{\"nodes\":[{\"id\":\"i\",\"type\":\"impure\"}],\"edges\":[]}");
    fx_wait_ended(2);
    assert_int_equal(fx.calls, 2);
}

#define BODY(inner)                                                                                                    \
    "{\"nodes\":[{\"id\":\"in\",\"type\":\"graph.input\"},{\"id\":\"out\",\"type\":\"graph.output\"},"                 \
    "{\"id\":\"k\",\"type\":\"hidden\",\"data\":{\"params\":{\"value\":10}}},{\"id\":\"p\",\"type\":\"" inner "\"}],"  \
    "\"edges\":[{\"source\":\"in\",\"sourceHandle\":\"x\",\"target\":\"p\",\"targetHandle\":\"a\"},"                   \
    "{\"source\":\"k\",\"sourceHandle\":\"value\",\"target\":\"p\",\"targetHandle\":\"b\"},"                           \
    "{\"source\":\"p\",\"sourceHandle\":\"sum\",\"target\":\"out\",\"targetHandle\":\"y\"}]}"

static void test_nested(void **state)
{
    (void)state;
    struct tl_id id = fx_start("{\"nodes\":[{\"id\":\"x\",\"type\":\"number\",\"data\":{\"params\":{\"value\":4}}},"
                               "{\"id\":\"n\",\"type\":\"nest\",\"data\":{\"body\":" BODY(
                                   "add") "}}],"
                                          "\"edges\":[{\"source\":\"x\",\"sourceHandle\":\"value\",\"target\":\"n\","
                                          "\"targetHandle\":\"x\"}]}");
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    assert_float_equal(json_number_value(fx_output(events, "n", "y")), 14, 0);
    TL_AUTO_FREE char *text = tl_json_text(events);
    assert_null(strstr(text, "\"k\""));
    assert_null(strstr(text, "hidden"));
}

static void test_nested_cancel(void **state)
{
    (void)state;
    struct tl_id id =
        fx_start("{\"nodes\":[{\"id\":\"n\",\"type\":\"nest\",\"data\":{\"body\":"
                 "{\"nodes\":[{\"id\":\"out\",\"type\":\"graph.output\"},{\"id\":\"h\",\"type\":\"hold\"}],"
                 "\"edges\":[{\"source\":\"h\",\"sourceHandle\":\"out\",\"target\":\"out\",\"targetHandle\":\"y\"}]}}}]"
                 ",\"edges\":[]}");
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    assert_string_equal(tl_op_step_key(fx.held), "n/h");
    pthread_mutex_unlock(&fx.lock);
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &id, NULL), 0);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "cancelled");
}

static void test_upstream(void **state)
{
    (void)state;
    struct tl_id id =
        fx_start("{\"nodes\":[{\"id\":\"x\",\"type\":\"number\",\"data\":{\"params\":{\"value\":4}}},{\"id\":\"s\","
                 "\"type\":\"add\"},"
                 "{\"id\":\"else\",\"type\":\"number\"},{\"id\":\"u\",\"type\":\"upstream\"},"
                 "{\"id\":\"v\",\"type\":\"upstream\",\"data\":{\"params\":{\"sequential\":true}}}],\"edges\":["
                 "{\"source\":\"x\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"},"
                 "{\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"u\",\"targetHandle\":\"in\"},"
                 "{\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"v\",\"targetHandle\":\"in\"}]}");
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    json_t *seen = fx_output(events, "u", "seen"), *nodes = json_object_get(seen, "nodes");
    assert_string_equal(tl_json_str(seen, "mode"), "aggregate");
    assert_int_equal(json_object_size(nodes), 2);
    assert_float_equal(tl_json_num(json_object_get(json_object_get(nodes, "x"), "outputs"), "value", 0), 4, 0);
    json_t *sequence = json_object_get(fx_output(events, "v", "seen"), "sequence");
    assert_string_equal(tl_json_str(json_array_get(sequence, 0), "id"), "x");
    assert_string_equal(tl_json_str(json_array_get(sequence, 1), "id"), "s");
}

static void test_list_and_empty(void **state)
{
    (void)state;
    struct tl_id ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = fx_start("{\"nodes\":[],\"edges\":[]}");
        fx_wait_ended(i + 1);
    }
    json_t *items;
    struct tl_id next;
    bool more;
    assert_int_equal(tl_run_list(fx.db, "studio", NULL, NULL, 2, &items, &next, &more), 0);
    assert_int_equal(json_array_size(items), 2);
    assert_true(more);
    assert_true(tl_id_equal(&next, &ids[1]));
    json_decref(items);
    assert_int_equal(tl_run_list(fx.db, "studio", NULL, &next, 2, &items, &next, &more), 0);
    assert_int_equal(json_array_size(items), 1);
    assert_false(more);
    json_decref(items);
    assert_int_equal(tl_run_list(fx.db, "studio", "failed", NULL, 2, &items, &next, &more), 0);
    assert_int_equal(json_array_size(items), 0);
    json_decref(items);
    assert_int_equal(tl_run_list(fx.db, "stud", NULL, NULL, 2, &items, &next, &more), 0);
    assert_int_equal(json_array_size(items), 0);
    json_decref(items);
}

static void make_wide(struct tl_id *ret, int n)
{
    TL_AUTO_JSON json_t *nodes = json_array();
    TL_AUTO_JSON json_t *edges = json_array();
    char id[16], before[16];
    json_array_append_new(nodes, json_pack("{s:s,s:s}", "id", "n0", "type", "number"));
    for (int i = 1; i < n; i++) {
        snprintf(id, sizeof(id), "n%d", i);
        snprintf(before, sizeof(before), "n%d", i / 2);
        json_array_append_new(nodes,
                              json_pack("{s:s,s:s,s:{s:{s:i}}}", "id", id, "type", "add", "data", "inputs", "b", i));
        json_array_append_new(edges, json_pack("{s:s,s:s,s:s,s:s}", "source", before, "sourceHandle",
                                               i / 2 ? "sum" : "value", "target", id, "targetHandle", "a"));
    }
    TL_AUTO_JSON json_t *graph = json_pack("{s:O,s:O}", "nodes", nodes, "edges", edges);
    TL_AUTO_FREE char *text = tl_json_text(graph);
    *ret = fx_start(text);
}

static void test_thousands(void **state)
{
    (void)state;
    struct tl_id id;
    make_wide(&id, 3000);
    fx_wait_ended(1);
    assert_int_equal(fx.calls, 2999);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_int_equal(json_object_size(json_object_get(record, "nodes")), 3000);
    assert_true(json_array_size(events) < 1500); /* coalesced */
    make_wide(&id, 3000);
    int err = tl_run_cancel(fx.exec, "studio", &id, NULL);
    assert_true(err == 0 || err == TL_ECONFLICT); /* it may have ended by now */
    fx_wait_ended(2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_sum),
        T(test_unchanged_is_not_run_again),
        T(test_failure),
        T(test_cancel),
        T(test_late_type),
        T(test_goes_on_after_a_crash),
        T(test_a_broken_run_ends),
        T(test_no_step_outlives_its_run),
        T(test_impure_is_run_by_each_run),
        T(test_nested),
        T(test_nested_cancel),
        T(test_upstream),
        T(test_list_and_empty),
        T(test_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

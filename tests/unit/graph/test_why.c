/* Why a node ran or did not: what differed, from which run, and what may be told to whom. */
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/op_ctx.h"
#include "graph/retain.h"
#include "graph/why.h"
#include "tests/unit/graph/fixture.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* Runs follow one another in time, however quick they are: an id has milliseconds. */
static void later(void)
{
    fx.ahead_ms++;
}

/* a and b are added as s, s and a literal as t. More may stand in a's parameters, and other nodes behind them. */
static char *sum(const char *a, double b, double literal, const char *s_b, const char *more)
{
    char *text = NULL;
    assert_true(
        asprintf(
            &text,
            "{\"nodes\":[{\"id\":\"a\",\"type\":\"number\",\"data\":{\"params\":{%s}}},"
            "{\"id\":\"b\",\"type\":\"number\",\"data\":{\"params\":{\"value\":%g}}},{\"id\":\"s\",\"type\":\"add\"},"
            "{\"id\":\"t\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":%g}}}%s],\"edges\":["
            "{\"id\":\"1\",\"source\":\"a\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"},"
            "{\"id\":\"2\",\"source\":\"%s\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"b\"},"
            "{\"id\":\"3\",\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"a\"}]}",
            a, b, literal, more, s_b) > 0);
    return text;
}

static struct tl_id run_sum(const char *a, double b, double literal, const char *s_b)
{
    TL_AUTO_FREE char *graph = sum(a, b, literal, s_b, "");
    int ended = fx.ended;
    later();
    struct tl_id id = fx_start(graph);
    fx_wait_ended(ended + 1);
    return id;
}

static struct tl_id run(const char *graph)
{
    int ended = fx.ended;
    later();
    struct tl_id id = fx_start(graph);
    fx_wait_ended(ended + 1);
    return id;
}

static json_t *why_as(const struct tl_id *id, const char *node, bool admin)
{
    json_t *j = NULL;
    assert_int_equal(tl_run_why(fx.exec, "studio", id, node, admin, &j), 0);
    assert_string_equal(tl_json_str(j, "node"), node);
    return j;
}

static json_t *why(const struct tl_id *id, const char *node)
{
    return why_as(id, node, false);
}

static void assert_reason(const json_t *j, bool ran, const char *reason, const struct tl_id *compared)
{
    char id[TL_ID_TEXT] = "";
    if (strcmp(tl_json_str(j, "reason"), reason) != 0)
        fail_msg("%s: %s", tl_json_str(j, "reason"), tl_json_str(j, "sentence"));
    assert_true(json_is_true(json_object_get(j, "ran")) == ran);
    if (compared) {
        tl_id_text(compared, id);
        assert_string_equal(tl_json_str(j, "compared_with"), id);
    }
}

/* The one change there is, as text. */
static char *change(const json_t *j)
{
    const json_t *changes = json_object_get(j, "changes");
    assert_int_equal(json_array_size(changes), 1);
    return tl_json_canonical(json_array_get(changes, 0));
}

static void assert_change(const struct tl_id *id, const char *node, const struct tl_id *compared, const char *want)
{
    TL_AUTO_JSON json_t *j = why(id, node);
    assert_reason(j, true, "changed", compared);
    TL_AUTO_FREE char *is = change(j);
    assert_string_equal(is, want);
}

#define TWO "\"value\":2"

static void test_what_changed(void **state)
{
    (void)state;
    struct tl_id first = run_sum(TWO, 3, 1, "b");
    TL_AUTO_JSON json_t *j = why(&first, "s");
    assert_reason(j, true, "first", NULL);
    assert_null(json_object_get(j, "compared_with"));
    struct tl_id same = run_sum(TWO, 3, 1, "b");
    TL_AUTO_JSON json_t *k = why(&same, "t");
    assert_reason(k, false, "cached", &first);
    assert_non_null(
        strstr(tl_json_str(k, "sentence"), "did not run: nothing that it depends on has changed since run "));
    struct tl_id literal = run_sum(TWO, 3, 7, "b");
    assert_change(&literal, "t", &same, "{\"from\":1,\"kind\":\"literal\",\"name\":\"b\",\"to\":7}");
    TL_AUTO_JSON json_t *c = why(&literal, "s");
    assert_reason(c, false, "cached", &first);
    struct tl_id value = run_sum(TWO, 4, 7, "b");
    assert_change(&value, "b", &literal, "{\"from\":3,\"kind\":\"parameter\",\"name\":\"value\",\"to\":4}");
    assert_change(&value, "s", &literal, "{\"from\":3,\"kind\":\"input\",\"name\":\"b\",\"to\":4}");
    assert_change(&value, "t", &literal, "{\"from\":5,\"kind\":\"input\",\"name\":\"a\",\"to\":6}");
    struct tl_id edge = run_sum(TWO, 4, 7, "a");
    assert_change(&edge, "s", &value, "{\"from\":\"b.value\",\"kind\":\"edge\",\"name\":\"b\",\"to\":\"a.value\"}");
    fx_crash();
    fx_restart(); /* nothing of it is of this life */
    assert_change(&value, "s", &literal, "{\"from\":3,\"kind\":\"input\",\"name\":\"b\",\"to\":4}");
    TL_AUTO_JSON json_t *again = why(&same, "t");
    assert_reason(again, false, "cached", &first);
    json_t *none = NULL;
    assert_int_equal(tl_run_why(fx.exec, "rival", &value, "s", false, &none), TL_ENOTFOUND);
    assert_int_equal(tl_run_why(fx.exec, "studio", &value, "nothing", false, &none), TL_ENOTFOUND);
}

/* An op's revision is that of the run, though the program has a newer one by now. */
static int newer(struct tl_txn *txn, void *arg)
{
    const struct tl_id *id = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_RUN_DOC, id->b, TL_ID_LEN, &v);
    TL_AUTO_JSON json_t *doc = NULL;
    if (!err)
        err = tl_json_parse(v.data, v.len, &doc, NULL);
    if (!err)
        json_object_set_new(json_object_get(doc, "ops"), "add", json_integer(0));
    TL_AUTO_FREE char *text = err ? NULL : tl_json_text(doc);
    return text ? tl_txn_put(txn, TL_TBL_RUN_DOC, id->b, TL_ID_LEN, text, strlen(text)) : err;
}

static void test_revision(void **state)
{
    (void)state;
    struct tl_id before = run_sum(TWO, 3, 1, "b");
    assert_int_equal(tl_db_update(fx.db, newer, &before), 0);
    struct tl_id now = run_sum(TWO, 3, 9, "b");
    TL_AUTO_JSON json_t *j = why(&now, "t");
    assert_int_equal(json_array_size(json_object_get(j, "changes")), 2);
    TL_AUTO_FREE char *text = tl_json_canonical(json_array_get(json_object_get(j, "changes"), 0));
    assert_string_equal(text, "{\"from\":0,\"kind\":\"revision\",\"name\":\"add\",\"to\":1}");
    assert_non_null(strstr(tl_json_str(j, "sentence"),
                           "because the revision of the op \"add\" and the value given for \"b\" differ from run"));
}

/* What only an administrator sees does not exist for anybody else. */
static const struct tl_graph_env admin_env = {.find_op = fx_find_op, .admin = true};

static int replan_as_admin(void *arg, const char *org, const char *kind, json_t *doc, struct tl_plan **ret,
                           struct tl_diag *diag)
{
    (void)arg, (void)org, (void)kind;
    return tl_plan_json(doc, &admin_env, NULL, 0, ret, diag);
}

static struct tl_id run_as_admin(const char *a)
{
    TL_AUTO_FREE char *graph = sum(a, 3, 1, "b", "");
    TL_AUTO_JSON json_t *j = fx_json(graph);
    TL_AUTO_JSON json_t *meta = fx_json("{\"canvas_id\":\"c1\"}");
    struct tl_plan *plan;
    assert_int_equal(tl_plan_json(j, &admin_env, NULL, 0, &plan, NULL), 0);
    struct tl_run_req req = {.org = "studio", .sub = "kim", .kind = "canvas", .doc = j, .plan = plan, .meta = meta};
    struct tl_id id;
    int ended = fx.ended;
    later();
    assert_int_equal(tl_run_start_wait(fx.exec, &req, &id), 0);
    fx_wait_ended(ended + 1);
    tl_plan_unref(plan);
    return id;
}

static void test_admin_parameters(void **state)
{
    (void)state;
    fx.conf.replan = replan_as_admin;
    fx_crash();
    fx_restart();
    struct tl_id before = run_as_admin("\"secret\":false"), now = run_as_admin("\"secret\":true");
    TL_AUTO_JSON json_t *j = why(&now, "a"), *k = why_as(&now, "a", true);
    assert_reason(j, true, "not_kept", &before); /* as if it did not exist */
    assert_int_equal(json_array_size(json_object_get(j, "changes")), 0);
    assert_reason(k, true, "changed", &before);
    TL_AUTO_FREE char *all = tl_json_text(j), *told = change(k);
    assert_null(strstr(all, "secret"));
    assert_string_equal(told, "{\"from\":false,\"kind\":\"parameter\",\"name\":\"secret\",\"to\":true}");
}

static void test_long_values_are_shortened(void **state)
{
    (void)state;
    char graph[4096], texts[2][1024];
    struct tl_id ids[2];
    for (int i = 0; i < 2; i++) {
        memset(texts[i], 'x' + i, sizeof(texts[i]) - 1);
        texts[i][sizeof(texts[i]) - 1] = '\0';
        snprintf(
            graph, sizeof(graph),
            "{\"nodes\":[{\"id\":\"u\",\"type\":\"upstream\",\"data\":{\"inputs\":{\"in\":\"%s\"}}}],\"edges\":[]}",
            texts[i]);
        ids[i] = run(graph);
    }
    TL_AUTO_JSON json_t *j = why(&ids[1], "u");
    TL_AUTO_FREE char *is = change(j);
    assert_reason(j, true, "changed", &ids[0]);
    assert_non_null(strstr(is, "\"from\":\"blake2b:"));
    assert_null(strstr(is, "xxxx"));
    assert_true(strlen(is) < 200);
}

static void test_ancestors(void **state)
{
    (void)state;
    const char *graph =
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"number\",\"data\":{\"params\":{\"value\":%d}}},{\"id\":\"z\",\"type\":"
        "\"number\"},"
        "{\"id\":\"m\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":%d}}},{\"id\":\"u\",\"type\":\"upstream\"}],"
        "\"edges\":["
        "{\"id\":\"1\",\"source\":\"a\",\"sourceHandle\":\"value\",\"target\":\"m\",\"targetHandle\":\"a\"},"
        "{\"id\":\"2\",\"source\":\"m\",\"sourceHandle\":\"sum\",\"target\":\"u\",\"targetHandle\":\"in\"}]}";
    char text[1024];
    snprintf(text, sizeof(text), graph, 2, 5);
    struct tl_id before = run(text);
    snprintf(text, sizeof(text), graph, 4, 3); /* 7 again: only what reads its ancestors sees a difference */
    struct tl_id now = run(text);
    assert_change(&now, "u", &before,
                  "{\"from\":{\"value\":2},\"kind\":\"upstream\",\"name\":\"a\",\"to\":{\"value\":4}}");
}

#define FAILS                                                                                                          \
    "{\"nodes\":[{\"id\":\"x\",\"type\":\"number\"},{\"id\":\"bad\",\"type\":\"fail\"},{\"id\":\"mid\",\"type\":"      \
    "\"add\"},{\"id\":\"end\",\"type\":\"add\"}],"                                                                     \
    "\"edges\":[{\"source\":\"x\",\"sourceHandle\":\"value\",\"target\":\"bad\",\"targetHandle\":\"in\"},{\"source\":" \
    "\"bad\","                                                                                                         \
    "\"sourceHandle\":\"out\",\"target\":\"mid\",\"targetHandle\":\"a\"},{\"source\":\"mid\",\"sourceHandle\":"        \
    "\"sum\",\"target\":"                                                                                              \
    "\"end\",\"targetHandle\":\"a\"}]}"

static void test_failed_and_behind(void **state)
{
    (void)state;
    struct tl_id id = run(FAILS);
    TL_AUTO_JSON json_t *bad = why(&id, "bad"), *end = why(&id, "end");
    assert_reason(bad, true, "impure", NULL);
    assert_string_equal(tl_json_str(bad, "status"), "failed");
    assert_reason(end, false, "skipped", NULL);
    assert_string_equal(tl_json_str(end, "sentence"), "\"end\" was skipped because \"bad\" failed.");
}

static void test_cancelled(void **state)
{
    (void)state;
    TL_AUTO_FREE char *graph =
        sum(TWO, 1, 1, "b", ",{\"id\":\"h\",\"type\":\"hold\"},{\"id\":\"n\",\"type\":\"total\"}");
    graph[strlen(graph) - 2] = '\0'; /* one more edge: from h to n */
    TL_AUTO_FREE char *all = NULL;
    assert_true(
        asprintf(
            &all,
            "%s,{\"id\":\"4\",\"source\":\"h\",\"sourceHandle\":\"out\",\"target\":\"n\",\"targetHandle\":\"all\"}]}",
            graph) > 0);
    struct tl_id id = fx_start(all);
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    TL_AUTO_JSON json_t *pending = why(&id, "n");
    assert_reason(pending, false, "pending", NULL);
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &id, NULL), 0);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *h = why(&id, "h"), *n = why(&id, "n");
    assert_reason(h, false, "cancelled", NULL);
    assert_reason(n, false, "cancelled", NULL);
    assert_string_equal(tl_json_str(n, "sentence"), "\"n\" was not reached: the run was cancelled.");
}

/* Impure, evicted, resumed. */
static void test_not_kept(void **state)
{
    (void)state;
    struct tl_id a =
        run("{\"nodes\":[{\"id\":\"r\",\"type\":\"remote\"},{\"id\":\"i\",\"type\":\"impure\"}],\"edges\":[]}");
    TL_AUTO_JSON json_t *r = why(&a, "r");
    assert_reason(r, true, "impure", NULL);
    struct tl_id b =
        run("{\"nodes\":[{\"id\":\"r\",\"type\":\"remote\"},{\"id\":\"i\",\"type\":\"impure\"}],\"edges\":[]}");
    TL_AUTO_JSON json_t *i = why(&b, "i");
    assert_reason(i, true, "not_kept", &a);
    run_sum(TWO, 3, 1, "b");
    fx.conf.cache_max = 1; /* the next start has room for nothing */
    fx_crash();
    fx_restart();
    run_sum(TWO, 8, 1, "b");
    struct tl_id before = run_sum(TWO, 9, 1, "b"), now = run_sum(TWO, 9, 1, "b");
    TL_AUTO_JSON json_t *s = why(&now, "s");
    assert_reason(s, true, "not_kept", &before);
}

static void test_resumed(void **state)
{
    (void)state;
    struct tl_id id = fx_start("{\"nodes\":[{\"id\":\"x\",\"type\":\"number\"},{\"id\":\"s\",\"type\":\"add\"},{\"id\":"
                               "\"h\",\"type\":\"hold\"}],\"edges\":[{\"source\":\"x\","
                               "\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"a\"},{\"source\":\"s\","
                               "\"sourceHandle\":\"sum\",\"target\":\"h\","
                               "\"targetHandle\":\"in\"}]}");
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    fx_crash();
    fx_restart();
    int failed;
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 1);
    tl_op_done(fx_wait_held(), 0);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *s = why(&id, "s");
    assert_reason(s, false, "resumed", NULL);
}

/* ---- what the journal says ---- */

static void prune(size_t want)
{
    struct tl_id after = {0};
    size_t n;
    bool more;
    assert_int_equal(tl_retain_prune(fx.db, tl_now_ms() + fx.ahead_ms + 60000, &after, &n, &more), 0);
    assert_int_equal(n, want);
}

/* Outputs that retention has removed are not known, which is not the same as absent. */
static void test_after_retention(void **state)
{
    (void)state;
    struct tl_id first = run_sum(TWO, 3, 1, "b");
    prune(1);
    struct tl_id literal = run_sum(TWO, 3, 7, "b");
    assert_change(&literal, "t", &first, "{\"from\":1,\"kind\":\"literal\",\"name\":\"b\",\"to\":7}");
    TL_AUTO_JSON json_t *t = why(&literal, "t"), *s = why(&literal, "s");
    assert_non_null(strstr(tl_json_str(t, "sentence"), " What arrived in that run is no longer known."));
    assert_reason(s, false, "cached", &first); /* its own journal says what arrived */
    prune(1);
    TL_AUTO_JSON json_t *cached = why(&literal, "s"), *again = why(&literal, "t");
    assert_reason(cached, false, "cached", NULL);
    assert_null(json_object_get(cached, "compared_with"));
    assert_non_null(strstr(tl_json_str(again, "sentence"), " What arrived in both is no longer known."));
    struct tl_id value = run_sum(TWO, 4, 7, "b");
    TL_AUTO_JSON json_t *j = why(&value, "s"), *b = why(&value, "b");
    assert_reason(j, true, "unknown", &literal);
    assert_int_equal(json_array_size(json_object_get(j, "changes")), 0);
    assert_non_null(strstr(tl_json_str(j, "sentence"), "what arrived in that run is no longer known"));
    assert_reason(b, true, "changed", &literal); /* nothing arrives at it */
    assert_null(strstr(tl_json_str(b, "sentence"), "no longer known"));
    prune(1);
    TL_AUTO_JSON json_t *failed = why(&value, "t");
    assert_reason(failed, true, "unknown", &literal);
}

/* Ids and values that look like what is searched for; more producers than are searched for by name. */
static void test_many_and_quoted(void **state)
{
    (void)state;
    enum { N = 20 };
    struct tl_id ids[3];
    for (int r = 0; r < 3; r++) {
        struct tl_str s = {0};
        tl_str_puts(&s, "{\"nodes\":[{\"id\":\"u\",\"type\":\"upstream\",\"data\":{\"inputs\":{\"in\":"
                        "\"{\\\"id\\\":\\\"t\\\",\\\"status\\\":\\\"failed\\\"}\"}}},"
                        "{\"id\":\"say \\\"t\\\"\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":1,\"b\":1}}},"
                        "{\"id\":\"t\",\"type\":\"total\"}");
        for (int i = 0; i < N; i++)
            tl_str_printf(&s, ",{\"id\":\"n%d\",\"type\":\"number\",\"data\":{\"params\":{\"value\":%d}}}", i,
                          i == 11 ? 100 + r : i);
        tl_str_puts(&s, "],\"edges\":[{\"source\":\"say \\\"t\\\"\",\"sourceHandle\":\"sum\",\"target\":\"t\","
                        "\"targetHandle\":\"all\"}");
        for (int i = 0; i < N; i++)
            tl_str_printf(
                &s, ",{\"source\":\"n%d\",\"sourceHandle\":\"value\",\"target\":\"t\",\"targetHandle\":\"all\"}", i);
        tl_str_puts(&s, "]}");
        assert_int_equal(s.err, 0);
        ids[r] = run(s.data);
        tl_str_clear(&s);
    }
    assert_change(&ids[1], "t", &ids[0], "{\"from\":100,\"kind\":\"input\",\"name\":\"all\",\"to\":101}");
    assert_change(&ids[2], "t", &ids[1], "{\"from\":101,\"kind\":\"input\",\"name\":\"all\",\"to\":102}");
    TL_AUTO_JSON json_t *q = why(&ids[1], "say \"t\""), *u = why(&ids[2], "u");
    assert_reason(q, false, "cached", &ids[0]);
    assert_reason(u, false, "cached", &ids[0]);
}

/* A large journal is not built up in memory for the sake of one node: much less is done than for telling all of it. */
static struct tl_plan *large;

static int replan_large(void *arg, const char *org, const char *kind, json_t *doc, struct tl_plan **ret,
                        struct tl_diag *diag)
{
    (void)arg, (void)org, (void)kind, (void)doc, (void)diag;
    *ret = tl_plan_ref(large);
    return 0;
}

static struct tl_id run_large(void)
{
    TL_AUTO_JSON json_t *doc = json_object();
    struct tl_run_req req = {.org = "studio", .sub = "kim", .kind = "canvas", .doc = doc, .plan = large};
    struct tl_id id;
    int ended = fx.ended;
    later();
    assert_int_equal(tl_run_start_wait(fx.exec, &req, &id), 0);
    fx_wait_ended(ended + 1);
    return id;
}

static int64_t worked_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void test_large_journals(void **state)
{
    (void)state;
    enum { N = 20000, TIMES = 5 };
    struct tl_str s = {0};
    for (int i = 0; i < N; i++)
        tl_str_printf(&s, "%s{\"id\":\"n%d\",\"type\":\"add\",\"data\":{\"inputs\":{%s\"b\":%d}}}",
                      i ? "," : "{\"nodes\":[", i, i == 1 ? "" : "\"a\":1,", i);
    tl_str_puts(&s,
                "],\"edges\":[{\"source\":\"n0\",\"sourceHandle\":\"sum\",\"target\":\"n1\",\"targetHandle\":\"a\"}]}");
    assert_int_equal(s.err, 0);
    TL_AUTO_JSON json_t *graph = fx_json(s.data);
    tl_str_clear(&s);
    large = fx_plan(graph);
    fx.conf.replan = replan_large;
    fx_crash();
    fx_restart();
    struct tl_id first = run_large(), id = run_large();
    int64_t whole = INT64_MAX, one = INT64_MAX;
    for (int i = 0; i < TIMES; i++) {
        int64_t from = worked_ns();
        TL_AUTO_JSON json_t *record = fx_record(&id);
        int64_t between = worked_ns();
        TL_AUTO_JSON json_t *j = why(&id, "n1");
        int64_t end = worked_ns();
        assert_reason(j, false, "cached", &first);
        whole = between - from < whole ? between - from : whole;
        one = end - between < one ? end - between : one;
    }
    assert_in_range(one, 1, whole / 2);
    tl_plan_unref(large);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
    const struct CMUnitTest tests[] = {
        T(test_what_changed), T(test_revision),          T(test_admin_parameters), T(test_long_values_are_shortened),
        T(test_ancestors),    T(test_failed_and_behind), T(test_cancelled),        T(test_not_kept),
        T(test_resumed),      T(test_after_retention),   T(test_many_and_quoted),  T(test_large_journals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Questions to people: asked, answered, expired, cancelled, and still there after a restart. */
#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/ask.h"
#include "graph/op_ctx.h"

#include <stdio.h>
#include <string.h>

#define DAY_MS (24 * 3600 * 1000LL)

/* n → gate → sum (value + 1); what is rejected goes to "no". */
#define GATE(params, data)                                                                                             \
    "{\"nodes\":[{\"id\":\"n\",\"type\":\"number\",\"data\":{\"params\":{\"value\":7}}},{\"id\":\"g\",\"type\":"       \
    "\"gate\",\"data\":{\"params\":{" params "}" data                                                                  \
    "}},{\"id\":\"sum\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":1}}},{\"id\":\"no\",\"type\":\"add\",\"data\":{"  \
    "\"inputs\":{\"b\":-1}}}],\"edges\":["                                                                             \
    "{\"source\":\"n\",\"sourceHandle\":\"value\",\"target\":\"g\",\"targetHandle\":\"value\"},"                       \
    "{\"source\":\"g\",\"sourceHandle\":\"value\",\"target\":\"sum\",\"targetHandle\":\"a\"},"                         \
    "{\"source\":\"g\",\"sourceHandle\":\"rejected\",\"target\":\"no\",\"targetHandle\":\"a\"}]}"

static int set_up(void **state)
{
    (void)state;
    fx_open();
    fx_crash();
    fx.manual = true;
    fx_restart();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fx_close();
    return 0;
}

static void restart(void)
{
    int failed;
    fx_crash();
    fx_restart();
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 1);
    assert_int_equal(failed, 0);
    fx_drive();
}

static struct tl_id start(const char *graph)
{
    struct tl_id id = fx_start(graph);
    fx_drive();
    fx.ahead_ms += 100; /* a run.progress that was held back */
    fx_drive();
    return id;
}

/* What the record says that a step waits for. Borrowed. */
static const json_t *waits(const json_t *record, const char *step)
{
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(record, "waiting_for"), i, w) {
        if (strcmp(tl_json_str(w, "node"), step) == 0)
            return w;
    }
    return NULL;
}

struct reply {
    bool over;
    int err;
};

static void replied(void *arg, int err)
{
    struct reply *r = arg;
    pthread_mutex_lock(&fx.lock);
    *r = (struct reply){true, err};
    pthread_cond_broadcast(&fx.cond);
    pthread_mutex_unlock(&fx.lock);
}

static int answer(const char *org, const struct tl_id *id, const char *step, const struct tl_answer *a)
{
    struct reply r = {0};
    int err = tl_run_answer(fx.exec, org, id, step, a, replied, &r);
    if (err)
        return err;
    pthread_mutex_lock(&fx.lock);
    while (!r.over)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    fx_drive();
    return r.err;
}

static int say(const struct tl_id *id, const char *step, const char *decision, const char *hash, const char *comment)
{
    return answer("studio", id, step,
                  &(struct tl_answer){.decision = decision, .hash = hash, .comment = comment, .who = "kim"});
}

/* The hash that the step shows; the caller frees. */
static char *hash_of(const struct tl_id *id, const char *step)
{
    TL_AUTO_JSON json_t *record = fx_record(id);
    const json_t *w = waits(record, step);
    if (!w)
        fail_msg("%s does not wait", step);
    return tl_strdup(tl_json_str(w, "hash"));
}

static void assert_output(const struct tl_id *id, const char *node, const char *port, const char *text)
{
    TL_AUTO_JSON json_t *events = fx_events(id);
    json_t *j = fx_output(events, node, port);
    TL_AUTO_FREE char *is = j ? tl_json_canonical(j) : tl_strdup("nothing");
    assert_string_equal(is, text);
}

static void assert_status(const struct tl_id *id, const char *status)
{
    TL_AUTO_JSON json_t *record = fx_record(id);
    assert_string_equal(tl_json_str(record, "status"), status);
}

static void assert_error(const struct tl_id *id, const char *code, const char *message)
{
    TL_AUTO_JSON json_t *record = fx_record(id);
    const json_t *e = json_object_get(json_object_get(record, "result"), "error");
    assert_string_equal(tl_json_str(record, "status"), "failed");
    assert_string_equal(tl_json_str(e, "code"), code);
    assert_string_equal(tl_json_str(e, "message"), message);
}

static void test_approve(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("\"prompt\":\"Is seven right?\"", ""));
    TL_AUTO_JSON json_t *record = fx_record(&id);
    const json_t *w = waits(record, "g");
    assert_non_null(w);
    assert_string_equal(tl_json_str(record, "status"), "running");
    assert_string_equal(tl_json_str(json_object_get(json_object_get(record, "nodes"), "g"), "status"), "waiting");
    assert_string_equal(tl_json_str(w, "kind"), "gate");
    assert_string_equal(tl_json_str(json_object_get(w, "shown"), "prompt"), "Is seven right?");
    assert_int_equal(tl_json_int(json_object_get(w, "shown"), "value", 0), 7);
    assert_non_null(tl_json_str(w, "expires_at"));
    const char *hash = tl_json_str(w, "hash");
    assert_int_equal(say(&id, "g", "approve", hash, "fine"), 0);
    assert_status(&id, "done");
    assert_output(&id, "g", "value", "7");
    assert_output(&id, "g", "approved", "true");
    assert_output(&id, "g", "comment", "\"fine\"");
    assert_output(&id, "sum", "sum", "8");
    assert_output(&id, "no", "sum", "nothing");
    TL_AUTO_JSON json_t *after = fx_record(&id);
    assert_null(waits(after, "g"));
    /* The same answer again is the same answer; another one comes too late. */
    assert_int_equal(say(&id, "g", "approve", hash, "fine"), 0);
    assert_int_equal(say(&id, "g", "approve", hash, "other"), TL_ECONFLICT);
    assert_int_equal(say(&id, "g", "reject", hash, NULL), TL_ECONFLICT);
}

static void test_refused(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("", "")), none = id;
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    struct tl_diag diag = {0};
    none.b[0] ^= 1;
    assert_int_equal(say(&none, "g", "approve", hash, NULL), TL_ENOTFOUND);
    assert_int_equal(answer("others", &id, "g", &(struct tl_answer){.decision = "approve", .hash = hash, .who = "x"}),
                     TL_ENOTFOUND);
    assert_int_equal(say(&id, "n", "approve", hash, NULL), TL_ENOTAPPROVABLE);
    assert_int_equal(say(&id, "g", "approve", "00", NULL), TL_ECONFLICT);
    assert_int_equal(say(&id, "g", "retry", hash, NULL), TL_EINVAL);
    TL_AUTO_JSON json_t *fields = fx_json("{\"x\":1}");
    assert_int_equal(
        answer("studio", &id, "g",
               &(struct tl_answer){.decision = "reject", .hash = hash, .who = "kim", .fields = fields, .diag = &diag}),
        TL_EINVAL);
    assert_int_equal(diag.count, 1);
    tl_diag_clear(&diag);
    assert_int_equal(answer("studio", &id, "g",
                            &(struct tl_answer){.decision = "approve", .hash = hash, .who = "kim", .fields = fields}),
                     TL_EINVAL);
    assert_status(&id, "running");
    assert_int_equal(say(&id, "g", "approve", hash, NULL), 0);
    assert_status(&id, "done");
}

static void test_reject(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("", ""));
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    assert_int_equal(say(&id, "g", "reject", hash, "too dark"), 0);
    assert_error(&id, "REJECTED", "a person rejected it: too dark");
    id = start(GATE("\"on_reject\":\"route\"", ""));
    TL_AUTO_FREE char *other = hash_of(&id, "g");
    assert_string_equal(hash, other); /* the same was shown */
    assert_int_equal(say(&id, "g", "reject", other, "too dark"), 0);
    assert_status(&id, "done");
    assert_output(&id, "no", "sum", "6");
    assert_output(&id, "sum", "sum", "nothing");
    assert_output(&id, "g", "approved", "false");
}

#define FORM                                                                                                           \
    ",\"form\":[{\"name\":\"grade\",\"type\":\"number\",\"required\":true},{\"name\":\"tags\",\"type\":\"string[]\"}]"

static void test_form(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("", FORM));
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    struct tl_diag diag = {0};
    TL_AUTO_JSON json_t *bad = fx_json("{\"grade\":\"1\",\"tags\":[1],\"more\":1}"), *good = fx_json("{\"grade\":2}"),
                        *none = fx_json("{}");
    struct tl_answer a = {.decision = "approve", .hash = hash, .who = "kim", .fields = bad, .diag = &diag};
    assert_int_equal(answer("studio", &id, "g", &a), TL_EINVAL);
    assert_int_equal(diag.count, 3);
    assert_string_equal(diag.items[0].path, "$.fields.grade");
    a.fields = none;
    assert_int_equal(answer("studio", &id, "g", &a), TL_EINVAL);
    assert_int_equal(diag.count, 4);
    assert_string_equal(diag.items[3].message, "grade is required");
    a.fields = good;
    assert_int_equal(answer("studio", &id, "g", &a), 0);
    tl_diag_clear(&diag);
    assert_output(&id, "g", "grade", "2");
    assert_output(&id, "g", "tags", "nothing");
    assert_status(&id, "done");
}

/* Two restarts while it waits: the same question, expiring when it was to expire; then the answer. */
static void test_restart(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("\"expires_sec\":86400", ""));
    TL_AUTO_JSON json_t *before = fx_record(&id);
    fx.ahead_ms += DAY_MS / 2;
    restart();
    restart();
    TL_AUTO_JSON json_t *after = fx_record(&id);
    assert_true(json_equal(waits(before, "g"), waits(after, "g")));
    assert_int_equal(say(&id, "g", "approve", tl_json_str(waits(after, "g"), "hash"), NULL), 0);
    assert_status(&id, "done");
    assert_output(&id, "sum", "sum", "8");
}

/* An answer while nobody works on the run is kept for it. */
static void test_answer_before_resume(void **state)
{
    int failed;
    (void)state;
    struct tl_id id = start(GATE("", ""));
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    fx_crash();
    fx_restart();
    assert_int_equal(say(&id, "g", "approve", hash, NULL), 0);
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 1);
    fx_drive();
    assert_status(&id, "done");
    assert_output(&id, "sum", "sum", "8");
}

static void test_expiry(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("\"expires_sec\":60", ""));
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    fx.ahead_ms += 59000;
    fx_drive();
    assert_status(&id, "running");
    fx.ahead_ms += 1000;
    /* The time is over for answers before any timer has fired. */
    struct reply r = {0};
    int err = tl_run_answer(fx.exec, "studio", &id, "g",
                            &(struct tl_answer){.decision = "approve", .hash = hash, .who = "kim"}, replied, &r);
    assert_int_equal(err, 0);
    pthread_mutex_lock(&fx.lock);
    while (!r.over)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    assert_int_equal(r.err, TL_EEXPIRED);
    fx_drive();
    assert_error(&id, "EXPIRED", "nobody answered in time");
    assert_int_equal(say(&id, "g", "approve", hash, NULL), TL_EEXPIRED);

    id = start(GATE("\"expires_sec\":60,\"on_expire\":\"reject\",\"on_reject\":\"route\"", ""));
    fx.ahead_ms += 60000;
    fx_drive();
    assert_status(&id, "done");
    assert_output(&id, "no", "sum", "6");
    assert_output(&id, "g", "comment", "\"nobody answered in time\"");
}

static void test_expiry_while_down(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("\"expires_sec\":60", ""));
    fx.ahead_ms += DAY_MS;
    restart();
    assert_error(&id, "EXPIRED", "nobody answered in time");
}

static void test_cancel(void **state)
{
    (void)state;
    struct tl_id id = start(GATE("", ""));
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &id, NULL), 0);
    fx_drive();
    assert_status(&id, "cancelled");
    assert_int_equal(say(&id, "g", "approve", hash, NULL), TL_ENOTAPPROVABLE);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_null(waits(record, "g"));
}

/* A gate for each item: as many questions, under the steps' own ids. */
static void test_in_map(void **state)
{
    (void)state;
    struct tl_id id =
        start("{\"nodes\":[{\"id\":\"m\",\"type\":\"map\",\"data\":{\"inputs\":{\"items\":[1,2]},\"ports\":{\"in\":[{"
              "\"name\":\"item\",\"type\":\"number\"}],\"out\":[{\"name\":\"y\",\"type\":\"number\"}]},"
              "\"graph\":{\"nodes\":[{\"id\":\"i\",\"type\":\"graph.input\"},{\"id\":\"ask\",\"type\":\"gate\"},{"
              "\"id\":\"o\",\"type\":\"graph.output\"}],\"edges\":["
              "{\"source\":\"i\",\"sourceHandle\":\"item\",\"target\":\"ask\",\"targetHandle\":\"value\"},{\"source\":"
              "\"ask\",\"sourceHandle\":\"value\",\"target\":\"o\",\"targetHandle\":\"y\"}]}}}],\"edges\":[]}");
    TL_AUTO_FREE char *one = hash_of(&id, "m#0/ask"), *two = hash_of(&id, "m#1/ask");
    assert_string_not_equal(one, two);
    assert_int_equal(say(&id, "m#1/ask", "approve", one, NULL), TL_ECONFLICT);
    assert_int_equal(say(&id, "m#1/ask", "approve", two, NULL), 0);
    assert_status(&id, "running");
    restart();
    assert_int_equal(say(&id, "m#0/ask", "approve", one, NULL), 0);
    assert_status(&id, "done");
    assert_output(&id, "m", "y", "[1,2]");
}

static void test_large_value(void **state)
{
    struct tl_str graph = {0};
    (void)state;
    tl_str_puts(&graph, "{\"nodes\":[{\"id\":\"g\",\"type\":\"gate\",\"data\":{\"inputs\":{\"value\":\"");
    for (int i = 0; i < 10000; i++)
        tl_str_puts(&graph, "0123456789");
    tl_str_puts(&graph, "\"}}}],\"edges\":[]}");
    struct tl_id id = start(graph.data);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    const json_t *shown = json_object_get(waits(record, "g"), "shown");
    assert_null(json_object_get(shown, "value"));
    assert_int_equal(tl_json_int(shown, "value_bytes", 0), 100002);
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    assert_int_equal(say(&id, "g", "approve", hash, NULL), 0);
    assert_status(&id, "done");
    tl_str_clear(&graph);
}

static void test_not_in_a_capsule(void **state)
{
    struct tl_graph_env env = fx_env;
    struct tl_plan *plan;
    struct tl_diag diag = {0};
    TL_AUTO_JSON json_t *graph = fx_json(GATE("", ""));
    (void)state;
    env.allow_private = true;
    assert_int_equal(tl_plan_json(graph, &env, NULL, 0, &plan, &diag), TL_EINVAL);
    assert_string_equal(diag.items[0].message,
                        "a gate has no place inside a capsule, where nobody could see what it asks");
    tl_diag_clear(&diag);
}

/* ---- what became of it is not known ---- */

#define SEND                                                                                                           \
    "{\"nodes\":[{\"id\":\"s\",\"type\":\"send\"},{\"id\":\"t\",\"type\":\"add\"}],\"edges\":[{\"source\":\"s\","      \
    "\"sourceHandle\":\"value\",\"target\":\"t\",\"targetHandle\":\"a\"}]}"

static void test_unknown(void **state)
{
    (void)state;
    fx.lost = 1;
    struct tl_id id = start(SEND);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    const json_t *w = waits(record, "s");
    assert_non_null(w);
    assert_string_equal(tl_json_str(w, "kind"), "outcome_unknown");
    TL_AUTO_FREE char *hash = hash_of(&id, "s");
    TL_AUTO_JSON json_t *outputs = fx_json("{\"value\":5}"), *bad = fx_json("{\"value\":\"x\"}");
    struct tl_answer a = {.decision = "done", .hash = hash, .who = "kim", .outputs = bad};
    assert_int_equal(say(&id, "s", "approve", hash, NULL), TL_EINVAL);
    assert_int_equal(answer("studio", &id, "s", &a), TL_EINVAL);
    a.outputs = outputs;
    assert_int_equal(answer("studio", &id, "s", &a), 0);
    assert_status(&id, "done");
    assert_output(&id, "t", "sum", "5");
    assert_int_equal(fx.calls, 2); /* send once, add once */
}

static void test_unknown_retry(void **state)
{
    (void)state;
    fx.lost = 1;
    struct tl_id id = start(SEND);
    TL_AUTO_FREE char *hash = hash_of(&id, "s");
    restart();
    TL_AUTO_FREE char *again = hash_of(&id, "s");
    assert_string_equal(hash, again);
    int calls = fx.calls;
    assert_int_equal(say(&id, "s", "retry", hash, NULL), 0);
    assert_status(&id, "done");
    assert_output(&id, "t", "sum", "1");
    assert_int_equal(fx.calls, calls + 2);

    fx.lost = 1;
    id = start(SEND);
    TL_AUTO_FREE char *last = hash_of(&id, "s");
    assert_int_equal(say(&id, "s", "fail", last, "it never arrived"), 0);
    assert_error(&id, "OUTCOME_UNKNOWN", "it never arrived");
}

/* ---- with the rest of the executor ---- */

/* A timeout of the node's own ends the attempt; the next one asks the same, and expires when the first was to. */
static void test_timeout_asks_again(void **state)
{
    (void)state;
    struct tl_id id = start(GATE(
        "\"expires_sec\":600",
        ",\"policy\":{\"timeout_sec\":10,\"retry\":{\"max_attempts\":2,\"on\":[\"TIMEOUT\"],\"backoff_ms\":[10]}}"));
    TL_AUTO_JSON json_t *before = fx_record(&id);
    assert_non_null(waits(before, "g"));
    fx.ahead_ms += 10000;
    fx_drive();
    fx.ahead_ms += 1000;
    fx_drive();
    TL_AUTO_JSON json_t *after = fx_record(&id);
    assert_true(json_equal(waits(before, "g"), waits(after, "g")));
    assert_int_equal(say(&id, "g", "approve", tl_json_str(waits(after, "g"), "hash"), NULL), 0);
    assert_status(&id, "done");
}

/* A step whose time is over waits no more, though its run goes on. */
static void test_timeout_closes(void **state)
{
    (void)state;
    struct tl_id id = start("{\"nodes\":[{\"id\":\"g\",\"type\":\"gate\",\"data\":{\"inputs\":{\"value\":1},\"policy\":"
                            "{\"timeout_sec\":10,\"on_error\":\"continue\"}}},"
                            "{\"id\":\"h\",\"type\":\"gate\",\"data\":{\"inputs\":{\"value\":1}}}],\"edges\":[]}");
    TL_AUTO_FREE char *hash = hash_of(&id, "g");
    fx.ahead_ms += 10000;
    fx_drive();
    assert_int_equal(say(&id, "g", "approve", hash, NULL), TL_ENOTAPPROVABLE);
    assert_status(&id, "running");
    assert_int_equal(say(&id, "h", "approve", hash, NULL), 0);
    assert_status(&id, "done");
}

static void memory_notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)run;
    (void)seq;
    *(int *)arg += ended;
}

/* Without a store nothing is kept, but what waits is answered. */
static void test_in_memory(void **state)
{
    int ended = 0;
    struct tl_exec *exec;
    struct tl_exec_conf conf = {.manual = true, .notify = memory_notify, .arg = &ended};
    TL_AUTO_JSON json_t *graph = fx_json(GATE("", ""));
    struct tl_plan *plan = fx_plan(graph);
    struct tl_id id;
    (void)state;
    assert_int_equal(tl_exec_new(&conf, &exec), 0);
    struct tl_run_req req = {.org = "studio", .sub = "kim", .kind = "canvas", .doc = graph, .plan = plan};
    assert_int_equal(tl_run_start_wait(exec, &req, &id), 0);
    while (tl_exec_step(exec))
        ;
    assert_int_equal(ended, 0);
    /* BLAKE2b-256 of {"prompt":"","value":7} */
    struct tl_answer a = {.decision = "approve", .hash = "no", .who = "kim"};
    assert_int_equal(tl_run_answer(exec, "studio", &id, "g", &a, NULL, NULL), TL_ECONFLICT);
    uint8_t raw[TL_BLAKE2B_LEN];
    char hash[2 * TL_BLAKE2B_LEN + 1];
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, "{\"prompt\":\"\",\"value\":7}", 23);
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), hash);
    a.hash = hash;
    assert_int_equal(tl_run_answer(exec, "studio", &id, "n", &a, NULL, NULL), TL_ENOTAPPROVABLE);
    assert_int_equal(tl_run_answer(exec, "studio", &id, "g", &a, NULL, NULL), 0);
    while (tl_exec_step(exec))
        ;
    assert_int_equal(ended, 1);
    tl_exec_free(exec);
    tl_plan_unref(plan);
}

static void *cancel_it(void *id)
{
    tl_run_cancel(fx.exec, "studio", id, NULL);
    return NULL;
}

/* Approved and cancelled at once, with threads: the run ends once, and what was said of the answer stays true. */
static void test_approve_and_cancel(void **state)
{
    int outcomes[2] = {0};
    (void)state;
    fx_crash();
    fx.manual = false;
    fx_restart();
    for (int i = 0; i < 20; i++) {
        struct tl_id id = fx_start(GATE("", ""));
        TL_AUTO_FREE char *hash = NULL;
        while (!hash) {
            pthread_mutex_lock(&fx.lock);
            uint64_t seen = fx.published;
            pthread_mutex_unlock(&fx.lock);
            TL_AUTO_JSON json_t *record = fx_record(&id);
            const json_t *w = waits(record, "g");
            hash = w ? tl_strdup(tl_json_str(w, "hash")) : NULL;
            pthread_mutex_lock(&fx.lock);
            while (!hash && fx.published == seen)
                pthread_cond_wait(&fx.cond, &fx.lock);
            pthread_mutex_unlock(&fx.lock);
        }
        pthread_t canceller;
        struct reply r = {0};
        if (i % 3 == 0)
            assert_int_equal(pthread_create(&canceller, NULL, cancel_it, &id), 0);
        struct tl_answer a = {.decision = "approve", .hash = hash, .who = "kim"};
        int err = tl_run_answer(fx.exec, "studio", &id, "g", &a, replied, &r);
        if (i % 3 == 1)
            assert_int_equal(pthread_create(&canceller, NULL, cancel_it, &id), 0);
        pthread_mutex_lock(&fx.lock);
        while (!err && !r.over)
            pthread_cond_wait(&fx.cond, &fx.lock);
        pthread_mutex_unlock(&fx.lock);
        err = err ? err : r.err;
        if (i % 3 == 2)
            assert_int_equal(pthread_create(&canceller, NULL, cancel_it, &id), 0);
        pthread_join(canceller, NULL);
        fx_wait_ended(i + 1);
        assert_true(err == 0 || err == TL_ENOTAPPROVABLE);
        TL_AUTO_JSON json_t *record = fx_record(&id);
        const char *status = tl_json_str(record, "status");
        assert_true(strcmp(status, "cancelled") == 0 || (err == 0 && strcmp(status, "done") == 0));
        outcomes[strcmp(status, "done") == 0]++;
        r = (struct reply){0};
        int again = tl_run_answer(fx.exec, "studio", &id, "g", &a, replied, &r);
        pthread_mutex_lock(&fx.lock);
        while (!again && !r.over)
            pthread_cond_wait(&fx.cond, &fx.lock);
        pthread_mutex_unlock(&fx.lock);
        assert_int_equal(again ? again : r.err, err);
    }
    print_message("%d cancelled, %d done\n", outcomes[0], outcomes[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(approve),        T(refused),           T(reject),
        T(form),           T(restart),           T(answer_before_resume),
        T(expiry),         T(expiry_while_down), T(cancel),
        T(in_map),         T(large_value),       T(not_in_a_capsule),
        T(unknown),        T(unknown_retry),     T(timeout_asks_again),
        T(timeout_closes), T(in_memory),         T(approve_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/capsules/sealed.h"

#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define EDGE(s, sh, t, th)                                                                                             \
    "{\"source\":\"" s "\",\"sourceHandle\":\"" sh "\",\"target\":\"" t "\",\"targetHandle\":\"" th "\"}"
#define ENDS "{\"id\":\"CANARY-in\",\"type\":\"graph.input\"},{\"id\":\"CANARY-out\",\"type\":\"graph.output\"}"

/* Hands back what the inside was given. */
static void seal_echo(const char *owner)
{
    sx_seal(
        owner,
        SX_SPEC("test.echo", ",\"contextMode\":\"sequential\",\"maxUpstream\":2", "\"text\":{\"type\":\"string\"}",
                "\"text\":{\"type\":\"string\"},\"context\":{\"type\":\"json\"},\"level\":{\"type\":\"number\"},"
                "\"patterns\":{\"type\":\"string\"}",
                "\"level\":{\"type\":\"number\",\"min\":0,\"max\":1,\"step\":0.1,\"default\":0.5,\"visibility\":"
                "\"public\"},"
                "\"deep\":{\"type\":\"boolean\",\"default\":false,\"visibility\":\"admin\"}"),
        "{\"nodes\":[" ENDS ",{\"id\":\"CANARY-e\",\"type\":\"test.echo\"},"
        "{\"id\":\"CANARY-c\",\"type\":\"test.const\",\"data\":{\"params\":{\"value\":[\"db:patterns:p1\",\"CANARY-"
        "evidence\"]}}}],\"edges\":[" EDGE("CANARY-in", "text", "CANARY-e", "value") "," EDGE(
            "CANARY-e", "value", "CANARY-out",
            "text") "," EDGE("CANARY-in", "upstream_context", "CANARY-out",
                             "context") "," EDGE("CANARY-in", "param.level", "CANARY-out",
                                                 "level") "," EDGE("CANARY-in", "pattern_version", "CANARY-out",
                                                                   "patterns") "," EDGE("CANARY-c", "value",
                                                                                        "CANARY-out",
                                                                                        "evidence_refs") "," EDGE("CANA"
                                                                                                                  "RY-"
                                                                                                                  "c",
                                                                                                                  "valu"
                                                                                                                  "e",
                                                                                                                  "CANA"
                                                                                                                  "RY-"
                                                                                                                  "out",
                                                                                                                  "CANA"
                                                                                                                  "RY_"
                                                                                                                  "unde"
                                                                                                                  "clar"
                                                                                                                  "ed") "]}");
}

#define CALL(more) "{\"capsule_id\":\"test.echo\",\"capsule_version\":\"1.0.0\"" more "}"

static void no_canary(const json_t *j)
{
    TL_AUTO_FREE char *text = tl_json_text(j);
    if (strstr(text, "CANARY"))
        fail_msg("private bytes came out: %s", text);
}

static void a_call_gives_summary_evidence_usage_and_version(void **state)
{
    (void)state;
    seal_echo("talos");
    TL_AUTO_JSON json_t *r = sx_call(
        "acme", CALL(",\"inputs\":{\"text\":\"rain\"},\"params\":{\"level\":0.3},\"upstream_context\":{\"a\":1}"),
        NULL);
    assert_string_equal(tl_json_str(r, "status"), "done");
    const json_t *result = json_object_get(r, "result"), *summary = json_object_get(result, "summary");
    assert_string_equal(tl_json_str(summary, "text"), "rain");
    assert_true(tl_json_num(summary, "level", 0) == 0.3);
    assert_string_equal(tl_json_str(summary, "patterns"), "v1");
    assert_string_equal(tl_json_str(summary, "pattern_version"), "v1");
    assert_int_equal(tl_json_int(json_object_get(summary, "context"), "a", 0), 1);
    assert_int_equal(json_array_size(json_object_get(summary, "output_warnings")), 1);
    assert_int_equal(json_array_size(json_object_get(summary, "evidence_warnings")), 1);
    TL_AUTO_FREE char *refs = tl_json_text(json_object_get(result, "evidence_refs"));
    assert_string_equal(refs, "[\"db:patterns:p1\",\"sheet:CREBIT_DERIVED_INSIGHTS:1\"]");
    assert_string_equal(tl_json_str(result, "version"), "1.0.0");
    assert_int_equal(tl_json_int(json_object_get(result, "token_usage"), "total", -1), 0);
    assert_true(tl_json_int(result, "latency_ms", -1) >= 0);
    assert_true(json_is_number(json_object_get(result, "cost_usd_est")));
    no_canary(r);
    TL_AUTO_JSON json_t *row = NULL;
    assert_int_equal(tl_sheet_row(keys_db, "acme", TL_SHEET_DERIVED, 1, &row), 0);
    assert_string_equal(tl_json_str(row, "state"), "derived");
    assert_string_equal(tl_json_str(row, "capsule_id"), "test.echo");
    assert_string_equal(tl_json_str(json_object_get(row, "summary"), "text"), "rain");
    no_canary(row);
}

static void the_same_result_is_one_row(void **state)
{
    (void)state;
    seal_echo("talos");
    TL_AUTO_JSON json_t *a = sx_call("acme", CALL(",\"inputs\":{\"text\":\"rain\"}"), NULL),
                        *b = sx_call("acme", CALL(",\"inputs\":{\"text\":\"rain\"}"), NULL);
    TL_AUTO_JSON json_t *c = sx_call("acme", CALL(",\"inputs\":{\"text\":\"snow\"}"), NULL),
                        *d = sx_call("other", CALL(",\"inputs\":{\"text\":\"rain\"}"), NULL);
    const json_t *ra = json_object_get(json_object_get(a, "result"), "evidence_refs"),
                 *rb = json_object_get(json_object_get(b, "result"), "evidence_refs");
    assert_true(json_equal((json_t *)(uintptr_t)ra, (json_t *)(uintptr_t)rb));
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(json_object_get(c, "result"), "evidence_refs"), 1)),
        "sheet:CREBIT_DERIVED_INSIGHTS:2");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(json_object_get(d, "result"), "evidence_refs"), 1)),
        "sheet:CREBIT_DERIVED_INSIGHTS:1");
    assert_int_equal(sx_rows("acme"), 2);
    assert_int_equal(sx_rows("other"), 1);
}

/* Alike from outside, with another inside: a kept result of one is none of the other. */
static void capsules_do_not_share_results(void **state)
{
    (void)state;
    static const char *const ids[] = {"test.one", "test.two"};
    for (int i = 0; i < 2; i++) {
        char spec[1024], priv[600], call[120];
        snprintf(spec, sizeof(spec), SX_SPEC("%s", "", "", "\"text\":{\"type\":\"string\"}", ""), ids[i]);
        snprintf(
            priv, sizeof(priv),
            "{\"nodes\":[" ENDS
            ",{\"id\":\"c\",\"type\":\"test.const\",\"data\":{\"params\":{\"value\":\"says %s\"}}}],\"edges\":[" EDGE(
                "c", "value", "CANARY-out", "text") "]}",
            ids[i]);
        snprintf(call, sizeof(call), "{\"capsule_id\":\"%s\",\"capsule_version\":\"1.0.0\"}", ids[i]);
        sx_seal("talos", spec, priv);
        TL_AUTO_JSON json_t *r = sx_call("acme", call, NULL);
        char want[40];
        snprintf(want, sizeof(want), "says %s", ids[i]);
        assert_string_equal(tl_json_str(json_object_get(json_object_get(r, "result"), "summary"), "text"), want);
    }
}

static uint8_t seen_keys[64][128];
static size_t seen_lens[64], nseen;
static int see_result(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)arg, (void)value;
    memcpy(seen_keys[nseen], key.data, key.len);
    seen_lens[nseen++] = key.len;
    return 0;
}
static int drop_results(struct tl_txn *txn, void *arg)
{
    (void)arg;
    nseen = 0;
    struct tl_scan all = {.table = TL_TBL_RESULT};
    int err = tl_txn_scan(txn, &all, see_result, NULL);
    for (size_t i = 0; i < nseen && !err; i++)
        err = tl_txn_del(txn, TL_TBL_RESULT, seen_keys[i], seen_lens[i]);
    return err;
}

/* As after a crash between the row's commit and the result's: the node runs again. */
static void a_repeated_run_appends_nothing_twice(void **state)
{
    (void)state;
    seal_echo("talos");
    TL_AUTO_JSON json_t *a = sx_call("acme", CALL(",\"inputs\":{\"text\":\"rain\"}"), NULL);
    assert_int_equal(tl_db_update(keys_db, drop_results, NULL), 0);
    assert_true(nseen > 0);
    TL_AUTO_JSON json_t *b = sx_call("acme", CALL(",\"inputs\":{\"text\":\"rain\"}"), NULL);
    assert_true(json_equal(json_object_get(json_object_get(a, "result"), "evidence_refs"),
                           json_object_get(json_object_get(b, "result"), "evidence_refs")));
    assert_int_equal(sx_rows("acme"), 1);
}

static char kinds[1024];
static int see_kind(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    size_t n = strlen(kinds);
    (void)arg, (void)value;
    snprintf(kinds + n, sizeof(kinds) - n, "%.*s %.*s\n", (int)strlen(key.data), (const char *)key.data,
             (int)(key.len - strlen(key.data) - 1), (const char *)key.data + strlen(key.data) + 1);
    return 0;
}
static int see_history(struct tl_txn *txn, void *arg)
{
    kinds[0] = '\0';
    return tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_HISTORY}, see_kind, arg);
}

/* What nodes took is counted of the capsule, and of nothing inside it. */
static void history_is_of_the_capsule_as_a_whole(void **state)
{
    (void)state;
    seal_echo("talos");
    TL_AUTO_JSON json_t *a = sx_call("acme", CALL(",\"inputs\":{\"text\":\"rain\"}"), NULL);
    assert_int_equal(tl_db_read(keys_db, see_history, NULL), 0);
    assert_string_equal(kinds, "acme test.echo@1.0.0\n");
}

static int problems(const char *org, const char *body_text, bool admin, struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *body = NULL, *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    assert_int_equal(tl_json_parse(body_text, strlen(body_text), &body, NULL), 0);
    int err = tl_cap_call_plan(&sx.services, org, body, NULL, admin, &doc, &meta, &plan, diag);
    tl_plan_unref(plan);
    return err;
}

static void admin_parameters_do_not_exist_for_others(void **state)
{
    (void)state;
    seal_echo("talos");
    struct tl_diag a = {0}, b = {0}, none = {0};
    assert_int_equal(problems("acme", CALL(",\"params\":{\"deep\":true}"), false, &a), TL_EINVAL);
    assert_int_equal(problems("acme", CALL(",\"params\":{\"dee_\":true}"), false, &b), TL_EINVAL);
    assert_string_equal(a.items[0].path, "$.params.deep");
    assert_string_equal(a.items[0].message, "unknown parameter \"deep\"");
    assert_string_equal(b.items[0].message, "unknown parameter \"dee_\"");
    assert_int_equal(problems("acme", CALL(",\"params\":{\"deep\":true}"), true, &none), 0);
    tl_diag_clear(&a);
    tl_diag_clear(&b);
}

static void unknown_and_foreign_capsules_are_the_same(void **state)
{
    (void)state;
    seal_echo("other");
    struct tl_diag a = {0}, b = {0}, c = {0}, none = {0};
    assert_int_equal(problems("acme", CALL(""), false, &a), TL_EINVAL);
    assert_int_equal(problems("acme", "{\"capsule_id\":\"test.nothing\",\"capsule_version\":\"1.0.0\"}", false, &b),
                     TL_EINVAL);
    assert_int_equal(problems("acme", "{\"capsule_id\":\"test.echo\",\"capsule_version\":\"9.0.0\"}", false, &c),
                     TL_EINVAL);
    assert_string_equal(a.items[0].message, b.items[0].message);
    assert_string_equal(a.items[0].path, b.items[0].path);
    assert_string_equal(a.items[0].path, "$.capsule_id");
    assert_string_equal(a.items[0].message, c.items[0].message);
    assert_int_equal(problems("other", CALL(""), false, &none), 0);
    tl_diag_clear(&a);
    tl_diag_clear(&b);
    tl_diag_clear(&c);
}

static void a_damaged_capsule_fails_with_its_one_error(void **state)
{
    (void)state;
    seal_echo("talos");
    sx.made[0].sealed.blob[6000] ^= 1;
    struct tl_diag d = {0};
    assert_int_equal(problems("acme", CALL(""), false, &d), TL_ECAPSULE);
    assert_int_equal(d.count, 0);
}

static void a_pattern_version_must_be_a_snapshot(void **state)
{
    (void)state;
    seal_echo("talos");
    struct tl_diag d = {0};
    assert_int_equal(problems("acme", CALL(",\"pattern_version\":\"v9\""), false, &d), TL_EINVAL);
    assert_string_equal(d.items[0].path, "$.pattern_version");
    tl_diag_clear(&d);
    TL_AUTO_JSON json_t *r = sx_call("acme", CALL(",\"pattern_version\":\"v2\""), NULL);
    assert_string_equal(tl_json_str(json_object_get(json_object_get(r, "result"), "summary"), "patterns"), "v2");
}

/* ---- failures ---- */

static void seal_fail(int code)
{
    char priv[900];
    snprintf(priv, sizeof(priv),
             "{\"nodes\":[" ENDS ",{\"id\":\"CANARY-f\",\"type\":\"test.fail\",\"data\":{\"params\":{\"code\":%d,"
             "\"message\":\"CANARY-message\"}}}],"
             "\"edges\":[" EDGE("CANARY-in", "text", "CANARY-f", "value") "," EDGE("CANARY-f", "value", "CANARY-out",
                                                                                   "text") "]}",
             code);
    char spec[1024];
    snprintf(spec, sizeof(spec),
             SX_SPEC("test.fail%d", "", "\"text\":{\"type\":\"string\"}", "\"text\":{\"type\":\"string\"}", ""), -code);
    sx_seal("talos", spec, priv);
}

static void failures_inside_come_out_as_fixed_sentences(void **state)
{
    (void)state;
    static const struct {
        int inside;
        const char *code;
    } cases[] = {
        {TL_ESCHEMA, "CAPSULE_FAILED"}, {TL_EINTERNAL, "CAPSULE_FAILED"}, {TL_ENOTCONFIGURED, "CAPSULE_FAILED"},
        {TL_ETIMEOUT, "TIMEOUT"},       {TL_ERATE, "RATE_LIMITED"},       {TL_EWORKER, "WORKER_CRASH"}};
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        char body[200];
        seal_fail(cases[i].inside);
        snprintf(body, sizeof(body),
                 "{\"capsule_id\":\"test.fail%d\",\"capsule_version\":\"1.0.0\",\"inputs\":{\"text\":\"x\"}}",
                 -cases[i].inside);
        int before = sx.ended;
        struct tl_id id = sx_start("acme", body, NULL, false);
        sx_wait(&sx.ended, before + 1);
        TL_AUTO_JSON json_t *r = sx_record("acme", &id), *events = sx_events(&id);
        assert_string_equal(tl_json_str(r, "status"), "failed");
        TL_AUTO_FREE char *text = tl_json_text(json_array_get(events, json_array_size(events) - 1));
        if (!strstr(text, cases[i].code))
            fail_msg("%s lacks %s", text, cases[i].code);
        no_canary(r);
        no_canary(events);
    }
    assert_int_equal(sx_rows("acme"), 0);
}

static void seal_hold(void)
{
    sx_seal("talos", SX_SPEC("test.hold", "", "\"text\":{\"type\":\"string\"}", "\"text\":{\"type\":\"string\"}", ""),
            "{\"nodes\":[" ENDS ",{\"id\":\"CANARY-h\",\"type\":\"test.hold\"}],\"edges\":[" EDGE(
                "CANARY-in", "text", "CANARY-h", "value") "," EDGE("CANARY-h", "value", "CANARY-out", "text") "]}");
}

#define HOLD "{\"capsule_id\":\"test.hold\",\"capsule_version\":\"1.0.0\",\"inputs\":{\"text\":\"x\"}}"

static void cancelling_reaches_the_inside(void **state)
{
    (void)state;
    seal_hold();
    struct tl_id id = sx_start("acme", HOLD, NULL, false);
    sx_wait(&sx.held, 1);
    assert_int_equal(tl_run_cancel(sx.exec, "acme", &id, "enough"), 0);
    sx_wait(&sx.ended, 1);
    TL_AUTO_JSON json_t *r = sx_record("acme", &id), *events = sx_events(&id);
    assert_string_equal(tl_json_str(r, "status"), "cancelled");
    no_canary(r);
    no_canary(events);
}

/* The process ends while the capsule works: the next one starts it again and it comes to the same end. */
static void a_run_goes_on_after_a_restart(void **state)
{
    (void)state;
    seal_hold();
    struct tl_id id = sx_start("acme", HOLD, NULL, false);
    sx_wait(&sx.held, 1);
    sx_stop_exec();
    keys_close();
    keys_open();
    sx_start_exec();
    int failed1;
    assert_int_equal(tl_exec_resume(sx.exec, &failed1), 1);
    assert_int_equal(failed1, 0);
    sx_wait(&sx.held, 2);
    pthread_mutex_lock(&sx.lock);
    struct tl_op_ctx *ctx = sx.hold;
    sx.hold = NULL;
    pthread_mutex_unlock(&sx.lock);
    assert_int_equal(tl_op_output(ctx, "value", tl_value_take(TL_T_STRING, json_string("late"))), 0);
    tl_op_done(ctx, 0);
    sx_wait(&sx.ended, 1);
    TL_AUTO_JSON json_t *r = sx_record("acme", &id);
    assert_string_equal(tl_json_str(r, "status"), "done");
    assert_string_equal(tl_json_str(json_object_get(json_object_get(r, "result"), "summary"), "text"), "late");
    assert_int_equal(sx_rows("acme"), 1);
}

static void a_models_usage_is_counted_and_its_answer_not_reused(void **state)
{
    (void)state;
    sx_seal("talos", SX_SPEC("test.model", "", "", "\"text\":{\"type\":\"string\"}", ""),
            "{\"nodes\":[" ENDS
            ",{\"id\":\"m\",\"type\":\"test.model\"}],\"edges\":[" EDGE("m", "value", "CANARY-out", "text") "]}");
    static const char call[] = "{\"capsule_id\":\"test.model\",\"capsule_version\":\"1.0.0\"}";
    TL_AUTO_JSON json_t *a = sx_call("acme", call, NULL), *b = sx_call("acme", call, NULL);
    const json_t *use = json_object_get(json_object_get(a, "result"), "token_usage");
    assert_int_equal(tl_json_int(use, "input", 0), 320);
    assert_int_equal(tl_json_int(use, "output", 0), 180);
    assert_int_equal(tl_json_int(use, "total", 0), 500);
    assert_true(tl_json_num(json_object_get(a, "result"), "cost_usd_est", 0) == 0.08);
    assert_string_equal(tl_json_str(json_object_get(json_object_get(b, "result"), "summary"), "text"), "answer 2");
    assert_int_equal(sx_rows("acme"), 2);
}

/* ---- context, fallbacks, nesting ---- */

static json_t *canvas(void)
{
    return json_loads(
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"pub.text\",\"data\":{\"params\":{\"text\":\"first\"}}},"
        "{\"id\":\"b\",\"type\":\"pub.text\",\"data\":{\"params\":{\"text\":\"second\"}}},{\"id\":\"z\",\"type\":\"pub."
        "text\"},"
        "{\"id\":\"cap\",\"type\":\"capsule\",\"data\":{\"capsuleId\":\"test.echo\",\"capsuleVersion\":\"1.0.0\"}}],"
        "\"edges\":[" EDGE("a", "text", "b", "after") "," EDGE("b", "text", "cap", "text") "]}",
        0, NULL);
}

static void upstream_context_is_every_ancestor_in_order(void **state)
{
    (void)state;
    seal_echo("talos");
    TL_AUTO_JSON json_t *graph = canvas();
    TL_AUTO_JSON json_t *r = sx_call("acme", CALL(",\"canvas_id\":\"c\",\"node_id\":\"cap\""), graph);
    const json_t *context = json_object_get(json_object_get(json_object_get(r, "result"), "summary"), "context"),
                 *seq = json_object_get(context, "sequence");
    assert_string_equal(tl_json_str(context, "mode"), "sequential");
    assert_int_equal(json_array_size(seq), 2);
    assert_string_equal(tl_json_str(json_array_get(seq, 0), "id"), "a");
    assert_string_equal(tl_json_str(json_array_get(seq, 1), "id"), "b");
    assert_string_equal(tl_json_str(json_object_get(json_array_get(seq, 0), "outputs"), "text"), "first");
    assert_string_equal(tl_json_str(json_object_get(json_object_get(r, "result"), "summary"), "text"), "second");
    assert_string_equal(tl_json_str(r, "canvas_id"), "c");
}

static void a_required_input_is_demanded_or_stands_in(void **state)
{
    (void)state;
    sx_seal("talos",
            SX_SPEC("test.need", "",
                    "\"text\":{\"type\":\"string\",\"required\":true},\"n\":{\"type\":\"number\",\"required\":true},"
                    "\"o\":{\"type\":\"string\"}",
                    "\"text\":{\"type\":\"string\"},\"n\":{\"type\":\"number\"},\"o\":{\"type\":\"string\"}", ""),
            "{\"nodes\":[" ENDS "],\"edges\":[" EDGE("CANARY-in", "text", "CANARY-out", "text") "," EDGE(
                "CANARY-in", "n", "CANARY-out", "n") "," EDGE("CANARY-in", "o", "CANARY-out", "o") "]}");
    static const char call[] = "{\"capsule_id\":\"test.need\",\"capsule_version\":\"1.0.0\"}";
    struct tl_diag d = {0};
    assert_int_equal(problems("acme", call, false, &d), TL_EINVAL);
    assert_int_equal(d.count, 2);
    tl_diag_clear(&d);
    sx.services.input_fallbacks = true;
    TL_AUTO_JSON json_t *r = sx_call("acme", call, NULL);
    const json_t *summary = json_object_get(json_object_get(r, "result"), "summary");
    assert_string_equal(tl_json_str(summary, "text"), "");
    assert_true(tl_json_num(summary, "n", 5) == 0);
    assert_null(json_object_get(summary, "o")); /* not required: nothing stands in */
}

static void seal_around(const char *id, const char *inner)
{
    char spec[1024], priv[1024];
    snprintf(spec, sizeof(spec),
             SX_SPEC("%s", "", "\"text\":{\"type\":\"string\"}", "\"text\":{\"type\":\"string\"}", ""), id);
    snprintf(
        priv, sizeof(priv),
        "{\"nodes\":[" ENDS
        ",{\"id\":\"CANARY-k\",\"type\":\"capsule\",\"data\":{\"capsuleId\":\"%s\",\"capsuleVersion\":\"1.0.0\"}}],"
        "\"edges\":[" EDGE("CANARY-in", "text", "CANARY-k", "text") "," EDGE("CANARY-k", "text", "CANARY-out",
                                                                             "text") "]}",
        inner);
    sx_seal("talos", spec, priv);
}

static void a_capsule_inside_a_capsule_leaves_no_row_of_its_own(void **state)
{
    (void)state;
    seal_echo("talos");
    seal_around("test.around", "test.echo");
    int before = sx.ended;
    struct tl_id id = sx_start(
        "acme", "{\"capsule_id\":\"test.around\",\"capsule_version\":\"1.0.0\",\"inputs\":{\"text\":\"deep\"}}", NULL,
        false);
    sx_wait(&sx.ended, before + 1);
    TL_AUTO_JSON json_t *r = sx_record("acme", &id), *events = sx_events(&id);
    assert_string_equal(tl_json_str(json_object_get(json_object_get(r, "result"), "summary"), "text"), "deep");
    assert_int_equal(sx_rows("acme"), 1);
    no_canary(r);
    no_canary(events);
    TL_AUTO_FREE char *text = tl_json_text(events);
    assert_null(strstr(text, "test.echo"));
}

static void a_capsule_that_holds_itself_fails(void **state)
{
    (void)state;
    seal_around("test.self", "test.self");
    TL_AUTO_JSON json_t *r = sx_call(
        "acme", "{\"capsule_id\":\"test.self\",\"capsule_version\":\"1.0.0\",\"inputs\":{\"text\":\"x\"}}", NULL);
    assert_string_equal(tl_json_str(r, "status"), "failed");
    no_canary(r);
}

/* ---- the cache ---- */

static void opened_capsules_are_kept_and_bounded(void **state)
{
    (void)state;
    struct tl_capsule *held[6], *again;
    for (int i = 0; i < 6; i++) {
        char id[40];
        snprintf(id, sizeof(id), "test.c%d", i);
        seal_around(id, "test.c0");
        assert_int_equal(sx_open_capsule(NULL, "acme", id, "1.0.0", &held[i]), 0);
    }
    /* All six are in use: none may go, though four are kept. */
    assert_int_equal(tl_capsules_count(sx.set), 6);
    assert_int_equal(sx.fetched, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(held[i]->spec->version, "1.0.0");
        tl_capsule_unref(held[i]);
    }
    assert_int_equal(sx_open_capsule(NULL, "acme", "test.c5", "1.0.0", &again), 0);
    assert_ptr_equal(again, held[5]);
    assert_int_equal(sx.fetched, 6);
    assert_int_equal(tl_capsules_count(sx.set), 4);
    tl_capsule_unref(again);
    assert_int_equal(sx_open_capsule(NULL, "acme", "test.c0", "1.0.0", &again), 0); /* the oldest went first */
    assert_int_equal(sx.fetched, 7);
    tl_capsule_unref(again);
}

static void a_plan_in_use_keeps_its_capsule(void **state)
{
    (void)state;
    struct tl_capsule *cap;
    struct tl_plan *plan, *same;
    seal_echo("talos");
    assert_int_equal(sx_open_capsule(NULL, "acme", "test.echo", "1.0.0", &cap), 0);
    assert_int_equal(tl_capsule_plan(cap, &sx.services, &plan), 0);
    assert_int_equal(tl_capsule_plan(cap, &sx.services, &same), 0);
    assert_ptr_equal(plan, same);
    tl_plan_unref(same);
    tl_capsule_unref(cap);
    for (int i = 0; i < 6; i++) {
        char id[40];
        snprintf(id, sizeof(id), "test.c%d", i);
        seal_around(id, "test.echo");
        assert_int_equal(sx_open_capsule(NULL, "acme", id, "1.0.0", &cap), 0);
        tl_capsule_unref(cap);
    }
    assert_string_equal(plan->nodes[0].id, "CANARY-in");
    int fetched = sx.fetched;
    assert_int_equal(sx_open_capsule(NULL, "acme", "test.echo", "1.0.0", &cap), 0);
    assert_int_equal(sx.fetched, fetched); /* it was there all the time */
    tl_capsule_unref(cap);
    tl_plan_unref(plan);
}

static void *open_and_plan(void *arg)
{
    for (uintptr_t i = 0; i < 60; i++) {
        struct tl_capsule *cap;
        struct tl_plan *plan;
        char id[40];
        snprintf(id, sizeof(id), "test.c%d", (int)((i * 7 + (uintptr_t)arg * 3) % 8));
        assert_int_equal(sx_open_capsule(NULL, "acme", id, "1.0.0", &cap), 0);
        assert_string_equal(cap->spec->id, id);
        assert_int_equal(tl_capsule_plan(cap, &sx.services, &plan), 0);
        tl_plan_unref(plan);
        tl_capsule_unref(cap);
    }
    return NULL;
}

/* Eight versions, four kept, four threads: whatever goes while another comes, everybody holds what he asked for. */
static void many_threads_open_and_evict(void **state)
{
    (void)state;
    pthread_t t[4];
    for (int i = 0; i < 8; i++) {
        char id[40];
        snprintf(id, sizeof(id), "test.c%d", i);
        seal_around(id, i ? "test.c0" : "test.c1");
    }
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, open_and_plan, (void *)i), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_true(tl_capsules_count(sx.set) <= 8);
}

static void a_private_graph_is_checked_for_its_author(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *spec_json =
        json_loads(SX_SPEC("test.x", "", "", "\"text\":{\"type\":\"string\"}", ""), 0, NULL);
    TL_AUTO_JSON json_t *doc =
        json_loads("{\"nodes\":[" ENDS ",{\"id\":\"q\",\"type\":\"no.such\"}],\"edges\":[]}", 0, NULL);
    struct tl_cap_spec *spec;
    struct tl_diag d = {0};
    assert_int_equal(tl_cap_spec_parse(spec_json, &spec, NULL), 0);
    assert_int_equal(tl_capsule_check(&sx.services, "talos", spec, doc, &d), TL_EINVAL);
    assert_int_equal(d.count, 2); /* the op, and the output that nothing gives */
    tl_diag_clear(&d);
    tl_cap_spec_free(spec);
}

/* ---- sheets ---- */

static _Atomic uint64_t numbered, number_sum;
static void on_row(void *arg, int err, uint64_t number)
{
    (void)arg;
    if (!err) {
        number_sum += number;
        numbered++;
    }
}

static void *append_rows(void *arg)
{
    for (int i = 0; i < 50; i++) {
        uint8_t key[32] = {0};
        memcpy(key, &(uint64_t){(uint64_t)(uintptr_t)arg * 1000 + (uint64_t)i}, 8);
        TL_AUTO_JSON json_t *row = json_pack("{s:i}", "i", i);
        assert_int_equal(tl_sheet_append(keys_db, "acme", "S", key, row, on_row, NULL), 0);
        assert_int_equal(tl_sheet_append(keys_db, "acme", "S", key, row, on_row, NULL), 0); /* the same row again */
    }
    return NULL;
}

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

static void rows_are_numbered_without_gaps_by_many_at_once(void **state)
{
    (void)state;
    pthread_t t[4];
    numbered = number_sum = 0;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, append_rows, (void *)(uintptr_t)(i + 1)), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(tl_db_update(keys_db, nothing, NULL), 0);
    assert_int_equal(numbered, 400);
    assert_int_equal(number_sum, 200 * 201); /* each of 1..200 twice */
    json_t *row = NULL;
    assert_int_equal(tl_sheet_row(keys_db, "acme", "S", 200, &row), 0);
    json_decref(row);
    assert_int_equal(tl_sheet_row(keys_db, "acme", "S", 201, &row), TL_ENOTFOUND);
    assert_int_equal(tl_sheet_row(keys_db, "acm", "S", 1, &row), TL_ENOTFOUND);
}

static void the_process_is_not_dumpable(void **state)
{
    (void)state;
    struct rlimit core;
    assert_int_equal(tl_cap_harden(), 0);
    assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    assert_int_equal(getrlimit(RLIMIT_CORE, &core), 0);
    assert_int_equal(core.rlim_max, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, sx_setup, sx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_call_gives_summary_evidence_usage_and_version),
        T(the_same_result_is_one_row),
        T(capsules_do_not_share_results),
        T(a_repeated_run_appends_nothing_twice),
        T(history_is_of_the_capsule_as_a_whole),
        T(admin_parameters_do_not_exist_for_others),
        T(unknown_and_foreign_capsules_are_the_same),
        T(a_damaged_capsule_fails_with_its_one_error),
        T(a_pattern_version_must_be_a_snapshot),
        T(failures_inside_come_out_as_fixed_sentences),
        T(cancelling_reaches_the_inside),
        T(a_run_goes_on_after_a_restart),
        T(a_models_usage_is_counted_and_its_answer_not_reused),
        T(upstream_context_is_every_ancestor_in_order),
        T(a_required_input_is_demanded_or_stands_in),
        T(a_capsule_inside_a_capsule_leaves_no_row_of_its_own),
        T(a_capsule_that_holds_itself_fails),
        T(opened_capsules_are_kept_and_bounded),
        T(a_plan_in_use_keeps_its_capsule),
        T(many_threads_open_and_evict),
        T(a_private_graph_is_checked_for_its_author),
        T(rows_are_numbered_without_gaps_by_many_at_once),
        T(the_process_is_not_dumpable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/capsules/sealed.h"

#define EDGE(s, sh, t, th)                                                                                             \
    "{\"source\":\"" s "\",\"sourceHandle\":\"" sh "\",\"target\":\"" t "\",\"targetHandle\":\"" th "\"}"

static void seal_plain(void)
{
    sx_seal("talos",
            SX_SPEC("test.plain", "", "\"text\":{\"type\":\"string\"},\"n\":{\"type\":\"number\"}",
                    "\"text\":{\"type\":\"string\"},\"mode\":{\"type\":\"string\"}",
                    "\"style_intensity\":{\"type\":\"number\",\"min\":0.4,\"max\":1.0,\"step\":0.05,\"default\":0.7,"
                    "\"visibility\":\"public\"},"
                    "\"mode\":{\"type\":\"enum\",\"options\":[\"slow\",\"fast\"],\"default\":\"slow\",\"visibility\":"
                    "\"public\"}"),
            "{\"nodes\":[{\"id\":\"i\",\"type\":\"graph.input\"},{\"id\":\"o\",\"type\":\"graph.output\"}],\"edges\":"
            "[" EDGE("i", "text", "o", "text") "," EDGE("i", "param.mode", "o", "mode") "]}");
}

static int setup(void **state)
{
    if (sx_setup(state))
        return -1;
    seal_plain();
    return 0;
}

static int call_as(const char *body_text, json_t *canvas, bool admin, struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *body = NULL, *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    assert_int_equal(tl_json_parse(body_text, strlen(body_text), &body, NULL), 0);
    int err = tl_cap_call_plan(&sx.services, "acme", body, canvas, admin, &doc, &meta, &plan, diag);
    if (err)
        assert_true(!doc && !meta && !plan);
    else
        assert_true(doc && meta && plan);
    tl_plan_unref(plan);
    return err;
}

static const char *message_at(const struct tl_diag *d, const char *path)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->items[i].path && strcmp(d->items[i].path, path) == 0)
            return d->items[i].message;
    return NULL;
}

#define HEAD "{\"capsule_id\":\"test.plain\",\"capsule_version\":\"1.0.0\""

static void all_that_is_wrong_with_a_body_is_told_at_once(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    assert_int_equal(
        call_as(
            HEAD
            ",\"org_id\":\"x\",\"owner\":1,\"async_mode\":\"yes\",\"canvas_id\":4,\"params\":{\"style_intensity\":1.2,"
            "\"mode\":\"mid\","
            "\"nothing\":1},\"inputs\":{\"text\":5,\"unknown\":1},\"pattern_version\":\"v9\",\"upstream_context\":[]}",
            NULL, false, &d),
        TL_EINVAL);
    static const char *const paths[] = {"$.org_id",  "$.owner",           "$.async_mode",      "$.canvas_id",
                                        "$.node_id", "$.pattern_version", "$.upstream_context"};
    for (size_t i = 0; i < TL_ARRAY_LEN(paths); i++)
        if (!message_at(&d, paths[i]))
            fail_msg("%s is not told", paths[i]);
    tl_diag_clear(&d);
    /* Parameters and inputs are judged when the capsule is known, body or not. */
    assert_int_equal(call_as(HEAD ",\"org_id\":\"x\",\"params\":{\"style_intensity\":1.2,\"mode\":\"mid\",\"nothing\":"
                                  "1},\"inputs\":{\"text\":5,\"unknown\":1}}",
                             NULL, false, &d),
                     TL_EINVAL);
    static const char *const more[] = {"$.org_id",      "$.params.style_intensity", "$.params.mode", "$.params.nothing",
                                       "$.inputs.text", "$.inputs.unknown"};
    for (size_t i = 0; i < TL_ARRAY_LEN(more); i++)
        if (!message_at(&d, more[i]))
            fail_msg("%s is not told", more[i]);
    assert_int_equal(d.count, 6);
    for (size_t i = 0; i < d.count; i++)
        assert_null(d.items[i].node);
    tl_diag_clear(&d);
}

static void an_unknown_capsule_and_an_unknown_version_are_named_apart(void **state)
{
    (void)state;
    static const struct {
        const char *id, *version, *path;
    } cases[] = {
        {"test.plain", "1.0.1", "$.capsule_version"}, {"test.plain", "x", "$.capsule_version"},
        {"test.nobody", "1.0.0", "$.capsule_id"},     {"test.foreign", "1.0.0", "$.capsule_id"},
        {"test.foreign", "9.9.9", "$.capsule_id"},
    };
    sx_seal("other",
            SX_SPEC("test.foreign", "", "\"text\":{\"type\":\"string\"}", "\"text\":{\"type\":\"string\"}", ""),
            "{\"nodes\":[{\"id\":\"i\",\"type\":\"graph.input\"},{\"id\":\"o\",\"type\":\"graph.output\"}],\"edges\":"
            "[" EDGE("i", "text", "o", "text") "]}");
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        struct tl_diag d = {0};
        char body[120];
        snprintf(body, sizeof(body), "{\"capsule_id\":\"%s\",\"capsule_version\":\"%s\"}", cases[i].id,
                 cases[i].version);
        assert_int_equal(call_as(body, NULL, false, &d), TL_EINVAL);
        assert_int_equal(d.count, 1);
        assert_string_equal(d.items[0].path, cases[i].path);
        assert_null(strstr(d.items[0].message, "capsuleVersion"));
        tl_diag_clear(&d);
    }
}

static void a_parameter_off_its_step_is_refused(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    assert_int_equal(call_as(HEAD ",\"params\":{\"style_intensity\":0.72}}", NULL, false, &d), TL_EINVAL);
    assert_non_null(strstr(message_at(&d, "$.params.style_intensity"), "steps of 0.05"));
    tl_diag_clear(&d);
    for (int k = 0; k <= 12; k++) {
        char body[120];
        snprintf(body, sizeof(body), HEAD ",\"params\":{\"style_intensity\":%.2f}}", 0.4 + 0.05 * k);
        assert_int_equal(call_as(body, NULL, false, &d), 0);
    }
}

static void bodies_of_any_shape_are_survived(void **state)
{
    (void)state;
    static const char *const bodies[] = {"[]",
                                         "null",
                                         "5",
                                         "{}",
                                         "{\"capsule_id\":5}",
                                         "{\"capsule_id\":\"\",\"capsule_version\":\"\"}",
                                         HEAD ",\"params\":[]}",
                                         HEAD ",\"inputs\":null}",
                                         HEAD ",\"params\":{\"mode\":null}}",
                                         "{\"capsule_version\":\"1.0.0\"}",
                                         "{\"capsule_id\":\"test.plain\",\"capsule_version\":1}"};
    for (size_t i = 0; i < TL_ARRAY_LEN(bodies); i++) {
        struct tl_diag d = {0};
        assert_int_equal(call_as(bodies[i], NULL, false, &d), TL_EINVAL);
        assert_true(d.count > 0);
        tl_diag_clear(&d);
    }
}

static void upstream_context_is_bounded(void **state)
{
    (void)state;
    struct tl_str s = {0};
    struct tl_diag d = {0};
    tl_str_puts(&s, HEAD ",\"upstream_context\":{\"a\":\"");
    for (int i = 0; i < 256 * 1024; i++)
        tl_str_puts(&s, "x");
    tl_str_puts(&s, "\"}}");
    assert_int_equal(call_as(s.data, NULL, false, &d), TL_EINVAL);
    assert_non_null(strstr(message_at(&d, "$.upstream_context"), "256 KiB"));
    tl_str_clear(&s);
    tl_diag_clear(&d);
    for (int deep = 15; deep <= 17; deep++) {
        tl_str_puts(&s, HEAD ",\"upstream_context\":{\"a\":");
        for (int i = 1; i < deep; i++)
            tl_str_puts(&s, "[");
        for (int i = 1; i < deep; i++)
            tl_str_puts(&s, "]");
        tl_str_puts(&s, "}}");
        assert_int_equal(call_as(s.data, NULL, false, &d), deep <= 16 ? 0 : TL_EINVAL);
        tl_str_clear(&s);
    }
    tl_diag_clear(&d);
}

static json_t *canvas(const char *data)
{
    json_t *j = json_pack("{s:[{s:s,s:s,s:{s:{s:s}}},{s:s,s:s},{s:s,s:s,s:o}],s:[{s:s,s:s,s:s,s:s}]}", "nodes", "id",
                          "a", "type", "pub.text", "data", "params", "text", "from the edge", "id", "bad", "type",
                          "no.such.op", "id", "cap", "type", "capsule", "data", json_loads(data, 0, NULL), "edges",
                          "source", "a", "sourceHandle", "text", "target", "cap", "targetHandle", "text");
    assert_non_null(j);
    return j;
}

#define DATA "{\"capsuleId\":\"test.plain\",\"capsuleVersion\":\"1.0.0\",\"params\":{\"mode\":\"fast\"}"
#define AT(node) ",\"canvas_id\":\"c\",\"node_id\":\"" node "\""

static const char *summary_text(const json_t *record, const char *key)
{
    return tl_json_str(json_object_get(json_object_get(record, "result"), "summary"), key);
}

static void a_call_in_a_canvas_runs_what_its_node_needs(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *g = canvas(DATA "}");
    TL_AUTO_JSON json_t *before = json_deep_copy(g);
    /* The canvas's own parameters hold where the request is silent; a node of an unknown type beside the way does not
     * matter. */
    TL_AUTO_JSON json_t *r = sx_call("acme", HEAD AT("cap") "}", g);
    assert_string_equal(summary_text(r, "text"), "from the edge");
    assert_string_equal(summary_text(r, "mode"), "fast");
    /* Inputs that are sent win over edges, parameters over the canvas's. */
    TL_AUTO_JSON json_t *s = sx_call("acme", HEAD AT("cap") ",\"inputs\":{\"text\":\"sent\"},\"params\":{}}", g);
    assert_string_equal(summary_text(s, "text"), "sent");
    assert_string_equal(summary_text(s, "mode"), "slow");
    assert_true(json_equal(g, before));
}

static void a_node_that_is_not_there_is_not_found(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *g = canvas(DATA "}");
    struct tl_diag d = {0};
    assert_int_equal(call_as(HEAD AT("nobody") "}", g, false, &d), TL_ENOTFOUND);
    assert_int_equal(call_as(HEAD AT("a") "}", g, false, &d), TL_EINVAL);
    assert_non_null(message_at(&d, "$.node_id"));
    tl_diag_clear(&d);
}

static void a_locked_node_refuses_other_parameters_and_versions(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *g = canvas(DATA ",\"locked\":true}");
    struct tl_diag d = {0};
    assert_int_equal(call_as(HEAD AT("cap") ",\"params\":{\"mode\":\"slow\"}}", g, false, &d), TL_EINVAL);
    assert_non_null(strstr(message_at(&d, "$.params"), "locked"));
    tl_diag_clear(&d);
    assert_int_equal(
        call_as("{\"capsule_id\":\"test.plain\",\"capsule_version\":\"1.0.1\"" AT("cap") "}", g, false, &d), TL_EINVAL);
    assert_non_null(message_at(&d, "$.capsule_version"));
    tl_diag_clear(&d);
    assert_int_equal(
        call_as(HEAD AT("cap") ",\"params\":{\"mode\":\"fast\"},\"inputs\":{\"text\":\"x\"}}", g, false, &d), 0);
}

static void problems_elsewhere_in_the_canvas_keep_their_node(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *g = canvas(DATA "}");
    json_object_set_new(
        json_object_get(json_object_get(json_array_get(json_object_get(g, "nodes"), 0), "data"), "params"), "text",
        json_integer(5));
    struct tl_diag d = {0};
    assert_int_equal(call_as(HEAD AT("cap") ",\"params\":{\"mode\":1}}", g, false, &d), TL_EINVAL);
    assert_int_equal(d.count, 2);
    assert_string_equal(d.items[0].node, "a");
    assert_string_equal(d.items[0].path, "$.nodes[0].data.params.text");
    assert_string_equal(d.items[1].path, "$.params.mode");
    tl_diag_clear(&d);
}

static void the_plain_check_of_a_body_gives_document_and_meta(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *body = json_loads(HEAD ",\"pattern_version\":\"v1\",\"async_mode\":true}", 0, NULL),
                        *doc = NULL, *meta = NULL;
    struct tl_diag d = {0};
    assert_int_equal(tl_cap_call_doc(body, NULL, true, &doc, &meta, &d), 0);
    TL_AUTO_FREE char *text = tl_json_canonical(meta);
    assert_string_equal(text,
                        "{\"capsule_id\":\"test.plain\",\"capsule_version\":\"1.0.0\",\"pattern_version\":\"v1\"}");
    assert_true(json_is_true(json_object_get(doc, "admin")));
    struct tl_plan *plan;
    assert_int_equal(tl_cap_replan(&sx.services, "acme", TL_KIND_CAPSULE, doc, &plan, &d), 0);
    tl_plan_unref(plan);
    assert_int_equal(tl_cap_replan(&sx.services, "acme", "other", doc, &plan, &d), TL_EINVAL);
    tl_diag_clear(&d);
    json_t *none_doc, *none_meta;
    json_object_set_new(body, "x", json_true());
    assert_int_equal(tl_cap_call_doc(body, NULL, true, &none_doc, &none_meta, &d), TL_EINVAL);
    assert_true(!none_doc && !none_meta);
    tl_diag_clear(&d);
}

static void a_canvas_run_ends_with_the_outputs_of_its_nodes(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *g = canvas(DATA "}"), *targets = json_pack("[s]", "cap"), *wrong = json_pack("[i]", 1);
    TL_AUTO_JSON json_t *doc = tl_cap_canvas_doc(g, targets, false), *bad = tl_cap_canvas_doc(g, wrong, false);
    struct tl_plan *plan;
    struct tl_diag d = {0};
    struct tl_id id;
    assert_int_equal(tl_cap_replan(&sx.services, "acme", TL_KIND_CANVAS, bad, &plan, &d), TL_EINVAL);
    assert_non_null(message_at(&d, "$.targets"));
    tl_diag_clear(&d);
    assert_int_equal(tl_cap_replan(&sx.services, "acme", TL_KIND_CANVAS, doc, &plan, &d), 0);
    struct tl_run_req req = {.org = "acme", .sub = "t", .kind = TL_KIND_CANVAS, .doc = doc, .plan = plan};
    assert_int_equal(tl_run_start_wait(sx.exec, &req, &id), 0);
    tl_plan_unref(plan);
    sx_wait(&sx.ended, 1);
    TL_AUTO_JSON json_t *r = sx_record("acme", &id);
    const json_t *result = json_object_get(r, "result"), *outputs = json_object_get(result, "outputs");
    assert_int_equal(json_object_size(outputs), 2);
    assert_string_equal(tl_json_str(json_object_get(outputs, "a"), "text"), "from the edge");
    assert_string_equal(tl_json_str(json_object_get(outputs, "cap"), "text"), "from the edge");
    assert_non_null(json_object_get(json_object_get(outputs, "cap"), "evidence_refs"));
    assert_non_null(json_object_get(result, "token_usage"));
    TL_AUTO_FREE char *text = tl_json_text(g);
    assert_int_equal(tl_cap_check_canvas(&sx.services, "acme", text, strlen(text), false, &d), TL_EINVAL);
    assert_string_equal(d.items[0].node, "bad");
    tl_diag_clear(&d);
}

static void cache_keys_differ_by_organisation(void **state)
{
    (void)state;
    uint8_t a[32], b[32], again[32];
    assert_int_equal(tl_cap_cache_key(&sx.services, "acme", a), 0);
    assert_int_equal(tl_cap_cache_key(&sx.services, "other", b), 0);
    assert_int_equal(tl_cap_cache_key(&sx.services, "acme", again), 0);
    assert_memory_not_equal(a, b, 32);
    assert_memory_equal(a, again, 32);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, sx_teardown)

static int start_named(const char *text, bool hand_in, struct tl_id *ret)
{
    uint8_t hash[TL_TEXT_HASH];
    struct tl_plan *plan;
    tl_text_hash(text, strlen(text), hash);
    TL_AUTO_JSON json_t *doc = tl_cap_named_doc(hash, NULL, false), *meta = json_object();
    assert_int_equal(tl_cap_plan_named(&sx.services, "acme", doc, text, strlen(text), &plan, NULL), 0);
    struct tl_run_req req = {.org = "acme",
                             .sub = "tester",
                             .kind = TL_KIND_CANVAS,
                             .doc = doc,
                             .plan = plan,
                             .meta = meta,
                             .graph = hand_in ? text : NULL,
                             .graph_len = strlen(text)};
    int before = sx.ended, err = tl_run_start_wait(sx.exec, &req, ret);
    tl_plan_unref(plan);
    if (!err)
        sx_wait(&sx.ended, before + 1);
    return err;
}

/* The store has a run's graph once, and the run does not begin without it. */
static void a_run_names_its_graph(void **state)
{
    (void)state;
    static const char graph[] = "{\"nodes\":[{\"id\":\"a\",\"type\":\"pub.text\"}],\"edges\":[]}";
    struct tl_id first, second, none;
    struct tl_db_stat st;
    assert_int_equal(start_named(graph, false, &none), TL_ECONFLICT);
    TL_AUTO_JSON json_t *record = NULL;
    assert_int_equal(tl_run_get(keys_db, "acme", &none, &record), TL_ENOTFOUND);
    assert_int_equal(start_named(graph, true, &first), 0);
    assert_int_equal(start_named(graph, false, &second), 0);
    assert_int_equal(tl_db_stat(keys_db, &st), 0);
    assert_int_equal(st.entries[TL_TBL_DOC], 1);
    assert_int_equal(st.entries[TL_TBL_DOC_REF], 2);
    TL_AUTO_JSON json_t *ended = sx_record("acme", &second);
    assert_string_equal(tl_json_str(ended, "status"), "done");
    TL_AUTO_JSON json_t *doc = NULL;
    struct tl_plan *plan;
    uint8_t hash[TL_TEXT_HASH];
    tl_text_hash(graph, strlen(graph), hash);
    assert_non_null(doc = tl_cap_named_doc(hash, NULL, false));
    assert_int_equal(tl_cap_replan(&sx.services, "acme", TL_KIND_CANVAS, doc, &plan, NULL), 0); /* from the store */
    assert_int_equal(plan->nnodes, 1);
    tl_plan_unref(plan);
    assert_int_equal(tl_cap_replan(&sx.services, "other", TL_KIND_CANVAS, doc, &plan, NULL), TL_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_that_is_wrong_with_a_body_is_told_at_once),
        T(an_unknown_capsule_and_an_unknown_version_are_named_apart),
        T(a_parameter_off_its_step_is_refused),
        T(bodies_of_any_shape_are_survived),
        T(upstream_context_is_bounded),
        T(a_call_in_a_canvas_runs_what_its_node_needs),
        T(a_node_that_is_not_there_is_not_found),
        T(a_locked_node_refuses_other_parameters_and_versions),
        T(problems_elsewhere_in_the_canvas_keep_their_node),
        T(the_plain_check_of_a_body_gives_document_and_meta),
        T(a_canvas_run_ends_with_the_outputs_of_its_nodes),
        T(cache_keys_differ_by_organisation),
        T(a_run_names_its_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

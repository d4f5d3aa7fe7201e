#include "capsules/spec.h"

#include "base/err.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The example of capsule-node-spec.md §10.4, with the contracts that its interface demands. */
static const char bong[] =
    "{\"id\":\"auteur.bong-joon-ho\",\"version\":\"1.0.0\",\"displayName\":\"Bong Joon-ho Style "
    "Capsule\",\"description\":\"d\","
    "\"inputContracts\":{\"required\":[\"emotion_curve\"],\"optional\":[\"scene_summary\"],\"maxUpstream\":4,"
    "\"allowedTypes\":[\"float[]\",\"string\",\"number\"],\"contextMode\":\"sequential\"},"
    "\"outputContracts\":{\"types\":[\"float[]\",\"palette\"]},"
    "\"inputs\":{\"emotion_curve\":{\"type\":\"float[]\"},\"scene_summary\":{\"type\":\"string\"},\"duration_sec\":{"
    "\"type\":\"number\",\"required\":true}},"
    "\"outputs\":{\"style_vector\":{\"type\":\"float[]\"},\"palette\":{\"type\":\"string[]\"},\"hints\":{\"type\":"
    "\"string[]\"}},"
    "\"patternVersion\":\"v1\",\"clusterRef\":\"cluster-7\",\"temporalPhase\":\"CLIMAX\","
    "\"exposedParams\":{\"style_intensity\":{\"type\":\"number\",\"min\":0.4,\"max\":1.0,\"step\":0.05,\"default\":0.7,"
    "\"visibility\":\"public\"},"
    "\"pacing\":{\"type\":\"enum\",\"options\":[\"slow\",\"medium\",\"fast\"],\"default\":\"medium\",\"visibility\":"
    "\"public\"},"
    "\"strict\":{\"type\":\"boolean\",\"default\":true,\"visibility\":\"admin\"},"
    "\"note\":{\"type\":\"string\",\"max\":40,\"visibility\":\"public\"}},"
    "\"policy\":{\"evidence\":\"summary_only\",\"allowRawLogs\":false},"
    "\"adapter\":{\"type\":\"hybrid\",\"internalGraphRef\":\"private-dag://auteur/bong/v1\"}}";

static json_t *read_json(const char *text)
{
    json_t *j = NULL;
    struct tl_diag d = {0};
    if (tl_json_parse(text, strlen(text), &j, &d))
        fail_msg("%s", d.items[0].message);
    return j;
}

static void a_complete_spec_becomes_ports_and_parameters(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *j = read_json(bong);
    struct tl_cap_spec *s;
    struct tl_diag d = {0};
    int err = tl_cap_spec_parse(j, &s, &d);
    if (err)
        fail_msg("%s %s", d.items[0].path, d.items[0].message);
    assert_string_equal(s->id, "auteur.bong-joon-ho");
    assert_int_equal(s->ninputs, 3);
    assert_int_equal(s->noutputs, 3);
    assert_int_equal(s->nparams, 4);
    assert_int_equal(s->inputs[0].type, TL_T_FLOATS);
    assert_int_equal(s->inputs[0].flags, TL_PORT_REQUIRED);
    assert_int_equal(s->inputs[1].flags, 0);
    assert_int_equal(s->inputs[2].flags, TL_PORT_REQUIRED);
    assert_null(s->inputs[3].name);
    assert_int_equal(s->outputs[1].flags, TL_PORT_OUT);
    assert_true(s->admitted[0] && s->admitted[1] && !s->admitted[2]);
    assert_int_equal(s->params[0].type, TL_P_NUMBER);
    assert_true(s->params[0].min == 0.4 && s->params[0].max == 1.0 && s->params[0].step == 0.05);
    assert_string_equal(s->params[1].options[2], "fast");
    assert_null(s->params[1].options[3]);
    assert_string_equal(s->params[1].default_json, "\"medium\"");
    assert_int_equal(s->params[2].flags, TL_PARAM_ADMIN);
    assert_int_equal(s->params[3].flags, TL_PARAM_REQUIRED);
    assert_true(s->params[3].max == 40);
    assert_true(s->sequential && !s->raw_logs);
    assert_int_equal(s->max_upstream, 4);
    assert_int_equal(s->evidence, TL_CAP_SUMMARY_ONLY);
    assert_int_equal(s->adapter, TL_CAP_HYBRID);
    assert_string_equal(s->pattern_version, "v1");
    tl_cap_spec_free(s);
}

static void the_public_view_has_no_adapter_and_hides_admin_parameters(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *j = read_json(bong);
    TL_AUTO_JSON json_t *plain = tl_cap_spec_public(j, false), *admin = tl_cap_spec_public(j, true);
    TL_AUTO_FREE char *text = tl_json_text(plain), *admin_text = tl_json_text(admin);
    assert_null(strstr(text, "adapter"));
    assert_null(strstr(text, "private-dag"));
    assert_null(strstr(text, "strict"));
    assert_non_null(strstr(text, "style_intensity"));
    assert_non_null(strstr(text, "clusterRef"));
    assert_null(strstr(admin_text, "private-dag"));
    assert_non_null(strstr(admin_text, "strict"));
    assert_non_null(json_object_get(j, "adapter")); /* the original is as it was */
    assert_int_equal(json_object_size(json_object_get(j, "exposedParams")), 4);
}

/* Each row: a path in the spec, what is put there (NULL: taken away), and the path of the problem. */
static const struct {
    const char *at, *value, *problem;
} wrong[] = {
    {"id", "\"Auteur Bong\"", "$.id"},
    {"id", "\"\"", "$.id"},
    {"id", "5", "$.id"},
    {"id", NULL, "$.id"},
    {"version", "\"1.0\"", "$.version"},
    {"version", "\"01.0.0\"", "$.version"},
    {"version", "\"1.0.0+build\"", "$.version"},
    {"displayName", NULL, "$.displayName"},
    {"description", "7", "$.description"},
    {"temporalPhase", "\"MIDDLE\"", "$.temporalPhase"},
    {"owner", "\"acme\"", "$.owner"},
    {"org_id", "\"acme\"", "$.org_id"},
    {"inputContracts", NULL, "$.inputContracts"},
    {"inputContracts.required", NULL, "$.inputContracts.required"},
    {"inputContracts.required", "[\"nothing\"]", "$.inputContracts.required[0]"},
    {"inputContracts.required", "[4]", "$.inputContracts.required[0]"},
    {"inputContracts.optional", "[\"duration_sec\"]", "$.inputContracts.optional[0]"},
    {"inputContracts.maxUpstream", "0", "$.inputContracts.maxUpstream"},
    {"inputContracts.maxUpstream", "1.5", "$.inputContracts.maxUpstream"},
    {"inputContracts.allowedTypes", "[\"float[]\",\"string\"]", "$.inputs.duration_sec.type"},
    {"inputContracts.allowedTypes", "[\"tensor\"]", "$.inputContracts.allowedTypes[0]"},
    {"inputContracts.contextMode", "\"all\"", "$.inputContracts.contextMode"},
    {"inputContracts.extra", "1", "$.inputContracts.extra"},
    {"outputContracts", NULL, "$.outputContracts"},
    {"outputContracts.types", "[\"sound\"]", "$.outputContracts.types[0]"},
    {"inputs", NULL, "$.inputs"},
    {"inputs.emotion_curve.type", "\"float\"", "$.inputs.emotion_curve.type"},
    {"inputs.emotion_curve.required", "1", "$.inputs.emotion_curve.required"},
    {"inputs.upstream_context", "{\"type\":\"string\"}", "$.inputs.upstream_context"},
    {"outputs", "{}", "$.outputs"},
    {"outputs.summary", "{\"type\":\"json\"}", "$.outputs.summary"},
    {"outputs.evidence_refs", "{\"type\":\"string[]\"}", "$.outputs.evidence_refs"},
    {"outputs.output_warnings", "{\"type\":\"json\"}", "$.outputs.output_warnings"},
    {"outputs.palette.private", "true", "$.outputs.palette.private"},
    {"exposedParams", NULL, "$.exposedParams"},
    {"exposedParams.pacing.default", "\"rapid\"", "$.exposedParams.pacing"},
    {"exposedParams.pacing.options", "[]", "$.exposedParams.pacing.options"},
    {"exposedParams.pacing.options", "[\"slow\",\"slow\"]", "$.exposedParams.pacing.options"},
    {"exposedParams.pacing.min", "1", "$.exposedParams.pacing.min"},
    {"exposedParams.pacing.visibility", "\"hidden\"", "$.exposedParams.pacing.visibility"},
    {"exposedParams.pacing.visibility", NULL, "$.exposedParams.pacing.visibility"},
    {"exposedParams.style_intensity.default", "0.73", "$.exposedParams.style_intensity"},
    {"exposedParams.style_intensity.default", "0.3", "$.exposedParams.style_intensity"},
    {"exposedParams.style_intensity.default", "\"0.7\"", "$.exposedParams.style_intensity"},
    {"exposedParams.style_intensity.min", "2", "$.exposedParams.style_intensity.max"},
    {"exposedParams.style_intensity.min", NULL, "$.exposedParams.style_intensity.min"},
    {"exposedParams.style_intensity.step", "0", "$.exposedParams.style_intensity.step"},
    {"exposedParams.style_intensity.type", "\"slider\"", "$.exposedParams.style_intensity.type"},
    {"exposedParams.strict.default", NULL, "$.exposedParams.strict.default"},
    {"exposedParams.note.max", NULL, "$.exposedParams.note.max"},
    {"exposedParams.note.max", "100000", "$.exposedParams.note.max"},
    {"policy", NULL, "$.policy"},
    {"policy.evidence", "\"everything\"", "$.policy.evidence"},
    {"policy.allowRawLogs", NULL, "$.policy.allowRawLogs"},
    {"adapter", NULL, "$.adapter"},
    {"adapter.type", "\"shell\"", "$.adapter.type"},
    {"adapter.internalGraphRef", "\"http://x\"", "$.adapter.internalGraphRef"},
    {"adapter.internalGraphRef", NULL, "$.adapter.internalGraphRef"},
};

static void change(json_t *j, const char *path, const char *value)
{
    char copy[128], *next;
    snprintf(copy, sizeof(copy), "%s", path);
    char *part = copy;
    while ((next = strchr(part, '.'))) {
        *next = '\0';
        j = json_object_get(j, part);
        part = next + 1;
    }
    if (value)
        json_object_set_new(j, part, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(j, part);
}

static bool has_path(const struct tl_diag *d, const char *path)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->items[i].path && strcmp(d->items[i].path, path) == 0)
            return true;
    return false;
}

static void each_mistake_is_named_by_its_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        TL_AUTO_JSON json_t *j = read_json(bong);
        struct tl_cap_spec *s;
        struct tl_diag d = {0};
        change(j, wrong[i].at, wrong[i].value);
        int err = tl_cap_spec_parse(j, &s, &d);
        if (err != TL_EINVAL || !has_path(&d, wrong[i].problem))
            fail_msg("%s = %s: error %d, first problem %s", wrong[i].at, wrong[i].value ? wrong[i].value : "(absent)",
                     err, d.count ? d.items[0].path : "none");
        assert_null(s);
        tl_diag_clear(&d);
    }
}

static void all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *j = read_json(bong);
    static const size_t some[] = {0, 4, 9, 10, 22, 24, 26, 40, 45, 50, 53, 55};
    struct tl_cap_spec *s;
    struct tl_diag d = {0};
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        change(j, wrong[some[i]].at, wrong[some[i]].value);
    assert_int_equal(tl_cap_spec_parse(j, &s, &d), TL_EINVAL);
    assert_true(d.count >= 10);
    tl_diag_clear(&d);
    TL_AUTO_JSON json_t *list = json_array();
    assert_int_equal(tl_cap_spec_parse(list, &s, &d), TL_EINVAL);
    assert_int_equal(d.count, 1);
    tl_diag_clear(&d);
    assert_int_equal(tl_cap_spec_parse(list, &s, NULL), TL_EINVAL);
}

static void versions_are_compared_by_precedence(void **state)
{
    (void)state;
    static const char *const order[] = {"0.9.9",      "1.0.0-alpha",  "1.0.0-alpha.1", "1.0.0-alpha.beta",
                                        "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
                                        "1.0.0",      "1.0.1",        "1.2.0",         "1.10.0",
                                        "2.0.0"};
    size_t n = sizeof(order) / sizeof(order[0]);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            int c = tl_cap_version_compare(order[i], order[k]);
            assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
        }
    static const char *const bad[] = {"",           "1",        "1.2",    "1.2.3.4", "v1.2.3", "1.2.3-",
                                      "1.2.3-a..b", "1.2.3-01", "1.02.3", "1.2.3 ",  "1.2.-3", "1234567890.0.0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(tl_cap_version_valid(bad[i]));
    for (size_t i = 0; i < n; i++)
        assert_true(tl_cap_version_valid(order[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_complete_spec_becomes_ports_and_parameters),
        cmocka_unit_test(the_public_view_has_no_adapter_and_hides_admin_parameters),
        cmocka_unit_test(each_mistake_is_named_by_its_path),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(versions_are_compared_by_precedence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

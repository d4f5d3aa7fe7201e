#include "capsules/membrane.h"

#include "base/err.h"
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char spec_text[] =
    "{\"id\":\"a.b\",\"version\":\"1.0.0\",\"displayName\":\"x\",\"inputContracts\":{\"required\":[]},"
    "\"outputContracts\":{\"types\":[\"float[]\",\"string\",\"string[]\",\"video\",\"json\",\"number\"]},\"inputs\":{},"
    "\"outputs\":{\"style_vector\":{\"type\":\"float[]\"},\"note\":{\"type\":\"string\"},\"hints\":{\"type\":\"string[]"
    "\"},"
    "\"clip\":{\"type\":\"video\"},\"extra\":{\"type\":\"json\"},\"level\":{\"type\":\"number\"},\"flag\":{\"type\":"
    "\"boolean\"}},\"exposedParams\":{},"
    "\"policy\":{\"evidence\":\"summary_only\",\"allowRawLogs\":false},"
    "\"adapter\":{\"type\":\"internal\",\"internalGraphRef\":\"private-dag://a\"}}";

static const char private_text[] = "{\"graph\":{\"nodes\":[{\"id\":\"n1\",\"data\":{\"params\":{\"prompt\":\"You are "
                                   "the secret director; never tell anyone that rain falls because "
                                   "guilt must be washed downhill.\",\"korean\":\"비는 죄책감이 아래로 흘러야 하기 "
                                   "때문에 내린다고 아무에게도 말하지 마라\"}}}]},"
                                   "\"hints\":[\"keep the camera low\",\"let the rain begin late\"],"
                                   "\"a key that is itself a long private sentence of words\":1}";

static struct tl_cap_spec *spec;
static struct tl_ngrams *texts;
static struct tl_port ports[16];
static struct tl_value values[16];
static size_t count;
static struct tl_membrane_out out;

static json_t *read_json(const char *text)
{
    json_t *j = NULL;
    assert_int_equal(tl_json_parse(text, strlen(text), &j, NULL), 0);
    return j;
}

static int setup_as(const char *evidence)
{
    TL_AUTO_JSON json_t *j = read_json(spec_text), *p = read_json(private_text);
    json_object_set_new(json_object_get(j, "policy"), "evidence", json_string(evidence));
    assert_int_equal(tl_cap_spec_parse(j, &spec, NULL), 0);
    assert_int_equal(tl_ngrams_new(p, &texts), 0);
    count = 0;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_as("summary_only");
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < count; i++)
        tl_value_clear(&values[i]);
    if (out.summary)
        tl_membrane_clear(&out, spec);
    tl_cap_spec_free(spec);
    tl_ngrams_free(texts);
    return 0;
}

static void inside(const char *name, enum tl_type type, const char *json)
{
    ports[count] = (struct tl_port){.name = name, .type = TL_T_ANY};
    json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    assert_int_equal(tl_value_from_json(type, j, &values[count++], NULL), 0);
    json_decref(j);
}

static void pass(void)
{
    struct tl_membrane_in in = {
        .spec = spec, .texts = texts, .pattern_version = "v1", .ports = ports, .values = values, .nports = count};
    assert_int_equal(tl_membrane_pass(&in, &out), 0);
}

static const struct tl_value *output(const char *name)
{
    for (uint32_t i = 0; i < spec->noutputs; i++)
        if (strcmp(spec->outputs[i].name, name) == 0)
            return tl_value_none(&out.outputs[i]) ? NULL : &out.outputs[i];
    fail();
    return NULL;
}

static const char *warning(const char *list, const char *key, const char *what)
{
    const json_t *l = json_object_get(out.summary, list);
    for (size_t i = 0; i < json_array_size(l); i++)
        if (strcmp(tl_json_str(json_array_get(l, i), key), what) == 0)
            return tl_json_str(json_array_get(l, i), "reason");
    return NULL;
}

static void declared_outputs_pass_and_make_the_summary(void **state)
{
    (void)state;
    inside("style_vector", TL_T_FLOATS, "[0.5,0.25]");
    inside("note", TL_T_STRING, "\"short\"");
    inside("hints", TL_T_STRINGS, "[\"keep the camera low\",\"let the rain begin late\"]");
    inside("extra", TL_T_JSON, "{\"a\":1}");
    inside("level", TL_T_NUMBER, "2.5");
    inside("clip", TL_T_VIDEO,
           "{\"kind\":\"video\",\"sha256\":\"" SHA
           "\",\"content_type\":\"video/mp4\",\"bytes\":5,\"name\":\"secret-grade.mp4\",\"x\":1}");
    pass();
    TL_AUTO_FREE char *text = tl_json_canonical(out.summary);
    assert_string_equal(
        text,
        "{\"clip\":{\"bytes\":5,\"content_type\":\"video/mp4\",\"kind\":\"video\",\"name\":\"clip\",\"sha256\":\"" SHA
        "\"},"
        "\"extra\":{\"a\":1},\"hints\":[\"keep the camera low\",\"let the rain begin "
        "late\"],\"level\":2.5,\"note\":\"short\","
        "\"output_warnings\":[{\"output\":\"flag\",\"reason\":\"was not produced\"}],\"pattern_version\":\"v1\","
        "\"style_vector\":[0.5,0.25]}");
    assert_int_equal(output("style_vector")->type, TL_T_FLOATS);
    assert_int_equal(output("clip")->type, TL_T_VIDEO);
    assert_null(strstr(text, "secret-grade"));
}

static void what_comes_out_shares_nothing_with_the_inside(void **state)
{
    (void)state;
    inside("extra", TL_T_JSON, "{\"list\":[\"a\"]}");
    pass();
    const json_t *in_list = json_object_get(values[0].json, "list"),
                 *out_list = json_object_get(output("extra")->json, "list");
    assert_ptr_not_equal(values[0].json, output("extra")->json);
    assert_ptr_not_equal(in_list, out_list);
    assert_ptr_not_equal(json_array_get(in_list, 0), json_array_get(out_list, 0));
}

static void mismatches_are_withheld_and_named(void **state)
{
    (void)state;
    inside("style_vector", TL_T_STRING, "\"CANARY-1\"");
    inside("note", TL_T_JSON, "{\"CANARY-2\":1}");
    inside("hints", TL_T_FLOATS, "[1]");
    inside("clip", TL_T_IMAGE,
           "{\"kind\":\"image\",\"sha256\":\"" SHA
           "\",\"content_type\":\"image/png\",\"bytes\":5,\"name\":\"CANARY-3\"}");
    inside("extra", TL_T_VIDEO,
           "{\"kind\":\"video\",\"sha256\":\"" SHA "\",\"content_type\":\"v\",\"bytes\":5,\"name\":\"CANARY-4\"}");
    inside("flag", TL_T_BOOLEAN, "true");
    inside("CANARY-5", TL_T_STRING, "\"CANARY-6\"");
    pass();
    static const char *const names[] = {"style_vector", "note", "hints", "clip", "extra"};
    for (size_t i = 0; i < 5; i++) {
        assert_null(output(names[i]));
        assert_string_equal(warning("output_warnings", "output", names[i]), "is not of the declared type");
    }
    assert_null(output("flag"));
    assert_string_equal(warning("output_warnings", "output", "flag"), "is not admitted by outputContracts");
    assert_non_null(warning("output_warnings", "output", "*"));
    TL_AUTO_FREE char *text = tl_json_text(out.summary);
    assert_null(strstr(text, "CANARY"));
}

static void numbers_must_be_finite(void **state)
{
    (void)state;
    ports[count].name = "level";
    values[count++] = tl_value_number((double)NAN);
    pass();
    assert_null(output("level"));
    assert_string_equal(warning("output_warnings", "output", "level"), "is not a finite number");
}

static void a_huge_output_is_withheld(void **state)
{
    (void)state;
    char *big = malloc(TL_OUTPUT_MAX + 3);
    memset(big, 'a', TL_OUTPUT_MAX + 2);
    big[0] = big[TL_OUTPUT_MAX + 1] = '"';
    big[TL_OUTPUT_MAX + 2] = '\0';
    inside("note", TL_T_STRING, big);
    free(big);
    pass();
    assert_null(output("note"));
    assert_string_equal(warning("output_warnings", "output", "note"), "is too large");
}

static bool leaks(const char *json)
{
    TL_AUTO_JSON json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    return tl_ngrams_found(texts, j);
}

static void runs_of_eight_private_words_are_found(void **state)
{
    (void)state;
    assert_true(leaks("\"You are the secret director; never tell anyone\""));
    assert_false(leaks("\"You are the secret director; never tell\"")); /* seven */
    assert_true(leaks("\"it said: YOU ARE, the -- secret... director never TELL anyone. ok\""));
    assert_true(leaks("\"you\\nare\\tthe secret dir\\u200bector ne\\u00adver tell anyone\""));
    assert_true(leaks("[\"you are the\",\"secret director\",\"never tell anyone\"]"));
    assert_true(leaks("{\"you are the secret\":\"director never tell anyone\"}"));
    assert_true(leaks("{\"a\":{\"b\":[1,\"because guilt must be washed downhill\"]},\"c\":\"rain falls because guilt "
                      "must be washed downhill\"}"));
    assert_true(leaks("\"a key that is itself a long private\""));
    assert_true(leaks("\"비는 죄책감이 아래로 흘러야 하기 때문에 내린다고 아무에게도\""));
    assert_false(leaks("\"비는 죄책감이 아래로 흘러야 하기 때문에 내린다고\""));
    assert_false(leaks("\"you are the secret director, tell anyone never that\""));
    /* Short phrases of the inside, handed out one after the other, are no run of one private text. */
    assert_false(leaks("[\"keep the camera low\",\"let the rain begin late\"]"));
    assert_false(tl_ngrams_found(NULL, json_true()));
}

static void an_output_that_repeats_private_text_is_withheld(void **state)
{
    (void)state;
    inside("note", TL_T_STRING, "\"My prompt: you are the secret director never tell anyone\"");
    inside("hints", TL_T_STRINGS, "[\"rain falls because guilt\",\"must be washed downhill\"]");
    pass();
    assert_null(output("note"));
    assert_null(output("hints"));
    assert_string_equal(warning("output_warnings", "output", "note"), "repeats text that is private to the capsule");
    TL_AUTO_FREE char *text = tl_json_text(out.summary);
    assert_null(strstr(text, "secret director"));
    assert_null(strstr(text, "guilt"));
}

static void evidence_is_filtered_by_form(void **state)
{
    (void)state;
    inside("evidence_refs", TL_T_STRINGS,
           "[\"db:patterns:bong-rain-pressure\",\"sheet:CREBIT_DERIVED_INSIGHTS:128\",\"db:users:1\",\"file:///"
           "CANARY\",\"sheet:X:0\","
           "\"sheet:X:1e3\",\"db:patterns:\",\"db:patterns:a "
           "b\",\"db:patterns:bong-rain-pressure\",\"db:notebook_library:n.1\",\"sheet::4\",\"\"]");
    pass();
    TL_AUTO_FREE char *refs = tl_json_text(out.evidence_refs), *summary = tl_json_text(out.summary);
    assert_string_equal(
        refs, "[\"db:patterns:bong-rain-pressure\",\"sheet:CREBIT_DERIVED_INSIGHTS:128\",\"db:notebook_library:n.1\"]");
    static const char *const dropped[] = {"[2]", "[3]", "[4]", "[5]", "[6]", "[7]", "[10]", "[11]"};
    for (size_t i = 0; i < 8; i++) {
        char item[40];
        snprintf(item, sizeof(item), "evidence_refs%s", dropped[i]);
        assert_non_null(warning("evidence_warnings", "item", item));
    }
    assert_int_equal(json_array_size(json_object_get(out.summary, "evidence_warnings")), 8);
    assert_string_equal(warning("evidence_warnings", "item", "evidence_refs[3]"),
                        "is neither a sheet: nor a db: reference");
    assert_null(strstr(summary, "CANARY"));
}

static void a_synapse_rule_is_cited_by_form(void **state)
{
    inside("synapse_rule_ref", TL_T_STRING, "\"synapse:v1:bong-tension-cuts\"");
    pass();
    assert_string_equal(tl_json_str(out.summary, "synapse_rule_ref"), "synapse:v1:bong-tension-cuts");
    assert_null(json_object_get(out.summary, "evidence_warnings"));
    static const char *const bad[] = {
        "\"CANARY\"", "\"synapse:v1\"", "\"synapse::x\"", "\"synapse:v1:CANARY text\"", "{\"CANARY\":1}", "5"};
    for (size_t i = 0; i < 6; i++) {
        teardown(state);
        setup(state);
        inside("synapse_rule_ref", TL_T_ANY, bad[i]);
        pass();
        assert_null(json_object_get(out.summary, "synapse_rule_ref"));
        assert_non_null(warning("evidence_warnings", "item", "synapse_rule_ref"));
        TL_AUTO_FREE char *text = tl_json_text(out.summary);
        assert_null(strstr(text, "CANARY"));
    }
}

static void all_six_tables_are_allowed_and_no_other(void **state)
{
    (void)state;
    static const char *const good[] = {"db:raw_assets:1", "db:video_segments:a",  "db:evidence_records:x-1",
                                       "db:patterns:p",   "db:pattern_trace:t_1", "db:notebook_library:n"};
    for (size_t i = 0; i < 6; i++)
        assert_true(tl_evidence_ref_valid(good[i]));
    static const char *const bad[] = {"db:patterns2:1",
                                      "db:pattern:1",
                                      "db:runs:1",
                                      "DB:patterns:1",
                                      "sheet:A:18446744073709551616",
                                      "sheet:A B:1",
                                      "sheet:A:01",
                                      "sheet:A:",
                                      "sheet:A",
                                      "sheet",
                                      "db:",
                                      "db:patterns:a:b",
                                      "db:patterns:\n",
                                      "synapse:v1:x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(tl_evidence_ref_valid(bad[i]));
}

static void evidence_is_bounded(void **state)
{
    (void)state;
    json_t *refs = json_array();
    for (int i = 0; i < 500; i++)
        json_array_append_new(refs, json_sprintf(i % 2 ? "db:patterns:%d" : "bad %d", i));
    ports[count].name = "evidence_refs";
    values[count++] = tl_value_take(TL_T_STRINGS, refs);
    pass();
    assert_true(json_array_size(out.evidence_refs) +
                    json_array_size(json_object_get(out.summary, "evidence_warnings")) <=
                TL_EVIDENCE_MAX + 1);
}

static void references_only_leaves_the_values_out_of_the_summary(void **state)
{
    teardown(state);
    setup_as("references_only");
    inside("style_vector", TL_T_FLOATS, "[0.5]");
    inside("evidence_refs", TL_T_STRINGS, "[\"db:patterns:p\"]");
    pass();
    assert_null(json_object_get(out.summary, "style_vector"));
    assert_string_equal(tl_json_str(out.summary, "pattern_version"), "v1");
    assert_int_equal(json_array_size(out.evidence_refs), 1);
    assert_non_null(output("style_vector"));
}

static void errors_are_reduced_to_a_few_fixed_sentences(void **state)
{
    (void)state;
    const char *a, *b;
    static const int kept[] = {TL_ETIMEOUT, TL_ERATE, TL_EWORKER, TL_ECANCELLED};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(tl_membrane_error(kept[i], &a), kept[i]);
    static const int inside_only[] = {TL_EINVAL,  TL_ESCHEMA,        TL_EMEDIA,   TL_ENOTFOUND, TL_EINTERNAL,
                                      TL_EPOLICY, TL_ENOTCONFIGURED, TL_ECAPSULE, -12345};
    assert_int_equal(tl_membrane_error(TL_ECAPSULE_RUN, &a), TL_ECAPSULE_RUN);
    for (size_t i = 0; i < sizeof(inside_only) / sizeof(inside_only[0]); i++) {
        assert_int_equal(tl_membrane_error(inside_only[i], &b), TL_ECAPSULE_RUN);
        assert_ptr_equal(a, b);
    }
}

static void progress_is_coarse_in_time_and_in_steps(void **state)
{
    (void)state;
    double f;
    const char *m;
    /* 97 private steps in quick succession say nothing; over ten seconds they say the quarters. */
    struct tl_membrane_progress p = {0};
    for (uint32_t i = 1; i <= 97; i++)
        assert_false(tl_membrane_step(&p, i, 97, 1000000 + i * 1000, &f, &m));
    p = (struct tl_membrane_progress){0};
    int told = 0;
    int64_t last = 0;
    for (uint32_t i = 1; i <= 97; i++) {
        int64_t now = 1000000 + i * 100000;
        if (!tl_membrane_step(&p, i, 97, now, &f, &m))
            continue;
        assert_true(told == 0 || now - last >= 500000);
        assert_true(f == 0.25 || f == 0.5 || f == 0.75);
        assert_string_equal(m, "Working");
        last = now;
        told++;
    }
    assert_int_equal(told, 3);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(declared_outputs_pass_and_make_the_summary),
        T(what_comes_out_shares_nothing_with_the_inside),
        T(mismatches_are_withheld_and_named),
        T(numbers_must_be_finite),
        T(a_huge_output_is_withheld),
        T(runs_of_eight_private_words_are_found),
        T(an_output_that_repeats_private_text_is_withheld),
        T(evidence_is_filtered_by_form),
        T(a_synapse_rule_is_cited_by_form),
        T(all_six_tables_are_allowed_and_no_other),
        T(evidence_is_bounded),
        T(references_only_leaves_the_values_out_of_the_summary),
        T(errors_are_reduced_to_a_few_fixed_sentences),
        T(progress_is_coarse_in_time_and_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* JSON: what is refused, the canonical form, the lookups. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT(s) {s, sizeof(s) - 1}

static void accepts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
    } good[] = {
        TEXT("{}"), TEXT("[]"), TEXT(" \t\r\n{\"a\" : [ 1 , -2.5e-3 , true , false , null ] }\n"), TEXT("\"text\""), TEXT("0"), TEXT("-0"),
        TEXT("-0.0"), TEXT("1E+30"), TEXT("\"\\u00e9\\ud83d\\ude00\\/\\b\""), TEXT("\"\xf4\x8f\xbf\xbf\""),
        TEXT("{\"\":1}"), TEXT("9223372036854775807"), TEXT("-9223372036854775808"), TEXT("null"), TEXT("{\"a\":{\"a\":1}}"),
        TEXT("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(good); i++) {
        json_t *j = NULL;
        int err = tl_json_parse(good[i].text, good[i].len, &j, NULL);
        if (err || !j)
            fail_msg("%s is JSON", good[i].text);
        json_decref(j);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {
        TEXT(""), TEXT(" "), TEXT("{"), TEXT("}"), TEXT("[1,]"), TEXT("{\"a\":1,}"), TEXT("[1 2]"), TEXT("{\"a\" 1}"), TEXT("{a:1}"),
        TEXT("{'a':1}"), TEXT("{} {}"), TEXT("{}x"), TEXT("// c\n{}"), TEXT("/* c */ {}"), TEXT("nul"), TEXT("True"), TEXT("NaN"),
        TEXT("Infinity"), TEXT("-Infinity"), TEXT("+1"), TEXT("01"), TEXT("-01"), TEXT("1."), TEXT(".5"), TEXT("1e"), TEXT("0x10"), TEXT("--1"),
        TEXT("1e400"), TEXT("-1e400"), TEXT("9223372036854775808"), TEXT("123456789012345678901234567890"), TEXT("\"a"), TEXT("\"\n\""),
        TEXT("\"\t\""), TEXT("\"\x01\""), TEXT("\"\\x\""), TEXT("\"\\u12\""), TEXT("\"\\ud800\""), TEXT("\"\\udc00\""), TEXT("\"\\ud800\\u0041\""),
        TEXT("\"\\u0000\""), TEXT("\"\0\""), TEXT("{}\0"), TEXT("{\"a\0\":1}"), TEXT("{\"a\\u0000\":1}"), TEXT("\xef\xbb\xbf{}"),
        /* UTF-8: lone continuation, cut short, overlong, surrogate, above the last */
        TEXT("\"\x80\""), TEXT("\"\xc3\""), TEXT("\"\xe2\x82\""), TEXT("\"\xc0\xaf\""), TEXT("\"\xe0\x80\xaf\""), TEXT("\"\xf0\x80\x80\xaf\""),
        TEXT("\"\xed\xa0\x80\""), TEXT("\"\xf4\x90\x80\x80\""), TEXT("\"\xf8\x88\x80\x80\x80\""), TEXT("\"\xff\""), TEXT("{\"\xc3\":1}"),
        /* the same key twice, also spelled otherwise */
        TEXT("{\"a\":1,\"a\":1}"), TEXT("{\"a\":1,\"\\u0061\":2}"), TEXT("[{\"b\":{\"x\":1,\"y\":2,\"x\":3}}]"),
        /* 65 levels */
        TEXT("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++) {
        json_t *j = (json_t *)&bad;
        struct tl_diag diag = {0};
        int err = tl_json_parse(bad[i].text, bad[i].len, &j, &diag);
        if (err != TL_EINVAL || j)
            fail_msg("%zu: %s was taken", i, bad[i].text);
        assert_int_equal(diag.count, 1);
        assert_non_null(diag.items[0].message);
        assert_string_equal(diag.items[0].path, "$");
        json_t *shown = tl_diag_json(&diag); /* what is shown of it is UTF-8 itself */
        char *text = shown ? tl_json_text(shown) : NULL;
        if (!text || !strstr(text, "\"message\":\""))
            fail_msg("%zu: the problem cannot be shown", i);
        free(text);
        json_decref(shown);
        tl_diag_clear(&diag);
    }
}

static void depth_costs_nothing(void **state)
{
    (void)state;
    size_t len = 16 << 20;
    char *text = malloc(len);
    json_t *j;
    memset(text, '[', len);
    assert_int_equal(tl_json_parse(text, len, &j, NULL), TL_EINVAL);
    for (size_t i = 0; i + 5 <= len; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(tl_json_parse(text, len, &j, NULL), TL_EINVAL);
    /* brackets in texts, with escaped quotes, are no depth */
    memset(text, '[', 1000);
    memcpy(text, "[\"\\\"\\\\", 6);
    memcpy(text + 1000, "\"]", 2);
    assert_int_equal(tl_json_parse(text, 1002, &j, NULL), 0);
    json_decref(j);
    free(text);
}

static void says_where(void **state)
{
    (void)state;
    struct tl_diag diag = {0};
    json_t *j;
    static const char text[] = "{\n  \"a\": 1,\n  \"b\": oops\n}";
    assert_int_equal(tl_json_parse(text, sizeof(text) - 1, &j, &diag), TL_EINVAL);
    assert_non_null(strstr(diag.items[0].message, "line 3"));
    assert_null(strstr(diag.items[0].message, "near"));
    tl_diag_clear(&diag);
}

static void canonical_is(const char *text, const char *want)
{
    TL_AUTO_JSON json_t *j = NULL;
    assert_int_equal(tl_json_parse(text, strlen(text), &j, NULL), 0);
    TL_AUTO_FREE char *got = tl_json_canonical(j);
    assert_string_equal(got ? got : "(none)", want);
    /* canonical text is JSON, and its own canonical form */
    TL_AUTO_JSON json_t *again = NULL;
    assert_int_equal(tl_json_parse(got, strlen(got), &again, NULL), 0);
    TL_AUTO_FREE char *twice = tl_json_canonical(again);
    assert_string_equal(twice ? twice : "(none)", want);
}

static void canonical_form(void **state)
{
    (void)state;
    canonical_is(" { \"b\" : 1 , \"a\" : [ true , null , \"x\\u0079\" ] } ", "{\"a\":[true,null,\"xy\"],\"b\":1}");
    canonical_is("{\"\\u00e9\":1,\"z\":2,\"Z\":3,\"\":4}", "{\"\":4,\"Z\":3,\"z\":2,\"\xc3\xa9\":1}"); /* by bytes */
    canonical_is("[1,1.0,1e0,10E-1,0.1e1]", "[1,1,1,1,1]");
    canonical_is("[0,-0,0.0,-0.0]", "[0,0,0,0]");
    canonical_is("[0.1,1e-7,-2.5]", "[0.1,1e-07,-2.5]");
    canonical_is("[9007199254740991,9007199254740991.0,9223372036854775807]", "[9007199254740991,9007199254740991,9223372036854775807]");
    canonical_is("1e300", "1e+300");
    canonical_is("1e20", "1e+20");
    canonical_is("1234567890123456.5", "1234567890123460"); /* 15 digits are integral here, and are written so */
    canonical_is("[1e17,100000000000000000]", "[100000000000000000,100000000000000000]");
    canonical_is("[-9223372036854775808,-9223372036854775808.0]", "[-9223372036854775808,-9223372036854775808]");
    canonical_is("9007199254740993", "9007199254740993"); /* an integer keeps what a double could not */
    canonical_is("\"\\u0001\\\\\\\"/\"", "\"\\u0001\\\\\\\"/\"");
    canonical_is("{\"a\":{},\"b\":[]}", "{\"a\":{},\"b\":[]}");
    assert_null(tl_json_canonical(NULL));
    /* reals made here, not read */
    TL_AUTO_JSON json_t *j = json_pack("[f,f]", 3.0, -0.0);
    TL_AUTO_FREE char *text = tl_json_canonical(j);
    assert_string_equal(text, "[3,0]");
}

static void lookups(void **state)
{
    (void)state;
    static const char text[] = "{\"s\":\"x\",\"i\":7,\"r\":2.5,\"t\":true,\"n\":null,\"v\":[1,2.5,-3],\"w\":[1,\"a\"],\"e\":[]}";
    TL_AUTO_JSON json_t *j = NULL;
    assert_int_equal(tl_json_parse(text, sizeof(text) - 1, &j, NULL), 0);
    assert_string_equal(tl_json_str(j, "s"), "x");
    assert_null(tl_json_str(j, "i"));
    assert_null(tl_json_str(j, "absent"));
    assert_null(tl_json_str(NULL, "s"));
    assert_true(tl_json_num(j, "r", 0) == 2.5 && tl_json_num(j, "i", 0) == 7 && tl_json_num(j, "s", -1) == -1);
    assert_int_equal(tl_json_int(j, "i", 0), 7);
    assert_int_equal(tl_json_int(j, "r", 9), 9);
    assert_true(tl_json_bool(j, "t", false));
    assert_true(tl_json_bool(j, "n", true));
    double *v;
    size_t n;
    assert_int_equal(tl_json_to_floats(json_object_get(j, "v"), &v, &n), 0);
    assert_int_equal(n, 3);
    assert_true(v[0] == 1 && v[1] == 2.5 && v[2] == -3);
    TL_AUTO_JSON json_t *back = tl_json_floats(v, n);
    assert_int_equal(json_array_size(back), 3);
    free(v);
    assert_int_equal(tl_json_to_floats(json_object_get(j, "e"), &v, &n), 0);
    assert_int_equal(n, 0);
    free(v);
    assert_int_equal(tl_json_to_floats(json_object_get(j, "w"), &v, &n), TL_EINVAL);
    assert_null(v);
    assert_int_equal(tl_json_to_floats(json_object_get(j, "s"), &v, &n), TL_EINVAL);
    assert_int_equal(tl_json_to_floats(NULL, &v, &n), TL_EINVAL);
    assert_null(tl_json_floats((double[]){1, NAN}, 2)); /* JSON has no such numbers */
    assert_null(tl_json_floats((double[]){INFINITY}, 1));
}

static void unknown_fields(void **state)
{
    (void)state;
    static const char *const allowed[] = {"a", "b", NULL};
    TL_AUTO_JSON json_t *j = json_pack("{s:i,s:i,s:i}", "a", 1, "x", 2, "y\"", 3);
    struct tl_diag diag = {0};
    tl_json_only_keys(j, allowed, "n1", "$.data", &diag);
    tl_json_only_keys(NULL, allowed, "n1", "$", &diag);
    assert_int_equal(diag.count, 2);
    bool x = strcmp(diag.items[0].path, "$.data.x") == 0;
    assert_string_equal(diag.items[x ? 0 : 1].path, "$.data.x");
    assert_string_equal(diag.items[x ? 1 : 0].path, "$.data.y\"");
    assert_string_equal(diag.items[0].node, "n1");
    tl_diag_clear(&diag);
}

static void from_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/talos-json-XXXXXX";
    json_t *j;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "{\"a\":1}", 7), 7);
    close(fd);
    assert_int_equal(tl_json_load(path, 7, &j, NULL), 0);
    assert_int_equal(tl_json_int(j, "a", 0), 1);
    json_decref(j);
    assert_int_equal(tl_json_load(path, 6, &j, NULL), TL_ETOOBIG);
    assert_null(j);
    assert_int_equal(tl_json_load("/tmp", 1 << 20, &j, NULL), TL_EINVAL);
    assert_int_equal(tl_json_load("/nonexistent/x", 10, &j, NULL), TL_ENOTFOUND);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(tl_json_load(path, 10, &j, NULL), TL_EINVAL);
    unlink(path);
}

/* Numbers are written without the C library's help where they are usual ones: as it would write them. */
static void number_text(void **state)
{
    (void)state;
    static const double edges[] = {1e-4, 9.9999999999999995e-5, 0.1, 0.5, 1, 9.99999999999999, 9.999999999999999, 999999999999999, 999999999999999.5,
                                   1e15, 0.000123456789012345, 0.3, 1e14 + 0.5, 1e14 + 1.5, 123456.0625};
    uint64_t x = 88172645463325252ULL;
    for (int i = 0; i < 200000; i++) {
        char have[32], want[40];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        double v = (size_t)i < TL_ARRAY_LEN(edges) ? edges[i] : ldexp((double)(x >> 11), (int)(x % 70) - 66);
        v = x & 1024 ? -v : v;
        size_t n = tl_json_number(v, have, sizeof(have));
        snprintf(want, sizeof(want), "%.15g", v);
        double whole = v == floor(v) ? v : strtod(want, NULL);
        if (whole == floor(whole))
            snprintf(want, sizeof(want), "%.0f", whole);
        assert_string_equal(have, want);
        assert_int_equal(n, strlen(want));
    }
}

/* What shares its parts counts as it would be written, and is not looked through to the end. */
static void test_within(void **state)
{
    (void)state;
    json_t *j = json_pack("[s]", "0123456789");
    for (int k = 0; k < 40; k++)
        j = json_pack("[O,o]", j, j); /* twice the text each time: 2^40 of them */
    assert_false(tl_json_within(j, 1 << 20, 64));
    assert_false(tl_json_within(j, SIZE_MAX, 40));
    json_decref(j);
    TL_AUTO_JSON json_t *small = json_pack("{s:[i,i],s:s}", "a", 1, 2, "b", "text");
    assert_true(tl_json_within(small, 100, 2));
    assert_false(tl_json_within(small, 100, 1));
    assert_false(tl_json_within(small, 20, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_within), 
        cmocka_unit_test(accepts),        cmocka_unit_test(refuses), cmocka_unit_test(depth_costs_nothing), cmocka_unit_test(says_where),
        cmocka_unit_test(canonical_form), cmocka_unit_test(lookups), cmocka_unit_test(unknown_fields),      cmocka_unit_test(from_a_file),
        cmocka_unit_test(number_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The pull reader: the same verdict as jansson on every text, whether skipped or read; what it reads is what jansson reads. */
#include "base/err.h"
#include "base/jread.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Reads a value the way a caller does: entering, pulling each key, and building what jansson would have built. */
static json_t *build(struct tl_jread *r)
{
    struct tl_jtext t;
    double number;
    bool b;
    json_t *out = NULL;
    switch (tl_jread_kind(r)) {
    case TL_J_OBJECT:
        out = json_object();
        tl_jread_object(r);
        while (tl_jread_key(r, &t))
            json_object_setn_new(out, t.s, t.len, build(r));
        break;
    case TL_J_LIST:
        out = json_array();
        tl_jread_list(r);
        while (tl_jread_item(r))
            json_array_append_new(out, build(r));
        break;
    case TL_J_STRING:
        return tl_jread_string(r, &t) ? json_stringn(t.s, t.len) : json_null();
    case TL_J_NUMBER:
        return tl_jread_number(r, &number) ? json_real(number) : json_null();
    case TL_J_BOOLEAN:
        return tl_jread_boolean(r, &b) ? json_boolean(b) : json_null();
    default:
        tl_jread_skip(r, NULL);
        return json_null();
    }
    return out;
}

/* Numbers compare as doubles, to the last bit. */
static bool same(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *v;
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        return x == y && (json_is_integer(b) || signbit(x) == signbit(y));
    }
    if (json_is_object(a) && json_is_object(b)) {
        json_object_foreach((json_t *)(uintptr_t)a, key, v)
            if (!same(v, json_object_get(b, key)))
                return false;
        return json_object_size(a) == json_object_size(b);
    }
    if (json_is_array(a) && json_is_array(b)) {
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!same(json_array_get(a, i), json_array_get(b, i)))
                return false;
        return json_array_size(a) == json_array_size(b);
    }
    return json_equal(a, b);
}

static void compare(const char *text, size_t len)
{
    /* A copy of the exact size, so that a byte read beyond it is seen. */
    char *copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    /* jansson passes over a NUL behind a number. */
    json_t *want =
        memchr(copy, '\0', len) ? NULL : json_loadb(copy, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    struct tl_arena arena = {0};
    struct tl_jread r;
    struct tl_jtext raw;
    struct tl_diag diag = {0};
    tl_jread_init(&r, copy, len, &arena);
    tl_jread_skip(&r, &raw);
    int err = tl_jread_finish(&r, &diag);
    if (err != (want ? 0 : TL_EINVAL) || diag.count != !want)
        fail_msg("%.*s: %s when skipped", (int)len, text, err ? "refused" : "taken");
    tl_diag_clear(&diag);
    tl_jread_init(&r, copy, len, &arena);
    json_t *got = build(&r), *by_base = NULL;
    err = tl_jread_finish(&r, NULL);
    if (err != (want ? 0 : TL_EINVAL))
        fail_msg("%.*s: %s when read", (int)len, text, err ? "refused" : "taken");
    err = tl_json_parse(copy, len, &by_base, NULL);
    if (err != (want ? 0 : TL_EINVAL))
        fail_msg("%.*s: tl_json_parse does not agree", (int)len, text);
    json_decref(by_base);
    if (want && !same(got, want))
        fail_msg("%.*s: read otherwise", (int)len, text);
    json_decref(got);
    json_decref(want);
    tl_arena_clear(&arena);
    free(copy);
}

static const char *const seeds[] = {
    "{}",
    "[]",
    " \t\r\n{\"a\" : [ 1 , -2.5e-3 , true , false , null ] }\n",
    "\"\\u00e9\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\\"\\\\\"",
    "{\"a\":1,\"b\":{\"a\":2,\"\\u0062\":[{},[],\"\"]},\"c\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
    "[0,-0,-0.0,0.1,1e5,1E+5,1e-5,123456789012345678,9223372036854775807,-9223372036854775808,1.7976931348623157e308,"
    "5e-324,1e-400]",
    "[0.7,123.45678901234567,0.30000000000000004,9007199254740993,9007199254740993.0,1e22,1e23,123456789012345e22,4.35,"
    "2.2250738585072011e-308]",
    "{\"k1\":1,\"k2\":2,\"k3\":3,\"k4\":4,\"k5\":5,\"k6\":6,\"k7\":7,\"k8\":8,\"k9\":9,\"k10\":{\"k1\":1,\"x\":2}}",
    "[[[[{\"a\":[[{\"b\":{\"c\":[1,{\"d\":null}]}}]]}]]]]",
    "{\"nodes\":[{\"id\":\"n1\",\"type\":\"number\",\"position\":{\"x\":1.5,\"y\":-3},\"data\":{\"params\":{\"value\":"
    "2}}}],\"edges\":[]}",
    "0e999999999999",
    "1e400",
    "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
    "100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000.5",
    "9223372036854775808",
    "-9223372036854775809",
    "00",
    "-",
    "1.",
    ".1",
    "1e",
    "1e+",
    "{\"a\":1,\"\\u0061\":2}",
    "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"a\":10}",
    "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10,\"\\u006a\":10}",
    "\"\\ud800\"",
    "\"\\ud800\\u0041\"",
    "\"\\udc00\"",
    "\"\\u0000\"",
    "\"\xed\xa0\x80\"",
    "\"\xc0\xaf\"",
    "\"\xf4\x90\x80\x80\"",
    "\xef\xbb\xbf{}",
    "{} {}",
    "tru",
    "nullx",
    "",
};

static void same_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < TL_ARRAY_LEN(seeds); i++) {
        size_t len = strlen(seeds[i]);
        for (size_t cut = 0; cut <= len; cut++) /* each beginning of it */
            compare(seeds[i], cut);
    }
    compare("{}\0", 3);
    compare("\"\0\"", 3);
}

/* Each byte of each text replaced by each of those that mean something. */
static void same_verdict_changed(void **state)
{
    (void)state;
    static const char put[] = "\"\\{}[]:,-+.eE0129antfu/ \n\x01\x80\xc3\xff";
    char text[512];
    for (size_t i = 0; i < TL_ARRAY_LEN(seeds); i++) {
        size_t len = strlen(seeds[i]);
        memcpy(text, seeds[i], len);
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < sizeof(put); k++) {
                text[at] = put[k];
                compare(text, len);
            }
            text[at] = seeds[i][at];
        }
    }
}

static int verdict(const char *text, size_t len, struct tl_diag *diag)
{
    struct tl_arena arena = {0};
    struct tl_jread r;
    tl_jread_init(&r, text, len, &arena);
    tl_jread_skip(&r, NULL);
    int err = tl_jread_finish(&r, diag);
    tl_arena_clear(&arena);
    return err;
}

static void bounds(void **state)
{
    (void)state;
    size_t len = 16 << 20;
    char *text = malloc(len);
    memset(text, '[', len);
    assert_int_equal(verdict(text, len, NULL), TL_EINVAL);
    memset(text, ' ', len);
    memset(text, '[', TL_JSON_MAX_DEPTH);
    memset(text + len - TL_JSON_MAX_DEPTH, ']', TL_JSON_MAX_DEPTH);
    assert_int_equal(verdict(text, len, NULL), 0);
    for (size_t i = 1; i + 2 <= len; i += 2)
        memcpy(text + i, "1,", 2);
    memcpy(text + len - 2, "1]", 2);
    text[0] = '[';
    struct tl_diag diag = {0};
    assert_int_equal(verdict(text, len, &diag), TL_EINVAL);
    assert_non_null(strstr(diag.items[0].message, "too many values"));
    tl_diag_clear(&diag);
    for (size_t i = 1; i + 3 <= len; i += 3)
        memcpy(text + i, "{},", 3);
    assert_int_equal(verdict(text, len, &diag), TL_EINVAL);
    assert_non_null(strstr(diag.items[0].message, "too many values"));
    tl_diag_clear(&diag);
    free(text);
}

static void pulls_and_skips(void **state)
{
    (void)state;
    static const char text[] =
        "{\"skip\":{\"a\":[1,{\"b\":2}]},\"name\":\"x\\ny\",\"list\":[1,2.5,\"z\"],\"on\":true,\"raw\": {\"q\" : 1} }";
    struct tl_arena arena = {0};
    struct tl_jread r;
    struct tl_jtext key, t = {0};
    double sum = 0, v;
    bool on = false;
    tl_jread_init(&r, text, sizeof(text) - 1, &arena);
    tl_jread_object(&r);
    while (tl_jread_key(&r, &key)) {
        if (tl_jtext_is(key, "name")) {
            assert_true(tl_jread_string(&r, &t));
            assert_true(tl_jtext_is(t, "x\ny"));
            assert_false(tl_jtext_is(t, "x\nyz"));
            assert_false(tl_jtext_is(t, "x\n"));
        } else if (tl_jtext_is(key, "list")) {
            tl_jread_list(&r);
            while (tl_jread_item(&r))
                if (tl_jread_kind(&r) == TL_J_NUMBER && tl_jread_number(&r, &v))
                    sum += v;
                else
                    assert_true(tl_jread_skip(&r, NULL));
        } else if (tl_jtext_is(key, "on")) {
            assert_true(tl_jread_boolean(&r, &on));
        } else {
            assert_true(tl_jread_skip(&r, &t));
        }
    }
    assert_true(tl_jtext_is(t, "{\"q\" : 1}"));
    assert_true(sum == 3.5 && on);
    assert_int_equal(tl_jread_finish(&r, NULL), 0);
    tl_arena_clear(&arena);
}

static void says_where(void **state)
{
    (void)state;
    struct tl_diag diag = {0};
    static const char text[] = "{\n  \"\xc3\xa9\": 1, \"b\": oops\n}";
    assert_int_equal(verdict(text, sizeof(text) - 1, &diag), TL_EINVAL);
    assert_string_equal(diag.items[0].message, "not valid JSON at line 2, column 16: a value is expected");
    tl_diag_clear(&diag);
    /* What is asked of a reader with a problem is answered without reading on. */
    struct tl_arena arena = {0};
    struct tl_jread r;
    struct tl_jtext t;
    double v;
    bool b;
    tl_jread_init(&r, text, sizeof(text) - 1, &arena);
    assert_false(tl_jread_number(&r, &v));
    assert_int_equal(tl_jread_kind(&r), TL_J_NONE);
    tl_jread_object(&r);
    assert_false(tl_jread_key(&r, &t));
    assert_false(tl_jread_item(&r));
    assert_false(tl_jread_string(&r, &t));
    assert_false(tl_jread_boolean(&r, &b));
    assert_false(tl_jread_skip(&r, &t));
    assert_int_equal(tl_jread_finish(&r, &diag), TL_EINVAL);
    assert_string_equal(diag.items[0].message, "not valid JSON at line 1, column 1: a number is expected");
    tl_diag_clear(&diag);
    tl_arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_verdict),    cmocka_unit_test(same_verdict_changed), cmocka_unit_test(bounds),
        cmocka_unit_test(pulls_and_skips), cmocka_unit_test(says_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

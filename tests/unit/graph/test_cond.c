/* Conditions: what is read, what is refused and where, and what holds. */
#include "graph/cond.h"

#include "base/err.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct tl_port roots[] = {{"score", TL_T_NUMBER, 0, NULL}, {"ok", TL_T_BOOLEAN, 0, NULL},
                                       {"name", TL_T_STRING, 0, NULL},  {"state", TL_T_JSON, 0, NULL},
                                       {"curve", TL_T_FLOATS, 0, NULL}, {"tags", TL_T_STRINGS, 0, NULL},
                                       {"gone", TL_T_JSON, 0, NULL},    {0}};
enum { NROOTS = 7 };

static struct tl_value values[NROOTS];

static int set_up(void **state)
{
    static const char *const json[NROOTS] = {
        "0.9",
        "true",
        "\"grün\"",
        "{\"a\":{\"b\":[1,2,{\"c\":\"deep\"}]},\"n\":3,\"kind\":\"draft\",\"nil\":null,\"list\":[1,\"x\",null],\"odd "
        "key\":1,\"big\":9007199254740993,\"t\":true}",
        "[0.5,1]",
        "[\"rain\",\"sea\"]",
        NULL};
    (void)state;
    for (size_t i = 0; i < NROOTS; i++) {
        json_t *j = json[i] ? json_loads(json[i], JSON_DECODE_ANY, NULL) : NULL;
        if (j)
            assert_int_equal(tl_value_from_json(roots[i].type, j, &values[i], NULL), 0);
        json_decref(j);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < NROOTS; i++)
        tl_value_clear(&values[i]);
    return 0;
}

static bool holds(const char *text)
{
    struct tl_arena arena = {0};
    struct tl_str why = {0};
    const struct tl_cond *c;
    if (tl_cond_parse(text, strlen(text), roots, &arena, &c, &why) < 0)
        fail_msg("%s: %s", text, why.data);
    bool yes;
    size_t left = TL_COND_WORK;
    assert_int_equal(tl_cond_holds(c, values, &left, &yes), 0);
    tl_arena_clear(&arena);
    tl_str_clear(&why);
    return yes;
}

static void refuses(const char *text, const char *message)
{
    struct tl_arena arena = {0};
    struct tl_str why = {0};
    const struct tl_cond *c;
    int err = tl_cond_parse(text, strlen(text), roots, &arena, &c, &why);
    if (err != TL_EINVAL || strcmp(why.data, message) != 0)
        fail_msg("%s: %d, %s", text, err, why.data ? why.data : "");
    assert_null(c);
    tl_arena_clear(&arena);
    tl_str_clear(&why);
}

static void test_holds(void **state)
{
    static const char *const yes[] = {"score >= 0.8",
                                      "score > 0.8 and not (state.kind == 'final')",
                                      "score == 9e-1",
                                      "state.n == 3.0",
                                      "-1 < score",
                                      "ok",
                                      "not not ok",
                                      "ok == true",
                                      "state.a.b[0] == 1",
                                      "state.a.b[2].c == \"deep\"",
                                      "state['a']['b'][1] == 2",
                                      "state[\"odd key\"] == 1",
                                      "name == 'gr\xc3\xbcn'",
                                      "len(name) == 4",
                                      "len(state.a.b) == 3",
                                      "len(curve) == 2",
                                      "len(state) == 8",
                                      "curve[0] < curve[1]",
                                      "curve == [0.5, 1]",
                                      "[0.5,1] == curve",
                                      "[1] == [1.0]",
                                      "[] == []",
                                      "'rain' in tags",
                                      "name in ['rot', 'gr\xc3\xbcn']",
                                      "not (name in [])",
                                      "null in state.list",
                                      "'x' in state.list",
                                      "1 in state.list",
                                      "[0.5, 1] in [1] or true",
                                      "state.nil == null",
                                      "state.nothing == null",
                                      "gone == null",
                                      "gone.a[3].b == null",
                                      "state.a.b[99] == null",
                                      "len(gone) == null",
                                      "state.a == state.a",
                                      "state.a != state",
                                      "state.kind < 'e'",
                                      "'b' > 'ab'",
                                      "'a' <= 'a'",
                                      "'aa' > 'a'",
                                      "state.big == 9007199254740993",
                                      "state.big != 9007199254740992",
                                      "state.t",
                                      "false or true and true",
                                      "true or false and false",
                                      "not false and true",
                                      "(true or false) and true",
                                      "'it\\'s' == \"it's\"",
                                      "'a\\nb' != 'a\\tb'",
                                      "  score\t>\n0.1\r "};
    static const char *const no[] = {"score < 0.8",
                                     "not ok",
                                     "state.n == '3'",
                                     "state.kind == 3",
                                     "state.n < 'x'",
                                     "state.n > state.kind",
                                     "gone > 0",
                                     "gone < 0",
                                     "gone <= score",
                                     "state.kind",
                                     "state.n",
                                     "gone",
                                     "'dr' in state.kind",
                                     "'n' in state",
                                     "1 in gone",
                                     "state.a == state.list",
                                     "state.kind.x == 1",
                                     "state.list.x == 1",
                                     "state.t == 1",
                                     "state.nil < 1",
                                     "len(score) == 1",
                                     "len(state.n) == 0",
                                     "curve == [0.5]",
                                     "curve == [0.5,1,2]",
                                     "[1,2] == [1]",
                                     "false and true or false",
                                     "not (true or false)",
                                     "state.a.b == [1,2]",
                                     "'RAIN' in tags"};
    (void)state;
    for (size_t i = 0; i < TL_ARRAY_LEN(yes); i++)
        if (!holds(yes[i]))
            fail_msg("should hold: %s", yes[i]);
    for (size_t i = 0; i < TL_ARRAY_LEN(no); i++)
        if (holds(no[i]))
            fail_msg("should not hold: %s", no[i]);
}

static void test_refused(void **state)
{
    (void)state;
    refuses("", "column 1: expected a condition, found the end");
    refuses("score >=", "column 9: expected a value or a path, found the end");
    refuses("score => 1", "column 7: expected a comparison, \"and\", \"or\" or the end, found => 1");
    refuses("score = 1", "column 7: expected a comparison, \"and\", \"or\" or the end, found = 1");
    refuses("score >= 0.8 ok", "column 14: expected \"and\", \"or\" or the end, found ok");
    refuses("'\xc3\xbc\xc3\xbc' == name and )", "column 18: expected a condition, found )");
    refuses("(ok", "column 4: expected \")\", \"and\" or \"or\", found the end");
    refuses("scores > 1", "column 1: there is no \"scores\" here, only score, ok, name, state, curve, tags, gone");
    refuses("state.", "column 7: expected a name, found the end");
    refuses("state[-1] == 1", "column 7: expected a place from 0 or a text, found -1");
    refuses("state[1.5] == 1", "column 7: expected a place from 0 or a text, found 1.5");
    refuses("state[99999999] == 1", "column 7: expected a place from 0 or a text, found 99999999");
    refuses("state[1 == 1", "column 9: expected \"]\", found ==");
    refuses("score > 01", "column 9: expected a value or a path, found 01");
    refuses("score > 1.", "column 9: expected a value or a path, found 1.");
    refuses("name == 'open", "column 9: expected a value or a path, found 'open");
    refuses("name == 'a\\q'", "column 11: a backslash stands before \\, n, t or a quotation mark only");
    refuses("name in [1,]", "column 12: expected a number, a text, true, false or null, found ]");
    refuses("name in [1 2]", "column 12: expected \",\" or \"]\", found 2");
    refuses("name in [[1]]", "column 10: expected a number, a text, true, false or null, found [");
    refuses("len score", "column 5: expected \"(\", found score");
    refuses("len(3) > 1", "column 5: expected a path, found 3");
    refuses("len(name > 1", "column 10: expected \")\", found >");
    refuses("and", "column 1: expected a condition, found and");
    refuses("ok # comment", "column 4: expected a comparison, \"and\", \"or\" or the end, found # comment");
}

static void test_types(void **state)
{
    (void)state;
    refuses("score == 'high'", "column 7: a number is never equal to a text");
    refuses("score > 'high'", "column 7: a number and a text have no order among them");
    refuses("ok > 1", "column 4: a boolean has no order");
    refuses("1 < null", "column 3: null has no order");
    refuses("name < tags", "column 6: a list has no order");
    refuses("score", "column 1: a number alone is no condition");
    refuses("ok and 'yes'", "column 8: a text alone is no condition");
    refuses("score.x > 1", "column 1: \"score\" is a number and has no parts");
    refuses("tags.x == 'a'", "column 1: the parts of a list are [0], [1] …");
    refuses("curve[0] == 'a'", "column 10: a number is never equal to a text");
    refuses("'a' in name", "column 5: \"in\" needs a list on its right, not a text");
    refuses("len(tags) == '2'", "column 11: a number is never equal to a text");
}

static void test_bounds(void **state)
{
    char text[TL_COND_MAX + 2];
    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, "ok", 2);
    text[TL_COND_MAX] = 0;
    assert_true(holds(text));
    text[TL_COND_MAX] = ' ';
    text[TL_COND_MAX + 1] = 0;
    refuses(text, "is 1001 bytes long, at most 1000 are allowed");
    memset(text, '(', TL_COND_DEPTH + 1);
    text[TL_COND_DEPTH + 1] = 0;
    refuses(text, "column 33: parentheses and \"not\" lie too deep within one another");
    for (size_t i = 0; i < TL_COND_DEPTH; i++)
        memcpy(text + 4 * i, "not ", 5);
    strcat(text, "ok");
    assert_true(holds(text));
    refuses("name == '\xff'", "is no UTF-8 text");
    /* As many alternatives as there is room for: no recursion along them. */
    for (size_t i = 0; i < 120; i++)
        memcpy(text + 8 * i, "gone or ", 9);
    strcat(text, "ok");
    assert_true(holds(text));
}

/* However much is held against however much: the work has an end. */
static void test_work_is_bounded(void **state)
{
    (void)state;
    static const struct tl_port many_roots[] = {{"a", TL_T_JSON, 0, NULL}, {"b", TL_T_JSON, 0, NULL}, {NULL, 0, 0, NULL}};
    struct tl_arena arena = {0};
    struct tl_str why = {0};
    TL_AUTO_JSON json_t *a = json_array();
    TL_AUTO_JSON json_t *b = json_array();
    for (int i = 0; i < TL_COND_WORK; i++) {
        json_array_append_new(a, json_integer(i));
        json_array_append_new(b, json_integer(i));
    }
    const struct tl_value large[] = {{.type = TL_T_JSON, .json = a}, {.type = TL_T_JSON, .json = b}};
    const struct tl_cond *c;
    bool yes;
    size_t left = TL_COND_WORK;
    assert_int_equal(tl_cond_parse("a == b", 6, many_roots, &arena, &c, &why), 0);
    assert_int_equal(tl_cond_holds(c, large, &left, &yes), TL_ELIMIT);
    left = TL_COND_WORK;
    assert_int_equal(tl_cond_parse("a == a and len(b) > 5", 21, many_roots, &arena, &c, &why), 0);
    assert_int_equal(tl_cond_holds(c, large, &left, &yes), 0); /* itself is not looked through */
    assert_true(yes);
    tl_arena_clear(&arena);
    tl_str_clear(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_work_is_bounded), 
        cmocka_unit_test_setup_teardown(test_holds, set_up, tear_down),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_types),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

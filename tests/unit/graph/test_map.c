/* The map: over a list, and over what edges bring. */
#include "tests/unit/graph/control.h"

#include "base/str.h"
#include "graph/control/control.h"

/* ---- map over a list ---- */

static void test_map(void **state)
{
    (void)state;
    struct tl_id id = run(G(N("m", "map", "\"inputs\":{\"items\":[3,1,2]}," ITEM_PORTS ",\"graph\":" PLUS_ONE), ""));
    assert_output(&id, "m", "y", "[4,2,3]");
    assert_output(&id, "m", "errors", "[]");
    assert_output(&id, "m#0/grade", "sum", "4");
    assert_output(&id, "m#2/grade", "sum", "3");
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(status(record, "m#1/grade"), "done");
    id = run(G(N("m", "map", "\"inputs\":{\"items\":[]}," ITEM_PORTS ",\"graph\":" PLUS_ONE), ""));
    assert_output(&id, "m", "y", "[]");
}

/* Further inputs go to every item, with its index. The list of numbers is a float[] and goes where one is wanted. */
static void test_map_inputs(void **state)
{
    (void)state;
    struct tl_id id =
        run(G(NUMBER("n", "10") "," N(
                  "m", "map",
                  "\"inputs\":{\"items\":[0.5,1]},\"ports\":{\"in\":[{\"name\":\"by\",\"type\":\"number\",\"required\":"
                  "true},{\"name\":\"item\",\"type\":\"number\"},{\"name\":\"index\",\"type\":\"number\"}],"
                  "\"out\":[{\"name\":\"y\",\"type\":\"number\"},{\"name\":\"i\",\"type\":\"number\"}]},\"graph\":" G(
                      IN("i") "," N("a", "add", "") "," OUT("o"),
                      E("i", "item", "a", "a") "," E("i", "by", "a", "b") "," E("a", "sum", "o", "y") "," E(
                          "i", "index", "o", "i"))) "," N("again", "map", ITEM_PORTS ",\"graph\":" PLUS_ONE),
              E("n", "value", "m", "by") "," E("m", "y", "again", "items")));
    assert_output(&id, "m", "y", "[10.5,11]");
    assert_output(&id, "m", "i", "[0,1]");
    assert_output(&id, "again", "y", "[11.5,12]");
}

/* Fails for items above 2. */
#define FAILS_ABOVE_2                                                                                                  \
    "\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"number\"}],\"out\":[{\"name\":\"y\",\"type\":\"number\"}]},"     \
    "\"graph\":" G(                                                                                                    \
        IN("i") "," N("s", "switch", "\"cases\":[{\"name\":\"big\",\"when\":\"value > 2\"}]") "," N(                   \
            "f", "fail", "") "," N("a", "add", "\"inputs\":{\"b\":1}") "," N("g", "merge", "") "," OUT("o"),           \
        E("i", "item", "s", "value") "," E("s", "big", "f", "in") "," E("s", "else", "a", "a") "," E(                  \
            "f", "out", "g", "values") "," E("a", "sum", "g", "values") "," E("g", "value", "o", "y"))

static void test_map_failing_item(void **state)
{
    (void)state;
    struct tl_id id =
        run(G(N("m", "map", "\"params\":{\"concurrency\":1},\"inputs\":{\"items\":[1,9,2]}," FAILS_ABOVE_2), ""));
    assert_failed(&id, "MEDIA_INVALID", "item 1, node \"f\": nothing can be made of this");
    id = run(G(N("m", "map",
                 "\"params\":{\"on_item_error\":\"continue\"},\"inputs\":{\"items\":[1,9,2,8,\"x\"]}," FAILS_ABOVE_2),
               ""));
    assert_output(&id, "m", "y", "[2,null,3,null,null]");
    assert_output(
        &id, "m", "errors",
        "[{\"code\":\"MEDIA_INVALID\",\"index\":1,\"message\":\"nothing can be made of this\",\"node\":\"f\"},"
        "{\"code\":\"MEDIA_INVALID\",\"index\":3,\"message\":\"nothing can be made of this\",\"node\":\"f\"},"
        "{\"code\":\"SCHEMA_INVALID\",\"index\":4,\"message\":\"must be a number\"}]");
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_string_equal(status(record, "m#1/f"), "failed");
    assert_string_equal(status(record, "m#1/a"), "skipped");
    assert_string_equal(status(record, "m#0/f"), "skipped");
}

static void test_map_of_no_list(void **state)
{
    (void)state;
    struct tl_id id = run(G(N("m", "map", "\"inputs\":{\"items\":{\"a\":1}}," ITEM_PORTS ",\"graph\":" PLUS_ONE), ""));
    assert_failed(&id, "SCHEMA_INVALID", "the input \"items\" received a value that is no list");
}

/* A map of n items that are given, or come over an edge. */
static char *many(int n, bool edge)
{
    struct tl_str s = {0};
    tl_str_puts(&s, "{\"nodes\":[{\"id\":\"m\",\"type\":\"map\",\"data\":{" ITEM_PORTS ",\"graph\":" PLUS_ONE
                    ",\"params\":{\"concurrency\":64}");
    tl_str_puts(&s, edge ? "}},{\"id\":\"s\",\"type\":\"switch\",\"data\":{\"cases\":[{\"name\":\"big\",\"when\":\"value == 1\"}],\"inputs\":{\"value\":["
                         : ",\"inputs\":{\"items\":[");
    for (int i = 0; i < n; i++)
        tl_str_printf(&s, "%s%d", i ? "," : "", i);
    tl_str_printf(&s, "]}}}],\"edges\":[%s]}", edge ? E("s", "else", "m", "items") : "");
    return tl_str_take(&s);
}

static void test_map_of_many(void **state)
{
    (void)state;
    TL_AUTO_FREE char *graph = many(TL_MAP_ITEMS_MAX, false), *more = many(TL_MAP_ITEMS_MAX + 1, true),
                       *given = many(TL_MAP_ITEMS_MAX + 1, false);
    struct tl_id id = run(graph);
    TL_AUTO_JSON json_t *events = fx_events(&id);
    json_t *y = fx_output(events, "m", "y");
    assert_int_equal(json_array_size(y), TL_MAP_ITEMS_MAX);
    for (size_t i = 0; i < TL_MAP_ITEMS_MAX; i++)
        assert_int_equal(json_number_value(json_array_get(y, i)), i + 1);
    assert_int_equal(fx.calls, TL_MAP_ITEMS_MAX);
    id = run(more);
    assert_failed(&id, "SCHEMA_INVALID", "10001 items are more than the limit of 10000");
    static const char *const told[] = {"m $.nodes[0].data.inputs.items 10001 items are more than the limit of 10000", NULL};
    assert_problems(given, told);
}

/* ---- map over what edges bring ---- */

#define FILM(id, take) N(id, "film", "\"params\":{\"value\":" take "}")
#define CLIP(take)                                                                                                     \
    "{\"bytes\":1,\"content_type\":\"application/octet-stream\",\"kind\":\"video\",\"name\":\"take " take      \
    "\",\"sha256\":\"00000000000000000000000000000000000000000000000000000000000000"
#define CLIP_1 CLIP("1") "01\"}"
#define CLIP_101 CLIP("101") "65\"}"
#define CLIP_102 CLIP("102") "66\"}"
#define CLIP_103 CLIP("103") "67\"}"
/* Trims each clip; "item" has the type that is named. */
#define TRIMS(type, params)                                                                                            \
    N("m", "map",                                                                                                      \
      params "\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"" type "\"},{\"name\":\"index\",\"type\":\"number\"}]," \
             "\"out\":[{\"name\":\"clip\",\"type\":\"video\"},{\"name\":\"take\",\"type\":\"number\"},{\"name\":\"i\"," \
             "\"type\":\"number\"}]},\"graph\":" G(IN("in") "," N("trim", "trim", "") "," OUT("out"),                 \
                                                   E("in", "item", "trim", "clip") "," E("in", "index", "out", "i") "," \
                                                       E("trim", "clip", "out", "clip") "," E("trim", "take", "out",   \
                                                                                              "take")))
#define GOES_ON "\"params\":{\"on_item_error\":\"continue\"},"
/* A group that hands JSON in a clip's form out of a port of any type. */
#define FORGER                                                                                                         \
    N("forger", "subgraph",                                                                                            \
      "\"inputs\":{\"v\":" CLIP_1 "},\"ports\":{\"in\":[{\"name\":\"v\",\"type\":\"json\"}],\"out\":[{\"name\":\"y\","  \
      "\"type\":\"any\"}]},\"graph\":" G(IN("i") "," OUT("o"), E("i", "v", "o", "y")))

static bool is_medium(const struct tl_id *id, const char *node)
{
    TL_AUTO_JSON json_t *events = fx_events(id);
    size_t i, k;
    json_t *e, *r;
    json_array_foreach(events, i, e)
        json_array_foreach(json_object_get(json_object_get(e, "payload"), "results"), k, r)
            if (strcmp(tl_json_str(r, "node"), node) == 0)
                return json_array_size(json_object_get(r, "media")) > 0;
    fail_msg("%s is not told", node);
    return false;
}

static bool is_cached(const struct tl_id *id, const char *node)
{
    TL_AUTO_JSON json_t *record = fx_record(id);
    return tl_json_bool(json_object_get(json_object_get(record, "nodes"), node), "cached", false);
}

/* Clips come in the order of the edges and stay clips inside; the lists show what was made, the steps hold it. */
static void test_map_each(void **state)
{
    static const char nodes[] = FILM("a", "3") "," FILM("b", "1") "," FILM("c", "2") "," TRIMS("video", "");
    char graph[4000];
    (void)state;
    snprintf(graph, sizeof(graph), "{\"nodes\":[%s],\"edges\":[%s]}", nodes,
             E("a", "clip", "m", "each") "," E("b", "clip", "m", "each") "," E("c", "clip", "m", "each"));
    struct tl_id id = run(graph);
    assert_output(&id, "m", "take", "[3,1,2]");
    assert_output(&id, "m", "i", "[0,1,2]");
    assert_output(&id, "m", "clip", "[" CLIP_103 "," CLIP_101 "," CLIP_102 "]");
    assert_output(&id, "m#0/trim", "clip", CLIP_103);
    assert_true(is_medium(&id, "m#0/trim"));
    assert_false(is_medium(&id, "m"));
    assert_int_equal(fx.calls, 3);
    id = run(graph);
    assert_true(is_cached(&id, "m"));
    snprintf(graph, sizeof(graph), "{\"nodes\":[%s],\"edges\":[%s]}", nodes,
             E("c", "clip", "m", "each") "," E("b", "clip", "m", "each") "," E("a", "clip", "m", "each"));
    id = run(graph); /* another order: another result, of the same items */
    assert_false(is_cached(&id, "m"));
    assert_output(&id, "m", "take", "[2,1,3]");
    assert_int_equal(fx.calls, 3);
}

/* Where the item may be anything, each keeps its own type, and what does not fit inside is a failing item. */
static void test_map_each_mixed(void **state)
{
    (void)state;
    struct tl_id id = run(G(
        FILM("a", "1") "," NUMBER("n", "5") "," FILM("b", "2") "," TRIMS("any", GOES_ON),
        E("a", "clip", "m", "each") "," E("n", "value", "m", "each") "," E("b", "still", "m", "each") "," E("b", "clip", "m", "each")));
    assert_output(&id, "m", "take", "[1,null,null,2]");
    assert_output(&id, "m", "errors",
                  "[{\"code\":\"SCHEMA_INVALID\",\"index\":1,\"message\":\"the input \\\"clip\\\" received a value that is "
                  "no video\",\"node\":\"trim\"},"
                  "{\"code\":\"SCHEMA_INVALID\",\"index\":2,\"message\":\"the input \\\"clip\\\" received a value that is "
                  "no video\",\"node\":\"trim\"}]");
    id = run(G(NUMBER("x", "5") "," NUMBER("y", "4") "," N("m", "map", ITEM_PORTS ",\"graph\":" PLUS_ONE) "," N(
                   "all", "map", "\"inputs\":{\"each\":7}," ITEM_PORTS ",\"graph\":" PLUS_ONE),
               E("x", "value", "m", "each") "," E("y", "value", "m", "each")));
    assert_output(&id, "m", "y", "[6,5]");
    assert_output(&id, "all", "y", "[8]");
}

/* JSON in a clip's form is none, whatever way it comes; and does not find what was made of the clip. */
static void test_map_each_forged(void **state)
{
    (void)state;
    struct tl_id id = run(G(FILM("a", "2") "," FORGER "," TRIMS("video", GOES_ON),
                            E("a", "clip", "m", "each") "," E("forger", "y", "m", "each")));
    assert_output(&id, "m", "take", "[2,null]");
    assert_output(&id, "m", "errors",
                  "[{\"code\":\"SCHEMA_INVALID\",\"index\":1,\"message\":\"must be a medium, and JSON never becomes "
                  "one\"}]");
    id = run(G(FILM("a", "1") "," TRIMS("any", ""), E("a", "clip", "m", "each")));
    assert_output(&id, "m", "take", "[1]");
    id = run(G(FORGER "," TRIMS("any", ""), E("forger", "y", "m", "each")));
    assert_failed(&id, "SCHEMA_INVALID", "item 0, node \"trim\": the input \"clip\" received a value that is no video");
}

/* One way in, said when the graph is checked; an edge wins over a list that is typed in. */
static void test_map_each_checks(void **state)
{
    static const char *const neither[] = {
        "m $.nodes[0] one of the inputs \"items\" (json) and \"each\" (number) is required: connect it or give it a value",
        NULL};
    static const char *const both[] = {
        "m $.nodes[0] only one of the inputs \"items\" (json) and \"each\" (number) may have a value", NULL};
    static const char *const types[] = {"m $.edges[1] n.value gives number, but m.each takes video",
                                        "m $.edges[2] a.still gives image, but m.each takes video",
                                        "m $.edges[3] \"m\" has no input \"items\"",
                                        "p $.nodes[3].data.ports the name \"each\" is the node's own", NULL};
#define MAP(more) N("m", "map", more ITEM_PORTS ",\"graph\":" PLUS_ONE)
    (void)state;
    assert_problems(G(MAP(""), ""), neither);
    assert_problems(G(MAP("\"inputs\":{\"items\":[1],\"each\":2},"), ""), both);
    assert_problems(G(MAP("") "," NUMBER("n", "5") "," N("l", "upstream", ""),
                      E("n", "value", "m", "each") "," E("l", "seen", "m", "items")),
                    both);
    assert_problems(
        G(FILM("a", "1") "," NUMBER("n", "5") "," TRIMS("video", "") "," N(
              "p", "map", "\"inputs\":{\"items\":[]},\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"any\"},{\"name\":\"each\",\"type\":\"any\"}]},\"graph\":" G("", "")),
          E("a", "clip", "m", "each") "," E("n", "value", "m", "each") "," E("a", "still", "m", "each") "," E("n", "value", "m", "items")),
        types);
    struct tl_id id = run(G(MAP("\"inputs\":{\"items\":[1]},") "," NUMBER("n", "5"), E("n", "value", "m", "each")));
    assert_output(&id, "m", "y", "[6]");
#define NOTHING N("f", "fail", "\"policy\":{\"on_error\":\"fallback\",\"fallback\":{}}")
    id = run(G(MAP("") "," NOTHING, E("f", "out", "m", "items")));
    assert_failed(&id, "SCHEMA_INVALID", "the input \"items\" is required and received no value");
    id = run(G(MAP("") "," NOTHING, E("f", "out", "m", "each")));
    assert_output(&id, "m", "y", "[]");
}

/* Branches not taken bring no items; where none is taken the map is skipped, whatever else comes in. */
static void test_map_each_branches(void **state)
{
#define BRANCH(id, value) N(id, "switch", "\"inputs\":{\"value\":" value "},\"cases\":[{\"name\":\"low\",\"when\":\"value < 3\"}]")
    static const char by[] = "\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"number\"},{\"name\":\"by\",\"type\":\"number\"}],"
                             "\"out\":[{\"name\":\"y\",\"type\":\"number\"}]}";
    char graph[3000];
    (void)state;
    struct tl_id id = run(G(BRANCH("s", "1") "," BRANCH("t", "5") "," BRANCH("u", "2") "," N("m", "map", ITEM_PORTS ",\"graph\":" PLUS_ONE),
                            E("s", "low", "m", "each") "," E("t", "low", "m", "each") "," E("u", "low", "m", "each")));
    assert_output(&id, "m", "y", "[2,3]");
    snprintf(graph, sizeof(graph), "{\"nodes\":[%s,{\"id\":\"m\",\"type\":\"map\",\"data\":{%s,\"graph\":%s}}],\"edges\":[%s]}",
             BRANCH("t", "5") "," NUMBER("n", "1"), by, PLUS_ONE, E("t", "low", "m", "each") "," E("n", "value", "m", "by"));
    id = run(graph);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_string_equal(status(record, "m"), "skipped");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(map),
        T(map_inputs),
        T(map_failing_item),
        T(map_of_no_list),
        T(map_of_many),
        T(map_each),
        T(map_each_mixed),
        T(map_each_forged),
        T(map_each_checks),
        T(map_each_branches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

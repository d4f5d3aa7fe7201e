/* Graphs within nodes: loop, subgraph, switch and merge, nesting; what is checked, and what runs. test_map.c is about map. */
#include "tests/unit/graph/control.h"

#include "base/str.h"
#include "graph/control/control.h"

/* ---- checks ---- */

/* What is wrong inside, at any depth, is told with what is wrong outside. */
static void test_problems(void **state)
{
    static const char inner[] = "\"graph\":{\"nodes\":[{\"id\":\"bad\",\"type\":\"nothing\"},{\"id\":\"o\",\"type\":"
                                "\"graph.output\"}],\"edges\":[]}";
    static const char *const expected[] = {
        "m/s/bad $.nodes[0].data.graph.nodes[1].data.graph.nodes[0] unknown node type \"nothing\"",
        "m/grade $.nodes[0].data.graph.nodes[0] the input \"a\" (number) is required: connect it or give it a value",
        "m $.nodes[0].data.params.on_item_error on_item_error must be one of \"fail\", \"continue\"",
        "u $.nodes[1] unknown node type \"also.nothing\"",
        "m $.nodes[0] one of the inputs \"items\" (json) and \"each\" (number) is required: connect it or give it a value",
        NULL};
    char graph[2000];
    (void)state;
    snprintf(graph, sizeof(graph),
             "{\"nodes\":[{\"id\":\"m\",\"type\":\"map\",\"data\":{\"params\":{\"on_item_error\":\"never\"}," ITEM_PORTS
             ",\"graph\":{\"nodes\":[{\"id\":\"grade\",\"type\":\"add\"},{\"id\":\"s\",\"type\":\"subgraph\",\"data\":{"
             "\"ports\":{\"out\":[{\"name\":\"v\",\"type\":\"any\"}]},%s}},"
             "{\"id\":\"o\",\"type\":\"graph.output\"}],\"edges\":[]}}},{\"id\":\"u\",\"type\":\"also.nothing\"}],"
             "\"edges\":[]}",
             inner);
    assert_problems(graph, expected);
}

static void test_port_problems(void **state)
{
    static const char *const expected[] = {
        "a $.nodes[0].data.ports.in[0] a port needs a name: 1 to 64 letters, digits and _, not a digit first",
        "a $.nodes[0].data.ports.in[1] a port needs a type: any, string, number, boolean, float[], string[], json, "
        "video, image, audio or file",
        "a $.nodes[0].data.ports.out[1] the name \"y\" is used by another port too",
        "a $.nodes[0].data.ports.out[2] an output is never required",
        "a $.nodes[0].data.ports.extra unknown field \"extra\"",
        "b $.nodes[1].data.graph is required: the graph {\"nodes\",\"edges\"} that this node runs",
        "c $.nodes[2].data.ports.in a map's body takes an input \"item\"",
        "d $.nodes[3].data.inputs.items unknown input \"items\"",
        "d $.nodes[3] the input \"each\" (video) is required: connect it or give it a value",
        "e $.nodes[4].data.ports the name \"converged\" is the node's own",
        "e $.nodes[4].data.params.until the condition cannot be read: column 1: there is no \"z\" here, only "
        "converged, iteration",
        "f $.nodes[5].data.graph needs a graph.output node, for the node has outputs",
        "g $.nodes[6].data.cases[0].when the condition cannot be read: column 7: expected a value or a path, found the "
        "end",
        "g $.nodes[6].data.cases[1] the name \"else\" is used by another output too",
        "h $.nodes[7].data.ports \"x\" goes out as string and cannot come in again as number",
        NULL};
    (void)state;
    assert_problems(
        G(
            N("a", "subgraph",
              "\"ports\":{\"extra\":1,\"in\":[{\"name\":\"9\",\"type\":\"any\"},{\"name\":\"x\",\"type\":\"text\"}],"
              "\"out\":[{\"name\":\"y\",\"type\":\"any\"},{\"name\":\"y\",\"type\":\"any\"},{\"name\":\"z\",\"type\":"
              "\"any\",\"required\":true}]}") "," N("b", "subgraph",
                                                    "") "," N("c", "map",
                                                              "\"graph\":" G(
                                                                  "",
                                                                  "") ",\"inputs\":{\"items\":[]}") "," N("d", "map",
                                                                                                          "\"ports\":{"
                                                                                                          "\"in\":[{"
                                                                                                          "\"name\":"
                                                                                                          "\"item\","
                                                                                                          "\"type\":"
                                                                                                          "\"video\"}]}"
                                                                                                          ","
                                                                                                          "\"graph\""
                                                                                                          ":" G(
                                                                                                              "", "") ",\"inp"
                                                                                                                      "uts\":"
                                                                                                                      "{\"ite"
                                                                                                                      "ms\":["
                                                                                                                      "]}") "," N("e",
                                                                                                                                  "loop",
                                                                                                                                  "\"params\":{\"until\":\"z\"},\"ports\":{\"out\":[{\"name\":\"converged\",\"type\":\"any\"}]},\"graph\":" G(
                                                                                                                                      OUT("o"), "")) "," N("f",
                                                                                                                                                           "subgraph",
                                                                                                                                                           "\"ports\":{\"out\":[{\"name\":\"y\",\"type\":\"any\"}]},\"graph\":" G(
                                                                                                                                                               "", "")) "," N("g", "switch", "\"inputs\":{\"value\":1},\"cases\":[{\"name\":\"p\",\"when\":\"value>\"},{\"name\":\"else\",\"when\":\"value\"}]") "," N("h", "loop", "\"params\":{\"until\":\"x == ''\"},\"ports\":{\"in\":[{\"name\":\"x\",\"type\":\"number\"}],\"out\":[{\"name\":\"x\",\"type\":\"string\"}]},\"graph\":" G(OUT("o"), "")),
            ""),
        expected);
}

static void nested(struct tl_str *s, int depth)
{
    if (depth == 0) {
        tl_str_puts(s, "{\"nodes\":[],\"edges\":[]}");
        return;
    }
    tl_str_puts(s, "{\"nodes\":[{\"id\":\"s\",\"type\":\"subgraph\",\"data\":{\"graph\":");
    nested(s, depth - 1);
    tl_str_puts(s, "}}],\"edges\":[]}");
}

static void test_nesting(void **state)
{
    struct tl_str deep = {0}, deeper = {0};
    static const char *const expected[] = {"s/s/s/s/s/s/s/s/s "
                                           "$.nodes[0].data.graph.nodes[0].data.graph.nodes[0].data.graph.nodes[0]."
                                           "data.graph.nodes[0].data.graph.nodes[0].data.graph.nodes[0].data.graph"
                                           ".nodes[0].data.graph.nodes[0].data.graph graphs are nested deeper than 8",
                                           NULL};
    (void)state;
    nested(&deep, TL_GRAPH_MAX_NESTING);
    nested(&deeper, TL_GRAPH_MAX_NESTING + 1);
    struct tl_id id = run(deep.data);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_problems(deeper.data, expected);
    tl_str_clear(&deep);
    tl_str_clear(&deeper);
}

/* ---- loop ---- */

#define DOUBLES                                                                                                        \
    "\"ports\":{\"in\":[{\"name\":\"x\",\"type\":\"number\"}],\"out\":[{\"name\":\"x\",\"type\":\"number\"}]},"        \
    "\"graph\":" G(IN("i") "," N("qc", "add", "") "," OUT("o"),                                                        \
                   E("i", "x", "qc", "a") "," E("i", "x", "qc", "b") "," E("qc", "sum", "o", "x"))

static void test_loop(void **state)
{
    (void)state;
    struct tl_id id = run(G(
        N("fix", "loop", "\"params\":{\"until\":\"x >= 100 or iteration == 50\"},\"inputs\":{\"x\":3}," DOUBLES), ""));
    assert_output(&id, "fix", "x", "192");
    assert_output(&id, "fix", "converged", "true");
    assert_output(&id, "fix", "iterations", "6");
    assert_output(&id, "fix#1/qc", "sum", "6");
    assert_output(&id, "fix#6/qc", "sum", "192");
    assert_output(&id, "fix#7/qc", "sum", "nothing");
}

static void test_loop_limit(void **state)
{
    (void)state;
    struct tl_id id =
        run(G(N("fix", "loop", "\"params\":{\"until\":\"x < 0\",\"max_iter\":3},\"inputs\":{\"x\":3}," DOUBLES), ""));
    assert_failed(&id, "LIMIT_REACHED", "the condition did not hold after 3 iterations");
    id = run(G(N("fix", "loop",
                 "\"params\":{\"until\":\"x < 0\",\"max_iter\":3,\"on_max\":\"accept\"},\"inputs\":{\"x\":3}," DOUBLES),
               ""));
    assert_output(&id, "fix", "x", "24");
    assert_output(&id, "fix", "converged", "false");
    id =
        run(G(N("fix", "loop",
                "\"params\":{\"until\":\"x < 0\"},\"ports\":{\"out\":[{\"name\":\"x\",\"type\":\"any\"}]},\"graph\":" G(
                    N("f", "fail", "") "," OUT("o"), E("f", "out", "o", "x"))),
              ""));
    assert_failed(&id, "MEDIA_INVALID", "iteration 1, node \"f\": nothing can be made of this");
}

static void test_loop_in_map(void **state)
{
    (void)state;
    struct tl_id id =
        run(G(N("m", "map",
                "\"inputs\":{\"items\":[1,30]},\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"number\"}],\"out\":[{"
                "\"name\":\"y\",\"type\":\"number\"}]},\"graph\":" G(
                    IN("i") "," N("fix", "loop", "\"params\":{\"until\":\"x >= 100\"}," DOUBLES) "," OUT("o"),
                    E("i", "item", "fix", "x") "," E("fix", "x", "o", "y"))),
              ""));
    assert_output(&id, "m", "y", "[128,120]");
    assert_output(&id, "m#1/fix#2/qc", "sum", "120");
    assert_output(&id, "m#0/fix#7/qc", "sum", "128");
}

/* ---- branches ---- */

#define ROUTE(value, more)                                                                                             \
    G(N("s", "switch",                                                                                                 \
        "\"inputs\":{\"value\":" value "},\"cases\":[{\"name\":\"low\",\"when\":\"value.n < "                          \
        "1\"},{\"name\":\"mid\",\"when\":\"value.n < 10\"}]") "," N("b", "upstream",                                   \
                                                                    "") "," N("c",                                     \
                                                                              "upstrea"                                \
                                                                              "m",                                     \
                                                                              "") "," N("g", "merge",                  \
                                                                                        "") "," N("z", "merge", "")    \
          more,                                                                                                        \
      E("s", "mid", "b", "in") "," E("s", "else", "c", "in") "," E("s", "low", "g", "values") "," E(                   \
          "s", "mid", "g", "values") "," E("s", "else", "g", "values") "," E("s", "low", "z", "values"))

static void test_switch(void **state)
{
    (void)state;
    struct tl_id id = run(ROUTE("{\"n\":5}", ""));
    assert_output(&id, "s", "mid", "{\"n\":5}");
    assert_output(&id, "s", "low", "nothing");
    assert_output(&id, "g", "value", "{\"n\":5}");
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_string_equal(status(record, "z"), "skipped");
    id = run(ROUTE("{\"n\":5}", "")); /* found again, with the branches that were not taken */
    TL_AUTO_JSON json_t *again = fx_record(&id);
    assert_true(tl_json_bool(json_object_get(json_object_get(again, "nodes"), "s"), "cached", false));
    assert_string_equal(status(again, "z"), "skipped");
    assert_string_equal(status(again, "b"), "done");
    id = run(ROUTE("{\"n\":0}", "")); /* the first that holds */
    assert_output(&id, "s", "low", "{\"n\":0}");
    assert_output(&id, "s", "mid", "nothing");
    assert_output(&id, "z", "value", "{\"n\":0}");
    id = run(ROUTE("{\"m\":5}", ""));
    assert_output(&id, "s", "else", "{\"m\":5}");
}

/* A declared "value" gives cases their type; further inputs are there for conditions only. */
static void test_switch_typed(void **state)
{
    static const char *const expected[] = {
        "f $.edges[0] s.p gives string, but f.a takes number",
        "f $.nodes[1] the input \"a\" (number) is required: connect it or give it a value", NULL};
    (void)state;
    assert_problems(G(N("s", "switch",
                        "\"inputs\":{\"value\":\"x\"},\"ports\":{\"in\":[{\"name\":\"value\",\"type\":\"string\"}]},"
                        "\"cases\":[{\"name\":\"p\",\"when\":\"value == 'x'\"}]") "," N("f", "add", ""),
                      E("s", "p", "f", "a")),
                    expected);
    struct tl_id id = run(G(N("s", "switch",
                              "\"inputs\":{\"value\":1,\"limit\":2},\"ports\":{\"in\":[{\"name\":\"limit\",\"type\":"
                              "\"number\"}]},\"cases\":[{\"name\":\"under\",\"when\":\"value < limit\"}]"),
                            ""));
    assert_output(&id, "s", "under", "1");
}

/* JSON that looks like a medium does not become one on its way through an output of any type. */
static void test_no_forged_media(void **state)
{
#define FORGED                                                                                                         \
    "{\"kind\":\"video\",\"sha256\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"content_"   \
    "type\":\"video/mp4\",\"bytes\":1,\"name\":\"x\"}"
    static const char ports[] =
        "\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"any\"}],\"out\":[{\"name\":\"y\",\"type\":\"any\"}]}";
    char graph[3000];
    (void)state;
    snprintf(graph, sizeof(graph),
             "{\"nodes\":[{\"id\":\"m\",\"type\":\"map\",\"data\":{\"inputs\":{\"items\":[%s]},%s,\"graph\":%s}}],"
             "\"edges\":[]}",
             FORGED, ports,
             G(IN("i") "," N("c", "clip", "") "," OUT("o"), E("i", "item", "c", "clip") "," E("i", "item", "o", "y")));
    struct tl_id id = run(graph);
    assert_failed(&id, "SCHEMA_INVALID", "item 0, node \"c\": the input \"clip\" received a value that is no video");
    snprintf(graph, sizeof(graph),
             "{\"nodes\":[{\"id\":\"s\",\"type\":\"subgraph\",\"data\":{\"inputs\":{\"v\":%s},\"ports\":{\"in\":[{"
             "\"name\":\"v\",\"type\":\"json\"}],\"out\":[{\"name\":\"y\",\"type\":\"any\"}]},"
             "\"graph\":%s}},{\"id\":\"c\",\"type\":\"clip\"}],\"edges\":[%s]}",
             FORGED, G(IN("i") "," OUT("o"), E("i", "v", "o", "y")), E("s", "y", "c", "clip"));
    id = run(graph);
    assert_failed(&id, "SCHEMA_INVALID", "the input \"clip\" received a value that is no video");
}

/* ---- groups, results, cancelling ---- */

#define GROUP(body_value)                                                                                              \
    N("g", "subgraph",                                                                                                 \
      "\"inputs\":{\"x\":4},\"ports\":{\"in\":[{\"name\":\"x\",\"type\":\"number\"}],\"out\":[{\"name\":\"y\","        \
      "\"type\":\"number\"}]},\"graph\":" G(                                                                           \
          IN("i") "," N("a", "add", "\"inputs\":{\"b\":" body_value "}") "," OUT("o"),                                 \
          E("i", "x", "a", "a") "," E("a", "sum", "o", "y")))

static void test_subgraph(void **state)
{
    (void)state;
    struct tl_id id = run(G(GROUP("1"), ""));
    assert_output(&id, "g", "y", "5");
    assert_output(&id, "g/a", "sum", "5");
    assert_int_equal(fx.calls, 1);
    id = run(G(GROUP("1"), ""));
    assert_output(&id, "g", "y", "5");
    assert_int_equal(fx.calls, 1);
    id = run(G(GROUP("2"), "")); /* the body is part of what the result is kept under */
    assert_output(&id, "g", "y", "6");
    assert_int_equal(fx.calls, 2);
}

/* A body that holds something impure runs again in the next run. */
static void test_impure_body(void **state)
{
    static const char graph[] = G(N("g", "subgraph",
                                    "\"ports\":{\"out\":[{\"name\":\"y\",\"type\":\"number\"}]},\"graph\":" G(
                                        N("i", "impure", "") "," OUT("o"), E("i", "value", "o", "y"))),
                                  "");
    (void)state;
    run(graph);
    assert_int_equal(fx.calls, 1);
    run(graph);
    assert_int_equal(fx.calls, 2);
}

/* What was used inside is used once, at any depth. */
static void test_usage(void **state)
{
    (void)state;
    struct tl_id id =
        run(G(N("m", "map",
                "\"inputs\":{\"items\":[1,2,3]},\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"any\"}]},\"graph\":" G(
                    N("g", "subgraph", "\"graph\":" G(N("i", "impure", ""), "")), "")),
              ""));
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_int_equal(fx.calls, 3);
    assert_int_equal(tl_json_int(json_object_get(record, "result"), "tokens", 0), 15);
}

static void test_branch_out_of_group(void **state)
{
    (void)state;
    struct tl_id id = run(
        G(N("g", "subgraph",
            "\"inputs\":{\"x\":4},\"ports\":{\"in\":[{\"name\":\"x\",\"type\":\"number\"}],\"out\":[{\"name\":"
            "\"small\",\"type\":\"number\"},{\"name\":\"big\",\"type\":\"number\"}]},\"graph\":" G(
                IN("i") "," N("s", "switch", "\"cases\":[{\"name\":\"small\",\"when\":\"value < 3\"}]") "," OUT("o"),
                E("i", "x", "s", "value") "," E("s", "small", "o", "small") "," E(
                    "s", "else", "o", "big"))) "," N("a", "add", "") "," N("b", "add", ""),
          E("g", "small", "a", "a") "," E("g", "big", "b", "a")));
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_string_equal(status(record, "a"), "skipped");
    assert_string_equal(status(record, "b"), "done");
}

/* Inside what is sealed, bodies are sealed too, however open they are otherwise. */
static void test_sealed(void **state)
{
    (void)state;
    struct tl_id id = run(G(
        N("n", "nest", "\"inputs\":{\"x\":4},\"body\":" G(IN("i") "," GROUP("1") "," OUT("o"), E("g", "y", "o", "y"))),
        ""));
    TL_AUTO_JSON json_t *events = fx_events(&id);
    assert_json(fx_output(events, "n", "y"), "5");
    TL_AUTO_FREE char *text = tl_json_text(events);
    assert_null(strstr(text, "n/"));
}

/* What failed in there is told by its place and code alone: an error may be connected to what comes out. */
static void test_sealed_errors(void **state)
{
    (void)state;
    static const char graph[] = G(
        N("n", "nest",
          "\"body\":" G(
              IN("i") "," N("m", "map",
                            "\"params\":{\"on_item_error\":\"continue\"},\"inputs\":{\"items\":[1,2]},\"ports\":{\"in\":[{\"name\":"
                            "\"item\",\"type\":\"number\"}]},\"graph\":" G(N("f", "fail", ""), "")) ","
              N("l", "loop",
                "\"params\":{\"max_iter\":2,\"on_max\":\"accept\",\"until\":\"len(e) == 2 and e[1].index == 1 and e[1].code == "
                "'MEDIA_INVALID' and e[1].node == null and e[1].message == null\"},\"ports\":{\"in\":[{\"name\":\"e\",\"type\":"
                "\"json\"}],\"out\":[{\"name\":\"e\",\"type\":\"json\"}]},\"graph\":" G(IN("i") "," OUT("o"),
                                                                                       E("i", "e", "o", "e"))) ","
              OUT("o"), E("m", "errors", "l", "e") "," E("l", "iterations", "o", "y"))),
        "");
    struct tl_id id = run(graph);
    assert_output(&id, "n", "y", "1");
}

static void test_cancel(void **state)
{
    (void)state;
    struct tl_id id = fx_start(
        G(N("m", "map",
            "\"params\":{\"on_item_error\":\"continue\",\"concurrency\":1},\"inputs\":{\"items\":[1,2,3]},\"ports\":{"
            "\"in\":[{\"name\":\"item\",\"type\":\"number\"}]},\"graph\":" G(
                N("l", "loop", "\"params\":{\"until\":\"iteration == 9\"},\"graph\":" G(N("h", "hold", ""), "")), "")),
          ""));
    struct tl_op_ctx *held = fx_wait_held();
    tl_op_done(held, 0);
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    assert_int_equal(tl_run_cancel(fx.exec, "studio", &id, NULL), 0);
    fx_wait_ended(1);
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "cancelled");
    assert_string_equal(status(record, "m"), "cancelled");
    assert_string_equal(status(record, "m#0/l#1/h"), "done");
    assert_string_equal(status(record, "m#0/l#2/h"), "cancelled");
    assert_string_equal(status(record, "m#1/l"), "");
}

/* Killed in the middle, the map goes on with the items that are left. */
static void test_goes_on(void **state)
{
    (void)state;
    struct tl_id id = fx_start(
        G(N("m", "map",
            "\"params\":{\"concurrency\":1},\"inputs\":{\"items\":[1,2,3]},\"ports\":{\"in\":[{\"name\":\"item\","
            "\"type\":\"number\"}],\"out\":[{\"name\":\"y\",\"type\":\"number\"}]},\"graph\":" G(
                IN("i") "," N("a", "add", "\"inputs\":{\"b\":1}") "," N(
                    "s", "switch", "\"cases\":[{\"name\":\"two\",\"when\":\"value == 3\"}]") "," N("h", "hold",
                                                                                                   "") "," OUT("o"),
                E("i", "item", "a", "a") "," E("a", "sum", "s", "value") "," E("s", "two", "h", "in") "," E("a", "sum",
                                                                                                            "o", "y"))),
          ""));
    pthread_mutex_lock(&fx.lock);
    while (!fx.held) /* it stays there, so that it is let go of when the executor ends */
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
    assert_int_equal(fx.calls, 2);
    fx_crash();
    int failed;
    fx_restart();
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 1);
    tl_op_done(fx_wait_held(), 0);
    fx_wait_ended(1);
    assert_int_equal(fx.calls, 3); /* the items before were found */
    assert_output(&id, "m", "y", "[2,3,4]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(problems),
        T(port_problems),
        T(nesting),
        T(loop),
        T(loop_limit),
        T(loop_in_map),
        T(switch),
        T(switch_typed),
        T(no_forged_media),
        T(subgraph),
        T(impure_body),
        T(branch_out_of_group),
        T(sealed),
        T(sealed_errors),
        T(usage),
        T(cancel),
        T(goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

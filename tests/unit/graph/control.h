/* What the tests of graphs within nodes share: graphs as text, a run to its end, what must have come of it. */
#ifndef TL_TEST_GRAPH_CONTROL_H
#define TL_TEST_GRAPH_CONTROL_H

#include "tests/unit/graph/fixture.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/op_ctx.h"

#include <stdio.h>
#include <string.h>

#define N(id, type, data) "{\"id\":\"" id "\",\"type\":\"" type "\",\"data\":{" data "}}"
#define E(from, out, to, in)                                                                                           \
    "{\"source\":\"" from "\",\"sourceHandle\":\"" out "\",\"target\":\"" to "\",\"targetHandle\":\"" in "\"}"
#define G(nodes, edges) "{\"nodes\":[" nodes "],\"edges\":[" edges "]}"
#define IN(id) N(id, "graph.input", "")
#define OUT(id) N(id, "graph.output", "")
#define NUMBER(id, v) N(id, "number", "\"params\":{\"value\":" v "}")

/* item + 1 → y */
#define PLUS_ONE                                                                                                       \
    G(IN("i") "," N("grade", "add", "\"inputs\":{\"b\":1}") "," OUT("o"),                                              \
      E("i", "item", "grade", "a") "," E("grade", "sum", "o", "y"))
#define ITEM_PORTS                                                                                                     \
    "\"ports\":{\"in\":[{\"name\":\"item\",\"type\":\"number\"}],\"out\":[{\"name\":\"y\",\"type\":\"number\"}]}"

static inline int set_up(void **state)
{
    (void)state;
    fx_open();
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    fx_close();
    return 0;
}

static inline struct tl_id run(const char *graph)
{
    int before = fx.ended;
    struct tl_id id = fx_start(graph);
    fx_wait_ended(before + 1);
    return id;
}

static inline void assert_json(const json_t *j, const char *text)
{
    TL_AUTO_FREE char *is = j ? tl_json_canonical(j) : tl_strdup("nothing");
    assert_string_equal(is, text);
}

static inline void assert_output(const struct tl_id *id, const char *node, const char *port, const char *text)
{
    TL_AUTO_JSON json_t *events = fx_events(id);
    assert_json(fx_output(events, node, port), text);
}

static inline const char *status(const json_t *record, const char *node)
{
    const char *s = tl_json_str(json_object_get(json_object_get(record, "nodes"), node), "status");
    return s ? s : "";
}

static inline void assert_failed(const struct tl_id *id, const char *code, const char *message)
{
    TL_AUTO_JSON json_t *record = fx_record(id);
    assert_string_equal(tl_json_str(record, "status"), "failed");
    const json_t *error = json_object_get(json_object_get(record, "result"), "error");
    assert_string_equal(tl_json_str(error, "code"), code);
    assert_string_equal(tl_json_str(error, "message"), message);
}

static inline void assert_problems(const char *graph, const char *const *expected)
{
    TL_AUTO_JSON json_t *j = fx_json(graph);
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    assert_int_equal(tl_plan_json(j, &fx_env, NULL, 0, &plan, &diag), TL_EINVAL);
    assert_null(plan);
    size_t n = 0;
    for (; expected[n]; n++) {
        char line[512] = "";
        for (size_t i = 0; i < diag.count; i++) {
            snprintf(line, sizeof(line), "%s %s %s", diag.items[i].node ? diag.items[i].node : "-", diag.items[i].path,
                     diag.items[i].message);
            if (strcmp(line, expected[n]) == 0)
                break;
            line[0] = 0;
        }
        if (!*line) {
            for (size_t i = 0; i < diag.count; i++)
                print_error("%s %s %s\n", diag.items[i].node, diag.items[i].path, diag.items[i].message);
            fail_msg("not told: %s", expected[n]);
        }
    }
    assert_int_equal(diag.count, n);
    tl_diag_clear(&diag);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

#endif

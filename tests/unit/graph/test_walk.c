/* Runs in memory that walk along the plan's order (graph/walk.c): their values, what makes them go on as other runs do, and how they end. */
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/compute.h"
#include "graph/op_ctx.h"
#include "graph/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LONG = 5000, TOO_MUCH = 1000000 };

static struct {
    struct tl_exec *exec;
    int64_t us;       /* the clock: an ms further each time it is asked, so that nobody works for long without looking up */
    int ended, completed, ran;
    double last;      /* value of the last node of the run that completed last */
    struct tl_id id;
} t;

static const struct tl_port source_ports[] = {{"value", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static int run_one(struct tl_op_ctx *ctx)
{
    return tl_op_output_number(ctx, "value", 1);
}
static int compute_one(const struct tl_compute *c, struct tl_value *out)
{
    (void)c;
    *out = tl_value_number(1);
    return 0;
}
static const struct tl_op op_one = {.name = "one", .revision = 1, .flags = TL_OP_PURE | TL_OP_QUICK, .ports = source_ports, .run = run_one, .compute = compute_one};

static const struct tl_port plus_ports[] = {
    {"a", TL_T_NUMBER, TL_PORT_REQUIRED, NULL}, {"b", TL_T_NUMBER, 0, NULL}, {"value", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static int run_plus(struct tl_op_ctx *ctx)
{
    double value = tl_op_input_number(ctx, "a", 0) + tl_op_input_number(ctx, "b", 0);
    t.ran++;
    return value >= TOO_MUCH ? tl_op_fail(ctx, TL_ESCHEMA, "too much") : tl_op_output_number(ctx, "value", value);
}
static int compute_plus(const struct tl_compute *c, struct tl_value *out)
{
    double value = c->in[0]->number + (c->in[1] ? c->in[1]->number : 0);
    *out = tl_value_number(value);
    return value >= TOO_MUCH;
}
static const struct tl_op op_plus = {.name = "plus", .revision = 1, .flags = TL_OP_PURE | TL_OP_QUICK, .ports = plus_ports, .run = run_plus, .compute = compute_plus};
/* The same, but only as an ordinary attempt. */
static const struct tl_op op_slow = {.name = "slow", .revision = 1, .flags = TL_OP_PURE, .ports = plus_ports, .run = run_plus};

static const struct tl_op *find_op(void *arg, const char *name)
{
    static const struct tl_op *const ops[] = {&op_one, &op_plus, &op_slow};
    (void)arg;
    for (size_t i = 0; i < TL_ARRAY_LEN(ops); i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    return NULL;
}

static int64_t mono_us(void *arg)
{
    (void)arg;
    return t.us += 1000;
}

static int complete(void *arg, const struct tl_run *run, struct tl_str *payload)
{
    (void)arg, (void)payload;
    t.completed++;
    for (uint32_t i = 0; i < tl_run_plan(run)->nnodes; i++)
        assert_non_null(tl_run_output_at(run, i, 0));
    t.last = tl_run_output_at(run, tl_run_plan(run)->nnodes - 1, 0)->number;
    return 0;
}

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)arg, (void)run, (void)seq;
    t.ended += ended;
}

static int open_exec(void **state)
{
    (void)state;
    struct tl_exec_conf conf = {.manual = true, .env = {.mono_us = mono_us}, .complete = complete, .notify = notify};
    memset(&t, 0, sizeof(t));
    return tl_exec_new(&conf, &t.exec);
}

static int close_exec(void **state)
{
    (void)state;
    tl_exec_free(t.exec);
    return 0;
}

static void node(struct tl_str *s, int i, const char *type, const char *inputs)
{
    tl_str_printf(s, "%s{\"id\":\"n%d\",\"type\":\"%s\",\"data\":{\"inputs\":{%s}}}", i ? "," : "", i, type, inputs);
}
static void edge(struct tl_str *s, int from, int to, const char *port)
{
    tl_str_printf(s, "%s{\"source\":\"n%d\",\"sourceHandle\":\"value\",\"target\":\"n%d\",\"targetHandle\":\"%s\"}", s->len ? "," : "", from, to, port);
}

static void started(void *arg, int err, const struct tl_id *id)
{
    (void)arg;
    assert_int_equal(err, 0);
    t.id = *id;
}

/* Takes nodes and edges. */
static void start(struct tl_str *nodes, struct tl_str *edges)
{
    const struct tl_graph_env env = {.find_op = find_op};
    struct tl_str doc TL_CLEANUP(tl_str_clear) = {0};
    struct tl_diag diag = {0};
    struct tl_plan *plan;
    tl_str_printf(&doc, "{\"nodes\":[%s],\"edges\":[%s]}", nodes->data, edges->data);
    tl_str_clear(nodes);
    tl_str_clear(edges);
    int err = tl_plan_text(doc.data, doc.len, &env, NULL, 0, &plan, &diag);
    if (err)
        fail_msg("%s", diag.count ? diag.items[0].message : "no plan");
    struct tl_run_req req = {.org = "o", .sub = "s", .kind = "canvas", .plan = plan};
    assert_int_equal(tl_run_start(t.exec, &req, started, NULL), 0);
    tl_plan_unref(plan);
}

/* n0 = 1 and every further node one more than the one before; the one at odd is of type other. */
static void chain(int odd, const char *other, const char *inputs)
{
    struct tl_str nodes = {0}, edges = {0};
    node(&nodes, 0, "one", "");
    for (int i = 1; i < LONG; i++) {
        node(&nodes, i, i == odd ? other : "plus", i == odd ? inputs : "\"b\":1");
        edge(&edges, i - 1, i, "a");
    }
    start(&nodes, &edges);
}

static int steps(void)
{
    int n = 0;
    while (tl_exec_step(t.exec))
        n++;
    return n;
}

static void to_its_end(void **state)
{
    (void)state;
    chain(0, "", "");
    assert_int_equal(t.ended, 0); /* the beginning did not take all of its time for it */
    steps();
    assert_int_equal(t.ended, 1);
    assert_int_equal(t.completed, 1);
    assert_int_equal(t.ran, 0);
    assert_float_equal(t.last, LONG, 0);
}

static void another_kind_between(void **state)
{
    (void)state;
    chain(LONG / 2, "slow", "\"b\":1");
    steps();
    assert_int_equal(t.ended, 1);
    assert_int_equal(t.ran, 1);
    assert_float_equal(t.last, LONG, 0);
}

/* Two of them wait for one that is slow, and for one behind which the run has walked. */
static void joins(void **state)
{
    (void)state;
    struct tl_str nodes = {0}, edges = {0};
    node(&nodes, 0, "one", "");
    node(&nodes, 1, "plus", "\"b\":1");
    node(&nodes, 2, "slow", "\"b\":5");
    node(&nodes, 3, "plus", "");
    node(&nodes, 4, "plus", "");
    edge(&edges, 0, 1, "a");
    edge(&edges, 1, 2, "a");
    edge(&edges, 1, 3, "a");
    edge(&edges, 2, 3, "b");
    edge(&edges, 0, 4, "a");
    edge(&edges, 3, 4, "b");
    start(&nodes, &edges);
    steps();
    assert_int_equal(t.completed, 1);
    assert_float_equal(t.last, 1 + 2 + (2 + 5), 0);
}

static void failing(void **state)
{
    (void)state;
    chain(LONG - 10, "plus", "\"b\":1000000");
    steps();
    assert_int_equal(t.ended, 1);
    assert_int_equal(t.completed, 0);
    assert_int_equal(t.ran, 1); /* the ordinary attempt that words it */
}

static void cancelled(void **state)
{
    (void)state;
    chain(0, "", "");
    assert_int_equal(tl_run_cancel(t.exec, "o", &t.id, NULL), 0);
    steps();
    assert_int_equal(t.ended, 1);
    assert_int_equal(t.completed, 0);
}

/* A long run lets a short one in. */
static void side_by_side(void **state)
{
    (void)state;
    struct tl_str nodes = {0}, edges = {0};
    chain(0, "", "");
    node(&nodes, 0, "one", "");
    node(&nodes, 1, "slow", "\"b\":1");
    edge(&edges, 0, 1, "a");
    start(&nodes, &edges);
    while (!t.ended && tl_exec_step(t.exec))
        ;
    assert_float_equal(t.last, 2, 0);
    steps();
    assert_int_equal(t.completed, 2);
    assert_float_equal(t.last, LONG, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(to_its_end, open_exec, close_exec), cmocka_unit_test_setup_teardown(another_kind_between, open_exec, close_exec),
        cmocka_unit_test_setup_teardown(joins, open_exec, close_exec),      cmocka_unit_test_setup_teardown(failing, open_exec, close_exec),
        cmocka_unit_test_setup_teardown(cancelled, open_exec, close_exec),  cmocka_unit_test_setup_teardown(side_by_side, open_exec, close_exec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

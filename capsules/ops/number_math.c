/* number.math: one operation over numbers, from left to right: a, b, and as many more as have been connected. Exact IEEE 754 doubles, not rounded. */
#include "base/err.h"
#include "graph/compute.h"
#include "graph/op_ctx.h"

#include <math.h>

/* Places of inputs and parameters: an addition takes less time than looking for them by name. */
enum { A, B, MORE, OP = 0 };

static const struct tl_port ports[] = {
    {"a", TL_T_NUMBER, TL_PORT_REQUIRED, "the first number"},
    {"b", TL_T_NUMBER, 0, "the second"},
    {"more", TL_T_JSON, TL_PORT_MULTI, "any number of further numbers"},
    {"value", TL_T_NUMBER, TL_PORT_OUT, "the result"},
    {NULL, 0, 0, NULL},
};

static const char *const ops[] = {"add", "subtract", "multiply", "divide", "min", "max", "mean", NULL};
static const struct tl_param params[] = {
    {"op", TL_P_ENUM, 0, 0, 0, 0, ops, "\"add\"", "what is done with them"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

/* op is one of ops: its first two letters tell it from the others. */
static double apply(const char *op, double x, double y)
{
    switch (op[0]) {
    case 's':
        return x - y;
    case 'd':
        return x / y;
    case 'm':
        switch (op[1]) {
        case 'u':
            return x * y;
        case 'i':
            return x < y ? x : y;
        case 'a':
            return x > y ? x : y;
        default:
            return x + y; /* mean: divided at the end */
        }
    default:
        return x + y;
    }
}

static int run(struct tl_op_ctx *ctx)
{
    const char *op = json_string_value(tl_op_param_at(ctx, OP)->json);
    double value = tl_op_input_at(ctx, A)->number;
    const struct tl_value *b = tl_op_input_at(ctx, B), *more = tl_op_input_at(ctx, MORE);
    size_t n = 1, i;
    const json_t *item;
    if (b) {
        value = apply(op, value, b->number);
        n++;
    }
    if (more && !json_is_array(more->json))
        return tl_op_fail(ctx, TL_ESCHEMA, "\"more\" is no list of numbers");
    json_array_foreach(more ? more->json : NULL, i, item) {
        if (!json_is_number(item))
            return tl_op_fail(ctx, TL_ESCHEMA, "\"more\" has a value that is no number");
        value = apply(op, value, json_number_value(item));
        n++;
    }
    if (op[0] == 'm' && op[1] == 'e')
        value /= (double)n;
    if (!isfinite(value))
        return tl_op_fail(ctx, TL_ESCHEMA, "the result is no finite number");
    return tl_op_output_number(ctx, "value", value);
}

static int compute(const struct tl_compute *c, struct tl_value *out)
{
    const char *op = json_string_value(c->node->params[OP].json);
    double value = c->in[A]->number;
    uint32_t n = 1, more = tl_compute_count(c, MORE);
    if (c->in[MORE])
        return 1;
    if (c->in[B]) {
        value = apply(op, value, c->in[B]->number);
        n++;
    }
    for (uint32_t k = 0; k < more; k++) {
        const struct tl_value *v = tl_compute_each(c, MORE, k);
        if (!v)
            continue;
        if (v->type != TL_T_NUMBER)
            return 1;
        value = apply(op, value, v->number);
        n++;
    }
    if (op[0] == 'm' && op[1] == 'e')
        value /= n;
    if (!isfinite(value))
        return 1;
    *out = tl_value_number(value);
    return 0;
}

const struct tl_op tl_op_number_math = {
    .name = "number.math",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_QUICK,
    .title = "Arithmetic",
    .doc = "Adds, subtracts, multiplies, divides or compares numbers",
    .ports = ports,
    .params = params,
    .run = run,
    .compute = compute,
};

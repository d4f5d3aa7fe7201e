/* number.math: one operation over numbers, from left to right: a, b, and as many more as have been connected. Exact IEEE 754 doubles, not rounded. */
#include "base/err.h"
#include "graph/op_ctx.h"

#include <math.h>
#include <string.h>

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
    const char *op = tl_op_param_text(ctx, "op");
    double value = tl_op_input_number(ctx, "a", 0);
    const struct tl_value *b = tl_op_input(ctx, "b");
    const json_t *more = tl_op_input_json(ctx, "more");
    size_t n = 1, i;
    const json_t *item;
    if (b) {
        value = apply(op, value, b->number);
        n++;
    }
    if (more && !json_is_array(more))
        return tl_op_fail(ctx, TL_ESCHEMA, "\"more\" is no list of numbers");
    json_array_foreach((json_t *)more, i, item) {
        if (!json_is_number(item))
            return tl_op_fail(ctx, TL_ESCHEMA, "\"more\" has a value that is no number");
        value = apply(op, value, json_number_value(item));
        n++;
    }
    if (strcmp(op, "mean") == 0)
        value /= (double)n;
    if (!isfinite(value))
        return tl_op_fail(ctx, TL_ESCHEMA, "the result is no finite number");
    return tl_op_output_number(ctx, "value", value);
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
};

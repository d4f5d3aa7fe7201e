/* input.curve: a curve drawn on the canvas. */
#include "base/diag.h"
#include "base/json.h"
#include "graph/op_ctx.h"

enum { VALUES_MAX = 20000 };

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_OUT, "the values"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"values", TL_P_JSON, 0, 0, 0, 0, NULL, "[0.25,0.35,0.5,0.75,0.85,0.4]",
     "a list of numbers from 0 to 1, at most 20000, spread over the duration"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    (void)ret;
    json_t *values = json_object_get(json_object_get(req->data, "params"), "values"), *one;
    size_t i;
    if (!values)
        return 0;
    bool good = json_is_array(values) && json_array_size(values) > 0 && json_array_size(values) <= VALUES_MAX;
    json_array_foreach(values, i, one)
        good = good && json_is_number(one) && json_number_value(one) >= 0 && json_number_value(one) <= 1;
    if (good)
        return 0;
    char path[160];
    snprintf(path, sizeof(path), "%s.params.values", req->path);
    return tl_diag_add(req->diag, req->node, "values", path, "must be a list of 1 to %d numbers from 0 to 1",
                       VALUES_MAX);
}

static int run(struct tl_op_ctx *ctx)
{
    return tl_op_output_json(ctx, "curve", json_incref(tl_op_param(ctx, "values")->json));
}

const struct tl_op tl_op_in_curve = {
    .name = "input.curve",
    .revision = 1,
    .flags = TL_OP_PURE,
    .title = "Curve",
    .doc = "A curve drawn by hand",
    .ports = ports,
    .params = params,
    .shape = shape,
    .run = run,
};

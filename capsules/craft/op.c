#include "capsules/craft/op.h"

#include <string.h>

double tl_craft_in(struct tl_op_ctx *ctx, const char *port, double otherwise, double low, double high)
{
    return tl_craft_clamp(tl_op_input_number(ctx, port, otherwise), low, high);
}

double tl_craft_of(const json_t *object, const char *key, double low, double high)
{
    return tl_craft_clamp(tl_json_num(object, key, 0), low, high);
}

int tl_craft_curve_in(struct tl_op_ctx *ctx, const char *port, struct tl_craft_curve *ret)
{
    *ret = (struct tl_craft_curve){0};
    double *given = NULL;
    size_t n = 0;
    int err = tl_op_input_floats(ctx, port, &given, &n);
    if (err)
        return err;
    ret->n = n < 2 ? 2 : n;
    ret->v = tl_calloc(ret->n, sizeof(*ret->v));
    if (!ret->v) {
        free(given);
        return TL_ENOMEM;
    }
    static const double flat = 0.5;
    tl_curve_resample(n ? given : &flat, n ? n : 1, ret->v, ret->n);
    tl_curve_stats(ret->v, ret->n, &ret->stats);
    free(given);
    return 0;
}

void tl_craft_curve_clear(struct tl_craft_curve *c)
{
    free(c->v);
    *c = (struct tl_craft_curve){0};
}

double tl_craft_base_shot(struct tl_op_ctx *ctx, const struct tl_craft_curve *c, double duration)
{
    double pace = tl_craft_in(ctx, "pace", 0, -1, 1) + 0.5 * (c->stats.mean - 0.5);
    double clip_sec = tl_craft_of(tl_op_input_json(ctx, "clip"), "clip_shot_sec", 0, 600);
    return tl_rhythm_base(tl_op_param_number(ctx, "base_sec"), pace, tl_op_param_number(ctx, "pace_gain"), duration,
                          clip_sec, tl_op_param_number(ctx, "clip_pull"));
}

int tl_craft_colours_in(struct tl_op_ctx *ctx, const char *port, struct tl_lab ret[TL_COLOURS_MAX], size_t *ret_n)
{
    json_t *list = tl_op_input_json(ctx, port), *one;
    size_t i;
    *ret_n = 0;
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > TL_COLOURS_MAX)
        return tl_op_fail(ctx, TL_ESCHEMA, "%s must be a list of 1 to %d colours", port, TL_COLOURS_MAX);
    json_array_foreach(list, i, one) {
        if (json_array_size(one) != 3)
            return tl_op_fail(ctx, TL_ESCHEMA, "%s: a colour is three numbers", port);
        ret[i] = (struct tl_lab){tl_craft_clamp(json_number_value(json_array_get(one, 0)), 0, 1),
                                 tl_craft_clamp(json_number_value(json_array_get(one, 1)), -0.5, 0.5),
                                 tl_craft_clamp(json_number_value(json_array_get(one, 2)), -0.5, 0.5)};
    }
    *ret_n = json_array_size(list);
    return 0;
}

void tl_out_json(struct tl_out *o, const char *port, json_t *takes)
{
    if (o->err || !takes) {
        json_decref(takes);
        o->err = o->err ? o->err : TL_ENOMEM;
        return;
    }
    o->err = tl_op_output_json(o->ctx, port, takes);
}

void tl_out_number(struct tl_out *o, const char *port, double v)
{
    if (!o->err)
        o->err = tl_op_output_number(o->ctx, port, tl_craft_round(v));
}

void tl_out_floats(struct tl_out *o, const char *port, const double *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, json_real(tl_craft_round(v[i]))) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    tl_out_json(o, port, list);
}

void tl_out_colours(struct tl_out *o, const char *port, const struct tl_lab *v, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++) {
        json_t *one = json_pack("[f,f,f]", tl_craft_round(v[i].l), tl_craft_round(v[i].a), tl_craft_round(v[i].b));
        if (json_array_append_new(list, one) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    tl_out_json(o, port, list);
}

void tl_out_fact(struct tl_out *o, const char *name, double v)
{
    if (o->err)
        return;
    if (!o->facts)
        o->facts = json_object();
    if (!o->facts || json_object_set_new(o->facts, name, json_real(tl_craft_round(v))) < 0)
        o->err = TL_ENOMEM;
}

int tl_out_end(struct tl_out *o)
{
    if (o->facts && !o->err)
        o->err = tl_op_output_json(o->ctx, "facts", json_incref(o->facts));
    json_decref(o->facts);
    o->facts = NULL;
    return o->err;
}

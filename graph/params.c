/* Parameters and ports as rules: checking what was given, and showing the rules as JSON. */
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {[TL_P_NUMBER] = "number",
                                         [TL_P_ENUM] = "enum",
                                         [TL_P_BOOLEAN] = "boolean",
                                         [TL_P_STRING] = "string",
                                         [TL_P_JSON] = "json"};

static bool visible(const struct tl_param *p, bool admin)
{
    return admin || !(p->flags & TL_PARAM_ADMIN);
}

static const struct tl_param *find(const struct tl_param *params, bool admin, const char *name)
{
    for (const struct tl_param *p = params; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return visible(p, admin) ? p : NULL;
    return NULL;
}

/* Steps count from the minimum; a billionth of a step is the decimal's own error. */
static bool on_step(const struct tl_param *p, double v)
{
    if (p->step <= 0)
        return true;
    double k = (v - p->min) / p->step;
    return fabs(k - round(k)) < 1e-6;
}

static int check_number(const struct tl_param *p, const json_t *j, struct tl_str *why)
{
    double v = json_number_value(j);
    if (!json_is_number(j))
        tl_str_printf(why, "must be a number");
    else if (p->min < p->max && (v < p->min || v > p->max))
        tl_str_printf(why, "must be between %g and %g, not %g", p->min, p->max, v);
    else if (!on_step(p, v))
        tl_str_printf(why, "must be in steps of %g from %g, not %g", p->step, p->min, v);
    return why->len ? TL_EINVAL : 0;
}

static int check_enum(const struct tl_param *p, const json_t *j, struct tl_str *why)
{
    const char *text = json_string_value(j);
    for (size_t i = 0; text && p->options[i]; i++)
        if (strcmp(p->options[i], text) == 0)
            return 0;
    tl_str_puts(why, "must be one of");
    for (size_t i = 0; p->options[i]; i++)
        tl_str_printf(why, "%s \"%s\"", i ? "," : "", p->options[i]);
    return TL_EINVAL;
}

static int check_value(const struct tl_param *p, json_t *j, struct tl_value *ret, struct tl_str *why)
{
    size_t longest = p->type == TL_P_STRING && p->max > 0 ? (size_t)p->max : TL_PARAM_STRING_MAX;
    switch (p->type) {
    case TL_P_NUMBER:
        if (check_number(p, j, why) == 0)
            *ret = tl_value_number(json_number_value(j));
        break;
    case TL_P_ENUM:
        if (check_enum(p, j, why) == 0)
            *ret = tl_value_take(TL_T_STRING, json_incref(j));
        break;
    case TL_P_BOOLEAN:
        if (!json_is_boolean(j))
            tl_str_puts(why, "must be true or false");
        else
            *ret = tl_value_bool(json_is_true(j));
        break;
    case TL_P_STRING:
        if (!json_is_string(j))
            tl_str_puts(why, "must be text");
        else if (json_string_length(j) > longest)
            tl_str_printf(why, "must be at most %zu bytes long, not %zu", longest, json_string_length(j));
        else
            *ret = tl_value_take(TL_T_STRING, json_incref(j));
        break;
    case TL_P_JSON:
        *ret = tl_value_take(TL_T_JSON, json_incref(j));
        break;
    }
    return why->err ? TL_ENOMEM : why->len ? TL_EINVAL : 0;
}

static int fill_default(const struct tl_param *p, struct tl_value *ret)
{
    if (!p->default_json)
        return 0;
    TL_AUTO_JSON json_t *j = json_loads(p->default_json, JSON_DECODE_ANY, NULL);
    if (!j)
        return TL_ENOMEM;
    struct tl_str why = {0};
    int err = check_value(p, j, ret, &why);
    tl_str_clear(&why);
    return err ? TL_EINTERNAL : 0;
}

static int check_one(const struct tl_param *p, json_t *given, const char *node, const char *path, struct tl_value *ret,
                     struct tl_diag *diag)
{
    if (!given && (p->flags & TL_PARAM_REQUIRED)) {
        tl_diag_add(diag, node, p->name, path, "the parameter \"%s\" is required", p->name);
        return 0;
    }
    if (!given)
        return fill_default(p, ret);
    struct tl_str why = {0}, at = {0};
    int err = check_value(p, given, ret, &why);
    if (err == TL_EINVAL) {
        tl_str_printf(&at, "%s.%s", path, p->name);
        tl_diag_add(diag, node, p->name, at.data, "%s %s", p->name, why.data);
        err = 0;
    }
    tl_str_clear(&why);
    tl_str_clear(&at);
    return err;
}

int tl_params_check(const struct tl_param *params, bool admin, const json_t *given, const char *node, const char *path,
                    struct tl_value *values, struct tl_diag *diag)
{
    struct tl_diag own = {0}, *d = diag ? diag : &own;
    size_t before = d->count + d->dropped;
    int err = 0;
    if (given && !json_is_object(given)) {
        tl_diag_add(d, node, NULL, path, "parameters must be an object");
        given = NULL;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)given, key, value) {
        if (find(params, admin, key))
            continue;
        struct tl_str at = {0};
        tl_str_printf(&at, "%s.%s", path, key);
        tl_diag_add(d, node, key, at.data, "unknown parameter \"%s\"", key);
        tl_str_clear(&at);
    }
    for (size_t i = 0; !err && params && params[i].name; i++)
        err = check_one(&params[i], visible(&params[i], admin) ? json_object_get(given, params[i].name) : NULL, node,
                        path, &values[i], d);
    if (!err)
        err = d->count + d->dropped > before ? TL_EINVAL : d->err;
    tl_diag_clear(&own);
    return err;
}

static void set_new(json_t *o, const char *key, json_t *v)
{
    if (v)
        json_object_set_new(o, key, v);
}

json_t *tl_params_json(const struct tl_param *params, bool admin)
{
    json_t *list = json_array();
    for (const struct tl_param *p = params; p && p->name; p++) {
        if (!visible(p, admin))
            continue;
        json_t *o = json_pack("{s:s,s:s,s:s}", "name", p->name, "type", type_names[p->type], "visibility",
                              p->flags & TL_PARAM_ADMIN ? "admin" : "public");
        if (p->type == TL_P_NUMBER && p->min < p->max) {
            set_new(o, "min", json_real(p->min));
            set_new(o, "max", json_real(p->max));
        }
        if (p->type == TL_P_NUMBER && p->step > 0)
            set_new(o, "step", json_real(p->step));
        if (p->type == TL_P_ENUM) {
            json_t *options = json_array();
            for (size_t i = 0; p->options[i]; i++)
                json_array_append_new(options, json_string(p->options[i]));
            set_new(o, "options", options);
        }
        if (p->flags & TL_PARAM_REQUIRED)
            set_new(o, "required", json_true());
        set_new(o, "default", p->default_json ? json_loads(p->default_json, JSON_DECODE_ANY, NULL) : NULL);
        set_new(o, "doc", p->doc ? json_string(p->doc) : NULL);
        json_array_append_new(list, o);
    }
    return list;
}

json_t *tl_ports_json(const struct tl_port *ports, bool out)
{
    json_t *list = json_array();
    for (const struct tl_port *p = ports; p && p->name; p++) {
        if (!(p->flags & TL_PORT_OUT) != !out)
            continue;
        json_t *o = json_pack("{s:s,s:s}", "name", p->name, "type", tl_type_name(p->type));
        if (p->flags & TL_PORT_REQUIRED)
            set_new(o, "required", json_true());
        if (p->flags & TL_PORT_MULTI)
            set_new(o, "multiple", json_true());
        set_new(o, "doc", p->doc ? json_string(p->doc) : NULL);
        json_array_append_new(list, o);
    }
    return list;
}

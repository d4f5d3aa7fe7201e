/* Parameters and ports as rules: checking what was given, and showing the rules as JSON. */
#include "graph/params.h"

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

/* Steps count from the minimum; a billionth of a step is the decimal's own error. */
static bool on_step(const struct tl_param *p, double v)
{
    if (p->step <= 0)
        return true;
    double k = (v - p->min) / p->step;
    return fabs(k - round(k)) < 1e-6;
}

static uint32_t find(const struct tl_params *p, struct tl_jtext name)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (tl_jtext_is(name, p->list[i].name))
            return visible(&p->list[i], p->admin) ? i : UINT32_MAX;
    return UINT32_MAX;
}

/* ---- short texts that come again and again ---- */

/* A slot by its length and two of its bytes: texts that share one take turns. */
static struct tl_shared_text *slot_of(const struct tl_shared *shared, struct tl_jtext t)
{
    unsigned h = (unsigned)t.len;
    if (t.len)
        h += (unsigned)(unsigned char)t.s[0] * 7 + (unsigned)(unsigned char)t.s[t.len - 1] * 31;
    return (struct tl_shared_text *)(uintptr_t)&shared->texts[h % TL_SHARED_TEXTS];
}

json_t *tl_shared_text(struct tl_shared *shared, struct tl_jtext text)
{
    if (!shared || text.len > TL_SHARED_TEXT_MAX)
        return json_stringn(text.s, text.len);
    struct tl_shared_text *slot = slot_of(shared, text);
    if (slot->json && json_string_length(slot->json) == text.len &&
        memcmp(json_string_value(slot->json), text.s, text.len) == 0)
        return json_incref(slot->json);
    json_t *j = json_stringn(text.s, text.len);
    struct tl_value v = tl_value_take(TL_T_STRING, j);
    if (j && tl_value_hash(&v, slot->hash) == 0) {
        json_decref(slot->json);
        slot->json = json_incref(j);
    }
    return j;
}

int tl_shared_hash(const struct tl_shared *shared, const struct tl_value *v, uint8_t ret[32])
{
    if (v->type == TL_T_STRING) {
        struct tl_jtext text = {json_string_value(v->json), json_string_length(v->json)};
        const struct tl_shared_text *slot = slot_of(shared, text);
        if (slot->json == v->json) {
            memcpy(ret, slot->hash, sizeof(slot->hash));
            return 0;
        }
    }
    return tl_value_hash(v, ret);
}

void tl_shared_clear(struct tl_shared *shared)
{
    for (size_t i = 0; i < TL_SHARED_TEXTS; i++)
        json_decref(shared->texts[i].json);
}

/* ---- one value ---- */

/* A value as it was given: what it is, and what is needed to judge and to keep it. */
struct given {
    enum tl_jkind kind;
    double number;
    bool boolean;
    struct tl_jtext text; /* of a string */
    struct tl_jtext raw;  /* of any other kind that is none of these, where it was read from text */
    json_t *json;         /* borrowed, where it came as JSON */
};

static void read_given(struct tl_jread *r, struct given *g)
{
    *g = (struct given){.kind = tl_jread_kind(r)};
    switch (g->kind) {
    case TL_J_NUMBER: {
        tl_jread_kind(r);
        g->raw.s = r->at;
        tl_jread_number(r, &g->number);
        g->raw.len = (size_t)(r->at - g->raw.s);
        break;
    }
    case TL_J_BOOLEAN:
        tl_jread_boolean(r, &g->boolean);
        break;
    case TL_J_STRING:
        tl_jread_string(r, &g->text);
        break;
    default:
        tl_jread_skip(r, &g->raw);
    }
}

static struct given given_json(json_t *j)
{
    static const enum tl_jkind kinds[] = {
        [JSON_OBJECT] = TL_J_OBJECT,  [JSON_ARRAY] = TL_J_LIST,  [JSON_STRING] = TL_J_STRING,
        [JSON_INTEGER] = TL_J_NUMBER, [JSON_REAL] = TL_J_NUMBER, [JSON_TRUE] = TL_J_BOOLEAN,
        [JSON_FALSE] = TL_J_BOOLEAN,  [JSON_NULL] = TL_J_NULL};
    return (struct given){.kind = kinds[json_typeof(j)],
                          .number = json_number_value(j),
                          .boolean = json_is_true(j),
                          .text = {json_string_value(j), json_string_length(j)},
                          .json = j};
}

/* The value itself; returns owned. */
static json_t *take_json(const struct given *g, struct tl_shared *shared)
{
    json_t *j = NULL;
    if (g->json)
        return json_incref(g->json);
    switch (g->kind) {
    case TL_J_STRING:
        return tl_shared_text(shared, g->text);
    case TL_J_BOOLEAN:
        return json_boolean(g->boolean);
    case TL_J_NULL:
        return json_null();
    default:
        return tl_json_parse(g->raw.s, g->raw.len, &j, NULL) == 0 ? j : NULL;
    }
}

static int check_number(const struct tl_param *p, const struct given *g, struct tl_str *why)
{
    double v = g->number;
    if (g->kind != TL_J_NUMBER)
        tl_str_printf(why, "must be a number");
    else if (p->min < p->max && (v < p->min || v > p->max))
        tl_str_printf(why, "must be between %g and %g, not %g", p->min, p->max, v);
    else if (!on_step(p, v))
        tl_str_printf(why, "must be in steps of %g from %g, not %g", p->step, p->min, v);
    return why->len ? TL_EINVAL : 0;
}

static int check_enum(const struct tl_param *p, const struct given *g, struct tl_str *why)
{
    for (size_t i = 0; g->kind == TL_J_STRING && p->options[i]; i++)
        if (tl_jtext_is(g->text, p->options[i]))
            return 0;
    tl_str_puts(why, "must be one of");
    for (size_t i = 0; p->options[i]; i++)
        tl_str_printf(why, "%s \"%s\"", i ? "," : "", p->options[i]);
    return TL_EINVAL;
}

static int check_string(const struct tl_param *p, const struct given *g, struct tl_str *why)
{
    size_t longest = p->max > 0 ? (size_t)p->max : TL_PARAM_STRING_MAX;
    if (g->kind != TL_J_STRING)
        tl_str_puts(why, "must be text");
    else if (g->text.len > longest)
        tl_str_printf(why, "must be at most %zu bytes long, not %zu", longest, g->text.len);
    return why->len ? TL_EINVAL : 0;
}

static int check_value(const struct tl_param *p, const struct given *g, struct tl_shared *shared, struct tl_value *ret,
                       struct tl_str *why)
{
    int bad = 0;
    switch (p->type) {
    case TL_P_NUMBER:
        bad = check_number(p, g, why);
        if (!bad)
            *ret = tl_value_number(g->number);
        return why->err ? TL_ENOMEM : bad;
    case TL_P_BOOLEAN:
        if (g->kind != TL_J_BOOLEAN)
            tl_str_puts(why, "must be true or false");
        else
            *ret = tl_value_bool(g->boolean);
        return why->err ? TL_ENOMEM : why->len ? TL_EINVAL : 0;
    case TL_P_ENUM:
        bad = check_enum(p, g, why);
        break;
    case TL_P_STRING:
        bad = check_string(p, g, why);
        break;
    case TL_P_JSON:
        break;
    }
    if (bad || why->err)
        return why->err ? TL_ENOMEM : bad;
    *ret = tl_value_take(p->type == TL_P_JSON ? TL_T_JSON : TL_T_STRING, take_json(g, shared));
    return tl_value_none(ret) ? TL_ENOMEM : 0;
}

static int usual_of(const struct tl_param *p, struct tl_value *ret)
{
    if (!p->default_json)
        return 0;
    TL_AUTO_JSON json_t *j = json_loads(p->default_json, JSON_DECODE_ANY, NULL);
    if (!j)
        return TL_ENOMEM;
    struct tl_str why = {0};
    struct given g = given_json(j);
    int err = check_value(p, &g, NULL, ret, &why);
    tl_str_clear(&why);
    return err == TL_EINVAL ? TL_EINTERNAL : err;
}

int tl_params_usual(const struct tl_param *list, uint32_t count, struct tl_value *ret)
{
    int err = 0;
    for (uint32_t i = 0; !err && i < count; i++)
        err = usual_of(&list[i], &ret[i]);
    return err;
}

/* ---- all of them ---- */

/* why NULL: there is no such parameter. */
static void say(const struct tl_params *p, struct tl_jtext name, const char *why)
{
    struct tl_str at = {0}, port = {0};
    tl_str_printf(&at, "%s.%.*s", p->path, (int)name.len, name.s);
    tl_str_add(&port, name.s, name.len);
    if (at.err || port.err)
        p->diag->err = TL_ENOMEM;
    else if (why)
        tl_diag_add(p->diag, p->node, port.data, at.data, "%s %s", port.data, why);
    else
        tl_diag_add(p->diag, p->node, port.data, at.data, "unknown parameter \"%s\"", port.data ? port.data : "");
    tl_str_clear(&at);
    tl_str_clear(&port);
}

/* One that was given. */
static int take(const struct tl_params *p, struct tl_jtext name, const struct given *g, bool *seen)
{
    uint32_t i = find(p, name);
    if (i == UINT32_MAX) {
        say(p, name, NULL);
        return 0;
    }
    struct tl_str why = {0};
    int err = check_value(&p->list[i], g, p->shared, &p->values[i], &why);
    seen[i] = true;
    if (err == TL_EINVAL) {
        say(p, name, why.data);
        err = 0;
    }
    tl_str_clear(&why);
    return err;
}

/* Those that were not. */
static int fill(const struct tl_params *p, const bool *seen)
{
    int err = 0;
    for (uint32_t i = 0; !err && i < p->count; i++) {
        if (seen[i])
            continue;
        if (p->list[i].flags & TL_PARAM_REQUIRED)
            tl_diag_add(p->diag, p->node, p->list[i].name, p->path, "the parameter \"%s\" is required",
                        p->list[i].name);
        else if (p->usual)
            p->values[i] = tl_value_ref(&p->usual[i]);
        else
            err = usual_of(&p->list[i], &p->values[i]);
    }
    return err;
}

enum { FEW = 64 };

int tl_params_read(const struct tl_params *p, struct tl_jread *r)
{
    bool few[FEW] = {0}, *seen = p->count <= FEW ? few : tl_calloc(p->count, sizeof(*seen));
    struct tl_jtext key;
    int err = seen ? 0 : TL_ENOMEM;
    if (!err && r && tl_jread_kind(r) != TL_J_OBJECT) {
        tl_diag_add(p->diag, p->node, NULL, p->path, "parameters must be an object");
        tl_jread_skip(r, NULL);
    } else if (!err && r) {
        tl_jread_object(r);
        while (!err && tl_jread_key(r, &key)) {
            struct given g;
            read_given(r, &g);
            if (!r->err)
                err = take(p, key, &g, seen);
        }
    }
    if (!err)
        err = fill(p, seen);
    if (seen != few)
        free(seen);
    return err;
}

int tl_params_check(const struct tl_param *params, bool admin, const json_t *given, const char *node, const char *path,
                    struct tl_value *values, struct tl_diag *diag)
{
    struct tl_diag own = {0}, *d = diag ? diag : &own;
    size_t before = d->count + d->dropped;
    uint32_t count = 0;
    while (params && params[count].name)
        count++;
    struct tl_params p = {
        .list = params, .count = count, .admin = admin, .node = node, .path = path, .values = values, .diag = d};
    bool *seen = tl_calloc(count, sizeof(*seen));
    int err = seen ? 0 : TL_ENOMEM;
    if (given && !json_is_object(given)) {
        tl_diag_add(d, node, NULL, path, "parameters must be an object");
        given = NULL;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)given, key, value) {
        struct given g = given_json(value);
        if (!err)
            err = take(&p, (struct tl_jtext){key, strlen(key)}, &g, seen);
    }
    if (!err)
        err = fill(&p, seen);
    free(seen);
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
        if (p->flags & TL_PORT_EITHER)
            set_new(o, "either", json_true());
        set_new(o, "doc", p->doc ? json_string(p->doc) : NULL);
        json_array_append_new(list, o);
    }
    return list;
}

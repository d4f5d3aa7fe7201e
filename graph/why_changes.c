/* What differs between a node of one run and the same node of another. */
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/why_side.h"

#include <string.h>

enum { SHOWN = 80 /* bytes of a value */, CHANGES_MAX = 50, HASH_SHOWN = 8 };

/* A value as text: itself, or its hash where it is long. NULL for none. */
static json_t *shorten(const json_t *value)
{
    if (!value)
        return NULL;
    TL_AUTO_FREE char *text = tl_json_canonical(value);
    if (!text)
        return NULL;
    size_t len = strlen(text);
    if (len <= SHOWN)
        return json_copy((json_t *)(uintptr_t)value);
    uint8_t hash[TL_BLAKE2B_LEN];
    char hex[2 * HASH_SHOWN + 1], shown[64];
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, text, len);
    tl_blake2b_final(&h, hash);
    tl_hex(hash, HASH_SHOWN, hex);
    snprintf(shown, sizeof(shown), "blake2b:%s (%zu bytes)", hex, len);
    return json_string(shown);
}

static void add(json_t *changes, const char *kind, const char *name, const json_t *from, const json_t *to)
{
    if (json_array_size(changes) >= CHANGES_MAX)
        return;
    json_t *c = json_pack("{s:s}", "kind", kind), *f = shorten(from), *t = shorten(to);
    if (name)
        json_object_set_new(c, "name", json_string(name));
    if (f)
        json_object_set_new(c, "from", f);
    if (t)
        json_object_set_new(c, "to", t);
    json_array_append_new(changes, c);
}

static void add_texts(json_t *changes, const char *kind, const char *name, const char *from, const char *to)
{
    TL_AUTO_JSON json_t *f = from ? json_string(from) : NULL, *t = to ? json_string(to) : NULL;
    if ((!from && !to) || (from && to && strcmp(from, to) == 0))
        return;
    add(changes, kind, name, f, t);
}

static const struct tl_plan_node *node_of(const struct tl_why_side *s)
{
    return &s->plan->nodes[s->node];
}

static bool same_value(const struct tl_value *a, const struct tl_value *b)
{
    const struct tl_value none = {.type = TL_T_ANY};
    uint8_t x[TL_BLAKE2B_LEN], y[TL_BLAKE2B_LEN];
    return tl_value_hash(a ? a : &none, x) == 0 && tl_value_hash(b ? b : &none, y) == 0 && memcmp(x, y, sizeof(x)) == 0;
}

static const struct tl_value *param(const struct tl_plan_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->nparams; i++)
        if (strcmp(n->shape->params[i].name, name) == 0)
            return &n->params[i];
    return NULL;
}

static void add_values(json_t *changes, const char *kind, const char *name, const struct tl_value *from,
                       const struct tl_value *to)
{
    TL_AUTO_JSON json_t *f = tl_value_none(from) ? NULL : tl_value_json(from);
    TL_AUTO_JSON json_t *t = tl_value_none(to) ? NULL : tl_value_json(to);
    add(changes, kind, name, f, t);
}

static void compare_params(json_t *changes, const struct tl_plan_node *from, const struct tl_plan_node *to, bool admin)
{
    for (uint32_t i = 0; i < to->nparams; i++) {
        const struct tl_param *p = &to->shape->params[i];
        const struct tl_value *was = param(from, p->name);
        if (same_value(was, &to->params[i]))
            continue;
        if (admin || !(p->flags & TL_PARAM_ADMIN)) /* to others it does not exist */
            add_values(changes, "parameter", p->name, was, &to->params[i]);
    }
}

static void compare_ops(json_t *changes, const struct tl_why_side *from, const struct tl_why_side *to)
{
    const json_t *was = from->ops, *is = to->ops;
    const struct tl_plan_node *a = node_of(from), *b = node_of(to);
    const json_t *ra = json_object_get(was, a->op->name), *rb = json_object_get(is, b->op->name);
    if (ra && rb && !json_equal(ra, rb))
        add(changes, "revision", b->op->name, ra, rb);
    add_texts(changes, "version", NULL, a->shape->label, b->shape->label);
    if (a->shape->label && b->shape->label && strcmp(a->shape->label, b->shape->label) == 0) {
        const char *x = tl_json_str(a->data, "patternVersion"), *y = tl_json_str(b->data, "patternVersion");
        size_t before = json_array_size(changes);
        add_texts(changes, "version", "patternVersion", x, y);
        const char *m = tl_json_str(was, a->shape->label), *n = tl_json_str(is, b->shape->label);
        if (json_array_size(changes) == before && m && n && strcmp(m, n) != 0)
            add(changes, "identity", b->shape->label, NULL, NULL);
    } else if (!a->shape->label && !b->shape->label) {
        const char *x = a->shape->identity, *y = b->shape->identity;
        if ((x || y) && (!x || !y || strcmp(x, y) != 0))
            add(changes, "body", NULL, NULL, NULL);
    }
}

/* "a.value, b.value": where a port's value comes from. NULL where no edge comes in. */
static char *sources_text(const struct tl_plan *plan, const struct tl_plan_port *port)
{
    struct tl_str s = {0};
    for (uint32_t k = 0; k < port->nsources; k++) {
        const struct tl_plan_source *src = &plan->sources[port->first_source + k];
        const struct tl_plan_node *n = &plan->nodes[src->node];
        tl_str_printf(&s, "%s%s.%s", k ? ", " : "", n->id, n->out[src->out]->name);
    }
    return tl_str_take(&s);
}

/* The same outputs, as the journals have them. */
static bool same_outputs(const struct tl_why_side *from, uint32_t a, const struct tl_why_side *to, uint32_t b)
{
    const struct tl_jtext *x = &from->outputs[a], *y = &to->outputs[b];
    return x->s && y->s && x->len == y->len && memcmp(x->s, y->s, x->len) == 0;
}

static json_t *arrived(const struct tl_why_side *s, const struct tl_plan_source *src)
{
    return tl_why_output(s, src->node, s->plan->nodes[src->node].out[src->out]->name);
}

static bool same_json(const json_t *a, const json_t *b)
{
    if (!a || !b)
        return a == b;
    TL_AUTO_FREE char *x = tl_json_canonical(a), *y = tl_json_canonical(b);
    return x && y && strcmp(x, y) == 0;
}

static void compare_port(json_t *changes, const struct tl_why_side *from, const struct tl_why_side *to,
                         const struct tl_plan_port *was, const struct tl_plan_port *is)
{
    const char *name = is->def->name;
    if (!was->nsources && !is->nsources) {
        if (!same_value(was->literal, is->literal))
            add_values(changes, "literal", name, was->literal, is->literal);
        return;
    }
    TL_AUTO_FREE char *x = sources_text(from->plan, was), *y = sources_text(to->plan, is);
    if (!x || !y || strcmp(x, y) != 0) {
        add_texts(changes, "edge", name, x, y);
        return;
    }
    for (uint32_t k = 0; !from->cut && !to->cut && k < is->nsources; k++) {
        const struct tl_plan_source *x_src = &from->plan->sources[was->first_source + k];
        const struct tl_plan_source *y_src = &to->plan->sources[is->first_source + k];
        if (same_outputs(from, x_src->node, to, y_src->node))
            continue;
        TL_AUTO_JSON json_t *a = arrived(from, x_src), *b = arrived(to, y_src);
        if (!same_json(a, b))
            add(changes, "input", name, a, b);
    }
}

static void compare_ports(json_t *changes, const struct tl_why_side *from, const struct tl_why_side *to)
{
    const struct tl_plan_node *a = node_of(from), *b = node_of(to);
    for (uint32_t p = 0; p < b->nin; p++)
        for (uint32_t q = 0; q < a->nin; q++)
            if (strcmp(a->in[q].def->name, b->in[p].def->name) == 0)
                compare_port(changes, from, to, &a->in[q], &b->in[p]);
}

static json_t *outputs_of(const struct tl_why_side *s, uint32_t node)
{
    json_t *all = NULL;
    if (node != UINT32_MAX && s->outputs[node].s)
        tl_json_parse(s->outputs[node].s, s->outputs[node].len, &all, NULL);
    return all;
}

static void compare_outputs(json_t *changes, const char *id, const struct tl_why_side *from, uint32_t a,
                            const struct tl_why_side *to, uint32_t b)
{
    if (a != UINT32_MAX && b != UINT32_MAX && same_outputs(from, a, to, b))
        return;
    TL_AUTO_JSON json_t *was = outputs_of(from, a), *is = outputs_of(to, b);
    if (!same_json(was, is))
        add(changes, "upstream", id, was, is);
}

/* Ancestors whose outputs the op reads. */
static void compare_upstream(json_t *changes, const struct tl_why_side *from, const struct tl_why_side *to)
{
    for (uint32_t i = 0; i < to->plan->nnodes; i++) {
        const char *id = to->plan->nodes[i].id;
        if (to->sources[i])
            compare_outputs(changes, id, from, tl_plan_find(from->plan, id), to, i);
    }
    for (uint32_t i = 0; i < from->plan->nnodes; i++) {
        const char *id = from->plan->nodes[i].id;
        uint32_t b = from->sources[i] ? tl_plan_find(to->plan, id) : 0;
        if (from->sources[i] && (b == UINT32_MAX || !to->sources[b]))
            compare_outputs(changes, id, from, i, to, UINT32_MAX);
    }
}

json_t *tl_why_changes(const struct tl_why_side *from, const struct tl_why_side *to, bool admin)
{
    const struct tl_plan_node *a = node_of(from), *b = node_of(to);
    json_t *changes = json_array();
    if (!changes)
        return NULL;
    if (strcmp(a->op->name, b->op->name) != 0) {
        add_texts(changes, "op", NULL, a->op->name, b->op->name);
        return changes;
    }
    compare_ops(changes, from, to);
    compare_params(changes, a, b, admin);
    compare_ports(changes, from, to);
    if (!json_array_size(changes) && b->op->flags & TL_OP_UPSTREAM && !from->cut && !to->cut)
        compare_upstream(changes, from, to);
    return changes;
}

/* Holding a condition against values. Nothing is coerced: values of different types are unequal and have no order; what is missing is null; only true is true. */
#include "base/err.h"
#include "graph/cond_tree.h"

#include <string.h>

enum {
    COMPARE_DEPTH = 64, /* of values held against one another; deeper ones are unequal */
    BYTES_OF_ONE = 64,  /* of text, that count as one value looked at */
};

/* A value of any origin: a number or boolean in place, text, JSON, or a list in the condition itself. */
struct seen {
    enum tl_term_kind kind; /* TL_TERM_PATH: json, an object or a list */
    bool boolean;
    long double number;
    const char *text;
    size_t len;
    const json_t *json;
    const struct tl_term *list;
};

/* What is looked at, and how much more may be. */
struct eval {
    const struct tl_value *values;
    size_t left; /* 0: no more; what is found out then means nothing */
};

/* One value, or some bytes of text, are looked at. */
static bool spend(struct eval *e, size_t bytes)
{
    size_t cost = 1 + bytes / BYTES_OF_ONE;
    e->left = e->left > cost ? e->left - cost : 0;
    return e->left;
}

static struct seen see_number(long double v)
{
    return (struct seen){.kind = TL_TERM_NUMBER, .number = v};
}

static struct seen see_json(const json_t *j)
{
    if (json_is_integer(j))
        return see_number((long double)json_integer_value(j));
    if (json_is_real(j))
        return see_number((long double)json_real_value(j));
    if (json_is_boolean(j))
        return (struct seen){.kind = TL_TERM_BOOLEAN, .boolean = json_is_true(j)};
    if (json_is_string(j))
        return (struct seen){.kind = TL_TERM_STRING, .text = json_string_value(j), .len = json_string_length(j)};
    if (json_is_array(j) || json_is_object(j))
        return (struct seen){.kind = TL_TERM_PATH, .json = j};
    return (struct seen){.kind = TL_TERM_NULL};
}

static struct seen see_value(const struct tl_value *v)
{
    if (v->type == TL_T_NUMBER)
        return see_number((long double)v->number);
    if (v->type == TL_T_BOOLEAN)
        return (struct seen){.kind = TL_TERM_BOOLEAN, .boolean = v->boolean};
    return see_json(v->type == TL_T_ANY ? NULL : v->json);
}

static struct seen follow(const struct tl_term *t, const struct tl_value *values)
{
    struct seen s = see_value(&values[t->root]);
    for (const struct tl_cond_step *step = t->steps; step && s.kind != TL_TERM_NULL; step = step->next) {
        const json_t *j = s.kind == TL_TERM_PATH ? s.json : NULL;
        s = see_json(step->key ? json_object_get(j, step->key) : json_array_get(j, step->index));
    }
    return s;
}

static struct seen length(struct eval *e, struct seen s)
{
    size_t n = 0;
    if (s.kind == TL_TERM_PATH)
        return see_number((long double)(json_is_array(s.json) ? json_array_size(s.json) : json_object_size(s.json)));
    if (s.kind != TL_TERM_STRING || !spend(e, s.len))
        return (struct seen){.kind = TL_TERM_NULL};
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.text[i] & 0xc0) != 0x80; /* characters, not bytes */
    return see_number((long double)n);
}

static struct seen see(struct eval *e, const struct tl_term *t)
{
    struct seen s = {
        .kind = t->kind, .boolean = t->boolean, .number = t->number, .text = t->text, .len = t->len, .list = t};
    if (t->kind == TL_TERM_PATH)
        s = follow(t, e->values);
    return t->length ? length(e, s) : s;
}

static bool same(struct eval *e, struct seen a, struct seen b, int depth);

static bool same_json(struct eval *e, const json_t *a, const json_t *b, int depth)
{
    size_t i;
    const char *key;
    json_t *v;
    if (a == b)
        return true;
    if (depth == 0 || json_is_array(a) != json_is_array(b))
        return false;
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        json_array_foreach((json_t *)(uintptr_t)a, i, v) {
            if (!same(e, see_json(v), see_json(json_array_get(b, i)), depth - 1))
                return false;
        }
        return true;
    }
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)(uintptr_t)a, key, v) {
        const json_t *other = json_object_get(b, key);
        if (!other || !same(e, see_json(v), see_json(other), depth - 1))
            return false;
    }
    return true;
}

/* A list that is written in the condition, of scalars. */
static bool same_list(struct eval *e, const struct tl_term *list, const json_t *j)
{
    size_t i = 0;
    if (!json_is_array(j))
        return false;
    for (const struct tl_term *t = list->first; t; t = t->next, i++)
        if (i >= json_array_size(j) || !same(e, see(e, t), see_json(json_array_get(j, i)), 1))
            return false;
    return i == json_array_size(j);
}

static bool same_lists(struct eval *e, const struct tl_term *a, const struct tl_term *b)
{
    for (a = a->first, b = b->first; a && b; a = a->next, b = b->next)
        if (!same(e, see(e, a), see(e, b), 1))
            return false;
    return !a && !b;
}

static bool same(struct eval *e, struct seen a, struct seen b, int depth)
{
    if (!spend(e, a.kind == TL_TERM_STRING && a.len == b.len ? a.len : 0))
        return false;
    if (a.kind == TL_TERM_PATH && b.kind == TL_TERM_LIST)
        return same_list(e, b.list, a.json);
    if (a.kind == TL_TERM_LIST && b.kind == TL_TERM_PATH)
        return same_list(e, a.list, b.json);
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case TL_TERM_NULL:
        return true;
    case TL_TERM_BOOLEAN:
        return a.boolean == b.boolean;
    case TL_TERM_NUMBER:
        return a.number == b.number;
    case TL_TERM_STRING:
        return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
    case TL_TERM_LIST:
        return same_lists(e, a.list, b.list);
    case TL_TERM_PATH:
        return same_json(e, a.json, b.json, depth);
    }
    return false;
}

/* Numbers with numbers, texts with texts by their bytes; nothing else has an order. */
static bool ordered(struct eval *e, enum tl_cond_op op, struct seen a, struct seen b)
{
    int c;
    if (a.kind == TL_TERM_NUMBER && b.kind == TL_TERM_NUMBER) {
        c = a.number < b.number ? -1 : a.number > b.number;
    } else if (a.kind == TL_TERM_STRING && b.kind == TL_TERM_STRING) {
        size_t n = a.len < b.len ? a.len : b.len;
        if (!spend(e, n))
            return false;
        c = memcmp(a.text, b.text, n);
        c = c ? c : a.len < b.len ? -1 : a.len > b.len;
    } else {
        return false;
    }
    return op == TL_COND_LT ? c < 0 : op == TL_COND_LE ? c <= 0 : op == TL_COND_GT ? c > 0 : c >= 0;
}

static bool within(struct eval *e, struct seen a, struct seen list)
{
    size_t i;
    json_t *v;
    if (list.kind == TL_TERM_LIST) {
        for (const struct tl_term *t = list.list->first; t; t = t->next)
            if (same(e, a, see(e, t), COMPARE_DEPTH))
                return true;
        return false;
    }
    json_array_foreach(list.kind == TL_TERM_PATH ? (json_t *)(uintptr_t)list.json : NULL, i, v) {
        if (same(e, a, see_json(v), COMPARE_DEPTH))
            return true;
    }
    return false;
}

static bool compare(struct eval *e, const struct tl_cond *c)
{
    struct seen a = see(e, c->left), b = see(e, c->right);
    switch (c->op) {
    case TL_COND_EQ:
        return same(e, a, b, COMPARE_DEPTH);
    case TL_COND_NE:
        return !same(e, a, b, COMPARE_DEPTH);
    case TL_COND_IN:
        return within(e, a, b);
    default:
        return ordered(e, c->op, a, b);
    }
}

static bool holds(struct eval *e, const struct tl_cond *cond)
{
    const struct tl_cond *c;
    struct seen s;
    switch (cond->kind) {
    case TL_COND_OR:
        for (c = cond->first; c; c = c->next)
            if (holds(e, c))
                return true;
        return false;
    case TL_COND_AND:
        for (c = cond->first; c; c = c->next)
            if (!holds(e, c))
                return false;
        return true;
    case TL_COND_NOT:
        return !holds(e, cond->first);
    case TL_COND_COMPARE:
        return compare(e, cond);
    case TL_COND_TRUTH:
        s = see(e, cond->left);
        return s.kind == TL_TERM_BOOLEAN && s.boolean;
    }
    return false;
}

int tl_cond_holds(const struct tl_cond *cond, const struct tl_value *values, size_t *left, bool *ret)
{
    struct eval e = {.values = values, .left = *left};
    *ret = holds(&e, cond);
    *left = e.left;
    return e.left ? 0 : TL_ELIMIT;
}

#include "capsules/craft/facts.h"
#include "base/err.h"

#include <math.h>
#include <string.h>

json_t *tl_facts_merge(const json_t *list)
{
    json_t *all = json_object(), *one, *value;
    size_t i;
    const char *key;
    json_array_foreach(list, i, one) {
        json_object_foreach(one, key, value) {
            if (json_is_number(value) || json_is_string(value)) {
                if (json_object_set(all, key, value) < 0) {
                    json_decref(all);
                    return NULL;
                }
            }
        }
    }
    return all;
}

static bool compare(double a, const char *how, double b, bool *ret)
{
    if (strcmp(how, ">") == 0)
        *ret = a > b;
    else if (strcmp(how, ">=") == 0)
        *ret = a >= b;
    else if (strcmp(how, "<") == 0)
        *ret = a < b;
    else if (strcmp(how, "<=") == 0)
        *ret = a <= b;
    else
        return false;
    return true;
}

bool tl_facts_valid(const json_t *when)
{
    size_t i;
    json_t *test;
    if (!when)
        return true;
    if (!json_is_array(when))
        return false;
    json_array_foreach(when, i, test) {
        const char *how = json_string_value(json_array_get(test, 1));
        bool ignored;
        if (json_array_size(test) != 3 || !json_is_string(json_array_get(test, 0)) || !how ||
            !compare(0, how, 0, &ignored) || !json_is_number(json_array_get(test, 2)))
            return false;
    }
    return true;
}

bool tl_facts_hold(const json_t *facts, const json_t *when)
{
    size_t i;
    json_t *test;
    if (!tl_facts_valid(when))
        return false;
    json_array_foreach(when, i, test) {
        const json_t *fact = json_object_get(facts, json_string_value(json_array_get(test, 0)));
        bool holds = false;
        if (!json_is_number(fact) ||
            !compare(json_number_value(fact), json_string_value(json_array_get(test, 1)),
                     json_number_value(json_array_get(test, 2)), &holds) ||
            !holds)
            return false;
    }
    return true;
}

static bool print_fact(double v, const char *form, struct tl_str *ret)
{
    if (strcmp(form, "t") == 0) {
        long sec = lround(v < 0 ? 0 : v);
        tl_str_printf(ret, "%ld:%02ld", sec / 60, sec % 60);
    } else if (strcmp(form, "p") == 0) {
        tl_str_printf(ret, "%ld%%", lround(v * 100));
    } else if (strcmp(form, "0") == 0) {
        tl_str_printf(ret, "%ld", lround(v));
    } else if (strcmp(form, "1") == 0 || strcmp(form, "2") == 0) {
        tl_str_printf(ret, "%.*f", form[0] - '0', v);
    } else if (!*form) {
        tl_str_printf(ret, "%g", floor(v * 10 + 0.5) / 10);
    } else {
        return false;
    }
    return true;
}

int tl_facts_expand(const json_t *facts, const char *text, struct tl_str *ret)
{
    for (const char *p = text; *p;) {
        const char *open = strchr(p, '{');
        if (!open) {
            tl_str_puts(ret, p);
            break;
        }
        const char *close = strchr(open, '}');
        char name[48];
        if (!close || (size_t)(close - open) > sizeof(name))
            return TL_ESCHEMA;
        tl_str_add(ret, p, (size_t)(open - p));
        memcpy(name, open + 1, (size_t)(close - open - 1));
        name[close - open - 1] = '\0';
        char *form = strchr(name, ':');
        if (form)
            *form++ = '\0';
        const json_t *fact = json_object_get(facts, name);
        if (!json_is_number(fact))
            return TL_ENOTFOUND;
        if (!print_fact(json_number_value(fact), form ? form : "", ret))
            return TL_ESCHEMA;
        p = close + 1;
    }
    return ret->err;
}

#include "base/diag.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <jansson.h>
#include <string.h>

int tl_diag_add(struct tl_diag *diag, const char *node, const char *port, const char *path, const char *fmt, ...)
{
    if (!diag)
        return TL_EINVAL;
    if (diag->count >= TL_DIAG_MAX) {
        diag->dropped++;
        return TL_EINVAL;
    }
    if (tl_grow(&diag->items, &diag->cap, diag->count + 1, sizeof(*diag->items)) < 0) {
        diag->err = TL_ENOMEM;
        return TL_EINVAL;
    }
    struct tl_str text = {0};
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&text, fmt, ap);
    va_end(ap);
    diag->items[diag->count++] = (struct tl_problem){
        .node = tl_strdup(node), .port = tl_strdup(port), .path = tl_strdup(path), .message = tl_str_take(&text)};
    return TL_EINVAL;
}

bool tl_diag_any(const struct tl_diag *diag)
{
    return diag && (diag->count || diag->err);
}

static void set_text(json_t *obj, const char *key, const char *text)
{
    if (text)
        json_object_set_new(obj, key, json_string(text));
}

json_t *tl_diag_json(const struct tl_diag *diag)
{
    json_t *list = json_array();
    for (size_t i = 0; diag && i < diag->count; i++) {
        json_t *item = json_object();
        set_text(item, "node", diag->items[i].node);
        set_text(item, "port", diag->items[i].port);
        set_text(item, "path", diag->items[i].path);
        set_text(item, "message", diag->items[i].message);
        json_array_append_new(list, item);
    }
    json_t *out = json_object();
    json_object_set_new(out, "problems", list);
    if (diag && diag->dropped)
        json_object_set_new(out, "omitted", json_integer((json_int_t)diag->dropped));
    return out;
}

void tl_diag_cut(struct tl_diag *diag, size_t count, size_t dropped)
{
    for (; diag && diag->count > count; diag->count--) {
        struct tl_problem *p = &diag->items[diag->count - 1];
        free(p->node);
        free(p->port);
        free(p->path);
        free(p->message);
    }
    if (diag)
        diag->dropped = dropped;
}

void tl_diag_clear(struct tl_diag *diag)
{
    if (!diag)
        return;
    tl_diag_cut(diag, 0, 0);
    free(diag->items);
    memset(diag, 0, sizeof(*diag));
}

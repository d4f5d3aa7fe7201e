#include "cli/view.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {"queued", "running", "waiting", "done", "failed", "cancelled", "skipped"};

/* A capsule node says which capsule it is; every other one what op. */
static char *type_of(const json_t *node)
{
    const json_t *data = json_object_get(node, "data");
    const char *capsule = tl_json_str(data, "capsuleId"), *version = tl_json_str(data, "capsuleVersion"),
               *type = tl_json_str(node, "type");
    char *text = NULL;
    if (!capsule)
        return tl_strdup(type ? type : "");
    return asprintf(&text, "%s%s%s", capsule, version ? "@" : "", version ? version : "") < 0 ? NULL : text;
}

int tl_cli_view_init(struct tl_cli_view *view, const json_t *graph)
{
    memset(view, 0, sizeof(*view));
    const json_t *nodes = json_object_get(graph, "nodes");
    size_t n = json_array_size(nodes);
    view->outputs = json_object();
    view->index = json_object();
    view->asks = json_object();
    view->nodes = tl_calloc(n ? n : 1, sizeof(*view->nodes));
    bool whole = view->outputs && view->index && view->asks && view->nodes;
    for (size_t i = 0; whole && i < n; i++) {
        const json_t *node = json_array_get(nodes, i);
        const char *id = tl_json_str(node, "id"), *label = tl_json_str(json_object_get(node, "data"), "label");
        struct tl_cli_view_node *v = &view->nodes[view->nnodes++];
        v->id = tl_strdup(id ? id : "");
        v->label = tl_strdup(label && *label ? label : v->id);
        v->type = type_of(node);
        whole =
            v->id && v->label && v->type && json_object_set_new(view->index, v->id, json_integer((json_int_t)i)) == 0;
    }
    if (!whole)
        tl_cli_view_clear(view);
    return whole ? 0 : TL_ENOMEM;
}

void tl_cli_view_clear(struct tl_cli_view *view)
{
    for (size_t i = 0; view->nodes && i < view->nnodes; i++) {
        free(view->nodes[i].id);
        free(view->nodes[i].label);
        free(view->nodes[i].type);
        free(view->nodes[i].message);
    }
    free(view->nodes);
    free(view->message);
    json_decref(view->index);
    json_decref(view->outputs);
    json_decref(view->asks);
    json_decref(view->ending);
    memset(view, 0, sizeof(*view));
}

static struct tl_cli_view_node *find(const struct tl_cli_view *view, const char *id)
{
    const json_t *at = id ? json_object_get(view->index, id) : NULL;
    return at ? &view->nodes[json_integer_value(at)] : NULL;
}

const struct tl_cli_view_node *tl_cli_view_find(const struct tl_cli_view *view, const char *id)
{
    return find(view, id);
}

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = tl_strdup(text);
}

void tl_cli_view_ask(const json_t *ask, struct tl_str *out)
{
    const json_t *shown = json_object_get(ask, "shown");
    const char *prompt = tl_json_str(shown, "prompt"), *message = tl_json_str(shown, "message");
    size_t i;
    json_t *d;
    tl_str_puts(out, "waits for a person (");
    json_array_foreach(json_object_get(ask, "decisions"), i, d)
        tl_str_printf(out, "%s%s", i ? ", " : "", json_is_string(d) ? json_string_value(d) : "");
    tl_str_puts(out, ")");
    if (prompt && *prompt)
        tl_str_printf(out, ": %s", prompt);
    else if (message)
        tl_str_printf(out, ": %s", message);
}

static void asks(struct tl_cli_view *view, const json_t *state)
{
    const char *id = tl_json_str(state, "id"), *status = tl_json_str(state, "status");
    json_t *ask = json_object_get(state, "waiting_for");
    if (id && status && !strcmp(status, "waiting"))
        json_object_set(view->asks, id, ask ? ask : json_null());
    else if (id && status)
        json_object_del(view->asks, id);
}

static void node_state(struct tl_cli_view *view, const json_t *state)
{
    asks(view, state);
    struct tl_cli_view_node *v = find(view, tl_json_str(state, "id"));
    const char *status = tl_json_str(state, "status");
    if (!v)
        return;
    for (size_t i = 0; status && i < TL_ARRAY_LEN(status_names); i++)
        if (!strcmp(status, status_names[i]))
            v->status = (enum tl_cli_view_status)i;
    v->percent =
        v->status == TL_VIEW_DONE ? 100 : tl_json_num(state, "progress", v->status == TL_VIEW_RUNNING ? v->percent : 0);
    v->cached = tl_json_bool(state, "cached", v->cached);
    set_text(&v->message, tl_json_str(state, "message"));
}

static void progress(struct tl_cli_view *view, const json_t *payload)
{
    view->percent = tl_json_num(payload, "progress", view->percent);
    if (tl_json_str(payload, "message"))
        set_text(&view->message, tl_json_str(payload, "message"));
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(payload, "nodes"), i, item)
        node_state(view, item);
}

/* What came before was cut off: the state there was then. */
static void reset(struct tl_cli_view *view, const json_t *payload)
{
    const char *id;
    json_t *state;
    view->status = TL_VIEW_RUNNING;
    view->percent = tl_json_num(payload, "progress", view->percent);
    json_object_foreach(json_object_get(payload, "nodes"), id, state) {
        TL_AUTO_JSON json_t *named = json_copy(state);
        json_object_set_new(named, "id", json_string(id));
        node_state(view, named);
    }
}

static void results(struct tl_cli_view *view, const json_t *payload)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(payload, "results"), i, item) {
        const char *node = tl_json_str(item, "node");
        json_t *outputs = json_object_get(item, "outputs");
        if (node && json_is_object(outputs))
            json_object_set(view->outputs, node, outputs);
    }
}

static void end(struct tl_cli_view *view, enum tl_cli_view_status status, json_t *payload)
{
    view->status = status;
    json_object_clear(view->asks);
    json_decref(view->ending);
    view->ending = payload ? json_incref(payload) : json_null();
    if (status == TL_VIEW_DONE)
        view->percent = 100;
    const char *node = tl_json_str(json_object_get(json_object_get(payload, "error"), "details"), "node");
    for (size_t i = 0; i < view->nnodes; i++) {
        struct tl_cli_view_node *v = &view->nodes[i];
        if (status == TL_VIEW_FAILED && node && !strcmp(v->id, node))
            v->status = TL_VIEW_FAILED;
        else if (status != TL_VIEW_DONE && (v->status == TL_VIEW_RUNNING || v->status == TL_VIEW_WAITING))
            v->status = TL_VIEW_CANCELLED;
        else if (status != TL_VIEW_DONE && v->status == TL_VIEW_QUEUED)
            v->status = TL_VIEW_SKIPPED;
    }
    const char *key;
    json_t *outputs;
    json_object_foreach(json_object_get(payload, "outputs"), key, outputs)
        json_object_set(view->outputs, key, outputs);
}

void tl_cli_view_event(struct tl_cli_view *view, const json_t *event)
{
    const char *type = tl_json_str(event, "type");
    json_t *payload = json_object_get(event, "payload");
    view->last_seq = tl_json_int(event, "seq", view->last_seq);
    if (!type)
        return;
    if (!strcmp(type, "run.started"))
        view->status = TL_VIEW_RUNNING;
    else if (!strcmp(type, "run.progress"))
        progress(view, payload);
    else if (!strcmp(type, "run.reset"))
        reset(view, payload);
    else if (!strcmp(type, "run.partial"))
        results(view, payload);
    else if (!strcmp(type, "run.completed"))
        end(view, TL_VIEW_DONE, payload);
    else if (!strcmp(type, "run.failed"))
        end(view, TL_VIEW_FAILED, payload);
    else if (!strcmp(type, "run.cancelled"))
        end(view, TL_VIEW_CANCELLED, payload);
}

/* map: runs its body once for each item of a list, some at a time, and gives the results in the order of the items. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/body.h"
#include "graph/control/control.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* What shape() found out. */
struct map_def {
    struct tl_body body;
    uint32_t item, index;        /* places among the body's inputs; index: UINT32_MAX where it has none */
    const struct tl_port *lists; /* per output of the body: the node's, a list */
};

/* A nested run may end before the call that starts it returns; whoever comes second goes on, so that quick items are a loop and no recursion. */
enum phase { STARTING, STARTED, ENDED };

struct map;
struct item {
    struct map *map;
    size_t index;
    _Atomic int phase;
};

/* Everything below lock is guarded by it. Each nested run that is under way is one of active; whoever makes it 0 with nothing left to start ends the node,
 * so that nobody who still counts touches a context that is gone. */
struct map {
    const struct map_def *def;
    struct tl_op_ctx *ctx;
    const json_t *list;            /* of "items"; NULL where the items come by edges */
    const struct tl_value *values; /* borrowed ones, in a list of its own: what the edges of "each" bring */
    struct item *items;
    size_t n;
    bool goes_on; /* on_item_error: continue */
    bool locked;  /* lock exists */
    pthread_mutex_t lock;
    size_t next, finished;
    unsigned active;
    bool stopping;
    int err;
    char *message;
    json_t **outputs; /* per output of the body: a list */
    json_t *errors;
};

static const struct tl_port own_ports[] = {
    {"items", TL_T_JSON, TL_PORT_EITHER, "a list; also float[] and string[]"},
    {"each", TL_T_ANY, TL_PORT_EITHER | TL_PORT_MULTI,
     "instead of a list: an item an edge, in their order; clips come in here"},
    {"errors", TL_T_JSON, TL_PORT_OUT, "[{\"index\",\"code\",\"message\",\"node\"}] of the items that failed"},
    {0}};

/* ---- shape ---- */

/* Lists of numbers and of texts have a type of their own, where no item can be missing. */
static enum tl_type list_type(const struct tl_shape_req *req, enum tl_type item)
{
    const char *on_error = tl_json_str(json_object_get(req->data, "params"), "on_item_error");
    if (on_error && strcmp(on_error, "continue") == 0)
        return TL_T_JSON;
    return item == TL_T_NUMBER ? TL_T_FLOATS : item == TL_T_STRING ? TL_T_STRINGS : TL_T_JSON;
}

static int find_item(const struct tl_shape_req *req, struct map_def *def)
{
    const struct tl_body *b = &def->body;
    def->item = def->index = UINT32_MAX;
    for (uint32_t i = 0; i < b->nin; i++) {
        if (strcmp(b->in[i].name, "item") == 0)
            def->item = i;
        if (strcmp(b->in[i].name, "index") == 0)
            def->index = i;
    }
    if (def->item == UINT32_MAX)
        return tl_body_problem(req, "ports.in", "a map's body takes an input \"item\"");
    if (def->index != UINT32_MAX && b->in[def->index].type != TL_T_NUMBER)
        return tl_body_problem(req, "ports.in", "\"index\" must be a number");
    return 0;
}

static bool takes_media(const struct map_def *def)
{
    return tl_type_is_media(def->body.in[def->item].type);
}

/* "each" has the type of the item, so that edges are checked. No list holds media: where the items are such, there is no "items". */
static struct tl_port *make_own(const struct tl_shape_req *req, const struct map_def *def)
{
    struct tl_port *own = tl_arena_alloc(req->arena, sizeof(own_ports)), *p = own;
    for (const struct tl_port *o = own_ports; own && o->name; o++) {
        bool each = strcmp(o->name, "each") == 0;
        if (takes_media(def) && strcmp(o->name, "items") == 0)
            continue;
        *p = *o;
        if (each)
            p->type = def->body.in[def->item].type;
        if (each && takes_media(def))
            p->flags = TL_PORT_MULTI | TL_PORT_REQUIRED;
        p++;
    }
    return own;
}

static int make_ports(const struct tl_shape_req *req, struct map_def *def, struct tl_shape *ret)
{
    const struct tl_body *b = &def->body;
    struct tl_port *further = tl_arena_alloc(req->arena, (b->nin + 1) * sizeof(*further));
    struct tl_port *lists = tl_arena_alloc(req->arena, (b->nout + 1) * sizeof(*lists));
    size_t n = 0;
    struct tl_port *own = make_own(req, def);
    if (!further || !lists || !own)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < b->nin; i++)
        if (i != def->item && i != def->index)
            further[n++] = b->in[i];
    for (uint32_t k = 0; k < b->nout; k++) {
        lists[k] = b->out[k];
        lists[k].type = list_type(req, b->out[k].type);
    }
    def->lists = lists;
    ret->ports = tl_body_join(req, own, further, lists);
    return ret->ports ? 0 : TL_ENOMEM;
}

/* A list that is given, not connected, is counted before anything runs. */
static void count_items(const struct tl_shape_req *req)
{
    size_t n = json_array_size(json_object_get(json_object_get(req->data, "inputs"), "items"));
    struct tl_str at = {0};
    tl_str_printf(&at, "%s.inputs.items", req->path);
    if (n > TL_MAP_ITEMS_MAX)
        tl_diag_add(req->diag, req->node, "items", at.data, "%zu items are more than the limit of %d", n,
                    TL_MAP_ITEMS_MAX);
    tl_str_clear(&at);
}

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    static const char *const pins[] = {"ports", NULL};
    struct map_def *def = tl_arena_alloc(req->arena, sizeof(*def));
    int err = def ? tl_body_read_ports(req, &def->body) : TL_ENOMEM;
    if (!err)
        err = find_item(req, def);
    if (!err)
        err = make_ports(req, def, ret);
    if (!err) {
        count_items(req);
        err = tl_body_plan(req, &def->body);
    }
    if (err)
        return err;
    ret->priv = def;
    ret->identity = tl_body_identity(req, &def->body, pins);
    ret->inner_nodes = def->body.plan ? def->body.plan->ntotal : 0;
    return ret->identity ? 0 : TL_ENOMEM;
}

/* ---- run ---- */

/* The lock must be held. The first failure is the one that is told. */
static void stop(struct map *m, int err, char *takes_message)
{
    if (m->stopping) {
        free(takes_message);
        return;
    }
    m->stopping = true;
    m->err = err;
    m->message = takes_message;
}

/* Errors are told in the order of the items, whatever ended first. */
static int add_error(struct map *m, json_t *takes)
{
    json_int_t index = tl_json_int(takes, "index", 0);
    size_t at = json_array_size(m->errors);
    while (at > 0 && tl_json_int(json_array_get(m->errors, at - 1), "index", 0) > index)
        at--;
    return takes && json_array_insert_new(m->errors, at, takes) == 0 ? 0 : TL_ENOMEM;
}

/* The lock must be held. True where the other items are to be stopped: also where it is no fault of the item's own. */
static bool item_failed(struct map *m, size_t index, int err, const char *node, const char *message)
{
    bool goes_on = m->goes_on && err != TL_ECANCELLED && (node || message);
    message = message ? message : tl_err_text(err);
    if (goes_on) {
        /* What is sealed does not tell more, for this may be connected to what comes out. */
        bool open = tl_op_open(m->ctx);
        json_t *e = json_pack("{s:I,s:s,s:s*}", "index", (json_int_t)index, "code", tl_err_code(err), "message",
                              open ? message : NULL);
        if (e && open && node)
            json_object_set_new(e, "node", json_string(node));
        if (add_error(m, e) == 0)
            return false;
        err = TL_ENOMEM;
    }
    struct tl_str text = {0};
    if (err == TL_ECANCELLED)
        stop(m, err, NULL);
    else {
        tl_str_printf(&text, "item %zu%s%s%s: %s", index, node ? ", node \"" : "", node ? node : "", node ? "\"" : "",
                      message);
        stop(m, err, tl_str_take(&text));
    }
    return true;
}

static int set_outputs(struct map *m, size_t index, const struct tl_value *outputs, const char **ret_missing)
{
    const struct tl_body *b = &m->def->body;
    for (uint32_t k = 0; k < b->nout; k++) {
        if (tl_value_none(&outputs[k]) && m->def->lists[k].type != TL_T_JSON) {
            *ret_missing = b->out[k].name;
            return TL_ESCHEMA;
        }
        json_t *j = tl_value_json(&outputs[k]);
        if (!j || json_array_set_new(m->outputs[k], index, j) < 0)
            return TL_ENOMEM;
    }
    return 0;
}

static void done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result);

static int start(struct map *m, size_t i, const char **ret_why)
{
    const struct tl_body *b = &m->def->body;
    char suffix[24];
    TL_AUTO_FREE struct tl_value *inputs = tl_calloc(b->nin, sizeof(*inputs));
    struct tl_value item;
    *ret_why = NULL;
    if (!inputs)
        return TL_ENOMEM;
    if (tl_op_cancelled(m->ctx))
        return TL_ECANCELLED;
    enum tl_type type = b->in[m->def->item].type;
    int err = m->list ? tl_body_value(type, json_array_get(m->list, i), &item, ret_why)
                      : tl_value_as(type, &m->values[i], &item, ret_why);
    if (!err && tl_value_none(&item) && b->in[m->def->item].flags & TL_PORT_REQUIRED)
        err = TL_EINVAL, *ret_why = "must not be null";
    if (err)
        return err == TL_EINVAL ? TL_ESCHEMA : err;
    for (uint32_t k = 0; k < b->nin; k++) {
        const struct tl_value *v = k == m->def->item || k == m->def->index ? NULL : tl_op_input(m->ctx, b->in[k].name);
        inputs[k] = v ? *v : (struct tl_value){0}; /* borrowed, like item: tl_op_nest makes references of its own */
    }
    inputs[m->def->item] = item;
    if (m->def->index != UINT32_MAX)
        inputs[m->def->index] = tl_value_number((double)i);
    snprintf(suffix, sizeof(suffix), "#%zu", i);
    m->items[i].map = m;
    m->items[i].index = i;
    err = tl_op_nest(
        m->ctx,
        &(struct tl_nest){
            .plan = b->plan, .inputs = inputs, .suffix = suffix, .open = true, .arg = &m->items[i], .done = done});
    tl_value_clear(&item);
    return err;
}

/* Starts the next item that can be started; false where there is none. Whoever calls counts as active, and hands that on to the item. */
static bool start_next(struct map *m)
{
    for (;;) {
        const char *why;
        pthread_mutex_lock(&m->lock);
        bool none = m->stopping || m->next == m->n;
        size_t i = none ? 0 : m->next++;
        pthread_mutex_unlock(&m->lock);
        if (none)
            return false;
        int err = start(m, i, &why);
        if (!err && atomic_exchange(&m->items[i].phase, STARTED) == ENDED)
            continue;
        if (!err)
            return true;
        pthread_mutex_lock(&m->lock);
        m->finished++;
        bool halt = item_failed(m, i, err, NULL, why);
        pthread_mutex_unlock(&m->lock);
        if (halt)
            tl_op_nest_stop(m->ctx);
    }
}

static int emit(struct map *m)
{
    int err = 0;
    for (uint32_t k = 0; k < m->def->body.nout && !err; k++)
        err = tl_op_output_json(m->ctx, m->def->lists[k].name, json_incref(m->outputs[k]));
    return err ? err : tl_op_output_json(m->ctx, "errors", json_incref(m->errors));
}

/* Gives up one of active; the last one ends the node. */
static void leave(struct map *m)
{
    pthread_mutex_lock(&m->lock);
    bool last = --m->active == 0;
    pthread_mutex_unlock(&m->lock);
    if (!last)
        return;
    int err = m->err;
    if (err && m->message)
        tl_op_fail(m->ctx, err, "%s", m->message);
    tl_op_done(m->ctx, err ? err : emit(m));
}

static void done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result)
{
    struct item *item = arg;
    struct map *m = item->map;
    const char *missing = NULL;
    char message[128];
    bool halt = false;
    pthread_mutex_lock(&m->lock);
    tl_op_usage(ctx, &result->usage);
    int err = result->err ? result->err : set_outputs(m, item->index, result->outputs, &missing);
    if (missing)
        snprintf(message, sizeof(message), "the output \"%s\" has no value", missing);
    if (err)
        halt = item_failed(m, item->index, err, result->err ? result->node : NULL,
                           missing       ? message
                           : result->err ? result->message
                                         : NULL);
    double fraction = (double)++m->finished / (double)m->n;
    pthread_mutex_unlock(&m->lock);
    if (halt)
        tl_op_nest_stop(ctx);
    else
        tl_op_progress(ctx, fraction, NULL);
    if (atomic_exchange(&item->phase, ENDED) == STARTED && !start_next(m))
        leave(m);
}

static json_t *nulls(size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        if (json_array_append_new(list, json_null()) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static int prepare_lists(struct map *m)
{
    uint32_t nout = m->def->body.nout;
    m->items = tl_calloc(m->n, sizeof(*m->items));
    m->outputs = tl_calloc(nout, sizeof(json_t *));
    m->errors = json_array();
    if (!m->items || !m->outputs || !m->errors)
        return TL_ENOMEM;
    for (uint32_t k = 0; k < nout; k++)
        if (!(m->outputs[k] = nulls(m->n)))
            return TL_ENOMEM;
    return 0;
}

/* The items: of the list, or what the edges bring, each with its own type. */
static int receive(struct map *m)
{
    const struct tl_value *list = takes_media(m->def) ? NULL : tl_op_input(m->ctx, "items"), *v;
    struct tl_value *values = NULL;
    size_t cap = 0;
    m->list = list ? list->json : NULL;
    m->n = json_array_size(m->list);
    if (list)
        return json_is_array(m->list)
                   ? 0
                   : tl_op_fail(m->ctx, TL_ESCHEMA, "the input \"items\" received a value that is no list");
    for (uint32_t at = 0; (v = tl_op_input_next(m->ctx, "each", &at));) {
        if (tl_grow(&values, &cap, m->n + 1, sizeof(*values)) < 0)
            return TL_ENOMEM;
        m->values = values;
        values[m->n++] = *v;
    }
    return 0;
}

static int run(struct tl_op_ctx *ctx)
{
    struct map *m = tl_op_priv(ctx);
    m->def = tl_op_node(ctx)->shape->priv;
    m->ctx = ctx;
    m->goes_on = strcmp(tl_op_param_text(ctx, "on_item_error"), "continue") == 0;
    int err = receive(m);
    if (err)
        return err;
    if (m->n > TL_MAP_ITEMS_MAX)
        return tl_op_fail(ctx, TL_ESCHEMA, "%zu items are more than the limit of %d", m->n, TL_MAP_ITEMS_MAX);
    err = tl_op_claim(ctx, m->n);
    if (err)
        return err;
    err = prepare_lists(m);
    if (err || pthread_mutex_init(&m->lock, NULL) != 0)
        return err ? err : TL_ENOMEM;
    m->locked = true;
    if (m->n == 0)
        return emit(m);
    if (!m->def->body.pure)
        tl_op_impure(ctx);
    /* One of active is this function's own, so that nothing ends the node before it is done. */
    unsigned places = (unsigned)tl_op_param_number(ctx, "concurrency");
    m->active = 1;
    for (bool more = true; more && places > 0; places--) {
        pthread_mutex_lock(&m->lock);
        m->active++;
        pthread_mutex_unlock(&m->lock);
        more = start_next(m);
        if (!more)
            leave(m);
    }
    leave(m);
    return TL_OP_PENDING;
}

static void cleanup(struct tl_op_ctx *ctx)
{
    struct map *m = tl_op_priv(ctx);
    for (uint32_t k = 0; m->outputs && k < m->def->body.nout; k++)
        json_decref(m->outputs[k]);
    free(m->outputs);
    free((void *)(uintptr_t)m->values);
    free(m->items);
    free(m->message);
    json_decref(m->errors);
    if (m->locked)
        pthread_mutex_destroy(&m->lock);
}

static const char *const data_keys[] = {"ports", "graph", NULL};
static const char *const on_item_error[] = {"fail", "continue", NULL};
static const struct tl_param params[] = {
    {.name = "concurrency",
     .type = TL_P_NUMBER,
     .min = 1,
     .max = TL_MAP_CONCURRENCY_MAX,
     .step = 1,
     .default_json = "8",
     .doc = "items under way at once"},
    {.name = "on_item_error",
     .type = TL_P_ENUM,
     .options = on_item_error,
     .default_json = "\"fail\"",
     .doc = "continue: a failing item is null in the lists and told in \"errors\""},
    {0}};

const struct tl_op tl_op_map = {
    .name = "map",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_COMPOSITE,
    .title = "Map",
    .doc = "Runs a graph for each item of a list, or for each clip that comes in.",
    .ports = own_ports,
    .params = params,
    .data_keys = data_keys,
    .priv_size = sizeof(struct map),
    .shape = shape,
    .run = run,
    .cleanup = cleanup,
    .unshape = tl_body_unshape,
};

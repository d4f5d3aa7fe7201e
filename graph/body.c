#include "graph/body.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

int tl_body_problem(const struct tl_shape_req *req, const char *key, const char *fmt, ...)
{
    struct tl_str at = {0}, text = {0};
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&text, fmt, ap);
    va_end(ap);
    tl_str_printf(&at, "%s.%s", req->path, key);
    tl_diag_add(req->diag, req->node, NULL, at.data, "%s", text.data ? text.data : "");
    tl_str_clear(&at);
    tl_str_clear(&text);
    return TL_EINVAL;
}

/* ---- ports ---- */

/* What a condition can name. */
static bool good_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > TL_BODY_NAME_MAX || isdigit((unsigned char)*name))
        return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] != '_' && !isalnum((unsigned char)name[i]))
            return false;
    return true;
}

static int read_port(const struct tl_shape_req *req, const json_t *j, const char *at, uint32_t flags,
                     const struct tl_port *before, uint32_t nbefore, struct tl_port *ret)
{
    static const char *const keys[] = {"name", "type", "required", NULL};
    const char *name = tl_json_str(j, "name"), *type = tl_json_str(j, "type");
    const json_t *required = json_object_get(j, "required");
    int err = 0;
    struct tl_str path = {0};
    tl_str_printf(&path, "%s.%s", req->path, at);
    tl_json_only_keys(j, keys, req->node, path.data, req->diag);
    tl_str_clear(&path);
    if (!good_name(name))
        err = tl_body_problem(req, at, "a port needs a name: 1 to %d letters, digits and _, not a digit first",
                              TL_BODY_NAME_MAX);
    for (uint32_t i = 0; !err && i < nbefore; i++)
        if (strcmp(before[i].name, name) == 0)
            err = tl_body_problem(req, at, "the name \"%s\" is used by another port too", name);
    if (!tl_type_parse(type, &ret->type))
        err = tl_body_problem(
            req, at,
            "a port needs a type: any, string, number, boolean, float[], string[], json, video, image, audio or file");
    if (required && (!json_is_boolean(required) || flags & TL_PORT_OUT))
        err = tl_body_problem(req, at,
                              flags & TL_PORT_OUT ? "an output is never required" : "required must be true or false");
    if (err)
        return err;
    ret->flags = flags | (json_is_true(required) ? TL_PORT_REQUIRED : 0);
    ret->name = tl_arena_strdup(req->arena, name);
    return ret->name ? 0 : TL_ENOMEM;
}

int tl_body_ports(const struct tl_shape_req *req, const json_t *list, const char *key, uint32_t flags,
                  const struct tl_port **ret, uint32_t *ret_n)
{
    size_t n = json_array_size(list), count = 0;
    int worst = 0;
    struct tl_port *ports = tl_arena_alloc(req->arena, ((n > TL_BODY_PORTS_MAX ? 0 : n) + 1) * sizeof(*ports));
    *ret = ports;
    *ret_n = 0;
    if (!ports)
        return TL_ENOMEM;
    if (list && !json_is_array(list))
        return tl_body_problem(req, key, "must be a list of ports {\"name\",\"type\"}");
    if (n > TL_BODY_PORTS_MAX)
        return tl_body_problem(req, key, "%zu ports are more than the limit of %d", n, TL_BODY_PORTS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct tl_str at = {0};
        tl_str_printf(&at, "%s[%zu]", key, i);
        int err = at.err
                      ? at.err
                      : read_port(req, json_array_get(list, i), at.data, flags, ports, (uint32_t)count, &ports[count]);
        tl_str_clear(&at);
        if (err == TL_ENOMEM)
            return err;
        count += !err;
        worst = err ? err : worst;
    }
    *ret_n = (uint32_t)count;
    return worst;
}

int tl_body_read_ports(const struct tl_shape_req *req, struct tl_body *ret)
{
    static const char *const keys[] = {"in", "out", NULL};
    const json_t *ports = json_object_get(req->data, "ports");
    memset(ret, 0, sizeof(*ret));
    if (ports && !json_is_object(ports))
        return tl_body_problem(req, "ports", "must be an object {\"in\":[…],\"out\":[…]}");
    struct tl_str path = {0};
    size_t before = req->diag->count + req->diag->dropped;
    tl_str_printf(&path, "%s.ports", req->path);
    tl_json_only_keys(ports, keys, req->node, path.data, req->diag);
    tl_str_clear(&path);
    int in = tl_body_ports(req, json_object_get(ports, "in"), "ports.in", 0, &ret->in, &ret->nin);
    int out = in == TL_ENOMEM
                  ? in
                  : tl_body_ports(req, json_object_get(ports, "out"), "ports.out", TL_PORT_OUT, &ret->out, &ret->nout);
    if (in == TL_ENOMEM || out == TL_ENOMEM)
        return TL_ENOMEM;
    return req->diag->count + req->diag->dropped > before ? TL_EINVAL : 0;
}

static size_t count_ports(const struct tl_port *ports)
{
    size_t n = 0;
    while (ports && ports[n].name)
        n++;
    return n;
}

const struct tl_port *tl_body_join(const struct tl_shape_req *req, const struct tl_port *own, const struct tl_port *in,
                                   const struct tl_port *out)
{
    const struct tl_port *const lists[] = {own, in, out};
    struct tl_port *all =
        tl_arena_alloc(req->arena, (count_ports(own) + count_ports(in) + count_ports(out) + 1) * sizeof(*all));
    size_t n = 0, nown = count_ports(own);
    for (size_t l = 0; all && l < TL_ARRAY_LEN(lists); l++)
        for (const struct tl_port *p = lists[l]; p && p->name; p++) {
            for (size_t i = 0; l && i < nown; i++)
                if ((own[i].flags & TL_PORT_OUT) == (p->flags & TL_PORT_OUT) && strcmp(own[i].name, p->name) == 0)
                    tl_body_problem(req, "ports", "the name \"%s\" is the node's own", p->name);
            all[n++] = *p;
        }
    return all;
}

/* ---- the plan ---- */

/* The body's problems, told as the outer document's. */
static void hand_on(const struct tl_shape_req *req, struct tl_diag *inner)
{
    for (size_t i = 0; i < inner->count; i++) {
        const struct tl_problem *p = &inner->items[i];
        struct tl_str node = {0}, path = {0};
        tl_str_printf(&node, "%s%s%s", req->node, p->node && *p->node ? "/" : "", p->node ? p->node : "");
        tl_str_printf(&path, "%s.graph%s", req->path, p->path && *p->path == '$' ? p->path + 1 : "");
        tl_diag_add(req->diag, node.data, p->port, path.data, "%s", p->message);
        tl_str_clear(&node);
        tl_str_clear(&path);
    }
    req->diag->dropped += inner->dropped;
    req->diag->err = req->diag->err ? req->diag->err : inner->err;
}

static bool is_pure(const struct tl_plan *plan)
{
    for (uint32_t i = 0; i < plan->nnodes; i++) {
        const struct tl_op *op = plan->nodes[i].op;
        if (!(op->flags & TL_OP_PURE))
            return false;
        if (op->unshape == tl_body_unshape && !((const struct tl_body *)plan->nodes[i].shape->priv)->pure)
            return false;
    }
    return true;
}

int tl_body_plan(const struct tl_shape_req *req, struct tl_body *body)
{
    json_t *graph = json_object_get(req->data, "graph");
    if (!graph) {
        tl_body_problem(req, "graph", "is required: the graph {\"nodes\",\"edges\"} that this node runs");
        return 0;
    }
    struct tl_graph_env env = *req->graph;
    env.in = body->in;
    env.out = body->out;
    if (++env.depth == TL_GRAPH_MAX_NESTING + 1)
        tl_body_problem(req, "graph", "graphs are nested deeper than %d", TL_GRAPH_MAX_NESTING);
    /* What is wrong further down is told too; how deep that may be, JSON's own depth bounds. */
    if (env.depth > TL_GRAPH_MAX_NESTING && json_dumpb(graph, NULL, 0, JSON_COMPACT) > TL_BODY_DEEPER_MAX)
        return 0;
    struct tl_diag inner = {0};
    int err = tl_plan_json(graph, &env, NULL, 0, &body->plan, &inner);
    hand_on(req, &inner);
    tl_diag_clear(&inner);
    if (err)
        return err == TL_EINVAL ? 0 : err;
    body->pure = is_pure(body->plan);
    if (body->nout && body->plan->output_node == UINT32_MAX) {
        tl_body_problem(req, "graph", "needs a graph.output node, for the node has outputs");
        tl_plan_unref(body->plan);
        body->plan = NULL;
    }
    return 0;
}

void tl_body_unshape(struct tl_shape *shape)
{
    struct tl_body *body = shape->priv;
    if (body)
        tl_plan_unref(body->plan);
    shape->priv = NULL;
}

static void hash_plan(struct tl_blake2b *h, const struct tl_plan *plan)
{
    tl_blake2b_field(h, plan->hash, strlen(plan->hash));
    for (uint32_t i = 0; i < plan->nnodes; i++)
        tl_blake2b_update(h, plan->nodes[i].digest, sizeof(plan->nodes[i].digest));
}

const char *tl_body_identity(const struct tl_shape_req *req, const struct tl_body *body, const char *const *keys)
{
    struct tl_blake2b h;
    uint8_t raw[TL_BLAKE2B_LEN];
    char hex[2 * TL_BLAKE2B_LEN + 1];
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-body-1", 12);
    for (size_t i = 0; keys[i]; i++) {
        const json_t *j = json_object_get(req->data, keys[i]);
        TL_AUTO_FREE char *text = j ? tl_json_canonical(j) : tl_strdup("");
        if (!text)
            return NULL;
        tl_blake2b_field(&h, keys[i], strlen(keys[i]));
        tl_blake2b_field(&h, text, strlen(text));
        tl_wipe(text, strlen(text));
    }
    if (body && body->plan)
        hash_plan(&h, body->plan);
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), hex);
    return tl_arena_strdup(req->arena, hex);
}

/* ---- at run time ---- */

int tl_body_value(enum tl_type type, json_t *j, struct tl_value *ret, const char **ret_why)
{
    *ret = (struct tl_value){.type = TL_T_ANY};
    if (!j || json_is_null(j))
        return 0;
    if (tl_type_is_media(type)) {
        *ret_why = "must be a medium, and JSON never becomes one";
        return TL_EINVAL;
    }
    int err = tl_value_from_json(type, j, ret, ret_why);
    if (!err && tl_type_is_media(ret->type))
        ret->type = TL_T_JSON;
    return err;
}

int tl_body_fail(struct tl_op_ctx *ctx, const char *what, uint64_t number, const struct tl_nested_result *result)
{
    const char *message = result->message ? result->message : tl_err_text(result->err);
    struct tl_str where = {0};
    if (what)
        tl_str_printf(&where, "%s %llu%s", what, (unsigned long long)number, result->node ? ", " : ": ");
    if (result->node)
        tl_str_printf(&where, "node \"%s\": ", result->node);
    tl_op_fail(ctx, result->err, "%s%s", where.data ? where.data : "", message);
    tl_str_clear(&where);
    return result->err;
}

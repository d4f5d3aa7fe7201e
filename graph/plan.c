#include "graph/plan.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

/* The ends of a nested graph: their ports are the nested graph's own, seen from inside. */
static const struct tl_op op_graph_input = {.name = "graph.input", .revision = 1, .flags = TL_OP_PURE | TL_OP_PRIVATE};
static const struct tl_op op_graph_output = {
    .name = "graph.output", .revision = 1, .flags = TL_OP_PURE | TL_OP_PRIVATE};

/* What is needed while a plan is made, and not afterwards. */
struct maker {
    struct tl_plan *plan;
    struct tl_plan_node *nodes;
    struct tl_plan_port **in;
    const struct tl_graph_env *env;
    struct tl_diag *diag;
    bool *wanted;
    bool *whole; /* per edge: both its ends are nodes */
    uint32_t *edge_port,
        *edge_out; /* per edge: input port of its target, output of its source; UINT32_MAX where the edge does not count */
    uint32_t *first_in, *edges_in; /* edges by target (CSR) */
    uint32_t *first_out, *edges_by_source;
};

#define NONE UINT32_MAX

static void *zeroed(struct maker *m, size_t n, size_t size)
{
    return tl_arena_alloc(&m->plan->arena, (n ? n : 1) * size);
}

/* Groups edges by one of their ends: first[node]..first[node+1] into list. */
static int group_edges(struct maker *m, bool by_target, uint32_t **ret_first, uint32_t **ret_list)
{
    const struct tl_doc *doc = m->plan->doc;
    uint32_t *first = tl_calloc(doc->nnodes + 2, sizeof(*first)), *list = tl_calloc(doc->nedges + 1, sizeof(*list));
    *ret_first = first;
    *ret_list = list;
    if (!first || !list)
        return TL_ENOMEM;
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (m->whole[e])
            first[(by_target ? doc->edges[e].target : doc->edges[e].source) + 2]++;
    for (uint32_t i = 2; i < doc->nnodes + 2; i++)
        first[i] += first[i - 1];
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (m->whole[e])
            list[first[(by_target ? doc->edges[e].target : doc->edges[e].source) + 1]++] = e;
    return 0;
}

/* Marks the targets and all their ancestors. */
static int mark_wanted(struct maker *m, const char *const *targets, size_t ntargets)
{
    const struct tl_doc *doc = m->plan->doc;
    TL_AUTO_FREE uint32_t *stack = tl_calloc(doc->nnodes + 1, sizeof(*stack));
    uint32_t depth = 0;
    if (!stack)
        return TL_ENOMEM;
    if (!targets)
        memset(m->wanted, 1, doc->nnodes);
    for (size_t t = 0; targets && t < ntargets; t++) {
        uint32_t i = tl_idmap_find(&doc->ids, targets[t]);
        if (i == NONE)
            tl_diag_add(m->diag, targets[t], NULL, "$.targets", "the target \"%s\" is no node of this graph",
                        targets[t]);
        else if (!m->wanted[i])
            m->wanted[i] = true, stack[depth++] = i;
    }
    while (depth > 0) {
        uint32_t node = stack[--depth];
        for (uint32_t k = m->first_in[node]; k < m->first_in[node + 1]; k++) {
            uint32_t source = doc->edges[m->edges_in[k]].source;
            if (!m->wanted[source])
                m->wanted[source] = true, stack[depth++] = source;
        }
    }
    return 0;
}

static const struct tl_port *turned(struct maker *m, const struct tl_port *ports, bool out)
{
    size_t n = 0;
    while (ports[n].name)
        n++;
    struct tl_port *copy = zeroed(m, n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = ports[i];
        copy[i].flags = out ? TL_PORT_OUT : 0;
    }
    return copy;
}

static const struct tl_op *find_op(struct maker *m, const char *type)
{
    if (m->env->in && strcmp(type, op_graph_input.name) == 0)
        return &op_graph_input;
    if (m->env->out && strcmp(type, op_graph_output.name) == 0)
        return &op_graph_output;
    const struct tl_op *op = m->env->find_op(m->env->arg, type);
    return op && (!(op->flags & TL_OP_PRIVATE) || m->env->allow_private) ? op : NULL;
}

/* A graph has at most one of each end. */
static int take_end(struct maker *m, uint32_t i, struct tl_shape *shape, const char *path)
{
    struct tl_plan_node *n = &m->nodes[i];
    bool in = n->op == &op_graph_input;
    uint32_t *end = in ? &m->plan->input_node : &m->plan->output_node;
    if (*end != NONE)
        tl_diag_add(m->diag, n->id, NULL, path, "a graph has one %s node only", n->op->name);
    *end = i;
    shape->ports = turned(m, in ? m->env->in : m->env->out, in);
    return shape->ports ? 0 : TL_ENOMEM;
}

static void check_data_keys(struct maker *m, const struct tl_plan_node *n, const char *path)
{
    const char *allowed[24] = {"params", "inputs", "label", "ui", "policy"};
    size_t count = 5;
    for (size_t i = 0; n->shape->data_keys && n->shape->data_keys[i] && count + 1 < TL_ARRAY_LEN(allowed); i++)
        allowed[count++] = n->shape->data_keys[i];
    tl_json_only_keys(n->data, allowed, n->id, path, m->diag);
}

static int split_ports(struct maker *m, uint32_t i)
{
    struct tl_plan_node *n = &m->nodes[i];
    for (const struct tl_port *p = n->shape->ports; p && p->name; p++)
        *(p->flags & TL_PORT_OUT ? &n->nout : &n->nin) += 1;
    struct tl_plan_port *in = m->in[i] = zeroed(m, n->nin, sizeof(*in));
    const struct tl_port **out = zeroed(m, n->nout, sizeof(*out));
    if (!in || !out)
        return TL_ENOMEM;
    uint32_t ni = 0, no = 0;
    for (const struct tl_port *p = n->shape->ports; p && p->name; p++) {
        if (p->flags & TL_PORT_OUT)
            out[no++] = p;
        else
            in[ni++].def = p;
    }
    n->in = in;
    n->out = out;
    return 0;
}

static int check_literals(struct maker *m, uint32_t i, const char *path)
{
    struct tl_plan_node *n = &m->nodes[i];
    const json_t *inputs = json_object_get(n->data, "inputs");
    const char *key;
    json_t *value;
    if (inputs && !json_is_object(inputs))
        tl_diag_add(m->diag, n->id, NULL, path, "inputs must be an object of port names and values");
    json_object_foreach((json_t *)(uintptr_t)inputs, key, value) {
        struct tl_str at = {0};
        tl_str_printf(&at, "%s.inputs.%s", path, key);
        const char *why = NULL;
        uint32_t p = 0;
        while (p < n->nin && strcmp(n->in[p].def->name, key) != 0)
            p++;
        struct tl_value *literal = p < n->nin ? &m->in[i][p].literal : NULL;
        if (!literal)
            tl_diag_add(m->diag, n->id, key, at.data, "unknown input \"%s\"", key);
        else if (tl_value_from_json(n->in[p].def->type, value, literal, &why) < 0)
            tl_diag_add(m->diag, n->id, key, at.data, "%s %s", key, why);
        else if (tl_type_is_media(literal->type)) {
            /* A hash is no right to a blob: media enter a graph through a file that the organisation owns. */
            tl_value_clear(literal);
            tl_diag_add(m->diag, n->id, key, at.data, "%s takes media from an edge only; use an input.clip node", key);
        }
        tl_str_clear(&at);
    }
    return m->diag->err;
}

static int make_node(struct maker *m, uint32_t i)
{
    const struct tl_doc_node *d = &m->plan->doc->nodes[i];
    struct tl_plan_node *n = &m->nodes[i];
    char path[64], data_path[80];
    snprintf(path, sizeof(path), "$.nodes[%u]", d->index);
    snprintf(data_path, sizeof(data_path), "%s.data", path);
    n->op = *d->type ? find_op(m, d->type) : NULL;
    if (!n->op && !*d->type)
        return 0;
    if (!n->op) {
        tl_diag_add(m->diag, n->id, NULL, path, "unknown node type \"%s\"", d->type);
        return 0;
    }
    struct tl_shape *shape = zeroed(m, 1, sizeof(*shape));
    if (!shape)
        return TL_ENOMEM;
    *shape = (struct tl_shape){.ports = n->op->ports, .params = n->op->params};
    n->shape = shape;
    int err = 0;
    if (n->op == &op_graph_input || n->op == &op_graph_output) {
        err = take_end(m, i, shape, path);
    } else if (n->op->shape) {
        struct tl_shape_req req = {.env = m->env->arg,
                                   .graph = m->env,
                                   .node = n->id,
                                   .path = data_path,
                                   .data = n->data,
                                   .arena = &m->plan->arena,
                                   .diag = m->diag};
        err = n->op->shape(&req, shape);
        if (err == TL_EINVAL) {
            /* Its ports are not known: edges to it are not judged. */
            n->op = NULL;
            return 0;
        }
    }
    if (err)
        return err;
    check_data_keys(m, n, data_path);
    while (n->shape->params && n->shape->params[n->nparams].name)
        n->nparams++;
    struct tl_value *params = zeroed(m, n->nparams, sizeof(*params));
    if (!params)
        return TL_ENOMEM;
    n->params = params;
    const char *key = n->shape->params_path ? n->shape->params_path : "params";
    snprintf(data_path, sizeof(data_path), "%s.data.%s", path, key);
    err = tl_params_check(n->shape->params, m->env->admin, json_object_get(n->data, key), n->id, data_path, params,
                          m->diag);
    if (err && err != TL_EINVAL)
        return err;
    snprintf(data_path, sizeof(data_path), "%s.data", path);
    err = split_ports(m, i);
    return err ? err : check_literals(m, i, data_path);
}

static void check_edge(struct maker *m, uint32_t e)
{
    const struct tl_doc_edge *d = &m->plan->doc->edges[e];
    m->edge_port[e] = m->edge_out[e] = NONE;
    if (!m->whole[e] || !m->wanted[d->target] || !m->nodes[d->source].op || !m->nodes[d->target].op)
        return;
    const struct tl_plan_node *s = &m->nodes[d->source], *t = &m->nodes[d->target];
    char path[64];
    snprintf(path, sizeof(path), "$.edges[%u]", d->index);
    uint32_t out = 0, in = 0;
    while (out < s->nout && strcmp(s->out[out]->name, d->source_handle) != 0)
        out++;
    while (in < t->nin && strcmp(t->in[in].def->name, d->target_handle) != 0)
        in++;
    if (out == s->nout)
        tl_diag_add(m->diag, s->id, d->source_handle, path, "\"%s\" has no output \"%s\"", s->id, d->source_handle);
    if (in == t->nin)
        tl_diag_add(m->diag, t->id, d->target_handle, path, "\"%s\" has no input \"%s\"", t->id, d->target_handle);
    if (out == s->nout || in == t->nin)
        return;
    struct tl_plan_port *p = &m->in[d->target][in];
    if (!tl_type_accepts(p->def->type, s->out[out]->type))
        tl_diag_add(m->diag, t->id, p->def->name, path, "%s.%s gives %s, but %s.%s takes %s", s->id, s->out[out]->name,
                    tl_type_name(s->out[out]->type), t->id, p->def->name, tl_type_name(p->def->type));
    else if (p->nsources && !(p->def->flags & TL_PORT_MULTI))
        tl_diag_add(m->diag, t->id, p->def->name, path, "the input \"%s\" takes one edge only", p->def->name);
    else
        p->nsources++, m->edge_port[e] = in, m->edge_out[e] = out;
}

static void check_inputs(struct maker *m, uint32_t i)
{
    struct tl_plan_node *n = &m->nodes[i];
    char path[64];
    snprintf(path, sizeof(path), "$.nodes[%u]", i);
    uint32_t edges = m->first_in[i + 1] - m->first_in[i];
    if (n->shape->max_upstream && edges > n->shape->max_upstream)
        tl_diag_add(m->diag, n->id, NULL, path, "at most %u edges may come in, not %u", n->shape->max_upstream, edges);
    for (uint32_t p = 0; p < n->nin; p++) {
        struct tl_plan_port *port = &m->in[i][p];
        if (port->nsources)
            tl_value_clear(&port->literal); /* an edge wins over a value typed in earlier */
        else if (port->def->flags & TL_PORT_REQUIRED && tl_value_none(&port->literal))
            tl_diag_add(m->diag, n->id, port->def->name, path,
                        "the input \"%s\" (%s) is required: connect it or give it a value", port->def->name,
                        tl_type_name(port->def->type));
    }
}

/* Fills sources (per input port, in the order of the edges) and consumers (distinct nodes). */
static int link_nodes(struct maker *m)
{
    struct tl_plan *plan = m->plan;
    const struct tl_doc *doc = plan->doc;
    struct tl_plan_source *sources = zeroed(m, doc->nedges, sizeof(*sources));
    uint32_t *consumers = zeroed(m, doc->nedges, sizeof(*consumers));
    TL_AUTO_FREE uint32_t *seen = tl_calloc(doc->nnodes + 1, sizeof(*seen));
    if (!sources || !consumers || !seen)
        return TL_ENOMEM;
    uint32_t at = 0;
    for (uint32_t i = 0; i < doc->nnodes; i++)
        for (uint32_t p = 0; p < m->nodes[i].nin; p++) {
            m->in[i][p].first_source = at;
            at += m->in[i][p].nsources;
            m->in[i][p].nsources = 0;
        }
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (m->edge_port[e] != NONE) {
            struct tl_plan_port *p = &m->in[doc->edges[e].target][m->edge_port[e]];
            sources[p->first_source + p->nsources++] = (struct tl_plan_source){doc->edges[e].source, m->edge_out[e]};
        }
    at = 0;
    for (uint32_t i = 0; i < doc->nnodes; i++) {
        m->nodes[i].first_consumer = at;
        for (uint32_t k = m->first_out[i]; k < m->first_out[i + 1]; k++) {
            uint32_t e = m->edges_by_source[k], target = doc->edges[e].target;
            if (m->edge_port[e] == NONE || seen[target] == i + 1)
                continue;
            seen[target] = i + 1;
            consumers[at++] = target;
            m->nodes[target].nproducers++;
        }
        m->nodes[i].nconsumers = at - m->nodes[i].first_consumer;
    }
    plan->sources = sources;
    plan->consumers = consumers;
    return 0;
}

/* Follows producers among the nodes that could not be ordered until one comes up again: that is a cycle. */
static void report_cycle(struct maker *m, const uint32_t *waiting)
{
    struct tl_plan *plan = m->plan;
    uint32_t start = 0;
    while (!waiting[start])
        start++;
    TL_AUTO_FREE uint32_t *step = tl_calloc(plan->nnodes + 1, sizeof(*step)),
                          *path = tl_calloc(plan->nnodes + 1, sizeof(*path));
    if (!step || !path) {
        m->diag->err = TL_ENOMEM;
        return;
    }
    uint32_t n = 0, at = start;
    while (!step[at]) {
        path[n] = at;
        step[at] = ++n;
        uint32_t next = NONE;
        for (uint32_t p = 0; next == NONE && p < m->nodes[at].nin; p++)
            for (uint32_t k = 0; next == NONE && k < m->in[at][p].nsources; k++)
                if (waiting[plan->sources[m->in[at][p].first_source + k].node])
                    next = plan->sources[m->in[at][p].first_source + k].node;
        at = next;
    }
    struct tl_str text = {0};
    for (uint32_t k = n; k > step[at] - 1 && text.len < 600; k--)
        tl_str_printf(&text, "\"%s\" → ", m->nodes[path[k - 1]].id);
    tl_diag_add(m->diag, m->nodes[at].id, NULL, "$.edges", "these nodes form a cycle: %s\"%s\"",
                text.data ? text.data : "", m->nodes[path[n - 1]].id);
    tl_str_clear(&text);
}

static int order_nodes(struct maker *m)
{
    struct tl_plan *plan = m->plan;
    uint32_t *order = zeroed(m, plan->nnodes, sizeof(*order));
    TL_AUTO_FREE uint32_t *waiting = tl_calloc(plan->nnodes + 1, sizeof(*waiting));
    if (!order || !waiting)
        return TL_ENOMEM;
    uint32_t done = 0, count = 0;
    for (uint32_t i = 0; i < plan->nnodes; i++)
        if (m->wanted[i] && !(waiting[i] = m->nodes[i].nproducers))
            order[count++] = i;
    while (done < count) {
        const struct tl_plan_node *n = &m->nodes[order[done++]];
        for (uint32_t k = 0; k < n->nconsumers; k++) {
            uint32_t c = plan->consumers[n->first_consumer + k];
            if (m->wanted[c] && --waiting[c] == 0)
                order[count++] = c;
        }
    }
    plan->order = order;
    plan->nwanted = 0;
    for (uint32_t i = 0; i < plan->nnodes; i++)
        plan->nwanted += m->wanted[i];
    if (count < plan->nwanted)
        report_cycle(m, waiting);
    return 0;
}

static int hash_graph(struct tl_plan *plan)
{
    const struct tl_doc *doc = plan->doc;
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    for (uint32_t i = 0; i < doc->nnodes; i++) {
        TL_AUTO_FREE char *data = doc->nodes[i].data ? tl_json_canonical(doc->nodes[i].data) : tl_strdup("null");
        if (!data)
            return TL_ENOMEM;
        tl_blake2b_field(&h, doc->nodes[i].id, strlen(doc->nodes[i].id));
        tl_blake2b_field(&h, doc->nodes[i].type, strlen(doc->nodes[i].type));
        tl_blake2b_field(&h, data, strlen(data));
    }
    for (uint32_t e = 0; e < doc->nedges; e++) {
        uint32_t ends[2] = {doc->edges[e].source, doc->edges[e].target};
        tl_blake2b_field(&h, ends, sizeof(ends));
        tl_blake2b_field(&h, doc->edges[e].source_handle, strlen(doc->edges[e].source_handle));
        tl_blake2b_field(&h, doc->edges[e].target_handle, strlen(doc->edges[e].target_handle));
    }
    uint8_t raw[TL_BLAKE2B_LEN];
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), plan->hash);
    return 0;
}

static int make_digest(struct tl_plan_node *n)
{
    struct tl_blake2b h;
    uint8_t v[32];
    uint32_t le[] = {htole32(n->op->revision), htole32(n->nparams)};
    const char *identity = n->shape->identity ? n->shape->identity : "";
    int err = 0;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-node-1", 12);
    tl_blake2b_field(&h, n->op->name, strlen(n->op->name));
    tl_blake2b_field(&h, &le[0], sizeof(le[0]));
    tl_blake2b_field(&h, identity, strlen(identity));
    tl_blake2b_field(&h, &le[1], sizeof(le[1]));
    for (uint32_t p = 0; !err && p < n->nparams; p++) {
        err = tl_value_hash(&n->params[p], v);
        tl_blake2b_field(&h, n->shape->params[p].name, strlen(n->shape->params[p].name));
        tl_blake2b_field(&h, v, sizeof(v));
    }
    for (uint32_t p = 0; !err && p < n->nin; p++) {
        bool literal = !n->in[p].nsources && !tl_value_none(&n->in[p].literal);
        err = literal ? tl_value_hash(&n->in[p].literal, v) : 0;
        tl_blake2b_field(&h, n->in[p].def->name, strlen(n->in[p].def->name));
        tl_blake2b_field(&h, v, literal ? sizeof(v) : 0);
    }
    tl_blake2b_final(&h, n->digest);
    return err;
}

static int make(struct maker *m, const char *const *targets, size_t ntargets)
{
    struct tl_plan *plan = m->plan;
    const struct tl_doc *doc = plan->doc;
    plan->nnodes = doc->nnodes;
    plan->nodes = m->nodes = zeroed(m, doc->nnodes, sizeof(*m->nodes));
    m->in = zeroed(m, doc->nnodes, sizeof(struct tl_plan_port *));
    if (!m->nodes || !m->in || !m->wanted || !m->whole || !m->edge_port || !m->edge_out)
        return TL_ENOMEM;
    for (uint32_t e = 0; e < doc->nedges; e++)
        m->whole[e] = doc->edges[e].source != NONE && doc->edges[e].target != NONE;
    int err = group_edges(m, true, &m->first_in, &m->edges_in);
    if (!err)
        err = group_edges(m, false, &m->first_out, &m->edges_by_source);
    if (!err)
        err = mark_wanted(m, targets, ntargets);
    for (uint32_t i = 0; !err && i < doc->nnodes; i++) {
        m->nodes[i] = (struct tl_plan_node){.id = doc->nodes[i].id, .data = doc->nodes[i].data, .wanted = m->wanted[i]};
        if (m->wanted[i])
            err = make_node(m, i);
    }
    for (uint32_t e = 0; !err && e < doc->nedges; e++)
        check_edge(m, e);
    for (uint32_t i = 0; !err && i < doc->nnodes; i++)
        if (m->nodes[i].op)
            check_inputs(m, i);
    if (!err)
        err = link_nodes(m);
    if (!err)
        err = order_nodes(m);
    for (uint32_t i = 0; !err && i < doc->nnodes; i++) {
        m->nodes[i].first_out = plan->nouts;
        plan->nouts += m->nodes[i].nout;
        if (m->nodes[i].op && doc->sound)
            err = make_digest(&m->nodes[i]);
    }
    return err ? err : doc->sound ? hash_graph(plan) : TL_EINVAL;
}

int tl_plan_new(struct tl_doc *doc, const struct tl_graph_env *env, const char *const *targets, size_t ntargets,
                struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_diag own = {0};
    *ret = NULL;
    struct tl_plan *plan = tl_calloc(1, sizeof(*plan));
    if (!plan) {
        tl_doc_free(doc);
        return TL_ENOMEM;
    }
    plan->doc = doc;
    plan->refs = 1;
    plan->input_node = plan->output_node = NONE;
    struct maker m = {.plan = plan, .env = env, .diag = diag ? diag : &own};
    size_t before = m.diag->count + m.diag->dropped;
    m.wanted = tl_calloc(doc->nnodes + 1, 1);
    m.whole = tl_calloc(doc->nedges + 1, 1);
    m.edge_port = tl_calloc(doc->nedges + 1, sizeof(uint32_t));
    m.edge_out = tl_calloc(doc->nedges + 1, sizeof(uint32_t));
    int err = make(&m, targets, ntargets);
    free(m.wanted);
    free(m.whole);
    free(m.edge_port);
    free(m.edge_out);
    free(m.first_in);
    free(m.edges_in);
    free(m.first_out);
    free(m.edges_by_source);
    if (!err)
        err = m.diag->count + m.diag->dropped > before ? TL_EINVAL : m.diag->err;
    tl_diag_clear(&own);
    if (err)
        tl_plan_unref(plan);
    else
        *ret = plan;
    return err;
}

int tl_plan_json(json_t *json, const struct tl_graph_env *env, const char *const *targets, size_t ntargets,
                 struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_doc *doc = NULL;
    *ret = NULL;
    int err = tl_doc_read(json, &doc, diag);
    return doc ? tl_plan_new(doc, env, targets, ntargets, ret, diag) : err;
}

struct tl_plan *tl_plan_ref(struct tl_plan *plan)
{
    plan->refs++;
    return plan;
}

void tl_plan_unref(struct tl_plan *plan)
{
    if (!plan || --plan->refs > 0)
        return;
    for (uint32_t i = 0; plan->nodes && i < plan->nnodes; i++) {
        const struct tl_plan_node *n = &plan->nodes[i];
        for (uint32_t p = 0; n->params && p < n->nparams; p++)
            tl_value_clear((struct tl_value *)(uintptr_t)&n->params[p]);
        for (uint32_t p = 0; n->in && p < n->nin; p++)
            tl_value_clear((struct tl_value *)(uintptr_t)&n->in[p].literal);
        if (n->op && n->op->unshape && n->shape && n->shape->priv)
            n->op->unshape((struct tl_shape *)(uintptr_t)n->shape);
    }
    tl_doc_free(plan->doc);
    tl_arena_clear(&plan->arena);
    free(plan);
}

uint32_t tl_plan_find(const struct tl_plan *plan, const char *id)
{
    return tl_idmap_find(&plan->doc->ids, id);
}

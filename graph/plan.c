#include "graph/plan.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/maker.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX
enum { LINE = 64 };

static void *lasting(struct tl_maker *m, size_t n, size_t size)
{
    return tl_arena_alloc(&m->plan->arena, (n ? n : 1) * size);
}

static void *passing(struct tl_maker *m, size_t n, size_t size)
{
    return tl_arena_alloc(&m->doc->arena, (n + 2) * size);
}

/* ---- targets ---- */

/* Groups edges by their target: first_in[node]..first_in[node+1] into edges_in. */
static int group_edges(struct tl_maker *m)
{
    const struct tl_doc *doc = m->doc;
    if (m->first_in)
        return 0;
    uint32_t *first = passing(m, doc->nnodes, sizeof(*first)), *list = passing(m, doc->nedges, sizeof(*list));
    if (!first || !list)
        return TL_ENOMEM;
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (doc->edges[e].target != NONE)
            first[doc->edges[e].target + 2]++;
    for (uint32_t i = 2; i < doc->nnodes + 2; i++)
        first[i] += first[i - 1];
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (doc->edges[e].target != NONE)
            list[first[doc->edges[e].target + 1]++] = e;
    m->first_in = first;
    m->edges_in = list;
    return 0;
}

/* Marks the targets and all their ancestors. */
static int mark_wanted(struct tl_maker *m, const char *const *targets, size_t ntargets)
{
    const struct tl_doc *doc = m->doc;
    if (!targets) {
        memset(m->wanted, 1, doc->nnodes);
        return 0;
    }
    uint32_t *stack = passing(m, doc->nnodes, sizeof(*stack)), depth = 0;
    if (!stack || group_edges(m) < 0)
        return TL_ENOMEM;
    for (size_t t = 0; t < ntargets; t++) {
        uint32_t i = tl_idmap_find(&doc->ids, targets[t], strlen(targets[t]));
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

/* ---- edges ---- */

static void wrong_port(struct tl_maker *m, uint32_t e, uint32_t node, bool out, struct tl_jtext handle)
{
    char path[64];
    const char *id = m->nodes[node].id, *name = tl_arena_strndup(&m->doc->arena, handle.s, handle.len);
    snprintf(path, sizeof(path), "$.edges[%u]", e);
    if (name)
        tl_diag_add(m->diag, id, name, path, "\"%s\" has no %s \"%s\"", id, out ? "output" : "input", name);
    else
        m->diag->err = TL_ENOMEM;
}

static void check_edge(struct tl_maker *m, uint32_t e)
{
    const struct tl_doc_edge *d = &m->doc->edges[e];
    m->edge_port[e] = m->edge_out[e] = NONE;
    if (d->source == NONE || !m->wanted[d->target] || m->kind_of[d->source] == NONE || m->kind_of[d->target] == NONE)
        return;
    const struct tl_kind *s = &m->kinds[m->kind_of[d->source]], *t = &m->kinds[m->kind_of[d->target]];
    uint32_t out = 0, in = 0;
    while (out < s->nout && !tl_jtext_is(d->source_handle, s->out[out]->name))
        out++;
    while (in < t->nin && !tl_jtext_is(d->target_handle, t->in[in]->name))
        in++;
    if (out == s->nout)
        wrong_port(m, e, d->source, true, d->source_handle);
    if (in == t->nin)
        wrong_port(m, e, d->target, false, d->target_handle);
    if (out == s->nout || in == t->nin)
        return;
    const struct tl_port *from = s->out[out], *to = t->in[in];
    struct tl_plan_port *p = &m->ports[m->first_port[d->target] + in];
    bool fits = tl_type_accepts(to->type, from->type);
    if (fits && (!p->nsources || to->flags & TL_PORT_MULTI)) {
        p->nsources++;
        m->edge_port[e] = m->first_port[d->target] + in;
        m->edge_out[e] = out;
        return;
    }
    char path[64];
    const char *sid = m->nodes[d->source].id, *tid = m->nodes[d->target].id;
    snprintf(path, sizeof(path), "$.edges[%u]", e);
    if (!fits)
        tl_diag_add(m->diag, tid, to->name, path, "%s.%s gives %s, but %s.%s takes %s", sid, from->name,
                    tl_type_name(from->type), tid, to->name, tl_type_name(to->type));
    else
        tl_diag_add(m->diag, tid, to->name, path, "the input \"%s\" takes one edge only", to->name);
}

static int check_edges(struct tl_maker *m)
{
    const struct tl_doc *doc = m->doc;
    m->edge_port = passing(m, doc->nedges, sizeof(*m->edge_port));
    m->edge_out = passing(m, doc->nedges, sizeof(*m->edge_out));
    uint32_t *coming = passing(m, doc->nnodes, sizeof(*coming));
    if (!m->edge_port || !m->edge_out || !coming)
        return TL_ENOMEM;
    for (uint32_t e = 0; e < doc->nedges; e++) {
        check_edge(m, e);
        if (doc->edges[e].target != NONE)
            coming[doc->edges[e].target]++;
    }
    for (uint32_t i = 0; i < doc->nnodes; i++) {
        uint32_t most = m->kind_of[i] == NONE ? 0 : m->kinds[m->kind_of[i]].shape->max_upstream;
        if (most && coming[i] > most)
            tl_diag_add(m->diag, m->nodes[i].id, NULL, tl_maker_path(m, i, "", NULL),
                        "at most %u edges may come in, not %u", most, coming[i]);
    }
    return 0;
}

static void drop_literal(struct tl_plan_port *port)
{
    tl_value_clear((struct tl_value *)(uintptr_t)port->literal);
    port->literal = NULL;
}

/* Exactly one of the inputs of which either will do has its value from somewhere. */
static void check_either(struct tl_maker *m, uint32_t i)
{
    struct tl_plan_node *n = &m->nodes[i];
    struct tl_plan_port *in = m->ports + m->first_port[i];
    uint32_t connected = 0, given = 0;
    struct tl_str names = {0};
    for (uint32_t p = 0; p < n->nin; p++) {
        if (!(in[p].def->flags & TL_PORT_EITHER))
            continue;
        connected += in[p].nsources > 0;
        given += !tl_value_none(in[p].literal);
        tl_str_printf(&names, "%s\"%s\" (%s)", names.len ? " and " : "", in[p].def->name,
                      tl_type_name(in[p].def->type));
    }
    for (uint32_t p = 0; connected && p < n->nin; p++)
        if (in[p].def->flags & TL_PORT_EITHER)
            drop_literal(&in[p]);
    if (names.err)
        m->diag->err = TL_ENOMEM;
    else if (!connected && !given)
        tl_diag_add(m->diag, n->id, NULL, tl_maker_path(m, i, "", NULL),
                    "one of the inputs %s is required: connect it or give it a value", names.data);
    else if ((connected ? connected : given) > 1)
        tl_diag_add(m->diag, n->id, NULL, tl_maker_path(m, i, "", NULL), "only one of the inputs %s may have a value",
                    names.data);
    tl_str_clear(&names);
}

/* Every input's value is known to come from somewhere, or need not. Numbers the sources. */
static uint32_t check_inputs(struct tl_maker *m, uint32_t i, uint32_t first_source)
{
    struct tl_plan_node *n = &m->nodes[i];
    struct tl_plan_port *in = m->ports + m->first_port[i];
    bool either = false;
    for (uint32_t p = 0; p < n->nin; p++) {
        if (!either && in[p].def->flags & TL_PORT_EITHER) {
            either = true;
            check_either(m, i);
        }
        if (in[p].nsources)
            drop_literal(&in[p]); /* an edge wins over a value typed in earlier */
        else if (in[p].def->flags & TL_PORT_REQUIRED && tl_value_none(in[p].literal))
            tl_diag_add(m->diag, n->id, in[p].def->name, tl_maker_path(m, i, "", NULL),
                        "the input \"%s\" (%s) is required: connect it or give it a value", in[p].def->name,
                        tl_type_name(in[p].def->type));
        in[p].first_source = first_source;
        first_source += in[p].nsources;
        in[p].nsources = 0;
    }
    return first_source;
}

/* Fills sources (per input port, in the order of the edges) and consumers (distinct nodes). */
static int link_nodes(struct tl_maker *m)
{
    struct tl_plan *plan = m->plan;
    const struct tl_doc *doc = m->doc;
    uint32_t at = 0, nsources = 0;
    for (uint32_t i = 0; i < doc->nnodes; i++)
        nsources = check_inputs(m, i, nsources);
    struct tl_plan_source *sources = lasting(m, nsources, sizeof(*sources));
    uint32_t *consumers = lasting(m, nsources, sizeof(*consumers)), *first = passing(m, doc->nnodes, sizeof(*first)),
             *seen = passing(m, doc->nnodes, sizeof(*seen)), *producers = passing(m, doc->nnodes, sizeof(*producers));
    if (!sources || !consumers || !first || !seen || !producers)
        return TL_ENOMEM;
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (m->edge_port[e] != NONE)
            first[doc->edges[e].source + 2]++;
    for (uint32_t i = 2; i < doc->nnodes + 2; i++)
        first[i] += first[i - 1];
    for (uint32_t e = 0; e < doc->nedges; e++)
        if (m->edge_port[e] != NONE) {
            struct tl_plan_port *p = &m->ports[m->edge_port[e]];
            sources[p->first_source + p->nsources++] =
                (struct tl_plan_source){.node = doc->edges[e].source,
                                        .out = m->edge_out[e],
                                        .value = m->nodes[doc->edges[e].source].first_out + m->edge_out[e]};
            consumers[first[doc->edges[e].source + 1]++] = doc->edges[e].target;
        }
    /* first[i] to first[i + 1] are i's; of several edges to one node the first stays. */
    for (uint32_t i = 0; i < doc->nnodes; i++) {
        m->nodes[i].first_consumer = at;
        for (uint32_t k = first[i]; k < first[i + 1]; k++) {
            uint32_t target = consumers[k];
            if (seen[target] == i + 1)
                continue;
            seen[target] = i + 1;
            consumers[at++] = target;
            producers[target]++;
        }
        m->nodes[i].nconsumers = at - m->nodes[i].first_consumer;
    }
    for (uint32_t i = 0; i < doc->nnodes; i++)
        m->nodes[i].nproducers = producers[i];
    plan->sources = sources;
    plan->consumers = consumers;
    return 0;
}

/* ---- the order ---- */

static int order_nodes(struct tl_maker *m, bool *ret_whole)
{
    struct tl_plan *plan = m->plan;
    uint32_t *order = lasting(m, plan->nnodes, sizeof(*order)), *waiting = passing(m, plan->nnodes, sizeof(*waiting));
    if (!order || !waiting)
        return TL_ENOMEM;
    uint32_t done = 0, count = 0;
    for (uint32_t i = 0; i < plan->nnodes; i++) {
        plan->nwanted += m->wanted[i];
        if (m->wanted[i] && !(waiting[i] = m->nodes[i].nproducers))
            order[count++] = i;
    }
    while (done < count) {
        const struct tl_plan_node *n = &m->nodes[order[done++]];
        for (uint32_t k = 0; k < n->nconsumers; k++) {
            uint32_t c = plan->consumers[n->first_consumer + k];
            if (--waiting[c] == 0)
                order[count++] = c;
        }
    }
    plan->order = order;
    *ret_whole = count == plan->nwanted;
    return 0;
}

/* ---- all of it ---- */

static void hash_graph(struct tl_plan *plan)
{
    struct tl_blake2b h;
    uint8_t raw[TL_BLAKE2B_LEN];
    tl_blake2b_init(&h, NULL);
    for (uint32_t i = 0; i < plan->nnodes; i++) {
        const struct tl_plan_node *n = &plan->nodes[i];
        tl_blake2b_field(&h, n->id, strlen(n->id));
        tl_blake2b_update(&h, n->digest, sizeof(n->digest));
        for (uint32_t p = 0; p < n->nin; p++) {
            uint32_t count = htole32(n->in[p].nsources);
            tl_blake2b_update(&h, &count, sizeof(count));
            for (uint32_t k = 0; k < n->in[p].nsources; k++) {
                const struct tl_plan_source *s = &plan->sources[n->in[p].first_source + k];
                uint32_t from[2] = {htole32(s->node), htole32(s->out)};
                tl_blake2b_update(&h, from, sizeof(from));
            }
        }
    }
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), plan->hash);
}

static int make_nodes(struct tl_maker *m)
{
    struct tl_plan *plan = m->plan;
    struct tl_doc *doc = m->doc;
    plan->nnodes = doc->nnodes;
    /* A node is two cache lines, and begins with one. */
    char *room = lasting(m, doc->nnodes + 1, sizeof(*m->nodes));
    m->nodes = room ? (void *)(room + (-(uintptr_t)room & (LINE - 1))) : NULL;
    plan->nodes = m->nodes;
    m->wanted = passing(m, doc->nnodes, 1);
    for (uint32_t i = 0; m->nodes && i < doc->nnodes; i++)
        m->nodes[i].id = doc->nodes[i].id;
    return m->nodes && m->wanted ? 0 : TL_ENOMEM;
}

static int make(struct tl_maker *m, const char *const *targets, size_t ntargets)
{
    struct tl_plan *plan = m->plan;
    struct tl_doc *doc = m->doc;
    size_t before = m->diag->count + m->diag->dropped;
    bool whole = true;
    int err = make_nodes(m);
    if (!err)
        err = mark_wanted(m, targets, ntargets);
    if (!err)
        err = tl_maker_kinds(m);
    if (!err)
        err = tl_maker_data(m);
    if (!err)
        err = check_edges(m);
    for (uint32_t i = 0; !err && i < plan->nnodes; i++)
        m->nodes[i].wanted = m->wanted[i];
    if (!err)
        err = link_nodes(m);
    if (!err)
        err = order_nodes(m, &whole);
    /* An edge that has another problem is not in the order, and may close a cycle all the same. */
    whole &= doc->sound && m->diag->count + m->diag->dropped == before;
    if (!err && !whole)
        err = group_edges(m);
    if (!err && !whole)
        err = tl_maker_cycles(m);
    if (err || !doc->sound)
        return err ? err : TL_EINVAL;
    err = tl_maker_digests(m);
    hash_graph(plan);
    plan->ids = doc->ids; /* the nodes' ids are its */
    doc->ids = (struct tl_idmap){0};
    return err;
}

static int plan_doc(struct tl_doc *doc, const struct tl_graph_env *env, const char *const *targets, size_t ntargets,
                    struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_diag own = {0};
    struct tl_plan *plan = tl_calloc(1, sizeof(*plan));
    if (!plan)
        return TL_ENOMEM;
    plan->refs = 1;
    plan->wipe = env->allow_private;
    plan->input_node = plan->output_node = NONE;
    struct tl_maker *m = tl_calloc(1, sizeof(*m));
    int err = m ? 0 : TL_ENOMEM;
    if (m) {
        *m = (struct tl_maker){.plan = plan, .doc = doc, .env = env, .diag = diag ? diag : &own, .first_plain = NONE};
        tl_jread_init(&m->reader, "", 0, &doc->arena);
        size_t before = m->diag->count + m->diag->dropped;
        err = make(m, targets, ntargets);
        if (!err)
            err = m->diag->count + m->diag->dropped > before ? TL_EINVAL : m->diag->err;
        tl_maker_clear(m);
        free(m);
    }
    tl_diag_clear(&own);
    if (err)
        tl_plan_unref(plan);
    else
        *ret = plan;
    return err;
}

int tl_plan_text(const char *text, size_t len, const struct tl_graph_env *env, const char *const *targets,
                 size_t ntargets, struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_doc *doc;
    *ret = NULL;
    bool wiped = tl_json_wiped(env->allow_private);
    int err = tl_doc_read(text, len, &doc, diag);
    if (doc)
        err = plan_doc(doc, env, targets, ntargets, ret, diag);
    if (doc && env->allow_private)
        tl_doc_wipe(doc);
    tl_doc_free(doc);
    tl_json_wiped(wiped);
    return err;
}

int tl_plan_json(const json_t *json, const struct tl_graph_env *env, const char *const *targets, size_t ntargets,
                 struct tl_plan **ret, struct tl_diag *diag)
{
    /* 17 digits: the numbers that are read are those that were given. */
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
    *ret = NULL;
    if (!json)
        return tl_diag_add(diag, NULL, NULL, "$", "a graph is an object with \"nodes\" and \"edges\"");
    bool wiped = tl_json_wiped(env->allow_private);
    char *text = json_dumps(json, flags);
    tl_json_wiped(wiped);
    size_t len = text ? strlen(text) : 0;
    int err = text ? tl_plan_text(text, len, env, targets, ntargets, ret, diag) : TL_ENOMEM;
    if (text && env->allow_private)
        tl_wipe(text, len);
    free(text);
    return err;
}

struct tl_plan *tl_plan_ref(struct tl_plan *plan)
{
    plan->refs++;
    return plan;
}

static void node_clear(struct tl_plan_node *n)
{
    for (uint32_t p = 0; n->params && p < n->nparams; p++)
        tl_value_clear((struct tl_value *)(uintptr_t)&n->params[p]);
    for (uint32_t p = 0; n->in && p < n->nin; p++)
        tl_value_clear((struct tl_value *)(uintptr_t)n->in[p].literal);
    if (n->policy)
        tl_policy_clear(n->policy, n->nout);
    if (n->op && n->op->unshape && n->shape && n->shape->priv)
        n->op->unshape((struct tl_shape *)(uintptr_t)n->shape);
    json_decref((json_t *)(uintptr_t)n->data);
}

void tl_plan_unref(struct tl_plan *plan)
{
    if (!plan || --plan->refs > 0)
        return;
    bool wiped = tl_json_wiped(plan->wipe);
    for (uint32_t i = 0; plan->nodes && i < plan->nnodes; i++)
        node_clear((struct tl_plan_node *)(uintptr_t)&plan->nodes[i]);
    tl_json_wiped(wiped);
    if (plan->wipe) {
        tl_idmap_wipe(&plan->ids);
        tl_arena_wipe(&plan->arena);
    }
    tl_idmap_clear(&plan->ids);
    tl_arena_clear(&plan->arena);
    free(plan);
}

uint32_t tl_plan_find(const struct tl_plan *plan, const char *id)
{
    return tl_idmap_find(&plan->ids, id, strlen(id));
}

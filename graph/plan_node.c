/* Planning, a node at a time: its op and ports, its parameters, literals and policy, its digest. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/maker.h"

#include <endian.h>
#include <string.h>

/* The ends of a nested graph: their ports are the nested graph's own, seen from inside. */
static const struct tl_op op_graph_input = {.name = "graph.input", .revision = 1, .flags = TL_OP_PURE | TL_OP_PRIVATE};
static const struct tl_op op_graph_output = {
    .name = "graph.output", .revision = 1, .flags = TL_OP_PURE | TL_OP_PRIVATE};

#define NONE UINT32_MAX

static void *lasting(struct tl_maker *m, size_t n, size_t size)
{
    return tl_arena_alloc(&m->plan->arena, (n ? n : 1) * size);
}

static size_t append(char *to, size_t size, size_t at, const char *text)
{
    size_t n = strlen(text);
    n = n < size - at ? n : size - at - 1;
    memcpy(to + at, text, n);
    to[at + n] = '\0';
    return at + n;
}

/* By hand, since each node needs it and few have problems. */
const char *tl_maker_path(struct tl_maker *m, uint32_t i, const char *below, const char *key)
{
    char digits[10];
    size_t n = 0, at = 8;
    memcpy(m->path, "$.nodes[", 8);
    do
        digits[n++] = (char)('0' + i % 10);
    while (i /= 10);
    while (n)
        m->path[at++] = digits[--n];
    m->path[at++] = ']';
    at = append(m->path, sizeof(m->path), at, below);
    if (key)
        append(m->path, sizeof(m->path), append(m->path, sizeof(m->path), at, "."), key);
    return m->path;
}

/* ---- kinds ---- */

static const struct tl_port *turned(struct tl_maker *m, const struct tl_port *ports, bool out)
{
    size_t n = 0;
    while (ports[n].name)
        n++;
    struct tl_port *copy = lasting(m, n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = ports[i];
        copy[i].flags = out ? TL_PORT_OUT : 0;
    }
    return copy;
}

static const struct tl_op *find_op(struct tl_maker *m, const char *type)
{
    if (m->env->in && strcmp(type, op_graph_input.name) == 0)
        return &op_graph_input;
    if (m->env->out && strcmp(type, op_graph_output.name) == 0)
        return &op_graph_output;
    const struct tl_op *op = m->env->find_op(m->env->arg, type);
    return op && (!(op->flags & TL_OP_PRIVATE) || m->env->allow_private) ? op : NULL;
}

static bool is_end(const struct tl_op *op)
{
    return op == &op_graph_input || op == &op_graph_output;
}

/* A graph has at most one of each end. */
static int take_end(struct tl_maker *m, uint32_t i, const struct tl_op *op, struct tl_shape *shape)
{
    bool in = op == &op_graph_input;
    uint32_t *end = in ? &m->plan->input_node : &m->plan->output_node;
    if (*end != NONE)
        tl_diag_add(m->diag, m->nodes[i].id, NULL, tl_maker_path(m, i, "", NULL), "a graph has one %s node only",
                    op->name);
    *end = i;
    shape->ports = turned(m, in ? m->env->in : m->env->out, in);
    return shape->ports ? 0 : TL_ENOMEM;
}

static void hash_kind(struct tl_kind *k)
{
    const char *identity = k->shape->identity ? k->shape->identity : "";
    uint32_t revision = htole32(k->op->revision);
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-node-1", 12);
    tl_blake2b_field(&h, k->op->name, strlen(k->op->name));
    tl_blake2b_field(&h, &revision, sizeof(revision));
    tl_blake2b_field(&h, identity, strlen(identity));
    for (uint32_t p = 0; p < k->nparams; p++)
        tl_blake2b_field(&h, k->shape->params[p].name, strlen(k->shape->params[p].name));
    tl_blake2b_field(&h, "", 0);
    for (uint32_t p = 0; p < k->nin; p++)
        tl_blake2b_field(&h, k->in[p]->name, strlen(k->in[p]->name));
    tl_blake2b_final(&h, k->hash);
}

static int add_kind(struct tl_maker *m, const struct tl_op *op, const struct tl_shape *shape, uint32_t *ret)
{
    struct tl_kind k = {.op = op, .shape = shape};
    for (const struct tl_port *p = shape->ports; p && p->name; p++)
        *(p->flags & TL_PORT_OUT ? &k.nout : &k.nin) += 1;
    while (shape->params && shape->params[k.nparams].name)
        k.nparams++;
    const struct tl_port **in = tl_arena_alloc(&m->doc->arena, (k.nin + 1) * sizeof(*in)),
                         **out = lasting(m, k.nout, sizeof(*out));
    if (!in || !out || tl_grow(&m->kinds, &m->kinds_cap, m->nkinds + 1, sizeof(*m->kinds)) < 0)
        return TL_ENOMEM;
    uint32_t ni = 0, no = 0;
    for (const struct tl_port *p = shape->ports; p && p->name; p++) {
        if (p->flags & TL_PORT_OUT)
            out[no++] = p;
        else
            in[ni++] = p;
    }
    k.in = in;
    k.out = out;
    hash_kind(&k);
    *ret = (uint32_t)m->nkinds;
    m->kinds[m->nkinds++] = k;
    return 0;
}

static int plain_kind(struct tl_maker *m, const struct tl_op *op, uint32_t *ret)
{
    for (uint32_t k = m->first_plain; k != NONE; k = m->kinds[k].next_plain)
        if (m->kinds[k].op == op) {
            *ret = k;
            return 0;
        }
    struct tl_shape *shape = lasting(m, 1, sizeof(*shape));
    if (!shape)
        return TL_ENOMEM;
    *shape = (struct tl_shape){.ports = op->ports, .params = op->params};
    int err = add_kind(m, op, shape, ret);
    if (err)
        return err;
    struct tl_kind *k = &m->kinds[*ret];
    k->next_plain = m->first_plain;
    m->first_plain = *ret;
    k->usual = tl_calloc(k->nparams, sizeof(*k->usual));
    return k->usual ? tl_params_usual(shape->params, k->nparams, k->usual) : TL_ENOMEM;
}

/* Where the op refuses its data its ports are not known, and edges to the node are not judged. */
static int own_kind(struct tl_maker *m, uint32_t i, const struct tl_op *op, uint32_t *ret)
{
    const struct tl_jtext data = m->doc->nodes[i].data;
    struct tl_plan_node *n = &m->nodes[i];
    struct tl_shape *shape = lasting(m, 1, sizeof(*shape));
    if (!shape)
        return TL_ENOMEM;
    *shape = (struct tl_shape){.ports = op->ports, .params = op->params};
    if (is_end(op)) {
        int err = take_end(m, i, op, shape);
        return err ? err : add_kind(m, op, shape, ret);
    }
    json_t *json = NULL;
    int err = data.len ? tl_json_parse(data.s, data.len, &json, m->diag) : 0;
    n->data = json;
    if (err)
        return err;
    struct tl_shape_req req = {.env = m->env->arg,
                               .graph = m->env,
                               .node = n->id,
                               .path = tl_maker_path(m, i, ".data", NULL),
                               .data = json,
                               .arena = &m->plan->arena,
                               .diag = m->diag};
    err = op->shape(&req, shape);
    if (err)
        return err == TL_EINVAL ? 0 : err;
    n->op = op; /* from here on the plan's end releases what shape() made */
    n->shape = shape;
    return add_kind(m, op, shape, ret);
}

static int kind_of(struct tl_maker *m, uint32_t i, uint32_t *ret)
{
    struct tl_jtext type = m->doc->nodes[i].type;
    *ret = NONE;
    if (!type.len)
        return 0;
    unsigned slot = ((unsigned)type.len + (unsigned char)type.s[0] * 5u + (unsigned char)type.s[type.len - 1] * 13u +
                     (unsigned char)type.s[type.len / 2] * 29u) %
                    TL_ARRAY_LEN(m->recent);
    if (m->recent[slot].type.len == type.len && memcmp(m->recent[slot].type.s, type.s, type.len) == 0) {
        *ret = m->recent[slot].kind;
        return 0;
    }
    char *name = tl_strndup(type.s, type.len);
    if (!name)
        return TL_ENOMEM;
    const struct tl_op *op = find_op(m, name);
    if (!op)
        tl_diag_add(m->diag, m->nodes[i].id, NULL, tl_maker_path(m, i, "", NULL), "unknown node type \"%s\"", name);
    free(name);
    if (!op)
        return 0;
    if (op->shape || is_end(op))
        return own_kind(m, i, op, ret);
    int err = plain_kind(m, op, ret);
    m->recent[slot].type = err ? (struct tl_jtext){0} : type;
    m->recent[slot].kind = *ret;
    return err;
}

int tl_maker_kinds(struct tl_maker *m)
{
    uint32_t n = m->plan->nnodes;
    size_t nports = 0, nparams = 0;
    int err = 0;
    m->kind_of = tl_arena_alloc(&m->doc->arena, (n + 1) * sizeof(*m->kind_of));
    m->first_port = tl_arena_alloc(&m->doc->arena, (n + 1) * sizeof(*m->first_port));
    if (!m->kind_of || !m->first_port)
        return TL_ENOMEM;
    for (uint32_t i = 0; !err && i < n; i++) {
        m->kind_of[i] = NONE;
        m->first_port[i] = (uint32_t)nports;
        if (m->wanted[i])
            err = kind_of(m, i, &m->kind_of[i]);
        if (err || m->kind_of[i] == NONE)
            continue;
        nports += m->kinds[m->kind_of[i]].nin;
        nparams += m->kinds[m->kind_of[i]].nparams;
        if (nports > UINT32_MAX / 2)
            err = TL_ETOOBIG;
    }
    m->ports = lasting(m, nports, sizeof(*m->ports));
    m->params = lasting(m, nparams, sizeof(*m->params));
    return err ? err : m->ports && m->params ? 0 : TL_ENOMEM;
}

/* ---- data ---- */

static int check_literal(struct tl_maker *m, uint32_t i, struct tl_jtext key, struct tl_value *literal,
                         const struct tl_port *port)
{
    struct tl_jread *r = &m->reader;
    const char *why = NULL;
    struct tl_jtext raw;
    json_t *json = NULL;
    double number;
    if (port && port->type == TL_T_NUMBER && tl_jread_kind(r) == TL_J_NUMBER) {
        if (tl_jread_number(r, &number))
            *literal = tl_value_number(number);
        return 0;
    }
    tl_jread_skip(r, &raw);
    int err = port && !r->err ? tl_json_parse(raw.s, raw.len, &json, NULL) : 0;
    if (err || r->err)
        return err;
    struct tl_str at = {0}, name = {0};
    tl_str_printf(&at, "%s.%.*s", tl_maker_path(m, i, ".data.inputs", NULL), (int)key.len, key.s);
    tl_str_add(&name, key.s, key.len);
    const char *id = m->nodes[i].id, *k = name.data ? name.data : "";
    if (!port)
        tl_diag_add(m->diag, id, k, at.data, "unknown input \"%s\"", k);
    else if (tl_value_from_json(port->type, json, literal, &why) < 0)
        tl_diag_add(m->diag, id, k, at.data, "%s %s", k, why);
    else if (tl_type_is_media(literal->type)) {
        /* A hash is no right to a blob: media enter a graph through a file that the organisation owns. */
        tl_value_clear(literal);
        tl_diag_add(m->diag, id, k, at.data, "%s takes media from an edge only; use an input.clip node", k);
    }
    err = at.err || name.err ? TL_ENOMEM : 0;
    tl_str_clear(&at);
    tl_str_clear(&name);
    json_decref(json);
    return err;
}

static int read_literals(struct tl_maker *m, uint32_t i)
{
    struct tl_plan_node *n = &m->nodes[i];
    struct tl_jread *r = &m->reader;
    struct tl_plan_port *in = m->ports + m->first_port[i];
    struct tl_jtext key;
    int err = 0;
    if (tl_jread_kind(r) != TL_J_OBJECT) {
        tl_diag_add(m->diag, n->id, NULL, tl_maker_path(m, i, ".data", NULL),
                    "inputs must be an object of port names and values");
        tl_jread_skip(r, NULL);
        return 0;
    }
    tl_jread_object(r);
    while (!err && tl_jread_key(r, &key)) {
        uint32_t p = 0;
        while (p < n->nin && !tl_jtext_is(key, in[p].def->name))
            p++;
        struct tl_value *literal = p < n->nin ? lasting(m, 1, sizeof(*literal)) : NULL;
        if (p < n->nin && !literal)
            return TL_ENOMEM;
        if (literal)
            in[p].literal = literal;
        err = check_literal(m, i, key, literal, literal ? in[p].def : NULL);
    }
    return err;
}

static int read_policy(struct tl_maker *m, uint32_t i)
{
    struct tl_plan_node *n = &m->nodes[i];
    struct tl_jtext raw;
    TL_AUTO_JSON json_t *json = NULL;
    tl_jread_skip(&m->reader, &raw);
    int err = m->reader.err ? 0 : tl_json_parse(raw.s, raw.len, &json, NULL);
    if (err || !json)
        return err;
    err = tl_policy_read(n->op, n->out, n->nout, json, n->id, tl_maker_path(m, i, ".data.policy", NULL),
                         &m->plan->arena, &n->policy, m->diag);
    return err == TL_EINVAL ? 0 : err;
}

static void other_key(struct tl_maker *m, uint32_t i, struct tl_jtext key)
{
    const char *const *more = m->nodes[i].op->data_keys;
    bool known = TL_JTEXT_IS(key, "label") || TL_JTEXT_IS(key, "ui") || TL_JTEXT_IS(key, "params");
    for (size_t k = 0; !known && more && more[k]; k++)
        known = tl_jtext_is(key, more[k]);
    tl_jread_skip(&m->reader, NULL);
    if (known)
        return;
    struct tl_str at = {0};
    tl_str_printf(&at, "%s.%.*s", tl_maker_path(m, i, ".data", NULL), (int)key.len, key.s);
    tl_diag_add(m->diag, m->nodes[i].id, NULL, at.data, "unknown field \"%.*s\"", (int)key.len, key.s);
    tl_str_clear(&at);
}

static int read_data(struct tl_maker *m, uint32_t i, const struct tl_kind *kind, struct tl_value *params)
{
    const struct tl_jtext data = m->doc->nodes[i].data;
    const char *params_key = kind->shape->params_path ? kind->shape->params_path : "params";
    struct tl_params p = {.list = kind->shape->params,
                          .count = kind->nparams,
                          .admin = m->env->admin,
                          .node = m->nodes[i].id,
                          .usual = kind->usual,
                          .shared = &m->shared,
                          .values = params,
                          .diag = m->diag};
    struct tl_jtext key;
    bool given = false;
    int err = 0;
    tl_jread_again(&m->reader, data.s, data.len);
    if (data.len)
        tl_jread_object(&m->reader);
    while (!err && data.len && tl_jread_key(&m->reader, &key)) {
        if (tl_jtext_is(key, params_key)) {
            given = true;
            p.path = tl_maker_path(m, i, ".data", params_key);
            err = tl_params_read(&p, &m->reader);
        } else if (TL_JTEXT_IS(key, "inputs")) {
            err = read_literals(m, i);
        } else if (TL_JTEXT_IS(key, "policy")) {
            err = read_policy(m, i);
        } else {
            other_key(m, i, key);
        }
    }
    if (err || given)
        return err ? err : m->reader.err;
    p.path = tl_maker_path(m, i, ".data", params_key);
    err = tl_params_read(&p, NULL);
    return err ? err : m->reader.err;
}

int tl_maker_data(struct tl_maker *m)
{
    size_t nparams = 0, total = m->plan->nnodes;
    uint32_t nouts = 0;
    int err = 0;
    for (uint32_t i = 0; i < m->plan->nnodes; i++) {
        struct tl_plan_node *n = &m->nodes[i];
        n->first_out = nouts;
        if (m->kind_of[i] == NONE)
            continue;
        const struct tl_kind *k = &m->kinds[m->kind_of[i]];
        struct tl_plan_port *in = m->ports + m->first_port[i];
        for (uint32_t p = 0; p < k->nin; p++)
            in[p].def = k->in[p];
        n->op = k->op;
        n->shape = k->shape;
        n->in = in;
        n->out = k->out;
        n->nin = k->nin;
        n->nout = k->nout;
        n->params = m->params + nparams;
        n->nparams = k->nparams;
        nparams += k->nparams;
        nouts += k->nout;
        total += k->shape->inner_nodes;
        if (!err)
            err = read_data(m, i, k, m->params + nparams - k->nparams);
    }
    m->plan->nouts = nouts;
    m->plan->ntotal = (uint32_t)(total < UINT32_MAX ? total : UINT32_MAX);
    if (total > TL_GRAPH_MAX_NODES && m->plan->nnodes <= TL_GRAPH_MAX_NODES)
        tl_diag_add(m->diag, NULL, NULL, "$.nodes",
                    "%zu nodes, with those of the graphs within, are more than the limit of %d", total,
                    TL_GRAPH_MAX_NODES);
    return err;
}

/* ---- digests ---- */

static bool same_params(const struct tl_plan_node *a, const struct tl_plan_node *b)
{
    for (uint32_t p = 0; p < a->nparams; p++) {
        const struct tl_value *x = &a->params[p], *y = &b->params[p];
        if (x->type != y->type || (x->type == TL_T_NUMBER    ? x->number != y->number
                                   : x->type == TL_T_BOOLEAN ? x->boolean != y->boolean
                                   : x->type != TL_T_ANY     ? x->json != y->json
                                                             : false))
            return false;
    }
    return true;
}

/* The place of a node that may have the same digest. */
static uint32_t *like_it(struct tl_maker *m, uint32_t i)
{
    const struct tl_value *v = m->nodes[i].nparams ? m->nodes[i].params : NULL;
    uint64_t h = m->kind_of[i], bits = 0;
    if (v && v->type == TL_T_NUMBER)
        memcpy(&bits, &v->number, sizeof(bits));
    else if (v && v->type != TL_T_BOOLEAN && v->type != TL_T_ANY)
        bits = (uintptr_t)v->json;
    h = (h ^ bits) * 0x9e3779b97f4a7c15u;
    return &m->digested[(h >> 32) % TL_ARRAY_LEN(m->digested)];
}

/* Its edges are known: a port has a literal where none comes in. */
static int make_digest(struct tl_maker *m, uint32_t i)
{
    struct tl_plan_node *n = &m->nodes[i];
    const struct tl_kind *kind = &m->kinds[m->kind_of[i]];
    uint32_t *like = like_it(m, i);
    bool literals = false;
    for (uint32_t p = 0; p < n->nin; p++)
        literals |= !tl_value_none(n->in[p].literal);
    if (!literals && *like && m->kind_of[*like - 1] == m->kind_of[i] && same_params(n, &m->nodes[*like - 1])) {
        memcpy(n->digest, m->nodes[*like - 1].digest, sizeof(n->digest));
        return 0;
    }
    struct tl_blake2b h;
    uint8_t v[32];
    int err = 0;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, kind->hash, sizeof(kind->hash));
    for (uint32_t p = 0; !err && p < n->nparams; p++) {
        err = tl_shared_hash(&m->shared, &n->params[p], v);
        tl_blake2b_update(&h, v, sizeof(v));
    }
    for (uint32_t p = 0; !err && literals && p < n->nin; p++) {
        uint32_t index = htole32(p);
        if (tl_value_none(n->in[p].literal))
            continue;
        err = tl_shared_hash(&m->shared, n->in[p].literal, v);
        tl_blake2b_update(&h, &index, sizeof(index));
        tl_blake2b_update(&h, v, sizeof(v));
    }
    tl_blake2b_final(&h, n->digest);
    if (!err && !literals)
        *like = i + 1;
    return err;
}

int tl_maker_digests(struct tl_maker *m)
{
    int err = 0;
    for (uint32_t i = 0; !err && i < m->plan->nnodes; i++)
        if (m->kind_of[i] != NONE)
            err = make_digest(m, i);
    return err;
}

void tl_maker_clear(struct tl_maker *m)
{
    for (size_t k = 0; k < m->nkinds; k++) {
        for (uint32_t p = 0; m->kinds[k].usual && p < m->kinds[k].nparams; p++)
            tl_value_clear(&m->kinds[k].usual[p]);
        free(m->kinds[k].usual);
    }
    free(m->kinds);
    tl_shared_clear(&m->shared);
    tl_jread_finish(&m->reader, NULL);
}

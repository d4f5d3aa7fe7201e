/* Random graphs, their documents, and what their nodes compute. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct sim_code sim_codes[6] = {
    {"TIMEOUT", TL_ETIMEOUT},           {"RATE_LIMIT", TL_ERATE},     {"TRANSIENT_IO", TL_ETRANSIENT_IO},
    {"TRANSIENT_DB", TL_ETRANSIENT_DB}, {"WORKER_CRASH", TL_EWORKER}, {"SCHEMA_INVALID", TL_ESCHEMA},
};

static const struct {
    const char *op;
    bool pure;
    int weight;
} kinds[K_COUNT] = {
    [K_SRC] = {"sim.src", true, 4},        [K_MIX] = {"sim.mix", true, 20},       [K_ADD] = {"sim.add", true, 10},
    [K_MERGE] = {"sim.merge", true, 6},    [K_ROUTE] = {"sim.route", true, 4},    [K_SLOW] = {"sim.slow", true, 6},
    [K_CHANCE] = {"sim.chance", false, 2}, [K_MEDIA] = {"sim.media", true, 6},    [K_NET] = {"sim.net", false, 6},
    [K_ALARM] = {"sim.alarm", true, 2},    [K_EFFECT] = {"sim.effect", false, 6}, [K_ASK] = {"sim.ask", false, 2},
    [K_LONG] = {"sim.long", false, 1},     [K_GROUP] = {"subgraph", false, 8},
};

enum { BODY_MAX = 4, ITEMS_MAX = 4 };

bool group_is_pure(const struct graph *g, int i)
{
    bool pure = true;
    for (int k = 0; k < g->node[i].nbody; k++)
        pure &= kind_is_pure(g->node[g->node[i].first + k].kind);
    return pure;
}

bool kind_is_pure(enum kind kind)
{
    return kinds[kind].pure;
}

int kind_outs(enum kind kind)
{
    return kind == K_ROUTE ? 2 : 1;
}

const char *kind_out(enum kind kind, int out)
{
    return kind != K_ROUTE ? "out" : out ? "no" : "yes";
}

const char *kind_op(enum kind kind)
{
    return kinds[kind].op;
}

double graph_eval(const struct gnode *n, const double in[INS][SOURCES], const int count[INS])
{
    double v = n->value * 7 + n->shift * 131 + (int)n->kind * 17;
    for (int p = 0; p < INS; p++)
        for (int k = 0; k < count[p]; k++)
            v += (11 + 5 * p + 3 * k) * fmod(in[p][k], MODULUS);
    return fmod(v, MODULUS);
}

int graph_find(const struct graph *g, const char *id)
{
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->node[i].id, id) == 0)
            return i;
    return -1;
}

enum shape { S_CHAIN, S_WIDE, S_LAYERS, S_RANDOM, S_DIAMONDS, S_COUNT };

static int pick_source(enum shape shape, int i, struct rng *r)
{
    int width = 4, from;
    switch (shape) {
    case S_CHAIN:
        return i - 1;
    case S_WIDE:
        return 0;
    case S_LAYERS:
        from = (i / width - 1) * width;
        return from < 0 ? 0 : from + (int)rng_below(r, (uint32_t)width);
    case S_DIAMONDS: /* 0; 1 2; 3; 4 5; 6 … */
        return i % 3 == 0 ? i - 1 - (int)rng_below(r, 2) : i - i % 3;
    default:
        return (int)rng_below(r, (uint32_t)i);
    }
}

/* A body's nodes give to nobody outside, a map gives lists, which nobody takes. */
static int as_source(const struct graph *g, int i)
{
    while (g->node[i].group >= 0 || (g->node[i].kind == K_GROUP && g->node[i].items))
        i--;
    return i;
}

static void connect(struct graph *g, int i, int port, int source, struct rng *r)
{
    struct gport *in = &g->node[i].in[port];
    source = as_source(g, source);
    int out = (int)rng_below(r, (uint32_t)kind_outs(g->node[source].kind));
    for (int k = 0; k < in->n; k++)
        if (in->src[k].node == source && in->src[k].out == out)
            return;
    if (in->n < (g->node[i].kind == K_MERGE ? SOURCES : 1))
        in->src[in->n++] = (struct gsource){source, out};
}

static enum kind pick_kind(const int weights[K_COUNT], struct rng *r)
{
    int sum = 0;
    for (int k = 0; k < K_COUNT; k++)
        sum += weights[k];
    int at = (int)rng_below(r, (uint32_t)sum);
    for (int k = 0; k < K_COUNT; k++)
        if ((at -= weights[k]) < 0)
            return (enum kind)k;
    return K_MIX;
}

static void pick_policy(struct gnode *n, struct rng *r)
{
    struct gpolicy *p = &n->policy;
    p->own = true;
    if (rng_chance(r, 400))
        p->timeout_ms = rng_range(r, 100, 300);
    p->max_attempts = (unsigned)rng_range(r, 1, 4);
    p->on = rng_below(r, 64);
    p->nbackoff = rng_below(r, 4);
    for (unsigned i = 0; i < p->nbackoff; i++)
        p->backoff_ms[i] = rng_below(r, 120);
    p->on_error = n->kind == K_ROUTE ? (int)rng_below(r, 2) : (int)rng_below(r, 3);
    p->fallback = rng_below(r, MODULUS);
}

static void make_node(struct graph *g, int i, enum kind kind, struct rng *r)
{
    struct gnode *n = &g->node[i];
    *n = (struct gnode){.kind = kind,
                        .value = (int)rng_below(r, 50),
                        .shift = (int)rng_below(r, 3),
                        .honours = rng_chance(r, 500),
                        .group = -1,
                        .lasts_us = rng_range(r, 20, rng_chance(r, 200) ? 60000 : 5000)};
    snprintf(n->id, sizeof(n->id), "n%d", i);
    n->policy.max_attempts = kind == K_NET || kind == K_EFFECT || kind == K_LONG ? 3 : 1;
    if (n->policy.max_attempts == 3)
        *(&n->policy) = (struct gpolicy){.max_attempts = 3, .on = 7, .nbackoff = 3, .backoff_ms = {500, 2000, 8000}};
    if (rng_chance(r, kind == K_SRC || kind == K_MIX || kind == K_ADD || kind == K_MERGE ? 60 : 500))
        pick_policy(n, r);
    if (kind == K_MEDIA && rng_chance(r, w.lose_permille))
        n->lose = 400;
    if (kind != K_SRC && kind != K_LONG && rng_chance(r, w.fail_permille))
        n->fail = (unsigned)rng_range(r, 100, 900);
}

static int as_target(const struct graph *g, int i)
{
    return g->node[i].group >= 0 ? g->node[i].group : i;
}

/* A chain from the group's input to its output; some of its nodes take the input too, and the first of a map's takes the item. */
static void make_body(struct graph *g, int group, struct rng *r)
{
    static const enum kind kinds_inside[] = {K_MIX, K_ADD, K_SLOW, K_CHANCE, K_MEDIA, K_NET, K_EFFECT, K_ALARM};
    struct gnode *n = &g->node[group];
    for (int k = 0; k < n->nbody * (n->items ? n->items : 1); k++) {
        int i = n->first + k, place = k % n->nbody, item = k / n->nbody;
        struct gnode *b = &g->node[i];
        if (item) {
            *b = g->node[n->first + place];
        } else {
            make_node(g, i, kinds_inside[rng_below(r, TL_ARRAY_LEN(kinds_inside))], r);
            b->fail = b->lose = 0;
            b->honours = true;
            b->policy.own = false;
            bool net = b->kind == K_NET || b->kind == K_EFFECT;
            b->policy = (struct gpolicy){.max_attempts = net ? 3 : 1};
            if (b->kind != K_EFFECT &&
                rng_chance(r, w.fail_permille)) { /* a failure inside, so that the group goes on */
                pick_policy(b, r);
                b->policy.timeout_ms = 0;
                b->policy.on_error = TL_ON_ERROR_FALLBACK;
                b->fail = 400;
            }
            if (place && rng_chance(r, 300))
                b->in[1] = n->in[0];
        }
        b->group = group;
        if (place)
            b->in[0] = (struct gport){.n = 1, .src = {{i - 1, 0}}};
        else
            b->in[0] = n->in[0];
        if (!place && n->items)
            b->in[2] = (struct gport){.literal = true, .item = true, .lit = 10 + item};
        if (n->items)
            snprintf(b->id, sizeof(b->id), "n%d#%d/b%d", group, item, place);
        else
            snprintf(b->id, sizeof(b->id), "n%d/b%d", group, place);
    }
}

void graph_make(struct graph *g, struct rng *r, int n)
{
    enum shape shape = (enum shape)rng_below(r, S_COUNT);
    int weights[K_COUNT];
    for (int k = 0; k < K_COUNT; k++)
        weights[k] = rng_chance(r, 350) ? 0 : kinds[k].weight;
    weights[K_MIX] += 2;
    if (!rng_chance(r, 100))
        weights[K_LONG] = 0;
    *g = (struct graph){.n = n};
    for (int i = 0; i < n; i++) {
        make_node(g, i, i == 0 ? K_SRC : pick_kind(weights, r), r);
        struct gnode *node = &g->node[i];
        if (node->kind == K_GROUP) {
            node->policy = (struct gpolicy){.max_attempts = 1};
            node->fail = 0;
            node->first = i + 1;
            node->nbody = 1 + (int)rng_below(r, BODY_MAX);
            node->items = rng_chance(r, 400) ? 1 + (int)rng_below(r, ITEMS_MAX) : 0;
            int room = node->nbody * (node->items ? node->items : 1);
            if (i + room >= n) {
                make_node(g, i, K_MIX, r);
            } else {
                connect(g, i, 0, pick_source(shape, i, r), r);
                make_body(g, i, r);
                i += room;
                continue;
            }
        }
        if (node->kind == K_SRC)
            continue;
        connect(g, i, 0, pick_source(shape, i, r), r);
        int more = node->kind == K_MERGE ? (int)rng_below(r, SOURCES) : 0;
        while (more-- > 0)
            connect(g, i, 0, (int)rng_below(r, (uint32_t)i), r);
        for (int p = 1; p < INS && node->kind != K_MERGE; p++) {
            if (rng_chance(r, 300))
                connect(g, i, p, pick_source(shape, i, r), r);
            else if (rng_chance(r, 150))
                node->in[p].literal = true, node->in[p].lit = rng_below(r, 9);
        }
    }
    if (rng_chance(r, 200))
        for (g->ntargets = (int)rng_range(r, 1, 3); g->ntargets > n; g->ntargets--) {
        }
    for (int i = 0; i < g->ntargets; i++)
        g->targets[i] = as_target(g, n - 1 - (int)rng_below(r, (uint32_t)(n / (i + 1))));
    graph_write(g);
}

static void mark_wanted(struct graph *g)
{
    g->nwanted = 0;
    for (int i = 0; i < g->n; i++)
        g->node[i].wanted = g->ntargets == 0 && g->node[i].group < 0;
    for (int i = 0; i < g->ntargets; i++)
        g->node[g->targets[i]].wanted = true;
    for (int i = g->n - 1; i >= 0; i--) {
        for (int p = 0; g->node[i].wanted && p < INS; p++)
            for (int k = 0; k < g->node[i].in[p].n; k++)
                g->node[g->node[i].in[p].src[k].node].wanted = true;
        g->nwanted += g->node[i].wanted && g->node[i].group < 0;
    }
    for (int i = 0; i < g->n; i++)
        if (g->node[i].group >= 0)
            g->node[i].wanted = g->node[g->node[i].group].wanted;
}

static void write_policy(struct tl_str *s, const struct gpolicy *p)
{
    static const char *const on_error[] = {"fail", "continue", "fallback"};
    tl_str_printf(s, ",\"policy\":{\"retry\":{\"max_attempts\":%u,\"on\":[", p->max_attempts);
    const char *comma = "";
    for (int i = 0; i < 6; i++)
        if (p->on & 1u << i) {
            tl_str_printf(s, "%s\"%s\"", comma, sim_codes[i].name);
            comma = ",";
        }
    tl_str_puts(s, "],\"backoff_ms\":[");
    for (unsigned i = 0; i < p->nbackoff; i++)
        tl_str_printf(s, "%s%u", i ? "," : "", p->backoff_ms[i]);
    tl_str_printf(s, "]},\"on_error\":\"%s\"", on_error[p->on_error]);
    if (p->timeout_ms)
        tl_str_printf(s, ",\"timeout_sec\":%.3f", (double)p->timeout_ms / 1000);
    if (p->on_error == TL_ON_ERROR_FALLBACK)
        tl_str_printf(s, ",\"fallback\":{\"out\":%.0f}", p->fallback);
    tl_str_puts(s, "}");
}

static const char *last_id(const struct gnode *n)
{
    const char *slash = strchr(n->id, '/');
    return slash ? slash + 1 : n->id;
}

static void write_group(struct tl_str *s, const struct graph *g, const struct gnode *n);

static void write_node(struct tl_str *s, const struct graph *g, const struct gnode *n)
{
    if (n->kind == K_GROUP) {
        write_group(s, g, n);
        return;
    }
    tl_str_printf(s, "{\"id\":\"%s\",\"type\":\"%s\",\"data\":{\"params\":{\"value\":%d,\"shift\":%d", last_id(n),
                  kind_op(n->kind), n->value, n->shift);
    if (n->kind == K_EFFECT)
        tl_str_printf(s, ",\"honours\":%s", n->honours ? "true" : "false");
    tl_str_puts(s, "},\"inputs\":{");
    const char *comma = "";
    for (int p = 0; p < INS; p++)
        if (n->in[p].literal && !n->in[p].item && !n->in[p].n) {
            tl_str_printf(s, "%s\"%c\":%.0f", comma, 'a' + p, n->in[p].lit);
            comma = ",";
        }
    tl_str_puts(s, "}");
    if (n->policy.own)
        write_policy(s, &n->policy);
    tl_str_puts(s, "}}");
}

static void write_edge(struct tl_str *s, const char *source, const char *out, const char *target, int port)
{
    tl_str_printf(s, ",{\"source\":\"%s\",\"sourceHandle\":\"%s\",\"target\":\"%s\",\"targetHandle\":\"%c\"}", source,
                  out, target, 'a' + port);
}

static void write_group(struct tl_str *s, const struct graph *g, const struct gnode *n)
{
    const struct gnode *b = &g->node[n->first];
    tl_str_printf(s, "{\"id\":\"%s\",\"type\":\"%s\",\"data\":{", n->id, n->items ? "map" : "subgraph");
    if (n->items) {
        tl_str_printf(s, "\"params\":{\"concurrency\":%d},\"inputs\":{\"items\":[", 1 + n->value % 3);
        for (int k = 0; k < n->items; k++)
            tl_str_printf(s, "%s%d", k ? "," : "", 10 + k);
        tl_str_puts(s, "]},");
    }
    tl_str_printf(s,
                  "\"ports\":{\"in\":[{\"name\":\"a\",\"type\":\"number\",\"required\":true}%s],\"out\":[{\"name\":"
                  "\"out\",\"type\":\"number\"}]},\"graph\":{\"nodes\":[{\"id\":\"i\",\"type\":\"graph.input\"},"
                  "{\"id\":\"o\",\"type\":\"graph.output\"}",
                  n->items ? ",{\"name\":\"item\",\"type\":\"number\"}" : "");
    for (int k = 0; k < n->nbody; k++) {
        tl_str_puts(s, ",");
        write_node(s, g, &b[k]);
    }
    tl_str_printf(s,
                  "],\"edges\":[{\"source\":\"%s\",\"sourceHandle\":\"out\",\"target\":\"o\",\"targetHandle\":\"out\"}",
                  last_id(&b[n->nbody - 1]));
    for (int k = 0; k < n->nbody; k++)
        for (int p = 0; p < INS; p++) {
            const struct gport *in = &b[k].in[p];
            if (in->item)
                write_edge(s, "i", "item", last_id(&b[k]), p);
            else if (in->n && in->src[0].node >= n->first)
                write_edge(s, last_id(&g->node[in->src[0].node]), "out", last_id(&b[k]), p);
            else if (in->n)
                write_edge(s, "i", "a", last_id(&b[k]), p);
        }
    tl_str_puts(s, "]}}}");
}

void graph_write(struct graph *g)
{
    struct tl_str s = {0};
    mark_wanted(g);
    tl_str_puts(&s, "{\"graph\":{\"nodes\":[");
    for (int i = 0; i < g->n; i++) {
        if (g->node[i].group >= 0)
            continue;
        tl_str_puts(&s, i ? "," : "");
        write_node(&s, g, &g->node[i]);
    }
    tl_str_puts(&s, "],\"edges\":[");
    const char *comma = "";
    for (int i = 0; i < g->n; i++)
        for (int p = 0; p < INS; p++)
            for (int k = 0; g->node[i].group < 0 && k < g->node[i].in[p].n; k++) {
                const struct gsource *src = &g->node[i].in[p].src[k];
                tl_str_printf(
                    &s, "%s{\"source\":\"%s\",\"sourceHandle\":\"%s\",\"target\":\"%s\",\"targetHandle\":\"%c\"}",
                    comma, g->node[src->node].id, kind_out(g->node[src->node].kind, src->out), g->node[i].id, 'a' + p);
                comma = ",";
            }
    tl_str_puts(&s, "]},\"targets\":[");
    for (int i = 0; i < g->ntargets; i++)
        tl_str_printf(&s, "%s\"%s\"", i ? "," : "", g->node[g->targets[i]].id);
    tl_str_puts(&s, "]}");
    free(g->text);
    g->text = tl_str_take(&s);
}

void graph_clear(struct graph *g)
{
    free(g->text);
    g->text = NULL;
}

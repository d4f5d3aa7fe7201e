/* What must become of each node of each run, worked out from what the ops were seen to do and from nothing else. */
#include "tests/sim/sim.h"

#include <stdlib.h>

/* Results of pure nodes, by what they were made of: those must not be made again. An open-addressing table. */
struct known {
    size_t n, cap;
    struct known_slot {
        uint64_t sig; /* 0: free */
        bool committed;
    } * slots;
};

static struct known_slot *known_at(uint64_t sig)
{
    struct known *k = w.known;
    if (!k)
        k = w.known = calloc(1, sizeof(*k));
    if (2 * (k->n + 1) > k->cap) {
        struct known old = *k;
        k->cap = old.cap ? 2 * old.cap : 256;
        k->slots = calloc(k->cap, sizeof(*k->slots));
        k->n = 0;
        for (size_t i = 0; i < old.cap; i++)
            if (old.slots[i].sig) {
                *known_at(old.slots[i].sig) = old.slots[i];
                k->n++;
            }
        free(old.slots);
    }
    size_t i = sig & (k->cap - 1);
    while (k->slots[i].sig && k->slots[i].sig != sig)
        i = (i + 1) & (k->cap - 1);
    return &k->slots[i];
}

static void know(uint64_t sig, bool committed)
{
    struct known_slot *s = known_at(sig);
    if (!s->sig)
        w.known->n++;
    s->sig = sig;
    s->committed |= committed;
}

/* Two calls with the same signature must give the same result. */
static uint64_t signature(const struct simrun *run, const struct gnode *n, double in[INS][SOURCES],
                          const int count[INS])
{
    struct rng h = {.s = (uint64_t)run->org[3] * 1000003 + (uint64_t)n->kind};
    h.s ^= rng_next(&h) + (uint64_t)n->value * 4099 + (uint64_t)n->shift;
    for (int p = 0; p < INS; p++) {
        h.s ^= rng_next(&h) + (uint64_t)count[p] +
               (n->in[p].n || n->in[p].item ? 0 : 100); /* a literal is another thing than an edge */
        for (int k = 0; k < count[p]; k++)
            h.s ^= rng_next(&h) + (uint64_t)in[p][k];
    }
    return rng_next(&h) | 1;
}

void model_know(const struct simrun *run, const struct gnode *n, double in[INS][SOURCES], const int count[INS],
                bool committed)
{
    know(signature(run, n, in, count), committed);
}

bool model_is_kept(const struct simrun *run, const struct gnode *n, double in[INS][SOURCES], const int count[INS])
{
    const struct known_slot *k = known_at(signature(run, n, in, count));
    return k->sig && k->committed;
}

static bool has_value(const struct simrun *run, const struct gsource *src)
{
    const struct nstate *s = &run->node[src->node];
    return (s->outcome == O_DONE || s->outcome == O_FALLBACK) && s->has[src->out];
}

/* What a node receives, once all its producers are resolved. */
void model_inputs(const struct simrun *run, int i, double in[INS][SOURCES], int count[INS])
{
    const struct gnode *n = &run->graph->node[i];
    for (int p = 0; p < INS; p++) {
        count[p] = 0;
        for (int k = 0; k < n->in[p].n; k++)
            if (has_value(run, &n->in[p].src[k]))
                in[p][count[p]++] = run->node[n->in[p].src[k].node].out[n->in[p].src[k].out];
        if (!n->in[p].n && n->in[p].literal && n->kind != K_MERGE && n->kind != K_SRC)
            in[p][count[p]++] = n->in[p].lit;
    }
}

void model_set(struct nstate *s, const struct gnode *n, double v)
{
    int out = n->kind == K_ROUTE ? (int)v % 2 : 0;
    s->has[0] = s->has[1] = false;
    s->has[out] = true;
    s->out[out] = v;
}

/* A node that is not at work may be done by a kept result: of any run where it is pure, of an earlier life of this one otherwise; or without anybody seeing
 * it, where it only computes. That is assumed until somebody makes use of it, or it is tried after all. */
static enum resolved assume(struct simrun *run, int i)
{
    struct nstate *s = &run->node[i];
    const struct gnode *n = &run->graph->node[i];
    const struct known_slot *k = NULL;
    double in[INS][SOURCES];
    int count[INS];
    model_inputs(run, i, in, count);
    if (kind_is_pure(n->kind))
        k = known_at(signature(run, n, in, count));
    bool known = n->kind == K_ADD || (k && k->sig);
    if (!known && !s->maybe)
        return R_UNKNOWN;
    s->outcome = O_DONE;
    s->assumed = true;
    s->either = known && s->maybe && s->fell_back && !s->surely;
    s->other = graph_eval(n, in, count);
    if (known && !(s->maybe && s->fell_back))
        model_set(s, n, s->other);
    return R_DONE;
}

/* A group is done when its body is, each time that it runs; one that is pure may be found as a whole. */
static enum resolved resolve_group(struct simrun *run, int i)
{
    struct nstate *s = &run->node[i];
    const struct gnode *n = &run->graph->node[i];
    double v[NODES_MAX], u[NODES_MAX], last = 0, other = 0; /* u: where nothing of an earlier life was kept */
    bool done = true;
    for (int k = 0; k < n->nbody * (n->items ? n->items : 1); k++) {
        int b = n->first + k, count[INS];
        double in[INS][SOURCES];
        const struct gnode *body = &run->graph->node[b];
        bool is = model_resolve(run, b) == R_DONE;
        if (!is && !group_is_pure(run->graph, i))
            done = s->maybe;
        const struct nstate *bs = &run->node[b];
        model_inputs(run, b, in, count);
        for (int p = 0; p < INS; p++)
            if (body->in[p].n && body->in[p].src[0].node >= n->first)
                in[p][0] = v[body->in[p].src[0].node - n->first], count[p] = 1;
        v[k] = last = is ? bs->out[0] : graph_eval(body, in, count);
        for (int p = 0; p < INS; p++)
            if (body->in[p].n && body->in[p].src[0].node >= n->first)
                in[p][0] = u[body->in[p].src[0].node - n->first];
        u[k] = other =
            is && !bs->either && (!bs->assumed || !kind_is_pure(body->kind)) ? bs->out[0] : graph_eval(body, in, count);
    }
    if (!done)
        return R_UNKNOWN;
    s->outcome = O_DONE;
    s->assumed = true;
    if (!s->maybe || group_is_pure(run->graph, i))
        model_set(s, n, last);
    s->either = other != last;
    s->other = other;
    return R_DONE;
}

/* What must become of a node, as far as it is decided. */
enum resolved model_resolve(struct simrun *run, int i)
{
    struct nstate *s = &run->node[i];
    const struct gnode *n = &run->graph->node[i];
    bool unknown = false, dead = n->in[0].n > 0;
    if (s->outcome == O_DONE || s->outcome == O_FALLBACK)
        return R_DONE;
    if (s->outcome == O_CONTINUED || s->outcome == O_FAILED)
        return R_FAILED;
    if (s->skip)
        return (enum resolved)s->skip;
    for (int p = 0; p < INS; p++)
        for (int k = 0; k < n->in[p].n; k++) {
            enum resolved r = model_resolve(run, n->in[p].src[k].node);
            if (r == R_FAILED || r == R_SKIP_FAIL)
                return s->skip = R_SKIP_FAIL;
            unknown |= r == R_UNKNOWN;
            dead &= p > 0 || (r != R_UNKNOWN && !has_value(run, &n->in[p].src[k]));
        }
    if (unknown || s->alive)
        return R_UNKNOWN;
    if (dead)
        return s->skip = R_SKIP_BRANCH;
    return n->kind == K_GROUP ? resolve_group(run, i) : assume(run, i);
}

void model_free(void)
{
    if (w.known)
        free(w.known->slots);
    free(w.known);
    w.known = NULL;
}

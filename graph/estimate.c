#include "graph/estimate.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/state.h"

#include <string.h>

enum { HASH = 32 };

/* Means of a kind, looked up once. */
struct kind {
    const char *name;
    struct tl_history_mean mean;
    bool known, told;
};

struct estimate {
    struct tl_exec *exec;
    const char *org;
    const struct tl_plan *plan;
    uint8_t run_key[HASH];
    uint8_t *hashes; /* of all outputs, where known */
    bool *known;     /* per node */
    double *end_ms;  /* per node: when it has ended, with places for all */
    struct kind *kinds;
    size_t nkinds, cap, last;
    double class_ms[TL_CLASS_COUNT], path_ms, tokens, cost_usd;
    uint32_t ncached;
    json_t *order, *cached, *unknown;
};

static int known_hash(void *arg, uint32_t node, uint32_t out, uint8_t ret[32])
{
    const struct estimate *e = arg;
    if (!e->known[node])
        return TL_ENOTFOUND;
    memcpy(ret, e->hashes + (size_t)HASH * (e->plan->nodes[node].first_out + out), HASH);
    return 0;
}

static int kind_of(struct estimate *e, struct tl_txn *txn, const struct tl_plan_node *n, struct kind **ret)
{
    const char *name = tl_history_name(n);
    size_t i = e->last < e->nkinds && strcmp(e->kinds[e->last].name, name) == 0 ? e->last : 0;
    while (i < e->nkinds && strcmp(e->kinds[i].name, name) != 0)
        i++;
    if (i == e->nkinds) {
        if (tl_grow(&e->kinds, &e->cap, e->nkinds + 1, sizeof(*e->kinds)) < 0)
            return TL_ENOMEM;
        struct kind *k = &e->kinds[e->nkinds++];
        *k = (struct kind){.name = name};
        int err = tl_history_get(txn, e->org, name, &k->mean);
        if (err && err != TL_ENOTFOUND)
            return err;
        k->known = !err;
    }
    e->last = i;
    *ret = &e->kinds[i];
    return 0;
}

/* Whether the node's result is there: its outputs' hashes are then known too. */
static int look_up(struct estimate *e, struct tl_txn *txn, uint32_t node)
{
    const struct tl_plan_node *n = &e->plan->nodes[node];
    struct tl_result_facts facts;
    uint8_t key[HASH];
    if (!(n->op->flags & TL_OP_PURE))
        return TL_ENOTFOUND;
    int err = tl_result_key_of(e->run_key, e->plan, node, known_hash, e, key);
    return err ? err
               : tl_result_hashes(e->exec->results, txn, e->org, key, n->nout, e->hashes + (size_t)HASH * n->first_out,
                                  &facts);
}

static int add_cost(struct estimate *e, struct tl_txn *txn, uint32_t node, double begin_ms)
{
    const struct tl_plan_node *n = &e->plan->nodes[node];
    struct kind *k;
    int err = kind_of(e, txn, n, &k);
    if (err)
        return err;
    if (!k->known && !k->told && !(n->op->flags & TL_OP_QUICK))
        json_array_append_new(e->unknown, json_string(k->name));
    k->told = true;
    e->end_ms[node] = begin_ms + k->mean.ms;
    e->class_ms[tl_op_class(n->op)] += k->mean.ms;
    e->tokens += k->mean.tokens;
    e->cost_usd += k->mean.cost_usd;
    return 0;
}

static int add_node(struct estimate *e, struct tl_txn *txn, uint32_t node)
{
    const struct tl_plan_node *n = &e->plan->nodes[node];
    json_t *id = json_string(n->id);
    double begin_ms = 0;
    for (uint32_t p = 0; p < n->nin; p++)
        for (uint32_t s = 0; s < n->in[p].nsources; s++) {
            double ms = e->end_ms[e->plan->sources[n->in[p].first_source + s].node];
            begin_ms = ms > begin_ms ? ms : begin_ms;
        }
    int err = look_up(e, txn, node);
    if (err && err != TL_ENOTFOUND) {
        json_decref(id);
        return err;
    }
    json_array_append(e->order, id);
    if (!err) {
        e->known[node] = true;
        e->end_ms[node] = begin_ms;
        e->ncached++;
        json_array_append(e->cached, id);
    } else {
        err = add_cost(e, txn, node, begin_ms);
    }
    json_decref(id);
    if (e->end_ms[node] > e->path_ms)
        e->path_ms = e->end_ms[node];
    return err;
}

static int walk(struct tl_txn *txn, void *arg)
{
    struct estimate *e = arg;
    int err = 0;
    for (uint32_t k = 0; !err && k < e->plan->nwanted; k++)
        err = add_node(e, txn, e->plan->order[k]);
    return err;
}

static double seconds_of(const struct estimate *e)
{
    double ms = e->path_ms;
    for (int c = 0; c < TL_CLASS_COUNT; c++) {
        double by_places = e->class_ms[c] / e->exec->conf.places[c];
        ms = by_places > ms ? by_places : ms;
    }
    return ms / 1000;
}

static void exceed(struct tl_str *s, double estimate, double budget, const char *what)
{
    if (budget > 0 && estimate > budget)
        tl_str_printf(s, "%s%.6g %s of the %.6g allowed", s->len ? ", " : "the run would take some ", estimate, what,
                      budget);
}

static int make_answer(const struct estimate *e, const struct tl_estimate_budget *budget, json_t **ret)
{
    double seconds = seconds_of(e);
    struct tl_str message TL_CLEANUP(tl_str_clear) = {0};
    if (budget) {
        exceed(&message, seconds, budget->seconds, "seconds");
        exceed(&message, e->tokens, budget->tokens, "tokens");
        exceed(&message, e->cost_usd, budget->cost_usd, "USD");
    }
    *ret = json_pack("{s:O,s:O,s:{s:f,s:f,s:f,s:I,s:I,s:O}}", "order", e->order, "cached", e->cached, "estimate",
                     "seconds", seconds, "tokens", e->tokens, "cost_usd", e->cost_usd, "nodes_cached",
                     (json_int_t)e->ncached, "nodes_to_run", (json_int_t)(e->plan->nwanted - e->ncached), "unknown_ops",
                     e->unknown);
    if (!*ret || message.err)
        return TL_ENOMEM;
    if (!message.len)
        return 0;
    json_object_set_new(*ret, "message", json_string(message.data));
    return TL_EBUDGET;
}

int tl_run_estimate(struct tl_exec *exec, const char *org, const struct tl_plan *plan,
                    const struct tl_estimate_budget *budget, json_t **ret)
{
    struct estimate e = {.exec = exec, .org = org, .plan = plan};
    const struct tl_exec_conf *conf = &exec->conf;
    *ret = NULL;
    if (!conf->db || strlen(org) >= TL_ORG_MAX)
        return TL_EINVAL;
    int err = conf->cache_key ? conf->cache_key(conf->arg, org, e.run_key) : 0;
    tl_result_run_key(e.run_key, org);
    e.hashes = tl_calloc(plan->nouts + 1, HASH);
    e.known = tl_calloc(plan->nnodes + 1, sizeof(*e.known));
    e.end_ms = tl_calloc(plan->nnodes + 1, sizeof(*e.end_ms));
    e.order = json_array();
    e.cached = json_array();
    e.unknown = json_array();
    if (!err && (!e.hashes || !e.known || !e.end_ms || !e.order || !e.cached || !e.unknown))
        err = TL_ENOMEM;
    if (!err)
        err = tl_db_read(conf->db, walk, &e);
    if (!err)
        err = make_answer(&e, budget, ret);
    if (err && err != TL_EBUDGET) {
        json_decref(*ret);
        *ret = NULL;
    }
    json_decref(e.order);
    json_decref(e.cached);
    json_decref(e.unknown);
    free(e.hashes);
    free(e.known);
    free(e.end_ms);
    free(e.kinds);
    tl_wipe(e.run_key, sizeof(e.run_key));
    return err;
}

/* Results kept under the hash of what produced them: the one mechanism behind not running a node twice, in this run after a crash
 * (impure ops too) or in another run of the organisation (pure ops only). */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <string.h>

static void add_text(struct tl_blake2b *h, const char *text)
{
    tl_blake2b_field(h, text ? text : "", text ? strlen(text) : 0);
}

/* The hash of one output, made once. Outputs are final when a consumer asks; two consumers may ask at once. */
static int output_hash(struct tl_run *run, uint32_t node, uint32_t out, uint8_t ret[32])
{
    struct tl_node_state *s = &run->nodes[node];
    uint32_t n = run->plan->nodes[node].nout;
    pthread_mutex_lock(&run->lock);
    const uint8_t *have = s->hashes;
    pthread_mutex_unlock(&run->lock);
    if (!have) {
        uint8_t *made = tl_calloc(n, 32);
        if (!made)
            return TL_ENOMEM;
        for (uint32_t k = 0; k < n; k++)
            if (tl_value_hash(&tl_run_values(run, node)[k], made + 32 * k) < 0) {
                free(made);
                return TL_ENOMEM;
            }
        pthread_mutex_lock(&run->lock);
        if (s->hashes)
            free(made);
        else
            s->hashes = made;
        have = s->hashes;
        pthread_mutex_unlock(&run->lock);
    }
    memcpy(ret, have + 32 * out, 32);
    return 0;
}

static int add_inputs(struct tl_blake2b *h, struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    uint8_t v[32];
    int err = 0;
    for (uint32_t p = 0; !err && p < ctx->def->nin; p++) {
        const struct tl_plan_port *port = &ctx->def->in[p];
        add_text(h, port->def->name);
        tl_blake2b_field(h, &port->nsources, sizeof(port->nsources));
        for (uint32_t k = 0; !err && k < port->nsources; k++) {
            const struct tl_plan_source *src = &run->plan->sources[port->first_source + k];
            err = output_hash(run, src->node, src->out, v);
            tl_blake2b_update(h, v, sizeof(v));
        }
        if (!err && !port->nsources) {
            err = tl_value_hash(&port->literal, v);
            tl_blake2b_update(h, v, sizeof(v));
        }
    }
    return err;
}

static int add_upstream(struct tl_blake2b *h, struct tl_op_ctx *ctx)
{
    TL_AUTO_JSON json_t *up = tl_op_upstream(ctx, true);
    TL_AUTO_FREE char *text = up ? tl_json_canonical(up) : NULL;
    if (!text)
        return TL_ENOMEM;
    add_text(h, text);
    return 0;
}

int tl_result_key(struct tl_op_ctx *ctx)
{
    const struct tl_plan_node *def = ctx->def;
    struct tl_blake2b h;
    tl_blake2b_init(&h, ctx->run->cache_key);
    add_text(&h, "talos-result-1");
    add_text(&h, def->op->name);
    tl_blake2b_field(&h, &def->op->revision, sizeof(def->op->revision));
    add_text(&h, def->shape->identity);
    int err = 0;
    for (uint32_t i = 0; !err && i < def->nparams; i++) {
        uint8_t v[32];
        err = tl_value_hash(&def->params[i], v);
        add_text(&h, def->shape->params[i].name);
        tl_blake2b_update(&h, v, sizeof(v));
    }
    if (!err)
        err = add_inputs(&h, ctx);
    if (!err && def->op->flags & TL_OP_UPSTREAM)
        err = add_upstream(&h, ctx);
    tl_blake2b_final(&h, ctx->key);
    ctx->has_key = !err;
    return err;
}

/* The key of a result that counts for this run and step only. */
static void own_key(const struct tl_op_ctx *ctx, uint8_t ret[32])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, ctx->run->cache_key);
    tl_blake2b_field(&h, ctx->key, sizeof(ctx->key));
    tl_blake2b_field(&h, ctx->run->id.b, TL_ID_LEN);
    add_text(&h, ctx->def->id);
    tl_blake2b_final(&h, ret);
}

struct lookup {
    const char *org;
    uint8_t key[32];
    json_t *record;
};

static size_t db_key(uint8_t *k, const char *org, const uint8_t key[32])
{
    size_t n = strlen(org) + 1;
    memcpy(k, org, n);
    memcpy(k + n, key, 32);
    return n + 32;
}

static int look(struct tl_txn *txn, void *arg)
{
    struct lookup *l = arg;
    uint8_t k[TL_ORG_MAX + 33];
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_RESULT, k, db_key(k, l->org, l->key), &v);
    return err ? err : tl_json_parse(v.data, v.len, &l->record, NULL);
}

/* Fills outputs from a record; a record of another shape (an op changed without its revision) is as if it were not there. */
static int take_outputs(struct tl_op_ctx *ctx, const json_t *record)
{
    const json_t *outputs = json_object_get(record, "outputs");
    for (uint32_t k = 0; k < ctx->def->nout; k++) {
        json_t *j = json_object_get(outputs, ctx->def->out[k]->name);
        if (j && tl_value_from_json(ctx->def->out[k]->type, j, &ctx->outputs[k], NULL) < 0)
            return TL_ENOTFOUND;
    }
    return 0;
}

int tl_result_find(struct tl_op_ctx *ctx)
{
    struct lookup l = {.org = ctx->run->org};
    int err = TL_ENOTFOUND;
    if (ctx->def->op->flags & TL_OP_PURE) {
        memcpy(l.key, ctx->key, sizeof(l.key));
        err = tl_db_read(ctx->run->exec->conf.db, look, &l);
    }
    if (err) {
        own_key(ctx, l.key);
        err = tl_db_read(ctx->run->exec->conf.db, look, &l);
        ctx->impure = !err;
    }
    if (!err)
        err = take_outputs(ctx, l.record);
    if (!err && strcmp(ctx->run->id_text, tl_json_str(l.record, "run") ? tl_json_str(l.record, "run") : "") == 0) {
        const json_t *u = json_object_get(l.record, "usage");
        ctx->usage = (struct tl_usage){.tokens_in = tl_json_int(u, "in", 0),
                                       .tokens_out = tl_json_int(u, "out", 0),
                                       .cost_usd = tl_json_num(u, "usd", 0)};
    }
    json_decref(l.record);
    return err ? TL_ENOTFOUND : 0;
}

struct tl_kept *tl_result_keep(const struct tl_op_ctx *ctx)
{
    if (!ctx->has_key)
        return NULL;
    TL_AUTO_JSON json_t *outputs = json_object();
    for (uint32_t k = 0; outputs && k < ctx->def->nout; k++)
        if (!tl_value_none(&ctx->outputs[k]))
            json_object_set_new(outputs, ctx->def->out[k]->name, tl_value_json(&ctx->outputs[k]));
    TL_AUTO_JSON json_t *record =
        json_pack("{s:s,s:s,s:O,s:{s:I,s:I,s:f}}", "run", ctx->run->id_text, "op", ctx->def->op->name, "outputs",
                  outputs, "usage", "in", (json_int_t)ctx->usage.tokens_in, "out", (json_int_t)ctx->usage.tokens_out,
                  "usd", ctx->usage.cost_usd);
    struct tl_kept *kept = tl_calloc(1, sizeof(*kept));
    if (kept)
        kept->text = record ? tl_json_text(record) : NULL;
    if (!kept || !kept->text) {
        free(kept);
        return NULL;
    }
    if (ctx->impure || !(ctx->def->op->flags & TL_OP_PURE))
        own_key(ctx, kept->key);
    else
        memcpy(kept->key, ctx->key, sizeof(kept->key));
    return kept;
}

int tl_result_put(struct tl_txn *txn, const char *org, const struct tl_kept *kept)
{
    uint8_t k[TL_ORG_MAX + 33];
    return tl_txn_put(txn, TL_TBL_RESULT, k, db_key(k, org, kept->key), kept->text, strlen(kept->text));
}

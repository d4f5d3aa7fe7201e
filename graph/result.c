#include "graph/result.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "graph/result_priv.h"
#include "graph/state.h"

#include <endian.h>
#include <string.h>

enum { HASH = 32, STEP_PLAIN = 1, STEP_SEALED = 2 /* first byte of a value in TL_TBL_STEP */ };

int tl_results_new(const struct tl_exec_conf *conf, struct tl_results **ret)
{
    *ret = NULL;
    if (!conf->db)
        return 0;
    struct tl_results *r = tl_calloc(1, sizeof(*r));
    if (!r)
        return TL_ENOMEM;
    *r = (struct tl_results){.db = conf->db,
                             .conf = conf,
                             .cache_max = conf->cache_max ? conf->cache_max : TL_RESULTS_CACHE_MAX,
                             .renew_ms = conf->renew_ms ? conf->renew_ms : TL_RESULTS_RENEW_MS,
                             .hot = tl_hot_new(conf->hot_max ? conf->hot_max : TL_RESULTS_HOT_MAX)};
    int err = r->hot ? tl_results_prepare(r) : TL_ENOMEM;
    if (err) {
        tl_results_free(r);
        return err;
    }
    *ret = r;
    return 0;
}

void tl_results_free(struct tl_results *r)
{
    if (!r)
        return;
    tl_results_close(r);
    tl_hot_free(r->hot);
    free(r);
}

/* ---- keys ---- */

void tl_result_run_key(uint8_t key[32], const char *org)
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, key);
    tl_blake2b_field(&h, "talos-result-2", 14);
    tl_blake2b_field(&h, org, strlen(org));
    tl_blake2b_final(&h, key);
}

/* What an op that reads its ancestors depends on: who they are, and what they gave. */
static int add_upstream(struct tl_blake2b *to, const struct tl_plan *plan, uint32_t node, tl_result_hash_fn hash,
                        void *arg)
{
    TL_AUTO_FREE bool *is = tl_calloc(plan->nnodes, sizeof(*is));
    if (!is)
        return TL_ENOMEM;
    is[node] = true;
    for (uint32_t k = plan->nwanted; k-- > 0;) {
        const struct tl_plan_node *n = &plan->nodes[plan->order[k]];
        for (uint32_t p = 0; is[plan->order[k]] && p < n->nin; p++)
            for (uint32_t s = 0; s < n->in[p].nsources; s++)
                is[plan->sources[n->in[p].first_source + s].node] = true;
    }
    struct tl_blake2b h;
    uint8_t v[HASH];
    int err = 0;
    tl_blake2b_init(&h, NULL);
    for (uint32_t k = 0; !err && k < plan->nwanted; k++) {
        uint32_t i = plan->order[k];
        const struct tl_plan_node *n = &plan->nodes[i];
        if (!is[i] || i == node)
            continue;
        tl_blake2b_field(&h, n->id, strlen(n->id));
        tl_blake2b_field(&h, n->op->name, strlen(n->op->name));
        for (uint32_t o = 0; !err && o < n->nout; o++) {
            err = hash(arg, i, o, v);
            tl_blake2b_field(&h, n->out[o]->name, strlen(n->out[o]->name));
            tl_blake2b_update(&h, v, HASH);
        }
    }
    tl_blake2b_final(&h, v);
    tl_blake2b_update(to, v, HASH);
    return err;
}

/* Gathers what is hashed: a call of the hash costs more than copying some bytes. */
struct gathered {
    struct tl_blake2b h;
    size_t n;
    uint8_t bytes[256];
};

static void gather(struct gathered *g, const void *bytes, size_t n)
{
    if (g->n + n > sizeof(g->bytes)) {
        tl_blake2b_update(&g->h, g->bytes, g->n);
        g->n = 0;
    }
    memcpy(g->bytes + g->n, bytes, n);
    g->n += n;
}

int tl_result_key_of(const uint8_t run_key[32], const struct tl_plan *plan, uint32_t node, tl_result_hash_fn hash,
                     void *arg, uint8_t ret[32])
{
    const struct tl_plan_node *def = &plan->nodes[node];
    struct gathered g;
    uint8_t v[HASH];
    int err = 0;
    g.n = 0;
    tl_blake2b_init(&g.h, run_key);
    gather(&g, def->digest, HASH);
    for (uint32_t p = 0; !err && p < def->nin; p++) {
        const struct tl_plan_source *src = &plan->sources[def->in[p].first_source];
        uint32_t n = htole32(def->in[p].nsources);
        gather(&g, &n, sizeof(n));
        for (uint32_t k = 0; !err && k < def->in[p].nsources; k++) {
            err = hash(arg, src[k].node, src[k].out, v);
            if (!err)
                gather(&g, v, HASH);
        }
    }
    tl_blake2b_update(&g.h, g.bytes, g.n);
    if (!err && def->op->flags & TL_OP_UPSTREAM)
        err = add_upstream(&g.h, plan, node, hash, arg);
    tl_blake2b_final(&g.h, ret);
    return err;
}

/* 32 bytes for each output, or NULL where all are numbers, booleans or none, which are their own hashes. */
static int hash_outputs(const struct tl_value *values, uint32_t n, uint8_t **ret)
{
    *ret = NULL;
    bool large = false;
    for (uint32_t i = 0; i < n; i++)
        large |= values[i].type != TL_T_ANY && values[i].type != TL_T_NUMBER && values[i].type != TL_T_BOOLEAN;
    if (!large)
        return 0;
    uint8_t *hashes = tl_calloc(n, HASH);
    int err = hashes ? 0 : TL_ENOMEM;
    for (uint32_t i = 0; !err && i < n; i++)
        err = tl_value_hash(&values[i], hashes + (size_t)HASH * i);
    if (err)
        free(hashes);
    else
        *ret = hashes;
    return err;
}

/* Gives a node its outputs' hashes, which are then the same for ever; takes them. Two may come at once. */
static const uint8_t *set_hashes(struct tl_node_state *s, uint8_t *hashes)
{
    uint8_t *none = NULL;
    if (!hashes || atomic_compare_exchange_strong(&s->hashes, &none, hashes))
        return hashes;
    free(hashes);
    return none;
}

/* The hash of one output, made once. Outputs are final when a consumer asks. */
static int output_hash(void *arg, uint32_t node, uint32_t out, uint8_t ret[32])
{
    struct tl_run *run = arg;
    struct tl_node_state *s = &run->nodes[node];
    const struct tl_value *v = tl_run_values(run, node);
    if (!v || v[out].type == TL_T_NUMBER || v[out].type == TL_T_BOOLEAN || v[out].type == TL_T_ANY)
        return tl_value_hash(v ? &v[out] : &(struct tl_value){.type = TL_T_ANY}, ret);
    const uint8_t *have = atomic_load(&s->hashes);
    uint8_t *made = NULL;
    int err = have ? 0 : hash_outputs(v, run->plan->nodes[node].nout, &made);
    if (err)
        return err;
    if (!have)
        have = set_hashes(s, made);
    memcpy(ret, have + (size_t)HASH * out, HASH);
    return 0;
}

int tl_result_key(struct tl_op_ctx *ctx)
{
    int err =
        tl_result_key_of(ctx->run->root->cache_key, ctx->run->plan, ctx->node, output_hash, ctx->run, ctx->result.key);
    ctx->result.has_key = !err;
    return err;
}

/* Where a result stands that serves this run only: by step, and by what it was made of. */
static void own_key(struct tl_op_ctx *ctx, uint8_t ret[32])
{
    const char *step = tl_op_step_key(ctx);
    struct tl_blake2b h;
    tl_blake2b_init(&h, ctx->run->root->cache_key);
    tl_blake2b_field(&h, ctx->result.key, HASH);
    tl_blake2b_field(&h, step, strlen(step));
    tl_blake2b_final(&h, ret);
}

/* ---- finding ---- */

struct lookup {
    enum tl_table table;
    uint8_t key[TL_ORG_MAX + HASH];
    size_t klen;
    const struct tl_op_ctx *ctx;
    struct tl_record_head head;
    uint8_t *hashes;
    const uint8_t *step_id; /* of a sealed record */
    size_t bytes;
};

static const char *org_of(const struct tl_op_ctx *ctx)
{
    return ctx->run->root->org;
}

static int read_record(struct lookup *l, const void *bytes, size_t len)
{
    l->bytes = len;
    return tl_record_read(bytes, len, &l->head, l->ctx->outputs, l->ctx->def->nout, &l->hashes);
}

static int look(struct tl_txn *txn, void *arg)
{
    struct lookup *l = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, l->table, l->key, l->klen, &v);
    if (err || l->table == TL_TBL_RESULT)
        return err ? err : read_record(l, v.data, v.len);
    const uint8_t *p = v.data;
    if (v.len < 1 || p[0] != (l->step_id ? STEP_SEALED : STEP_PLAIN))
        return TL_ENOTFOUND;
    if (!l->step_id)
        return read_record(l, p + 1, v.len - 1);
    const struct tl_exec_conf *conf = &l->ctx->run->exec->conf;
    uint8_t *plain;
    size_t len;
    err = conf->step_open(conf->arg, org_of(l->ctx), l->step_id, p + 1, v.len - 1, &plain, &len);
    if (err)
        return TL_ENOTFOUND;
    err = len > HASH && memcmp(plain, l->ctx->result.key, HASH) == 0 ? read_record(l, plain + HASH, len - HASH)
                                                                     : TL_ENOTFOUND;
    tl_wipe(plain, len);
    free(plain);
    return err;
}

/* What a value takes in memory, guessed from its text. */
static size_t memory_of(const uint8_t *hashes, size_t text)
{
    return hashes ? 6 * text : 0;
}

static bool types_fit(const struct tl_op_ctx *ctx)
{
    for (uint32_t k = 0; k < ctx->def->nout; k++) {
        enum tl_type want = ctx->def->out[k]->type, is = ctx->outputs[k].type;
        if (is != TL_T_ANY && want != TL_T_ANY && is != want)
            return false;
    }
    return true;
}

static int find_shared(struct tl_op_ctx *ctx, struct lookup *l)
{
    struct tl_results *r = ctx->run->exec->results;
    bool hot = tl_hot_get(r->hot, ctx->result.key, &l->head.facts, ctx->outputs, ctx->def->nout, &l->hashes);
    ctx->result.soon = hot && !l->head.facts.on_disk;
    if (hot)
        return 0;
    l->table = TL_TBL_RESULT;
    l->klen = tl_result_db_key(l->key, org_of(ctx), ctx->result.key);
    int err = tl_db_read(r->db, look, l);
    l->head.facts.on_disk = true;
    if (!err)
        tl_hot_put(r->hot, ctx->result.key, &l->head.facts, ctx->outputs, ctx->def->nout, l->hashes,
                   memory_of(l->hashes, l->bytes));
    return err;
}

static int find_own(struct tl_op_ctx *ctx, struct lookup *l, const uint8_t key[32])
{
    l->table = TL_TBL_STEP;
    l->klen = tl_step_db_key(l->key, &ctx->run->root->id, key);
    return tl_db_read(ctx->run->exec->results->db, look, l);
}

static int find_sealed(struct tl_op_ctx *ctx, struct lookup *l)
{
    const struct tl_exec_conf *conf = &ctx->run->exec->conf;
    uint8_t id[HASH];
    if (!conf->step_open || tl_result_key(ctx) < 0)
        return TL_ENOTFOUND;
    conf->step_id(conf->arg, org_of(ctx), ctx->run->root->id_text, tl_op_step_key(ctx), id);
    l->step_id = id;
    return find_own(ctx, l, id);
}

/* What a run has come to in an earlier life of it stands, also where another run has come to something else since (a fallback). */
static int find_open(struct tl_op_ctx *ctx, struct lookup *l)
{
    uint8_t own[HASH];
    if (ctx->run->root->resumed) {
        own_key(ctx, own);
        ctx->result.own = true;
        if (find_own(ctx, l, own) == 0)
            return 0;
        ctx->result.own = false;
    }
    return ctx->def->op->flags & TL_OP_PURE ? find_shared(ctx, l) : TL_ENOTFOUND;
}

int tl_result_find(struct tl_op_ctx *ctx)
{
    struct tl_run *root = ctx->run->root;
    struct lookup l = {.ctx = ctx};
    bool sealed = !tl_op_open(ctx);
    if (!ctx->run->exec->results || (sealed && !root->resumed))
        return TL_ENOTFOUND;
    ctx->result.own = sealed;
    int err = sealed ? find_sealed(ctx, &l) : find_open(ctx, &l);
    if (!err && !types_fit(ctx)) {
        for (uint32_t k = 0; k < ctx->def->nout; k++)
            tl_value_clear(&ctx->outputs[k]);
        free(l.hashes);
        err = TL_ENOTFOUND;
    }
    if (err) {
        ctx->result.own = false;
        if (!sealed && ctx->def->op->flags & TL_OP_PURE)
            tl_count(&root->exec->counted.misses, 1);
        return TL_ENOTFOUND;
    }
    tl_count(&root->exec->counted.hits, !sealed);
    ctx->result.found = true;
    ctx->result.stamp = l.head.facts.stamp;
    if (ctx->result.soon && (ctx->kept = tl_record_new(&l.head, ctx->outputs, ctx->def->nout, l.hashes, 0)))
        memcpy(ctx->kept->key, ctx->result.key, HASH);
    set_hashes(&ctx->run->nodes[ctx->node], l.hashes);
    if (tl_id_equal(&l.head.facts.run, &root->id))
        ctx->usage = l.head.facts.usage;
    if (ctx->result.own && l.head.flags & TL_RECORD_IMPURE)
        tl_op_impure(ctx);
    return 0;
}

/* ---- keeping ---- */

/* When the run was made: exact enough for times of use, and no clock is read for a node. */
static uint64_t begun(const struct tl_op_ctx *ctx)
{
    int64_t ms = ctx->run->root->created_ms;
    return ms > 0 ? (uint64_t)ms : 0;
}

/* A use to be noted on disk, where the last one is long ago. */
static struct tl_kept *note_use(const struct tl_op_ctx *ctx)
{
    struct tl_results *r = ctx->run->exec->results;
    uint64_t now = begun(ctx);
    if (ctx->result.own || (r->renew_ms > 0 && now < ctx->result.stamp + (uint64_t)r->renew_ms))
        return NULL;
    struct tl_kept *k = tl_calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    k->kind = TL_KEPT_USE;
    memcpy(k->key, ctx->result.key, HASH);
    tl_hot_stamp(r->hot, k->key, now);
    return k;
}

/* Which private steps are worth a record: what asked somebody else, or took long. */
static bool is_worth(const struct tl_op_ctx *ctx)
{
    uint32_t flags = ctx->def->op->flags;
    if (!ctx->run->exec->conf.step_seal || flags & TL_OP_QUICK)
        return false;
    return flags & (TL_OP_NET | TL_OP_WORKER) ||
           (ctx->began_us && tl_exec_mono_us(ctx->run->exec) - ctx->began_us >= TL_STEP_WORTH_MS * 1000);
}

static struct tl_kept *keep_sealed(struct tl_op_ctx *ctx, const struct tl_record_head *head, const uint8_t *hashes)
{
    const struct tl_exec_conf *conf = &ctx->run->exec->conf;
    uint8_t id[HASH], *sealed = NULL;
    size_t len = 0;
    if (tl_result_key(ctx) < 0)
        return NULL;
    struct tl_kept *plain = tl_record_new(head, ctx->outputs, ctx->def->nout, hashes, HASH), *k = NULL;
    if (!plain)
        return NULL;
    memcpy(plain->bytes, ctx->result.key, HASH);
    conf->step_id(conf->arg, org_of(ctx), ctx->run->root->id_text, tl_op_step_key(ctx), id);
    if (conf->step_seal(conf->arg, org_of(ctx), id, plain->bytes, plain->len, &sealed, &len) == 0 && len < UINT32_MAX &&
        (k = malloc(sizeof(*k) + 1 + len))) {
        *k = (struct tl_kept){.kind = TL_KEPT_STEP, .len = (uint32_t)(1 + len)};
        memcpy(k->key, id, HASH);
        k->bytes[0] = STEP_SEALED;
        memcpy(k->bytes + 1, sealed, len);
    }
    tl_wipe(plain->bytes, plain->len);
    free(plain);
    free(sealed);
    return k;
}

static struct tl_kept *keep_own(struct tl_op_ctx *ctx, const struct tl_record_head *head, const uint8_t *hashes)
{
    struct tl_kept *k = tl_record_new(head, ctx->outputs, ctx->def->nout, hashes, 1);
    if (!k)
        return NULL;
    own_key(ctx, k->key);
    k->kind = TL_KEPT_STEP;
    k->bytes[0] = STEP_PLAIN;
    return k;
}

static struct tl_kept *keep_shared(struct tl_op_ctx *ctx, const struct tl_record_head *head, const uint8_t *hashes)
{
    struct tl_results *r = ctx->run->exec->results;
    struct tl_kept *k = tl_record_new(head, ctx->outputs, ctx->def->nout, hashes, 0);
    if (!k)
        return NULL;
    if (k->len + HASH + TL_ORG_MAX > r->cache_max) {
        free(k);
        return NULL;
    }
    memcpy(k->key, ctx->result.key, HASH);
    tl_hot_put(r->hot, k->key, &head->facts, ctx->outputs, ctx->def->nout, hashes, memory_of(hashes, k->len));
    return k;
}

struct tl_kept *tl_result_keep(struct tl_op_ctx *ctx)
{
    struct tl_results *r = ctx->run->exec->results;
    bool impure = ctx->impure || !(ctx->def->op->flags & TL_OP_PURE), sealed = !tl_op_open(ctx);
    if (!r)
        return NULL;
    if (ctx->result.found)
        return ctx->kept ? ctx->kept : note_use(ctx);
    if (sealed ? !is_worth(ctx) : !ctx->result.has_key)
        return NULL;
    uint8_t *made;
    if (hash_outputs(ctx->outputs, ctx->def->nout, &made) < 0)
        return NULL;
    const uint8_t *hashes = set_hashes(&ctx->run->nodes[ctx->node], made);
    struct tl_record_head head = {
        .facts = {.run = ctx->run->root->id, .stamp = begun(ctx), .usage = ctx->usage},
        .flags = ctx->impure ? TL_RECORD_IMPURE : 0};
    return sealed   ? keep_sealed(ctx, &head, hashes)
           : impure ? keep_own(ctx, &head, hashes)
                    : keep_shared(ctx, &head, hashes);
}

void tl_result_free(struct tl_kept *list)
{
    while (list) {
        struct tl_kept *next = list->next;
        free(list);
        list = next;
    }
}

static struct tl_kept *merge(struct tl_kept *a, struct tl_kept *b)
{
    struct tl_kept *head = NULL, **tail = &head;
    while (a && b) {
        struct tl_kept **from = memcmp(a->key, b->key, HASH) <= 0 ? &a : &b;
        *tail = *from;
        tail = &(*from)->next;
        *from = (*from)->next;
    }
    *tail = a ? a : b;
    return head;
}

static struct tl_kept *sort(struct tl_kept *list)
{
    struct tl_kept *runs[32] = {0}, *all = NULL; /* of lengths that are powers of two */
    while (list) {
        struct tl_kept *one = list;
        size_t i = 0;
        list = list->next;
        one->next = NULL;
        for (; runs[i] && i + 1 < TL_ARRAY_LEN(runs); i++) {
            one = merge(runs[i], one);
            runs[i] = NULL;
        }
        runs[i] = merge(runs[i], one);
    }
    for (size_t i = 0; i < TL_ARRAY_LEN(runs); i++)
        all = merge(runs[i], all);
    return all;
}

/* Shared out by the first byte of the key, then each share by itself, so that what is compared is near. */
struct tl_kept *tl_result_sorted(struct tl_kept *list)
{
    struct tl_kept *shares[2][256] = {0}, *all = NULL, **tail = &all;
    while (list) {
        struct tl_kept *k = list, **share = &shares[k->kind == TL_KEPT_STEP][k->key[0]];
        list = list->next;
        k->next = *share;
        *share = k;
    }
    for (size_t i = 0; i < 2 * 256; i++) {
        if (!shares[i / 256][i % 256]) /* most, where few results are kept */
            continue;
        *tail = sort(shares[i / 256][i % 256]);
        while (*tail)
            tail = &(*tail)->next;
    }
    return all;
}

int tl_result_hashes(struct tl_results *r, struct tl_txn *txn, const char *org, const uint8_t key[32], uint32_t nout,
                     uint8_t *ret, struct tl_result_facts *ret_facts)
{
    uint8_t k[TL_ORG_MAX + HASH];
    struct tl_record_head head;
    struct tl_bytes v;
    if (r && tl_hot_hashes(r->hot, key, ret_facts, nout, ret))
        return 0;
    int err = tl_txn_get(txn, TL_TBL_RESULT, k, tl_result_db_key(k, org, key), &v);
    if (!err)
        err = tl_record_hashes(v.data, v.len, &head, nout, ret);
    if (!err)
        *ret_facts = head.facts;
    return err;
}

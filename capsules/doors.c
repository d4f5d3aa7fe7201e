#include "capsules/doors.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "capsules/call.h"
#include "capsules/keyring.h"
#include "capsules/plans.h"
#include "graph/op_ctx.h"

#include <string.h>

json_t *tl_cap_canvas_doc(json_t *graph, json_t *targets, bool admin)
{
    json_t *doc = json_pack("{s:O,s:b}", "graph", graph, "admin", admin);
    if (doc && targets && json_object_set(doc, "targets", targets) < 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

json_t *tl_cap_named_doc(const uint8_t hash[TL_TEXT_HASH], json_t *targets, bool admin)
{
    char hex[TL_TEXT_HEX];
    tl_hex(hash, TL_TEXT_HASH, hex);
    json_t *doc = json_pack("{s:s,s:b}", "doc", hex, "admin", admin);
    if (doc && targets && json_object_set(doc, "targets", targets) < 0) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

int tl_cap_cache_key(void *services, const char *org, uint8_t ret[32])
{
    const struct tl_services *s = services;
    if (!s->keyring)
        return TL_ENOTCONFIGURED;
    tl_keyring_subkey(s->keyring, TL_SUBKEY_CACHE, org, ret);
    return 0;
}

/* ---- plans ---- */

static int read_targets(const json_t *doc, const char ***ret, size_t *ret_n, struct tl_diag *diag)
{
    const json_t *list = json_object_get(doc, "targets");
    *ret = NULL;
    *ret_n = json_array_size(list);
    if (!list)
        return 0;
    if (!json_is_array(list))
        return tl_diag_add(diag, NULL, NULL, "$.targets", "must be a list of node ids");
    const char **ids = tl_calloc(*ret_n, sizeof(*ids));
    if (!ids)
        return TL_ENOMEM;
    for (size_t i = 0; i < *ret_n; i++)
        if (!(ids[i] = json_string_value(json_array_get(list, i)))) {
            free(ids);
            return tl_diag_add(diag, NULL, NULL, "$.targets", "must be a list of node ids");
        }
    *ret = ids;
    return 0;
}

struct reading {
    const char *org;
    const uint8_t *hash;
    char *text; /* owned */
    size_t len;
};

static int read_text(struct tl_txn *txn, void *arg)
{
    struct reading *r = arg;
    struct tl_bytes text;
    int err = tl_text_get(txn, r->org, r->hash, &text);
    if (err)
        return err;
    r->len = text.len;
    return (r->text = tl_strndup(text.data, text.len)) ? 0 : TL_ENOMEM;
}

/* The plan of a text that is named by its hash; text NULL: of the one that the store has. */
static int plan_named(struct tl_services *services, const struct tl_graph_env *env, const struct tl_plan_ask *ask,
                      const char *text, size_t len, struct tl_plan **ret, struct tl_diag *diag)
{
    struct reading own = {.org = ask->org, .hash = ask->doc};
    uint64_t state;
    int err = 0;
    if ((*ret = tl_plans_find(services->plans, ask, &state)))
        return 0;
    if (!text) {
        err = services->db ? tl_db_read(services->db, read_text, &own) : TL_ENOTCONFIGURED;
        text = own.text;
        len = own.len;
    }
    if (!err)
        err = tl_plan_text(text, len, env, ask->targets, ask->ntargets, ret, diag);
    if (!err)
        tl_plans_keep(services->plans, ask, state, len, *ret);
    free(own.text);
    return err;
}

static int plan_doc(struct tl_services *services, const char *org, const json_t *doc, const char *text, size_t len,
                    struct tl_plan **ret, struct tl_diag *diag)
{
    const char **targets, *hex = tl_json_str(doc, "doc");
    uint8_t hash[TL_TEXT_HASH];
    size_t n;
    int err = read_targets(doc, &targets, &n, diag);
    if (err)
        return err;
    struct tl_cap_env scope = {.services = services, .org = org};
    struct tl_graph_env env = {
        .find_op = tl_cap_find_op, .arg = &scope, .admin = json_is_true(json_object_get(doc, "admin"))};
    if (!hex)
        err = tl_plan_json(json_object_get(doc, "graph"), &env, targets, n, ret, diag);
    else if (!tl_unhex(hex, hash, sizeof(hash)))
        err = TL_ECORRUPT;
    else
        err = plan_named(
            services, &env,
            &(struct tl_plan_ask){.org = org, .doc = hash, .targets = targets, .ntargets = n, .admin = env.admin}, text,
            len, ret, diag);
    free(targets);
    return err;
}

int tl_cap_plan_named(struct tl_services *services, const char *org, const json_t *doc, const char *text, size_t len,
                      struct tl_plan **ret, struct tl_diag *diag)
{
    *ret = NULL;
    return plan_doc(services, org, doc, text, len, ret, diag);
}

int tl_cap_replan(void *services, const char *org, const char *kind, json_t *doc, struct tl_plan **ret,
                  struct tl_diag *diag)
{
    *ret = NULL;
    if (strcmp(kind, TL_KIND_CANVAS) != 0 && strcmp(kind, TL_KIND_CAPSULE) != 0)
        return tl_diag_add(diag, NULL, NULL, "$", "unknown kind of run");
    return plan_doc(services, org, doc, NULL, 0, ret, diag);
}

int tl_cap_check_canvas(struct tl_services *services, const char *org, const char *graph, size_t len, bool admin,
                        struct tl_diag *diag)
{
    struct tl_cap_env scope = {.services = services, .org = org};
    struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &scope, .admin = admin};
    struct tl_plan *plan = NULL;
    int err = tl_plan_text(graph, len, &env, NULL, 0, &plan, diag);
    tl_plan_unref(plan);
    return err;
}

/* ---- capsule calls ---- */

int tl_cap_call_doc(json_t *body, json_t *canvas_graph, bool admin, json_t **ret_doc, json_t **ret_meta,
                    struct tl_diag *diag)
{
    struct tl_diag own = {0}, *d = diag ? diag : &own;
    size_t before = d->count;
    *ret_doc = *ret_meta = NULL;
    tl_call_check(body, d);
    int err = tl_call_doc(body, canvas_graph, admin, ret_doc, ret_meta, d);
    if (!err && d->count > before)
        err = TL_EINVAL;
    if (err) {
        json_decref(*ret_doc);
        json_decref(*ret_meta);
        *ret_doc = *ret_meta = NULL;
    }
    tl_diag_clear(&own);
    return err;
}

int tl_cap_call_plan(struct tl_services *services, const char *org, json_t *body, json_t *canvas_graph, bool admin,
                     json_t **ret_doc, json_t **ret_meta, struct tl_plan **ret_plan, struct tl_diag *diag)
{
    struct tl_diag own = {0}, *d = diag ? diag : &own;
    TL_AUTO_JSON json_t *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    size_t before = d->count;
    *ret_doc = *ret_meta = NULL;
    *ret_plan = NULL;
    tl_call_check(body, d);
    int err = tl_call_doc(body, canvas_graph, admin, &doc, &meta, d);
    /* Without a capsule there is nothing to hold parameters against. */
    if (!err && tl_json_str(body, "capsule_id") && tl_json_str(body, "capsule_version")) {
        size_t from = d->count;
        err = tl_cap_replan(services, org, TL_KIND_CAPSULE, doc, &plan, d);
        tl_call_translate(d, from, json_string_value(json_array_get(json_object_get(doc, "targets"), 0)),
                          canvas_graph != NULL);
    }
    if (!err && d->count > before)
        err = TL_EINVAL;
    tl_diag_clear(&own);
    if (err) {
        tl_plan_unref(plan);
        return err;
    }
    *ret_doc = json_incref(doc);
    *ret_meta = json_incref(meta);
    *ret_plan = plan;
    return 0;
}

/* ---- endings ---- */

static void add_usage(const struct tl_run *run, struct tl_str *payload)
{
    struct tl_usage u;
    int64_t latency_ms;
    tl_run_usage(run, &u, &latency_ms);
    tl_str_printf(
        payload,
        ",\"token_usage\":{\"input\":%lld,\"output\":%lld,\"total\":%lld},\"latency_ms\":%lld,\"cost_usd_est\":",
        (long long)u.tokens_in, (long long)u.tokens_out, (long long)(u.tokens_in + u.tokens_out),
        (long long)latency_ms);
    tl_json_add_number(payload, u.cost_usd);
    tl_str_puts(payload, "}");
}

static void add_or(struct tl_str *payload, const char *key, const struct tl_value *v, const char *otherwise)
{
    tl_str_puts(payload, key);
    if (tl_value_none(v))
        tl_str_puts(payload, otherwise);
    else
        tl_value_add(payload, v);
}

static int complete_capsule(const struct tl_run *run, struct tl_str *payload)
{
    const struct tl_plan *plan = tl_run_plan(run);
    const char *node = json_string_value(json_array_get(json_object_get(tl_run_doc(run), "targets"), 0));
    uint32_t at = node ? tl_plan_find(plan, node) : UINT32_MAX;
    if (at == UINT32_MAX)
        return TL_EINTERNAL;
    const char *version = tl_json_str(plan->nodes[at].data, "capsuleVersion");
    add_or(payload, "{\"summary\":", tl_run_output(run, node, "summary"), "{}");
    add_or(payload, ",\"evidence_refs\":", tl_run_output(run, node, "evidence_refs"), "[]");
    tl_str_puts(payload, ",\"version\":");
    tl_json_add_text(payload, version ? version : "", version ? strlen(version) : 0);
    add_usage(run, payload);
    return payload->err ? TL_ENOMEM : 0;
}

/* Every output has been told by a run.partial; the ending repeats what a reader can take at once. */
enum { COMPLETED_BYTES = 1024 * 1024, FAILED_NODES = 100 };

static void add_node(const struct tl_run *run, uint32_t i, struct tl_str *s)
{
    const struct tl_plan_node *n = &tl_run_plan(run)->nodes[i];
    bool any = false;
    tl_json_add_text(s, n->id, strlen(n->id));
    tl_str_puts(s, ":{");
    for (uint32_t p = 0; p < n->nout; p++) {
        const struct tl_value *v = tl_run_output_at(run, i, p);
        if (tl_value_none(v))
            continue;
        tl_str_puts(s, any ? "," : "");
        tl_json_add_text(s, n->out[p]->name, strlen(n->out[p]->name));
        tl_str_puts(s, ":");
        tl_value_add(s, v);
        any = true;
    }
    tl_str_puts(s, "}");
}

/* ,"media":{node:[ports]}: which of the outputs are media, for JSON may look the same. */
static void add_media(const struct tl_run *run, struct tl_str *s)
{
    const struct tl_plan *plan = tl_run_plan(run);
    bool any = false;
    for (uint32_t i = 0; i < plan->nnodes; i++) {
        const struct tl_plan_node *n = &plan->nodes[i];
        bool of_node = false;
        for (uint32_t p = 0; n->wanted && p < n->nout; p++) {
            const struct tl_value *v = tl_run_output_at(run, i, p);
            if (!v || !tl_type_is_media(v->type))
                continue;
            if (!of_node) {
                tl_str_puts(s, any ? "," : ",\"media\":{");
                tl_json_add_text(s, n->id, strlen(n->id));
            }
            tl_str_puts(s, of_node ? "," : ":[");
            tl_json_add_text(s, n->out[p]->name, strlen(n->out[p]->name));
            any = of_node = true;
        }
        tl_str_puts(s, of_node ? "]" : "");
    }
    tl_str_puts(s, any ? "}" : "");
}

static int complete_canvas(const struct tl_run *run, struct tl_str *payload)
{
    const struct tl_plan *plan = tl_run_plan(run);
    uint32_t omitted = 0;
    bool any = false;
    tl_str_puts(payload, "{\"outputs\":{");
    size_t from = payload->len;
    for (uint32_t i = 0; i < plan->nnodes && !payload->err; i++) {
        if (!plan->nodes[i].wanted)
            continue;
        size_t before = payload->len;
        if (any)
            tl_str_puts(payload, ",");
        add_node(run, i, payload);
        bool fits = payload->len - from <= COMPLETED_BYTES;
        any |= fits;
        omitted += !fits;
        if (!fits)
            payload->len = before;
    }
    tl_str_puts(payload, "}");
    add_media(run, payload);
    if (omitted)
        tl_str_printf(payload, ",\"outputs_omitted\":%u", omitted);
    struct tl_str failed = {0};
    uint32_t nfailed = tl_run_failed_nodes(run, FAILED_NODES, &failed);
    if (nfailed)
        tl_str_printf(payload, ",\"failed_nodes\":%s,\"failed_count\":%u", failed.data ? failed.data : "[]", nfailed);
    tl_str_clear(&failed);
    add_usage(run, payload);
    return payload->err ? TL_ENOMEM : 0;
}

int tl_cap_complete(void *services, const struct tl_run *run, struct tl_str *payload)
{
    (void)services;
    return strcmp(tl_run_kind(run), TL_KIND_CAPSULE) == 0 ? complete_capsule(run, payload)
                                                          : complete_canvas(run, payload);
}

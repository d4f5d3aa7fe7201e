#include "capsules/doors.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "capsules/call.h"
#include "capsules/keyring.h"
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

static int plan_graph(struct tl_services *services, const char *org, json_t *graph, const char *const *targets,
                      size_t n, bool admin, struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_cap_env scope = {.services = services, .org = org};
    struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &scope, .admin = admin};
    return tl_plan_json(graph, &env, targets, n, ret, diag);
}

int tl_cap_replan(void *services, const char *org, const char *kind, json_t *doc, struct tl_plan **ret,
                  struct tl_diag *diag)
{
    const char **targets;
    size_t n;
    *ret = NULL;
    if (strcmp(kind, TL_KIND_CANVAS) != 0 && strcmp(kind, TL_KIND_CAPSULE) != 0)
        return tl_diag_add(diag, NULL, NULL, "$", "unknown kind of run");
    int err = read_targets(doc, &targets, &n, diag);
    if (err)
        return err;
    err = plan_graph(services, org, json_object_get(doc, "graph"), targets, n,
                     json_is_true(json_object_get(doc, "admin")), ret, diag);
    free(targets);
    return err;
}

int tl_cap_check_canvas(struct tl_services *services, const char *org, json_t *graph, bool admin, struct tl_diag *diag)
{
    struct tl_plan *plan;
    int err = plan_graph(services, org, graph, NULL, 0, admin, &plan, diag);
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

static int set_usage(const struct tl_run *run, json_t *payload)
{
    struct tl_usage u;
    int64_t latency_ms;
    tl_run_usage(run, &u, &latency_ms);
    json_t *tokens = json_pack("{s:I,s:I,s:I}", "input", (json_int_t)u.tokens_in, "output", (json_int_t)u.tokens_out,
                               "total", (json_int_t)(u.tokens_in + u.tokens_out));
    int bad = json_object_set_new(payload, "token_usage", tokens);
    bad |= json_object_set_new(payload, "latency_ms", json_integer((json_int_t)latency_ms));
    bad |= json_object_set_new(payload, "cost_usd_est", json_real(u.cost_usd));
    return bad ? TL_ENOMEM : 0;
}

static int complete_capsule(const struct tl_run *run, json_t *payload)
{
    const struct tl_plan *plan = tl_run_plan(run);
    const char *node = json_string_value(json_array_get(json_object_get(tl_run_doc(run), "targets"), 0));
    uint32_t at = node ? tl_plan_find(plan, node) : UINT32_MAX;
    if (at == UINT32_MAX)
        return TL_EINTERNAL;
    const struct tl_value *summary = tl_run_output(run, node, "summary"),
                          *refs = tl_run_output(run, node, "evidence_refs");
    const char *version = tl_json_str(plan->nodes[at].data, "capsuleVersion");
    int bad = json_object_set_new(payload, "summary", tl_value_none(summary) ? json_object() : tl_value_json(summary));
    bad |= json_object_set_new(payload, "evidence_refs", tl_value_none(refs) ? json_array() : tl_value_json(refs));
    bad |= json_object_set_new(payload, "version", json_string(version ? version : ""));
    return bad ? TL_ENOMEM : set_usage(run, payload);
}

/* Every output has been told by a run.partial; the ending repeats what a reader can take at once. */
enum { COMPLETED_BYTES = 1024 * 1024 };

static int complete_canvas(const struct tl_run *run, json_t *payload)
{
    const struct tl_plan *plan = tl_run_plan(run);
    json_t *all = json_object();
    int bad = json_object_set_new(payload, "outputs", all), omitted = 0;
    size_t room = COMPLETED_BYTES;
    for (uint32_t i = 0; i < plan->nnodes && !bad; i++) {
        const struct tl_plan_node *n = &plan->nodes[i];
        json_t *ports = n->wanted ? json_object() : NULL;
        for (uint32_t p = 0; ports && p < n->nout; p++) {
            const struct tl_value *v = tl_run_output_at(run, i, p);
            if (!tl_value_none(v))
                bad |= json_object_set_new(ports, n->out[p]->name, tl_value_json(v));
        }
        size_t bytes = ports ? json_dumpb(ports, NULL, 0, JSON_COMPACT) : 0;
        if (bytes > room) {
            json_decref(ports);
            omitted++;
        } else if (ports) {
            room -= bytes;
            bad |= json_object_set_new(all, n->id, ports);
        }
    }
    if (omitted)
        bad |= json_object_set_new(payload, "outputs_omitted", json_integer(omitted));
    return bad ? TL_ENOMEM : set_usage(run, payload);
}

int tl_cap_complete(void *services, const struct tl_run *run, json_t *payload)
{
    (void)services;
    return strcmp(tl_run_kind(run), TL_KIND_CAPSULE) == 0 ? complete_capsule(run, payload)
                                                          : complete_canvas(run, payload);
}

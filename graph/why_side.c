#include "graph/why_side.h"

#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <string.h>

struct doc_read {
    const struct tl_id *id;
    json_t *doc, *record;
};

static int read_doc(struct tl_txn *txn, void *arg)
{
    struct doc_read *r = arg;
    struct tl_bytes v;
    int err = tl_run_read_record(txn, r->id, &r->record);
    if (!err)
        err = tl_txn_get(txn, TL_TBL_RUN_DOC, r->id->b, TL_ID_LEN, &v);
    return err ? err : tl_json_parse(v.data, v.len, &r->doc, NULL);
}

int tl_why_load(struct tl_exec *exec, const char *org, const struct tl_id *id, bool nodes, struct tl_why_side *ret)
{
    *ret = (struct tl_why_side){.id = *id, .node = UINT32_MAX};
    struct doc_read r = {.id = id};
    tl_id_text(id, ret->id_text);
    int err = tl_db_read(exec->conf.db, read_doc, &r);
    ret->doc = r.doc;
    ret->ops = json_incref(json_object_get(r.doc, "ops"));
    json_object_del(r.doc, "ops");
    ret->record = r.record;
    const char *owner = tl_json_str(r.record, "org"), *kind = tl_json_str(r.record, "kind");
    if (err || !owner || !kind || strcmp(owner, org) != 0) {
        tl_why_clear(ret);
        return err ? err : TL_ENOTFOUND;
    }
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    if (exec->conf.replan && exec->conf.replan(exec->conf.arg, org, kind, ret->doc, &ret->plan, &diag) != 0)
        ret->plan = NULL;
    if (nodes) {
        json_decref(ret->record);
        ret->record = NULL;
        err = tl_run_get(exec->conf.db, org, id, &ret->record);
        if (err)
            tl_why_clear(ret);
    }
    return err;
}

void tl_why_clear(struct tl_why_side *side)
{
    json_decref(side->record);
    json_decref(side->doc);
    json_decref(side->ops);
    json_decref(side->outputs);
    tl_plan_unref(side->plan);
    *side = (struct tl_why_side){0};
}

bool *tl_why_sources(const struct tl_plan *plan, uint32_t node)
{
    bool *is = tl_calloc(plan->nnodes + 1, sizeof(*is));
    if (!is)
        return NULL;
    bool all = plan->nodes[node].op->flags & TL_OP_UPSTREAM;
    is[node] = true;
    for (uint32_t k = plan->nwanted; k-- > 0;) {
        uint32_t i = plan->order[k];
        const struct tl_plan_node *n = &plan->nodes[i];
        for (uint32_t p = 0; is[i] && (all || i == node) && p < n->nin; p++)
            for (uint32_t s = 0; s < n->in[p].nsources; s++)
                is[plan->sources[n->in[p].first_source + s].node] = true;
    }
    is[node] = false;
    return is;
}

struct collect {
    struct tl_why_side *side;
    const bool *is;
};

static int collect_outputs(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct collect *c = arg;
    (void)seq;
    if (!memmem(json, len < 200 ? len : 200, "\"type\":\"run.partial\"", 20))
        return 0;
    TL_AUTO_JSON json_t *e = NULL;
    if (tl_json_parse(json, len, &e, NULL) < 0)
        return 0;
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(json_object_get(e, "payload"), "results"), i, r) {
        const char *id = tl_json_str(r, "node");
        uint32_t node = id ? tl_plan_find(c->side->plan, id) : UINT32_MAX;
        if (node != UINT32_MAX && c->is[node] &&
            json_object_set(c->side->outputs, id, json_object_get(r, "outputs")) < 0)
            return TL_ENOMEM;
    }
    return 0;
}

int tl_why_read_outputs(struct tl_exec *exec, struct tl_why_side *side)
{
    TL_AUTO_FREE bool *is = tl_why_sources(side->plan, side->node);
    side->outputs = json_object();
    if (!is || !side->outputs)
        return TL_ENOMEM;
    bool any = false;
    for (uint32_t i = 0; i < side->plan->nnodes; i++)
        any |= is[i];
    struct collect c = {side, is};
    return any ? tl_events_read(exec->conf.db, &side->id, 0, collect_outputs, &c) : 0;
}

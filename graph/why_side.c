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

int tl_why_load(struct tl_exec *exec, const char *org, const struct tl_id *id, struct tl_why_side *ret)
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
    return 0;
}

void tl_why_plan(struct tl_exec *exec, const char *org, struct tl_why_side *side)
{
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    const struct tl_exec_conf *conf = &exec->conf;
    if (conf->replan &&
        conf->replan(conf->arg, org, tl_json_str(side->record, "kind"), side->doc, &side->plan, &diag) != 0)
        side->plan = NULL;
}

void tl_why_clear(struct tl_why_side *side)
{
    json_decref(side->record);
    json_decref(side->doc);
    json_decref(side->ops);
    json_decref(side->state);
    free(side->sources);
    free(side->outputs);
    tl_arena_clear(&side->arena);
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

json_t *tl_why_output(const struct tl_why_side *side, uint32_t node, const char *port)
{
    const struct tl_jtext *text = &side->outputs[node];
    TL_AUTO_JSON json_t *all = NULL;
    if (!text->s || tl_json_parse(text->s, text->len, &all, NULL) < 0)
        return NULL;
    return json_incref(json_object_get(all, port));
}

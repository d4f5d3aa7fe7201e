#include "graph/why.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/state.h"
#include "graph/why_side.h"

#include <string.h>

enum {
    LISTED_MAX = 200, /* earlier runs looked at by their records */
    LOADED_MAX = 5,   /* and by their documents and journals */
    OPS_MAX = 1000,   /* noted of a plan */
    TOLD_MAX = 3,     /* changes named in the sentence */
};

json_t *tl_why_ops(const struct tl_plan *plan)
{
    json_t *ops = json_object();
    const struct tl_op *last = NULL;
    for (uint32_t k = 0; ops && k < plan->nwanted && json_object_size(ops) < OPS_MAX; k++) {
        const struct tl_plan_node *n = &plan->nodes[plan->order[k]];
        if (n->op != last && !json_object_get(ops, n->op->name))
            json_object_set_new(ops, n->op->name, json_integer((json_int_t)n->op->revision));
        if (n->shape->label && n->shape->identity)
            json_object_set_new(ops, n->shape->label, json_string(n->shape->identity));
        last = n->op;
    }
    return ops;
}

struct why {
    struct tl_exec *exec;
    const char *org, *step;
    bool admin;
    struct tl_why_side now, before;
    bool has_before;
    uint32_t node; /* of now.plan: the step, or the group around it; now.state is the step's own */
    const char *status;
    json_t *changes;
    struct tl_str sentence;
};

/* The node that a step id names: itself, or the outermost group around it. */
static uint32_t find_node(const struct tl_plan *plan, const char *step)
{
    uint32_t node = tl_plan_find(plan, step);
    for (size_t len = strlen(step); node == UINT32_MAX && len > 0; len--) {
        if (step[len] != '/' && step[len] != '#')
            continue;
        TL_AUTO_FREE char *outer = tl_strndup(step, len);
        node = outer ? tl_plan_find(plan, outer) : UINT32_MAX;
    }
    return node;
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
    const char *x = tl_json_str(a, key), *y = tl_json_str(b, key);
    return (!x && !y) || (x && y && strcmp(x, y) == 0);
}

/* Runs of the same canvas, or of the same capsule. */
static bool is_akin(const json_t *a, const json_t *b)
{
    return same_text(a, b, "kind") && same_text(a, b, "canvas_id") && same_text(a, b, "capsule_id") &&
           same_text(a, b, "node_id");
}

/* Whether an earlier run had the node, and it came to an end there. */
static bool take_before(struct why *w, const struct tl_id *id)
{
    const char *node = w->now.plan->nodes[w->node].id;
    struct tl_why_side *b = &w->before;
    if (tl_why_load(w->exec, w->org, id, b) != 0)
        return false;
    int err = tl_why_read_state(w->exec, id, node, &b->state);
    const char *status = tl_json_str(b->state, "status");
    if (!err && status && (is(status, "done") || is(status, "failed")))
        tl_why_plan(w->exec, w->org, b);
    b->node = b->plan ? tl_plan_find(b->plan, node) : UINT32_MAX;
    w->has_before = b->node != UINT32_MAX && b->plan->nodes[b->node].wanted;
    if (!w->has_before)
        tl_why_clear(&w->before);
    return w->has_before;
}

static int find_before(struct why *w)
{
    TL_AUTO_JSON json_t *items = NULL;
    struct tl_id next, id;
    bool more;
    size_t i, loaded = 0;
    json_t *r;
    int err = tl_run_list(w->exec->conf.db, w->org, NULL, &w->now.id, LISTED_MAX, &items, &next, &more);
    if (err)
        return err;
    json_array_foreach(items, i, r) {
        const char *text = tl_json_str(r, "id");
        if (!text || !tl_id_parse(text, &id) || !is_akin(r, w->now.record))
            continue;
        if (take_before(w, &id) || ++loaded == LOADED_MAX)
            break;
    }
    if (w->has_before)
        err = tl_why_read_outputs(w->exec, &w->before);
    return err;
}

/* ---- the result that was found ---- */

struct found {
    struct why *w;
    uint8_t run_key[32];
    struct tl_result_facts facts;
};

static int journal_hash(void *arg, uint32_t node, uint32_t out, uint8_t ret[32])
{
    const struct found *f = arg;
    const struct tl_plan_node *n = &f->w->now.plan->nodes[node];
    if (f->w->now.cut)
        return TL_ENOTFOUND;
    TL_AUTO_JSON json_t *j = tl_why_output(&f->w->now, node, n->out[out]->name);
    struct tl_value v = {.type = TL_T_ANY};
    int err = j ? tl_value_from_json(n->out[out]->type, j, &v, NULL) : 0;
    if (!err)
        err = tl_value_hash(&v, ret);
    tl_value_clear(&v);
    return err;
}

static int look_up(struct tl_txn *txn, void *arg)
{
    struct found *f = arg;
    const struct why *w = f->w;
    uint8_t key[32];
    uint32_t nout = w->now.plan->nodes[w->node].nout;
    TL_AUTO_FREE uint8_t *hashes = tl_calloc(nout + 1, 32);
    int err = hashes ? tl_result_key_of(f->run_key, w->now.plan, w->node, journal_hash, f, key) : TL_ENOMEM;
    return err ? err : tl_result_hashes(w->exec->results, txn, w->org, key, nout, hashes, &f->facts);
}

/* The run that made the result this node would find. */
static int find_maker(struct why *w, struct tl_id *ret)
{
    struct found f = {.w = w};
    const struct tl_exec_conf *conf = &w->exec->conf;
    int err = conf->cache_key ? conf->cache_key(conf->arg, w->org, f.run_key) : 0;
    tl_result_run_key(f.run_key, w->org);
    if (!err)
        err = tl_db_read(conf->db, look_up, &f);
    *ret = f.facts.run;
    return err;
}

/* ---- answers: each says the reason and fills the sentence ---- */

static bool is_unchanged(const struct why *w)
{
    TL_AUTO_JSON json_t *changes = tl_why_changes(&w->before, &w->now, true);
    return changes && !json_array_size(changes);
}

static const char *say_cached(struct why *w, char *compared)
{
    struct tl_id maker;
    bool known = find_maker(w, &maker) == 0, pure = w->now.plan->nodes[w->node].op->flags & TL_OP_PURE;
    if (!pure || (known && tl_id_equal(&maker, &w->now.id))) {
        tl_str_printf(&w->sentence,
                      "\"%s\" was not run: this run had its result already, of an equal node or from before it was "
                      "interrupted.",
                      w->step);
        return "resumed";
    }
    if (known)
        tl_id_text(&maker, compared);
    else if (w->has_before && !w->now.cut && !w->before.cut && is_unchanged(w))
        memcpy(compared, w->before.id_text, TL_ID_TEXT);
    tl_str_printf(&w->sentence, "\"%s\" did not run: nothing that it depends on has changed since %s%s.", w->step,
                  *compared ? "run " : "an earlier run", compared);
    return "cached";
}

static void add_word(struct tl_str *s, const json_t *change)
{
    const char *kind = tl_json_str(change, "kind"), *name = tl_json_str(change, "name");
    static const char *const words[][2] = {{"op", "its op"},
                                           {"revision", "the revision of the op"},
                                           {"identity", "what is inside the capsule or its surroundings"},
                                           {"version", "the version"},
                                           {"parameter", "the parameter"},
                                           {"literal", "the value given for"},
                                           {"edge", "what is connected to"},
                                           {"input", "what arrives at"},
                                           {"upstream", "the outputs of"},
                                           {"body", "the graph inside"}};
    const char *word = kind;
    for (size_t i = 0; i < TL_ARRAY_LEN(words); i++)
        if (strcmp(words[i][0], kind) == 0)
            word = words[i][1];
    tl_str_puts(s, word);
    if (name && strcmp(kind, "identity") != 0)
        tl_str_printf(s, " \"%s\"", name);
}

/* What arrived is not known of one of the two runs: nothing can be said of it. */
static bool is_lost(const struct why *w)
{
    return w->now.cut || w->before.cut;
}

static const char *lost_of(const struct why *w)
{
    return w->now.cut && w->before.cut ? "both" : w->now.cut ? "this run" : "that run";
}

static const char *say_changed(struct why *w)
{
    size_t n = json_array_size(w->changes), told = n < TOLD_MAX ? n : TOLD_MAX;
    tl_str_printf(&w->sentence, "\"%s\" ran because ", w->step);
    for (size_t i = 0; i < told; i++) {
        tl_str_puts(&w->sentence, i == 0 ? "" : i + 1 == n ? " and " : ", ");
        add_word(&w->sentence, json_array_get(w->changes, i));
    }
    if (n > told)
        tl_str_printf(&w->sentence, " and %zu more", n - told);
    tl_str_printf(&w->sentence, " differ%s from run %s.", n == 1 ? "s" : "", w->before.id_text);
    if (is_lost(w))
        tl_str_printf(&w->sentence, " What arrived in %s is no longer known.", lost_of(w));
    return "changed";
}

static const char *say_ran(struct why *w, char *compared)
{
    const struct tl_plan_node *n = &w->now.plan->nodes[w->node];
    if (w->has_before) {
        memcpy(compared, w->before.id_text, TL_ID_TEXT);
        json_decref(w->changes);
        w->changes = tl_why_changes(&w->before, &w->now, w->admin);
    }
    if (w->has_before && json_array_size(w->changes))
        return say_changed(w);
    if (!(n->op->flags & TL_OP_PURE)) {
        tl_str_printf(
            &w->sentence,
            "\"%s\" ran because its op reaches outside: such results are kept only for going on after a crash.",
            w->step);
        return "impure";
    }
    if (!w->has_before) {
        tl_str_printf(&w->sentence, "\"%s\" ran because no earlier run that is still known has come to an end with it.",
                      w->step);
        return "first";
    }
    const char *was = tl_json_str(w->before.state, "status");
    if (was && strcmp(was, "failed") == 0) {
        tl_str_printf(&w->sentence, "\"%s\" ran because it failed in run %s, and there was no result.", w->step,
                      compared);
        return "failed_before";
    }
    if (is_lost(w)) {
        tl_str_printf(&w->sentence,
                      "\"%s\" ran; besides what may have arrived differently nothing that it depends on differs from "
                      "run %s: what arrived "
                      "in %s is no longer known.",
                      w->step, compared, lost_of(w));
        return "unknown";
    }
    tl_str_printf(&w->sentence,
                  "\"%s\" ran although nothing that it depends on differs from run %s: the result is no longer in the "
                  "cache, or was "
                  "not kept because something in it reached outside.",
                  w->step, compared);
    return "not_kept";
}

/* The failed node behind which another was skipped; NULL where there is none. */
static const char *failed_before(const struct why *w)
{
    const struct tl_plan *plan = w->now.plan;
    TL_AUTO_FREE bool *behind = tl_calloc(plan->nnodes + 1, sizeof(*behind));
    TL_AUTO_FREE bool *has_failed = tl_calloc(plan->nnodes + 1, sizeof(*has_failed));
    const char *failed = NULL;
    if (!behind || !has_failed || tl_why_read_failed(w->exec, &w->now, has_failed) < 0)
        return NULL;
    behind[w->node] = true;
    for (uint32_t k = plan->nwanted; k-- > 0;) {
        uint32_t i = plan->order[k];
        const struct tl_plan_node *n = &plan->nodes[i];
        if (!behind[i])
            continue;
        if (has_failed[i])
            failed = n->id;
        for (uint32_t p = 0; p < n->nin; p++)
            for (uint32_t s = 0; s < n->in[p].nsources; s++)
                behind[plan->sources[n->in[p].first_source + s].node] = true;
    }
    return failed;
}

static const char *say_skipped(struct why *w)
{
    const char *failed = failed_before(w), *run = tl_json_str(w->now.record, "status");
    if (failed) {
        tl_str_printf(&w->sentence, "\"%s\" was skipped because \"%s\" failed.", w->step, failed);
        return "skipped";
    }
    if (run && strcmp(run, "cancelled") == 0) {
        tl_str_printf(&w->sentence, "\"%s\" was not reached: the run was cancelled.", w->step);
        return "cancelled";
    }
    if (run && strcmp(run, "failed") == 0) {
        TL_AUTO_JSON json_t *end = tl_why_read_end(w->exec, &w->now);
        const char *node = tl_json_str(json_object_get(json_object_get(end, "error"), "details"), "node");
        tl_str_printf(&w->sentence, "\"%s\" was not reached: the run failed%s%s%s.", w->step, node ? " at \"" : "",
                      node ? node : "", node ? "\"" : "");
        return "stopped";
    }
    tl_str_printf(&w->sentence, "\"%s\" was skipped: no branch that leads to it was taken.", w->step);
    return "branch";
}

static const char *say_cancelled(struct why *w)
{
    const char *run = tl_json_str(w->now.record, "status");
    bool cancelled = run && strcmp(run, "cancelled") == 0;
    tl_str_printf(&w->sentence, "\"%s\" began and was stopped: the run %s.", w->step,
                  cancelled ? "was cancelled" : "failed at another node");
    return cancelled ? "cancelled" : "stopped";
}

static const char *say_pending(struct why *w)
{
    bool ended = json_object_get(w->now.record, "ended_at");
    tl_str_printf(&w->sentence, ended ? "Of \"%s\" the journal says nothing." : "\"%s\" has not come to its end yet.",
                  w->step);
    return ended ? "unknown" : "pending";
}

static int answer(struct why *w, json_t **ret)
{
    const json_t *state = w->now.state;
    const char *status = tl_json_str(state, "status"), *reason;
    char compared[TL_ID_TEXT] = "";
    w->status = status ? status : "queued";
    bool ended = is(w->status, "done") || is(w->status, "failed"), ran = ended && !tl_json_bool(state, "cached", false);
    w->changes = json_array();
    int err = ended ? tl_why_read_outputs(w->exec, &w->now) : 0;
    if (!err && ended)
        err = find_before(w);
    if (err)
        return err;
    if (ran)
        reason = say_ran(w, compared);
    else if (ended)
        reason = say_cached(w, compared);
    else if (is(w->status, "skipped"))
        reason = say_skipped(w);
    else if (is(w->status, "cancelled"))
        reason = say_cancelled(w);
    else
        reason = say_pending(w);
    *ret = w->sentence.err || !w->changes
               ? NULL
               : json_pack("{s:s,s:b,s:s,s:s,s:O,s:s}", "node", w->step, "ran", ran, "status", w->status, "reason",
                           reason, "changes", w->changes, "sentence", w->sentence.data);
    if (*ret && *compared)
        json_object_set_new(*ret, "compared_with", json_string(compared));
    return *ret ? 0 : TL_ENOMEM;
}

/* Without a plan nothing can be compared: its capsule is gone, or the document does not serve any more. */
static int answer_without_plan(struct why *w, json_t **ret)
{
    const json_t *state = w->now.state;
    const char *status = tl_json_str(state, "status");
    if (!status)
        return TL_ENOTFOUND;
    bool cached = tl_json_bool(state, "cached", false);
    tl_str_printf(&w->sentence,
                  "What \"%s\" depended on cannot be told any more: the graph of this run can no longer be planned.",
                  w->step);
    *ret = json_pack("{s:s,s:b,s:s,s:s,s:[],s:s}", "node", w->step, "ran", is(status, "done") && !cached, "status",
                     status, "reason", "unknown", "changes", "sentence", w->sentence.err ? "" : w->sentence.data);
    return *ret ? 0 : TL_ENOMEM;
}

int tl_run_why(struct tl_exec *exec, const char *org, const struct tl_id *run, const char *step, bool admin,
               json_t **ret)
{
    struct why w = {.exec = exec, .org = org, .step = step, .admin = admin};
    *ret = NULL;
    if (!exec->conf.db || strlen(org) >= TL_ORG_MAX)
        return TL_ENOTFOUND;
    int err = tl_why_load(exec, org, run, &w.now);
    if (!err)
        err = tl_why_read_state(exec, run, step, &w.now.state);
    if (!err)
        tl_why_plan(exec, org, &w.now);
    if (!err && w.now.plan) {
        w.node = w.now.node = find_node(w.now.plan, step);
        bool there = w.node != UINT32_MAX && w.now.plan->nodes[w.node].wanted &&
                     (tl_plan_find(w.now.plan, step) == w.node || w.now.state);
        err = there ? answer(&w, ret) : TL_ENOTFOUND;
    } else if (!err) {
        err = answer_without_plan(&w, ret);
    }
    json_decref(w.changes);
    tl_str_clear(&w.sentence);
    tl_why_clear(&w.now);
    tl_why_clear(&w.before);
    return err;
}

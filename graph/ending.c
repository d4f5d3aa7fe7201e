/* A run's end: what its nested run hands on, the payload of its terminal event, and what the makers of that payload may ask of it. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/state.h"

#include <string.h>

#define NONE UINT32_MAX

static void end_nested(struct tl_run *run)
{
    struct tl_op_ctx *parent = run->parent;
    const struct tl_plan *plan = run->plan;
    struct tl_nested_result result = {
        .err = run->err, .node = run->err_node, .message = run->err_message, .usage = run->usage};
    uint32_t n = plan->output_node == NONE ? 0 : plan->nodes[plan->output_node].nin;
    struct tl_value *outputs = tl_calloc(n, sizeof(*outputs));
    if (!outputs)
        result.err = TL_ENOMEM;
    for (uint32_t p = 0; !result.err && p < n; p++)
        result.err = tl_op_receive(run, &plan->nodes[plan->output_node].in[p], &outputs[p]);
    result.outputs = outputs;
    pthread_mutex_lock(&parent->run->lock);
    if (run->prev_nested)
        run->prev_nested->next_nested = run->next_nested;
    else
        parent->nested = run->next_nested;
    if (run->next_nested)
        run->next_nested->prev_nested = run->prev_nested;
    pthread_mutex_unlock(&parent->run->lock);
    run->nest_done(parent, run->nest_arg, &result);
    tl_values_clear(outputs, n);
    free(outputs);
}

static void fill_failure(const struct tl_run *run, struct tl_str *payload)
{
    TL_AUTO_JSON json_t *details = run->err_node ? json_pack("{s:s}", "node", run->err_node) : json_object();
    TL_AUTO_JSON json_t *error =
        json_pack("{s:{s:s,s:s,s:O}}", "error", "code", tl_err_code(run->err), "message",
                  run->err_message ? run->err_message : tl_err_text(run->err), "details", details);
    tl_json_add(payload, error);
}

/* The payload of the terminal event and the status it stands for. */
static const char *fill_ending(struct tl_run *run, struct tl_str *payload)
{
    const struct tl_exec_conf *conf = &run->exec->conf;
    const char *over = run->err ? NULL : tl_run_over_budget(run);
    if (over) { /* all of it had ended before it could be stopped */
        run->err = TL_EBUDGET;
        run->err_message = tl_strdup(over);
    }
    if (!run->err && conf->complete)
        run->err = conf->complete(conf->arg, run, payload);
    if (!run->err) {
        if (!payload->len)
            tl_str_puts(payload, "{}");
        return "done";
    }
    payload->len = 0;
    if (run->err != TL_ECANCELLED) {
        fill_failure(run, payload);
        return "failed";
    }
    tl_str_puts(payload, "{");
    if (run->cancel_reason) {
        tl_str_puts(payload, "\"reason\":");
        tl_json_add_text(payload, run->cancel_reason, strlen(run->cancel_reason));
    }
    tl_str_puts(payload, "}");
    return "cancelled";
}

static void end_outermost(struct tl_run *run)
{
    const struct tl_exec_conf *conf = &run->exec->conf;
    if (run->journal && (run->suspended || tl_journal_failed(run))) {
        tl_journal_suspend(run);
        tl_exec_remove_live(run->exec, run);
    } else if (run->journal) {
        struct tl_str payload = {0};
        const char *status = fill_ending(run, &payload);
        tl_run_count_quick(run);
        tl_journal_end(run, status, &payload);
        tl_str_clear(&payload);
    } else {
        struct tl_str payload = {0}; /* nobody keeps it, but complete() looks at the outputs */
        fill_ending(run, &payload);
        tl_str_clear(&payload);
        if (conf->notify)
            conf->notify(conf->arg, &run->id, 0, true);
        tl_exec_remove_live(run->exec, run);
    }
}

void tl_run_end(struct tl_task *task)
{
    struct tl_run *run = (struct tl_run *)((char *)task - offsetof(struct tl_run, end_task));
    tl_count(&run->exec->counted.done, !run->parent || run->open ? run->ndone : 0); /* a capsule counts as one */
    if (run->parent) {
        end_nested(run);
        tl_run_unref(run); /* the reference of tl_op_nest */
    } else {
        end_outermost(run);
    }
    tl_run_unref(run);
}

int tl_run_cancel(struct tl_exec *exec, const char *org, const struct tl_id *id, const char *reason)
{
    struct tl_run *run = tl_exec_find(exec, id);
    if (!run || strcmp(run->org, org) != 0) {
        tl_run_unref(run);
        TL_AUTO_JSON json_t *record = NULL;
        int err = exec->conf.db ? tl_run_get(exec->conf.db, org, id, &record) : TL_ENOTFOUND;
        return err ? err : TL_ECONFLICT;
    }
    pthread_mutex_lock(&run->lock);
    bool stopped = !run->ended && !run->stopping;
    if (stopped) {
        run->cancel_reason = tl_strdup(reason);
        tl_run_stop_now(run, TL_ECANCELLED, NULL, NULL);
    }
    tl_run_unlock_and_end(run);
    tl_run_unref(run);
    return stopped ? 0 : TL_ECONFLICT;
}

const char *tl_run_kind(const struct tl_run *run)
{
    return run->kind;
}

const struct tl_plan *tl_run_plan(const struct tl_run *run)
{
    return run->plan;
}

const json_t *tl_run_doc(const struct tl_run *run)
{
    return run->doc;
}

const struct tl_value *tl_run_output_at(const struct tl_run *run, uint32_t node, uint32_t out)
{
    const struct tl_value *v = &tl_run_values(run, node)[out];
    return tl_value_none(v) ? NULL : v;
}

const struct tl_value *tl_run_output(const struct tl_run *run, const char *node, const char *port)
{
    uint32_t i = tl_plan_find(run->plan, node);
    const struct tl_plan_node *n = i == NONE ? NULL : &run->plan->nodes[i];
    for (uint32_t k = 0; n && k < n->nout; k++)
        if (strcmp(n->out[k]->name, port) == 0)
            return tl_run_output_at(run, i, k);
    return NULL;
}

uint32_t tl_run_failed_nodes(const struct tl_run *run, uint32_t max, struct tl_str *s)
{
    uint32_t n = 0;
    tl_str_puts(s, "[");
    for (uint32_t i = 0; run->nfailed && i < run->plan->nnodes; i++) {
        const char *id = run->plan->nodes[i].id;
        if (run->nodes[i].status != TL_NODE_FAILED || n++ >= max)
            continue;
        tl_str_puts(s, n > 1 ? "," : "");
        tl_json_add_text(s, id, strlen(id));
    }
    tl_str_puts(s, "]");
    return n;
}

void tl_run_usage(const struct tl_run *run, struct tl_usage *ret, int64_t *ret_latency_ms)
{
    *ret = run->usage;
    *ret_latency_ms = tl_exec_wall_ms(run->exec) - run->started_ms;
}

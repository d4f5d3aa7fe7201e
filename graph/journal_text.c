#include "graph/journal_text.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

char *tl_journal_event_text(const struct tl_run *run, uint64_t seq, const char *type, const char *payload,
                            size_t payload_len, size_t *ret_len)
{
    char ts[TL_TIME_TEXT];
    struct tl_str s = {0};
    tl_time_text(tl_exec_wall_ms(run->exec), ts);
    tl_str_printf(&s,
                  "{\"event_id\":\"%s:%llu\",\"run_id\":\"%s\",\"type\":\"%s\",\"seq\":%llu,\"ts\":\"%s\",\"payload\":",
                  run->id_text, (unsigned long long)seq, run->id_text, type, (unsigned long long)seq, ts);
    tl_str_add(&s, payload, payload_len);
    tl_str_puts(&s, "}");
    *ret_len = s.len;
    return tl_str_take(&s);
}

static const char *const status_names[] = {"queued", "running", "waiting", "done", "failed", "cancelled", "skipped"};

double tl_journal_percent(double v)
{
    return floor(v * 10 + 1e-9) / 10;
}

static void add_id(struct tl_str *s, const struct tl_run *run, uint32_t node)
{
    const char *id = run->plan->nodes[node].id;
    if (!run->prefix) {
        tl_json_add_text(s, id, strlen(id));
        return;
    }
    TL_AUTO_FREE char *step = tl_run_step_id(run, node);
    if (step)
        tl_json_add_text(s, step, strlen(step));
    else
        s->err = TL_ENOMEM;
}

void tl_journal_add_change(struct tl_str *s, const struct tl_change *c)
{
    tl_str_puts(s, "{\"id\":");
    add_id(s, c->run, c->node);
    tl_str_puts(s, ",\"status\":\"");
    tl_str_puts(s, status_names[c->status]);
    tl_str_puts(s, "\"");
    if (c->status == TL_NODE_RUNNING) {
        tl_str_puts(s, ",\"progress\":");
        tl_json_add_number(s, tl_journal_percent(100.0 * (double)c->progress));
    }
    if (c->more)
        tl_str_puts(s, c->more);
    tl_str_puts(s, c->cached ? ",\"cached\":true}" : "}");
}

/* Which outputs are media: their text alone does not say it, for JSON may look the same. */
static void add_media(struct tl_str *s, const struct tl_plan_node *n, const struct tl_value *values)
{
    bool any = false;
    for (uint32_t k = 0; k < n->nout; k++) {
        if (!tl_type_is_media(values[k].type))
            continue;
        tl_str_puts(s, any ? "," : ",\"media\":[");
        tl_json_add_text(s, n->out[k]->name, strlen(n->out[k]->name));
        any = true;
    }
    tl_str_puts(s, any ? "]" : "");
}

void tl_journal_add_result(struct tl_str *s, const struct tl_run *run, uint32_t node)
{
    const struct tl_plan_node *n = &run->plan->nodes[node];
    const struct tl_value *values = tl_run_values(run, node);
    tl_str_puts(s, "{\"node\":");
    add_id(s, run, node);
    tl_str_puts(s, ",\"outputs\":{");
    bool any = false;
    for (uint32_t k = 0; k < n->nout; k++) {
        if (tl_value_none(&values[k]))
            continue;
        tl_str_puts(s, any ? "," : "");
        tl_json_add_text(s, n->out[k]->name, strlen(n->out[k]->name));
        tl_str_puts(s, ":");
        tl_value_add(s, &values[k]);
        any = true;
    }
    tl_str_puts(s, "}");
    add_media(s, n, values);
    tl_str_puts(s, run->nodes[node].cached ? ",\"cached\":true}" : "}");
}

char *tl_journal_more(const struct tl_node_state *s)
{
    const struct tl_node_extra *x = s->extra;
    struct tl_str t = {0};
    if (s->attempts > 1) {
        tl_str_puts(&t, ",\"attempt\":");
        tl_json_add_number(&t, s->attempts);
    }
    if (x && s->status == TL_NODE_FAILED && x->err) {
        tl_str_printf(&t, ",\"error\":{\"code\":\"%s\",\"message\":", tl_err_code(x->err));
        const char *text = x->message ? x->message : tl_err_text(x->err);
        tl_json_add_text(&t, text, strlen(text));
        tl_str_puts(&t, "}");
    } else if (x && x->message && (s->status == TL_NODE_RUNNING || s->status == TL_NODE_QUEUED)) {
        tl_str_puts(&t, ",\"message\":");
        tl_json_add_text(&t, x->message, strlen(x->message));
    }
    if (x && x->waits && s->status == TL_NODE_WAITING) {
        tl_str_puts(&t, ",\"waiting_for\":");
        tl_json_add(&t, x->waits);
    }
    if (s->status == TL_NODE_DONE && s->fallback)
        tl_str_puts(&t, ",\"fallback\":true");
    return tl_str_take(&t);
}

char *tl_journal_record(const struct tl_run *run, const struct tl_record_facts *f)
{
    char created[TL_TIME_TEXT], now[TL_TIME_TEXT], started[TL_TIME_TEXT];
    tl_time_text(run->created_ms, created);
    tl_time_text(tl_exec_wall_ms(run->exec), now);
    TL_AUTO_JSON json_t *r = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:f,s:s,s:s,s:I,s:s,s:i}", "id", run->id_text, "org", run->org, "sub", run->sub, "kind",
        run->kind, "status", f->status, "progress", f->progress, "created_at", created, "updated_at", now, "last_seq",
        (json_int_t)f->seq, "graph_hash", run->plan->hash, "node_count", (int)run->plan->nwanted);
    if (!r)
        return NULL;
    if (run->started_ms) {
        tl_time_text(run->started_ms, started);
        json_object_set_new(r, "started_at", json_string(started));
    }
    if (f->ended)
        json_object_set_new(r, "ended_at", json_string(now));
    if (run->priority)
        json_object_set_new(r, "priority", json_integer(run->priority));
    if (run->budget.tokens)
        json_object_set_new(r, "budget_tokens", json_integer((json_int_t)run->budget.tokens));
    if (run->budget.cost_usd > 0)
        json_object_set_new(r, "budget_cost_usd", json_real(run->budget.cost_usd));
    if (f->waiting && !f->ended)
        json_object_set(r, "waiting_for", f->waiting);
    if (f->nwaiting > json_array_size(f->waiting) && !f->ended)
        json_object_set_new(r, "waiting_count", json_integer((json_int_t)f->nwaiting));
    if (run->meta)
        json_object_update_missing(r, run->meta);
    return tl_json_text(r);
}

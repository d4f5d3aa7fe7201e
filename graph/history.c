#include "graph/history.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

#define KEEP_OF_OLD 0.8 /* of the recent mean, with each node more */

const char *tl_history_name(const struct tl_plan_node *node)
{
    return node->shape && node->shape->label ? node->shape->label : node->op->name;
}

static struct tl_history_line *line_of(struct tl_history *h, const char *name)
{
    if (h->last < h->n && strcmp(h->lines[h->last].name, name) == 0)
        return &h->lines[h->last];
    for (h->last = 0; h->last < h->n; h->last++)
        if (strcmp(h->lines[h->last].name, name) == 0)
            return &h->lines[h->last];
    if (h->n == TL_HISTORY_KINDS || strlen(name) > TL_HISTORY_NAME ||
        tl_grow(&h->lines, &h->cap, h->n + 1, sizeof(*h->lines)) < 0)
        return NULL;
    h->lines[h->n] = (struct tl_history_line){.name = name};
    return &h->lines[h->n++];
}

void tl_history_took(struct tl_history *h, const struct tl_plan_node *node, uint32_t count, double ms,
                     const struct tl_usage *usage, bool failed)
{
    struct tl_history_line *l = line_of(h, tl_history_name(node));
    if (!l)
        return;
    l->count += count;
    l->failures += failed ? count : 0;
    l->ms += failed ? 0 : ms;
    if (usage) {
        l->usage.tokens_in += usage->tokens_in;
        l->usage.tokens_out += usage->tokens_out;
        l->usage.cost_usd += usage->cost_usd;
    }
}

void tl_history_clear(struct tl_history *h)
{
    free(h->lines);
    memset(h, 0, sizeof(*h));
}

static size_t db_key(uint8_t k[TL_ORG_MAX + TL_HISTORY_NAME], const char *org, const char *name)
{
    size_t n = strlen(org) + 1, m = strlen(name);
    memcpy(k, org, n);
    memcpy(k + n, name, m);
    return n + m;
}

static int read_line(struct tl_txn *txn, const char *org, const char *name, json_t **ret)
{
    uint8_t k[TL_ORG_MAX + TL_HISTORY_NAME];
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_HISTORY, k, db_key(k, org, name), &v);
    return err ? err : tl_json_parse(v.data, v.len, ret, NULL);
}

/* The mean moves towards what the last `well` nodes took together. */
static double recent(const json_t *old, const char *key, int64_t before, double sum, uint32_t well)
{
    double was = tl_json_num(old, key, 0);
    double weight = before ? 1 - pow(KEEP_OF_OLD, well) : 1;
    return well ? was + weight * (sum / well - was) : was;
}

static int put_line(struct tl_txn *txn, const char *org, const struct tl_history_line *l)
{
    TL_AUTO_JSON json_t *old = NULL;
    int err = read_line(txn, org, l->name, &old);
    if (err && err != TL_ENOTFOUND && err != TL_EINVAL)
        return err;
    int64_t count = tl_json_int(old, "count", 0), failures = tl_json_int(old, "failures", 0);
    uint32_t well = l->count - l->failures;
    double tokens = (double)(l->usage.tokens_in + l->usage.tokens_out);
    TL_AUTO_JSON json_t *j = json_pack(
        "{s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "count", (json_int_t)(count + l->count), "failures",
        (json_int_t)(failures + l->failures), "ms", tl_json_num(old, "ms", 0) + l->ms, "recent_ms",
        recent(old, "recent_ms", count - failures, l->ms, well), "tokens", tl_json_num(old, "tokens", 0) + tokens,
        "recent_tokens", recent(old, "recent_tokens", count - failures, tokens, well), "cost_usd",
        tl_json_num(old, "cost_usd", 0) + l->usage.cost_usd, "recent_cost_usd",
        recent(old, "recent_cost_usd", count - failures, l->usage.cost_usd, well));
    TL_AUTO_FREE char *text = j ? tl_json_text(j) : NULL;
    uint8_t k[TL_ORG_MAX + TL_HISTORY_NAME];
    return text ? tl_txn_put(txn, TL_TBL_HISTORY, k, db_key(k, org, l->name), text, strlen(text)) : TL_ENOMEM;
}

int tl_history_put(struct tl_txn *txn, const char *org, const struct tl_history *h)
{
    int err = 0;
    for (uint32_t i = 0; !err && i < h->n; i++)
        err = put_line(txn, org, &h->lines[i]);
    return err;
}

int tl_history_get(struct tl_txn *txn, const char *org, const char *name, struct tl_history_mean *ret)
{
    TL_AUTO_JSON json_t *j = NULL;
    int err = strlen(name) > TL_HISTORY_NAME ? TL_ENOTFOUND : read_line(txn, org, name, &j);
    if (!err && tl_json_int(j, "count", 0) <= tl_json_int(j, "failures", 0))
        err = TL_ENOTFOUND;
    *ret = (struct tl_history_mean){.ms = tl_json_num(j, "recent_ms", 0),
                                    .tokens = tl_json_num(j, "recent_tokens", 0),
                                    .cost_usd = tl_json_num(j, "recent_cost_usd", 0)};
    return err;
}

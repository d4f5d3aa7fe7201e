#include "server/run_options.h"

#include "base/err.h"
#include "base/json.h"

#include <string.h>

static bool read_bool(const json_t *body, const char *key, bool otherwise, struct tl_diag *diag)
{
    const json_t *v = json_object_get(body, key);
    if (v && !json_is_boolean(v)) {
        char path[32];
        snprintf(path, sizeof(path), "$.%s", key);
        tl_diag_add(diag, NULL, NULL, path, "must be true or false");
    }
    return v ? json_is_true(v) : otherwise;
}

static int read_priority(const json_t *body, struct tl_diag *diag)
{
    static const struct {
        const char *name;
        int priority;
    } names[] = {{"low", TL_PRIORITY_LOW}, {"usual", TL_PRIORITY_USUAL}, {"high", TL_PRIORITY_HIGH}};
    const char *name = tl_json_str(body, "priority");
    if (!json_object_get(body, "priority"))
        return TL_PRIORITY_USUAL;
    for (size_t i = 0; name && i < TL_ARRAY_LEN(names); i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].priority;
    tl_diag_add(diag, NULL, NULL, "$.priority", "must be low, usual or high");
    return TL_PRIORITY_USUAL;
}

/* A bound, more than 0 and at most max; 0 where there is none. */
static double read_bound(const json_t *budget, const char *key, bool whole, double max, struct tl_diag *diag)
{
    const json_t *v = json_object_get(budget, key);
    double n = json_number_value(v);
    char path[48];
    if (!v)
        return 0;
    if (json_is_number(v) && n > 0 && n <= max && (!whole || n == (double)(int64_t)n))
        return n;
    snprintf(path, sizeof(path), "$.budget.%s", key);
    tl_diag_add(diag, NULL, NULL, path, "must be a %snumber above 0 and at most %.15g", whole ? "whole " : "", max);
    return 0;
}

void tl_run_options_read(const json_t *body, struct tl_run_options *ret, struct tl_diag *diag)
{
    static const char *const bounds[] = {"cost_usd", "tokens", "seconds", NULL};
    const json_t *budget = json_object_get(body, "budget");
    *ret = (struct tl_run_options){.wait = !read_bool(body, "async_mode", true, diag),
                                   .dry = read_bool(body, "dry_run", false, diag),
                                   .priority = read_priority(body, diag)};
    if (!budget)
        return;
    if (!json_is_object(budget)) {
        tl_diag_add(diag, NULL, NULL, "$.budget", "must be an object with cost_usd, tokens, seconds");
        return;
    }
    tl_json_only_keys(budget, bounds, NULL, "$.budget", diag);
    ret->budget.cost_usd = read_bound(budget, "cost_usd", false, 1e9, diag);
    ret->budget.tokens = read_bound(budget, "tokens", true, 1e15, diag);
    ret->budget.seconds = read_bound(budget, "seconds", false, 1e9, diag);
    ret->bounded = ret->budget.cost_usd > 0 || ret->budget.tokens > 0 || ret->budget.seconds > 0;
}

void tl_run_options_reply_dry(struct tl_req *req, const struct tl_run_options *o, const struct tl_plan *plan,
                              const struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *answer = tl_diag_json(diag), *estimate = NULL;
    int err = plan ? tl_run_estimate(req->srv->conf.exec, req->claims.org, plan, &o->budget, &estimate) : 0;
    bool exceeded = err == TL_EBUDGET;
    if ((err < 0 && !exceeded) || !answer) {
        tl_reply_err(req, answer ? err : TL_ENOMEM, NULL);
        return;
    }
    json_object_set_new(answer, "ok", json_boolean(plan != NULL));
    if (estimate) {
        json_object_update(answer, estimate);
        json_object_set_new(answer, "budget_exceeded", json_boolean(exceeded));
    }
    tl_reply_json(req, 200, json_incref(answer));
}

int tl_run_options_apply(struct tl_req *req, const struct tl_run_options *o, struct tl_idem_run *run,
                         char **ret_refusal)
{
    TL_AUTO_JSON json_t *estimate = NULL;
    *ret_refusal = NULL;
    run->priority = o->priority;
    run->budget = (struct tl_budget){.cost_usd = o->budget.cost_usd, .tokens = (int64_t)o->budget.tokens};
    int err = o->bounded ? tl_run_estimate(req->srv->conf.exec, req->claims.org, run->plan, &o->budget, &estimate) : 0;
    if (err != TL_EBUDGET)
        return err;
    const char *message = tl_json_str(estimate, "message");
    *ret_refusal = tl_strdup(message ? message : tl_err_text(err));
    run->refusal = *ret_refusal;
    return run->refusal ? 0 : TL_ENOMEM;
}

#include "graph/policy.h"

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

enum { TIMEOUT_MS_MIN = 100, TIMEOUT_MS_MAX = 86400 * 1000, BACKOFF_MS_MAX = 3600 * 1000 };

/* The codes that a node may ask to be tried again on. RATE_LIMITED is the name of TL_ERATE everywhere else on the wire, so it is understood too. */
static const struct code {
    const char *name, *also;
    int err;
} codes[] = {
    {"TIMEOUT", NULL, TL_ETIMEOUT},           {"RATE_LIMIT", "RATE_LIMITED", TL_ERATE},
    {"TRANSIENT_IO", NULL, TL_ETRANSIENT_IO}, {"TRANSIENT_DB", NULL, TL_ETRANSIENT_DB},
    {"WORKER_CRASH", NULL, TL_EWORKER},       {"SCHEMA_INVALID", NULL, TL_ESCHEMA},
};
enum { ON_USUAL = 1 << 0 | 1 << 1 | 1 << 2 };

/* What an op does where its node says nothing. A node that only raises max_attempts gets the rest from here. */
#define USUAL(timeout, attempts, losses)                                                                               \
    {                                                                                                                  \
        .timeout_ms = (timeout), .max_attempts = (attempts), .retry_on = ON_USUAL, .backoff_ms = {500, 2000, 8000},    \
        .nbackoff = 3, .max_losses = (losses)                                                                          \
    }
static const struct tl_policy of_class[TL_CLASS_COUNT] = {
    [TL_CLASS_CPU] = USUAL(600 * 1000, 1, 0),
    [TL_CLASS_MEDIA] = USUAL(3600 * 1000, 1, TL_POLICY_LOSSES),
    [TL_CLASS_NET] = USUAL(120 * 1000, 3, 0),
};
/* What it holds has times of its own, and a person who is asked may take days. */
static const struct tl_policy of_composite = USUAL(0, 1, 0);

const struct tl_policy *tl_policy_of_op(const struct tl_op *op)
{
    return op->flags & TL_OP_COMPOSITE ? &of_composite : &of_class[tl_op_class(op)];
}

static uint32_t bit_of_err(int err)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(codes); i++)
        if (codes[i].err == err)
            return 1u << i;
    return 0;
}

static uint32_t bit_of_name(const char *name)
{
    for (size_t i = 0; name && i < TL_ARRAY_LEN(codes); i++)
        if (strcmp(codes[i].name, name) == 0 || (codes[i].also && strcmp(codes[i].also, name) == 0))
            return 1u << i;
    return 0;
}

struct reader {
    const char *node, *path;
    struct tl_diag *diag;
    struct tl_policy *policy;
};

static void problem(struct reader *r, const char *port, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void problem(struct reader *r, const char *port, const char *where, const char *fmt, ...)
{
    struct tl_str at = {0}, text = {0};
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&text, fmt, ap);
    va_end(ap);
    tl_str_printf(&at, "%s%s", r->path, where);
    if (at.err || text.err)
        r->diag->err = TL_ENOMEM;
    else
        tl_diag_add(r->diag, r->node, port, at.data, "%s", text.data);
    tl_str_clear(&at);
    tl_str_clear(&text);
}

static bool whole_between(const json_t *j, double min, double max)
{
    double v = json_number_value(j);
    return json_is_number(j) && v >= min && v <= max && floor(v) == v;
}

static void read_timeout(struct reader *r, const json_t *j)
{
    double ms = json_number_value(j) * 1000;
    if (!j)
        return;
    if (!json_is_number(j) || ms < TIMEOUT_MS_MIN || ms > TIMEOUT_MS_MAX)
        problem(r, NULL, ".timeout_sec", "timeout_sec must be a number of seconds between 0.1 and 86400");
    else
        r->policy->timeout_ms = (int64_t)llround(ms);
}

static void read_on(struct reader *r, const json_t *on)
{
    if (!on)
        return;
    if (!json_is_array(on))
        problem(r, NULL, ".retry.on", "on must be a list of error codes");
    r->policy->retry_on = 0;
    size_t i;
    json_t *j;
    json_array_foreach(on, i, j) {
        uint32_t bit = bit_of_name(json_string_value(j));
        char at[48];
        snprintf(at, sizeof(at), ".retry.on[%zu]", i);
        if (!bit)
            problem(r, NULL, at,
                    "must be one of \"TIMEOUT\", \"RATE_LIMIT\", \"TRANSIENT_IO\", \"TRANSIENT_DB\", "
                    "\"WORKER_CRASH\", \"SCHEMA_INVALID\"");
        r->policy->retry_on |= bit;
    }
}

static void read_backoff(struct reader *r, const json_t *list)
{
    if (!list)
        return;
    if (!json_is_array(list) || json_array_size(list) > TL_POLICY_BACKOFFS) {
        problem(r, NULL, ".retry.backoff_ms", "backoff_ms must be a list of at most %d times in milliseconds",
                TL_POLICY_BACKOFFS);
        return;
    }
    r->policy->nbackoff = (unsigned)json_array_size(list);
    for (size_t i = 0; i < r->policy->nbackoff; i++) {
        const json_t *j = json_array_get(list, i);
        char at[48];
        snprintf(at, sizeof(at), ".retry.backoff_ms[%zu]", i);
        if (whole_between(j, 0, BACKOFF_MS_MAX))
            r->policy->backoff_ms[i] = (uint32_t)json_number_value(j);
        else
            problem(r, NULL, at, "must be a whole number of milliseconds between 0 and %d", BACKOFF_MS_MAX);
    }
}

static void read_retry(struct reader *r, const json_t *retry)
{
    static const char *const keys[] = {"max_attempts", "on", "backoff_ms", NULL};
    if (!retry)
        return;
    if (!json_is_object(retry)) {
        problem(r, NULL, ".retry", "retry must be an object with max_attempts, on, backoff_ms");
        return;
    }
    struct tl_str at = {0};
    tl_str_printf(&at, "%s.retry", r->path);
    if (at.err)
        r->diag->err = TL_ENOMEM;
    else
        tl_json_only_keys(retry, keys, r->node, at.data, r->diag);
    tl_str_clear(&at);
    const json_t *attempts = json_object_get(retry, "max_attempts");
    if (attempts && !whole_between(attempts, 1, TL_POLICY_ATTEMPTS_MAX))
        problem(r, NULL, ".retry.max_attempts", "max_attempts must be a whole number between 1 and %d",
                TL_POLICY_ATTEMPTS_MAX);
    else if (attempts)
        r->policy->max_attempts = (unsigned)json_number_value(attempts);
    read_on(r, json_object_get(retry, "on"));
    read_backoff(r, json_object_get(retry, "backoff_ms"));
}

static void read_on_error(struct reader *r, const json_t *on_error, bool fallback)
{
    static const char *const names[] = {
        [TL_ON_ERROR_FAIL] = "fail", [TL_ON_ERROR_CONTINUE] = "continue", [TL_ON_ERROR_FALLBACK] = "fallback"};
    const char *name = json_string_value(on_error);
    size_t i = 0;
    while (on_error && i < TL_ARRAY_LEN(names) && (!name || strcmp(names[i], name) != 0))
        i++;
    if (i == TL_ARRAY_LEN(names)) {
        problem(r, NULL, ".on_error", "on_error must be \"fail\", \"continue\" or \"fallback\"");
        return;
    }
    r->policy->on_error = (enum tl_on_error)i;
    if (i == TL_ON_ERROR_FALLBACK && !fallback)
        problem(r, NULL, "", "on_error \"fallback\" needs a fallback with the outputs to be used");
    if (i != TL_ON_ERROR_FALLBACK && fallback)
        problem(r, NULL, ".fallback", "a fallback is used with on_error \"fallback\" only");
}

static void read_fallback(struct reader *r, const struct tl_port *const *out, uint32_t nout, json_t *fallback,
                          struct tl_value *values)
{
    const char *key;
    json_t *j;
    if (!json_is_object(fallback))
        problem(r, NULL, ".fallback", "fallback must be an object of output names and values");
    json_object_foreach(fallback, key, j) {
        uint32_t i = 0;
        while (i < nout && strcmp(out[i]->name, key) != 0)
            i++;
        struct tl_str at = {0};
        const char *why = NULL;
        tl_str_printf(&at, ".fallback.%s", key);
        if (at.err)
            r->diag->err = TL_ENOMEM;
        else if (i == nout)
            problem(r, key, at.data, "unknown output \"%s\"", key);
        else if (tl_value_from_json(out[i]->type, j, &values[i], &why) < 0)
            problem(r, key, at.data, "%s %s", key, why);
        else if (tl_type_is_media(values[i].type)) {
            /* As with the values of inputs: a hash is no right to a blob. */
            tl_value_clear(&values[i]);
            problem(r, key, at.data, "%s: a medium cannot be a fallback", key);
        }
        tl_str_clear(&at);
    }
}

int tl_policy_read(const struct tl_op *op, const struct tl_port *const *out, uint32_t nout, const json_t *json,
                   const char *node, const char *path, struct tl_arena *arena, const struct tl_policy **ret,
                   struct tl_diag *diag)
{
    static const char *const keys[] = {"timeout_sec", "retry", "on_error", "fallback", NULL};
    struct tl_diag own = {0}, *d = diag ? diag : &own;
    size_t before = d->count + d->dropped;
    *ret = tl_policy_of_op(op);
    if (!json)
        return 0;
    struct tl_policy *policy = tl_arena_alloc(arena, sizeof(*policy));
    struct tl_value *values = tl_arena_alloc(arena, (nout + 1) * sizeof(*values));
    if (!policy || !values)
        return TL_ENOMEM;
    *policy = **ret;
    struct reader r = {.node = node, .path = path, .diag = d, .policy = policy};
    if (!json_is_object(json))
        problem(&r, NULL, "", "policy must be an object with timeout_sec, retry, on_error, fallback");
    tl_json_only_keys(json, keys, node, path, d);
    json_t *fallback = json_object_get(json, "fallback");
    read_timeout(&r, json_object_get(json, "timeout_sec"));
    read_retry(&r, json_object_get(json, "retry"));
    read_on_error(&r, json_object_get(json, "on_error"), fallback != NULL);
    if (fallback) {
        policy->fallback = values;
        read_fallback(&r, out, nout, fallback, values);
    }
    int err = d->err ? d->err : d->count + d->dropped > before ? TL_EINVAL : 0;
    if (err)
        tl_policy_clear(policy, nout);
    else
        *ret = policy;
    tl_diag_clear(&own);
    return err;
}

void tl_policy_clear(const struct tl_policy *policy, uint32_t nout)
{
    for (uint32_t i = 0; policy && policy->fallback && i < nout; i++)
        tl_value_clear((struct tl_value *)(uintptr_t)&policy->fallback[i]);
}

/* Half to one and a half times the backoff, so that those who failed together do not come back together. */
static int64_t backoff(const struct tl_policy *policy, unsigned attempts, uint32_t random)
{
    if (!policy->nbackoff)
        return 0;
    unsigned i = attempts ? attempts - 1 : 0;
    uint64_t base = policy->backoff_ms[i < policy->nbackoff ? i : policy->nbackoff - 1];
    return (int64_t)(base / 2 + (base * random >> 32));
}

enum tl_after tl_policy_after(const struct tl_policy *policy, int err, unsigned attempts, unsigned losses,
                              uint32_t random, int64_t *ret_delay_ms)
{
    *ret_delay_ms = 0;
    if (err == TL_EWORKER && losses <= policy->max_losses)
        return TL_AFTER_RETRY;
    if (losses > policy->max_losses)
        attempts += losses - policy->max_losses;
    if (attempts < policy->max_attempts && (policy->retry_on & bit_of_err(err))) {
        *ret_delay_ms = backoff(policy, attempts, random);
        return TL_AFTER_RETRY;
    }
    /* A cancel and a spent budget are of the run, not of the node. */
    if (err == TL_ECANCELLED || err == TL_EBUDGET || policy->on_error == TL_ON_ERROR_FAIL)
        return TL_AFTER_FAIL;
    return policy->on_error == TL_ON_ERROR_CONTINUE ? TL_AFTER_CONTINUE : TL_AFTER_FALLBACK;
}

/* Sealed capsules over small ops, with a real store and executor: for the tests of the capsule node and of the doors.
 * Ops: pub.text (public), test.echo, test.const, test.fail, test.hold, test.model (private). */
#ifndef TL_TESTS_UNIT_CAPSULES_SEALED_H
#define TL_TESTS_UNIT_CAPSULES_SEALED_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/capsule.h"
#include "capsules/capsule_node.h"
#include "capsules/doors.h"
#include "capsules/sheet.h"
#include "graph/run.h"
#include "tests/unit/capsules/keys.h"

#include <pthread.h>

static struct {
    struct tl_exec *exec;
    struct tl_services services;
    struct tl_capsules *set;
    struct tl_locked *locked;
    struct {
        char *id, *version, *owner;
        struct tl_sealed sealed;
    } made[8];
    size_t nmade;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int ended, held, models, fetched;
    struct tl_op_ctx *hold;
} sx = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

/* ---- ops ---- */

static int echo_run(struct tl_op_ctx *ctx)
{
    const struct tl_value *v = tl_op_input(ctx, "value");
    return v ? tl_op_output(ctx, "value", tl_value_ref(v)) : 0;
}
static const struct tl_port echo_ports[] = {
    {"value", TL_T_ANY, 0, NULL}, {"value", TL_T_ANY, TL_PORT_OUT, NULL}, {NULL, 0, 0, NULL}};
static const struct tl_op op_echo = {
    .name = "test.echo", .revision = 1, .flags = TL_OP_PURE | TL_OP_PRIVATE, .ports = echo_ports, .run = echo_run};

static int const_run(struct tl_op_ctx *ctx)
{
    struct tl_value v;
    int err = tl_value_from_json(TL_T_ANY, tl_op_param(ctx, "value")->json, &v, NULL);
    return err ? err : tl_op_output(ctx, "value", v);
}
static const struct tl_param const_params[] = {{"value", TL_P_JSON, TL_PARAM_REQUIRED, 0, 0, 0, NULL, NULL, NULL},
                                               {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL}};
static const struct tl_port const_ports[] = {{"value", TL_T_ANY, TL_PORT_OUT, NULL}, {NULL, 0, 0, NULL}};
static const struct tl_op op_const = {.name = "test.const",
                                      .revision = 1,
                                      .flags = TL_OP_PURE | TL_OP_PRIVATE,
                                      .ports = const_ports,
                                      .params = const_params,
                                      .run = const_run};

static int fail_run(struct tl_op_ctx *ctx)
{
    return tl_op_fail(ctx, (int)tl_op_param_number(ctx, "code"), "%s", tl_op_param_text(ctx, "message"));
}
static const struct tl_param fail_params[] = {{"code", TL_P_NUMBER, TL_PARAM_REQUIRED, 0, 0, 0, NULL, NULL, NULL},
                                              {"message", TL_P_STRING, TL_PARAM_REQUIRED, 0, 0, 0, NULL, NULL, NULL},
                                              {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL}};
static const struct tl_op op_fail = {.name = "test.fail",
                                     .revision = 1,
                                     .flags = TL_OP_PRIVATE,
                                     .ports = echo_ports,
                                     .params = fail_params,
                                     .run = fail_run};

static void hold_cancel(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&sx.lock);
    bool mine = sx.hold == ctx;
    if (mine)
        sx.hold = NULL;
    pthread_mutex_unlock(&sx.lock);
    if (mine)
        tl_op_done(ctx, TL_ECANCELLED);
}
static int hold_run(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&sx.lock);
    sx.hold = ctx;
    sx.held++;
    tl_op_on_cancel(ctx, hold_cancel);
    pthread_cond_broadcast(&sx.cond);
    pthread_mutex_unlock(&sx.lock);
    return TL_OP_PENDING;
}
static const struct tl_op op_hold = {
    .name = "test.hold", .revision = 1, .flags = TL_OP_PRIVATE, .ports = echo_ports, .run = hold_run};

static int model_run(struct tl_op_ctx *ctx)
{
    struct tl_usage u = {.tokens_in = 320, .tokens_out = 180, .cost_usd = 0.08};
    tl_op_usage(ctx, &u);
    tl_op_impure(ctx);
    pthread_mutex_lock(&sx.lock);
    int n = ++sx.models;
    pthread_mutex_unlock(&sx.lock);
    return tl_op_output(ctx, "value", tl_value_take(TL_T_STRING, json_sprintf("answer %d", n)));
}
static const struct tl_op op_model = {
    .name = "test.model", .revision = 1, .flags = TL_OP_PRIVATE, .ports = const_ports, .run = model_run};

static int text_run(struct tl_op_ctx *ctx)
{
    return tl_op_output(ctx, "text", tl_value_ref(tl_op_param(ctx, "text")));
}
static const struct tl_param text_params[] = {{"text", TL_P_STRING, 0, 0, 0, 0, NULL, "\"\"", NULL},
                                              {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL}};
static const struct tl_port text_ports[] = {
    {"after", TL_T_ANY, TL_PORT_MULTI, NULL}, {"text", TL_T_STRING, TL_PORT_OUT, NULL}, {NULL, 0, 0, NULL}};
static const struct tl_op op_text = {.name = "pub.text",
                                     .revision = 1,
                                     .flags = TL_OP_PURE,
                                     .ports = text_ports,
                                     .params = text_params,
                                     .run = text_run};

static const struct tl_op *const sx_ops[] = {&tl_op_capsule, &op_text, &op_const, &op_echo,
                                             &op_fail,       &op_hold, &op_model};

/* In place of capsules/ops.c: a program's own definition comes before an archive's. */
const struct tl_op *tl_cap_find_op(void *unused, const char *name)
{
    (void)unused;
    for (size_t i = 0; i < TL_ARRAY_LEN(sx_ops); i++)
        if (strcmp(sx_ops[i]->name, name) == 0)
            return sx_ops[i];
    return NULL;
}

const struct tl_op *const *tl_cap_ops(size_t *ret_count)
{
    *ret_count = TL_ARRAY_LEN(sx_ops);
    return sx_ops;
}

/* ---- capsules ---- */

static int sx_fetch(void *arg, const uint8_t digest[TL_DIGEST_LEN], struct tl_capsule_bytes *ret)
{
    (void)arg;
    for (size_t i = 0; i < sx.nmade; i++)
        if (memcmp(sx.made[i].sealed.digest, digest, TL_DIGEST_LEN) == 0) {
            sx.fetched++;
            ret->blob = malloc(sx.made[i].sealed.len);
            ret->wrap = malloc(TL_WRAP_MAX);
            memcpy(ret->blob, sx.made[i].sealed.blob, ret->len = sx.made[i].sealed.len);
            memcpy(ret->wrap, sx.made[i].sealed.wrap, ret->wrap_len = sx.made[i].sealed.wrap_len);
            return 0;
        }
    return TL_ECAPSULE;
}

static int sx_open_capsule(void *arg, const char *org, const char *id, const char *version, struct tl_capsule **ret)
{
    (void)arg;
    for (size_t i = 0; i < sx.nmade; i++) {
        if (strcmp(sx.made[i].id, id) != 0 || strcmp(sx.made[i].version, version) != 0)
            continue;
        if (strcmp(sx.made[i].owner, org) != 0 && strcmp(sx.made[i].owner, TL_ORG_BUILTIN) != 0)
            break;
        struct tl_capsule_ref ref = {
            .id = {sx.made[i].owner, sx.made[i].id, sx.made[i].version, tl_keyring_author_public(keys_kr)}};
        memcpy(ref.digest, sx.made[i].sealed.digest, TL_DIGEST_LEN);
        return tl_capsules_open(sx.set, &ref, sx_fetch, NULL, ret);
    }
    return TL_ENOTFOUND;
}

static bool sx_has_capsule(void *arg, const char *org, const char *id)
{
    (void)arg;
    for (size_t i = 0; i < sx.nmade; i++)
        if (strcmp(sx.made[i].id, id) == 0 &&
            (strcmp(sx.made[i].owner, org) == 0 || strcmp(sx.made[i].owner, TL_ORG_BUILTIN) == 0))
            return true;
    return false;
}

static int sx_open_pattern(void *arg, const char *snapshot, const char *id, json_t **ret)
{
    (void)arg;
    (void)id;
    *ret = strcmp(snapshot, "v1") == 0 || strcmp(snapshot, "v2") == 0 ? json_object() : NULL;
    return *ret ? 0 : TL_ENOTFOUND;
}

static __attribute__((unused)) void sx_seal(const char *owner, const char *spec_text, const char *private_text)
{
    json_t *spec_json = NULL, *doc = NULL;
    struct tl_cap_spec *spec;
    struct tl_diag diag = {0};
    int err = tl_json_parse(spec_text, strlen(spec_text), &spec_json, &diag);
    if (!err)
        err = tl_json_parse(private_text, strlen(private_text), &doc, &diag);
    if (!err)
        err = tl_cap_spec_parse(spec_json, &spec, &diag);
    if (err)
        fail_msg("%s: %s", diag.items[0].path, diag.items[0].message);
    size_t len, i = sx.nmade++;
    char *plain = tl_capsule_plain(spec_json, doc, &len);
    sx.made[i].id = tl_strdup(spec->id);
    sx.made[i].version = tl_strdup(spec->version);
    sx.made[i].owner = tl_strdup(owner);
    struct tl_seal_id id = {owner, spec->id, spec->version, tl_keyring_author_public(keys_kr)};
    assert_int_equal(
        tl_seal(keys_kr, &id, tl_keyring_author_secret(keys_kr), plain, len, sx.locked, &sx.made[i].sealed), 0);
    tl_wipe_free(plain, len);
    tl_cap_spec_free(spec);
    json_decref(spec_json);
    json_decref(doc);
}

/* ---- the executor ---- */

static void sx_notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)arg, (void)run, (void)seq;
    pthread_mutex_lock(&sx.lock);
    sx.ended += ended;
    pthread_cond_broadcast(&sx.cond);
    pthread_mutex_unlock(&sx.lock);
}

static void sx_start_exec(void)
{
    struct tl_exec_conf conf = {.threads = 2,
                                .db = keys_db,
                                .services = &sx.services,
                                .replan = tl_cap_replan,
                                .cache_key = tl_cap_cache_key,
                                .complete = tl_cap_complete,
                                .notify = sx_notify,
                                .hot_max = 1, /* results come from the table */
                                .arg = &sx.services};
    sx.services = (struct tl_services){.db = keys_db,
                                       .keyring = keys_kr,
                                       .open_capsule = sx_open_capsule,
                                       .has_capsule = sx_has_capsule,
                                       .open_pattern = sx_open_pattern};
    assert_int_equal(tl_capsules_new(keys_kr, 4, &sx.set), 0);
    assert_int_equal(tl_exec_new(&conf, &sx.exec), 0);
}

static void sx_stop_exec(void)
{
    tl_exec_free(sx.exec);
    tl_capsules_free(sx.set);
}

static int sx_setup(void **state)
{
    if (keys_setup(state) || tl_locked_new(&sx.locked))
        return -1;
    sx.ended = sx.held = sx.models = sx.fetched = 0;
    sx.hold = NULL;
    sx_start_exec();
    return 0;
}

static int sx_teardown(void **state)
{
    sx_stop_exec();
    tl_locked_free(sx.locked);
    for (size_t i = 0; i < sx.nmade; i++) {
        free(sx.made[i].id);
        free(sx.made[i].version);
        free(sx.made[i].owner);
        tl_sealed_clear(&sx.made[i].sealed);
    }
    sx.nmade = 0;
    return keys_teardown(state);
}

static __attribute__((unused)) void sx_wait(const int *what, int count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&sx.lock);
    while (*what < count)
        if (pthread_cond_timedwait(&sx.cond, &sx.lock, &until) != 0)
            break;
    bool got = *what >= count;
    pthread_mutex_unlock(&sx.lock);
    assert_true(got);
}

/* Starts a call from a request body; waits for its end. Returns the run's record, owned. */
static __attribute__((unused)) struct tl_id sx_start(const char *org, const char *body_text, json_t *canvas, bool admin)
{
    TL_AUTO_JSON json_t *body = NULL, *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    struct tl_id id;
    assert_int_equal(tl_json_parse(body_text, strlen(body_text), &body, NULL), 0);
    int err = tl_cap_call_plan(&sx.services, org, body, canvas, admin, &doc, &meta, &plan, &diag);
    if (err)
        fail_msg("%d %s: %s", err, diag.count ? diag.items[0].path : "", diag.count ? diag.items[0].message : "");
    struct tl_run_req req = {
        .org = org, .sub = "tester", .kind = TL_KIND_CAPSULE, .doc = doc, .plan = plan, .meta = meta};
    assert_int_equal(tl_run_start_wait(sx.exec, &req, &id), 0);
    tl_plan_unref(plan);
    return id;
}

static __attribute__((unused)) json_t *sx_record(const char *org, const struct tl_id *id)
{
    json_t *record = NULL;
    assert_int_equal(tl_run_get(keys_db, org, id, &record), 0);
    return record;
}

static __attribute__((unused)) json_t *sx_call(const char *org, const char *body, json_t *canvas)
{
    int before = sx.ended;
    struct tl_id id = sx_start(org, body, canvas, false);
    sx_wait(&sx.ended, before + 1);
    return sx_record(org, &id);
}

static int sx_append_event(void *arg, uint64_t seq, const char *json, size_t len)
{
    (void)seq;
    json_t *e;
    assert_int_equal(tl_json_parse(json, len, &e, NULL), 0);
    json_array_append_new(arg, e);
    return 0;
}

static __attribute__((unused)) json_t *sx_events(const struct tl_id *id)
{
    json_t *list = json_array();
    assert_int_equal(tl_events_read(keys_db, id, 0, sx_append_event, list), 0);
    return list;
}

static __attribute__((unused)) uint64_t sx_rows(const char *org)
{
    uint64_t n = 0;
    json_t *row = NULL;
    while (tl_sheet_row(keys_db, org, TL_SHEET_DERIVED, n + 1, &row) == 0) {
        json_decref(row);
        n++;
    }
    return n;
}

/* A spec with inputs, outputs and parameters as given (JSON texts without braces). */
#define SX_SPEC(id, contracts, inputs, outputs, params)                                                                \
    "{\"id\":\"" id "\",\"version\":\"1.0.0\",\"displayName\":\"x\",\"patternVersion\":\"v1\",\"inputContracts\":{"    \
    "\"required\":[]" contracts "},"                                                                                   \
    "\"outputContracts\":{\"types\":[\"string\",\"json\",\"string[]\",\"number\"]},\"inputs\":{" inputs                \
    "},\"outputs\":{" outputs "},"                                                                                     \
    "\"exposedParams\":{" params "},\"policy\":{\"evidence\":\"summary_only\",\"allowRawLogs\":false},"                \
    "\"adapter\":{\"type\":\"internal\",\"internalGraphRef\":\"private-dag://CANARY-ref\"}}"

#endif

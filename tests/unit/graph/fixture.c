#include "tests/unit/graph/fixture.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "graph/control/control.h"
#include "graph/op_ctx.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct fx fx;

static void counted(void)
{
    pthread_mutex_lock(&fx.lock);
    fx.calls++;
    pthread_mutex_unlock(&fx.lock);
}

static int run_number(struct tl_op_ctx *ctx)
{
    return tl_op_output_number(ctx, "value", tl_op_param_number(ctx, "value"));
}
static const struct tl_port number_ports[] = {{"value", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static const struct tl_param number_params[] = {
    {.name = "value", .type = TL_P_NUMBER, .min = -1000, .max = 1000, .step = 0.5, .default_json = "0"},
    {.name = "secret", .type = TL_P_BOOLEAN, .flags = TL_PARAM_ADMIN, .default_json = "false"},
    {0}};
static const struct tl_op op_number = {.name = "number",
                                       .revision = 1,
                                       .flags = TL_OP_PURE,
                                       .ports = number_ports,
                                       .params = number_params,
                                       .run = run_number};

static int run_add(struct tl_op_ctx *ctx)
{
    counted();
    return tl_op_output_number(ctx, "sum", tl_op_input_number(ctx, "a", 0) + tl_op_input_number(ctx, "b", 0));
}
static const struct tl_port add_ports[] = {{"a", TL_T_NUMBER, TL_PORT_REQUIRED, NULL},
                                           {"b", TL_T_NUMBER, 0, NULL},
                                           {"sum", TL_T_NUMBER, TL_PORT_OUT, NULL},
                                           {0}};
static const struct tl_op op_add = {
    .name = "add", .revision = 1, .flags = TL_OP_PURE, .ports = add_ports, .run = run_add};

static int run_total(struct tl_op_ctx *ctx)
{
    double sum = 0;
    size_t i;
    json_t *v;
    json_array_foreach(tl_op_input_json(ctx, "all"), i, v)
        sum += json_number_value(v);
    return tl_op_output_number(ctx, "sum", sum);
}
static const struct tl_port total_ports[] = {
    {"all", TL_T_NUMBER, TL_PORT_MULTI | TL_PORT_REQUIRED, NULL}, {"sum", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static const struct tl_op op_total = {
    .name = "total", .revision = 1, .flags = TL_OP_PURE, .ports = total_ports, .run = run_total};

static int run_fail(struct tl_op_ctx *ctx)
{
    return tl_op_fail(ctx, TL_EMEDIA, "nothing can be made of this");
}
static const struct tl_port pass_ports[] = {{"in", TL_T_ANY, 0, NULL}, {"out", TL_T_ANY, TL_PORT_OUT, NULL}, {0}};
static const struct tl_op op_fail = {.name = "fail", .revision = 1, .ports = pass_ports, .run = run_fail};

/* Waits until the test ends it, or until it is cancelled. */
static void cancel_hold(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&fx.lock);
    bool mine = fx.held == ctx;
    if (mine)
        fx.held = NULL;
    pthread_mutex_unlock(&fx.lock);
    if (mine)
        tl_op_done(ctx, TL_ECANCELLED);
}
static int run_hold(struct tl_op_ctx *ctx)
{
    tl_op_on_cancel(ctx, cancel_hold);
    pthread_mutex_lock(&fx.lock);
    fx.held = ctx;
    pthread_cond_broadcast(&fx.cond);
    pthread_mutex_unlock(&fx.lock);
    return TL_OP_PENDING;
}
static const struct tl_op op_hold = {.name = "hold", .revision = 1, .ports = pass_ports, .run = run_hold};

static int run_impure(struct tl_op_ctx *ctx)
{
    counted();
    tl_op_impure(ctx);
    tl_op_usage(ctx, &(struct tl_usage){.tokens_in = 3, .tokens_out = 2, .cost_usd = 0.5});
    return tl_op_output_number(ctx, "value", 7);
}
static const struct tl_op op_impure = {.name = "impure",
                                       .revision = 1,
                                       .flags = TL_OP_PURE,
                                       .ports = number_ports,
                                       .params = number_params,
                                       .run = run_impure};

/* Asks somebody else: x + 1. */
static int run_remote(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&fx.lock);
    fx.remote_calls++;
    pthread_mutex_unlock(&fx.lock);
    tl_op_impure(ctx);
    tl_op_usage(ctx, &(struct tl_usage){.tokens_in = 10, .tokens_out = 1});
    return tl_op_output_number(ctx, "y", tl_op_input_number(ctx, "x", 0) + 1);
}
static const struct tl_port remote_ports[] = {{"x", TL_T_NUMBER, 0, NULL}, {"y", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static const struct tl_op op_remote = {
    .name = "remote", .revision = 1, .flags = TL_OP_NET, .ports = remote_ports, .run = run_remote};

static int run_upstream(struct tl_op_ctx *ctx)
{
    return tl_op_output_json(ctx, "seen", tl_op_upstream(ctx, tl_op_param_bool(ctx, "sequential")));
}
static const struct tl_port upstream_ports[] = {{"in", TL_T_ANY, 0, NULL}, {"seen", TL_T_JSON, TL_PORT_OUT, NULL}, {0}};
static const struct tl_param upstream_params[] = {{.name = "sequential", .type = TL_P_BOOLEAN, .default_json = "false"},
                                                  {0}};
static const struct tl_op op_upstream = {.name = "upstream",
                                         .revision = 1,
                                         .flags = TL_OP_PURE | TL_OP_UPSTREAM,
                                         .ports = upstream_ports,
                                         .params = upstream_params,
                                         .run = run_upstream};

/* Reaches outside, as often as the test says without knowing what became of it. */
static int run_send(struct tl_op_ctx *ctx)
{
    pthread_mutex_lock(&fx.lock);
    bool lost = fx.lost > 0 && fx.lost--;
    fx.calls++;
    pthread_mutex_unlock(&fx.lock);
    if (lost || tl_op_interrupted(ctx))
        return tl_op_fail(ctx, TL_EUNKNOWN, "the connection was lost");
    return tl_op_output_number(ctx, "value", 1);
}
static const struct tl_op op_send = {.name = "send",
                                     .revision = 1,
                                     .flags = TL_OP_EFFECT,
                                     .ports = number_ports,
                                     .params = number_params,
                                     .run = run_send};

/* Runs the graph in data.body with its input x, gives its output y. */
static const struct tl_port body_in[] = {{"x", TL_T_NUMBER, 0, NULL}, {0}};
static const struct tl_port body_out[] = {{"y", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static const struct tl_graph_env body_env = {
    .find_op = fx_find_op, .allow_private = true, .in = body_in, .out = body_out};

static int shape_nest(const struct tl_shape_req *req, struct tl_shape *ret)
{
    (void)req;
    (void)ret;
    return 0;
}
static void nest_done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *r)
{
    (void)arg;
    int err = r->err;
    if (!err)
        err = tl_op_output(ctx, "y", tl_value_ref(&r->outputs[0]));
    else
        tl_op_fail(ctx, err, "inside: %s", r->message ? r->message : "");
    tl_op_usage(ctx, &r->usage);
    tl_op_done(ctx, err);
}
static void nest_step(void *arg, const struct tl_plan_node *node, uint32_t done, uint32_t total)
{
    (void)node;
    tl_op_progress(arg, (double)done / total, "inside");
}
static int run_nest(struct tl_op_ctx *ctx)
{
    struct tl_plan *plan;
    int err = tl_plan_json(json_object_get(tl_op_node(ctx)->data, "body"), &body_env, NULL, 0, &plan, NULL);
    if (err)
        return err;
    struct tl_value x = tl_value_number(tl_op_input_number(ctx, "x", 0));
    const struct tl_nest nest = {.plan = plan, .inputs = &x, .arg = ctx, .step = nest_step, .done = nest_done};
    err = tl_op_nest(ctx, &nest);
    tl_plan_unref(plan);
    return err ? err : TL_OP_PENDING;
}
static const struct tl_port nest_ports[] = {{"x", TL_T_NUMBER, 0, NULL}, {"y", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static const char *const nest_keys[] = {"body", NULL};
static const struct tl_op op_nest = {.name = "nest",
                                     .revision = 1,
                                     .flags = TL_OP_PURE,
                                     .ports = nest_ports,
                                     .data_keys = nest_keys,
                                     .shape = shape_nest,
                                     .run = run_nest};

static const struct tl_port clip_ports[] = {{"clip", TL_T_VIDEO, TL_PORT_REQUIRED, NULL}, {0}};
static const struct tl_op op_clip = {.name = "clip", .revision = 1, .ports = clip_ports, .run = run_number};

/* A clip and a still whose hashes are made of a number; a clip made of another. */
static struct tl_value medium(const char *kind, int number)
{
    char sha256[65], name[32];
    snprintf(sha256, sizeof(sha256), "%064x", number);
    snprintf(name, sizeof(name), "take %d", number);
    struct tl_value v = {.type = TL_T_ANY};
    enum tl_type type;
    json_t *j = tl_media_json(kind, sha256, "application/octet-stream", 1, name);
    return tl_type_parse(kind, &type) ? tl_value_take(type, j) : v;
}
static int run_film(struct tl_op_ctx *ctx)
{
    int take = (int)tl_op_param_number(ctx, "value"), err = tl_op_output(ctx, "clip", medium("video", take));
    return err ? err : tl_op_output(ctx, "still", medium("image", take));
}
static const struct tl_port film_ports[] = {
    {"clip", TL_T_VIDEO, TL_PORT_OUT, NULL}, {"still", TL_T_IMAGE, TL_PORT_OUT, NULL}, {0}};
static const struct tl_op op_film = {.name = "film",
                                     .revision = 1,
                                     .flags = TL_OP_PURE,
                                     .ports = film_ports,
                                     .params = number_params,
                                     .run = run_film};
static int run_trim(struct tl_op_ctx *ctx)
{
    int take = (int)strtol(tl_value_sha256(tl_op_input(ctx, "clip")), NULL, 16);
    counted();
    int err = tl_op_output(ctx, "clip", medium("video", take + 100));
    return err ? err : tl_op_output_number(ctx, "take", take);
}
static const struct tl_port trim_ports[] = {{"clip", TL_T_VIDEO, TL_PORT_REQUIRED, NULL},
                                            {"clip", TL_T_VIDEO, TL_PORT_OUT, NULL},
                                            {"take", TL_T_NUMBER, TL_PORT_OUT, NULL},
                                            {0}};
static const struct tl_op op_trim = {
    .name = "trim", .revision = 1, .flags = TL_OP_PURE, .ports = trim_ports, .run = run_trim};
static const struct tl_op op_hidden = {.name = "hidden",
                                       .revision = 1,
                                       .flags = TL_OP_PRIVATE,
                                       .ports = number_ports,
                                       .params = number_params,
                                       .run = run_number};

static const struct tl_op *const ops[] = {&op_number, &op_add,      &op_total, &op_fail, &op_hold,
                                          &op_impure, &op_send, &op_upstream, &op_nest,  &op_clip, &op_hidden, &op_remote,
                                          &op_film,   &op_trim};

const struct tl_op *fx_find_op(void *arg, const char *name)
{
    (void)arg;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    size_t n;
    const struct tl_op *const *control = tl_control_ops(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(control[i]->name, name) == 0)
            return control[i];
    return NULL;
}

const struct tl_graph_env fx_env = {.find_op = fx_find_op};

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)arg;
    (void)run;
    pthread_mutex_lock(&fx.lock);
    fx.seen = seq;
    fx.published++;
    fx.ended += ended;
    pthread_cond_broadcast(&fx.cond);
    pthread_mutex_unlock(&fx.lock);
}

static int replan(void *arg, const char *org, const char *kind, json_t *graph, struct tl_plan **ret,
                  struct tl_diag *diag)
{
    (void)arg;
    (void)org;
    (void)kind;
    return tl_plan_json(graph, &fx_env, NULL, 0, ret, diag);
}

static int complete(void *arg, const struct tl_run *run, struct tl_str *payload)
{
    struct tl_usage usage;
    int64_t ms;
    (void)arg;
    tl_run_usage(run, &usage, &ms);
    tl_str_printf(payload, "{\"tokens\":%lld}", (long long)(usage.tokens_in + usage.tokens_out));
    return 0;
}

static int64_t wall_ms(void *arg)
{
    (void)arg;
    return tl_now_ms() + fx.ahead_ms;
}

static int64_t mono_us(void *arg)
{
    (void)arg;
    return tl_mono_us() + 1000 * fx.ahead_ms;
}

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn;
    (void)arg;
    return 0;
}

/* What a commit sets off is seen after the next one; a commit that it submits, after the one behind that. */
void fx_drive(void)
{
    for (int calm = 0; calm < 4; calm++) {
        while (tl_exec_step(fx.exec))
            calm = 0;
        assert_int_equal(tl_db_update(fx.db, nothing, NULL), 0);
    }
}

void fx_restart(void)
{
    assert_int_equal(tl_db_open(fx.dir, TL_DB_CREATE, &fx.db), 0);
    struct tl_exec_conf conf = fx.conf;
    conf.threads = 2;
    conf.manual = fx.manual;
    conf.env = (struct tl_exec_env){.wall_ms = wall_ms, .mono_us = mono_us};
    conf.db = fx.db;
    conf.replan = fx.conf.replan ? fx.conf.replan : replan;
    conf.complete = complete;
    conf.notify = notify;
    assert_int_equal(tl_exec_new(&conf, &fx.exec), 0);
}

void fx_open(void)
{
    assert_int_equal(tl_hash_init(), 0);
    memset(&fx, 0, sizeof(fx));
    pthread_mutex_init(&fx.lock, NULL);
    pthread_cond_init(&fx.cond, NULL);
    strcpy(fx.dir, "/tmp/talos-graph-XXXXXX");
    assert_non_null(mkdtemp(fx.dir));
    fx_restart();
}

void fx_crash(void)
{
    tl_exec_free(fx.exec);
    tl_db_close(fx.db);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

void fx_close(void)
{
    fx_crash();
    nftw(fx.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

json_t *fx_json(const char *text)
{
    json_t *j = NULL;
    assert_int_equal(tl_json_parse(text, strlen(text), &j, NULL), 0);
    return j;
}

struct tl_plan *fx_plan(json_t *graph)
{
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    int err = replan(NULL, NULL, NULL, graph, &plan, &diag);
    if (err)
        print_error("%s: %s\n", diag.items ? diag.items[0].path : "", diag.items ? diag.items[0].message : "");
    assert_int_equal(err, 0);
    return plan;
}

struct tl_id fx_start(const char *graph)
{
    TL_AUTO_JSON json_t *j = fx_json(graph);
    TL_AUTO_JSON json_t *meta = fx_json("{\"canvas_id\":\"c1\"}");
    struct tl_plan *plan = fx_plan(j);
    struct tl_run_req req = {.org = "studio", .sub = "kim", .kind = "canvas", .doc = j, .plan = plan, .meta = meta};
    struct tl_id id;
    assert_int_equal(tl_run_start_wait(fx.exec, &req, &id), 0);
    tl_plan_unref(plan);
    return id;
}

void fx_wait_ended(int count)
{
    pthread_mutex_lock(&fx.lock);
    while (fx.ended < count)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
}

struct tl_op_ctx *fx_wait_held(void)
{
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    struct tl_op_ctx *ctx = fx.held;
    fx.held = NULL;
    pthread_mutex_unlock(&fx.lock);
    return ctx;
}

static int add_event(void *arg, uint64_t seq, const char *json, size_t len)
{
    json_t *e = NULL;
    assert_int_equal(tl_json_parse(json, len, &e, NULL), 0);
    assert_int_equal(tl_json_int(e, "seq", 0), seq);
    json_array_append_new(arg, e);
    return 0;
}

json_t *fx_events(const struct tl_id *id)
{
    json_t *all = json_array();
    assert_int_equal(tl_events_read(fx.db, id, 0, add_event, all), 0);
    for (size_t i = 0; i < json_array_size(all); i++)
        assert_int_equal(tl_json_int(json_array_get(all, i), "seq", 0), i + 1);
    return all;
}

json_t *fx_record(const struct tl_id *id)
{
    json_t *r = NULL;
    assert_int_equal(tl_run_get(fx.db, "studio", id, &r), 0);
    return r;
}

json_t *fx_output(json_t *events, const char *node, const char *port)
{
    size_t i, k;
    json_t *e, *r;
    json_array_foreach(events, i, e) {
        json_array_foreach(json_object_get(json_object_get(e, "payload"), "results"), k, r) {
            if (strcmp(tl_json_str(r, "node"), node) == 0)
                return json_object_get(json_object_get(r, "outputs"), port);
        }
    }
    return NULL;
}

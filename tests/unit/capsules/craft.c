#include "tests/unit/capsules/craft.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/op_ctx.h"
#include "tests/unit/store/tmp.h"

#include <pthread.h>

const char *const craft_auteurs[] = {"bong-joon-ho",   "hong-sangsoo", "lee-junho", "na-hongjin",
                                     "park-chan-wook", "shinkai",      NULL};

enum { PORTS_MAX = 24, AUTEURS = 6 };

struct tl_services craft_services;

static struct {
    struct tl_db *db;
    struct tl_exec *exec;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned ended, started;
    json_t *outputs; /* of the last run */
    int err;
    json_t *patterns;
    struct auteur {
        json_t *spec;
        struct tl_plan *plan;
        struct tl_port in[PORTS_MAX];
        size_t nin;
    } auteur[AUTEURS];
} t = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

json_t *craft_json(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    return j;
}

json_t *craft_file(const char *path)
{
    json_t *j = NULL;
    struct tl_diag diag = {0};
    int err = tl_json_load(path, TL_JSON_MAX_GRAPH, &j, &diag);
    if (err)
        print_error("%s: %s\n", path, diag.count ? diag.items[0].message : tl_err_text(err));
    assert_int_equal(err, 0);
    tl_diag_clear(&diag);
    return j;
}

static int open_pattern(void *arg, const char *snapshot, const char *id, json_t **ret)
{
    (void)arg;
    size_t i;
    json_t *one;
    if (strcmp(snapshot, tl_json_str(t.patterns, "snapshot")) != 0)
        return TL_ENOTFOUND;
    json_array_foreach(json_object_get(t.patterns, "patterns"), i, one) {
        if (strcmp(tl_json_str(one, "id"), id) == 0) {
            *ret = json_incref(one);
            return 0;
        }
    }
    return TL_ENOTFOUND;
}

/* ---- a model that answers ---- */

static json_t *answer; /* of the model; NULL: none is configured */

static int ask_run(struct tl_op_ctx *ctx)
{
    int err = tl_op_output(ctx, "used_model", tl_value_bool(true));
    tl_op_impure(ctx);
    return err ? err : tl_op_output(ctx, "result", tl_value_take(TL_T_JSON, json_incref(answer)));
}

static const struct tl_op *find_private(void *arg, const char *name)
{
    static struct tl_op ask;
    if (!answer || strcmp(name, "llm.chat") != 0)
        return tl_cap_find_op(arg, name);
    ask = *tl_cap_find_op(NULL, name);
    ask.run = ask_run;
    return &ask;
}

/* ---- the op that stands for a capsule node ---- */

static const struct tl_port outer_ports[] = {{"outputs", TL_T_JSON, TL_PORT_OUT, NULL}, {0}};
static const struct tl_port private_out[] = {{"style_vector", TL_T_FLOATS, 0, NULL},
                                             {"palette", TL_T_STRINGS, 0, NULL},
                                             {"composition_hints", TL_T_STRINGS, 0, NULL},
                                             {"pacing_hints", TL_T_STRINGS, 0, NULL},
                                             {"evidence_refs", TL_T_STRINGS, 0, NULL},
                                             {"synapse_rule_ref", TL_T_STRING, 0, NULL},
                                             {0}};

static int outer_shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    (void)req;
    (void)ret;
    return 0;
}

static void outer_done(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *r)
{
    (void)arg;
    int err = r->err;
    if (err) {
        tl_op_fail(ctx, err, "inside: %s", r->message ? r->message : "");
    } else {
        json_t *all = json_object();
        for (size_t i = 0; private_out[i].name; i++)
            json_object_set_new(all, private_out[i].name, tl_value_json(&r->outputs[i]));
        err = tl_op_output_json(ctx, "outputs", all);
    }
    tl_op_done(ctx, err);
}

static int fill(const struct auteur *a, const json_t *data, struct tl_value *inputs)
{
    for (size_t i = 0; i < a->nin; i++) {
        const char *name = a->in[i].name, *param = strncmp(name, "param.", 6) == 0 ? name + 6 : NULL;
        json_t *v = json_object_get(json_object_get(data, param ? "set" : "given"), param ? param : name);
        if (!v && param)
            v = json_object_get(json_object_get(json_object_get(a->spec, "exposedParams"), param), "default");
        if (!v && strcmp(name, "pattern_version") == 0)
            v = json_object_get(a->spec, "patternVersion");
        const char *why = NULL;
        int err = v ? tl_value_from_json(a->in[i].type, v, &inputs[i], &why) : 0;
        if (err)
            return err;
    }
    return 0;
}

static int outer_run(struct tl_op_ctx *ctx)
{
    const json_t *data = tl_op_node(ctx)->data;
    const struct auteur *a = &t.auteur[tl_json_int(data, "auteur", 0)];
    struct tl_value inputs[PORTS_MAX] = {0};
    const struct tl_nest nest = {.plan = a->plan, .inputs = inputs, .done = outer_done};
    int err = fill(a, data, inputs);
    if (!err)
        err = tl_op_nest(ctx, &nest);
    for (size_t i = 0; i < a->nin; i++)
        tl_value_clear(&inputs[i]);
    return err ? err : TL_OP_PENDING;
}

static const char *const outer_keys[] = {"auteur", "given", "set", NULL};
static const struct tl_op outer = {.name = "test.capsule",
                                   .revision = 1,
                                   .ports = outer_ports,
                                   .data_keys = outer_keys,
                                   .shape = outer_shape,
                                   .run = outer_run};

static const struct tl_op *find_op(void *arg, const char *name)
{
    return strcmp(name, outer.name) == 0 ? &outer : tl_cap_find_op(arg, name);
}

/* ---- private graphs ---- */

static size_t ports_of(const json_t *spec, struct tl_port *in)
{
    const char *name;
    json_t *one;
    size_t n = 0;
    json_object_foreach(json_object_get(spec, "inputs"), name, one) {
        in[n].name = name;
        assert_true(tl_type_parse(tl_json_str(one, "type"), &in[n++].type));
    }
    json_object_foreach(json_object_get(spec, "exposedParams"), name, one) {
        char *full = NULL;
        assert_true(asprintf(&full, "param.%s", name) > 0);
        in[n++] = (struct tl_port){.name = full,
                                   .type = strcmp(tl_json_str(one, "type"), "number") == 0 ? TL_T_NUMBER : TL_T_STRING};
    }
    in[n++] = (struct tl_port){.name = "upstream_context", .type = TL_T_JSON};
    in[n++] = (struct tl_port){.name = "pattern_version", .type = TL_T_STRING};
    assert_true(n < PORTS_MAX);
    return n;
}

static void free_ports(struct tl_port *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(in[i].name, "param.", 6) == 0)
            free((char *)(uintptr_t)in[i].name);
    }
}

static int plan_with(const struct tl_port *in, json_t *private_doc, struct tl_plan **ret, struct tl_diag *diag)
{
    static struct tl_cap_env scope;
    scope = (struct tl_cap_env){.services = &craft_services, .org = "talos", .nesting = 1};
    struct tl_graph_env env = {
        .find_op = find_private, .arg = &scope, .allow_private = true, .in = in, .out = private_out};
    return tl_plan_json(private_doc, &env, NULL, 0, ret, diag);
}

int craft_plan_private(const json_t *spec, json_t *private_doc, struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_port in[PORTS_MAX] = {0};
    size_t n = ports_of(spec, in);
    int err = plan_with(in, private_doc, ret, diag);
    free_ports(in, n);
    return err;
}

static void load_auteur(struct auteur *a, const char *folder)
{
    char path[128];
    snprintf(path, sizeof(path), "catalog/auteur/%s/spec.json", folder);
    a->spec = craft_file(path);
    a->nin = ports_of(a->spec, a->in);
    snprintf(path, sizeof(path), "catalog/auteur/%s/private.json", folder);
    json_t *doc = craft_file(path);
    struct tl_diag diag = {0};
    int err = plan_with(a->in, doc, &a->plan, &diag);
    for (size_t i = 0; i < diag.count; i++)
        print_error("%s: %s %s: %s\n", path, diag.items[i].node, diag.items[i].path, diag.items[i].message);
    assert_int_equal(err, 0);
    tl_diag_clear(&diag);
    json_decref(doc);
}

/* ---- running ---- */

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)arg, (void)run, (void)seq;
    pthread_mutex_lock(&t.lock);
    t.ended += ended;
    pthread_cond_broadcast(&t.cond);
    pthread_mutex_unlock(&t.lock);
}

/* Called for runs that succeed: takes the outputs of the node "n". */
static int complete(void *arg, const struct tl_run *run, struct tl_str *payload)
{
    (void)arg, (void)payload;
    const struct tl_plan *plan = tl_run_plan(run);
    const struct tl_plan_node *n = &plan->nodes[tl_plan_find(plan, "n")];
    json_t *all = json_object();
    for (uint32_t i = 0; i < n->nout; i++) {
        const struct tl_value *v = tl_run_output(run, "n", n->out[i]->name);
        if (!tl_value_none(v))
            json_object_set_new(all, n->out[i]->name, tl_value_json(v));
    }
    pthread_mutex_lock(&t.lock);
    json_decref(t.outputs);
    t.outputs = all;
    pthread_mutex_unlock(&t.lock);
    return 0;
}

static json_t *run_node(json_t *node, int *ret_err)
{
    struct tl_cap_env scope = {.services = &craft_services, .org = "org"};
    struct tl_graph_env env = {.find_op = find_op, .arg = &scope, .allow_private = true};
    struct tl_diag diag = {0};
    struct tl_plan *plan = NULL;
    json_t *graph = json_pack("{s:[o],s:[]}", "nodes", node, "edges");
    assert_non_null(graph);
    int err = tl_plan_json(graph, &env, NULL, 0, &plan, &diag);
    json_t *outputs = NULL;
    if (!err) {
        json_t *stored = json_pack("{s:O}", "graph", graph);
        struct tl_run_req req = {.org = "org", .sub = "tester", .kind = "canvas", .doc = stored, .plan = plan};
        struct tl_id id;
        json_decref(t.outputs);
        t.outputs = NULL;
        assert_int_equal(tl_run_start_wait(t.exec, &req, &id), 0);
        pthread_mutex_lock(&t.lock);
        t.started++;
        while (t.ended < t.started)
            pthread_cond_wait(&t.cond, &t.lock);
        outputs = json_incref(t.outputs);
        pthread_mutex_unlock(&t.lock);
        json_decref(stored);
        if (!outputs) {
            json_t *record = NULL;
            assert_int_equal(tl_run_get(t.db, "org", &id, &record), 0);
            const json_t *error = json_object_get(json_object_get(record, "result"), "error");
            err = tl_err_from_code(tl_json_str(error, "code") ? tl_json_str(error, "code") : "");
            if (!ret_err)
                print_error("%s\n", json_dumps(record, JSON_INDENT(1)));
            json_decref(record);
        }
    } else if (!ret_err) {
        for (size_t i = 0; i < diag.count; i++)
            print_error("%s: %s\n", diag.items[i].path, diag.items[i].message);
    }
    tl_plan_unref(plan);
    tl_diag_clear(&diag);
    json_decref(graph);
    if (ret_err)
        *ret_err = err;
    else
        assert_int_equal(err, 0);
    return outputs;
}

json_t *craft_op(const char *op, json_t *params, json_t *inputs, int *ret_err)
{
    return run_node(
        json_pack("{s:s,s:s,s:{s:o*,s:o*}}", "id", "n", "type", op, "data", "params", params, "inputs", inputs),
        ret_err);
}

json_t *craft_auteur(const char *folder, json_t *given, json_t *params)
{
    int i = 0;
    while (strcmp(craft_auteurs[i], folder) != 0)
        i++;
    json_t *all = run_node(json_pack("{s:s,s:s,s:{s:i,s:o*,s:o*}}", "id", "n", "type", outer.name, "data", "auteur", i,
                                     "given", given, "set", params),
                           NULL);
    json_t *outputs = json_incref(json_object_get(all, "outputs"));
    json_decref(all);
    assert_non_null(outputs);
    return outputs;
}

json_t *craft_auteur_asking(const char *folder, json_t *given, json_t *model_says)
{
    int i = 0;
    while (strcmp(craft_auteurs[i], folder) != 0)
        i++;
    char path[128];
    snprintf(path, sizeof(path), "catalog/auteur/%s/private.json", folder);
    TL_AUTO_JSON json_t *doc = craft_file(path);
    struct tl_plan *usual = t.auteur[i].plan;
    answer = model_says;
    assert_int_equal(plan_with(t.auteur[i].in, doc, &t.auteur[i].plan, NULL), 0);
    json_t *o = craft_auteur(folder, given, NULL);
    tl_plan_unref(t.auteur[i].plan);
    t.auteur[i].plan = usual;
    answer = NULL;
    return o;
}

double craft_num(const json_t *outputs, const char *port, size_t i)
{
    const json_t *v = json_object_get(outputs, port);
    v = json_is_array(v) ? json_array_get(v, i) : v;
    assert_true(json_is_number(v));
    return json_number_value(v);
}

int craft_setup(void **state)
{
    if (tl_hash_init() || tmp_setup(state) || tl_db_open(tmp_dir, TL_DB_CREATE | TL_DB_EXCLUSIVE, &t.db))
        return -1;
    t.patterns = craft_file("catalog/patterns/v1.json");
    craft_services = (struct tl_services){.db = t.db, .open_pattern = open_pattern};
    for (int i = 0; i < AUTEURS; i++)
        load_auteur(&t.auteur[i], craft_auteurs[i]);
    struct tl_exec_conf conf = {
        .threads = 2, .db = t.db, .services = &craft_services, .complete = complete, .notify = notify};
    return tl_exec_new(&conf, &t.exec);
}

int craft_teardown(void **state)
{
    tl_exec_free(t.exec);
    for (int i = 0; i < AUTEURS; i++) {
        tl_plan_unref(t.auteur[i].plan);
        free_ports(t.auteur[i].in, t.auteur[i].nin);
        json_decref(t.auteur[i].spec);
    }
    json_decref(t.patterns);
    json_decref(t.outputs);
    t.outputs = NULL;
    tl_db_close(t.db);
    return tmp_teardown(state);
}

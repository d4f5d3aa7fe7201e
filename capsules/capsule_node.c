/* The op "capsule": a sealed node. Its ports and parameters are those of the version that its data names; running it
 * runs the private graph as a nested one and hands on what the membrane lets through. */
#include "capsules/capsule_node.h"
#include "capsules/capsule.h"
#include "capsules/membrane.h"
#include "capsules/sheet.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

#include <pthread.h>
#include <string.h>

/* What shape() found out and run() needs again. */
struct pinned {
    const char *org; /* who uses the capsule: the owner of the graph that it stands in */
    const char *id, *version, *pattern_version;
    json_t *context; /* data.upstreamContext as sent, borrowed from the document; NULL: computed */
    bool nested;     /* inside another capsule: its results are not the running organisation's rows */
};

/* ---- shape ---- */

static int bad(const struct tl_shape_req *req, const char *key, const char *message)
{
    struct tl_str at = {0};
    tl_str_printf(&at, "%s.%s", req->path, key);
    int err = tl_diag_add(req->diag, req->node, NULL, at.data, "%s", message);
    tl_str_clear(&at);
    return err;
}

static const char *text_at(const struct tl_shape_req *req, const char *key, bool required, bool *ret_bad)
{
    const json_t *j = json_object_get(req->data, key);
    if (json_is_string(j) && json_string_length(j) > 0)
        return json_string_value(j);
    if (j || required) {
        bad(req, key, j ? "must be text" : "is required: a capsule is pinned by capsuleId and capsuleVersion");
        *ret_bad = true;
    }
    return NULL;
}

/* Any op may stand in a private graph, so a capsule's results depend on the revisions of all of them. */
static char ops_revision[2 * TL_BLAKE2B_LEN + 1];

static void hash_ops(void)
{
    struct tl_blake2b h;
    uint8_t raw[TL_BLAKE2B_LEN];
    size_t n;
    const struct tl_op *const *ops = tl_cap_ops(&n);
    tl_blake2b_init(&h, NULL);
    for (size_t i = 0; i < n; i++) {
        tl_blake2b_field(&h, ops[i]->name, strlen(ops[i]->name));
        tl_blake2b_field(&h, &ops[i]->revision, sizeof(ops[i]->revision));
    }
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), ops_revision);
}

/* What pins the result besides inputs and parameters: the blob, the snapshot, the ops, a context that was sent, and
 * whether a language model answers. */
static char *make_identity(const struct tl_shape_req *req, const struct tl_capsule *cap, const struct pinned *pin,
                           const struct tl_services *services)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, hash_ops);
    TL_AUTO_FREE char *context = pin->context ? tl_json_canonical(pin->context) : tl_strdup("");
    if (!context)
        return NULL;
    bool model = services->llm && cap->spec->adapter != TL_CAP_INTERNAL;
    struct tl_blake2b h;
    uint8_t raw[TL_BLAKE2B_LEN];
    char hex[2 * TL_BLAKE2B_LEN + 1];
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, cap->digest, TL_DIGEST_LEN);
    tl_blake2b_field(&h, pin->pattern_version ? pin->pattern_version : "",
                     pin->pattern_version ? strlen(pin->pattern_version) : 0);
    tl_blake2b_field(&h, ops_revision, strlen(ops_revision));
    tl_blake2b_field(&h, context, strlen(context));
    tl_blake2b_field(&h, &model, sizeof(model));
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), hex);
    return tl_arena_strdup(req->arena, hex);
}

/* Copies: the opened capsule may leave the cache while the plan lives. */
static int copy_ports(struct tl_arena *arena, const struct tl_cap_spec *spec, bool fallbacks, struct tl_shape *ret)
{
    struct tl_port *ports = tl_arena_alloc(arena, (spec->ninputs + spec->noutputs + 3) * sizeof(*ports));
    size_t n = 0;
    if (!ports)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < spec->ninputs + spec->noutputs; i++) {
        ports[n] = i < spec->ninputs ? spec->inputs[i] : spec->outputs[i - spec->ninputs];
        if (fallbacks && !tl_type_is_media(ports[n].type))
            ports[n].flags &= ~(uint32_t)TL_PORT_REQUIRED;
        ports[n].name = tl_arena_strdup(arena, ports[n].name);
        if (!ports[n++].name)
            return TL_ENOMEM;
    }
    ports[n++] = (struct tl_port){"summary", TL_T_JSON, TL_PORT_OUT, "what the capsule says of its result"};
    ports[n++] = (struct tl_port){"evidence_refs", TL_T_STRINGS, TL_PORT_OUT, "references to what the result rests on"};
    ret->ports = ports;
    return 0;
}

static int copy_params(struct tl_arena *arena, const struct tl_cap_spec *spec, struct tl_shape *ret)
{
    struct tl_param *params = tl_arena_alloc(arena, (spec->nparams + 1) * sizeof(*params));
    if (!params)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < spec->nparams; i++) {
        struct tl_param *p = &params[i];
        *p = spec->params[i];
        p->name = tl_arena_strdup(arena, p->name);
        p->default_json = p->default_json ? tl_arena_strdup(arena, p->default_json) : NULL;
        size_t n = 0;
        while (p->options && p->options[n])
            n++;
        const char **options = p->options ? tl_arena_alloc(arena, (n + 1) * sizeof(*options)) : NULL;
        if (!p->name || (spec->params[i].default_json && !p->default_json) || (p->options && !options))
            return TL_ENOMEM;
        for (size_t k = 0; options && k < n; k++)
            if (!(options[k] = tl_arena_strdup(arena, p->options[k])))
                return TL_ENOMEM;
        p->options = options;
    }
    ret->params = params;
    return 0;
}

static int pin_patterns(const struct tl_shape_req *req, struct tl_services *services, const struct tl_cap_spec *spec,
                        const char *asked, struct pinned *pin)
{
    const char *snapshot = asked ? asked : spec->pattern_version;
    if (!snapshot)
        return 0;
    TL_AUTO_JSON json_t *known = NULL;
    int err = services->open_pattern ? services->open_pattern(services->arg, snapshot, NULL, &known) : 0;
    if (err == TL_ENOTFOUND)
        return bad(req, "patternVersion", "is no snapshot of the pattern library");
    pin->pattern_version = tl_arena_strdup(req->arena, snapshot);
    return err ? err : pin->pattern_version ? 0 : TL_ENOMEM;
}

static int shape_of(const struct tl_shape_req *req, struct tl_services *services, struct tl_capsule *cap,
                    const char *patterns, struct pinned *pin, struct tl_shape *ret)
{
    int err = pin_patterns(req, services, cap->spec, patterns, pin);
    if (!err)
        err = copy_ports(req->arena, cap->spec, services->input_fallbacks, ret);
    if (!err)
        err = copy_params(req->arena, cap->spec, ret);
    if (err)
        return err;
    ret->max_upstream = cap->spec->max_upstream;
    ret->priv = pin;
    ret->identity = make_identity(req, cap, pin, services);
    struct tl_str label TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&label, "%s@%s", pin->id, pin->version);
    ret->label = tl_arena_strdup(req->arena, label.data);
    return ret->identity && ret->label ? 0 : TL_ENOMEM;
}

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    const struct tl_cap_env *env = req->env;
    bool wrong = false;
    const char *id = text_at(req, "capsuleId", true, &wrong), *version = text_at(req, "capsuleVersion", true, &wrong);
    const char *patterns = text_at(req, "patternVersion", false, &wrong);
    json_t *context = json_object_get(req->data, "upstreamContext"), *locked = json_object_get(req->data, "locked");
    if (locked && !json_is_boolean(locked))
        wrong = bad(req, "locked", "must be true or false") < 0;
    if (context && !json_is_object(context))
        wrong = bad(req, "upstreamContext", "must be an object") < 0;
    if (wrong || !id || !version)
        return TL_EINVAL;
    struct pinned *pin = tl_arena_alloc(req->arena, sizeof(*pin));
    if (!pin)
        return TL_ENOMEM;
    *pin = (struct pinned){.org = tl_arena_strdup(req->arena, env->org),
                           .id = id,
                           .version = version,
                           .context = context,
                           .nested = env->nesting > 0};
    struct tl_services *services = env->services;
    struct tl_capsule *cap = NULL;
    int err = !pin->org                ? TL_ENOMEM
              : services->open_capsule ? services->open_capsule(services->arg, pin->org, id, version, &cap)
                                       : TL_ENOTFOUND;
    if (err == TL_ENOTFOUND && services->has_capsule && services->has_capsule(services->arg, pin->org, id))
        return bad(req, "capsuleVersion", "the capsule has no such version");
    if (err == TL_ENOTFOUND)
        return bad(req, "capsuleId", "there is no such capsule");
    if (!err)
        err = shape_of(req, services, cap, patterns, pin, ret);
    tl_capsule_unref(cap);
    return err;
}

/* ---- run ---- */

struct call {
    struct tl_op_ctx *ctx;
    struct tl_capsule *cap;
    const struct pinned *pin;
    struct tl_membrane_progress progress;
    struct tl_membrane_out out;
};

static void cleanup(struct tl_op_ctx *ctx)
{
    struct call *c = tl_op_priv(ctx);
    if (c->cap)
        tl_membrane_clear(&c->out, c->cap->spec);
    tl_capsule_unref(c->cap);
}

static int fail_inside(struct tl_op_ctx *ctx, int inside)
{
    const char *sentence;
    int err = tl_membrane_error(inside, &sentence);
    return tl_op_fail(ctx, err, "%s", sentence);
}

/* What stands in for a required input that is missing, where the operator allows it (seed §6.1). */
static struct tl_value fallback(enum tl_type type)
{
    switch (type) {
    case TL_T_NUMBER:
        return tl_value_number(0);
    case TL_T_BOOLEAN:
        return tl_value_bool(false);
    case TL_T_STRING:
        return tl_value_take(type, json_string(""));
    case TL_T_FLOATS:
    case TL_T_STRINGS:
        return tl_value_take(type, json_array());
    case TL_T_JSON:
        return tl_value_take(type, json_object());
    default:
        return (struct tl_value){.type = TL_T_ANY};
    }
}

static int fill_input(struct call *c, size_t i, struct tl_value *ret)
{
    const struct tl_cap_spec *spec = c->cap->spec;
    const char *name = c->cap->in[i].name;
    const struct tl_value *v;
    if (i < spec->ninputs) {
        v = tl_op_input(c->ctx, name);
        *ret = v ? tl_value_ref(v) : spec->inputs[i].flags & TL_PORT_REQUIRED ? fallback(spec->inputs[i].type) : *ret;
        return 0;
    }
    if (i < spec->ninputs + spec->nparams) {
        v = tl_op_param(c->ctx, spec->params[i - spec->ninputs].name);
        *ret = v ? tl_value_ref(v) : *ret;
        return 0;
    }
    if (strcmp(name, "upstream_context") == 0)
        *ret = tl_value_take(TL_T_JSON,
                             c->pin->context ? json_incref(c->pin->context) : tl_op_upstream(c->ctx, spec->sequential));
    else if (c->pin->pattern_version)
        *ret = tl_value_take(TL_T_STRING, json_string(c->pin->pattern_version));
    else
        return 0;
    return tl_value_none(ret) ? TL_ENOMEM : 0;
}

static void step(void *arg, const struct tl_plan_node *node, uint32_t done, uint32_t total)
{
    struct call *c = arg;
    double fraction;
    const char *message;
    (void)node;
    if (tl_membrane_step(&c->progress, done, total, tl_mono_us(), &fraction, &message))
        tl_op_progress(c->ctx, fraction, message);
}

static int emit(struct call *c)
{
    const struct tl_cap_spec *spec = c->cap->spec;
    int err = 0;
    for (uint32_t i = 0; i < spec->noutputs && !err; i++)
        if (!tl_value_none(&c->out.outputs[i]))
            err = tl_op_output(c->ctx, spec->outputs[i].name, tl_value_ref(&c->out.outputs[i]));
    if (!err)
        err = tl_op_output_json(c->ctx, "summary", json_incref(c->out.summary));
    if (!err)
        err = tl_op_output_json(c->ctx, "evidence_refs", json_incref(c->out.evidence_refs));
    return err;
}

/* The row is on disk before anything cites it. */
static void recorded(void *arg, int err, uint64_t number)
{
    struct call *c = arg;
    char ref[80];
    snprintf(ref, sizeof(ref), "sheet:%s:%llu", TL_SHEET_DERIVED, (unsigned long long)number);
    if (!err && json_array_append_new(c->out.evidence_refs, json_string(ref)) < 0)
        err = TL_ENOMEM;
    if (!err)
        err = emit(c);
    tl_op_done(c->ctx, err);
}

/* The content key: the same result of the same version from the same parameters and inputs is the same row, whichever
 * run found it. */
static int content_key(struct call *c, const struct tl_services *services, uint8_t ret[32])
{
    uint8_t subkey[32], part[32];
    int err = 0;
    if (services->keyring)
        tl_keyring_subkey(services->keyring, TL_SUBKEY_EVIDENCE, tl_op_org(c->ctx), subkey);
    struct tl_blake2b h;
    tl_blake2b_init(&h, services->keyring ? subkey : NULL);
    tl_blake2b_field(&h, c->cap->digest, TL_DIGEST_LEN);
    for (uint32_t i = 0; i < c->cap->spec->ninputs && !err; i++) {
        const struct tl_value *v = tl_op_input(c->ctx, c->cap->spec->inputs[i].name), none = {.type = TL_T_ANY};
        err = tl_value_hash(v ? v : &none, part);
        tl_blake2b_field(&h, part, sizeof(part));
    }
    for (uint32_t i = 0; i < c->cap->spec->nparams && !err; i++) {
        const struct tl_value *v = tl_op_param(c->ctx, c->cap->spec->params[i].name), none = {.type = TL_T_ANY};
        err = tl_value_hash(v ? v : &none, part);
        tl_blake2b_field(&h, part, sizeof(part));
    }
    TL_AUTO_FREE char *summary = tl_json_canonical(c->out.summary), *refs = tl_json_canonical(c->out.evidence_refs);
    if (err || !summary || !refs)
        err = TL_ENOMEM;
    if (!err) {
        tl_blake2b_field(&h, summary, strlen(summary));
        tl_blake2b_field(&h, refs, strlen(refs));
    }
    tl_blake2b_final(&h, ret);
    tl_wipe(subkey, sizeof(subkey));
    return err;
}

static int record(struct call *c, struct tl_services *services)
{
    uint8_t key[32];
    char now[TL_TIME_TEXT];
    tl_time_text(tl_now_ms(), now);
    int err = content_key(c, services, key);
    if (err)
        return err;
    TL_AUTO_JSON json_t *row =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:O,s:O}", "state", "derived", "capsule_id", c->pin->id, "capsule_version",
                  c->pin->version, "run_id", tl_op_run_id(c->ctx), "node_id", tl_op_node(c->ctx)->id, "created_at", now,
                  "summary", c->out.summary, "evidence_refs", c->out.evidence_refs);
    if (!row)
        return TL_ENOMEM;
    return tl_sheet_append(services->db, tl_op_org(c->ctx), TL_SHEET_DERIVED, key, row, recorded, c);
}

static void finished(struct tl_op_ctx *ctx, void *arg, const struct tl_nested_result *result)
{
    (void)arg;
    struct call *c = tl_op_priv(ctx);
    struct tl_services *services = tl_cap_services(ctx);
    tl_op_usage(ctx, &result->usage);
    if (result->err) {
        tl_op_done(ctx, fail_inside(ctx, result->err));
        return;
    }
    struct tl_membrane_in in = {.spec = c->cap->spec,
                                .texts = c->cap->texts,
                                .pattern_version = c->pin->pattern_version,
                                .ports = c->cap->out,
                                .values = result->outputs,
                                .nports = c->cap->nout};
    int err = tl_membrane_pass(&in, &c->out);
    if (!err && services->db && !c->pin->nested) {
        err = record(c, services);
        if (!err)
            return; /* recorded() goes on */
    } else if (!err) {
        err = emit(c);
    }
    tl_op_done(ctx, err);
}

static int run(struct tl_op_ctx *ctx)
{
    struct call *c = tl_op_priv(ctx);
    struct tl_services *services = tl_cap_services(ctx);
    c->ctx = ctx;
    c->pin = tl_op_node(ctx)->shape->priv;
    int err = services->open_capsule(services->arg, c->pin->org, c->pin->id, c->pin->version, &c->cap);
    if (err)
        return err; /* gone or damaged since the plan was made: public words */
    struct tl_plan *plan;
    err = tl_capsule_plan(c->cap, services, &plan);
    if (err)
        return fail_inside(ctx, err);
    struct tl_value *inputs = tl_calloc(c->cap->nin, sizeof(*inputs));
    err = inputs ? 0 : TL_ENOMEM;
    for (size_t i = 0; i < c->cap->nin && !err; i++)
        err = fill_input(c, i, &inputs[i]);
    const struct tl_nest nest = {.plan = plan, .inputs = inputs, .arg = c, .step = step, .done = finished};
    if (!err)
        err = tl_op_nest(ctx, &nest);
    for (size_t i = 0; inputs && i < c->cap->nin; i++)
        tl_value_clear(&inputs[i]);
    free(inputs);
    tl_plan_unref(plan);
    return err ? err : TL_OP_PENDING;
}

static const char *const data_keys[] = {"capsuleId", "capsuleVersion", "patternVersion", "locked", "upstreamContext", NULL};

const struct tl_op tl_op_capsule = {
    .name = "capsule",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_UPSTREAM | TL_OP_COMPOSITE,
    .title = "Capsule",
    .doc = "A sealed node: only its inputs, parameters and outputs are seen.",
    .priv_size = sizeof(struct call),
    .data_keys = data_keys,
    .shape = shape,
    .run = run,
    .cleanup = cleanup,
};

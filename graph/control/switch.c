/* switch: its value goes out of the first case whose condition holds, or of "else". The other outputs are branches not taken. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/body.h"
#include "graph/cond.h"
#include "graph/control/control.h"

#include <string.h>

struct switch_def {
    const struct tl_port *in; /* what conditions see: the value and further declared inputs */
    uint32_t nin, ncases;
    const struct tl_cond **when;
    const char **names;
};

static const char *const data_keys[] = {"ports", "cases", NULL};
static const struct tl_port value_port[] = {{"value", TL_T_ANY, TL_PORT_REQUIRED, "what goes on"}, {0}};
static const struct tl_port own_ports[] = {
    {"value", TL_T_ANY, TL_PORT_REQUIRED, "what goes on"}, {"else", TL_T_ANY, TL_PORT_OUT, "where no case holds"}, {0}};

/* A declared "value" gives its type; without one it is any. */
static int read_inputs(const struct tl_shape_req *req, struct switch_def *def, enum tl_type *ret_type)
{
    struct tl_body declared;
    int err = tl_body_read_ports(req, &declared);
    if (!err && declared.nout)
        err = tl_body_problem(req, "ports.out", "a switch has no outputs but its cases and \"else\"");
    if (err)
        return err;
    *ret_type = TL_T_ANY;
    for (uint32_t i = 0; i < declared.nin; i++) {
        if (strcmp(declared.in[i].name, "value") != 0)
            continue;
        *ret_type = declared.in[i].type;
        def->in = declared.in;
        def->nin = declared.nin;
        return 0;
    }
    def->in = tl_body_join(req, value_port, declared.in, NULL);
    def->nin = declared.nin + 1;
    return def->in ? 0 : TL_ENOMEM;
}

static int read_case(const struct tl_shape_req *req, struct switch_def *def, uint32_t i, const json_t *j)
{
    static const char *const keys[] = {"name", "when", NULL};
    const json_t *when = json_object_get(j, "when");
    const char *name = tl_json_str(j, "name");
    struct tl_str at = {0}, path = {0}, why = {0};
    int err = 0;
    tl_str_printf(&at, "cases[%u]", i);
    tl_str_printf(&path, "%s.%s", req->path, at.data ? at.data : "");
    tl_json_only_keys(j, keys, req->node, path.data, req->diag);
    if (!name || !*name || strlen(name) > TL_BODY_NAME_MAX)
        tl_body_problem(req, at.data, "a case needs a name: text of 1 to %d bytes", TL_BODY_NAME_MAX);
    for (uint32_t k = 0; name && (k < i || strcmp(name, "else") == 0); k++)
        if (k >= i || (def->names[k] && strcmp(def->names[k], name) == 0)) {
            tl_body_problem(req, at.data, "the name \"%s\" is used by another output too", name);
            break;
        }
    if (!json_is_string(when))
        tl_body_problem(req, at.data, "a case needs \"when\": a condition");
    else
        err =
            tl_cond_parse(json_string_value(when), json_string_length(when), def->in, req->arena, &def->when[i], &why);
    if (err == TL_EINVAL) {
        tl_str_puts(&at, ".when");
        err = 0;
        tl_body_problem(req, at.data, "the condition cannot be read: %s", why.data);
    }
    def->names[i] = name ? tl_arena_strdup(req->arena, name) : NULL;
    if (at.err || path.err || (name && !def->names[i]))
        err = TL_ENOMEM;
    tl_str_clear(&at);
    tl_str_clear(&path);
    tl_str_clear(&why);
    return err;
}

static int read_cases(const struct tl_shape_req *req, struct switch_def *def)
{
    const json_t *list = json_object_get(req->data, "cases");
    size_t n = json_array_size(list);
    size_t before = req->diag->count + req->diag->dropped;
    if (n == 0 || n > TL_SWITCH_CASES_MAX)
        return tl_body_problem(req, "cases", "is required: a list of 1 to %d cases {\"name\",\"when\"}",
                               TL_SWITCH_CASES_MAX);
    def->when = tl_arena_alloc(req->arena, n * sizeof(*def->when));
    def->names = tl_arena_alloc(req->arena, n * sizeof(*def->names));
    if (!def->when || !def->names)
        return TL_ENOMEM;
    int err = 0;
    for (size_t i = 0; i < n && !err; i++)
        err = read_case(req, def, (uint32_t)i, json_array_get(list, i));
    def->ncases = (uint32_t)n;
    return err ? err : req->diag->count + req->diag->dropped > before ? TL_EINVAL : 0;
}

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    struct switch_def *def = tl_arena_alloc(req->arena, sizeof(*def));
    enum tl_type type;
    int err = def ? read_inputs(req, def, &type) : TL_ENOMEM;
    if (!err)
        err = read_cases(req, def);
    struct tl_port *ports = err ? NULL : tl_arena_alloc(req->arena, (def->nin + def->ncases + 2) * sizeof(*ports));
    if (!ports)
        return err ? err : TL_ENOMEM;
    for (uint32_t i = 0; i < def->nin; i++) {
        ports[i] = def->in[i];
        if (strcmp(ports[i].name, "value") == 0)
            ports[i].flags |= TL_PORT_REQUIRED;
    }
    for (uint32_t i = 0; i <= def->ncases; i++)
        ports[def->nin + i] = (struct tl_port){i < def->ncases ? def->names[i] : "else", type, TL_PORT_OUT, NULL};
    ret->priv = def;
    ret->ports = ports;
    ret->identity = tl_body_identity(req, NULL, data_keys);
    return ret->identity ? 0 : TL_ENOMEM;
}

static int run(struct tl_op_ctx *ctx)
{
    const struct switch_def *def = tl_op_node(ctx)->shape->priv;
    struct tl_value seen[TL_BODY_PORTS_MAX + 1] = {0};
    const char *name = "else";
    for (uint32_t i = 0; i < def->nin; i++) {
        const struct tl_value *v = tl_op_input(ctx, def->in[i].name);
        if (v)
            seen[i] = *v; /* borrowed */
    }
    size_t left = TL_COND_WORK;
    bool found = false;
    for (uint32_t i = 0; !found && i < def->ncases; i++) {
        if (tl_cond_holds(def->when[i], seen, &left, &found) < 0)
            return tl_op_fail(ctx, TL_ELIMIT, "its conditions look at more than %d values", TL_COND_WORK);
        name = found ? def->names[i] : name;
    }
    return tl_op_output(ctx, name, tl_value_ref(tl_op_input(ctx, "value")));
}

const struct tl_op tl_op_switch = {
    .name = "switch",
    .revision = 1,
    .flags = TL_OP_PURE | TL_OP_QUICK | TL_OP_ROUTES,
    .title = "Switch",
    .doc = "Hands its value to the first case whose condition holds; what stands behind the others is skipped.",
    .ports = own_ports,
    .data_keys = data_keys,
    .shape = shape,
    .run = run,
};

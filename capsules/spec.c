#include "capsules/spec.h"

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/plan.h"

#include <stdio.h>
#include <string.h>

struct reader {
    struct tl_cap_spec *spec;
    struct tl_diag *diag;
};

static int problem(struct reader *r, const char *path, const char *key, const char *message)
{
    struct tl_str at = {0};
    tl_str_printf(&at, key ? "%s.%s" : "%s", path, key);
    int err = tl_diag_add(r->diag, NULL, NULL, at.data, "%s", message);
    tl_str_clear(&at);
    return err;
}

/* Index of the text at key in a NULL-terminated list; -1 with a problem where it is none of them. */
static int one_of(struct reader *r, const json_t *o, const char *path, const char *key, const char *const *list)
{
    const char *text = tl_json_str(o, key);
    struct tl_str why = {0};
    for (int i = 0; text && list[i]; i++)
        if (strcmp(list[i], text) == 0)
            return i;
    tl_str_puts(&why, "must be one of");
    for (int i = 0; list[i]; i++)
        tl_str_printf(&why, "%s \"%s\"", i ? "," : "", list[i]);
    problem(r, path, key, why.data ? why.data : "is not allowed");
    tl_str_clear(&why);
    return -1;
}

static const char *text_of(struct reader *r, const json_t *o, const char *path, const char *key, size_t most,
                           bool required)
{
    const json_t *j = json_object_get(o, key);
    size_t n = json_string_length(j);
    if (!j && !required)
        return NULL;
    if (!json_is_string(j) || n == 0 || n > most || strlen(json_string_value(j)) != n) {
        char why[80];
        snprintf(why, sizeof(why), j ? "must be text of 1 to %zu bytes" : "is required: text of 1 to %zu bytes", most);
        problem(r, path, key, why);
        return NULL;
    }
    return json_string_value(j);
}

static bool object_at(struct reader *r, const json_t *o, const char *path, const char *key, bool required)
{
    const json_t *j = json_object_get(o, key);
    if (json_is_object(j))
        return true;
    if (j || required)
        problem(r, path, key, j ? "must be an object" : "is required: an object");
    return false;
}

static bool flag_of(struct reader *r, const json_t *o, const char *path, const char *key, bool required)
{
    const json_t *j = json_object_get(o, key);
    if (j ? !json_is_boolean(j) : required)
        problem(r, path, key, "must be true or false");
    return json_is_true(j);
}

/* Names of ports and parameters stand in edges, JSON paths and events: plain ones only. */
static bool good_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= TL_CAP_NAME_MAX && !(name[0] >= '0' && name[0] <= '9') &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

bool tl_cap_id_valid(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    return n > 0 && n <= TL_CAP_ID_MAX && id[0] >= 'a' && id[0] <= 'z' &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

/* ---- ports ---- */

static const struct tl_port *find_port(const struct tl_port *ports, const char *name)
{
    for (; ports && ports->name; ports++)
        if (strcmp(ports->name, name) == 0)
            return ports;
    return NULL;
}

static bool reserved_port(const char *name, bool out)
{
    static const char *const in_names[] = {"upstream_context", "pattern_version", NULL};
    static const char *const out_names[] = {
        "summary", "evidence_refs", "synapse_rule_ref", "pattern_version", "output_warnings", "evidence_warnings",
        NULL};
    for (const char *const *taken = out ? out_names : in_names; *taken; taken++)
        if (strcmp(*taken, name) == 0)
            return true;
    return false;
}

static int read_ports(struct reader *r, const char *key, bool out, struct tl_port **ret, uint32_t *ret_n)
{
    static const char *const in_keys[] = {"type", "required", NULL}, *const out_keys[] = {"type", NULL};
    const json_t *o = json_object_get(r->spec->json, key);
    bool good = object_at(r, r->spec->json, "$", key, true);
    size_t n = good ? json_object_size(o) : 0;
    if (n > TL_CAP_PORTS_MAX || (good && out && n == 0)) {
        problem(r, "$", key, out ? "must declare 1 to 64 outputs" : "must declare at most 64 inputs");
        n = 0;
    }
    struct tl_port *ports = *ret = tl_arena_alloc(&r->spec->arena, (n + 1) * sizeof(*ports));
    if (!ports)
        return TL_ENOMEM;
    const char *name;
    json_t *port;
    if (n > 0)
        json_object_foreach((json_t *)(uintptr_t)o, name, port) {
            char path[160];
            enum tl_type type = TL_T_ANY;
            snprintf(path, sizeof(path), "$.%s.%.*s", key, TL_CAP_NAME_MAX, name);
            if (!good_name(name) || reserved_port(name, out))
                problem(
                    r, path, NULL,
                    "is no name for a port: up to 64 letters, digits and underscores, and none that talos uses itself");
            if (!json_is_object(port)) {
                problem(r, path, NULL, "must be an object with a type");
                continue;
            }
            tl_json_only_keys(port, out ? out_keys : in_keys, NULL, path, r->diag);
            if (!tl_type_parse(tl_json_str(port, "type"), &type))
                problem(r, path, "type",
                        "must be a port type: string, number, boolean, float[], string[], json, video, image, audio, "
                        "file or any");
            bool required = !out && flag_of(r, port, path, "required", false);
            ports[(*ret_n)++] = (struct tl_port){
                .name = name, .type = type, .flags = (out ? TL_PORT_OUT : 0) | (required ? TL_PORT_REQUIRED : 0)};
        }
    return 0;
}

/* ---- contracts ---- */

/* Calls each() for every text of the list at key. */
static void each_text(struct reader *r, const json_t *o, const char *path, const char *key, bool required,
                      void (*each)(struct reader *r, const char *text, const char *path))
{
    const json_t *list = json_object_get(o, key);
    if (!json_is_array(list)) {
        if (list || required)
            problem(r, path, key, "must be a list of names");
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        char at[128];
        snprintf(at, sizeof(at), "%s.%s[%zu]", path, key, i);
        const char *text = json_string_value(json_array_get(list, i));
        if (!text)
            problem(r, at, NULL, "must be text");
        else
            each(r, text, at);
    }
}

static void require_input(struct reader *r, const char *name, const char *path)
{
    const struct tl_port *p = find_port(r->spec->inputs, name);
    if (!p)
        problem(r, path, NULL, "is no input of this capsule");
    else
        ((struct tl_port *)(uintptr_t)p)->flags |= TL_PORT_REQUIRED;
}

static void allow_missing(struct reader *r, const char *name, const char *path)
{
    const struct tl_port *p = find_port(r->spec->inputs, name);
    if (!p)
        problem(r, path, NULL, "is no input of this capsule");
    else if (p->flags & TL_PORT_REQUIRED)
        problem(r, path, NULL, "is required and optional at once");
}

static void know_type(struct reader *r, const char *name, const char *path)
{
    enum tl_type type;
    if (!tl_type_parse(name, &type))
        problem(r, path, NULL, "is no port type");
}

static bool listed(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (s && strcmp(s, text) == 0)
            return true;
    }
    return false;
}

static void check_allowed_types(struct reader *r, const json_t *allowed)
{
    for (uint32_t i = 0; json_is_array(allowed) && i < r->spec->ninputs; i++) {
        char path[160];
        snprintf(path, sizeof(path), "$.inputs.%.*s", TL_CAP_NAME_MAX, r->spec->inputs[i].name);
        if (!listed(allowed, tl_type_name(r->spec->inputs[i].type)))
            problem(r, path, "type", "is not among inputContracts.allowedTypes");
    }
}

static void read_input_contracts(struct reader *r)
{
    static const char *const keys[] = {"required", "optional", "maxUpstream", "allowedTypes", "contextMode", NULL};
    static const char *const modes[] = {"aggregate", "sequential", NULL};
    static const char path[] = "$.inputContracts";
    const json_t *o = json_object_get(r->spec->json, "inputContracts"), *most = json_object_get(o, "maxUpstream");
    if (!object_at(r, r->spec->json, "$", "inputContracts", true))
        return;
    tl_json_only_keys(o, keys, NULL, path, r->diag);
    each_text(r, o, path, "required", true, require_input);
    each_text(r, o, path, "optional", false, allow_missing);
    each_text(r, o, path, "allowedTypes", false, know_type);
    check_allowed_types(r, json_object_get(o, "allowedTypes"));
    if (most &&
        (!json_is_integer(most) || json_integer_value(most) < 1 || json_integer_value(most) > TL_CAP_UPSTREAM_MAX))
        problem(r, path, "maxUpstream", "must be a whole number from 1 to 1000");
    else
        r->spec->max_upstream = (uint32_t)json_integer_value(most);
    if (json_object_get(o, "contextMode"))
        r->spec->sequential = one_of(r, o, path, "contextMode", modes) == 1;
}

/* Entries name a port type or an output of the capsule: both are in use. */
static void know_output(struct reader *r, const char *name, const char *path)
{
    enum tl_type type;
    if (!tl_type_parse(name, &type) && !find_port(r->spec->outputs, name))
        problem(r, path, NULL, "is neither a port type nor an output of this capsule");
}

static int read_output_contracts(struct reader *r)
{
    static const char *const keys[] = {"types", NULL};
    const json_t *o = json_object_get(r->spec->json, "outputContracts"), *types = json_object_get(o, "types");
    r->spec->admitted = tl_arena_alloc(&r->spec->arena, r->spec->noutputs + 1);
    if (!r->spec->admitted)
        return TL_ENOMEM;
    if (!object_at(r, r->spec->json, "$", "outputContracts", true))
        return 0;
    tl_json_only_keys(o, keys, NULL, "$.outputContracts", r->diag);
    each_text(r, o, "$.outputContracts", "types", true, know_output);
    for (uint32_t i = 0; i < r->spec->noutputs; i++)
        r->spec->admitted[i] =
            listed(types, r->spec->outputs[i].name) || listed(types, tl_type_name(r->spec->outputs[i].type));
    return 0;
}

/* ---- parameters ---- */

static int read_options(struct reader *r, const json_t *o, const char *path, struct tl_param *p)
{
    const json_t *list = json_object_get(o, "options");
    size_t n = json_array_size(list);
    if (n == 0 || n > TL_CAP_OPTIONS_MAX)
        problem(r, path, "options", "must list 1 to 64 texts");
    n = n > TL_CAP_OPTIONS_MAX ? 0 : n;
    const char **options = tl_arena_alloc(&r->spec->arena, (n + 1) * sizeof(*options));
    if (!options)
        return TL_ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        bool twice = false;
        for (size_t k = 0; text && k < count; k++)
            twice = twice || strcmp(options[k], text) == 0;
        if (!text || !*text || twice)
            problem(r, path, "options", "must be texts that differ from one another");
        else
            options[count++] = text;
    }
    p->options = options;
    return 0;
}

static bool number_of(struct reader *r, const json_t *o, const char *path, const char *key, double *ret)
{
    const json_t *j = json_object_get(o, key);
    if (j && !json_is_number(j))
        problem(r, path, key, "must be a number");
    *ret = json_number_value(j);
    return json_is_number(j);
}

static void read_range(struct reader *r, const json_t *o, const char *path, struct tl_param *p)
{
    double min, max, step;
    bool has_min = number_of(r, o, path, "min", &min), has_max = number_of(r, o, path, "max", &max);
    bool has_step = number_of(r, o, path, "step", &step);
    if (has_min != has_max)
        problem(r, path, has_min ? "max" : "min", "is required: a range has two ends");
    else if (has_min && !(min < max))
        problem(r, path, "max", "must be larger than min");
    else if (has_min)
        p->min = min, p->max = max;
    if (has_step && !(step > 0))
        problem(r, path, "step", "must be larger than 0");
    else if (has_step)
        p->step = step;
}

static int read_default(struct reader *r, const json_t *o, const char *path, struct tl_param *p)
{
    json_t *j = json_object_get(o, "default");
    if (!j) {
        p->flags |= TL_PARAM_REQUIRED;
        if (p->flags & TL_PARAM_ADMIN)
            problem(r, path, "default", "is required: nobody but an admin can give this parameter a value");
        return 0;
    }
    TL_AUTO_FREE char *text = tl_json_text(j);
    p->default_json = text ? tl_arena_strdup(&r->spec->arena, text) : NULL;
    return p->default_json ? 0 : TL_ENOMEM;
}

static int read_param(struct reader *r, const char *name, const json_t *o, struct tl_param *p)
{
    static const char *const types[] = {"enum", "number", "boolean", "string", NULL}, *const who[] = {"public", "admin",
                                                                                                      NULL};
    static const enum tl_param_type kinds[] = {TL_P_ENUM, TL_P_NUMBER, TL_P_BOOLEAN, TL_P_STRING};
    static const char *const keys[][7] = {{"type", "default", "visibility", "options", NULL},
                                          {"type", "default", "visibility", "min", "max", "step", NULL},
                                          {"type", "default", "visibility", NULL},
                                          {"type", "default", "visibility", "max", NULL}};
    char path[160];
    snprintf(path, sizeof(path), "$.exposedParams.%.*s", TL_CAP_NAME_MAX, name);
    if (!good_name(name))
        problem(r, path, NULL, "is no name for a parameter: up to 64 letters, digits and underscores");
    if (!json_is_object(o)) {
        problem(r, path, NULL, "must be an object with type and visibility");
        return 0;
    }
    int type = one_of(r, o, path, "type", types);
    bool admin = one_of(r, o, path, "visibility", who) == 1;
    if (type < 0)
        return 0;
    tl_json_only_keys(o, keys[type], NULL, path, r->diag);
    *p = (struct tl_param){.name = name, .type = kinds[type], .flags = admin ? TL_PARAM_ADMIN : 0};
    int err = 0;
    if (p->type == TL_P_ENUM)
        err = read_options(r, o, path, p);
    if (p->type == TL_P_NUMBER)
        read_range(r, o, path, p);
    if (p->type == TL_P_STRING && (!number_of(r, o, path, "max", &p->max) || p->max < 1 || p->max > TL_CAP_TEXT_MAX))
        problem(r, path, "max", "is required for text: the most bytes it may have, 1 to 1000");
    return err ? err : read_default(r, o, path, p);
}

/* Defaults obey the rules that they stand next to. */
static int check_defaults(struct reader *r)
{
    TL_AUTO_JSON json_t *given = json_object();
    struct tl_value *values = tl_calloc(r->spec->nparams, sizeof(*values));
    if (!given || !values) {
        free(values);
        return TL_ENOMEM;
    }
    const json_t *declared = json_object_get(r->spec->json, "exposedParams");
    for (uint32_t i = 0; i < r->spec->nparams; i++)
        json_object_set(given, r->spec->params[i].name,
                        json_object_get(json_object_get(declared, r->spec->params[i].name), "default"));
    struct tl_param *copy = tl_calloc(r->spec->nparams + 1, sizeof(*copy));
    int err = copy ? 0 : TL_ENOMEM;
    for (uint32_t i = 0; copy && i < r->spec->nparams; i++) {
        copy[i] = r->spec->params[i];
        copy[i].flags &= ~(uint32_t)TL_PARAM_REQUIRED;
        copy[i].default_json = NULL;
    }
    if (copy)
        err = tl_params_check(copy, true, given, NULL, "$.exposedParams", values, r->diag);
    for (uint32_t i = 0; i < r->spec->nparams; i++)
        tl_value_clear(&values[i]);
    free(values);
    free(copy);
    return err == TL_EINVAL ? 0 : err;
}

static int read_params(struct reader *r)
{
    struct tl_cap_spec *s = r->spec;
    const json_t *o = json_object_get(s->json, "exposedParams");
    size_t n = object_at(r, s->json, "$", "exposedParams", true) ? json_object_size(o) : 0;
    if (n > TL_CAP_PARAMS_MAX) {
        problem(r, "$", "exposedParams", "must declare at most 64 parameters");
        n = 0;
    }
    s->params = tl_arena_alloc(&s->arena, (n + 1) * sizeof(*s->params));
    if (!s->params)
        return TL_ENOMEM;
    const char *name;
    json_t *param;
    size_t before = r->diag->count + r->diag->dropped;
    if (n > 0)
        json_object_foreach((json_t *)(uintptr_t)o, name, param) {
            struct tl_param p = {0};
            int err = read_param(r, name, param, &p);
            if (err)
                return err;
            if (p.name)
                s->params[s->nparams++] = p;
        }
    return r->diag->count + r->diag->dropped > before ? 0 : check_defaults(r);
}

/* ---- the rest ---- */

static void read_policy(struct reader *r)
{
    static const char *const keys[] = {"evidence", "allowRawLogs", NULL}, *const kinds[] = {"summary_only",
                                                                                            "references_only", NULL};
    const json_t *o = json_object_get(r->spec->json, "policy");
    if (!object_at(r, r->spec->json, "$", "policy", true))
        return;
    tl_json_only_keys(o, keys, NULL, "$.policy", r->diag);
    r->spec->evidence = one_of(r, o, "$.policy", "evidence", kinds) == 1 ? TL_CAP_REFERENCES_ONLY : TL_CAP_SUMMARY_ONLY;
    r->spec->raw_logs = flag_of(r, o, "$.policy", "allowRawLogs", true);
}

static void read_adapter(struct reader *r)
{
    static const char *const keys[] = {"type", "internalGraphRef", NULL}, *const kinds[] = {"internal", "hybrid",
                                                                                            "notebooklm", "opal", NULL};
    const json_t *o = json_object_get(r->spec->json, "adapter");
    if (!object_at(r, r->spec->json, "$", "adapter", true))
        return;
    tl_json_only_keys(o, keys, NULL, "$.adapter", r->diag);
    int kind = one_of(r, o, "$.adapter", "type", kinds);
    r->spec->adapter = kind < 0 ? TL_CAP_INTERNAL : (enum tl_cap_adapter)kind;
    const char *ref = r->spec->graph_ref = text_of(r, o, "$.adapter", "internalGraphRef", 200, true);
    static const char scheme[] = "private-dag://";
    if (ref && (strncmp(ref, scheme, sizeof(scheme) - 1) != 0 || !ref[sizeof(scheme) - 1]))
        problem(r, "$.adapter", "internalGraphRef", "must begin with private-dag:// and name a graph");
}

static void read_identity(struct reader *r)
{
    static const char *const phases[] = {"HOOK", "BUILD",      "PAYOFF", "CTA",        "SETUP",
                                         "TURN", "ESCALATION", "CLIMAX", "RESOLUTION", NULL};
    struct tl_cap_spec *s = r->spec;
    s->id = text_of(r, s->json, "$", "id", TL_CAP_ID_MAX, true);
    if (s->id && !tl_cap_id_valid(s->id))
        problem(r, "$", "id", "must be lower-case letters, digits, '.', '_' and '-', beginning with a letter");
    s->version = text_of(r, s->json, "$", "version", TL_CAP_NAME_MAX, true);
    if (s->version && !tl_cap_version_valid(s->version))
        problem(r, "$", "version", "must be a semantic version such as 1.0.0, without a build part");
    s->display_name = text_of(r, s->json, "$", "displayName", 200, true);
    text_of(r, s->json, "$", "description", 4000, false);
    text_of(r, s->json, "$", "clusterRef", 200, false);
    s->pattern_version = text_of(r, s->json, "$", "patternVersion", TL_CAP_NAME_MAX, false);
    if (json_object_get(s->json, "temporalPhase"))
        one_of(r, s->json, "$", "temporalPhase", phases);
}

static int read_all(struct reader *r)
{
    static const char *const keys[] = {
        "id",      "version",        "displayName", "description",   "inputContracts", "outputContracts", "inputs",
        "outputs", "patternVersion", "clusterRef",  "temporalPhase", "exposedParams",  "policy",          "adapter",
        NULL};
    struct tl_cap_spec *s = r->spec;
    if (!json_is_object(s->json)) {
        problem(r, "$", NULL, "a capsule's spec must be an object");
        return 0;
    }
    tl_json_only_keys(s->json, keys, NULL, "$", r->diag);
    read_identity(r);
    int err = read_ports(r, "inputs", false, &s->inputs, &s->ninputs);
    if (!err)
        err = read_ports(r, "outputs", true, &s->outputs, &s->noutputs);
    if (err)
        return err;
    read_input_contracts(r);
    err = read_output_contracts(r);
    if (!err)
        err = read_params(r);
    read_policy(r);
    read_adapter(r);
    return err;
}

int tl_cap_spec_parse(json_t *json, struct tl_cap_spec **ret, struct tl_diag *diag)
{
    struct tl_diag own = {0};
    *ret = NULL;
    struct tl_cap_spec *s = tl_calloc(1, sizeof(*s));
    if (!s)
        return TL_ENOMEM;
    s->json = json_incref(json);
    struct reader r = {.spec = s, .diag = diag ? diag : &own};
    size_t before = r.diag->count + r.diag->dropped;
    int err = read_all(&r);
    if (!err)
        err = r.diag->count + r.diag->dropped > before ? TL_EINVAL : r.diag->err;
    tl_diag_clear(&own);
    if (err)
        tl_cap_spec_free(s);
    else
        *ret = s;
    return err;
}

void tl_cap_spec_free(struct tl_cap_spec *spec)
{
    if (!spec)
        return;
    json_decref(spec->json);
    tl_arena_clear(&spec->arena);
    free(spec);
}

json_t *tl_cap_spec_public(const json_t *spec, bool admin)
{
    json_t *view = json_copy((json_t *)(uintptr_t)spec);
    json_object_del(view, "adapter");
    json_t *params = json_object_get(view, "exposedParams");
    json_t *kept = admin || !params ? NULL : json_object();
    const char *name;
    json_t *param;
    if (kept) {
        json_object_foreach(params, name, param) {
            const char *who = tl_json_str(param, "visibility");
            if (who && strcmp(who, "public") == 0)
                json_object_set(kept, name, param);
        }
        json_object_set_new(view, "exposedParams", kept);
    }
    return view;
}

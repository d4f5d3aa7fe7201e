/* llm.chat: asks the configured language model, where there is one; otherwise, and where it fails or its answer has not the form asked for, the result
 * of the declared local branch stands. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/llm.h"
#include "capsules/services.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"input", TL_T_JSON, 0, "values for {{name}} in the prompt"},
    {"local", TL_T_ANY, TL_PORT_REQUIRED, "the local branch's result; the model's must be of the same type"},
    {"result", TL_T_ANY, TL_PORT_OUT, "the model's answer, or local"},
    {"used_model", TL_T_BOOLEAN, TL_PORT_OUT, "whether result is the model's"},
    {NULL, 0, 0, NULL},
};

static const char *const formats[] = {"text", "json", NULL};

static const struct tl_param params[] = {
    {.name = "system", .type = TL_P_STRING, .default_json = "\"\"", .doc = "what the model is told about its task"},
    {.name = "prompt",
     .type = TL_P_STRING,
     .flags = TL_PARAM_REQUIRED,
     .doc = "the question; {{name}} stands for input's value of that name"},
    {.name = "max_tokens",
     .type = TL_P_NUMBER,
     .min = 1,
     .max = 8192,
     .step = 1,
     .default_json = "512",
     .doc = "longest answer"},
    {.name = "temperature",
     .type = TL_P_NUMBER,
     .min = 0,
     .max = 2,
     .default_json = "0.7",
     .doc = "0: the likeliest words"},
    {.name = "format",
     .type = TL_P_ENUM,
     .options = formats,
     .default_json = "\"text\"",
     .doc = "what the answer must be"},
    {.name = "schema",
     .type = TL_P_JSON,
     .doc = "[{\"name\",\"type\"}]: what a JSON answer must have; other keys are dropped"},
    {0},
};

struct priv {
    struct tl_llm *llm;
    unsigned long handle;
};

static int end_local(struct tl_op_ctx *ctx)
{
    int err = tl_op_output(ctx, "used_model", tl_value_bool(false));
    return err ? err : tl_op_output(ctx, "result", tl_value_ref(tl_op_input(ctx, "local")));
}

static json_t *schema_of(struct tl_op_ctx *ctx)
{
    const struct tl_value *v = tl_op_param(ctx, "schema");
    return tl_value_none(v) ? NULL : v->json;
}

static bool schema_entry(const json_t *item, const char **ret_name, enum tl_type *ret_type)
{
    const char *type = tl_json_str(item, "type");
    *ret_name = tl_json_str(item, "name");
    return *ret_name && type && tl_type_parse(type, ret_type);
}

static int check_schema(struct tl_op_ctx *ctx)
{
    json_t *schema = schema_of(ctx);
    const char *name;
    enum tl_type type;
    if (schema && !json_is_null(schema) && !json_is_array(schema))
        return tl_op_fail(ctx, TL_EINVAL, "schema must be a list of {\"name\",\"type\"}");
    for (size_t i = 0; i < json_array_size(schema); i++)
        if (!schema_entry(json_array_get(schema, i), &name, &type))
            return tl_op_fail(ctx, TL_EINVAL, "schema[%zu] must be {\"name\",\"type\"} with a port type", i);
    return 0;
}

static int add_value(struct tl_str *out, const json_t *v)
{
    if (json_is_string(v))
        tl_str_puts(out, json_string_value(v));
    else if (v && !json_is_null(v)) {
        TL_AUTO_FREE char *text = tl_json_text(v);
        if (!text)
            return TL_ENOMEM;
        tl_str_puts(out, text);
    }
    return out->err;
}

/* The template with each {{name}} replaced once: what a value holds is never read as a template. An absent name stands for nothing. */
static int fill(const char *template, const json_t *input, struct tl_str *out)
{
    int err = 0;
    while (!err && out->len <= TL_LLM_PROMPT_MAX) {
        const char *open = strstr(template, "{{"), *close = open ? strstr(open + 2, "}}") : NULL;
        if (!close)
            break;
        tl_str_add(out, template, (size_t)(open - template));
        const char *from = open + 2, *to = close;
        while (from < to && *from == ' ')
            from++;
        while (to > from && to[-1] == ' ')
            to--;
        TL_AUTO_FREE char *name = tl_strndup(from, (size_t)(to - from));
        err = name ? add_value(out, json_object_get(input, name)) : TL_ENOMEM;
        template = close + 2;
    }
    tl_str_puts(out, template);
    return err ? err : out->err;
}

/* The JSON object in an answer: models like to put it between fences. */
static json_t *parse_object(const char *text, size_t len)
{
    const char *from = memchr(text, '{', len), *to = memrchr(text, '}', len);
    json_t *j = NULL;
    if (!from || !to || to < from || tl_json_parse(from, (size_t)(to + 1 - from), &j, NULL) < 0)
        return NULL;
    return j;
}

/* Only what the schema names, each of its type; NULL where something is missing or of another type. */
static json_t *pick(const json_t *object, const json_t *schema)
{
    json_t *out = json_object();
    for (size_t i = 0; out && i < json_array_size(schema); i++) {
        const char *name = NULL;
        enum tl_type type = TL_T_ANY;
        struct tl_value v = {0};
        schema_entry(json_array_get(schema, i), &name, &type);
        json_t *have = json_object_get(object, name);
        bool ok = tl_value_from_json(type, have, &v, NULL) == 0 && json_object_set(out, name, have) == 0;
        tl_value_clear(&v);
        if (!ok) {
            json_decref(out);
            out = NULL;
        }
    }
    return out;
}

/* The answer as a value of the local branch's type, or none. */
static struct tl_value value_of(struct tl_op_ctx *ctx, const struct tl_llm_answer *a)
{
    const struct tl_value *local = tl_op_input(ctx, "local");
    json_t *schema = schema_of(ctx);
    TL_AUTO_JSON json_t *j = NULL;
    struct tl_value v = {0};
    if (strcmp(tl_op_param_text(ctx, "format"), "text") == 0) {
        j = local && local->type == TL_T_STRING ? json_stringn(a->text, a->len) : NULL;
    } else if (!a->cut) {
        j = parse_object(a->text, a->len);
        if (j && json_array_size(schema)) {
            json_t *picked = pick(j, schema);
            json_decref(j);
            j = picked;
        }
    }
    if (!j || !local || tl_value_from_json(local->type, j, &v, NULL) < 0)
        return (struct tl_value){0};
    return v;
}

static void on_answer(void *arg, int err, const struct tl_llm_answer *a)
{
    struct tl_op_ctx *ctx = arg;
    struct tl_value v = {0};
    if (err == TL_ECANCELLED) {
        tl_op_done(ctx, err);
        return;
    }
    if (!err) { /* paid for, whether it can be used or not */
        tl_op_usage(
            ctx, &(struct tl_usage){.tokens_in = a->tokens_in, .tokens_out = a->tokens_out, .cost_usd = a->cost_usd});
        v = value_of(ctx, a);
    }
    if (tl_value_none(&v)) {
        tl_op_impure(ctx); /* the model may answer the next time */
        tl_op_done(ctx, end_local(ctx));
        return;
    }
    tl_op_impure(ctx);
    err = tl_op_output(ctx, "used_model", tl_value_bool(true));
    if (err)
        tl_value_clear(&v);
    tl_op_done(ctx, err ? err : tl_op_output(ctx, "result", v));
}

static void on_cancel(struct tl_op_ctx *ctx)
{
    struct priv *p = tl_op_priv(ctx);
    tl_llm_cancel(p->llm, p->handle);
}

static int run(struct tl_op_ctx *ctx)
{
    struct tl_services *services = tl_cap_services(ctx);
    struct priv *p = tl_op_priv(ctx);
    struct tl_str prompt = {0}, system = {0};
    int err = check_schema(ctx);
    if (err)
        return err;
    p->llm = services ? services->llm : NULL;
    if (!p->llm)
        return end_local(ctx);
    json_t *input = tl_op_input_json(ctx, "input");
    err = fill(tl_op_param_text(ctx, "system"), input, &system);
    if (!err)
        err = fill(tl_op_param_text(ctx, "prompt"), input, &prompt);
    if (!err) {
        struct tl_llm_req req = {.system = system.data,
                                 .prompt = prompt.data,
                                 .max_tokens = (int)tl_op_param_number(ctx, "max_tokens"),
                                 .temperature = tl_op_param_number(ctx, "temperature"),
                                 .json = strcmp(tl_op_param_text(ctx, "format"), "json") == 0,
                                 .key = tl_op_idempotency_key(ctx),
                                 .arg = ctx,
                                 .done = on_answer};
        tl_op_on_cancel(ctx, on_cancel);
        err = tl_llm_ask(p->llm, &req, &p->handle); /* ctx may be gone when this returns 0 */
        if (!err)
            err = TL_OP_PENDING;
        else if (err != TL_ENOMEM)
            err = end_local(ctx);
    }
    tl_str_clear(&system);
    tl_str_clear(&prompt);
    return err;
}

const struct tl_op tl_op_llm_chat = {
    .name = "llm.chat",
    .revision = 1,
    .flags = TL_OP_NET | TL_OP_PRIVATE,
    .title = "Ask the language model",
    .doc = "Words by the configured model, with a local branch where there is none",
    .ports = ports,
    .params = params,
    .priv_size = sizeof(struct priv),
    .run = run,
};

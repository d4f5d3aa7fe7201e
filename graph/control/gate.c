/* gate: shows a value to a person and waits for what they say. The question outlives restarts (graph/ask.h); the answer names the hash of what was shown. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/ask.h"
#include "graph/body.h"
#include "graph/control/control.h"

#include <string.h>

struct gate_def {
    const struct tl_port *form; /* fields that the person fills in; each is an output too */
    uint32_t nform;
};

static const char *const data_keys[] = {"form", NULL};
static const struct tl_port own_ports[] = {
    {"value", TL_T_ANY, TL_PORT_REQUIRED, "what is shown"},
    {"value", TL_T_ANY, TL_PORT_OUT, "the same, when it was approved"},
    {"rejected", TL_T_ANY, TL_PORT_OUT, "the same, when it was rejected and on_reject is route"},
    {"approved", TL_T_BOOLEAN, TL_PORT_OUT, "what the person said"},
    {"comment", TL_T_STRING, TL_PORT_OUT, "and added"},
    {0}};

/* ---- shape ---- */

static int read_form(const struct tl_shape_req *req, struct gate_def *def, const struct tl_port **ret_out)
{
    int err = tl_body_ports(req, json_object_get(req->data, "form"), "form", 0, &def->form, &def->nform);
    struct tl_port *out = err == TL_ENOMEM ? NULL : tl_arena_alloc(req->arena, (def->nform + 1) * sizeof(*out));
    if (!out)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < def->nform; i++) {
        out[i] = def->form[i];
        out[i].flags = TL_PORT_OUT;
        if (tl_type_is_media(out[i].type))
            err = tl_body_problem(req, "form", "\"%s\": a medium cannot be filled in", out[i].name);
    }
    *ret_out = out;
    return err;
}

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    struct gate_def *def = tl_arena_alloc(req->arena, sizeof(*def));
    const struct tl_port *fields;
    int err = def ? read_form(req, def, &fields) : TL_ENOMEM;
    if (!err && req->graph->allow_private)
        err = tl_diag_add(req->diag, req->node, NULL, req->path,
                          "a gate has no place inside a capsule, where nobody could see what it asks");
    if (err)
        return err;
    ret->priv = def;
    ret->ports = tl_body_join(req, own_ports, NULL, fields);
    ret->identity = tl_body_identity(req, NULL, data_keys);
    return ret->ports && ret->identity ? 0 : TL_ENOMEM;
}

/* ---- run ---- */

static int approve(struct tl_op_ctx *ctx, const json_t *answer)
{
    const struct gate_def *def = tl_op_node(ctx)->shape->priv;
    const json_t *fields = json_object_get(answer, "fields");
    int err = tl_op_output(ctx, "value", tl_value_ref(tl_op_input(ctx, "value")));
    for (uint32_t i = 0; i < def->nform && !err; i++) {
        struct tl_value v;
        const char *why = "";
        err = tl_body_value(def->form[i].type, json_object_get(fields, def->form[i].name), &v, &why);
        if (err == TL_EINVAL)
            err = tl_op_fail(ctx, TL_ESCHEMA, "the field \"%s\" %s", def->form[i].name, why);
        else if (!err && !tl_value_none(&v))
            err = tl_op_output(ctx, def->form[i].name, v);
    }
    return err;
}

static int reject(struct tl_op_ctx *ctx, const char *comment)
{
    if (strcmp(tl_op_param_text(ctx, "on_reject"), "route") == 0)
        return tl_op_output(ctx, "rejected", tl_value_ref(tl_op_input(ctx, "value")));
    return tl_op_fail(ctx, TL_EREJECTED, "a person rejected it%s%s", *comment ? ": " : "", comment);
}

static void answered(struct tl_op_ctx *ctx, int err, const json_t *answer)
{
    const char *decision = tl_json_str(answer, "decision"), *comment = tl_json_str(answer, "comment");
    bool approved = !err && decision && strcmp(decision, "approve") == 0, late = err == TL_EEXPIRED;
    if (late && strcmp(tl_op_param_text(ctx, "on_expire"), "reject") == 0)
        err = 0;
    if (late && err)
        tl_op_fail(ctx, err, "nobody answered in time");
    comment = comment ? comment : late ? "nobody answered in time" : "";
    if (!err)
        err = approved ? approve(ctx, answer) : reject(ctx, comment);
    if (!err)
        err = tl_op_output(ctx, "approved", tl_value_bool(approved));
    if (!err)
        err = tl_op_output_json(ctx, "comment", json_string(comment));
    tl_op_done(ctx, err);
}

static int run(struct tl_op_ctx *ctx)
{
    const struct gate_def *def = tl_op_node(ctx)->shape->priv;
    if (!tl_op_open(ctx))
        return tl_op_fail(ctx, TL_EPOLICY, "a gate inside a capsule is seen by nobody");
    TL_AUTO_JSON json_t *shown = json_pack("{s:s,s:o}", "prompt", tl_op_param_text(ctx, "prompt"), "value",
                                           tl_value_json(tl_op_input(ctx, "value")));
    if (!shown)
        return TL_ENOMEM;
    int err = tl_ask_open(ctx, &(struct tl_ask){.kind = TL_ASK_GATE,
                                                .shown = shown,
                                                .expires_ms = (int64_t)(tl_op_param_number(ctx, "expires_sec") * 1000),
                                                .form = def->nform ? def->form : NULL,
                                                .answered = answered});
    return err ? err : TL_OP_PENDING;
}

static const char *const on_expire[] = {"fail", "reject", NULL};
static const char *const on_reject[] = {"fail", "route", NULL};
static const struct tl_param params[] = {
    {.name = "prompt", .type = TL_P_STRING, .max = 4000, .default_json = "\"\"", .doc = "what the person is asked"},
    {.name = "expires_sec",
     .type = TL_P_NUMBER,
     .min = 1,
     .max = TL_GATE_EXPIRES_MAX,
     .default_json = "604800",
     .doc = "how long the question stands"},
    {.name = "on_expire",
     .type = TL_P_ENUM,
     .options = on_expire,
     .default_json = "\"fail\"",
     .doc = "what it means that nobody answered"},
    {.name = "on_reject",
     .type = TL_P_ENUM,
     .options = on_reject,
     .default_json = "\"fail\"",
     .doc = "route: the value goes out of \"rejected\""},
    {0}};

const struct tl_op tl_op_gate = {
    .name = "gate",
    .revision = 1,
    .flags = TL_OP_COMPOSITE | TL_OP_ROUTES,
    .title = "Gate",
    .doc = "Waits until a person approves what it shows.",
    .ports = own_ports,
    .params = params,
    .data_keys = data_keys,
    .shape = shape,
    .run = run,
};

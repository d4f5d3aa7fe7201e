/* hints.compose: sentences for the people on the set, in the language of the scene summary: of a list of templates those whose condition holds and whose
 * facts are there, in order. */
#include "capsules/craft/facts.h"
#include "capsules/craft/op.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"facts", TL_T_JSON, TL_PORT_MULTI, "everything the other ops say; lang chooses the language"},
    {"hints", TL_T_STRINGS, TL_PORT_OUT, "the sentences"},
    {"object", TL_T_JSON, TL_PORT_OUT, "{\"hints\": the sentences}, the form that llm.chat answers in"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"templates", TL_P_JSON, TL_PARAM_REQUIRED, 0, 0, 0, NULL, NULL,
     "[{\"when\": condition, \"en\": template, \"ko\": template}]"},
    TL_CRAFT_PARAM("most", 1, 12, "5", "sentences"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    json_t *list = tl_op_param(ctx, "templates")->json, *one;
    TL_AUTO_JSON json_t *facts = tl_facts_merge(tl_op_input_json(ctx, "facts"));
    TL_AUTO_JSON json_t *hints = json_array();
    if (!facts || !hints)
        return TL_ENOMEM;
    const char *lang = tl_json_str(facts, "lang");
    lang = lang && strcmp(lang, "ko") == 0 ? "ko" : "en";
    size_t i, most = (size_t)tl_op_param_number(ctx, "most");
    json_array_foreach(list, i, one) {
        const char *text = tl_json_str(one, lang);
        const json_t *when = json_object_get(one, "when");
        if (!text || !tl_facts_valid(when))
            return tl_op_fail(ctx, TL_ESCHEMA, "templates[%zu] has no text in %s, or no valid condition", i, lang);
        if (json_array_size(hints) >= most || !tl_facts_hold(facts, when))
            continue;
        TL_CLEANUP(tl_str_clear) struct tl_str s = {0};
        int err = tl_facts_expand(facts, text, &s);
        if (err == TL_ENOTFOUND)
            continue;
        if (err)
            return tl_op_fail(ctx, err, "templates[%zu] cannot be filled in", i);
        if (json_array_append_new(hints, json_stringn(s.data, s.len)) < 0)
            return TL_ENOMEM;
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_json(&o, "object", json_pack("{s:O}", "hints", hints));
    tl_out_json(&o, "hints", json_incref(hints));
    return tl_out_end(&o);
}

const struct tl_op tl_op_hints_compose = {
    .name = "hints.compose",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Hints",
    .doc = "Sentences for the set, out of facts",
    .ports = ports,
    .params = params,
    .run = run,
};

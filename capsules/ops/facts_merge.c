/* facts.merge: everything that is known about the scene and its text, for the prompt of a language model. */
#include "capsules/craft/facts.h"
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"facts", TL_T_JSON, TL_PORT_MULTI, "objects; a later one wins"},
    {"text", TL_T_STRING, 0, "the scene summary"},
    {"all", TL_T_JSON, TL_PORT_OUT, "{\"facts\", \"scene_summary\"}"},
    {NULL, 0, 0, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const char *text = tl_op_input_text(ctx, "text");
    json_t *all = json_pack("{s:o,s:s}", "facts", tl_facts_merge(tl_op_input_json(ctx, "facts")), "scene_summary",
                            text ? text : "");
    return all ? tl_op_output_json(ctx, "all", all) : TL_ENOMEM;
}

const struct tl_op tl_op_facts_merge = {
    .name = "facts.merge",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Gather facts",
    .doc = "All facts and the text as one object",
    .ports = ports,
    .run = run,
};

/* pattern.cite: names the patterns of the library that explain the result. The first pattern cited gives the synapse rule. */
#include "capsules/craft/facts.h"
#include "capsules/craft/op.h"
#include "capsules/services.h"

#include <string.h>

enum { PATTERN_ID_MAX = 96 };

static const struct tl_port ports[] = {
    {"facts", TL_T_JSON, TL_PORT_MULTI, "what the conditions ask"},
    {"snapshot", TL_T_STRING, TL_PORT_REQUIRED, "pattern_version"},
    {"evidence_refs", TL_T_STRINGS, TL_PORT_OUT, "db:patterns:<id>"},
    {"rule", TL_T_STRING, TL_PORT_OUT, "the synapse rule, synapse:<snapshot>:<rule>"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"library", TL_P_STRING, TL_PARAM_REQUIRED, 0, 40, 0, NULL, NULL, "first part of the pattern ids"},
    {"topics", TL_P_JSON, TL_PARAM_REQUIRED, 0, 0, 0, NULL, NULL,
     "[{\"topic\", \"when\": condition}]: the second part, and when it is cited"},
    TL_CRAFT_PARAM("most", 1, 12, "4", "patterns cited"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

/* One topic: appends its reference, and takes its rule where there is none yet. */
static int cite(struct tl_op_ctx *ctx, const char *snapshot, const char *topic, json_t *refs, json_t **rule)
{
    struct tl_services *services = tl_cap_services(ctx);
    char id[PATTERN_ID_MAX];
    int len = snprintf(id, sizeof(id), "%s-%s", tl_op_param_text(ctx, "library"), topic);
    if (len < 0 || (size_t)len >= sizeof(id))
        return tl_op_fail(ctx, TL_ESCHEMA, "the pattern id is too long");
    TL_AUTO_JSON json_t *pattern = NULL;
    int err = services->open_pattern(services->arg, snapshot, id, &pattern);
    if (err)
        return tl_op_fail(ctx, err, "the snapshot %s has no pattern %s", snapshot, id);
    const char *by = tl_json_str(pattern, "synapse_rule");
    if (!*rule && by)
        *rule = json_sprintf("synapse:%s:%s", snapshot, by);
    return json_array_append_new(refs, json_sprintf("db:patterns:%s", id)) < 0 ? TL_ENOMEM : 0;
}

static int run(struct tl_op_ctx *ctx)
{
    struct tl_services *services = tl_cap_services(ctx);
    if (!services || !services->open_pattern)
        return tl_op_fail(ctx, TL_ENOTCONFIGURED, "there is no pattern library");
    TL_AUTO_JSON json_t *facts = tl_facts_merge(tl_op_input_json(ctx, "facts")), *refs = json_array(), *rule = NULL;
    if (!facts || !refs)
        return TL_ENOMEM;
    json_t *topics = tl_op_param(ctx, "topics")->json, *one;
    size_t i, most = (size_t)tl_op_param_number(ctx, "most");
    json_array_foreach(topics, i, one) {
        const char *topic = tl_json_str(one, "topic");
        const json_t *when = json_object_get(one, "when");
        if (!topic || !tl_facts_valid(when))
            return tl_op_fail(ctx, TL_ESCHEMA, "topics[%zu] has no topic, or no valid condition", i);
        if (json_array_size(refs) >= most || !tl_facts_hold(facts, when))
            continue;
        int err = cite(ctx, tl_op_input_text(ctx, "snapshot"), topic, refs, &rule);
        if (err)
            return err;
    }
    int err = tl_op_output_json(ctx, "evidence_refs", json_incref(refs));
    return err || !rule ? err : tl_op_output_json(ctx, "rule", json_incref(rule));
}

const struct tl_op tl_op_pattern_cite = {
    .name = "pattern.cite",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Cite patterns",
    .doc = "Evidence from the pattern library",
    .ports = ports,
    .params = params,
    .run = run,
};

/* hints.check: takes hints from elsewhere (a language model) where they are a short list of short sentences; otherwise the local ones. */
#include "capsules/craft/op.h"

#include <string.h>

enum { HINTS_MAX = 8, HINT_BYTES = 300 };

static const struct tl_port ports[] = {
    {"given", TL_T_ANY, 0, "{\"hints\": a list of strings}"},
    {"local", TL_T_STRINGS, TL_PORT_REQUIRED, "what hints.compose says"},
    {"hints", TL_T_STRINGS, TL_PORT_OUT, "one of the two"},
    {NULL, 0, 0, NULL},
};

static bool usable(const json_t *list)
{
    size_t n = json_array_size(list);
    if (n == 0 || n > HINTS_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        if (!json_is_string(one) || json_string_length(one) == 0 || json_string_length(one) > HINT_BYTES ||
            strlen(json_string_value(one)) != json_string_length(one))
            return false;
    }
    return true;
}

static int run(struct tl_op_ctx *ctx)
{
    json_t *given = json_object_get(tl_op_input_json(ctx, "given"), "hints");
    return tl_op_output_json(ctx, "hints", json_incref(usable(given) ? given : tl_op_input_json(ctx, "local")));
}

const struct tl_op tl_op_hints_check = {
    .name = "hints.check",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Check hints",
    .doc = "Takes over hints that have the right form",
    .ports = ports,
    .run = run,
};

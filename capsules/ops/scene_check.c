/* scene.check: takes a reading of the scene from elsewhere (a language model) as far as it has the form of one. */
#include "capsules/craft/op.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"given", TL_T_ANY, 0, "numbers by name"},
    {"use", TL_T_BOOLEAN, 0, "whether given is to be used (llm.chat's used_model)"},
    {"text", TL_T_STRING, 0, "the scene summary; without one there was nothing to read, and local stands"},
    {"local", TL_T_JSON, TL_PORT_REQUIRED, "the reading of scene.read"},
    {"scene", TL_T_JSON, TL_PORT_OUT, "local, with the numbers that were given in its place; then of weight 1"},
    {"energy", TL_T_NUMBER, TL_PORT_OUT, "its arousal"},
    {NULL, 0, 0, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    json_t *local = tl_op_input_json(ctx, "local");
    const char *text = tl_op_input_text(ctx, "text");
    const struct tl_value *use = tl_op_input(ctx, "use");
    const json_t *given = use && use->boolean && text && *text ? tl_op_input_json(ctx, "given") : NULL;
    TL_AUTO_JSON json_t *scene = json_copy(local);
    if (!scene)
        return TL_ENOMEM;
    const char *key;
    json_t *value;
    bool read = false;
    json_object_foreach(local, key, value) {
        const json_t *other = json_object_get(given, key);
        if (!json_is_number(value) || !json_is_number(other) || strcmp(key, "weight") == 0)
            continue;
        double low = strcmp(key, "valence") == 0 ? -1 : 0;
        json_t *number = json_real(tl_craft_round(tl_craft_clamp(json_number_value(other), low, 1)));
        if (json_object_set_new(scene, key, number) < 0)
            return TL_ENOMEM;
        read = true;
    }
    if (read && json_object_set_new(scene, "weight", json_real(1)) < 0)
        return TL_ENOMEM;
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "energy", tl_craft_of(scene, "arousal", 0, 1));
    tl_out_json(&o, "scene", json_incref(scene));
    return tl_out_end(&o);
}

const struct tl_op tl_op_scene_check = {
    .name = "scene.check",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Check a reading",
    .doc = "Takes over a reading of the scene where it has the right form",
    .ports = ports,
    .run = run,
};

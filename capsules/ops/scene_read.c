/* scene.read: what a scene summary says, Korean or English, as facts. */
#include "capsules/craft/op.h"
#include "capsules/craft/text.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"text", TL_T_STRING, 0, "the scene summary; without one the scene has weight 0"},
    {"scene", TL_T_JSON, TL_PORT_OUT, "lang, valence, arousal, weight and one number per feature of the lexicon"},
    {"energy", TL_T_NUMBER, TL_PORT_OUT, "arousal, 0 to 1"},
    {NULL, 0, 0, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const char *text = tl_op_input_text(ctx, "text");
    text = text ? text : "";
    enum tl_text_lang lang = tl_text_lang(text);
    struct tl_reading r;
    tl_text_read(text, strlen(text), lang, &r);
    json_t *scene =
        json_pack("{s:s,s:f,s:f,s:f}", "lang", lang == TL_LANG_KO ? "ko" : "en", "valence", tl_craft_round(r.valence),
                  "arousal", tl_craft_round(r.arousal), "weight", tl_craft_round(r.weight));
    for (int i = 0; scene && i < TL_F_COUNT; i++) {
        if (json_object_set_new(scene, tl_feature_name[i], json_real(tl_craft_round(r.feature[i]))) < 0) {
            json_decref(scene);
            scene = NULL;
        }
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_json(&o, "scene", scene);
    tl_out_number(&o, "energy", r.arousal);
    return tl_out_end(&o);
}

const struct tl_op tl_op_scene_read = {
    .name = "scene.read",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Read the scene",
    .doc = "Mood and setting of a scene summary",
    .ports = ports,
    .run = run,
};

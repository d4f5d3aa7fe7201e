/* persona.blend: who decides on pace, warmth and camera: the scene or the parameters. */
#include "capsules/craft/op.h"

#include <string.h>

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"pacing", TL_T_STRING, 0, "slow, medium or fast"},
    {"color_bias", TL_T_STRING, 0, "cool, neutral or warm"},
    {"camera_motion", TL_T_STRING, 0, "static, controlled or dynamic"},
    {"persona_priority", TL_T_STRING, 0, "script, blended or user"},
    {"pace", TL_T_NUMBER, TL_PORT_OUT, "-1 slow to 1 fast"},
    {"warmth", TL_T_NUMBER, TL_PORT_OUT, "-1 cool to 1 warm"},
    {"move", TL_T_NUMBER, TL_PORT_OUT, "-1 static to 1 dynamic"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "pace, warmth, move, script_share"},
    {NULL, 0, 0, NULL},
};

/* -1, 0 or 1 for the first, second or third word. */
static double level(struct tl_op_ctx *ctx, const char *port, const char *low, const char *high)
{
    const char *word = tl_op_input_text(ctx, port);
    if (!word)
        return 0;
    return strcmp(word, low) == 0 ? -1 : strcmp(word, high) == 0 ? 1 : 0;
}

static double f(const json_t *scene, const char *name)
{
    return tl_craft_of(scene, name, 0, 1);
}

static int run(struct tl_op_ctx *ctx)
{
    const json_t *s = tl_op_input_json(ctx, "scene");
    double excited = f(s, "arousal") - 0.45, valence = tl_craft_of(s, "valence", -1, 1);
    double pace = tl_craft_clamp(2 * excited + 0.5 * f(s, "speed") - 0.5 * f(s, "still"), -1, 1);
    double warmth = tl_craft_clamp(0.5 * valence + 0.6 * f(s, "warm") + 0.5 * f(s, "dusk") + 0.3 * f(s, "day") +
                                       0.2 * f(s, "pair") - 0.6 * f(s, "cool") - 0.4 * f(s, "night") -
                                       0.4 * f(s, "rain") - 0.4 * f(s, "snow"),
                                   -1, 1);
    double move = tl_craft_clamp(
        1.6 * excited + 0.7 * f(s, "speed") + 0.3 * f(s, "music") - 0.8 * f(s, "still") - 0.3 * f(s, "table"), -1, 1);
    /* script 0.8, blended 0.5, user 0.2 for a scene that says enough; less for one that says little. */
    double share = (0.5 - 0.3 * level(ctx, "persona_priority", "script", "user")) * f(s, "weight");
    pace = tl_craft_mix(level(ctx, "pacing", "slow", "fast"), pace, share);
    warmth = tl_craft_mix(level(ctx, "color_bias", "cool", "warm"), warmth, share);
    move = tl_craft_mix(level(ctx, "camera_motion", "static", "dynamic"), move, share);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "pace", pace);
    tl_out_number(&o, "warmth", warmth);
    tl_out_number(&o, "move", move);
    tl_out_fact(&o, "pace", pace);
    tl_out_fact(&o, "warmth", warmth);
    tl_out_fact(&o, "move", move);
    tl_out_fact(&o, "script_share", share);
    return tl_out_end(&o);
}

const struct tl_op tl_op_persona_blend = {
    .name = "persona.blend",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Blend script and user",
    .doc = "Pace, warmth and camera by scene and parameters",
    .ports = ports,
    .run = run,
};

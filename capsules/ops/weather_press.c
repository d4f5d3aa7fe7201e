/* weather.press: tension becomes weather: rain falls where the scene says so, or where pressure is high and the bias lets it. */
#include "capsules/craft/op.h"

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"pressure", TL_T_NUMBER, TL_PORT_REQUIRED, "mean tension, 0 to 1"},
    {"bias", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"warmth", TL_T_NUMBER, 0, "-1 to 1, before the weather"},
    {"rain", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"darken", TL_T_NUMBER, TL_PORT_OUT, "lightness that the weather takes"},
    {"warmth_out", TL_T_NUMBER, TL_PORT_OUT, "warmth, cooled by it"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "rain_level"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("from", 0, 1, "0.45", "pressure at which it begins to rain by itself"),
    TL_CRAFT_PARAM("darken", 0, 0.3, "0.07", "lightness taken by full rain"),
    TL_CRAFT_PARAM("cool", 0, 1, "0.35", "warmth taken by full rain"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene");
    double from = tl_op_param_number(ctx, "from"), pressure = tl_craft_in(ctx, "pressure", 0.5, 0, 1);
    double own = tl_craft_in(ctx, "bias", 0, 0, 1) * tl_craft_clamp((pressure - from) * 1.6, 0, 1);
    double said = tl_craft_of(scene, "rain", 0, 1);
    double rain = tl_craft_clamp(said + own * (1 - said), 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "rain", rain);
    tl_out_number(&o, "darken", rain * tl_op_param_number(ctx, "darken"));
    tl_out_number(&o, "warmth_out",
                  tl_craft_clamp(tl_craft_in(ctx, "warmth", 0, -1, 1) - rain * tl_op_param_number(ctx, "cool"), -1, 1));
    tl_out_fact(&o, "rain_level", rain);
    return tl_out_end(&o);
}

const struct tl_op tl_op_weather_press = {
    .name = "weather.press",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Let it rain",
    .doc = "Weather out of tension",
    .ports = ports,
    .params = params,
    .run = run,
};

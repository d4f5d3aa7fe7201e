/* light.hour: the hour of the scene as a sky: hues of zenith and horizon, glow and key. A scene that names no hour stands at the magic one. */
#include "capsules/craft/op.h"

#include <math.h>

#define RADIAN (3.14159265358979323846 / 180.0)

static const struct tl_port ports[] = {
    {"scene", TL_T_JSON, TL_PORT_REQUIRED, "facts of scene.read"},
    {"energy", TL_T_NUMBER, 0, "0 to 1"},
    {"warmth", TL_T_NUMBER, 0, "-1 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"zenith_deg", TL_T_NUMBER, TL_PORT_OUT, "hue"},
    {"horizon_deg", TL_T_NUMBER, TL_PORT_OUT, "hue"},
    {"glow", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"key", TL_T_NUMBER, TL_PORT_OUT, "lightness"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "key, glow, golden (share of dusk and dawn)"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("magic", 0, 2, "0.8", "weight of dusk that no scene has to name"),
    TL_CRAFT_PARAM("key", 0.05, 0.95, "0.74", "key lightness at dusk"),
    TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.1", "how far the clip's lightness counts"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static const struct hour {
    const char *name;
    double zenith, horizon, glow, key; /* key: against dusk's */
} hours[] = {
    {"day", 248, 300, 0.55, 0.06},
    {"dusk", 282, 30, 0.85, 0},
    {"dawn", 270, 55, 0.8, 0.03},
    {"night", 270, 335, 0.45, -0.16},
};

static double mean_angle(double c, double s)
{
    double deg = atan2(s, c) / RADIAN;
    return deg < 0 ? deg + 360 : deg;
}

static int run(struct tl_op_ctx *ctx)
{
    const json_t *scene = tl_op_input_json(ctx, "scene"), *clip = tl_op_input_json(ctx, "clip");
    double named = 0, total = 0, zc = 0, zs = 0, hc = 0, hs = 0, glow = 0, key = 0, golden = 0;
    for (size_t i = 0; i < TL_ARRAY_LEN(hours); i++)
        named += tl_craft_of(scene, hours[i].name, 0, 1);
    double magic = named > 0 || tl_op_param_number(ctx, "magic") > 0 ? tl_op_param_number(ctx, "magic") : 1;
    for (size_t i = 0; i < TL_ARRAY_LEN(hours); i++) {
        double w = tl_craft_of(scene, hours[i].name, 0, 1) + (i == 1 ? magic : 0);
        total += w;
        zc += w * cos(hours[i].zenith * RADIAN);
        zs += w * sin(hours[i].zenith * RADIAN);
        hc += w * cos(hours[i].horizon * RADIAN);
        hs += w * sin(hours[i].horizon * RADIAN);
        glow += w * hours[i].glow;
        key += w * hours[i].key;
        golden += i == 1 || i == 2 ? w : 0;
    }
    double rain = tl_craft_of(scene, "rain", 0, 1);
    key = tl_op_param_number(ctx, "key") + key / total - 0.05 * rain + 0.06 * tl_craft_of(scene, "valence", -1, 1);
    if (tl_craft_of(clip, "clip", 0, 1) > 0)
        key = tl_craft_mix(key, tl_craft_of(clip, "clip_luma", 0, 1), tl_op_param_number(ctx, "clip_pull"));
    glow = tl_craft_clamp(glow / total + 0.2 * (tl_craft_in(ctx, "energy", 0.5, 0, 1) - 0.5), 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_number(&o, "zenith_deg", mean_angle(zc, zs));
    tl_out_number(&o, "horizon_deg", mean_angle(hc, hs) + 12 * tl_craft_in(ctx, "warmth", 0, -1, 1));
    tl_out_number(&o, "glow", glow);
    tl_out_number(&o, "key", tl_craft_clamp(key, 0.3, 0.9));
    tl_out_fact(&o, "key", tl_craft_clamp(key, 0.3, 0.9));
    tl_out_fact(&o, "glow", glow);
    tl_out_fact(&o, "golden", golden / total);
    return tl_out_end(&o);
}

const struct tl_op tl_op_light_hour = {
    .name = "light.hour",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Hour of light",
    .doc = "The sky of the scene's hour",
    .ports = ports,
    .params = params,
    .run = run,
};

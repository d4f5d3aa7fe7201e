/* palette.finish: the palette that leaves the capsule: sorted from dark to light, mapped into sRGB, blended with a grey ladder by intensity. Its
 * colour axes are measured on the unblended palette, for style.compose blends them itself. */
#include "capsules/craft/op.h"

#include <math.h>

#define RADIAN (3.14159265358979323846 / 180.0)

static const struct tl_port ports[] = {
    {"colours", TL_T_JSON, TL_PORT_REQUIRED, "[[L, a, b], …]"},
    {"intensity", TL_T_NUMBER, 0, "0 to 1"},
    {"palette", TL_T_STRINGS, TL_PORT_OUT, "#RRGGBB, dark to light"},
    {"chroma", TL_T_NUMBER, TL_PORT_OUT, "mean OKLCh C"},
    {"hue_cos", TL_T_NUMBER, TL_PORT_OUT, "cosine of the leading hue, times its strength"},
    {"hue_sin", TL_T_NUMBER, TL_PORT_OUT, "its sine, likewise"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "hue_deg, palette_chroma, spread"},
    {NULL, 0, 0, NULL},
};

static void sort_by_light(struct tl_lab *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        for (size_t k = i; k > 0 && v[k].l < v[k - 1].l; k--) {
            struct tl_lab swap = v[k];
            v[k] = v[k - 1];
            v[k - 1] = swap;
        }
    }
}

static int run(struct tl_op_ctx *ctx)
{
    struct tl_lab v[TL_COLOURS_MAX];
    size_t n;
    int err = tl_craft_colours_in(ctx, "colours", v, &n);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++)
        v[i] = tl_lab_into_gamut(v[i]);
    sort_by_light(v, n);
    struct tl_palette_stats s;
    tl_palette_stats(v, n, &s);
    double intensity = tl_craft_in(ctx, "intensity", 0.7, 0, 1);
    json_t *palette = json_array();
    for (size_t i = 0; i < n; i++) {
        double grey = n > 1 ? 0.15 + 0.75 * (double)i / (double)(n - 1) : 0.5, full = 0.4 + 0.6 * intensity;
        char hex[TL_HEX_TEXT];
        tl_lab_hex((struct tl_lab){tl_craft_mix(grey, v[i].l, full), v[i].a * full, v[i].b * full}, hex);
        if (palette && json_array_append_new(palette, json_string(hex)) < 0) {
            json_decref(palette);
            palette = NULL;
        }
    }
    struct tl_out o = {.ctx = ctx};
    tl_out_json(&o, "palette", palette);
    tl_out_number(&o, "chroma", s.chroma);
    tl_out_number(&o, "hue_cos", s.strength * cos(s.hue_deg * RADIAN));
    tl_out_number(&o, "hue_sin", s.strength * sin(s.hue_deg * RADIAN));
    tl_out_fact(&o, "hue_deg", s.hue_deg);
    tl_out_fact(&o, "palette_chroma", s.chroma);
    tl_out_fact(&o, "spread", s.spread);
    return tl_out_end(&o);
}

const struct tl_op tl_op_palette_finish = {
    .name = "palette.finish",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Finish the palette",
    .doc = "Hexadecimal colours and the colour axes",
    .ports = ports,
    .run = run,
};

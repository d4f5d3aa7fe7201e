#include "capsules/craft/color.h"

#include "base/hash.h"
#include "capsules/craft/num.h"

#include <math.h>
#include <stdio.h>

#define DEGREE (3.14159265358979323846 / 180.0)

struct tl_lab tl_lab_from_lch(double l, double c, double hue_deg)
{
    return (struct tl_lab){l, c * cos(hue_deg * DEGREE), c * sin(hue_deg * DEGREE)};
}

double tl_lab_chroma(struct tl_lab v)
{
    return sqrt(v.a * v.a + v.b * v.b);
}

double tl_lab_hue(struct tl_lab v)
{
    if (tl_lab_chroma(v) < 1e-6)
        return 0;
    double h = atan2(v.b, v.a) / DEGREE;
    return h < 0 ? h + 360 : h;
}

static void linear_rgb(struct tl_lab v, double rgb[3])
{
    double l = v.l + 0.3963377774 * v.a + 0.2158037573 * v.b;
    double m = v.l - 0.1055613458 * v.a - 0.0638541728 * v.b;
    double s = v.l - 0.0894841775 * v.a - 1.2914855480 * v.b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    rgb[0] = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
    rgb[1] = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
    rgb[2] = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
}

static bool inside(struct tl_lab v)
{
    double rgb[3];
    linear_rgb(v, rgb);
    for (int i = 0; i < 3; i++) {
        if (rgb[i] < -1e-6 || rgb[i] > 1 + 1e-6)
            return false;
    }
    return true;
}

struct tl_lab tl_lab_into_gamut(struct tl_lab v)
{
    v.l = tl_craft_clamp(v.l, 0, 1);
    if (inside(v))
        return v;
    double low = 0, high = 1; /* share of the chroma that fits */
    for (int i = 0; i < 24; i++) {
        double mid = (low + high) / 2;
        if (inside((struct tl_lab){v.l, v.a * mid, v.b * mid}))
            low = mid;
        else
            high = mid;
    }
    return (struct tl_lab){v.l, v.a * low, v.b * low};
}

static double to_srgb(double v)
{
    v = tl_craft_clamp(v, 0, 1);
    return v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
}

void tl_lab_hex(struct tl_lab v, char ret[TL_HEX_TEXT])
{
    double rgb[3];
    unsigned byte[3];
    linear_rgb(tl_lab_into_gamut(v), rgb);
    for (int i = 0; i < 3; i++)
        byte[i] = (unsigned)floor(to_srgb(rgb[i]) * 255 + 0.5) & 0xff;
    snprintf(ret, TL_HEX_TEXT, "#%02X%02X%02X", byte[0], byte[1], byte[2]);
}

bool tl_lab_from_hex(const char *hex, struct tl_lab *ret)
{
    double rgb[3];
    uint8_t byte[3];
    if (!hex || hex[0] != '#' || !tl_unhex(hex + 1, byte, 3))
        return false;
    for (int i = 0; i < 3; i++) {
        double v = byte[i] / 255.0;
        rgb[i] = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
    }
    double l = cbrt(0.4122214708 * rgb[0] + 0.5363325363 * rgb[1] + 0.0514459929 * rgb[2]);
    double m = cbrt(0.2119034982 * rgb[0] + 0.6806995451 * rgb[1] + 0.1073969566 * rgb[2]);
    double s = cbrt(0.0883024619 * rgb[0] + 0.2817188376 * rgb[1] + 0.6299787005 * rgb[2]);
    ret->l = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
    ret->a = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
    ret->b = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
    return true;
}

void tl_palette_stats(const struct tl_lab *v, size_t n, struct tl_palette_stats *ret)
{
    *ret = (struct tl_palette_stats){0};
    if (n == 0)
        return;
    struct tl_lab mean = {0};
    double low = v[0].l, high = v[0].l;
    for (size_t i = 0; i < n; i++) {
        mean.l += v[i].l / (double)n;
        mean.a += v[i].a / (double)n;
        mean.b += v[i].b / (double)n;
        ret->chroma += tl_lab_chroma(v[i]) / (double)n;
        low = v[i].l < low ? v[i].l : low;
        high = v[i].l > high ? v[i].l : high;
    }
    ret->light = mean.l;
    ret->spread = high - low;
    ret->hue_deg = tl_lab_hue(mean);
    ret->strength = ret->chroma > 1e-6 ? tl_craft_clamp(tl_lab_chroma(mean) / ret->chroma, 0, 1) : 0;
}

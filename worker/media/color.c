#include "worker/media/color.h"

#include "base/hash.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

float tl_wk_srgb_decode(float v)
{
    return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

float tl_wk_srgb_encode(float v)
{
    return v <= 0.0031308f ? v * 12.92f : 1.055f * powf(v, 1 / 2.4f) - 0.055f;
}

static float table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void)
{
    for (int i = 0; i < 256; i++)
        table[i] = tl_wk_srgb_decode((float)i / 255);
}

float tl_wk_srgb8_decode(uint8_t v)
{
    pthread_once(&table_once, fill_table);
    return table[v];
}

struct tl_lab tl_wk_lab_from_linear(float r, float g, float b)
{
    float l = cbrtf(0.4122214708f * r + 0.5363325363f * g + 0.0514459929f * b);
    float m = cbrtf(0.2119034982f * r + 0.6806995451f * g + 0.1073969566f * b);
    float s = cbrtf(0.0883024619f * r + 0.2817188376f * g + 0.6299787005f * b);
    return (struct tl_lab){0.2104542553f * l + 0.7936177850f * m - 0.0040720468f * s,
                           1.9779984951f * l - 2.4285922050f * m + 0.4505937099f * s,
                           0.0259040371f * l + 0.7827717662f * m - 0.8086757660f * s};
}

struct tl_lab tl_wk_lab_from_srgb8(uint8_t r, uint8_t g, uint8_t b)
{
    return tl_wk_lab_from_linear(tl_wk_srgb8_decode(r), tl_wk_srgb8_decode(g), tl_wk_srgb8_decode(b));
}

void tl_wk_lab_to_linear(struct tl_lab c, float ret[3])
{
    float l = c.L + 0.3963377774f * c.a + 0.2158037573f * c.b;
    float m = c.L - 0.1055613458f * c.a - 0.0638541728f * c.b;
    float s = c.L - 0.0894841775f * c.a - 1.2914855480f * c.b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    ret[0] = 4.0767416621f * l - 3.3077115913f * m + 0.2309699292f * s;
    ret[1] = -1.2684380046f * l + 2.6097574011f * m - 0.3413193965f * s;
    ret[2] = -0.0041960863f * l - 0.7034186147f * m + 1.7076147010f * s;
}

static bool in_gamut(const float rgb[3])
{
    const float slack = 1e-4f;
    for (int i = 0; i < 3; i++)
        if (!(rgb[i] >= -slack && rgb[i] <= 1 + slack))
            return false;
    return true;
}

void tl_wk_lab_to_srgb(struct tl_lab c, float ret[3])
{
    c.L = c.L < 0 ? 0 : c.L > 1 ? 1 : c.L;
    tl_wk_lab_to_linear(c, ret);
    if (!in_gamut(ret)) {
        float low = 0, high = 1;
        for (int i = 0; i < 14; i++) {
            float mid = (low + high) / 2;
            tl_wk_lab_to_linear((struct tl_lab){c.L, c.a * mid, c.b * mid}, ret);
            if (in_gamut(ret))
                low = mid;
            else
                high = mid;
        }
        tl_wk_lab_to_linear((struct tl_lab){c.L, c.a * low, c.b * low}, ret);
    }
    for (int i = 0; i < 3; i++)
        ret[i] = tl_wk_srgb_encode(ret[i] < 0 ? 0 : ret[i] > 1 ? 1 : ret[i]);
}

float tl_wk_lab_chroma(struct tl_lab c)
{
    return sqrtf(c.a * c.a + c.b * c.b);
}

float tl_wk_lab_hue(struct tl_lab c)
{
    float h = atan2f(c.b, c.a) * (float)(180 / M_PI);
    return h < 0 ? h + 360 < 360 ? h + 360 : 0 : h;
}

float tl_wk_hue_distance(float a, float b)
{
    float d = fmodf(fabsf(a - b), 360);
    return d > 180 ? 360 - d : d;
}

bool tl_wk_hex_parse(const char *text, struct tl_lab *ret)
{
    uint8_t v[3];
    if (!text || text[0] != '#' || !tl_unhex(text + 1, v, 3))
        return false;
    *ret = tl_wk_lab_from_srgb8(v[0], v[1], v[2]);
    return true;
}

void tl_wk_hex_text(struct tl_lab c, char ret[TL_HEX_COLOR])
{
    float rgb[3];
    tl_wk_lab_to_srgb(c, rgb);
    unsigned v[3];
    for (int i = 0; i < 3; i++)
        v[i] = (unsigned)lrintf(rgb[i] * 255) & 255;
    snprintf(ret, TL_HEX_COLOR, "#%02X%02X%02X", v[0], v[1], v[2]);
}

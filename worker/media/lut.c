#include "worker/media/lut.h"

#include <math.h>
#include <string.h>

enum { KNOTS = 257, ROUNDS = 10 };

static const double tone_blur = 9; /* bins of 256: the tone histogram is smoothed by it */
static const double slope_low = 0.12, slope_high = 2.6;
static const double source_shape = 0.45;            /* share of the clip's own distribution in the result's */
static const double cast_removed = 0.75;            /* share of the clip's mean colour that is taken out */
static const double tint_share = 0.68;              /* of the palette's colour for the tone */
static const double own_low = 0.25, own_high = 1.6; /* what may become of a colour's own chroma */
static const double pull_degrees = 55;              /* reach of a palette colour's pull on hues */
static const double own_turn = 38;     /* most degrees that a colour is turned towards the palette: grass stays green */
static const double full_spread = 0.5; /* a clip with a smaller spread of tones gets a smaller part of the palette */
static const float skin_turn = 11, sky_turn = 20; /* most degrees of hue that skin and sky may turn */

static float smooth(float from, float to, float v)
{
    float t = (v - from) / (to - from);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return t * t * (3 - 2 * t);
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

float tl_wk_skin(struct tl_lab c)
{
    float C = tl_wk_lab_chroma(c), d = tl_wk_hue_distance(tl_wk_lab_hue(c), 54);
    return (1 - smooth(14, 32, d)) * smooth(0.025f, 0.05f, C) * (1 - smooth(0.14f, 0.19f, C)) *
           smooth(0.25f, 0.4f, c.L) * (1 - smooth(0.92f, 0.98f, c.L));
}

float tl_wk_sky(struct tl_lab c)
{
    float C = tl_wk_lab_chroma(c), d = tl_wk_hue_distance(tl_wk_lab_hue(c), 245);
    return (1 - smooth(18, 38, d)) * smooth(0.025f, 0.05f, C) * (1 - smooth(0.17f, 0.22f, C)) *
           smooth(0.5f, 0.65f, c.L);
}

void tl_wk_look_aim(const struct tl_wk_look *look, struct tl_wk_aim *ret)
{
    double low = 1, high = 0;
    for (size_t i = 0; i < look->ncolours; i++) {
        low = fmin(low, look->palette[i].L);
        high = fmax(high, look->palette[i].L);
    }
    double spread = high > low ? high - low : 0.4;
    ret->key = clamp(look->key, 0.08, 0.85);
    ret->chroma = clamp(look->chroma, 0.004, 0.24);
    ret->contrast = clamp(spread * (0.74 + 1.6 * (ret->chroma - 0.08) + 0.7 * (0.5 - ret->key)), 0.14, 0.82);
    ret->hue_x = ret->chroma * look->hue_cos;
    ret->hue_y = ret->chroma * look->hue_sin;
}

struct grade {
    const struct tl_wk_look *look;
    struct tl_wk_aim aim;
    double rank[KNOTS]; /* share of the source darker than L */
    double tone[KNOTS]; /* L → graded L */
    double spread;      /* share of the palette's length that the tones cover */
    double mean_a, mean_b, gain, shift_a, shift_b;
};

static double at(const double *knots, double L)
{
    double x = clamp(L, 0, 1) * (KNOTS - 1);
    int i = (int)x;
    if (i >= KNOTS - 1)
        return knots[KNOTS - 1];
    return knots[i] + (knots[i + 1] - knots[i]) * (x - i);
}

static void make_rank(struct grade *g, const struct tl_wk_cloud *source)
{
    double smoothed[KNOTS] = {0}, sum = 0;
    int reach = (int)(3 * tone_blur);
    for (int i = 0; i < TL_CLOUD_TONES; i++)
        for (int k = -reach; source->tones[i] > 0 && k <= reach; k++) {
            int to = i + k < 0 ? 0 : i + k >= KNOTS ? KNOTS - 1 : i + k;
            smoothed[to] += source->tones[i] * exp(-k * k / (2 * tone_blur * tone_blur));
        }
    for (int i = 0; i < KNOTS; i++)
        sum += smoothed[i];
    double seen = 0;
    for (int i = 0; i < KNOTS; i++) {
        seen += smoothed[i];
        g->rank[i] = sum > 0 ? (seen - smoothed[i] / 2) / sum : (double)i / (KNOTS - 1);
    }
}

/* Where in the picture's spread a share of it lies when its tones are spread like a bell: about -0.5 at 5 %, 0 at half, 0.5 at 95 %. */
static double bell(double p)
{
    p = clamp(p, 0.003, 0.997);
    return log(p / (1 - p)) / (2 * log(19));
}

/* A monotone curve through the median, whose slope stays where pictures stay believable. */
static void make_tone(struct grade *g, const struct tl_wk_cloud *source)
{
    double median = tl_wk_cloud_quantile(source, 0.5);
    double own = fmax(tl_wk_cloud_quantile(source, 0.95) - tl_wk_cloud_quantile(source, 0.05), 0.05);
    double below = fmin(g->aim.contrast / 2, g->aim.key * 0.9),
           above = fmin(g->aim.contrast - below, 0.97 - g->aim.key);
    double want[KNOTS];
    for (int i = 0; i < KNOTS; i++) {
        double L = (double)i / (KNOTS - 1);
        double z = source_shape * (L - median) / own + (1 - source_shape) * bell(g->rank[i]);
        want[i] = z < 0 ? g->aim.key + 2 * below * z : g->aim.key + 2 * above * z;
        /* Ends roll off instead of clipping. */
        if (want[i] < 0.06)
            want[i] = 0.06 * exp((want[i] - 0.06) / 0.12);
        if (want[i] > 0.94)
            want[i] = 1 - 0.06 * exp((0.94 - want[i]) / 0.12);
    }
    int mid = (int)(median * (KNOTS - 1) + 0.5);
    double step = 1.0 / (KNOTS - 1);
    g->tone[mid] = g->aim.key;
    for (int i = mid + 1; i < KNOTS; i++)
        g->tone[i] = fmin(g->tone[i - 1] + clamp(want[i] - want[i - 1] + 0.1 * (want[i] - g->tone[i - 1]),
                                                 slope_low * step, slope_high * step),
                          1);
    for (int i = mid - 1; i >= 0; i--)
        g->tone[i] = fmax(g->tone[i + 1] - clamp(want[i + 1] - want[i] + 0.1 * (g->tone[i + 1] - want[i]),
                                                 slope_low * step, slope_high * step),
                          0);
}

/* The palette's colour for a tone: dark colours to shadows, light ones to highlights; blended over neighbours, so that tones close to each other have
 * colours close to each other. */
static void tint(const struct grade *g, double rank, double *a, double *b)
{
    const struct tl_wk_look *k = g->look;
    double x = (0.5 + (clamp(rank, 0, 1) - 0.5) * g->spread) * (double)(k->ncolours - 1), sum = 0;
    *a = *b = 0;
    for (size_t i = 0; i < k->ncolours; i++) {
        double d = ((double)i - x) / 0.9, w = exp(-d * d / 2);
        *a += w * k->palette[i].a;
        *b += w * k->palette[i].b;
        sum += w;
    }
    *a /= sum;
    *b /= sum;
}

/* A colour's own hue, turned towards the palette's colours near it in hue and tone; its chroma stays. */
static void draw_to_palette(const struct tl_wk_look *k, double L, double *a, double *b)
{
    double C = sqrt(*a * *a + *b * *b), x = 0, y = 0;
    if (C < 1e-6)
        return;
    float hue = tl_wk_lab_hue((struct tl_lab){0, (float)*a, (float)*b});
    for (size_t i = 0; i < k->ncolours; i++) {
        double dh = (double)tl_wk_hue_distance(hue, tl_wk_lab_hue(k->palette[i])) / pull_degrees,
               dl = (k->palette[i].L - L) / 0.35;
        double w = 0.04 + exp(-(dh * dh + dl * dl) / 2);
        x += w * k->palette[i].a;
        y += w * k->palette[i].b;
    }
    if (x * x + y * y < 1e-12)
        return;
    double to = (double)tl_wk_lab_hue((struct tl_lab){0, (float)x, (float)y}) - (double)hue;
    to = to > 180 ? to - 360 : to < -180 ? to + 360 : to;
    double h = ((double)hue + own_turn * tanh(0.8 * to / own_turn)) * M_PI / 180;
    *a = C * cos(h);
    *b = C * sin(h);
}

/* Keeps the hue within most degrees of the original's and the chroma near it, as far as the colour is to be spared. */
static void spare(struct tl_lab from, struct tl_lab *to, float how, float most)
{
    if (how <= 0)
        return;
    float h0 = tl_wk_lab_hue(from), h1 = tl_wk_lab_hue(*to), d = h1 - h0, c0 = tl_wk_lab_chroma(from),
          c1 = tl_wk_lab_chroma(*to);
    d = d > 180 ? d - 360 : d < -180 ? d + 360 : d;
    d = d > most ? most : d < -most ? -most : d;
    float C = (float)clamp(c1, 0.35 * c0, 1.25 * c0), h = (h0 + d) * (float)(M_PI / 180);
    to->a += how * (C * cosf(h) - to->a);
    to->b += how * (C * sinf(h) - to->b);
}

static struct tl_lab grade(const struct grade *g, struct tl_lab c)
{
    double L = at(g->tone, c.L), ta, tb;
    double a = c.a - cast_removed * g->mean_a, b = c.b - cast_removed * g->mean_b;
    draw_to_palette(g->look, L, &a, &b);
    tint(g, at(g->rank, c.L), &ta, &tb);
    /* Black and white hold no colour. */
    double room = fmin(1, fmin(L / 0.18, (1 - L) / 0.12));
    double own = clamp(g->gain, own_low, own_high) * (1 - tint_share / 2), tinted = g->gain * tint_share;
    tinted *= 1 - 0.55 * (double)smooth(0.86f, 0.99f, c.L); /* what was white stays nearly so */
    a = tinted * ta + own * a + g->shift_a;
    b = tinted * tb + own * b + g->shift_b;
    double C = sqrt(a * a + b * b), most = 0.26, bent = C > 0 ? most * tanh(C / most) / C : 1;
    struct tl_lab to = {(float)L, (float)(a * bent * room), (float)(b * bent * room)};
    float skin = tl_wk_skin(c), sky = tl_wk_sky(c);
    spare(c, &to, 0.9f * skin, skin_turn);
    spare(c, &to, 0.85f * sky, sky_turn);
    return to;
}

/* Finds gain and shift so that mean chroma and mean colour come out as aimed at, over the clip's own colours. */
static void settle(struct grade *g, const struct tl_wk_cloud *source)
{
    g->gain = 1;
    for (int round = 0; round < ROUNDS; round++) {
        double n = 0, chroma = 0, a = 0, b = 0;
        for (int i = 0; i < TL_CLOUD_N; i++) {
            double m = source->cell[i].n;
            if (m <= 0)
                continue;
            float rgb[3];
            struct tl_lab c = grade(g, (struct tl_lab){(float)(source->cell[i].L / m), (float)(source->cell[i].a / m),
                                                       (float)(source->cell[i].b / m)});
            tl_wk_lab_to_srgb(c, rgb); /* what the gamut leaves of it */
            c = tl_wk_lab_from_linear(tl_wk_srgb_decode(rgb[0]), tl_wk_srgb_decode(rgb[1]), tl_wk_srgb_decode(rgb[2]));
            n += m;
            chroma += m * tl_wk_lab_chroma(c);
            a += m * c.a;
            b += m * c.b;
        }
        if (n <= 0 || chroma <= 0)
            return;
        g->shift_a = clamp(g->shift_a + 0.6 * (g->aim.hue_x - a / n), -0.12, 0.12);
        g->shift_b = clamp(g->shift_b + 0.6 * (g->aim.hue_y - b / n), -0.12, 0.12);
        g->gain = clamp(g->gain * pow(g->aim.chroma * n / chroma, 0.8), 0.05, 7);
    }
}

void tl_wk_lut_make(const struct tl_wk_look *look, const struct tl_wk_cloud *source, struct tl_wk_lut *ret)
{
    struct grade g = {.look = look};
    tl_wk_look_aim(look, &g.aim);
    make_rank(&g, source);
    make_tone(&g, source);
    g.spread = clamp((tl_wk_cloud_quantile(source, 0.95) - tl_wk_cloud_quantile(source, 0.05)) / full_spread, 0.15, 1);
    for (int i = 0; i < TL_CLOUD_N; i++) {
        g.mean_a += source->cell[i].a;
        g.mean_b += source->cell[i].b;
    }
    g.mean_a /= fmax(source->n, 1);
    g.mean_b /= fmax(source->n, 1);
    settle(&g, source);
    float s = (float)look->strength;
    for (int r = 0; r < TL_LUT_SIDE; r++)
        for (int gr = 0; gr < TL_LUT_SIDE; gr++)
            for (int b = 0; b < TL_LUT_SIDE; b++) {
                const float top = TL_LUT_SIDE - 1;
                struct tl_lab from =
                    tl_wk_lab_from_linear(tl_wk_srgb_decode((float)r / top), tl_wk_srgb_decode((float)gr / top),
                                          tl_wk_srgb_decode((float)b / top));
                struct tl_lab to = grade(&g, from);
                float rgb[3];
                to.L = from.L + s * (to.L - from.L);
                to.a = from.a + s * (to.a - from.a);
                to.b = from.b + s * (to.b - from.b);
                tl_wk_lab_to_srgb(to, rgb);
                for (int c = 0; c < 3; c++)
                    ret->v[r][gr][b][c] = (int16_t)lrintf(rgb[c] * 255 * TL_LUT_ONE);
                ret->v[r][gr][b][3] = 0;
            }
}

static const uint8_t bayer[8][8] = {
    {0, 32, 8, 40, 2, 34, 10, 42},    {48, 16, 56, 24, 50, 18, 58, 26}, {12, 44, 4, 36, 14, 46, 6, 38},
    {60, 28, 52, 20, 62, 30, 54, 22}, {3, 35, 11, 43, 1, 33, 9, 41},    {51, 19, 59, 27, 49, 17, 57, 25},
    {15, 47, 7, 39, 13, 45, 5, 37},   {63, 31, 55, 23, 61, 29, 53, 21},
};

void tl_wk_lut_apply(const struct tl_wk_lut *lut, uint8_t *rgb, int stride, int width, int height)
{
    /* Code value → lattice place and the part beyond it, of 256. */
    uint8_t cell[256];
    uint16_t part[256];
    for (int i = 0; i < 256; i++) {
        int x = (i * (TL_LUT_SIDE - 1) * 256 + 127) / 255;
        cell[i] = (uint8_t)(x >> 8);
        part[i] = (uint16_t)(x & 255);
        if (cell[i] >= TL_LUT_SIDE - 1) {
            cell[i] = TL_LUT_SIDE - 2;
            part[i] = 256;
        }
    }
    enum { B = 4, G = B * TL_LUT_SIDE, R = G * TL_LUT_SIDE };
    const int16_t *base = &lut->v[0][0][0][0];
    for (int y = 0; y < height; y++) {
        uint8_t *p = rgb + (ptrdiff_t)y * stride;
        for (int x = 0; x < width; x++, p += 3) {
            int fr = part[p[0]], fg = part[p[1]], fb = part[p[2]];
            const int16_t *v0 = base + cell[p[0]] * R + cell[p[1]] * G + cell[p[2]] * B, *v3 = v0 + R + G + B;
            int o1, o2, w1, w2, w3; /* tetrahedron: the axes in falling order of their parts */
            if (fr >= fg) {
                if (fg >= fb)
                    o1 = R, o2 = R + G, w1 = fr, w2 = fg, w3 = fb;
                else if (fr >= fb)
                    o1 = R, o2 = R + B, w1 = fr, w2 = fb, w3 = fg;
                else
                    o1 = B, o2 = B + R, w1 = fb, w2 = fr, w3 = fg;
            } else if (fr >= fb) {
                o1 = G, o2 = G + R, w1 = fg, w2 = fr, w3 = fb;
            } else if (fg >= fb) {
                o1 = G, o2 = G + B, w1 = fg, w2 = fb, w3 = fr;
            } else {
                o1 = B, o2 = B + G, w1 = fb, w2 = fg, w3 = fr;
            }
            const int16_t *v1 = v0 + o1, *v2 = v0 + o2;
            int dither = bayer[y & 7][x & 7];
            for (int c = 0; c < 3; c++) {
                int v = (256 - w1) * v0[c] + (w1 - w2) * v1[c] + (w2 - w3) * v2[c] + w3 * v3[c];
                v = ((v >> 8) + dither) / TL_LUT_ONE;
                p[c] = (uint8_t)(v > 255 ? 255 : v);
            }
        }
    }
}

#include "worker/media/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEAR = 3 /* cells around a highlight */ };

void tl_wk_rgb_lab(const uint8_t *rgb, int stride, int width, int height, struct tl_lab ret[TL_GRID_N])
{
    for (int cy = 0; cy < TL_GRID_H; cy++)
        for (int cx = 0; cx < TL_GRID_W; cx++) {
            int x0 = cx * width / TL_GRID_W, x1 = (cx + 1) * width / TL_GRID_W, y0 = cy * height / TL_GRID_H,
                y1 = (cy + 1) * height / TL_GRID_H;
            x1 = x1 > x0 ? x1 : x0 + 1;
            y1 = y1 > y0 ? y1 : y0 + 1;
            unsigned sum[3] = {0}, n = (unsigned)(x1 - x0) * (unsigned)(y1 - y0);
            for (int y = y0; y < y1; y++)
                for (int x = x0; x < x1; x++)
                    for (int c = 0; c < 3; c++)
                        sum[c] += rgb[(ptrdiff_t)y * stride + 3 * x + c];
            ret[cy * TL_GRID_W + cx] = tl_wk_lab_from_srgb8(
                (uint8_t)((sum[0] + n / 2) / n), (uint8_t)((sum[1] + n / 2) / n), (uint8_t)((sum[2] + n / 2) / n));
        }
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static bool near_one(const uint8_t *high, int cx, int cy)
{
    for (int y = cy - NEAR < 0 ? 0 : cy - NEAR; y <= cy + NEAR && y < TL_GRID_H; y++)
        for (int x = cx - NEAR < 0 ? 0 : cx - NEAR; x <= cx + NEAR && x < TL_GRID_W; x++)
            if (high[y * TL_GRID_W + x])
                return true;
    return false;
}

double tl_wk_halo(const struct tl_lab lab[TL_GRID_N])
{
    float sorted[TL_GRID_N];
    for (int i = 0; i < TL_GRID_N; i++)
        sorted[i] = lab[i].L;
    qsort(sorted, TL_GRID_N, sizeof(sorted[0]), ascending);
    float median = sorted[TL_GRID_N / 2], from = sorted[TL_GRID_N * 97 / 100];
    if (from < median + 0.05f)
        return -1;
    uint8_t high[TL_GRID_N];
    double bright = 0, ring = 0;
    int nbright = 0, nring = 0;
    for (int i = 0; i < TL_GRID_N; i++) {
        high[i] = lab[i].L >= from;
        if (high[i]) {
            bright += lab[i].L;
            nbright++;
        }
    }
    for (int y = 0; y < TL_GRID_H; y++)
        for (int x = 0; x < TL_GRID_W; x++)
            if (!high[y * TL_GRID_W + x] && near_one(high, x, y)) {
                ring += lab[y * TL_GRID_W + x].L;
                nring++;
            }
    if (!nbright || !nring)
        return -1;
    double share = (ring / nring - median) / (bright / nbright - median);
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

static double spread(const struct tl_lab lab[TL_GRID_N])
{
    float sorted[TL_GRID_N];
    for (int i = 0; i < TL_GRID_N; i++)
        sorted[i] = lab[i].L;
    qsort(sorted, TL_GRID_N, sizeof(sorted[0]), ascending);
    return sorted[TL_GRID_N * 95 / 100] - sorted[TL_GRID_N * 5 / 100];
}

void tl_wk_measure_add(struct tl_wk_measure *m, const struct tl_lab lab[TL_GRID_N])
{
    double chroma = 0, a = 0, b = 0;
    for (int i = 0; i < TL_GRID_N; i++) {
        tl_wk_cloud_add(&m->cloud, lab[i]);
        double c = tl_wk_lab_chroma(lab[i]);
        int bin = (int)(tl_wk_lab_hue(lab[i]) * TL_HUE_BINS / 360);
        m->hues[bin < TL_HUE_BINS ? bin : 0] += c;
        chroma += c;
        a += lab[i].a;
        b += lab[i].b;
    }
    m->chroma += chroma / TL_GRID_N;
    m->hue_x += a / TL_GRID_N;
    m->hue_y += b / TL_GRID_N;
    m->contrast += spread(lab);
    double halo = tl_wk_halo(lab);
    if (halo >= 0) {
        m->halo += halo;
        m->halos++;
    }
    m->pictures++;
}

void tl_wk_measure_result(const struct tl_wk_measure *m, struct tl_wk_measured *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (!m->pictures)
        return;
    double n = m->pictures, all = 0;
    ret->median_lightness = tl_wk_cloud_quantile(&m->cloud, 0.5);
    ret->mean_chroma = m->chroma / n;
    ret->contrast = m->contrast / n;
    ret->halo = m->halos ? m->halo / m->halos : 0;
    ret->hue_deg = tl_wk_lab_hue((struct tl_lab){0, (float)m->hue_x, (float)m->hue_y});
    ret->hue_strength = m->chroma > 0 ? sqrt(m->hue_x * m->hue_x + m->hue_y * m->hue_y) / m->chroma : 0;
    for (int i = 0; i < TL_HUE_BINS; i++)
        all += m->hues[i];
    for (int i = 0; i < TL_HUE_BINS && all > 0; i++)
        ret->hues[i] = m->hues[i] / all;
}

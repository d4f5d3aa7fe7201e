#include "worker/media/bloom.h"

#include "base/err.h"
#include "base/mem.h"
#include "worker/media/color.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { QUARTER = 4, PASSES = 3, VEIL_LEVELS = 1024 };

static const double reach = 0.05;     /* radius of a box pass, as a share of the picture's height */
static const double brightness = 1.3; /* light that a full amount adds around highlights */

int tl_wk_bloom_init(struct tl_wk_bloom *b, int width, int height)
{
    *b = (struct tl_wk_bloom){
        .width = width, .height = height, .w = (width + QUARTER - 1) / QUARTER, .h = (height + QUARTER - 1) / QUARTER};
    size_t n = (size_t)b->w * (size_t)b->h * 3;
    b->light = tl_calloc(n, sizeof(float));
    b->other = tl_calloc(n, sizeof(float));
    b->veil = tl_calloc(n, 1);
    b->line = tl_calloc((size_t)b->w * 3, sizeof(*b->line));
    return b->light && b->other && b->veil && b->line ? 0 : TL_ENOMEM;
}

void tl_wk_bloom_clear(struct tl_wk_bloom *b)
{
    free(b->light);
    free(b->other);
    free(b->veil);
    free(b->line);
    *b = (struct tl_wk_bloom){0};
}

/* Light of each quarter pixel, as far as it is a highlight. */
static void gather(struct tl_wk_bloom *b, const uint8_t *rgb, int stride, float low, float high)
{
    for (int y = 0; y < b->h; y++)
        for (int x = 0; x < b->w; x++) {
            float sum[3] = {0};
            int n = 0;
            for (int dy = 0; dy < QUARTER && y * QUARTER + dy < b->height; dy += 2)
                for (int dx = 0; dx < QUARTER && x * QUARTER + dx < b->width; dx += 2, n++) {
                    const uint8_t *p = rgb + (ptrdiff_t)(y * QUARTER + dy) * stride + 3 * (x * QUARTER + dx);
                    for (int c = 0; c < 3; c++)
                        sum[c] += tl_wk_srgb8_decode(p[c]);
                }
            float luma = (0.2126f * sum[0] + 0.7152f * sum[1] + 0.0722f * sum[2]) / (float)n;
            float t = (luma - low) / (high - low);
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            t = t * t * (3 - 2 * t) / (float)n;
            for (int c = 0; c < 3; c++)
                b->light[((size_t)y * (size_t)b->w + (size_t)x) * 3 + (size_t)c] = sum[c] * t;
        }
}

/* One box pass along lines of n items that lie step apart; edges repeat. */
static void box(const float *in, float *out, int n, size_t step, int r)
{
    double sum = 0;
    for (int i = -r; i <= r; i++)
        sum += in[(size_t)(i < 0 ? 0 : i >= n ? n - 1 : i) * step];
    for (int i = 0; i < n; i++) {
        out[(size_t)i * step] = (float)(sum / (2 * r + 1));
        int add = i + r + 1 >= n ? n - 1 : i + r + 1, sub = i - r < 0 ? 0 : i - r;
        sum += (double)in[(size_t)add * step] - (double)in[(size_t)sub * step];
    }
}

static void blur(struct tl_wk_bloom *b)
{
    int r = (int)(b->h * reach + 0.5);
    r = r < 1 ? 1 : r;
    size_t line = (size_t)b->w * 3;
    for (int pass = 0; pass < PASSES; pass++) {
        for (int y = 0; y < b->h; y++)
            for (size_t c = 0; c < 3; c++)
                box(b->light + (size_t)y * line + c, b->other + (size_t)y * line + c, b->w, 3, r);
        for (size_t i = 0; i < line; i++)
            box(b->other + i, b->light + i, b->h, line, r);
    }
}

static void make_veil(struct tl_wk_bloom *b, float amount)
{
    uint8_t code[VEIL_LEVELS + 1];
    for (int i = 0; i <= VEIL_LEVELS; i++)
        code[i] = (uint8_t)lrintf(tl_wk_srgb_encode((float)i / VEIL_LEVELS) * 255);
    size_t n = (size_t)b->w * (size_t)b->h * 3;
    for (size_t i = 0; i < n; i++) {
        float v = b->light[i] * amount;
        b->veil[i] = code[(int)((v < 0 ? 0 : v > 1 ? 1 : v) * VEIL_LEVELS)];
    }
}

/* A line of the veil between two of its own: 8 times code values. False where it is all dark. */
static bool veil_line(struct tl_wk_bloom *b, int y)
{
    int fy = y * 2 - QUARTER + 1, y0 = fy < 0 ? 0 : fy / (2 * QUARTER), wy = fy < 0 ? 0 : fy % (2 * QUARTER);
    int y1 = y0 + 1 < b->h ? y0 + 1 : y0, any = 0;
    size_t n = (size_t)b->w * 3;
    const uint8_t *top = b->veil + (size_t)y0 * n, *bottom = b->veil + (size_t)y1 * n;
    for (size_t i = 0; i < n; i++) {
        b->line[i] = (uint16_t)(top[i] * (8 - wy) + bottom[i] * wy);
        any |= b->line[i];
    }
    return any != 0;
}

/* The veil, bilinear, screened over the picture. */
static void lay_over(struct tl_wk_bloom *b, uint8_t *rgb, int stride)
{
    for (int y = 0; y < b->height; y++) {
        uint8_t *p = rgb + (ptrdiff_t)y * stride;
        if (!veil_line(b, y))
            continue;
        for (int x = 0; x < b->width; x++, p += 3) {
            int fx = x * 2 - QUARTER + 1, x0 = fx < 0 ? 0 : fx / (2 * QUARTER), wx = fx < 0 ? 0 : fx % (2 * QUARTER);
            int x1 = x0 + 1 < b->w ? x0 + 1 : x0;
            const uint16_t *left = b->line + (ptrdiff_t)3 * x0, *right = b->line + (ptrdiff_t)3 * x1;
            for (int c = 0; c < 3; c++) {
                unsigned v = (unsigned)(left[c] * (8 - wx) + right[c] * wx); /* 64 times a code value */
                p[c] = (uint8_t)(p[c] + ((unsigned)(255 - p[c]) * v + 255 * 32) / (255 * 64));
            }
        }
    }
}

void tl_wk_bloom_apply(struct tl_wk_bloom *b, uint8_t *rgb, int stride, double amount, double from)
{
    if (amount < 0.01)
        return;
    /* OKLab L of a grey is the cube root of its light. */
    float low = (float)(from * from * from), high = (float)pow(from + 0.14, 3);
    gather(b, rgb, stride, low, high);
    blur(b);
    make_veil(b, (float)(amount * brightness));
    lay_over(b, rgb, stride);
}

#include "worker/media/grid.h"

#include "base/err.h"

#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>

enum { TAPS_X = 4, TAPS_Y = 2 }; /* samples of a cell of luma; half of it for chroma */

static bool full_range(const AVFrame *f)
{
    switch (f->format) {
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ444P:
    case AV_PIX_FMT_YUVJ440P:
        return true;
    default:
        return f->color_range == AVCOL_RANGE_JPEG;
    }
}

bool tl_wk_is_bt601(const AVFrame *f)
{
    switch (f->colorspace) {
    case AVCOL_SPC_BT709:
        return false;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return true;
    default:
        return f->height < 720;
    }
}

struct plane {
    const uint8_t *data;
    ptrdiff_t stride;
    int w, h, step, shift;
    bool wide; /* 16-bit little-endian samples */
};

/* Mean of nx by ny samples of each cell, through a table that maps the code value. */
static inline __attribute__((always_inline)) void reduce(const struct plane *p, int nx, int ny, const uint8_t map[256],
                                                         uint8_t *out)
{
    ptrdiff_t xs[TL_GRID_W * TAPS_X];
    for (int i = 0; i < TL_GRID_W * nx; i++)
        xs[i] = (ptrdiff_t)((int64_t)(2 * i + 1) * p->w / (2 * TL_GRID_W * nx)) * p->step;
    for (int cy = 0; cy < TL_GRID_H; cy++) {
        unsigned sum[TL_GRID_W] = {0};
        for (int k = 0; k < ny; k++) {
            int y = (int)((int64_t)(2 * (cy * ny + k) + 1) * p->h / (2 * TL_GRID_H * ny));
            const uint8_t *row = p->data + (ptrdiff_t)y * p->stride;
            for (int i = 0; !p->wide && i < TL_GRID_W * nx; i++)
                sum[i / nx] += row[xs[i]];
            for (int i = 0; p->wide && i < TL_GRID_W * nx; i++)
                sum[i / nx] += (unsigned)(row[xs[i]] | row[xs[i] + 1] << 8) >> p->shift & 255;
        }
        unsigned n = (unsigned)(nx * ny);
        for (int cx = 0; cx < TL_GRID_W; cx++)
            out[cy * TL_GRID_W + cx] = map[(sum[cx] + n / 2) / n];
    }
}

static void ranges(bool full, uint8_t luma[256], uint8_t chroma[256])
{
    for (int i = 0; i < 256; i++) {
        double y = full ? i : (i - 16) * 255.0 / 219, c = full ? i : 128 + (i - 128) * 255.0 / 224;
        luma[i] = (uint8_t)(y < 0 ? 0 : y > 255 ? 255 : y + 0.5);
        chroma[i] = (uint8_t)(c < 0 ? 0 : c > 255 ? 255 : c + 0.5);
    }
}

static struct plane plane_of(const AVFrame *f, const AVPixFmtDescriptor *d, int c)
{
    const AVComponentDescriptor *k = &d->comp[c];
    bool chroma = c == 1 || c == 2;
    return (struct plane){
        .data = f->data[k->plane] + k->offset,
        .stride = f->linesize[k->plane],
        .w = chroma ? AV_CEIL_RSHIFT(f->width, d->log2_chroma_w) : f->width,
        .h = chroma ? AV_CEIL_RSHIFT(f->height, d->log2_chroma_h) : f->height,
        .step = k->step,
        .shift = k->shift + k->depth - 8,
        .wide = k->depth > 8,
    };
}

static bool direct(const AVPixFmtDescriptor *d)
{
    const uint64_t never = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM |
                           AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
    return !(d->flags & never) && d->nb_components >= 1 && d->comp[0].depth >= 8 && d->comp[0].depth <= 16;
}

/* Other formats go through swscale at four samples a cell. */
static int convert(struct tl_wk_gridder *k, const AVFrame *f)
{
    enum { W = TL_GRID_W * 2, H = TL_GRID_H * 2 };
    if (!k->small) {
        k->small = av_frame_alloc();
        if (!k->small)
            return TL_ENOMEM;
        k->small->format = AV_PIX_FMT_YUV444P;
        k->small->width = W;
        k->small->height = H;
        if (av_frame_get_buffer(k->small, 0) < 0)
            return TL_ENOMEM;
    }
    k->sws = sws_getCachedContext(k->sws, f->width, f->height, f->format, W, H, AV_PIX_FMT_YUV444P,
                                  SWS_POINT | SWS_BITEXACT | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!k->sws)
        return TL_EMEDIA;
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(k->sws, bt709, f->color_range == AVCOL_RANGE_JPEG, bt709, 1, 0, 1 << 16, 1 << 16);
    sws_scale(k->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, k->small->data, k->small->linesize);
    k->small->color_range = AVCOL_RANGE_JPEG;
    k->small->colorspace = AVCOL_SPC_BT709;
    return 0;
}

int tl_wk_grid_take(struct tl_wk_gridder *k, const AVFrame *frame, struct tl_wk_grid *ret)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    if (!d || frame->width <= 0 || frame->height <= 0)
        return TL_EMEDIA;
    if (!direct(d)) {
        int err = convert(k, frame);
        if (err < 0)
            return err;
        frame = k->small;
        d = av_pix_fmt_desc_get(frame->format);
    }
    uint8_t luma[256], chroma[256];
    ranges(full_range(frame), luma, chroma);
    ret->bt601 = tl_wk_is_bt601(frame);
    struct plane p = plane_of(frame, d, 0);
    reduce(&p, TAPS_X, TAPS_Y, luma, ret->y);
    memset(ret->u, 128, sizeof(ret->u));
    memset(ret->v, 128, sizeof(ret->v));
    if (d->nb_components < 3)
        return 0;
    p = plane_of(frame, d, 1);
    reduce(&p, TAPS_X / 2, TAPS_Y / 2, chroma, ret->u);
    p = plane_of(frame, d, 2);
    reduce(&p, TAPS_X / 2, TAPS_Y / 2, chroma, ret->v);
    return 0;
}

void tl_wk_gridder_clear(struct tl_wk_gridder *k)
{
    sws_freeContext(k->sws);
    av_frame_free(&k->small);
    k->sws = NULL;
}

static uint8_t code(float v)
{
    return (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v + 0.5f);
}

void tl_wk_grid_lab(const struct tl_wk_grid *g, struct tl_lab ret[TL_GRID_N])
{
    float kr = g->bt601 ? 0.299f : 0.2126f, kb = g->bt601 ? 0.114f : 0.0722f, kg = 1 - kr - kb;
    for (int i = 0; i < TL_GRID_N; i++) {
        float y = g->y[i], cb = (float)g->u[i] - 128, cr = (float)g->v[i] - 128;
        float r = y + 2 * (1 - kr) * cr, b = y + 2 * (1 - kb) * cb;
        ret[i] = tl_wk_lab_from_srgb8(code(r), code((y - kr * r - kb * b) / kg), code(b));
    }
}

static double symmetry(const struct tl_wk_grid *g)
{
    double with = 0, all = 0;
    for (int y = 0; y < TL_GRID_H; y++) {
        const uint8_t *row = g->y + y * TL_GRID_W;
        double mean = 0;
        for (int x = 0; x < TL_GRID_W; x++)
            mean += row[x];
        mean /= TL_GRID_W;
        for (int x = 0; x < TL_GRID_W; x++) {
            all += (row[x] - mean) * (row[x] - mean);
            with += (row[x] - mean) * (row[TL_GRID_W - 1 - x] - mean);
        }
    }
    return all > TL_GRID_N * 0.25 ? with / all : 0; /* a flat picture has no structure to mirror */
}

void tl_wk_tone_measure(const struct tl_wk_grid *g, const struct tl_lab lab[TL_GRID_N], struct tl_wk_tone *ret)
{
    enum { BINS = 200 };
    unsigned bins[BINS] = {0};
    *ret = (struct tl_wk_tone){0};
    for (int i = 0; i < TL_GRID_N; i++) {
        ret->luma += lab[i].L;
        ret->chroma += tl_wk_lab_chroma(lab[i]);
        ret->hue_x += lab[i].a;
        ret->hue_y += lab[i].b;
        int bin = (int)(lab[i].L * BINS);
        bins[bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin]++;
    }
    ret->luma /= TL_GRID_N;
    ret->chroma /= TL_GRID_N;
    ret->hue_x /= TL_GRID_N;
    ret->hue_y /= TL_GRID_N;
    unsigned seen = 0;
    int low = -1, high = 0;
    for (int b = 0; b < BINS; b++) {
        seen += bins[b];
        if (low < 0 && seen * 20 >= TL_GRID_N)
            low = b;
        if (seen * 20 <= TL_GRID_N * 19u)
            high = b;
    }
    ret->contrast = high > low ? (double)(high - low) / BINS : 0;
    ret->symmetry = symmetry(g);
}

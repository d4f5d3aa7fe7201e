#include "worker/media/canvas.h"

#include "base/err.h"
#include "worker/media/grid.h"

#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>

enum { LEAST = 16, PAD = 64 };

static int even(double v)
{
    int n = (int)lrint(v / 2) * 2;
    return n < LEAST ? LEAST : n;
}

int tl_wk_canvas_init(struct tl_wk_canvas *c, const struct tl_wk_media *m, int max_width, int max_height, double aspect)
{
    *c = (struct tl_wk_canvas){.rotation = m->rotation, .keep_w = 1, .keep_h = 1};
    double w = m->width, h = m->height;
    if (aspect > 0 && w / h > aspect)
        c->keep_w = h * aspect / w;
    else if (aspect > 0)
        c->keep_h = w / aspect / h;
    w *= c->keep_w;
    h *= c->keep_h;
    double scale = fmin(1, fmin(max_height / h, max_width / w));
    c->width = even(w * scale);
    c->height = even(h * scale);
    bool turned = c->rotation % 180 != 0;
    c->lying_w = turned ? c->height : c->width;
    c->lying_h = turned ? c->width : c->height;
    /* swscale may write a little past the end of a line. */
    c->lying_stride = (c->lying_w * 3 + PAD - 1) / PAD * PAD + PAD;
    c->lying = av_mallocz((size_t)c->lying_stride * (size_t)c->lying_h + PAD);
    c->stride = c->rotation ? c->width * 3 : c->lying_stride;
    c->rgb = c->rotation ? av_mallocz((size_t)c->stride * (size_t)c->height) : c->lying;
    return c->lying && c->rgb ? 0 : TL_ENOMEM;
}

void tl_wk_canvas_clear(struct tl_wk_canvas *c)
{
    sws_freeContext(c->sws);
    if (c->rgb != c->lying)
        av_free(c->rgb);
    av_free(c->lying);
    *c = (struct tl_wk_canvas){0};
}

static int coefficients(const AVFrame *f)
{
    if (f->colorspace == AVCOL_SPC_BT2020_NCL || f->colorspace == AVCOL_SPC_BT2020_CL)
        return SWS_CS_BT2020;
    return tl_wk_is_bt601(f) ? SWS_CS_ITU601 : SWS_CS_ITU709;
}

static int crop(const struct tl_wk_canvas *c, AVFrame *f)
{
    bool turned = c->rotation % 180 != 0;
    double kw = turned ? c->keep_h : c->keep_w, kh = turned ? c->keep_w : c->keep_h;
    size_t x = (size_t)((1 - kw) / 2 * f->width), y = (size_t)((1 - kh) / 2 * f->height);
    if (!x && !y)
        return 0;
    f->crop_left = f->crop_right = x & ~(size_t)1;
    f->crop_top = f->crop_bottom = y & ~(size_t)1;
    return av_frame_apply_cropping(f, AV_FRAME_CROP_UNALIGNED) < 0 ? TL_EMEDIA : 0;
}

static void turn(const struct tl_wk_canvas *c)
{
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            int sx, sy;
            switch (c->rotation) {
            case 90:
                sx = y, sy = c->lying_h - 1 - x;
                break;
            case 180:
                sx = c->lying_w - 1 - x, sy = c->lying_h - 1 - y;
                break;
            default:
                sx = c->lying_w - 1 - y, sy = x;
                break;
            }
            memcpy(c->rgb + (ptrdiff_t)y * c->stride + 3 * x, c->lying + (ptrdiff_t)sy * c->lying_stride + 3 * sx, 3);
        }
}

int tl_wk_canvas_take(struct tl_wk_canvas *c, AVFrame *frame)
{
    if (frame->width <= 0 || frame->height <= 0 || (int64_t)frame->width * frame->height > TL_WK_MAX_PIXELS)
        return TL_EMEDIA;
    int err = crop(c, frame);
    if (err < 0)
        return err;
    c->sws = sws_getCachedContext(c->sws, frame->width, frame->height, frame->format, c->lying_w, c->lying_h,
                                  AV_PIX_FMT_RGB24, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
    if (!c->sws)
        return TL_EMEDIA;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    bool full = frame->color_range == AVCOL_RANGE_JPEG || (d && d->flags & AV_PIX_FMT_FLAG_RGB) ||
                (d && strncmp(d->name, "yuvj", 4) == 0);
    sws_setColorspaceDetails(c->sws, sws_getCoefficients(coefficients(frame)), full, sws_getCoefficients(SWS_CS_ITU709),
                             1, 0, 1 << 16, 1 << 16);
    uint8_t *out[4] = {c->lying};
    int strides[4] = {c->lying_stride};
    if (sws_scale(c->sws, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, out, strides) <= 0)
        return TL_EMEDIA;
    if (c->rotation)
        turn(c);
    return 0;
}

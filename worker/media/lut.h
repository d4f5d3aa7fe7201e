/* The look as a 33³ table over sRGB: an OKLab palette transfer from what the clip looks like towards what palette and style vector ask for. Making it is
 * pure; applying it is tetrahedral interpolation with an ordered dither. */
#ifndef TL_WORKER_MEDIA_LUT_H
#define TL_WORKER_MEDIA_LUT_H

#include "worker/media/cloud.h"

enum { TL_LUT_SIDE = 33, TL_LUT_ONE = 64 /* fixed point of an entry: 0..255 times this */, TL_LOOK_COLOURS = 16 };

struct tl_wk_look {
    struct tl_lab palette[TL_LOOK_COLOURS]; /* dark to light */
    size_t ncolours;
    double key, chroma, hue_cos, hue_sin, diffusion; /* axes of the style vector, in its units */
    double strength;                                 /* 0..1 */
};

/* What the look aims at; contrast (95th less 5th percentile of L) follows from key, chroma and the palette's spread of lightness. */
struct tl_wk_aim {
    double key, chroma, contrast, hue_x, hue_y;
};
void tl_wk_look_aim(const struct tl_wk_look *look, struct tl_wk_aim *ret);

struct tl_wk_lut {
    int16_t v[TL_LUT_SIDE][TL_LUT_SIDE][TL_LUT_SIDE][4]; /* [r][g][b] → r, g, b, unused */
};
/* source: the clip's colours. */
void tl_wk_lut_make(const struct tl_wk_look *look, const struct tl_wk_cloud *source, struct tl_wk_lut *ret);
/* In place. */
void tl_wk_lut_apply(const struct tl_wk_lut *lut, uint8_t *rgb, int stride, int width, int height);

/* How much a colour is to be spared as skin, 0..1, and as sky. */
float tl_wk_skin(struct tl_lab c);
float tl_wk_sky(struct tl_lab c);

#endif

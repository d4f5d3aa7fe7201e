/* A picture reduced to 96 by 54 cells by sparse sampling, straight from the decoder's planes: what shots, curves and palette are measured on. */
#ifndef TL_WORKER_MEDIA_GRID_H
#define TL_WORKER_MEDIA_GRID_H

#include "worker/media/color.h"

#include <libavutil/frame.h>

struct SwsContext;

enum { TL_GRID_W = 96, TL_GRID_H = 54, TL_GRID_N = TL_GRID_W * TL_GRID_H };

/* Full-range code values; chroma is centred at 128. */
struct tl_wk_grid {
    uint8_t y[TL_GRID_N], u[TL_GRID_N], v[TL_GRID_N];
    bool bt601; /* the matrix of its luma and chroma; BT.709 otherwise */
};

/* Keeps the conversion for pixel formats that are not sampled directly. Init to {0}. */
struct tl_wk_gridder {
    struct SwsContext *sws;
    AVFrame *small;
};
int tl_wk_grid_take(struct tl_wk_gridder *k, const AVFrame *frame, struct tl_wk_grid *ret);
void tl_wk_gridder_clear(struct tl_wk_gridder *k);

/* Whether a picture that does not say uses BT.601 (as players have it: smaller than 720 lines). */
bool tl_wk_is_bt601(const AVFrame *frame);
void tl_wk_grid_lab(const struct tl_wk_grid *g, struct tl_lab ret[TL_GRID_N]);

/* What one picture looks like, for the eye. */
struct tl_wk_tone {
    double luma;         /* mean OKLab L */
    double chroma;       /* mean OKLCh C */
    double hue_x, hue_y; /* mean a and b */
    double contrast;     /* 95th less 5th percentile of L */
    double symmetry;     /* correlation of the rows, each less its mean, with their mirror image: -1..1 */
};
void tl_wk_tone_measure(const struct tl_wk_grid *g, const struct tl_lab lab[TL_GRID_N], struct tl_wk_tone *ret);

#endif

/* What graded pictures are judged by: median lightness, chroma, hues, contrast and the halo around highlights. */
#ifndef TL_WORKER_MEDIA_MEASURE_H
#define TL_WORKER_MEDIA_MEASURE_H

#include "worker/media/cloud.h"
#include "worker/media/grid.h"

enum { TL_HUE_BINS = 12 };

struct tl_wk_measure {
    struct tl_wk_cloud cloud;
    double chroma, hue_x, hue_y, contrast, halo; /* sums over pictures */
    double hues[TL_HUE_BINS];                    /* chroma-weighted */
    int pictures, halos;
};

struct tl_wk_measured {
    double median_lightness, mean_chroma, contrast, halo;
    double hue_deg, hue_strength; /* of the mean colour; strength is its chroma over the mean chroma */
    double hues[TL_HUE_BINS];     /* shares of chroma per 30 degrees, from 0; sum 1, or 0 without colour */
};

void tl_wk_measure_add(struct tl_wk_measure *m, const struct tl_lab lab[TL_GRID_N]);
void tl_wk_measure_result(const struct tl_wk_measure *m, struct tl_wk_measured *ret);
/* The cells of an RGB24 picture, each the mean of its pixels' code values. */
void tl_wk_rgb_lab(const uint8_t *rgb, int stride, int width, int height, struct tl_lab ret[TL_GRID_N]);
/* How far, from the median towards the highlights, the surroundings of the highlights lie: 0..1; negative where there are none. */
double tl_wk_halo(const struct tl_lab lab[TL_GRID_N]);

#endif

/* The colours of many pictures as a coarse OKLab histogram of constant size, and what is read off it: the palette and the quantiles. */
#ifndef TL_WORKER_MEDIA_CLOUD_H
#define TL_WORKER_MEDIA_CLOUD_H

#include "worker/media/color.h"

#include <stddef.h>

enum { TL_CLOUD_L = 24, TL_CLOUD_AB = 24, TL_CLOUD_N = TL_CLOUD_L * TL_CLOUD_AB * TL_CLOUD_AB, TL_CLOUD_TONES = 256 };

struct tl_wk_cloud {
    struct {
        double n, L, a, b; /* count and sums */
    } cell[TL_CLOUD_N];
    double tones[TL_CLOUD_TONES]; /* counts of L, finer */
    double n;
};

void tl_wk_cloud_add(struct tl_wk_cloud *c, struct tl_lab v);
/* L below which the share p of all colours lies. */
double tl_wk_cloud_quantile(const struct tl_wk_cloud *c, double p);

struct tl_wk_swatch {
    struct tl_lab color;
    double weight; /* share of all colours */
};
/* k-means over the histogram in OKLab, deterministic; ordered dark to light. Returns how many there are, at most k (fewer where there are fewer colours). */
size_t tl_wk_cloud_palette(const struct tl_wk_cloud *c, size_t k, struct tl_wk_swatch *ret);

#endif

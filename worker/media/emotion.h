/* The emotion curve: how strongly each second of a clip moves whoever watches it, from what was measured of it. Pure; the constants are part of the
 * specification (SPEC.md section 9). */
#ifndef TL_WORKER_MEDIA_EMOTION_H
#define TL_WORKER_MEDIA_EMOTION_H

#include <stddef.h>

struct tl_wk_second {
    double luma;     /* mean OKLab L, 0..1 */
    double chroma;   /* mean OKLCh C */
    double motion;   /* 0..1, see tl_wk_motion_map */
    double cut_rate; /* changes of shot a second, around */
    double loudness; /* 0..1; negative where the clip has no sound */
};

/* A mean change of luma code per 1/24 s (0..1) as motion: 1 - exp(-change / 0.03). */
double tl_wk_motion_map(double luma_change);
/* One second alone, 0..1. */
double tl_wk_emotion_of(const struct tl_wk_second *s);
/* All of them, smoothed with 1-2-1; ret holds n. */
void tl_wk_emotion_curve(const struct tl_wk_second *s, size_t n, double *ret);
/* Changes of shot a second in a window of five seconds around each second, from their times; sets cut_rate. */
void tl_wk_cut_rate(const double *changes, size_t nchanges, struct tl_wk_second *s, size_t n, double duration_sec);

#endif

/* Shots laid over a scene: how long each is, how long they are on the average and how much they differ. */
#ifndef TL_CAPSULES_CRAFT_RHYTHM_H
#define TL_CAPSULES_CRAFT_RHYTHM_H

#include <stddef.h>

enum { TL_SHOTS_MAX = 4096 };

/* The length of a shot at place p (0 to 1) of the scene, which has value c of the curve there; k counts the shots before it. */
typedef double (*tl_shot_fn)(void *arg, double p, double c, size_t k);

struct tl_rhythm {
    double *shots; /* malloc'd; their sum is the duration, unless TL_SHOTS_MAX was reached */
    size_t n;
};

/* How much longer shots are in a scene of this duration: (duration / 60)^0.12, between 0.75 and 1.3. */
double tl_rhythm_length(double duration);
/* What a capsule's usual shot becomes here: pace -1 (slow) to 1 (fast), a longer scene breathes a little longer, a clip's own mean shot pulls it geometrically. Between 0.4 and 600 s, longer than the scene where
 * it is brief. clip_sec 0: no clip. */
double tl_rhythm_base(double base_sec, double pace, double pace_gain, double duration, double clip_sec,
                      double clip_pull);
/* Walks the scene shot by shot. A rest shorter than a third of the last shot is added to it. TL_ENOMEM. */
int tl_rhythm_walk(const double *curve, size_t n, double duration, tl_shot_fn fn, void *arg, struct tl_rhythm *ret);
/* Mean of the curve-driven length base × exp(-gain (c - mean)): the harmonic mean over time, at most the duration. */
double tl_rhythm_mean(const double *curve, size_t n, double base, double gain, double duration);

#endif

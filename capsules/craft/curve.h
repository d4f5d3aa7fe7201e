/* Curves over the length of a scene: one value per second, 0 to 1. Pure functions, no allocation. */
#ifndef TL_CAPSULES_CRAFT_CURVE_H
#define TL_CAPSULES_CRAFT_CURVE_H

#include <stddef.h>

enum { TL_CURVE_MAX = 3600 }; /* values of a curve that ops work on; a longer scene has coarser steps */

struct tl_curve_stats {
    double mean, peak, low, sd;
    double peak_at; /* where the peak stands, 0 to 1 of the length; the first of equals */
    double trend;   /* mean of the last third less mean of the first */
};

/* How many values a scene of so many seconds has: one a second, at least 2. */
size_t tl_curve_count(double duration_sec);
/* Spreads n values evenly over m places, linearly; values are clamped to [0, 1]. n ≥ 1, m ≥ 1. */
void tl_curve_resample(const double *in, size_t n, double *ret, size_t m);
void tl_curve_stats(const double *c, size_t n, struct tl_curve_stats *ret);

/* Shapes, from c into ret (not the same memory); amount 0 leaves the curve as it is, 1 is the whole effect. */
/* Pressure that builds and leaks slowly: a fall is held back (a lid on the pot). */
void tl_curve_pressure(const double *c, size_t n, double amount, double *ret);
/* A centred mean over a share of the length. */
void tl_curve_smooth(const double *c, size_t n, double amount, double *ret);
/* Never quite comes down again: mixed with its running maximum. */
void tl_curve_ratchet(const double *c, size_t n, double amount, double *ret);
/* Pushed away from its mean. */
void tl_curve_contrast(const double *c, size_t n, double amount, double *ret);
/* Sunk towards its own minimum: what is left when nobody raises their voice. */
void tl_curve_understate(const double *c, size_t n, double amount, double *ret);
/* Where the curve turns most sharply: *ret_at 0 to 1 of the length, *ret_amount 0 to 1 the change of slope over three places. */
void tl_curve_swerve(const double *c, size_t n, double *ret_at, double *ret_amount);
/* How alike the two halves are: 1 less twice the root mean square of their difference, at least 0. */
double tl_curve_halves(const double *c, size_t n);

#endif

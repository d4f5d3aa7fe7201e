/* Small arithmetic that the craft ops share: clamping, mixing, the one rounding of everything that leaves a capsule, integer-hash noise. */
#ifndef TL_CAPSULES_CRAFT_NUM_H
#define TL_CAPSULES_CRAFT_NUM_H

#include <stddef.h>
#include <stdint.h>

static inline double tl_craft_clamp(double v, double low, double high)
{
    return v > low ? (v < high ? v : high) : low; /* not a number becomes low */
}
static inline double tl_craft_mix(double a, double b, double t)
{
    return a + (b - a) * t;
}
/* Four decimals, never minus zero: what makes outputs equal across compilers and levels of optimisation. */
double tl_craft_round(double v);
/* 64-bit FNV-1a of a text; NULL is the empty one. */
uint64_t tl_craft_seed(const char *text);
/* Noise in [-1, 1] for a seed and an index: an integer hash, the same everywhere. */
double tl_craft_noise(uint64_t seed, uint64_t i);

#endif

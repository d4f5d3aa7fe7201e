#include "capsules/craft/num.h"

#include <math.h>

double tl_craft_round(double v)
{
    double r = floor(v * 10000.0 + 0.5) / 10000.0;
    return r == 0 ? 0 : r;
}

uint64_t tl_craft_seed(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (const char *p = text ? text : ""; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    return h;
}

/* splitmix64's finaliser. */
double tl_craft_noise(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) / 4503599627370496.0 - 1.0; /* 53 bits over 2^52, less 1 */
}

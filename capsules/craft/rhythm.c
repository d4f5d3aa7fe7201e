#include "capsules/craft/rhythm.h"
#include "base/err.h"
#include "base/mem.h"
#include "capsules/craft/curve.h"
#include "capsules/craft/num.h"

#include <math.h>

static const double shortest = 0.4, longest = 600;

double tl_rhythm_length(double duration)
{
    return tl_craft_clamp(pow(duration / 60, 0.12), 0.75, 1.3);
}

double tl_rhythm_base(double base_sec, double pace, double pace_gain, double duration, double clip_sec,
                      double clip_pull)
{
    double base = base_sec * exp(-pace_gain * pace) * tl_rhythm_length(duration);
    if (clip_sec > 0)
        base = exp(tl_craft_mix(log(base), log(tl_craft_clamp(clip_sec, shortest, longest)), clip_pull));
    return tl_craft_clamp(base, shortest, longest);
}

int tl_rhythm_walk(const double *curve, size_t n, double duration, tl_shot_fn fn, void *arg, struct tl_rhythm *ret)
{
    *ret = (struct tl_rhythm){0};
    size_t cap = 0;
    for (double t = 0; t < duration - 1e-6 && ret->n < TL_SHOTS_MAX;) {
        double p = t / duration;
        size_t i = (size_t)(p * (double)(n - 1) + 0.5);
        double len = fn(arg, p, curve[i < n ? i : n - 1], ret->n);
        len = tl_craft_clamp(len, shortest, duration);
        if (duration - t - len < len / 3)
            len = duration - t;
        if (tl_grow(&ret->shots, &cap, ret->n + 1, sizeof(*ret->shots))) {
            free(ret->shots);
            *ret = (struct tl_rhythm){0};
            return TL_ENOMEM;
        }
        ret->shots[ret->n++] = len;
        t += len;
    }
    return 0;
}

double tl_rhythm_mean(const double *curve, size_t n, double base, double gain, double duration)
{
    struct tl_curve_stats s;
    tl_curve_stats(curve, n, &s);
    double density = 0; /* shots per base length */
    for (size_t i = 0; i < n; i++)
        density += exp(gain * (curve[i] - s.mean)) / (double)n;
    return tl_craft_clamp(base / density, shortest, duration > shortest ? duration : shortest);
}

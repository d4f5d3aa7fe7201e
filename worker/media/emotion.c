#include "worker/media/emotion.h"

#include <math.h>

/* Weights; they sum to 1. Without sound the others are scaled up in proportion. */
static const double w_motion = 0.30, w_loudness = 0.25, w_cuts = 0.20, w_dark = 0.15, w_chroma = 0.10;
/* Where motion and cut rate reach 1 - 1/e, and the chroma that counts in full. */
static const double motion_scale = 0.03, cut_scale = 0.35, chroma_full = 0.15;

static double unit(double v)
{
    return !(v > 0) ? 0 : v > 1 ? 1 : v;
}

double tl_wk_motion_map(double luma_change)
{
    return luma_change > 0 ? 1 - exp(-luma_change / motion_scale) : 0;
}

double tl_wk_emotion_of(const struct tl_wk_second *s)
{
    double e = w_motion * unit(s->motion) + w_cuts * (1 - exp(-fmax(s->cut_rate, 0) / cut_scale)) +
               w_dark * (1 - unit(s->luma)) + w_chroma * unit(s->chroma / chroma_full);
    if (s->loudness < 0)
        return unit(e / (1 - w_loudness));
    return unit(e + w_loudness * unit(s->loudness));
}

void tl_wk_emotion_curve(const struct tl_wk_second *s, size_t n, double *ret)
{
    double before = n ? tl_wk_emotion_of(&s[0]) : 0, now = before;
    for (size_t i = 0; i < n; i++) {
        double next = i + 1 < n ? tl_wk_emotion_of(&s[i + 1]) : now;
        ret[i] = (before + 2 * now + next) / 4;
        before = now;
        now = next;
    }
}

void tl_wk_cut_rate(const double *changes, size_t nchanges, struct tl_wk_second *s, size_t n, double duration_sec)
{
    size_t first = 0, last = 0;
    for (size_t i = 0; i < n; i++) {
        double from = i < 2 ? 0 : (double)i - 2, to = fmin((double)i + 3, duration_sec);
        while (first < nchanges && changes[first] < from)
            first++;
        while (last < nchanges && changes[last] < to)
            last++;
        s[i].cut_rate = to > from && last > first ? (double)(last - first) / (to - from) : 0;
    }
}

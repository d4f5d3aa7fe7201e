#include "capsules/craft/curve.h"
#include "capsules/craft/num.h"

#include <math.h>

size_t tl_curve_count(double duration_sec)
{
    double n = floor(tl_craft_clamp(duration_sec, 2, TL_CURVE_MAX) + 0.5);
    return (size_t)n;
}

void tl_curve_resample(const double *in, size_t n, double *ret, size_t m)
{
    for (size_t i = 0; i < m; i++) {
        double x = m > 1 ? (double)i * (double)(n - 1) / (double)(m - 1) : 0;
        size_t k = (size_t)x;
        if (k + 1 >= n) {
            ret[i] = tl_craft_clamp(in[n - 1], 0, 1);
            continue;
        }
        ret[i] = tl_craft_mix(tl_craft_clamp(in[k], 0, 1), tl_craft_clamp(in[k + 1], 0, 1), x - (double)k);
    }
}

static double mean_of(const double *c, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += c[i];
    return to > from ? sum / (double)(to - from) : 0;
}

void tl_curve_stats(const double *c, size_t n, struct tl_curve_stats *ret)
{
    *ret = (struct tl_curve_stats){0};
    if (n == 0)
        return;
    size_t at = 0;
    double low = c[0], square = 0;
    for (size_t i = 1; i < n; i++) {
        /* Rounding noise must not move the peak along a plateau. */
        if (c[i] > c[at] + 1e-9)
            at = i;
        low = c[i] < low ? c[i] : low;
    }
    ret->mean = mean_of(c, 0, n);
    for (size_t i = 0; i < n; i++)
        square += (c[i] - ret->mean) * (c[i] - ret->mean);
    ret->sd = sqrt(square / (double)n);
    ret->peak = c[at];
    ret->low = low;
    ret->peak_at = n > 1 ? (double)at / (double)(n - 1) : 0;
    size_t third = n >= 3 ? n / 3 : 1;
    ret->trend = mean_of(c, n - third, n) - mean_of(c, 0, third);
}

void tl_curve_pressure(const double *c, size_t n, double amount, double *ret)
{
    /* Half of a fall remains after a tenth of the scene. */
    double leak = n > 1 ? exp2(-10.0 / (double)n) : 1, held = 0;
    for (size_t i = 0; i < n; i++) {
        held = i && held * leak > c[i] ? held * leak : c[i];
        ret[i] = tl_craft_mix(c[i], held, amount);
    }
}

void tl_curve_smooth(const double *c, size_t n, double amount, double *ret)
{
    size_t half = (size_t)(amount * (double)n / 8.0 + 0.5);
    for (size_t i = 0; i < n; i++) {
        size_t reach = half < i ? half : i;
        reach = reach < n - 1 - i ? reach : n - 1 - i;
        ret[i] = mean_of(c, i - reach, i + reach + 1);
    }
}

void tl_curve_ratchet(const double *c, size_t n, double amount, double *ret)
{
    double top = 0;
    for (size_t i = 0; i < n; i++) {
        top = c[i] > top ? c[i] : top;
        ret[i] = tl_craft_mix(c[i], top, amount);
    }
}

void tl_curve_contrast(const double *c, size_t n, double amount, double *ret)
{
    double mean = mean_of(c, 0, n);
    for (size_t i = 0; i < n; i++)
        ret[i] = tl_craft_clamp(mean + (c[i] - mean) * (1 + amount), 0, 1);
}

void tl_curve_understate(const double *c, size_t n, double amount, double *ret)
{
    struct tl_curve_stats s;
    tl_curve_stats(c, n, &s);
    for (size_t i = 0; i < n; i++)
        ret[i] = tl_craft_mix(c[i], s.low, amount);
}

void tl_curve_swerve(const double *c, size_t n, double *ret_at, double *ret_amount)
{
    *ret_at = 0;
    *ret_amount = 0;
    size_t step = n / 20 > 1 ? n / 20 : 1;
    for (size_t i = step; i + step < n; i++) {
        double turn = fabs(c[i + step] - 2 * c[i] + c[i - step]) / 2;
        if (turn > *ret_amount + 1e-9) {
            *ret_amount = tl_craft_clamp(turn, 0, 1);
            *ret_at = (double)i / (double)(n - 1);
        }
    }
}

double tl_curve_halves(const double *c, size_t n)
{
    size_t half = n / 2;
    double square = 0;
    if (half == 0)
        return 1;
    for (size_t i = 0; i < half; i++) {
        double d = c[i] - c[n - half + i];
        square += d * d / (double)half;
    }
    return tl_craft_clamp(1 - 2 * sqrt(square), 0, 1);
}

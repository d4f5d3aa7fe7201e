/* beat.grid: the beats of the scene: from the onsets of the clip's sound where there are enough, otherwise a tempo out of pace and energy. */
#include "capsules/craft/op.h"

#include <math.h>

enum { BEATS_MAX = 8192, ONSETS_MIN = 4, ONSETS_MAX = 4096 };

#define TWO_PI 6.28318530717958647692

static const struct tl_port ports[] = {
    {"onsets", TL_T_FLOATS, 0, "seconds"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"energy", TL_T_NUMBER, 0, "0 to 1"},
    {"beats", TL_T_FLOATS, TL_PORT_OUT, "seconds, at most 8192"},
    {"bpm", TL_T_NUMBER, TL_PORT_OUT, "beats a minute"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "bpm, beat_sec, from_sound (1 or 0), grid_fit"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("slow_bpm", 40, 200, "76", "tempo of a slow, calm scene"),
    TL_CRAFT_PARAM("fast_bpm", 40, 200, "132", "of a fast, excited one"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

/* How well a period fits: length of the mean vector of the onsets' phases, 0 to 1; *ret_phase where the beats lie, 0 to 1 of it. */
static double fit(const double *onset, size_t n, double period, double *ret_phase)
{
    double c = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        c += cos(TWO_PI * onset[i] / period);
        s += sin(TWO_PI * onset[i] / period);
    }
    double phase = atan2(s, c) / TWO_PI;
    *ret_phase = phase < 0 ? phase + 1 : phase;
    return sqrt(c * c + s * s) / (double)n;
}

/* Tries 60 to 240 beats a minute in steps of a half; of tempi that fit alike the slower one is meant, for its multiples fit as well. Then the
 * neighbourhood is searched finely, and a tempo that nobody counts is halved. */
static double find_period(const double *onset, size_t n, double *ret_phase, double *ret_fit)
{
    double best = 0, bpm = 60, phase;
    for (int half = 120; half <= 480; half++) {
        double f = fit(onset, n, 120.0 / half, &phase);
        if (f > best + 0.05) {
            best = f;
            bpm = half / 2.0;
        }
    }
    double middle = bpm;
    for (int tenth = -30; tenth <= 30; tenth++) {
        double f = fit(onset, n, 60 / (middle + tenth / 10.0), &phase);
        if (f > best + 1e-9) {
            best = f;
            bpm = middle + tenth / 10.0;
        }
    }
    double period = 60 / bpm;
    *ret_fit = tl_craft_clamp(fit(onset, n, period, ret_phase), 0, 1);
    if (bpm > 180) {
        period *= 2;
        *ret_phase /= 2;
    }
    return period;
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_FREE double *onset = NULL;
    size_t n = 0;
    int err = tl_op_input_floats(ctx, "onsets", &onset, &n);
    if (err)
        return err;
    n = n < ONSETS_MAX ? n : ONSETS_MAX;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), phase = 0, grid_fit = 1, period;
    bool heard = n >= ONSETS_MIN;
    if (heard) {
        period = find_period(onset, n, &phase, &grid_fit);
    } else {
        double drive = tl_craft_clamp(
            0.5 + 0.3 * tl_craft_in(ctx, "pace", 0, -1, 1) + 0.4 * (tl_craft_in(ctx, "energy", 0.5, 0, 1) - 0.5), 0, 1);
        period =
            60 /
            floor(tl_craft_mix(tl_op_param_number(ctx, "slow_bpm"), tl_op_param_number(ctx, "fast_bpm"), drive) + 0.5);
    }
    TL_AUTO_FREE double *beats = tl_calloc(BEATS_MAX, sizeof(*beats));
    if (!beats)
        return TL_ENOMEM;
    size_t count = 0;
    for (double t = phase * period; t < duration && count < BEATS_MAX; count++)
        beats[count] = t, t = (phase + (double)(count + 1)) * period;
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "beats", beats, count);
    tl_out_number(&o, "bpm", 60 / period);
    tl_out_fact(&o, "bpm", 60 / period);
    tl_out_fact(&o, "beat_sec", period);
    tl_out_fact(&o, "from_sound", heard);
    tl_out_fact(&o, "grid_fit", grid_fit);
    return tl_out_end(&o);
}

const struct tl_op tl_op_beat_grid = {
    .name = "beat.grid",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Beat grid",
    .doc = "The beats of the scene",
    .ports = ports,
    .params = params,
    .run = run,
};

/* music.sync: cuts fall on beats: so many beats to a shot as the curve says, fewer where it is high, more in a long scene; what is not synchronised drifts off the beat. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"beats", TL_T_FLOATS, TL_PORT_REQUIRED, "seconds"},
    {"bpm", TL_T_NUMBER, TL_PORT_REQUIRED, "beats a minute"},
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"sync", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"seed", TL_T_STRING, 0, "what the drift is drawn from"},
    {"cuts", TL_T_FLOATS, TL_PORT_OUT, "seconds of each cut"},
    {"mean_sec", TL_T_NUMBER, TL_PORT_OUT, "mean shot"},
    {"variation", TL_T_NUMBER, TL_PORT_OUT, "standard deviation of ln(shot)"},
    {"beat_sync", TL_T_NUMBER, TL_PORT_OUT, "share of cuts on a beat"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "shot_sec, shots, beats_per_shot, climax_beats, beat_sync, drift_ms"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("calm_beats", 1, 16, "5", "beats to a shot in calm"),
    TL_CRAFT_PARAM("high_beats", 1, 16, "1.5", "at the height"),
    TL_CRAFT_PARAM("pace_gain", 0, 1, "0.35", "how strongly pace takes beats away"),
    TL_CRAFT_PARAM("low", 0, 1, "0.2", "share of cuts on a beat without sync"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

struct sync {
    const double *beat, *curve;
    size_t nbeats, ncurve;
    double duration, calm, high, longer, drift;
    uint64_t seed;
};

static double beats_at(const struct sync *s, double c)
{
    return tl_craft_clamp(tl_craft_mix(s->calm, s->high, c) * s->longer, 1, 32);
}

/* The cuts into cut (nbeats of them at most), drifted. */
static size_t place_cuts(const struct sync *s, double *cut)
{
    size_t n = 0;
    for (size_t at = 0;;) {
        size_t i = (size_t)(s->beat[at] / s->duration * (double)(s->ncurve - 1) + 0.5);
        at += (size_t)(beats_at(s, s->curve[i < s->ncurve ? i : s->ncurve - 1]) + 0.5);
        if (at >= s->nbeats)
            return n;
        cut[n] = tl_craft_clamp(s->beat[at] + s->drift * tl_craft_noise(s->seed, n), 0, s->duration);
        n++;
    }
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    TL_AUTO_FREE double *beat = NULL, *cut = NULL;
    size_t n = 0, ncuts = 0;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    err = err ? err : tl_op_input_floats(ctx, "beats", &beat, &n);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), period = 60 / tl_craft_in(ctx, "bpm", 110, 30, 300);
    double sync = tl_craft_in(ctx, "sync", 0.5, 0, 1);
    struct sync s = {.beat = beat, .curve = c.v, .nbeats = n, .ncurve = c.n, .duration = duration};
    s.calm = tl_op_param_number(ctx, "calm_beats");
    s.high = tl_op_param_number(ctx, "high_beats");
    s.longer =
        exp(-tl_op_param_number(ctx, "pace_gain") * tl_craft_in(ctx, "pace", 0, -1, 1)) * tl_rhythm_length(duration);
    s.drift = (1 - sync) * period * 0.45;
    s.seed = tl_craft_seed(tl_op_input_text(ctx, "seed"));
    cut = tl_calloc(n + 1, sizeof(*cut));
    if (!cut)
        return TL_ENOMEM;
    if (n)
        ncuts = place_cuts(&s, cut);
    double density = 0, log_sum = 0, log_square = 0;
    for (size_t i = 0; i < c.n; i++) {
        double shot = beats_at(&s, c.v[i]) * period;
        density += 1 / shot / (double)c.n;
        log_sum += log(shot) / (double)c.n;
        log_square += log(shot) * log(shot) / (double)c.n;
    }
    double mean = tl_craft_clamp(1 / density, 0.4, duration < 0.4 ? 0.4 : duration);
    double on_beat = tl_craft_mix(tl_op_param_number(ctx, "low"), 1, sync), spread = log_square - log_sum * log_sum;
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "cuts", cut, ncuts);
    tl_out_number(&o, "mean_sec", mean);
    tl_out_number(&o, "variation", 0.15 + (spread > 0 ? sqrt(spread) : 0) + 0.1 * (1 - sync));
    tl_out_number(&o, "beat_sync", on_beat);
    tl_out_fact(&o, "shot_sec", mean);
    tl_out_fact(&o, "shots", (double)ncuts + 1);
    tl_out_fact(&o, "beats_per_shot", mean / period);
    tl_out_fact(&o, "climax_beats", floor(beats_at(&s, c.stats.peak) + 0.5));
    tl_out_fact(&o, "beat_sync", on_beat);
    tl_out_fact(&o, "drift_ms", s.drift * 1000);
    return tl_out_end(&o);
}

const struct tl_op tl_op_music_sync = {
    .name = "music.sync",
    .revision = 2,
    .flags = TL_CRAFT,
    .title = "Cut to the music",
    .doc = "Cuts on beats",
    .ports = ports,
    .params = params,
    .run = run,
};

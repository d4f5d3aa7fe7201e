/* rhythm.cut_density: cuts gather where tension does: a shot lasts base × exp(-gain × bias × (curve - its mean)). */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "tension, 0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"bias", TL_T_NUMBER, TL_PORT_REQUIRED, "how far tension rules, 0 to 1"},
    {"swerve", TL_T_NUMBER, 0, "how sharply the tone turns, 0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"shots", TL_T_FLOATS, TL_PORT_OUT, "seconds of each shot"},
    {"mean_sec", TL_T_NUMBER, TL_PORT_OUT, "mean shot"},
    {"variation", TL_T_NUMBER, TL_PORT_OUT, "standard deviation of ln(shot)"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "shot_sec, shots, opening_shot_sec, climax_shot_sec"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_RHYTHM_PARAMS("4", "0.35"),
    TL_CRAFT_PARAM("gain", 0, 4, "2", "how strongly tension shortens"),
    TL_CRAFT_PARAM("base_variation", 0, 1, "0.35", "variation of an even scene without bias"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

struct density {
    double base, gain, mean;
};

static double shot(void *arg, double p, double c, size_t k)
{
    const struct density *d = arg;
    (void)p;
    (void)k;
    return d->base * exp(-d->gain * (c - d->mean));
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), bias = tl_craft_in(ctx, "bias", 0, 0, 1);
    struct density d = {tl_craft_base_shot(ctx, &c, duration), tl_op_param_number(ctx, "gain") * bias, c.stats.mean};
    struct tl_rhythm r;
    err = tl_rhythm_walk(c.v, c.n, duration, shot, &d, &r);
    if (err)
        return err;
    double mean = tl_rhythm_mean(c.v, c.n, d.base, d.gain, duration);
    double variation = tl_op_param_number(ctx, "base_variation") * (1 + bias) + d.gain * c.stats.sd +
                       0.3 * tl_craft_in(ctx, "swerve", 0, 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "shots", r.shots, r.n);
    tl_out_number(&o, "mean_sec", mean);
    tl_out_number(&o, "variation", variation);
    tl_out_fact(&o, "shot_sec", mean);
    tl_out_fact(&o, "shots", (double)r.n);
    tl_out_fact(&o, "opening_shot_sec", r.n ? r.shots[0] : duration);
    tl_out_fact(&o, "climax_shot_sec", tl_craft_clamp(shot(&d, 0, c.stats.peak, 0), 0.4, duration));
    free(r.shots);
    return tl_out_end(&o);
}

const struct tl_op tl_op_rhythm_cut_density = {
    .name = "rhythm.cut_density",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Cut by tension",
    .doc = "Shorter shots where tension is high",
    .ports = ports,
    .params = params,
    .run = run,
};

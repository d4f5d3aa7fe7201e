/* rhythm.pursuit: a chase that shortens: every shot is pressed by what has been felt so far and by the time that has run. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1, usually ratcheted"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"shots", TL_T_FLOATS, TL_PORT_OUT, "seconds of each shot"},
    {"mean_sec", TL_T_NUMBER, TL_PORT_OUT, "mean shot"},
    {"variation", TL_T_NUMBER, TL_PORT_OUT, "standard deviation of ln(shot)"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "shot_sec, shots, opening_shot_sec, closing_shot_sec, acceleration"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_RHYTHM_PARAMS("2.2", "0.35"),
    TL_CRAFT_PARAM("gain", 0, 3, "1", "how strongly feeling shortens"),
    TL_CRAFT_PARAM("accelerate", 0, 2, "0.6", "ln of the first shot over the last, in a flat scene"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

struct pursuit {
    double base, gain, accelerate;
};

static double shot(void *arg, double p, double c, size_t k)
{
    const struct pursuit *s = arg;
    (void)k;
    return s->base * exp(-s->gain * (c - 0.5) - s->accelerate * (p - 0.5));
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200);
    struct pursuit s = {tl_craft_base_shot(ctx, &c, duration), tl_op_param_number(ctx, "gain"),
                        tl_op_param_number(ctx, "accelerate")};
    struct tl_rhythm r;
    err = tl_rhythm_walk(c.v, c.n, duration, shot, &s, &r);
    if (err)
        return err;
    double density = 0, sum = 0, square = 0;
    for (size_t i = 0; i < c.n; i++) {
        double len = shot(&s, (double)i / (double)(c.n - 1), c.v[i], 0);
        density += 1 / len / (double)c.n;
        sum += log(len) / (double)c.n;
        square += log(len) * log(len) / (double)c.n;
    }
    double mean = tl_craft_clamp(1 / density, 0.4, duration < 0.4 ? 0.4 : duration), spread = square - sum * sum;
    double first = shot(&s, 0, c.v[0], 0), last = shot(&s, 1, c.v[c.n - 1], 0);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "shots", r.shots, r.n);
    tl_out_number(&o, "mean_sec", mean);
    tl_out_number(&o, "variation", 0.3 + (spread > 0 ? sqrt(spread) : 0));
    tl_out_fact(&o, "shot_sec", mean);
    tl_out_fact(&o, "shots", (double)r.n);
    tl_out_fact(&o, "opening_shot_sec", tl_craft_clamp(first, 0.4, duration));
    tl_out_fact(&o, "closing_shot_sec", tl_craft_clamp(last, 0.4, duration));
    tl_out_fact(&o, "acceleration", first / last);
    free(r.shots);
    return tl_out_end(&o);
}

const struct tl_op tl_op_rhythm_pursuit = {
    .name = "rhythm.pursuit",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Pursue",
    .doc = "Shots that shorten as the chase goes on",
    .ports = ports,
    .params = params,
    .run = run,
};

/* rhythm.phrase: shots in mirrored phrases, long at both ends and short in the middle, where the insert stands: A B C B A. Symmetry evens them out. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"symmetry", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"shots", TL_T_FLOATS, TL_PORT_OUT, "seconds of each shot"},
    {"mean_sec", TL_T_NUMBER, TL_PORT_OUT, "mean shot"},
    {"variation", TL_T_NUMBER, TL_PORT_OUT, "standard deviation of ln(shot)"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "shot_sec, shots, phrase_sec, insert_sec, phrase_shots"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_RHYTHM_PARAMS("4", "0.3"),
    TL_CRAFT_PARAM("phrase", 3, 9, "5", "shots of a phrase, odd"),
    TL_CRAFT_PARAM("swell", 0, 2, "1.1", "ln of the outer shot over the inner one"),
    TL_CRAFT_PARAM("gain", 0, 2, "0.6", "how strongly the curve shortens"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

struct phrase {
    double base, swell, gain, mean;
    size_t count;
};

/* From -0.5 in the middle of a phrase to 0.5 at its ends. */
static double place(const struct phrase *p, size_t k)
{
    double half = (double)(p->count - 1) / 2;
    return fabs((double)(k % p->count) - half) / half - 0.5;
}

static double shot(void *arg, double at, double c, size_t k)
{
    const struct phrase *p = arg;
    (void)at;
    return p->base * exp(p->swell * place(p, k) - p->gain * (c - p->mean));
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), symmetry = tl_craft_in(ctx, "symmetry", 0.5, 0, 1);
    struct phrase p = {tl_craft_base_shot(ctx, &c, duration), tl_op_param_number(ctx, "swell") * (1 - 0.5 * symmetry),
                       tl_op_param_number(ctx, "gain"), c.stats.mean, (size_t)tl_op_param_number(ctx, "phrase") | 1};
    struct tl_rhythm r;
    err = tl_rhythm_walk(c.v, c.n, duration, shot, &p, &r);
    if (err)
        return err;
    double square = 0, sum = 0, outer = 0;
    for (size_t k = 0; k < p.count; k++) {
        sum += place(&p, k) / (double)p.count;
        square += place(&p, k) * place(&p, k) / (double)p.count;
        outer += exp(p.swell * place(&p, k)) / (double)p.count;
    }
    double mean = tl_craft_clamp(tl_rhythm_mean(c.v, c.n, p.base, p.gain, duration) * outer, 0.4,
                                 duration < 0.4 ? 0.4 : duration);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "shots", r.shots, r.n);
    tl_out_number(&o, "mean_sec", mean);
    tl_out_number(&o, "variation", p.swell * sqrt(square - sum * sum) + p.gain * c.stats.sd);
    tl_out_fact(&o, "shot_sec", mean);
    tl_out_fact(&o, "shots", (double)r.n);
    tl_out_fact(&o, "phrase_sec", tl_craft_clamp(mean * (double)p.count, 0.4, duration));
    tl_out_fact(&o, "phrase_shots", (double)p.count);
    tl_out_fact(&o, "insert_sec",
                tl_craft_clamp(p.base * exp(-0.5 * p.swell - p.gain * (c.stats.peak - c.stats.mean)), 0.4, duration));
    free(r.shots);
    return tl_out_end(&o);
}

const struct tl_op tl_op_rhythm_phrase = {
    .name = "rhythm.phrase",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Mirrored phrases",
    .doc = "Shots in palindromes",
    .ports = ports,
    .params = params,
    .run = run,
};

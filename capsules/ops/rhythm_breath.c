/* rhythm.breath: breathing: one long look at light, then a run of short glimpses; as feeling rises the look shortens and the glimpses quicken. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"shots", TL_T_FLOATS, TL_PORT_OUT, "seconds of each shot"},
    {"mean_sec", TL_T_NUMBER, TL_PORT_OUT, "mean shot"},
    {"variation", TL_T_NUMBER, TL_PORT_OUT, "standard deviation of ln(shot)"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "shot_sec, shots, look_sec, glimpse_sec, breath_sec"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_RHYTHM_PARAMS("5", "0.3"),
    TL_CRAFT_PARAM("glimpses", 1, 8, "3", "short shots after each long one"),
    TL_CRAFT_PARAM("look", 1, 4, "2", "the long one over the usual shot, in calm"),
    TL_CRAFT_PARAM("glimpse", 0.1, 1, "0.75", "the short one likewise"),
    TL_CRAFT_PARAM("quicken", 0, 0.9, "0.5", "share that full feeling takes from both"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

struct breath {
    double look, glimpse, quicken;
    size_t glimpses;
};

static double shot(void *arg, double p, double c, size_t k)
{
    const struct breath *b = arg;
    (void)p;
    return (k % (b->glimpses + 1) ? b->glimpse : b->look) * (1 - b->quicken * c);
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), base = tl_craft_base_shot(ctx, &c, duration);
    struct breath b = {base * tl_op_param_number(ctx, "look"), base * tl_op_param_number(ctx, "glimpse"),
                       tl_op_param_number(ctx, "quicken"), (size_t)tl_op_param_number(ctx, "glimpses")};
    struct tl_rhythm r;
    err = tl_rhythm_walk(c.v, c.n, duration, shot, &b, &r);
    if (err)
        return err;
    double count = (double)b.glimpses + 1, breath = b.look + b.glimpse * (double)b.glimpses, density = 0;
    for (size_t i = 0; i < c.n; i++)
        density += count / (breath * (1 - b.quicken * c.v[i])) / (double)c.n;
    double mean = tl_craft_clamp(1 / density, 0.4, duration < 0.4 ? 0.4 : duration);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "shots", r.shots, r.n);
    tl_out_number(&o, "mean_sec", mean);
    tl_out_number(&o, "variation",
                  log(b.look / b.glimpse) * sqrt((count - 1) / (count * count)) + b.quicken * c.stats.sd);
    tl_out_fact(&o, "shot_sec", mean);
    tl_out_fact(&o, "shots", (double)r.n);
    tl_out_fact(&o, "look_sec", tl_craft_clamp(b.look * (1 - b.quicken * c.stats.low), 0.4, duration));
    tl_out_fact(&o, "glimpse_sec", tl_craft_clamp(b.glimpse * (1 - b.quicken * c.stats.peak), 0.4, duration));
    tl_out_fact(&o, "breath_sec", tl_craft_clamp(breath * (1 - b.quicken * c.stats.mean), 0.4, duration));
    free(r.shots);
    return tl_out_end(&o);
}

const struct tl_op tl_op_rhythm_breath = {
    .name = "rhythm.breath",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Breathe",
    .doc = "Long looks and runs of glimpses",
    .ports = ports,
    .params = params,
    .run = run,
};

/* stillness.hold: the take is held: stillness lengthens it and locks the camera. Feeling does not cut; a scene shorter than a take is one take. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"curve", TL_T_FLOATS, TL_PORT_REQUIRED, "0 to 1"},
    {"duration", TL_T_NUMBER, TL_PORT_REQUIRED, "seconds"},
    {"pace", TL_T_NUMBER, 0, "-1 to 1"},
    {"stillness", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"motion", TL_T_NUMBER, 0, "motion of the camera before"},
    {"clip", TL_T_JSON, 0, "facts of upstream.clip"},
    {"shots", TL_T_FLOATS, TL_PORT_OUT, "seconds of each take, all alike"},
    {"mean_sec", TL_T_NUMBER, TL_PORT_OUT, "the take"},
    {"variation", TL_T_NUMBER, TL_PORT_OUT, "standard deviation of ln(shot)"},
    {"motion_out", TL_T_NUMBER, TL_PORT_OUT, "what stillness leaves of the motion"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "take_sec, takes, still"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_RHYTHM_PARAMS("24", "0.4"),
    TL_CRAFT_PARAM("variation", 0, 1, "0.3", "variation without stillness"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static double take(void *arg, double p, double c, size_t k)
{
    (void)p;
    (void)c;
    (void)k;
    return *(double *)arg;
}

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_CURVE struct tl_craft_curve c;
    int err = tl_craft_curve_in(ctx, "curve", &c);
    if (err)
        return err;
    double duration = tl_craft_in(ctx, "duration", 60, 0.5, 7200), still = tl_craft_in(ctx, "stillness", 0.5, 0, 1);
    double hold = tl_craft_base_shot(ctx, &c, duration) * tl_craft_mix(0.4, 1.1, still);
    hold = tl_craft_clamp(hold, 0.4, duration < 0.4 ? 0.4 : duration);
    double even = duration / floor(duration / hold + 0.5);
    struct tl_rhythm r;
    err = tl_rhythm_walk(c.v, c.n, duration, take, &even, &r);
    if (err)
        return err;
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "shots", r.shots, r.n);
    tl_out_number(&o, "mean_sec", hold);
    tl_out_number(&o, "variation", tl_op_param_number(ctx, "variation") * (1 - 0.8 * still));
    tl_out_number(&o, "motion_out", tl_craft_in(ctx, "motion", 0.2, 0, 1) * (1 - still));
    tl_out_fact(&o, "take_sec", even);
    tl_out_fact(&o, "takes", (double)r.n);
    tl_out_fact(&o, "still", still);
    free(r.shots);
    return tl_out_end(&o);
}

const struct tl_op tl_op_stillness_hold = {
    .name = "stillness.hold",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Hold the take",
    .doc = "Long takes and a locked camera",
    .ports = ports,
    .params = params,
    .run = run,
};

/* chaos.perturb: throws a rhythm off balance: shot lengths are jolted by an integer hash of the scene, the camera is taken off its sticks, the
 * horizon leans. The same scene is thrown the same way every time. */
#include "capsules/craft/op.h"

#include <math.h>

static const struct tl_port ports[] = {
    {"shots", TL_T_FLOATS, TL_PORT_REQUIRED, "seconds of each shot"},
    {"variation", TL_T_NUMBER, TL_PORT_REQUIRED, "standard deviation of ln(shot) before"},
    {"bias", TL_T_NUMBER, TL_PORT_REQUIRED, "0 to 1"},
    {"handheld", TL_T_NUMBER, 0, "handheld share before"},
    {"seed", TL_T_STRING, 0, "the scene summary"},
    {"shots_out", TL_T_FLOATS, TL_PORT_OUT, "jolted, of the same sum"},
    {"variation_out", TL_T_NUMBER, TL_PORT_OUT, "after"},
    {"handheld_out", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"symmetry", TL_T_NUMBER, TL_PORT_OUT, "0 to 1"},
    {"facts", TL_T_JSON, TL_PORT_OUT, "chaos, cant_deg, jolt_sec, jolt_len_sec, handheld"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    TL_CRAFT_PARAM("spread", 0, 1.5, "0.6", "ln by which a shot is jolted at most"),
    TL_CRAFT_PARAM("hand", 0, 1, "0.75", "handheld share that full chaos adds"),
    TL_CRAFT_PARAM("cant", 0, 30, "12", "degrees that the horizon leans at most"),
    TL_CRAFT_PARAM("symmetry", 0, 1, "0.25", "symmetry without chaos"),
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static int run(struct tl_op_ctx *ctx)
{
    TL_AUTO_FREE double *shot = NULL;
    size_t n = 0, jolt = 0;
    int err = tl_op_input_floats(ctx, "shots", &shot, &n);
    if (err)
        return err;
    double bias = tl_craft_in(ctx, "bias", 0.5, 0, 1), spread = tl_op_param_number(ctx, "spread") * bias, before = 0,
           after = 0, at = 0;
    uint64_t seed = tl_craft_seed(tl_op_input_text(ctx, "seed"));
    for (size_t i = 0; i < n; i++) {
        before += shot[i];
        shot[i] *= exp(spread * tl_craft_noise(seed, i));
        after += shot[i];
    }
    for (size_t i = 0; i < n; i++)
        shot[i] *= after > 0 ? before / after : 1;
    for (size_t i = 1; i < n; i++) {
        if (fabs(log(shot[i] / shot[i - 1])) > (jolt ? fabs(log(shot[jolt] / shot[jolt - 1])) : 0) + 1e-9)
            jolt = i;
    }
    for (size_t i = 0; i < jolt; i++)
        at += shot[i];
    /* Uniform noise of ±spread has a standard deviation of spread/√3; it adds to what was there as variances do. */
    double own = tl_craft_in(ctx, "variation", 0.4, 0, 3), handheld = tl_craft_in(ctx, "handheld", 0.2, 0, 1);
    handheld = tl_craft_clamp(handheld + tl_op_param_number(ctx, "hand") * bias * (1 - handheld), 0, 1);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "shots_out", shot, n);
    tl_out_number(&o, "variation_out", sqrt(own * own + spread * spread / 3));
    tl_out_number(&o, "handheld_out", handheld);
    tl_out_number(&o, "symmetry", tl_op_param_number(ctx, "symmetry") * (1 - 0.8 * bias));
    tl_out_fact(&o, "chaos", bias);
    tl_out_fact(&o, "cant_deg", tl_op_param_number(ctx, "cant") * bias);
    tl_out_fact(&o, "handheld", handheld);
    if (jolt) {
        tl_out_fact(&o, "jolt_sec", at);
        tl_out_fact(&o, "jolt_len_sec", shot[jolt]);
    }
    return tl_out_end(&o);
}

const struct tl_op tl_op_chaos_perturb = {
    .name = "chaos.perturb",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Perturb",
    .doc = "A rhythm thrown off balance",
    .ports = ports,
    .params = params,
    .run = run,
};

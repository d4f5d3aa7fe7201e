/* upstream.clip: finds the analysis of a clip (media.analyze) in upstream_context and reads its statistics. The context may come from a client, so
 * nothing in it is believed: every number is clamped. */
#include "capsules/craft/op.h"

#include <math.h>
#include <string.h>

enum { SEARCH_DEPTH = 6, VALUES_MAX = 20000 };

static const struct tl_port ports[] = {
    {"context", TL_T_JSON, 0, "upstream_context, aggregate or sequential"},
    {"clip", TL_T_JSON, TL_PORT_OUT,
     "clip (1 or 0) and, where there is one, clip_duration_sec, clip_shot_sec, clip_motion, clip_luma, clip_chroma, "
     "clip_contrast, clip_symmetry, clip_a, clip_b"},
    {"curve", TL_T_FLOATS, TL_PORT_OUT, "its emotion curve, otherwise its motion; empty without a clip"},
    {"onsets", TL_T_FLOATS, TL_PORT_OUT, "onsets of its sound in seconds"},
    {NULL, 0, 0, NULL},
};

static bool is_analysis(const json_t *o)
{
    return json_is_array(json_object_get(o, "shots")) &&
           (json_is_array(json_object_get(o, "luma")) || json_is_array(json_object_get(o, "motion")));
}

/* The last analysis of a list, the first by key of an object: the same for equal JSON. *ret_beside is the object that holds it. */
static const json_t *find(const json_t *in, const json_t *beside, int depth, const json_t **ret_beside)
{
    if (is_analysis(in)) {
        *ret_beside = beside;
        return in;
    }
    if (depth == 0)
        return NULL;
    const json_t *found = NULL, *hit, *at;
    if (json_is_array(in)) {
        for (size_t i = json_array_size(in); i-- > 0 && !found;)
            found = find(json_array_get(in, i), in, depth - 1, ret_beside);
        return found;
    }
    const char *key, *best = NULL;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)in, key, value) {
        if (best && strcmp(best, key) < 0)
            continue;
        hit = find(value, in, depth - 1, &at);
        if (hit) {
            found = hit;
            best = key;
            *ret_beside = at;
        }
    }
    return found;
}

static double mean_of(const json_t *list, double otherwise)
{
    size_t n = json_array_size(list), counted = 0;
    double sum = 0;
    for (size_t i = 0; i < n && i < VALUES_MAX; i++) {
        const json_t *v = json_array_get(list, i);
        if (json_is_number(v)) {
            sum += tl_craft_clamp(json_number_value(v), 0, 1);
            counted++;
        }
    }
    return counted ? sum / (double)counted : otherwise;
}

/* Numbers of a list, clamped and rounded; what is no number is left out. */
static json_t *numbers(const json_t *list, double high)
{
    json_t *out = json_array();
    for (size_t i = 0; out && i < json_array_size(list) && i < VALUES_MAX; i++) {
        const json_t *v = json_array_get(list, i);
        if (json_is_number(v) &&
            json_array_append_new(out, json_real(tl_craft_round(tl_craft_clamp(json_number_value(v), 0, high)))) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *facts_of(const json_t *a)
{
    double shots = (double)json_array_size(json_object_get(a, "shots")),
           duration = tl_craft_of(a, "duration_sec", 0, 7200);
    double shot = tl_craft_of(a, "mean_shot_sec", 0, 600);
    if (shot <= 0 && shots > 0)
        shot = duration / shots;
    struct tl_lab mean = {0}, one;
    size_t n = 0, i;
    json_t *text;
    json_array_foreach(json_object_get(a, "palette"), i, text) {
        if (i < 64 && json_is_string(text) && tl_lab_from_hex(json_string_value(text), &one)) {
            mean.a += one.a;
            mean.b += one.b;
            n++;
        }
    }
    return json_pack("{s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "clip", 1, "clip_duration_sec",
                     tl_craft_round(duration), "clip_shot_sec", tl_craft_round(shot), "clip_motion",
                     tl_craft_round(mean_of(json_object_get(a, "motion"), 0.4)), "clip_luma",
                     tl_craft_round(mean_of(json_object_get(a, "luma"), 0.5)), "clip_chroma",
                     tl_craft_round(mean_of(json_object_get(a, "chroma"), 0.08)), "clip_contrast",
                     tl_craft_round(tl_craft_of(a, "contrast", 0, 1)), "clip_symmetry",
                     tl_craft_round(tl_craft_of(a, "symmetry", 0, 1)), "clip_a",
                     tl_craft_round(n ? mean.a / (double)n : 0), "clip_b", tl_craft_round(n ? mean.b / (double)n : 0));
}

static int run(struct tl_op_ctx *ctx)
{
    const json_t *beside = NULL, *context = tl_op_input_json(ctx, "context");
    const json_t *a = find(context, NULL, SEARCH_DEPTH, &beside);
    struct tl_out o = {.ctx = ctx};
    tl_out_json(&o, "clip", a ? facts_of(a) : json_pack("{s:i}", "clip", 0));
    const json_t *curve = json_object_get(beside, "emotion_curve");
    tl_out_json(&o, "curve", numbers(json_array_size(curve) ? curve : json_object_get(a, "motion"), 1));
    tl_out_json(&o, "onsets", numbers(json_object_get(a, "onsets_sec"), 7200));
    return tl_out_end(&o);
}

const struct tl_op tl_op_upstream_clip = {
    .name = "upstream.clip",
    .revision = 1,
    .flags = TL_CRAFT,
    .title = "Read the clip upstream",
    .doc = "Statistics of the analysed clip among the nodes before this capsule",
    .ports = ports,
    .run = run,
};

/* media.analyze: shots, curves, palette and loudness of a clip in one streaming pass. Memory is constant but for one small record a second, a shot
 * and an onset. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/media/cloud.h"
#include "worker/media/emotion.h"
#include "worker/media/grid.h"
#include "worker/media/loudness.h"
#include "worker/media/open.h"
#include "worker/media/ops.h"
#include "worker/media/shots.h"
#include "worker/media/sound.h"

#include <math.h>
#include <string.h>

enum { COLOUR_HZ = 5 /* pictures a second that are measured for colour */, PALETTE = 6 };

struct second {
    struct tl_wk_tone tone; /* sums */
    int tones;
    double motion;
    int motions;
    double poster_score, poster_t;
};

struct analysis {
    struct tl_wk_job *job;
    struct tl_wk_media media;
    struct tl_wk_gridder gridder;
    struct tl_wk_grid grid, before;
    struct tl_lab lab[TL_GRID_N];
    struct tl_wk_cloud cloud;
    struct tl_wk_shots *shots;
    double cut_threshold;
    struct second *seconds;
    size_t nseconds, cap_seconds;
    int64_t frames, total;
    double last_t, next_colour, end_sec;
    double last_step; /* seconds between the last two pictures */
    struct tl_wk_sound sound;
    struct tl_wk_loud *loud;
};

static struct second *second_at(struct analysis *a, double t)
{
    size_t i = t > 0 ? (size_t)t : 0;
    size_t had = a->cap_seconds;
    if (i > TL_WK_MAX_SECONDS || tl_grow(&a->seconds, &a->cap_seconds, i + 1, sizeof(*a->seconds)) < 0)
        return NULL;
    if (a->cap_seconds > had)
        memset(a->seconds + had, 0, (a->cap_seconds - had) * sizeof(*a->seconds));
    if (i >= a->nseconds)
        a->nseconds = i + 1;
    return &a->seconds[i];
}

/* Mean luma change, scaled to one step of 1/24 s, so that the rate of pictures does not matter. */
static double motion_between(const struct tl_wk_grid *a, const struct tl_wk_grid *b, double dt)
{
    unsigned sum = 0;
    for (int i = 0; i < TL_GRID_N; i++)
        sum += (unsigned)abs(a->y[i] - b->y[i]);
    double per_frame = sum / (255.0 * TL_GRID_N);
    return dt > 0.001 ? fmin(per_frame / (24 * dt), 1) : per_frame;
}

static void measure_colour(struct analysis *a, struct second *s, double t, double motion)
{
    struct tl_wk_tone tone;
    tl_wk_grid_lab(&a->grid, a->lab);
    tl_wk_tone_measure(&a->grid, a->lab, &tone);
    for (int i = 0; i < TL_GRID_N; i++)
        tl_wk_cloud_add(&a->cloud, a->lab[i]);
    s->tone.luma += tone.luma;
    s->tone.chroma += tone.chroma;
    s->tone.hue_x += tone.hue_x;
    s->tone.hue_y += tone.hue_y;
    s->tone.contrast += tone.contrast;
    s->tone.symmetry += tone.symmetry;
    s->tones++;
    /* A poster is a clear, colourful, still picture that is neither black nor white. */
    double score = tone.contrast + 2 * tone.chroma - 4 * motion - fabs(tone.luma - 0.5);
    if (s->tones == 1 || score > s->poster_score) {
        s->poster_score = score;
        s->poster_t = t;
    }
}

static int on_picture(void *arg, AVFrame *frame, double t)
{
    struct analysis *a = arg;
    int err = tl_wk_grid_take(&a->gridder, frame, &a->grid);
    double score = 0;
    if (err == 0)
        err = tl_wk_shots_add(a->shots, &a->grid, t, &score);
    if (err < 0)
        return err;
    struct second *s = second_at(a, t);
    if (!s)
        return TL_ENOMEM;
    double dt = t - a->last_t, motion = 0;
    if (a->frames && score < a->cut_threshold) {
        motion = motion_between(&a->before, &a->grid, dt);
        s->motion += motion;
        s->motions++;
    }
    if (t >= a->next_colour) {
        measure_colour(a, s, t, motion);
        a->next_colour = (floor(t * COLOUR_HZ + 1e-6) + 1) / COLOUR_HZ;
    }
    if (a->frames && dt > 0)
        a->last_step = dt;
    memcpy(&a->before, &a->grid, sizeof(a->grid));
    a->last_t = t;
    a->frames++;
    return tl_wk_progress(a->job, a->frames, a->total > a->frames ? a->total : a->frames, NULL);
}

static int on_sound(void *arg, AVFrame *frame, double t)
{
    struct analysis *a = arg;
    const float *samples;
    int n;
    if (tl_wk_sound_take(&a->sound, frame, &samples, &n) < 0)
        return 0; /* a damaged frame of sound is silence */
    if (!a->loud) {
        a->loud = tl_wk_loud_new((unsigned)a->sound.rate, (unsigned)a->sound.channels);
        if (!a->loud)
            return TL_ENOMEM;
        /* Sound that begins later than the picture: silence first, so that seconds stay seconds. */
        static const float silence[1024 * TL_WK_MAX_CHANNELS];
        for (int64_t left = (int64_t)(fmin(t, 60) * a->sound.rate); left > 0; left -= 1024)
            if (tl_wk_loud_add(a->loud, silence, left < 1024 ? (size_t)left : 1024) < 0)
                return TL_ENOMEM;
    }
    return n ? tl_wk_loud_add(a->loud, samples, (size_t)n) : 0;
}

static double rounded(double v, double unit)
{
    return round(v / unit) * unit;
}

static const char *transition_name(enum tl_wk_transition k)
{
    static const char *const names[] = {"start", "cut", "dissolve"};
    return names[k];
}

static json_t *shots_json(const struct tl_wk_shot *shots, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list,
            json_pack("{s:i,s:f,s:f,s:I,s:I,s:s}", "index", (int)i, "start_sec", rounded(shots[i].start_sec, 1e-4),
                      "end_sec", rounded(shots[i].end_sec, 1e-4), "start_frame", (json_int_t)shots[i].start_frame,
                      "end_frame", (json_int_t)shots[i].end_frame, "transition", transition_name(shots[i].transition)));
    return list;
}

/* What is measured at a second, or the last one before that has anything (a picture may last longer than a second). */
static void fill_seconds(const struct analysis *a, struct tl_wk_second *ret, double *hue)
{
    size_t nloud = 0;
    const double *loud = a->loud ? tl_wk_loud_seconds(a->loud, &nloud) : NULL;
    for (size_t i = 0; i < a->nseconds; i++) {
        const struct second *s = &a->seconds[i];
        if (s->tones) {
            ret[i].luma = s->tone.luma / s->tones;
            ret[i].chroma = s->tone.chroma / s->tones;
            hue[i] = tl_wk_lab_hue((struct tl_lab){0, (float)s->tone.hue_x, (float)s->tone.hue_y});
        } else if (i) {
            ret[i].luma = ret[i - 1].luma;
            ret[i].chroma = ret[i - 1].chroma;
            hue[i] = hue[i - 1];
        }
        ret[i].motion = tl_wk_motion_map(s->motions ? s->motion / s->motions : 0);
        ret[i].loudness = !a->loud ? -1 : i < nloud ? loud[i] : 0;
    }
}

enum curve { LUMA, MOTION, CHROMA, CUT_RATE, LOUDNESS };

static json_t *curve_json(const struct tl_wk_second *s, size_t n, enum curve which)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        double v = which == LUMA       ? s[i].luma
                   : which == MOTION   ? s[i].motion
                   : which == CHROMA   ? s[i].chroma
                   : which == CUT_RATE ? s[i].cut_rate
                                       : fmax(s[i].loudness, 0);
        json_array_append_new(list, json_real(rounded(v, 1e-5)));
    }
    return list;
}

static json_t *rounded_list(const double *v, size_t n, double unit)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real(rounded(v[i], unit)));
    return list;
}

static double poster(const struct analysis *a)
{
    double best = -1e9, t = 0;
    for (size_t i = 0; i < a->nseconds; i++) {
        const struct second *s = &a->seconds[i];
        /* The first and last seconds of a clip hold titles and fades. */
        double edge = a->nseconds > 4 && (i == 0 || i + 1 == a->nseconds) ? 0.3 : 0;
        if (s->tones && s->poster_score - edge > best) {
            best = s->poster_score - edge;
            t = s->poster_t;
        }
    }
    return t;
}

static int palette_json(const struct analysis *a, json_t **ret_colours, json_t **ret_weights)
{
    struct tl_wk_swatch sw[PALETTE];
    size_t n = tl_wk_cloud_palette(&a->cloud, PALETTE, sw);
    *ret_colours = json_array();
    *ret_weights = json_array();
    for (size_t i = 0; i < PALETTE && n; i++) {
        /* A clip of fewer colours repeats its last one, without weight, so that there are always six. */
        const struct tl_wk_swatch *s = &sw[i < n ? i : n - 1];
        char hex[TL_HEX_COLOR];
        tl_wk_hex_text(s->color, hex);
        json_array_append_new(*ret_colours, json_string(hex));
        json_array_append_new(*ret_weights, json_real(i < n ? rounded(s->weight, 1e-4) : 0));
    }
    return *ret_colours && *ret_weights ? 0 : TL_ENOMEM;
}

static void set(json_t *obj, const char *key, json_t *takes)
{
    json_object_set_new(obj, key, takes);
}

/* Sums over the whole clip. */
static void whole(const struct analysis *a, json_t *out, const struct tl_wk_shot *shots, size_t nshots)
{
    double symmetry = 0, contrast = 0;
    int n = 0;
    for (size_t i = 0; i < a->nseconds; i++) {
        symmetry += a->seconds[i].tone.symmetry;
        contrast += a->seconds[i].tone.contrast;
        n += a->seconds[i].tones;
    }
    n = n ? n : 1;
    set(out, "symmetry", json_real(rounded(symmetry / n, 1e-5)));
    set(out, "contrast", json_real(rounded(contrast / n, 1e-5)));
    set(out, "median_luma", json_real(rounded(tl_wk_cloud_quantile(&a->cloud, 0.5), 1e-5)));
    set(out, "mean_shot_sec",
        json_real(nshots ? rounded((shots[nshots - 1].end_sec - shots[0].start_sec) / (double)nshots, 1e-4) : 0));
    size_t nonsets = 0;
    const double *onsets = a->loud ? tl_wk_loud_onsets(a->loud, &nonsets) : NULL;
    set(out, "onsets_sec", rounded_list(onsets, nonsets, 1e-3));
    set(out, "loudness_integrated_lufs",
        a->loud ? json_real(rounded(tl_wk_loud_integrated(a->loud), 1e-2)) : json_null());
    set(out, "poster_sec", json_real(rounded(poster(a), 1e-4)));
    set(out, "fps", json_real(rounded(a->media.fps, 1e-4)));
    set(out, "width", json_integer(a->media.width));
    set(out, "height", json_integer(a->media.height));
    set(out, "frames", json_integer(a->frames));
    set(out, "damaged_packets", json_integer(a->media.damaged));
    set(out, "has_audio", json_boolean(a->loud != NULL));
}

static int report(struct analysis *a, json_t **ret)
{
    const struct tl_wk_shot *shots;
    size_t nshots;
    int err = tl_wk_shots_finish(a->shots, a->end_sec, &shots, &nshots);
    if (err < 0)
        return err;
    TL_AUTO_FREE struct tl_wk_second *sec = tl_calloc(a->nseconds, sizeof(*sec));
    TL_AUTO_FREE double *hue = tl_calloc(a->nseconds, sizeof(*hue));
    TL_AUTO_FREE double *emotion = tl_calloc(a->nseconds, sizeof(*emotion));
    TL_AUTO_FREE double *changes = tl_calloc(nshots, sizeof(*changes));
    if (!sec || !hue || !emotion || !changes)
        return TL_ENOMEM;
    for (size_t i = 1; i < nshots; i++)
        changes[i - 1] = shots[i].start_sec;
    fill_seconds(a, sec, hue);
    tl_wk_cut_rate(changes, nshots - 1, sec, a->nseconds, a->end_sec);
    tl_wk_emotion_curve(sec, a->nseconds, emotion);
    json_t *colours, *weights, *all = json_object();
    err = palette_json(a, &colours, &weights);
    set(all, "duration_sec", json_real(rounded(a->end_sec, 1e-4)));
    set(all, "shots", shots_json(shots, nshots));
    set(all, "palette", json_incref(colours));
    set(all, "palette_weights", weights);
    set(all, "luma", curve_json(sec, a->nseconds, LUMA));
    set(all, "motion", curve_json(sec, a->nseconds, MOTION));
    set(all, "chroma", curve_json(sec, a->nseconds, CHROMA));
    set(all, "hue", rounded_list(hue, a->nseconds, 1e-2));
    set(all, "cut_rate", curve_json(sec, a->nseconds, CUT_RATE));
    set(all, "loudness", curve_json(sec, a->loud ? a->nseconds : 0, LOUDNESS));
    whole(a, all, shots, nshots);
    *ret = json_pack("{s:o,s:f,s:o,s:O,s:o}", "emotion_curve", rounded_list(emotion, a->nseconds, 1e-5), "duration_sec",
                     rounded(a->end_sec, 1e-4), "palette", colours, "shots", json_object_get(all, "shots"), "analysis",
                     all);
    return err < 0 ? err : *ret ? 0 : TL_ENOMEM;
}

static int analyze(struct analysis *a, json_t **ret)
{
    a->cut_threshold = tl_json_num(a->job->params, "cut_threshold", TL_SHOTS_CUT_THRESHOLD);
    a->total = a->media.frames;
    a->shots = tl_wk_shots_new(a->cut_threshold, tl_json_bool(a->job->params, "dissolve", true), a->media.fps);
    if (!a->shots)
        return TL_ENOMEM;
    int err = tl_wk_media_decode(&a->media, &(struct tl_wk_sink){a, on_picture, on_sound});
    if (err < 0)
        return err;
    a->end_sec = a->last_t + (a->media.fps > 0 ? 1 / a->media.fps : a->last_step);
    /* A last second that only rounding begins is none. */
    if (a->nseconds > 1 && a->end_sec <= (double)(a->nseconds - 1) + 1e-6)
        a->nseconds--;
    return report(a, ret);
}

int tl_wk_media_analyze(struct tl_wk_job *job, json_t **ret)
{
    TL_AUTO_FREE struct analysis *a = tl_calloc(1, sizeof(*a));
    if (!a)
        return TL_ENOMEM;
    a->job = job;
    int err = tl_wk_media_open(&a->media, job, "clip", TL_WK_VIDEO | TL_WK_AUDIO | TL_WK_COARSE);
    if (err < 0)
        return err;
    err = a->media.fps > 0 ? analyze(a, ret) : tl_wk_fail(job, TL_EMEDIA, "the file is a still picture, not a clip");
    tl_wk_media_close(&a->media);
    tl_wk_gridder_clear(&a->gridder);
    tl_wk_shots_free(a->shots);
    tl_wk_sound_clear(&a->sound);
    tl_wk_loud_free(a->loud);
    free(a->seconds);
    return err;
}

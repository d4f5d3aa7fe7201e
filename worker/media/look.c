/* media.look: the clip graded towards a palette and a style vector. A first pass over keyframes measures the clip's colours; the second grades every
 * picture by one table, lets highlights bloom, and encodes. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "wire/style.h"
#include "worker/media/bloom.h"
#include "worker/media/canvas.h"
#include "worker/media/encode.h"
#include "worker/media/lut.h"
#include "worker/media/measure.h"
#include "worker/media/ops.h"
#include "worker/media/sound.h"

#include <math.h>
#include <string.h>

enum {
    FEW = 12,      /* keyframes fewer than this do not tell what a clip looks like */
    SAMPLES = 160, /* pictures measured at most, about, where all are decoded */
    MAX_HEIGHT = 2160,
    MAX_WIDTH = 4096,
    MEASURED = 120, /* graded pictures measured, about */
};

struct look {
    struct tl_wk_job *job;
    struct tl_wk_look style;
    struct tl_wk_media media;
    struct tl_wk_gridder gridder;
    struct tl_wk_grid grid;
    struct tl_lab lab[TL_GRID_N];
    struct tl_wk_measure source, result;
    struct tl_wk_lut lut;
    struct tl_wk_canvas canvas;
    struct tl_wk_bloom bloom;
    struct tl_wk_encoder enc;
    struct tl_wk_sound sound;
    double bloom_amount, bloom_from;
    double every, next; /* seconds between measured pictures */
    int64_t frames, total;
    bool heard;
};

static int by_lightness(const void *a, const void *b)
{
    float x = ((const struct tl_lab *)a)->L, y = ((const struct tl_lab *)b)->L;
    return (x > y) - (x < y);
}

static double axis(const json_t *style, enum tl_style_axis k)
{
    double v = json_number_value(json_array_get(style, k));
    const struct tl_style_info *i = &tl_style_info[k];
    return v < i->low ? i->low : v > i->high ? i->high : v;
}

static int read_style(struct look *k)
{
    const json_t *p = k->job->params, *palette = json_object_get(p, "palette"),
                 *style = json_object_get(p, "style_vector");
    struct tl_wk_look *s = &k->style;
    for (size_t i = 0; i < json_array_size(palette) && s->ncolours < TL_LOOK_COLOURS; i++)
        if (!tl_wk_hex_parse(json_string_value(json_array_get(palette, i)), &s->palette[s->ncolours++]))
            return tl_wk_fail(k->job, TL_EINVAL, "the palette's colour %zu is not of the form #RRGGBB", i + 1);
    if (!s->ncolours || json_array_size(style) != TL_STYLE_AXES)
        return tl_wk_fail(k->job, TL_EINVAL, "a look needs a palette and a style vector of %d numbers", TL_STYLE_AXES);
    qsort(s->palette, s->ncolours, sizeof(s->palette[0]), by_lightness);
    s->key = axis(style, TL_STYLE_KEY);
    s->chroma = axis(style, TL_STYLE_CHROMA);
    s->hue_cos = axis(style, TL_STYLE_HUE_COS);
    s->hue_sin = axis(style, TL_STYLE_HUE_SIN);
    s->diffusion = axis(style, TL_STYLE_DIFFUSION);
    s->strength = tl_json_num(p, "strength", 1);
    s->strength = s->strength < 0 ? 0 : s->strength > 1 ? 1 : s->strength;
    return 0;
}

static int sample_source(void *arg, AVFrame *frame, double t)
{
    struct look *k = arg;
    if (tl_wk_cancelled(k->job))
        return TL_ECANCELLED;
    if (t < k->next)
        return 0;
    k->next = t + k->every;
    int err = tl_wk_grid_take(&k->gridder, frame, &k->grid);
    if (err < 0)
        return err;
    tl_wk_grid_lab(&k->grid, k->lab);
    tl_wk_measure_add(&k->source, k->lab);
    return 0;
}

static int measure_source(struct look *k, int want)
{
    int err = tl_wk_media_open(&k->media, k->job, "clip", TL_WK_VIDEO | want);
    if (err < 0)
        return err;
    k->next = -1;
    k->every = k->media.duration_sec / SAMPLES;
    memset(&k->source, 0, sizeof(k->source));
    err = tl_wk_media_decode(&k->media, &(struct tl_wk_sink){k, sample_source, NULL});
    tl_wk_media_close(&k->media);
    return err;
}

static double aspect_of(const char *name)
{
    static const struct {
        const char *name;
        double ratio;
    } known[] = {{"1.33", 4.0 / 3}, {"1.66", 5.0 / 3}, {"1.85", 1.85}, {"2.39", 2.39}};
    for (size_t i = 0; name && i < TL_ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].ratio;
    return 0;
}

static int on_picture(void *arg, AVFrame *frame, double t)
{
    struct look *k = arg;
    int err = tl_wk_canvas_take(&k->canvas, frame);
    if (err < 0)
        return err;
    struct tl_wk_canvas *c = &k->canvas;
    tl_wk_lut_apply(&k->lut, c->rgb, c->stride, c->width, c->height);
    tl_wk_bloom_apply(&k->bloom, c->rgb, c->stride, k->bloom_amount, k->bloom_from);
    if (t >= k->next) {
        k->next = t + k->every;
        tl_wk_rgb_lab(c->rgb, c->stride, c->width, c->height, k->lab);
        tl_wk_measure_add(&k->result, k->lab);
    }
    err = tl_wk_encode_picture(&k->enc, c->rgb, c->stride, t);
    if (err < 0)
        return err;
    k->frames++;
    return tl_wk_progress(k->job, k->frames, k->total > k->frames ? k->total : k->frames, NULL);
}

static int on_sound(void *arg, AVFrame *frame, double t)
{
    struct look *k = arg;
    const float *samples;
    int n;
    if (!k->enc.aenc || tl_wk_sound_take(&k->sound, frame, &samples, &n) < 0)
        return 0;
    if (!k->heard) {
        k->heard = true;
        static const float silence[2048];
        for (int64_t left = (int64_t)(fmin(t, 600) * k->sound.rate); left > 0; left -= 1024) {
            int err = tl_wk_encode_sound(&k->enc, silence, (int)(left < 1024 ? left : 1024));
            if (err < 0)
                return err;
        }
    }
    return n ? tl_wk_encode_sound(&k->enc, samples, n) : 0;
}

/* AAC's own rates; anything else is resampled to 48 kHz. */
static int sound_rate(int rate)
{
    return rate == 44100 || rate == 32000 || rate == 24000 ? rate : 48000;
}

static int grade(struct look *k, int fd)
{
    const json_t *p = k->job->params;
    int64_t height = tl_json_int(p, "max_height", 720);
    height = height < 16 ? 16 : height > MAX_HEIGHT ? MAX_HEIGHT : height;
    int err = tl_wk_canvas_init(&k->canvas, &k->media, MAX_WIDTH, (int)height, aspect_of(tl_json_str(p, "aspect")));
    if (err == 0)
        err = tl_wk_bloom_init(&k->bloom, k->canvas.width, k->canvas.height);
    if (err == 0 && k->media.adec) {
        k->sound.rate = sound_rate(k->media.adec->sample_rate);
        k->sound.channels = k->media.adec->ch_layout.nb_channels == 1 ? 1 : 2;
    }
    if (err == 0)
        err = tl_wk_encode_open(&k->enc, k->job, fd, k->canvas.width, k->canvas.height,
                                k->media.fps > 0 ? k->media.fps : 25, k->sound.rate, k->sound.channels);
    if (err < 0)
        return err;
    k->next = -1;
    k->every = k->media.duration_sec / MEASURED;
    k->total = k->media.frames;
    err = tl_wk_media_decode(&k->media, &(struct tl_wk_sink){k, on_picture, on_sound});
    return err < 0 ? err : tl_wk_encode_finish(&k->enc);
}

static json_t *measured_json(const struct tl_wk_measure *m)
{
    struct tl_wk_measured r;
    tl_wk_measure_result(m, &r);
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:o}", "median_lightness", r.median_lightness, "mean_chroma",
                     r.mean_chroma, "contrast", r.contrast, "halo", r.halo, "hue_deg", r.hue_deg, "hue_strength",
                     r.hue_strength, "hue_histogram", tl_json_floats(r.hues, TL_HUE_BINS));
}

static json_t *metrics(const struct look *k)
{
    struct tl_wk_aim aim;
    tl_wk_look_aim(&k->style, &aim);
    return json_pack("{s:{s:o,s:o,s:{s:f,s:f,s:f,s:f},s:i,s:i,s:I}}", "metrics", "source", measured_json(&k->source),
                     "result", measured_json(&k->result), "target", "median_lightness", aim.key, "mean_chroma",
                     aim.chroma, "contrast", aim.contrast, "diffusion", k->style.diffusion, "width", k->canvas.width,
                     "height", k->canvas.height, "frames", (json_int_t)k->frames);
}

static int run(struct look *k, int fd, json_t **ret)
{
    int err = read_style(k);
    if (err == 0)
        err = measure_source(k, TL_WK_KEYFRAMES | TL_WK_COARSE);
    if (err == 0 && k->source.pictures < FEW)
        err = measure_source(k, TL_WK_COARSE);
    if (err < 0)
        return err;
    tl_wk_lut_make(&k->style, &k->source.cloud, &k->lut);
    k->bloom_amount = k->style.diffusion * k->style.strength;
    struct tl_wk_aim aim;
    tl_wk_look_aim(&k->style, &aim);
    k->bloom_from = fmin(aim.key + 0.28 * aim.contrast, 0.86);
    err = tl_wk_media_open(&k->media, k->job, "clip", TL_WK_VIDEO | TL_WK_AUDIO);
    if (err < 0)
        return err;
    err = grade(k, fd);
    tl_wk_media_close(&k->media);
    if (err < 0)
        return err;
    *ret = metrics(k);
    return *ret ? 0 : TL_ENOMEM;
}

int tl_wk_media_look(struct tl_wk_job *job, json_t **ret)
{
    int fd = tl_wk_output(job, "video");
    if (fd < 0)
        return tl_wk_fail(job, TL_EINVAL, "the job has no output file \"video\"");
    TL_AUTO_FREE struct look *k = tl_calloc(1, sizeof(*k));
    if (!k)
        return TL_ENOMEM;
    k->job = job;
    int err = run(k, fd, ret);
    tl_wk_encode_close(&k->enc);
    tl_wk_bloom_clear(&k->bloom);
    tl_wk_canvas_clear(&k->canvas);
    tl_wk_sound_clear(&k->sound);
    tl_wk_gridder_clear(&k->gridder);
    return err;
}

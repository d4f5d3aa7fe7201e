#include "worker/media/shots.h"

#include "base/err.h"
#include "base/mem.h"
#include "worker/media/grid.h"

#include <math.h>
#include <string.h>

enum {
    THUMB_W = 48,
    THUMB_H = 27,
    THUMB_N = THUMB_W * THUMB_H,
    RING = 80,  /* thumbs kept: longest dissolve at 30 a second, and a margin */
    AROUND = 3, /* pictures before and after that a cut must stand out from */
    WINDOW = 2 * AROUND + 1,
    BINS_Y = 24,
    BINS_C = 16,
    POINTS = 9, /* places of a span at which the mixture is checked */
};

static const double stands_out = 3.0;       /* times the mean score around */
static const double full_difference = 0.15; /* mean code difference that counts as total */
static const double min_gap_sec = 0.25;     /* between two changes of shot */
static const double spans_sec[] = {0.4, 0.6, 0.9, 1.3, 1.9};
static const double mix_residual =
    0.30; /* what a mixture may leave unexplained, as a share of the difference of its ends */
static const double mix_difference = 0.055; /* least mean difference of the ends */
static const double mix_variance =
    0.15; /* how far a mixture's contrast may be from what mixing gives, as a share of its ends' */
static const double mix_correlation =
    0.75;                                 /* ends more alike in structure than this are one shot whose light changed */
static const double flat_deviation = 3.0; /* code values: below it a picture is plain (black, white) */

struct thumb {
    int64_t frame;
    double t;
    float v[THUMB_N * 3 / 2]; /* luma, then chroma at a quarter */
    double deviation;         /* of luma */
};

struct change {
    int64_t frame;
    double t;
    enum tl_wk_transition kind;
};

struct candidate {
    struct change change;
    double quality, until, from; /* the span it rests on */
};

struct tl_wk_shots {
    double threshold, fps;
    bool dissolve;
    int64_t frames, thumbs;
    int stride; /* pictures a thumb */
    struct tl_wk_grid before;
    double scores[WINDOW], times[WINDOW]; /* of the last pictures, by frame modulo WINDOW */
    struct tl_wk_grid recent[WINDOW];
    struct thumb ring[RING];
    struct candidate best;
    struct change *changes;
    size_t nchanges, cap_changes;
    double last_cut, first_content; /* times; -1 for none yet */
    struct tl_wk_shot *shots;
};

static void histogram(const uint8_t *v, int bins, float *out)
{
    memset(out, 0, sizeof(*out) * (size_t)bins);
    for (int i = 0; i < TL_GRID_N; i++) {
        /* Each value counts for its two nearest bins, so that a slight change of light moves little. */
        float at = (float)v[i] * (float)(bins - 1) / 255;
        int k = (int)at;
        float part = at - (float)k;
        out[k] += 1 - part;
        if (part > 0)
            out[k + 1] += part;
    }
}

static double histogram_distance(const uint8_t *a, const uint8_t *b, int bins)
{
    float x[BINS_Y], y[BINS_Y];
    histogram(a, bins, x);
    histogram(b, bins, y);
    double d = 0;
    for (int i = 0; i < bins; i++)
        d += fabs((double)x[i] - (double)y[i]);
    return d / (2 * TL_GRID_N);
}

double tl_wk_shots_score(const struct tl_wk_grid *a, const struct tl_wk_grid *b)
{
    unsigned y = 0, c = 0;
    for (int i = 0; i < TL_GRID_N; i++) {
        y += (unsigned)abs(a->y[i] - b->y[i]);
        c += (unsigned)(abs(a->u[i] - b->u[i]) + abs(a->v[i] - b->v[i]));
    }
    double place = (y + 0.5 * c) / (255.0 * TL_GRID_N) / full_difference;
    if (place < 0.02) /* nothing moved: spare the histograms */
        return 0;
    double colours = 0.5 * histogram_distance(a->y, b->y, BINS_Y) + 0.25 * histogram_distance(a->u, b->u, BINS_C) +
                     0.25 * histogram_distance(a->v, b->v, BINS_C);
    return sqrt((place < 1 ? place : 1) * colours);
}

static int add_change(struct tl_wk_shots *s, struct change c)
{
    if (s->nchanges >= TL_SHOTS_MAX)
        return 0;
    if (tl_grow(&s->changes, &s->cap_changes, s->nchanges + 1, sizeof(c)) < 0)
        return TL_ENOMEM;
    s->changes[s->nchanges++] = c;
    return 0;
}

/* Judges the picture AROUND before the newest (n counts those seen): a cut is far from its predecessor, stands out, and what comes after does not
 * return to what was before (a flash). */
static int judge_cut(struct tl_wk_shots *s, int64_t n, int64_t at)
{
    if (at < 1)
        return 0;
    double score = s->scores[at % WINDOW], sum = 0;
    int count = 0;
    for (int64_t k = at - AROUND < 1 ? 1 : at - AROUND; k <= at + AROUND && k < n; k++) {
        if (k == at)
            continue;
        if (s->scores[k % WINDOW] > score)
            return 0;
        sum += s->scores[k % WINDOW];
        count++;
    }
    if (score < s->threshold || (count && score < stands_out * sum / count))
        return 0;
    for (int64_t k = at + 1; k <= at + AROUND && k < n; k++)
        if (tl_wk_shots_score(&s->recent[(at - 1) % WINDOW], &s->recent[k % WINDOW]) < 0.4 * score)
            return 0;
    double t = s->times[at % WINDOW];
    if (s->last_cut >= 0 && t - s->last_cut < min_gap_sec)
        return 0;
    s->last_cut = t;
    return add_change(s, (struct change){at, t, TL_SHOT_CUT});
}

static void make_thumb(struct thumb *th, const struct tl_wk_grid *g, int64_t frame, double t)
{
    double sum = 0, squares = 0;
    th->frame = frame;
    th->t = t;
    for (int y = 0; y < THUMB_H; y++)
        for (int x = 0; x < THUMB_W; x++) {
            const uint8_t *p = g->y + 2 * y * TL_GRID_W + 2 * x;
            float v = (float)(p[0] + p[1] + p[TL_GRID_W] + p[TL_GRID_W + 1]) / 4;
            th->v[y * THUMB_W + x] = v;
            sum += v;
            squares += (double)v * v;
        }
    int k = THUMB_N;
    for (int y = 0; y < THUMB_H; y++)
        for (int x = 0; x < THUMB_W && k < THUMB_N * 3 / 2; x += 4) {
            const uint8_t *u = g->u + 2 * y * TL_GRID_W + 2 * x, *v = g->v + 2 * y * TL_GRID_W + 2 * x;
            th->v[k++] = u[0];
            if (k < THUMB_N * 3 / 2)
                th->v[k++] = v[0];
        }
    while (k < THUMB_N * 3 / 2)
        th->v[k++] = 128;
    double mean = sum / THUMB_N, var = squares / THUMB_N - mean * mean;
    th->deviation = var > 0 ? sqrt(var) : 0;
}

static double correlation(const struct thumb *a, const struct thumb *b)
{
    double ma = 0, mb = 0, ab = 0;
    for (int i = 0; i < THUMB_N; i++) {
        ma += a->v[i];
        mb += b->v[i];
    }
    ma /= THUMB_N;
    mb /= THUMB_N;
    for (int i = 0; i < THUMB_N; i++)
        ab += (a->v[i] - ma) * (b->v[i] - mb);
    double norm = a->deviation * b->deviation * THUMB_N;
    return norm > 0 ? ab / norm : 0;
}

/* Share of b in f, and what a mixture of a and b leaves unexplained of it. */
static double mixture(const struct thumb *a, const struct thumb *b, const struct thumb *f, double *ret_rest)
{
    double dot = 0, len = 0, rest = 0;
    for (int i = 0; i < THUMB_N * 3 / 2; i++) {
        double d = b->v[i] - a->v[i];
        dot += d * (f->v[i] - a->v[i]);
        len += d * d;
    }
    double alpha = len > 0 ? dot / len : 0;
    for (int i = 0; i < THUMB_N * 3 / 2; i++) {
        double d = f->v[i] - a->v[i] - alpha * (b->v[i] - a->v[i]);
        rest += d * d;
    }
    *ret_rest = len > 0 ? sqrt(rest / len) : 1;
    return alpha;
}

/* Mixing two unlike pictures takes contrast away, moving from one to the other does not: a pan is no dissolve. */
static bool contrast_falls(const struct thumb *a, const struct thumb *b, const struct thumb *f, double alpha,
                           double corr)
{
    double va = a->deviation * a->deviation, vb = b->deviation * b->deviation, v = f->deviation * f->deviation;
    double want = (1 - alpha) * (1 - alpha) * va + alpha * alpha * vb +
                  2 * alpha * (1 - alpha) * corr * a->deviation * b->deviation;
    return fabs(v - want) <= mix_variance * (va + vb) / 2;
}

/* Whether the pictures from ring place first to last slowly turn one into the other; the middle is where half is reached. */
static bool is_dissolve(const struct tl_wk_shots *s, int64_t first, int64_t last, struct candidate *ret)
{
    const struct thumb *a = &s->ring[first % RING], *b = &s->ring[last % RING];
    if (b->deviation < flat_deviation)
        return false;
    if (a->deviation < flat_deviation && (s->first_content < 0 || s->first_content > a->t))
        return false; /* the clip's own beginning out of black */
    double diff = 0;
    for (int i = 0; i < THUMB_N; i++)
        diff += fabsf(a->v[i] - b->v[i]);
    diff /= 255.0 * THUMB_N;
    double corr = correlation(a, b);
    if (diff < mix_difference || (a->deviation >= flat_deviation && corr > mix_correlation))
        return false;
    double before = 0, worst = 0, step = 0;
    int between = 0;
    int64_t at = first;
    const struct thumb *middle = NULL;
    for (int k = 1; k < POINTS; k++) {
        int64_t here = first + (last - first) * k / POINTS;
        const struct thumb *f = &s->ring[here % RING];
        double rest, alpha = mixture(a, b, f, &rest);
        if (rest > mix_residual || alpha < before - 0.08 || !contrast_falls(a, b, f, alpha, corr))
            return false;
        worst = rest > worst ? rest : worst;
        step = alpha - before > step ? alpha - before : step;
        between += alpha > 0.12 && alpha < 0.88;
        if (!middle && alpha >= 0.5)
            middle = &s->ring[llrint((double)at + (0.5 - before) / (alpha - before) * (double)(here - at)) % RING];
        at = here;
        before = alpha > before ? alpha : before;
    }
    if (!middle || between < 3 || step > 0.4 || 1 - before > 0.4)
        return false;
    *ret = (struct candidate){{middle->frame, middle->t, TL_SHOT_DISSOLVE}, diff * diff * (1 - worst), b->t, a->t};
    return true;
}

static int emit_dissolve(struct tl_wk_shots *s)
{
    struct candidate c = s->best;
    s->best = (struct candidate){0};
    if (c.quality <= 0)
        return 0;
    for (size_t i = s->nchanges; i-- > 0;) {
        const struct change *k = &s->changes[i];
        if (k->t > c.from - min_gap_sec && k->t < c.until + min_gap_sec)
            return 0; /* a cut, or a dissolve already told, lies in it */
        if (k->t < c.from - 4)
            break;
    }
    int err = add_change(s, c.change);
    /* It may lie before cuts that were seen meanwhile. */
    for (size_t i = s->nchanges; err == 0 && i-- > 1 && s->changes[i - 1].frame > s->changes[i].frame;) {
        struct change swap = s->changes[i];
        s->changes[i] = s->changes[i - 1];
        s->changes[i - 1] = swap;
    }
    return err;
}

static int look_for_dissolve(struct tl_wk_shots *s, const struct tl_wk_grid *g, int64_t frame, double t)
{
    if (frame % s->stride)
        return 0;
    int64_t last = s->thumbs++;
    struct thumb *now = &s->ring[last % RING];
    make_thumb(now, g, frame, t);
    if (s->first_content < 0 && now->deviation >= flat_deviation)
        s->first_content = t;
    double rate = s->fps / s->stride;
    for (size_t i = 0; i < TL_ARRAY_LEN(spans_sec); i++) {
        int64_t n = (int64_t)(spans_sec[i] * rate + 0.5), first = last - n;
        struct candidate c;
        if (n < POINTS - 3 || n >= RING || first < 0)
            continue;
        if (is_dissolve(s, first, last, &c) && c.quality > s->best.quality)
            s->best = c;
    }
    bool over = s->best.quality > 0 && t > s->best.until + spans_sec[TL_ARRAY_LEN(spans_sec) - 1];
    return over ? emit_dissolve(s) : 0;
}

struct tl_wk_shots *tl_wk_shots_new(double cut_threshold, bool dissolve, double fps)
{
    struct tl_wk_shots *s = tl_calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->threshold = cut_threshold;
    s->dissolve = dissolve;
    s->fps = fps > 1 ? fps : 1;
    s->stride = s->fps > 45 ? (int)(s->fps / 30 + 0.5) : 1;
    s->last_cut = s->first_content = -1;
    return s;
}

void tl_wk_shots_free(struct tl_wk_shots *s)
{
    if (!s)
        return;
    free(s->changes);
    free(s->shots);
    free(s);
}

int tl_wk_shots_add(struct tl_wk_shots *s, const struct tl_wk_grid *g, double t, double *ret_score)
{
    int64_t n = s->frames++;
    *ret_score = n ? tl_wk_shots_score(&s->before, g) : 0;
    s->before = *g;
    s->recent[n % WINDOW] = *g;
    s->scores[n % WINDOW] = *ret_score;
    s->times[n % WINDOW] = t;
    int err = judge_cut(s, s->frames, n - AROUND);
    return err == 0 && s->dissolve ? look_for_dissolve(s, g, n, t) : err;
}

int tl_wk_shots_finish(struct tl_wk_shots *s, double end_sec, const struct tl_wk_shot **ret, size_t *ret_n)
{
    int err = 0;
    for (int64_t at = s->frames - AROUND < 1 ? 1 : s->frames - AROUND; err == 0 && at < s->frames; at++)
        err = judge_cut(s, s->frames, at);
    if (err == 0)
        err = emit_dissolve(s);
    free(s->shots);
    s->shots = err == 0 ? tl_calloc(s->nchanges + 1, sizeof(*s->shots)) : NULL;
    if (!s->shots)
        return TL_ENOMEM;
    s->shots[0] = (struct tl_wk_shot){0, s->frames, 0, end_sec, TL_SHOT_START};
    size_t n = 1;
    for (size_t i = 0; i < s->nchanges; i++) {
        const struct change *c = &s->changes[i];
        s->shots[n - 1].end_frame = c->frame;
        s->shots[n - 1].end_sec = c->t;
        s->shots[n++] = (struct tl_wk_shot){c->frame, s->frames, c->t, end_sec, c->kind};
    }
    *ret = s->shots;
    *ret_n = n;
    return 0;
}

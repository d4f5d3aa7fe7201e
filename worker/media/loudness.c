#include "worker/media/loudness.h"

#include "base/err.h"
#include "base/mem.h"

#include <ebur128.h>
#include <math.h>
#include <stdbool.h>

enum {
    BLOCKS_A_SECOND = 10, /* momentary loudness is read this often */
    HOPS_A_SECOND = 100,  /* onsets are looked for in steps of 10 ms */
    BANDS = 3,
    AROUND = 3,     /* hops on each side that a peak must top */
    MEAN_HOPS = 20, /* past hops whose mean novelty it must stand out from */
    RING = 32,
    ONSETS_MAX = 100000,
};

static const double floor_db = -66;   /* quieter than that is silence for the onsets */
static const double rise_db = 5;      /* least sum of rises over the bands */
static const double audible_db = -50; /* at the onset's peak */
static const double gap_sec = 0.09;   /* between two onsets */

struct tl_wk_loud {
    ebur128_state *r128;
    unsigned rate, channels;
    size_t in_block;
    double *seconds;
    size_t nseconds, cap_seconds;
    unsigned blocks; /* in the second being gathered */
    double gathered;

    double low, mid; /* states of the two one-pole filters */
    double low_k, mid_k;
    double energy[BANDS], before[2][BANDS]; /* of this hop; dB of the two before */
    size_t in_hop;
    int64_t hops;
    double novelty[RING], level[RING];
    double *onsets;
    size_t nonsets, cap_onsets;
};

double tl_wk_loud_map(double lufs)
{
    double v = (lufs + 60) / 50;
    return !(v > 0) ? 0 : v > 1 ? 1 : v;
}

struct tl_wk_loud *tl_wk_loud_new(unsigned rate, unsigned channels)
{
    if (rate < 1000 || rate > 768000 || !channels || channels > 16)
        return NULL;
    struct tl_wk_loud *l = tl_calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->rate = rate;
    l->channels = channels;
    l->r128 = ebur128_init(channels, rate, EBUR128_MODE_M | EBUR128_MODE_I);
    l->low_k = 1 - exp(-2 * M_PI * 200 / rate);
    l->mid_k = 1 - exp(-2 * M_PI * 2000 / rate);
    for (int b = 0; b < BANDS; b++)
        l->before[0][b] = l->before[1][b] = floor_db;
    if (!l->r128) {
        tl_wk_loud_free(l);
        return NULL;
    }
    return l;
}

void tl_wk_loud_free(struct tl_wk_loud *l)
{
    if (!l)
        return;
    if (l->r128)
        ebur128_destroy(&l->r128);
    free(l->seconds);
    free(l->onsets);
    free(l);
}

/* A peak of novelty AROUND hops ago is an onset where it tops its neighbours and stands out from what went before. */
static int judge_onset(struct tl_wk_loud *l)
{
    int64_t at = l->hops - 1 - AROUND;
    if (at < 0)
        return 0;
    double v = l->novelty[at % RING], mean = 0;
    for (int64_t k = at - AROUND < 0 ? 0 : at - AROUND; k < l->hops; k++)
        if (k != at && (l->novelty[k % RING] > v || (k < at && l->novelty[k % RING] == v)))
            return 0;
    int n = 0;
    for (int64_t k = at - MEAN_HOPS < 0 ? 0 : at - MEAN_HOPS; k < at; k++, n++)
        mean += l->novelty[k % RING];
    mean = n ? mean / n : 0;
    double level = floor_db;
    for (int64_t k = at; k < l->hops; k++)
        level = l->level[k % RING] > level ? l->level[k % RING] : level;
    double t = (double)at / HOPS_A_SECOND;
    if (v < rise_db + 1.5 * mean || level < audible_db || l->nonsets >= ONSETS_MAX ||
        (l->nonsets && t - l->onsets[l->nonsets - 1] < gap_sec))
        return 0;
    if (tl_grow(&l->onsets, &l->cap_onsets, l->nonsets + 1, sizeof(*l->onsets)) < 0)
        return TL_ENOMEM;
    l->onsets[l->nonsets++] = t;
    return 0;
}

static int end_hop(struct tl_wk_loud *l)
{
    double novelty = 0, loudest = floor_db;
    for (int b = 0; b < BANDS; b++) {
        double db = 10 * log10(l->energy[b] / (double)l->in_hop + 1e-12);
        db = db < floor_db ? floor_db : db;
        double base = l->before[0][b] > l->before[1][b] ? l->before[0][b] : l->before[1][b];
        novelty += db > base ? db - base : 0;
        loudest = db > loudest ? db : loudest;
        l->before[1][b] = l->before[0][b];
        l->before[0][b] = db;
        l->energy[b] = 0;
    }
    l->in_hop = 0;
    l->novelty[l->hops % RING] = novelty;
    l->level[l->hops % RING] = loudest;
    l->hops++;
    return judge_onset(l);
}

static int feed_onsets(struct tl_wk_loud *l, const float *samples, size_t frames)
{
    size_t hop = l->rate / HOPS_A_SECOND;
    for (size_t i = 0; i < frames; i++) {
        double v = samples[i * l->channels];
        if (l->channels > 1)
            v = (v + samples[i * l->channels + 1]) / 2;
        if (!(fabs(v) < 16)) /* damaged sound may decode to anything, NaN too */
            v = 0;
        l->low += l->low_k * (v - l->low);
        l->mid += l->mid_k * (v - l->mid);
        double band = l->mid - l->low, high = v - l->mid;
        l->energy[0] += l->low * l->low;
        l->energy[1] += band * band;
        l->energy[2] += high * high;
        if (++l->in_hop == hop && end_hop(l) < 0)
            return TL_ENOMEM;
    }
    return 0;
}

static int end_block(struct tl_wk_loud *l)
{
    double lufs;
    if (ebur128_loudness_momentary(l->r128, &lufs) != EBUR128_SUCCESS || !(lufs > TL_LOUD_SILENCE))
        lufs = TL_LOUD_SILENCE;
    if (l->blocks == 0) {
        if (tl_grow(&l->seconds, &l->cap_seconds, l->nseconds + 1, sizeof(*l->seconds)) < 0)
            return TL_ENOMEM;
        l->nseconds++;
        l->gathered = 0;
    }
    l->gathered += tl_wk_loud_map(lufs);
    l->blocks++;
    l->seconds[l->nseconds - 1] = l->gathered / l->blocks;
    if (l->blocks == BLOCKS_A_SECOND)
        l->blocks = 0;
    return 0;
}

int tl_wk_loud_add(struct tl_wk_loud *l, const float *samples, size_t frames)
{
    size_t block = l->rate / BLOCKS_A_SECOND;
    int err = feed_onsets(l, samples, frames);
    while (err == 0 && frames) {
        size_t n = block - l->in_block < frames ? block - l->in_block : frames;
        if (ebur128_add_frames_float(l->r128, samples, n) != EBUR128_SUCCESS)
            return TL_ENOMEM;
        samples += n * l->channels;
        frames -= n;
        l->in_block += n;
        if (l->in_block == block) {
            l->in_block = 0;
            err = end_block(l);
        }
    }
    return err;
}

double tl_wk_loud_integrated(const struct tl_wk_loud *l)
{
    double lufs;
    if (ebur128_loudness_global(l->r128, &lufs) != EBUR128_SUCCESS || !(lufs > TL_LOUD_SILENCE))
        return TL_LOUD_SILENCE;
    return lufs;
}

const double *tl_wk_loud_seconds(const struct tl_wk_loud *l, size_t *ret_n)
{
    *ret_n = l->nseconds;
    return l->seconds;
}

const double *tl_wk_loud_onsets(const struct tl_wk_loud *l, size_t *ret_n)
{
    *ret_n = l->nonsets;
    return l->onsets;
}

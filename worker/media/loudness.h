/* Loudness by EBU R 128 (libebur128) and the onsets of the sound, fed with interleaved float samples. No files, no FFmpeg. */
#ifndef TL_WORKER_MEDIA_LOUDNESS_H
#define TL_WORKER_MEDIA_LOUDNESS_H

#include <stddef.h>
#include <stdint.h>

struct tl_wk_loud;

#define TL_LOUD_SILENCE (-70.0) /* LUFS; the gate of EBU R 128, given for anything below it */

/* LUFS to 0..1: -60 and below is 0, -10 and above is 1. */
double tl_wk_loud_map(double lufs);

/* NULL on want of memory or where the rate or the channels make no sense. */
struct tl_wk_loud *tl_wk_loud_new(unsigned rate, unsigned channels);
void tl_wk_loud_free(struct tl_wk_loud *l);
int tl_wk_loud_add(struct tl_wk_loud *l, const float *samples, size_t frames);
/* Integrated loudness in LUFS, TL_LOUD_SILENCE for silence. */
double tl_wk_loud_integrated(const struct tl_wk_loud *l);
/* Mean mapped momentary loudness of each full or begun second; borrowed. */
const double *tl_wk_loud_seconds(const struct tl_wk_loud *l, size_t *ret_n);
/* Times in seconds at which something begins to sound; borrowed. */
const double *tl_wk_loud_onsets(const struct tl_wk_loud *l, size_t *ret_n);

#endif

/* Where a clip changes its shot: cuts by a jump of colours and structure that stands out from its neighbours, dissolves by pictures that are
 * mixtures of an earlier and a later one. Fed picture by picture, constant memory but for the list that comes out. No files, no FFmpeg. */
#ifndef TL_WORKER_MEDIA_SHOTS_H
#define TL_WORKER_MEDIA_SHOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_wk_grid;
struct tl_wk_shots;

enum tl_wk_transition { TL_SHOT_START, TL_SHOT_CUT, TL_SHOT_DISSOLVE };

struct tl_wk_shot {
    int64_t start_frame, end_frame; /* the end is the next one's start */
    double start_sec, end_sec;
    enum tl_wk_transition transition; /* how it begins */
};

enum { TL_SHOTS_MAX = 20000 };
#define TL_SHOTS_CUT_THRESHOLD 0.28

/* fps: pictures a second, about. NULL on want of memory. */
struct tl_wk_shots *tl_wk_shots_new(double cut_threshold, bool dissolve, double fps);
void tl_wk_shots_free(struct tl_wk_shots *s);
/* The next picture. *ret_score: its difference from the one before, 0..1 (0 for the first). TL_ENOMEM. */
int tl_wk_shots_add(struct tl_wk_shots *s, const struct tl_wk_grid *g, double t, double *ret_score);
/* Ends the clip; the list belongs to s. */
int tl_wk_shots_finish(struct tl_wk_shots *s, double end_sec, const struct tl_wk_shot **ret, size_t *ret_n);

/* The pure measure: how unlike two pictures are, 0..1. */
double tl_wk_shots_score(const struct tl_wk_grid *a, const struct tl_wk_grid *b);

#endif

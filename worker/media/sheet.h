/* The drawing of a contact sheet: shots with timecodes, palette strip and emotion curve on one page. Knows no files; pictures come as cairo surfaces. */
#ifndef TL_WORKER_MEDIA_SHEET_H
#define TL_WORKER_MEDIA_SHEET_H

#include "worker/media/color.h"

#include <cairo.h>
#include <stddef.h>

enum { TL_SHEET_SHOTS = 30, TL_SHEET_COLOURS = 16, TL_SHEET_WIDTH = 1920 };

struct tl_wk_sheet_shot {
    int number; /* from 1, among all shots */
    double start_sec, end_sec;
    bool dissolve;
    cairo_surface_t *picture; /* RGB24; NULL where none could be decoded */
    struct tl_lab mean;
};

struct tl_wk_sheet {
    const char *title; /* NULL: none */
    struct tl_wk_sheet_shot shots[TL_SHEET_SHOTS];
    size_t nshots, all_shots;
    const double *changes; /* where all shots begin, for the curve */
    struct tl_lab palette[TL_SHEET_COLOURS];
    double weights[TL_SHEET_COLOURS]; /* all 0: equal parts */
    size_t ncolours;
    const double *emotion; /* one value a second */
    size_t nemotion;
    double duration_sec, fps, lufs; /* lufs: 0 where there is no sound */
    int width, height;              /* of the clip */
};

/* Width of one picture on the sheet, so that it can be made in that size. */
int tl_wk_sheet_columns(size_t nshots, double aspect);
double tl_wk_sheet_picture_width(int columns);
/* A surface owned by the caller, NULL on want of memory. */
cairo_surface_t *tl_wk_sheet_draw(const struct tl_wk_sheet *s);

#endif

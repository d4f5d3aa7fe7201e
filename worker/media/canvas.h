/* Decoded pictures as upright RGB24 of one size: crop to an aspect, scale, colour matrix, rotation. */
#ifndef TL_WORKER_MEDIA_CANVAS_H
#define TL_WORKER_MEDIA_CANVAS_H

#include "worker/media/open.h"

struct SwsContext;

struct tl_wk_canvas {
    int width, height, stride; /* of the result */
    uint8_t *rgb;              /* valid until the next call */
    int rotation;
    double keep_w, keep_h; /* share of the upright picture that is kept, around the middle */
    struct SwsContext *sws;
    uint8_t *lying; /* before the rotation; rgb itself where there is none */
    int lying_w, lying_h, lying_stride;
};

/* A size for the clip: at most max_height lines and max_width columns, never larger than it is, even; aspect (width over height) 0 for its own. */
int tl_wk_canvas_init(struct tl_wk_canvas *c, const struct tl_wk_media *m, int max_width, int max_height,
                      double aspect);
/* Changes frame's crop and size fields. */
int tl_wk_canvas_take(struct tl_wk_canvas *c, AVFrame *frame);
void tl_wk_canvas_clear(struct tl_wk_canvas *c);

#endif

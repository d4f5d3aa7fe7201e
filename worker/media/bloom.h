/* Diffusion: the light of highlights spread over their surroundings, in linear light at a quarter of the size. */
#ifndef TL_WORKER_MEDIA_BLOOM_H
#define TL_WORKER_MEDIA_BLOOM_H

#include <stdint.h>

struct tl_wk_bloom {
    int width, height;    /* of the picture */
    int w, h;             /* of the quarter */
    float *light, *other; /* w × h × 3 */
    uint16_t *line;       /* of the veil, as it is laid over */
    uint8_t *veil;        /* the spread light as code values, w × h × 3 */
};

int tl_wk_bloom_init(struct tl_wk_bloom *b, int width, int height);
/* In place. amount 0..1; from: the OKLab lightness at which a highlight begins. */
void tl_wk_bloom_apply(struct tl_wk_bloom *b, uint8_t *rgb, int stride, double amount, double from);
void tl_wk_bloom_clear(struct tl_wk_bloom *b);

#endif

/* Shots on synthetic pictures: known cuts and dissolves, and what must not be taken for one: movement, flashes, changes of light. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/media/grid.h"
#include "worker/media/shots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t noise(uint32_t x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

/* A scene: smooth random blobs of its own, moving to the right by speed cells a picture. */
static void scene(struct tl_wk_grid *g, uint32_t seed, double shift)
{
    for (int y = 0; y < TL_GRID_H; y++)
        for (int x = 0; x < TL_GRID_W; x++) {
            double v = 128;
            for (uint32_t k = 0; k < 4; k++) {
                double fx = 1 + noise(seed * 16 + k) % 3, fy = 1 + noise(seed * 16 + k + 4) % 3,
                       ph = noise(seed * 16 + k + 8) % 628 / 100.0;
                v += 26 * sin(fx * (x - shift) * 2 * M_PI / TL_GRID_W + ph) *
                     cos(fy * y * 2 * M_PI / TL_GRID_H + ph * 1.7);
            }
            int i = y * TL_GRID_W + x;
            g->y[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            g->u[i] = (uint8_t)(96 + noise(seed) % 64);
            g->v[i] = (uint8_t)(96 + noise(seed + 99) % 64);
        }
}

static void mix(struct tl_wk_grid *g, const struct tl_wk_grid *a, const struct tl_wk_grid *b, double part)
{
    for (int i = 0; i < TL_GRID_N; i++) {
        g->y[i] = (uint8_t)lrint(a->y[i] * (1 - part) + b->y[i] * part);
        g->u[i] = (uint8_t)lrint(a->u[i] * (1 - part) + b->u[i] * part);
        g->v[i] = (uint8_t)lrint(a->v[i] * (1 - part) + b->v[i] * part);
    }
}

typedef void (*picture_fn)(struct tl_wk_grid *g, int frame); /* a table of functions reads better with a name */

static size_t detect(picture_fn fn, int frames, double fps, bool dissolve, const struct tl_wk_shot **ret,
                     struct tl_wk_shots **ret_s)
{
    struct tl_wk_shots *s = tl_wk_shots_new(TL_SHOTS_CUT_THRESHOLD, dissolve, fps);
    assert_non_null(s);
    for (int f = 0; f < frames; f++) {
        struct tl_wk_grid g = {0};
        double score;
        fn(&g, f);
        assert_int_equal(tl_wk_shots_add(s, &g, f / fps, &score), 0);
        assert_true(score >= 0 && score <= 1);
    }
    size_t n;
    assert_int_equal(tl_wk_shots_finish(s, frames / fps, ret, &n), 0);
    *ret_s = s;
    return n;
}

static void three_cuts(struct tl_wk_grid *g, int f)
{
    scene(g, f < 40 ? 1 : f < 47 ? 2 : f < 100 ? 3 : 4, f * 0.4);
}

static void cuts_are_found(void **state)
{
    (void)state;
    const struct tl_wk_shot *shots;
    struct tl_wk_shots *s;
    assert_int_equal(detect(three_cuts, 150, 24, true, &shots, &s), 4);
    static const int starts[] = {0, 40, 47, 100, 150};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(shots[i].start_frame, starts[i]);
        assert_int_equal(shots[i].end_frame, starts[i + 1]);
        assert_int_equal(shots[i].transition, i ? TL_SHOT_CUT : TL_SHOT_START);
        assert_true(fabs(shots[i].start_sec - starts[i] / 24.0) < 1e-9);
        assert_true(fabs(shots[i].end_sec - starts[i + 1] / 24.0) < 1e-9);
    }
    tl_wk_shots_free(s);
}

static void last_picture_cut(struct tl_wk_grid *g, int f)
{
    scene(g, f < 49 ? 1 : 2, 0);
}

static void a_cut_near_the_end(void **state)
{
    (void)state;
    const struct tl_wk_shot *shots;
    struct tl_wk_shots *s;
    assert_int_equal(detect(last_picture_cut, 50, 25, true, &shots, &s), 2);
    assert_int_equal(shots[1].start_frame, 49);
    tl_wk_shots_free(s);
}

static int dissolve_len;

static void one_dissolve(struct tl_wk_grid *g, int f)
{
    struct tl_wk_grid a = {0}, b = {0};
    scene(&a, 5, f * 0.05);
    scene(&b, 6, f * 0.05);
    double part = (f - 60.0) / dissolve_len;
    mix(g, &a, &b, part < 0 ? 0 : part > 1 ? 1 : part);
}

static void dissolves_are_found(void **state)
{
    (void)state;
    static const int lengths[] = {12, 18, 24, 36};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        const struct tl_wk_shot *shots;
        struct tl_wk_shots *s;
        dissolve_len = lengths[i];
        size_t n = detect(one_dissolve, 170, 24, true, &shots, &s);
        if (n != 2)
            fail_msg("%zu shots with a dissolve of %d pictures", n, lengths[i]);
        assert_int_equal(shots[1].transition, TL_SHOT_DISSOLVE);
        if (llabs(shots[1].start_frame - (60 + lengths[i] / 2)) > 3)
            fail_msg("a dissolve of %d pictures was seen at %d", lengths[i], (int)shots[1].start_frame);
        tl_wk_shots_free(s);
        n = detect(one_dissolve, 170, 24, false, &shots, &s);
        assert_int_equal(n, 1);
        tl_wk_shots_free(s);
    }
}

static void pan(struct tl_wk_grid *g, int f)
{
    scene(g, 7, f * 1.5);
}

static void flash(struct tl_wk_grid *g, int f)
{
    scene(g, 8, f * 0.2);
    if (f == 50 || f == 51)
        memset(g->y, 250, sizeof(g->y));
}

static void light_falls(struct tl_wk_grid *g, int f)
{
    scene(g, 9, 0);
    double k = f < 40 ? 1 : f > 64 ? 0.4 : 1 - 0.6 * (f - 40) / 24;
    for (int i = 0; i < TL_GRID_N; i++)
        g->y[i] = (uint8_t)(g->y[i] * k);
}

static void out_of_black(struct tl_wk_grid *g, int f)
{
    scene(g, 10, 0);
    double k = f < 10 ? 0 : f > 34 ? 1 : (f - 10) / 24.0;
    for (int i = 0; i < TL_GRID_N; i++)
        g->y[i] = (uint8_t)(g->y[i] * k);
}

static void still(struct tl_wk_grid *g, int f)
{
    (void)f;
    memset(g->y, 40, sizeof(g->y));
}

static void what_is_no_change_of_shot(void **state)
{
    (void)state;
    static const picture_fn fns[] = {pan, flash, light_falls, out_of_black, still};
    for (size_t i = 0; i < sizeof(fns) / sizeof(fns[0]); i++) {
        const struct tl_wk_shot *shots;
        struct tl_wk_shots *s;
        size_t n = detect(fns[i], 120, 24, true, &shots, &s);
        if (n != 1)
            fail_msg("clip %zu: %zu shots, the second at %g s", i, n, shots[1].start_sec);
        tl_wk_shots_free(s);
    }
}

static void high_rates_and_short_clips(void **state)
{
    (void)state;
    const struct tl_wk_shot *shots;
    struct tl_wk_shots *s;
    for (int frames = 1; frames <= 8; frames++) {
        assert_int_equal(detect(still, frames, 24, true, &shots, &s), 1);
        assert_int_equal(shots[0].end_frame, frames);
        tl_wk_shots_free(s);
    }
    assert_int_equal(detect(three_cuts, 150, 120, true, &shots, &s), 3); /* 7 pictures are no shot at 120 a second */
    tl_wk_shots_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_found),
        cmocka_unit_test(a_cut_near_the_end),
        cmocka_unit_test(dissolves_are_found),
        cmocka_unit_test(what_is_no_change_of_shot),
        cmocka_unit_test(high_rates_and_short_clips),
    };
    return cmocka_run_group_tests_name("worker/shots", tests, NULL, NULL);
}

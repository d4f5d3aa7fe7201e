/* The look's table, bloom and measures on made colours: what is aimed at is reached, greys stay in order, skin and sky are spared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/media/bloom.h"
#include "worker/media/lut.h"
#include "worker/media/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct tl_wk_look look_of(const char *const *palette, size_t n, double key, double chroma, double hue,
                                 double hue_strength)
{
    struct tl_wk_look k = {.ncolours = n, .key = key, .chroma = chroma, .strength = 1};
    for (size_t i = 0; i < n; i++)
        assert_true(tl_wk_hex_parse(palette[i], &k.palette[i]));
    k.hue_cos = hue_strength * cos(hue * M_PI / 180);
    k.hue_sin = hue_strength * sin(hue * M_PI / 180);
    return k;
}

static const char *const teal[] = {"#010304", "#07191D", "#153639", "#255756", "#487B74", "#8C9682"};
static const char *const rose[] = {"#48447A", "#8753AD", "#D065C0", "#E89BB5", "#F0C7C5", "#F9EEEA"};

/* A clip of all kinds of colours: RGB codes by a fixed sequence. */
static void many_colours(uint8_t *rgb, size_t n)
{
    uint32_t x = 7;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            x = x * 1664525u + 1013904223u;
            uint32_t wide = x >> 24;
            rgb[3 * i + (size_t)c] = (uint8_t)(60 + (wide * (100 + 28 * (uint32_t)c) >> 8) + (i % 40));
        }
}

static void grade(const struct tl_wk_look *k, uint8_t *rgb, int w, int h, struct tl_wk_lut *lut)
{
    struct tl_wk_cloud *cloud = calloc(1, sizeof(*cloud));
    assert_non_null(cloud);
    for (int i = 0; i < w * h; i++)
        tl_wk_cloud_add(cloud, tl_wk_lab_from_srgb8(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]));
    tl_wk_lut_make(k, cloud, lut);
    free(cloud);
    tl_wk_lut_apply(lut, rgb, 3 * w, w, h);
}

enum { W = 192, H = 108 };

static void what_is_aimed_at_is_reached(void **state)
{
    (void)state;
    struct tl_wk_lut *lut = malloc(sizeof(*lut));
    uint8_t *rgb = malloc(W * H * 3);
    assert_non_null(lut);
    assert_non_null(rgb);
    const struct tl_wk_look looks[] = {look_of(teal, 6, 0.38, 0.055, 189, 0.63),
                                       look_of(rose, 6, 0.69, 0.104, 329, 0.6)};
    for (size_t i = 0; i < 2; i++) {
        many_colours(rgb, W * H);
        grade(&looks[i], rgb, W, H, lut);
        struct tl_wk_cloud *after = calloc(1, sizeof(*after));
        assert_non_null(after);
        double chroma = 0, a = 0, b = 0;
        for (int p = 0; p < W * H; p++) {
            struct tl_lab c = tl_wk_lab_from_srgb8(rgb[3 * p], rgb[3 * p + 1], rgb[3 * p + 2]);
            tl_wk_cloud_add(after, c);
            chroma += tl_wk_lab_chroma(c) / (W * H);
            a += c.a / (W * H);
            b += c.b / (W * H);
        }
        struct tl_wk_aim aim;
        tl_wk_look_aim(&looks[i], &aim);
        assert_true(fabs(tl_wk_cloud_quantile(after, 0.5) - aim.key) < 0.03);
        assert_true(fabs(chroma - aim.chroma) < 0.02);
        assert_true(tl_wk_hue_distance(tl_wk_lab_hue((struct tl_lab){0, (float)a, (float)b}), i ? 329 : 189) < 25);
        free(after);
    }
    free(rgb);
    free(lut);
}

static void greys_stay_in_order(void **state)
{
    (void)state;
    struct tl_wk_lut *lut = malloc(sizeof(*lut));
    uint8_t *rgb = malloc(W * H * 3);
    assert_non_null(lut);
    assert_non_null(rgb);
    struct tl_wk_look k = look_of(teal, 6, 0.38, 0.055, 189, 0.63);
    many_colours(rgb, W * H);
    grade(&k, rgb, W, H, lut);
    float before = -1;
    for (int i = 0; i < TL_LUT_SIDE; i++) {
        const int16_t *v = lut->v[i][i][i];
        struct tl_lab c = tl_wk_lab_from_srgb8((uint8_t)(v[0] / TL_LUT_ONE), (uint8_t)(v[1] / TL_LUT_ONE),
                                               (uint8_t)(v[2] / TL_LUT_ONE));
        assert_true(c.L >= before - 0.004f);
        before = c.L;
    }
    free(rgb);
    free(lut);
}

static void no_strength_is_no_look(void **state)
{
    (void)state;
    struct tl_wk_lut *lut = malloc(sizeof(*lut));
    uint8_t *rgb = malloc(W * H * 3), *was = malloc(W * H * 3);
    assert_non_null(lut);
    assert_non_null(rgb);
    assert_non_null(was);
    struct tl_wk_look k = look_of(rose, 6, 0.69, 0.104, 329, 0.6);
    k.strength = 0;
    many_colours(rgb, W * H);
    memcpy(was, rgb, W * H * 3);
    grade(&k, rgb, W, H, lut);
    for (int i = 0; i < W * H * 3; i++)
        assert_true(abs(rgb[i] - was[i]) <= 2);
    free(was);
    free(rgb);
    free(lut);
}

static void skin_and_sky_are_spared(void **state)
{
    (void)state;
    static const uint8_t skins[][3] = {{225, 185, 155}, {198, 140, 105}, {150, 100, 72}}, sky[3] = {135, 180, 230};
    struct tl_wk_lut *lut = malloc(sizeof(*lut));
    uint8_t *rgb = malloc(W * H * 3);
    assert_non_null(lut);
    assert_non_null(rgb);
    const struct tl_wk_look looks[] = {look_of(teal, 6, 0.38, 0.055, 189, 0.63),
                                       look_of(rose, 6, 0.69, 0.104, 329, 0.6)};
    for (size_t i = 0; i < 2; i++) {
        many_colours(rgb, W * H);
        grade(&looks[i], rgb, W, H, lut);
        for (size_t s = 0; s < 4; s++) {
            const uint8_t *from = s < 3 ? skins[s] : sky;
            struct tl_lab was = tl_wk_lab_from_srgb8(from[0], from[1], from[2]);
            assert_true(s < 3 ? tl_wk_skin(was) > 0.8f : tl_wk_sky(was) > 0.8f);
            assert_true(s < 3 ? tl_wk_sky(was) < 0.01f : tl_wk_skin(was) < 0.01f);
            uint8_t p[3] = {from[0], from[1], from[2]};
            tl_wk_lut_apply(lut, p, 3, 1, 1);
            struct tl_lab now = tl_wk_lab_from_srgb8(p[0], p[1], p[2]);
            assert_true(tl_wk_lab_chroma(now) < 0.02f ||
                        tl_wk_hue_distance(tl_wk_lab_hue(was), tl_wk_lab_hue(now)) < (s < 3 ? 35 : 50));
        }
    }
    free(rgb);
    free(lut);
}

/* Contrast is no axis: it follows from the others. */
static void contrast_follows(void **state)
{
    (void)state;
    struct tl_wk_look k = look_of(teal, 6, 0.4, 0.08, 0, 0);
    struct tl_wk_aim base, more;
    tl_wk_look_aim(&k, &base);
    k.key = 0.25;
    tl_wk_look_aim(&k, &more);
    assert_true(more.contrast > base.contrast);
    k.key = 0.4;
    k.chroma = 0.14;
    tl_wk_look_aim(&k, &more);
    assert_true(more.contrast > base.contrast);
    k.chroma = 0.08;
    k.ncolours = 3;
    tl_wk_look_aim(&k, &more);
    assert_true(more.contrast < base.contrast);
}

static void a_plain_clip_survives(void **state)
{
    (void)state;
    struct tl_wk_lut *lut = malloc(sizeof(*lut));
    assert_non_null(lut);
    static const uint8_t levels[] = {0, 128, 255};
    for (size_t i = 0; i < 3; i++) {
        uint8_t rgb[64 * 3];
        memset(rgb, levels[i], sizeof(rgb));
        struct tl_wk_look k = look_of(rose, 6, 0.69, 0.104, 329, 0.6);
        grade(&k, rgb, 8, 8, lut);
        k = look_of(teal, 1, 0, 0, 0, 0);
        grade(&k, rgb, 8, 8, lut);
    }
    struct tl_wk_cloud *none = calloc(1, sizeof(*none));
    assert_non_null(none);
    struct tl_wk_look k = look_of(teal, 6, 1, 0.3, 0, 1);
    tl_wk_lut_make(&k, none, lut);
    free(none);
    free(lut);
}

static void bloom_spreads_light(void **state)
{
    (void)state;
    uint8_t *rgb = malloc(W * H * 3);
    struct tl_lab *lab = malloc(TL_GRID_N * sizeof(*lab));
    assert_non_null(rgb);
    assert_non_null(lab);
    double halo[3];
    static const double amounts[] = {0, 0.4, 0.9};
    for (int i = 0; i < 3; i++) {
        memset(rgb, 40, W * H * 3);
        for (int y = 44; y < 64; y++)
            memset(rgb + (y * W + 80) * 3, 250, 32 * 3);
        struct tl_wk_bloom b;
        assert_int_equal(tl_wk_bloom_init(&b, W, H), 0);
        tl_wk_bloom_apply(&b, rgb, 3 * W, amounts[i], 0.7);
        tl_wk_bloom_clear(&b);
        assert_true(rgb[(54 * W + 96) * 3] >= 250); /* the highlight itself stays */
        assert_true(i == 0 ? rgb[0] == 40 : rgb[0] >= 40);
        tl_wk_rgb_lab(rgb, 3 * W, W, H, lab);
        halo[i] = tl_wk_halo(lab);
    }
    assert_true(halo[0] < 0.05 && halo[1] > halo[0] + 0.05 && halo[2] > halo[1] + 0.05);
    struct tl_wk_bloom tiny;
    assert_int_equal(tl_wk_bloom_init(&tiny, 1, 1), 0);
    tl_wk_bloom_apply(&tiny, rgb, 3, 1, 0.1);
    tl_wk_bloom_clear(&tiny);
    free(lab);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_aimed_at_is_reached),
        cmocka_unit_test(greys_stay_in_order),
        cmocka_unit_test(no_strength_is_no_look),
        cmocka_unit_test(skin_and_sky_are_spared),
        cmocka_unit_test(contrast_follows),
        cmocka_unit_test(a_plain_clip_survives),
        cmocka_unit_test(bloom_spreads_light),
    };
    return cmocka_run_group_tests_name("worker/look", tests, NULL, NULL);
}

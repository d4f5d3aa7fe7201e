/* Colour: known conversions, there and back, the gamut, hexadecimal text; palettes of known colours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/media/cloud.h"
#include "worker/media/color.h"

#include <math.h>
#include <stdlib.h>

static void near(double a, double b, double within)
{
    if (!(fabs(a - b) <= within))
        fail_msg("%g is not %g", a, b);
}

static void known_colours(void **state)
{
    (void)state;
    /* Values of Ottosson's reference implementation. */
    static const struct {
        uint8_t r, g, b;
        double L, a, b_;
    } known[] = {{255, 255, 255, 1, 0, 0},
                 {0, 0, 0, 0, 0, 0},
                 {255, 0, 0, 0.62796, 0.22486, 0.12585},
                 {0, 255, 0, 0.86644, -0.23389, 0.17950},
                 {0, 0, 255, 0.45201, -0.03246, -0.31153},
                 {128, 128, 128, 0.59987, 0, 0}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct tl_lab c = tl_wk_lab_from_srgb8(known[i].r, known[i].g, known[i].b);
        near((double)c.L, known[i].L, 2e-4);
        near((double)c.a, known[i].a, 2e-4);
        near((double)c.b, known[i].b_, 2e-4);
    }
}

static void there_and_back(void **state)
{
    (void)state;
    for (int r = 0; r < 256; r += 15)
        for (int g = 0; g < 256; g += 15)
            for (int b = 0; b < 256; b += 15) {
                float rgb[3];
                tl_wk_lab_to_srgb(tl_wk_lab_from_srgb8((uint8_t)r, (uint8_t)g, (uint8_t)b), rgb);
                assert_int_equal(lrintf(rgb[0] * 255), r);
                assert_int_equal(lrintf(rgb[1] * 255), g);
                assert_int_equal(lrintf(rgb[2] * 255), b);
            }
}

static void the_gamut_keeps_hue(void **state)
{
    (void)state;
    for (int h = 0; h < 360; h += 20) {
        struct tl_lab c = {0.6f, 0.4f * cosf((float)h * (float)M_PI / 180), 0.4f * sinf((float)h * (float)M_PI / 180)};
        float rgb[3];
        tl_wk_lab_to_srgb(c, rgb);
        for (int i = 0; i < 3; i++)
            assert_true(rgb[i] >= 0 && rgb[i] <= 1);
        struct tl_lab back =
            tl_wk_lab_from_linear(tl_wk_srgb_decode(rgb[0]), tl_wk_srgb_decode(rgb[1]), tl_wk_srgb_decode(rgb[2]));
        near((double)back.L, 0.6, 0.01);
        near((double)tl_wk_hue_distance(tl_wk_lab_hue(back), (float)h), 0, 2);
    }
}

static void hexadecimal(void **state)
{
    (void)state;
    struct tl_lab c;
    char text[TL_HEX_COLOR];
    assert_true(tl_wk_hex_parse("#1a2B3c", &c));
    tl_wk_hex_text(c, text);
    assert_string_equal(text, "#1A2B3C");
    static const char *const bad[] = {"1A2B3C", "#1A2B3", "#1A2B3CC", "#1A2B3G", "", "#"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(tl_wk_hex_parse(bad[i], &c));
    assert_false(tl_wk_hex_parse(NULL, &c));
}

static void hue_goes_round(void **state)
{
    (void)state;
    near((double)tl_wk_hue_distance(350, 10), 20, 1e-4);
    near((double)tl_wk_hue_distance(10, 350), 20, 1e-4);
    near((double)tl_wk_hue_distance(0, 180), 180, 1e-4);
    assert_true(tl_wk_lab_hue((struct tl_lab){0.5f, 0.1f, -1e-9f}) < 360);
}

static void palette_finds_the_colours(void **state)
{
    (void)state;
    static const char *const colours[] = {"#101418", "#14463A", "#7A1020",
                                          "#3E63B8", "#C9A227", "#F1EDE4"}; /* dark to light */
    static const int weights[] = {40, 20, 15, 10, 10, 5};
    struct tl_wk_cloud *cloud = calloc(1, sizeof(*cloud));
    assert_non_null(cloud);
    for (int i = 0; i < 6; i++) {
        struct tl_lab c;
        assert_true(tl_wk_hex_parse(colours[i], &c));
        for (int n = 0; n < weights[i] * 100; n++)
            tl_wk_cloud_add(cloud, c);
    }
    struct tl_wk_swatch sw[6];
    assert_int_equal(tl_wk_cloud_palette(cloud, 6, sw), 6);
    for (int i = 0; i < 6; i++) {
        char text[TL_HEX_COLOR];
        tl_wk_hex_text(sw[i].color, text);
        assert_string_equal(text, colours[i]);
        near(sw[i].weight, weights[i] / 100.0, 1e-9);
    }
    near(tl_wk_cloud_quantile(cloud, 0.2), (double)sw[0].color.L, 0.005);
    near(tl_wk_cloud_quantile(cloud, 0.98), (double)sw[5].color.L, 0.005);
    free(cloud);
}

static void a_plain_picture_has_one_colour(void **state)
{
    (void)state;
    struct tl_wk_cloud *cloud = calloc(1, sizeof(*cloud));
    assert_non_null(cloud);
    struct tl_wk_swatch sw[6];
    assert_int_equal(tl_wk_cloud_palette(cloud, 6, sw), 0);
    for (int i = 0; i < 1000; i++)
        tl_wk_cloud_add(cloud, (struct tl_lab){0.5f, 0.02f, 0.02f});
    assert_int_equal(tl_wk_cloud_palette(cloud, 6, sw), 1);
    near(sw[0].weight, 1, 1e-9);
    free(cloud);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_colours),
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(the_gamut_keeps_hue),
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(hue_goes_round),
        cmocka_unit_test(palette_finds_the_colours),
        cmocka_unit_test(a_plain_picture_has_one_colour),
    };
    return cmocka_run_group_tests_name("worker/color", tests, NULL, NULL);
}

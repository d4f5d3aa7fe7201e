/* Emotion, cut rate, loudness and onsets from made inputs whose truth is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/media/emotion.h"
#include "worker/media/loudness.h"

#include <math.h>
#include <stdlib.h>

static void emotion_rises_with_each_part(void **state)
{
    (void)state;
    const struct tl_wk_second calm = {.luma = 0.7, .chroma = 0.04, .motion = 0.05, .cut_rate = 0.1, .loudness = 0.3};
    double base = tl_wk_emotion_of(&calm);
    struct tl_wk_second s = calm;
    s.motion = 0.6;
    assert_true(tl_wk_emotion_of(&s) > base + 0.1);
    s = calm;
    s.cut_rate = 1;
    assert_true(tl_wk_emotion_of(&s) > base + 0.1);
    s = calm;
    s.loudness = 0.9;
    assert_true(tl_wk_emotion_of(&s) > base + 0.1);
    s = calm;
    s.luma = 0.1;
    assert_true(tl_wk_emotion_of(&s) > base + 0.05);
    s = calm;
    s.chroma = 0.15;
    assert_true(tl_wk_emotion_of(&s) > base + 0.05);
}

static void emotion_stays_in_its_range(void **state)
{
    (void)state;
    static const struct tl_wk_second ends[] = {
        {1, 0, 0, 0, 0}, {0, 1, 1, 1000, 1}, {1, 0, 0, 0, -1}, {0, 1, 1, 1000, -1}, {NAN, NAN, NAN, NAN, NAN}};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        double e = tl_wk_emotion_of(&ends[i]);
        assert_true(e >= 0 && e <= 1);
    }
    assert_true(fabs(tl_wk_emotion_of(&ends[0])) < 1e-9);
    assert_true(fabs(tl_wk_emotion_of(&ends[1]) - 1) < 1e-9);
    assert_true(fabs(tl_wk_emotion_of(&ends[3]) - 1) < 1e-9);
    assert_true(fabs(tl_wk_motion_map(0.03) - (1 - exp(-1))) < 1e-12);
}

static void the_curve_is_smoothed(void **state)
{
    (void)state;
    struct tl_wk_second s[5] = {
        {1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, {0, 0.15, 1, 1000, 1}, {1, 0, 0, 0, 0}, {1, 0, 0, 0, 0}};
    double e[5];
    tl_wk_emotion_curve(s, 5, e);
    static const double want[] = {0, 0.25, 0.5, 0.25, 0};
    for (int i = 0; i < 5; i++)
        assert_true(fabs(e[i] - want[i]) < 1e-9);
    tl_wk_emotion_curve(s, 0, e);
    tl_wk_emotion_curve(s + 2, 1, e);
    assert_true(fabs(e[0] - 1) < 1e-9);
}

static void cut_rate_counts_a_window(void **state)
{
    (void)state;
    static const double cuts[] = {3.1, 3.6, 3.9, 8.5};
    struct tl_wk_second s[10] = {{0}};
    tl_wk_cut_rate(cuts, 4, s, 10, 10);
    assert_true(fabs(s[0].cut_rate) < 1e-9);           /* 0 to 3 */
    assert_true(fabs(s[1].cut_rate - 3.0 / 4) < 1e-9); /* 0 to 4 */
    assert_true(fabs(s[3].cut_rate - 3.0 / 5) < 1e-9); /* 1 to 6 */
    assert_true(fabs(s[6].cut_rate - 1.0 / 5) < 1e-9); /* 4 to 9 */
    assert_true(fabs(s[9].cut_rate - 1.0 / 3) < 1e-9); /* 7 to 10 */
}

static void tone(struct tl_wk_loud *l, double db, double sec, unsigned rate)
{
    size_t n = (size_t)(sec * rate);
    float *v = malloc(2 * n * sizeof(*v));
    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[2 * i] = v[2 * i + 1] = (float)(pow(10, db / 20) * sin(2 * M_PI * 997 * (double)i / rate));
    for (size_t at = 0; at < n; at += 1111)
        assert_int_equal(tl_wk_loud_add(l, v + 2 * at, n - at < 1111 ? n - at : 1111), 0);
    free(v);
}

/* EBU Tech 3341, case 1 and 2: a stereo sine of 1 kHz at -23 and -33 dBFS measures -23 and -33 LUFS. */
static void loudness_is_right(void **state)
{
    (void)state;
    static const double levels[] = {-23, -33};
    for (int i = 0; i < 2; i++) {
        struct tl_wk_loud *l = tl_wk_loud_new(48000, 2);
        assert_non_null(l);
        tone(l, levels[i], 20, 48000);
        assert_true(fabs(tl_wk_loud_integrated(l) - levels[i]) < 0.1);
        size_t n;
        const double *sec = tl_wk_loud_seconds(l, &n);
        assert_int_equal(n, 20);
        assert_true(fabs(sec[10] - (levels[i] + 60) / 50) < 0.003);
        tl_wk_loud_free(l);
    }
}

static void silence_and_nonsense(void **state)
{
    (void)state;
    struct tl_wk_loud *l = tl_wk_loud_new(8000, 2);
    assert_non_null(l);
    static const float bad[] = {NAN, NAN, INFINITY, -INFINITY, 1e30f, 0};
    assert_int_equal(tl_wk_loud_add(l, bad, 3), 0);
    tl_wk_loud_free(l);
    l = tl_wk_loud_new(44100, 2);
    tone(l, -300, 3, 44100);
    size_t n;
    assert_true(fabs(tl_wk_loud_integrated(l) - TL_LOUD_SILENCE) < 1e-9);
    tl_wk_loud_onsets(l, &n);
    assert_int_equal(n, 0);
    tl_wk_loud_free(l);
    assert_null(tl_wk_loud_new(0, 2));
    assert_null(tl_wk_loud_new(48000, 0));
    tl_wk_loud_free(NULL);
    assert_true(fabs(tl_wk_loud_map(-60)) < 1e-9 && fabs(tl_wk_loud_map(-10) - 1) < 1e-9 &&
                fabs(tl_wk_loud_map(NAN)) < 1e-9);
}

static void onsets_fall_on_the_beat(void **state)
{
    (void)state;
    enum { RATE = 44100, BEATS = 16 };
    struct tl_wk_loud *l = tl_wk_loud_new(RATE, 1);
    assert_non_null(l);
    const double beat = 0.48; /* 125 a minute */
    size_t n = (size_t)(BEATS * beat * RATE);
    float *v = calloc(n, sizeof(*v));
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) {
        double t = (double)i / RATE, since = fmod(t, beat);
        v[i] = (float)(0.5 * exp(-since * 18) * sin(2 * M_PI * 180 * since) + 0.004 * sin(2 * M_PI * 90 * t));
    }
    assert_int_equal(tl_wk_loud_add(l, v, n), 0);
    free(v);
    size_t found;
    const double *onsets = tl_wk_loud_onsets(l, &found);
    assert_int_equal(found, BEATS);
    for (size_t i = 0; i < found; i++)
        assert_true(fabs(onsets[i] - (double)i * beat) <= 0.02);
    tl_wk_loud_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emotion_rises_with_each_part),
        cmocka_unit_test(emotion_stays_in_its_range),
        cmocka_unit_test(the_curve_is_smoothed),
        cmocka_unit_test(cut_rate_counts_a_window),
        cmocka_unit_test(loudness_is_right),
        cmocka_unit_test(silence_and_nonsense),
        cmocka_unit_test(onsets_fall_on_the_beat),
    };
    return cmocka_run_group_tests_name("worker/curves", tests, NULL, NULL);
}

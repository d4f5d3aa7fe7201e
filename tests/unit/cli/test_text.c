/* Text on a terminal, the event stream's reader, and options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/outputs.h"
#include "cli/sse.h"
#include "cli/term.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

static void width_counts_cells(void **state)
{
    (void)state;
    assert_int_equal(tl_cli_text_width("analyze"), 7);
    assert_int_equal(tl_cli_text_width("봉준호"), 6);
    assert_int_equal(tl_cli_text_width("e\xcc\x81"), 1);
    assert_int_equal(tl_cli_text_width("🎬"), 2);
    assert_int_equal(tl_cli_text_width("a\xff"
                                       "b"),
                     3);
}

static void pad_fills_and_cuts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int cells;
        const char *want;
    } cases[] = {{"abc", 5, "abc  "},   {"abcdef", 4, "abc…"}, {"봉준호", 6, "봉준호"}, {"봉준호", 5, "봉준…"},
                 {"봉준호", 4, "봉… "}, {"", 2, "  "},         {"abc", 0, ""}};
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        struct tl_str out TL_CLEANUP(tl_str_clear) = {0};
        tl_cli_text_pad(&out, cases[i].text, cases[i].cells);
        assert_string_equal(out.data ? out.data : "", cases[i].want);
    }
}

static void clean_takes_the_steering_out(void **state)
{
    (void)state;
    struct tl_str out TL_CLEANUP(tl_str_clear) = {0};
    tl_cli_text_clean(&out, "a\x1b[31m\r\n\x7f\xc2\x9b\xe2\x80\xae한");
    assert_string_equal(out.data, "a?[31m?????한");
}

static void marks_are_drawn(void **state)
{
    (void)state;
    const struct tl_cli_term plain = {.columns = 80},
                             full = {.tty = true, .colour = true, .unicode = true, .columns = 80};
    struct tl_str out TL_CLEANUP(tl_str_clear) = {0};
    tl_cli_term_bar(&plain, &out, 0.5, 10, TL_INK_BLUE);
    tl_str_puts(&out, " ");
    tl_cli_term_bar(&plain, &out, 7, 4, TL_INK_BLUE);
    tl_str_puts(&out, " ");
    tl_cli_term_scale(&plain, &out, -1, 1, 0, 1, 5);
    tl_str_puts(&out, " ");
    tl_cli_term_scale(&plain, &out, 0, 1, 0.5, 0, 5);
    tl_cli_term_swatch(&plain, &out, "#102a43", 2);
    assert_string_equal(out.data, "#####..... #### --|## ##|--");
    tl_str_clear(&out);
    tl_cli_term_swatch(&full, &out, "#102A43", 2);
    tl_cli_term_swatch(&full, &out, "red\x1b", 2);
    assert_string_equal(out.data, "\x1b[48;2;16;42;67m  \x1b[0m");
}

struct seen {
    struct tl_str text;
    int stop_after;
};

static int see(void *arg, const char *id, const char *data, size_t len)
{
    struct seen *s = arg;
    assert_int_equal(strlen(data), len);
    tl_str_printf(&s->text, "[%s|%s]", id, data);
    return s->stop_after && --s->stop_after == 0 ? TL_ECANCELLED : 0;
}

static const char stream[] =
    ": hello\n\nid: 1\ndata: {\"a\":1}\n\nid:2\r\ndata:x\r\ndata: y\r\n\r\nevent: run.progress\rdata\r\rdata: lost";

/* However the bytes are cut into pieces, the same events come out. */
static void sse_in_any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < sizeof(stream); piece++) {
        struct tl_cli_sse sse = {0};
        struct seen seen = {0};
        for (size_t at = 0; at < sizeof(stream) - 1; at += piece) {
            size_t left = sizeof(stream) - 1 - at;
            assert_int_equal(tl_cli_sse_feed(&sse, stream + at, left < piece ? left : piece, see, &seen), 0);
        }
        assert_string_equal(seen.text.data, "[1|{\"a\":1}][2|x\ny][2|]");
        tl_cli_sse_clear(&sse);
        tl_str_clear(&seen.text);
    }
}

static void sse_stops_where_told(void **state)
{
    (void)state;
    struct tl_cli_sse sse = {0};
    struct seen seen = {.stop_after = 1};
    assert_int_equal(tl_cli_sse_feed(&sse, stream, sizeof(stream) - 1, see, &seen), TL_ECANCELLED);
    assert_string_equal(seen.text.data, "[1|{\"a\":1}]");
    tl_cli_sse_clear(&sse);
    tl_str_clear(&seen.text);
}

static void times_and_numbers(void **state)
{
    (void)state;
    long v;
    static const struct {
        const char *text;
        long want;
    } good[] = {{"90", 90}, {"90s", 90}, {"15m", 900}, {"1h", 3600}, {"7d", 604800}};
    static const char *const bad[] = {"", "h", "0", "-1h", "1hour", "1.5h", "99999999999999999999", "100000000d"};
    for (size_t i = 0; i < TL_ARRAY_LEN(good); i++) {
        assert_true(tl_cli_seconds(good[i].text, &v));
        assert_int_equal(v, good[i].want);
    }
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++)
        assert_false(tl_cli_seconds(bad[i], &v));
    assert_true(tl_cli_number("65535", 0, 65535, &v));
    assert_false(tl_cli_number("65536", 0, 65535, &v));
    assert_false(tl_cli_number("80x", 0, 65535, &v));
}

static void bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t want;
    } good[] = {{"1", 1}, {"65536", 65536}, {"512K", 524288}, {"64M", 67108864}, {"2G", 2147483648}, {"8388607T", 9223370937343148032u}};
    static const char *const bad[] = {"", "K", "0", "-1", " 1", "1k", "1KB", "1.5G", "8388608T", "99999999999999999999"};
    uint64_t v;
    for (size_t i = 0; i < TL_ARRAY_LEN(good); i++) {
        assert_true(tl_cli_bytes(good[i].text, &v));
        assert_true(v == good[i].want);
    }
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++)
        assert_false(tl_cli_bytes(bad[i], &v));
}

static void data_dir_comes_from_where_it_says(void **state)
{
    (void)state;
    setenv("HOME", "/home/x", 1);
    unsetenv("XDG_DATA_HOME");
    unsetenv("TALOS_DATA");
    TL_AUTO_FREE char *home = tl_cli_data_dir(NULL);
    assert_string_equal(home, "/home/x/.local/share/talos");
    setenv("XDG_DATA_HOME", "/share", 1);
    TL_AUTO_FREE char *share = tl_cli_data_dir(NULL);
    assert_string_equal(share, "/share/talos");
    setenv("TALOS_DATA", "/data", 1);
    TL_AUTO_FREE char *env = tl_cli_data_dir(NULL);
    assert_string_equal(env, "/data");
    TL_AUTO_FREE char *given = tl_cli_data_dir("here");
    assert_string_equal(given, "here");
}

static void names_of_files_are_tame(void **state)
{
    (void)state;
    static const struct {
        const char *node, *port, *want;
    } cases[] = {{"look", "video", "look-video.mp4"},
                 {"../../etc", "x", "_._.._etc-x.mp4"},
                 {"봉 준호", "영상", "봉_준호-영상.mp4"},
                 {"a\n$(b)", "p", "a___b_-p.mp4"}};
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        TL_AUTO_FREE char *name = tl_cli_outputs_name(cases[i].node, cases[i].port, ".mp4");
        assert_string_equal(name, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(width_counts_cells),
        cmocka_unit_test(pad_fills_and_cuts),
        cmocka_unit_test(clean_takes_the_steering_out),
        cmocka_unit_test(marks_are_drawn),
        cmocka_unit_test(sse_in_any_pieces),
        cmocka_unit_test(sse_stops_where_told),
        cmocka_unit_test(times_and_numbers),
        cmocka_unit_test(bytes),
        cmocka_unit_test(data_dir_comes_from_where_it_says),
        cmocka_unit_test(names_of_files_are_tame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

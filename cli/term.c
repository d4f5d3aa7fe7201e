#include "cli/term.h"

#include "base/hash.h"
#include "cli/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < 3; i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
    }
    return false;
}

struct tl_cli_term tl_cli_term_of(FILE *out)
{
    struct tl_cli_term t = {.tty = isatty(fileno(out)) == 1, .columns = 80, .rows = 24};
    const char *no = getenv("NO_COLOR"), *kind = getenv("TERM");
    t.colour = t.tty && !(no && *no) && !(kind && !strcmp(kind, "dumb"));
    t.unicode = speaks_utf8();
    struct winsize size;
    if (t.tty && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 && size.ws_row >= 4) {
        t.columns = size.ws_col;
        t.rows = size.ws_row;
    }
    return t;
}

void tl_cli_term_ink(const struct tl_cli_term *term, struct tl_str *out, enum tl_ink ink)
{
    static const char *const codes[] = {"0", "1", "2", "32", "33", "31", "34"};
    if (term->colour)
        tl_str_printf(out, "\x1b[%sm", codes[ink]);
}

void tl_cli_term_put(const struct tl_cli_term *term, struct tl_str *out, enum tl_ink ink, const char *text)
{
    tl_cli_term_ink(term, out, ink);
    tl_cli_text_clean(out, text);
    tl_cli_term_ink(term, out, TL_INK_PLAIN);
}

static double clamp01(double v)
{
    return v > 0 ? (v < 1 ? v : 1) : 0; /* NaN is 0 */
}

void tl_cli_term_bar(const struct tl_cli_term *term, struct tl_str *out, double fraction, int cells, enum tl_ink ink)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int filled = (int)(clamp01(fraction) * cells * 8 + 1e-9);
    int done = 0;
    tl_cli_term_ink(term, out, ink);
    for (; done < filled / 8; done++)
        tl_str_puts(out, term->unicode ? "█" : "#");
    if (term->unicode && filled % 8 && done < cells) {
        tl_str_puts(out, eighths[filled % 8]);
        done++;
    }
    tl_cli_term_ink(term, out, TL_INK_DIM);
    for (; done < cells; done++)
        tl_str_puts(out, term->unicode ? "·" : ".");
    tl_cli_term_ink(term, out, TL_INK_PLAIN);
}

void tl_cli_term_scale(const struct tl_cli_term *term, struct tl_str *out, double low, double high, double neutral,
                       double value, int cells)
{
    double span = high > low ? high - low : 1;
    int mark = (int)lround(clamp01((neutral - low) / span) * (cells - 1));
    int at = (int)lround(clamp01((value - low) / span) * (cells - 1));
    enum tl_ink ink = TL_INK_PLAIN;
    for (int i = 0; i < cells; i++) {
        bool filled = (i >= mark && i <= at) || (i <= mark && i >= at);
        enum tl_ink wanted = i == mark ? TL_INK_BOLD : filled ? TL_INK_BLUE : TL_INK_DIM;
        if (wanted != ink) {
            tl_cli_term_ink(term, out, TL_INK_PLAIN);
            tl_cli_term_ink(term, out, wanted);
            ink = wanted;
        }
        if (i == mark)
            tl_str_puts(out, term->unicode ? "┃" : "|");
        else if (filled)
            tl_str_puts(out, term->unicode ? "█" : "#");
        else
            tl_str_puts(out, term->unicode ? "─" : "-");
    }
    tl_cli_term_ink(term, out, TL_INK_PLAIN);
}

void tl_cli_term_swatch(const struct tl_cli_term *term, struct tl_str *out, const char *hex, int cells)
{
    uint8_t rgb[3];
    if (!term->colour || hex[0] != '#' || strlen(hex) != 7 || !tl_unhex(hex + 1, rgb, 3))
        return;
    tl_str_printf(out, "\x1b[48;2;%d;%d;%dm%*s\x1b[0m", rgb[0], rgb[1], rgb[2], cells, "");
}

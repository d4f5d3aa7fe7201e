/* What the terminal can show, and the few things drawn on it: colours, bars, swatches. */
#ifndef TL_CLI_TERM_H
#define TL_CLI_TERM_H

#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>

struct tl_cli_term {
    bool tty;
    bool colour;  /* a terminal, no NO_COLOR, TERM not "dumb" */
    bool unicode; /* block elements may be drawn: the locale says UTF-8 */
    int columns, rows;
};

enum tl_ink { TL_INK_PLAIN, TL_INK_BOLD, TL_INK_DIM, TL_INK_GREEN, TL_INK_YELLOW, TL_INK_RED, TL_INK_BLUE };

struct tl_cli_term tl_cli_term_of(FILE *out);
/* Switches the ink; nothing where there is no colour. TL_INK_PLAIN ends it. */
void tl_cli_term_ink(const struct tl_cli_term *term, struct tl_str *out, enum tl_ink ink);
/* text, cleaned, in that ink. */
void tl_cli_term_put(const struct tl_cli_term *term, struct tl_str *out, enum tl_ink ink, const char *text);
/* A bar of cells cells, filled to fraction (0 to 1) in eighths of a cell. */
void tl_cli_term_bar(const struct tl_cli_term *term, struct tl_str *out, double fraction, int cells, enum tl_ink ink);
/* A scale of cells cells from low to high with a mark at neutral and the stretch from there to value filled. */
void tl_cli_term_scale(const struct tl_cli_term *term, struct tl_str *out, double low, double high, double neutral,
                       double value, int cells);
/* A colour ("#1a2b3c") as a patch of cells blanks in 24-bit colour; nothing without colour or where hex is none. */
void tl_cli_term_swatch(const struct tl_cli_term *term, struct tl_str *out, const char *hex, int cells);

#endif

/* Text for rendering ops without opening a file: the fonts are mapped before the sandbox closes, and drawn from memory. Hangul, Han, kana and
 * Latin by Noto Sans CJK where it is installed, else by whatever Debian font is there. */
#ifndef TL_WORKER_MEDIA_FONT_H
#define TL_WORKER_MEDIA_FONT_H

#include <cairo.h>
#include <stdbool.h>

enum tl_wk_weight { TL_FONT_REGULAR, TL_FONT_BOLD, TL_FONT_WEIGHTS };

/* Before the sandbox. May be called again. Without any font text is not drawn; tl_wk_fonts_ready tells. */
void tl_wk_fonts_load(void);
bool tl_wk_fonts_ready(void);

struct tl_wk_text {
    enum tl_wk_weight weight;
    double size;     /* of the em, in user units */
    double tracking; /* extra space after each letter, as a share of the size */
    double width;    /* at most this wide, ending in an ellipsis; 0 for no limit */
};
/* Draws UTF-8 with its baseline beginning at x, y in the context's colour; returns its width. Decomposed Hangul is composed. */
double tl_wk_text_draw(cairo_t *cr, const struct tl_wk_text *style, double x, double y, const char *utf8);
double tl_wk_text_width(cairo_t *cr, const struct tl_wk_text *style, const char *utf8);

#endif

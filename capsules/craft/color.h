/* Colours in OKLab and OKLCh (Björn Ottosson, 2020) and their way to and from sRGB hexadecimal, gamut-mapped by giving up chroma. */
#ifndef TL_CAPSULES_CRAFT_COLOR_H
#define TL_CAPSULES_CRAFT_COLOR_H

#include <stdbool.h>
#include <stddef.h>

struct tl_lab {
    double l, a, b;
};

enum { TL_HEX_TEXT = 8 }; /* "#RRGGBB" and NUL */

struct tl_lab tl_lab_from_lch(double l, double c, double hue_deg);
double tl_lab_chroma(struct tl_lab v);
double tl_lab_hue(struct tl_lab v); /* degrees, 0 to 360; 0 for grey */
bool tl_lab_from_hex(const char *hex, struct tl_lab *ret);
/* Lowers chroma at the same lightness and hue until the colour is inside sRGB. */
struct tl_lab tl_lab_into_gamut(struct tl_lab v);
void tl_lab_hex(struct tl_lab v, char ret[TL_HEX_TEXT]);

/* What a palette is as a whole: mean lightness and chroma, spread of lightness, leading hue and how much the colours agree on it
 * (0: they cancel out, 1: one hue). */
struct tl_palette_stats {
    double light, chroma, spread, hue_deg, strength;
};
void tl_palette_stats(const struct tl_lab *v, size_t n, struct tl_palette_stats *ret);

#endif

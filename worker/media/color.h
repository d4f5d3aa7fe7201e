/* Colour: sRGB, OKLab (Björn Ottosson 2020) and #RRGGBB, as pure functions. */
#ifndef TL_WORKER_MEDIA_COLOR_H
#define TL_WORKER_MEDIA_COLOR_H

#include <stdbool.h>
#include <stdint.h>

struct tl_lab {
    float L, a, b;
};

enum { TL_HEX_COLOR = 8 }; /* "#RRGGBB" and NUL */

float tl_wk_srgb_decode(float v); /* 0..1 code value → linear light */
float tl_wk_srgb_encode(float v);
float tl_wk_srgb8_decode(uint8_t v); /* by table */

struct tl_lab tl_wk_lab_from_linear(float r, float g, float b);
struct tl_lab tl_wk_lab_from_srgb8(uint8_t r, uint8_t g, uint8_t b);
void tl_wk_lab_to_linear(struct tl_lab c, float ret[3]); /* may lie outside 0..1 */
/* Into the sRGB gamut, keeping lightness and hue and giving up chroma; code values 0..1. */
void tl_wk_lab_to_srgb(struct tl_lab c, float ret[3]);

float tl_wk_lab_chroma(struct tl_lab c);
float tl_wk_lab_hue(struct tl_lab c);       /* degrees, 0 ≤ h < 360 */
float tl_wk_hue_distance(float a, float b); /* degrees, 0..180 */

bool tl_wk_hex_parse(const char *text, struct tl_lab *ret); /* exactly #RRGGBB */
void tl_wk_hex_text(struct tl_lab c, char ret[TL_HEX_COLOR]);

#endif

/* Text on a terminal: how many cells it takes (Korean and other wide letters take two), cutting and padding by cells, and taking out what could
 * steer the terminal, for names and sentences come from others. */
#ifndef TL_CLI_TEXT_H
#define TL_CLI_TEXT_H

#include "base/str.h"

#include <stdint.h>

/* The next code point of NUL-terminated text; malformed bytes are U+FFFD, one at a time. 0 at the end. */
uint32_t tl_cli_text_next(const char **text);
int tl_cli_text_cells(uint32_t codepoint); /* 0, 1 or 2 */
int tl_cli_text_width(const char *text);
/* Appends text in exactly cells cells: cut with "…" where longer, filled with blanks where shorter. Control characters become "?". */
void tl_cli_text_pad(struct tl_str *out, const char *text, int cells);
/* Appends text with control characters (also those that turn the direction of writing) replaced by "?". */
void tl_cli_text_clean(struct tl_str *out, const char *text);

#endif

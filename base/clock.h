/* Time: wall clock in milliseconds since 1970 UTC, monotonic in microseconds, RFC 3339 text. */
#ifndef TL_BASE_CLOCK_H
#define TL_BASE_CLOCK_H

#include <stdint.h>

enum { TL_TIME_TEXT = 25 }; /* "2026-01-21T12:34:56.789Z" and NUL */

int64_t tl_now_ms(void);
int64_t tl_mono_us(void);
/* Times before the year 0000 or after 9999 are written as the first or last millisecond between. */
void tl_time_text(int64_t ms, char ret[TL_TIME_TEXT]);

#endif

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

int64_t tl_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t tl_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void tl_time_text(int64_t ms, char ret[TL_TIME_TEXT])
{
    static const int64_t first = -62167219200000, last = 253402300799999; /* years 0000 to 9999 */
    ms = ms < first ? first : ms > last ? last : ms;
    int64_t part = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
    time_t s = (time_t)((ms - part) / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    snprintf(ret, TL_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100, (unsigned)part % 1000);
}

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
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(ret, TL_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret + n, TL_TIME_TEXT - n, ".%03uZ", (unsigned)(ms % 1000) % 1000);
}

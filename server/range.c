#include "server/range.h"

#include <stdlib.h>
#include <string.h>

/* Reads digits at *p; UINT64_MAX where there are none or too many. */
static uint64_t number(const char **p)
{
    size_t n = strspn(*p, "0123456789");
    uint64_t v = n && n < 19 ? strtoull(*p, NULL, 10) : UINT64_MAX;
    *p += n;
    return v;
}

enum tl_range tl_range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
    *ret_first = 0;
    *ret_len = size;
    if (!header || strncmp(header, "bytes=", 6) != 0)
        return TL_RANGE_ALL;
    const char *p = header + 6;
    uint64_t first = 0, last = 0;
    if (*p == '-') {
        p++;
        uint64_t n = number(&p);
        if (n == UINT64_MAX || *p)
            return TL_RANGE_ALL;
        if (n == 0 || size == 0)
            return TL_RANGE_NONE;
        *ret_first = n < size ? size - n : 0;
        *ret_len = size - *ret_first;
        return TL_RANGE_PART;
    }
    first = number(&p);
    if (first == UINT64_MAX || *p != '-')
        return TL_RANGE_ALL;
    p++;
    last = *p ? number(&p) : UINT64_MAX - 1;
    if (last == UINT64_MAX || *p || last < first)
        return TL_RANGE_ALL;
    if (first >= size)
        return TL_RANGE_NONE;
    *ret_first = first;
    *ret_len = (last < size - 1 ? last : size - 1) - first + 1;
    return TL_RANGE_PART;
}

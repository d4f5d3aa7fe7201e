/* Byte ranges (RFC 9110 §14): one range of "bytes". */
#ifndef TL_SERVER_RANGE_H
#define TL_SERVER_RANGE_H

#include <stdint.h>

enum tl_range { TL_RANGE_ALL, TL_RANGE_PART, TL_RANGE_NONE };

/* What a Range header asks of size bytes: everything (no header, another unit, malformed, or several ranges, which may be ignored), one
 * part, or nothing that there is (416). */
enum tl_range tl_range_parse(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_len);

#endif

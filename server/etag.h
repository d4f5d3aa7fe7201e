/* Entity tags (RFC 9110 §8.8, §13.1): strong ones only. */
#ifndef TL_SERVER_ETAG_H
#define TL_SERVER_ETAG_H

#include <stdbool.h>
#include <stdint.h>

enum { TL_ETAG_TEXT = 80 };

void tl_etag_revision(uint64_t revision, char ret[TL_ETAG_TEXT]); /* "\"7\"" */
/* Whether a header's list of tags has tag, or is "*". Weak tags match nothing. */
bool tl_etag_match(const char *header, const char *tag);

#endif

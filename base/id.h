/* Identifiers: UUID version 7 (RFC 9562), so that ids sort by the time they were made. */
#ifndef TL_BASE_ID_H
#define TL_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { TL_ID_LEN = 16, TL_ID_TEXT = 37 };

struct tl_id {
    uint8_t b[TL_ID_LEN];
};

struct tl_id tl_id_new(void);
/* One of 16 random bytes and a time in milliseconds since 1970 UTC. */
struct tl_id tl_id_make(const uint8_t random[TL_ID_LEN], int64_t ms);
void tl_id_text(const struct tl_id *id, char ret[TL_ID_TEXT]); /* 8-4-4-4-12 lower-case */
bool tl_id_parse(const char *text, struct tl_id *ret);         /* exactly that form; false for any other */
int64_t tl_id_ms(const struct tl_id *id);                      /* when it was made, in milliseconds since 1970 UTC */
bool tl_id_equal(const struct tl_id *a, const struct tl_id *b);

#endif

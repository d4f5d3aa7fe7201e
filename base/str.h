/* A growing byte string with a sticky error: append freely, look at err once at the end. */
#ifndef TL_BASE_STR_H
#define TL_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct tl_str {
    char *data; /* NUL-terminated where not NULL; owned */
    size_t len, cap;
    int err; /* 0 or TL_ENOMEM; once set, appends do nothing */
};

void tl_str_add(struct tl_str *s, const void *bytes, size_t len);
void tl_str_puts(struct tl_str *s, const char *text);
void tl_str_printf(struct tl_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tl_str_vprintf(struct tl_str *s, const char *fmt, va_list ap);
char *tl_str_take(struct tl_str *s); /* returns owned, NULL after an error; s is empty afterwards */
void tl_str_clear(struct tl_str *s); /* for TL_CLEANUP too */

/* True where the len bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
bool tl_utf8_valid(const char *s, size_t len);

#endif

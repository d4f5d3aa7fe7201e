#include "base/str.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

void tl_str_add(struct tl_str *s, const void *bytes, size_t len)
{
    if (s->err)
        return;
    if (len > SIZE_MAX - s->len - 1 || tl_grow(&s->data, &s->cap, s->len + len + 1, 1) < 0) {
        s->err = TL_ENOMEM;
        return;
    }
    if (len)
        memcpy(s->data + s->len, bytes, len);
    s->len += len;
    s->data[s->len] = '\0';
}

void tl_str_puts(struct tl_str *s, const char *text)
{
    tl_str_add(s, text, strlen(text));
}

void tl_str_vprintf(struct tl_str *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char small[256];
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    if (n >= 0 && (size_t)n < sizeof(small)) {
        tl_str_add(s, small, (size_t)n);
    } else if (n >= 0 && !s->err && tl_grow(&s->data, &s->cap, s->len + (size_t)n + 1, 1) == 0) {
        vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
        s->len += (size_t)n;
    } else {
        s->err = TL_ENOMEM;
    }
    va_end(again);
}

void tl_str_printf(struct tl_str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(s, fmt, ap);
    va_end(ap);
}

char *tl_str_take(struct tl_str *s)
{
    if (!s->err && !s->data)
        tl_str_add(s, "", 0);
    char *p = s->err ? NULL : s->data;
    if (p)
        s->data = NULL;
    tl_str_clear(s);
    return p;
}

void tl_str_clear(struct tl_str *s)
{
    if (!s)
        return;
    free(s->data);
    memset(s, 0, sizeof(*s));
}

bool tl_utf8_valid(const char *str, size_t len)
{
    const uint8_t *s = (const uint8_t *)str;
    for (size_t i = 0; i < len;) {
        uint8_t c = s[i];
        size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        if (!n || n > len - i)
            return false;
        for (size_t k = 1; k < n; k++)
            if ((s[i + k] & 0xc0) != 0x80)
                return false;
        if ((c == 0xe0 && s[i + 1] < 0xa0) || (c == 0xed && s[i + 1] > 0x9f) || (c == 0xf0 && s[i + 1] < 0x90) ||
            (c == 0xf4 && s[i + 1] > 0x8f))
            return false;
        i += n;
    }
    return true;
}

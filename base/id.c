#include "base/id.h"

#include "base/clock.h"
#include "base/hash.h"

#include <string.h>

struct tl_id tl_id_new(void)
{
    uint8_t random[TL_ID_LEN];
    tl_random(random, sizeof(random));
    return tl_id_make(random, tl_now_ms());
}

struct tl_id tl_id_make(const uint8_t random[TL_ID_LEN], int64_t ms)
{
    struct tl_id id;
    memcpy(id.b, random, sizeof(id.b));
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)((uint64_t)ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | (id.b[6] & 0x0f));
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

void tl_id_text(const struct tl_id *id, char ret[TL_ID_TEXT])
{
    char hex[2 * TL_ID_LEN + 1];
    tl_hex(id->b, TL_ID_LEN, hex);
    char *out = ret;
    for (int i = 0; i < 2 * TL_ID_LEN; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *out++ = '-';
        *out++ = hex[i];
    }
    *out = '\0';
}

bool tl_id_parse(const char *text, struct tl_id *ret)
{
    char hex[2 * TL_ID_LEN + 1];
    int n = 0;
    if (!text || strnlen(text, TL_ID_TEXT) != TL_ID_TEXT - 1)
        return false;
    for (int i = 0; i < TL_ID_TEXT - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash != (text[i] == '-') || (text[i] >= 'A' && text[i] <= 'F'))
            return false;
        if (!dash)
            hex[n++] = text[i];
    }
    hex[n] = '\0';
    return tl_unhex(hex, ret->b, TL_ID_LEN);
}

int64_t tl_id_ms(const struct tl_id *id)
{
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

bool tl_id_equal(const struct tl_id *a, const struct tl_id *b)
{
    return memcmp(a->b, b->b, TL_ID_LEN) == 0;
}

/* The pull reader on any text: skipped or read, its verdict is that of jansson (which passes over a NUL behind a number). */
#include "base/err.h"
#include "base/jread.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_value(struct tl_jread *r)
{
    struct tl_jtext t;
    double number;
    bool b;
    switch (tl_jread_kind(r)) {
    case TL_J_OBJECT:
        tl_jread_object(r);
        while (tl_jread_key(r, &t))
            read_value(r);
        break;
    case TL_J_LIST:
        tl_jread_list(r);
        while (tl_jread_item(r))
            read_value(r);
        break;
    case TL_J_STRING:
        if (tl_jread_string(r, &t) && memchr(t.s, '\0', t.len))
            abort();
        break;
    case TL_J_NUMBER:
        tl_jread_number(r, &number);
        break;
    case TL_J_BOOLEAN:
        tl_jread_boolean(r, &b);
        break;
    default:
        tl_jread_skip(r, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct tl_arena arena = {0};
    struct tl_diag diag = {0};
    struct tl_jread r;
    tl_jread_init(&r, text, size, &arena);
    tl_jread_skip(&r, NULL);
    int skipped = tl_jread_finish(&r, &diag);
    if (diag.count != (size_t)(skipped != 0))
        abort();
    tl_jread_init(&r, text, size, &arena);
    read_value(&r);
    int taken = tl_jread_finish(&r, NULL);
    tl_arena_clear(&arena);
    tl_diag_clear(&diag);
    if (skipped != taken || (skipped && skipped != TL_EINVAL))
        abort();
    /* jansson itself has no bound on depth; what is deeper is refused here alone. */
    json_t *json = size && memchr(text, '\0', size)
                       ? NULL
                       : json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    if (json ? skipped && size < TL_JSON_MAX_DEPTH : !skipped)
        abort();
    json_decref(json);
    return 0;
}

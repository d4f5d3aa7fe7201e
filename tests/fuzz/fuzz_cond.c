/* A condition up to the first line break, held against the JSON behind it. */
#include "base/hash.h"
#include "base/json.h"
#include "graph/cond.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tl_port roots[] = {
        {"value", TL_T_JSON, 0, NULL}, {"n", TL_T_NUMBER, 0, NULL}, {"list", TL_T_FLOATS, 0, NULL}, {0}};
    struct tl_arena arena = {0};
    struct tl_str why = {0};
    const struct tl_cond *cond;
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - data) : size, rest = end ? size - len - 1 : 0;
    tl_hash_init();
    int err = tl_cond_parse(size ? (const char *)data : "", len, roots, &arena, &cond, &why);
    if (!err != !why.len && err > -30)
        __builtin_trap(); /* a refusal says why */
    json_t *json = NULL;
    if (!err && tl_json_parse((const char *)data + size - rest, rest, &json, NULL) == 0) {
        struct tl_value values[] = {{.type = TL_T_JSON, .json = json}, tl_value_number(0.5), {0}};
        if (json_is_null(json))
            values[0].type = TL_T_ANY;
        bool one, other;
        size_t left = TL_COND_WORK, same = TL_COND_WORK;
        if (tl_cond_holds(cond, values, &left, &one) != tl_cond_holds(cond, values, &same, &other) || one != other || left != same)
            __builtin_trap();
    }
    json_decref(json);
    tl_arena_clear(&arena);
    tl_str_clear(&why);
    return 0;
}

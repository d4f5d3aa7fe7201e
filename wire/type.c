#include "wire/type.h"

#include <string.h>

static const char *const names[TL_T_COUNT] = {
#define X(sym, name) name,
    TL_TYPE_TABLE(X)
#undef X
};

const char *tl_type_name(enum tl_type type)
{
    return (unsigned)type < TL_T_COUNT ? names[type] : "any";
}

bool tl_type_parse(const char *name, enum tl_type *ret)
{
    for (unsigned i = 0; name && i < TL_T_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (enum tl_type)i;
            return true;
        }
    return false;
}

bool tl_type_is_media(enum tl_type type)
{
    return type == TL_T_VIDEO || type == TL_T_IMAGE || type == TL_T_AUDIO || type == TL_T_FILE;
}

bool tl_type_accepts(enum tl_type to, enum tl_type from)
{
    if (to == from || to == TL_T_ANY || from == TL_T_ANY)
        return true;
    if (to == TL_T_JSON)
        return !tl_type_is_media(from);
    return to == TL_T_FILE && tl_type_is_media(from);
}

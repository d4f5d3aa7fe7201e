#include "wire/style.h"

const struct tl_style_info tl_style_info[TL_STYLE_AXES] = {
#define X(sym, name, low, high, neutral, unit) {name, low, high, neutral, unit},
    TL_STYLE_TABLE(X)
#undef X
};

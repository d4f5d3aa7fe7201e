#include "base/err.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *code, *text;
    int err, http;
} table[] = {
#define X(sym, num, code, http, text) {code, text, num, http},
    TL_ERR_TABLE(X)
#undef X
};

static size_t row(int err)
{
    size_t last = sizeof(table) / sizeof(table[0]) - 1;
    for (size_t i = 0; i < last; i++)
        if (table[i].err == err)
            return i;
    return last;
}

const char *tl_err_code(int err)
{
    return err == 0 ? "OK" : table[row(err)].code;
}

const char *tl_err_text(int err)
{
    return err == 0 ? "ok" : table[row(err)].text;
}

int tl_err_http(int err)
{
    return err == 0 ? 200 : table[row(err)].http;
}

int tl_err_from_code(const char *code)
{
    for (size_t i = 0; code && i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(table[i].code, code) == 0)
            return table[i].err;
    return TL_EINTERNAL;
}

int tl_err_from_errno(int e)
{
    switch (e) {
    case 0:
        return 0;
    case ENOMEM:
        return TL_ENOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return TL_EFULL;
    case ENOENT:
        return TL_ENOTFOUND;
    case EAGAIN:
        return TL_EAGAIN;
    case ETIMEDOUT:
        return TL_ETIMEOUT;
    case EINVAL:
        return TL_EINVAL;
    default:
        return TL_EIO;
    }
}

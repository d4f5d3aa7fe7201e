#include "capsules/secret.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int tl_secret_read(const char *path, char **ret)
{
    char buf[TL_SECRET_MAX + 2];
    TL_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1), from = 0;
    *ret = NULL;
    while (n > 0 && is_space(buf[n - 1]))
        n--;
    while (from < n && is_space(buf[from]))
        from++;
    bool ok = n > from && n - from <= TL_SECRET_MAX;
    for (ssize_t i = from; ok && i < n; i++)
        ok = buf[i] >= ' ' && buf[i] <= '~';
    if (ok)
        *ret = tl_strndup(buf + from, (size_t)(n - from));
    tl_wipe(buf, sizeof(buf));
    return !ok ? TL_EINVAL : *ret ? 0 : TL_ENOMEM;
}

void tl_secret_free(char *secret)
{
    if (secret)
        tl_wipe(secret, strlen(secret));
    free(secret);
}

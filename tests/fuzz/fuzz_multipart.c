/* A multipart body, in pieces: the first byte says how large they are. */
#include "server/multipart.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int drop(void *arg, const char *bytes, size_t len)
{
    *(size_t *)arg += len;
    return bytes ? 0 : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tl_multipart *m = NULL;
    size_t kept = 0, piece = size ? 1 + data[0] : 1;
    if (tl_multipart_new("multipart/form-data; boundary=XyZ", &m) < 0)
        return 0;
    for (size_t at = 1; at < size; at += piece)
        if (tl_multipart_feed(m, (const char *)data + at, piece < size - at ? piece : size - at, drop, &kept) < 0)
            break;
    tl_multipart_end(m);
    tl_multipart_free(m);
    return 0;
}

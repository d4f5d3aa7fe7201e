/* An access token as anybody may send it. */
#include "base/hash.h"
#include "server/token.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t pub[32] = {3};
    struct tl_claims claims;
    tl_hash_init();
    if (tl_token_verify(pub, (const char *)data, size, 1700000000, &claims) == 0)
        abort();
    return 0;
}

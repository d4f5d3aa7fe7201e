/* A sealed blob and its wrap as they may come from outside: nothing opens, and every refusal is the same. */
#include "base/err.h"
#include "base/hash.h"
#include "capsules/seal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tl_locked *locked;
    static const uint8_t dek[TL_DEK_LEN] = {1}, author[32] = {2};
    static const struct tl_seal_id id = {
        .org = "studio", .capsule = "auteur.fuzz", .version = "1.0.0", .author_public = author};
    if (!locked && (tl_hash_init() < 0 || tl_locked_new(&locked) < 0))
        abort();
    const uint8_t *plain;
    size_t len;
    uint8_t digest[TL_DIGEST_LEN];
    if (tl_unseal_dek(&id, dek, data, size, locked, &plain, &len, digest) != TL_ECAPSULE)
        abort();
    return 0;
}

/* A capsule's spec as an author may hand it in: read, and shown as a client sees it. */
#include "base/hash.h"
#include "base/json.h"
#include "capsules/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tl_diag diag = {0};
    TL_AUTO_JSON json_t *json = NULL;
    tl_hash_init();
    if (tl_json_parse((const char *)data, size, &json, &diag) == 0) {
        struct tl_cap_spec *spec = NULL;
        if (tl_cap_spec_parse(json, &spec, &diag) == 0)
            json_decref(tl_cap_spec_public(json, size & 1));
        tl_cap_spec_free(spec);
    }
    tl_diag_clear(&diag);
    return 0;
}

/* The body of a capsule call, alone and upon a canvas. */
#include "base/hash.h"
#include "base/json.h"
#include "capsules/doors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char canvas[] =
        "{\"nodes\":[{\"id\":\"t\",\"type\":\"input.text\"},{\"id\":\"c\",\"type\":\"capsule\",\"data\":{\"capsuleId\":"
        "\"auteur.fuzz\"}}],"
        "\"edges\":[{\"source\":\"t\",\"sourceHandle\":\"text\",\"target\":\"c\",\"targetHandle\":\"scene_summary\"}]}";
    struct tl_diag diag = {0};
    TL_AUTO_JSON json_t *body = NULL;
    tl_hash_init();
    if (tl_json_parse((const char *)data, size, &body, &diag) == 0) {
        TL_AUTO_JSON json_t *graph = size & 1 ? json_loads(canvas, 0, NULL) : NULL;
        TL_AUTO_JSON json_t *doc = NULL;
        TL_AUTO_JSON json_t *meta = NULL;
        tl_cap_call_doc(body, graph, size & 2, &doc, &meta, &diag);
    }
    tl_diag_clear(&diag);
    return 0;
}

/* A graph document as a client may send it: parsed, checked and planned against the ops that there are. */
#include "base/hash.h"
#include "base/json.h"
#include "capsules/services.h"
#include "graph/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tl_diag diag = {0};
    json_t *json = NULL;
    tl_hash_init();
    if (tl_json_parse((const char *)data, size, &json, &diag) == 0) {
        struct tl_services services = {0};
        struct tl_cap_env cap = {.services = &services, .org = "fuzz"};
        struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &cap, .allow_private = size & 1};
        struct tl_plan *plan = NULL;
        tl_plan_json(json, &env, NULL, 0, &plan, &diag);
        tl_plan_unref(plan);
        free(tl_json_canonical(json));
    }
    json_decref(tl_diag_json(&diag));
    json_decref(json);
    tl_diag_clear(&diag);
    return 0;
}

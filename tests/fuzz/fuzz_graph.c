/* A graph document as a client may send it: read, checked and planned against the ops that there are; as text and as JSON it is the same plan. */
#include "base/hash.h"
#include "base/json.h"
#include "capsules/services.h"
#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tl_services services = {0};
    struct tl_cap_env cap = {.services = &services, .org = "fuzz"};
    struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &cap, .allow_private = size & 1};
    struct tl_diag diag = {0};
    struct tl_plan *plan = NULL, *again = NULL;
    json_t *json = NULL;
    tl_hash_init();
    int err = tl_plan_text((const char *)data, size, &env, NULL, 0, &plan, &diag);
    if (!err != (plan != NULL) || (err && !diag.count))
        abort();
    if (tl_json_parse((const char *)data, size, &json, NULL) == 0) {
        if (tl_plan_json(json, &env, NULL, 0, &again, NULL) != err || (plan && strcmp(plan->hash, again->hash) != 0))
            abort();
    } else if (plan) {
        abort();
    }
    for (uint32_t i = 0; plan && i < plan->nnodes; i++)
        if (tl_plan_find(plan, plan->nodes[i].id) != i)
            abort();
    tl_plan_unref(plan);
    tl_plan_unref(again);
    json_decref(tl_diag_json(&diag));
    json_decref(json);
    tl_diag_clear(&diag);
    return 0;
}

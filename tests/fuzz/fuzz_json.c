/* JSON from outside: what is refused is refused with a problem that can be shown; what is taken has one canonical form, which is JSON and its own form. */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void refused(struct tl_diag *diag)
{
    json_t *shown = tl_diag_json(diag);
    char *text = shown ? tl_json_text(shown) : NULL;
    if (!text || !strstr(text, "\"message\""))
        abort();
    free(text);
    json_decref(shown);
    tl_diag_clear(diag);
}

static json_t *read_back(const char *text)
{
    json_t *j;
    if (!text || tl_json_parse(text, strlen(text), &j, NULL) < 0)
        abort();
    return j;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tl_diag diag = {0};
    json_t *json;
    if (tl_json_parse((const char *)data, size, &json, &diag) < 0) {
        refused(&diag);
        return 0;
    }
    char *text = tl_json_text(json), *canonical = tl_json_canonical(json);
    json_t *again = read_back(canonical);
    char *twice = tl_json_canonical(again);
    json_decref(read_back(text));
    if (!twice || strcmp(canonical, twice) != 0)
        abort();
    free(text);
    free(canonical);
    free(twice);
    json_decref(again);
    json_decref(json);
    return 0;
}

/* CapsuleNodeSpec: the public description of a sealed node, read from JSON, checked whole, and turned into ports and
 * parameters. */
#ifndef TL_CAPSULES_SPEC_H
#define TL_CAPSULES_SPEC_H

#include "base/diag.h"
#include "base/mem.h"
#include "wire/op.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum tl_cap_evidence { TL_CAP_SUMMARY_ONLY, TL_CAP_REFERENCES_ONLY };
enum tl_cap_adapter { TL_CAP_INTERNAL, TL_CAP_HYBRID, TL_CAP_NOTEBOOKLM, TL_CAP_OPAL };

enum {
    TL_CAP_ID_MAX = 128,
    TL_CAP_NAME_MAX = 64,  /* of ports and parameters */
    TL_CAP_PORTS_MAX = 64, /* inputs, and outputs */
    TL_CAP_PARAMS_MAX = 64,
    TL_CAP_OPTIONS_MAX = 64,
    TL_CAP_TEXT_MAX = 1000, /* longest text that a string parameter may allow */
    TL_CAP_UPSTREAM_MAX = 1000,
};

/* Immutable once parsed; strings are borrowed from json or lie in the arena. */
struct tl_cap_spec {
    struct tl_arena arena;
    json_t *json; /* the whole spec, owned */
    const char *id, *version, *display_name, *pattern_version, *graph_ref;
    struct tl_port *inputs, *outputs; /* as declared; each ends with a NULL name */
    bool *admitted;                   /* per output: named, by name or by type, in outputContracts.types */
    uint32_t ninputs, noutputs;
    struct tl_param *params;
    uint32_t nparams, max_upstream;
    bool sequential, raw_logs;
    enum tl_cap_evidence evidence;
    enum tl_cap_adapter adapter;
};

/* Shares json. TL_EINVAL with all problems at once, TL_ENOMEM. *ret is returned owned. */
int tl_cap_spec_parse(json_t *json, struct tl_cap_spec **ret, struct tl_diag *diag);
void tl_cap_spec_free(struct tl_cap_spec *spec); /* NULL accepted */

/* What a client sees of a spec: no adapter; admin parameters only where admin. Returned owned, NULL on want of memory.
 */
json_t *tl_cap_spec_public(const json_t *spec, bool admin);

/* Semantic versions, without build part: MAJOR.MINOR.PATCH[-pre.release]. */
bool tl_cap_version_valid(const char *v);
int tl_cap_version_compare(const char *a, const char *b); /* both valid; by precedence */
bool tl_cap_id_valid(const char *id); /* lower-case letters, digits, '.', '_', '-'; begins with a letter */

#endif

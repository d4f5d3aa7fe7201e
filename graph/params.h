/* The rule by which parameters are checked, whether they come as text (a node of a document) or as JSON (a capsule's call). */
#ifndef TL_GRAPH_PARAMS_H
#define TL_GRAPH_PARAMS_H

#include "base/jread.h"
#include "graph/value.h"
#include "wire/op.h"

enum { TL_SHARED_TEXTS = 128, TL_SHARED_TEXT_MAX = 32 };

/* Short texts that come again and again while one plan is made: one JSON string serves all that are equal, its hash is made once. Init to {0}. */
struct tl_shared {
    struct tl_shared_text {
        json_t *json; /* owned */
        uint8_t hash[32];
    } texts[TL_SHARED_TEXTS];
};
/* Returns an owned reference, NULL on want of memory. shared may be NULL. */
json_t *tl_shared_text(struct tl_shared *shared, struct tl_jtext text);
/* tl_value_hash, sooner where v is one of them. */
int tl_shared_hash(const struct tl_shared *shared, const struct tl_value *v, uint8_t ret[32]);
void tl_shared_clear(struct tl_shared *shared);

/* Parameters that are being checked. */
struct tl_params {
    const struct tl_param *list;
    uint32_t count;
    bool admin;
    const char *node, *path;      /* for problems */
    const struct tl_value *usual; /* the defaults, one per parameter; NULL: from their texts */
    struct tl_shared *shared;     /* or NULL */
    struct tl_value *values;      /* filled, one per parameter; the caller clears them */
    struct tl_diag *diag;
};

/* Reads the value that comes next, which should be an object of parameters; r NULL: there is none. What is missing gets its default. Problems are
 * reported; TL_ENOMEM or another error is not about what was given. A problem of the reader is the caller's to look for. */
int tl_params_read(const struct tl_params *p, struct tl_jread *r);
/* The default of each parameter; what has none stays none. */
int tl_params_usual(const struct tl_param *list, uint32_t count, struct tl_value *ret);

#endif

/* A value on an edge: numbers and booleans in place, everything else as immutable, reference-counted JSON.
 * Media are references: {"kind":"video","sha256":hex,"content_type","bytes","name"}. */
#ifndef TL_GRAPH_VALUE_H
#define TL_GRAPH_VALUE_H

#include "base/str.h"
#include "wire/type.h"

#include <jansson.h>
#include <stdint.h>

enum { TL_VALUE_BYTES = 16 << 20, TL_VALUE_LEVELS = 48 }; /* of what a node puts out, as JSON text */

struct tl_value {
    enum tl_type type; /* TL_T_ANY: no value */
    union {
        double number;
        bool boolean;
        json_t *json; /* owned reference; never changed once here */
    };
};

static inline struct tl_value tl_value_number(double v)
{
    return (struct tl_value){.type = TL_T_NUMBER, .number = v};
}
static inline struct tl_value tl_value_bool(bool v)
{
    return (struct tl_value){.type = TL_T_BOOLEAN, .boolean = v};
}
/* Any type but number and boolean; takes j. A NULL j makes no value. */
static inline struct tl_value tl_value_take(enum tl_type type, json_t *j)
{
    return j ? (struct tl_value){.type = type, .json = j} : (struct tl_value){.type = TL_T_ANY};
}
static inline bool tl_value_none(const struct tl_value *v)
{
    return !v || v->type == TL_T_ANY;
}
struct tl_value tl_value_ref(const struct tl_value *v); /* another reference to the same value */
void tl_value_clear(struct tl_value *v);

/* Whether j has the form of a value of type, as a value of that type (any: by its own form). Borrows j, shares it. TL_EINVAL with *ret_why (static
 * text, "must be a list of finite numbers") where it has not. */
int tl_value_from_json(enum tl_type type, json_t *j, struct tl_value *ret, const char **ret_why);
/* v as a value of type: shared, converted where its form allows it. What is no medium never becomes one, for JSON of that form is no right to a blob. TL_EINVAL as above. */
int tl_value_as(enum tl_type type, const struct tl_value *v, struct tl_value *ret, const char **ret_why);
json_t *tl_value_json(const struct tl_value *v); /* returns an owned reference; JSON null for none */
void tl_value_add(struct tl_str *s, const struct tl_value *v); /* the same as text, appended */
/* A media reference's hash and fields, NULL where v is no medium. Borrowed. */
const char *tl_value_sha256(const struct tl_value *v);
json_t *tl_media_json(const char *kind, const char *sha256, const char *content_type, uint64_t bytes, const char *name);
/* The hash by which a value is known. A number is its own: 'n', seven zeros, its bits (64-bit LE, -0 as 0), zeros; so is a boolean: 'b', seven zeros, 0 or 1,
 * zeros; no value is zeros. Any other is the BLAKE2b-256 of the length-prefixed type name and canonical JSON. Who keeps numbers as text to find
 * them again by their hash must write all their 17 digits. TL_ENOMEM. */
int tl_value_hash(const struct tl_value *v, uint8_t ret[32]);

#endif

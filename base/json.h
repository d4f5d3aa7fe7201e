/* JSON as talos accepts and writes it: RFC 8259 read strictly (UTF-8, no duplicate keys, bounded depth, finite numbers),
 * and one canonical form for hashing. On jansson; a json_t that is shared between threads is never changed. */
#ifndef TL_BASE_JSON_H
#define TL_BASE_JSON_H

#include "base/diag.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TL_JSON_DIGITS =
        15, /* significant digits of a real: what every decimal survives (DBL_DIG), so that 0.7 is written as it was read, and a value read
                          * back has the same canonical text */
    TL_JSON_MAX_DEPTH = 64,           /* objects and arrays within one another */
    TL_JSON_MAX_CONTAINERS = 1200000, /* objects and arrays: the largest graph has some 900,000 */
    TL_JSON_MAX_VALUES = 5000000,
    TL_JSON_MAX_BODY = 1024 * 1024,       /* bytes of an ordinary request */
    TL_JSON_MAX_GRAPH = 64 * 1024 * 1024, /* bytes of a graph */
};

static inline void tl_json_decref_ptr(json_t **j)
{
    json_decref(*j);
}
#define TL_AUTO_JSON __attribute__((cleanup(tl_json_decref_ptr)))

/* Parses len bytes. TL_EINVAL with a problem that names line and column; *ret is returned owned. diag may be NULL. */
int tl_json_parse(const char *text, size_t len, json_t **ret, struct tl_diag *diag);
/* Reads and parses a file of at most max bytes. TL_ENOTFOUND, TL_ETOOBIG, TL_EIO, or as tl_json_parse. */
int tl_json_load(const char *path, size_t max, json_t **ret, struct tl_diag *diag);

/* While it is on, all that the JSON library gives back on this thread is overwritten first: values, their texts, and its buffers while it reads and writes. A text that
 * tl_json_text and tl_json_canonical return is its owner's to wipe. Returns what it was. */
bool tl_json_wiped(bool on);

/* Compact text; returns owned (free), NULL on want of memory. */
char *tl_json_text(const json_t *j);
/* Canonical text: compact, keys sorted by their bytes, integral reals written as integers, others with TL_JSON_DIGITS, so
 * that equal values have equal bytes. Returns owned. */
char *tl_json_canonical(const json_t *j);

/* A number's canonical text; returns its length. ret holds 32. */
size_t tl_json_number(double v, char *ret, size_t cap);

/* Appending to a text: a string with its quotes, a canonical number, any value in compact form (as tl_json_text). Errors stick in s. */
void tl_json_add_text(struct tl_str *s, const char *text, size_t len);
void tl_json_add_number(struct tl_str *s, double v);
void tl_json_add(struct tl_str *s, const json_t *j);

/* Whether j would take at most so many bytes as text (about: numbers count as 8) and so many levels; looks at no more than that. Parts that are shared count each
 * time, as they would be written. */
bool tl_json_within(const json_t *j, size_t bytes, unsigned levels);

/* Lookups that answer NULL, or the given default, where the key is absent or of another type. Borrowed. */
const char *tl_json_str(const json_t *obj, const char *key);
double tl_json_num(const json_t *obj, const char *key, double otherwise);
int64_t tl_json_int(const json_t *obj, const char *key, int64_t otherwise);
bool tl_json_bool(const json_t *obj, const char *key, bool otherwise);
/* Reports each key of obj that is not in the NULL-terminated list as an unknown field at path.key. */
void tl_json_only_keys(const json_t *obj, const char *const *allowed, const char *node, const char *path,
                       struct tl_diag *diag);
/* A float[] as JSON, and back: *ret is malloc'd, TL_EINVAL where j is not an array of finite numbers. */
json_t *tl_json_floats(const double *v, size_t n);
int tl_json_to_floats(const json_t *j, double **ret, size_t *ret_n);

#endif

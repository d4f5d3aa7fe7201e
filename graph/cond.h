/* Conditions: a small path-and-compare language over JSON values ("score >= 0.8 and not (result.kind == 'draft')"), read and checked when a graph is
 * checked, held against values when it runs. Evaluation is total: whatever the values are, a condition holds or does not, in bounded time.
 * The grammar is in SPEC.md 2.1. */
#ifndef TL_GRAPH_COND_H
#define TL_GRAPH_COND_H

#include "base/mem.h"
#include "base/str.h"
#include "graph/value.h"
#include "wire/op.h"

enum { TL_COND_MAX = 1000, TL_COND_DEPTH = 32, TL_COND_WORK = 100000 /* values that the conditions of one node may look at */ }; /* bytes of text; parentheses and "not" within one another */

struct tl_cond; /* immutable, of the arena */

/* Reads text. roots (ended by a NULL name): the names that a path may begin with, and their types, so that a comparison that could never hold is found here.
 * TL_EINVAL with why: "column 7: expected …, found …", columns counted in characters from 1. TL_ENOMEM. */
int tl_cond_parse(const char *text, size_t len, const struct tl_port *roots, struct tl_arena *arena,
                  const struct tl_cond **ret, struct tl_str *why);
/* values: one per root, none where it has no value. *left: how many values may still be looked at, and is counted down; TL_ELIMIT where that is not enough. */
int tl_cond_holds(const struct tl_cond *cond, const struct tl_value *values, size_t *left, bool *ret);

#endif

/* Facts: a flat JSON object of numbers (and "lang") that the ops of a private graph say about a scene. Conditions ask them, templates quote them.
 *
 * A condition is a list of triples, all of which must hold: [["rain", ">", 0.4], ["energy", "<=", 0.5]]; a fact that is not there fails it.
 * A template is text with {name:form} in it; form t is m:ss, p percent, 0, 1 or 2 that many decimals; without a form at most one decimal. */
#ifndef TL_CAPSULES_CRAFT_FACTS_H
#define TL_CAPSULES_CRAFT_FACTS_H

#include "base/json.h"
#include "base/str.h"

/* One object from a list of them; a later one wins. Returned owned; NULL on want of memory. list may be NULL. */
json_t *tl_facts_merge(const json_t *list);
/* when NULL holds always. */
bool tl_facts_hold(const json_t *facts, const json_t *when);
/* Whether when has the form of a condition, so that a mistake in a capsule is found before it is used. */
bool tl_facts_valid(const json_t *when);
/* Appends the template with its facts filled in. TL_ENOTFOUND where one is missing, TL_ESCHEMA where the template is malformed, TL_ENOMEM. */
int tl_facts_expand(const json_t *facts, const char *text, struct tl_str *ret);

#endif

/* Plans that were made, kept in memory for the next run of the same document: by organisation, the document's hash, targets and admin mode. A plan whose
 * nodes look at more than their document (a capsule's version, a file) serves only while nothing of that has changed. Any thread. */
#ifndef TL_CAPSULES_PLANS_H
#define TL_CAPSULES_PLANS_H

#include "graph/plan.h"
#include "store/text.h"

enum {
    TL_PLANS_MAX_NODES = 400000
}; /* of all plans that are kept, so that two of the largest documents have room; a document counts by its length too, for what its nodes hold themselves */

struct tl_plans;
/* db: where what plans depend on besides their documents is; borrowed. NULL: nothing that depends on more is kept. */
int tl_plans_new(struct tl_db *db, struct tl_plans **ret);
void tl_plans_free(struct tl_plans *plans); /* NULL accepted */

struct tl_plan_ask {
    const char *org;
    const uint8_t *doc; /* the text's hash */
    const char *const *targets;
    size_t ntargets;
    bool admin;
};
/* A reference of its own, or NULL. *ret_state is what tl_plans_keep wants to hear of a plan that is made now. plans may be NULL. */
struct tl_plan *tl_plans_find(struct tl_plans *plans, const struct tl_plan_ask *ask, uint64_t *ret_state);
/* Keeps a plan that was made from a text of so many bytes after tl_plans_find had said state; or does not, where it is too large or there is no memory. */
void tl_plans_keep(struct tl_plans *plans, const struct tl_plan_ask *ask, uint64_t state, size_t text_len,
                   struct tl_plan *plan);

#endif

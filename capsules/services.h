/* What ops may reach outside the graph: workers, blobs, the network, sealed capsules. One struct, filled in by cli/main.c and handed to the executor;
 * an op gets it with tl_cap_services(ctx). Any member may be NULL in a test; an op that needs it then fails with TL_ENOTCONFIGURED. */
#ifndef TL_CAPSULES_SERVICES_H
#define TL_CAPSULES_SERVICES_H

#include "graph/op_ctx.h"
#include "store/blob.h"
#include "store/db.h"

struct tl_jobs;         /* jobs/jobs.h: the supervisor of talos-worker processes */
struct tl_net;          /* net/net.h: HTTP to the outside */
struct tl_llm;          /* capsules/llm.h: the configured language model, NULL where there is none */
struct tl_destinations; /* capsules/destinations.h: where http.post may send to, NULL where nothing is configured */
struct tl_plans;        /* capsules/plans.h */
struct tl_capsule;      /* capsules/capsule.h: an opened, verified version */
struct tl_keyring;      /* capsules/keyring.h */

struct tl_services {
    struct tl_db *db;
    struct tl_blobs *blobs;
    struct tl_jobs *jobs;
    struct tl_net *net;
    struct tl_llm *llm;
    struct tl_destinations *destinations;
    struct tl_plans *plans; /* plans of stored documents; NULL: each is made anew */
    struct tl_keyring *keyring; /* filled in by tl_cat_open */
    /* Finds id@version as org may use it: TL_ENOTFOUND, TL_ECAPSULE. *ret is a reference, ended by tl_capsule_unref. Called from shape() and run(). */
    int (*open_capsule)(void *arg, const char *org, const char *id, const char *version, struct tl_capsule **ret);
    /* Whether org may use any version of id: for telling an unknown version from an unknown capsule. */
    bool (*has_capsule)(void *arg, const char *org, const char *id);
    /* A pattern of a snapshot of the library, as JSON; pattern_id NULL: the snapshot itself, {"snapshot","patterns":[ids]}. TL_ENOTFOUND. *ret owned. */
    int (*open_pattern)(void *arg, const char *snapshot, const char *pattern_id, json_t **ret);
    void *arg;
    bool input_fallbacks; /* ALLOW_INPUT_FALLBACKS=true (seed §6.1) */
};

static inline struct tl_services *tl_cap_services(struct tl_op_ctx *ctx)
{
    return tl_op_services(ctx);
}

/* tl_graph_env.arg and tl_shape_req.env of every graph that talos checks. */
struct tl_cap_env {
    struct tl_services *services;
    const char *org;
    int nesting; /* 0 in a canvas */
};

/* Finds an op by name in the sorted table of capsules/ops/op_list.def. NULL where there is none. */
const struct tl_op *tl_cap_find_op(void *unused, const char *name);
/* All ops, sorted by name. */
const struct tl_op *const *tl_cap_ops(size_t *ret_count);

#endif

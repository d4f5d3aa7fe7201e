/* Results kept under the hash of what produced them: the one mechanism behind not running a node twice. Pure ops' results serve every run of
 * the organisation: a cache in memory before a table that is bounded in bytes, least recently used out first. Others serve the run that made them, for going on after
 * a crash, and nobody else; those from inside a sealed node are sealed. */
#ifndef TL_GRAPH_RESULT_H
#define TL_GRAPH_RESULT_H

#include "base/id.h"
#include "graph/op_ctx.h"
#include "store/db.h"

struct tl_exec_conf;
struct tl_results;

enum {
    TL_RESULTS_RENEW_MS =
        60 * 60 * 1000, /* a result's time of use on disk is renewed where it is older, with conf.renew_ms 0 */
    TL_STEP_WORTH_MS =
        20, /* a private step that waits neither for the network nor for a worker is kept where it took this long */
};
#define TL_RESULTS_CACHE_MAX ((uint64_t)1 << 30) /* bytes on disk, with conf.cache_max 0 */
#define TL_RESULTS_HOT_MAX ((uint64_t)64 << 20)  /* bytes in memory, with conf.hot_max 0 */

/* *ret is NULL where conf has no database; everything below accepts that. Borrows conf. Begins to remove what ended runs left. */
int tl_results_new(const struct tl_exec_conf *conf, struct tl_results **ret);
void tl_results_free(struct tl_results *r);

/* Makes a run's key of its organisation's: with it no two organisations have a key in common. */
void tl_result_run_key(uint8_t key[32], const char *org);

/* What a context keeps between the calls below; zeroed when the node begins. */
struct tl_result_ctx {
    uint8_t key[32];
    uint64_t stamp; /* of the record that was found */
    bool has_key;
    bool found, own; /* own: found for this run only */
    bool soon;       /* found in memory, and not on disk yet: kept once more, with what tells of it */
};

/* Fills ctx's key. TL_ENOMEM. */
int tl_result_key(struct tl_op_ctx *ctx);
/* Outputs of an earlier run under this key, or of this run where it goes on after a crash. 0 with ctx->outputs and usage filled, TL_ENOTFOUND. A node of a
 * sealed nested run needs no tl_result_key before. */
int tl_result_find(struct tl_op_ctx *ctx);

/* One thing for the next commit to store. */
struct tl_kept {
    struct tl_kept *next;
    uint8_t key[32];
    uint32_t len;
    uint8_t kind; /* enum tl_kept_kind */
    uint8_t bytes[];
};
enum tl_kept_kind {
    TL_KEPT_RESULT, /* a record for TL_TBL_RESULT */
    TL_KEPT_USE,    /* the record under this key was used again */
    TL_KEPT_STEP,   /* a value for TL_TBL_STEP */
};
/* After a node ended well, with its outputs still in ctx and no lock held; also after one that was found. Owned, NULL where there is nothing to store. */
struct tl_kept *tl_result_keep(struct tl_op_ctx *ctx);
struct tl_kept *tl_result_sorted(struct tl_kept *list); /* takes the list, returns it in the order of the store */
void tl_result_free(struct tl_kept *list);

struct tl_result_commit {
    const struct tl_results *results;
    const char *org;
    const struct tl_id *run;
    struct tl_kept *kept; /* sorted; borrowed */
    bool end;             /* the run ends with this commit: what only it could use goes */
};
int tl_result_commit(struct tl_txn *txn, const struct tl_result_commit *c);
/* After the commit of what was kept. Where the tables are beyond their bound, begins to remove more. */
void tl_results_committed(const struct tl_results *r, const struct tl_kept *list);
/* After the commit that ended the run: removes in pieces what was too much for that commit. */
void tl_results_ended(const struct tl_results *r, const struct tl_id *run);

/* A node's key from the hashes of what its producers gave; an error of hash is handed back. */
typedef int (*tl_result_hash_fn)(void *arg, uint32_t node, uint32_t out, uint8_t ret[32]);
int tl_result_key_of(const uint8_t run_key[32], const struct tl_plan *plan, uint32_t node, tl_result_hash_fn hash,
                     void *arg, uint8_t ret[32]);

/* What is known of a kept result besides its values. */
struct tl_result_facts {
    struct tl_id run; /* that made it */
    uint64_t stamp;   /* when it was used last, in ms, as exact as renewing is */
    struct tl_usage usage;
    bool on_disk; /* of one in memory: it has been committed */
};
/* The hashes of a kept result's outputs (nout of 32 bytes each), without making values of them. r may be NULL. TL_ENOTFOUND also where it has another shape. */
int tl_result_hashes(struct tl_results *r, struct tl_txn *txn, const char *org, const uint8_t key[32], uint32_t nout,
                     uint8_t *ret, struct tl_result_facts *ret_facts);

#endif

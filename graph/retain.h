/* Retention: the journals of runs that ended long ago are cut down to their state and their ending. What is cut off is replaced by one event, run.reset, under the
 * seq of the last event cut, so that whoever comes with an older cursor is told the state and never finds a gap. */
#ifndef TL_GRAPH_RETAIN_H
#define TL_GRAPH_RETAIN_H

#include "graph/run.h"

enum {
    TL_RETAIN_EVERY_MS = 10 * 60 * 1000,    /* between two looks at what is old enough */
    TL_RETAIN_PIECE = 32,                   /* runs in one commit */
    TL_RETAIN_NODES_BYTES = 1024 * 1024,    /* of nodes' states in a run.reset; where there are more it counts them by status */
};

struct tl_retain;

/* Begins to prune runs that ended more than keep_ms ago, now and from time to time, on the executor's threads. keep_ms 0: *ret is NULL, everything is kept. */
int tl_retain_new(struct tl_exec *exec, int64_t keep_ms, struct tl_retain **ret);
void tl_retain_free(struct tl_retain *retain); /* before the executor; NULL accepted */
/* Prunes up to TL_RETAIN_PIECE runs that ended before before_ms, beginning behind *after, which moves on; waits for the commit. *ret_more: there may be others. Not
 * for executor threads. */
int tl_retain_prune(struct tl_db *db, int64_t before_ms, struct tl_id *after, size_t *ret_pruned, bool *ret_more);

#endif

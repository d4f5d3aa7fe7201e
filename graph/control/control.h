/* The control nodes: ops that hold a graph of their own, choose a branch, or wait for a person. One file each, descriptor last. */
#ifndef TL_GRAPH_CONTROL_CONTROL_H
#define TL_GRAPH_CONTROL_CONTROL_H

#include "wire/op.h"

#include <stddef.h>

enum {
    TL_MAP_ITEMS_MAX = 10000,
    TL_MAP_CONCURRENCY_MAX = 64,
    TL_LOOP_ITER_MAX = 100,
    TL_SWITCH_CASES_MAX = 64,
    TL_GATE_EXPIRES_MAX = 30 * 24 * 3600, /* seconds */
};

/* All of them, sorted by name. */
const struct tl_op *const *tl_control_ops(size_t *ret_count);

#endif

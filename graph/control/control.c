#include "graph/control/control.h"

#include "base/mem.h"

extern const struct tl_op tl_op_gate, tl_op_loop, tl_op_map, tl_op_merge, tl_op_subgraph, tl_op_switch;

static const struct tl_op *const table[] = {&tl_op_gate,  &tl_op_loop,     &tl_op_map,
                                            &tl_op_merge, &tl_op_subgraph, &tl_op_switch};

const struct tl_op *const *tl_control_ops(size_t *ret_count)
{
    *ret_count = TL_ARRAY_LEN(table);
    return table;
}

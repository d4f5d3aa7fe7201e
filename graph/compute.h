/* What the compute() of a quick op sees: its node, and the values that come in. All borrowed. */
#ifndef TL_GRAPH_COMPUTE_H
#define TL_GRAPH_COMPUTE_H

#include "graph/plan.h"

enum { TL_COMPUTE_PORTS = 8 };

struct tl_compute {
    const struct tl_plan_node *node;
    const struct tl_value *in[TL_COMPUTE_PORTS]; /* per input port, of the port's type; NULL where there is no value, and for a TL_PORT_MULTI */
    const struct tl_plan *plan;
    const struct tl_value *values; /* outputs of all nodes */
};

/* Edges into a TL_PORT_MULTI, and the value of one of them: of any type, NULL where it brings none. */
static inline uint32_t tl_compute_count(const struct tl_compute *c, uint32_t port)
{
    return c->node->in[port].nsources;
}
static inline const struct tl_value *tl_compute_each(const struct tl_compute *c, uint32_t port, uint32_t k)
{
    const struct tl_value *v = &c->values[c->plan->sources[c->node->in[port].first_source + k].value];
    return tl_value_none(v) ? NULL : v;
}

#endif

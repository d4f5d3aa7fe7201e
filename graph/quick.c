/* Quick nodes that compute: no context, no thread of their own, the run's lock held for many of them at once. Whatever is out of the ordinary (a type that must be
 * converted, a value that is missing, an error) is left to an ordinary attempt, so that there is one place that words it. */
#include "graph/compute.h"
#include "graph/state.h"

/* False where an ordinary attempt must do it. */
static bool gather(struct tl_compute *c)
{
    const struct tl_plan_node *n = c->node;
    for (uint32_t p = 0; p < n->nin; p++) {
        const struct tl_plan_port *port = &n->in[p];
        const struct tl_value *v = port->literal;
        if (port->nsources && port->def->flags & TL_PORT_MULTI) {
            c->in[p] = NULL;
            continue;
        }
        if (port->nsources) {
            const struct tl_plan_source *src = &c->plan->sources[port->first_source];
            v = &c->values[c->plan->nodes[src->node].first_out + src->out];
        }
        c->in[p] = tl_value_none(v) ? NULL : v;
        if (c->in[p] ? v->type != port->def->type && port->def->type != TL_T_ANY : port->def->flags & TL_PORT_REQUIRED)
            return false;
    }
    return true;
}

bool tl_run_compute(struct tl_run *run, uint32_t node)
{
    const struct tl_plan_node *n = &run->plan->nodes[node];
    if (!n->op->compute || n->nin > TL_COMPUTE_PORTS || run->root->journal)
        return false;
    struct tl_compute c = {.node = n, .plan = run->plan, .values = run->values};
    if (!gather(&c) || n->op->compute(&c, tl_run_values(run, node)) != 0)
        return false;
    tl_run_computed(run, node);
    return true;
}

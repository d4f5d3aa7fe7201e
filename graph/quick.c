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
        if (port->nsources)
            v = &c->values[c->plan->sources[port->first_source].value];
        c->in[p] = tl_value_none(v) ? NULL : v;
        if (c->in[p] ? v->type != port->def->type && port->def->type != TL_T_ANY : port->def->flags & TL_PORT_REQUIRED)
            return false;
    }
    return true;
}

/* What the node's compute() sees. False where an ordinary attempt must do it. */
static bool look(const struct tl_run *run, const struct tl_plan_node *n, struct tl_compute *c)
{
    if (!n->op->compute || n->nin > TL_COMPUTE_PORTS)
        return false;
    c->node = n;
    c->plan = run->plan;
    c->values = run->values;
    return gather(c);
}

bool tl_run_compute_plain(struct tl_run *run, const struct tl_plan_node *n)
{
    struct tl_compute c;
    return look(run, n, &c) && n->op->compute(&c, run->values + n->first_out) == 0;
}

/* With results kept: the one that is there, or a new one. Runs that go on after a crash, and nodes with a policy, have further rules: an ordinary attempt knows them. */
static bool compute_kept(struct tl_run *run, uint32_t node, const struct tl_compute *c)
{
    struct tl_op_ctx ctx = {.run = run, .node = node, .def = c->node, .outputs = tl_run_values(run, node)};
    if (run->root->resumed || c->node->policy || tl_result_key(&ctx) < 0)
        return false;
    bool found = tl_result_find(&ctx) == 0;
    if (!found && c->node->op->compute(c, ctx.outputs) != 0)
        return false;
    run->nodes[node].cached = found;
    ctx.kept = tl_result_keep(&ctx);
    tl_run_computed(run, node, &ctx);
    tl_result_free(ctx.kept);
    free(ctx.step_key);
    return true;
}

bool tl_run_compute(struct tl_run *run, uint32_t node)
{
    const struct tl_plan_node *n = &run->plan->nodes[node];
    struct tl_compute c;
    if (run->exec->results && (run == run->root || run->open))
        return look(run, n, &c) && compute_kept(run, node, &c);
    if (!tl_run_compute_plain(run, n))
        return false;
    tl_run_computed(run, node, NULL);
    return true;
}

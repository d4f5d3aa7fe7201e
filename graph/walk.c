/* Walking: a run in memory, of which all that comes only computes, goes along the plan's order. What a node needs stands before it, so that nobody need be told of
 * its end, and nothing is written but values: the states of nodes stay as they were made, and those behind run->walked are done. While it walks, the run's next
 * node alone stands among its ready ones, for the executor to find the run. */
#include "graph/state.h"

enum { WALK_NODES = 32 /* at once; then whoever walks looks whether another waits */ };

void tl_run_walk_begin(struct tl_run *run)
{
    run->walking = !run->exec->results && !run->root->journal && !run->nest_step && run->plan->nwanted;
}

static void arrive(struct tl_run *run)
{
    struct tl_ready *r = &run->ready[TL_CLASS_CPU];
    run->walking = false;
    run->left -= run->walked;
    run->ndone += run->walked;
    run->progress += run->walked;
    r->head = r->tail = UINT32_MAX;
}

void tl_run_walk_leave(struct tl_run *run)
{
    const struct tl_plan *plan = run->plan;
    arrive(run);
    tl_run_count_waiting(run);
    for (uint32_t k = 0; k < run->walked; k++) {
        const struct tl_plan_node *n = &plan->nodes[plan->order[k]];
        struct tl_node_state *s = &run->nodes[plan->order[k]];
        s->status = TL_NODE_DONE;
        s->attempts = 1;
        s->progress = 1;
        for (uint32_t c = 0; c < n->nconsumers; c++)
            run->nodes[plan->consumers[n->first_consumer + c]].waiting--;
    }
    for (uint32_t k = run->walked; k < plan->nwanted; k++)
        if (!run->nodes[plan->order[k]].waiting)
            tl_run_queue(run, plan->order[k]);
}

bool tl_run_walk(struct tl_run *run)
{
    const struct tl_plan *plan = run->plan;
    uint32_t end = plan->nwanted - run->walked < WALK_NODES ? plan->nwanted : run->walked + WALK_NODES;
    for (; run->walked < end; run->walked++) {
        const struct tl_plan_node *n = &plan->nodes[plan->order[run->walked]];
        if ((n->op->flags & (TL_OP_PURE | TL_OP_ROUTES)) != TL_OP_PURE || !tl_run_compute_plain(run, n)) {
            tl_run_walk_leave(run);
            return false;
        }
    }
    if (end == plan->nwanted) {
        arrive(run);
        return false;
    }
    struct tl_ready *r = &run->ready[TL_CLASS_CPU];
    r->head = r->tail = plan->order[end];
    run->nodes[plan->order[end]].next_ready = UINT32_MAX;
    return true;
}

/* Inside of planning: what is needed while a plan is made, and not afterwards. */
#ifndef TL_GRAPH_MAKER_H
#define TL_GRAPH_MAKER_H

#include "graph/params.h"
#include "graph/plan.h"

/* What all nodes of an op without shape() share; of other ops each node has its own. */
struct tl_kind {
    const struct tl_op *op;
    const struct tl_shape *shape; /* of the plan's arena, like out */
    const struct tl_port *const *in, *const *out;
    uint32_t nin, nout, nparams;
    struct tl_value *usual; /* the parameters' defaults, owned; NULL where the kind is of one node */
    uint32_t next_plain;    /* the next kind that is shared, or UINT32_MAX */
    uint8_t hash[32];
};

struct tl_maker {
    struct tl_plan *plan;
    struct tl_doc *doc; /* its arena serves for what is needed for a while */
    struct tl_plan_node *nodes;
    struct tl_plan_port *ports; /* of all nodes, in order */
    struct tl_value *params;
    uint32_t *first_port;
    const struct tl_graph_env *env;
    struct tl_diag *diag;
    bool *wanted;
    struct tl_kind *kinds;
    size_t nkinds, kinds_cap;
    uint32_t first_plain;
    uint32_t *kind_of; /* per node; UINT32_MAX where it is not wanted or its ports are not known */
    struct {
        struct tl_jtext type;
        uint32_t kind;
    } recent[64]; /* types that were looked up, by their hash */
    uint32_t
        digested[64]; /* nodes whose digests were made from parameters alone, by kind and first parameter; index + 1 */
    struct tl_shared shared;
    struct tl_jread reader;
    char path[96];
    uint32_t *edge_port,
        *edge_out; /* per edge: into ports, and the output of its source; UINT32_MAX where it does not count */
    uint32_t *first_in, *edges_in; /* edges by target, where they are needed */
};

/* Every node's op, shape and ports; room for their values. */
int tl_maker_kinds(struct tl_maker *m);
/* Every wanted node's parameters, literals and policy. */
int tl_maker_data(struct tl_maker *m);
/* Tells every cycle among the wanted nodes; first_in and edges_in are there. */
int tl_maker_cycles(struct tl_maker *m);
/* The digests of all wanted nodes; their edges are known. */
int tl_maker_digests(struct tl_maker *m);
void tl_maker_clear(struct tl_maker *m);
/* "$.nodes[i]" and what is below; valid until the next call. */
const char *tl_maker_path(struct tl_maker *m, uint32_t i, const char *below, const char *key);

#endif

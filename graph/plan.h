/* A checked graph, ready to run: every node with its op, ports, parameters, producers and consumers, in topological order. Immutable
 * once made, so one plan may serve many runs on many threads. Making one is how a graph is checked: all problems are reported together. */
#ifndef TL_GRAPH_PLAN_H
#define TL_GRAPH_PLAN_H

#include "graph/doc.h"
#include "graph/policy.h"
#include "graph/value.h"
#include "wire/op.h"

/* What a graph may use and what it is asked to be. */
struct tl_graph_env {
    const struct tl_op *(*find_op)(void *arg, const char *name); /* NULL for an unknown one */
    void *arg;          /* handed to find_op and, as tl_shape_req.env, to shape() */
    bool allow_private; /* a capsule's private graph: what planning makes of its texts is wiped */
    bool admin;         /* admin parameters exist */
    const struct tl_port *in,
        *out;       /* a nested graph's own ports, for its "graph.input" and "graph.output" nodes; NULL in a canvas */
    unsigned depth; /* of a body (graph/body.h) within bodies; 0 in a canvas and in a capsule's graph */
};

struct tl_plan_port {
    const struct tl_port *def;
    const struct tl_value *literal;  /* from data.inputs, where no edge comes in; NULL where there is none */
    uint32_t first_source, nsources; /* into plan->sources: where its value comes from */
};

struct tl_plan_source {
    uint32_t node;
    uint32_t out;   /* index among the producer's outputs */
    uint32_t value; /* place among the outputs of all nodes */
};

/* Two cache lines; what a run looks at for every node is in the first. */
struct tl_plan_node {
    const struct tl_op *op;
    const struct tl_shape *shape;  /* shared by all nodes of an op without shape(); NULL where the node is not wanted */
    const struct tl_plan_port *in; /* inputs in the order of the shape's ports */
    const struct tl_value *params; /* one per shape->params, defaults filled in */
    const struct tl_policy *policy; /* from data.policy; NULL: tl_policy_of_op(op) */
    uint32_t nin, nout;
    uint32_t first_out;                  /* place of its first output among the outputs of all nodes */
    uint32_t first_consumer, nconsumers; /* into plan->consumers: distinct nodes that wait for this one */
    uint32_t nproducers;                 /* distinct nodes this one waits for */

    const char *id;
    const json_t *data; /* of an op with shape(), for it to read again when it runs; NULL for others */
    const struct tl_port *const *out;
    uint32_t nparams;
    bool wanted; /* an ancestor of a target, or a target */
    /* What its results depend on besides the values on its edges. BLAKE2b-256 over its kind, the tl_value_hash of each parameter in order, and for each input
     * port that has a literal and no edge, in order, the port's index (32-bit LE) and the literal's tl_value_hash. Its kind is the BLAKE2b-256 over "talos-node-1",
     * op name, revision (32-bit LE), identity (empty for none), then for each parameter its name, an empty field, and for each input port
     * its name; all length-prefixed. Zeros where the node is not wanted. */
    uint8_t digest[32];
};

struct tl_plan {
    struct tl_arena arena;
    const struct tl_plan_node *nodes;
    uint32_t nnodes, nwanted;
    uint32_t ntotal;       /* nodes, with those of the graphs that they hold */
    uint32_t nouts;        /* outputs of all nodes */
    const uint32_t *order; /* the wanted nodes, topologically */
    const struct tl_plan_source *sources;
    const uint32_t *consumers;
    uint32_t input_node, output_node; /* a nested graph's ends, or UINT32_MAX */
    struct tl_idmap ids;              /* nodes by id */
    /* What a receipt names, hex: BLAKE2b-256 over per node in order its length-prefixed id, its digest, and per input port the number of its edges and for each the
     * producer's index and output (all 32-bit LE). */
    char hash[65];
    bool wipe; /* its texts are overwritten when they are given back: of a private graph */
    _Atomic int refs;
};

/* Checks and plans the text of a document: what is wrong with its form and what is wrong with its meaning are reported together. targets: node ids whose
 * ancestors are wanted, NULL for all. TL_EINVAL with problems, TL_ENOMEM; *ret is returned owned on 0 only. The text is not needed afterwards. */
int tl_plan_text(const char *text, size_t len, const struct tl_graph_env *env, const char *const *targets,
                 size_t ntargets, struct tl_plan **ret, struct tl_diag *diag);
/* The same for a document that is there as JSON. Borrows json. */
int tl_plan_json(const json_t *json, const struct tl_graph_env *env, const char *const *targets, size_t ntargets,
                 struct tl_plan **ret, struct tl_diag *diag);
struct tl_plan *tl_plan_ref(struct tl_plan *plan);
void tl_plan_unref(struct tl_plan *plan); /* NULL accepted */
/* Index of a node by id, UINT32_MAX where there is none. */
uint32_t tl_plan_find(const struct tl_plan *plan, const char *id);

/* Checks one object of parameters against a list, for nodes and for capsule calls alike: unknown names, wrong types, ranges, steps, options and missing
 * ones, all reported. values holds one per parameter, filled with the default where absent; the caller clears them. */
int tl_params_check(const struct tl_param *params, bool admin, const json_t *given, const char *node, const char *path,
                    struct tl_value *values, struct tl_diag *diag);
/* The same rules as JSON, for node-types and public specs: [{"name","type","min",…}]; admin ones only where admin. Returned owned. */
json_t *tl_params_json(const struct tl_param *params, bool admin);
json_t *tl_ports_json(const struct tl_port *ports, bool out);

#endif

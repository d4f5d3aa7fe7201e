/* What an op is: its name, ports, parameters and functions, as one constant table entry. The same table yields the checks of a graph,
 * GET /api/v1/node-types and the documentation. A node whose ports depend on its data (a capsule, the ends of a nested graph) has shape(). */
#ifndef TL_WIRE_OP_H
#define TL_WIRE_OP_H

#include "wire/type.h"

#include <stddef.h>
#include <stdint.h>

struct json_t;
struct tl_arena;
struct tl_diag;
struct tl_graph_env; /* graph/plan.h */
struct tl_op_ctx; /* graph/op_ctx.h */
struct tl_compute; /* graph/compute.h */
struct tl_value; /* graph/value.h */

enum tl_port_flags {
    TL_PORT_OUT = 1,      /* an output; otherwise an input */
    TL_PORT_REQUIRED = 2, /* an input that must be connected or given in data.inputs */
    TL_PORT_MULTI = 4,    /* an input that takes several edges: its value is the list, in the order of the edges */
    TL_PORT_EITHER = 8,   /* of the inputs that have it exactly one must be connected or given; it is then as a required one */
};

/* A list of ports ends with a NULL name. */
struct tl_port {
    const char *name;
    enum tl_type type;
    uint32_t flags;
    const char *doc; /* one line for the person on the canvas, or NULL */
};

enum tl_param_type { TL_P_NUMBER, TL_P_ENUM, TL_P_BOOLEAN, TL_P_STRING, TL_P_JSON };

enum tl_param_flags {
    TL_PARAM_ADMIN = 1,    /* visible and settable in admin mode only; to others it does not exist */
    TL_PARAM_REQUIRED = 2, /* has no default */
};

/* A list of parameters ends with a NULL name. */
struct tl_param {
    const char *name;
    enum tl_param_type type;
    uint32_t flags;
    double min, max,
        step; /* TL_P_NUMBER: closed range; step 0 means any value. TL_P_STRING: max is the longest length in
                                 * bytes, 0 means TL_PARAM_STRING_MAX */
    const char *const *options; /* TL_P_ENUM: NULL-terminated */
    const char *default_json;   /* JSON text of the default ("0.7", "\"slow\""), or NULL for none */
    const char *doc;
};

enum { TL_PARAM_STRING_MAX = 65536 };

enum tl_op_flags {
    TL_OP_PURE =
        1, /* outputs depend on inputs, parameters and revision only: results may be reused by any run of the organisation */
    TL_OP_NET = 2,     /* waits for the network */
    TL_OP_WORKER = 4,  /* its work is done in a talos-worker process */
    TL_OP_PRIVATE = 8, /* may stand in a capsule's private graph only */
    TL_OP_UPSTREAM =
        16, /* reads the outputs of all its ancestors (tl_op_upstream), so its result depends on them too */
    TL_OP_QUICK = 32,  /* takes some microseconds: not worth handing to another thread */
    TL_OP_EFFECT = 64, /* changes something outside: that it began is on disk before run() is called (tl_op_interrupted) */
    TL_OP_ROUTES = 128, /* an output that it leaves unset is a branch not taken: what needs it is skipped */
    TL_OP_COMPOSITE = 256, /* waits for what it holds, or for a person: has no timeout of its own unless its node says one */
};

/* What an op takes of the machine; each class has a limit of its own (graph/run.h). */
enum tl_op_class { TL_CLASS_CPU, TL_CLASS_MEDIA, TL_CLASS_NET, TL_CLASS_COUNT };

/* What one node looks like from outside. Memory is the arena's or static. */
struct tl_shape {
    const struct tl_port *ports;
    const struct tl_param *params;
    const char
        *identity; /* what pins this node besides op and revision (a capsule's digest and pattern version), or NULL */
    const char *label;            /* what tells it from other nodes of its op in words (a capsule's "id@version"), or NULL */
    const char *params_path;      /* where in data the parameters stand; NULL means "params" */
    void *priv;                   /* whatever the op wants to find again at run time; borrowed from the arena */
    uint32_t max_upstream;        /* most edges into the node in all; 0 means no limit */
    uint32_t inner_nodes;         /* of the graph that the node holds, and of those within it */
};

struct tl_shape_req {
    void *env;        /* what the owner of the graph handed in (graph/plan.h) */
    const struct tl_graph_env *graph; /* what the graph around may use, for an op that holds a graph itself */
    const char *node; /* node id, for problems */
    const char *path; /* JSON path of data, for problems */
    const struct json_t *data;
    struct tl_arena *arena; /* lives as long as the plan */
    struct tl_diag *diag;
};

enum { TL_OP_PENDING = 1 }; /* run() returns it where the result comes later by tl_op_done() */

struct tl_op {
    const char *name;  /* "media.analyze" */
    uint32_t revision; /* raised whenever the same inputs would give other outputs */
    uint32_t flags;
    const char *title, *doc; /* for the palette */
    const struct tl_port *ports;
    const struct tl_param *params;
    const char *const *data_keys; /* keys that data may have besides those of every node (params, inputs, policy, label, ui), ended by NULL; NULL for none */
    size_t priv_size; /* bytes of zeroed private state, tl_op_priv() */
    int (*shape)(const struct tl_shape_req *req,
                 struct tl_shape *ret); /* optional; 0 or a negative error with problems in req->diag */
    int (*prepare)(struct tl_op_ctx *); /* optional */
    int (*run)(struct tl_op_ctx *); /* 0, TL_OP_PENDING or a negative error; on an executor thread, must not block */
    void (*cleanup)(struct tl_op_ctx *); /* optional; once, after the last callback, whatever happened */
    /* Optional, for TL_OP_PURE | TL_OP_QUICK: run() without a context (graph/compute.h). out: one per output port. Called with the run's lock held, so it takes some
     * microseconds at most and waits for nothing. Non-zero: out is as it was, and run() is called, which says what is wrong. */
    int (*compute)(const struct tl_compute *c, struct tl_value *out);
    void (*unshape)(struct tl_shape *shape); /* optional; with the plan's end: releases what shape() put into priv */
};

static inline enum tl_op_class tl_op_class(const struct tl_op *op)
{
    return op->flags & TL_OP_WORKER ? TL_CLASS_MEDIA : op->flags & TL_OP_NET ? TL_CLASS_NET : TL_CLASS_CPU;
}

#endif

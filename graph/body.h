/* Bodies: a graph within a node, with ports that the node declares. data.ports {"in":[{"name","type","required"?}],"out":[{"name","type"}]} and
 * data.graph {"nodes","edges"} with at most one graph.input and one graph.output. A body is checked with the graph around it and planned once; all its
 * runs share the plan, which lives as long as the plan around it. */
#ifndef TL_GRAPH_BODY_H
#define TL_GRAPH_BODY_H

#include "graph/op_ctx.h"

enum {
    TL_BODY_PORTS_MAX = 64,
    TL_BODY_NAME_MAX = 64,
    TL_BODY_DEEPER_MAX = 1024 * 1024, /* bytes of a body that lies too deep, up to which it is checked all the same */
};

/* First member of what an op with a body keeps in shape.priv; released by tl_body_unshape. */
struct tl_body {
    struct tl_plan *plan;           /* NULL where the body has problems: the plan around it then fails */
    const struct tl_port *in, *out; /* as declared, each ended by a NULL name */
    uint32_t nin, nout;
    bool pure; /* all that it holds is */
};

/* Reads a list of declared ports (data.ports.in or .out, data.form) at path.key. No list: none. All problems are reported: TL_EINVAL. */
int tl_body_ports(const struct tl_shape_req *req, const json_t *list, const char *key, uint32_t flags,
                  const struct tl_port **ret, uint32_t *ret_n);
/* Reads the ports alone: TL_EINVAL where they are not sound. */
int tl_body_read_ports(const struct tl_shape_req *req, struct tl_body *ret);
/* Checks and plans the body. Its problems go to req->diag, node "outer/inner" and path "$.nodes[3].data.graph.nodes[0]…"; TL_ENOMEM otherwise. */
int tl_body_plan(const struct tl_shape_req *req, struct tl_body *body);
void tl_body_unshape(struct tl_shape *shape);
/* A problem of data.key. Returns TL_EINVAL. */
int tl_body_problem(const struct tl_shape_req *req, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Ports of the node: more inputs and outputs (ended by NULL names) and then the body's. What is in both is a problem. NULL on want of memory. */
const struct tl_port *tl_body_join(const struct tl_shape_req *req, const struct tl_port *own, const struct tl_port *in,
                                   const struct tl_port *out);
/* What pins the results: the body, its ports, and the keys of data that are named (ended by NULL). NULL on want of memory. */
const char *tl_body_identity(const struct tl_shape_req *req, const struct tl_body *body, const char *const *keys);

/* A value out of JSON for a port: as tl_value_from_json, but JSON never becomes a medium by its form, for a hash is no right to a blob. JSON null: no value. */
int tl_body_value(enum tl_type type, json_t *j, struct tl_value *ret, const char **ret_why);
/* Fails ctx with what failed in a body: "item 3, node "grade": sentence". Returns result->err. */
int tl_body_fail(struct tl_op_ctx *ctx, const char *what, uint64_t number, const struct tl_nested_result *result);

#endif

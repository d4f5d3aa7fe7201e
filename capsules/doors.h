/* The doors to the executor: how a canvas run and a capsule call become a document and a plan, and how their public
 * ending looks. The same functions serve HTTP, the command line and going on after a crash, so that no door has rules
 * of its own. */
#ifndef TL_CAPSULES_DOORS_H
#define TL_CAPSULES_DOORS_H

#include "capsules/services.h"
#include "graph/run.h"
#include "store/text.h"

/* Run kinds, as stored. */
#define TL_KIND_CANVAS "canvas"
#define TL_KIND_CAPSULE "capsule"

/* The document of a canvas run, {"graph","targets"|absent,"admin"}, with the graph in it. targets: JSON array of node ids or NULL. Returned
 * owned; NULL on want of memory. */
json_t *tl_cap_canvas_doc(json_t *graph, json_t *targets, bool admin);
/* The same with the graph's text named by its hash (store/text.h): {"doc": hex,"targets"|absent,"admin"}. */
json_t *tl_cap_named_doc(const uint8_t hash[TL_TEXT_HASH], json_t *targets, bool admin);
/* The plan of such a document; text NULL: of the text that the store has (TL_ENOTFOUND). Plans are kept: most runs of a canvas neither read nor check
 * its graph. TL_EINVAL with problems. */
int tl_cap_plan_named(struct tl_services *services, const char *org, const json_t *doc, const char *text, size_t len,
                      struct tl_plan **ret, struct tl_diag *diag);

/* The document and the record's meta of a capsule call, from the body of POST /api/v1/capsules/run (seed §5.1). Reports
 * unknown fields and wrong types in the body all at once. canvas_graph: the canvas that canvas_id names, or NULL.
 * Without one the graph is the capsule node alone, with upstream_context as sent. With one, the graph is the canvas,
 * its node node_id carrying the request's capsule, inputs and params (inputs that are sent win over edges), and the
 * only target is node_id. TL_EINVAL with problems; TL_ENOTFOUND where the canvas has no such node. */
int tl_cap_call_doc(json_t *body, json_t *canvas_graph, bool admin, json_t **ret_doc, json_t **ret_meta,
                    struct tl_diag *diag);

/* Both at once: the document, its meta and its plan, with all problems of the body and of what it names reported
 * together, by JSON paths into the body
 * ("$.params.style_intensity"). On 0 all three are returned owned. TL_EINVAL, TL_ENOTFOUND (no such node in the
 * canvas), TL_ECAPSULE, TL_ENOMEM. */
int tl_cap_call_plan(struct tl_services *services, const char *org, json_t *body, json_t *canvas_graph, bool admin,
                     json_t **ret_doc, json_t **ret_meta, struct tl_plan **ret_plan, struct tl_diag *diag);

/* tl_exec_conf.cache_key, with arg a struct tl_services *. */
int tl_cap_cache_key(void *services, const char *org, uint8_t ret[32]);

/* tl_exec_conf.replan and .complete, with arg a struct tl_services *. replan is also how a graph is checked. complete
 * makes, for a capsule call,
 * {"summary","evidence_refs","token_usage":{"input","output","total"},"latency_ms","cost_usd_est","version"} from its
 * node; for a canvas {"outputs":{node:{port:value}},…the same usage fields}. */
int tl_cap_replan(void *services, const char *org, const char *kind, json_t *doc, struct tl_plan **ret,
                  struct tl_diag *diag);
int tl_cap_complete(void *services, const struct tl_run *run, struct tl_str *payload);
/* Checks a public graph's text: TL_EINVAL with problems. */
int tl_cap_check_canvas(struct tl_services *services, const char *org, const char *graph, size_t len, bool admin,
                        struct tl_diag *diag);

#endif

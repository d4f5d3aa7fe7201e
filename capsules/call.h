/* The pieces of a capsule call, private to doors.c: the request's form, its document, and problems put in the request's
 * own words. */
#ifndef TL_CAPSULES_CALL_H
#define TL_CAPSULES_CALL_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>

enum { TL_CALL_CONTEXT_MAX = 256 * 1024, TL_CALL_CONTEXT_DEPTH = 16 };

#define TL_CALL_NODE "capsule" /* id of the only node of a call without a canvas */

/* Reports what is wrong with the body's form. */
void tl_call_check(const json_t *body, struct tl_diag *diag);
/* The document from what is usable of the body; see tl_cap_call_doc. */
int tl_call_doc(const json_t *body, json_t *canvas, bool admin, json_t **ret_doc, json_t **ret_meta,
                struct tl_diag *diag);
/* Puts the problems of the called node, from the from-th on, in terms of the body. */
void tl_call_translate(struct tl_diag *diag, size_t from, const char *node, bool in_canvas_graph);

#endif

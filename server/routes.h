/* What the groups of endpoints use of one another. */
#ifndef TL_SERVER_ROUTES_H
#define TL_SERVER_ROUTES_H

#include "server/state.h"

/* Stores a new canvas and answers 201 with it. graph has been checked for form. */
void tl_canvas_create(struct tl_req *req, const char *name, const json_t *graph);
/* The graph of the asker's canvas; TL_ENOTFOUND for ids of any shape. *ret owned. */
int tl_canvas_graph(struct tl_req *req, const char *id, json_t **ret);
/* 202 with the run's id. */
void tl_run_reply_queued(struct tl_req *req, const struct tl_id *run);
/* Answers GET …/stream and POST …/cancel of the run that the first parameter names. */
void tl_run_stream(struct tl_req *req);
void tl_run_reply_cancel(struct tl_req *req);
/* Answers with a blob: ranges, If-None-Match, a harmless Content-Type. name may be NULL. */
void tl_blob_reply(struct tl_req *req, const char *sha256, const char *content_type, const char *name);

#endif

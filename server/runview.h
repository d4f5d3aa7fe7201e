/* Runs as answers show them: the record of any run, and the shape of a capsule call (seed §5.1). The text of ended runs is kept until
 * retention cuts them. */
#ifndef TL_SERVER_RUNVIEW_H
#define TL_SERVER_RUNVIEW_H

#include "server/state.h"

int tl_run_text_new(struct tl_run_text **ret);
void tl_run_text_free(struct tl_run_text *cache);

/* Answers GET /api/v1/runs/{id}. Service thread. */
void tl_runview_reply_record(struct tl_req *req);
/* Answers with a capsule call: 200 where the run has ended, pending where it goes on; 404 for an unknown run, a foreign one, and one that is no capsule
 * call. Any thread. */
void tl_runview_reply_call(struct tl_req *req, const struct tl_id *run, int pending);
/* Answers 202 with a capsule call that nobody waits for, even if it has ended meanwhile. Any thread. */
void tl_runview_reply_begun(struct tl_req *req, const struct tl_id *run);
/* Answers with how a run of any kind has ended, {"run_id","status","result"}: 200; or with {"run_id","status"}, pending, where it goes on. Any thread. */
void tl_runview_reply_end(struct tl_req *req, const struct tl_id *run, int pending);
/* Whether org's run is known and a capsule call. 0, TL_ENOTFOUND or another error. */
int tl_runview_find_call(struct tl_server *srv, const char *org, const char *run, struct tl_id *ret);
bool tl_runview_ended(struct tl_server *srv, const struct tl_id *run);
/* The record without its nodes; TL_ENOTFOUND for another organisation's. *ret owned. */
int tl_runview_record(struct tl_db *db, const char *org, const struct tl_id *run, json_t **ret);
bool tl_run_status_ended(const char *status);

#endif

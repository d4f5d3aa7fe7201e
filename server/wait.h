/* Calls that wait for a run to end without holding a thread. */
#ifndef TL_SERVER_WAIT_H
#define TL_SERVER_WAIT_H

#include "server/state.h"

/* Calls reply(req, run, 202) once the run has ended, or after the time that a call may wait: it answers 200 or, where the run goes on, 202. Takes a reference of
 * req. Any thread. */
void tl_wait_run(struct tl_req *req, const struct tl_id *run, void (*reply)(struct tl_req *req, const struct tl_id *run, int pending));
/* Service thread. */
void tl_wait_sweep(struct tl_server *srv, int64_t now_ms);
/* Lets go of all; nothing is answered. */
void tl_wait_clear(struct tl_server *srv);

#endif

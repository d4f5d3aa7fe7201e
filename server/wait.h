/* Calls that wait for a run to end without holding a thread. */
#ifndef TL_SERVER_WAIT_H
#define TL_SERVER_WAIT_H

#include "server/state.h"

/* Answers req with the run's capsule view once it has ended: 200, or 202 after the time that a call may wait. Takes a reference of req. Any thread. */
void tl_wait_run(struct tl_req *req, const struct tl_id *run);
/* Service thread. */
void tl_wait_sweep(struct tl_server *srv, int64_t now_ms);
/* Lets go of all; nothing is answered. */
void tl_wait_clear(struct tl_server *srv);

#endif

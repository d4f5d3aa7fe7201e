/* Threads for requests: functions that parse, plan and read, apart from the threads that run nodes, so that neither keeps the other from the machine for longer than the
 * system's scheduler does. Those that may read much have a lane, and a thread, of their own: they wait for one another only. */
#ifndef TL_GRAPH_LANES_H
#define TL_GRAPH_LANES_H

#include <stdbool.h>
#include <stddef.h>

enum tl_lane { TL_LANE_REQUESTS, TL_LANE_LONG, TL_LANE_COUNT };
enum { TL_LANE_MAX = 10000 /* functions that wait in one lane */ };

struct tl_lanes;

/* threads: of the lane of requests; 0: none at all, tl_lanes_step does the work. */
int tl_lanes_new(unsigned threads, struct tl_lanes **ret);
/* Runs what waits, takes nothing more, ends the threads. NULL accepted. */
void tl_lanes_free(struct tl_lanes *lanes);
int tl_lanes_post(struct tl_lanes *lanes, enum tl_lane lane, void (*fn)(void *arg), void *arg); /* TL_ENOMEM; TL_EAGAIN where too many wait */
bool tl_lanes_step(struct tl_lanes *lanes); /* without threads: runs one; false where none waits */

#endif

/* Timers by a monotonic clock in microseconds: one heap, one thread that fires what is due. A manual set has no thread: its owner fires. */
#ifndef TL_GRAPH_TIMER_H
#define TL_GRAPH_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_timer {
    int64_t due_us;
    void (*fn)(struct tl_timer *timer); /* without a lock held; the timer is no longer armed and may be armed again or freed */
    size_t place;                       /* in the heap, from 1; 0: not armed */
};

struct tl_timers;

/* now(arg) is the clock. */
int tl_timers_new(int64_t (*now)(void *arg), void *arg, bool manual, struct tl_timers **ret);
/* Ends the thread; no timer is fired any more. What is still armed is forgotten. */
void tl_timers_free(struct tl_timers *timers);
int tl_timers_arm(struct tl_timers *timers, struct tl_timer *timer); /* due_us and fn are set; TL_ENOMEM */
bool tl_timers_cancel(struct tl_timers *timers, struct tl_timer *timer); /* true where it was armed and will not fire */
/* Fires the first timer that is due. False where none is. */
bool tl_timers_fire(struct tl_timers *timers);
int64_t tl_timers_next(struct tl_timers *timers); /* INT64_MAX where there is none */

#endif

/* Who waits for news of a run: streams and calls that wait for an ending. News arrives on the database's writer thread and is handed out on the service
 * thread; between the two lies one bit per followed run, so that nothing queues up however fast events come. */
#ifndef TL_SERVER_FOLLOW_H
#define TL_SERVER_FOLLOW_H

#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>

struct tl_follows; /* opaque */
struct tl_followed;

struct tl_follower {
    /* Service thread: there is more to read; ended: the terminal event is there. May remove this follower, and no other. */
    void (*wake)(struct tl_follower *f, bool ended);
    struct tl_followed *of; /* NULL while it follows nothing */
    struct tl_follower *prev, *next;
};

struct tl_follows *tl_follows_new(void);
void tl_follows_free(struct tl_follows *all); /* NULL accepted; nobody follows any more */

/* Service thread. Read the journal once after adding: what was published before is not announced again. */
int tl_follow_add(struct tl_follows *all, struct tl_follower *f, const struct tl_id *run);
void tl_follow_remove(struct tl_follows *all, struct tl_follower *f);
size_t tl_follow_count(const struct tl_follows *all);

/* Any thread. Whether the service thread must be woken to call tl_follow_dispatch. */
bool tl_follow_notify(struct tl_follows *all, const struct tl_id *run, bool ended);
/* Service thread: wakes the followers of runs with news, for a few milliseconds. Whether it must be called again soon to go on. */
bool tl_follow_dispatch(struct tl_follows *all);

#endif

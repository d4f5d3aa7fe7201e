/* How the command line's main thread waits: for another thread's poke, for Ctrl-C or SIGTERM, or for time to pass. */
#ifndef TL_CLI_WAIT_H
#define TL_CLI_WAIT_H

#include <stdbool.h>

struct tl_cli_wait {
    int poked;   /* eventfd */
    int signals; /* signalfd */
};

enum tl_cli_wait_what { TL_WAIT_TIME = 0, TL_WAIT_POKE = 1, TL_WAIT_SIGNAL = 2 };

/* From here on SIGINT, SIGTERM and SIGHUP arrive by tl_cli_wait_for only: call it before any thread is made, for they inherit that. TL_EIO. */
int tl_cli_wait_init(struct tl_cli_wait *w);
void tl_cli_wait_release(struct tl_cli_wait *w);
void tl_cli_wait_poke(struct tl_cli_wait *w); /* any thread */
/* A signal comes before a poke; pokes since the last call are one. timeout_ms -1: without end. */
enum tl_cli_wait_what tl_cli_wait_for(struct tl_cli_wait *w, int timeout_ms);

#endif

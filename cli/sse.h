/* Reading a Server-Sent Events stream: bytes in, whole events out. */
#ifndef TL_CLI_SSE_H
#define TL_CLI_SSE_H

#include "base/str.h"

enum { TL_SSE_MAX_EVENT = 64 * 1024 * 1024 }; /* bytes of one event's data */

/* Init to {0}. */
struct tl_cli_sse {
    struct tl_str line, data, id;
    bool after_cr, has_data;
};
/* Calls event for each event with data; id is the last one seen ("" where there was none). A negative answer ends the reading and is handed back. TL_ETOOBIG,
 * TL_ENOMEM. */
int tl_cli_sse_feed(struct tl_cli_sse *sse, const char *bytes, size_t len,
                    int (*event)(void *arg, const char *id, const char *data, size_t len), void *arg);
void tl_cli_sse_clear(struct tl_cli_sse *sse);

#endif

/* The events of a run as one client follows them: a cursor into the journal. SSE and WebSocket both read through it, so they cannot disagree. */
#ifndef TL_SERVER_STREAM_H
#define TL_SERVER_STREAM_H

#include "base/diag.h"
#include "base/id.h"
#include "base/str.h"
#include "store/db.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TL_STREAM_CHUNK = 16 * 1024, /* events are gathered up to this many bytes per write */
    TL_STREAM_EVENTS = 256,      /* and up to this many events */
    TL_STREAM_PIECE = 60 * 1024, /* a longer event is sent in pieces, so that no client makes the server hold more */
};

struct tl_stream {
    struct tl_id run;
    uint64_t cursor; /* seq of the last event read whole */
    size_t skip;     /* bytes of the next one that have been read already */
    bool over;       /* the terminal event has been read: nothing follows */
};

/* A stream of org's run from its beginning, or after the cursor where one is given as text (NULL: none). TL_ENOTFOUND for an unknown or foreign run;
 * TL_EINVAL with a problem for a cursor that is malformed or beyond the run's last event: what such a client has seen is not this
 * journal, so it must start again from 0. *ret owned. */
int tl_stream_open(struct tl_db *db, const char *org, const char *run, const char *cursor, struct tl_stream **ret,
                   struct tl_diag *diag);
void tl_stream_free(struct tl_stream *s); /* NULL accepted */

enum tl_stream_form { TL_STREAM_SSE, TL_STREAM_WS };

/* What one read gave. */
struct tl_stream_batch {
    struct tl_str text;
    size_t pad;  /* bytes left free before each piece (WS), or before the text (SSE) */
    size_t size; /* bytes of events in text */
    size_t n;
    struct {
        size_t at, len;
        bool first, last; /* of its event */
    } pieces[TL_STREAM_EVENTS];
};

/* Reads what follows the cursor, at most a chunk, but at least a piece of an event where there is one, and moves the cursor. SSE: the text from
 * pad on is ready to be sent. WS: each piece lies at pieces[i]. batch->text is emptied first; its memory is kept. */
int tl_stream_read(struct tl_db *db, struct tl_stream *s, enum tl_stream_form form, struct tl_stream_batch *batch);

/* Whether an event type ends a run. */
bool tl_event_terminal(const char *type, size_t len);
/* The type of a stored event; "" where there is none. Borrowed from json. */
const char *tl_event_type(const char *json, size_t len, size_t *ret_len);

#endif

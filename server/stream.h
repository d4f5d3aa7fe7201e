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
    TL_STREAM_CHUNK = 32 * 1024, /* events are gathered up to this many bytes per write */
    TL_STREAM_PIECES = 256,      /* and up to this many pieces */
    TL_STREAM_PIECE = 16 * 1024, /* a longer event is sent in pieces, so that no client makes the server hold more */
};

struct tl_stream {
    struct tl_id run;
    uint64_t cursor; /* seq of the last event read whole */
    size_t skip;     /* bytes of the next one that have been read already */
    bool over;       /* the terminal event has been read: nothing follows */
    bool in_reset;   /* the event that skip counts in is a run.reset */
};

/* A stream of org's run from its beginning, or after the cursor where one is given as text (NULL: none). TL_ENOTFOUND for an unknown or foreign run;
 * TL_EINVAL with a problem for a cursor that is malformed or beyond the run's last event: what such a client has seen is not this
 * journal, so it must start again from 0. *ret owned. */
int tl_stream_open(struct tl_db *db, const char *org, const char *run, const char *cursor, struct tl_stream **ret,
                   struct tl_diag *diag);
void tl_stream_free(struct tl_stream *s); /* NULL accepted */

enum tl_stream_form { TL_STREAM_SSE, TL_STREAM_WS };

/* What follows a cursor, as it goes over the wire: the same bytes for every follower that stands there. */
struct tl_stream_batch {
    struct tl_stream from; /* the cursor */
    enum tl_stream_form form;
    struct tl_str text;
    bool all; /* there was no more when it was read */
    size_t n; /* 0: nothing */
    struct {
        size_t end;             /* in text */
        struct tl_stream after; /* the cursor of who has had all up to here */
    } pieces[TL_STREAM_PIECES]; /* SSE: bytes; WS: frames, each with its head */
};

/* Fills the batch with what follows the cursor, at most a chunk. One that begins there already is kept as it is: whoever keeps batches empties
 * them (tl_stream_batch_clear) before it tells followers of news, as more may follow then. The cursor stays where it is. TL_ECONFLICT: retention has cut off
 * the event that was being sent; the client must come again with its cursor, and gets the run.reset. */
int tl_stream_read(struct tl_db *db, const struct tl_stream *s, enum tl_stream_form form, struct tl_stream_batch *batch);
/* Moves the cursor behind the first n bytes of the batch. WS: behind the frame that was begun; returns how many bytes of it must still follow. */
size_t tl_stream_sent(struct tl_stream *s, const struct tl_stream_batch *batch, size_t n);
void tl_stream_batch_clear(struct tl_stream_batch *batch); /* keeps its memory */
void tl_stream_batch_release(struct tl_stream_batch *batch);

/* Whether an event type ends a run. */
bool tl_event_terminal(const char *type, size_t len);
/* The type of a stored event; "" where there is none. Borrowed from json. */
const char *tl_event_type(const char *json, size_t len, size_t *ret_len);

#endif

/* What server and talos-worker say to each other: job envelopes (runs-api-and-slides.md B.1) and the messages about them, each one
 * frame on a stream socket: 4-byte little-endian length, then that many bytes of JSON; file descriptors ride on the first byte (SCM_RIGHTS).
 *
 * server → worker   {"type":"job","envelope":{…}}  with descriptors: first the inputs, then the outputs, in the envelope's order
 *                   {"type":"cancel","job_id":"…"}
 * worker → server   {"type":"ready","pid":n,"ops":["media.probe",…]}
 *                   {"type":"progress","job_id":"…","done":n,"total":n,"message":"…"}   done/total in the op's unit (frames)
 *                   {"type":"done","job_id":"…","output":{…}}
 *                   {"type":"failed","job_id":"…","code":"MEDIA_INVALID","message":"…"}
 *                   {"type":"cancelled","job_id":"…"}
 *
 * envelope.inputs: {"params":{…},"files":[{"name":port,"fd":k}],"outputs":[{"name":port,"fd":k}]}; fd counts the descriptors sent along.
 */
#ifndef TL_WIRE_JOB_H
#define TL_WIRE_JOB_H

#include "base/id.h"

#include <jansson.h>
#include <stddef.h>

enum { TL_FRAME_MAX = 16 * 1024 * 1024, TL_FRAME_FDS = 16 };

struct tl_frame {
    json_t *json; /* owned */
    int fds[TL_FRAME_FDS];
    size_t nfds; /* owned descriptors, close-on-exec */
};

/* Writes a whole frame to a stream socket, waiting at most timeout_ms (-1 for ever). Borrows all. TL_ETIMEOUT, TL_EIO, TL_ETOOBIG. */
int tl_frame_send(int sock, const json_t *json, const int *fds, size_t nfds, int timeout_ms);

/* Gathers frames from a socket. Init to {0}. */
struct tl_frame_reader {
    unsigned char *buf;
    size_t len, cap;
    int fds[TL_FRAME_FDS];
    size_t fd_at[TL_FRAME_FDS]; /* where in buf the frame begins that each descriptor came with */
    size_t nfds;
};
/* Reads what there is (one recvmsg). 0, TL_EAGAIN where there was nothing, TL_EIO at the end of the stream or on an error. */
int tl_frame_fill(struct tl_frame_reader *r, int sock);
/* Takes the next complete frame. 0 with *ret owned, TL_EAGAIN where none is complete, TL_EINVAL where it is malformed or too large. */
int tl_frame_next(struct tl_frame_reader *r, struct tl_frame *ret);
void tl_frame_clear(struct tl_frame *f);
void tl_frame_reader_clear(struct tl_frame_reader *r);

/* Makes an envelope with all common fields of B.1; ids and hash as text, NULL where not known (written as null). inputs is taken. */
json_t *tl_job_envelope(const char *job_id, const char *job_type, const char *org, const char *run_id,
                        const char *step_key, int attempt, const char *input_hash, json_t *inputs);

#endif

/* A request as data, and its one reply. Handlers see nothing of sockets: they read a tl_req and answer it once, from any thread, now or
 * later. Whoever made the request (the connection layer, or a test) says in deliver what becomes of the reply. */
#ifndef TL_SERVER_REQ_H
#define TL_SERVER_REQ_H

#include "base/diag.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/token.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tl_server;
struct tl_route;
struct tl_stream;

enum tl_method {
    TL_M_NONE = 0,
    TL_M_GET = 1,
    TL_M_HEAD = 2,
    TL_M_POST = 4,
    TL_M_PUT = 8,
    TL_M_PATCH = 16,
    TL_M_DELETE = 32,
    TL_M_OPTIONS = 64
};

enum {
    TL_REQ_PARAMS = 4,  /* {…} in a route's pattern */
    TL_REQ_QUERY = 16,  /* name=value pairs of a query; more are refused */
    TL_REQ_ROOM = 1536,
    TL_REQ_ID_TEXT = 37 /* "req_" and 32 hex digits: always the same length, so that answers of one kind have one length */
};

/* The token that was verified last on a connection: the next request mostly brings the same. */
struct tl_seen {
    char *text; /* owned; NULL: none */
    struct tl_claims claims;
};

struct tl_pair {
    const char *name, *value;
};

/* Header values, trimmed; NULL where absent. Borrowed from the arena. */
struct tl_req_headers {
    const char *authorization, *cookie, *origin, *host, *content_type, *if_match, *if_none_match, *if_range, *range,
        *last_event_id, *idempotency_key, *filename, *admin_mode;
};

enum tl_reply_kind { TL_REPLY_NONE, TL_REPLY_TEXT, TL_REPLY_FILE, TL_REPLY_STREAM };

struct tl_reply {
    enum tl_reply_kind kind;
    int status;
    const char *content_type; /* static or the arena's; NULL where there is no body */
    struct tl_str headers;    /* further header lines, each ended by CRLF */
    char *text;               /* owned */
    int fd;                   /* owned, TL_REPLY_FILE: len bytes from offset */
    uint64_t offset, len;
    struct tl_stream *stream; /* owned, TL_REPLY_STREAM: events of a run follow */
};

struct tl_req {
    _Atomic int refs;
    struct tl_server *srv;
    struct tl_arena arena; /* for the thread that works on the request; see tl_req_alloc */
    enum tl_method method;
    const char *path; /* decoded, begins with a slash */
    struct tl_pair query[TL_REQ_QUERY];
    size_t nquery;
    struct tl_req_headers head;
    int64_t began_us; /* monotonic */
    uint64_t content_length;
    const struct tl_route *route;
    size_t route_index; /* in tl_routes; one past them where there is none */
    const char *params[TL_REQ_PARAMS]; /* what the pattern's {…} stand for, in order */
    struct tl_claims claims;           /* who asks; role TL_ROLE_NONE on public routes */
    struct tl_seen *seen;              /* the connection's last token; NULL: none is kept. Service thread, until the request is admitted */
    bool admin;                        /* X-Admin-Mode, with the role for it */
    bool by_cookie;
    bool again; /* its handler was called a second time, as what it looked at had changed */
    char id[TL_REQ_ID_TEXT];
    char *body; /* owned, NUL-terminated; NULL where there is none */
    size_t body_len, body_cap;
    size_t body_counted; /* of it, in the server's body_bytes */

    void *ctx; /* what the handler keeps over several steps */
    void (*ctx_free)(void *ctx);

    struct tl_reply reply;
    atomic_flag replied;
    void (*deliver)(struct tl_req *req); /* called once, by whoever replied; the reply is complete then */
    void *sink;                          /* deliver's own */
    uint32_t slot, generation;           /* the connection, for the connection layer */
    struct tl_req *next;                 /* queue of replies */
    size_t room_used;
    _Alignas(16) char room[TL_REQ_ROOM]; /* last, not zeroed: most requests need no more memory than this */
};

/* A request with one reference and a fresh id; NULL on want of memory. */
struct tl_req *tl_req_new(struct tl_server *srv, void (*deliver)(struct tl_req *req), void *sink);
struct tl_req *tl_req_ref(struct tl_req *req);
void tl_req_unref(struct tl_req *req); /* NULL accepted; any thread */

/* Memory that lives as long as the request, not zeroed; NULL on want of it. For the thread that works on the request. */
void *tl_req_alloc(struct tl_req *req, size_t size);
/* Lets go of the body, where there is one. */
void tl_req_drop_body(struct tl_req *req);
char *tl_req_strndup(struct tl_req *req, const char *s, size_t len);

/* Value of a query parameter, NULL where absent. */
const char *tl_req_query(const struct tl_req *req, const char *name);
/* Reports each query parameter that is not in the NULL-terminated list. */
void tl_req_only_query(const struct tl_req *req, const char *const *allowed, struct tl_diag *diag);
/* ?limit= (1 to 200, 50 where absent), reported where it is not one. */
size_t tl_req_limit(const struct tl_req *req, struct tl_diag *diag);
/* The body as a JSON object; TL_EINVAL with problems. An empty body is {} where empty_ok. *ret owned. */
int tl_req_json(struct tl_req *req, bool empty_ok, json_t **ret, struct tl_diag *diag);

/* The same where one of its values may be large: the text of the value of key is passed over and not built, and is not in *ret. ret_text, empty where there
 * is no such key, is a piece of the body. */
struct tl_jtext;
int tl_req_json_but(struct tl_req *req, bool empty_ok, const char *key, struct tl_jtext *ret_text, json_t **ret, struct tl_diag *diag);

/* A header line of the reply; before it. Control characters are dropped. */
void tl_req_header(struct tl_req *req, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The reply: the first one counts, further ones are dropped (their parts released). */
void tl_reply_json(struct tl_req *req, int status, json_t *takes);
void tl_reply_text(struct tl_req *req, int status, const char *content_type, char *takes, size_t len);
void tl_reply_file(struct tl_req *req, int status, const char *content_type, int takes_fd, uint64_t offset, uint64_t len);
void tl_reply_empty(struct tl_req *req, int status);
void tl_reply_stream(struct tl_req *req, struct tl_stream *takes);
/* The error envelope; err picks code and status, fmt the sentence (NULL: the table's). */
void tl_reply_err(struct tl_req *req, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with details.problems. An empty diag gives empty details. */
void tl_reply_diag(struct tl_req *req, int err, const struct tl_diag *diag);
/* The error envelope alone, for whoever answers without a request. Returned owned. */
char *tl_error_text(int err, const char *message, const struct tl_diag *diag, const char *request_id);
void tl_request_id(char ret[TL_REQ_ID_TEXT]);

#endif

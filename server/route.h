/* The one table of routes: what there is, who may use it, how large a body may be, what comes back. It dispatches requests and makes
 * /openapi.json, so that the two cannot disagree. */
#ifndef TL_SERVER_ROUTE_H
#define TL_SERVER_ROUTE_H

#include "server/req.h"

enum tl_route_flags {
    TL_R_POOL = 1,       /* handled on a pool thread: it parses or computes */
    TL_R_PUBLIC = 2,     /* no token needed */
    TL_R_SSE = 4,        /* answers with an event stream */
    TL_R_WS = 8,         /* a WebSocket; only the upgrade is handled */
    TL_R_IDEMPOTENT = 16, /* takes an Idempotency-Key */
    TL_R_IF_MATCH = 32,  /* takes If-Match */
    TL_R_RANGE = 64,     /* takes Range */
    TL_R_EMPTY_OK = 128, /* the body may be left out */
    TL_R_NO_DOC = 256,   /* a page for people, not in the document */
    TL_R_LONG = 512,     /* with TL_R_POOL: may read much, so it waits for others of its kind, and nobody for it */
};

/* For bodies that are not gathered: begin may answer at once (an error), then no chunk comes; the route's handle is called after the
 * last chunk, unless the request was answered before. Service thread. */
struct tl_body_sink {
    void (*begin)(struct tl_req *req);
    void (*chunk)(struct tl_req *req, const char *bytes, size_t len);
};

struct tl_route_answer {
    int status; /* 0 ends the list */
    const char *schema; /* component name; NULL: no body */
    const char *type;   /* NULL: application/json */
    const char *doc;
};

struct tl_route {
    enum tl_method method;
    const char *pattern; /* "/api/v1/runs/{id}"; {name} stands for one non-empty segment, {node} for one or more */
    enum tl_role role;   /* at least */
    unsigned flags;
    uint64_t max_body;
    void (*handle)(struct tl_req *req);
    const struct tl_body_sink *sink;
    const char *name, *summary;
    const char *query;     /* names of query parameters, separated by blanks */
    const char *body;      /* schema of the body; NULL: none */
    const char *body_type; /* NULL: application/json; several separated by blanks */
    struct tl_route_answer answers[4];
};

/* A group's routes, ended by a NULL pattern. */
extern const struct tl_route tl_routes_system[], tl_routes_capsules[], tl_routes_canvases[], tl_routes_runs[], tl_routes_files[];

enum { TL_ROUTE_MAX = 64 };
/* All routes in one list; *ret_count of them. */
const struct tl_route *const *tl_routes(size_t *ret_count);

/* Finds the route of req->method and req->path, fills route and params. 0; TL_ENOTFOUND; TL_EMETHOD, then *ret_allow has the methods there are. HEAD finds
 * GET's route. */
int tl_route_find(struct tl_req *req, unsigned *ret_allow);
const char *tl_method_name(enum tl_method method);
/* "GET, HEAD, POST" */
void tl_method_list(unsigned methods, struct tl_str *ret);

#endif

#include "server/conn.h"

#include "base/err.h"

#include <string.h>
#include <strings.h>

static char *trimmed(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = '\0';
    return s;
}

/* Several headers of one name come joined by commas. */
static const char *header(struct tl_req *req, struct lws *wsi, enum lws_token_indexes token)
{
    int len = lws_hdr_total_length(wsi, token);
    if (len <= 0)
        return NULL;
    char *s = tl_req_alloc(req, (size_t)len + 8);
    return s && lws_hdr_copy(wsi, s, len + 8, token) >= 0 ? trimmed(s) : "";
}

/* name is in lower case, with its colon. */
static const char *custom(struct tl_req *req, struct lws *wsi, const char *name)
{
    int n = (int)strlen(name), len = lws_hdr_custom_length(wsi, name, n);
    if (len <= 0)
        return NULL;
    char *s = tl_req_alloc(req, (size_t)len + 1);
    return s && lws_hdr_custom_copy(wsi, s, len + 1, name, n) >= 0 ? trimmed(s) : "";
}

static const struct {
    int lws; /* what lws_http_get_uri_and_method says */
    enum lws_token_indexes token;
    enum tl_method method;
} methods[] = {
    {LWSHUMETH_GET, WSI_TOKEN_GET_URI, TL_M_GET},          {LWSHUMETH_POST, WSI_TOKEN_POST_URI, TL_M_POST},
    {LWSHUMETH_OPTIONS, WSI_TOKEN_OPTIONS_URI, TL_M_OPTIONS}, {LWSHUMETH_PUT, WSI_TOKEN_PUT_URI, TL_M_PUT},
    {LWSHUMETH_PATCH, WSI_TOKEN_PATCH_URI, TL_M_PATCH},    {LWSHUMETH_DELETE, WSI_TOKEN_DELETE_URI, TL_M_DELETE},
    {LWSHUMETH_HEAD, WSI_TOKEN_HEAD_URI, TL_M_HEAD},
};

/* libwebsockets has decoded the path and cut it at "&" and ";" into pieces; a path with more than one piece is none of ours. */
static int read_path(struct tl_req *req, struct lws *wsi, const char **why)
{
    char *uri = NULL;
    int len = 0, m = lws_http_get_uri_and_method(wsi, &uri, &len);
    for (size_t i = 0; m >= 0 && uri && i < TL_ARRAY_LEN(methods); i++) {
        if (methods[i].lws != m)
            continue;
        req->method = methods[i].method;
        size_t n = strnlen(uri, (size_t)len);
        req->path = tl_req_strndup(req, uri, n);
        if (!req->path)
            return TL_ENOMEM;
        if (!tl_utf8_valid(req->path, n)) {
            *why = "the path is not UTF-8";
            return TL_EINVAL;
        }
        return lws_hdr_fragment_length(wsi, methods[i].token, 1) > 0 ? TL_ENOTFOUND : 0;
    }
    *why = "the method is not known";
    return TL_EINVAL;
}

static int read_query(struct tl_req *req, struct lws *wsi, const char **why)
{
    int len;
    for (int i = 0; (len = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i)) > 0; i++) {
        char *s = tl_req_alloc(req, (size_t)len + 2);
        if (!s || lws_hdr_copy_fragment(wsi, s, len + 2, WSI_TOKEN_HTTP_URI_ARGS, i) < 0)
            return TL_ENOMEM;
        *why = "the query has too many parameters or is not UTF-8";
        if (req->nquery == TL_REQ_QUERY || !tl_utf8_valid(s, strlen(s)))
            return TL_EINVAL;
        char *eq = strchr(s, '=');
        if (eq)
            *eq = '\0';
        *why = "a query parameter is given twice";
        if (tl_req_query(req, s))
            return TL_EINVAL;
        req->query[req->nquery++] = (struct tl_pair){s, eq ? eq + 1 : ""};
    }
    return 0;
}

/* Also where it is there and empty. */
static bool present(struct lws *wsi, enum lws_token_indexes token)
{
    char none[1];
    return lws_hdr_total_length(wsi, token) > 0 || lws_hdr_copy_fragment(wsi, none, sizeof(none), token, 0) >= 0;
}

/* What libwebsockets takes for a header of its own name, and others for this one. */
static bool spelled_oddly(struct lws *wsi)
{
    static const char *const names[] = {"transfer-encoding :", "transfer-encoding\t:", "content-length :", "content-length\t:"};
    for (size_t i = 0; i < TL_ARRAY_LEN(names); i++)
        if (lws_hdr_custom_length(wsi, names[i], (int)strlen(names[i])) >= 0)
            return true;
    return false;
}

/* Digits only: two lengths come as "5,5" and are refused like every other spelling. */
static int read_length(struct tl_req *req, struct lws *wsi, const char **why)
{
    char text_room[64], *text = text_room;
    *why = "there is a blank before the colon of a header";
    if (spelled_oddly(wsi))
        return TL_EINVAL;
    *why = NULL;
    if (present(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        return TL_ELENGTH;
    if (!present(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH))
        return 0;
    int len = lws_hdr_copy(wsi, text, sizeof(text_room), WSI_TOKEN_HTTP_CONTENT_LENGTH);
    bool whole = len > 0 && strlen(text) == (size_t)len; /* nothing behind a NUL */
    text = whole ? trimmed(text) : text;
    size_t n = whole ? strlen(text) : 0;
    if (n == 0 || n > 15 || strspn(text, "0123456789") != n) {
        *why = "Content-Length is not one whole number";
        return TL_EINVAL;
    }
    req->content_length = strtoull(text, NULL, 10);
    return 0;
}

int tl_head_read(struct tl_conn *c, struct tl_req **ret, const char **ret_why, bool *ret_expect)
{
    struct lws *wsi = c->wsi;
    struct tl_req *req = *ret = tl_req_new(c->http->srv, tl_req_deliver, c->http);
    *ret_why = NULL;
    *ret_expect = false;
    if (!req)
        return TL_ENOMEM;
    req->seen = &c->seen;
    req->slot = c->slot;
    req->generation = c->generation;
    req->head = (struct tl_req_headers){
        .authorization = header(req, wsi, WSI_TOKEN_HTTP_AUTHORIZATION),
        .cookie = header(req, wsi, WSI_TOKEN_HTTP_COOKIE),
        .origin = header(req, wsi, WSI_TOKEN_ORIGIN),
        .host = header(req, wsi, WSI_TOKEN_HOST),
        .content_type = header(req, wsi, WSI_TOKEN_HTTP_CONTENT_TYPE),
        .if_match = header(req, wsi, WSI_TOKEN_HTTP_IF_MATCH),
        .if_none_match = header(req, wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH),
        .if_range = header(req, wsi, WSI_TOKEN_HTTP_IF_RANGE),
        .range = header(req, wsi, WSI_TOKEN_HTTP_RANGE),
        .last_event_id = custom(req, wsi, "last-event-id:"),
        .idempotency_key = custom(req, wsi, "idempotency-key:"),
        .filename = custom(req, wsi, "x-filename:"),
        .admin_mode = custom(req, wsi, "x-admin-mode:"),
    };
    const char *expect = header(req, wsi, WSI_TOKEN_HTTP_EXPECT);
    *ret_expect = expect && strcasecmp(expect, "100-continue") == 0;
    int path_err = read_path(req, wsi, ret_why), err = read_length(req, wsi, ret_why);
    if (!req->path)
        req->path = "/";
    if (err == 0 && path_err < 0)
        err = path_err;
    return err < 0 ? err : read_query(req, wsi, ret_why);
}

static const struct {
    int status;
    const char *text;
} reasons[] = {{200, "OK"},
               {201, "Created"},
               {202, "Accepted"},
               {204, "No Content"},
               {206, "Partial Content"},
               {303, "See Other"},
               {304, "Not Modified"},
               {400, "Bad Request"},
               {401, "Unauthorized"},
               {403, "Forbidden"},
               {404, "Not Found"},
               {405, "Method Not Allowed"},
               {409, "Conflict"},
               {411, "Length Required"},
               {412, "Precondition Failed"},
               {413, "Payload Too Large"},
               {415, "Unsupported Media Type"},
               {416, "Range Not Satisfiable"},
               {422, "Unprocessable Entity"},
               {429, "Too Many Requests"},
               {500, "Internal Server Error"},
               {502, "Bad Gateway"},
               {503, "Service Unavailable"},
               {504, "Gateway Timeout"},
               {507, "Insufficient Storage"}};

static const char *reason(int status)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status";
}

/* A small writer without formats: it is on the way of every answer. */
struct out {
    char *at, *end;
    bool full;
};

static void put(struct out *o, const char *s, size_t n)
{
    if ((size_t)(o->end - o->at) < n) {
        o->full = true;
        return;
    }
    memcpy(o->at, s, n);
    o->at += n;
}

static void puts_out(struct out *o, const char *s)
{
    put(o, s, strlen(s));
}

static void put_number(struct out *o, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do
        digits[sizeof(digits) - ++n] = (char)('0' + v % 10);
    while ((v /= 10));
    put(o, digits + sizeof(digits) - n, n);
}

size_t tl_head_write(const struct tl_req *req, bool close_after, char *ret, size_t cap)
{
    const struct tl_reply *r = &req->reply;
    struct out o = {ret, ret + cap, false};
    puts_out(&o, "HTTP/1.1 ");
    put_number(&o, (uint64_t)r->status);
    puts_out(&o, " ");
    puts_out(&o, reason(r->status));
    if (r->content_type) {
        puts_out(&o, "\r\nContent-Type: ");
        puts_out(&o, r->content_type);
    }
    if (r->kind != TL_REPLY_STREAM && r->status != 204 && r->status != 304) {
        puts_out(&o, "\r\nContent-Length: ");
        put_number(&o, r->len);
    }
    puts_out(&o, "\r\nX-Request-Id: ");
    puts_out(&o, req->id);
    puts_out(&o, "\r\nX-Content-Type-Options: nosniff\r\n");
    if (!r->headers.data || !strstr(r->headers.data, "Cache-Control:"))
        puts_out(&o, "Cache-Control: no-store\r\n");
    if (close_after)
        puts_out(&o, "Connection: close\r\n");
    if (r->headers.len)
        put(&o, r->headers.data, r->headers.len);
    puts_out(&o, "\r\n");
    return o.full || r->headers.err ? 0 : (size_t)(o.at - ret);
}

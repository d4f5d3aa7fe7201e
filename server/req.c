#include "server/req.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/jread.h"
#include "base/hash.h"
#include "server/state.h"
#include "server/stream.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A random half for this process and a counter: unique without asking the system for randomness each time. */
void tl_request_id(char ret[TL_REQ_ID_TEXT])
{
    static _Atomic uint64_t prefix, count;
    uint64_t p = atomic_load(&prefix);
    if (!p) {
        uint64_t fresh;
        tl_random(&fresh, sizeof(fresh));
        fresh |= 1;
        if (atomic_compare_exchange_strong(&prefix, &p, fresh))
            p = fresh;
    }
    uint64_t n = atomic_fetch_add(&count, 1);
    memcpy(ret, "req_", 4);
    for (int i = 0; i < 16; i++) {
        ret[4 + i] = "0123456789abcdef"[p >> (60 - 4 * i) & 15];
        ret[20 + i] = "0123456789abcdef"[n >> (60 - 4 * i) & 15];
    }
    ret[36] = '\0';
}

struct tl_req *tl_req_new(struct tl_server *srv, void (*deliver)(struct tl_req *req), void *sink)
{
    struct tl_req *req = malloc(sizeof(*req));
    if (!req)
        return NULL;
    memset(req, 0, offsetof(struct tl_req, room));
    req->refs = 1;
    if (srv)
        atomic_fetch_add(&srv->requests, 1);
    req->srv = srv;
    req->deliver = deliver;
    req->sink = sink;
    req->reply.fd = -1;
    req->began_us = tl_mono_us();
    tl_routes(&req->route_index);
    tl_request_id(req->id);
    return req;
}

struct tl_req *tl_req_ref(struct tl_req *req)
{
    atomic_fetch_add(&req->refs, 1);
    return req;
}

static void reply_clear(struct tl_reply *r)
{
    tl_str_clear(&r->headers);
    free(r->text);
    tl_close_fd(&r->fd);
    tl_stream_free(r->stream);
}

void tl_req_unref(struct tl_req *req)
{
    if (!req || atomic_fetch_sub(&req->refs, 1) != 1)
        return;
    if (req->ctx_free)
        req->ctx_free(req->ctx);
    reply_clear(&req->reply);
    tl_wipe(&req->claims, sizeof(req->claims));
    tl_req_drop_body(req);
    tl_arena_clear(&req->arena);
    struct tl_server *srv = req->srv;
    free(req);
    if (srv)
        atomic_fetch_sub(&srv->requests, 1);
}

void tl_req_drop_body(struct tl_req *req)
{
    if (req->body_counted)
        atomic_fetch_sub(&req->srv->body_bytes, req->body_counted);
    free(req->body);
    req->body = NULL;
    req->body_len = req->body_cap = req->body_counted = 0;
}

void *tl_req_alloc(struct tl_req *req, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof(req->room) - req->room_used)
        return tl_arena_alloc(&req->arena, size);
    void *p = req->room + req->room_used;
    req->room_used += size;
    return p;
}

char *tl_req_strndup(struct tl_req *req, const char *s, size_t len)
{
    char *p = tl_req_alloc(req, len + 1);
    if (p) {
        memcpy(p, s, len);
        p[len] = '\0';
    }
    return p;
}

const char *tl_req_query(const struct tl_req *req, const char *name)
{
    for (size_t i = 0; i < req->nquery; i++)
        if (strcmp(req->query[i].name, name) == 0)
            return req->query[i].value;
    return NULL;
}

void tl_req_only_query(const struct tl_req *req, const char *const *allowed, struct tl_diag *diag)
{
    for (size_t i = 0; i < req->nquery; i++) {
        bool known = false;
        for (size_t k = 0; allowed[k] && !known; k++)
            known = strcmp(allowed[k], req->query[i].name) == 0;
        if (!known)
            tl_diag_add(diag, NULL, req->query[i].name, NULL, "unknown query parameter");
    }
}

size_t tl_req_limit(const struct tl_req *req, struct tl_diag *diag)
{
    const char *text = tl_req_query(req, "limit");
    if (!text)
        return 50;
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end || n > 200) {
        tl_diag_add(diag, NULL, "limit", NULL, "limit must be a whole number from 1 to 200");
        return 50;
    }
    return n;
}

int tl_req_json(struct tl_req *req, bool empty_ok, json_t **ret, struct tl_diag *diag)
{
    *ret = NULL;
    if (req->body_len == 0 && empty_ok)
        return (*ret = json_object()) ? 0 : TL_ENOMEM;
    if (req->body_len == 0)
        return tl_diag_add(diag, NULL, NULL, "$", "the body must be a JSON object; it is empty");
    int err = tl_json_parse(req->body, req->body_len, ret, diag);
    if (err < 0)
        return err;
    if (!json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return tl_diag_add(diag, NULL, NULL, "$", "the body must be a JSON object");
    }
    return 0;
}

/* What stands between two members of an object is not part of either. */
static struct tl_jtext member(const char *from, const char *to)
{
    while (from < to && strchr(" \t\r\n,", *from))
        from++;
    return (struct tl_jtext){from, (size_t)(to - from)};
}

int tl_req_json_but(struct tl_req *req, bool empty_ok, const char *key, struct tl_jtext *ret_text, json_t **ret, struct tl_diag *diag)
{
    struct tl_jread r;
    struct tl_arena arena TL_CLEANUP(tl_arena_clear) = {0};
    struct tl_str rest TL_CLEANUP(tl_str_clear) = {0};
    struct tl_jtext name, value;
    *ret_text = (struct tl_jtext){0};
    tl_jread_init(&r, req->body ? req->body : "", req->body_len, &arena);
    if (tl_jread_kind(&r) != TL_J_OBJECT) {
        tl_jread_finish(&r, NULL);
        return tl_req_json(req, empty_ok, ret, diag);
    }
    *ret = NULL;
    tl_jread_object(&r);
    tl_str_puts(&rest, "{");
    for (const char *from = r.at; tl_jread_key(&r, &name) && tl_jread_skip(&r, &value); from = r.at) {
        struct tl_jtext whole = member(from, r.at);
        if (tl_jtext_is(name, key)) {
            *ret_text = value;
            continue;
        }
        tl_str_puts(&rest, rest.len > 1 ? "," : "");
        tl_str_add(&rest, whole.s, whole.len);
    }
    tl_str_puts(&rest, "}");
    int err = tl_jread_finish(&r, diag);
    if (!err)
        err = rest.err ? TL_ENOMEM : tl_json_parse(rest.data, rest.len, ret, diag);
    if (err)
        *ret_text = (struct tl_jtext){0};
    return err;
}

void tl_req_header(struct tl_req *req, const char *name, const char *fmt, ...)
{
    struct tl_str value = {0};
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&value, fmt, ap);
    va_end(ap);
    size_t n = 0;
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] >= 0x20 && value.data[i] != 0x7f)
            value.data[n++] = value.data[i];
    if (!value.err) {
        tl_str_printf(&req->reply.headers, "%s: ", name);
        tl_str_add(&req->reply.headers, value.data, n);
        tl_str_puts(&req->reply.headers, "\r\n");
    }
    tl_str_clear(&value);
}

/* Whether this reply is the first one. */
static bool first(struct tl_req *req)
{
    return !atomic_flag_test_and_set(&req->replied);
}

void tl_reply_text(struct tl_req *req, int status, const char *content_type, char *takes, size_t len)
{
    if (!first(req)) {
        free(takes);
        return;
    }
    struct tl_reply *r = &req->reply;
    r->kind = TL_REPLY_TEXT;
    r->status = takes || !len ? status : 503;
    r->content_type = content_type;
    r->text = takes;
    r->len = takes ? len : 0;
    req->deliver(req);
}

void tl_reply_json(struct tl_req *req, int status, json_t *takes)
{
    char *text = takes ? tl_json_text(takes) : NULL;
    json_decref(takes);
    if (text)
        tl_reply_text(req, status, "application/json", text, strlen(text));
    else
        tl_reply_err(req, TL_ENOMEM, NULL);
}

void tl_reply_file(struct tl_req *req, int status, const char *content_type, int takes_fd, uint64_t offset, uint64_t len)
{
    if (!first(req)) {
        close(takes_fd);
        return;
    }
    struct tl_reply *r = &req->reply;
    r->kind = TL_REPLY_FILE;
    r->status = status;
    r->content_type = content_type;
    r->fd = takes_fd;
    r->offset = offset;
    r->len = len;
    req->deliver(req);
}

void tl_reply_empty(struct tl_req *req, int status)
{
    tl_reply_text(req, status, NULL, NULL, 0);
}

void tl_reply_stream(struct tl_req *req, struct tl_stream *takes)
{
    if (!first(req)) {
        tl_stream_free(takes);
        return;
    }
    req->reply.kind = TL_REPLY_STREAM;
    req->reply.status = 200;
    req->reply.content_type = "text/event-stream";
    req->reply.stream = takes;
    req->deliver(req);
}

char *tl_error_text(int err, const char *message, const struct tl_diag *diag, const char *request_id)
{
    json_t *details = diag && tl_diag_any(diag) ? tl_diag_json(diag) : json_object();
    TL_AUTO_JSON json_t *j =
        json_pack("{s:{s:s,s:s,s:o},s:{s:s}}", "error", "code", tl_err_code(err), "message",
                  message ? message : tl_err_text(err), "details", details, "meta", "request_id", request_id);
    return j ? tl_json_text(j) : NULL;
}

static void reply_error(struct tl_req *req, int err, const char *message, const struct tl_diag *diag)
{
    char *text = tl_error_text(err, message, diag, req->id);
    tl_reply_text(req, tl_err_http(err), "application/json", text, text ? strlen(text) : 0);
}

void tl_reply_err(struct tl_req *req, int err, const char *fmt, ...)
{
    struct tl_str text = {0};
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        tl_str_vprintf(&text, fmt, ap);
        va_end(ap);
    }
    reply_error(req, err, text.err ? NULL : text.data, NULL);
    tl_str_clear(&text);
}

void tl_reply_diag(struct tl_req *req, int err, const struct tl_diag *diag)
{
    char message[96];
    if (diag->count > 1)
        snprintf(message, sizeof(message), "%zu problems were found; details names each", diag->count + diag->dropped);
    const char *text = err != TL_EINVAL || !diag->count ? NULL : diag->count > 1 ? message : diag->items[0].message;
    reply_error(req, err, text, diag);
}

#include "cli/client.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/sse.h"
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REQUEST_MS = 10 * 60 * 1000,
    TRANSFER_MS = 6 * 60 * 60 * 1000,
    STREAM_MS = 24 * 60 * 60 * 1000,
    ANSWER_MAX = 64 * 1024 * 1024,
    RECONNECT_MS = 500,
    SILENCE_MAX_MS = 60 * 1000, /* how long a stream may stay unreachable */
};
static const size_t transfer_max = (size_t)1 << 40;

struct stream {
    char *path;
    struct tl_cli_sse sse;
    struct tl_str gathered; /* events, each a line, in order */
    char *last_id;
    bool open, ended;
    int err;
    int64_t heard_us, again_us; /* when something last came; when to connect again */
    unsigned long handle;
};

struct tl_cli_client {
    struct tl_net *net;
    char *base, *auth;
    struct tl_cli_wait *wait;
    pthread_mutex_t lock; /* guards stream, and the state of requests under way */
    struct stream stream;
};

/* One request under way. */
struct call {
    struct tl_cli_client *client;
    bool done;
    int err, status, fd;
    struct tl_str body;
};

int tl_cli_client_new(const char *server, const char *token, struct tl_cli_wait *wait, struct tl_cli_client **ret)
{
    const char *scheme = !strncmp(server, "https://", 8) ? "https://" : "http://";
    const char *host = strstr(server, "://") ? server + strlen(scheme) : server;
    if (strstr(server, "://") && strncmp(server, scheme, strlen(scheme)) != 0)
        return TL_EINVAL;
    size_t len = strcspn(host, "/?#");
    if (!len || host[len + strspn(host + len, "/")])
        return TL_EINVAL;
    struct tl_cli_client *c = tl_calloc(1, sizeof(*c));
    TL_AUTO_FREE char *where = NULL;
    if (!c)
        return TL_ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->wait = wait;
    bool port = memrchr(host, ':', len) && !(host[0] == '[' && host[len - 1] == ']');
    int err = 0;
    if (asprintf(&c->base, "%s%.*s", scheme, (int)len, host) < 0 ||
        asprintf(&where, "%.*s%s", (int)len, host,
                 port               ? ""
                 : scheme[4] == 's' ? ":443"
                                    : ":80") < 0 ||
        (token && asprintf(&c->auth, "Authorization: Bearer %s", token) < 0))
        err = TL_ENOMEM;
    const char *const trusted[] = {where, NULL};
    const struct tl_net_policy policy = {.trusted = trusted};
    err = err ? err : tl_net_new(&policy, &c->net);
    if (err < 0) {
        tl_cli_client_free(c);
        return err;
    }
    *ret = c;
    return 0;
}

void tl_cli_client_free(struct tl_cli_client *c)
{
    if (!c)
        return;
    tl_net_free(c->net); /* no callback comes after this */
    tl_cli_sse_clear(&c->stream.sse);
    tl_str_clear(&c->stream.gathered);
    free(c->stream.path);
    free(c->stream.last_id);
    free(c->base);
    free(c->auth);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int call_data(void *arg, const char *bytes, size_t len)
{
    const struct call *call = arg;
    while (len) {
        ssize_t n = write(call->fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tl_err_from_errno(errno);
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static void call_done(void *arg, int err, int status, const char *body, size_t len)
{
    struct call *call = arg;
    struct tl_cli_client *c = call->client;
    pthread_mutex_lock(&c->lock);
    call->err = err;
    call->status = status;
    if (body)
        tl_str_add(&call->body, body, len);
    call->done = true;
    tl_cli_wait_poke(c->wait); /* under the lock: call is gone once it is seen to be done */
    pthread_mutex_unlock(&c->lock);
}

/* Sends req and waits until it is done; Ctrl-C ends it. */
static int call_wait(struct tl_cli_client *c, struct tl_net_req *req, struct call *call)
{
    unsigned long handle = 0;
    req->arg = call;
    req->done = call_done;
    int err = tl_net_send(c->net, req, &handle);
    if (err < 0)
        return err;
    bool cancelled = false;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        bool done = call->done;
        pthread_mutex_unlock(&c->lock);
        if (done)
            break;
        if (tl_cli_wait_for(c->wait, -1) == TL_WAIT_SIGNAL && !cancelled) {
            cancelled = true;
            tl_net_cancel(c->net, handle);
        }
    }
    tl_cli_wait_poke(c->wait); /* what came for others meanwhile is still to be looked at */
    return cancelled ? TL_ECANCELLED : call->err;
}

/* The error that an answer with an error status carries. */
static int refusal(const struct call *call, const json_t *json)
{
    const char *code = tl_json_str(json_object_get(json, "error"), "code");
    if (code)
        return tl_err_from_code(code);
    return call->status == 401   ? TL_EAUTH
           : call->status == 404 ? TL_ENOTFOUND
           : call->status == 403 ? TL_EFORBIDDEN
                                 : TL_ETRANSIENT_IO;
}

static int answer(struct call *call, int err, json_t **ret)
{
    json_t *json = NULL;
    if (!err && call->body.err)
        err = call->body.err;
    if (!err && call->body.len)
        err = tl_json_parse(call->body.data, call->body.len, &json, NULL) < 0 ? TL_ETRANSIENT_IO : 0;
    if (call->status >= 400)
        err = refusal(call, json);
    tl_str_clear(&call->body);
    if (ret)
        *ret = json;
    else
        json_decref(json);
    return err;
}

static char *url_of(const struct tl_cli_client *c, const char *path)
{
    char *url = NULL;
    return asprintf(&url, "%s%s", c->base, path) < 0 ? NULL : url;
}

int tl_cli_client_call(struct tl_cli_client *c, const char *method, const char *path, const json_t *body, json_t **ret)
{
    if (ret)
        *ret = NULL;
    TL_AUTO_FREE char *url = url_of(c, path);
    TL_AUTO_FREE char *text = body ? tl_json_text(body) : NULL;
    if (!url || (body && !text))
        return TL_ENOMEM;
    const char *const headers[] = {c->auth ? c->auth : "Accept: application/json", "Content-Type: application/json",
                                   NULL};
    struct tl_net_req req = {.method = method,
                             .url = url,
                             .headers = headers,
                             .body = text ? text : "",
                             .body_len = text ? strlen(text) : 0,
                             .timeout_ms = REQUEST_MS,
                             .max_bytes = ANSWER_MAX};
    struct call call = {.client = c};
    return answer(&call, call_wait(c, &req, &call), ret);
}

int tl_cli_client_upload(struct tl_cli_client *c, const char *file, const char *content_type, const char *name,
                         json_t **ret)
{
    *ret = NULL;
    TL_AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return tl_err_from_errno(errno);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return TL_EINVAL;
    size_t len = (size_t)st.st_size;
    void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return TL_ENOMEM;
    TL_AUTO_FREE char *url = url_of(c, "/api/v1/files"), *type = NULL, *named = NULL;
    int err =
        url && asprintf(&type, "Content-Type: %s", content_type) >= 0 && asprintf(&named, "X-Filename: %s", name) >= 0
            ? 0
            : TL_ENOMEM;
    if (!err) {
        const char *const headers[] = {type, named, c->auth, NULL};
        struct tl_net_req req = {.method = "POST",
                                 .url = url,
                                 .headers = headers,
                                 .body = bytes,
                                 .body_len = len,
                                 .timeout_ms = TRANSFER_MS,
                                 .max_bytes = ANSWER_MAX};
        struct call call = {.client = c};
        err = answer(&call, call_wait(c, &req, &call), ret);
    }
    munmap(bytes, len);
    return err;
}

int tl_cli_client_download(struct tl_cli_client *c, const char *path, int fd)
{
    TL_AUTO_FREE char *url = url_of(c, path);
    if (!url)
        return TL_ENOMEM;
    const char *const headers[] = {c->auth, NULL};
    struct call call = {.client = c, .fd = fd};
    struct tl_net_req req = {.method = "GET",
                             .url = url,
                             .headers = headers,
                             .timeout_ms = TRANSFER_MS,
                             .max_bytes = transfer_max,
                             .data = call_data};
    return answer(&call, call_wait(c, &req, &call), NULL);
}

/* What requests and answers are made of. */

void tl_cli_client_add_segment(struct tl_str *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *p))
            tl_str_add(out, p, 1);
        else
            tl_str_printf(out, "%%%02X", (unsigned char)*p);
    }
}

void tl_cli_client_problems(const json_t *problems, struct tl_diag *diag)
{
    size_t i;
    json_t *p;
    json_array_foreach(problems, i, p) {
        const char *message = tl_json_str(p, "message");
        tl_diag_add(diag, tl_json_str(p, "node"), tl_json_str(p, "port"), tl_json_str(p, "path"), "%s",
                    message ? message : "");
    }
}

int tl_cli_client_refused(int err, const json_t *answer, struct tl_diag *diag)
{
    const json_t *error = json_object_get(answer, "error");
    const json_t *problems = json_object_get(json_object_get(error, "details"), "problems");
    tl_cli_client_problems(problems, diag);
    if (!json_array_size(problems) && tl_json_str(error, "message"))
        tl_diag_add(diag, NULL, NULL, NULL, "%s", tl_json_str(error, "message"));
    if (!error && err == TL_ETRANSIENT_IO)
        tl_diag_add(diag, NULL, NULL, NULL, "the server cannot be reached");
    return err;
}

/* The stream. */

static int stream_event(void *arg, const char *id, const char *data, size_t len)
{
    struct stream *s = arg;
    if (*id) {
        free(s->last_id);
        s->last_id = tl_strdup(id);
    }
    tl_str_add(&s->gathered, data, len);
    tl_str_add(&s->gathered, "", 1);
    return s->gathered.err;
}

static int stream_data(void *arg, const char *bytes, size_t len)
{
    struct tl_cli_client *c = arg;
    pthread_mutex_lock(&c->lock);
    size_t before = c->stream.gathered.len;
    c->stream.heard_us = tl_mono_us();
    int err = tl_cli_sse_feed(&c->stream.sse, bytes, len, stream_event, &c->stream);
    bool more = c->stream.gathered.len > before;
    pthread_mutex_unlock(&c->lock);
    if (more)
        tl_cli_wait_poke(c->wait);
    return err;
}

static void stream_done(void *arg, int err, int status, const char *body, size_t len)
{
    (void)body, (void)len;
    struct tl_cli_client *c = arg;
    pthread_mutex_lock(&c->lock);
    struct stream *s = &c->stream;
    s->open = false;
    tl_cli_sse_clear(&s->sse);
    int64_t now = tl_mono_us();
    s->again_us = now + RECONNECT_MS * 1000;
    if (status >= 400 && status < 500)
        s->err = status == 401 ? TL_EAUTH : status == 404 ? TL_ENOTFOUND : TL_EFORBIDDEN;
    else if (err < 0 && err != TL_ETRANSIENT_IO && err != TL_ETIMEOUT)
        s->err = err;
    else if (now - s->heard_us > SILENCE_MAX_MS * (int64_t)1000)
        s->err = TL_ETRANSIENT_IO;
    pthread_mutex_unlock(&c->lock);
    tl_cli_wait_poke(c->wait);
}

static int stream_open(struct tl_cli_client *c)
{
    TL_AUTO_FREE char *url = url_of(c, c->stream.path), *last = NULL;
    if (!url || (c->stream.last_id && asprintf(&last, "Last-Event-ID: %s", c->stream.last_id) < 0))
        return TL_ENOMEM;
    const char *headers[4] = {"Accept: text/event-stream"};
    size_t n = 1;
    if (c->auth)
        headers[n++] = c->auth;
    if (last)
        headers[n++] = last;
    struct tl_net_req req = {.method = "GET",
                             .url = url,
                             .headers = headers,
                             .timeout_ms = STREAM_MS,
                             .max_bytes = transfer_max,
                             .arg = c,
                             .data = stream_data,
                             .done = stream_done};
    c->stream.open = true;
    int err = tl_net_send(c->net, &req, &c->stream.handle);
    if (err < 0)
        c->stream.open = false;
    return err;
}

int tl_cli_client_follow(struct tl_cli_client *c, const char *run_id)
{
    if (asprintf(&c->stream.path, "/api/v1/runs/%s/stream", run_id) < 0) {
        c->stream.path = NULL;
        return TL_ENOMEM;
    }
    c->stream.heard_us = tl_mono_us();
    return stream_open(c);
}

int tl_cli_client_events(struct tl_cli_client *c, void (*visit)(void *arg, const char *json, size_t len), void *arg)
{
    pthread_mutex_lock(&c->lock);
    struct tl_str events = c->stream.gathered;
    c->stream.gathered = (struct tl_str){0};
    bool again = c->stream.path && !c->stream.open && !c->stream.err && tl_mono_us() >= c->stream.again_us;
    int err = c->stream.open ? 0 : c->stream.err;
    pthread_mutex_unlock(&c->lock);
    for (size_t at = 0; at < events.len; at += strlen(events.data + at) + 1)
        visit(arg, events.data + at, strlen(events.data + at));
    if (events.err)
        err = events.err;
    tl_str_clear(&events);
    return again ? stream_open(c) : err;
}

int tl_cli_client_next_ms(struct tl_cli_client *c)
{
    pthread_mutex_lock(&c->lock);
    bool closed = c->stream.path && !c->stream.open && !c->stream.err;
    int64_t left = (c->stream.again_us - tl_mono_us()) / 1000;
    pthread_mutex_unlock(&c->lock);
    return !closed ? -1 : left > 0 ? (int)left + 1 : 0;
}

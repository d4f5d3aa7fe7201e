#include "server/conn.h"

#include "base/err.h"
#include "base/mem.h"
#include "server/poll.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct tl_call {
    struct tl_call *next;
    void (*fn)(void *arg);
    void *arg;
};

/* Debian's libwebsockets calls this for every character of a request's head, only to find that nothing is to be logged. Ours takes the place
 * of its own when the program is linked: an eighth of the time of a request. */
void _lws_log(int filter, const char *format, ...)
{
    (void)filter;
    (void)format;
}

/* Coarse, as it is asked for with every callback. Never 0: that means "not set". */
static int64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1;
}

void tl_http_wake(struct tl_http *http)
{
    if (!http || atomic_exchange(&http->woken, true))
        return;
    pthread_mutex_lock(&http->lock);
    if (!http->closed)
        lws_cancel_service(http->ctx);
    pthread_mutex_unlock(&http->lock);
}

int tl_http_call(struct tl_http *http, void (*fn)(void *arg), void *arg)
{
    struct tl_call *call = tl_calloc(1, sizeof(*call));
    if (!call)
        return TL_ENOMEM;
    call->fn = fn;
    call->arg = arg;
    pthread_mutex_lock(&http->lock);
    *(http->calls_last ? &http->calls_last->next : &http->calls) = call;
    http->calls_last = call;
    pthread_mutex_unlock(&http->lock);
    tl_http_wake(http);
    return 0;
}

/* A reply may come on any thread; the service thread takes it from the queue, unless it is in the handler right now. */
void tl_req_deliver(struct tl_req *req)
{
    struct tl_http *http = req->sink;
    if (pthread_equal(pthread_self(), http->thread) && http->dispatching == req) {
        http->inline_reply = true;
        return;
    }
    tl_req_ref(req);
    pthread_mutex_lock(&http->lock);
    req->next = NULL;
    *(http->replied_last ? &http->replied_last->next : &http->replied) = req;
    http->replied_last = req;
    pthread_mutex_unlock(&http->lock);
    tl_http_wake(http);
}

static void news(struct tl_http *http)
{
    atomic_store(&http->woken, false);
    pthread_mutex_lock(&http->lock);
    struct tl_req *req = http->replied;
    struct tl_call *call = http->calls;
    http->replied = http->replied_last = NULL;
    http->calls = http->calls_last = NULL;
    pthread_mutex_unlock(&http->lock);
    while (call) {
        struct tl_call *next = call->next;
        call->fn(call->arg);
        free(call);
        call = next;
    }
    while (req) {
        struct tl_req *next = req->next;
        struct tl_conn *c = req->slot < http->nslots ? http->slots[req->slot] : NULL;
        if (c && c->generation == req->generation)
            tl_conn_replied(c, req);
        tl_req_unref(req);
        req = next;
    }
    for (size_t i = 0; i < TL_ARRAY_LEN(http->batches); i++)
        tl_stream_batch_clear(&http->batches[i]);
    if (tl_follow_dispatch(http->srv->follows))
        tl_http_wake(http);
}

static void sweep(lws_sorted_usec_list_t *sul)
{
    struct tl_http *http = lws_container_of(sul, struct tl_http, sul);
    http->now_ms = mono_ms();
    for (struct tl_conn *c = http->conns, *next; c; c = next) {
        next = c->next;
        tl_conn_sweep(c, http->now_ms);
    }
    tl_server_sweep(http->srv, http->now_ms);
    lws_sul_schedule(http->ctx, 0, sul, sweep, TL_HTTP_SWEEP_MS * LWS_US_PER_MS);
}

/* What is no HTTP at all, or a method that libwebsockets does not know, arrives as raw bytes. */
static int not_http(struct tl_http *http, struct lws *wsi)
{
    char id[TL_REQ_ID_TEXT];
    tl_request_id(id);
    TL_AUTO_FREE char *text = tl_error_text(TL_EMETHOD, "this is not a request that is known here", NULL, id);
    if (!text)
        return -1;
    char *out = (char *)http->out + LWS_PRE;
    int n = snprintf(out, TL_HTTP_OUT,
                     "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "X-Request-Id: %s\r\nConnection: close\r\n\r\n%s",
                     strlen(text), id, text);
    lws_write(wsi, http->out + LWS_PRE, (size_t)n, LWS_WRITE_RAW);
    return -1;
}

static int on_http(struct tl_http *http, struct lws *wsi, enum lws_callback_reasons why, void *in, size_t len)
{
    struct tl_conn *c = tl_conn_of(http, wsi);
    if (!c)
        return -1;
    switch (why) {
    case LWS_CALLBACK_HTTP: return tl_conn_request(c);
    case LWS_CALLBACK_HTTP_BODY: return tl_conn_body(c, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION: return tl_conn_body_end(c);
    case LWS_CALLBACK_HTTP_WRITEABLE: return tl_conn_writeable(c);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        /* Without touching the connection: a non-zero return after that is a use after free in libwebsockets (CVE-2025-11677). */
        return in && strcasecmp(in, "websocket") == 0 ? tl_ws_upgrade(c) : -1;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return http->upgrade ? 0 : -1;
    case LWS_CALLBACK_ESTABLISHED: return tl_ws_begin(c);
    case LWS_CALLBACK_RECEIVE: return tl_ws_receive(c, in, len);
    case LWS_CALLBACK_RECEIVE_PONG: tl_ws_pong(c); return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: tl_follow_remove(http->srv->follows, &c->follower); return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE: return tl_ws_writeable(c);
    default: return 0;
    }
}

static struct tl_http *http_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static int on_event(struct lws *wsi, enum lws_callback_reasons why, void *user, void *in, size_t len)
{
    struct tl_http *http;
    (void)user;
    switch (why) {
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
    case LWS_CALLBACK_HTTP_WRITEABLE:
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_RECEIVE:
    case LWS_CALLBACK_RECEIVE_PONG:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_SERVER_WRITEABLE:
        http = http_of(wsi);
        http->now_ms = mono_ms();
        return on_http(http, wsi, why, in, len);
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION: tl_poll_renewed(http_of(wsi)->poll, (int)(intptr_t)in); return 0;
    case LWS_CALLBACK_RAW_RX: return not_http(http_of(wsi), wsi);
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        http = http_of(wsi);
        http->now_ms = mono_ms();
        news(http);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY: {
        struct tl_conn *c = lws_get_opaque_user_data(wsi);
        if (c)
            tl_conn_gone(c);
        return 0;
    }
    default: return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "talos", .callback = on_event, .rx_buffer_size = TL_WS_MESSAGE + 1, .tx_packet_size = 2 * TL_HTTP_SEND},
    {.name = NULL},
};

/* Below what the process may open, with room for the database, blobs and workers. */
static unsigned connection_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur > TL_HTTP_CONNECTIONS + 512)
        return TL_HTTP_CONNECTIONS;
    return lim.rlim_cur > 512 ? (unsigned)lim.rlim_cur - 256 : (unsigned)lim.rlim_cur / 2;
}

static int listen_on(struct tl_http *http, const char *host, int port)
{
    bool all = !host || !*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0 || strcmp(host, "::") == 0;
    bool v6 = host && strchr(host, ':');
    struct lws_context_creation_info info = {
        .port = port,
        .iface = all ? NULL : strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
        .protocols = protocols,
        .vhost_name = "talos",
        .keepalive_timeout = TL_HTTP_KEEP_S,
        .options = LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND | LWS_SERVER_OPTION_FALLBACK_TO_APPLY_LISTEN_ACCEPT_CONFIG |
                   (v6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6),
        .listen_accept_role = "raw-skt",
        .listen_accept_protocol = "talos",
        .alpn = "http/1.1",
    };
    http->vhost = lws_create_vhost(http->ctx, &info);
    return http->vhost ? 0 : TL_EBUSY;
}

int tl_http_new(struct tl_server *srv, struct tl_http **ret)
{
    struct tl_http *http = *ret = tl_calloc(1, sizeof(*http));
    if (!http)
        return TL_ENOMEM;
    http->srv = srv;
    http->thread = pthread_self();
    http->now_ms = mono_ms();
    http->heartbeat_ms = srv->conf.heartbeat_ms > 0 ? srv->conf.heartbeat_ms : 15000;
    http->laggard_ms = srv->conf.laggard_ms > 0 ? srv->conf.laggard_ms : 15000;
    pthread_mutex_init(&http->lock, NULL);
    lws_set_log_level(0, NULL);
    unsigned connections = connection_limit();
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .user = http,
        .fd_limit_per_thread = connections,
        .pt_serv_buf_size = TL_HTTP_SEND,
        .max_http_header_data = TL_HTTP_HEAD_MAX,
        .max_http_header_pool2 = connections,
        .timeout_secs = TL_HTTP_BODY_IDLE_MS / 1000,
        .timeout_secs_ah_idle = TL_HTTP_HEAD_S,
        .count_threads = 1,
    };
    http->poll = tl_poll_new();
    http->out = malloc(LWS_PRE + TL_HTTP_OUT);
    http->ctx = http->out ? lws_create_context(&info) : NULL;
    int err = http->ctx ? listen_on(http, srv->conf.host, srv->conf.port) : TL_ENOMEM;
    if (err < 0) {
        tl_http_free(http);
        *ret = NULL;
    }
    return err;
}

int tl_http_port(const struct tl_http *http)
{
    return lws_get_vhost_listen_port(http->vhost);
}

size_t tl_http_connections(const struct tl_http *http)
{
    return http->nconns;
}

int tl_http_run(struct tl_http *http)
{
    http->thread = pthread_self();
    lws_sul_schedule(http->ctx, 0, &http->sul, sweep, TL_HTTP_SWEEP_MS * LWS_US_PER_MS);
    int err = 0;
    tl_poll_use(http->poll);
    while (!atomic_load(&http->stop) && err >= 0)
        err = lws_service(http->ctx, 0);
    tl_poll_use(NULL);
    lws_sul_schedule(http->ctx, 0, &http->sul, NULL, LWS_SET_TIMER_USEC_CANCEL);
    return err < 0 && !atomic_load(&http->stop) ? TL_EINTERNAL : 0;
}

void tl_http_stop(struct tl_http *http)
{
    atomic_store(&http->stop, true);
    lws_cancel_service(http->ctx);
}

void tl_http_close(struct tl_http *http)
{
    pthread_mutex_lock(&http->lock);
    struct lws_context *ctx = http->ctx;
    http->closed = true;
    pthread_mutex_unlock(&http->lock);
    lws_context_destroy(ctx);
}

void tl_http_drain(struct tl_http *http)
{
    pthread_mutex_lock(&http->lock);
    struct tl_req *req = http->replied;
    struct tl_call *call = http->calls;
    http->replied = http->replied_last = NULL;
    http->calls = http->calls_last = NULL;
    pthread_mutex_unlock(&http->lock);
    while (call) {
        struct tl_call *next = call->next;
        call->fn(call->arg); /* it owns things; what it starts is let go of by its own module */
        free(call);
        call = next;
    }
    while (req) {
        struct tl_req *next = req->next;
        tl_req_unref(req);
        req = next;
    }
}

void tl_http_free(struct tl_http *http)
{
    if (!http)
        return;
    if (http->ctx && !http->closed)
        tl_http_close(http);
    tl_http_drain(http);
    tl_stream_free(http->upgrade);
    for (size_t i = 0; i < TL_ARRAY_LEN(http->batches); i++)
        tl_stream_batch_release(&http->batches[i]);
    pthread_mutex_destroy(&http->lock);
    tl_poll_free(http->poll);
    free(http->slots);
    free(http->out);
    free(http);
}

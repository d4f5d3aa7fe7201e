#include "net/net.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/egress.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum {
    DEFAULT_TIMEOUT_MS = 60000,
    CONNECT_TIMEOUT_MS = 10000,
    DEFAULT_MAX_BYTES = 4 << 20,
    POLL_MS = 10000, /* the longest sleep; a wake-up ends it */
};

enum state { WAITING, RUNNING };

struct xfer {
    struct xfer *next;
    struct tl_net *net;
    unsigned long handle;
    enum state state;      /* of the network thread */
    int64_t due_us;        /* not before */
    bool cancelled;        /* under net->lock */
    struct tl_net_req req; /* the functions and limits; texts below */
    char *method, *url, *host_port;
    struct curl_slist *headers;
    bool has_body;
    CURL *easy;
    char *body; /* to be sent */
    struct tl_str answer;
    size_t received, header_bytes;
    bool trusted, blocked;
    int err; /* why it was ended from here */
};

struct tl_net {
    pthread_mutex_t lock;
    struct xfer *list;
    size_t waiting_or_running, running;
    unsigned long next_handle;
    bool ending;
    CURLM *multi;
    pthread_t thread;
    bool thread_runs;
    bool allow_public;
    char **trusted; /* host:port, NULL-terminated; owned */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void init_curl(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void free_xfer(struct xfer *x)
{
    if (!x)
        return;
    if (x->easy)
        curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->headers);
    free(x->method);
    free(x->url);
    free(x->host_port);
    free(x->body);
    tl_str_clear(&x->answer);
    free(x);
}

static bool allowed(struct xfer *x, bool is_public)
{
    if (x->trusted || (is_public && x->net->allow_public))
        return true;
    x->blocked = true;
    return false;
}

/* Every new connection, after the name was resolved: whatever the spelling and however often the name changes its address. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    struct xfer *x = arg;
    if (purpose != CURLSOCKTYPE_IPCXN || !allowed(x, tl_net_is_public(&addr->addr)))
        return CURL_SOCKET_BAD;
    int fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* Every request, also on a connection that another transfer opened. */
/* NOLINTNEXTLINE(readability-non-const-parameter): curl's type */
static int on_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    (void)local_ip, (void)port, (void)local_port;
    struct xfer *x = arg;
    if (!allowed(x, tl_net_is_public_text(ip)))
        return CURL_PREREQFUNC_ABORT;
    if (x->req.sending)
        x->req.sending(x->req.arg);
    return CURL_PREREQFUNC_OK;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *arg)
{
    struct xfer *x = arg;
    size_t len = size * count;
    if (len > x->req.max_bytes - x->received) {
        x->err = TL_ETOOBIG;
        return CURL_WRITEFUNC_ERROR;
    }
    x->received += len;
    if (x->req.data) {
        int err = x->req.data(x->req.arg, bytes, len);
        x->err = err < 0 ? err : 0;
    } else {
        tl_str_add(&x->answer, bytes, len);
        x->err = x->answer.err;
    }
    return x->err ? CURL_WRITEFUNC_ERROR : len;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct xfer *x = arg;
    size_t len = size * count, n = len;
    if (len > TL_NET_HEADER_BYTES - x->header_bytes) {
        x->err = TL_ETOOBIG;
        return 0;
    }
    x->header_bytes += len;
    while (n && (line[n - 1] == '\r' || line[n - 1] == '\n'))
        n--;
    if (x->req.header && n)
        x->req.header(x->req.arg, line, n);
    return len;
}

/* Sets all options; each must be understood, or the transfer is not made. */
static CURLcode set_up(struct xfer *x)
{
    CURL *e = x->easy;
    long connect_ms = x->req.timeout_ms < CONNECT_TIMEOUT_MS ? x->req.timeout_ms : CONNECT_TIMEOUT_MS;
    CURLcode rc = CURLE_OK;
#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        if (rc == CURLE_OK)                                                                                            \
            rc = curl_easy_setopt(e, option, value);                                                                   \
    } while (0)
    SET(CURLOPT_URL, x->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* nor one from the environment */
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, x);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_data);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT,
        1L); /* a transfer that ends while its name is looked up does not hold the thread until it is found */
    SET(CURLOPT_TIMEOUT_MS, x->req.timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)x->req.max_bytes);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FRESH_CONNECT, x->req.once ? 1L : 0L);
    SET(CURLOPT_USERAGENT, "talos");
    SET(CURLOPT_HTTPHEADER, x->headers);
    if (strcmp(x->method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    else if (x->has_body) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(x->req.body ? x->req.body_len : 0));
        SET(CURLOPT_POSTFIELDS, x->body);
        SET(CURLOPT_CUSTOMREQUEST, x->method);
    } else if (strcmp(x->method, "GET") != 0)
        SET(CURLOPT_CUSTOMREQUEST, x->method);
#undef SET
    return rc;
}

/* Whether err is why a transfer that curl calls failed has ended; curl's own words are for those that were not ended from here. */
static int outcome(const struct xfer *x, CURLcode rc)
{
    if (x->err)
        return x->err;
    switch (rc) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return TL_ETIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return TL_ENOMEM;
    case CURLE_FILESIZE_EXCEEDED:
        return TL_ETOOBIG;
    default:
        return x->blocked ? TL_EPOLICY : TL_ETRANSIENT_IO;
    }
}

static void finish(struct tl_net *net, struct xfer *x, int err)
{
    long status = 0;
    pthread_mutex_lock(&net->lock);
    for (struct xfer **p = &net->list; *p; p = &(*p)->next)
        if (*p == x) {
            *p = x->next;
            break;
        }
    net->waiting_or_running--;
    pthread_mutex_unlock(&net->lock);
    if (x->state == RUNNING) {
        net->running--;
        curl_multi_remove_handle(net->multi, x->easy);
    }
    if (!err)
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    if (x->req.done)
        x->req.done(x->req.arg, err, (int)status, err || !x->answer.data ? "" : x->answer.data,
                    err ? 0 : x->answer.len);
    free_xfer(x);
}

static int begin(struct tl_net *net, struct xfer *x)
{
    x->easy = curl_easy_init();
    if (!x->easy)
        return TL_ENOMEM;
    CURLcode rc = set_up(x);
    if (rc != CURLE_OK)
        return rc == CURLE_OUT_OF_MEMORY ? TL_ENOMEM : TL_EINTERNAL;
    if (curl_multi_add_handle(net->multi, x->easy) != CURLM_OK)
        return TL_ENOMEM;
    x->state = RUNNING;
    net->running++;
    return 0;
}

/* One transfer that has to begin or to end now, or NULL; *ret_sleep_us is shortened to when the next one is due. */
static struct xfer *pick(struct tl_net *net, bool *ret_cancelled, int64_t *ret_sleep_us)
{
    int64_t now = tl_mono_us();
    struct xfer *found = NULL;
    pthread_mutex_lock(&net->lock);
    for (struct xfer *x = net->list; x && !found; x = x->next) {
        *ret_cancelled = x->cancelled || net->ending;
        if (*ret_cancelled || (x->state == WAITING && x->due_us <= now && net->running < TL_NET_RUNNING_MAX))
            found = x;
        else if (x->state == WAITING && x->due_us > now && x->due_us - now < *ret_sleep_us)
            *ret_sleep_us = x->due_us - now;
    }
    pthread_mutex_unlock(&net->lock);
    return found;
}

static bool is_ending(struct tl_net *net)
{
    pthread_mutex_lock(&net->lock);
    bool ending = net->ending && !net->list;
    pthread_mutex_unlock(&net->lock);
    return ending;
}

static void *net_main(void *arg)
{
    struct tl_net *net = arg;
    while (!is_ending(net)) {
        int64_t sleep_us = POLL_MS * (int64_t)1000;
        struct xfer *x;
        bool cancelled;
        int left;
        while ((x = pick(net, &cancelled, &sleep_us)) != NULL) {
            int err = cancelled ? TL_ECANCELLED : begin(net, x);
            if (err)
                finish(net, x, err);
        }
        curl_multi_perform(net->multi, &left);
        bool ended = false;
        for (CURLMsg *m; (m = curl_multi_info_read(net->multi, &left)) != NULL;) {
            CURLcode rc = m->data.result;
            if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&x) != CURLE_OK)
                continue;
            finish(net, x, outcome(x, rc));
            ended = true;
        }
        if (!ended && !is_ending(net)) /* otherwise there is room for one that waits, or nothing to wait for */
            curl_multi_poll(net->multi, NULL, 0, (int)(sleep_us / 1000 + 1), NULL);
    }
    return NULL;
}

static int set_trusted(struct tl_net *net, const char *const *trusted)
{
    size_t n = 0;
    while (trusted && trusted[n])
        n++;
    net->trusted = tl_calloc(n + 1, sizeof(*net->trusted));
    if (!net->trusted)
        return TL_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct tl_str url = {0};
        tl_str_printf(&url, "http://%s/", trusted[i]);
        int err = url.err                   ? url.err
                  : strchr(trusted[i], '/') ? TL_EINVAL
                                            : tl_net_check_url(url.data, &net->trusted[i]);
        tl_str_clear(&url);
        if (err)
            return err;
    }
    return 0;
}

static int start_thread(struct tl_net *net)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all,
                    &old); /* signals are for the threads that expect them; inherited by the thread */
    int rc = pthread_create(&net->thread, NULL, net_main, net);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    net->thread_runs = rc == 0;
    return tl_err_from_errno(rc);
}

int tl_net_new(const struct tl_net_policy *policy, struct tl_net **ret)
{
    *ret = NULL;
    pthread_once(&curl_once, init_curl);
    if (curl_ready != CURLE_OK)
        return TL_EINTERNAL;
    struct tl_net *net = tl_calloc(1, sizeof(*net));
    if (!net)
        return TL_ENOMEM;
    pthread_mutex_init(&net->lock, NULL);
    net->allow_public = policy->allow_public;
    net->multi = curl_multi_init();
    int err = net->multi ? set_trusted(net, policy->trusted) : TL_ENOMEM;
    if (!err)
        err = start_thread(net);
    if (err) {
        tl_net_free(net);
        return err;
    }
    *ret = net;
    return 0;
}

void tl_net_free(struct tl_net *net)
{
    if (!net)
        return;
    if (net->thread_runs) {
        pthread_mutex_lock(&net->lock);
        net->ending = true;
        pthread_mutex_unlock(&net->lock);
        curl_multi_wakeup(net->multi);
        pthread_join(net->thread, NULL);
    }
    if (net->multi)
        curl_multi_cleanup(net->multi);
    for (size_t i = 0; net->trusted && net->trusted[i]; i++)
        free(net->trusted[i]);
    free(net->trusted);
    pthread_mutex_destroy(&net->lock);
    free(net);
}

long tl_net_retry_after(const char *line, size_t len)
{
    static const char name[] = "retry-after:";
    enum { MOST_SEC = 86400 };
    size_t n = sizeof(name) - 1;
    if (len <= n || strncasecmp(line, name, n) != 0)
        return -1;
    while (n < len && (line[n] == ' ' || line[n] == '\t'))
        n++;
    long sec = n < len ? 0 : -1;
    for (; n < len && sec >= 0; n++)
        sec = line[n] < '0' || line[n] > '9' ? -1 : sec < MOST_SEC ? sec * 10 + (line[n] - '0') : sec;
    return sec < 0 ? -1 : (sec < MOST_SEC ? sec : MOST_SEC) * 1000;
}

static bool is_method(const char *s)
{
    size_t n = s ? strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") : 0;
    return n > 0 && n <= 16 && s[n] == '\0';
}

/* A header is one line of text with a name. */
static bool is_header(const char *s)
{
    const char *colon = strchr(s, ':');
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' && *p != '\t')
            return false;
    return colon && colon != s && strcspn(s, " \t") > (size_t)(colon - s);
}

static int add_header(struct xfer *x, const char *line)
{
    struct curl_slist *more = curl_slist_append(x->headers, line);
    if (!more)
        return TL_ENOMEM;
    x->headers = more;
    return 0;
}

static int copy_headers(struct xfer *x, const char *const *headers)
{
    int err = add_header(x, "Expect:"); /* curl would wait a second for servers that ignore it */
    bool typed = false;
    for (size_t i = 0; !err && headers && headers[i]; i++) {
        if (i >= TL_NET_HEADERS_MAX || !is_header(headers[i]))
            return TL_EINVAL;
        typed = typed || strncasecmp(headers[i], "content-type:", 13) == 0;
        err = add_header(x, headers[i]);
    }
    return err || typed ? err : add_header(x, "Content-Type:"); /* curl would call every body a form */
}

static int copy_req(struct xfer *x, const struct tl_net_req *req)
{
    if (!is_method(req->method) || req->timeout_ms < 0 || req->delay_ms < 0)
        return TL_EINVAL;
    x->req = *req;
    x->req.timeout_ms = req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS;
    x->req.max_bytes = req->max_bytes ? req->max_bytes : DEFAULT_MAX_BYTES;
    x->has_body = (req->body && req->body_len) || strcmp(req->method, "POST") == 0 || strcmp(req->method, "PUT") == 0;
    int err = tl_net_check_url(req->url, &x->host_port);
    if (!err)
        err = copy_headers(x, req->headers);
    if (err)
        return err;
    x->method = tl_strdup(req->method);
    x->url = tl_strdup(req->url);
    x->body = x->has_body ? tl_strndup(req->body ? req->body : "", req->body ? req->body_len : 0) : NULL;
    for (size_t i = 0; x->net->trusted[i]; i++)
        if (strcmp(x->net->trusted[i], x->host_port) == 0)
            x->trusted = true;
    return x->method && x->url && (x->body || !x->has_body) ? 0 : TL_ENOMEM;
}

int tl_net_send(struct tl_net *net, const struct tl_net_req *req, unsigned long *ret_handle)
{
    struct xfer *x = tl_calloc(1, sizeof(*x));
    if (!x)
        return TL_ENOMEM;
    x->net = net;
    int err = copy_req(x, req);
    if (err) {
        free_xfer(x);
        return err;
    }
    x->due_us = tl_mono_us() + (int64_t)req->delay_ms * 1000;
    pthread_mutex_lock(&net->lock);
    if (net->waiting_or_running >= TL_NET_WAITING_MAX || net->ending) {
        err = TL_EAGAIN;
    } else {
        struct xfer **end = &net->list;
        while (*end)
            end = &(*end)->next;
        *end = x; /* first come, first served */
        x->handle = ++net->next_handle;
        net->waiting_or_running++;
        if (ret_handle)
            *ret_handle = x->handle;
    }
    pthread_mutex_unlock(&net->lock);
    if (err)
        free_xfer(x);
    else
        curl_multi_wakeup(net->multi);
    return err;
}

void tl_net_cancel(struct tl_net *net, unsigned long handle)
{
    pthread_mutex_lock(&net->lock);
    for (struct xfer *x = net->list; x; x = x->next)
        if (x->handle == handle)
            x->cancelled = true;
    pthread_mutex_unlock(&net->lock);
    curl_multi_wakeup(net->multi);
}

/* HTTP to the outside, against a server in this program that is slow, drips, lies and redirects; and where it may not go. */
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/egress.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* The server: one thread a connection, one answer a connection, chosen by the path. */
static int listener = -1, port;
static _Atomic int connections, live;
static sem_t seen; /* a request has arrived */
static char request[65536];
static pthread_mutex_t request_lock = PTHREAD_MUTEX_INITIALIZER;

static void say(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
        /* the client has gone */
    }
}

/* Waits until the other side has closed; the test decides when. */
static void until_closed(int fd)
{
    char buf[256];
    while (recv(fd, buf, sizeof(buf), 0) > 0)
        ;
}

/* A little at a time until the other side has had enough. */
static void drip(int fd, const char *piece, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    while (poll(&p, 1, ms) == 0)
        if (send(fd, piece, strlen(piece), MSG_NOSIGNAL) < 0)
            return;
}

static size_t read_request(int fd, char *buf, size_t cap)
{
    size_t len = 0, want = 0;
    for (;;) {
        ssize_t n = recv(fd, buf + len, cap - 1 - len, 0);
        if (n <= 0)
            return len;
        len += (size_t)n;
        buf[len] = '\0';
        const char *end = strstr(buf, "\r\n\r\n"), *cl = strstr(buf, "Content-Length: ");
        if (end && cl)
            want = strtoul(cl + 16, NULL, 10);
        if (end && len >= (size_t)(end + 4 - buf) + want)
            return len;
    }
}

static void answer(int fd, const char *path)
{
    if (strcmp(path, "/ok") == 0)
        say(fd, "HTTP/1.1 201 Created\r\nX-Name: value \r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    else if (strcmp(path, "/slow") == 0)
        until_closed(fd);
    else if (strcmp(path, "/drip-header") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nX-A: "), drip(fd, "a", 5);
    else if (strcmp(path, "/headers") == 0)
        say(fd, "HTTP/1.1 200 OK\r\n"), drip(fd, "X-Name: 0123456789012345678901234567890123456789012345678901234567890123\r\n", 0);
    else if (strcmp(path, "/interim") == 0)
        drip(fd, "HTTP/1.1 100 Continue\r\n\r\n", 0);
    else if (strcmp(path, "/drip") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), drip(fd, "a", 5);
    else if (strcmp(path, "/lying") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
    else if (strcmp(path, "/claims") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n0123456789"), until_closed(fd);
    else if (strcmp(path, "/huge") == 0)
        say(fd, "HTTP/1.1 200 OK\r\n\r\n"), drip(fd, "0123456789012345678901234567890123456789012345678901234567890123", 0);
    else if (strcmp(path, "/redirect") == 0)
        say(fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    else if (strcmp(path, "/junk") == 0)
        say(fd, "hello, this is no HTTP\n");
    else if (strcmp(path, "/gzip") == 0)
        say(fd, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
    else if (strcmp(path, "/keep") == 0) {
        char buf[4096];
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        if (read_request(fd, buf, sizeof(buf)))
            sem_post(&seen); /* and no answer */
    } else if (strcmp(path, "/none") != 0)
        say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buf[65536] = "", path[64] = "";
    if (read_request(fd, buf, sizeof(buf)) && sscanf(buf, "%*s %63s", path) == 1) {
        pthread_mutex_lock(&request_lock);
        memcpy(request, buf, sizeof(request));
        pthread_mutex_unlock(&request_lock);
        sem_post(&seen);
        answer(fd, path);
    }
    close(fd);
    atomic_fetch_sub(&live, 1);
    return NULL;
}

static void *serve(void *arg)
{
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pthread_t t;
        atomic_fetch_add(&connections, 1);
        atomic_fetch_add(&live, 1);
        if (pthread_create(&t, NULL, serve_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(t);
    }
    return arg;
}

static pthread_t server;

static int start_server(void **state)
{
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    sem_init(&seen, 0, 0);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 64) < 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) < 0)
        return -1;
    port = ntohs(a.sin_port);
    return pthread_create(&server, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    while (atomic_load(&live))
        sched_yield();
    return 0;
}

struct result {
    sem_t ended;
    int times, err, status, sent;
    char body[256], header[64];
    size_t len, got;
    int stop;
};

static void done(void *arg, int err, int status, const char *body, size_t len)
{
    struct result *r = arg;
    r->times++;
    r->err = err;
    r->status = status;
    r->len = len;
    snprintf(r->body, sizeof(r->body), "%.*s", (int)len, body);
    sem_post(&r->ended);
}

static int data(void *arg, const char *bytes, size_t len)
{
    struct result *r = arg;
    (void)bytes;
    r->got += len;
    return r->stop;
}

static void header(void *arg, const char *line, size_t len)
{
    struct result *r = arg;
    if (strncmp(line, "X-Name:", 7) == 0)
        snprintf(r->header, sizeof(r->header), "%.*s", (int)len, line);
}

static struct tl_net *new_net(bool trust)
{
    char mine[64];
    snprintf(mine, sizeof(mine), "LocalHost:%d", port);
    const char *const trusted[] = {"127.0.0.1:1", mine, NULL};
    struct tl_net_policy policy = {.trusted = trust ? trusted : NULL, .allow_public = true};
    struct tl_net *net;
    assert_int_equal(tl_net_new(&policy, &net), 0);
    return net;
}

static const char *address(const char *host, const char *path)
{
    static char url[256];
    snprintf(url, sizeof(url), "http://%s:%d%s", host, port, path);
    return url;
}

static struct result fetch(struct tl_net *net, struct tl_net_req req)
{
    struct result r = {.times = 0};
    sem_init(&r.ended, 0, 0);
    req.method = req.method ? req.method : "GET";
    req.arg = &r;
    req.done = done;
    unsigned long handle;
    assert_int_equal(tl_net_send(net, &req, &handle), 0);
    while (sem_wait(&r.ended) < 0)
        ;
    assert_int_equal(r.times, 1);
    return r;
}

static void asks_and_gets(void **state)
{
    (void)state;
    struct tl_net *net = new_net(true);
    static const char *const headers[] = {"X-Mine: 1", "Content-Type: text/plain", NULL};
    struct result r = fetch(net, (struct tl_net_req){.url = address("localhost", "/ok"), .header = header});
    assert_int_equal(r.err, 0);
    assert_int_equal(r.status, 201);
    assert_string_equal(r.body, "hello");
    assert_string_equal(r.header, "X-Name: value ");
    r = fetch(net, (struct tl_net_req){
                       .method = "POST", .url = address("LOCALHOST", "/ok"), .headers = headers, .body = "a\0b", .body_len = 3});
    assert_int_equal(r.err, 0);
    pthread_mutex_lock(&request_lock);
    assert_memory_equal(request, "POST /ok HTTP/1.1\r\n", 19);
    assert_non_null(strstr(request, "\r\nX-Mine: 1\r\n"));
    assert_non_null(strstr(request, "\r\nContent-Type: text/plain\r\n"));
    assert_non_null(strstr(request, "\r\nContent-Length: 3\r\n"));
    assert_null(strstr(request, "Expect"));
    assert_memory_equal(strstr(request, "\r\n\r\n") + 4, "a\0b", 3);
    pthread_mutex_unlock(&request_lock);
    r = fetch(net, (struct tl_net_req){.method = "DELETE", .url = address("localhost", "/ok"), .data = data});
    assert_int_equal(r.err, 0);
    assert_int_equal(r.len, 0);
    assert_int_equal(r.got, 5);
    r = fetch(net, (struct tl_net_req){.method = "PUT", .url = address("localhost", "/other")});
    assert_int_equal(r.status, 404);
    pthread_mutex_lock(&request_lock);
    assert_non_null(strstr(request, "\r\nContent-Length: 0\r\n"));
    assert_null(strstr(request, "Content-Type"));
    pthread_mutex_unlock(&request_lock);
    tl_net_free(net);
    tl_net_free(NULL);
}

static void upstream_misbehaves(void **state)
{
    (void)state;
    struct tl_net *net = new_net(true);
    static const struct {
        const char *path;
        struct tl_net_req req;
        int err, status;
    } cases[] = {
        {"/slow", {.timeout_ms = 150}, TL_ETIMEOUT, 0},
        {"/drip", {.timeout_ms = 150}, TL_ETIMEOUT, 0},
        {"/drip-header", {.timeout_ms = 150}, TL_ETIMEOUT, 0},
        {"/drip", {.max_bytes = 5}, TL_ETOOBIG, 0},
        {"/lying", {.max_bytes = 0}, TL_ETRANSIENT_IO, 0},
        {"/claims", {.max_bytes = 0}, TL_ETOOBIG, 0},
        {"/huge", {.max_bytes = 0}, TL_ETOOBIG, 0},
        {"/huge", {.max_bytes = 100000, .data = data}, TL_ETOOBIG, 0},
        {"/headers", {.max_bytes = 0}, TL_ETOOBIG, 0},
        {"/interim", {.max_bytes = 0}, TL_ETOOBIG, 0},
        {"/none", {.max_bytes = 0}, TL_ETRANSIENT_IO, 0},
        {"/junk", {.max_bytes = 0}, TL_ETRANSIENT_IO, 0},
        {"/gzip", {.max_bytes = 3}, 0, 200}, /* not unpacked: three bytes as they came */
        {"/redirect", {.max_bytes = 0}, 0, 302},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        struct tl_net_req req = cases[i].req;
        int before = atomic_load(&connections);
        req.url = address("localhost", cases[i].path);
        struct result r = fetch(net, req);
        if (r.err != cases[i].err || r.status != cases[i].status)
            fail_msg("%s (%zu): err %d, status %d", cases[i].path, i, r.err, r.status);
        assert_int_equal(atomic_load(&connections), before + 1); /* no redirect followed, nothing tried again */
        assert_true(r.got <= 100000);
        if (r.err)
            assert_int_equal(r.len, 0);
    }
    struct result r = {.stop = TL_ESCHEMA};
    sem_init(&r.ended, 0, 0);
    struct tl_net_req req = {.method = "GET", .url = address("localhost", "/huge"), .arg = &r, .data = data, .done = done};
    assert_int_equal(tl_net_send(net, &req, NULL), 0);
    sem_wait(&r.ended);
    assert_int_equal(r.err, TL_ESCHEMA);
    tl_net_free(net);
}

static void goes_nowhere_else(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "127.0.0.2", "[::1]",
                                        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "0", "0.0.0.0", "[::]", "10.0.0.1",
                                        "192.168.1.1", "172.31.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]",
                                        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255"};
    struct tl_net *net = new_net(true);
    int before = atomic_load(&connections);
    setenv("http_proxy", address("127.0.0.1", ""), 1); /* nor around by a proxy */
    setenv("ALL_PROXY", address("127.0.0.1", ""), 1);
    for (size_t i = 0; i < TL_ARRAY_LEN(hosts); i++) {
        struct result r = fetch(net, (struct tl_net_req){.url = address(hosts[i], "/ok")});
        if (r.err != TL_EPOLICY)
            fail_msg("%s: err %d, status %d", hosts[i], r.err, r.status);
    }
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    char url[64];
    snprintf(url, sizeof(url), "http://localhost:%d/ok", port == 65535 ? 1 : port + 1);
    assert_int_equal(fetch(net, (struct tl_net_req){.url = url}).err, TL_EPOLICY); /* another port of a trusted host */
    tl_net_free(net);
    net = new_net(false);
    assert_int_equal(fetch(net, (struct tl_net_req){.url = address("localhost", "/ok")}).err, TL_EPOLICY);
    tl_net_free(net);
    assert_int_equal(atomic_load(&connections), before);
    /* public addresses only where they are allowed: refused before a packet leaves */
    struct tl_net_policy none = {.allow_public = false};
    assert_int_equal(tl_net_new(&none, &net), 0);
    assert_int_equal(fetch(net, (struct tl_net_req){.url = "http://93.184.216.34/"}).err, TL_EPOLICY);
    tl_net_free(net);
}

static void bad_requests(void **state)
{
    (void)state;
    struct tl_net *net = new_net(true);
    static const char *const urls[] = {"", "x", "file:///etc/passwd", "gopher://localhost/", "ftp://localhost/", "http://", "http://a b/",
                                       "http://user@localhost/", "http://u:p@localhost/", "http://localhost/\r\nX: y", "http://localhost:99999/",
                                       "//localhost/", "http://h\xc3\xa9/", NULL};
    static const char *const methods[] = {"", "get", "GET /x", "G\r\nT", "ABCDEFGHIJKLMNOPQ", NULL};
    static const char *const headers[] = {"X: a\r\nY: b", "novalue", ": x", "X : a", "X: a\nb"};
    unsigned long h;
    for (size_t i = 0; i < TL_ARRAY_LEN(urls); i++)
        if (tl_net_send(net, &(struct tl_net_req){.method = "GET", .url = urls[i], .done = done}, &h) != TL_EINVAL)
            fail_msg("%s was taken", urls[i]);
    for (size_t i = 0; i < TL_ARRAY_LEN(methods); i++)
        assert_int_equal(
            tl_net_send(net, &(struct tl_net_req){.method = methods[i], .url = address("localhost", "/ok"), .done = done}, &h), TL_EINVAL);
    for (size_t i = 0; i < TL_ARRAY_LEN(headers); i++) {
        const char *list[] = {headers[i], NULL};
        assert_int_equal(
            tl_net_send(net, &(struct tl_net_req){.method = "GET", .url = address("localhost", "/ok"), .headers = list, .done = done}, &h),
            TL_EINVAL);
    }
    tl_net_free(net);
    static const char *const untrusted[] = {"localhost/", "user@localhost:1", "", "a b:1"};
    for (size_t i = 0; i < TL_ARRAY_LEN(untrusted); i++) {
        const char *list[] = {untrusted[i], NULL};
        assert_int_equal(tl_net_new(&(struct tl_net_policy){.trusted = list}, &net), TL_EINVAL);
    }
}

static void ends_when_told(void **state)
{
    (void)state;
    struct tl_net *net = new_net(true);
    struct result r[3] = {{.times = 0}};
    unsigned long h[3];
    while (sem_trywait(&seen) == 0)
        ;
    for (int i = 0; i < 3; i++)
        sem_init(&r[i].ended, 0, 0);
    struct tl_net_req req = {.method = "GET", .url = address("localhost", "/slow"), .done = done};
    req.arg = &r[0];
    assert_int_equal(tl_net_send(net, &req, &h[0]), 0);
    req.arg = &r[1];
    assert_int_equal(tl_net_send(net, &req, &h[1]), 0);
    req.arg = &r[2];
    req.delay_ms = 1000000;
    assert_int_equal(tl_net_send(net, &req, &h[2]), 0);
    sem_wait(&seen);
    sem_wait(&seen);
    tl_net_cancel(net, h[0]);
    sem_wait(&r[0].ended);
    assert_int_equal(r[0].err, TL_ECANCELLED);
    tl_net_cancel(net, h[0]); /* long gone */
    tl_net_cancel(net, 987654321);
    tl_net_cancel(net, h[2]); /* not begun */
    sem_wait(&r[2].ended);
    assert_int_equal(r[2].err, TL_ECANCELLED);
    tl_net_free(net);
    assert_int_equal(r[1].err, TL_ECANCELLED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(r[i].times, 1);
    assert_int_equal(sem_trywait(&seen), -1); /* the delayed one was never sent */
}

static void sending(void *arg)
{
    struct result *r = arg;
    r->sent++;
}

static int seen_since(void)
{
    int n = 0;
    while (sem_trywait(&seen) == 0)
        n++;
    return n;
}

/* Whoever must not be asked twice knows whether a request may have arrived, and has it written once only. */
static void what_may_have_arrived(void **state)
{
    (void)state;
    struct tl_net *net = new_net(true);
    char closed[64];
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(probe, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(probe, (struct sockaddr *)&a, &len), 0); /* nobody listens there */
    snprintf(closed, sizeof(closed), "127.0.0.1:%d", ntohs(a.sin_port));
    const char *const trusted[] = {closed, NULL};
    struct tl_net *other;
    assert_int_equal(tl_net_new(&(struct tl_net_policy){.trusted = trusted}, &other), 0);
    char url[96];
    snprintf(url, sizeof(url), "http://%s/", closed);
    struct result r = fetch(other, (struct tl_net_req){.method = "POST", .url = url, .sending = sending});
    assert_int_equal(r.err, TL_ETRANSIENT_IO);
    assert_int_equal(r.sent, 0);
    close(probe);
    tl_net_free(other);
    assert_int_equal(fetch(net, (struct tl_net_req){.url = address("127.0.0.1", "/ok"), .sending = sending}).sent, 0); /* forbidden */
    r = fetch(net, (struct tl_net_req){.method = "POST", .url = address("localhost", "/ok"), .sending = sending});
    assert_int_equal(r.err, 0);
    assert_int_equal(r.sent, 1);
    r = fetch(net, (struct tl_net_req){.method = "POST", .url = address("localhost", "/slow"), .sending = sending, .timeout_ms = 100});
    assert_int_equal(r.err, TL_ETIMEOUT);
    assert_int_equal(r.sent, 1);

    for (int once = 0; once < 2; once++) {
        assert_int_equal(fetch(net, (struct tl_net_req){.method = "POST", .url = address("localhost", "/keep"), .body = "a", .body_len = 1}).err, 0);
        seen_since();
        r = fetch(net, (struct tl_net_req){
                           .method = "POST", .url = address("localhost", "/none"), .body = "a", .body_len = 1, .once = once, .sending = sending});
        assert_int_equal(r.err, TL_ETRANSIENT_IO);
        assert_int_equal(r.sent, once ? 1 : 2); /* the kept connection was dead, and curl tries another */
        assert_int_equal(seen_since(), once ? 1 : 2);
    }
    tl_net_free(net);
}

static void waits_that_are_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        long ms;
    } lines[] = {{"Retry-After: 7", 7000}, {"retry-after:0", 0},      {"Retry-After: \t12", 12000},          {"Retry-After: 99999999999999999999", 86400000},
                 {"Retry-After:", -1},     {"Retry-After: -1", -1}, {"Retry-After: 1.5", -1},              {"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", -1},
                 {"Retry-After ", -1},     {"", -1},                {"X-Retry-After: 7", -1}};
    for (size_t i = 0; i < TL_ARRAY_LEN(lines); i++)
        if (tl_net_retry_after(lines[i].line, strlen(lines[i].line)) != lines[i].ms)
            fail_msg("%s: %ld", lines[i].line, tl_net_retry_after(lines[i].line, strlen(lines[i].line)));
}

static _Atomic int counted;

static void count(void *arg, int err, int status, const char *body, size_t len)
{
    (void)arg, (void)err, (void)status, (void)body, (void)len;
    atomic_fetch_add(&counted, 1);
}

static void many_and_delayed(void **state)
{
    (void)state;
    struct tl_net *net = new_net(true);
    struct tl_net_req req = {.method = "GET", .url = address("localhost", "/ok"), .delay_ms = 1000000, .done = count};
    for (int i = 0; i < TL_NET_WAITING_MAX; i++)
        assert_int_equal(tl_net_send(net, &req, NULL), 0);
    assert_int_equal(tl_net_send(net, &req, NULL), TL_EAGAIN);
    tl_net_free(net);
    assert_int_equal(counted, TL_NET_WAITING_MAX);
    net = new_net(true);
    struct result r[40] = {{.times = 0}};
    for (int i = 0; i < 40; i++) {
        sem_init(&r[i].ended, 0, 0);
        req = (struct tl_net_req){.method = "GET", .url = address("localhost", "/ok"), .delay_ms = i % 3, .arg = &r[i], .done = done};
        assert_int_equal(tl_net_send(net, &req, NULL), 0);
    }
    for (int i = 0; i < 40; i++) {
        sem_wait(&r[i].ended);
        assert_int_equal(r[i].err, 0);
        assert_string_equal(r[i].body, "hello");
    }
    tl_net_free(net);
}

static void which_addresses_are_public(void **state)
{
    (void)state;
    static const char *const is[] = {"1.1.1.1", "8.8.8.8", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
                                     "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255",
                                     "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
                                     "64:ff9b::808:808", "2002:808:808::1", "2400::"};
    static const char *const isnt[] = {"0.0.0.0", "0.1.2.3", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.0.1",
                                       "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.0.1",
                                       "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
                                       "255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "fe80::1",
                                       "fec0::1", "fc00::1", "fdff::1", "ff02::1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1",
                                       "2001:2::1", "2001:10::1", "2001:db8::1", "2002:a00:1::", "2002:7f00:1::", "3fff::1", "4000::1", "",
                                       "localhost", "1.2.3", NULL};
    for (size_t i = 0; i < TL_ARRAY_LEN(is); i++)
        if (!tl_net_is_public_text(is[i]))
            fail_msg("%s is public", is[i]);
    for (size_t i = 0; i < TL_ARRAY_LEN(isnt); i++)
        if (tl_net_is_public_text(isnt[i]))
            fail_msg("%s is not public", isnt[i]);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_storage other = {.ss_family = AF_UNIX};
    inet_pton(AF_INET6, "2606:4700::1111", &v6.sin6_addr);
    inet_pton(AF_INET, "8.8.8.8", &v4.sin_addr);
    assert_true(tl_net_is_public((struct sockaddr *)&v6));
    assert_true(tl_net_is_public((struct sockaddr *)&v4));
    inet_pton(AF_INET, "10.0.0.1", &v4.sin_addr);
    assert_false(tl_net_is_public((struct sockaddr *)&v4));
    assert_false(tl_net_is_public((struct sockaddr *)&other));
}

static void names_of_urls(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"http://Example.org/x?y", "example.org:80"}, {"https://example.org", "example.org:443"},
                                           {"https://example.org:8443/v1", "example.org:8443"}, {"http://0x7f000001/", "127.0.0.1:80"},
                                           {"http://[::1]:11434/v1", "[::1]:11434"}, {"ftp://example.org/", NULL}};
    for (size_t i = 0; i < TL_ARRAY_LEN(pairs); i++) {
        TL_AUTO_FREE char *got = tl_net_host_port(pairs[i][0]);
        if (pairs[i][1])
            assert_string_equal(got ? got : "(none)", pairs[i][1]);
        else
            assert_null(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_and_gets),      cmocka_unit_test(upstream_misbehaves), cmocka_unit_test(goes_nowhere_else),
        cmocka_unit_test(bad_requests),       cmocka_unit_test(ends_when_told),      cmocka_unit_test(many_and_delayed),
        cmocka_unit_test(which_addresses_are_public), cmocka_unit_test(names_of_urls),
        cmocka_unit_test(what_may_have_arrived), cmocka_unit_test(waits_that_are_asked_for),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}

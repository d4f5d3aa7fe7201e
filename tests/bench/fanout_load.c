/* The clients of `fanout.sh`: N followers over SSE or WebSocket, first of talos and then of nchan, and the one who publishes. So many events are in flight at once:
 * the next is published when the oldest has reached every follower. The two take turns; followers of the other wait meanwhile.
 *
 *   fanout_load sse|ws N SECONDS ROUNDS TALOS_PORT CONTROL_PORT RUN TOKEN TALOS_PID NCHAN_PORT NCHAN_PID BYTES
 *
 * Prints "fanout_KIND_N_INFLIGHT RATIO" (deliveries a second, talos over nchan), the same of deliveries by CPU second of the server (…_cpu), and of the 99th percentile of the
 * time from publishing to receiving (…_p99). Every follower must have received every event, and the first of them is read to see that they are the right ones. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    RING = 256,      /* more than what is in flight */
    CONNECTING = 64, /* at once, so that no listen queue overflows */
    READ_BYTES = 256 * 1024,
    STEP_US = 10, /* of the histogram */
    STEPS = 1000000,
    STUCK_S = 30,
};

struct follower {
    struct side *side;
    int fd;
    bool open; /* the answer's head has been read */
    char tail[4];
    bool in_line, has_data;  /* SSE */
    uint8_t head[10], nhead; /* WebSocket: of a frame */
    uint64_t payload;        /* bytes of it still to come */
    bool last;               /* frame of its message */
    uint64_t count;          /* events received */
};

struct side {
    const char *name;
    int port, pid, publisher;
    bool posts; /* publishes by POST; else by a byte on the control port */
    char path[128], more[4400];
    struct follower *followers;
    size_t open;
    uint64_t published, complete;
    uint32_t left[RING];
    int64_t published_us[RING];
    uint32_t *steps; /* histogram of delays */
    uint64_t deliveries;
    double seconds, cpu;
    char *first; /* what the first follower got, in the round under way */
    size_t first_len, first_cap;
};

static bool websocket;
static size_t nfollowers, event_bytes;
static int epfd;
static char *buffer;

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "fanout_load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %s\n", strerror(errno));
    va_end(args);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* CPU seconds that a process has used so far, all threads. */
static double cpu_of(int pid)
{
    char path[600];
    double all = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        unsigned long long ns = 0;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (f && fscanf(f, "%llu", &ns) == 1)
            all += (double)ns / 1e9;
        if (f)
            fclose(f);
    }
    if (!dir)
        die("process %d", pid);
    closedir(dir);
    return all;
}

static int dial(int port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("connecting to port %d", port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void send_all(int fd, const char *bytes, size_t len)
{
    for (ssize_t n; len; bytes += n, len -= (size_t)n)
        if ((n = send(fd, bytes, len, MSG_NOSIGNAL)) < 0)
            die("sending");
}

/* ---- reading ---- */

static void received(struct follower *f, int64_t now)
{
    struct side *s = f->side;
    uint64_t seq = ++f->count;
    if (seq > s->published)
        die("%s: an event that was not published", s->name);
    int64_t step = (now - s->published_us[seq % RING]) / STEP_US;
    s->steps[step < STEPS ? step : STEPS - 1]++;
    if (--s->left[seq % RING] == 0)
        s->complete = seq; /* each follower gets them in order */
}

static void read_sse(struct follower *f, const char *p, const char *end, int64_t now)
{
    while (p < end) {
        if (!f->in_line && *p == '\n') {
            if (f->has_data)
                received(f, now);
            f->has_data = false;
            p++;
            continue;
        }
        f->has_data |= !f->in_line && *p == 'd';
        p = memchr(p, '\n', (size_t)(end - p));
        f->in_line = !p;
        if (!p)
            return;
        p++;
    }
}

static void read_ws(struct follower *f, const char *p, const char *end, int64_t now)
{
    while (p < end) {
        if (f->payload) {
            uint64_t n = (uint64_t)(end - p) < f->payload ? (uint64_t)(end - p) : f->payload;
            p += n;
            f->payload -= n;
            if (!f->payload && f->last)
                received(f, now);
            continue;
        }
        f->head[f->nhead++] = (uint8_t)*p++;
        unsigned need = f->nhead < 2 || f->head[1] < 126 ? 2 : f->head[1] == 126 ? 4 : 10;
        if (f->nhead < need)
            continue;
        f->payload = f->head[1];
        if (need > 2)
            f->payload = 0;
        for (unsigned i = 2; i < need; i++)
            f->payload = f->payload << 8 | f->head[i];
        f->last = (f->head[0] & 0x80) && (f->head[0] & 0x0f) < 8;
        f->nhead = 0;
    }
}

static void keep_first(struct side *s, const char *bytes, size_t len)
{
    if (s->first_len + len + 1 > s->first_cap) {
        s->first_cap = 2 * (s->first_cap + len + 1);
        if (!(s->first = realloc(s->first, s->first_cap)))
            die("memory");
    }
    memcpy(s->first + s->first_len, bytes, len);
    s->first_len += len;
}

/* The end of the answer's head, or NULL. */
static const char *after_head(struct follower *f, const char *p, const char *end)
{
    for (; p < end; p++) {
        memmove(f->tail, f->tail + 1, 3);
        f->tail[3] = *p;
        if (memcmp(f->tail, "\r\n\r\n", 4) == 0)
            return p + 1;
    }
    return NULL;
}

static void readable(struct follower *f)
{
    struct side *s = f->side;
    ssize_t n = recv(f->fd, buffer, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        die("%s: a follower was closed after %llu events", s->name, (unsigned long long)f->count);
    const char *p = buffer, *end = buffer + n;
    if (!f->open) {
        if (n > 12 && !f->tail[3] && memcmp(p + 9, websocket ? "101" : "200", 3) != 0)
            die("%s: %.*s", s->name, (int)n, p);
        if (!(p = after_head(f, p, end)))
            return;
        f->open = true;
        s->open++;
    }
    if (f == s->followers)
        keep_first(s, p, (size_t)(end - p));
    (websocket ? read_ws : read_sse)(f, p, end, now_us());
}

static void turn(int wait_ms)
{
    struct epoll_event ready[512];
    int n = epoll_wait(epfd, ready, 512, wait_ms);
    for (int i = 0; i < n; i++) {
        struct follower *f = ready[i].data.ptr;
        if (f)
            readable(f);
    }
}

/* ---- publishing ---- */

static void drain(struct side *s)
{
    char answers[65536];
    while (s->posts && recv(s->publisher, answers, sizeof(answers), MSG_DONTWAIT) > 0)
        ;
}

static void publish(struct side *s, unsigned n)
{
    static char out[RING * 5000];
    size_t len = 0;
    drain(s);
    int64_t now = now_us();
    for (unsigned i = 0; i < n; i++) {
        uint64_t seq = ++s->published;
        s->left[seq % RING] = (uint32_t)nfollowers;
        s->published_us[seq % RING] = now;
        if (!s->posts) {
            out[len++] = '.';
            continue;
        }
        char body[4096];
        static const char run[] = "00000000-0000-7000-8000-000000000000";
        int b = snprintf(body, sizeof(body),
                         "{\"event_id\":\"%s:%llu\",\"run_id\":\"%s\",\"type\":\"run.progress\",\"seq\":%llu,\"ts\":"
                         "\"2026-01-01T00:00:00.000Z\","
                         "\"payload\":{\"progress\":50,\"message\":\"",
                         run, (unsigned long long)seq, run, (unsigned long long)seq);
        while ((size_t)b + 3 < event_bytes)
            body[b++] = 'x';
        memcpy(body + b, "\"}}", 3);
        b += 3;
        len += (size_t)snprintf(
            out + len, sizeof(out) - len,
            "POST /pub HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%.*s", b, b, body);
    }
    send_all(s->publisher, out, len);
}

/* ---- measuring ---- */

static void open_followers(struct side *s, const char *token)
{
    char request[8192];
    int n = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n",
                     s->path, token,
                     websocket ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
                                 "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                               : "Accept: text/event-stream\r\n");
    s->followers = calloc(nfollowers, sizeof(*s->followers));
    s->steps = calloc(STEPS, sizeof(*s->steps));
    if (!s->followers || !s->steps)
        die("memory");
    int64_t until = now_us() + STUCK_S * 1000000LL;
    for (size_t i = 0; s->open < nfollowers; turn(i < nfollowers ? 0 : 10)) {
        for (; i < nfollowers && i < s->open + CONNECTING; i++) {
            struct follower *f = &s->followers[i];
            f->side = s;
            f->fd = dial(s->port);
            send_all(f->fd, request, (size_t)n);
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = f};
            if (epoll_ctl(epfd, EPOLL_CTL_ADD, f->fd, &e) < 0)
                die("epoll");
        }
        if (now_us() > until)
            die("%s: only %zu followers are served", s->name, s->open);
    }
}

/* What the first follower got are the events from first to last, in order. */
static void check_first(struct side *s, uint64_t first)
{
    uint64_t want = first;
    if (!s->first)
        die("%s: the first follower got nothing", s->name);
    s->first[s->first_len] = '\0';
    for (const char *p = s->first; (p = memmem(p, s->first_len - (size_t)(p - s->first), "\"seq\":", 6)); p += 6)
        if (strtoull(p + 6, NULL, 10) != want++)
            die("%s: an event other than %llu", s->name, (unsigned long long)want - 1);
    if (want != s->published + 1)
        die("%s: %llu events of %llu", s->name, (unsigned long long)(want - first),
            (unsigned long long)(s->published - first + 1));
    s->first_len = 0;
}

static void round_of(struct side *s, unsigned inflight, double seconds)
{
    uint64_t first = s->published + 1;
    s->first_len = 0;
    double cpu = cpu_of(s->pid);
    int64_t began = now_us(), until = began + (int64_t)(seconds * 1e6), stuck = until + STUCK_S * 1000000LL,
            now = began;
    while (now < until || s->complete < s->published) {
        unsigned room = now < until ? inflight - (unsigned)(s->published - s->complete) : 0;
        if (room)
            publish(s, room);
        turn(100);
        now = now_us();
        if (now > stuck)
            die("%s: %llu of %llu events have arrived everywhere", s->name, (unsigned long long)s->complete,
                (unsigned long long)s->published);
    }
    s->seconds += (double)(now - began) / 1e6;
    s->cpu += cpu_of(s->pid) - cpu;
    s->deliveries += (s->published - first + 1) * nfollowers;
    check_first(s, first);
    /* The kernel stops real-time work (fanout.sh) that takes more than 95 % of a second. */
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static double percentile(const struct side *s, double part)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < STEPS; i++)
        if ((double)(seen += s->steps[i]) >= part * (double)s->deliveries)
            return (double)(i + 1) * STEP_US / 1000;
    return 0;
}

static void compare(struct side *sides, const char *kind, unsigned inflight, double seconds, int rounds)
{
    for (int i = 0; i < 2; i++) {
        sides[i].seconds = sides[i].cpu = 0;
        sides[i].deliveries = 0;
    }
    for (int i = 0; i < 2 * (rounds + 1); i++) {
        bool warm = i < 2;
        struct side *s = &sides[i % 2];
        round_of(s, inflight, warm ? seconds / 4 : seconds);
        if (warm) {
            s->seconds = s->cpu = 0;
            s->deliveries = 0;
            memset(s->steps, 0, STEPS * sizeof(*s->steps));
        }
    }
    double rate[2], by_cpu[2], p99[2];
    for (int i = 0; i < 2; i++) {
        struct side *s = &sides[i];
        rate[i] = (double)s->deliveries / s->seconds;
        by_cpu[i] = (double)s->deliveries / s->cpu;
        p99[i] = percentile(s, 0.99);
        printf("# %-3s %5zu followers, %2u in flight: %-5s %8.0f deliveries/s, %8.0f by CPU second, p50 %7.2f ms, p99 "
               "%7.2f ms\n",
               kind, nfollowers, inflight, s->name, rate[i], by_cpu[i], percentile(s, 0.5), p99[i]);
    }
    printf("fanout_%s_%zu_%u %.2f\n", kind, nfollowers, inflight, rate[0] / rate[1]);
    printf("fanout_%s_%zu_%u_cpu %.2f\n", kind, nfollowers, inflight, by_cpu[0] / by_cpu[1]);
    printf("fanout_%s_%zu_%u_p99 %.2f\n", kind, nfollowers, inflight, p99[0] / p99[1]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const unsigned inflight[] = {2, 16};
    struct side sides[2] = {{.name = "talos"}, {.name = "nchan", .posts = true, .path = "/sub"}};
    struct rlimit files;
    if (argc != 13)
        die("what is wanted? see the head of fanout_load.c");
    websocket = strcmp(argv[1], "ws") == 0;
    nfollowers = (size_t)strtoul(argv[2], NULL, 10);
    sides[0].port = atoi(argv[5]);
    sides[0].pid = atoi(argv[9]);
    sides[1].port = atoi(argv[10]);
    sides[1].pid = atoi(argv[11]);
    event_bytes = (size_t)strtoul(argv[12], NULL, 10);
    snprintf(sides[0].path, sizeof(sides[0].path), websocket ? "/ws/runs/%s" : "/api/v1/runs/%s/stream", argv[7]);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 2 * nfollowers + 64)
        die("%zu followers of each need as many open files (ulimit -n)", nfollowers);
    buffer = malloc(READ_BYTES);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!buffer || epfd < 0)
        die("memory");
    sides[0].publisher = dial(atoi(argv[6]));
    sides[1].publisher = dial(sides[1].port);
    for (int i = 0; i < 2; i++)
        open_followers(&sides[i], argv[8]);
    for (size_t i = 0; i < sizeof(inflight) / sizeof(*inflight); i++)
        compare(sides, argv[1], inflight[i], strtod(argv[3], NULL), atoi(argv[4]));
    return 0;
}

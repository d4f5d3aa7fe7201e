/* A server with short limits: who does not read is sent away and nobody else notices, silence is broken by signs of life, calls wait no longer than they may,
 * and an Idempotency-Key holds over a crash. Journals are written as the executor would write them. */
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "capsules/doors.h"
#include "graph/retain.h"
#include "server/idem.h"
#include "server/stream.h"
#include "server/runview.h"
#include "server/wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sodium.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/server/journal.h"
#include "tests/unit/store/tmp.h"

static struct tl_db *db;
static struct tl_blobs *blobs;
static struct tl_exec *exec;
static struct tl_server *srv;
static struct tl_services services;
static pthread_t thread;
static char *token;
static uint8_t pub[32], secret[64];

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)arg;
    tl_server_notify(&srv, run, seq, ended);
}

static int cache_key(void *arg, const char *org, uint8_t ret[32])
{
    (void)arg, (void)org;
    memset(ret, 7, 32);
    return 0;
}

static void *serve(void *arg)
{
    (void)arg;
    assert_int_equal(tl_server_run(srv), 0);
    return NULL;
}

static int start(void **state)
{
    if (tmp_setup(state) < 0)
        return -1;
    assert_int_equal(tl_db_open(tmp_dir, TL_DB_CREATE | TL_DB_EXCLUSIVE, &db), 0);
    assert_int_equal(tl_blobs_open(tmp_dir, db, &blobs), 0);
    services = (struct tl_services){.db = db, .blobs = blobs};
    struct tl_exec_conf ec = {.threads = 2, .db = db, .services = &services, .replan = tl_cap_replan, .cache_key = cache_key,
                              .complete = tl_cap_complete, .notify = notify, .arg = &services};
    assert_int_equal(tl_exec_new(&ec, &exec), 0);
    struct tl_server_conf conf = {.host = "127.0.0.1", .db = db, .blobs = blobs, .exec = exec, .services = &services, .data_dir = tmp_dir,
                                  .issuer_public = pub, .heartbeat_ms = 300, .laggard_ms = 2000, .sync_wait_ms = 500, .body_budget = 1 << 20};
    assert_int_equal(tl_server_new(&conf, &srv), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    struct tl_claims who = {.sub = "me", .org = "acme", .role = TL_ROLE_ADMIN};
    token = tl_token_issue(secret, pub, &who, 600);
    return token ? 0 : -1;
}

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

static int stop(void **state)
{
    tl_server_stop(srv);
    pthread_join(thread, NULL);
    tl_exec_free(exec);
    tl_db_update(db, nothing, NULL);
    tl_server_free(srv);
    srv = NULL;
    tl_blobs_close(blobs);
    tl_db_close(db);
    free(token);
    return tmp_teardown(state);
}

/* ---- journals ---- */

static void write_run(const struct tl_id *run, const char *kind, const char *status, uint64_t first, uint64_t last, size_t size)
{
    assert_int_equal(write_journal(db, run, kind, status, first, last, size), 0);
    tl_server_notify(&srv, run, last, strcmp(status, "done") == 0);
}

/* ---- clients ---- */

static int dial(int rcvbuf)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)tl_server_port(srv)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (rcvbuf)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static int ask(int rcvbuf, const char *path, const char *more)
{
    int fd = dial(rcvbuf);
    struct tl_str s = {0};
    tl_str_printf(&s, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", path, token, more);
    assert_int_equal(send(fd, s.data, s.len, 0), (ssize_t)s.len);
    tl_str_clear(&s);
    return fd;
}

/* Reads until what is there has word, the peer closes, or 30 s have passed. Whether word came. */
static bool hear(int fd, struct tl_str *got, const char *word)
{
    char buf[65536];
    size_t seen = 0;
    for (int64_t until = tl_mono_us() + 30000000; tl_mono_us() < until;) {
        if (word && got->len > seen && memmem(got->data + seen, got->len - seen, word, strlen(word)))
            return true;
        size_t overlap = word ? strlen(word) : 0;
        seen = got->len > overlap ? got->len - overlap : 0;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0)
            continue;
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        if (n <= 0)
            return word == NULL;
        tl_str_add(got, buf, (size_t)n);
    }
    return false;
}

static double figure(const char *name)
{
    struct tl_str got = {0};
    char line[64];
    int fd = ask(0, "/metrics", "Connection: close\r\n");
    hear(fd, &got, NULL);
    close(fd);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = got.data ? strstr(got.data, line) : NULL;
    double v = at ? strtod(at + strlen(line), NULL) : -1;
    tl_str_clear(&got);
    return v;
}

static bool until(const char *name, double want)
{
    for (int64_t end = tl_mono_us() + 30000000; tl_mono_us() < end; nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL))
        if (figure(name) == want)
            return true;
    return false;
}

static const char upgrade[] = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/* ---- tests ---- */

static void whoever_does_not_read_is_sent_away(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new();
    char path[128], ws[128], id[TL_ID_TEXT];
    tl_id_text(&run, id);
    snprintf(path, sizeof(path), "/api/v1/runs/%s/stream", id);
    snprintf(ws, sizeof(ws), "/ws/runs/%s", id);
    write_run(&run, "canvas", "running", 1, 600, 16000);
    int lazy_sse = ask(4096, path, ""), lazy_ws = ask(4096, ws, upgrade), reader = ask(0, path, "");
    struct tl_str got = {0};
    assert_true(hear(reader, &got, "\nid: 600\n"));
    assert_true(until("talos_followers", 1));
    write_run(&run, "canvas", "running", 601, 601, 10);
    assert_true(hear(reader, &got, "\nid: 601\n"));
    write_run(&run, "canvas", "done", 602, 602, 10);
    assert_true(hear(reader, &got, NULL)); /* it ends after the terminal event */
    uint64_t want = 1;
    for (const char *at = got.data; (at = memmem(at, got.len - (size_t)(at - got.data), "\nid: ", 5)); at += 5)
        assert_int_equal(strtoull(at + 5, NULL, 10), want++);
    assert_int_equal(want, 603);
    tl_str_clear(&got);
    close(lazy_sse);
    close(lazy_ws);
    close(reader);
    assert_true(until("talos_followers", 0));
}

struct put {
    const uint8_t *key;
    const struct tl_str *value;
};

static int put_event(struct tl_txn *txn, void *arg)
{
    const struct put *put = arg;
    return tl_txn_put(txn, TL_TBL_EVENT, put->key, TL_ID_LEN + 8, put->value->data, put->value->len);
}

static void a_download_that_nobody_reads_ends(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new();
    char path[128], id[TL_ID_TEXT];
    struct tl_blob_writer *w;
    char hex[TL_SHA256_HEX];
    uint64_t size;
    static char block[1 << 20];
    assert_int_equal(tl_blob_begin(blobs, 0, &w), 0);
    for (int i = 0; i < 32; i++)
        assert_int_equal(tl_blob_write(w, block, sizeof(block)), 0);
    assert_int_equal(tl_blob_commit(w, hex, &size), 0);
    struct tl_str event = {0};
    tl_id_text(&run, id);
    write_run(&run, "canvas", "done", 1, 2, 1);
    tl_str_printf(&event, "{\"type\":\"run.partial\",\"seq\":1,\"payload\":{\"results\":[{\"node\":\"n\",\"outputs\":{\"v\":{\"kind\":\"video\",\"sha256\":\"%s\",\"content_type\":\"video/mp4\"}},\"media\":[\"v\"]}]}}", hex);
    uint8_t key[TL_ID_LEN + 8];
    memcpy(key, run.b, TL_ID_LEN);
    tl_key_u64(key + TL_ID_LEN, 1);
    struct put put = {key, &event};
    assert_int_equal(tl_db_update(db, put_event, &put), 0);
    tl_str_clear(&event);
    snprintf(path, sizeof(path), "/api/v1/runs/%s/nodes/n/outputs/v/content", id);
    double before = figure("talos_connections");
    int fds[4];
    for (int i = 0; i < 4; i++)
        fds[i] = ask(4096, path, i % 2 ? "Range: bytes=5-\r\n" : "");
    struct tl_str got = {0};
    int fast = ask(0, path, "Connection: close\r\n");
    assert_true(hear(fast, &got, NULL));
    assert_true(got.len > size);
    tl_str_clear(&got);
    close(fast);
    assert_true(until("talos_connections", before));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void silence_is_broken(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new();
    char path[128], ws[128], id[TL_ID_TEXT];
    tl_id_text(&run, id);
    snprintf(path, sizeof(path), "/api/v1/runs/%s/stream", id);
    snprintf(ws, sizeof(ws), "/ws/runs/%s", id);
    write_run(&run, "canvas", "running", 1, 1, 10);
    int sse = ask(0, path, ""), socket_fd = ask(0, ws, upgrade);
    struct tl_str got = {0}, frames = {0};
    assert_true(hear(sse, &got, ": still here\n\n"));
    got.len = 0;
    assert_true(hear(sse, &got, ": still here\n\n"));
    /* A ping comes; no pong goes back, and the connection ends. */
    assert_true(hear(socket_fd, &frames, "\x89"));
    assert_true(hear(socket_fd, &frames, NULL));
    close(socket_fd);
    /* Whoever goes away is noticed although nothing is being sent, and so is one that sends what it must not. */
    assert_true(until("talos_followers", 1));
    close(sse);
    assert_true(until("talos_followers", 0));
    int babbler = ask(0, path, "");
    assert_true(until("talos_followers", 1));
    assert_int_equal(send(babbler, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_true(until("talos_followers", 0));
    close(babbler);
    tl_str_clear(&got);
    tl_str_clear(&frames);
}

struct answer {
    sem_t ready;
    int status;
    char *text;
};

static void deliver(struct tl_req *req)
{
    struct answer *a = req->sink;
    a->status = req->reply.status;
    a->text = req->reply.text ? strdup(req->reply.text) : NULL;
    sem_post(&a->ready);
}

static struct tl_req *request(struct answer *a)
{
    sem_init(&a->ready, 0, 0);
    struct tl_req *req = tl_req_new(srv, deliver, a);
    strcpy(req->claims.org, "acme");
    strcpy(req->claims.sub, "me");
    req->claims.role = TL_ROLE_ADMIN;
    req->path = "/api/v1/capsules/run";
    return req;
}

static void wait_for(struct answer *a)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 20;
    assert_int_equal(sem_timedwait(&a->ready, &t), 0);
    sem_destroy(&a->ready);
}

static void a_call_waits_for_the_end_but_not_for_ever(void **state)
{
    (void)state;
    struct tl_id never = tl_id_new(), soon = tl_id_new(), over = tl_id_new();
    struct answer a[3];
    const struct tl_id *const runs[] = {&never, &soon, &over};
    write_run(&never, "capsule", "running", 1, 1, 1);
    write_run(&soon, "capsule", "running", 1, 1, 1);
    write_run(&over, "capsule", "done", 1, 2, 1);
    for (int i = 0; i < 3; i++) {
        struct tl_req *req = request(&a[i]);
        tl_wait_run(req, runs[i], tl_runview_reply_call);
        tl_req_unref(req);
    }
    write_run(&soon, "capsule", "done", 2, 2, 1);
    for (int i = 0; i < 3; i++)
        wait_for(&a[i]);
    assert_int_equal(a[0].status, 202);
    assert_non_null(strstr(a[0].text, "\"status\":\"running\""));
    assert_int_equal(a[1].status, 200);
    assert_non_null(strstr(a[1].text, "\"summary\":{\"a\":1}"));
    assert_int_equal(a[2].status, 200);
    for (int i = 0; i < 3; i++)
        free(a[i].text);
    assert_true(until("talos_followers", 0));
}

static sem_t gate;

static void hold(void *arg)
{
    (void)arg;
    sem_wait(&gate);
}

static int64_t server_cpu_ms(void)
{
    clockid_t clock;
    struct timespec t;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* While a handler is at work, what its client still sends, and its going away, must not make the service thread spin. */
static void waiting_costs_nothing(void **state)
{
    (void)state;
    sem_init(&gate, 0, 0);
    for (int i = 0; i < 2; i++) /* all threads of the pool */
        assert_int_equal(tl_exec_post(exec, hold, NULL), 0);
    int fds[3];
    static const char body[] = "{\"graph\":{}}";
    for (int i = 0; i < 3; i++) {
        struct tl_str s = {0};
        tl_str_printf(&s, "POST /api/v1/canvases/validate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s", token, strlen(body), body);
        fds[i] = dial(0);
        assert_int_equal(send(fds[i], s.data, s.len, 0), (ssize_t)s.len);
        tl_str_clear(&s);
    }
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    static const char behind[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(send(fds[0], behind, strlen(behind), 0), (ssize_t)strlen(behind));
    shutdown(fds[1], SHUT_WR);
    int64_t before = server_cpu_ms();
    nanosleep(&(struct timespec){.tv_nsec = 600000000}, NULL);
    assert_true(server_cpu_ms() - before < 200);
    for (int i = 0; i < 2; i++)
        sem_post(&gate);
    struct tl_str got = {0};
    assert_true(hear(fds[0], &got, "{\"status\":\"ok\"}")); /* the request behind is answered too */
    assert_non_null(strstr(got.data, "\"ok\":false"));
    got.len = 0;
    assert_true(hear(fds[2], &got, "\"ok\":false"));
    tl_str_clear(&got);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* What is kept of a run that has ended is no longer answered once retention has cut it. */
static void a_record_that_was_cut_is_read_anew(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new(), after = {0};
    char path[128], id[TL_ID_TEXT];
    size_t cut;
    bool more;
    write_run(&run, "canvas", "done", 1, 5, 10);
    tl_id_text(&run, id);
    snprintf(path, sizeof(path), "/api/v1/runs/%s", id);
    for (int i = 0; i < 4; i++) {
        struct tl_str got = {0};
        if (i == 2)
            assert_int_equal(tl_retain_prune(db, tl_now_ms() + 60000, &after, &cut, &more), 0);
        int fd = ask(0, path, "Connection: close\r\n");
        assert_true(hear(fd, &got, NULL));
        close(fd);
        assert_non_null(strstr(got.data, "\"last_seq\":5"));
        assert_int_equal(strstr(got.data, "\"pruned_before\":4") != NULL, i >= 2);
        tl_str_clear(&got);
    }
    assert_true(cut > 0);
}

/* Lists and large journals are read on the pool: while it is busy they wait, and nobody else does. */
static void journals_are_read_on_the_pool(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new(), call = tl_id_new();
    char paths[3][128] = {"/api/v1/runs?limit=1"}, id[TL_ID_TEXT];
    write_run(&run, "canvas", "done", 1, 2, 200000);
    write_run(&call, "capsule", "done", 1, 2, 200000);
    tl_id_text(&run, id);
    snprintf(paths[1], sizeof(paths[1]), "/api/v1/runs/%s", id);
    tl_id_text(&call, id);
    snprintf(paths[2], sizeof(paths[2]), "/api/v1/capsules/run/%s", id);
    sem_init(&gate, 0, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tl_exec_post(exec, hold, NULL), 0);
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = ask(0, paths[i], "");
    struct tl_str got = {0};
    int beside = ask(0, "/healthz", "");
    assert_true(hear(beside, &got, "\"ok\""));
    close(beside);
    assert_true(figure("talos_connections") >= 4);
    for (int i = 0; i < 3; i++) {
        char byte;
        assert_int_equal(recv(fds[i], &byte, 1, MSG_DONTWAIT), -1);
    }
    for (int i = 0; i < 2; i++)
        sem_post(&gate);
    static const char *const words[] = {"next_cursor", "\"result\":", "\"summary\":{\"a\":1}"};
    for (int i = 0; i < 3; i++) {
        got.len = 0;
        assert_true(hear(fds[i], &got, words[i]));
        close(fds[i]);
    }
    tl_str_clear(&got);
}

/* Sends the head of a request with a body of a megabyte, and all of that but the last byte. */
static int most_of_a_body(const char *line, bool with_token)
{
    enum { SIZE = 1000000 };
    struct tl_str s = {0};
    TL_AUTO_FREE char *body = calloc(1, SIZE);
    tl_str_printf(&s, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", line, with_token ? token : "x", SIZE);
    tl_str_add(&s, body, SIZE - 1);
    int fd = dial(0);
    assert_int_equal(send(fd, s.data, s.len, MSG_NOSIGNAL), (ssize_t)s.len);
    tl_str_clear(&s);
    return fd;
}

static void bodies_hold_no_more_than_they_may(void **state)
{
    (void)state;
    struct tl_str got = {0};
    int fds[8];
    /* Where no body is wanted none is kept: it is answered when its last byte has come. */
    for (int i = 0; i < 8; i++)
        fds[i] = most_of_a_body("GET /healthz", false);
    for (int i = 0; i < 8; i++) {
        got.len = 0;
        assert_int_equal(send(fds[i], "x", 1, 0), 1);
        assert_true(hear(fds[i], &got, "\"ok\""));
        assert_non_null(strstr(got.data, " 200 OK"));
        close(fds[i]);
    }
    assert_true(figure("talos_body_bytes") == 0);
    /* The next body that would go beyond the bound of all is refused at once, and whoever holds one still may end it. */
    int first = most_of_a_body("POST /api/v1/canvases", true);
    for (int64_t end = tl_mono_us() + 30000000; figure("talos_body_bytes") < 900000 && tl_mono_us() < end;)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    int second = most_of_a_body("POST /api/v1/canvases", true);
    got.len = 0;
    assert_true(hear(second, &got, "TRY_AGAIN"));
    assert_non_null(strstr(got.data, " 503 "));
    close(second);
    got.len = 0;
    assert_int_equal(send(first, "x", 1, 0), 1);
    assert_true(hear(first, &got, "VALIDATION_ERROR"));
    close(first);
    assert_true(until("talos_body_bytes", 0));
    tl_str_clear(&got);
}

/* ---- idempotency ---- */

static struct tl_id got_run;

static void reply_run(struct tl_req *req, const struct tl_id *run)
{
    got_run = *run;
    tl_reply_empty(req, 204);
}

static int start_with_key(const char *key, const char *body)
{
    struct answer a;
    struct tl_req *req = request(&a);
    req->head.idempotency_key = key;
    req->body = strdup(body);
    req->body_len = strlen(body);
    TL_AUTO_JSON json_t *graph = json_pack("{s:[{s:s,s:s,s:{s:{s:s}}}],s:[]}", "nodes", "id", "a", "type", "input.text", "data", "params", "text", "x", "edges");
    TL_AUTO_JSON json_t *doc = tl_cap_canvas_doc(graph, NULL, false), *meta = json_object();
    struct tl_plan *plan;
    assert_int_equal(tl_cap_replan(&services, "acme", TL_KIND_CANVAS, doc, &plan, NULL), 0);
    tl_idem_start_run(req, &(struct tl_idem_run){.kind = TL_KIND_CANVAS, .doc = doc, .meta = meta, .plan = plan}, reply_run);
    tl_plan_unref(plan);
    wait_for(&a);
    free(a.text);
    tl_req_unref(req);
    return a.status;
}

/* The key's entry as it was when the run had not been entered yet. */
static int cut_entry(struct tl_txn *txn, void *arg)
{
    bool *set = arg;
    static const char key[] = "acme\0me\0again";
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_IDEM, key, sizeof(key) - 1, &v);
    if (err)
        return err;
    TL_AUTO_JSON json_t *j = NULL;
    err = tl_json_parse(v.data, v.len, &j, NULL);
    json_object_del(j, "run_id");
    TL_AUTO_FREE char *text = tl_json_text(j);
    *set = true;
    return err ? err : tl_txn_put(txn, TL_TBL_IDEM, key, sizeof(key) - 1, text, strlen(text));
}

static int age_entry(struct tl_txn *txn, void *arg)
{
    static const char key[] = "acme\0me\0again";
    TL_AUTO_FREE char *text = NULL;
    struct tl_bytes v;
    TL_AUTO_JSON json_t *j = NULL;
    (void)arg;
    int err = tl_txn_get(txn, TL_TBL_IDEM, key, sizeof(key) - 1, &v);
    if (!err)
        err = tl_json_parse(v.data, v.len, &j, NULL);
    json_object_set_new(j, "at", json_integer(tl_now_ms() - TL_IDEM_TTL_MS - 1000));
    text = tl_json_text(j);
    return err ? err : tl_txn_put(txn, TL_TBL_IDEM, key, sizeof(key) - 1, text, strlen(text));
}

static void a_key_holds_over_a_crash(void **state)
{
    (void)state;
    bool set = false;
    assert_int_equal(start_with_key("again", "{\"a\":1}"), 204);
    struct tl_id first = got_run;
    assert_int_equal(start_with_key("again", "{\"a\":1}"), 204);
    assert_memory_equal(&got_run, &first, sizeof(first));
    assert_int_equal(start_with_key("again", "{\"a\":2}"), 409);
    /* Crashed between the run and its entry: the run is found by its record. */
    assert_int_equal(tl_db_update(db, cut_entry, &set), 0);
    assert_true(set);
    assert_int_equal(start_with_key("again", "{\"a\":1}"), 204);
    assert_memory_equal(&got_run, &first, sizeof(first));
    /* After a day the key is free again. */
    assert_int_equal(tl_db_update(db, age_entry, NULL), 0);
    assert_int_equal(start_with_key("again", "{\"a\":2}"), 204);
    assert_memory_not_equal(&got_run, &first, sizeof(first));
    assert_int_equal(start_with_key("other", "{\"a\":1}"), 204);
}

/* ---- the log ---- */

/* What the server writes to standard error while fn runs. Returned owned. */
static char *logged(void (*fn)(const struct tl_id *run), const struct tl_id *run)
{
    char text[4096] = "";
    int ends[2], was = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    fn(run);
    dup2(was, STDERR_FILENO);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    close(was);
    return strndup(text, n > 0 ? (size_t)n : 0);
}

static void tell_the_end(const struct tl_id *run)
{
    tl_server_notify(&srv, run, 1, true);
}

static void crashes_of_workers_are_logged(void **state)
{
    (void)state;
    static const char *const payloads[] = {"{\"error\":{\"code\":\"WORKER_CRASH\",\"message\":\"x\"}}",
                                           "{\"error\":{\"code\":\"TIMEOUT\",\"message\":\"\\\"code\\\":\\\"WORKER_CRASH\\\"\"}}"};
    for (size_t i = 0; i < TL_ARRAY_LEN(payloads); i++) {
        struct tl_id run = tl_id_new();
        struct tl_str event = {0};
        char id[TL_ID_TEXT];
        uint8_t key[TL_ID_LEN + 8];
        tl_id_text(&run, id);
        tl_str_printf(&event, "{\"type\":\"run.failed\",\"seq\":1,\"payload\":%s}", payloads[i]);
        memcpy(key, run.b, TL_ID_LEN);
        tl_key_u64(key + TL_ID_LEN, 1);
        struct put put = {key, &event};
        assert_int_equal(tl_db_update(db, put_event, &put), 0);
        tl_str_clear(&event);
        TL_AUTO_FREE char *text = logged(tell_the_end, &run);
        assert_non_null(strstr(text, "\"event\":\"run.ended\""));
        assert_non_null(strstr(text, id));
        assert_non_null(strstr(text, "ended: failed"));
        assert_int_equal(strstr(text, "\"level\":\"error\",\"event\":\"worker.crash\"") != NULL, i == 0);
    }
}

static void taken_addresses_are_refused(void **state)
{
    (void)state;
    struct tl_server *second;
    struct tl_server_conf conf = srv->conf;
    conf.port = tl_server_port(srv);
    assert_int_equal(tl_server_new(&conf, &second), TL_EBUSY);
    assert_null(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_does_not_read_is_sent_away), cmocka_unit_test(a_download_that_nobody_reads_ends), cmocka_unit_test(silence_is_broken),
        cmocka_unit_test(a_call_waits_for_the_end_but_not_for_ever), cmocka_unit_test(waiting_costs_nothing),
        cmocka_unit_test(a_record_that_was_cut_is_read_anew), cmocka_unit_test(journals_are_read_on_the_pool), cmocka_unit_test(bodies_hold_no_more_than_they_may), cmocka_unit_test(a_key_holds_over_a_crash),
        cmocka_unit_test(crashes_of_workers_are_logged),
        cmocka_unit_test(taken_addresses_are_refused),
    };
    if (tl_hash_init() < 0)
        return 1;
    crypto_sign_keypair(pub, secret);
    return cmocka_run_group_tests(tests, start, stop);
}

/* The talos of `fanout.sh`: a server in this process, with one run whose journal grows as it is told to. Events are appended as a journal does it: in a
 * transaction with the run's record, one commit under way at a time, what is asked for meanwhile in the next one, and told to the server after the commit.
 *
 *   fanout DIR BYTES
 *
 * says "PORT CONTROL_PORT RUN TOKEN"; on a connection to the control port each byte asks for one more event of about BYTES bytes. Ends with that connection. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "server/server.h"
#include "server/token.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    struct tl_db *db;
    struct tl_server *server;
    struct tl_id run;
    char run_text[TL_ID_TEXT];
    size_t bytes;
    pthread_mutex_t lock;
    uint64_t seq, from; /* last event made; first of the commit under way */
    unsigned long wanted;
    bool committing;
} bench = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void die(const char *what, int err)
{
    fprintf(stderr, "fanout: %s: %s\n", what, err < 0 ? tl_err_text(err) : "failed");
    exit(1);
}

static int put_record(struct tl_txn *txn)
{
    char text[512];
    int n = snprintf(
        text, sizeof(text),
        "{\"id\":\"%s\",\"org\":\"bench\",\"sub\":\"bench\",\"kind\":\"canvas\",\"status\":\"running\",\"progress\":1."
        "0,"
        "\"created_at\":\"2026-01-01T00:00:00.000Z\",\"updated_at\":\"2026-01-01T00:00:00.000Z\",\"last_seq\":%llu}",
        bench.run_text, (unsigned long long)bench.seq);
    return tl_txn_put(txn, TL_TBL_RUN, bench.run.b, TL_ID_LEN, text, (size_t)n);
}

static int put_event(struct tl_txn *txn, uint64_t seq)
{
    char text[4096];
    uint8_t key[TL_ID_LEN + 8];
    int n = snprintf(text, sizeof(text),
                     "{\"event_id\":\"%s:%llu\",\"run_id\":\"%s\",\"type\":\"run.progress\",\"seq\":%llu,\"ts\":\"2026-"
                     "01-01T00:00:00.000Z\","
                     "\"payload\":{\"progress\":50,\"message\":\"",
                     bench.run_text, (unsigned long long)seq, bench.run_text, (unsigned long long)seq);
    while ((size_t)n + 3 < bench.bytes)
        text[n++] = 'x';
    memcpy(text + n, "\"}}", 3);
    memcpy(key, bench.run.b, TL_ID_LEN);
    tl_key_u64(key + TL_ID_LEN, seq);
    return tl_txn_put(txn, TL_TBL_EVENT, key, sizeof(key), text, (size_t)n + 3);
}

static int put_batch(struct tl_txn *txn, void *arg)
{
    (void)arg;
    int err = put_record(txn);
    for (uint64_t seq = bench.from; !err && seq <= bench.seq; seq++)
        err = put_event(txn, seq);
    return err;
}

static void commit(void);

static void committed(void *arg, int err)
{
    (void)arg;
    if (err < 0)
        die("a commit", err);
    tl_server_notify(&bench.server, &bench.run, bench.seq, false);
    pthread_mutex_lock(&bench.lock);
    bench.committing = false;
    if (bench.wanted)
        commit();
    pthread_mutex_unlock(&bench.lock);
}

static void commit(void)
{
    bench.from = bench.seq + 1;
    bench.seq += bench.wanted;
    bench.wanted = 0;
    bench.committing = true;
    int err = tl_db_submit(bench.db, put_batch, NULL, committed);
    if (err < 0)
        die("a write", err);
}

static void want(unsigned long n)
{
    pthread_mutex_lock(&bench.lock);
    bench.wanted += n;
    if (!bench.committing)
        commit();
    pthread_mutex_unlock(&bench.lock);
}

static int make_run(struct tl_txn *txn, void *arg)
{
    (void)arg;
    return put_record(txn);
}

static void *serve(void *arg)
{
    (void)arg;
    int err = tl_server_run(bench.server);
    if (err < 0)
        die("serving", err);
    return NULL;
}

static int control_listen(int *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        die("the control port", 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void obey(int listener)
{
    char orders[4096];
    int fd = accept(listener, NULL, NULL);
    for (ssize_t n; (n = recv(fd, orders, sizeof(orders), 0)) > 0;)
        want((unsigned long)n);
    close(fd);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    uint8_t pub[32], secret[64];
    if (argc != 3)
        die("fanout DIR BYTES", 0);
    bench.bytes = (size_t)strtoul(argv[2], NULL, 10);
    if (bench.bytes > 4000)
        die("events of more than 4000 bytes", 0);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (tl_hash_init() < 0)
        die("randomness", 0);
    crypto_sign_keypair(pub, secret);
    bench.run = tl_id_new();
    tl_id_text(&bench.run, bench.run_text);
    int err = tl_db_open(argv[1], TL_DB_CREATE | TL_DB_EXCLUSIVE, &bench.db);
    if (err < 0 || (err = tl_db_update(bench.db, make_run, NULL)) < 0)
        die("the database", err);
    struct tl_services services = {.db = bench.db};
    struct tl_exec *exec = NULL;
    if ((err = tl_exec_new(&(struct tl_exec_conf){.threads = 1, .db = bench.db, .services = &services}, &exec)) < 0)
        die("the executor", err);
    const struct tl_server_conf conf = {.host = "127.0.0.1",
                                        .db = bench.db,
                                        .exec = exec,
                                        .services = &services,
                                        .data_dir = argv[1],
                                        .issuer_public = pub};
    if ((err = tl_server_new(&conf, &bench.server)) < 0)
        die("the server", err);
    pthread_t thread;
    int control, listener = control_listen(&control);
    if (pthread_create(&thread, NULL, serve, NULL))
        die("a thread", 0);
    struct tl_claims who = {.sub = "bench", .org = "bench", .role = TL_ROLE_MEMBER};
    TL_AUTO_FREE char *token = tl_token_issue(secret, pub, &who, 3600);
    printf("%d %d %s %s\n", tl_server_port(bench.server), control, bench.run_text, token ? token : "");
    fflush(stdout);
    obey(listener);
    close(listener);
    tl_server_stop(bench.server);
    pthread_join(thread, NULL);
    tl_exec_free(exec);
    tl_db_close(bench.db); /* after the last notification */
    tl_server_free(bench.server);
    return 0;
}

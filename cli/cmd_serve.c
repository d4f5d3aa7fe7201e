#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "cli/wait.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct options {
    const char *data, *web;
    char *host;
    int port;
    uint64_t cache_max;
};

/* "HOST:PORT", "[::1]:PORT", ":PORT" or "PORT". */
static bool parse_listen(const char *text, struct options *o)
{
    const char *colon = strrchr(text, ':');
    const char *port = colon ? colon + 1 : text;
    size_t host = colon ? (size_t)(colon - text) : 0;
    long n;
    if (!tl_cli_number(port, 0, 65535, &n))
        return false;
    if (host >= 2 && text[0] == '[' && text[host - 1] == ']') {
        text++;
        host -= 2;
    } else if (memchr(text, ':', host)) {
        return false;
    }
    free(o->host);
    o->host = host ? tl_strndup(text, host) : tl_strdup("127.0.0.1");
    o->port = (int)n;
    return o->host != NULL;
}

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"data", required_argument, NULL, 'd'},
                                          {"listen", required_argument, NULL, 'l'},
                                          {"web", required_argument, NULL, 'w'},
                                          {"cache-max", required_argument, NULL, 'c'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        if (c == 'h') {
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        }
        if (c == 'd')
            o->data = optarg;
        else if (c == 'w')
            o->web = optarg;
        else if (c == 'c' && !tl_cli_bytes(optarg, &o->cache_max))
            return tl_cli_usage(cmd, "--cache-max takes bytes such as 512M or 2G, not '%s'", optarg);
        else if (c == 'c')
            continue;
        else if (c != 'l')
            return tl_cli_usage(cmd, "that option is not known or lacks its value");
        else if (!parse_listen(optarg, o))
            return tl_cli_usage(cmd, "--listen takes HOST:PORT, not '%s'", optarg);
    }
    if (optind < argc)
        return tl_cli_usage(cmd, "serve takes no '%s'", argv[optind]);
    if (!o->host && !parse_listen("127.0.0.1:8484", o))
        return TL_EXIT_INTERNAL;
    return -1;
}

/* Many clients are many descriptors. */
static void raise_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max == RLIM_INFINITY || r.rlim_max > 65536 ? 65536 : r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

struct stopper {
    struct tl_cli_wait wait;
    struct tl_server *server;
    _Atomic bool over; /* serving has ended */
};

/* The first signal ends serving; a second one ends the process, for whoever cannot wait. */
static void *stop_on_signal(void *arg)
{
    struct stopper *s = arg;
    for (int signals = 0; !atomic_load(&s->over);) {
        if (tl_cli_wait_for(&s->wait, -1) != TL_WAIT_SIGNAL)
            continue;
        if (++signals > 1)
            _exit(TL_EXIT_CANCELLED);
        tl_server_stop(s->server);
    }
    return NULL;
}

static bool loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcmp(host, "localhost");
}

static void greet(struct tl_app *app, const char *host)
{
    struct tl_server *server = atomic_load(&app->server);
    int port = tl_server_port(server);
    bool six = strchr(host, ':') != NULL;
    TL_AUTO_FREE char *login = tl_server_login_path(server, TL_LOCAL_ORG, TL_LOCAL_SUB, "admin");
    printf("talos listens on http://%s%s%s:%d\n", six ? "[" : "", host, six ? "]" : "", port);
    if (login)
        printf("Log in once, within 10 minutes: http://%s%s%s:%d%s\n", six ? "[" : "", host, six ? "]" : "", port,
               login);
    fflush(stdout);
    tl_log(TL_LOG_INFO, "server.start", "talos %s listens on %s port %d", TL_VERSION, host, port);
    if (!loopback(host))
        tl_cli_say("others can reach %s: put a proxy that speaks TLS before it", host);
}

static int serve(const struct options *o)
{
    struct stopper stopper = {0};
    struct tl_app app;
    if (tl_cli_wait_init(&stopper.wait) < 0)
        return tl_cli_fail(TL_EIO, "signals cannot be waited for");
    int err = tl_app_open(&app, o->data, o->cache_max);
    if (!err)
        err = tl_app_listen(&app, o->host, o->port, o->web);
    pthread_t thread;
    stopper.server = atomic_load(&app.server);
    if (!err && pthread_create(&thread, NULL, stop_on_signal, &stopper) != 0)
        err = TL_ENOMEM;
    if (!err) {
        greet(&app, o->host);
        err = tl_server_run(stopper.server);
        atomic_store(&stopper.over, true);
        tl_cli_wait_poke(&stopper.wait);
        pthread_join(thread, NULL);
        tl_log(err < 0 ? TL_LOG_ERROR : TL_LOG_INFO, "server.stop", "%s", err < 0 ? tl_err_text(err) : "ended by a signal");
        if (err < 0)
            tl_cli_fail(err, "serving has ended");
    }
    tl_app_close(&app);
    tl_cli_wait_release(&stopper.wait);
    return tl_cli_exit_status(err);
}

static int run(const struct tl_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    int status = parse(cmd, argc, argv, &o);
    if (status < 0 && o.host) {
        const char *log = getenv("TALOS_LOG");
        if (log && !strcmp(log, "debug"))
            tl_log_level(TL_LOG_DEBUG);
        raise_limit();
        status = serve(&o);
    }
    free(o.host);
    return status;
}

const struct tl_cmd tl_cmd_serve = {
    .name = "serve",
    .summary = "serve the canvas API and the browser",
    .help =
        "Usage: talos serve [--data DIR] [--listen HOST:PORT] [--web DIR] [--cache-max BYTES]\n\n"
        "Serves until Ctrl-C or SIGTERM. Prints the address and an address to log in with a browser, good for once.\n"
        "Runs that had not ended when talos last did are gone on with. The log is JSON lines on standard error.\n\n"
        "  --data DIR          where everything is kept; made if absent; may hold other files\n"
        "                      (default: $TALOS_DATA, else ~/.local/share/talos)\n"
        "  --listen HOST:PORT  default 127.0.0.1:8484; port 0 takes any free one\n"
        "  --web DIR           the files of the browser's canvas\n"
        "  --cache-max BYTES   of results kept for later runs, the least recently used out first; 512M, 2G …\n"
        "                      (default: $TALOS_CACHE_MAX, else 1G)\n\n"
        "Environment: TALOS_WORKER (the talos-worker program; default: beside talos), TALOS_LOG=debug (requests that only read\n"
        "are logged too), ALLOW_INPUT_FALLBACKS=true (a "
        "capsule's\n"
        "missing required inputs take defaults), TALOS_LLM_URL and TALOS_LLM_MODEL (a language model), TALOS_DESTINATIONS\n"
        "(what http.post nodes may send to); see docs/operations.md.\n\n"
        "Exit status: 0 ended by a signal; 2 wrong usage; 4 the data directory or the address is in use; 5 the storage "
        "failed.\n",
    .run = run,
};

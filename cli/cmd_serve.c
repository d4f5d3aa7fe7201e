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
    struct tl_app_conf conf;
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

static bool parse_places(const char *text, unsigned *ret)
{
    long n;
    bool ok = tl_cli_number(text, 1, 1024, &n);
    if (ok)
        *ret = (unsigned)n;
    return ok;
}

/* NULL, or what the option takes. */
static const char *parse_conf(int c, const char *text, struct tl_app_conf *conf)
{
    switch (c) {
    case 'c':
        return tl_cli_bytes(text, &conf->cache_max) ? NULL : "--cache-max takes bytes such as 512M or 2G";
    case 'r':
        return tl_cli_days(text, &conf->keep_ms) ? NULL : "--retention takes days such as 30 or 0.5";
    case 'C':
        return parse_places(text, &conf->places[TL_CLASS_CPU]) ? NULL : "--cpu takes a number from 1 to 1024";
    case 'M':
        return parse_places(text, &conf->places[TL_CLASS_MEDIA]) ? NULL : "--media takes a number from 1 to 1024";
    case 'N':
        return parse_places(text, &conf->places[TL_CLASS_NET]) ? NULL : "--net takes a number from 1 to 1024";
    default:
        return "that option is not known or lacks its value";
    }
}

/* --retention counts, also 0; else the environment. */
static int parse_retention_env(struct options *o, bool given)
{
    const char *text = getenv("TALOS_RETENTION");
    if (given || !text || !*text || tl_cli_days(text, &o->conf.keep_ms))
        return 0;
    tl_cli_say("TALOS_RETENTION takes days such as 30 or 0.5, not '%s'", text);
    return TL_EXIT_USAGE;
}

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"data", required_argument, NULL, 'd'},
                                          {"listen", required_argument, NULL, 'l'},
                                          {"web", required_argument, NULL, 'w'},
                                          {"cache-max", required_argument, NULL, 'c'},
                                          {"retention", required_argument, NULL, 'r'},
                                          {"cpu", required_argument, NULL, 'C'},
                                          {"media", required_argument, NULL, 'M'},
                                          {"net", required_argument, NULL, 'N'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    bool retention = false;
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        const char *wrong;
        if (c == 'h') {
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        }
        retention |= c == 'r';
        if (c == 'd')
            o->data = optarg;
        else if (c == 'w')
            o->web = optarg;
        else if (c == 'l' && !parse_listen(optarg, o))
            return tl_cli_usage(cmd, "--listen takes HOST:PORT, not '%s'", optarg);
        else if (c != 'l' && (wrong = parse_conf(c, optarg, &o->conf)))
            return c == '?' ? tl_cli_usage(cmd, "%s", wrong) : tl_cli_usage(cmd, "%s, not '%s'", wrong, optarg);
    }
    if (optind < argc)
        return tl_cli_usage(cmd, "serve takes no '%s'", argv[optind]);
    if (!o->host && !parse_listen("127.0.0.1:8484", o))
        return TL_EXIT_INTERNAL;
    int status = parse_retention_env(o, retention);
    return status ? status : -1;
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
    int err = tl_app_open(&app, o->data, &o->conf);
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
        "Usage: talos serve [--data DIR] [--listen HOST:PORT] [--web DIR] [--cache-max BYTES] [--retention DAYS]\n"
        "                   [--cpu N] [--media N] [--net N]\n\n"
        "Serves until Ctrl-C or SIGTERM. Prints the address and an address to log in with a browser, good for once.\n"
        "Runs that had not ended when talos last did are gone on with. The log is JSON lines on standard error.\n\n"
        "  --data DIR          where everything is kept; made if absent; may hold other files\n"
        "                      (default: $TALOS_DATA, else ~/.local/share/talos)\n"
        "  --listen HOST:PORT  default 127.0.0.1:8484; port 0 takes any free one\n"
        "  --web DIR           the files of the browser's canvas\n"
        "  --cache-max BYTES   of results kept for later runs, the least recently used out first; 512M, 2G …\n"
        "                      (default: $TALOS_CACHE_MAX, else 1G)\n"
        "  --retention DAYS    cuts the journals of runs that ended longer ago down to their state and ending; 30, 0.5 …\n"
        "                      (default: $TALOS_RETENTION, else 0: everything is kept)\n"
        "  --cpu N, --media N, --net N\n"
        "                      so many nodes at work at once that compute, that read films, that wait for the network\n"
        "                      (default: one per core, 2, 64)\n\n"
        "Environment: TALOS_WORKER (the talos-worker program; default: beside talos), TALOS_LOG=debug (requests that only read\n"
        "are logged too), ALLOW_INPUT_FALLBACKS=true (a "
        "capsule's\n"
        "missing required inputs take defaults), TALOS_LLM_URL and TALOS_LLM_MODEL (a language model), TALOS_DESTINATIONS\n"
        "(what http.post nodes may send to); see docs/operations.md.\n\n"
        "Exit status: 0 ended by a signal; 2 wrong usage; 4 the data directory or the address is in use; 5 the storage "
        "failed.\n",
    .run = run,
};

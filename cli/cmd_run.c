#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/fill.h"
#include "cli/outputs.h"
#include "cli/progress.h"
#include "cli/summary.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GIVEN_MAX = 256 };

struct options {
    const char *what, *data, *server, *token, *out;
    bool json;
    const char *sets[GIVEN_MAX], *inputs[GIVEN_MAX];
    size_t nsets, ninputs;
};

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"set", required_argument, NULL, 's'},
                                          {"input", required_argument, NULL, 'i'},
                                          {"data", required_argument, NULL, 'd'},
                                          {"server", required_argument, NULL, 'u'},
                                          {"token", required_argument, NULL, 't'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"out", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        if (c == 'h') {
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        }
        if (c == 's' && o->nsets < GIVEN_MAX)
            o->sets[o->nsets++] = optarg;
        else if (c == 'i' && o->ninputs < GIVEN_MAX)
            o->inputs[o->ninputs++] = optarg;
        else if (c == 'd')
            o->data = optarg;
        else if (c == 'u')
            o->server = optarg;
        else if (c == 't')
            o->token = optarg;
        else if (c == 'o')
            o->out = optarg;
        else if (c == 'j')
            o->json = true;
        else
            return tl_cli_usage(cmd, "that option is not known, lacks its value or is given too often");
    }
    if (optind + 1 != argc)
        return tl_cli_usage(cmd, optind < argc ? "run takes one template or graph"
                                               : "run takes a template or a file with a graph");
    o->what = argv[optind];
    if (o->server && o->data)
        return tl_cli_usage(cmd, "--data and --server exclude each other: a server has its own data directory");
    if (!o->token)
        o->token = getenv("TALOS_TOKEN");
    return -1;
}

/* A file where the name looks like one, else a template. */
static int load(struct tl_cli_door *door, const char *what, struct tl_cli_fill *fill)
{
    TL_AUTO_JSON json_t *json = NULL;
    size_t n = strlen(what);
    bool file = strchr(what, '/') || (n > 5 && !strcmp(what + n - 5, ".json"));
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    int err = file ? tl_json_load(what, TL_JSON_MAX_GRAPH, &json, &diag) : door->ops->template(door, what, &json);
    if (err < 0) {
        if (!file && err == TL_ENOTFOUND)
            tl_cli_say("there is no template '%s'; 'talos template list' shows them", what);
        else if (!file && err == TL_ETRANSIENT_IO)
            tl_cli_say("the server cannot be reached: is it running, and is the address right?");
        else
            tl_cli_fail(err, "%s", what);
        tl_cli_problems(&diag);
        return err;
    }
    err = tl_cli_fill_init(fill, json, what);
    if (err < 0)
        tl_cli_say("%s: this is no graph: it has no \"nodes\"", what);
    return err;
}

static int fill_in(struct tl_cli_door *door, const struct options *o, struct tl_cli_fill *fill)
{
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    int err = 0;
    for (size_t i = 0; i < o->nsets; i++) {
        int e = tl_cli_fill_set(fill, o->sets[i], &diag);
        err = err ? err : e;
    }
    for (size_t i = 0; !err && i < o->ninputs; i++)
        err = tl_cli_fill_input(fill, door, o->inputs[i], &diag);
    if (!err)
        err = door->ops->start(door, fill->name, fill->graph, &diag);
    if (err < 0 && tl_diag_any(&diag))
        tl_cli_say("the run cannot start:");
    else if (err < 0)
        tl_cli_fail(err, "the run cannot start");
    tl_cli_problems(&diag);
    return err;
}

struct following {
    struct tl_cli_view *view;
    bool json;
};

static void one_event(void *arg, const char *text, size_t len)
{
    const struct following *f = arg;
    TL_AUTO_JSON json_t *event = NULL;
    if (f->json) {
        fwrite(text, 1, len, stdout);
        putchar('\n');
        fflush(stdout);
    }
    if (tl_json_parse(text, len, &event, NULL) == 0)
        tl_cli_view_event(f->view, event);
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

/* Until the run has ended. The first Ctrl-C cancels it, a second one leaves it. */
static int follow(struct tl_cli_door *door, struct tl_cli_wait *wait, struct tl_cli_view *view,
                  struct tl_cli_progress *progress, bool json)
{
    struct following f = {view, json};
    for (int signals = 0;;) {
        int err = door->ops->events(door, one_event, &f);
        if (err < 0)
            return err;
        if (progress)
            tl_cli_progress_show(progress, tl_cli_view_ended(view));
        if (tl_cli_view_ended(view))
            return 0;
        int ms = sooner(door->ops->next_ms(door), progress ? tl_cli_progress_due_ms(progress) : -1);
        if (tl_cli_wait_for(wait, ms) != TL_WAIT_SIGNAL)
            continue;
        if (++signals > 1)
            return TL_ECANCELLED;
        tl_cli_say("cancelling; once more leaves the run alone");
        err = door->ops->cancel(door);
        if (err < 0 && err != TL_ECONFLICT)
            return err;
    }
}

static int show(struct tl_cli_door *door, const struct options *o, const struct tl_cli_fill *fill,
                const struct tl_cli_view *view)
{
    TL_AUTO_JSON json_t *files = NULL;
    int err = o->out ? tl_cli_outputs_write(door, view, fill->uploads, o->out, &files) : 0;
    if (!o->json) {
        struct tl_cli_term term = tl_cli_term_of(stdout);
        struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
        tl_cli_summary(&term, view, files, &text);
        if (text.data)
            fputs(text.data, stdout);
        fflush(stdout);
    }
    if (err < 0)
        return tl_cli_fail(err, "outputs cannot be written to %s", o->out);
    return view->status == TL_VIEW_DONE        ? TL_EXIT_OK
           : view->status == TL_VIEW_CANCELLED ? TL_EXIT_CANCELLED
                                               : TL_EXIT_FAILED;
}

static int run_through(struct tl_cli_door *door, struct tl_cli_wait *wait, const struct options *o)
{
    struct tl_cli_fill fill TL_CLEANUP(tl_cli_fill_clear) = {0};
    struct tl_cli_view view TL_CLEANUP(tl_cli_view_clear) = {0};
    struct tl_cli_progress *progress = NULL;
    int err = load(door, o->what, &fill);
    if (!err)
        err = fill_in(door, o, &fill);
    if (err < 0)
        return tl_cli_exit_status(err);
    err = tl_cli_view_init(&view, fill.graph);
    if (!err && !o->json) {
        fprintf(stderr, "%s  (run %s)\n", fill.name, door->ops->run_id(door));
        err = tl_cli_progress_new(stderr, &view, &progress);
    }
    if (!err)
        err = follow(door, wait, &view, progress, o->json);
    tl_cli_progress_free(progress);
    if (err < 0)
        return tl_cli_fail(err, "the run %s is left to itself", door->ops->run_id(door));
    return show(door, o, &fill, &view);
}

static int run(const struct tl_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    int status = parse(cmd, argc, argv, &o);
    if (status >= 0 || !o.what)
        return status;
    struct tl_cli_wait wait;
    if (tl_cli_wait_init(&wait) < 0)
        return tl_cli_fail(TL_EIO, "signals cannot be waited for");
    struct tl_cli_door *door;
    int err = o.server ? tl_cli_door_server(o.server, o.token, &wait, &door) : tl_cli_door_local(o.data, &wait, &door);
    if (!err) {
        status = run_through(door, &wait, &o);
        door->ops->close(door);
    } else {
        status = tl_cli_exit_status(err);
    }
    tl_cli_wait_release(&wait);
    return status;
}

const struct tl_cmd tl_cmd_run = {
    .name = "run",
    .summary = "run a template or a graph, here or on a server",
    .help =
        "Usage: talos run TEMPLATE|GRAPH.json [--set NODE.PARAM=VALUE]... [--input NAME=FILE]... [--out DIR] [--json]\n"
        "                 [--data DIR | --server URL [--token TOKEN]]\n\n"
        "Runs a template (see 'talos template list') or a file with a graph, shows how far each node is, and ends with "
        "what came out.\n"
        "Ctrl-C cancels the run.\n\n"
        "  --set NODE.PARAM=VALUE   sets a parameter; NODE.inputs.PORT=VALUE an input that has no edge. VALUE is JSON, "
        "or else text\n"
        "  --input NAME=FILE        gives a file to an input of the template, or to NODE.PARAM\n"
        "  --out DIR                writes pictures, sounds and films that came out to DIR\n"
        "  --json                   prints the run's events, one a line, and nothing else\n"
        "  --data DIR               runs in this process (default: $TALOS_DATA, else ~/.local/share/talos)\n"
        "  --server URL             runs on a server\n"
        "  --token TOKEN            for the server (default: $TALOS_TOKEN)\n\n"
        "Exit status: 0 done; 1 the run failed; 2 wrong usage, or the graph is not valid; 3 no such template or file; "
        "4 the data\n"
        "directory is in use; 5 the storage failed; 6 the server cannot be reached or refuses; 130 cancelled.\n",
    .run = run,
};

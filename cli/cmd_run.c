#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/fill.h"
#include "cli/outputs.h"
#include "cli/progress.h"
#include "cli/summary.h"
#include "cli/text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GIVEN_MAX = 256 };

struct options {
    const char *what, *data, *server, *token, *out;
    bool json, dry;
    const char *priority;
    struct tl_estimate_budget budget;
    const char *sets[GIVEN_MAX], *inputs[GIVEN_MAX];
    size_t nsets, ninputs;
};

/* NULL, or what the option takes. */
static const char *parse_bounds(int c, const char *text, struct options *o)
{
    char *end;
    double n = strtod(text, &end);
    bool number = *text && !*end && strspn(text, "0123456789.") == strlen(text) && n > 0 && n <= 1e9;
    if (c == 'p') {
        o->priority = text;
        return !strcmp(text, "low") || !strcmp(text, "usual") || !strcmp(text, "high") ? NULL : "--priority takes low, usual or high";
    }
    *(c == 'c' ? &o->budget.cost_usd : &o->budget.tokens) = n;
    if (c == 'c')
        return number ? NULL : "--budget-cost takes US dollars such as 0.5";
    return number && !strchr(text, '.') ? NULL : "--budget-tokens takes a number of tokens";
}

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"set", required_argument, NULL, 's'},
                                          {"input", required_argument, NULL, 'i'},
                                          {"data", required_argument, NULL, 'd'},
                                          {"server", required_argument, NULL, 'u'},
                                          {"token", required_argument, NULL, 't'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"priority", required_argument, NULL, 'p'},
                                          {"budget-cost", required_argument, NULL, 'c'},
                                          {"budget-tokens", required_argument, NULL, 'n'},
                                          {"dry-run", no_argument, NULL, 'D'},
                                          {"out", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const char *wrong;
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
        else if (c == 'D')
            o->dry = true;
        else if ((c == 'p' || c == 'c' || c == 'n') && (wrong = parse_bounds(c, optarg, o)))
            return tl_cli_usage(cmd, "%s, not '%s'", wrong, optarg);
        else if (c != 'p' && c != 'c' && c != 'n')
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

/* Fills in the graph and starts it, or finds out what it would take: then *ret_estimate is that, owned. */
static int fill_in(struct tl_cli_door *door, const struct options *o, struct tl_cli_fill *fill, json_t **ret_estimate)
{
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    int err = 0;
    for (size_t i = 0; i < o->nsets; i++) {
        int e = tl_cli_fill_set(fill, o->sets[i], &diag);
        err = err ? err : e;
    }
    for (size_t i = 0; !err && i < o->ninputs; i++)
        err = tl_cli_fill_input(fill, door, o->inputs[i], &diag);
    const struct tl_cli_start start = {
        .name = fill->name, .graph = fill->graph, .priority = o->priority, .budget = o->budget};
    if (!err && o->dry)
        err = door->ops->estimate(door, &start, ret_estimate, &diag);
    else if (!err)
        err = door->ops->start(door, &start, &diag);
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

static bool contains(const json_t *list, const char *text)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
        if (!strcmp(json_string_value(v) ? json_string_value(v) : "", text))
            return true;
    return false;
}

/* A dry run's answer for a person: each node in order as far as one wants to read, then the sums. */
static int show_estimate(const json_t *answer, bool json)
{
    enum { SHOWN = 60 };
    struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
    const json_t *order = json_object_get(answer, "order"), *cached = json_object_get(answer, "cached"), *e = json_object_get(answer, "estimate"),
                 *unknown = json_object_get(e, "unknown_ops");
    bool exceeded = tl_json_bool(answer, "budget_exceeded", false);
    if (json) {
        tl_json_add(&text, answer);
        tl_str_puts(&text, "\n");
    }
    for (size_t i = 0; !json && i < json_array_size(order) && i < SHOWN; i++) {
        const char *id = json_string_value(json_array_get(order, i));
        tl_str_puts(&text, contains(cached, id ? id : "") ? "  there already  " : "  runs           ");
        tl_cli_text_clean(&text, id ? id : "");
        tl_str_puts(&text, "\n");
    }
    if (!json && json_array_size(order) > SHOWN)
        tl_str_printf(&text, "  … and %zu more\n", json_array_size(order) - SHOWN);
    if (!json)
        tl_str_printf(&text, "To run: %lld, there already: %lld. Estimate: %.3g s, %.15g tokens, %.6g USD.\n",
                      (long long)tl_json_int(e, "nodes_to_run", 0), (long long)tl_json_int(e, "nodes_cached", 0), tl_json_num(e, "seconds", 0),
                      tl_json_num(e, "tokens", 0), tl_json_num(e, "cost_usd", 0));
    for (size_t i = 0; !json && i < json_array_size(unknown); i++) {
        const char *op = json_string_value(json_array_get(unknown, i));
        tl_str_puts(&text, i ? ", " : "Never run before, so counted as nothing: ");
        tl_cli_text_clean(&text, op ? op : "");
        tl_str_puts(&text, i + 1 == json_array_size(unknown) ? ".\n" : "");
    }
    if (!json && exceeded) {
        tl_str_puts(&text, "Beyond the budget: ");
        tl_cli_text_clean(&text, tl_json_str(answer, "message") ? tl_json_str(answer, "message") : "");
        tl_str_puts(&text, ".\n");
    }
    if (text.data)
        fputs(text.data, stdout);
    return text.err ? TL_EXIT_INTERNAL : exceeded ? TL_EXIT_FAILED : TL_EXIT_OK;
}

static int run_through(struct tl_cli_door *door, struct tl_cli_wait *wait, const struct options *o)
{
    struct tl_cli_fill fill TL_CLEANUP(tl_cli_fill_clear) = {0};
    struct tl_cli_view view TL_CLEANUP(tl_cli_view_clear) = {0};
    struct tl_cli_progress *progress = NULL;
    TL_AUTO_JSON json_t *estimate = NULL;
    int err = load(door, o->what, &fill);
    if (!err)
        err = fill_in(door, o, &fill, &estimate);
    if (err < 0)
        return tl_cli_exit_status(err);
    if (o->dry)
        return show_estimate(estimate, o->json);
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
        "                 [--priority low|usual|high] [--budget-cost USD] [--budget-tokens N] [--dry-run]\n"
        "                 [--data DIR | --server URL [--token TOKEN]]\n\n"
        "Runs a template (see 'talos template list') or a file with a graph, shows how far each node is, and ends with "
        "what came out.\n"
        "Ctrl-C cancels the run.\n\n"
        "  --set NODE.PARAM=VALUE   sets a parameter; NODE.inputs.PORT=VALUE an input that has no edge. VALUE is JSON, "
        "or else text\n"
        "  --input NAME=FILE        gives a file to an input of the template, or to NODE.PARAM\n"
        "  --out DIR                writes pictures, sounds and films that came out to DIR\n"
        "  --json                   prints the run's events, one a line, and nothing else\n"
        "  --priority P             low, usual or high: among the runs of one organisation\n"
        "  --budget-cost USD, --budget-tokens N\n"
        "                           does not begin what is expected to take more, and stops it when it does\n"
        "  --dry-run                runs nothing; prints in which order what would run, what is there already, and what it\n"
        "                           would take\n"
        "  --data DIR               runs in this process (default: $TALOS_DATA, else ~/.local/share/talos)\n"
        "  --server URL             runs on a server\n"
        "  --token TOKEN            for the server (default: $TALOS_TOKEN)\n\n"
        "Exit status: 0 done; 1 the run failed or exceeds its budget; 2 wrong usage, or the graph is not valid; 3 no such template or file; "
        "4 the data\n"
        "directory is in use; 5 the storage failed; 6 the server cannot be reached or refuses; 130 cancelled.\n",
    .run = run,
};

/* talos capsule and talos template: what can be placed on a canvas. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "cli/text.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *data, *verb, *id;
    bool json;
};

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"data", required_argument, NULL, 'd'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        if (c == 'h') {
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        }
        if (c == 'd')
            o->data = optarg;
        else if (c == 'j')
            o->json = true;
        else
            return tl_cli_usage(cmd, "that option is not known or lacks its value");
    }
    o->verb = optind < argc ? argv[optind++] : "";
    bool list = !strcmp(o->verb, "list"), one = !strcmp(o->verb, "show");
    if (one && optind < argc)
        o->id = argv[optind++];
    if ((!list && !one) || optind < argc || (one && !o->id))
        return tl_cli_usage(cmd, "%s takes 'list' or 'show ID'", cmd->name);
    return -1;
}

static int print_json(const json_t *v)
{
    char *text = json_dumps(v, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (!text)
        return tl_cli_fail(TL_ENOMEM, "the answer cannot be printed");
    puts(text);
    free(text);
    return TL_EXIT_OK;
}

/* Rows of two to three columns: id, version, name. */
static int print_rows(const json_t *items, const char *second, const char *third)
{
    int first_cells = 0, second_cells = 0;
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) {
        const char *a = tl_json_str(item, "id"), *b = tl_cli_local(json_object_get(item, second));
        first_cells = a && tl_cli_text_width(a) > first_cells ? tl_cli_text_width(a) : first_cells;
        second_cells = b && tl_cli_text_width(b) > second_cells ? tl_cli_text_width(b) : second_cells;
    }
    struct tl_str out TL_CLEANUP(tl_str_clear) = {0};
    json_array_foreach(items, i, item) {
        const char *a = tl_json_str(item, "id"), *b = tl_cli_local(json_object_get(item, second));
        const char *c = tl_cli_local(json_object_get(item, third));
        tl_cli_text_pad(&out, a ? a : "", first_cells + 2);
        tl_cli_text_pad(&out, b ? b : "", second_cells + 2);
        tl_cli_text_clean(&out, c ? c : "");
        tl_str_puts(&out, "\n");
    }
    fputs(out.data ? out.data : "", stdout);
    return TL_EXIT_OK;
}

/* Hands app and options to look, which prints. */
static int with_catalog(const struct tl_cmd *cmd, int argc, char **argv,
                        int (*look)(struct tl_app *app, const struct options *o))
{
    struct options o = {0};
    int status = parse(cmd, argc, argv, &o);
    if (status >= 0)
        return status;
    struct tl_app app;
    int err = tl_app_open_beside(&app, o.data, true);
    if (err < 0)
        return tl_cli_exit_status(err);
    status = look(&app, &o);
    tl_app_close(&app);
    return status;
}

static int look_capsules(struct tl_app *app, const struct options *o)
{
    TL_AUTO_JSON json_t *found = NULL;
    TL_AUTO_FREE char *id = tl_strdup(o->id);
    char *at = id ? strchr(id, '@') : NULL;
    if (at)
        *at = '\0';
    int err = id ? tl_cat_capsule(app->catalog, TL_LOCAL_ORG, id, at ? at + 1 : NULL, false, &found)
                 : tl_cat_capsules(app->catalog, TL_LOCAL_ORG, false, &found);
    if (err < 0)
        return tl_cli_fail(err, "%s", o->id ? o->id : "the capsules cannot be listed");
    return id || o->json ? print_json(found) : print_rows(found, "version", "displayName");
}

static int look_templates(struct tl_app *app, const struct options *o)
{
    TL_AUTO_JSON json_t *found = NULL;
    int err = o->id ? tl_cat_template(app->catalog, o->id, &found) : tl_cat_templates(app->catalog, &found);
    if (err < 0)
        return tl_cli_fail(err, "%s", o->id ? o->id : "the templates cannot be listed");
    return o->id || o->json ? print_json(found) : print_rows(found, "title", "description");
}

static int run_capsule(const struct tl_cmd *cmd, int argc, char **argv)
{
    return with_catalog(cmd, argc, argv, look_capsules);
}

static int run_template(const struct tl_cmd *cmd, int argc, char **argv)
{
    return with_catalog(cmd, argc, argv, look_templates);
}

#define LIST_OPTIONS                                                                                                   \
    "  --data DIR  the data directory (default: $TALOS_DATA, else ~/.local/share/talos)\n"                             \
    "  --json      lists as JSON\n\n"                                                                                  \
    "Works beside a running server.\n\n"                                                                               \
    "Exit status: 0; 2 wrong usage; 3 not found; 5 the storage failed.\n"

const struct tl_cmd tl_cmd_capsule = {
    .name = "capsule",
    .summary = "list the sealed capsules, show what one takes and gives",
    .help = "Usage: talos capsule list [--json] [--data DIR]\n       talos capsule show ID[@VERSION] [--data DIR]\n\n"
            "Shows public specs only: inputs, outputs and parameters. What is inside a capsule is shown to "
            "nobody.\n\n" LIST_OPTIONS,
    .run = run_capsule,
};

const struct tl_cmd tl_cmd_template = {
    .name = "template",
    .summary = "list the templates, show one's graph",
    .help = "Usage: talos template list [--json] [--data DIR]\n       talos template show ID [--data DIR]\n\n"
            "What 'talos template show' prints can be saved, changed and run: 'talos run FILE.json'.\n\n" LIST_OPTIONS,
    .run = run_template,
};

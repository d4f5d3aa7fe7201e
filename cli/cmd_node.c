/* `talos why` and `talos approve`: one step of a run. */
#include "base/err.h"
#include "base/mem.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/text.h"
#include "graph/why.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *run, *node, *data, *server, *token, *comment, *decision;
    bool json;
};

static int parse(const struct tl_cmd *cmd, int argc, char **argv, const struct option *longs, struct options *o)
{
    int at = 0;
    for (int c; (c = getopt_long(argc, argv, "h", longs, &at)) != -1;) {
        switch (c) {
        case 'h':
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        case 'd':
            o->data = optarg;
            break;
        case 'u':
            o->server = optarg;
            break;
        case 't':
            o->token = optarg;
            break;
        case 'm':
            o->comment = optarg;
            break;
        case 'j':
            o->json = true;
            break;
        case 'A':
            if (o->decision)
                return tl_cli_usage(cmd, "one decision at a time");
            o->decision = longs[at].name;
            break;
        default:
            return tl_cli_usage(cmd, "that option is not known or lacks its value");
        }
    }
    if (optind + 2 != argc)
        return tl_cli_usage(cmd, "%s takes a run and one of its nodes", cmd->name);
    o->run = argv[optind];
    o->node = argv[optind + 1];
    if (!o->token)
        o->token = getenv("TALOS_TOKEN");
    return -1;
}

/* A client and what it waits with. */
struct remote {
    struct tl_cli_wait wait;
    struct tl_cli_client *client;
};

static int remote_open(struct remote *r, const struct options *o)
{
    int err = tl_cli_wait_init(&r->wait);
    if (err < 0)
        return err;
    err = tl_cli_client_new(o->server, o->token, &r->wait, &r->client);
    if (err < 0)
        tl_cli_wait_release(&r->wait);
    return err;
}

static void remote_close(struct remote *r)
{
    tl_cli_client_free(r->client);
    tl_cli_wait_release(&r->wait);
}

/* Says why a request failed; returns the exit status. */
static int say_refused(int err, const json_t *answer, const char *what)
{
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    tl_cli_client_refused(err, answer, &diag);
    if (!tl_diag_any(&diag))
        return tl_cli_fail(err, "%s", what);
    tl_cli_say("%s:", what);
    tl_cli_problems(&diag);
    return tl_cli_exit_status(err);
}

/* ---- why ---- */

static void add_value(struct tl_str *out, const json_t *v)
{
    TL_AUTO_FREE char *text = v ? tl_json_text(v) : NULL;
    tl_cli_text_clean(out, text ? text : "nothing");
}

static void add_change(struct tl_str *out, const json_t *c)
{
    const char *kind = tl_json_str(c, "kind"), *name = tl_json_str(c, "name");
    tl_str_puts(out, "  ");
    tl_cli_text_clean(out, kind ? kind : "");
    tl_str_puts(out, name ? " " : "");
    tl_cli_text_clean(out, name ? name : "");
    if (json_object_get(c, "from") || json_object_get(c, "to")) {
        tl_str_puts(out, ": ");
        add_value(out, json_object_get(c, "from"));
        tl_str_puts(out, " -> ");
        add_value(out, json_object_get(c, "to"));
    }
    tl_str_puts(out, "\n");
}

static int show_why(const json_t *answer, bool json)
{
    struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
    const char *sentence = tl_json_str(answer, "sentence");
    size_t i;
    json_t *c;
    if (json)
        tl_json_add(&text, answer);
    else
        tl_cli_text_clean(&text, sentence ? sentence : "");
    tl_str_puts(&text, "\n");
    json_array_foreach(json ? NULL : json_object_get(answer, "changes"), i, c)
        add_change(&text, c);
    if (text.data)
        fputs(text.data, stdout);
    return text.err ? TL_EXIT_INTERNAL : TL_EXIT_OK;
}

static int why_server(const struct options *o)
{
    struct remote r = {0};
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    TL_AUTO_JSON json_t *answer = NULL;
    int err = remote_open(&r, o);
    if (err < 0)
        return tl_cli_fail(err, "%s", o->server);
    tl_str_puts(&path, "/api/v1/runs/");
    tl_cli_client_add_segment(&path, o->run);
    tl_str_puts(&path, "/nodes/");
    tl_cli_client_add_segment(&path, o->node);
    tl_str_puts(&path, "/why");
    err = path.err ? path.err : tl_cli_client_call(r.client, "GET", path.data, NULL, &answer);
    remote_close(&r);
    return err < 0 ? say_refused(err, answer, "there is no answer") : show_why(answer, o->json);
}

static int why_here(const struct options *o)
{
    struct tl_app app;
    struct tl_id run;
    TL_AUTO_JSON json_t *answer = NULL;
    int err = tl_app_open(&app, o->data, &(struct tl_app_conf){0});
    if (err < 0)
        return tl_cli_exit_status(err); /* said already */
    err = tl_id_parse(o->run, &run) ? tl_run_why(app.exec, TL_LOCAL_ORG, &run, o->node, false, &answer) : TL_ENOTFOUND;
    tl_app_close(&app);
    if (err == TL_ENOTFOUND)
        tl_cli_say("there is no such run, or no such node in it");
    else if (err < 0)
        tl_cli_fail(err, "there is no answer");
    return err < 0 ? tl_cli_exit_status(err) : show_why(answer, o->json);
}

static int why(const struct tl_cmd *cmd, int argc, char **argv)
{
    static const struct option longs[] = {
        {"data", required_argument, NULL, 'd'},  {"server", required_argument, NULL, 'u'},
        {"token", required_argument, NULL, 't'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},        {0}};
    struct options o = {0};
    int status = parse(cmd, argc, argv, longs, &o);
    if (status >= 0)
        return status;
    if (o.server && o.data)
        return tl_cli_usage(cmd, "--data and --server exclude each other: a server has its own data directory");
    return o.server ? why_server(&o) : why_here(&o);
}

/* ---- approve ---- */

static const json_t *question_of(const json_t *record, const char *node)
{
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(record, "waiting_for"), i, w)
        if (tl_json_str(w, "node") && !strcmp(tl_json_str(w, "node"), node))
            return w;
    return NULL;
}

static int answer_question(struct tl_cli_client *client, const struct options *o)
{
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    TL_AUTO_JSON json_t *record = NULL, *body = NULL, *answer = NULL;
    tl_str_puts(&path, "/api/v1/runs/");
    tl_cli_client_add_segment(&path, o->run);
    int err = path.err ? path.err : tl_cli_client_call(client, "GET", path.data, NULL, &record);
    if (err < 0)
        return say_refused(err, record, "the run cannot be read");
    const char *hash = tl_json_str(question_of(record, o->node), "hash");
    if (!hash) {
        tl_cli_say("this step of the run does not wait for an answer");
        return TL_EXIT_FAILED;
    }
    body = json_pack("{s:s,s:s,s:s}", "node", o->node, "decision", o->decision, "hash", hash);
    if (body && o->comment)
        json_object_set_new(body, "comment", json_string(o->comment));
    tl_str_puts(&path, "/approve");
    err = !body || path.err ? TL_ENOMEM : tl_cli_client_call(client, "POST", path.data, body, &answer);
    if (err < 0)
        return say_refused(err, answer, "the answer was not taken");
    printf("%s: %s\n", o->node, o->decision);
    return TL_EXIT_OK;
}

static int approve(const struct tl_cmd *cmd, int argc, char **argv)
{
    static const struct option longs[] = {{"approve", no_argument, NULL, 'A'},
                                          {"reject", no_argument, NULL, 'A'},
                                          {"retry", no_argument, NULL, 'A'},
                                          {"fail", no_argument, NULL, 'A'},
                                          {"comment", required_argument, NULL, 'm'},
                                          {"server", required_argument, NULL, 'u'},
                                          {"token", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options o = {0};
    struct remote r = {0};
    int status = parse(cmd, argc, argv, longs, &o);
    if (status >= 0)
        return status;
    if (!o.decision)
        return tl_cli_usage(cmd, "one of --approve, --reject, --retry, --fail is needed");
    if (!o.server)
        o.server = "127.0.0.1:8484";
    int err = remote_open(&r, &o);
    if (err < 0)
        return tl_cli_fail(err, "%s", o.server);
    status = answer_question(r.client, &o);
    remote_close(&r);
    return status;
}

const struct tl_cmd tl_cmd_why = {
    .name = "why",
    .summary = "say why a node of a run ran, or did not",
    .help = "Usage: talos why RUN NODE [--json] [--data DIR | --server URL [--token TOKEN]]\n\n"
            "Says why a node of a run ran, or did not, and what differed from which earlier run. A step inside a group "
            "is named\n"
            "as events name it: map#3/grade.\n\n"
            "  --json          prints the API's answer\n"
            "  --data DIR      reads here, where no server has the directory (default: $TALOS_DATA, else "
            "~/.local/share/talos)\n"
            "  --server URL    asks a server\n"
            "  --token TOKEN   for the server (default: $TALOS_TOKEN)\n\n"
            "Exit status: 0 done; 2 wrong usage; 3 no such run or node; 4 the data directory is in use; 5 the storage "
            "failed;\n"
            "6 the server cannot be reached or refuses.\n",
    .run = why,
};

const struct tl_cmd tl_cmd_approve = {
    .name = "approve",
    .summary = "answer what a step of a run waits for",
    .help = "Usage: talos approve RUN NODE --approve|--reject|--retry|--fail [--comment TEXT] [--server URL] [--token "
            "TOKEN]\n\n"
            "Answers what a step of a run waits for: a gate (--approve, --reject), or a step of which it is not known "
            "whether it\n"
            "took effect outside (--retry, --fail). The answer is to what the step shows at this moment: look at it "
            "first. A gate\n"
            "with a form is answered over the API.\n\n"
            "  --comment TEXT   is kept with the answer\n"
            "  --server URL     default 127.0.0.1:8484\n"
            "  --token TOKEN    default: $TALOS_TOKEN\n\n"
            "Exit status: 0 the answer is taken; 1 the step does not wait, or was answered otherwise; 2 wrong usage; 3 "
            "no such run;\n"
            "6 the server cannot be reached or refuses.\n",
    .run = approve,
};

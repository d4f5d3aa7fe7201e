#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct remote {
    struct tl_cli_door door;
    struct tl_cli_client *client;
    char *run;
};

static int template(struct tl_cli_door *door, const char *id, json_t **ret)
{
    struct remote *r = (struct remote *)door;
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    tl_str_puts(&path, "/api/v1/templates/");
    tl_cli_client_add_segment(&path, id);
    int err = path.err ? path.err : tl_cli_client_call(r->client, "GET", path.data, NULL, ret);
    if (err < 0) {
        json_decref(*ret);
        *ret = NULL;
    }
    return err;
}

static int upload(struct tl_cli_door *door, const char *path, const char *content_type, const char *name, json_t **ret)
{
    struct remote *r = (struct remote *)door;
    TL_AUTO_JSON json_t *file = NULL;
    int err = tl_cli_client_upload(r->client, path, content_type, name, &file);
    if (err < 0) {
        struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
        tl_cli_client_refused(err, file, &diag);
        tl_cli_problems(&diag);
        return err;
    }
    *ret = json_incref(file);
    return 0;
}

/* The fields of a request for a run. */
static json_t *options_of(const struct tl_cli_start *s)
{
    json_t *body = json_object(), *budget = json_object();
    if (s->priority)
        json_object_set_new(body, "priority", json_string(s->priority));
    if (s->budget.cost_usd > 0)
        json_object_set_new(budget, "cost_usd", json_real(s->budget.cost_usd));
    if (s->budget.tokens > 0)
        json_object_set_new(budget, "tokens", json_integer((json_int_t)s->budget.tokens));
    if (json_object_size(budget))
        json_object_set(body, "budget", budget);
    json_decref(budget);
    return body;
}

static int estimate(struct tl_cli_door *door, const struct tl_cli_start *s, json_t **ret, struct tl_diag *diag)
{
    struct remote *r = (struct remote *)door;
    TL_AUTO_JSON json_t *body = options_of(s), *answer = NULL;
    if (!body || json_object_set(body, "graph", s->graph) < 0 || json_object_set_new(body, "dry_run", json_true()) < 0)
        return TL_ENOMEM;
    int err = tl_cli_client_call(r->client, "POST", "/api/v1/runs", body, &answer);
    if (err < 0)
        return tl_cli_client_refused(err, answer, diag);
    if (!tl_json_bool(answer, "ok", false)) {
        tl_cli_client_problems(json_object_get(answer, "problems"), diag);
        return TL_EINVAL;
    }
    *ret = json_incref(answer);
    return 0;
}

static int start(struct tl_cli_door *door, const struct tl_cli_start *s, struct tl_diag *diag)
{
    struct remote *r = (struct remote *)door;
    TL_AUTO_JSON json_t *body = json_pack("{s:s,s:O}", "name", s->name, "graph", s->graph);
    TL_AUTO_JSON json_t *canvas = NULL, *run = NULL;
    TL_AUTO_FREE char *path = NULL;
    if (!body)
        return TL_ENOMEM;
    int err = tl_cli_client_call(r->client, "POST", "/api/v1/canvases", body, &canvas);
    if (err < 0)
        return tl_cli_client_refused(err, canvas, diag);
    const char *id = tl_json_str(canvas, "id");
    if (!id || asprintf(&path, "/api/v1/canvases/%s/runs", id) < 0)
        return id ? TL_ENOMEM : TL_ETRANSIENT_IO;
    TL_AUTO_JSON json_t *options = options_of(s);
    err = tl_cli_client_call(r->client, "POST", path, options, &run);
    if (err < 0)
        return tl_cli_client_refused(err, run, diag);
    const char *run_id = tl_json_str(run, "run_id");
    r->run = tl_strdup(run_id ? run_id : tl_json_str(run, "id"));
    return r->run ? tl_cli_client_follow(r->client, r->run) : TL_ETRANSIENT_IO;
}

static const char *run_id(struct tl_cli_door *door)
{
    return ((struct remote *)door)->run;
}

static int events(struct tl_cli_door *door, void (*visit)(void *arg, const char *json, size_t len), void *arg)
{
    return tl_cli_client_events(((struct remote *)door)->client, visit, arg);
}

static int next_ms(struct tl_cli_door *door)
{
    return tl_cli_client_next_ms(((struct remote *)door)->client);
}

static int cancel(struct tl_cli_door *door)
{
    struct remote *r = (struct remote *)door;
    TL_AUTO_FREE char *path = NULL;
    TL_AUTO_JSON json_t *nothing = json_object();
    if (asprintf(&path, "/api/v1/runs/%s/cancel", r->run) < 0)
        return TL_ENOMEM;
    return tl_cli_client_call(r->client, "POST", path, nothing, NULL);
}

static int fetch(struct tl_cli_door *door, const char *node, const char *port, const json_t *media, int fd)
{
    (void)media;
    struct remote *r = (struct remote *)door;
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&path, "/api/v1/runs/%s/nodes/", r->run);
    tl_cli_client_add_segment(&path, node);
    tl_str_puts(&path, "/outputs/");
    tl_cli_client_add_segment(&path, port);
    tl_str_puts(&path, "/content");
    return path.err ? path.err : tl_cli_client_download(r->client, path.data, fd);
}

static void close_remote(struct tl_cli_door *door)
{
    struct remote *r = (struct remote *)door;
    tl_cli_client_free(r->client);
    free(r->run);
    free(r);
}

static const struct tl_cli_door_ops remote_ops = {
    .template = template,
    .upload = upload,
    .estimate = estimate,
    .start = start,
    .run_id = run_id,
    .events = events,
    .next_ms = next_ms,
    .cancel = cancel,
    .fetch = fetch,
    .close = close_remote,
};

int tl_cli_door_server(const char *url, const char *token, struct tl_cli_wait *wait, struct tl_cli_door **ret)
{
    struct remote *r = tl_calloc(1, sizeof(*r));
    if (!r)
        return TL_ENOMEM;
    r->door.ops = &remote_ops;
    int err = tl_cli_client_new(url, token, wait, &r->client);
    if (err < 0) {
        if (err == TL_EINVAL)
            tl_cli_say("--server takes an address such as http://127.0.0.1:8484, not '%s'", url);
        else
            tl_cli_fail(err, "the network cannot be set up");
        free(r);
        return err;
    }
    *ret = &r->door;
    return 0;
}

/* Runs of every kind: records, events, cancelling, the media that they made. */
#include "base/err.h"
#include "graph/ask.h"
#include "graph/why.h"
#include "server/page.h"
#include "server/routes.h"
#include "server/runview.h"
#include "server/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list(struct tl_req *req)
{
    static const char *const known[] = {"limit", "cursor", "status", NULL};
    static const char *const statuses[] = {"queued", "running", "done", "failed", "cancelled"};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_id room, next;
    const struct tl_id *before;
    const char *status = tl_req_query(req, "status");
    bool more, fits = !status;
    json_t *items;
    tl_req_only_query(req, known, &diag);
    size_t limit = tl_page_query(req, &room, &before, &diag);
    for (size_t i = 0; status && i < TL_ARRAY_LEN(statuses); i++)
        fits |= strcmp(statuses[i], status) == 0;
    if (!fits)
        tl_diag_add(&diag, NULL, "status", NULL, "status must be queued, running, done, failed or cancelled");
    int err = tl_diag_any(&diag) ? TL_EINVAL
                                 : tl_run_list(req->srv->conf.db, req->claims.org, status, before, limit, &items, &next, &more);
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    else
        tl_page_reply(req, items, &next, more);
}

void tl_run_stream(struct tl_req *req)
{
    static const char *const known[] = {"after_seq", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_stream *stream = NULL;
    const char *last = req->head.last_event_id;
    /* A browser that reconnects keeps the address it began with and adds the header. */
    int err = tl_stream_open(req->srv->conf.db, req->claims.org, req->params[0], last ? last : tl_req_query(req, "after_seq"), &stream,
                             &diag);
    if (!err) {
        tl_req_only_query(req, known, &diag);
        err = tl_diag_any(&diag) ? TL_EINVAL : 0;
    }
    if (err == TL_EINVAL)
        tl_reply_diag(req, err, &diag);
    else if (err < 0)
        tl_reply_err(req, err, NULL);
    else if (stream->over && last)
        tl_reply_empty(req, 204); /* what makes an EventSource stop */
    else {
        tl_req_header(req, "X-Accel-Buffering", "no");
        tl_reply_stream(req, stream);
        stream = NULL;
    }
    tl_stream_free(stream);
}

static void reply_status(struct tl_req *req, const struct tl_id *id)
{
    TL_AUTO_JSON json_t *record = NULL;
    int err = tl_runview_record(req->srv->conf.db, req->claims.org, id, &record);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_json(req, 202, json_pack("{s:s,s:O}", "run_id", req->params[0], "status", json_object_get(record, "status")));
}

void tl_run_reply_cancel(struct tl_req *req)
{
    static const char *const keys[] = {"reason", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    TL_AUTO_JSON json_t *body = NULL;
    struct tl_id id;
    int err = tl_id_parse(req->params[0], &id) ? tl_req_json(req, true, &body, &diag) : TL_ENOTFOUND;
    const json_t *reason = json_object_get(body, "reason");
    if (!err) {
        tl_json_only_keys(body, keys, NULL, "$", &diag);
        if (reason && (!json_is_string(reason) || json_string_length(reason) > 1000))
            tl_diag_add(&diag, NULL, NULL, "$.reason", "must be text of at most 1000 bytes");
        err = tl_diag_any(&diag) ? TL_EINVAL : tl_run_cancel(req->srv->conf.exec, req->claims.org, &id, json_string_value(reason));
    }
    if (err == TL_EINVAL)
        tl_reply_diag(req, err, &diag);
    else if (err == TL_ECONFLICT)
        tl_reply_err(req, err, "the run has ended");
    else if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        reply_status(req, &id);
}

/* ---- what a run asks people ---- */

struct answering {
    struct tl_req *req; /* a reference */
    char *node, *decision;
};

static void answering_free(struct answering *a)
{
    tl_req_unref(a->req);
    free(a->node);
    free(a->decision);
    free(a);
}

static void reply_refused(struct tl_req *req, int err, const struct tl_diag *diag)
{
    if (err == TL_EINVAL)
        tl_reply_diag(req, err, diag);
    else
        tl_reply_err(req, err,
                     err == TL_ENOTAPPROVABLE ? "this step of the run does not wait for an answer"
                     : err == TL_ECONFLICT    ? "something else was shown, or it has been answered otherwise"
                                              : NULL);
}

static void answered(void *arg, int err)
{
    struct answering *a = arg;
    if (err < 0)
        reply_refused(a->req, err, NULL);
    else
        tl_reply_json(a->req, 200, json_pack("{s:s,s:s,s:s}", "run_id", a->req->params[0], "node", a->node, "decision", a->decision));
    answering_free(a);
}

static const char *text_of(const json_t *body, const char *key, struct tl_diag *diag)
{
    const char *text = tl_json_str(body, key);
    char path[32];
    snprintf(path, sizeof(path), "$.%s", key);
    if (!text || !*text)
        tl_diag_add(diag, NULL, NULL, path, "is required: text");
    return text ? text : "";
}

static int read_answer(const json_t *body, struct tl_answer *ret, struct tl_diag *diag)
{
    static const char *const keys[] = {"node", "decision", "hash", "comment", "fields", "outputs", NULL};
    static const char *const decisions[] = {"approve", "reject", "retry", "fail", "done"};
    const json_t *comment = json_object_get(body, "comment");
    bool known = false;
    tl_json_only_keys(body, keys, NULL, "$", diag);
    ret->decision = text_of(body, "decision", diag);
    ret->hash = text_of(body, "hash", diag);
    ret->comment = json_string_value(comment);
    ret->fields = json_object_get(body, "fields");
    ret->outputs = json_object_get(body, "outputs");
    ret->diag = diag;
    for (size_t i = 0; i < TL_ARRAY_LEN(decisions); i++)
        known |= strcmp(ret->decision, decisions[i]) == 0;
    if (*ret->decision && !known)
        tl_diag_add(diag, NULL, NULL, "$.decision", "must be approve, reject, retry, fail or done");
    if (comment && !json_is_string(comment))
        tl_diag_add(diag, NULL, NULL, "$.comment", "must be text");
    return tl_diag_any(diag) ? TL_EINVAL : 0;
}

static void answer(struct tl_req *req)
{
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    TL_AUTO_JSON json_t *body = NULL;
    struct tl_answer said = {.who = req->claims.sub};
    struct tl_id id;
    int err = tl_id_parse(req->params[0], &id) ? tl_req_json(req, false, &body, &diag) : TL_ENOTFOUND;
    const char *node = err ? NULL : text_of(body, "node", &diag);
    if (!err)
        err = read_answer(body, &said, &diag);
    struct answering *a = err ? NULL : tl_calloc(1, sizeof(*a));
    if (!err && a) {
        *a = (struct answering){.req = tl_req_ref(req), .node = tl_strdup(node), .decision = tl_strdup(said.decision)};
        err = a->node && a->decision ? tl_run_answer(req->srv->conf.exec, req->claims.org, &id, node, &said, answered, a) : TL_ENOMEM;
        if (!err)
            return;
        answering_free(a);
    }
    reply_refused(req, err ? err : TL_ENOMEM, &diag);
}

/* ---- media that a run made ---- */

struct output {
    const char *node, *port;
    json_t *value; /* owned */
};

static bool names(const json_t *list, const char *port)
{
    size_t i;
    const json_t *name;
    json_array_foreach(list, i, name)
        if (strcmp(json_string_value(name) ? json_string_value(name) : "", port) == 0)
            return true;
    return false;
}

/* Outputs are public once they are in an event: a run.partial, or, where that was cut off, the ending. Only what the executor says is a medium is one: JSON of that
 * form may name any blob. */
static int find_output(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct output *o = arg;
    TL_AUTO_JSON json_t *event = NULL;
    size_t i, type_len;
    json_t *result, *value;
    (void)seq;
    const char *type = tl_event_type(json, len, &type_len);
    bool end = tl_event_terminal(type, type_len);
    if ((!end && !(type_len == 11 && memcmp(type, "run.partial", 11) == 0)) || tl_json_parse(json, len, &event, NULL) < 0)
        return 0;
    const json_t *payload = json_object_get(event, "payload");
    if (end && names(json_object_get(json_object_get(payload, "media"), o->node), o->port) &&
        (value = json_object_get(json_object_get(json_object_get(payload, "outputs"), o->node), o->port))) {
        o->value = json_incref(value);
        return 1;
    }
    json_array_foreach(json_object_get(payload, "results"), i, result)
    {
        const char *node = tl_json_str(result, "node");
        value = json_object_get(json_object_get(result, "outputs"), o->port);
        if (node && strcmp(node, o->node) == 0 && value && names(json_object_get(result, "media"), o->port)) {
            o->value = json_incref(value);
            return 1;
        }
    }
    return 0;
}

static void output(struct tl_req *req)
{
    struct tl_db *db = req->srv->conf.db;
    struct output o = {.node = req->params[1], .port = req->params[2]};
    TL_AUTO_JSON json_t *record = NULL;
    struct tl_id id;
    int err = tl_id_parse(req->params[0], &id) ? tl_runview_record(db, req->claims.org, &id, &record) : TL_ENOTFOUND;
    if (!err)
        err = tl_events_read(db, &id, 0, find_output, &o);
    const char *sha256 = tl_json_str(o.value, "sha256"), *type = tl_json_str(o.value, "content_type");
    if (err >= 0 && sha256 && tl_json_str(o.value, "kind"))
        tl_blob_reply(req, sha256, type ? type : "", tl_json_str(o.value, "name"));
    else
        tl_reply_err(req, err < 0 ? err : TL_ENOTFOUND, NULL);
    json_decref(o.value);
}

/* ---- why a node ran or not ---- */

static void why(struct tl_req *req)
{
    TL_AUTO_JSON json_t *answer = NULL;
    struct tl_id id;
    int err = tl_id_parse(req->params[0], &id)
                  ? tl_run_why(req->srv->conf.exec, req->claims.org, &id, req->params[1], req->admin, &answer)
                  : TL_ENOTFOUND;
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_json(req, 200, json_incref(answer));
}

static void no_upgrade(struct tl_req *req)
{
    tl_reply_err(req, TL_EINVAL, "this address is a WebSocket");
}

const struct tl_route tl_routes_runs[] = {
    {.method = TL_M_GET, .pattern = "/api/v1/runs/{id}", .role = TL_ROLE_VIEWER, .handle = tl_runview_reply_record, .name = "getRun",
     .summary = "A run's record", .answers = {{200, "Run"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/runs", .role = TL_ROLE_VIEWER, .flags = TL_R_POOL, .handle = list, .name = "listRuns", .summary = "Runs, newest first",
     .query = "status limit cursor", .answers = {{200, "RunList"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/runs/{id}/stream", .role = TL_ROLE_VIEWER, .flags = TL_R_SSE, .handle = tl_run_stream,
     .name = "streamRun", .summary = "The run's events as Server-Sent Events, from the beginning or after a cursor", .query = "after_seq",
     .answers = {{200, "RunEvent", "text/event-stream"}, {204, NULL, NULL, "Last-Event-ID is the terminal event: nothing follows"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/runs/{id}/cancel", .role = TL_ROLE_MEMBER, .flags = TL_R_EMPTY_OK | TL_R_POOL,
     .max_body = TL_JSON_MAX_BODY, .handle = tl_run_reply_cancel, .name = "cancelRun", .summary = "Asks for the run's end; run.cancelled follows",
     .body = "Cancel", .answers = {{202, "RunStarted"}}},
    {.method = TL_M_POST, .pattern = "/api/v1/runs/{id}/approve", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL, .max_body = TL_JSON_MAX_BODY, .handle = answer,
     .name = "answerRun", .summary = "Answers what a step of the run waits for", .body = "Answer", .answers = {{200, "Answered"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/runs/{id}/nodes/{node}/outputs/{port}/content", .role = TL_ROLE_VIEWER, .flags = TL_R_RANGE | TL_R_POOL | TL_R_LONG,
     .handle = output, .name = "getRunOutput", .summary = "The bytes of a medium that a node of the run put out",
     .answers = {{200, "Bytes", "application/octet-stream"}, {206, "Bytes", "application/octet-stream"}, {304}}},
    {.method = TL_M_GET, .pattern = "/api/v1/runs/{id}/nodes/{node}/why", .role = TL_ROLE_VIEWER, .flags = TL_R_POOL | TL_R_LONG, .handle = why,
     .name = "explainNode", .summary = "Why a node of the run ran, or did not: a sentence, and what differed from which earlier run", .answers = {{200, "Why"}}},
    {.method = TL_M_GET, .pattern = "/ws/runs/{id}", .role = TL_ROLE_VIEWER, .flags = TL_R_WS, .handle = no_upgrade, .name = "followRun",
     .summary = "WebSocket: each event is a message; {\"type\":\"cancel\"} cancels the run", .query = "after_seq",
     .answers = {{101, NULL, NULL, "Switching to WebSocket"}}},
    {0},
};

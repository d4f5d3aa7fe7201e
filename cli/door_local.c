#include "base/err.h"
#include "base/mem.h"
#include "capsules/doors.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "cli/door.h"
#include "server/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

struct local {
    struct tl_cli_door door;
    struct tl_app app;
    struct tl_cli_wait *wait;
    struct tl_id run;
    char run_text[TL_ID_TEXT];
    uint64_t seen; /* seq of the last event handed over */
};

static void more_events(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    (void)run, (void)seq, (void)ended;
    tl_cli_wait_poke(arg);
}

static int template(struct tl_cli_door *door, const char *id, json_t **ret)
{
    struct local *l = (struct local *)door;
    return tl_cat_template(l->app.catalog, id, ret);
}

static int copy_in(struct tl_blob_writer *w, int fd)
{
    enum { PIECE = 1 << 20 };
    TL_AUTO_FREE char *buf = malloc(PIECE);
    int err = buf ? 0 : TL_ENOMEM;
    while (!err) {
        ssize_t n = read(fd, buf, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? tl_err_from_errno(errno) : 0;
        err = tl_blob_write(w, buf, (size_t)n);
    }
    return err;
}

static int upload(struct tl_cli_door *door, const char *path, const char *content_type, const char *name, json_t **ret)
{
    struct local *l = (struct local *)door;
    TL_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tl_err_from_errno(errno);
    struct tl_blob_writer *w;
    int err = tl_blob_begin(l->app.blobs, 0, &w);
    if (err < 0)
        return err;
    err = copy_in(w, fd);
    if (err < 0) {
        tl_blob_abort(w);
        return err;
    }
    char hex[TL_SHA256_HEX], clean[TL_FILE_NAME_MAX + 1];
    uint64_t size;
    err = tl_blob_commit(w, hex, &size);
    if (err < 0)
        return err;
    tl_file_clean_name(name, clean);
    struct tl_file_write file = {.org = TL_LOCAL_ORG, .id = tl_id_new()};
    file.record = tl_file_record(&file.id, clean, content_type, size, hex);
    err = file.record ? tl_db_update(l->app.db, tl_file_write, &file) : TL_ENOMEM;
    if (err < 0)
        json_decref(file.record);
    else
        *ret = file.record;
    return err;
}

static int plan_of(struct local *l, const struct tl_cli_start *s, json_t **ret_doc, struct tl_plan **ret, struct tl_diag *diag)
{
    *ret = NULL;
    *ret_doc = tl_cap_canvas_doc(s->graph, NULL, false);
    return *ret_doc ? tl_cap_replan(&l->app.services, TL_LOCAL_ORG, TL_KIND_CANVAS, *ret_doc, ret, diag) : TL_ENOMEM;
}

static int estimate(struct tl_cli_door *door, const struct tl_cli_start *s, json_t **ret, struct tl_diag *diag)
{
    struct local *l = (struct local *)door;
    TL_AUTO_JSON json_t *doc = NULL;
    struct tl_plan *plan = NULL;
    int err = plan_of(l, s, &doc, &plan, diag);
    if (!err)
        err = tl_run_estimate(l->app.exec, TL_LOCAL_ORG, plan, &s->budget, ret);
    tl_plan_unref(plan);
    if (err < 0 && err != TL_EBUDGET)
        return err;
    json_object_set_new(*ret, "ok", json_true());
    json_object_set_new(*ret, "problems", json_array());
    json_object_set_new(*ret, "budget_exceeded", json_boolean(err == TL_EBUDGET));
    return 0;
}

/* Whether the estimate keeps within the budget. */
static int check_budget(struct local *l, const struct tl_cli_start *s, const struct tl_plan *plan, struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *estimate = NULL;
    if (s->budget.cost_usd <= 0 && s->budget.tokens <= 0)
        return 0;
    int err = tl_run_estimate(l->app.exec, TL_LOCAL_ORG, plan, &s->budget, &estimate);
    const char *message = tl_json_str(estimate, "message");
    if (err == TL_EBUDGET)
        tl_diag_add(diag, NULL, NULL, NULL, "%s", message ? message : "");
    return err;
}

static int priority_of(const char *name)
{
    return !name || !strcmp(name, "usual") ? TL_PRIORITY_USUAL : !strcmp(name, "low") ? TL_PRIORITY_LOW : TL_PRIORITY_HIGH;
}

static int start(struct tl_cli_door *door, const struct tl_cli_start *s, struct tl_diag *diag)
{
    struct local *l = (struct local *)door;
    TL_AUTO_JSON json_t *doc = NULL, *meta = json_pack("{s:s}", "name", s->name);
    struct tl_plan *plan = NULL;
    int err = meta ? plan_of(l, s, &doc, &plan, diag) : TL_ENOMEM;
    if (!err)
        err = check_budget(l, s, plan, diag);
    const struct tl_run_req req = {.org = TL_LOCAL_ORG,
                                   .sub = TL_LOCAL_SUB,
                                   .kind = TL_KIND_CANVAS,
                                   .doc = doc,
                                   .plan = plan,
                                   .meta = meta,
                                   .priority = priority_of(s->priority),
                                   .budget = {.cost_usd = s->budget.cost_usd, .tokens = (int64_t)s->budget.tokens}};
    if (!err)
        err = tl_run_start_wait(l->app.exec, &req, &l->run);
    tl_plan_unref(plan);
    if (!err)
        tl_id_text(&l->run, l->run_text);
    return err;
}

static const char *run_id(struct tl_cli_door *door)
{
    return ((struct local *)door)->run_text;
}

struct visiting {
    struct local *local;
    void (*visit)(void *arg, const char *json, size_t len);
    void *arg;
};

static int one_event(void *arg, uint64_t seq, const char *json, size_t len)
{
    const struct visiting *v = arg;
    v->local->seen = seq;
    v->visit(v->arg, json, len);
    return 0;
}

static int events(struct tl_cli_door *door, void (*visit)(void *arg, const char *json, size_t len), void *arg)
{
    struct local *l = (struct local *)door;
    if (tl_db_read_only(l->app.db))
        return TL_EIO;
    return tl_events_read(l->app.db, &l->run, l->seen, one_event, &(struct visiting){l, visit, arg});
}

/* The store may fail without an event to tell of it. */
static int next_ms(struct tl_cli_door *door)
{
    (void)door;
    return 1000;
}

static int cancel(struct tl_cli_door *door)
{
    struct local *l = (struct local *)door;
    return tl_run_cancel(l->app.exec, TL_LOCAL_ORG, &l->run, "cancelled on the command line");
}

static int fetch(struct tl_cli_door *door, const char *node, const char *port, const json_t *media, int fd)
{
    (void)node, (void)port;
    struct local *l = (struct local *)door;
    const char *sha256 = tl_json_str(media, "sha256");
    TL_AUTO_FD int in = -1;
    uint64_t size;
    int err = sha256 ? tl_blob_open(l->app.blobs, sha256, &in, &size) : TL_ENOTFOUND;
    while (!err && size) {
        ssize_t n = sendfile(fd, in, NULL, size < 1 << 30 ? size : 1 << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? tl_err_from_errno(errno) : TL_ECORRUPT;
        size -= (uint64_t)n;
    }
    return err;
}

static void close_local(struct tl_cli_door *door)
{
    struct local *l = (struct local *)door;
    tl_app_close(&l->app);
    free(l);
}

static const struct tl_cli_door_ops local_ops = {
    .template = template,
    .upload = upload,
    .estimate = estimate,
    .start = start,
    .run_id = run_id,
    .events = events,
    .next_ms = next_ms,
    .cancel = cancel,
    .fetch = fetch,
    .close = close_local,
};

int tl_cli_door_local(const char *dir, struct tl_cli_wait *wait, struct tl_cli_door **ret)
{
    struct local *l = tl_calloc(1, sizeof(*l));
    if (!l)
        return TL_ENOMEM;
    int err = tl_app_open(&l->app, dir, &(struct tl_app_conf){0});
    if (err < 0) {
        free(l);
        return err;
    }
    l->door.ops = &local_ops;
    l->wait = wait;
    l->app.notify_arg = wait;
    l->app.notify = more_events;
    *ret = &l->door;
    return 0;
}

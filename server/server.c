#include "server/server.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "server/auth.h"
#include "server/http.h"
#include "server/idem.h"
#include "server/runview.h"
#include "server/static.h"
#include "server/stream.h"
#include "server/wait.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { FREE_WAIT_MS = 5000, BODY_BUDGET = 512 * 1024 * 1024 };

int tl_server_init(const struct tl_server_conf *conf, struct tl_server **ret)
{
    size_t n;
    tl_routes(&n);
    struct tl_server *srv = *ret = tl_calloc(1, sizeof(*srv));
    if (!srv)
        return TL_ENOMEM;
    srv->conf = *conf;
    if (!srv->conf.body_budget)
        srv->conf.body_budget = BODY_BUDGET;
    srv->began_ms = tl_now_ms();
    srv->counts = tl_calloc((n + 1) * TL_STATUS_SPAN, sizeof(*srv->counts));
    srv->follows = tl_follows_new();
    int err = srv->counts && srv->follows ? 0 : TL_ENOMEM;
    if (!err)
        err = tl_auth_new(conf->db, conf->issuer_public, &srv->auth);
    if (!err)
        err = tl_idem_new(&srv->idem);
    if (!err)
        err = tl_run_text_new(&srv->run_text);
    if (err < 0) {
        tl_server_release(srv);
        *ret = NULL;
    }
    return err;
}

void tl_server_release(struct tl_server *srv)
{
    if (!srv)
        return;
    tl_wait_clear(srv);
    tl_idem_free(srv->idem);
    tl_run_text_free(srv->run_text);
    tl_auth_free(srv->auth);
    tl_follows_free(srv->follows);
    free(srv->openapi);
    free(srv->counts);
    free(srv);
}

int tl_server_new(const struct tl_server_conf *conf, struct tl_server **ret)
{
    int err = tl_server_init(conf, ret);
    if (!err)
        err = tl_http_new(*ret, &(*ret)->http);
    if (err < 0) {
        tl_server_release(*ret);
        *ret = NULL;
    }
    return err;
}

int tl_server_port(const struct tl_server *srv)
{
    return tl_http_port(srv->http);
}

int tl_server_run(struct tl_server *srv)
{
    return tl_http_run(srv->http);
}

void tl_server_stop(struct tl_server *srv)
{
    tl_http_stop(srv->http);
}

/* The database's writer may still be at work on what requests have asked of it, and its answers come here. */
void tl_server_free(struct tl_server *srv)
{
    if (!srv)
        return;
    tl_wait_clear(srv);
    tl_http_close(srv->http);
    for (int64_t began = tl_mono_us() / 1000; atomic_load(&srv->requests) > 0;) {
        if (tl_mono_us() / 1000 - began > FREE_WAIT_MS)
            return; /* better left in memory than freed under someone's feet */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        tl_http_drain(srv->http);
        tl_wait_clear(srv);
    }
    tl_http_free(srv->http);
    tl_server_release(srv);
}

static void count_ended(struct tl_server *srv, const struct tl_id *run, uint64_t seq);

void tl_server_notify(void *server_pp, const struct tl_id *run, uint64_t seq, bool ended)
{
    struct tl_server *srv = *(struct tl_server **)server_pp;
    if (!srv)
        return;
    if (ended)
        count_ended(srv, run, seq);
    if (tl_follow_notify(srv->follows, run, ended))
        tl_http_wake(srv->http);
}

struct ending {
    int kind;
    bool crash; /* a worker's, which failed the run */
};

static int which_end(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct ending *e = arg;
    size_t n;
    const char *type = tl_event_type(json, len, &n);
    static const char crash[] = "\"code\":\"WORKER_CRASH\""; /* within a text its quotes would be escaped */
    (void)seq;
    e->kind = n == 13 && memcmp(type, "run.completed", 13) == 0 ? TL_ENDED_DONE
              : n == 10 && memcmp(type, "run.failed", 10) == 0  ? TL_ENDED_FAILED
                                                                : TL_ENDED_CANCELLED;
    e->crash = e->kind == TL_ENDED_FAILED && memmem(json, len, crash, sizeof(crash) - 1);
    return 1;
}

static void count_ended(struct tl_server *srv, const struct tl_id *run, uint64_t seq)
{
    static const char *const status[] = {"done", "failed", "cancelled"};
    struct ending e = {0};
    char id[TL_ID_TEXT];
    if (seq == 0 || tl_events_read(srv->conf.db, run, seq - 1, which_end, &e) < 0)
        return;
    atomic_fetch_add(&srv->ended[e.kind], 1);
    tl_id_text(run, id);
    tl_log(TL_LOG_INFO, "run.ended", "run %s ended: %s", id, status[e.kind]);
    if (e.crash)
        tl_log(TL_LOG_ERROR, "worker.crash", "a worker ended unexpectedly in run %s", id);
}

char *tl_server_login_path(struct tl_server *srv, const char *org, const char *sub, const char *role)
{
    struct tl_claims who = {.role = tl_role_parse(role)};
    char code[TL_SECRET_TEXT];
    struct tl_str path = {0};
    if (!tl_token_name_ok(org) || !tl_token_name_ok(sub))
        return NULL;
    snprintf(who.org, sizeof(who.org), "%s", org);
    snprintf(who.sub, sizeof(who.sub), "%s", sub);
    if (tl_auth_login_code(srv->conf.db, &who, code) < 0)
        return NULL;
    tl_str_printf(&path, "/login?code=%s", code);
    return tl_str_take(&path);
}

void tl_server_sweep(struct tl_server *srv, int64_t now_ms)
{
    tl_wait_sweep(srv, now_ms);
    if (!srv->said_read_only && tl_db_read_only(srv->conf.db)) {
        srv->said_read_only = true;
        tl_log(TL_LOG_ERROR, "store.read_only", "a write has failed; the store takes no more until the next start");
    }
}

/* By the route's pattern: what a client wrote may be anything. Reading that went well is left to the debug level, as it is most of all requests. */
void tl_server_note(const struct tl_req *req, int status)
{
    tl_count(req, status);
    bool refused = status == 401, read = req->method & (TL_M_GET | TL_M_HEAD | TL_M_OPTIONS);
    bool token = req->head.authorization || req->head.cookie;
    enum tl_log_level level = refused && token ? TL_LOG_WARN : read && status < 400 ? TL_LOG_DEBUG : TL_LOG_INFO;
    tl_log(level, refused && token ? "auth.refused" : "request", "%s %s %d %lld ms %s", tl_method_name(req->method),
           req->route ? req->route->pattern : "-", status, (long long)(tl_mono_us() - req->began_us) / 1000, req->id);
}

/* ---- requests ---- */

/* What is not the API's is a file of the canvas, for everybody. */
static int no_route(struct tl_req *req, int err, unsigned allow)
{
    bool api = strncmp(req->path, "/api/", 5) == 0 || strncmp(req->path, "/ws/", 4) == 0;
    if (err == TL_ENOTFOUND && !api && (req->method & (TL_M_GET | TL_M_HEAD))) {
        tl_static_reply(req);
        return TL_ENOTFOUND;
    }
    if (api && tl_auth_request(req->srv->auth, req) < 0)
        err = TL_EAUTH;
    if (err == TL_EMETHOD) {
        struct tl_str list TL_CLEANUP(tl_str_clear) = {0};
        tl_method_list(allow | TL_M_OPTIONS, &list);
        tl_req_header(req, "Allow", "%s", list.data ? list.data : "");
        if (req->method == TL_M_OPTIONS) {
            tl_reply_empty(req, 204);
            return err;
        }
    }
    if (err == TL_EAUTH)
        tl_req_header(req, "WWW-Authenticate", "Bearer");
    tl_reply_err(req, err, NULL);
    return err;
}

static int check_who(struct tl_req *req)
{
    const struct tl_route *route = req->route;
    if (route->flags & TL_R_PUBLIC)
        return 0;
    if (tl_auth_request(req->srv->auth, req) < 0) {
        tl_req_header(req, "WWW-Authenticate", "Bearer");
        tl_reply_err(req, TL_EAUTH, NULL);
        return TL_EAUTH;
    }
    if (req->by_cookie && !(req->method & (TL_M_GET | TL_M_HEAD)) && !tl_auth_same_origin(req)) {
        tl_reply_err(req, TL_EFORBIDDEN, "with a cookie, a change needs this server's own Origin");
        return TL_EFORBIDDEN;
    }
    if (req->claims.role < route->role) {
        tl_reply_err(req, TL_EFORBIDDEN, "this needs the role %s", tl_role_name(route->role));
        return TL_EFORBIDDEN;
    }
    if (req->head.admin_mode && strcasecmp(req->head.admin_mode, "true") == 0) {
        if (req->claims.role < TL_ROLE_AUTHOR) {
            tl_reply_err(req, TL_EFORBIDDEN, "admin mode needs the role admin or author");
            return TL_EFORBIDDEN;
        }
        req->admin = true;
    }
    return 0;
}

int tl_server_admit(struct tl_req *req)
{
    unsigned allow;
    int err = tl_route_find(req, &allow);
    if (err < 0)
        return no_route(req, err, allow);
    if ((err = check_who(req)) < 0)
        return err;
    /* Where no body is expected, one is read and dropped. */
    uint64_t most = req->route->max_body ? req->route->max_body : TL_JSON_MAX_BODY;
    if (req->content_length > most) {
        tl_reply_err(req, TL_ETOOBIG, "the body may have at most %llu bytes here", (unsigned long long)most);
        return TL_ETOOBIG;
    }
    return 0;
}

static void on_pool(void *arg)
{
    struct tl_req *req = arg;
    req->route->handle(req);
    tl_req_unref(req);
}

void tl_server_handle(struct tl_req *req)
{
    if (!(req->route->flags & TL_R_POOL)) {
        req->route->handle(req);
        return;
    }
    struct tl_exec *exec = req->srv->conf.exec;
    int err = req->route->flags & TL_R_LONG ? tl_exec_post_long(exec, on_pool, tl_req_ref(req))
                                            : tl_exec_post(exec, on_pool, tl_req_ref(req));
    if (err < 0) {
        tl_req_unref(req);
        tl_reply_err(req, err, NULL);
    }
}

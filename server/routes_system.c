/* The server itself: its health, its figures, its description, and signing in from a browser. */
#include "base/clock.h"
#include "base/err.h"
#include "server/auth.h"
#include "server/http.h"
#include "server/openapi.h"
#include "server/routes.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void healthz(struct tl_req *req)
{
    tl_reply_json(req, 200, json_pack("{s:s}", "status", "ok"));
}

static void readyz(struct tl_req *req)
{
    if (tl_db_read_only(req->srv->conf.db))
        tl_reply_err(req, TL_EIO, "the store takes no writes since one has failed");
    else
        tl_reply_json(req, 200, json_pack("{s:s}", "status", "ready"));
}

/* ---- metrics ---- */

static void head(struct tl_str *s, const char *name, const char *type, const char *help)
{
    tl_str_printf(s, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static uint64_t resident_bytes(void)
{
    unsigned long all, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu %lu", &all, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void requests(struct tl_str *s, const struct tl_server *srv)
{
    size_t n;
    const struct tl_route *const *routes = tl_routes(&n);
    head(s, "talos_http_requests_total", "counter", "Answers by route and status.");
    for (size_t i = 0; i <= n; i++)
        for (int status = 100; status < TL_STATUS_SPAN; status++)
            if (srv->counts[i * TL_STATUS_SPAN + (size_t)status])
                tl_str_printf(s, "talos_http_requests_total{route=\"%s\",method=\"%s\",status=\"%d\"} %u\n",
                              i < n ? routes[i]->pattern : "", i < n ? tl_method_name(routes[i]->method) : "", status,
                              srv->counts[i * TL_STATUS_SPAN + (size_t)status]);
}

static void executor(struct tl_str *s, struct tl_exec *exec)
{
    static const char *const classes[TL_CLASS_COUNT] = {"cpu", "media", "net"};
    struct tl_exec_figures f;
    tl_exec_figures(exec, &f);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"talos_result_hits_total", "counter", "Results that were there already.", f.hits},
        {"talos_result_misses_total", "counter", "Results of pure nodes that were looked for and not there.", f.misses},
        {"talos_retries_total", "counter", "Attempts begun anew.", f.retries},
        {"talos_lost_workers_total", "counter", "Worker processes that ended under a node.", f.lost_workers},
        {"talos_waiting_steps", "gauge", "Steps that wait for a person.", f.waiting},
    };
    head(s, "talos_nodes_total", "counter", "Nodes that ended since the start, by what became of them.");
    tl_str_printf(s, "talos_nodes_total{end=\"run\"} %llu\ntalos_nodes_total{end=\"cached\"} %llu\ntalos_nodes_total{end=\"failed\"} %llu\n",
                  (unsigned long long)f.done, (unsigned long long)f.cached, (unsigned long long)f.failed);
    for (size_t i = 0; i < TL_ARRAY_LEN(rows); i++) {
        head(s, rows[i].name, rows[i].type, rows[i].help);
        tl_str_printf(s, "%s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
    }
    head(s, "talos_places", "gauge", "Places for nodes of each class.");
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        tl_str_printf(s, "talos_places{class=\"%s\"} %u\n", classes[c], f.places[c]);
    head(s, "talos_places_taken", "gauge", "Places taken by nodes at work.");
    for (int c = 0; c < TL_CLASS_COUNT; c++)
        tl_str_printf(s, "talos_places_taken{class=\"%s\"} %u\n", classes[c], f.busy[c]);
}

static void metrics(struct tl_req *req)
{
    struct tl_server *srv = req->srv;
    struct tl_str s = {0};
    struct tl_db_stat stat = {0};
    static const char *const ends[] = {"done", "failed", "cancelled"};
    if (tl_db_stat(srv->conf.db, &stat) < 0)
        memset(&stat, 0, sizeof(stat));
    requests(&s, srv);
    head(&s, "talos_runs_ended_total", "counter", "Runs ended since the start, by status.");
    for (int i = 0; i < TL_ENDED_KINDS; i++)
        tl_str_printf(&s, "talos_runs_ended_total{status=\"%s\"} %llu\n", ends[i], (unsigned long long)atomic_load(&srv->ended[i]));
    executor(&s, srv->conf.exec);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"talos_runs_live", "gauge", "Runs that have not ended.", (double)stat.entries[TL_TBL_RUN_LIVE]},
        {"talos_runs", "gauge", "Runs in the store.", (double)stat.entries[TL_TBL_RUN]},
        {"talos_db_commits_total", "counter", "Commits since the start.", (double)stat.commits},
        {"talos_db_writes_total", "counter", "Write functions that ran in them.", (double)stat.writes},
        {"talos_db_used_bytes", "gauge", "Bytes of the database in use.", (double)stat.bytes_used},
        {"talos_db_read_only", "gauge", "1 where a failed write has made the store read-only.", tl_db_read_only(srv->conf.db)},
        {"talos_followers", "gauge", "Streams and calls that wait for events.", (double)tl_follow_count(srv->follows)},
        {"talos_connections", "gauge", "Open connections.", srv->http ? (double)tl_http_connections(srv->http) : 0},
        {"talos_body_bytes", "gauge", "Bytes of requests' bodies held in memory.", (double)atomic_load(&srv->body_bytes)},
        {"process_resident_memory_bytes", "gauge", "Resident memory.", (double)resident_bytes()},
        {"talos_uptime_seconds", "gauge", "Seconds since the start.", (double)(tl_now_ms() - srv->began_ms) / 1000},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(rows); i++) {
        head(&s, rows[i].name, rows[i].type, rows[i].help);
        tl_str_printf(&s, "%s %.15g\n", rows[i].name, rows[i].value);
    }
    size_t len = s.len;
    tl_reply_text(req, 200, "text/plain; version=0.0.4; charset=utf-8", tl_str_take(&s), len);
}

static void openapi(struct tl_req *req)
{
    struct tl_server *srv = req->srv;
    if (!srv->openapi)
        srv->openapi = tl_openapi_text();
    tl_reply_text(req, 200, "application/json", tl_strdup(srv->openapi), srv->openapi ? strlen(srv->openapi) : 0);
}

/* ---- signing in ---- */

static void logged_in(void *arg, int err, const char session[TL_SECRET_TEXT])
{
    struct tl_req *req = arg;
    if (err == TL_EAUTH) {
        tl_reply_err(req, err, "this login address was used already or is too old; start the server again for a new one");
    } else if (err < 0) {
        tl_reply_err(req, err, NULL);
    } else {
        tl_req_header(req, "Set-Cookie", TL_SESSION_COOKIE "=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict", session,
                      TL_SESSION_TTL);
        tl_req_header(req, "Location", "/");
        tl_req_header(req, "Referrer-Policy", "no-referrer");
        tl_reply_empty(req, 303);
    }
    tl_req_unref(req);
}

static void login(struct tl_req *req)
{
    if (req->method == TL_M_HEAD) { /* whoever only looks at an address does not use it up */
        tl_reply_empty(req, 200);
        return;
    }
    int err = tl_auth_login(req->srv->conf.db, tl_req_query(req, "code"), logged_in, tl_req_ref(req));
    if (err < 0)
        logged_in(req, err, NULL);
}

static void logged_out(void *arg, int err)
{
    struct tl_req *req = arg;
    if (err < 0 && err != TL_ENOTFOUND) {
        tl_reply_err(req, err, NULL);
    } else {
        tl_req_header(req, "Set-Cookie", TL_SESSION_COOKIE "=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        tl_reply_empty(req, 204);
    }
    tl_req_unref(req);
}

static void logout(struct tl_req *req)
{
    int err = tl_auth_logout(req->srv->auth, req, logged_out, tl_req_ref(req));
    if (err < 0)
        logged_out(req, err);
}

static void who(struct tl_req *req)
{
    tl_reply_json(req, 200, json_pack("{s:s,s:s,s:s,s:I}", "sub", req->claims.sub, "org", req->claims.org, "role",
                                      tl_role_name(req->claims.role), "expires", (json_int_t)req->claims.exp));
}

const struct tl_route tl_routes_system[] = {
    {.method = TL_M_GET, .pattern = "/healthz", .flags = TL_R_PUBLIC, .handle = healthz, .name = "healthz", .summary = "Whether the server answers",
     .answers = {{200, "Status"}}},
    {.method = TL_M_GET, .pattern = "/readyz", .flags = TL_R_PUBLIC, .handle = readyz, .name = "readyz", .summary = "Whether the store takes writes",
     .answers = {{200, "Status"}, {503, "Error"}}},
    {.method = TL_M_GET, .pattern = "/metrics", .flags = TL_R_PUBLIC, .handle = metrics, .name = "metrics", .summary = "Figures for Prometheus",
     .answers = {{200, "Text", "text/plain"}}},
    {.method = TL_M_GET, .pattern = "/openapi.json", .flags = TL_R_PUBLIC, .handle = openapi, .name = "openapi", .summary = "This description",
     .answers = {{200, "Any"}}},
    {.method = TL_M_GET, .pattern = "/login", .flags = TL_R_PUBLIC, .handle = login, .name = "login",
     .summary = "Uses up a login code; sets the session cookie", .query = "code", .answers = {{303, NULL, NULL, "To the canvas, with the cookie"}, {401, "Error"}}},
    {.method = TL_M_POST, .pattern = "/logout", .role = TL_ROLE_VIEWER, .flags = TL_R_EMPTY_OK, .max_body = 1024, .handle = logout, .name = "logout",
     .summary = "Ends the browser's session", .answers = {{204}}},
    {.method = TL_M_GET, .pattern = "/api/v1/me", .role = TL_ROLE_VIEWER, .handle = who, .name = "getMe", .summary = "Who is asking",
     .answers = {{200, "Me"}}},
    {0},
};

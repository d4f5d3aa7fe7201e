/* The small parts: ranges, entity tags, forms, names and types of files, routes, followers, poll, the description. */
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/etag.h"
#include "server/file.h"
#include "server/follow.h"
#include "server/multipart.h"
#include "server/openapi.h"
#include "server/poll.h"
#include "server/range.h"
#include "server/route.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void ranges(void **state)
{
    (void)state;
    const struct {
        const char *header;
        uint64_t size;
        enum tl_range want;
        uint64_t first, len;
    } rows[] = {
        {NULL, 10, TL_RANGE_ALL, 0, 10},         {"bytes=0-0", 10, TL_RANGE_PART, 0, 1},    {"bytes=2-", 10, TL_RANGE_PART, 2, 8},
        {"bytes=-3", 10, TL_RANGE_PART, 7, 3},   {"bytes=-30", 10, TL_RANGE_PART, 0, 10},   {"bytes=0-99", 10, TL_RANGE_PART, 0, 10},
        {"bytes=10-", 10, TL_RANGE_NONE, 0, 0},  {"bytes=-0", 10, TL_RANGE_NONE, 0, 0},     {"bytes=-1", 0, TL_RANGE_NONE, 0, 0},
        {"bytes=0-", 0, TL_RANGE_NONE, 0, 0},    {"bytes=5-4", 10, TL_RANGE_ALL, 0, 10},    {"bytes=1-2,4-5", 10, TL_RANGE_ALL, 0, 10},
        {"bytes=", 10, TL_RANGE_ALL, 0, 10},     {"bytes=-", 10, TL_RANGE_ALL, 0, 10},      {"lines=1-2", 10, TL_RANGE_ALL, 0, 10},
        {"bytes= 1-2", 10, TL_RANGE_ALL, 0, 10}, {"bytes=1-2 ", 10, TL_RANGE_ALL, 0, 10},   {"bytes=99999999999999999999-", 10, TL_RANGE_ALL, 0, 10},
        {"bytes=-1x", 10, TL_RANGE_ALL, 0, 10},  {"bytes=0-99999999999999999999", 10, TL_RANGE_ALL, 0, 10},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(rows); i++) {
        uint64_t first, len;
        assert_int_equal(tl_range_parse(rows[i].header, rows[i].size, &first, &len), rows[i].want);
        if (rows[i].want != TL_RANGE_NONE) {
            assert_int_equal(first, rows[i].first);
            assert_int_equal(len, rows[i].len);
        }
    }
}

static void etags(void **state)
{
    (void)state;
    char tag[TL_ETAG_TEXT];
    tl_etag_revision(7, tag);
    assert_string_equal(tag, "\"7\"");
    const char *const yes[] = {"\"7\"", "*", "\"1\", \"7\"", "\"7\",\"1\"", " \"7\" "};
    const char *const no[] = {"", "7", "\"77\"", "\"1\"", "W/\"7\"", "\"7", "\"7\"x"};
    for (size_t i = 0; i < TL_ARRAY_LEN(yes); i++)
        assert_true(tl_etag_match(yes[i], tag));
    for (size_t i = 0; i < TL_ARRAY_LEN(no); i++)
        assert_false(tl_etag_match(no[i], tag));
}

static void names_and_types(void **state)
{
    (void)state;
    const char *const names[][2] = {{"a.mp4", "a.mp4"},      {"../../etc/passwd", "passwd"}, {"C:\\x\\y.mov", "y.mov"}, {"..", "file"}, {"", "file"},
                                    {"a\r\nb\x7f", "ab"},    {"영화.mp4", "영화.mp4"},         {"x/", "file"},            {NULL, "file"}};
    for (size_t i = 0; i < TL_ARRAY_LEN(names); i++) {
        char got[TL_FILE_NAME_MAX + 1];
        tl_file_clean_name(names[i][0], got);
        assert_string_equal(got, names[i][1]);
    }
    char longest[1000], got[TL_FILE_NAME_MAX + 1];
    memset(longest, 0, sizeof(longest));
    for (int i = 0; i < 300; i++)
        strcat(longest, "한");
    tl_file_clean_name(longest, got);
    assert_int_equal(strlen(got), 255);
    assert_true(tl_utf8_valid(got, strlen(got)));
    strcpy(longest, "x");
    for (int i = 0; i < 300; i++)
        strcat(longest, "한");
    tl_file_clean_name(longest, got);
    assert_int_equal(strlen(got), 253);
    const char *const types[][2] = {{"video/mp4", "video/mp4"}, {"Video/MP4; codecs=x", "video/mp4"}, {"a/b/c", "application/octet-stream"}, {"", "application/octet-stream"},
                                    {NULL, "application/octet-stream"}, {"text", "application/octet-stream"}, {"/x", "application/octet-stream"}, {"x/", "application/octet-stream"},
                                    {"te\xffxt/plain", "application/octet-stream"}, {"image/svg+xml", "image/svg+xml"}};
    for (size_t i = 0; i < TL_ARRAY_LEN(types); i++) {
        char type[TL_FILE_TYPE_MAX + 1];
        tl_file_clean_type(types[i][0], type);
        assert_string_equal(type, types[i][1]);
    }
}

/* ---- forms ---- */

static int gather(void *arg, const char *bytes, size_t len)
{
    tl_str_add(arg, bytes, len);
    return 0;
}

static int feed(const char *type, const char *body, size_t len, size_t cut, struct tl_str *ret, char *ret_name, char *ret_type)
{
    struct tl_multipart *m;
    int err = tl_multipart_new(type, &m);
    if (err < 0)
        return err;
    for (size_t at = 0; err == 0 && at < len; at += cut) {
        /* Of its own size, so that a sanitizer sees every byte that is read too far. */
        size_t n = len - at < cut ? len - at : cut;
        TL_AUTO_FREE char *piece = malloc(n);
        memcpy(piece, body + at, n);
        err = tl_multipart_feed(m, piece, n, gather, ret);
    }
    if (err == 0)
        err = tl_multipart_end(m);
    snprintf(ret_name, 64, "%s", tl_multipart_filename(m) ? tl_multipart_filename(m) : "");
    snprintf(ret_type, 64, "%s", tl_multipart_type(m) ? tl_multipart_type(m) : "");
    tl_multipart_free(m);
    return err;
}

static void forms_in_every_cut(void **state)
{
    (void)state;
    static const char body[] = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nnote\r\n--b \r\n--bx\r\n"
                               "--b\r\nContent-Type: image/png\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"b.png\"\r\n\r\n"
                               "one\r\n--a\r\n\r\n-\r--b\r\n--c\r\n--b\r\nContent-Disposition: form-data; filename=second\r\n\r\nno\r\n--b--\r\nepilogue";
    for (size_t cut = 1; cut <= sizeof(body); cut++) {
        struct tl_str got = {0};
        char name[64], type[64];
        int err = feed("multipart/form-data; boundary=b", body, sizeof(body) - 1, cut, &got, name, type);
        /* A boundary's line that goes on is no form. */
        assert_int_equal(err, TL_EINVAL);
        tl_str_clear(&got);
    }
    static const char good[] = "preamble\r\n--bound\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nnote\r\n"
                               "--bound\r\nContent-Type: image/png\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"b.png\"\r\n\r\n"
                               "one\r\n--boun\r\n\r\n-\r--bound\r\n--c\r\n--bound\r\nContent-Disposition: form-data; name=\"; filename=\\\"second\"; x\r\n\r\nno\r\n--bound--\r\nepilogue";
    for (size_t cut = 1; cut <= sizeof(good); cut++) {
        struct tl_str got = {0};
        char name[64], type[64];
        assert_int_equal(feed("multipart/form-data; boundary=bound", good, sizeof(good) - 1, cut, &got, name, type), 0);
        assert_string_equal(got.data, "one\r\n--boun\r\n\r\n-\r--bound\r\n--c");
        assert_string_equal(name, "a\"b.png");
        assert_string_equal(type, "image/png");
        tl_str_clear(&got);
    }
}

static void forms_that_are_none(void **state)
{
    (void)state;
    struct tl_multipart *m;
    const char *const types[] = {"multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\"", "multipart/form-data; notboundary=x"};
    for (size_t i = 0; i < TL_ARRAY_LEN(types); i++)
        assert_int_equal(tl_multipart_new(types[i], &m), TL_EINVAL);
    const char *const bodies[] = {"", "--b", "--b--", "--b\r\n\r\n", "--b\r\nA: b\r\n\r\nx\r\n--b--", "--b\r\nContent-Disposition: form-data; filename=x\r\n\r\nx",
                                  "--bjunk\r\n\r\n\r\n--b--"};
    for (size_t i = 0; i < TL_ARRAY_LEN(bodies); i++) {
        struct tl_str got = {0};
        char name[64], type[64];
        assert_int_equal(feed("multipart/form-data; boundary=b", bodies[i], strlen(bodies[i]), 3, &got, name, type), TL_EINVAL);
        tl_str_clear(&got);
    }
    struct tl_str two = {0};
    char name[64], type[64];
    static const char files[] = "--b\r\nContent-Disposition: x; filename=1\r\n\r\n1\r\n--b\r\nContent-Disposition: x; filename=2\r\n\r\n2\r\n--b--";
    assert_int_equal(feed("multipart/form-data; boundary=b", files, sizeof(files) - 1, 3, &two, name, type), TL_ECONFLICT);
    tl_str_clear(&two);
    /* A head without an end is not kept for ever. */
    assert_int_equal(tl_multipart_new("x; boundary=b", &m), 0);
    int err = tl_multipart_feed(m, "--b\r\n", 5, gather, NULL);
    for (int i = 0; i < 10000 && err == 0; i++)
        err = tl_multipart_feed(m, "X: y\r\n", 6, gather, NULL);
    assert_int_equal(err, TL_EINVAL);
    tl_multipart_free(m);
}

/* ---- routes ---- */

static void nothing(struct tl_req *req)
{
    (void)req;
}

static int find(enum tl_method method, const char *path, const char **ret_name, unsigned *ret_allow, char param[64])
{
    struct tl_req *req = tl_req_new(NULL, nothing, NULL);
    req->method = method;
    req->path = path;
    int err = tl_route_find(req, ret_allow);
    *ret_name = err ? "" : req->route->name;
    snprintf(param, 64, "%s", req->params[0] ? req->params[0] : "");
    tl_req_unref(req);
    return err;
}

static void routes_are_found(void **state)
{
    (void)state;
    const char *name;
    char param[64];
    unsigned allow;
    assert_int_equal(find(TL_M_GET, "/api/v1/runs/abc", &name, &allow, param), 0);
    assert_string_equal(name, "getRun");
    assert_string_equal(param, "abc");
    assert_int_equal(find(TL_M_HEAD, "/api/v1/runs/abc/stream", &name, &allow, param), 0);
    assert_string_equal(name, "streamRun");
    assert_int_equal(find(TL_M_POST, "/api/v1/capsules/run", &name, &allow, param), 0);
    assert_string_equal(name, "runCapsule");
    assert_int_equal(find(TL_M_GET, "/api/v1/capsules/run/r1", &name, &allow, param), 0);
    assert_string_equal(name, "getCapsuleRun");
    assert_int_equal(find(TL_M_GET, "/api/v1/capsules/auteur.x/versions/1.0.0", &name, &allow, param), 0);
    assert_string_equal(param, "auteur.x");
    assert_int_equal(find(TL_M_PUT, "/api/v1/runs", &name, &allow, param), TL_EMETHOD);
    assert_int_equal(allow, TL_M_GET | TL_M_HEAD | TL_M_POST);
    const char *const no[] = {"/", "", "/api", "/api/v1/runs/", "/api/v1/runs//stream", "/api/v1/runs/a/b", "/API/v1/runs", "/api/v1/runsx", "/api/v1/run"};
    for (size_t i = 0; i < TL_ARRAY_LEN(no); i++)
        assert_int_equal(find(TL_M_GET, no[i], &name, &allow, param), TL_ENOTFOUND);
}

/* The id of a step inside a group has slashes; it is one parameter all the same. */
static void steps_are_found(void **state)
{
    struct tl_req *req = tl_req_new(NULL, nothing, NULL);
    unsigned allow;
    (void)state;
    req->method = TL_M_GET;
    req->path = "/api/v1/runs/abc/nodes/m#2/fix#1/outputs/qc/outputs/clip/content";
    assert_int_equal(tl_route_find(req, &allow), 0);
    assert_string_equal(req->route->name, "getRunOutput");
    assert_string_equal(req->params[0], "abc");
    assert_string_equal(req->params[1], "m#2/fix#1/outputs/qc");
    assert_string_equal(req->params[2], "clip");
    req->path = "/api/v1/runs/a/c/nodes/m/outputs/clip/content";
    assert_int_equal(tl_route_find(req, &allow), TL_ENOTFOUND);
    req->path = "/api/v1/runs/a/nodes//outputs/clip/content";
    assert_int_equal(tl_route_find(req, &allow), TL_ENOTFOUND);
    tl_req_unref(req);
}

static void routes_are_sound(void **state)
{
    (void)state;
    size_t n;
    const struct tl_route *const *all = tl_routes(&n);
    assert_true(n > 30 && n < TL_ROUTE_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct tl_route *r = all[i];
        assert_non_null(r->handle);
        assert_non_null(r->summary);
        assert_true(r->answers[0].status);
        assert_true((r->flags & TL_R_PUBLIC) ? r->role == TL_ROLE_NONE : r->role >= TL_ROLE_VIEWER);
        /* Whoever may only look changes nothing. */
        if (r->role == TL_ROLE_VIEWER && strcmp(r->name, "validateCanvas") != 0 && strcmp(r->name, "logout") != 0)
            assert_int_equal(r->method, TL_M_GET);
        assert_true(!r->body == !r->max_body || strcmp(r->name, "logout") == 0);
        for (size_t k = 0; k < i; k++)
            assert_true(strcmp(all[k]->name, r->name) != 0);
    }
}

static void refs_resolve(const json_t *schemas, const json_t *answers, const json_t *j)
{
    const char *key, *ref = tl_json_str(j, "$ref");
    json_t *value;
    size_t i;
    if (ref) {
        const char *last = strrchr(ref, '/') + 1;
        assert_non_null(json_object_get(strstr(ref, "/schemas/") ? schemas : answers, last));
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, value) refs_resolve(schemas, answers, value);
    json_array_foreach(j, i, value) refs_resolve(schemas, answers, value);
}

static void the_description_is_whole(void **state)
{
    (void)state;
    TL_AUTO_FREE char *text = tl_openapi_text();
    TL_AUTO_JSON json_t *doc = NULL;
    size_t n, operations = 0;
    const char *path;
    json_t *ops;
    assert_non_null(text);
    assert_int_equal(tl_json_parse(text, strlen(text), &doc, NULL), 0);
    json_object_foreach(json_object_get(doc, "paths"), path, ops) operations += json_object_size(ops);
    tl_routes(&n);
    assert_int_equal(operations, n);
    const json_t *parts = json_object_get(doc, "components"), *schemas = json_object_get(parts, "schemas");
    for (const struct tl_schema *s = tl_schemas; s->name; s++)
        if (!json_is_object(json_object_get(schemas, s->name)))
            fail_msg("schema %s is no JSON", s->name);
    refs_resolve(schemas, json_object_get(parts, "responses"), doc);
}

/* ---- followers ---- */

struct listener {
    struct tl_follower f;
    struct tl_follows *all;
    int woken;
    bool ended, leave;
};

static void heard(struct tl_follower *f, bool ended)
{
    struct listener *l = (struct listener *)f;
    l->woken++;
    l->ended |= ended;
    if (l->leave)
        tl_follow_remove(l->all, f);
}

static void followers(void **state)
{
    (void)state;
    struct tl_follows *all = tl_follows_new();
    struct tl_id a = tl_id_new(), b = tl_id_new();
    struct listener l[3] = {{.all = all, .f.wake = heard}, {.all = all, .f.wake = heard, .leave = true}, {.all = all, .f.wake = heard}};
    assert_false(tl_follow_notify(all, &a, false));
    assert_int_equal(tl_follow_add(all, &l[0].f, &a), 0);
    assert_int_equal(tl_follow_add(all, &l[1].f, &a), 0);
    assert_int_equal(tl_follow_add(all, &l[2].f, &b), 0);
    assert_int_equal(tl_follow_count(all), 3);
    assert_true(tl_follow_notify(all, &a, false));
    assert_false(tl_follow_notify(all, &a, true)); /* one wake is enough */
    tl_follow_dispatch(all);
    assert_int_equal(l[0].woken, 1);
    assert_true(l[0].ended && l[1].ended);
    assert_int_equal(l[2].woken, 0);
    assert_int_equal(tl_follow_count(all), 2);
    tl_follow_dispatch(all);
    assert_int_equal(l[0].woken, 1);
    assert_true(tl_follow_notify(all, &b, false));
    tl_follow_remove(all, &l[2].f); /* while its news waits */
    tl_follow_remove(all, &l[2].f);
    tl_follow_dispatch(all);
    assert_int_equal(l[2].woken, 0);
    tl_follow_remove(all, &l[0].f);
    assert_int_equal(tl_follow_count(all), 0);
    assert_false(tl_follow_notify(all, &a, false));
    tl_follows_free(all);
}

/* A walk that takes long is interrupted, and goes on where it was whoever has left or come meanwhile. */
static void heard_slowly(struct tl_follower *f, bool ended)
{
    int64_t until = tl_mono_us() + 20000;
    struct listener *l = (struct listener *)f;
    if (l->leave)
        while (tl_mono_us() < until)
            ;
    l->woken++;
    l->ended |= ended;
}

static void long_walks_are_interrupted(void **state)
{
    (void)state;
    enum { N = 200 };
    struct tl_follows *all = tl_follows_new();
    struct tl_id run = tl_id_new(), other = tl_id_new();
    static struct listener l[N + 2];
    for (int i = 0; i < N + 2; i++)
        l[i] = (struct listener){.all = all, .f.wake = heard_slowly};
    for (int i = 0; i < N; i++)
        assert_int_equal(tl_follow_add(all, &l[i].f, &run), 0);
    assert_int_equal(tl_follow_add(all, &l[N].f, &other), 0);
    l[N - 1].leave = true; /* the first to be woken takes long */
    assert_true(tl_follow_notify(all, &run, false));
    assert_true(tl_follow_dispatch(all));
    int woken = 0;
    for (int i = 0; i < N; i++)
        woken += l[i].woken;
    assert_true(woken > 0 && woken < N);
    l[N - 1].leave = false;
    /* Who would be next leaves, another comes; there is more news of both runs. */
    int next = N - 1 - woken;
    assert_int_equal(l[next].woken, 0);
    tl_follow_remove(all, &l[next].f);
    assert_int_equal(tl_follow_add(all, &l[N + 1].f, &run), 0);
    assert_true(tl_follow_notify(all, &other, false));
    tl_follow_notify(all, &run, true);
    while (tl_follow_dispatch(all))
        ;
    for (int i = 0; i < N; i++) {
        assert_int_equal(l[i].woken, i == next ? 0 : 2);
        assert_int_equal(l[i].ended, i != next);
    }
    assert_int_equal(l[N].woken, 1);
    assert_int_equal(l[N + 1].woken, 1);
    /* All leave in the middle of a walk. */
    l[N + 1].leave = true;
    assert_true(tl_follow_notify(all, &run, false));
    assert_true(tl_follow_dispatch(all));
    for (int i = 0; i < N + 2; i++)
        tl_follow_remove(all, &l[i].f);
    assert_false(tl_follow_dispatch(all));
    assert_int_equal(tl_follow_count(all), 0);
    assert_false(tl_follow_notify(all, &run, false));
    tl_follows_free(all);
}

/* ---- poll ---- */

enum { PIPES = 100 };

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* Which of the files is ready, and only that; -1: none. */
static int ready_one(struct pollfd *fds, short *ret)
{
    int at = -1, n = poll(fds, PIPES, 0);
    for (int i = 0; i < PIPES; i++)
        if (fds[i].revents) {
            assert_int_equal(at, -1);
            at = i;
            *ret = fds[i].revents;
        }
    assert_int_equal(n, at >= 0);
    return at;
}

static void poll_asks_epoll(void **state)
{
    (void)state;
    static struct pollfd fds[PIPES], other[PIPES];
    static int ends[PIPES][2];
    short what = 0;
    struct tl_poll *p = tl_poll_new();
    assert_non_null(p);
    for (int i = 0; i < PIPES; i++) {
        pair(ends[i]);
        fds[i] = (struct pollfd){.fd = ends[i][0], .events = POLLIN, .revents = POLLIN};
    }
    tl_poll_use(p);
    assert_int_equal(ready_one(fds, &what), -1);
    assert_int_equal(write(ends[70][1], "x", 1), 1);
    assert_int_equal(ready_one(fds, &what), 70);
    assert_int_equal(what, POLLIN);
    assert_int_equal(ready_one(fds, &what), 70); /* until it is read */
    fds[70].events = 0;
    assert_int_equal(ready_one(fds, &what), -1);
    fds[3].events |= POLLOUT;
    assert_int_equal(ready_one(fds, &what), 3);
    assert_int_equal(what, POLLOUT);
    fds[3].events = POLLIN;
    /* Places change, as when one of them goes away. */
    struct pollfd moved = fds[70];
    fds[70] = fds[5];
    fds[5] = moved;
    fds[5].events = POLLIN;
    assert_int_equal(ready_one(fds, &what), 5);
    fds[5].fd = -1;
    assert_int_equal(ready_one(fds, &what), -1); /* it is not asked for */
    fds[5].fd = moved.fd;
    assert_int_equal(ready_one(fds, &what), 5);
    /* Another array is libc's. */
    memcpy(other, fds, sizeof(other));
    other[9].events = POLLOUT;
    other[5].fd = -1;
    assert_int_equal(poll(other, PIPES, 0), 1);
    assert_int_equal(other[9].revents, POLLOUT);
    assert_int_equal(ready_one(fds, &what), 5);
    char byte;
    assert_int_equal(read(moved.fd, &byte, 1), 1);
    assert_int_equal(ready_one(fds, &what), -1);
    /* Another file under the same number; it lies at 70 now. */
    int number = ends[5][0], again[2];
    close(ends[5][0]);
    close(ends[5][1]);
    pair(again);
    if (again[0] != number) {
        assert_int_equal(dup2(again[0], number), number);
        close(again[0]);
    }
    tl_poll_renewed(p, number);
    tl_poll_renewed(p, 1000000);
    tl_poll_renewed(NULL, 0);
    ends[5][0] = number;
    ends[5][1] = again[1];
    assert_int_equal(ready_one(fds, &what), -1);
    assert_int_equal(write(again[1], "x", 1), 1);
    assert_int_equal(ready_one(fds, &what), 70);
    fds[70].events = 0;
    assert_int_equal(ready_one(fds, &what), -1);
    assert_int_equal(shutdown(again[1], SHUT_RDWR), 0);
    assert_int_equal(ready_one(fds, &what), 70); /* an end is told unasked */
    assert_true(what & POLLHUP);
    tl_poll_use(NULL);
    tl_poll_free(p);
    for (int i = 0; i < PIPES; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),           cmocka_unit_test(etags),            cmocka_unit_test(names_and_types),          cmocka_unit_test(forms_in_every_cut),
        cmocka_unit_test(forms_that_are_none), cmocka_unit_test(routes_are_found), cmocka_unit_test(steps_are_found), cmocka_unit_test(routes_are_sound), cmocka_unit_test(the_description_is_whole),
        cmocka_unit_test(followers), cmocka_unit_test(long_walks_are_interrupted), cmocka_unit_test(poll_asks_epoll),
    };
    if (tl_hash_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

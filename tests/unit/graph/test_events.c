/* How large events become, and how many a commit has: a run of many nodes, all of which are done while a commit is under way. */
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "graph/op_ctx.h"
#include "tests/unit/graph/fixture.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    NODES = 20000,
    EVENT_MAX = 512 * 1024 + 1024, /* one change or one result of this graph, and the event's own words, have less than 1 KiB */
    HALF = 256 * 1024,
    PATIENCE_S = 20,
};

static int open_all(void **state)
{
    (void)state;
    fx_open();
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    fx_close();
    return 0;
}

/* The writer works on this until the test lets it go. */
struct stop {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool go;
};

static int stand_still(struct tl_txn *txn, void *arg)
{
    struct stop *s = arg;
    (void)txn;
    pthread_mutex_lock(&s->lock);
    while (!s->go)
        pthread_cond_wait(&s->cond, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void let_go(struct stop *s)
{
    pthread_mutex_lock(&s->lock);
    s->go = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

#define ID "a-node-whose-name-is-long-enough-that-a-change-of-it-is-some-hundred-bytes-"

static void add_edge(struct tl_str *t, const char *id, const char *from, const char *out, const char *to,
                     const char *in)
{
    tl_str_printf(t,
                  "%s{\"id\":\"%s\",\"source\":\"%s\",\"sourceHandle\":\"%s\","
                  "\"target\":\"%s\",\"targetHandle\":\"%s\"}",
                  strcmp(id, "first") ? "," : "", id, from, out, to, in);
}

/* first holds, then all the others beside one another, then total, then last holds. */
static char *graph_text(void)
{
    struct tl_str t = {0};
    char id[128], edge[32];
    tl_str_puts(&t, "{\"nodes\":[{\"id\":\"first\",\"type\":\"hold\"},"
                    "{\"id\":\"total\",\"type\":\"total\"},{\"id\":\"last\",\"type\":\"hold\"}");
    for (int i = 0; i < NODES; i++)
        tl_str_printf(&t, ",{\"id\":\"" ID "%d\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":%d}}}", i, i);
    tl_str_puts(&t, "],\"edges\":[");
    add_edge(&t, "first", "total", "sum", "last", "in");
    for (int i = 0; i < NODES; i++) {
        snprintf(id, sizeof(id), ID "%d", i);
        snprintf(edge, sizeof(edge), "a%d", i);
        add_edge(&t, edge, "first", "out", id, "a");
        snprintf(edge, sizeof(edge), "b%d", i);
        add_edge(&t, edge, id, "sum", "total", "all");
    }
    tl_str_puts(&t, "]}");
    return tl_str_take(&t);
}

struct seen {
    json_t *done, *results; /* ids */
    size_t progress, largest_progress, largest_partial;
};

static void clear(struct seen *s)
{
    json_decref(s->done);
    json_decref(s->results);
}

static int look_at(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct seen *s = arg;
    TL_AUTO_JSON json_t *e = NULL;
    size_t i;
    json_t *v;
    (void)seq;
    assert_int_equal(tl_json_parse(json, len, &e, NULL), 0);
    const json_t *payload = json_object_get(e, "payload");
    if (strcmp(tl_json_str(e, "type"), "run.progress") == 0) {
        s->progress++;
        s->largest_progress = len > s->largest_progress ? len : s->largest_progress;
        json_array_foreach(json_object_get(payload, "nodes"), i, v)
            if (strcmp(tl_json_str(v, "status"), "done") == 0)
                json_object_set_new(s->done, tl_json_str(v, "id"), json_true());
    } else if (strcmp(tl_json_str(e, "type"), "run.partial") == 0) {
        s->largest_partial = len > s->largest_partial ? len : s->largest_partial;
        json_array_foreach(json_object_get(payload, "results"), i, v)
            json_object_set_new(s->results, tl_json_str(v, "node"), json_true());
    }
    return 0;
}

static struct seen look(const struct tl_id *id)
{
    struct seen s = {.done = json_object(), .results = json_object()};
    assert_int_equal(tl_events_read(fx.db, id, 0, look_at, &s), 0);
    return s;
}

static void wait_published(uint64_t more_than)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&fx.lock);
    int err = 0;
    while (!err && fx.published <= more_than)
        err = pthread_cond_timedwait(&fx.cond, &fx.lock, &until);
    pthread_mutex_unlock(&fx.lock);
    assert_int_equal(err, 0); /* otherwise nothing more is told */
}

static uint64_t published(void)
{
    pthread_mutex_lock(&fx.lock);
    uint64_t n = fx.published;
    pthread_mutex_unlock(&fx.lock);
    return n;
}

static void test_sizes(void **state)
{
    (void)state;
    static struct stop stop = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    TL_AUTO_FREE char *graph = graph_text();
    assert_non_null(graph);
    struct tl_id id = fx_start(graph);
    struct tl_op_ctx *ctx = fx_wait_held();
    stop.go = false;
    assert_int_equal(tl_db_submit(fx.db, stand_still, &stop, NULL), 0);
    assert_int_equal(tl_op_output_number(ctx, "out", 1), 0);
    tl_op_done(ctx, 0);
    ctx = fx_wait_held(); /* last: all the others are done */
    assert_int_equal(fx.calls, NODES);
    let_go(&stop);
    /* The run is at work until last ends: no commit but one that tells the end may have more than one run.progress. */
    for (bool all = false; !all;) {
        uint64_t before = published();
        struct seen s = look(&id);
        all = json_object_size(s.done) == NODES + 2;
        assert_true(s.progress <= published());
        clear(&s);
        if (!all)
            wait_published(before);
    }
    tl_op_done(ctx, 0);
    fx_wait_ended(1);
    struct seen s = look(&id);
    assert_int_equal(json_object_size(s.done), NODES + 3);
    assert_int_equal(json_object_size(s.results), NODES + 3);
    print_message("largest run.progress %zu, run.partial %zu bytes\n", s.largest_progress, s.largest_partial);
    assert_in_range(s.largest_progress, HALF, EVENT_MAX);
    assert_in_range(s.largest_partial, HALF, EVENT_MAX);
    clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_sizes, open_all, close_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

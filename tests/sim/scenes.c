/* Scenes that are set up by hand, for what a random world does not show sharply enough: an organisation's run of 10,000 nodes is under way and another
 * one starts a run of two. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 10000, WIDTH = 100, BEFORE = 1000, NODE_US = 1000, COMMIT_US = 300, PLACES = 4, STEPS_MAX = 1000000 };

static struct scene {
    const char *name, *op;
    int large_priority, small_priority;
    struct tl_id id[2]; /* of the large run and the small one */
    bool known[2], ended[2];
    int begun[2];
    int since;        /* nodes of the large run begun since the small one could go on */
    int64_t since_us; /* when it could */
    bool ready;       /* it waits for its next node to begin */
    int waited[2];    /* nodes of the large run that each of its two nodes waited for */
    int64_t waited_us[2];
    struct tl_op_ctx *held[PLACES];
    int64_t due_us[PLACES];
} s;

static void start_small(void);

static int enter(struct tl_op_ctx *ctx)
{
    int small = strcmp(tl_op_org(ctx), "small") == 0;
    if (small) {
        s.waited[s.begun[1]] = s.since;
        s.waited_us[s.begun[1]] = w.now_us - s.since_us;
        s.ready = false;
    } else if (s.ready) {
        s.since++;
    }
    if (++s.begun[small] == BEFORE && !small)
        start_small(); /* while this node is at work, as from another thread */
    return small;
}

static int leave(struct tl_op_ctx *ctx, bool small)
{
    if (small) {
        s.ready = true;
        s.since = 0;
        s.since_us = w.now_us;
    }
    return tl_op_output_number(ctx, "out", tl_op_input_number(ctx, "a", 0) + 1);
}

static int run_cpu(struct tl_op_ctx *ctx)
{
    int small = enter(ctx);
    w.now_us += NODE_US;
    return leave(ctx, small);
}

static int run_net(struct tl_op_ctx *ctx)
{
    enter(ctx);
    for (int i = 0; i < PLACES; i++)
        if (!s.held[i]) {
            s.held[i] = ctx;
            s.due_us[i] = w.now_us + NODE_US;
            return TL_OP_PENDING;
        }
    sim_fail("%s: more than %d are at work", s.name, PLACES);
}

static bool end_net(int64_t *next)
{
    int first = -1;
    for (int i = 0; i < PLACES; i++)
        if (s.held[i] && (first < 0 || s.due_us[i] < s.due_us[first]))
            first = i;
    if (first < 0)
        return false;
    if (s.due_us[first] > w.now_us) {
        if (s.due_us[first] < *next)
            *next = s.due_us[first];
        return false;
    }
    struct tl_op_ctx *ctx = s.held[first];
    s.held[first] = NULL;
    tl_op_done(ctx, leave(ctx, strcmp(tl_op_org(ctx), "small") == 0));
    return true;
}

static const struct tl_port ports[] = {
    {"a", TL_T_NUMBER, 0, NULL}, {"b", TL_T_NUMBER, 0, NULL}, {"out", TL_T_NUMBER, TL_PORT_OUT, NULL}, {0}};
static const struct tl_param params[] = {
    {.name = "value", .type = TL_P_NUMBER, .min = 0, .max = 1000000, .default_json = "0"}, {0}};
#define OP(op_name, op_flags, op_run)                                                                                  \
    {                                                                                                                  \
        .name = op_name, .revision = 1, .flags = op_flags, .ports = ports, .params = params, .run = op_run             \
    }
static const struct tl_op ops[] = {OP("fair.cpu", TL_OP_PURE, run_cpu),
                                   OP("fair.quick", TL_OP_PURE | TL_OP_QUICK, run_cpu),
                                   OP("fair.net", TL_OP_PURE | TL_OP_NET, run_net)};

static const struct tl_op *find_op(void *arg, const char *name)
{
    (void)arg;
    for (size_t i = 0; i < TL_ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, name) == 0)
            return &ops[i];
    return NULL;
}

static void notify(void *arg, const struct tl_id *id, uint64_t seq, bool ended)
{
    (void)arg, (void)seq;
    for (int i = 0; i < 2; i++)
        if (s.known[i] && tl_id_equal(id, &s.id[i]))
            s.ended[i] = ended;
}

static void started(void *arg, int err, const struct tl_id *id)
{
    int i = (int)(intptr_t)arg;
    if (err)
        sim_fail("%s: a run cannot be started: %s", s.name, tl_err_code(err));
    s.id[i] = *id;
    s.known[i] = true;
}

/* width nodes in a layer, each after the one above it and its neighbour. */
static char *graph_text(int n, int width)
{
    struct tl_str t = {0};
    tl_str_puts(&t, "{\"nodes\":[");
    for (int i = 0; i < n; i++)
        tl_str_printf(&t, "%s{\"id\":\"n%d\",\"type\":\"%s\",\"data\":{\"params\":{\"value\":%d}}}", i ? "," : "", i,
                      s.op, n + i);
    tl_str_puts(&t, "],\"edges\":[");
    for (int i = width; i < n; i++)
        for (int k = 0; k < (width > 1 ? 2 : 1); k++)
            tl_str_printf(&t,
                          "%s{\"source\":\"n%d\",\"sourceHandle\":\"out\",\"target\":\"n%d\",\"targetHandle\":\"%c\"}",
                          i == width && !k ? "" : ",", (i / width - 1) * width + (i + k) % width, i, 'a' + k);
    tl_str_puts(&t, "]}");
    return tl_str_take(&t);
}

static void start(int which, const char *org, int n, int width, int priority)
{
    static const struct tl_graph_env env = {.find_op = find_op};
    TL_AUTO_FREE char *text = graph_text(n, width);
    TL_AUTO_JSON json_t *doc = NULL;
    struct tl_plan *plan = NULL;
    if (!text || tl_json_parse(text, strlen(text), &doc, NULL) < 0 || tl_plan_json(doc, &env, NULL, 0, &plan, NULL) < 0)
        sim_fail("%s: the graph cannot be planned", s.name);
    struct tl_run_req req = {
        .org = org, .sub = "kim", .kind = "canvas", .doc = doc, .plan = plan, .priority = priority};
    int err = tl_run_start(w.exec, &req, started, (void *)(intptr_t)which);
    if (err)
        sim_fail("%s: tl_run_start: %s", s.name, tl_err_code(err));
    tl_plan_unref(plan);
}

static void start_small(void)
{
    start(1, "small", 2, 1, s.small_priority);
    s.ready = true;
    s.since_us = w.now_us;
}

static void play(void)
{
    int64_t commit_us = INT64_MAX;
    start(0, "large", LARGE, WIDTH, s.large_priority);
    for (int steps = 0; !s.ended[1]; steps++) {
        int64_t next = tl_exec_next_due(w.exec);
        if (steps > STEPS_MAX)
            sim_fail("%s: the small run does not end", s.name);
        if (fake_pending(w.db) && commit_us == INT64_MAX)
            commit_us = w.now_us + COMMIT_US;
        if (commit_us <= w.now_us) {
            commit_us = INT64_MAX;
            fake_commit(w.db, fake_pending(w.db), false);
        } else if (!end_net(&next) && !tl_exec_step(w.exec)) {
            next = commit_us < next ? commit_us : next;
            if (next == INT64_MAX)
                sim_fail("%s: nothing is left to do and the small run has not ended", s.name);
            if (next > w.now_us)
                w.now_us = next;
        }
    }
}

static void one_scene(const char *name, const char *op, int large_priority, int small_priority, bool verbose)
{
    world_open(0, verbose);
    w.conf.places[TL_CLASS_NET] = PLACES;
    w.conf.places[TL_CLASS_CPU] = 1;
    w.conf.notify = notify;
    s = (struct scene){.name = name, .op = op, .large_priority = large_priority, .small_priority = small_priority};
    world_exec();
    play();
    for (int i = 0; i < 2; i++)
        if (s.waited[i] > 1 || s.waited_us[i] > NODE_US)
            sim_fail("%s: node %d of the small run waited for %d nodes of the large one, %lld us", name, i + 1,
                     s.waited[i], (long long)s.waited_us[i]);
    sim_note("%s: the two nodes waited for %d and %d nodes of the large run, %lld and %lld us", name, s.waited[0],
             s.waited[1], (long long)s.waited_us[0], (long long)s.waited_us[1]);
    /* The large run is let go of: what it holds ends. */
    tl_run_cancel(w.exec, "large", &s.id[0], NULL);
    for (int i = 0; i < PLACES; i++)
        if (s.held[i])
            tl_op_done(s.held[i], TL_ECANCELLED);
    while (tl_exec_step(w.exec) || fake_commit(w.db, fake_pending(w.db), false)) {
    }
    if (!s.ended[0])
        sim_fail("%s: the large run does not end when it is cancelled", name);
    world_close();
}

void scene_fair(bool verbose)
{
    one_scene("cpu", "fair.cpu", 0, 0, verbose);
    one_scene("quick", "fair.quick", 0, 0, verbose);
    one_scene("net", "fair.net", 0, 0, verbose);
    one_scene("high and low", "fair.cpu", 1, -1, verbose);
    printf("a run of two nodes beside one of %d: waits for one node at most\n", LARGE);
}

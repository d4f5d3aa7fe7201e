/* Scenes that are set up by hand, for what a random world does not show sharply enough: while a run of 10,000 nodes is under way, a run of two comes, of
 * another organisation or of a higher priority; and large runs side by side. */
#include "tests/sim/sim.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LARGE = 10000,
    WIDTH = 100,
    BEFORE = 1000,
    NODE_US = 1000,
    COMMIT_US = 300,
    PLACES = 4,
    STEPS_MAX = 1000000,
    SIDE_BY_SIDE = 4000, /* nodes of two sides together, for which they are compared */
    AHEAD_MAX = PLACES,  /* nodes that one side may be ahead: what is at work */
    TURN_MAX = 3,        /* nodes in a row of one of two runs that are alike: 2 ms, and the node that goes beyond */
    RUNS = 12,
};

/* The runs of a scene: one that is under way, the one that comes, what keeps its organisation alive before, and more of the first one's. */
enum { FIRST, SECOND, HOLD, MORE };

struct plot {
    const char *name, *op, *org[2]; /* of the first and of the second */
    int priority[2];
    bool second_lives; /* its organisation has a live run before the first comes */
    int more;          /* runs like the first one, from the beginning on */
    int ahead, in_row; /* both are large, side by side: how far one may be ahead, nodes in a row of one of them */
};

static struct scene {
    struct plot plot;
    struct tl_id id[RUNS];
    bool known[RUNS], ended[RUNS];
    int begun[2];     /* nodes of the second, and of all others */
    int since;        /* nodes of the first begun since the second could go on */
    int64_t since_us; /* when it could */
    bool ready;       /* it waits for its next node to begin */
    int waited[2];    /* nodes of the first that each of its two nodes waited for */
    int64_t waited_us[2];
    int last, row, longest, ahead; /* whose node was the last to begin, how many in a row; most of one, and most ahead */
    struct tl_op_ctx *held[PLACES], *hold;
    int64_t due_us[PLACES];
} s;

static void start_second(void);

static bool is_second(struct tl_op_ctx *ctx)
{
    return tl_op_node(ctx)->id[0] == 'a' + SECOND;
}

static void compare(int side)
{
    int ahead = abs(s.begun[0] - s.begun[1]);
    s.row = side == s.last ? s.row + 1 : 1;
    s.last = side;
    s.ahead = ahead > s.ahead ? ahead : s.ahead;
    s.longest = s.row > s.longest ? s.row : s.longest;
}

static bool enter(struct tl_op_ctx *ctx)
{
    bool second = is_second(ctx);
    if (!second && s.ready) {
        s.since++;
    } else if (second && s.begun[1] < 2) {
        s.waited[s.begun[1]] = s.since;
        s.waited_us[s.begun[1]] = w.now_us - s.since_us;
        s.ready = false;
    }
    s.begun[second]++;
    if (s.plot.ahead)
        compare(second);
    else if (s.begun[0] == BEFORE && !second)
        start_second(); /* while this node is at work, as from another thread */
    return second;
}

static int leave(struct tl_op_ctx *ctx, bool second)
{
    if (second) {
        s.ready = true;
        s.since = 0;
        s.since_us = w.now_us;
    }
    return tl_op_output_number(ctx, "out", tl_op_input_number(ctx, "a", 0) + 1);
}

static int run_cpu(struct tl_op_ctx *ctx)
{
    bool second = enter(ctx);
    w.now_us += NODE_US;
    return leave(ctx, second);
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
    sim_fail("%s: more than %d are at work", s.plot.name, PLACES);
}

/* Until the scene is over, in a place of its own. */
static int run_hold(struct tl_op_ctx *ctx)
{
    s.hold = ctx;
    return TL_OP_PENDING;
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
    tl_op_done(ctx, leave(ctx, is_second(ctx)));
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
static const struct tl_op ops[] = {
    OP("fair.cpu", TL_OP_PURE, run_cpu), OP("fair.quick", TL_OP_PURE | TL_OP_QUICK, run_cpu),
    OP("fair.net", TL_OP_PURE | TL_OP_NET, run_net), OP("fair.hold", TL_OP_NET, run_hold)};

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
    for (int i = 0; i < RUNS; i++)
        if (s.known[i] && tl_id_equal(id, &s.id[i]))
            s.ended[i] = ended;
}

static void started(void *arg, int err, const struct tl_id *id)
{
    int i = (int)(intptr_t)arg;
    if (err)
        sim_fail("%s: a run cannot be started: %s", s.plot.name, tl_err_code(err));
    s.id[i] = *id;
    s.known[i] = true;
}

/* width nodes in a layer, each after the one above it and its neighbour; no two runs have a node alike. */
static char *graph_text(int which, const char *op, int n, int width)
{
    struct tl_str t = {0};
    char c = (char)('a' + which);
    tl_str_puts(&t, "{\"nodes\":[");
    for (int i = 0; i < n; i++)
        tl_str_printf(&t,
                      "%s{\"id\":\"%c%d\",\"type\":\"%s\",\"data\":{\"params\":{"
                      "\"value\":%d}}}",
                      i ? "," : "", c, i, op, which * LARGE + i);
    tl_str_puts(&t, "],\"edges\":[");
    for (int i = width; i < n; i++)
        for (int k = 0; k < (width > 1 ? 2 : 1); k++)
            tl_str_printf(&t,
                          "%s{\"source\":\"%c%d\",\"sourceHandle\":\"out\","
                          "\"target\":\"%c%d\",\"targetHandle\":\"%c\"}",
                          i == width && !k ? "" : ",", c, (i / width - 1) * width + (i + k) % width, c, i, 'a' + k);
    tl_str_puts(&t, "]}");
    return tl_str_take(&t);
}

static const char *org_of(int which)
{
    return s.plot.org[which == SECOND || which == HOLD];
}

static void start(int which, const char *op, int n, int width)
{
    static const struct tl_graph_env env = {.find_op = find_op};
    TL_AUTO_FREE char *text = graph_text(which, op, n, width);
    TL_AUTO_JSON json_t *doc = NULL;
    struct tl_plan *plan = NULL;
    if (!text || tl_json_parse(text, strlen(text), &doc, NULL) < 0 || tl_plan_json(doc, &env, NULL, 0, &plan, NULL) < 0)
        sim_fail("%s: the graph cannot be planned", s.plot.name);
    struct tl_run_req req = {.org = org_of(which),
                             .sub = "kim",
                             .kind = "canvas",
                             .doc = doc,
                             .plan = plan,
                             .priority = s.plot.priority[which == SECOND]};
    int err = tl_run_start(w.exec, &req, started, (void *)(intptr_t)which);
    if (err)
        sim_fail("%s: tl_run_start: %s", s.plot.name, tl_err_code(err));
    tl_plan_unref(plan);
}

static void start_second(void)
{
    start(SECOND, s.plot.op, 2, 1);
    s.ready = true;
    s.since_us = w.now_us;
}

static bool is_over(void)
{
    return s.plot.ahead ? s.begun[0] + s.begun[1] > SIDE_BY_SIDE : s.ended[SECOND];
}

static void advance(int64_t *commit_us)
{
    int64_t next = tl_exec_next_due(w.exec);
    if (fake_pending(w.db) && *commit_us == INT64_MAX)
        *commit_us = w.now_us + COMMIT_US;
    if (*commit_us <= w.now_us) {
        *commit_us = INT64_MAX;
        fake_commit(w.db, fake_pending(w.db), false);
    } else if (!end_net(&next) && !tl_exec_step(w.exec)) {
        next = *commit_us < next ? *commit_us : next;
        if (next == INT64_MAX)
            sim_fail("%s: nothing is left to do and the scene is not over", s.plot.name);
        if (next > w.now_us)
            w.now_us = next;
    }
}

static void play(void)
{
    int64_t commit_us = INT64_MAX;
    int steps = 0;
    if (s.plot.second_lives)
        start(HOLD, "fair.hold", 1, 1);
    while (s.plot.second_lives && !s.hold && steps++ < STEPS_MAX)
        advance(&commit_us);
    start(FIRST, s.plot.op, LARGE, WIDTH);
    if (s.plot.ahead)
        start(SECOND, s.plot.op, LARGE, WIDTH);
    for (int i = 0; i < s.plot.more; i++)
        start(MORE + i, s.plot.op, LARGE, WIDTH);
    while (!is_over() && steps++ < STEPS_MAX)
        advance(&commit_us);
    if (!is_over())
        sim_fail("%s: the second run does not go on", s.plot.name);
}

static void judge_waits(void)
{
    for (int i = 0; i < 2; i++)
        if (s.waited[i] > 1 || s.waited_us[i] > NODE_US)
            sim_fail("%s: node %d of the small run waited for %d nodes of the large "
                     "one, %lld us",
                     s.plot.name, i + 1, s.waited[i], (long long)s.waited_us[i]);
    sim_note("%s: the two nodes waited for %d and %d nodes of the large run, "
             "%lld and %lld us",
             s.plot.name, s.waited[0], s.waited[1], (long long)s.waited_us[0], (long long)s.waited_us[1]);
}

static void judge_sides(void)
{
    if (s.ahead > s.plot.ahead)
        sim_fail("%s: one side was %d nodes ahead of the other", s.plot.name, s.ahead);
    if (s.plot.in_row && s.longest > s.plot.in_row)
        sim_fail("%s: %d nodes in a row of one run", s.plot.name, s.longest);
    sim_note("%s: one side was %d nodes ahead at most, %d in a row", s.plot.name, s.ahead, s.longest);
}

/* What is under way is let go of: it ends. */
static void let_go(void)
{
    for (int i = 0; i < RUNS; i++)
        if (s.known[i] && !s.ended[i])
            tl_run_cancel(w.exec, org_of(i), &s.id[i], NULL);
    for (int i = 0; i < PLACES; i++)
        if (s.held[i])
            tl_op_done(s.held[i], TL_ECANCELLED);
    if (s.hold)
        tl_op_done(s.hold, TL_ECANCELLED);
    while (tl_exec_step(w.exec) || fake_commit(w.db, fake_pending(w.db), false)) {
    }
    for (int i = 0; i < RUNS; i++)
        if (s.known[i] && !s.ended[i])
            sim_fail("%s: run %d does not end when it is cancelled", s.plot.name, i);
}

static void one_scene(const struct plot *plot, bool verbose)
{
    world_open(0, verbose);
    w.conf.places[TL_CLASS_NET] = PLACES + plot->second_lives;
    w.conf.places[TL_CLASS_CPU] = 1;
    w.conf.notify = notify;
    s = (struct scene){.plot = *plot};
    world_exec();
    play();
    if (plot->ahead)
        judge_sides();
    else
        judge_waits();
    let_go();
    world_close();
}

void scene_fair(bool verbose)
{
#define TWO .org = {"large", "small"}
#define ONE .org = {"studio", "studio"}
    static const struct plot plots[] = {
        {.name = "cpu", .op = "fair.cpu", TWO},
        {.name = "quick", .op = "fair.quick", TWO},
        {.name = "net", .op = "fair.net", TWO},
        {.name = "high and low", .op = "fair.cpu", TWO, .priority = {1, -1}},
        {.name = "cpu, the small one first", .op = "fair.cpu", TWO, .second_lives = true},
        {.name = "quick, the small one first", .op = "fair.quick", TWO, .second_lives = true},
        {.name = "net, the small one first", .op = "fair.net", TWO, .second_lives = true},
        {.name = "priority", .op = "fair.cpu", ONE, .priority = {-1, 1}},
        {.name = "priority, quick", .op = "fair.quick", ONE, .priority = {0, 1}},
        {.name = "priority, net", .op = "fair.net", ONE, .priority = {-1, 0}},
        {.name = "two large ones", .op = "fair.cpu", TWO, .ahead = AHEAD_MAX},
        {.name = "two large ones, quick", .op = "fair.quick", TWO, .ahead = AHEAD_MAX},
        {.name = "two large ones, net", .op = "fair.net", TWO, .ahead = AHEAD_MAX},
        {.name = "one of many runs", .op = "fair.cpu", TWO, .ahead = AHEAD_MAX, .more = RUNS - MORE},
        {.name = "turns", .op = "fair.cpu", ONE, .ahead = AHEAD_MAX, .in_row = TURN_MAX},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(plots); i++)
        one_scene(&plots[i], verbose);
    printf("a run of two nodes beside one of %d: waits for one node at most; large ones side by side: %d nodes ahead\n",
           LARGE, AHEAD_MAX);
}

/* Results kept: keys, records, the cache in memory, the bound on disk, and what serves one run only. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/op_ctx.h"
#include "graph/result_priv.h"
#include "store/check.h"
#include "tests/unit/graph/fixture.h"

#include <stdio.h>
#include <string.h>

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

static void restart(void)
{
    fx_crash();
    fx_restart();
}

static void say_problem(void *arg, const char *text)
{
    (void)arg;
    print_error("check: %s\n", text);
}

static void check_store(void)
{
    struct tl_check_counts counts;
    assert_int_equal(tl_db_check(fx.db, fx.dir, false, say_problem, NULL, &counts), 0);
    assert_int_equal(counts.problems, 0);
}

/* Runs a graph and waits; how many times "add" and "impure" ran for it. */
static int calls_of(const char *graph)
{
    int before = fx.calls, ended = fx.ended;
    fx_start(graph);
    fx_wait_ended(ended + 1);
    return fx.calls - before;
}

/* a + b as two numbers and an addition, which the next node adds c to. */
static char *sum_graph(double a, double b, double c)
{
    char *text = NULL;
    assert_true(
        asprintf(&text,
                 "{\"nodes\":[{\"id\":\"a\",\"type\":\"number\",\"data\":{\"params\":{\"value\":%g}}},"
                 "{\"id\":\"b\",\"type\":\"number\",\"data\":{\"params\":{\"value\":%g}}},"
                 "{\"id\":\"s\",\"type\":\"add\"},"
                 "{\"id\":\"t\",\"type\":\"add\",\"data\":{\"inputs\":{\"b\":%g}}}],"
                 "\"edges\":[{\"id\":\"1\",\"source\":\"a\",\"sourceHandle\":\"value\",\"target\":\"s\","
                 "\"targetHandle\":\"a\"},"
                 "{\"id\":\"2\",\"source\":\"b\",\"sourceHandle\":\"value\",\"target\":\"s\",\"targetHandle\":\"b\"},"
                 "{\"id\":\"3\",\"source\":\"s\",\"sourceHandle\":\"sum\",\"target\":\"t\",\"targetHandle\":\"a\"}]}",
                 a, b, c) > 0);
    return text;
}

static int sum_calls(double a, double b, double c)
{
    TL_AUTO_FREE char *graph = sum_graph(a, b, c);
    return calls_of(graph);
}

static void test_only_what_changed(void **state)
{
    (void)state;
    assert_int_equal(sum_calls(2, 3, 1), 2);
    assert_int_equal(sum_calls(2, 3, 1), 0);
    restart();
    assert_int_equal(sum_calls(2, 3, 1), 0); /* from disk */
    assert_int_equal(sum_calls(2, 3, 1), 0); /* from memory */
    assert_int_equal(sum_calls(2, 3, 7), 1); /* a literal of the last node */
    assert_int_equal(sum_calls(2, 4, 7), 2); /* an input of both */
    assert_int_equal(sum_calls(1, 4, 1), 1); /* 1 + 4 is 5 again: the first addition runs, what follows does not */
    check_store();
}

/* ---- keys ---- */

static const struct tl_op *newer_add(void *arg, const char *name)
{
    static struct tl_op op;
    const struct tl_op *have = fx_find_op(arg, name);
    if (!have || strcmp(name, "add") != 0)
        return have;
    op = *have;
    op.revision++;
    return &op;
}

static int five(void *arg, uint32_t node, uint32_t out, uint8_t ret[32])
{
    struct tl_value v = tl_value_number(5);
    (void)out;
    if (arg && *(uint32_t *)arg == node)
        return TL_ENOTFOUND;
    return tl_value_hash(&v, ret);
}

static void key_of(const char *graph, const struct tl_graph_env *env, const char *org, const char *node,
                   uint8_t ret[32])
{
    TL_AUTO_JSON json_t *j = fx_json(graph);
    struct tl_plan *plan;
    uint8_t run_key[32] = {1};
    assert_int_equal(tl_plan_json(j, env, NULL, 0, &plan, NULL), 0);
    tl_result_run_key(run_key, org);
    assert_int_equal(tl_result_key_of(run_key, plan, tl_plan_find(plan, node), five, NULL, ret), 0);
    tl_plan_unref(plan);
}

static void test_keys(void **state)
{
    (void)state;
    TL_AUTO_FREE char *g = sum_graph(2, 3, 1), *other = sum_graph(2, 3, 2);
    struct tl_graph_env newer = fx_env;
    newer.find_op = newer_add;
    uint8_t k[6][32];
    key_of(g, &fx_env, "acme", "t", k[0]);
    key_of(g, &fx_env, "acme", "t", k[1]);
    assert_memory_equal(k[0], k[1], 32);
    key_of(g, &fx_env, "other", "t", k[1]);
    key_of(g, &newer, "acme", "t", k[2]);
    key_of(other, &fx_env, "acme", "t", k[3]);
    key_of(g, &fx_env, "acme", "s", k[4]);
    /* An edge into the other port, the same value on it. */
    key_of("{\"nodes\":[{\"id\":\"a\",\"type\":\"number\"},{\"id\":\"u\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":"
           "1}}}],\"edges\":"
           "[{\"id\":\"1\",\"source\":\"a\",\"sourceHandle\":\"value\",\"target\":\"u\",\"targetHandle\":\"b\"}]}",
           &fx_env, "acme", "u", k[5]);
    for (int i = 0; i < 6; i++)
        for (int n = 0; n < i; n++)
            assert_memory_not_equal(k[i], k[n], 32);
}

static void test_key_of_the_unknown(void **state)
{
    (void)state;
    TL_AUTO_FREE char *g = sum_graph(2, 3, 1);
    TL_AUTO_JSON json_t *j = fx_json(g);
    struct tl_plan *plan = fx_plan(j);
    uint8_t key[32], run_key[32] = {0};
    uint32_t unknown = tl_plan_find(plan, "b");
    assert_int_equal(tl_result_key_of(run_key, plan, tl_plan_find(plan, "s"), five, &unknown, key), TL_ENOTFOUND);
    assert_int_equal(tl_result_key_of(run_key, plan, tl_plan_find(plan, "t"), five, &unknown, key), 0);
    tl_plan_unref(plan);
}

/* ---- records ---- */

static void test_records(void **state)
{
    (void)state;
    struct tl_value v[5] = {tl_value_number(-0.1),
                            tl_value_bool(true),
                            {.type = TL_T_ANY},
                            tl_value_take(TL_T_STRINGS, json_pack("[s,s]", "x", "y")),
                            tl_value_take(TL_T_STRING, json_string("text"))};
    uint8_t hashes[5][32], again[5][32], *read_hashes;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tl_value_hash(&v[i], hashes[i]), 0);
    struct tl_record_head head = {.facts = {.run = tl_id_new(), .stamp = 77, .usage = {3, 4, 0.5}},
                                  .flags = TL_RECORD_IMPURE},
                          back;
    struct tl_kept *k = tl_record_new(&head, v, 5, hashes[0], 0);
    assert_non_null(k);
    struct tl_value w[5] = {0};
    assert_int_equal(tl_record_read(k->bytes, k->len, &back, w, 5, &read_hashes), 0);
    assert_true(tl_id_equal(&back.facts.run, &head.facts.run));
    assert_true(back.facts.stamp == 77 && back.facts.usage.tokens_in == 3 && back.facts.usage.tokens_out == 4 &&
                back.facts.usage.cost_usd == 0.5);
    assert_int_equal(back.flags & TL_RECORD_IMPURE, TL_RECORD_IMPURE);
    assert_true(w[0].number == -0.1 && w[1].boolean && w[2].type == TL_T_ANY);
    assert_true(json_equal(w[3].json, v[3].json) && json_equal(w[4].json, v[4].json));
    assert_memory_equal(read_hashes + 96, hashes[3], 64);
    free(read_hashes);
    for (int i = 0; i < 5; i++)
        tl_value_clear(&w[i]);
    assert_int_equal(tl_record_hashes(k->bytes, k->len, &back, 5, again[0]), 0);
    assert_memory_equal(again, hashes, sizeof(hashes));
    /* Nothing of it is trusted: cut anywhere, another number of outputs, another format, bytes behind it. */
    for (uint32_t cut = 0; cut < k->len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, k->bytes, cut);
        assert_int_equal(tl_record_read(copy, cut, &back, w, 5, &read_hashes), TL_ENOTFOUND);
        free(copy);
    }
    assert_int_equal(tl_record_read(k->bytes, k->len, &back, w, 4, &read_hashes), TL_ENOTFOUND);
    for (uint32_t i = 0; i < k->len; i++) {
        uint8_t was = k->bytes[i];
        k->bytes[i] = 0xff;
        if (tl_record_read(k->bytes, k->len, &back, w, 5, &read_hashes) == 0) {
            for (int n = 0; n < 5; n++)
                tl_value_clear(&w[n]);
            free(read_hashes);
        }
        k->bytes[i] = was;
    }
    tl_result_free(k);
    for (int i = 0; i < 5; i++)
        tl_value_clear(&v[i]);
}

static void test_sorted(void **state)
{
    (void)state;
    for (int n = 0; n < 70; n++) {
        struct tl_kept *list = NULL;
        for (int i = 0; i < n; i++) {
            struct tl_kept *k = tl_calloc(1, sizeof(*k));
            k->key[0] = (uint8_t)(i * 37);
            k->kind = i % 5 ? TL_KEPT_RESULT : TL_KEPT_STEP;
            k->next = list;
            list = k;
        }
        list = tl_result_sorted(list);
        int count = 0;
        for (struct tl_kept *k = list; k; k = k->next, count++)
            if (k->next)
                assert_true(k->kind == k->next->kind ? k->key[0] <= k->next->key[0] : k->next->kind == TL_KEPT_STEP);
        assert_int_equal(count, n);
        tl_result_free(list);
    }
}

/* ---- memory ---- */

static void hot_key(int i, uint8_t key[32])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, &i, sizeof(i));
    tl_blake2b_final(&h, key);
}

static bool hot_has(struct tl_hot *hot, int i)
{
    struct tl_result_facts facts;
    struct tl_value v = {0};
    uint8_t key[32], *hashes;
    hot_key(i, key);
    bool has = tl_hot_get(hot, key, &facts, &v, 1, &hashes);
    if (has)
        assert_true(v.number == i);
    return has;
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    enum { N = 20000, SMALL = 16 * 16 * 1024 };
    struct tl_hot *hot = tl_hot_new(SMALL);
    struct tl_result_facts facts = {0};
    assert_non_null(hot);
    int kept = 0;
    for (int i = 0; i < N; i++) {
        struct tl_value v = tl_value_number(i);
        uint8_t key[32];
        hot_key(i, key);
        tl_hot_put(hot, key, &facts, &v, 1, NULL, 0);
        assert_true(hot_has(hot, i));
        assert_true(hot_has(hot, 0)); /* used all the time: stays */
    }
    for (int i = 0; i < N; i++)
        kept += hot_has(hot, i);
    assert_in_range(kept, SMALL / 250, SMALL / 64);
    struct tl_value large = tl_value_take(TL_T_STRING, json_string("x"));
    uint8_t key[32], hash[32] = {0}, *hashes;
    hot_key(N, key);
    tl_hot_put(hot, key, &facts, &large, 1, hash, SMALL);
    assert_false(tl_hot_get(hot, key, &facts, &large, 1, &hashes));
    tl_value_clear(&large);
    tl_hot_free(hot);
}

/* ---- disk ---- */

static int bytes_counted(struct tl_txn *txn, void *arg)
{
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_META, "results", 7, &v);
    if (!err)
        *(uint64_t *)arg = tl_key_u64_read(v.data);
    return err;
}

static uint64_t bytes_on_disk(void)
{
    uint64_t bytes = 0;
    assert_int_equal(tl_db_read(fx.db, bytes_counted, &bytes), 0);
    return bytes;
}

static uint64_t entries(enum tl_table table)
{
    struct tl_db_stat stat;
    assert_int_equal(tl_db_stat(fx.db, &stat), 0);
    return stat.entries[table];
}

/* Four results a run: two numbers, two additions. What is used again is the last to go, across restarts. */
static void test_least_recently_used_goes_first(void **state)
{
    (void)state;
    fx.conf.renew_ms = -1;
    restart();
    assert_int_equal(sum_calls(1, 1, 1), 2);
    uint64_t one = bytes_on_disk();
    assert_int_equal(sum_calls(10, 10, 10), 2);
    assert_int_equal(sum_calls(100, 100, 100), 2);
    restart();
    assert_int_equal(sum_calls(1, 1, 1), 0); /* used again: now the second run's are the oldest */
    check_store();
    fx.conf.cache_max = bytes_on_disk();
    restart();
    assert_int_equal(sum_calls(500, 500, 500), 2);
    assert_in_range(bytes_on_disk(), fx.conf.cache_max - one, fx.conf.cache_max);
    check_store();
    restart();
    assert_int_equal(sum_calls(1, 1, 1), 0);
    assert_int_equal(sum_calls(100, 100, 100), 0);
    assert_int_equal(sum_calls(10, 10, 10), 2);
    check_store();
}

/* A smaller bound takes hold in pieces, and the run goes on all the while. */
static void test_a_smaller_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        sum_calls(i, i + 0.5, i);
    assert_true(entries(TL_TBL_RESULT) > 100);
    fx.conf.cache_max = 1000;
    restart();
    assert_int_equal(sum_calls(-1, -2, -3), 2);
    for (int i = 0; i < 3; i++)
        sum_calls(-4, -5 - i, -6);
    assert_true(bytes_on_disk() <= 1000);
    assert_in_range(entries(TL_TBL_RESULT), 1, 20);
    check_store();
}

/* Additions, each another one: n small results of one run. */
static void run_many(int from, int n)
{
    size_t room = 64 + 100 * (size_t)n;
    TL_AUTO_FREE char *graph = malloc(room);
    assert_non_null(graph);
    char *p = graph + snprintf(graph, room, "{\"nodes\":[");
    for (int i = 0; i < n; i++)
        p += snprintf(p, 100, "%s{\"id\":\"n%d\",\"type\":\"add\",\"data\":{\"inputs\":{\"a\":1,\"b\":%d}}}", i ? "," : "", i,
                      from + i);
    snprintf(p, 20, "],\"edges\":[]}");
    assert_int_equal(calls_of(graph), n);
}

static int write_nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

/* More is removed without being asked for, one transaction after the other: what is written here does not remove anything. */
static void assert_within(uint64_t max)
{
    for (int i = 0; i < 500 && bytes_on_disk() > max; i++)
        assert_int_equal(tl_db_update(fx.db, write_nothing, NULL), 0);
    assert_in_range(bytes_on_disk(), max - max / 4, max);
}

static void test_the_bound_holds_for_many(void **state)
{
    (void)state;
    fx.conf.cache_max = 1 << 20;
    restart();
    run_many(0, 20000);
    assert_within(1 << 20);
    run_many(100000, 20000);
    assert_within(1 << 20);
    check_store();
    fx.conf.cache_max = 200 << 10;
    restart();
    assert_within(200 << 10); /* nothing was run */
    check_store();
    fx.conf.cache_max = 20 << 10;
    restart(); /* ended while more is removed */
    restart();
    assert_within(20 << 10);
    check_store();
}

static void test_uses_are_renewed_lazily(void **state)
{
    (void)state;
    sum_calls(1, 2, 3);
    uint64_t lists = entries(TL_TBL_RESULT_AGE), bytes = bytes_on_disk();
    for (int i = 0; i < 3; i++)
        assert_int_equal(sum_calls(1, 2, 3), 0);
    assert_true(entries(TL_TBL_RESULT_AGE) == lists && bytes_on_disk() == bytes);
    fx.conf.renew_ms = -1;
    restart();
    assert_int_equal(sum_calls(1, 2, 3), 0);
    assert_true(bytes_on_disk() > bytes);
    check_store();
}

/* What is in the table without being counted was written by an earlier format. */
static int spoil(struct tl_txn *txn, void *arg)
{
    static const char old[] = "studio\0an earlier format has 32 bytes..";
    (void)arg;
    int err = tl_txn_put(txn, TL_TBL_RESULT, old, 7 + 32, "{}", 2);
    return err ? err : tl_txn_del(txn, TL_TBL_META, "results", 7);
}

static void test_earlier_formats_go(void **state)
{
    (void)state;
    sum_calls(1, 2, 3);
    assert_int_equal(tl_db_update(fx.db, spoil, NULL), 0);
    restart();
    assert_int_equal(entries(TL_TBL_RESULT), 0);
    assert_int_equal(entries(TL_TBL_RESULT_AGE), 0);
    check_store();
    assert_int_equal(sum_calls(1, 2, 3), 2);
    check_store();
}

/* ---- what serves one run only ---- */

#define IMPURE_THEN_HOLD                                                                                               \
    "{\"nodes\":[{\"id\":\"i\",\"type\":\"impure\"},{\"id\":\"h\",\"type\":\"hold\"}],\"edges\":[{\"id\":\"1\","       \
    "\"source\":\"i\","                                                                                                \
    "\"sourceHandle\":\"value\",\"target\":\"h\",\"targetHandle\":\"in\"}]}"

static void wait_until_held(void)
{
    pthread_mutex_lock(&fx.lock);
    while (!fx.held)
        pthread_cond_wait(&fx.cond, &fx.lock);
    pthread_mutex_unlock(&fx.lock);
}

static void go_on(void)
{
    int failed;
    fx_crash();
    fx_restart();
    assert_int_equal(tl_exec_resume(fx.exec, &failed), 1);
    assert_int_equal(failed, 0);
}

static void end_held(const char *port, double v)
{
    struct tl_op_ctx *ctx = fx_wait_held();
    assert_int_equal(tl_op_output(ctx, port, tl_value_number(v)), 0);
    tl_op_done(ctx, 0);
}

/* Kept while the run lives, whatever the bound; gone with its end; never another run's. */
static void test_impure(void **state)
{
    (void)state;
    fx.conf.cache_max = 1;
    restart();
    struct tl_id id = fx_start(IMPURE_THEN_HOLD);
    wait_until_held();
    go_on();
    wait_until_held();
    assert_int_equal(fx.calls, 1);
    assert_int_equal(entries(TL_TBL_STEP), 1);
    assert_int_equal(entries(TL_TBL_RESULT), 0);
    go_on();
    end_held("out", 1);
    fx_wait_ended(1);
    assert_int_equal(fx.calls, 1);
    assert_int_equal(entries(TL_TBL_STEP), 0);
    check_store();
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_string_equal(tl_json_str(record, "status"), "done");
    assert_int_equal(tl_json_int(json_object_get(record, "result"), "tokens", 0), 5);
    fx_start(IMPURE_THEN_HOLD);
    end_held("out", 1);
    fx_wait_ended(2);
    assert_int_equal(fx.calls, 2);
}

/* Sealing for tests: the id is a hash, the contents are turned over. */
static void step_id(void *arg, const char *org, const char *run_id, const char *step, uint8_t ret[32])
{
    struct tl_blake2b h;
    (void)arg;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, org, strlen(org));
    tl_blake2b_field(&h, run_id, strlen(run_id));
    tl_blake2b_field(&h, step, strlen(step));
    tl_blake2b_final(&h, ret);
}

static int turn(void *arg, const char *org, const uint8_t id[32], const void *from, size_t len, uint8_t **ret,
                size_t *ret_len)
{
    (void)arg, (void)org, (void)id;
    *ret = malloc(len);
    for (size_t i = 0; *ret && i < len; i++)
        (*ret)[i] = ((const uint8_t *)from)[i] ^ 0x5a;
    *ret_len = len;
    return *ret ? 0 : TL_ENOMEM;
}

/* remote, then hold, inside a node that keeps its inside to itself. */
#define PRIVATE_STEPS                                                                                                  \
    "{\"nodes\":[{\"id\":\"n\",\"type\":\"nest\",\"data\":{\"inputs\":{\"x\":4},\"body\":{\"nodes\":[{\"id\":\"in\","  \
    "\"type\":"                                                                                                        \
    "\"graph.input\"},{\"id\":\"secret-step\",\"type\":\"remote\"},{\"id\":\"h\",\"type\":\"hold\"},{\"id\":\"out\","  \
    "\"type\":"                                                                                                        \
    "\"graph.output\"}],\"edges\":[{\"source\":\"in\",\"sourceHandle\":\"x\",\"target\":\"secret-step\","              \
    "\"targetHandle\":\"x\"},"                                                                                         \
    "{\"source\":\"secret-step\",\"sourceHandle\":\"y\",\"target\":\"h\",\"targetHandle\":\"in\"},{\"source\":\"h\","  \
    "\"sourceHandle\":\"out\",\"target\":\"out\",\"targetHandle\":\"y\"}]}}}],\"edges\":[]}"

static int no_plain_text(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)key;
    ++*(int *)arg;
    assert_null(memmem(value.data, value.len, "secret", 6));
    assert_int_not_equal(((const uint8_t *)value.data)[0], 1);
    return 0;
}

static int scan_steps(struct tl_txn *txn, void *arg)
{
    return tl_txn_scan(txn, &(struct tl_scan){.table = TL_TBL_STEP}, no_plain_text, arg);
}

static void test_private_steps(void **state)
{
    (void)state;
    fx.conf.step_id = step_id;
    fx.conf.step_seal = fx.conf.step_open = turn;
    restart();
    struct tl_id id = fx_start(PRIVATE_STEPS);
    wait_until_held();
    assert_int_equal(fx.remote_calls, 1);
    go_on();
    wait_until_held();
    assert_int_equal(fx.remote_calls, 1);
    int steps = 0;
    assert_int_equal(tl_db_read(fx.db, scan_steps, &steps), 0);
    assert_int_equal(steps, 1);
    end_held("out", 9);
    fx_wait_ended(1);
    assert_int_equal(entries(TL_TBL_STEP), 0);
    /* What it used is counted once; what is inside was not pure, so the node is run again by another run. */
    TL_AUTO_JSON json_t *record = fx_record(&id);
    assert_int_equal(tl_json_int(json_object_get(record, "result"), "tokens", 0), 11);
    fx_start(PRIVATE_STEPS);
    end_held("out", 9);
    fx_wait_ended(2);
    assert_int_equal(fx.remote_calls, 2);
    check_store();
}

/* Without a seal nothing private is written, and the step is taken again. */
static void test_private_steps_unsealed(void **state)
{
    (void)state;
    fx_start(PRIVATE_STEPS);
    wait_until_held();
    go_on();
    end_held("out", 9);
    fx_wait_ended(1);
    assert_int_equal(fx.remote_calls, 2);
}

/* Steps of a run that is not under way: the server ended between its end and their removal. */
enum { LEFT = 3000 };
static int leave_steps(struct tl_txn *txn, void *arg)
{
    uint8_t k[TL_ID_LEN + 32] = {0};
    int err = 0;
    memcpy(k, ((struct tl_id *)arg)->b, TL_ID_LEN);
    for (uint32_t i = 0; !err && i < LEFT; i++) {
        memcpy(k + TL_ID_LEN, &i, sizeof(i));
        err = tl_txn_put(txn, TL_TBL_STEP, k, sizeof(k), "\1", 1);
    }
    return err;
}

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

static void test_left_steps_go(void **state)
{
    (void)state;
    struct tl_id ids[3] = {tl_id_new(), tl_id_new(), tl_id_new()};
    for (int i = 0; i < 3; i++)
        assert_int_equal(tl_db_update(fx.db, leave_steps, &ids[i]), 0);
    assert_int_equal(entries(TL_TBL_STEP), 3 * LEFT);
    restart();
    for (int i = 0; i < 100 && entries(TL_TBL_STEP); i++) /* each of their pieces follows the one before */
        assert_int_equal(tl_db_update(fx.db, nothing, NULL), 0);
    assert_int_equal(entries(TL_TBL_STEP), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
    const struct CMUnitTest tests[] = {
        T(test_only_what_changed),
        T(test_keys),
        T(test_key_of_the_unknown),
        T(test_records),
        T(test_sorted),
        T(test_memory_is_bounded),
        T(test_least_recently_used_goes_first),
        T(test_a_smaller_bound),
        T(test_the_bound_holds_for_many),
        T(test_uses_are_renewed_lazily),
        T(test_earlier_formats_go),
        T(test_impure),
        T(test_private_steps),
        T(test_private_steps_unsealed),
        T(test_left_steps_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

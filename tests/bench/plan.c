/* Documents read and planned: layered graphs of 1,000, 10,000 and 100,000 nodes with two edges a node, from text to plan. Prints the processor time of reading (checked form only),
 * of the whole plan, and of giving it back, each per node and the best of some rounds, and the bytes that a plan holds. */
#include "graph/plan.h"
#include "base/hash.h"
#include "base/str.h"
#include "capsules/services.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LAYER = 100 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint32_t chance(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

/* The first layer are numbers, each further node adds two of the layer before it. */
static void make_text(struct tl_str *s, uint32_t nodes)
{
    tl_str_puts(s, "{\"nodes\":[");
    for (uint32_t i = 0; i < nodes; i++) {
        tl_str_printf(s, "%s{\"id\":\"n%u\",\"type\":\"%s\",\"position\":{\"x\":%u,\"y\":%u},", i ? "," : "", i,
                      i < LAYER ? "input.number" : "number.math", i / LAYER * 220, i % LAYER * 90);
        if (i < LAYER)
            tl_str_printf(s, "\"data\":{\"params\":{\"value\":%u}}}", i);
        else
            tl_str_printf(s, "\"data\":{\"params\":{\"op\":\"%s\"}}}", i % 3 ? "add" : "mean");
    }
    tl_str_puts(s, "],\"edges\":[");
    for (uint32_t i = LAYER; i < nodes; i++)
        for (uint32_t k = 0; k < 2; k++)
            tl_str_printf(s,
                          "%s{\"id\":\"e%u\",\"source\":\"n%u\",\"sourceHandle\":\"value\",\"target\":\"n%u\","
                          "\"targetHandle\":\"%s\"}",
                          i > LAYER || k ? "," : "", i * 2 + k, i / LAYER * LAYER - 1 - chance() % LAYER, i,
                          k ? "b" : "a");
    tl_str_puts(s, "]}");
}

static double best(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

static int measure(uint32_t nodes)
{
    struct tl_str text = {0};
    struct tl_services services = {0};
    struct tl_cap_env scope = {.services = &services, .org = "bench"};
    struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &scope};
    struct tl_diag diag = {0};
    double read = 0, plan_ms = 0, end = 0, first = 0;
    size_t bytes = 0;
    make_text(&text, nodes);
    for (int round = 0; round < 7; round++) {
        double t0 = now_ms();
        int err = tl_doc_check(text.data, text.len, &diag);
        double t1 = now_ms();
        read = best(read, t1 - t0);
        size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
        struct tl_plan *plan = NULL;
        t0 = now_ms();
        err = err ? err : tl_plan_text(text.data, text.len, &env, NULL, 0, &plan, &diag);
        t1 = now_ms();
        if (err) {
            fprintf(stderr, "%s %s\n", diag.count ? diag.items[0].path : "", diag.count ? diag.items[0].message : "");
            return err;
        }
        bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
        double t2 = now_ms();
        tl_plan_unref(plan);
        end = best(end, now_ms() - t2);
        plan_ms = best(plan_ms, t1 - t0);
        if (round == 0)
            first = t1 - t0;
    }
    printf("%6u nodes, %6u edges, %5.1f MB of text: form %.2f ms, plan %.2f ms (%.2f us a node; the first time %.2f "
           "ms), given back %.2f ms, %.0f bytes a node\n",
           nodes, (nodes - LAYER) * 2, (double)text.len / 1e6, read, plan_ms, plan_ms * 1e3 / nodes, first, end,
           (double)bytes / nodes);
    tl_str_clear(&text);
    return 0;
}

int main(void)
{
    static const uint32_t sizes[] = {1000, 10000, 100000};
    if (tl_hash_init() < 0)
        return 1;
    for (size_t i = 0; i < TL_ARRAY_LEN(sizes); i++)
        if (measure(sizes[i]) < 0)
            return 1;
    return 0;
}

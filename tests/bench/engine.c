/* The graph layer alone, in memory: no journal, no kept results, no HTTP. `engine warm|step|cold|memory NAME.talos.json` prints "SUM VALUE", the sum of
 * all nodes' values in the order of the document and
 *   warm    ms of one run of a plan that is there, from tl_run_start to the notice of its end, on the usual executor; the tenth percentile of many
 *   step    the same on a manual executor, whose work this thread does itself
 *   cold    ms from the document's text to the end of its first run: reading, checking, planning, running; once
 *   memory  bytes a node that plan and run hold at the run's end, without the values (16 bytes an output), then the same at the highest */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/services.h"
#include "graph/run.h"

#include <fcntl.h>
#include <malloc.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PASSES_MAX = 200000, WARM_US = 700000, WARM_LEAST = 30 };

struct bench {
    struct tl_exec *exec;
    struct tl_plan *plan;
    json_t *doc;
    sem_t over;
    bool manual, ended, look; /* look: sum the values at the end of the next run */
    int64_t ended_ns;
    double sum;
    size_t held; /* bytes allocated at the end of the run, while it is there */
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "engine: %s\n", what);
    exit(1);
}

static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* A line of /proc/self/status in bytes. */
static double status_bytes(const char *name)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, name, strlen(name)))
            kib = strtod(line + strlen(name), NULL);
    if (f)
        fclose(f);
    return kib * 1024;
}

static int complete(void *arg, const struct tl_run *run, struct tl_str *payload)
{
    struct bench *b = arg;
    (void)payload;
    if (!b->look)
        return 0;
    b->held = allocated();
    b->sum = 0;
    for (uint32_t i = 0; i < b->plan->nnodes; i++) {
        const struct tl_value *v = tl_run_output_at(run, i, 0);
        if (tl_value_none(v))
            die("a node has no value");
        b->sum += v->number;
    }
    return 0;
}

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    struct bench *b = arg;
    (void)run, (void)seq;
    if (!ended)
        return;
    b->ended_ns = now_ns();
    b->ended = true;
    if (!b->manual)
        sem_post(&b->over);
}

static void started(void *arg, int err, const struct tl_id *id)
{
    (void)arg, (void)id;
    if (err)
        die(tl_err_text(err));
}

/* Nanoseconds of one run. */
static int64_t run_once(struct bench *b)
{
    struct tl_run_req req = {.org = "bench", .sub = "bench", .kind = "canvas", .doc = b->doc, .plan = b->plan};
    int64_t began = now_ns();
    b->ended = false;
    int err = tl_run_start(b->exec, &req, started, NULL);
    if (err < 0)
        die(tl_err_text(err));
    if (!b->manual) {
        sem_wait(&b->over);
        return b->ended_ns - began;
    }
    while (!b->ended && tl_exec_step(b->exec))
        ;
    if (!b->ended)
        die("the run does not end");
    return b->ended_ns - began;
}

static void make_plan(struct bench *b, const char *text, size_t len)
{
    struct tl_graph_env env = {.find_op = tl_cap_find_op};
    struct tl_diag diag = {0};
    if (tl_plan_text(text, len, &env, NULL, 0, &b->plan, &diag) < 0)
        die(diag.count ? diag.items[0].message : "no plan");
    tl_diag_clear(&diag);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double warm(struct bench *b)
{
    double *took = tl_calloc(PASSES_MAX, sizeof(*took));
    size_t n = 0;
    if (!took)
        die("no memory");
    for (int64_t until = tl_mono_us() + WARM_US; n < PASSES_MAX && (n < WARM_LEAST || tl_mono_us() < until); n++)
        took[n] = (double)run_once(b) / 1e6;
    qsort(took, n, sizeof(*took), by_value);
    double tenth = took[n / 10]; /* what the machine does when it is left alone */
    free(took);
    return tenth;
}

static void memory(struct bench *b, const char *text, size_t len)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "5", 1) != 1) /* the highest begins anew */
        die("clear_refs");
    close(fd);
    size_t before = allocated();
    double resident = status_bytes("VmRSS:"), values = 0;
    make_plan(b, text, len);
    b->look = true;
    run_once(b);
    for (uint32_t i = 0; i < b->plan->nnodes; i++)
        values += (double)b->plan->nodes[i].nout * sizeof(struct tl_value);
    double n = b->plan->nnodes, highest = status_bytes("VmHWM:");
    printf("%.17g %.1f %.1f\n", b->sum, ((double)(b->held - before) - values) / n, (highest - resident - values) / n);
}

int main(int argc, char **argv)
{
    struct stat st;
    int fd = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) < 0)
        die("engine warm|step|cold|memory FILE");
    const char *mode = argv[1];
    struct bench b = {.manual = strcmp(mode, "step") == 0, .doc = json_object()};
    struct tl_exec_conf conf = {.manual = b.manual, .complete = complete, .notify = notify, .arg = &b};
    char *text = malloc((size_t)st.st_size);
    if (!text || read(fd, text, (size_t)st.st_size) != st.st_size || sem_init(&b.over, 0, 0) < 0 ||
        tl_exec_new(&conf, &b.exec) < 0)
        die("cannot begin");
    close(fd);
    if (strcmp(mode, "memory") == 0) {
        memory(&b, text, (size_t)st.st_size);
    } else {
        int64_t began = now_ns();
        make_plan(&b, text, (size_t)st.st_size);
        run_once(&b);
        double cold = (double)(b.ended_ns - began) / 1e6;
        bool is_cold = strcmp(mode, "cold") == 0;
        double took = is_cold ? cold : warm(&b);
        b.look = true;
        run_once(&b);
        printf("%.17g %.6f\n", b.sum, took);
    }
    tl_plan_unref(b.plan);
    tl_exec_free(b.exec);
    json_decref(b.doc);
    free(text);
    return 0;
}

/* sim [-s FIRST] [-n COUNT] [-v]: runs the executor in so many simulated worlds, one a seed, and ends with 1 at the first broken invariant. The same seed
 * does the same again; -v prints each decision. sim -f [-v]: the scene of fairness. */
#include "tests/sim/sim.h"

#include "base/clock.h"
#include "base/hash.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STUCK_SEC = 60 };

static const char *program;

static void print_replay(void)
{
    if (w.seed)
        printf("; replay: %s -s %llu -n 1 -v\n", program, (unsigned long long)w.seed);
    else
        printf("; replay: %s -f -v\n", program);
    fflush(stdout);
}

void sim_fail(const char *fmt, ...)
{
    va_list ap;
    printf("seed %llu: ", (unsigned long long)w.seed);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf(" (at %.3f ms, decision %llu)", (double)w.now_us / 1000, (unsigned long long)w.decisions);
    print_replay();
    _exit(1);
}

/* A crash of the program itself, or a wait that does not end. What printf needs may be broken then, but there is nothing to lose. */
static void on_signal(int sig)
{
    printf("seed %llu: %s (at %.3f ms, decision %llu)", (unsigned long long)w.seed,
           sig == SIGALRM ? "stuck" : strsignal(sig), (double)w.now_us / 1000, (unsigned long long)w.decisions);
    print_replay();
    _exit(2);
}

static void catch_signals(void)
{
    signal(SIGALRM, on_signal);
#ifndef TL_SANITIZED
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
    for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
        signal(sigs[i], on_signal);
#endif
}

static void one_world(uint64_t seed, bool verbose)
{
    alarm(STUCK_SEC);
    world_open(seed, verbose);
    world_fill();
    world_exec();
    world_run();
}

int main(int argc, char **argv)
{
    unsigned long long first = 1, count = 1;
    bool verbose = false, fair = false;
    int opt;
    static char buffer[1 << 16]; /* of stdout, which would take memory in the first world that prints */
    program = argv[0];
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    while ((opt = getopt(argc, argv, "s:n:vf")) != -1) {
        if (opt == 's')
            first = strtoull(optarg, NULL, 10);
        else if (opt == 'n')
            count = strtoull(optarg, NULL, 10);
        else if (opt == 'v')
            verbose = true;
        else if (opt == 'f')
            fair = true;
        else
            return 2;
    }
    if (tl_hash_init() < 0)
        return 2;
    json_object_seed(1);
    catch_signals();
    if (fair) {
        scene_fair(verbose);
        return 0;
    }
    one_world(1, false); /* what libraries take once is taken now */
    world_close();
    int64_t begun = tl_mono_us();
    unsigned long long decisions = 0, nodes = 0, crashes = 0;
    for (unsigned long long seed = first ? first : 1, n = 0; n < count; n++, seed++) {
        long before = mem_blocks();
        one_world(seed, verbose);
        for (int r = 0; r < w.nruns; r++)
            for (int i = 0; w.runs[r].requested && i < w.runs[r].graph->n; i++)
                nodes += w.runs[r].node[i].calls;
        decisions += w.decisions;
        crashes += (unsigned long long)w.life - 1;
        world_close();
        if (mem_blocks() > before)
            sim_fail("%ld blocks of memory are left", mem_blocks() - before);
    }
    printf("%llu seeds from %llu: %llu decisions, %llu attempts, %llu restarts, no invariant broken, in %.1f s\n",
           count, first, decisions, nodes, crashes, (double)(tl_mono_us() - begun) / 1e6);
    return 0;
}

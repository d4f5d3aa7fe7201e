/* From exec of `talos serve` to the first byte of an answer, with the built-in catalog sealed already, and the memory resident once it idles.
 * Prints "startup MS" (the median of several starts) and "memory MIB". $TALOS_BIN is the program. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STARTS = 9, DEADLINE_MS = 20000 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what)
{
    fprintf(stderr, "startup: %s: %s\n", what, strerror(errno));
    exit(1);
}

static pid_t start(const char *program, const char *data, int *ret_out)
{
    int out[2];
    if (pipe(out) < 0)
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl(program, program, "serve", "--data", data, "--listen", "127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    *ret_out = out[0];
    return pid;
}

/* The port that the server says it listens on. */
static int read_port(int fd)
{
    char text[512] = "";
    size_t len = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (len < sizeof(text) - 1 && poll(&p, 1, DEADLINE_MS) > 0) {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            break;
        text[len += (size_t)n] = '\0';
        const char *at = strstr(text, "http://127.0.0.1:");
        if (at && strchr(at, '\n'))
            return (int)strtol(at + strlen("http://127.0.0.1:"), NULL, 10);
    }
    die("the server did not say where it listens");
    return -1;
}

static void ask(int port)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char answer[64];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || write(fd, request, sizeof(request) - 1) < 0)
        die("connect");
    if (poll(&p, 1, DEADLINE_MS) <= 0 || read(fd, answer, sizeof(answer)) < 12 ||
        memcmp(answer, "HTTP/1.1 200", 12) != 0)
        die("no good answer");
    close(fd);
}

static double resident_mib(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, "VmRSS:", 6))
            kib = strtod(line + 6, NULL);
    if (f)
        fclose(f);
    return kib / 1024;
}

/* One life of the server: milliseconds to the first answer, and optionally its memory after a second of idling. */
static double one(const char *program, const char *data, double *ret_memory)
{
    int out, status;
    double began = now_ms();
    pid_t pid = start(program, data, &out);
    ask(read_port(out));
    double took = now_ms() - began;
    if (ret_memory) {
        sleep(1);
        *ret_memory = resident_mib(pid);
    }
    kill(pid, SIGTERM);
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("the server did not end well");
    close(out);
    return took;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    const char *program = getenv("TALOS_BIN");
    char data[] = "/tmp/talos-startup-XXXXXX";
    if (!program || !mkdtemp(data)) {
        fputs("startup: set TALOS_BIN to the talos program\n", stderr);
        return 2;
    }
    double took[STARTS], memory = 0, first = one(program, data, NULL);
    for (int i = 0; i < STARTS; i++)
        took[i] = one(program, data, i == STARTS - 1 ? &memory : NULL);
    qsort(took, STARTS, sizeof(took[0]), order);
    printf("# the very first start: %.1f ms\nstartup %.1f\nmemory %.1f\n", first, took[STARTS / 2], memory);
    fflush(stdout);
    return execl("/bin/rm", "rm", "-rf", data, (char *)NULL);
}

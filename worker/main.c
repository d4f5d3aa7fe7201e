/* talos-worker: parses and renders what people hand in, one job a process, inside a sandbox. Started by jobs/, with a socket as descriptor 3. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/media/font.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

#include <fcntl.h>
#include <iconv.h>
#include <libavutil/cpu.h>
#include <libavutil/log.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef TL_SANITIZED
/* The leak check at the end stops the process from a helper process, which the sandbox forbids. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* A report reads /proc, which the sandbox forbids too. Races are looked for where ops run in a test's process. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_bugs=0";
}
#endif

static const char usage[] =
    "usage: talos-worker [--fsize BYTES]        serve one job on the socket that is descriptor 3\n"
    "       talos-worker --selftest socket|open|fork|exec\n"
    "                                           try what the sandbox forbids; must end by a signal\n";

/* MPEG-TS names its services in these (EN 300 468 annex A), and glibc opens a file for each the first time: they stay open. */
static void load_charsets(void)
{
    static const char *const charsets[] = {"ISO6937",    "ISO-8859-1",  "ISO-8859-2",  "ISO-8859-3",  "ISO-8859-4",  "ISO-8859-5", "ISO-8859-6",
                                           "ISO-8859-7", "ISO-8859-8",  "ISO-8859-9",  "ISO-8859-10", "ISO-8859-11", "ISO-8859-13", "ISO-8859-14",
                                           "ISO-8859-15", "UCS-2BE",    "KSC_5601",    "GB2312",      "BIG5",        "UTF-8"};
    for (size_t i = 0; i < TL_ARRAY_LEN(charsets); i++)
        (void)!iconv_open("UTF-8", charsets[i]);
}

/* Everything that opens a file of the system happens here, before the sandbox closes: time zone, processor, charsets, random seed, fonts. */
static void warm_up(void)
{
    mallopt(M_TRIM_THRESHOLD, INT_MAX); /* giving memory back reads /proc */
    tzset();
    load_charsets();
    json_object_seed(0);
    av_log_set_level(AV_LOG_QUIET);
    av_get_cpu_flags();
    av_cpu_count();
    tl_wk_fonts_load();
}

static int selftest(const char *what)
{
    warm_up();
    if (tl_wk_sandbox_enter(STDERR_FILENO, TL_WK_FSIZE_BYTES) < 0)
        return 3;
    int got = -1;
    if (strcmp(what, "socket") == 0)
        got = socket(AF_INET, SOCK_STREAM, 0);
    else if (strcmp(what, "open") == 0)
        got = open("/etc/passwd", O_RDONLY);
    else if (strcmp(what, "fork") == 0)
        got = fork();
    else if (strcmp(what, "exec") == 0)
        got = execl("/bin/true", "true", (char *)NULL);
    else
        return 2;
    return got < 0 ? 4 : 5;
}

static int serve(uint64_t fsize)
{
    /* The supervisor's end takes its workers along, even one that is stuck in a decoder. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() == 1)
        return 1;
    warm_up();
    int err = tl_hash_init();
    if (err == 0)
        err = tl_wk_sandbox_enter(TL_WK_SOCK, fsize);
    TL_AUTO_JSON json_t *hello =
        err == 0 ? json_pack("{s:s,s:i,s:o}", "type", "ready", "pid", (int)getpid(), "ops", tl_wk_op_names())
                 : json_pack("{s:s,s:s,s:s,s:s}", "type", "failed", "job_id", "", "code", tl_err_code(TL_ESANDBOX),
                             "message", tl_err_text(TL_ESANDBOX));
    if (!hello || tl_frame_send(TL_WK_SOCK, hello, NULL, 0, 10 * 1000) < 0 || err < 0)
        return 3;
    return tl_wk_serve(TL_WK_SOCK) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t fsize = TL_WK_FSIZE_BYTES;
    if (argc == 3 && strcmp(argv[1], "--selftest") == 0)
        _exit(selftest(argv[2]));
    if (argc == 3 && strcmp(argv[1], "--fsize") == 0)
        fsize = strtoull(argv[2], NULL, 10);
    else if (argc != 1 || !fsize) {
        fputs(usage, stderr);
        return 2;
    }
    int type;
    socklen_t len = sizeof(type);
    if (!fsize || getsockopt(TL_WK_SOCK, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    _exit(serve(fsize)); /* nothing to tidy up, and exit handlers of libraries may do what the sandbox forbids */
}

/* How long media.analyze takes as a job, over `ffmpeg -an -f null -` of the same clip: both in turn, the best of each. Prints "analyze RATIO" and the seconds.
 * usage: analyze CLIP [ROUNDS] */
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "jobs/jobs.h"

#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int result = 1;

static void on_done(void *arg, int err, const char *message, json_t *output)
{
    (void)arg;
    (void)output;
    if (err < 0)
        fprintf(stderr, "media.analyze: %s: %s\n", tl_err_code(err), message ? message : "");
    pthread_mutex_lock(&lock);
    result = err;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&lock);
}

static double analyze_sec(struct tl_jobs *jobs, const char *sha256)
{
    struct tl_job_file in = {"clip", sha256};
    struct tl_job_req req = {.job_type = "media.analyze",
                             .org = "bench",
                             .run_id = "bench",
                             .step_key = "bench",
                             .attempt = 1,
                             .inputs = &in,
                             .ninputs = 1,
                             .done = on_done};
    struct tl_id id;
    int64_t from = tl_mono_us();
    pthread_mutex_lock(&lock);
    result = 1;
    if (tl_jobs_submit(jobs, &req, &id) == 0)
        while (result == 1)
            pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
    return result == 0 ? (double)(tl_mono_us() - from) / 1e6 : -1;
}

static double ffmpeg_sec(char *clip)
{
    char *argv[] = {"ffmpeg", "-nostdin", "-v", "error", "-i", clip, "-an", "-f", "null", "-", NULL};
    pid_t pid;
    int status = 1;
    int64_t from = tl_mono_us();
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return -1;
    return (double)(tl_mono_us() - from) / 1e6;
}

static int put(struct tl_blobs *blobs, const char *path, char *hex)
{
    static char buf[1 << 16];
    struct tl_blob_writer *w;
    uint64_t size;
    FILE *f = fopen(path, "rb");
    int err = f ? tl_blob_begin(blobs, 0, &w) : TL_ENOTFOUND;
    if (err < 0)
        return err;
    for (size_t n; err == 0 && (n = fread(buf, 1, sizeof(buf), f)) > 0;)
        err = tl_blob_write(w, buf, n);
    fclose(f);
    if (err < 0) {
        tl_blob_abort(w);
        return err;
    }
    return tl_blob_commit(w, hex, &size);
}

static int compare(const char *dir, char *clip, int rounds)
{
    struct tl_db *db = NULL;
    struct tl_blobs *blobs = NULL;
    struct tl_jobs *jobs = NULL;
    char hex[TL_SHA256_HEX];
    const char *worker = getenv("TALOS_WORKER");
    int err = tl_db_open(dir, TL_DB_CREATE, &db);
    if (err == 0)
        err = tl_blobs_open(dir, db, &blobs);
    if (err == 0)
        err = put(blobs, clip, hex);
    struct tl_jobs_conf conf = {.worker_path = worker ? worker : "build/talos-worker", .blobs = blobs};
    if (err == 0)
        err = tl_jobs_new(&conf, &jobs);
    double best[2] = {1e9, 1e9};
    for (int i = 0; err == 0 && i < rounds; i++) {
        double a = ffmpeg_sec(clip), b = analyze_sec(jobs, hex);
        err = a < 0 || b < 0 ? TL_EINTERNAL : 0;
        best[0] = a < best[0] ? a : best[0];
        best[1] = b < best[1] ? b : best[1];
        fprintf(stderr, "round %d: ffmpeg %.2f s, media.analyze %.2f s\n", i + 1, a, b);
    }
    tl_jobs_free(jobs);
    tl_blobs_close(blobs);
    tl_db_close(db);
    if (err == 0)
        printf("analyze %.3f\nffmpeg_sec %.3f\nanalyze_sec %.3f\n", best[1] / best[0], best[0], best[1]);
    else
        fprintf(stderr, "%s\n", tl_err_text(err));
    return err == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/talos-bench-XXXXXX", command[64];
    if (argc < 2 || tl_hash_init() < 0 || !mkdtemp(dir))
        return 2;
    int status = compare(dir, argv[1], argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 ? status : 1;
}

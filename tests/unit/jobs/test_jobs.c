/* The supervisor with real workers: results, files, cancel, death, deadlines, broken and hostile files, workers that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "jobs/jobs.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef TL_SANITIZED
enum { CANCEL_MS = 5000 };
#else
enum { CANCEL_MS = 500 };
#endif
enum { WAIT_SEC = 200 };

static char dir[256], clip_path[300];
static struct tl_db *db;
static struct tl_blobs *blobs;
static char clip[TL_SHA256_HEX];

extern char **environ;

static const char *worker_path(void)
{
    const char *w = getenv("TALOS_WORKER");
    return w ? w : "build/talos-worker";
}

static int run_program(char *const argv[])
{
    pid_t pid;
    int status = -1;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return status;
}

static void remove_tree(const char *path)
{
    char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, (char *)(uintptr_t)path, NULL};
    run_program(argv);
}

static void put_blob(const void *bytes, size_t len, char *ret_hex)
{
    struct tl_blob_writer *w;
    uint64_t size;
    assert_int_equal(tl_blob_begin(blobs, 0, &w), 0);
    assert_int_equal(tl_blob_write(w, bytes, len), 0);
    assert_int_equal(tl_blob_commit(w, ret_hex, &size), 0);
}

static char *read_file(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *bytes = malloc((size_t)n + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)n, f), (size_t)n);
    fclose(f);
    *ret_len = (size_t)n;
    return bytes;
}

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/talos-jobs-XXXXXX", tmp ? tmp : "/tmp");
    if (tl_hash_init() < 0 || !mkdtemp(dir))
        return -1;
    snprintf(clip_path, sizeof(clip_path), "%s/clip.mp4", dir);
    char command[600];
    snprintf(command, sizeof(command),
             "ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=24:d=12 -f lavfi -i sine=f=440:d=12 -c:v libx264 "
             "-preset ultrafast -pix_fmt yuv420p -c:a aac '%s'",
             clip_path);
    if (run_program((char *[]){(char[]){"sh"}, (char[]){"-c"}, command, NULL}) != 0)
        return -1;
    if (tl_db_open(dir, TL_DB_CREATE, &db) < 0 || tl_blobs_open(dir, db, &blobs) < 0)
        return -1;
    size_t len;
    char *bytes = read_file(clip_path, &len);
    put_blob(bytes, len, clip);
    free(bytes);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tl_blobs_close(blobs);
    tl_db_close(db);
    remove_tree(dir);
    return 0;
}

/* What a job came to; the test's thread waits for it. */
struct outcome {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int progressed, dones, err;
    double fraction;
    bool backwards;
    char message[256];
    json_t *output;
    int64_t done_us;
    bool cancelled_before;
};

static void on_progress(void *arg, double fraction, const char *message)
{
    struct outcome *o = arg;
    (void)message;
    pthread_mutex_lock(&o->lock);
    o->backwards |= fraction < o->fraction || fraction < 0 || fraction > 1;
    o->fraction = fraction;
    o->progressed++;
    pthread_cond_broadcast(&o->cond);
    pthread_mutex_unlock(&o->lock);
}

static void on_done(void *arg, int err, const char *message, json_t *output)
{
    struct outcome *o = arg;
    pthread_mutex_lock(&o->lock);
    o->dones++;
    o->err = err;
    snprintf(o->message, sizeof(o->message), "%s", message ? message : "");
    o->output = json_deep_copy(output); /* jansson counts references out of the sight of the thread sanitizer */
    o->done_us = tl_mono_us();
    pthread_cond_broadcast(&o->cond);
    pthread_mutex_unlock(&o->lock);
}

static bool on_asked(void *arg)
{
    return ((struct outcome *)arg)->cancelled_before;
}

static void outcome_init(struct outcome *o)
{
    *o = (struct outcome){0};
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->cond, NULL);
}

static void outcome_clear(struct outcome *o)
{
    json_decref(o->output);
    pthread_cond_destroy(&o->cond);
    pthread_mutex_destroy(&o->lock);
}

/* Waits for the end, or for the first progress. */
static void wait_for(struct outcome *o, bool progress)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SEC;
    pthread_mutex_lock(&o->lock);
    while (!o->dones && !(progress && o->progressed))
        assert_int_equal(pthread_cond_timedwait(&o->cond, &o->lock, &until), 0);
    pthread_mutex_unlock(&o->lock);
}

static struct tl_jobs *start(const char *path, unsigned max, uint64_t output_max)
{
    struct tl_jobs *jobs;
    struct tl_jobs_conf conf = {.worker_path = path, .max_workers = max, .blobs = blobs, .output_max = output_max};
    assert_int_equal(tl_jobs_new(&conf, &jobs), 0);
    return jobs;
}

static struct tl_id submit(struct tl_jobs *jobs, struct outcome *o, const char *type, const char *sha256,
                           const char *out, json_t *params, int timeout_ms)
{
    struct tl_job_file in = {"clip", sha256}, written = {out, NULL};
    struct tl_job_req req = {.job_type = type,
                             .org = "o",
                             .run_id = "r",
                             .step_key = "s",
                             .attempt = 1,
                             .params = params,
                             .inputs = &in,
                             .ninputs = 1,
                             .outputs = &written,
                             .noutputs = out ? 1 : 0,
                             .timeout_ms = timeout_ms,
                             .arg = o,
                             .cancelled = on_asked,
                             .progress = on_progress,
                             .done = on_done};
    struct tl_id id;
    assert_int_equal(tl_jobs_submit(jobs, &req, &id), 0);
    json_decref(params);
    return id;
}

/* Runs one job to its end. */
static void run_job(struct tl_jobs *jobs, struct outcome *o, const char *type, const char *sha256)
{
    outcome_init(o);
    submit(jobs, o, type, sha256, NULL, NULL, 0);
    wait_for(o, false);
}

static json_t *look_params(void)
{
    return json_pack("{s:[s,s,s],s:[f,f,f,f,f,f,f,f,f,f,f,f],s:i}", "palette", "#102A43", "#7A6A4A", "#E8D9B0",
                     "style_vector", 1.4, .5, .3, .4, .1, .2, .4, .08, -.2, -.2, .2, 0.0, "max_height", 360);
}

static void results_come(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 2, 0);
    struct outcome o[4];
    for (int i = 0; i < 4; i++) {
        outcome_init(&o[i]);
        submit(jobs, &o[i], i % 2 ? "media.probe" : "media.analyze", clip, NULL, NULL, 0);
    }
    for (int i = 0; i < 4; i++) {
        wait_for(&o[i], false);
        assert_int_equal(o[i].err, 0);
        assert_int_equal(o[i].dones, 1);
        assert_false(o[i].backwards);
        const json_t *info = json_object_get(o[i].output, i % 2 ? "info" : "analysis");
        assert_int_equal(tl_json_int(info, "width", 0), 320);
        assert_true(tl_json_num(info, "duration_sec", 0) > 11.9 && tl_json_num(info, "duration_sec", 0) < 12.1);
        outcome_clear(&o[i]);
    }
    tl_jobs_free(jobs);
}

/* Every container that a film maker's camera or editor writes is read inside the sandbox: demuxers differ in what of the system they touch. */
static void containers_are_read(void **state)
{
    (void)state;
    static const char *const ends[] = {"mov", "mkv", "ts", "avi"};
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    for (size_t i = 0; i < TL_ARRAY_LEN(ends); i++) {
        char path[300], command[1000], hex[TL_SHA256_HEX];
        snprintf(path, sizeof(path), "%s/again.%s", dir, ends[i]);
        snprintf(command, sizeof(command), "ffmpeg -v error -y -i '%s' -c copy -metadata service_name='Été' '%s'",
                 clip_path, path);
        assert_int_equal(run_program((char *[]){(char[]){"sh"}, (char[]){"-c"}, command, NULL}), 0);
        size_t len;
        char *bytes = read_file(path, &len);
        put_blob(bytes, len, hex);
        free(bytes);
        struct outcome o;
        outcome_init(&o);
        submit(jobs, &o, "media.analyze", hex, NULL, NULL, 0);
        wait_for(&o, false);
        assert_string_equal(o.message, "");
        assert_int_equal(o.err, 0);
        outcome_clear(&o);
    }
    tl_jobs_free(jobs);
}

static void files_are_verified_and_kept(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome o;
    outcome_init(&o);
    submit(jobs, &o, "media.look", clip, "video", look_params(), 0);
    wait_for(&o, false);
    assert_string_equal(o.message, "");
    assert_int_equal(o.err, 0);
    assert_true(o.progressed > 0);
    const json_t *file = json_object_get(json_object_get(o.output, "files"), "video");
    assert_string_equal(tl_json_str(file, "content_type"), "video/mp4");
    assert_string_equal(tl_json_str(json_object_get(file, "info"), "video_codec"), "h264");
    int fd;
    uint64_t size;
    assert_int_equal(tl_blob_open(blobs, tl_json_str(file, "sha256"), &fd, &size), 0);
    assert_int_equal(size, tl_json_int(file, "bytes", 0));
    close(fd);
    outcome_clear(&o);
    tl_jobs_free(jobs);
}

static void a_sheet_is_drawn_in_the_sandbox(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome analysis, sheet;
    run_job(jobs, &analysis, "media.analyze", clip);
    assert_int_equal(analysis.err, 0);
    outcome_init(&sheet);
    json_t *params = json_pack("{s:O,s:O,s:s}", "analysis", json_object_get(analysis.output, "analysis"),
                               "emotion_curve", json_object_get(analysis.output, "emotion_curve"), "title", "습작");
    submit(jobs, &sheet, "media.sheet", clip, "image", params, 0);
    wait_for(&sheet, false);
    assert_string_equal(sheet.message, "");
    assert_int_equal(sheet.err, 0);
    const json_t *file = json_object_get(json_object_get(sheet.output, "files"), "image");
    assert_string_equal(tl_json_str(file, "content_type"), "image/png");
    assert_int_equal(tl_json_int(json_object_get(file, "info"), "width", 0), 1920);
    outcome_clear(&analysis);
    outcome_clear(&sheet);
    tl_jobs_free(jobs);
}

static void a_file_over_the_cap_is_refused(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 30000);
    struct outcome o;
    outcome_init(&o);
    submit(jobs, &o, "media.look", clip, "video", look_params(), 0);
    wait_for(&o, false);
    assert_int_equal(o.err, TL_EFULL);
    assert_null(o.output);
    outcome_clear(&o);
    tl_jobs_free(jobs);
}

static void cancel_takes_effect(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome running, waiting, early;
    outcome_init(&running);
    outcome_init(&waiting);
    outcome_init(&early);
    struct tl_id id = submit(jobs, &running, "media.look", clip, "video", look_params(), 0);
    struct tl_id next = submit(jobs, &waiting, "media.probe", clip, NULL, NULL, 0);
    wait_for(&running, true);
    int64_t asked = tl_mono_us();
    tl_jobs_cancel(jobs, &next);
    tl_jobs_cancel(jobs, &id);
    wait_for(&running, false);
    wait_for(&waiting, false);
    assert_int_equal(running.err, TL_ECANCELLED);
    assert_int_equal(waiting.err, TL_ECANCELLED);
    assert_true(running.done_us - asked < (int64_t)CANCEL_MS * 1000);
    early.cancelled_before = true;
    submit(jobs, &early, "media.probe", clip, NULL, NULL, 0);
    wait_for(&early, false);
    assert_int_equal(early.err, TL_ECANCELLED);
    tl_jobs_cancel(jobs, &id); /* long gone */
    outcome_clear(&running);
    outcome_clear(&waiting);
    outcome_clear(&early);
    tl_jobs_free(jobs);
}

/* Kills the worker of this process that has worked most; false where there is none. */
static bool kill_busy_worker(void)
{
    unsigned long most = 0;
    pid_t busy = 0;
    DIR *d = opendir("/proc");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[300], line[512] = "";
        snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
        FILE *f = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (!f)
            continue;
        const char *after = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
        fclose(f);
        int parent = 0;
        char what = 0;
        unsigned long ticks = 0;
        if (after && sscanf(after + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &what, &parent, &ticks) == 3 &&
            parent == getpid() && what != 'Z' && ticks >= most) {
            most = ticks;
            busy = (pid_t)strtol(e->d_name, NULL, 10);
        }
    }
    closedir(d);
    return busy && kill(busy, SIGKILL) == 0;
}

static void a_killed_worker_fails_its_job_only(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome hit, later;
    outcome_init(&hit);
    outcome_init(&later);
    submit(jobs, &hit, "media.look", clip, "video", look_params(), 0);
    submit(jobs, &later, "media.probe", clip, NULL, NULL, 0);
    wait_for(&hit, true);
    assert_true(kill_busy_worker());
    wait_for(&hit, false);
    wait_for(&later, false);
    assert_int_equal(hit.err, TL_EWORKER);
    assert_string_equal(hit.message, "the worker process was ended by signal 9");
    assert_int_equal(later.err, 0);
    outcome_clear(&hit);
    outcome_clear(&later);
    tl_jobs_free(jobs);
}

static void a_deadline_ends_a_job(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome o;
    outcome_init(&o);
    submit(jobs, &o, "media.look", clip, "video", look_params(), 60);
    wait_for(&o, false);
    assert_int_equal(o.err, TL_ETIMEOUT);
    outcome_clear(&o);
    run_job(jobs, &o, "media.probe", clip);
    assert_int_equal(o.err, 0);
    outcome_clear(&o);
    tl_jobs_free(jobs);
}

static void hostile_files_fail_clearly(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '/etc/passwd'\n",
        "<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"file:///etc/passwd\"/></svg>",
        "not a clip at all",
        "",
    };
    struct tl_jobs *jobs = start(worker_path(), 2, 0);
    char hex[TL_SHA256_HEX];
    struct outcome o;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put_blob(texts[i], strlen(texts[i]), hex);
        run_job(jobs, &o, i % 2 ? "media.probe" : "media.analyze", hex);
        assert_int_equal(o.err, TL_EMEDIA);
        assert_string_equal(o.message, "the file is not in a media format that can be read");
        outcome_clear(&o);
    }
    size_t len;
    char *bytes = read_file(clip_path, &len);
    static const double cuts[] = {0.02, 0.5, 0.97}; /* the index stands at the end: nothing can be read without it */
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        put_blob(bytes, (size_t)((double)len * cuts[i]), hex);
        run_job(jobs, &o, "media.analyze", hex);
        assert_int_equal(o.err, TL_EMEDIA);
        assert_true(o.message[0] != '\0');
        outcome_clear(&o);
    }
    for (uint32_t seed = 1; seed <= 6; seed++) {
        char *bad = malloc(len);
        assert_non_null(bad);
        memcpy(bad, bytes, len);
        uint32_t r = seed * 2654435761u;
        for (int k = 0; k < 400; k++) {
            r = r * 1664525u + 1013904223u;
            bad[(size_t)r % len] = (char)(r >> 24);
        }
        put_blob(bad, len, hex);
        free(bad);
        run_job(jobs, &o, "media.analyze", hex);
        assert_true(o.err == 0 || o.err == TL_EMEDIA);
        outcome_clear(&o);
    }
    free(bytes);
    run_job(jobs, &o, "media.probe", clip);
    assert_int_equal(o.err, 0);
    outcome_clear(&o);
    run_job(jobs, &o, "media.probe", "00000000000000000000000000000000000000000000000000000000000000ff");
    assert_int_equal(o.err, TL_ENOTFOUND);
    outcome_clear(&o);
    run_job(jobs, &o, "media.nothing", clip);
    assert_int_equal(o.err, TL_EINVAL);
    outcome_clear(&o);
    tl_jobs_free(jobs);
}

/* A worker that is a shell script; its path. */
static const char *script_worker(const char *script)
{
    static char path[300];
    static int made;
    snprintf(path, sizeof(path), "%s/worker%d", dir, made++);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    chmod(path, 0700);
    return path;
}

static void workers_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        int err;
    } bad[] = {
        {"exit 1", TL_EWORKER},
        {"printf '\\377\\377\\377\\377....' >&3; exec sleep 60", TL_EWORKER},
        {"printf '\\002\\000\\000\\000{}' >&3; exec sleep 60", TL_EWORKER},
        {"printf '\\056\\000\\000\\000{\"type\":\"failed\",\"code\":\"SANDBOX_UNAVAILABLE\"}' >&3; exec sleep 60",
         TL_ESANDBOX},
        {"printf '\\020\\000\\000\\000{\"type\":\"ready\"}' >&3; exit 3", TL_EWORKER},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tl_jobs *jobs = start(script_worker(bad[i].script), 1, 0);
        struct outcome o;
        run_job(jobs, &o, "media.probe", clip);
        assert_int_equal(o.err, bad[i].err);
        outcome_clear(&o);
        run_job(jobs, &o, "media.probe", clip); /* not stuck for ever */
        assert_int_equal(o.err, bad[i].err);
        outcome_clear(&o);
        tl_jobs_free(jobs);
    }
    struct tl_jobs *jobs;
    struct tl_jobs_conf conf = {.worker_path = "/nonexistent", .blobs = blobs};
    assert_int_equal(tl_jobs_new(&conf, &jobs), TL_ENOTFOUND);
}

#define READY "printf '\\020\\000\\000\\000{\"type\":\"ready\"}' >&3\n"
/* Takes the job and says m, in which $id is the job's. */
#define TAKE                                                                                                           \
    READY "id=$(dd bs=65536 count=1 <&3 2>/dev/null | tr -d '\\000' | sed 's/.*\"job_id\":\"\\([^\"]*\\)\".*/\\1/')\n" \
          "say() { printf \"\\\\$(printf %03o ${#1})\\\\000\\\\000\\\\000%s\" \"$1\" >&3; }\n"

/* Only a process that is lost is a lost lease: a job that failed by itself is not, whatever its worker calls it. */
static void only_a_lost_process_is_lost(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        int err;
    } cases[] = {
        {TAKE "say '{\"type\":\"failed\",\"job_id\":\"'$id'\",\"code\":\"MEDIA_INVALID\"}'; sleep 60", TL_EMEDIA},
        {TAKE "say '{\"type\":\"failed\",\"job_id\":\"'$id'\",\"code\":\"WORKER_CRASH\"}'; sleep 60", TL_EINTERNAL},
        {TAKE "say '{\"type\":\"failed\",\"job_id\":\"'$id'\",\"code\":\"RUN_CANCELLED\"}'; sleep 60", TL_EINTERNAL},
        {TAKE "say '{\"type\":\"failed\",\"job_id\":\"'$id'\",\"code\":\"OUTCOME_UNKNOWN\"}'; sleep 60", TL_EINTERNAL},
        {TAKE "say '{\"type\":\"done\",\"job_id\":\"'$id'\",\"output\":7}'; sleep 60", TL_ESCHEMA},
        {TAKE "say '{\"type\":\"done\",\"job_id\":\"'$id'\",\"output\":{}}'; exit 1", 0},
        {TAKE "say '{\"type\":\"cancelled\",\"job_id\":\"'$id'\"}'; sleep 60", TL_EWORKER},
        {TAKE "say '{\"type\":\"nothing\",\"job_id\":\"'$id'\"}'; sleep 60", TL_EWORKER},
        {TAKE "exit 0", TL_EWORKER},
        {TAKE "kill -SEGV $$", TL_EWORKER},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        struct tl_jobs *jobs = start(script_worker(cases[i].script), 1, 0);
        struct outcome o;
        run_job(jobs, &o, "media.probe", clip);
        if (o.err != cases[i].err)
            fail_msg("case %zu: %d (%s) instead of %d", i, o.err, o.message, cases[i].err);
        outcome_clear(&o);
        tl_jobs_free(jobs);
    }
}

/* Workers that stood ready and died are replaced, but not for ever while nobody needs them. */
static void dying_while_ready_ends(void **state)
{
    (void)state;
    char count[300], script[400];
    snprintf(count, sizeof(count), "%s/started", dir);
    snprintf(script, sizeof(script), "echo >> %s\n" READY "exit 0", count);
    struct tl_jobs *jobs = start(script_worker(script), 1, 0);
    struct outcome o;
    for (int i = 0; i < 20; i++) {
        run_job(jobs, &o, "media.probe", clip);
        assert_int_equal(o.err, TL_EWORKER);
        outcome_clear(&o);
    }
    struct tl_jobs *clock = start(worker_path(), 1, 0); /* meanwhile nobody needs the others */
    run_job(clock, &o, "media.analyze", clip);
    assert_int_equal(o.err, 0);
    outcome_clear(&o);
    tl_jobs_free(clock);
    tl_jobs_free(jobs);
    struct stat st;
    assert_int_equal(stat(count, &st), 0);
    assert_in_range(st.st_size, 1, 3 + 20 * 4); /* for each job one, and three that would have stood ready */
}

static size_t open_files_under_dir(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char target[400];
        ssize_t len = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
        if (len > 0) {
            target[len] = '\0';
            n += strncmp(target, dir, strlen(dir)) == 0 && strstr(target, "blobs") != NULL;
        }
    }
    closedir(d);
    return n;
}

static size_t unfinished_blobs(void)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/blobs", dir);
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) /* blobs lie in folders of two digits */
        n += strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

/* Four workers lost in a row while they write: nothing of what they wrote stays, and the fifth does the job. */
static void a_lost_attempt_leaves_nothing(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome o;
    size_t before = open_files_under_dir(), files = unfinished_blobs();
    for (int i = 0; i < 4; i++) {
        outcome_init(&o);
        submit(jobs, &o, "media.look", clip, "video", look_params(), 0);
        wait_for(&o, true);
        assert_true(kill_busy_worker());
        wait_for(&o, false);
        assert_int_equal(o.err, TL_EWORKER);
        assert_null(o.output);
        outcome_clear(&o);
    }
    outcome_init(&o);
    submit(jobs, &o, "media.look", clip, "video", look_params(), 0);
    wait_for(&o, false);
    assert_int_equal(o.err, 0);
    outcome_clear(&o);
    tl_jobs_free(jobs);
    assert_int_equal(open_files_under_dir(), before);
    assert_int_equal(unfinished_blobs(), files);
}

/* fsync, as the finisher calls it, waits while it is held. */
static pthread_mutex_t sync_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sync_cond = PTHREAD_COND_INITIALIZER;
static bool sync_held, sync_waits;

int fsync(int fd)
{
    pthread_mutex_lock(&sync_lock);
    while (sync_held) {
        sync_waits = true;
        pthread_cond_broadcast(&sync_cond);
        pthread_cond_wait(&sync_cond, &sync_lock);
    }
    pthread_mutex_unlock(&sync_lock);
    return (int)syscall(SYS_fsync, fd);
}

static void hold_sync(bool held)
{
    pthread_mutex_lock(&sync_lock);
    sync_held = held;
    sync_waits = false;
    pthread_cond_broadcast(&sync_cond);
    pthread_mutex_unlock(&sync_lock);
}

static void a_cancel_does_not_wait_for_the_disk(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 2, 0);
    struct outcome o[2];
    struct tl_id ids[2];
    hold_sync(true);
    for (int i = 0; i < 2; i++) {
        outcome_init(&o[i]);
        json_t *params = look_params();
        json_array_set_new(json_object_get(params, "palette"), 0,
                           json_string(i ? "#400000" : "#004000")); /* a file of its own */
        ids[i] = submit(jobs, &o[i], "media.look", clip, "video", params, 0);
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SEC;
    pthread_mutex_lock(&sync_lock);
    while (!sync_waits)
        assert_int_equal(pthread_cond_timedwait(&sync_cond, &sync_lock, &until), 0);
    pthread_mutex_unlock(&sync_lock);
    for (int i = 0; i < 2; i++) { /* one is being committed; the other waits for it, or works */
        int64_t asked = tl_mono_us();
        tl_jobs_cancel(jobs, &ids[i]);
        wait_for(&o[i], false);
        assert_int_equal(o[i].err, TL_ECANCELLED);
        assert_true(o[i].done_us - asked < (int64_t)CANCEL_MS * 1000);
    }
    hold_sync(false);
    tl_jobs_free(jobs);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(o[i].dones, 1);
        outcome_clear(&o[i]);
    }
}

static void freeing_cancels(void **state)
{
    (void)state;
    struct tl_jobs *jobs = start(worker_path(), 1, 0);
    struct outcome o[3];
    for (int i = 0; i < 3; i++) {
        outcome_init(&o[i]);
        submit(jobs, &o[i], "media.look", clip, "video", look_params(), 0);
    }
    wait_for(&o[0], true);
    tl_jobs_free(jobs);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(o[i].dones, 1);
        assert_int_equal(o[i].err, TL_ECANCELLED);
        outcome_clear(&o[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come),
        cmocka_unit_test(containers_are_read),
        cmocka_unit_test(files_are_verified_and_kept),
        cmocka_unit_test(a_sheet_is_drawn_in_the_sandbox),
        cmocka_unit_test(a_file_over_the_cap_is_refused),
        cmocka_unit_test(cancel_takes_effect),
        cmocka_unit_test(a_killed_worker_fails_its_job_only),
        cmocka_unit_test(a_deadline_ends_a_job),
        cmocka_unit_test(hostile_files_fail_clearly),
        cmocka_unit_test(workers_that_are_none),
        cmocka_unit_test(only_a_lost_process_is_lost),
        cmocka_unit_test(dying_while_ready_ends),
        cmocka_unit_test(a_lost_attempt_leaves_nothing),
        cmocka_unit_test(a_cancel_does_not_wait_for_the_disk),
        cmocka_unit_test(freeing_cancels),
    };
    return cmocka_run_group_tests_name("jobs", tests, setup, teardown);
}

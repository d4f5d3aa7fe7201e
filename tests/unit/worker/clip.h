/* Clips for the tests of the worker, made with the ffmpeg program in a temporary folder, and ops run in this process on them. */
#ifndef TL_TESTS_UNIT_WORKER_CLIP_H
#define TL_TESTS_UNIT_WORKER_CLIP_H

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/media/font.h"
#include "worker/worker.h"

#include <fcntl.h>
#include <libavutil/log.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char clip_dir[256];

static inline int clip_setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(clip_dir, sizeof(clip_dir), "%s/talos-media-XXXXXX", tmp ? tmp : "/tmp");
    tl_wk_fonts_load();
    av_log_set_level(AV_LOG_QUIET);
    return tl_hash_init() < 0 || !mkdtemp(clip_dir);
}

static inline int clip_teardown(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", clip_dir);
    return system(command);
}

static inline void clip_path(const char *name, char ret[512])
{
    snprintf(ret, 512, "%s/%s", clip_dir, name);
}

/* arguments: everything between the program and the output. */
static inline void clip_make(const char *name, const char *arguments)
{
    char command[4096];
    snprintf(command, sizeof(command), "ffmpeg -nostdin -v error -y %s '%s/%s'", arguments, clip_dir, name);
    assert_int_equal(system(command), 0);
}

/* Runs an op on a clip; out NULL or the port and the file it writes. Takes params. */
static inline int op_run(const char *op, const char *clip, json_t *params, const char *out_port, const char *out_name,
                         json_t **ret, char ret_message[TL_WK_MESSAGE])
{
    char path[512];
    TL_AUTO_JSON json_t *owned = params;
    struct tl_wk_job job = {.sock = -1, .id = "test", .params = owned};
    clip_path(clip, path);
    TL_AUTO_FD int in = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(in >= 0);
    job.inputs[job.ninputs++] = (struct tl_wk_file){"clip", in};
    TL_AUTO_FD int out = -1;
    if (out_port) {
        clip_path(out_name, path);
        out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(out >= 0);
        job.outputs[job.noutputs++] = (struct tl_wk_file){out_port, out};
    }
    *ret = NULL;
    int err = tl_wk_find(op)(&job, ret);
    if (ret_message)
        memcpy(ret_message, job.message, TL_WK_MESSAGE);
    else if (err)
        fprintf(stderr, "%s: %s\n", op, job.message);
    return err;
}

static inline json_t *op_result(const char *op, const char *clip, json_t *params)
{
    json_t *ret;
    assert_int_equal(op_run(op, clip, params, NULL, NULL, &ret, NULL), 0);
    assert_non_null(ret);
    return ret;
}

static inline double at(const json_t *list, size_t i)
{
    const json_t *v = json_array_get(list, i);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

#endif

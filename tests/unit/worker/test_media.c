/* The media ops on clips made with known cuts, dissolves, loudness and shape; broken files; what the sandbox forbids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/worker/clip.h"

#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>

static void analysis_finds_what_is_there(void **state)
{
    (void)state;
    /* 2 s, cut, 3 s, cut, 3 s that dissolve for one second, from 7 to 8 s, into the last. A stereo sine at -23 LUFS. */
    clip_make("known.mp4",
              "-f lavfi -i testsrc2=s=640x360:r=24:d=2 -f lavfi -i mandelbrot=s=640x360:r=24 "
              "-f lavfi -i smptebars=s=640x360:r=24:d=3 -f lavfi -i "
              "gradients=s=640x360:r=24:d=4:c0=0x203040:c1=0xe0c080:seed=3 "
              "-f lavfi -i \"aevalsrc='0.0708*sin(2*PI*997*t)|0.0708*sin(2*PI*997*t)':s=48000:d=11\" "
              "-filter_complex "
              "\"[1:v]trim=duration=3,setpts=PTS-STARTPTS,format=yuv420p,setsar=1[b];[0:v]format=yuv420p,setsar=1[a];"
              "[2:v]format=yuv420p,setsar=1,settb=1/24,fps=24[c];[3:v]format=yuv420p,setsar=1,settb=1/24,fps=24[d];"
              "[c][d]xfade=transition=fade:duration=1:offset=2[cd];[a][b][cd]concat=n=3:v=1[v]\" "
              "-map \"[v]\" -map 4:a -c:v libx264 -preset veryfast -c:a aac -shortest");
    TL_AUTO_JSON json_t *r = op_result("media.analyze", "known.mp4", json_object());
    const json_t *shots = json_object_get(r, "shots");
    assert_int_equal(json_array_size(shots), 4);
    static const double starts[] = {0, 2, 5, 7.5};
    static const char *const kinds[] = {"start", "cut", "cut", "dissolve"};
    for (size_t i = 0; i < 4; i++) {
        const json_t *s = json_array_get(shots, i);
        assert_int_equal(tl_json_int(s, "index", -1), i);
        assert_string_equal(tl_json_str(s, "transition"), kinds[i]);
        assert_true(fabs(tl_json_num(s, "start_sec", -1) - starts[i]) < (i == 3 ? 0.15 : 1e-3));
    }
    double duration = tl_json_num(r, "duration_sec", 0);
    assert_true(fabs(duration - 11) < 0.1);
    const json_t *a = json_object_get(r, "analysis"), *curve = json_object_get(r, "emotion_curve");
    assert_int_equal(json_array_size(curve), (size_t)ceil(duration));
    static const char *const curves[] = {"luma", "motion", "chroma", "hue", "cut_rate", "loudness"};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(json_array_size(json_object_get(a, curves[i])), json_array_size(curve));
    for (size_t i = 0; i < json_array_size(curve); i++)
        assert_true(at(curve, i) >= 0 && at(curve, i) <= 1);
    assert_true(fabs(tl_json_num(a, "loudness_integrated_lufs", 0) + 23) < 0.3);
    assert_true(fabs(at(json_object_get(a, "loudness"), 5) - 37.0 / 50) < 0.01);
    assert_true(fabs(at(json_object_get(a, "luma"), 5) - at(json_object_get(a, "luma"), 6)) < 0.01);
    assert_true(at(json_object_get(a, "motion"), 6) < 0.02); /* bars stand still */
    assert_true(at(json_object_get(a, "motion"), 1) > 0.1);
    assert_int_equal(json_array_size(json_object_get(r, "palette")), 6);
    assert_int_equal(tl_json_int(a, "width", 0), 640);
    assert_true(fabs(tl_json_num(a, "fps", 0) - 24) < 1e-6);
    TL_AUTO_JSON json_t *again = op_result("media.analyze", "known.mp4", json_object());
    assert_true(json_equal(r, again)); /* the same clip, the same answer */
    TL_AUTO_JSON json_t *fewer =
        op_result("media.analyze", "known.mp4", json_pack("{s:f,s:b}", "cut_threshold", 0.95, "dissolve", 0));
    assert_int_equal(json_array_size(json_object_get(fewer, "shots")), 1);
}

static void loud_and_busy_moves_more(void **state)
{
    (void)state;
    /* Calm and quiet for 6 s, then six shots of moving noise with loud sound. */
    clip_make(
        "rise.mp4",
        "-f lavfi -i color=c=0xc8ccd0:s=320x180:r=24:d=6 "
        "-f lavfi -i "
        "\"testsrc2=s=320x180:r=24:d=6,hue=H='floor(t)*1.9':b='-3+2*mod(floor(t),2)',noise=alls=40:allf=t\" "
        "-f lavfi -i \"aevalsrc='if(lt(t,6),0.003,0.5)*sin(2*PI*300*t)':s=44100:d=12\" "
        "-filter_complex \"[0:v]format=yuv420p,setsar=1[a];[1:v]format=yuv420p,setsar=1[b];[a][b]concat=n=2:v=1[v]\" "
        "-map \"[v]\" -map 2:a "
        "-c:v libx264 -preset ultrafast -c:a aac");
    TL_AUTO_JSON json_t *r = op_result("media.analyze", "rise.mp4", json_object());
    const json_t *e = json_object_get(r, "emotion_curve");
    assert_int_equal(json_array_size(e), 12);
    assert_true(at(e, 9) > at(e, 2) + 0.3);
}

static void other_shapes(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *r = NULL;
    /* No sound; 10 bits; another container. */
    clip_make("deep.mkv", "-f lavfi -i testsrc2=s=426x240:r=25:d=2 -pix_fmt yuv422p10le -c:v ffv1");
    r = op_result("media.analyze", "deep.mkv", json_object());
    const json_t *a = json_object_get(r, "analysis");
    assert_true(json_is_null(json_object_get(a, "loudness_integrated_lufs")));
    assert_int_equal(json_array_size(json_object_get(a, "loudness")), 0);
    assert_int_equal(json_array_size(json_object_get(a, "onsets_sec")), 0);
    double chroma = at(json_object_get(a, "chroma"), 0), luma = at(json_object_get(a, "luma"), 0);
    /* The same picture through another way of storing it measures the same. */
    clip_make("rgb.mkv", "-f lavfi -i testsrc2=s=426x240:r=25:d=2 -pix_fmt bgr0 -c:v ffv1");
    TL_AUTO_JSON json_t *rgb = op_result("media.analyze", "rgb.mkv", json_object());
    a = json_object_get(rgb, "analysis");
    assert_true(fabs(at(json_object_get(a, "luma"), 0) - luma) < 0.01);
    assert_true(fabs(at(json_object_get(a, "chroma"), 0) - chroma) < 0.02);
    /* Two recordings one behind the other, whose clock begins anew, of different sizes. */
    clip_make("one.ts", "-f lavfi -i testsrc2=s=320x180:r=30:d=2 -pix_fmt yuv420p -c:v libx264 -preset ultrafast");
    clip_make("two.ts", "-f lavfi -i smptebars=s=640x360:r=30:d=2 -pix_fmt yuv420p -c:v libx264 -preset ultrafast");
    char join[1200];
    snprintf(join, sizeof(join), "cat '%s/one.ts' '%s/two.ts' > '%s/both.ts'", clip_dir, clip_dir, clip_dir);
    assert_int_equal(system(join), 0);
    TL_AUTO_JSON json_t *both = op_result("media.analyze", "both.ts", json_object());
    assert_true(fabs(tl_json_num(both, "duration_sec", 0) - 4) < 0.1);
    assert_int_equal(json_array_size(json_object_get(both, "shots")), 2);
    /* One picture. */
    clip_make("one.mp4", "-f lavfi -i testsrc2=s=320x180:r=25:d=1 -frames:v 1 -pix_fmt yuv420p -c:v libx264");
    TL_AUTO_JSON json_t *one = op_result("media.analyze", "one.mp4", json_object());
    assert_int_equal(json_array_size(json_object_get(one, "shots")), 1);
    assert_int_equal(json_array_size(json_object_get(one, "emotion_curve")), 1);
}

static void probe_tells_what_it_is(void **state)
{
    (void)state;
    clip_make("p.mp4", "-f lavfi -i testsrc2=s=320x240:r=30000/1001:d=2 -f lavfi -i sine=d=2 -pix_fmt yuv420p -c:v "
                       "libx264 -c:a aac -shortest");
    TL_AUTO_JSON json_t *r = op_result("media.probe", "p.mp4", json_object());
    const json_t *i = json_object_get(r, "info");
    assert_string_equal(tl_json_str(i, "container"), "mp4");
    assert_string_equal(tl_json_str(i, "video_codec"), "h264");
    assert_string_equal(tl_json_str(i, "audio_codec"), "aac");
    assert_true(tl_json_bool(i, "has_audio", false));
    assert_true(fabs(tl_json_num(i, "fps", 0) - 29.97) < 0.01);
    assert_true(fabs(tl_json_num(i, "duration_sec", 0) - 2) < 0.05);
    clip_make("lying.mp4", "-f lavfi -i testsrc2=s=320x240:r=25:d=1 -pix_fmt yuv420p -c:v libx264");
    char turn[600];
    snprintf(turn, sizeof(turn), "-i '%s/lying.mp4' -c copy -metadata:s:v rotate=90", clip_dir);
    clip_make("turned.mp4", turn);
    TL_AUTO_JSON json_t *t = op_result("media.probe", "turned.mp4", json_object());
    i = json_object_get(t, "info");
    assert_int_equal(tl_json_int(i, "width", 0), 240);
    assert_int_equal(tl_json_int(i, "height", 0), 320);
    clip_make("picture.png", "-f lavfi -i testsrc2=s=64x48 -frames:v 1");
    TL_AUTO_JSON json_t *p = op_result("media.probe", "picture.png", json_object());
    assert_string_equal(tl_json_str(json_object_get(p, "info"), "container"), "png");
    clip_make("sound.wav", "-f lavfi -i sine=d=1");
    TL_AUTO_JSON json_t *w = op_result("media.probe", "sound.wav", json_object());
    assert_int_equal(tl_json_int(json_object_get(w, "info"), "width", -1), 0);
}

static void refused(const char *op, const char *clip, const char *why)
{
    char message[TL_WK_MESSAGE];
    json_t *r;
    assert_int_equal(op_run(op, clip, json_object(), NULL, NULL, &r, message), TL_EMEDIA);
    assert_null(r);
    if (!strstr(message, why))
        fail_msg("\"%s\" does not say \"%s\"", message, why);
}

static void put(const char *name, const char *text)
{
    char path[512];
    clip_path(name, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void what_is_refused(void **state)
{
    (void)state;
    clip_make("sound.m4a", "-f lavfi -i sine=d=1 -c:a aac");
    refused("media.analyze", "sound.m4a", "no picture");
    put("list.mp4", "ffconcat version 1.0\nfile 'p.mp4'\n");
    refused("media.probe", "list.mp4", "not in a media format");
    put("live.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\np.mp4\n#EXT-X-ENDLIST\n");
    refused("media.probe", "live.mp4", "not in a media format");
    put("empty.mp4", "");
    refused("media.analyze", "empty.mp4", "not in a media format");
    /* A format that is not on the list, though FFmpeg reads it. */
    clip_make("old.flv", "-f lavfi -i testsrc2=s=64x48:d=1 -c:v flv1");
    refused("media.probe", "old.flv", "not in a media format");
    /* A codec that is not on the list. */
    clip_make("old.avi", "-f lavfi -i testsrc2=s=64x48:d=1 -c:v cinepak -pix_fmt rgb24");
    refused("media.analyze", "old.avi", "");
    clip_make("wide.mkv", "-f lavfi -i color=s=8200x16:d=0.1 -c:v ffv1");
    refused("media.analyze", "wide.mkv", "larger than");
}

static char *slurp(const char *name, size_t *ret_len)
{
    char path[512];
    clip_path(name, path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *ret_len = (size_t)ftell(f);
    rewind(f);
    char *b = malloc(*ret_len + 1);
    assert_non_null(b);
    assert_int_equal(fread(b, 1, *ret_len, f), *ret_len);
    fclose(f);
    return b;
}

static json_t *look(const char *aspect, int max_height, double strength)
{
    return json_pack("{s:[s,s,s,s],s:[f,f,f,f,f,f,f,f,f,f,f,f],s:f,s:i,s:s}", "palette", "#0B1A1E", "#2F5257",
                     "#B08A4A", "#D9CDB0", "style_vector", 1.4, .5, .3, .4, .1, .3, .38, .05, -.4, -.2, .2, 0.0,
                     "strength", strength, "max_height", max_height, "aspect", aspect);
}

static void a_look_is_a_clip(void **state)
{
    (void)state;
    clip_make("l.mp4", "-f lavfi -i testsrc2=s=640x360:r=24:d=2 -f lavfi -i sine=r=22050:d=2 -pix_fmt yuv420p -c:v "
                       "libx264 -c:a aac -shortest");
    TL_AUTO_JSON json_t *r = NULL, *again = NULL, *cut = NULL;
    assert_int_equal(op_run("media.look", "l.mp4", look("source", 720, 1), "video", "l1.mp4", &r, NULL), 0);
    TL_AUTO_JSON json_t *probe = op_result("media.probe", "l1.mp4", json_object());
    const json_t *i = json_object_get(probe, "info");
    assert_int_equal(tl_json_int(i, "width", 0), 640);
    assert_int_equal(tl_json_int(i, "height", 0), 360);
    assert_int_equal(tl_json_int(i, "frames", 0), 48);
    assert_string_equal(tl_json_str(i, "audio_codec"), "aac");
    size_t len, len2;
    char *b = slurp("l1.mp4", &len);
    char *moov = memmem(b, len, "moov", 4), *mdat = memmem(b, len, "mdat", 4);
    assert_true(moov && mdat && moov < mdat); /* the index first */
    assert_int_equal(op_run("media.look", "l.mp4", look("source", 720, 1), "video", "l2.mp4", &again, NULL), 0);
    char *b2 = slurp("l2.mp4", &len2);
    assert_int_equal(len, len2);
    assert_memory_equal(b, b2, len);
    free(b);
    free(b2);
    const json_t *result = json_object_get(json_object_get(r, "metrics"), "result");
    assert_true(fabs(tl_json_num(result, "median_lightness", 0) - 0.38) < 0.06);
    assert_int_equal(op_run("media.look", "l.mp4", look("2.39", 200, 1), "video", "l3.mp4", &cut, NULL), 0);
    TL_AUTO_JSON json_t *wide = op_result("media.probe", "l3.mp4", json_object());
    i = json_object_get(wide, "info");
    assert_int_equal(tl_json_int(i, "height", 0), 200);
    assert_true(abs((int)tl_json_int(i, "width", 0) - 478) <= 2);
}

static void a_look_of_no_strength_changes_little(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *r = NULL;
    assert_int_equal(op_run("media.look", "l.mp4", look("source", 360, 0), "video", "l0.mp4", &r, NULL), 0);
    const json_t *m = json_object_get(r, "metrics"), *a = json_object_get(m, "source"),
                 *b = json_object_get(m, "result");
    assert_true(fabs(tl_json_num(a, "median_lightness", 0) - tl_json_num(b, "median_lightness", 1)) < 0.03);
    assert_true(fabs(tl_json_num(a, "mean_chroma", 0) - tl_json_num(b, "mean_chroma", 1)) < 0.03);
}

static void a_turned_clip_comes_out_upright(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *r = NULL;
    assert_int_equal(op_run("media.look", "turned.mp4", look("source", 720, 1), "video", "up.mp4", &r, NULL), 0);
    TL_AUTO_JSON json_t *probe = op_result("media.probe", "up.mp4", json_object());
    assert_int_equal(tl_json_int(json_object_get(probe, "info"), "width", 0), 240);
    assert_int_equal(tl_json_int(json_object_get(probe, "info"), "height", 0), 320);
}

static void a_sheet_is_a_picture(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *a = op_result("media.analyze", "known.mp4", json_object());
    TL_AUTO_JSON json_t *r = NULL;
    json_t *p = json_pack("{s:O,s:O,s:s}", "analysis", json_object_get(a, "analysis"), "emotion_curve",
                          json_object_get(a, "emotion_curve"), "title", "네 개의 장면 — four shots");
    assert_int_equal(op_run("media.sheet", "known.mp4", p, "image", "s.png", &r, NULL), 0);
    assert_int_equal(tl_json_int(r, "shots", 0), 4);
    TL_AUTO_JSON json_t *probe = op_result("media.probe", "s.png", json_object());
    const json_t *i = json_object_get(probe, "info");
    assert_string_equal(tl_json_str(i, "container"), "png");
    assert_int_equal(tl_json_int(i, "width", 0), 1920);
    assert_true(tl_json_int(i, "height", 0) > 1000);
    /* Many shots: thirty of them; a clip shorter than its analysis says leaves frames empty. */
    json_t *many = json_array();
    for (int k = 0; k < 90; k++)
        json_array_append_new(many, json_pack("{s:i,s:f,s:f,s:s}", "index", k, "start_sec", k * 0.2, "end_sec",
                                              k * 0.2 + 0.2, "transition", "cut"));
    TL_AUTO_JSON json_t *second = NULL;
    p = json_pack("{s:{s:o,s:f,s:f}}", "analysis", "shots", many, "duration_sec", 18.0, "fps", 24.0);
    assert_int_equal(op_run("media.sheet", "known.mp4", p, "image", "s2.png", &second, NULL), 0);
    assert_int_equal(tl_json_int(second, "shots", 0), 30);
    char message[TL_WK_MESSAGE];
    json_t *none;
    assert_int_equal(
        op_run("media.sheet", "known.mp4", json_pack("{s:{}}", "analysis"), "image", "s3.png", &none, message),
        TL_EINVAL);
}

static void the_sandbox_kills(void **state)
{
    (void)state;
#ifdef TL_SANITIZED
    skip();
#else
    const char *worker = getenv("TALOS_WORKER");
    static const char *const tries[] = {"socket", "open", "fork", "exec"};
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        char *argv[] = {(char *)(uintptr_t)(worker ? worker : "build/talos-worker"), (char[]){"--selftest"},
                        (char *)(uintptr_t)tries[i], NULL};
        char *envp[] = {NULL};
        pid_t pid;
        int status;
        assert_int_equal(posix_spawn(&pid, argv[0], NULL, NULL, argv, envp), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("%s was not stopped: status %x", tries[i], status);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(analysis_finds_what_is_there),
        cmocka_unit_test(loud_and_busy_moves_more),
        cmocka_unit_test(other_shapes),
        cmocka_unit_test(probe_tells_what_it_is),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(a_look_is_a_clip),
        cmocka_unit_test(a_look_of_no_strength_changes_little),
        cmocka_unit_test(a_turned_clip_comes_out_upright),
        cmocka_unit_test(a_sheet_is_a_picture),
        cmocka_unit_test(the_sandbox_kills),
    };
    return cmocka_run_group_tests_name("worker/media", tests, clip_setup, clip_teardown);
}

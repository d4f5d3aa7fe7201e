/* A run read off its events, its bars and its summary, and graphs filled in from the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/fill.h"
#include "cli/progress.h"
#include "cli/summary.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char graph_text[] =
    "{\"nodes\":[{\"id\":\"clip\",\"type\":\"media.file\",\"data\":{\"label\":\"내 영상\"}},"
    "{\"id\":\"a.b\",\"type\":\"media.analyze\",\"data\":{\"inputs\":{\"note\":\"x\"}}},"
    "{\"id\":\"auteur\",\"type\":\"capsule\",\"data\":{\"capsuleId\":\"auteur.shinkai\",\"capsuleVersion\":\"1.0.0\"}}]"
    ",\"edges\":[]}";

static json_t *parse(const char *text)
{
    json_t *j = NULL;
    assert_int_equal(tl_json_parse(text, strlen(text), &j, NULL), 0);
    return j;
}

static void feed(struct tl_cli_view *view, const char *type, const char *payload)
{
    TL_AUTO_JSON json_t *p = parse(payload);
    TL_AUTO_JSON json_t *e = json_pack("{s:s,s:i,s:O}", "type", type, "seq", (int)view->last_seq + 1, "payload", p);
    tl_cli_view_event(view, e);
}

static void view_follows_events(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *graph = parse(graph_text);
    struct tl_cli_view v TL_CLEANUP(tl_cli_view_clear) = {0};
    assert_int_equal(tl_cli_view_init(&v, graph), 0);
    assert_string_equal(v.nodes[0].label, "내 영상");
    assert_string_equal(v.nodes[1].label, "a.b");
    assert_string_equal(v.nodes[2].type, "auteur.shinkai@1.0.0");
    feed(&v, "run.queued", "{}");
    feed(&v, "run.started", "{}");
    assert_int_equal(v.status, TL_VIEW_RUNNING);
    feed(&v, "run.progress",
         "{\"progress\":40.5,\"nodes\":[{\"id\":\"clip\",\"status\":\"done\",\"cached\":true},"
         "{\"id\":\"a.b\",\"status\":\"running\",\"progress\":12.5,\"message\":\"frames\"},{\"id\":\"nobody\","
         "\"status\":\"done\"}]}");
    assert_int_equal(v.nodes[0].status, TL_VIEW_DONE);
    assert_true(v.nodes[0].cached);
    assert_float_equal(v.nodes[1].percent, 12.5, 1e-9);
    assert_string_equal(v.nodes[1].message, "frames");
    feed(&v, "run.partial", "{\"results\":[{\"node\":\"a.b\",\"outputs\":{\"n\":1}}]}");
    feed(&v, "run.someday", "[1]");
    feed(&v, "run.progress", "[]");
    assert_false(tl_cli_view_ended(&v));
    feed(&v, "run.failed",
         "{\"error\":{\"code\":\"MEDIA_INVALID\",\"message\":\"no\",\"details\":{\"node\":\"a.b\"}}}");
    assert_true(tl_cli_view_ended(&v));
    assert_int_equal(v.status, TL_VIEW_FAILED);
    assert_int_equal(v.nodes[1].status, TL_VIEW_FAILED);
    assert_int_equal(v.nodes[2].status, TL_VIEW_SKIPPED);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v.outputs, "a.b"), "n")), 1);
}

/* Whoever comes late to a run whose journal was cut gets its state and its ending. */
static void a_reset_is_the_state(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *graph = parse(graph_text);
    struct tl_cli_view v TL_CLEANUP(tl_cli_view_clear) = {0};
    assert_int_equal(tl_cli_view_init(&v, graph), 0);
    feed(&v, "run.reset",
         "{\"reason\":\"retention\",\"status\":\"done\",\"progress\":100,\"nodes\":{\"clip\":{\"status\":\"done\",\"cached\":true},"
         "\"a.b\":{\"status\":\"failed\"},\"nobody\":{\"status\":\"done\"}}}");
    assert_false(tl_cli_view_ended(&v));
    assert_int_equal(v.nodes[0].status, TL_VIEW_DONE);
    assert_true(v.nodes[0].cached);
    assert_int_equal(v.nodes[1].status, TL_VIEW_FAILED);
    assert_int_equal(v.nodes[2].status, TL_VIEW_QUEUED);
    feed(&v, "run.reset", "{\"node_counts\":{\"done\":70000}}");
    feed(&v, "run.reset", "[1]");
    feed(&v, "run.completed", "{\"outputs\":{\"clip\":{\"n\":1}}}");
    assert_true(tl_cli_view_ended(&v));
    assert_int_equal(v.status, TL_VIEW_DONE);
}

/* What steps ask is shown as long as they wait, also of steps inside a node. */
static void questions_are_shown(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *graph = parse(graph_text);
    struct tl_cli_view v TL_CLEANUP(tl_cli_view_clear) = {0};
    struct tl_str out TL_CLEANUP(tl_str_clear) = {0}, after TL_CLEANUP(tl_str_clear) = {0};
    struct tl_cli_term term = {.columns = 100, .rows = 20};
    int lines;
    assert_int_equal(tl_cli_view_init(&v, graph), 0);
    feed(&v, "run.progress",
         "{\"nodes\":[{\"id\":\"clip\",\"status\":\"waiting\",\"waiting_for\":{\"kind\":\"gate\",\"shown\":{\"prompt\":\"Good?\"},"
         "\"decisions\":[\"approve\",\"reject\"]}},{\"id\":\"a.b#2/ask\",\"status\":\"waiting\",\"waiting_for\":{\"decisions\":[\"retry\"],"
         "\"shown\":{\"message\":\"lost\\u001b[2J\"}}}]}");
    assert_int_equal(v.nodes[0].status, TL_VIEW_WAITING);
    tl_cli_progress_lines(&term, &v, 20, &out, &lines);
    assert_int_equal(lines, 5);
    assert_non_null(strstr(out.data, "clip waits for a person (approve, reject): Good?"));
    assert_non_null(strstr(out.data, "a.b#2/ask waits for a person (retry): lost?[2J"));
    feed(&v, "run.progress", "{\"nodes\":[{\"id\":\"clip\",\"status\":\"done\"},{\"id\":\"a.b#2/ask\",\"status\":\"failed\"}]}");
    tl_cli_progress_lines(&term, &v, 20, &after, &lines);
    assert_int_equal(lines, 3);
}

static void bars_line_up(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *graph = parse(graph_text);
    struct tl_cli_view v TL_CLEANUP(tl_cli_view_clear) = {0};
    assert_int_equal(tl_cli_view_init(&v, graph), 0);
    feed(&v, "run.progress",
         "{\"progress\":40,\"nodes\":[{\"id\":\"clip\",\"status\":\"done\"},{\"id\":\"a.b\",\"status\":\"running\","
         "\"progress\":50,\"message\":\"a\\u001b[2Jb\"}]}");
    const struct tl_cli_term term = {.tty = true, .columns = 40, .rows = 24};
    struct tl_str out TL_CLEANUP(tl_str_clear) = {0};
    int lines;
    tl_cli_progress_lines(&term, &v, 10, &out, &lines);
    assert_int_equal(lines, 3);
    assert_string_equal(out.data, "  내 영상     ######### 100 % done\n"
                                  "  a.b         ####.....  50 % a?[2Jb\n"
                                  "  auteur      .........       waits\n");
    tl_str_clear(&out);
    tl_cli_progress_lines(&term, &v, 2, &out, &lines);
    assert_int_equal(lines, 2);
    assert_string_equal(out.data, "  a.b         ####.....  50 % a?[2Jb\n  1 of 3 nodes, 40 %\n");
}

static void summary_shows_what_came(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *graph = parse(graph_text);
    struct tl_cli_view v TL_CLEANUP(tl_cli_view_clear) = {0};
    assert_int_equal(tl_cli_view_init(&v, graph), 0);
    feed(&v, "run.partial",
         "{\"results\":[{\"node\":\"auteur\",\"outputs\":{\"palette\":[\"#102A43\",\"#ffffff\"],"
         "\"style_vector\":[1.386,0.5,1,0.4,0.1,0.1,0.5,0.08,0,0,0.2,-1],\"composition_hints\":[\"frame in the "
         "middle\",\"하늘을 넓게\"]}}]}");
    feed(&v, "run.completed",
         "{\"outputs\":{\"a.b\":{\"video\":{\"kind\":\"video\",\"sha256\":\"00\",\"content_type\":\"video/"
         "mp4\",\"bytes\":2500000},"
         "\"curve\":[0,0.5,1],\"n\":7}},\"evidence_refs\":[\"db:patterns:x\"],\"token_usage\":{\"total\":0}}");
    TL_AUTO_JSON json_t *files = parse("{\"a.b\":{\"video\":\"out/a.b-video.mp4\"}}");
    const struct tl_cli_term plain = {.columns = 80},
                             full = {.tty = true, .colour = true, .unicode = true, .columns = 80};
    struct tl_str out TL_CLEANUP(tl_str_clear) = {0};
    tl_cli_summary(&plain, &v, files, &out);
    assert_null(strchr(out.data, '\x1b'));
    static const char *const wanted[] = {"#102A43",
                                         "log_shot_length",
                                         "|",
                                         "- frame in the middle\n",
                                         "- 하늘을 넓게\n",
                                         "out/a.b-video.mp4  video/mp4, 2.5 MB\n",
                                         "_~#  0.00 to 1.00, 3 values\n",
                                         "db:patterns:x",
                                         "auteur.shinkai@1.0.0"};
    for (size_t i = 0; i < TL_ARRAY_LEN(wanted); i++)
        assert_non_null(strstr(out.data, wanted[i]));
    assert_null(strstr(out.data, "token_usage"));
    tl_str_clear(&out);
    tl_cli_summary(&full, &v, files, &out);
    assert_non_null(strstr(out.data, "\x1b[48;2;16;42;67m"));
    assert_non_null(strstr(out.data, "┃"));
    assert_non_null(strstr(out.data, "▁▅█"));
}

static int fake_upload(struct tl_cli_door *door, const char *path, const char *content_type, const char *name,
                       json_t **ret)
{
    (void)door, (void)path;
    *ret = json_pack("{s:s,s:s,s:s,s:s,s:i}", "id", "the-id", "sha256", "abc", "content_type", content_type, "name",
                     name, "bytes", 5);
    return 0;
}

static void filling_in(void **state)
{
    (void)state;
    static const struct tl_cli_door_ops ops = {.upload = fake_upload};
    struct tl_cli_door door = {&ops};
    TL_AUTO_JSON json_t *graph = parse(graph_text);
    TL_AUTO_JSON json_t *template =
        json_pack("{s:s,s:O,s:[{s:s,s:s,s:s},{s:s,s:s,s:s}]}", "title", "study", "graph", graph, "inputs", "node",
                  "clip", "param", "file", "kind", "file", "node", "a.b", "param", "text", "kind", "text");
    struct tl_cli_fill f TL_CLEANUP(tl_cli_fill_clear) = {0};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    assert_int_equal(tl_cli_fill_init(&f, template, "x"), 0);
    assert_string_equal(f.name, "study");
    char path[] = "/tmp/talos-fill-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "비가 온다", 13) == 13);
    close(fd);
    TL_AUTO_FREE char *text_input = NULL;
    assert_true(asprintf(&text_input, "a.b.text=%s", path) > 0);
    assert_int_equal(tl_cli_fill_set(&f, "auteur.style_intensity=0.5", &diag), 0);
    assert_int_equal(tl_cli_fill_set(&f, "auteur.pacing=slow", &diag), 0);
    assert_int_equal(tl_cli_fill_set(&f, "a.b.note=now=then", &diag), 0);
    assert_int_equal(tl_cli_fill_set(&f, "auteur.inputs.scene_summary=\"7\"", &diag), 0);
    assert_int_equal(tl_cli_fill_input(&f, &door, "clip=/x/my film.MOV", &diag), 0);
    assert_int_equal(tl_cli_fill_input(&f, &door, text_input, &diag), 0);
    unlink(path);
    assert_false(tl_diag_any(&diag));
    assert_int_equal(tl_cli_fill_input(&f, &door, "a.b.inputs.picture=/x/p.png", &diag), 0);
    TL_AUTO_JSON json_t *want = parse("[{\"label\":\"내 영상\",\"params\":{\"file\":\"the-id\"}},"
                                      "{\"inputs\":{\"note\":\"now=then\",\"picture\":{\"kind\":\"image\",\"sha256\":"
                                      "\"abc\",\"content_type\":\"image/png\",\"bytes\":5,\"name\":\"p.png\"}},"
                                      "\"params\":{\"text\":\"비가 온다\"}},"
                                      "{\"capsuleId\":\"auteur.shinkai\",\"capsuleVersion\":\"1.0.0\",\"params\":{"
                                      "\"style_intensity\":0.5,\"pacing\":\"slow\"},"
                                      "\"inputs\":{\"scene_summary\":\"7\"}}]");
    for (size_t i = 0; i < 3; i++)
        assert_true(json_equal(json_object_get(json_array_get(json_object_get(f.graph, "nodes"), i), "data"),
                               json_array_get(want, i)));
    assert_int_equal(json_array_size(f.uploads), 2);
    /* The template itself is as it was. */
    assert_null(json_object_get(json_object_get(json_array_get(json_object_get(graph, "nodes"), 2), "data"), "params"));
    static const char *const bad[] = {"x", "nobody.p=1", "auteur=1", "auteur.=1", "=", "auteur.p=\xff"};
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++)
        assert_int_equal(tl_cli_fill_set(&f, bad[i], &diag), TL_EINVAL);
    assert_int_equal(diag.count, TL_ARRAY_LEN(bad));
    assert_int_equal(tl_cli_fill_input(&f, &door, "nobody=x", &diag), TL_EINVAL);
    assert_int_equal(tl_cli_fill_input(&f, &door, "text=/nowhere/at/all", &diag), TL_ENOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view_follows_events),
        cmocka_unit_test(a_reset_is_the_state), cmocka_unit_test(questions_are_shown), cmocka_unit_test(bars_line_up),
        cmocka_unit_test(summary_shows_what_came),
        cmocka_unit_test(filling_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

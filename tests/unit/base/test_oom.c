/* base/ without memory: every allocation of each function fails once, alone and with all after it. Nothing crashes, nothing leaks, nothing is half
 * an answer. */
#include "tests/unit/base/oom.h"

#include "base/diag.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char text[] = "{\"b\":[1,2.5,\"x\",null,true],\"a\":{\"c\":\"\\u00e9\"},\"a2\":[[],{}],\"k1\":1,\"k2\":2,\"k3\":3,\"k4\":4,\"k5\":5,\"k6\":6}";
static json_t *document;
static char path[] = "/tmp/talos-oom-XXXXXX";

static void parsing(void)
{
    json_t *j;
    struct tl_diag diag = {0};
    int err = tl_json_parse(text, sizeof(text) - 1, &j, &diag);
    bool failed = oom_failed;
    assert_int_equal(err != 0, j == NULL);
    if (failed)
        assert_int_equal(err, TL_ENOMEM);
    else
        assert_int_equal(err, 0);
    json_decref(j);
    tl_diag_clear(&diag);
}

static void refusing(void)
{
    json_t *j;
    struct tl_diag diag = {0};
    int err = tl_json_parse("{\"a\":[1,2", 9, &j, &diag);
    assert_true(err == TL_EINVAL || (oom_failed && err == TL_ENOMEM));
    assert_true(tl_diag_any(&diag) || err == TL_ENOMEM);
    tl_diag_clear(&diag);
}

static void loading(void)
{
    json_t *j;
    int err = tl_json_load(path, 1000, &j, NULL);
    assert_true(oom_failed ? err == TL_ENOMEM || err == TL_EINVAL : err == 0);
    assert_int_equal(err != 0, j == NULL);
    json_decref(j);
}

static void writing(void)
{
    char *plain = tl_json_text(document);
    if (!oom_failed)
        assert_non_null(plain);
    free(plain);
}

static void canonical(void)
{
    char *t = tl_json_canonical(document);
    assert_int_equal(t == NULL, (bool)oom_failed); /* never one with a hole */
    free(t);
}

static void floats(void)
{
    double v[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    json_t *j = tl_json_floats(v, 11);
    bool failed = oom_failed;
    assert_int_equal(j == NULL, failed);
    if (j) {
        double *back;
        size_t n;
        int err = tl_json_to_floats(j, &back, &n);
        assert_int_equal(err, oom_failed ? TL_ENOMEM : 0);
        assert_int_equal(back == NULL, err != 0);
        free(back);
    }
    json_decref(j);
}

static void problems(void)
{
    static const char *const allowed[] = {"a", NULL};
    struct tl_diag diag = {0};
    tl_json_only_keys(document, allowed, "node", "$.data", &diag);
    assert_true(tl_diag_any(&diag)); /* a problem is never lost without a trace */
    if (!oom_failed)
        assert_int_equal(diag.count, 8);
    json_t *j = tl_diag_json(&diag);
    if (!oom_failed)
        assert_non_null(j);
    json_decref(j);
    tl_diag_clear(&diag);
}

static void strings(void)
{
    struct tl_str s = {0};
    for (int i = 0; i < 20; i++)
        tl_str_printf(&s, "%0300d", i);
    tl_str_puts(&s, "x");
    assert_int_equal(s.err, oom_failed ? TL_ENOMEM : 0);
    char *t = tl_str_take(&s);
    assert_int_equal(t == NULL, (bool)oom_failed);
    free(t);
}

static void arenas(void)
{
    struct tl_arena a = {0};
    for (int i = 0; i < 10; i++) {
        char *p = tl_arena_alloc(&a, 3000);
        if (p)
            memset(p, 1, 3000);
        else
            assert_true(oom_failed);
    }
    char *s = tl_arena_strdup(&a, "x");
    assert_true(s || oom_failed);
    tl_arena_clear(&a);
}

static void hashing(void)
{
    struct tl_sha256 *h = tl_sha256_new();
    assert_true(h || oom_failed);
    if (h)
        tl_sha256_update(h, "x", 1);
    tl_sha256_free(h);
}

static void every_allocation_fails(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*fn)(void);
        long least; /* runs that there must be */
    } cases[] = {
        {"parsing", parsing, 10}, {"refusing", refusing, 3}, {"loading", loading, 10}, {"writing", writing, 2}, {"canonical", canonical, 10},
        {"floats", floats, 12},   {"problems", problems, 20}, {"strings", strings, 4}, {"arenas", arenas, 3},   {"hashing", hashing, 2},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++)
        for (int all = 0; all < 2; all++) {
            long leaked;
            long runs = oom_each(cases[i].fn, all, &leaked);
            if (leaked && cases[i].fn != hashing) /* OpenSSL remembers its last errors */
                fail_msg("%s: %ld allocations were not freed", cases[i].name, leaked);
            if (oom_works && runs < cases[i].least)
                fail_msg("%s: only %ld allocations", cases[i].name, runs);
        }
}

static int start(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (tl_hash_init() < 0 || fd < 0 || write(fd, text, sizeof(text) - 1) < 0)
        return -1;
    close(fd);
    tl_sha256_free(tl_sha256_new()); /* the library makes its own things once */
    return tl_json_parse(text, sizeof(text) - 1, &document, NULL);
}

static int stop(void **state)
{
    (void)state;
    json_decref(document);
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails)};
    return cmocka_run_group_tests(tests, start, stop);
}

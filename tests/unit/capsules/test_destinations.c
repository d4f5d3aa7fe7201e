/* The file of destinations: strict, every problem at once, secrets from files of their own and never quoted. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/destinations.h"
#include "capsules/secret.h"
#include "capsules/services.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[256], conf[300], secret[300];

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
}

static int load(const char *text, struct tl_destinations **ret, struct tl_diag *diag)
{
    write_file(conf, text, strlen(text));
    return tl_destinations_load(conf, ret, diag);
}

static bool says(const struct tl_diag *d, const char *path, const char *words)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->items[i].path && strcmp(d->items[i].path, path) == 0 && strstr(d->items[i].message, words))
            return true;
    return false;
}

static void what_stands_in_the_file(void **state)
{
    (void)state;
    struct tl_destinations *all;
    char text[1000];
    write_file(secret, "  Bearer s3cret token \r\n", 24);
    snprintf(text, sizeof(text),
             "{\"orders\":{\"url\":\"https://Example.org/in?x=1\",\"honours_idempotency_key\":true,\"timeout_sec\":0.5,"
             "\"headers\":{\"Authorization\":{\"file\":\"%s\"},\"X-Kind\":\"a b\"}},"
             "\"hook.b-1_\":{\"url\":\"http://127.0.0.1:8080\",\"honours_idempotency_key\":false}}",
             secret);
    assert_int_equal(load(text, &all, NULL), 0);
    const struct tl_destination *list, *d = tl_destinations_find(all, "orders");
    assert_int_equal(tl_destinations_list(all, &list), 2);
    assert_string_equal(list[0].name, "hook.b-1_");
    assert_ptr_equal(d, &list[1]);
    assert_string_equal(d->url, "https://Example.org/in?x=1");
    assert_string_equal(d->host_port, "example.org:443");
    assert_string_equal(d->headers[0], "Authorization: Bearer s3cret token");
    assert_string_equal(d->headers[1], "X-Kind: a b");
    assert_null(d->headers[2]);
    assert_true(d->honours_key);
    assert_int_equal(d->timeout_ms, 500);
    d = tl_destinations_find(all, "hook.b-1_");
    assert_string_equal(d->host_port, "127.0.0.1:8080");
    assert_false(d->honours_key);
    assert_int_equal(d->timeout_ms, TL_DESTINATION_TIMEOUT_MS);
    assert_null(d->headers[0]);
    assert_null(tl_destinations_find(all, "none"));
    assert_null(tl_destinations_find(NULL, "orders"));
    tl_destinations_free(all);

    assert_int_equal(load("{}", &all, NULL), 0);
    assert_null(tl_destinations_find(all, "orders"));
    tl_destinations_free(all);
    snprintf(text, sizeof(text), "{\"a\":{\"url\":{\"file\":\"%s\"},\"honours_idempotency_key\":true}}", secret);
    write_file(secret, "http://localhost/hidden\n", 24);
    assert_int_equal(load(text, &all, NULL), 0);
    assert_string_equal(tl_destinations_find(all, "a")->host_port, "localhost:80");
    tl_destinations_free(all);
}

static void every_problem_at_once(void **state)
{
    (void)state;
    struct tl_destinations *all;
    struct tl_diag d = {0};
    char text[4000];
    write_file(secret, "two\nlines", 9);
    snprintf(text, sizeof(text),
             "{\"a b\":{\"url\":\"http://h/\",\"honours_idempotency_key\":true},"
             "\"u\":{\"url\":\"ftp://h/\",\"honours_idempotency_key\":true},"
             "\"pw\":{\"url\":\"http://me:hunter2@h/\",\"honours_idempotency_key\":true},"
             "\"none\":{\"timeout_sec\":0.01,\"retries\":3},"
             "\"list\":[],"
             "\"h\":{\"url\":\"http://h/"
             "\",\"honours_idempotency_key\":\"yes\",\"headers\":{\"idempotency-key\":\"x\",\"Bad Name\":\"x\","
             "\"X-A\":\"hunter2\\r\\nX-B: "
             "1\",\"X-F\":{\"file\":\"%s\"},\"X-G\":{\"file\":\"%s.absent\"},\"X-N\":7,\"X-O\":{\"env\":\"x\"}}}}",
             secret, secret);
    assert_int_equal(load(text, &all, &d), TL_EINVAL);
    assert_null(all);
    assert_true(says(&d, "$.a b", "a destination's name"));
    assert_true(says(&d, "$.u.url", "http or https"));
    assert_true(says(&d, "$.pw.url", "without user name"));
    assert_true(says(&d, "$.none.url", "must be a text"));
    assert_true(says(&d, "$.none", "timeout_sec must be"));
    assert_true(says(&d, "$.none", "honours_idempotency_key must be"));
    assert_true(says(&d, "$.none.retries", "unknown field"));
    assert_true(says(&d, "$.list", "is an object"));
    assert_true(says(&d, "$.h", "honours_idempotency_key must be"));
    assert_true(says(&d, "$.h.headers.idempotency-key", "set by talos"));
    assert_true(says(&d, "$.h.headers.Bad Name", "no name of a header"));
    assert_true(says(&d, "$.h.headers.X-A", "printable"));
    assert_true(says(&d, "$.h.headers.X-F", "does not hold one line"));
    assert_true(says(&d, "$.h.headers.X-G", "cannot be read"));
    assert_true(says(&d, "$.h.headers.X-N", "must be a text"));
    assert_true(says(&d, "$.h.headers.X-O.env", "unknown field"));
    for (size_t i = 0; i < d.count; i++)
        assert_null(strstr(d.items[i].message, "hunter2"));
    tl_diag_clear(&d);
}

static void files_that_are_none(void **state)
{
    (void)state;
    struct tl_destinations *all;
    struct tl_diag d = {0};
    assert_int_equal(load("[]", &all, &d), TL_EINVAL);
    assert_int_equal(load("{\"a\":", &all, &d), TL_EINVAL);
    assert_int_equal(load("{\"a\":{},\"a\":{}}", &all, &d), TL_EINVAL);
    assert_int_equal(tl_destinations_load("/nonexistent/x", &all, &d), TL_EINVAL);
    assert_int_equal(tl_destinations_load(dir, &all, &d), TL_EINVAL);
    struct tl_str many = {0};
    tl_str_puts(&many, "{");
    for (int i = 0; i <= TL_DESTINATIONS_MAX; i++)
        tl_str_printf(&many, "%s\"d%d\":{\"url\":\"http://h/\",\"honours_idempotency_key\":true}", i ? "," : "", i);
    tl_str_puts(&many, "}");
    assert_int_equal(load(many.data, &all, &d), TL_EINVAL);
    tl_str_clear(&many);
    tl_diag_clear(&d);
    unsetenv("TALOS_DESTINATIONS");
    assert_int_equal(tl_destinations_env(&all, NULL), 0);
    assert_null(all);
    setenv("TALOS_DESTINATIONS", "/nonexistent/x", 1);
    assert_int_equal(tl_destinations_env(&all, NULL), TL_EINVAL);
}

static void secrets(void **state)
{
    (void)state;
    static char longest[TL_SECRET_MAX + 3];
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {{"", 0}, {"  \n", 3}, {"a\0b", 3}, {"a\nb", 3}, {"\xc3\xa9", 2}, {longest, TL_SECRET_MAX + 1}};
    char *s;
    memset(longest, 'x', sizeof(longest) - 1);
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++) {
        write_file(secret, bad[i].text, bad[i].len);
        assert_int_equal(tl_secret_read(secret, &s), TL_EINVAL);
        assert_null(s);
    }
    write_file(secret, longest, TL_SECRET_MAX);
    assert_int_equal(tl_secret_read(secret, &s), 0);
    assert_int_equal(strlen(s), TL_SECRET_MAX);
    tl_secret_free(s);
    assert_int_equal(tl_secret_read(dir, &s), TL_EINVAL);
}

static int plan(const char *graph, int nesting, struct tl_destinations *all, struct tl_diag *diag)
{
    struct tl_services services = {.destinations = all};
    struct tl_cap_env scope = {.services = &services, .org = "o", .nesting = nesting};
    const struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &scope, .allow_private = nesting > 0};
    TL_AUTO_JSON json_t *j = NULL;
    struct tl_plan *made;
    assert_int_equal(tl_json_parse(graph, strlen(graph), &j, NULL), 0);
    int err = tl_plan_json(j, &env, NULL, 0, &made, diag);
    tl_plan_unref(made);
    return err;
}

/* http.post knows its destination when the graph is checked, and stands in public graphs only: whoever could be asked how a request ended does not see inside. */
static void where_http_post_may_stand(void **state)
{
    (void)state;
    static const char graph[] =
        "{\"nodes\":[{\"id\":\"p\",\"type\":\"http.post\",\"data\":{\"params\":{\"destination\":\"a\"},\"inputs\":{"
        "\"body\":1}}}],\"edges\":[]}";
    struct tl_destinations *all;
    struct tl_diag d = {0};
    assert_int_equal(load("{\"a\":{\"url\":\"http://h/\",\"honours_idempotency_key\":true}}", &all, NULL), 0);
    assert_int_equal(plan(graph, 0, all, NULL), 0);
    assert_int_equal(plan(graph, 0, NULL, &d), TL_EINVAL);
    assert_true(says(&d, "$.nodes[0].data.params.destination", "there is no destination \"a\""));
    tl_diag_clear(&d);
    d = (struct tl_diag){0};
    assert_int_equal(plan(graph, 1, all, &d), TL_EINVAL);
    assert_true(says(&d, "$.nodes[0].data", "public graph only"));
    tl_diag_clear(&d);
    tl_destinations_free(all);
}

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/talos-destinations-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(conf, sizeof(conf), "%s/conf.json", dir);
    snprintf(secret, sizeof(secret), "%s/secret", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(conf);
    unlink(secret);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_in_the_file),   cmocka_unit_test(every_problem_at_once),
        cmocka_unit_test(files_that_are_none),       cmocka_unit_test(secrets),
        cmocka_unit_test(where_http_post_may_stand),
    };
    return cmocka_run_group_tests_name("destinations", tests, setup, teardown);
}

/* Frames and job envelopes: whole, in pieces, with descriptors, malformed and too large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "wire/job.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];

static int setup(void **state)
{
    (void)state;
    return tl_hash_init() < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0;
}

static int teardown(void **state)
{
    (void)state;
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void send_numbered(int n, const int *fds, size_t nfds)
{
    TL_AUTO_JSON json_t *j = json_pack("{s:i}", "n", n);
    assert_int_equal(tl_frame_send(pair[0], j, fds, nfds, 1000), 0);
}

static void frames_in_order(void **state)
{
    (void)state;
    struct tl_frame_reader r = {0};
    struct tl_frame f;
    assert_int_equal(tl_frame_fill(&r, pair[1]), TL_EAGAIN);
    for (int i = 0; i < 5; i++)
        send_numbered(i, NULL, 0);
    assert_int_equal(tl_frame_fill(&r, pair[1]), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tl_frame_next(&r, &f), 0);
        assert_int_equal(tl_json_int(f.json, "n", -1), i);
        tl_frame_clear(&f);
    }
    assert_int_equal(tl_frame_next(&r, &f), TL_EAGAIN);
    close(pair[0]);
    pair[0] = -1;
    assert_int_equal(tl_frame_fill(&r, pair[1]), TL_EIO);
    tl_frame_reader_clear(&r);
}

static void descriptors_stay_with_their_frame(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    send_numbered(0, NULL, 0);
    send_numbered(1, p, 2);
    send_numbered(2, NULL, 0);
    send_numbered(3, &p[1], 1);
    struct tl_frame_reader r = {0};
    static const size_t want[] = {0, 2, 0, 1};
    while (tl_frame_fill(&r, pair[1]) == 0) {
    }
    for (int i = 0; i < 4; i++) {
        struct tl_frame f;
        assert_int_equal(tl_frame_next(&r, &f), 0);
        assert_int_equal(tl_json_int(f.json, "n", -1), i);
        assert_int_equal(f.nfds, want[i]);
        if (i == 1) {
            char c = 0;
            assert_int_equal(write(f.fds[1], "x", 1), 1);
            assert_int_equal(read(p[0], &c, 1), 1);
            assert_int_equal(c, 'x');
        }
        tl_frame_clear(&f);
    }
    close(p[0]);
    close(p[1]);
    tl_frame_reader_clear(&r);
}

static void byte_by_byte(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {7, 0, 0, 0, '{', '"', 'a', '"', ':', '1', '}'};
    struct tl_frame_reader r = {0};
    struct tl_frame f;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        assert_int_equal(tl_frame_next(&r, &f), TL_EAGAIN);
        assert_int_equal(write(pair[0], bytes + i, 1), 1);
        assert_int_equal(tl_frame_fill(&r, pair[1]), 0);
    }
    assert_int_equal(tl_frame_next(&r, &f), 0);
    assert_int_equal(tl_json_int(f.json, "a", 0), 1);
    tl_frame_clear(&f);
    tl_frame_reader_clear(&r);
}

static void malformed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"\xff\xff\xff\xff", 4}, {"\x02\x00\x00\x00[]", 6}, {"\x01\x00\x00\x00{", 5}, {"\x00\x00\x00\x00", 4}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tl_frame_reader r = {0};
        struct tl_frame f;
        assert_int_equal(write(pair[0], bad[i].bytes, bad[i].len), (ssize_t)bad[i].len);
        assert_int_equal(tl_frame_fill(&r, pair[1]), 0);
        assert_int_equal(tl_frame_next(&r, &f), TL_EINVAL);
        assert_null(f.json);
        tl_frame_reader_clear(&r);
    }
}

static void a_full_socket_times_out(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *j = json_object();
    char *big = malloc(4000001);
    assert_non_null(big);
    memset(big, 'a', 4000000);
    big[4000000] = '\0';
    json_object_set_new(j, "big", json_string(big));
    free(big);
    assert_int_equal(tl_frame_send(pair[0], j, NULL, 0, 20), TL_ETIMEOUT);
}

static void envelope_has_all_fields(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *e =
        tl_job_envelope("j", "media.probe", "o", NULL, "n1", 2, NULL, json_pack("{s:{}}", "params"));
    static const char *const keys[] = {"job_id",      "job_type",        "trace_id", "org_id",  "project_id",
                                       "run_id",      "step_id",         "step_key", "attempt", "inputs",
                                       "enqueued_at", "policy_snapshot", "dedupe"};
    assert_int_equal(json_object_size(e), sizeof(keys) / sizeof(keys[0]));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_non_null(json_object_get(e, keys[i]));
    assert_true(json_is_null(json_object_get(e, "run_id")));
    assert_false(tl_json_bool(json_object_get(e, "policy_snapshot"), "allow_external_web", true));
    assert_int_equal(tl_json_int(e, "attempt", 0), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_stay_with_their_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_socket_times_out, setup, teardown),
        cmocka_unit_test(envelope_has_all_fields),
    };
    return cmocka_run_group_tests_name("wire/job", tests, NULL, NULL);
}

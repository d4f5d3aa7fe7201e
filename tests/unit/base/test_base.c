/* Errors, ids, hashes, memory, strings, UTF-8, diagnostics, time, log. */
#include "base/clock.h"
#include "base/diag.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void errors(void **state)
{
    (void)state;
    static const int all[] = {
#define X(sym, num, code, http, text) sym,
        TL_ERR_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(all); i++) {
        assert_in_range(-all[i], 1, 99);
        assert_in_range(tl_err_http(all[i]), 400, 599);
        assert_true(strspn(tl_err_code(all[i]), "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strlen(tl_err_code(all[i])));
        assert_true(strlen(tl_err_text(all[i])) > 5);
        /* a code leads back to an error of the same code and, where codes are not shared, to the same */
        assert_string_equal(tl_err_code(tl_err_from_code(tl_err_code(all[i]))), tl_err_code(all[i]));
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(all[i], all[k]);
    }
    static const int unknown[] = {1, 7, -98, -1000, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < TL_ARRAY_LEN(unknown); i++) {
        assert_string_equal(tl_err_code(unknown[i]), "INTERNAL");
        assert_int_equal(tl_err_http(unknown[i]), 500);
    }
    assert_int_equal(tl_err_http(0), 200);
    assert_string_equal(tl_err_code(TL_EINVAL), "VALIDATION_ERROR");
    assert_int_equal(tl_err_from_code("VALIDATION_ERROR"), TL_EINVAL);
    assert_int_equal(tl_err_from_code("no such"), TL_EINTERNAL);
    assert_int_equal(tl_err_from_code(NULL), TL_EINTERNAL);
    assert_int_equal(tl_err_from_errno(0), 0);
    assert_int_equal(tl_err_from_errno(ENOMEM), TL_ENOMEM);
    assert_int_equal(tl_err_from_errno(ENOSPC), TL_EFULL);
    assert_int_equal(tl_err_from_errno(EDQUOT), TL_EFULL);
    assert_int_equal(tl_err_from_errno(EFBIG), TL_EFULL);
    assert_int_equal(tl_err_from_errno(ENOENT), TL_ENOTFOUND);
    assert_int_equal(tl_err_from_errno(EIO), TL_EIO);
    assert_int_equal(tl_err_from_errno(12345), TL_EIO);
}

static void ids(void **state)
{
    (void)state;
    struct tl_id id, back, last = {{0}};
    char text[TL_ID_TEXT];
    int64_t before = tl_now_ms();
    for (int i = 0; i < 1000; i++) {
        id = tl_id_new();
        tl_id_text(&id, text);
        assert_int_equal(strlen(text), 36);
        assert_int_equal(text[14], '7');
        assert_true(strchr("89ab", text[19]) != NULL);
        assert_true(tl_id_parse(text, &back));
        assert_true(tl_id_equal(&id, &back));
        assert_false(tl_id_equal(&id, &last));
        assert_true(memcmp(id.b, last.b, 6) >= 0); /* sorted by time, to the millisecond */
        last = id;
    }
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.b[i];
    assert_in_range(ms, before, tl_now_ms());
    assert_true(tl_id_parse("00112233-4455-6677-8899-aabbccddeeff", &id));
    assert_memory_equal(id.b, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    static const char *const bad[] = {"", "x", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeefff",
                                      "00112233-4455-6677-8899-AABBCCDDEEFF", "00112233445566778899aabbccddeeff0000",
                                      "00112233-4455-6677-8899_aabbccddeeff", "0011223-34455-6677-8899-aabbccddeeff",
                                      "g0112233-4455-6677-8899-aabbccddeeff", "{0112233-4455-6677-8899-aabbccddeef}",
                                      "00112233-4455-6677-8899-aabbccdd\nef", " 0112233-4455-6677-8899-aabbccddeeff", NULL};
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++)
        if (tl_id_parse(bad[i], &id))
            fail_msg("%s is no id", bad[i]);
}

static void sha256_is(const char *text, size_t times, const char *want)
{
    uint8_t raw[TL_SHA256_LEN];
    char hex[TL_SHA256_HEX];
    struct tl_sha256 *h = tl_sha256_new();
    assert_non_null(h);
    for (size_t i = 0; i < times; i++)
        tl_sha256_update(h, text, strlen(text));
    tl_sha256_final(h, raw);
    tl_sha256_free(h);
    tl_hex(raw, sizeof(raw), hex);
    assert_string_equal(hex, want);
    if (times == 1) {
        tl_sha256_once(text, strlen(text), raw);
        tl_hex(raw, sizeof(raw), hex);
        assert_string_equal(hex, want);
    }
}

static void blake2b_is(const void *bytes, size_t len, const uint8_t *key, const char *want)
{
    struct tl_blake2b h;
    uint8_t raw[TL_BLAKE2B_LEN];
    char hex[2 * TL_BLAKE2B_LEN + 1];
    tl_blake2b_init(&h, key);
    for (size_t i = 0; i < len; i++) /* byte by byte: where it is cut makes no difference */
        tl_blake2b_update(&h, (const char *)bytes + i, 1);
    tl_blake2b_final(&h, raw);
    tl_hex(raw, sizeof(raw), hex);
    assert_string_equal(hex, want);
}

static void hashes(void **state)
{
    (void)state;
    assert_int_equal(tl_hash_init(), 0); /* a second time */
    /* FIPS 180-4 and NIST's long message */
    sha256_is("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_is("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sha256_is("aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    /* RFC 7693 with 32 bytes of output, made with another implementation (Python's hashlib) */
    uint8_t key[TL_KEY_LEN];
    for (uint8_t i = 0; i < TL_KEY_LEN; i++)
        key[i] = i;
    blake2b_is("", 0, NULL, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    blake2b_is("abc", 3, NULL, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    blake2b_is("abc", 3, key, "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f");
    /* fields: "ab","c" is not "a","bc", and the length is 8 bytes, least first */
    struct tl_blake2b h;
    uint8_t one[TL_BLAKE2B_LEN], two[TL_BLAKE2B_LEN];
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "ab", 2);
    tl_blake2b_field(&h, "c", 1);
    tl_blake2b_final(&h, one);
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "a", 1);
    tl_blake2b_field(&h, "bc", 2);
    tl_blake2b_final(&h, two);
    assert_memory_not_equal(one, two, sizeof(one));
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, "\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c", 19);
    tl_blake2b_final(&h, two);
    assert_memory_equal(one, two, sizeof(one));
}

static void texts_of_bytes(void **state)
{
    (void)state;
    char text[64];
    uint8_t raw[32];
    size_t n;
    tl_hex((const uint8_t *)"\x00\xff\x1a", 3, text);
    assert_string_equal(text, "00ff1a");
    assert_true(tl_unhex("00fF1A", raw, 3));
    assert_memory_equal(raw, "\x00\xff\x1a", 3);
    static const char *const bad[] = {"", "00ff1", "00ff1a2", "00ff1a00", "00ff1g", "00 f1a", "0x0f1a"};
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++)
        assert_false(tl_unhex(bad[i], raw, 3));
    assert_true(tl_unhex("", raw, 0));
    /* RFC 4648 §10, in the URL's alphabet and without padding */
    static const char *const pairs[][2] = {{"", ""},         {"f", "Zg"},         {"fo", "Zm8"},          {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}};
    for (size_t i = 0; i < TL_ARRAY_LEN(pairs); i++) {
        tl_base64url((const uint8_t *)pairs[i][0], strlen(pairs[i][0]), text);
        assert_string_equal(text, pairs[i][1]);
        assert_true(tl_unbase64url(text, raw, sizeof(raw), &n));
        assert_int_equal(n, strlen(pairs[i][0]));
        assert_memory_equal(raw, pairs[i][0], n);
    }
    static const char *const bad64[] = {"Zg==", "Z", "Zh", "Zm9", "Zm9v!", "+__+", "Zm 9v", "Zm9v\n", "Zg="};
    for (size_t i = 0; i < TL_ARRAY_LEN(bad64); i++)
        if (tl_unbase64url(bad64[i], raw, sizeof(raw), &n))
            fail_msg("%s was taken", bad64[i]);
    assert_false(tl_unbase64url("Zm9vYmFy", raw, 5, &n)); /* no room */
    assert_true(tl_equal_const_time("abc", "abd", 2));
    assert_false(tl_equal_const_time("abc", "abd", 3));
    memset(raw, 7, sizeof(raw));
    tl_wipe(raw, 31);
    assert_true(raw[0] == 0 && raw[30] == 0 && raw[31] == 7);
    uint8_t a[16], b[16];
    tl_random(a, 16);
    tl_random(b, 16);
    assert_memory_not_equal(a, b, 16);
}

static void memory(void **state)
{
    (void)state;
    char *list = NULL;
    size_t cap = 0;
    assert_int_equal(tl_grow(&list, &cap, 1, 3), 0);
    assert_int_equal(cap, 8);
    assert_int_equal(tl_grow(&list, &cap, 9, 3), 0);
    assert_int_equal(cap, 16);
    char *same = list;
    assert_int_equal(tl_grow(&list, &cap, 16, 3), 0);
    assert_ptr_equal(list, same);
    assert_int_equal(tl_grow(&list, &cap, SIZE_MAX, 3), TL_ENOMEM);
    assert_int_equal(tl_grow(&list, &cap, SIZE_MAX / 2, 3), TL_ENOMEM);
    assert_int_equal(cap, 16);
    assert_ptr_equal(list, same);
    free(list);
    void *p = tl_calloc(0, 0);
    assert_non_null(p);
    free(p);
    assert_null(tl_calloc(SIZE_MAX, 2));
    assert_null(tl_strdup(NULL));
    TL_AUTO_FREE char *cut = tl_strndup("abcdef", 3);
    assert_string_equal(cut, "abc");
    TL_AUTO_FREE char *none = tl_strndup(NULL, 0);
    assert_string_equal(none, "");
    assert_null(tl_strndup("x", SIZE_MAX));
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    {
        TL_AUTO_FD int fd = fds[1];
        assert_true(fd >= 0);
    }
    char c;
    assert_int_equal(read(fds[0], &c, 1), 0); /* the writing end was closed */
    tl_close_fd(&fds[0]);
    tl_close_fd(&fds[0]);
    assert_int_equal(fds[0], -1);
}

static void arena(void **state)
{
    (void)state;
    struct tl_arena a = {0};
    char *last = NULL;
    for (size_t size = 0; size < 3000; size += 7) {
        char *p = tl_arena_alloc(&a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xaa, size);
        assert_ptr_not_equal(p, last);
        last = size ? p : NULL;
    }
    char *big = tl_arena_alloc(&a, 1 << 20);
    assert_non_null(big);
    memset(big, 1, 1 << 20);
    assert_string_equal(tl_arena_strdup(&a, "text"), "text");
    assert_string_equal(tl_arena_strndup(&a, "text", 2), "te");
    assert_string_equal(tl_arena_strndup(&a, NULL, 0), "");
    assert_null(tl_arena_strdup(&a, NULL));
    assert_null(tl_arena_alloc(&a, SIZE_MAX));
    assert_null(tl_arena_alloc(&a, SIZE_MAX - 20));
    assert_null(tl_arena_strndup(&a, "x", SIZE_MAX));
    assert_true(a.total >= 1 << 20);
    tl_arena_clear(&a);
    assert_int_equal(a.total, 0);
    assert_null(a.head);
    tl_arena_clear(&a);
    tl_arena_clear(NULL);
}

static void strings(void **state)
{
    (void)state;
    struct tl_str s = {0};
    tl_str_add(&s, "a\0b", 3);
    tl_str_puts(&s, "c");
    tl_str_printf(&s, "%d%s", 42, "");
    assert_int_equal(s.len, 6);
    assert_memory_equal(s.data, "a\0bc42", 7);
    char long_text[1000];
    memset(long_text, 'x', sizeof(long_text));
    long_text[999] = '\0';
    for (int len = 250; len < 260; len++) { /* around the size that is printed without asking twice */
        struct tl_str t = {0};
        tl_str_puts(&t, "-");
        tl_str_printf(&t, "%.*s", len, long_text);
        assert_int_equal(t.len, (size_t)len + 1);
        assert_int_equal(strlen(t.data), t.len);
        tl_str_clear(&t);
    }
    tl_str_printf(&s, "%s", long_text);
    assert_int_equal(s.len, 6 + 999);
    char *all = tl_str_take(&s);
    assert_int_equal(strlen(all + 3), 1002);
    free(all);
    assert_true(s.data == NULL && s.len == 0 && s.cap == 0);
    char *empty = tl_str_take(&s);
    assert_string_equal(empty, "");
    free(empty);
    tl_str_puts(&s, "kept");
    tl_str_add(&s, "x", SIZE_MAX); /* the error stays */
    assert_int_equal(s.err, TL_ENOMEM);
    tl_str_puts(&s, "more");
    tl_str_printf(&s, "%s", long_text);
    assert_int_equal(s.len, 4);
    assert_null(tl_str_take(&s));
    assert_int_equal(s.err, 0);
    tl_str_clear(&s);
    tl_str_clear(NULL);
}

/* Every string of up to 4 bytes out of the interesting ones, against a decoder written another way. */
static bool utf8_model(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t c = s[i];
        size_t n = c < 0x80 ? 1 : (c >> 5) == 6 ? 2 : (c >> 4) == 14 ? 3 : (c >> 3) == 30 ? 4 : 0;
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (!n || i + n > len)
            return false;
        c &= n == 1 ? 0x7f : 0xffu >> (n + 1);
        for (size_t k = 1; k < n; k++) {
            if ((s[i + k] & 0xc0) != 0x80)
                return false;
            c = c << 6 | (s[i + k] & 0x3f);
        }
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

static void utf8(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
                                    0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xfe, 0xff};
    const size_t n = sizeof(bytes);
    uint8_t s[4];
    for (size_t len = 0, count = 1; len <= 4; len++, count *= n)
        for (size_t i = 0; i < count; i++) {
            size_t rest = i;
            for (size_t k = 0; k < len; k++, rest /= n)
                s[k] = bytes[rest % n];
            if (tl_utf8_valid((const char *)s, len) != utf8_model(s, len))
                fail_msg("%zu bytes: %02x %02x %02x %02x", len, s[0], s[1], s[2], s[3]);
        }
    assert_true(tl_utf8_valid("봉준호 \xf0\x9f\x8e\xac", strlen("봉준호 \xf0\x9f\x8e\xac")));
    assert_true(tl_utf8_valid(NULL, 0));
}

static void diags(void **state)
{
    (void)state;
    struct tl_diag d = {0};
    assert_false(tl_diag_any(&d));
    assert_false(tl_diag_any(NULL));
    assert_int_equal(tl_diag_add(NULL, "n", "p", "$", "x"), TL_EINVAL);
    char node[] = "n1";
    assert_int_equal(tl_diag_add(&d, node, "p", "$.a", "%s must be %d", "x", 7), TL_EINVAL);
    node[0] = 'X'; /* it was copied */
    assert_true(tl_diag_any(&d));
    tl_diag_add(&d, NULL, NULL, NULL, "plain");
    TL_AUTO_JSON json_t *j = tl_diag_json(&d);
    TL_AUTO_FREE char *text = tl_json_canonical(j);
    assert_string_equal(text, "{\"problems\":[{\"message\":\"x must be 7\",\"node\":\"n1\",\"path\":\"$.a\",\"port\":\"p\"},"
                              "{\"message\":\"plain\"}]}");
    for (int i = 0; i < TL_DIAG_MAX + 50; i++)
        tl_diag_add(&d, "n", NULL, NULL, "%d", i);
    assert_int_equal(d.count, TL_DIAG_MAX);
    assert_int_equal(d.dropped, 52);
    TL_AUTO_JSON json_t *many = tl_diag_json(&d);
    assert_int_equal(json_array_size(json_object_get(many, "problems")), TL_DIAG_MAX);
    assert_int_equal(tl_json_int(many, "omitted", 0), 52);
    tl_diag_clear(&d);
    assert_false(tl_diag_any(&d));
    TL_AUTO_JSON json_t *none = tl_diag_json(NULL);
    assert_int_equal(json_array_size(json_object_get(none, "problems")), 0);
    tl_diag_clear(NULL);
}

static void times(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1768998896789, "2026-01-21T12:34:56.789Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    char text[TL_TIME_TEXT];
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        tl_time_text(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
    int64_t a = tl_mono_us(), b = tl_mono_us();
    assert_true(b >= a && tl_now_ms() > 1700000000000);
}

static void *log_lines(void *arg)
{
    for (int i = 0; i < 100; i++)
        tl_log(TL_LOG_INFO, "test.line", "%s %d \"quoted\" \xec\x98\x81\n", (const char *)arg, i);
    return NULL;
}

static void logs(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    int old = dup(STDERR_FILENO);
    assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
    pthread_t t[2];
    pthread_create(&t[0], NULL, log_lines, "one");
    pthread_create(&t[1], NULL, log_lines, "two");
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    tl_log(TL_LOG_DEBUG, "test.hidden", "not shown");
    tl_log(TL_LOG_ERROR, "test.bytes", "\xff");
    dup2(old, STDERR_FILENO);
    close(old);
    char line[512];
    int count = 0, bytes = 0;
    rewind(f);
    while (fgets(line, sizeof(line), f)) {
        TL_AUTO_JSON json_t *j = NULL;
        assert_int_equal(tl_json_parse(line, strlen(line), &j, NULL), 0); /* each line is whole */
        bytes += strcmp(tl_json_str(j, "event"), "test.bytes") == 0;
        count++;
        assert_non_null(tl_json_str(j, "message"));
    }
    fclose(f);
    assert_int_equal(count, 201);
    assert_int_equal(bytes, 1);
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),  cmocka_unit_test(ids),  cmocka_unit_test(hashes), cmocka_unit_test(texts_of_bytes),
        cmocka_unit_test(memory),  cmocka_unit_test(arena), cmocka_unit_test(strings), cmocka_unit_test(utf8),
        cmocka_unit_test(diags),   cmocka_unit_test(times), cmocka_unit_test(logs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

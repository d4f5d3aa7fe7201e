/* Access tokens: what is issued is accepted, and nothing else is. */
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static uint8_t pub[32], secret[64];
static const struct tl_claims who = {.sub = "someone", .org = "acme", .role = TL_ROLE_AUTHOR};

static int verify(const char *token, int64_t now, struct tl_claims *ret)
{
    return tl_token_verify(pub, token, strlen(token), now, ret);
}

static int64_t now_s(void)
{
    return tl_now_ms() / 1000;
}

/* Signs any header and payload with the issuer's key: what a confused issuer might have made. */
static char *forge(const char *head, const char *body)
{
    struct tl_str s = {0};
    char text[4096];
    tl_base64url((const uint8_t *)head, strlen(head), text);
    tl_str_puts(&s, text);
    tl_base64url((const uint8_t *)body, strlen(body), text);
    tl_str_printf(&s, ".%s", text);
    uint8_t sig[64];
    crypto_sign_detached(sig, NULL, (const uint8_t *)s.data, s.len, secret);
    tl_base64url(sig, sizeof(sig), text);
    tl_str_printf(&s, ".%s", text);
    return tl_str_take(&s);
}

static void issued_is_accepted(void **state)
{
    (void)state;
    TL_AUTO_FREE char *token = tl_token_issue(secret, pub, &who, 60);
    struct tl_claims got;
    assert_non_null(token);
    assert_int_equal(verify(token, now_s(), &got), 0);
    assert_string_equal(got.sub, "someone");
    assert_string_equal(got.org, "acme");
    assert_int_equal(got.role, TL_ROLE_AUTHOR);
    assert_true(got.exp > now_s() + 55 && got.exp <= now_s() + 60);
    assert_int_equal(verify(token, got.exp - 1, &got), 0);
    assert_int_equal(verify(token, got.exp, &got), TL_EAUTH);
    assert_int_equal(verify(token, now_s() - 25, &got), 0);
    assert_int_equal(verify(token, now_s() - 120, &got), TL_EAUTH);
}

static void what_cannot_be_issued(void **state)
{
    (void)state;
    struct tl_claims c = who;
    assert_null(tl_token_issue(secret, pub, &c, 0));
    assert_null(tl_token_issue(secret, pub, &c, -1));
    assert_null(tl_token_issue(secret, pub, &c, (int64_t)TL_TOKEN_TTL_MAX + 1));
    c.role = TL_ROLE_NONE;
    assert_null(tl_token_issue(secret, pub, &c, 60));
    const char *const bad[] = {"", "a b", "a\n", "\xff", "a\x7f"};
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++) {
        c = who;
        strcpy(c.org, bad[i]);
        assert_null(tl_token_issue(secret, pub, &c, 60));
        assert_false(tl_token_name_ok(bad[i]));
    }
    assert_true(tl_token_name_ok("조직-1"));
}

static void every_changed_byte_is_refused(void **state)
{
    (void)state;
    TL_AUTO_FREE char *token = tl_token_issue(secret, pub, &who, 60);
    struct tl_claims got;
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            token[i] ^= (char)(1 << bit);
            assert_int_equal(tl_token_verify(pub, token, len, now_s(), &got), TL_EAUTH);
            token[i] ^= (char)(1 << bit);
        }
    for (size_t n = 0; n < len; n++)
        assert_int_equal(tl_token_verify(pub, token, n, now_s(), &got), TL_EAUTH);
    uint8_t other[32], other_secret[64];
    crypto_sign_keypair(other, other_secret);
    assert_int_equal(tl_token_verify(other, token, len, now_s(), &got), TL_EAUTH);
}

/* Rightly signed, wrongly said. */
static void what_a_token_must_say(void **state)
{
    (void)state;
    char kid[TL_TOKEN_KID], head[256], body[512];
    tl_token_kid(pub, kid);
    snprintf(head, sizeof(head), "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", kid);
    struct tl_claims got;
    const char *const claims = "\"iss\":\"%s\",\"aud\":%s,\"sub\":\"s\",\"org\":\"o\",\"role\":\"%s\",\"nbf\":1,\"exp\":%s";
    const struct {
        const char *iss, *aud, *role, *exp;
        int err;
    } rows[] = {
        {"talos", "\"talos\"", "viewer", "2000", 0},      {"other", "\"talos\"", "viewer", "2000", TL_EAUTH},
        {"talos", "\"other\"", "viewer", "2000", TL_EAUTH}, {"talos", "[\"talos\"]", "viewer", "2000", TL_EAUTH},
        {"talos", "\"talos\"", "king", "2000", TL_EAUTH},   {"talos", "\"talos\"", "none", "2000", TL_EAUTH},
        {"talos", "\"talos\"", "viewer", "\"2000\"", TL_EAUTH}, {"talos", "\"talos\"", "viewer", "2000.5", TL_EAUTH},
        {"talos", "\"talos\"", "viewer", "999", TL_EAUTH},
    };
    for (size_t i = 0; i < TL_ARRAY_LEN(rows); i++) {
        char inner[400];
        snprintf(inner, sizeof(inner), claims, rows[i].iss, rows[i].aud, rows[i].role, rows[i].exp);
        snprintf(body, sizeof(body), "{%s}", inner);
        TL_AUTO_FREE char *token = forge(head, body);
        assert_int_equal(verify(token, 1000, &got), rows[i].err);
    }
    const char *const good = "{\"iss\":\"talos\",\"aud\":\"talos\",\"sub\":\"s\",\"org\":\"o\",\"role\":\"viewer\",\"nbf\":1,\"exp\":2000}";
    const char *const bodies[] = {
        "{\"iss\":\"talos\",\"aud\":\"talos\",\"sub\":\"s\",\"org\":\"o\",\"role\":\"viewer\",\"exp\":2000}",
        "{\"iss\":\"talos\",\"aud\":\"talos\",\"sub\":\"s\",\"org\":\"o\",\"role\":\"viewer\",\"nbf\":1500,\"exp\":2000}",
        "{\"iss\":\"talos\",\"aud\":\"talos\",\"org\":\"o\",\"role\":\"viewer\",\"nbf\":1,\"exp\":2000}",
        "{\"iss\":\"talos\",\"aud\":\"talos\",\"sub\":\"s\",\"org\":\"o\",\"org\":\"p\",\"role\":\"viewer\",\"nbf\":1,\"exp\":2000}",
        "[]", "null", "{", ""};
    for (size_t i = 0; i < TL_ARRAY_LEN(bodies); i++) {
        TL_AUTO_FREE char *token = forge(head, bodies[i]);
        assert_int_equal(verify(token, 1000, &got), TL_EAUTH);
    }
    const char *const heads[] = {"{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"jwk\":{}}", "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"jku\":\"http://x\"}",
                                 "{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"crit\":[]}", "{\"alg\":\"none\",\"kid\":\"%s\"}",
                                 "{\"alg\":\"HS256\",\"kid\":\"%s\"}", "{\"alg\":\"RS256\",\"kid\":\"%s\"}", "{\"alg\":\"EdDSA\"}",
                                 "{\"alg\":\"EdDSA\",\"kid\":\"00000000\"}", "{\"alg\":\"eddsa\",\"kid\":\"%s\"}", "{}"};
    for (size_t i = 0; i < TL_ARRAY_LEN(heads); i++) {
        char odd[256];
        const char *at = strstr(heads[i], "%s");
        snprintf(odd, sizeof(odd), "%.*s%s%s", at ? (int)(at - heads[i]) : (int)strlen(heads[i]), heads[i], at ? kid : "", at ? at + 2 : "");
        TL_AUTO_FREE char *token = forge(odd, good);
        assert_int_equal(verify(token, 1000, &got), TL_EAUTH);
    }
}

static void roles_have_an_order(void **state)
{
    (void)state;
    assert_true(TL_ROLE_VIEWER < TL_ROLE_MEMBER && TL_ROLE_MEMBER < TL_ROLE_AUTHOR && TL_ROLE_AUTHOR < TL_ROLE_ADMIN);
    for (int r = TL_ROLE_VIEWER; r <= TL_ROLE_ADMIN; r++)
        assert_int_equal(tl_role_parse(tl_role_name((enum tl_role)r)), r);
    assert_int_equal(tl_role_parse("none"), TL_ROLE_NONE);
    assert_int_equal(tl_role_parse(NULL), TL_ROLE_NONE);
    assert_string_equal(tl_role_name((enum tl_role)99), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issued_is_accepted),          cmocka_unit_test(what_cannot_be_issued), cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(what_a_token_must_say), cmocka_unit_test(roles_have_an_order),
    };
    if (tl_hash_init() < 0)
        return 1;
    crypto_sign_keypair(pub, secret);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

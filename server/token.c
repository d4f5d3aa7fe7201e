#include "server/token.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <sodium.h>
#include <string.h>

enum { SIG_LEN = crypto_sign_BYTES };

static const char *const role_names[] = {"none", "viewer", "member", "author", "admin"};

const char *tl_role_name(enum tl_role role)
{
    return (unsigned)role < TL_ARRAY_LEN(role_names) ? role_names[role] : role_names[0];
}

enum tl_role tl_role_parse(const char *name)
{
    for (size_t i = 1; name && i < TL_ARRAY_LEN(role_names); i++)
        if (strcmp(role_names[i], name) == 0)
            return (enum tl_role)i;
    return TL_ROLE_NONE;
}

int tl_token_name_ok(const char *name)
{
    size_t len = name ? strnlen(name, TL_TOKEN_NAME) : 0;
    if (len == 0 || len >= TL_TOKEN_NAME || !tl_utf8_valid(name, len))
        return 0;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] <= 0x20 || name[i] == 0x7f)
            return 0;
    return 1;
}

void tl_token_kid(const uint8_t pub[32], char ret[TL_TOKEN_KID])
{
    uint8_t hash[TL_BLAKE2B_LEN];
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-token-kid", 15);
    tl_blake2b_field(&h, pub, 32);
    tl_blake2b_final(&h, hash);
    tl_hex(hash, (TL_TOKEN_KID - 1) / 2, ret);
}

static void add_part(struct tl_str *s, const void *bytes, size_t len)
{
    TL_AUTO_FREE char *text = malloc(4 * (len + 2) / 3 + 1);
    if (!text) {
        s->err = TL_ENOMEM;
        return;
    }
    tl_base64url(bytes, len, text);
    tl_str_puts(s, text);
}

static void add_json(struct tl_str *s, const json_t *j)
{
    TL_AUTO_FREE char *text = j ? tl_json_text(j) : NULL;
    if (text)
        add_part(s, text, strlen(text));
    else
        s->err = TL_ENOMEM;
}

char *tl_token_issue(const uint8_t secret[64], const uint8_t pub[32], const struct tl_claims *claims, int64_t ttl_sec)
{
    if (ttl_sec < 1 || ttl_sec > TL_TOKEN_TTL_MAX || claims->role <= TL_ROLE_NONE || claims->role > TL_ROLE_ADMIN ||
        !tl_token_name_ok(claims->sub) || !tl_token_name_ok(claims->org))
        return NULL;
    char kid[TL_TOKEN_KID];
    tl_token_kid(pub, kid);
    int64_t now = tl_now_ms() / 1000;
    TL_AUTO_JSON json_t *head = json_pack("{s:s,s:s}", "alg", "EdDSA", "kid", kid);
    TL_AUTO_JSON json_t *body =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "iss", TL_TOKEN_ISSUER, "aud", TL_TOKEN_AUDIENCE, "sub", claims->sub, "org",
                  claims->org, "role", tl_role_name(claims->role), "nbf", (json_int_t)now, "exp", (json_int_t)(now + ttl_sec));
    struct tl_str s = {0};
    add_json(&s, head);
    tl_str_puts(&s, ".");
    add_json(&s, body);
    if (!s.err) {
        uint8_t sig[SIG_LEN];
        crypto_sign_detached(sig, NULL, (const uint8_t *)s.data, s.len, secret);
        tl_str_puts(&s, ".");
        add_part(&s, sig, sizeof(sig));
    }
    return tl_str_take(&s);
}

/* Decodes one part of the token into room, as JSON; NULL where it is none. */
static json_t *part_json(const char *text, size_t len)
{
    char part[TL_TOKEN_MAX];
    uint8_t bytes[TL_TOKEN_MAX];
    size_t n;
    json_t *j = NULL;
    if (len >= sizeof(part))
        return NULL;
    memcpy(part, text, len);
    part[len] = '\0';
    if (strlen(part) != len || !tl_unbase64url(part, bytes, sizeof(bytes), &n) ||
        tl_json_parse((const char *)bytes, n, &j, NULL) < 0)
        return NULL;
    if (!json_is_object(j)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static bool is(const json_t *obj, const char *key, const char *value)
{
    const char *s = tl_json_str(obj, key);
    return s && strcmp(s, value) == 0;
}

/* The header may say only what this server's own headers say: a key or an address in it is refused, not followed. */
static bool header_ok(const json_t *head, const uint8_t pub[32])
{
    char kid[TL_TOKEN_KID];
    tl_token_kid(pub, kid);
    return json_object_size(head) == 2 && is(head, "alg", "EdDSA") && is(head, "kid", kid);
}

static bool claims_ok(const json_t *body, int64_t now, struct tl_claims *ret)
{
    const char *sub = tl_json_str(body, "sub"), *org = tl_json_str(body, "org");
    int64_t exp = tl_json_int(body, "exp", 0);
    if (!is(body, "iss", TL_TOKEN_ISSUER) || !is(body, "aud", TL_TOKEN_AUDIENCE) || !tl_token_name_ok(sub) ||
        !tl_token_name_ok(org) || exp <= now || tl_json_int(body, "nbf", INT64_MAX) > now + TL_TOKEN_LEEWAY)
        return false;
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->sub, sub, strlen(sub));
    memcpy(ret->org, org, strlen(org));
    ret->role = tl_role_parse(tl_json_str(body, "role"));
    ret->exp = exp;
    return ret->role != TL_ROLE_NONE;
}

int tl_token_verify(const uint8_t pub[32], const char *token, size_t len, int64_t now, struct tl_claims *ret)
{
    const char *dot1 = len && len <= TL_TOKEN_MAX ? memchr(token, '.', len) : NULL;
    const char *dot2 = dot1 ? memchr(dot1 + 1, '.', len - (size_t)(dot1 + 1 - token)) : NULL;
    if (!dot2)
        return TL_EAUTH;
    size_t sig_len = len - (size_t)(dot2 + 1 - token), n;
    char sig_text[128];
    uint8_t sig[SIG_LEN];
    if (sig_len >= sizeof(sig_text))
        return TL_EAUTH;
    memcpy(sig_text, dot2 + 1, sig_len);
    sig_text[sig_len] = '\0';
    if (strlen(sig_text) != sig_len || !tl_unbase64url(sig_text, sig, sizeof(sig), &n) || n != SIG_LEN)
        return TL_EAUTH;
    TL_AUTO_JSON json_t *head = part_json(token, (size_t)(dot1 - token));
    if (!head || !header_ok(head, pub) ||
        crypto_sign_verify_detached(sig, (const uint8_t *)token, (size_t)(dot2 - token), pub) != 0)
        return TL_EAUTH;
    TL_AUTO_JSON json_t *body = part_json(dot1 + 1, (size_t)(dot2 - dot1 - 1));
    return body && claims_ok(body, now, ret) ? 0 : TL_EAUTH;
}

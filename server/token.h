/* Access tokens: JSON Web Tokens (RFC 7519) signed with EdDSA over Ed25519 (RFC 8037) by the server's own issuer key. One algorithm, one key
 * by its kid, one issuer, one audience: nothing in a token chooses how it is verified. */
#ifndef TL_SERVER_TOKEN_H
#define TL_SERVER_TOKEN_H

#include <stddef.h>
#include <stdint.h>

/* Ordered: each role may do what the ones before it may. */
enum tl_role { TL_ROLE_NONE, TL_ROLE_VIEWER, TL_ROLE_MEMBER, TL_ROLE_AUTHOR, TL_ROLE_ADMIN };

enum {
    TL_TOKEN_MAX = 4096,       /* bytes of a token */
    TL_TOKEN_NAME = 129,       /* a sub or org with its NUL */
    TL_TOKEN_TTL = 3600,       /* seconds, where nobody says otherwise */
    TL_TOKEN_TTL_MAX = 400 * 24 * 3600,
    TL_TOKEN_LEEWAY = 30,      /* seconds that nbf may lie ahead */
    TL_TOKEN_KID = 9,
};

#define TL_TOKEN_ISSUER "talos"
#define TL_TOKEN_AUDIENCE "talos"

struct tl_claims {
    char sub[TL_TOKEN_NAME], org[TL_TOKEN_NAME];
    enum tl_role role;
    int64_t exp; /* seconds since 1970; set by tl_token_verify */
};

const char *tl_role_name(enum tl_role role);       /* static; "none" for TL_ROLE_NONE */
enum tl_role tl_role_parse(const char *name);      /* TL_ROLE_NONE for an unknown one and for NULL */

/* sub or org as a token may carry it: 1 to 128 bytes of printable UTF-8. */
int tl_token_name_ok(const char *name);

/* The key's name: 8 hex digits of its hash. */
void tl_token_kid(const uint8_t pub[32], char ret[TL_TOKEN_KID]);

/* A token for sub, org and role of claims, valid from now for ttl_sec (1 to TL_TOKEN_TTL_MAX). Returned owned; NULL where claims or ttl are not
 * valid or memory is short. */
char *tl_token_issue(const uint8_t secret[64], const uint8_t pub[32], const struct tl_claims *claims, int64_t ttl_sec);

/* Verifies len bytes of a token at the time now (seconds). TL_EAUTH for whatever is wrong with it. */
int tl_token_verify(const uint8_t pub[32], const char *token, size_t len, int64_t now, struct tl_claims *ret);

#endif

#include "server/auth.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { WAYS = 4, SETS = 256 };

struct known {
    uint8_t hash[TL_BLAKE2B_LEN];
    struct tl_claims claims; /* role TL_ROLE_NONE: free */
};

struct tl_auth {
    struct tl_db *db;
    uint8_t pub[32];
    uint8_t key[TL_KEY_LEN]; /* this process's own, so that nobody can aim at a set of the table */
    unsigned turn;
    struct known known[SETS][WAYS];
};

int tl_auth_new(struct tl_db *db, const uint8_t issuer_public[32], struct tl_auth **ret)
{
    struct tl_auth *a = *ret = tl_calloc(1, sizeof(*a));
    if (!a)
        return TL_ENOMEM;
    a->db = db;
    memcpy(a->pub, issuer_public, sizeof(a->pub));
    tl_random(a->key, sizeof(a->key));
    return 0;
}

void tl_auth_free(struct tl_auth *auth)
{
    if (auth)
        tl_wipe(auth, sizeof(*auth));
    free(auth);
}

static void hash_of(const uint8_t *key, const char *what, const char *bytes, size_t len, uint8_t ret[TL_BLAKE2B_LEN])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, key);
    tl_blake2b_field(&h, what, strlen(what));
    tl_blake2b_field(&h, bytes, len);
    tl_blake2b_final(&h, ret);
}

static struct known *lookup(struct tl_auth *a, const uint8_t hash[TL_BLAKE2B_LEN], int64_t now)
{
    struct known *set = a->known[hash[0] % SETS];
    for (int i = 0; i < WAYS; i++)
        if (set[i].claims.role != TL_ROLE_NONE && memcmp(set[i].hash, hash, TL_BLAKE2B_LEN) == 0)
            return set[i].claims.exp > now ? &set[i] : NULL;
    return NULL;
}

static void remember(struct tl_auth *a, const uint8_t hash[TL_BLAKE2B_LEN], const struct tl_claims *claims, int64_t now)
{
    struct known *set = a->known[hash[0] % SETS], *at = &set[a->turn++ % WAYS];
    for (int i = 0; i < WAYS; i++)
        if (set[i].claims.role == TL_ROLE_NONE || set[i].claims.exp <= now)
            at = &set[i];
    memcpy(at->hash, hash, TL_BLAKE2B_LEN);
    at->claims = *claims;
}

/* How the login table names a secret. */
static void stored_hash(const char *secret, uint8_t ret[TL_BLAKE2B_LEN])
{
    hash_of(NULL, "talos-login", secret, strlen(secret), ret);
}

static bool parse_entry(struct tl_bytes value, const char *kind, int64_t now, struct tl_claims *ret)
{
    TL_AUTO_JSON json_t *j = NULL;
    if (tl_json_parse(value.data, value.len, &j, NULL) < 0)
        return false;
    const char *k = tl_json_str(j, "kind"), *sub = tl_json_str(j, "sub"), *org = tl_json_str(j, "org");
    memset(ret, 0, sizeof(*ret));
    ret->exp = tl_json_int(j, "exp", 0);
    ret->role = tl_role_parse(tl_json_str(j, "role"));
    if (!k || strcmp(k, kind) != 0 || ret->exp <= now || ret->role == TL_ROLE_NONE || !tl_token_name_ok(sub) ||
        !tl_token_name_ok(org))
        return false;
    snprintf(ret->sub, sizeof(ret->sub), "%s", sub);
    snprintf(ret->org, sizeof(ret->org), "%s", org);
    return true;
}

static char *entry_text(const char *kind, const struct tl_claims *c, int64_t exp)
{
    TL_AUTO_JSON json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:I}", "kind", kind, "org", c->org, "sub", c->sub, "role",
                                       tl_role_name(c->role), "exp", (json_int_t)exp);
    return j ? tl_json_text(j) : NULL;
}

struct session_read {
    uint8_t hash[TL_BLAKE2B_LEN];
    int64_t now;
    struct tl_claims claims;
};

static int read_session(struct tl_txn *txn, void *arg)
{
    struct session_read *s = arg;
    struct tl_bytes value;
    int err = tl_txn_get(txn, TL_TBL_LOGIN, s->hash, sizeof(s->hash), &value);
    return err < 0 || !parse_entry(value, "session", s->now, &s->claims) ? TL_EAUTH : 0;
}

/* The session cookie's value, borrowed and not ended; *ret_len 0 where there is none, or more than one. */
static const char *session_cookie(const struct tl_req *req, size_t *ret_len)
{
    static const char name[] = TL_SESSION_COOKIE "=";
    const char *found = NULL;
    *ret_len = 0;
    for (const char *p = req->head.cookie; p && *p;) {
        p += strspn(p, " ;");
        size_t len = strcspn(p, ";");
        if (strncmp(p, name, sizeof(name) - 1) == 0) {
            if (found) {
                *ret_len = 0;
                return NULL;
            }
            found = p + sizeof(name) - 1;
            *ret_len = len - (sizeof(name) - 1);
        }
        p += len;
    }
    return found;
}

/* Sessions are read from the store each time: one that was ended must not live on in a table. */
static int by_session(struct tl_auth *a, struct tl_req *req, int64_t now)
{
    size_t len;
    const char *cookie = session_cookie(req, &len);
    if (!cookie || len != TL_SECRET_TEXT - 1)
        return TL_EAUTH;
    char secret[TL_SECRET_TEXT];
    memcpy(secret, cookie, len);
    secret[len] = '\0';
    struct session_read read = {.now = now};
    stored_hash(secret, read.hash);
    if (tl_db_read(a->db, read_session, &read) < 0)
        return TL_EAUTH;
    req->claims = read.claims;
    req->by_cookie = true;
    return 0;
}

int tl_auth_request(struct tl_auth *a, struct tl_req *req)
{
    int64_t now = tl_now_ms() / 1000;
    const char *text = req->head.authorization;
    if (!text)
        return by_session(a, req, now);
    if (strncasecmp(text, "Bearer ", 7) != 0)
        return TL_EAUTH;
    text += 7;
    size_t len = strlen(text);
    if (len == 0 || len > TL_TOKEN_MAX)
        return TL_EAUTH;
    struct tl_seen *seen = req->seen;
    if (seen && seen->text && seen->claims.exp > now && strcmp(seen->text, text) == 0) {
        req->claims = seen->claims;
        return 0;
    }
    uint8_t hash[TL_BLAKE2B_LEN];
    hash_of(a->key, "token", text, len, hash);
    struct known *k = lookup(a, hash, now);
    if (!k && tl_token_verify(a->pub, text, len, now, &req->claims) < 0) {
        memset(&req->claims, 0, sizeof(req->claims));
        return TL_EAUTH;
    }
    if (k)
        req->claims = k->claims;
    else
        remember(a, hash, &req->claims, now);
    if (seen) {
        free(seen->text);
        seen->text = tl_strdup(text);
        seen->claims = req->claims;
    }
    return 0;
}

bool tl_auth_same_origin(const struct tl_req *req)
{
    const char *origin = req->head.origin;
    if (!origin || !req->head.host)
        return false;
    if (strncmp(origin, "http://", 7) == 0)
        origin += 7;
    else if (strncmp(origin, "https://", 8) == 0)
        origin += 8;
    else
        return false;
    return strcasecmp(origin, req->head.host) == 0;
}

static void new_secret(char ret[TL_SECRET_TEXT])
{
    uint8_t random[32];
    tl_random(random, sizeof(random));
    tl_base64url(random, sizeof(random), ret);
    tl_wipe(random, sizeof(random));
}

struct login {
    uint8_t code[TL_BLAKE2B_LEN];
    char secret[TL_SECRET_TEXT]; /* of the code to be stored, or of the session to be made */
    struct tl_claims who;
    int64_t now;
    void (*done)(void *arg, int err, const char session[TL_SECRET_TEXT]);
    void *arg;
};

/* Old entries go when new ones come. */
static int expired(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct login *l = arg;
    TL_AUTO_JSON json_t *j = NULL;
    if (tl_json_parse(value.data, value.len, &j, NULL) == 0 && tl_json_int(j, "exp", 0) > l->now)
        return 0;
    memcpy(l->code, key.data, sizeof(l->code));
    return 1;
}

static int sweep(struct tl_txn *txn, const struct login *l)
{
    struct login at = {.now = l->now};
    struct tl_scan scan = {.table = TL_TBL_LOGIN};
    for (int i = 0; i < 64; i++) {
        int err = tl_txn_scan(txn, &scan, expired, &at);
        if (err <= 0)
            return err;
        if ((err = tl_txn_del(txn, TL_TBL_LOGIN, at.code, sizeof(at.code))) < 0)
            return err;
    }
    return 0;
}

static int put_secret(struct tl_txn *txn, const struct login *l, const char *kind, int64_t ttl)
{
    uint8_t hash[TL_BLAKE2B_LEN];
    stored_hash(l->secret, hash);
    TL_AUTO_FREE char *text = entry_text(kind, &l->who, l->now + ttl);
    return text ? tl_txn_put(txn, TL_TBL_LOGIN, hash, sizeof(hash), text, strlen(text)) : TL_ENOMEM;
}

static int store_code(struct tl_txn *txn, void *arg)
{
    int err = sweep(txn, arg);
    return err < 0 ? err : put_secret(txn, arg, "code", TL_LOGIN_TTL);
}

int tl_auth_login_code(struct tl_db *db, const struct tl_claims *who, char ret[TL_SECRET_TEXT])
{
    struct login l = {.who = *who, .now = tl_now_ms() / 1000};
    if (!tl_token_name_ok(who->sub) || !tl_token_name_ok(who->org) || who->role == TL_ROLE_NONE)
        return TL_EINVAL;
    new_secret(l.secret);
    int err = tl_db_update(db, store_code, &l);
    memcpy(ret, l.secret, TL_SECRET_TEXT);
    tl_wipe(&l, sizeof(l));
    return err;
}

static int use_code(struct tl_txn *txn, void *arg)
{
    struct login *l = arg;
    struct tl_bytes value;
    int err = tl_txn_get(txn, TL_TBL_LOGIN, l->code, sizeof(l->code), &value);
    if (err < 0)
        return err == TL_ENOTFOUND ? TL_EAUTH : err;
    if (!parse_entry(value, "code", l->now, &l->who))
        return TL_EAUTH;
    err = tl_txn_del(txn, TL_TBL_LOGIN, l->code, sizeof(l->code));
    return err < 0 ? err : put_secret(txn, l, "session", TL_SESSION_TTL);
}

static void login_done(void *arg, int err)
{
    struct login *l = arg;
    l->done(l->arg, err, l->secret);
    tl_wipe(l, sizeof(*l));
    free(l);
}

int tl_auth_login(struct tl_db *db, const char *code,
                  void (*done)(void *arg, int err, const char session[TL_SECRET_TEXT]), void *arg)
{
    if (!code || strlen(code) != TL_SECRET_TEXT - 1)
        return TL_EAUTH;
    struct login *l = tl_calloc(1, sizeof(*l));
    if (!l)
        return TL_ENOMEM;
    stored_hash(code, l->code);
    new_secret(l->secret);
    l->now = tl_now_ms() / 1000;
    l->done = done;
    l->arg = arg;
    int err = tl_db_submit(db, use_code, l, login_done);
    if (err < 0)
        free(l);
    return err;
}

struct logout {
    uint8_t hash[TL_BLAKE2B_LEN];
    void (*done)(void *arg, int err);
    void *arg;
};

static int forget_session(struct tl_txn *txn, void *arg)
{
    struct logout *l = arg;
    int err = tl_txn_del(txn, TL_TBL_LOGIN, l->hash, sizeof(l->hash));
    return err == TL_ENOTFOUND ? 0 : err;
}

static void logout_done(void *arg, int err)
{
    struct logout *l = arg;
    l->done(l->arg, err);
    free(l);
}

int tl_auth_logout(struct tl_auth *a, const struct tl_req *req, void (*done)(void *arg, int err), void *arg)
{
    size_t len;
    const char *cookie = session_cookie(req, &len);
    if (!cookie || len != TL_SECRET_TEXT - 1)
        return TL_ENOTFOUND;
    char secret[TL_SECRET_TEXT];
    memcpy(secret, cookie, len);
    secret[len] = '\0';
    struct logout *l = tl_calloc(1, sizeof(*l));
    if (!l)
        return TL_ENOMEM;
    stored_hash(secret, l->hash);
    l->done = done;
    l->arg = arg;
    int err = tl_db_submit(a->db, forget_session, l, logout_done);
    if (err < 0)
        free(l);
    return err;
}

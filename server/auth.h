/* Who is asking: bearer tokens, the browser's session cookie, single-use login codes. A token is verified once and remembered by its hash until it
 * ends, in a bounded table. Service thread, but for tl_auth_login_code and tl_auth_login. */
#ifndef TL_SERVER_AUTH_H
#define TL_SERVER_AUTH_H

#include "server/req.h"
#include "store/db.h"

enum {
    TL_LOGIN_TTL = 600,         /* seconds that a login address is good for */
    TL_SESSION_TTL = 12 * 3600, /* seconds of a browser's session */
    TL_SECRET_TEXT = 44,        /* 32 random bytes as base64url, with NUL */
};
#define TL_SESSION_COOKIE "talos_session"

struct tl_auth;

int tl_auth_new(struct tl_db *db, const uint8_t issuer_public[32], struct tl_auth **ret);
void tl_auth_free(struct tl_auth *auth);

/* Fills claims and by_cookie from Authorization, or where there is none from the cookie. TL_EAUTH. */
int tl_auth_request(struct tl_auth *auth, struct tl_req *req);
/* Whether Origin is this server's own: one origin, whose authority is the Host header. False where there is none. */
bool tl_auth_same_origin(const struct tl_req *req);

/* Stores a new login code; waits for the disk. */
int tl_auth_login_code(struct tl_db *db, const struct tl_claims *who, char ret[TL_SECRET_TEXT]);
/* Uses up a code and makes a session: done(arg, err, session) on the writer thread; TL_EAUTH for an unknown, used or expired one. */
int tl_auth_login(struct tl_db *db, const char *code,
                  void (*done)(void *arg, int err, const char session[TL_SECRET_TEXT]), void *arg);
/* Ends the session of the request's cookie; done(arg, err) on the writer thread. TL_ENOTFOUND without a cookie. */
int tl_auth_logout(struct tl_auth *auth, const struct tl_req *req, void (*done)(void *arg, int err), void *arg);

#endif

/* The one error table: every code a talos function may return, its name on the wire and its HTTP status.
 * Wire names are those of the seed (runs-api-and-slides.md A.1 and B.3). */
#ifndef TL_BASE_ERR_H
#define TL_BASE_ERR_H

/* X(symbol, value, wire code, HTTP status, plain sentence) */
#define TL_ERR_TABLE(X)                                                                                                \
    X(TL_EINVAL, -1, "VALIDATION_ERROR", 400, "the request is not valid")                                              \
    X(TL_EAUTH, -2, "AUTH_REQUIRED", 401, "a valid access token is required")                                          \
    X(TL_EFORBIDDEN, -3, "FORBIDDEN", 403, "this is not allowed for your role")                                        \
    X(TL_ENOTFOUND, -4, "NOT_FOUND", 404, "not found")                                                                 \
    X(TL_ECONFLICT, -5, "CONFLICT", 409, "the state has changed or does not allow this")                               \
    X(TL_EPRECOND, -6, "CONFLICT", 412, "the resource has changed since it was read")                                  \
    X(TL_ETOOBIG, -7, "VALIDATION_ERROR", 413, "the body is too large")                                                \
    X(TL_EPOLICY, -8, "POLICY_DENIED", 403, "the policy does not allow this")                                          \
    X(TL_ERATE, -9, "RATE_LIMITED", 429, "too many requests; try again later")                                         \
    X(TL_ENOTAPPROVABLE, -10, "RUN_NOT_APPROVABLE", 409, "the run does not wait for an approval")                      \
    X(TL_ECANCELLED, -11, "RUN_CANCELLED", 409, "the run was cancelled")                                               \
    X(TL_ELENGTH, -12, "VALIDATION_ERROR", 411, "a Content-Length is required")                                        \
    X(TL_EMETHOD, -13, "VALIDATION_ERROR", 405, "the method is not allowed here")                                      \
    X(TL_ERANGE, -14, "VALIDATION_ERROR", 416, "the range cannot be satisfied")                                        \
    X(TL_EMEDIATYPE, -15, "VALIDATION_ERROR", 415, "the content type is not supported")                                \
    X(TL_ETIMEOUT, -20, "TIMEOUT", 504, "the time allowed has passed")                                                 \
    X(TL_EWORKER, -21, "WORKER_CRASH", 502, "the worker process ended unexpectedly")                                   \
    X(TL_ETRANSIENT_IO, -22, "TRANSIENT_IO", 503, "an input or output operation failed; it may succeed later")         \
    X(TL_ETRANSIENT_DB, -23, "TRANSIENT_DB", 503, "the store is busy; it may succeed later")                           \
    X(TL_ESCHEMA, -24, "SCHEMA_INVALID", 422, "the data does not have the form asked for")                             \
    X(TL_EMEDIA, -25, "MEDIA_INVALID", 422, "the media file cannot be read")                                           \
    X(TL_ENOTCONFIGURED, -26, "NOT_CONFIGURED", 409, "this needs a service that is not configured")                    \
    X(TL_EUNKNOWN, -27, "OUTCOME_UNKNOWN", 409, "whether it took effect outside is not known; a person must decide")      \
    X(TL_EBUDGET, -28, "BUDGET_EXCEEDED", 409, "the budget does not allow it")                                         \
    X(TL_EEXPIRED, -29, "EXPIRED", 409, "the time to decide has passed")                                               \
    X(TL_ENOMEM, -30, "OUT_OF_MEMORY", 503, "out of memory")                                                           \
    X(TL_EIO, -31, "STORAGE_ERROR", 503, "the storage failed")                                                         \
    X(TL_EFULL, -32, "STORAGE_FULL", 507, "the storage is full; nothing was written")                                  \
    X(TL_ECORRUPT, -33, "STORAGE_CORRUPT", 500, "stored data does not verify")                                         \
    X(TL_EBUSY, -34, "DATA_DIR_IN_USE", 409, "the data directory is in use by another process")                        \
    X(TL_ECAPSULE, -35, "CAPSULE_INVALID", 422, "the capsule cannot be opened")                                        \
    X(TL_ECAPSULE_RUN, -36, "CAPSULE_FAILED", 422, "the capsule could not produce its outputs")                        \
    X(TL_EAGAIN, -37, "TRY_AGAIN", 503, "not now; try again")                                                          \
    X(TL_ESANDBOX, -38, "SANDBOX_UNAVAILABLE", 503, "the sandbox cannot be set up, so nothing is parsed")              \
    X(TL_EREJECTED, -39, "REJECTED", 409, "a person rejected it")                                                      \
    X(TL_ELIMIT, -40, "LIMIT_REACHED", 422, "a limit that was set for it has been reached")                            \
    X(TL_EINTERNAL, -99, "INTERNAL", 500, "an internal error occurred")

enum tl_err {
    TL_OK = 0,
#define X(sym, num, code, http, text) sym = (num),
    TL_ERR_TABLE(X)
#undef X
};

/* Each takes any int; an unknown one is treated as TL_EINTERNAL. Strings are static. */
const char *tl_err_code(int err);
const char *tl_err_text(int err);
int tl_err_http(int err);
/* The table's entry for a wire code, TL_EINTERNAL where there is none. */
int tl_err_from_code(const char *code);
/* Translates errno: ENOMEM, ENOSPC/EDQUOT/EFBIG, ENOENT, EIO and the rest. */
int tl_err_from_errno(int e);

#endif

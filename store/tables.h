/* The one key layout: every table, its keys and its values. "id" is 16 bytes of UUID, "u64" 8 bytes big-endian, "text" UTF-8 without
 * NUL, "org" text followed by one NUL byte. JSON values are compact text. A change here raises TL_SCHEMA_VERSION. */
#ifndef TL_STORE_TABLES_H
#define TL_STORE_TABLES_H

enum { TL_SCHEMA_VERSION = 1, TL_ORG_MAX = 129 /* bytes of an organisation's name with its NUL */ };

/* X(symbol, name, key, value) */
#define TL_TABLES(X)                                                                                                   \
    X(TL_TBL_META, "meta", "text", "schema version, instance facts")                                                   \
    X(TL_TBL_RUN, "run", "run id", "JSON: the run's record (graph/run.h)")                                             \
    X(TL_TBL_RUN_DOC, "run_doc", "run id", "JSON: what the run was started with, for going on after a crash")          \
    X(TL_TBL_RUN_ORG, "run_org", "org, run id", "empty: an organisation's runs in the order they were made")           \
    X(TL_TBL_RUN_LIVE, "run_live", "run id", "empty: runs that have not ended")                                        \
    X(TL_TBL_EVENT, "event", "run id, seq u64", "JSON: a public event, whole")                                         \
    X(TL_TBL_RESULT, "result", "org, result key (32)", "format u8, flags u8, u64 last use, the outputs of a node (graph/result_priv.h)") \
    X(TL_TBL_DOC, "doc", "org, text's BLAKE2b-256 (32)", "the text of a graph document")                               \
    X(TL_TBL_DOC_REF, "doc_ref", "org, text's BLAKE2b-256 (32), id", "empty: a canvas or a run that holds the text")   \
    X(TL_TBL_MARK, "mark", "run id, BLAKE2b-256 of a step (32)", "u64 ms: a node that changes something outside began") \
    X(TL_TBL_ASK, "ask", "run id, BLAKE2b-256 of a step (32)", "JSON: what a run asked a person, and the answer")       \
    X(TL_TBL_RESULT_AGE, "result_age", "u64 last use, org, result key (32)", "result keys (32 each) in order, from that one on: used last then, where the result says so too") \
    X(TL_TBL_HISTORY, "history", "org, op or capsule text", "JSON: what nodes of this kind took so far")               \
    X(TL_TBL_STEP, "step", "run id, hashed step id (32)", "u8 plain or sealed, outputs that this run alone may use again") \
    X(TL_TBL_CANVAS, "canvas", "org, canvas id", "JSON: name, revision, times, the hash of its graph's text")           \
    X(TL_TBL_FILE, "file", "org, file id", "JSON: name, content type, bytes, sha256, created")                         \
    X(TL_TBL_BLOB, "blob", "sha256 (32)", "JSON: bytes, created; the bytes are in DIR/blobs")                          \
    X(TL_TBL_CAPSULE, "capsule", "capsule id text, NUL, version text", "JSON: public spec, digest, owner, state")      \
    X(TL_TBL_SEALED, "sealed", "digest (32)", "the sealed blob")                                                       \
    X(TL_TBL_WRAP, "wrap", "digest (32)", "the wrapped DEK")                                                           \
    X(TL_TBL_KEY, "key", "text", "wrapped keys of the keyring")                                                        \
    X(TL_TBL_PATTERN, "pattern", "snapshot text, NUL, pattern id text", "JSON: a pattern of the library")              \
    X(TL_TBL_SHEET, "sheet", "org, sheet name, NUL, row u64", "JSON: a derived row")                                   \
    X(TL_TBL_SHEET_KEY, "sheet_key", "org, sheet name, NUL, content key (32)", "u64: the row that holds it")           \
    X(TL_TBL_LOGIN, "login", "hash (32)", "JSON: a login address not used yet, or a session")                          \
    X(TL_TBL_IDEM, "idem", "org, sub, NUL, key", "JSON: request hash and answer")                                      \
    X(TL_TBL_AUDIT, "audit", "org, u64 time, u64 number", "JSON: who looked at or changed what")

enum tl_table {
#define X(sym, name, key, value) sym,
    TL_TABLES(X)
#undef X
        TL_TABLE_COUNT
};

#endif

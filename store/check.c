#include "store/check.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/fs.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { HASH = TL_SHA256_LEN, U64 = 8 };

struct check {
    struct tl_txn *txn;
    int blobs; /* DIR/blobs, or -1 where there is none */
    bool deep;
    void (*problem)(void *arg, const char *text);
    void *arg;
    struct tl_check_counts *counts;
    enum tl_table table;
    uint8_t run[TL_ID_LEN]; /* whose events are walked */
    uint64_t seq;           /* the last one seen */
    uint64_t results;       /* bytes of results and of the lists of their use */
    uint8_t *hashes;        /* blobs to be hashed after the snapshot has ended */
    size_t nhashes, cap;
};

static const char *const names[TL_TABLE_COUNT] = {
#define X(sym, name, key, value) [sym] = (name),
    TL_TABLES(X)
#undef X
};

/* The form of a table's key: an organisation and NUL first or not, then exactly so many bytes, or at least one where 0. */
static const struct {
    bool org;
    size_t rest;
} forms[TL_TABLE_COUNT] = {
    [TL_TBL_RUN] = {false, TL_ID_LEN},
    [TL_TBL_RUN_DOC] = {false, TL_ID_LEN},
    [TL_TBL_RUN_ORG] = {true, TL_ID_LEN},
    [TL_TBL_RUN_LIVE] = {false, TL_ID_LEN},
    [TL_TBL_EVENT] = {false, TL_ID_LEN + U64},
    [TL_TBL_RESULT] = {true, HASH},
    [TL_TBL_RESULT_AGE] = {false, 0},
    [TL_TBL_DOC] = {true, HASH},
    [TL_TBL_DOC_REF] = {true, HASH + TL_ID_LEN},
    [TL_TBL_MARK] = {false, TL_ID_LEN + HASH},
    [TL_TBL_ASK] = {false, TL_ID_LEN + HASH},
    [TL_TBL_HISTORY] = {true, 0},
    [TL_TBL_STEP] = {false, TL_ID_LEN + HASH},
    [TL_TBL_CANVAS] = {true, TL_ID_LEN},
    [TL_TBL_FILE] = {true, TL_ID_LEN},
    [TL_TBL_BLOB] = {false, HASH},
    [TL_TBL_SEALED] = {false, HASH},
    [TL_TBL_WRAP] = {false, HASH},
    [TL_TBL_SHEET] = {true, 0},
    [TL_TBL_LOGIN] = {false, HASH},
    [TL_TBL_IDEM] = {true, 0},
    [TL_TBL_AUDIT] = {true, U64 + U64},
};

__attribute__((format(printf, 2, 3))) static void report(struct check *c, const char *fmt, ...)
{
    struct tl_str text = {0};
    tl_str_printf(&text, "%s: ", names[c->table]);
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&text, fmt, ap);
    va_end(ap);
    c->counts->problems++;
    if (c->problem)
        c->problem(c->arg, text.err ? "out of memory" : text.data);
    tl_str_clear(&text);
}

/* The id in a key, as text for a problem. */
struct id_text {
    char s[TL_ID_TEXT];
};
static struct id_text id_text(const void *bytes)
{
    struct tl_id id;
    struct id_text t;
    memcpy(id.b, bytes, TL_ID_LEN);
    tl_id_text(&id, t.s);
    return t;
}

static bool has(struct check *c, enum tl_table table, const void *key, size_t len)
{
    struct tl_bytes v;
    return tl_txn_get(c->txn, table, key, len, &v) == 0;
}

/* Checks the key's form; *ret_rest is what follows the organisation. */
static bool key_form(struct check *c, struct tl_bytes key, const uint8_t **ret_rest)
{
    const uint8_t *p = key.data;
    size_t left = key.len;
    if (forms[c->table].org) {
        const uint8_t *nul = memchr(p, 0, left);
        if (!nul || nul == p || !tl_utf8_valid((const char *)p, (size_t)(nul - p))) {
            report(c, "a key without organisation");
            return false;
        }
        left -= (size_t)(nul + 1 - p);
        p = nul + 1;
    }
    *ret_rest = p;
    if (forms[c->table].rest ? left == forms[c->table].rest : left > 0)
        return true;
    report(c, "a key of %zu bytes, which is not this table's form", key.len);
    return false;
}

static json_t *parse(struct check *c, struct tl_bytes value, const char *what)
{
    json_t *j;
    int err = tl_json_parse(value.data, value.len, &j, NULL);
    if (err || !json_is_object(j))
        report(c, "%s: the value is not a JSON object", what);
    return j;
}

/* Whether a blob is registered and its file is there, with so many bytes. */
static void check_blob_file(struct check *c, const uint8_t *hash, int64_t bytes, const char *what)
{
    char hex[TL_SHA256_HEX], path[3 + TL_SHA256_HEX];
    struct stat st;
    tl_hex(hash, HASH, hex);
    snprintf(path, sizeof(path), "%.2s/%s", hex, hex);
    if (c->blobs < 0 || fstatat(c->blobs, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        report(c, "%s: the blob file %s is missing", what, hex);
    else if (!S_ISREG(st.st_mode) || st.st_size != bytes)
        report(c, "%s: the blob file %s has %lld bytes, not %lld", what, hex, (long long)st.st_size, (long long)bytes);
}

static int check_run(struct check *c, const uint8_t *id, struct tl_bytes value)
{
    static const char *const statuses[] = {"queued", "running", "done", "failed", "cancelled"};
    struct id_text t = id_text(id);
    TL_AUTO_JSON json_t *j = parse(c, value, t.s);
    if (!j)
        return 0;
    const char *own = tl_json_str(j, "id"), *status = tl_json_str(j, "status"), *org = tl_json_str(j, "org");
    int64_t last = tl_json_int(j, "last_seq", 0);
    if (!own || strcmp(own, t.s) != 0)
        report(c, "run %s: the record has another id", t.s);
    size_t s = 0;
    while (s < TL_ARRAY_LEN(statuses) && (!status || strcmp(status, statuses[s]) != 0))
        s++;
    bool ended = s >= 2;
    if (s == TL_ARRAY_LEN(statuses))
        report(c, "run %s: unknown status", t.s);
    else if (ended == has(c, TL_TBL_RUN_LIVE, id, TL_ID_LEN))
        report(c, "run %s: is %s and %s among those that have not ended", t.s, status, ended ? "still" : "not");
    if (!ended && !has(c, TL_TBL_RUN_DOC, id, TL_ID_LEN))
        report(c, "run %s: has not ended, and what it was started with is missing", t.s);
    uint8_t key[TL_ID_LEN + U64];
    memcpy(key, id, TL_ID_LEN);
    tl_key_u64(key + TL_ID_LEN, (uint64_t)last);
    if (last < 1 || !has(c, TL_TBL_EVENT, key, sizeof(key)))
        report(c, "run %s: its last event, %lld, is missing", t.s, (long long)last);
    tl_key_u64(key + TL_ID_LEN, (uint64_t)last + 1);
    if (has(c, TL_TBL_EVENT, key, sizeof(key)))
        report(c, "run %s: has events after its last, %lld", t.s, (long long)last);
    struct tl_str k = {0};
    tl_str_add(&k, org ? org : "", org ? strlen(org) + 1 : 0);
    tl_str_add(&k, id, TL_ID_LEN);
    if (!org || k.err || !has(c, TL_TBL_RUN_ORG, k.data, k.len))
        report(c, "run %s: is not in its organisation's list", t.s);
    tl_str_clear(&k);
    return 0;
}

static int check_run_org(struct check *c, const uint8_t *id, struct tl_bytes key)
{
    struct id_text t = id_text(id);
    struct tl_bytes v;
    if (tl_txn_get(c->txn, TL_TBL_RUN, id, TL_ID_LEN, &v) < 0) {
        report(c, "run %s: is listed and does not exist", t.s);
        return 0;
    }
    json_t *j;
    if (tl_json_parse(v.data, v.len, &j, NULL) < 0)
        return 0; /* said where the runs are walked */
    const char *org = tl_json_str(j, "org");
    if (!org || strcmp(org, key.data) != 0) /* the key holds a NUL: key_form() */
        report(c, "run %s: is listed for another organisation", t.s);
    json_decref(j);
    return 0;
}

static int check_event(struct check *c, const uint8_t *key, struct tl_bytes value)
{
    struct id_text t = id_text(key);
    uint64_t seq = tl_key_u64_read(key + TL_ID_LEN);
    if (!c->seq || memcmp(c->run, key, TL_ID_LEN) != 0) {
        memcpy(c->run, key, TL_ID_LEN);
        c->seq = 0;
        if (!has(c, TL_TBL_RUN, key, TL_ID_LEN))
            report(c, "run %s: has events and does not exist", t.s);
    }
    TL_AUTO_JSON json_t *j = parse(c, value, t.s);
    const char *type = tl_json_str(j, "type");
    bool reset = !c->seq && type && strcmp(type, "run.reset") == 0; /* stands for what retention has cut off */
    if (seq != c->seq + 1 && !reset)
        report(c, "run %s: event %llu follows %llu", t.s, (unsigned long long)seq, (unsigned long long)c->seq);
    c->seq = seq;
    const char *run = tl_json_str(j, "run_id");
    if (j && (tl_json_int(j, "seq", 0) != (int64_t)seq || !run || strcmp(run, t.s) != 0))
        report(c, "run %s: event %llu says it is another", t.s, (unsigned long long)seq);
    return 0;
}

static int check_file(struct check *c, const uint8_t *id, struct tl_bytes value)
{
    struct id_text t = id_text(id);
    TL_AUTO_JSON json_t *j = parse(c, value, t.s);
    const char *hex = tl_json_str(j, "sha256");
    uint8_t hash[HASH];
    if (!j)
        return 0;
    if (!hex || !tl_unhex(hex, hash, HASH)) {
        report(c, "file %s: has no hash", t.s);
        return 0;
    }
    if (!has(c, TL_TBL_BLOB, hash, HASH))
        report(c, "file %s: its blob %s is not registered", t.s, hex);
    check_blob_file(c, hash, tl_json_int(j, "bytes", -1), t.s);
    return 0;
}

static int check_blob(struct check *c, const uint8_t *hash, struct tl_bytes value)
{
    char hex[TL_SHA256_HEX];
    tl_hex(hash, HASH, hex);
    TL_AUTO_JSON json_t *j = parse(c, value, hex);
    if (!j)
        return 0;
    check_blob_file(c, hash, tl_json_int(j, "bytes", -1), "registered");
    c->counts->blobs++;
    if (!c->deep)
        return 0;
    if (tl_grow(&c->hashes, &c->cap, (c->nhashes + 1) * HASH, 1) < 0)
        return TL_ENOMEM;
    memcpy(c->hashes + c->nhashes++ * HASH, hash, HASH);
    return 0;
}

/* Looks for a key in the list of uses that may hold it. */
struct find_use {
    const uint8_t *key;
    size_t klen;
    bool found;
};

static int find_use(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct find_use *f = arg;
    const uint8_t *keys = value.data;
    size_t lo = 0, hi = key.len == U64 + f->klen ? value.len / HASH : 0;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = memcmp(keys + mid * HASH, f->key, HASH);
        if (!order)
            f->found = true;
        if (order < 0)
            lo = mid + 1;
        else
            hi = order ? mid : lo;
    }
    return 1;
}

/* A sealed blob without its wrap cannot be opened, a wrap without its blob opens nothing. */
static int check_pair(struct check *c, const uint8_t *hash, enum tl_table other)
{
    char hex[TL_SHA256_HEX];
    tl_hex(hash, HASH, hex);
    if (!has(c, other, hash, HASH))
        report(c, "%s: has no entry in %s", hex, names[other]);
    return 0;
}

static int check_capsule(struct check *c, struct tl_bytes key, struct tl_bytes value)
{
    const char *id = key.data, *nul = memchr(id, 0, key.len);
    if (!nul || nul == id || nul + 1 == id + key.len) {
        report(c, "a key that is not id and version");
        return 0;
    }
    TL_AUTO_JSON json_t *j = parse(c, value, id);
    const char *hex = tl_json_str(j, "digest");
    uint8_t hash[HASH];
    if (j && hex && (!tl_unhex(hex, hash, HASH) || !has(c, TL_TBL_SEALED, hash, HASH)))
        report(c, "%s: its sealed blob is missing", id);
    return 0;
}

/* The part of a key before what follows the organisation. */
static size_t org_len(struct tl_bytes key, const uint8_t *rest)
{
    return (size_t)(rest - (const uint8_t *)key.data);
}

static int first_one(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)arg, (void)key, (void)value;
    return 1;
}

/* A text has the bytes that its hash says, and somebody who holds it. */
static int check_doc(struct check *c, struct tl_bytes key, const uint8_t *hash, struct tl_bytes text)
{
    char hex[TL_TEXT_HEX];
    uint8_t is[TL_TEXT_HASH];
    struct tl_scan holders = {.table = TL_TBL_DOC_REF, .prefix = key.data, .prefix_len = key.len};
    tl_hex(hash, TL_TEXT_HASH, hex);
    tl_text_hash(text.data, text.len, is);
    if (memcmp(is, hash, sizeof(is)) != 0)
        report(c, "%s: the text has another hash", hex);
    int held = tl_txn_scan(c->txn, &holders, first_one, NULL);
    if (!held)
        report(c, "%s: nobody holds the text", hex);
    return held < 0 ? held : 0;
}

/* The text that the record of a canvas or a run names is there and held by it. A record may hold its graph itself. */
static void check_held(struct check *c, const char *org, size_t len, const uint8_t *id, const json_t *record)
{
    const char *hex = tl_json_str(record, "doc");
    uint8_t key[TL_ORG_MAX + TL_TEXT_HASH + TL_ID_LEN];
    struct id_text t = id_text(id);
    if (!json_object_get(record, "doc"))
        return;
    if (!hex || len > TL_ORG_MAX || !tl_unhex(hex, key + len, TL_TEXT_HASH)) {
        report(c, "%s: has no hash of a text", t.s);
        return;
    }
    memcpy(key, org, len);
    memcpy(key + len + TL_TEXT_HASH, id, TL_ID_LEN);
    if (!has(c, TL_TBL_DOC, key, len + TL_TEXT_HASH))
        report(c, "%s: its graph's text %s is missing", t.s, hex);
    if (!has(c, TL_TBL_DOC_REF, key, len + TL_TEXT_HASH + TL_ID_LEN))
        report(c, "%s: does not hold its graph's text %s", t.s, hex);
}

static int check_canvas(struct check *c, struct tl_bytes key, const uint8_t *id, struct tl_bytes value)
{
    TL_AUTO_JSON json_t *j = parse(c, value, "an entry");
    if (j)
        check_held(c, key.data, org_len(key, id), id, j);
    return 0;
}

static int check_run_doc(struct check *c, const uint8_t *id, struct tl_bytes value)
{
    struct tl_bytes run;
    TL_AUTO_JSON json_t *doc = parse(c, value, "an entry"), *record = NULL;
    if (tl_txn_get(c->txn, TL_TBL_RUN, id, TL_ID_LEN, &run) < 0) {
        report(c, "run %s: does not exist", id_text(id).s);
        return 0;
    }
    if (doc && json_object_get(doc, "doc") && tl_json_parse(run.data, run.len, &record, NULL) == 0 &&
        tl_json_str(record, "org"))
        check_held(c, tl_json_str(record, "org"), strlen(tl_json_str(record, "org")) + 1, id, doc);
    return 0;
}

/* Who holds a text still names it: a canvas, or a run. */
static void check_ref(struct check *c, struct tl_bytes key, const uint8_t *rest)
{
    size_t len = org_len(key, rest);
    uint8_t canvas[TL_ORG_MAX + TL_ID_LEN];
    const uint8_t *id = rest + TL_TEXT_HASH;
    if (len > TL_ORG_MAX)
        return;
    memcpy(canvas, key.data, len);
    memcpy(canvas + len, id, TL_ID_LEN);
    if (!has(c, TL_TBL_DOC, key.data, len + TL_TEXT_HASH))
        report(c, "%s: holds a text that is missing", id_text(id).s);
    if (!has(c, TL_TBL_CANVAS, canvas, len + TL_ID_LEN) && !has(c, TL_TBL_RUN_DOC, id, TL_ID_LEN))
        report(c, "%s: holds a text and does not exist", id_text(id).s);
}

/* A result stands in the list of its last use; else nobody would ever remove it. */
static void check_result(struct check *c, struct tl_bytes key, struct tl_bytes value)
{
    enum { STAMP = 2, NAME = U64 + TL_ORG_MAX + HASH };
    uint8_t from[NAME];
    struct find_use use = {.key = (const uint8_t *)key.data + key.len - HASH, .klen = key.len};
    c->results += key.len + value.len;
    if (value.len < STAMP + U64 || key.len > NAME - U64) {
        report(c, "a result of %zu bytes, which is not its form", value.len);
        return;
    }
    memcpy(from, (const uint8_t *)value.data + STAMP, U64);
    memcpy(from + U64, key.data, key.len);
    struct tl_scan scan = {.table = TL_TBL_RESULT_AGE,
                           .prefix = from,
                           .prefix_len = U64 + key.len - HASH,
                           .from = from,
                           .from_len = U64 + key.len,
                           .reverse = true};
    if (tl_txn_scan(c->txn, &scan, find_use, &use) < 0 || !use.found)
        report(c, "a result is missing in the list of its last use");
}

static void check_result_age(struct check *c, struct tl_bytes key, struct tl_bytes value)
{
    const uint8_t *keys = value.data;
    c->results += key.len + value.len;
    bool ok = key.len > U64 + 1 + HASH && value.len && value.len % HASH == 0 &&
              memchr((const uint8_t *)key.data + U64, 0, key.len - U64 - HASH);
    for (size_t i = HASH; ok && i < value.len; i += HASH)
        ok = memcmp(keys + i - HASH, keys + i, HASH) < 0;
    if (!ok)
        report(c, "a list of uses has not this table's form");
}

static int check_entry(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct check *c = arg;
    const uint8_t *rest = key.data;
    c->counts->entries++;
    if (!key_form(c, key, &rest))
        return 0;
    switch (c->table) {
    case TL_TBL_RUN:
        return check_run(c, rest, value);
    case TL_TBL_RUN_ORG:
        return check_run_org(c, rest, key);
    case TL_TBL_EVENT:
        return check_event(c, rest, value);
    case TL_TBL_FILE:
        return check_file(c, rest, value);
    case TL_TBL_BLOB:
        return check_blob(c, rest, value);
    case TL_TBL_SEALED:
        return check_pair(c, rest, TL_TBL_WRAP);
    case TL_TBL_WRAP:
        return check_pair(c, rest, TL_TBL_SEALED);
    case TL_TBL_CAPSULE:
        return check_capsule(c, key, value);
    case TL_TBL_DOC:
        return check_doc(c, key, rest, value);
    case TL_TBL_DOC_REF:
        check_ref(c, key, rest);
        return 0;
    case TL_TBL_CANVAS:
        return check_canvas(c, key, rest, value);
    case TL_TBL_RUN_DOC:
        return check_run_doc(c, rest, value);
    case TL_TBL_RUN_LIVE:
    case TL_TBL_STEP:
    case TL_TBL_MARK:
        if (!has(c, TL_TBL_RUN, rest, TL_ID_LEN))
            report(c, "run %s: does not exist", id_text(rest).s);
        return 0;
    case TL_TBL_ASK:
        if (!has(c, TL_TBL_RUN, rest, TL_ID_LEN))
            report(c, "run %s: does not exist", id_text(rest).s);
        break;
    case TL_TBL_RESULT:
        check_result(c, key, value);
        return 0;
    case TL_TBL_RESULT_AGE:
        check_result_age(c, key, value);
        return 0;
    case TL_TBL_LOGIN:
    case TL_TBL_PATTERN:
    case TL_TBL_SHEET:
    case TL_TBL_IDEM:
    case TL_TBL_AUDIT:
        break;
    default:
        return 0;
    }
    json_decref(parse(c, value, "an entry"));
    return 0;
}

static void check_results_count(struct check *c)
{
    struct tl_bytes v;
    c->table = TL_TBL_RESULT;
    int err = tl_txn_get(c->txn, TL_TBL_META, "results", 7, &v);
    uint64_t counted = !err && v.len == 2 * U64 ? tl_key_u64_read(v.data) : 0;
    if (counted != c->results)
        report(c, "%llu bytes are counted and %llu are there", (unsigned long long)counted,
               (unsigned long long)c->results);
}

static int walk(struct tl_txn *txn, void *arg)
{
    struct check *c = arg;
    c->txn = txn;
    int err = 0;
    for (int t = 0; !err && t < TL_TABLE_COUNT; t++) {
        struct tl_scan scan = {.table = (enum tl_table)t};
        c->table = scan.table;
        err = tl_txn_scan(txn, &scan, check_entry, c);
    }
    if (!err)
        check_results_count(c);
    return err;
}

static void hash_blob(struct check *c, const uint8_t *want)
{
    char hex[TL_SHA256_HEX], path[3 + TL_SHA256_HEX];
    uint8_t got[HASH];
    uint64_t size;
    tl_hex(want, HASH, hex);
    snprintf(path, sizeof(path), "%.2s/%s", hex, hex);
    TL_AUTO_FD int fd = openat(c->blobs, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return; /* said before */
    if (tl_fs_sha256(fd, got, &size) < 0 || memcmp(got, want, HASH) != 0)
        report(c, "the blob file %s has other bytes than its name says", hex);
    else
        c->counts->bytes += size;
}

int tl_db_check(struct tl_db *db, const char *dir, bool deep, void (*problem)(void *arg, const char *text), void *arg,
                struct tl_check_counts *ret)
{
    memset(ret, 0, sizeof(*ret));
    struct check c = {.blobs = -1, .deep = deep, .problem = problem, .arg = arg, .counts = ret};
    TL_AUTO_FREE char *path = tl_fs_join(dir, "blobs");
    if (!path)
        return TL_ENOMEM;
    int err = tl_fs_open_dir(path, &c.blobs);
    if (!err || err == TL_ENOTFOUND)
        err = tl_db_read(db, walk, &c);
    c.table = TL_TBL_BLOB;
    for (size_t i = 0; !err && c.blobs >= 0 && i < c.nhashes; i++)
        hash_blob(&c, c.hashes + i * HASH);
    free(c.hashes);
    tl_close_fd(&c.blobs);
    return err;
}

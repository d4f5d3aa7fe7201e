/* Texts by content: once per organisation, as long as somebody holds them. */
#include "base/err.h"
#include "store/check.h"
#include "store/text.h"
#include "tests/unit/store/tmp.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char graph[] = "{\"nodes\":[],\"edges\":[]}", other[] = "{\"nodes\": [], \"edges\": []}";
static struct tl_db *db;
static struct tl_id a = {"canvas-a"}, b = {"canvas-b"};
static char said[4096];

struct deed {
    const char *org, *text; /* text: which one is meant */
    const struct tl_id *holder;
    bool drop, hand_in;
    bool refuse; /* undo it all */
};

static int do_deed(struct tl_txn *txn, void *arg)
{
    const struct deed *d = arg;
    uint8_t hash[TL_TEXT_HASH];
    tl_text_hash(d->text, strlen(d->text), hash);
    int err = d->drop ? tl_text_drop(txn, d->org, hash, d->holder)
                      : tl_text_hold(txn, d->org, hash, d->holder, d->hand_in ? d->text : NULL, strlen(d->text));
    return err ? err : d->refuse ? TL_EFORBIDDEN : 0;
}

static int hold(const char *org, const char *text, const struct tl_id *holder, bool hand_in)
{
    return tl_db_update(db, do_deed, &(struct deed){.org = org, .text = text, .holder = holder, .hand_in = hand_in});
}

static int drop(const char *org, const char *text, const struct tl_id *holder)
{
    return tl_db_update(db, do_deed, &(struct deed){.org = org, .text = text, .holder = holder, .drop = true});
}

static int read_text(struct tl_txn *txn, void *arg)
{
    const struct deed *d = arg;
    uint8_t hash[TL_TEXT_HASH];
    struct tl_bytes is;
    tl_text_hash(d->text, strlen(d->text), hash);
    int err = tl_text_get(txn, d->org, hash, &is);
    if (!err) {
        assert_int_equal(is.len, strlen(d->text));
        assert_memory_equal(is.data, d->text, is.len);
    }
    return err;
}

static int get(const char *org, const char *text)
{
    return tl_db_read(db, read_text, &(struct deed){.org = org, .text = text});
}

static void count(uint64_t texts, uint64_t holders)
{
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    assert_int_equal(st.entries[TL_TBL_DOC], texts);
    assert_int_equal(st.entries[TL_TBL_DOC_REF], holders);
}

static int setup(void **state)
{
    return tmp_setup(state) || tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db);
}

static int teardown(void **state)
{
    tl_db_close(db);
    return tmp_teardown(state);
}

static void held_by_two(void **state)
{
    (void)state;
    assert_int_equal(hold("acme", graph, &a, false), TL_ENOTFOUND);
    assert_int_equal(hold("acme", graph, &a, true), 0);
    assert_int_equal(hold("acme", graph, &a, true), 0); /* again: nothing more */
    assert_int_equal(hold("acme", graph, &b, false), 0);
    assert_int_equal(hold("acme", other, &b, true), 0);
    count(2, 3);
    assert_int_equal(get("acme", graph), 0);
    assert_int_equal(drop("acme", graph, &a), 0);
    assert_int_equal(drop("acme", graph, &a), 0);
    assert_int_equal(get("acme", graph), 0);
    assert_int_equal(drop("acme", graph, &b), 0);
    assert_int_equal(get("acme", graph), TL_ENOTFOUND);
    assert_int_equal(get("acme", other), 0);
    count(1, 1);
}

static void organisations_share_nothing(void **state)
{
    (void)state;
    char longest[TL_ORG_MAX + 1];
    memset(longest, 'x', TL_ORG_MAX);
    longest[TL_ORG_MAX] = '\0';
    assert_int_equal(hold("acme", graph, &a, true), 0);
    assert_int_equal(get("acm", graph), TL_ENOTFOUND);
    assert_int_equal(hold("acm", graph, &a, false), TL_ENOTFOUND);
    assert_int_equal(drop("acm", graph, &a), 0);
    assert_int_equal(get("acme", graph), 0);
    assert_int_equal(hold(longest, graph, &a, true), TL_EINVAL);
    longest[TL_ORG_MAX - 1] = '\0';
    assert_int_equal(hold(longest, graph, &a, true), 0);
    assert_int_equal(get(longest, graph), 0);
}

static void undone_with_its_transaction(void **state)
{
    (void)state;
    assert_int_equal(hold("acme", graph, &a, true), 0);
    struct deed d = {.org = "acme", .text = graph, .holder = &a, .drop = true, .refuse = true};
    assert_int_equal(tl_db_update(db, do_deed, &d), TL_EFORBIDDEN);
    assert_int_equal(get("acme", graph), 0);
    count(1, 1);
}

/* ---- what talos check says ---- */

static void say(void *arg, const char *text)
{
    (void)arg;
    size_t n = strlen(said);
    snprintf(said + n, sizeof(said) - n, "%s\n", text);
}

struct entry {
    enum tl_table table;
    uint8_t key[TL_ORG_MAX + TL_TEXT_HASH + TL_ID_LEN];
    size_t len;
    const char *value; /* NULL: delete */
};

static int put_entry(struct tl_txn *txn, void *arg)
{
    const struct entry *e = arg;
    return e->value ? tl_txn_put(txn, e->table, e->key, e->len, e->value, strlen(e->value))
                    : tl_txn_del(txn, e->table, e->key, e->len);
}

static struct entry entry(enum tl_table table, bool hash, bool holder, const char *value)
{
    struct entry e = {.table = table, .len = 5, .value = value};
    memcpy(e.key, "acme", 5);
    if (hash)
        tl_text_hash(graph, strlen(graph), e.key + e.len);
    e.len += hash ? TL_TEXT_HASH : 0;
    if (holder)
        memcpy(e.key + e.len, a.b, TL_ID_LEN);
    e.len += holder ? TL_ID_LEN : 0;
    return e;
}

/* Makes one entry wrong, wants it said, puts it right again. */
static void wrong(struct entry e, const char *right, const char *words)
{
    struct tl_check_counts counts;
    said[0] = '\0';
    assert_int_equal(tl_db_update(db, put_entry, &e), 0);
    assert_int_equal(tl_db_check(db, tmp_path("data"), false, say, NULL, &counts), 0);
    if (!strstr(said, words))
        fail_msg("wanted \"%s\", got \"%s\"", words, said);
    e.value = right;
    assert_int_equal(tl_db_update(db, put_entry, &e), 0);
    assert_int_equal(tl_db_check(db, tmp_path("data"), false, say, NULL, &counts), 0);
    assert_int_equal(counts.problems, 0);
}

static void broken_promises_are_found(void **state)
{
    (void)state;
    char canvas[128] = "{\"doc\":\"";
    uint8_t hash[TL_TEXT_HASH];
    tl_text_hash(graph, strlen(graph), hash);
    tl_hex(hash, sizeof(hash), canvas + 8);
    strcat(canvas, "\"}");
    struct entry e = entry(TL_TBL_CANVAS, false, true, canvas);
    assert_int_equal(hold("acme", graph, &a, true), 0);
    assert_int_equal(tl_db_update(db, put_entry, &e), 0);
    wrong(entry(TL_TBL_DOC, true, false, "{}"), graph, "the text has another hash");
    wrong(entry(TL_TBL_DOC, true, false, NULL), graph, "its graph's text");
    wrong(entry(TL_TBL_DOC, true, false, NULL), graph, "holds a text that is missing");
    wrong(entry(TL_TBL_DOC_REF, true, true, NULL), "", "nobody holds the text");
    wrong(entry(TL_TBL_DOC_REF, true, true, NULL), "", "does not hold its graph's text");
    wrong(entry(TL_TBL_CANVAS, false, true, NULL), canvas, "holds a text and does not exist");
    wrong(entry(TL_TBL_CANVAS, false, true, "{\"doc\":\"00\"}"), canvas, "has no hash of a text");
}

/* A number that changes with the table, and with no other. */
static void generations_follow_changes(void **state)
{
    (void)state;
    uint64_t docs = tl_db_generation(db, TL_TBL_DOC), files = tl_db_generation(db, TL_TBL_FILE);
    assert_int_equal(hold("acme", graph, &a, true), 0);
    assert_int_equal(tl_db_generation(db, TL_TBL_DOC), docs + 1);
    assert_int_equal(hold("acme", graph, &b, true), 0); /* a holder more, the texts as they were */
    assert_int_equal(tl_db_generation(db, TL_TBL_DOC), docs + 1);
    struct deed d = {.org = "acme", .text = other, .holder = &a, .hand_in = true, .refuse = true};
    assert_int_equal(tl_db_update(db, do_deed, &d), TL_EFORBIDDEN);
    assert_int_equal(tl_db_generation(db, TL_TBL_DOC), docs + 1);
    assert_int_equal(drop("acme", graph, &a), 0);
    assert_int_equal(drop("acme", graph, &b), 0);
    assert_int_equal(tl_db_generation(db, TL_TBL_DOC), docs + 2);
    assert_int_equal(tl_db_generation(db, TL_TBL_FILE), files);
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(held_by_two),
        TEST(organisations_share_nothing),
        TEST(undone_with_its_transaction),
        TEST(broken_promises_are_found),
        TEST(generations_follow_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

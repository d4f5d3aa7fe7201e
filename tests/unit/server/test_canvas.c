/* Canvases in the store: the graph's text once, whoever names it; an older record with the graph in it is read and becomes a new one when it changes. */
#include "base/err.h"
#include "base/mem.h"
#include "server/canvas.h"
#include "server/page.h"
#include "tests/unit/store/tmp.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char one[] = "{ \"nodes\": [], \"edges\": [], \"viewport\": {\"zoom\": 1.50} }",
                  two[] = "{\"nodes\":[],\"edges\":[]}";
static struct tl_db *db;

static int setup(void **state)
{
    return tmp_setup(state) || tl_db_open(tmp_path("data"), TL_DB_CREATE | TL_DB_EXCLUSIVE, &db);
}

static int teardown(void **state)
{
    tl_db_close(db);
    return tmp_teardown(state);
}

static int write_canvas(struct tl_canvas_write w)
{
    w.org = "acme";
    if (w.graph) {
        w.graph_len = strlen(w.graph);
        tl_text_hash(w.graph, w.graph_len, w.hash);
    }
    int err = tl_db_update(db, tl_canvas_write, &w);
    free(w.ret_head);
    return err;
}

static uint64_t texts(void)
{
    struct tl_db_stat st;
    assert_int_equal(tl_db_stat(db, &st), 0);
    return st.entries[TL_TBL_DOC];
}

/* The canvas as it is answered: its name, revision and graph, byte for byte. */
static void is(const struct tl_id *id, const char *name, uint64_t revision, const char *graph)
{
    TL_AUTO_FREE char *text = NULL, *alone = NULL;
    TL_AUTO_JSON json_t *j = NULL;
    size_t len;
    uint64_t rev;
    assert_int_equal(tl_canvas_read(db, "acme", id, &text, &len, &rev), 0);
    assert_int_equal(rev, revision);
    assert_int_equal(strlen(text), len);
    assert_int_equal(tl_json_parse(text, len, &j, NULL), 0);
    assert_string_equal(tl_json_str(j, "name"), name);
    assert_non_null(strstr(text, graph));
    assert_null(json_object_get(j, "doc"));
    assert_int_equal(tl_canvas_read_graph(db, "acme", id, &alone, &len), 0);
    assert_string_equal(alone, graph);
    assert_int_equal(len, strlen(graph));
}

static void shared_and_let_go(void **state)
{
    (void)state;
    struct tl_id a = tl_id_new(), b = tl_id_new();
    uint8_t hash[TL_TEXT_HASH], want[TL_TEXT_HASH];
    char *text;
    size_t len;
    assert_int_equal(write_canvas((struct tl_canvas_write){
                         .id = a, .create = true, .name = "\",\"doc\":\"x\",\"graph\":", .graph = one}),
                     0);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = b, .create = true, .name = "b", .graph = one}), 0);
    assert_int_equal(texts(), 1);
    is(&a, "\",\"doc\":\"x\",\"graph\":", 1, one);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = a, .name = "a"}), 0);
    is(&a, "a", 2, one);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = a, .graph = two}), 0);
    is(&a, "a", 3, two);
    is(&b, "b", 1, one);
    assert_int_equal(texts(), 2);
    assert_int_equal(tl_canvas_name_graph(db, "acme", &a, hash, &text, &len), 0);
    assert_null(text);
    tl_text_hash(two, strlen(two), want);
    assert_memory_equal(hash, want, sizeof(want));
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = b, .graph = two, .if_match = "\"9\""}), TL_EPRECOND);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = b, .graph = one, .if_match = "\"1\""}),
                     0); /* the same again */
    is(&b, "b", 2, one);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = b, .remove = true}), 0);
    assert_int_equal(texts(), 1);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = a, .remove = true}), 0);
    assert_int_equal(texts(), 0);
    assert_int_equal(tl_canvas_name_graph(db, "acme", &a, hash, &text, &len), TL_ENOTFOUND);
}

static int put_old(struct tl_txn *txn, void *arg)
{
    struct tl_org_key key;
    char text[256], id[TL_ID_TEXT];
    tl_id_text(arg, id);
    tl_org_key(&key, "acme", arg);
    int n = snprintf(text, sizeof(text),
                     "{\"id\":\"%s\",\"name\":\"old\",\"revision\":4,\"node_count\":0,\"graph\":%s}", id, one);
    return tl_txn_put(txn, TL_TBL_CANVAS, key.b, key.len, text, (size_t)n);
}

static void older_records(void **state)
{
    (void)state;
    struct tl_id ids[2] = {tl_id_new(), tl_id_new()};
    uint8_t hash[TL_TEXT_HASH], want[TL_TEXT_HASH];
    char *text;
    size_t len;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tl_db_update(db, put_old, &ids[i]), 0);
        is(&ids[i], "old", 4, one);
    }
    assert_int_equal(tl_canvas_name_graph(db, "acme", &ids[0], hash, &text, &len), 0);
    tl_text_hash(one, strlen(one), want);
    assert_memory_equal(hash, want, sizeof(want));
    assert_string_equal(text, one);
    free(text);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = ids[0], .name = "new"}), 0);
    is(&ids[0], "new", 5, one);
    assert_int_equal(texts(), 0);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = ids[0], .graph = two}), 0);
    is(&ids[0], "new", 6, two);
    assert_int_equal(texts(), 1);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = ids[0], .remove = true}), 0);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = ids[1], .remove = true}), 0);
    assert_int_equal(texts(), 0);
}

static int damage(struct tl_txn *txn, void *arg)
{
    struct tl_org_key key;
    tl_org_key(&key, "acme", arg);
    return tl_txn_put(txn, TL_TBL_CANVAS, key.b, key.len, "{\"name\":\"x\",\"doc\":\"00\"}", 23);
}

static void damaged_records(void **state)
{
    (void)state;
    struct tl_id id = tl_id_new();
    char *text;
    size_t len;
    uint64_t revision;
    assert_int_equal(tl_db_update(db, damage, &id), 0);
    assert_int_equal(tl_canvas_read(db, "acme", &id, &text, &len, &revision), TL_ECORRUPT);
    assert_int_equal(write_canvas((struct tl_canvas_write){.id = id, .graph = one}), TL_ECORRUPT);
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(shared_and_let_go), TEST(older_records), TEST(damaged_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

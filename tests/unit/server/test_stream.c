/* Cursors into journals: what is read, how it is framed, and where a cursor stands after a write that took a part. */
#include "base/err.h"
#include "base/hash.h"
#include "server/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/server/journal.h"
#include "tests/unit/store/tmp.h"

static struct tl_db *db;

static int start(void **state)
{
    return tmp_setup(state) < 0 ? -1 : tl_db_open(tmp_dir, TL_DB_CREATE | TL_DB_EXCLUSIVE, &db);
}

static int stop(void **state)
{
    tl_db_close(db);
    return tmp_teardown(state);
}

static void write_run(const struct tl_id *run, const char *kind, const char *status, uint64_t first, uint64_t last,
                      size_t size)
{
    assert_int_equal(write_journal(db, run, kind, status, first, last, size), 0);
}

static void a_stream_reads_in_chunks(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new();
    char id[TL_ID_TEXT];
    tl_id_text(&run, id);
    write_run(&run, "canvas", "done", 1, 100, 1000);
    struct tl_stream *s;
    struct tl_diag diag = {0};
    assert_int_equal(tl_stream_open(db, "other", id, NULL, &s, &diag), TL_ENOTFOUND);
    assert_int_equal(tl_stream_open(db, "acme", "x", NULL, &s, &diag), TL_ENOTFOUND);
    assert_int_equal(tl_stream_open(db, "acme", id, "101", &s, &diag), TL_EINVAL);
    assert_int_equal(tl_stream_open(db, "acme", id, "1 ", &s, &diag), TL_EINVAL);
    assert_int_equal(diag.count, 2);
    tl_diag_clear(&diag);
    assert_int_equal(tl_stream_open(db, "acme", id, "40", &s, &diag), 0);
    struct tl_stream_batch *b = calloc(1, sizeof(*b));
    uint64_t want = 41;
    while (!s->over) {
        uint64_t cursor = s->cursor;
        assert_int_equal(tl_stream_read(db, s, TL_STREAM_WS, b), 0);
        assert_int_equal(s->cursor, cursor);
        assert_true(b->n > 0 && b->text.len < TL_STREAM_CHUNK + 1400);
        size_t at = 0;
        for (size_t i = 0; i < b->n; at = b->pieces[i++].end) {
            char seq[32];
            snprintf(seq, sizeof(seq), "\"seq\":%llu,", (unsigned long long)want++);
            assert_non_null(memmem(b->text.data + at, b->pieces[i].end - at, seq, strlen(seq)));
        }
        assert_int_equal(tl_stream_sent(s, b, b->text.len), 0);
    }
    assert_int_equal(want, 101);
    assert_true(b->all);
    assert_int_equal(tl_stream_read(db, s, TL_STREAM_WS, b), 0);
    assert_int_equal(b->n, 0);
    tl_stream_free(s);
    tl_stream_batch_release(b);
    free(b);
}

/* All of a stream, where each write takes at most so many bytes. */
static void send_all(const char *id, enum tl_stream_form form, size_t most, struct tl_str *got)
{
    struct tl_stream *s;
    struct tl_diag diag = {0};
    struct tl_stream_batch *b = calloc(1, sizeof(*b));
    assert_int_equal(tl_stream_open(db, "acme", id, NULL, &s, &diag), 0);
    while (!s->over) {
        assert_int_equal(tl_stream_read(db, s, form, b), 0);
        assert_true(b->n > 0 && b->text.len <= TL_STREAM_CHUNK + TL_STREAM_PIECE);
        size_t n = b->text.len < most ? b->text.len : most, rest = tl_stream_sent(s, b, n);
        assert_true(form == TL_STREAM_WS ? rest <= TL_STREAM_PIECE + 4 : rest == 0);
        tl_str_add(got, b->text.data, n + rest);
    }
    tl_stream_free(s);
    tl_stream_batch_release(b);
    free(b);
}

/* The messages of frames, one behind the other. */
static void unframe(const struct tl_str *frames, struct tl_str *ret, unsigned *ret_messages)
{
    const uint8_t *p = (const uint8_t *)frames->data, *end = p + frames->len;
    bool within = false;
    *ret_messages = 0;
    while (p < end) {
        size_t len = p[1], head = 2;
        assert_int_equal(p[0] & 0x7f, within ? 0 : 1);
        if (len == 126) {
            len = (size_t)p[2] << 8 | p[3];
            head = 4;
            assert_true(len >= 126);
        }
        assert_true(len < 126 || head == 4);
        assert_true(head + len <= (size_t)(end - p));
        tl_str_add(ret, (const char *)p + head, len);
        within = !(p[0] & 0x80);
        *ret_messages += !within;
        p += head + len;
    }
    assert_false(within);
}

/* However little a socket takes: the bytes are the same, an event of a megabyte comes whole, and nothing is kept but the rest of a frame. */
static void a_stream_goes_on_where_a_write_stopped(void **state)
{
    (void)state;
    static const size_t most[] = {SIZE_MAX, 1000, 16384, 70000, 33};
    struct tl_id run = tl_id_new();
    char id[TL_ID_TEXT], begin[64];
    tl_id_text(&run, id);
    write_run(&run, "canvas", "running", 1, 40, 90);
    write_run(&run, "canvas", "running", 41, 42, 1000000);
    write_run(&run, "canvas", "done", 43, 50, 700);
    for (int form = TL_STREAM_SSE; form <= TL_STREAM_WS; form++) {
        struct tl_str whole = {0}, text = {0};
        send_all(id, (enum tl_stream_form)form, SIZE_MAX, &whole);
        for (size_t i = 1; i < TL_ARRAY_LEN(most); i++) {
            struct tl_str got = {0};
            send_all(id, (enum tl_stream_form)form, most[i], &got);
            assert_int_equal(got.len, whole.len);
            assert_memory_equal(got.data, whole.data, whole.len);
            tl_str_clear(&got);
        }
        unsigned messages = 50;
        if (form == TL_STREAM_WS)
            unframe(&whole, &text, &messages);
        else
            tl_str_add(&text, whole.data, whole.len);
        assert_int_equal(messages, 50);
        snprintf(begin, sizeof(begin),
                 form == TL_STREAM_SSE ? "id: 1\nevent: run.progress\ndata: {" : "{\"event_id\":\"%s:1\"", id);
        assert_memory_equal(text.data, begin, strlen(begin));
        assert_memory_equal(text.data + text.len - 2, form == TL_STREAM_SSE ? "\n\n" : "}}", 2);
        size_t x = 0;
        for (size_t i = 0; i < text.len; i++)
            x += text.data[i] == 'x';
        assert_int_equal(x, 40 * 91 + 2 * 1000001 + 8 * 701); /* and "ts":"x" */
        tl_str_clear(&whole);
        tl_str_clear(&text);
    }
}

/* Followers at the same place share what was read; after news it is read again. */
static void a_batch_is_shared(void **state)
{
    (void)state;
    struct tl_id run = tl_id_new();
    char id[TL_ID_TEXT];
    struct tl_stream *a, *b;
    struct tl_diag diag = {0};
    struct tl_stream_batch *batch = calloc(1, sizeof(*batch));
    tl_id_text(&run, id);
    write_run(&run, "canvas", "running", 1, 3, 10);
    assert_int_equal(tl_stream_open(db, "acme", id, "1", &a, &diag), 0);
    assert_int_equal(tl_stream_open(db, "acme", id, "1", &b, &diag), 0);
    assert_int_equal(tl_stream_read(db, a, TL_STREAM_SSE, batch), 0);
    assert_int_equal(batch->n, 2);
    assert_int_equal(tl_stream_sent(a, batch, batch->text.len), 0);
    write_run(&run, "canvas", "running", 4, 5, 10);
    assert_int_equal(tl_stream_read(db, b, TL_STREAM_SSE, batch), 0);
    assert_int_equal(batch->n, 2);
    tl_stream_batch_clear(batch);
    assert_int_equal(tl_stream_read(db, b, TL_STREAM_SSE, batch), 0);
    assert_int_equal(batch->n, 4);
    assert_int_equal(tl_stream_read(db, b, TL_STREAM_WS, batch), 0); /* the other form is another batch */
    assert_int_equal(batch->text.data[0] & 0xff, 0x81);
    assert_int_equal(tl_stream_read(db, a, TL_STREAM_WS, batch), 0);
    assert_int_equal(batch->n, 2);
    assert_int_equal(tl_stream_sent(a, batch, 1), batch->pieces[0].end - 1);
    assert_int_equal(a->cursor, 4);
    assert_int_equal(tl_stream_sent(b, batch, 0), 0);
    assert_int_equal(b->cursor, 1);
    tl_stream_free(a);
    tl_stream_free(b);
    tl_stream_batch_release(batch);
    free(batch);
}

static int cut_journal(struct tl_txn *txn, void *arg)
{
    static const char reset[] = "{\"event_id\":\"x\",\"run_id\":\"x\",\"type\":\"run.reset\",\"seq\":3,\"ts\":\"x\",\"payload\":{}}";
    uint8_t key[TL_ID_LEN + 8];
    int err = 0;
    memcpy(key, ((struct tl_id *)arg)->b, TL_ID_LEN);
    for (uint64_t seq = 1; !err && seq < 3; seq++) {
        tl_key_u64(key + TL_ID_LEN, seq);
        err = tl_txn_del(txn, TL_TBL_EVENT, key, sizeof(key));
    }
    tl_key_u64(key + TL_ID_LEN, 3);
    return err ? err : tl_txn_put(txn, TL_TBL_EVENT, key, sizeof(key), reset, sizeof(reset) - 1);
}

/* Retention takes events away while they are being sent: whoever has had a part of one is told nothing that is not so. */
static void a_cut_below_a_follower(void **state)
{
    (void)state;
    char id[TL_ID_TEXT];
    struct tl_diag diag = {0};
    struct tl_stream_batch *batch = calloc(1, sizeof(*batch));
    for (int at = 1; at <= 3; at++) { /* the event of which a part was sent: one that goes, and the one that is replaced */
        struct tl_id run = tl_id_new();
        struct tl_stream *part, *late;
        char cursor[2] = {(char)('0' + at - 1), 0};
        tl_id_text(&run, id);
        write_run(&run, "canvas", "done", 1, 4, 100);
        assert_int_equal(tl_stream_open(db, "acme", id, cursor, &part, &diag), 0);
        assert_int_equal(tl_stream_open(db, "acme", id, "1", &late, &diag), 0);
        assert_int_equal(tl_stream_read(db, part, TL_STREAM_SSE, batch), 0);
        assert_int_equal(tl_stream_sent(part, batch, 7), 0);
        assert_int_equal(tl_db_update(db, cut_journal, &run), 0);
        assert_int_equal(tl_stream_read(db, part, TL_STREAM_SSE, batch), TL_ECONFLICT);
        assert_int_equal(tl_stream_read(db, late, TL_STREAM_SSE, batch), 0);
        assert_int_equal(batch->n, 2);
        assert_memory_equal(batch->text.data, "id: 3\nevent: run.reset\n", 23);
        assert_int_equal(tl_stream_sent(late, batch, 30), 0); /* and a part of this one may be sent too */
        tl_stream_batch_clear(batch);
        assert_int_equal(tl_stream_read(db, late, TL_STREAM_SSE, batch), 0);
        assert_int_equal(batch->n, 2);
        assert_int_equal(tl_stream_sent(late, batch, batch->pieces[0].end + 5), 0);
        tl_stream_batch_clear(batch);
        assert_int_equal(tl_stream_read(db, late, TL_STREAM_SSE, batch), 0);
        assert_int_equal(tl_stream_sent(late, batch, batch->text.len), 0);
        assert_true(late->over);
        tl_stream_free(part);
        tl_stream_free(late);
        tl_stream_batch_clear(batch);
    }
    tl_stream_batch_release(batch);
    free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_reads_in_chunks),
        cmocka_unit_test(a_stream_goes_on_where_a_write_stopped),
        cmocka_unit_test(a_batch_is_shared),
        cmocka_unit_test(a_cut_below_a_follower),
    };
    return tl_hash_init() < 0 ? 1 : cmocka_run_group_tests(tests, start, stop);
}

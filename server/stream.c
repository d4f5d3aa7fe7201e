#include "server/stream.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/run.h"
#include "server/runview.h"

#include <stdio.h>
#include <string.h>

/* Only the seven types of the seed and run.reset are written into journals, and "type" stands before "payload" in every stored event. */
const char *tl_event_type(const char *json, size_t len, size_t *ret_len)
{
    static const char key[] = "\"type\":\"";
    const char *at = memmem(json, len, key, sizeof(key) - 1);
    *ret_len = 0;
    if (!at)
        return "";
    at += sizeof(key) - 1;
    const char *end = memchr(at, '"', len - (size_t)(at - json));
    *ret_len = end ? (size_t)(end - at) : 0;
    return at;
}

bool tl_event_terminal(const char *type, size_t len)
{
    static const char *const terminal[] = {"run.completed", "run.failed", "run.cancelled"};
    for (size_t i = 0; i < TL_ARRAY_LEN(terminal); i++)
        if (strlen(terminal[i]) == len && memcmp(terminal[i], type, len) == 0)
            return true;
    return false;
}

static int bad_cursor(struct tl_diag *diag, const char *why)
{
    return tl_diag_add(diag, NULL, "after_seq", NULL, "the cursor %s; start again without one", why);
}

static int parse_cursor(const char *text, uint64_t *ret, struct tl_diag *diag)
{
    size_t len = strlen(text);
    if (len == 0 || len > 19 || strspn(text, "0123456789") != len)
        return bad_cursor(diag, "is not a whole number");
    *ret = strtoull(text, NULL, 10);
    return 0;
}

int tl_stream_open(struct tl_db *db, const char *org, const char *run, const char *cursor, struct tl_stream **ret,
                   struct tl_diag *diag)
{
    struct tl_id id;
    TL_AUTO_JSON json_t *record = NULL;
    *ret = NULL;
    if (!tl_id_parse(run, &id))
        return TL_ENOTFOUND;
    int err = tl_runview_record(db, org, &id, &record);
    if (err < 0)
        return err;
    uint64_t after = 0, last = (uint64_t)tl_json_int(record, "last_seq", 0);
    if (cursor && parse_cursor(cursor, &after, diag) < 0)
        return TL_EINVAL;
    if (after > last)
        return bad_cursor(diag, "lies beyond the run's last event");
    struct tl_stream *s = tl_calloc(1, sizeof(*s));
    if (!s)
        return TL_ENOMEM;
    s->run = id;
    s->cursor = after;
    s->over = after == last && tl_run_status_ended(tl_json_str(record, "status"));
    *ret = s;
    return 0;
}

void tl_stream_free(struct tl_stream *s)
{
    free(s);
}

struct reading {
    struct tl_stream at;
    struct tl_stream_batch *batch;
};

/* Appends the bytes from..to of part, counted in a text in which it begins at *at; moves *at behind it. */
static void add_window(struct tl_str *s, size_t from, size_t to, size_t *at, const char *part, size_t len)
{
    size_t begin = from > *at ? from - *at : 0, end = to > *at ? to - *at : 0;
    end = end < len ? end : len;
    if (begin < end)
        tl_str_add(s, part + begin, end - begin);
    *at += len;
}

/* Of a frame from the server: not masked (RFC 6455, 5.2). */
static void add_frame_head(struct tl_str *s, size_t len, bool first, bool last)
{
    const char head[] = {(char)((last ? 0x80 : 0) | (first ? 1 : 0)), (char)(len < 126 ? len : 126), (char)(len >> 8),
                         (char)len};
    tl_str_add(s, head, len < 126 ? 2 : 4);
}

static bool full(const struct tl_stream_batch *b)
{
    return b->n == TL_STREAM_PIECES || b->text.len >= TL_STREAM_CHUNK;
}

static int visit(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct reading *r = arg;
    struct tl_stream_batch *b = r->batch;
    struct tl_stream *s = &r->at;
    size_t type_len, head_len = 0;
    const char *type = tl_event_type(json, len, &type_len);
    bool reset = type_len == 9 && memcmp(type, "run.reset", 9) == 0;
    if (s->skip && reset != s->in_reset)
        return TL_ECONFLICT;
    s->in_reset = reset;
    char head[160];
    bool sse = b->form == TL_STREAM_SSE;
    if (sse)
        head_len = (size_t)snprintf(head, sizeof(head), "id: %llu\nevent: %.*s\ndata: ", (unsigned long long)seq,
                                    type_len < 64 ? (int)type_len : 0, type);
    size_t whole = head_len + len + (sse ? 2 : 0), at;
    do {
        if (full(b))
            return 1;
        size_t from = s->skip, to = whole - from > TL_STREAM_PIECE ? from + TL_STREAM_PIECE : whole;
        if (!sse)
            add_frame_head(&b->text, to - from, from == 0, to == whole);
        at = 0;
        add_window(&b->text, from, to, &at, head, head_len);
        add_window(&b->text, from, to, &at, json, len);
        add_window(&b->text, from, to, &at, "\n\n", sse ? 2 : 0);
        if (b->text.err)
            return TL_ENOMEM;
        s->skip = to == whole ? 0 : to;
        if (!s->skip) {
            s->cursor = seq;
            s->over = tl_event_terminal(type, type_len);
        }
        b->pieces[b->n].end = b->text.len;
        b->pieces[b->n++].after = *s;
    } while (s->skip);
    return s->over || full(b);
}

int tl_stream_read(struct tl_db *db, const struct tl_stream *s, enum tl_stream_form form, struct tl_stream_batch *batch)
{
    if (batch->n && batch->form == form && batch->from.cursor == s->cursor && batch->from.skip == s->skip &&
        tl_id_equal(&batch->from.run, &s->run))
        return 0;
    struct reading r = {.at = *s, .batch = batch};
    tl_stream_batch_clear(batch);
    batch->from = *s;
    batch->form = form;
    if (s->over)
        return 0;
    int err = tl_events_read(db, &s->run, s->cursor, visit, &r);
    if (err < 0)
        tl_stream_batch_clear(batch);
    batch->all = !full(batch);
    return err < 0 ? err : 0;
}

size_t tl_stream_sent(struct tl_stream *s, const struct tl_stream_batch *batch, size_t n)
{
    size_t i = 0, begin = 0;
    if (batch->n && n >= batch->pieces[batch->n - 1].end) /* as a rule */
        i = batch->n;
    while (i < batch->n && batch->pieces[i].end <= n)
        begin = batch->pieces[i++].end;
    if (i)
        *s = batch->pieces[i - 1].after;
    if (i == batch->n || begin == n)
        return 0;
    if (batch->form == TL_STREAM_SSE) {
        s->skip += n - begin;
        s->in_reset = batch->pieces[i].after.in_reset;
        return 0;
    }
    *s = batch->pieces[i].after;
    return batch->pieces[i].end - n;
}

void tl_stream_batch_clear(struct tl_stream_batch *batch)
{
    batch->n = 0;
    batch->all = true;
    batch->text.len = 0;
    batch->text.err = 0;
}

void tl_stream_batch_release(struct tl_stream_batch *batch)
{
    tl_str_clear(&batch->text);
    batch->n = 0;
}

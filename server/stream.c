#include "server/stream.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/run.h"
#include "server/runview.h"

#include <stdio.h>
#include <string.h>

/* Only the seven types of the seed are written into journals, and "type" stands before "payload" in every stored event. */
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
    struct tl_stream *stream;
    enum tl_stream_form form;
    struct tl_stream_batch *batch;
};

static void pad(struct tl_stream_batch *b)
{
    static const char zeros[64];
    tl_str_add(&b->text, zeros, b->pad < sizeof(zeros) ? b->pad : sizeof(zeros));
}

/* Appends the bytes from..to of part, counted in a text in which it begins at *at; moves *at behind it. */
static void add_window(struct tl_str *s, size_t from, size_t to, size_t *at, const char *part, size_t len)
{
    size_t begin = from > *at ? from - *at : 0, end = to > *at ? to - *at : 0;
    end = end < len ? end : len;
    if (begin < end)
        tl_str_add(s, part + begin, end - begin);
    *at += len;
}

static int visit(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct reading *r = arg;
    struct tl_stream_batch *b = r->batch;
    struct tl_stream *s = r->stream;
    size_t type_len, head_len = 0, at = 0;
    const char *type = tl_event_type(json, len, &type_len);
    char head[160];
    bool sse = r->form == TL_STREAM_SSE;
    if (sse)
        head_len = (size_t)snprintf(head, sizeof(head), "id: %llu\nevent: %.*s\ndata: ", (unsigned long long)seq,
                                    type_len < 64 ? (int)type_len : 0, type);
    else
        pad(b);
    size_t whole = head_len + len + (sse ? 2 : 0), from = s->skip, room = TL_STREAM_PIECE - b->size;
    size_t to = whole - from > room ? from + room : whole, before = b->text.len;
    add_window(&b->text, from, to, &at, head, head_len);
    add_window(&b->text, from, to, &at, json, len);
    add_window(&b->text, from, to, &at, "\n\n", sse ? 2 : 0);
    if (b->text.err)
        return TL_ENOMEM;
    b->pieces[b->n].at = before;
    b->pieces[b->n].len = to - from;
    b->pieces[b->n].first = from == 0;
    b->pieces[b->n].last = to == whole;
    b->n++;
    b->size += to - from;
    s->skip = to == whole ? 0 : to;
    if (s->skip)
        return 1;
    s->cursor = seq;
    s->over = tl_event_terminal(type, type_len);
    return s->over || b->n == TL_STREAM_EVENTS || b->size >= TL_STREAM_CHUNK;
}

int tl_stream_read(struct tl_db *db, struct tl_stream *s, enum tl_stream_form form, struct tl_stream_batch *batch)
{
    struct reading r = {.stream = s, .form = form, .batch = batch};
    batch->n = 0;
    batch->size = 0;
    batch->text.len = 0;
    if (form == TL_STREAM_SSE)
        pad(batch);
    if (s->over)
        return 0;
    int err = tl_events_read(db, &s->run, s->cursor, visit, &r);
    return err < 0 ? err : 0;
}

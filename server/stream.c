#include "server/stream.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/run.h"
#include "server/runview.h"

#include <errno.h>
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

static int visit(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct reading *r = arg;
    struct tl_stream_batch *b = r->batch;
    static const char zeros[64];
    size_t type_len;
    const char *type = tl_event_type(json, len, &type_len);
    if (r->form == TL_STREAM_SSE) {
        tl_str_printf(&b->text, "id: %llu\nevent: %.*s\ndata: ", (unsigned long long)seq, (int)type_len, type);
        tl_str_add(&b->text, json, len);
        tl_str_puts(&b->text, "\n\n");
    } else {
        tl_str_add(&b->text, zeros, b->pad < sizeof(zeros) ? b->pad : sizeof(zeros));
        b->events[b->n].at = b->text.len;
        b->events[b->n].len = len;
        tl_str_add(&b->text, json, len);
    }
    if (b->text.err)
        return TL_ENOMEM;
    b->n++;
    r->stream->cursor = seq;
    r->stream->over = tl_event_terminal(type, type_len);
    return r->stream->over || b->n == TL_STREAM_EVENTS || b->text.len >= TL_STREAM_CHUNK;
}

int tl_stream_read(struct tl_db *db, struct tl_stream *s, enum tl_stream_form form, struct tl_stream_batch *batch)
{
    struct reading r = {.stream = s, .form = form, .batch = batch};
    batch->n = 0;
    batch->text.len = 0;
    if (s->over)
        return 0;
    int err = tl_events_read(db, &s->run, s->cursor, visit, &r);
    return err < 0 ? err : 0;
}

#include "server/canvas.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/etag.h"
#include "server/page.h"
#include "server/token.h"

#include <string.h>

/* No string inside a head can hold these bytes: a quote in it is escaped. */
static const char mark[] = ",\"graph\":";

static struct tl_bytes head_of(struct tl_bytes value)
{
    const char *at = value.len ? memmem(value.data, value.len, mark, sizeof(mark) - 1) : NULL;
    return (struct tl_bytes){value.data, at ? (size_t)(at - (const char *)value.data) : value.len};
}

static int parse_head(struct tl_bytes value, json_t **ret)
{
    struct tl_bytes head = head_of(value);
    struct tl_str s TL_CLEANUP(tl_str_clear) = {0};
    tl_str_add(&s, head.data, head.len);
    tl_str_puts(&s, "}");
    if (s.err)
        return TL_ENOMEM;
    return tl_json_parse(s.data, s.len, ret, NULL) < 0 ? TL_ECORRUPT : 0;
}

char *tl_canvas_text(const char *head, const char *graph)
{
    struct tl_str s = {0};
    tl_str_add(&s, head, strlen(head) - 1);
    tl_str_puts(&s, mark);
    tl_str_puts(&s, graph);
    tl_str_puts(&s, "}");
    return tl_str_take(&s);
}

/* The head after the change: old is what was there, NULL for a new canvas. */
static char *new_head(struct tl_canvas_write *w, const json_t *old)
{
    char id[TL_ID_TEXT], now[TL_TIME_TEXT];
    tl_id_text(&w->id, id);
    tl_time_text(tl_now_ms(), now);
    const char *created = tl_json_str(old, "created_at"), *name = w->name ? w->name : tl_json_str(old, "name");
    w->ret_revision = (uint64_t)tl_json_int(old, "revision", 0) + 1;
    json_int_t nodes = w->graph ? (json_int_t)w->node_count : tl_json_int(old, "node_count", 0);
    TL_AUTO_JSON json_t *head =
        json_pack("{s:s,s:s,s:I,s:s,s:s,s:I}", "id", id, "name", name ? name : "", "revision", (json_int_t)w->ret_revision,
                  "created_at", created ? created : now, "updated_at", now, "node_count", nodes);
    return head ? tl_json_text(head) : NULL;
}

static int replace(struct tl_txn *txn, struct tl_canvas_write *w, const struct tl_org_key *key, struct tl_bytes value, const json_t *old)
{
    struct tl_bytes head = head_of(value);
    TL_AUTO_FREE char *kept = NULL, *text = NULL;
    if (!w->graph) {
        size_t skip = head.len + sizeof(mark) - 1;
        kept = tl_strndup((const char *)value.data + skip, value.len - skip - 1);
        if (!kept)
            return TL_ENOMEM;
    }
    free(w->ret_head); /* of an earlier try */
    w->ret_head = new_head(w, old);
    text = w->ret_head ? tl_canvas_text(w->ret_head, kept ? kept : w->graph) : NULL;
    return text ? tl_txn_put(txn, TL_TBL_CANVAS, key->b, key->len, text, strlen(text)) : TL_ENOMEM;
}

int tl_canvas_write(struct tl_txn *txn, void *arg)
{
    struct tl_canvas_write *w = arg;
    struct tl_org_key key;
    struct tl_bytes value = {0};
    TL_AUTO_JSON json_t *old = NULL;
    tl_org_key(&key, w->org, &w->id);
    int err = w->create ? 0 : tl_txn_get(txn, TL_TBL_CANVAS, key.b, key.len, &value);
    if (!err && !w->create)
        err = parse_head(value, &old);
    if (err < 0)
        return err;
    char tag[TL_ETAG_TEXT];
    tl_etag_revision((uint64_t)tl_json_int(old, "revision", 0), tag);
    if (old && w->if_match && !tl_etag_match(w->if_match, tag))
        return TL_EPRECOND;
    return w->remove ? tl_txn_del(txn, TL_TBL_CANVAS, key.b, key.len) : replace(txn, w, &key, value, old);
}

struct reading {
    const char *org;
    const struct tl_id *id;
    char *text;
    size_t len;
    uint64_t revision;
};

static int read_one(struct tl_txn *txn, void *arg)
{
    struct reading *r = arg;
    struct tl_org_key key;
    struct tl_bytes value;
    TL_AUTO_JSON json_t *head = NULL;
    tl_org_key(&key, r->org, r->id);
    int err = tl_txn_get(txn, TL_TBL_CANVAS, key.b, key.len, &value);
    if (!err)
        err = parse_head(value, &head);
    if (err < 0)
        return err;
    r->revision = (uint64_t)tl_json_int(head, "revision", 0);
    r->len = value.len;
    return (r->text = tl_strndup(value.data, value.len)) ? 0 : TL_ENOMEM;
}

int tl_canvas_read(struct tl_db *db, const char *org, const struct tl_id *id, char **ret, size_t *ret_len, uint64_t *ret_revision)
{
    struct reading r = {.org = org, .id = id};
    int err = tl_db_read(db, read_one, &r);
    *ret = err < 0 ? NULL : r.text;
    *ret_len = r.len;
    *ret_revision = r.revision;
    return err;
}

int tl_canvas_list(struct tl_db *db, const char *org, const struct tl_id *before, size_t limit, json_t **ret_items,
                   struct tl_id *ret_next, bool *ret_more)
{
    return tl_page_read(db, TL_TBL_CANVAS, org, before, limit, parse_head, ret_items, ret_next, ret_more);
}

#include "server/canvas.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/etag.h"
#include "server/page.h"
#include "server/token.h"

#include <string.h>

/* A record is its head's fields and, last, the hash of the graph's text or the graph itself. No string inside a head can hold these bytes: a quote in it
 * is escaped. */
static const char mark_doc[] = ",\"doc\":\"", mark_graph[] = ",\"graph\":";

struct record {
    struct tl_bytes head;  /* without its closing brace */
    struct tl_bytes graph; /* the text that an older record holds; else hash names it */
    uint8_t hash[TL_TEXT_HASH];
};

static struct tl_bytes before(struct tl_bytes value, const char *mark)
{
    const char *at = value.len ? memmem(value.data, value.len, mark, strlen(mark)) : NULL;
    return (struct tl_bytes){value.data, at ? (size_t)(at - (const char *)value.data) : value.len};
}

static int split(struct tl_bytes value, struct record *ret)
{
    enum { TAIL = sizeof(mark_doc) - 1 + TL_TEXT_HEX - 1 + 2 }; /* …,"doc":"HEX"} */
    char hex[TL_TEXT_HEX];
    *ret = (struct record){.head = before(value, mark_graph)};
    if (ret->head.len < value.len) {
        size_t skip = ret->head.len + sizeof(mark_graph) - 1;
        ret->graph = (struct tl_bytes){(const char *)value.data + skip, value.len - skip - 1};
        return 0;
    }
    ret->head = before(value, mark_doc);
    if (ret->head.len + TAIL != value.len)
        return TL_ECORRUPT;
    memcpy(hex, (const char *)value.data + ret->head.len + sizeof(mark_doc) - 1, TL_TEXT_HEX - 1);
    hex[TL_TEXT_HEX - 1] = '\0';
    return tl_unhex(hex, ret->hash, TL_TEXT_HASH) ? 0 : TL_ECORRUPT;
}

static int parse_head(struct tl_bytes value, json_t **ret)
{
    struct record r;
    struct tl_str s TL_CLEANUP(tl_str_clear) = {0};
    int err = split(value, &r);
    if (err < 0)
        return err;
    tl_str_add(&s, r.head.data, r.head.len);
    tl_str_puts(&s, "}");
    if (s.err)
        return TL_ENOMEM;
    return tl_json_parse(s.data, s.len, ret, NULL) < 0 ? TL_ECORRUPT : 0;
}

static char *join(const char *head, size_t head_len, const char *graph, size_t graph_len, size_t *ret_len)
{
    struct tl_str s = {0};
    tl_str_add(&s, head, head_len);
    tl_str_puts(&s, mark_graph);
    tl_str_add(&s, graph, graph_len);
    tl_str_puts(&s, "}");
    *ret_len = s.len;
    return tl_str_take(&s);
}

char *tl_canvas_text(const char *head, const char *graph, size_t graph_len)
{
    size_t len;
    return join(head, strlen(head) - 1, graph, graph_len, &len);
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
    TL_AUTO_JSON json_t *head = json_pack("{s:s,s:s,s:I,s:s,s:s,s:I}", "id", id, "name", name ? name : "", "revision",
                                          (json_int_t)w->ret_revision, "created_at", created ? created : now,
                                          "updated_at", now, "node_count", nodes);
    return head ? tl_json_text(head) : NULL;
}

/* The canvas holds its new graph and lets go of the old one. */
static int change_graph(struct tl_txn *txn, const struct tl_canvas_write *w, const struct record *old)
{
    bool held = old && !old->graph.data, same = held && memcmp(old->hash, w->hash, TL_TEXT_HASH) == 0;
    int err = same ? 0 : tl_text_hold(txn, w->org, w->hash, &w->id, w->graph, w->graph_len);
    return err || same || !held ? err : tl_text_drop(txn, w->org, old->hash, &w->id);
}

static int replace(struct tl_txn *txn, struct tl_canvas_write *w, const struct tl_org_key *key,
                   const struct record *old, const json_t *old_head)
{
    struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
    char hex[TL_TEXT_HEX];
    free(w->ret_head); /* of an earlier try */
    if (!(w->ret_head = new_head(w, old_head)))
        return TL_ENOMEM;
    tl_str_add(&text, w->ret_head, strlen(w->ret_head) - 1);
    if (w->graph || !old->graph.data) {
        tl_hex(w->graph ? w->hash : old->hash, TL_TEXT_HASH, hex);
        tl_str_printf(&text, "%s%s\"}", mark_doc, hex);
    } else {
        tl_str_puts(&text, mark_graph);
        tl_str_add(&text, old->graph.data, old->graph.len);
        tl_str_puts(&text, "}");
    }
    if (text.err)
        return TL_ENOMEM;
    int err = w->graph ? change_graph(txn, w, old) : 0;
    return err ? err : tl_txn_put(txn, TL_TBL_CANVAS, key->b, key->len, text.data, text.len);
}

static int take_away(struct tl_txn *txn, const struct tl_canvas_write *w, const struct tl_org_key *key,
                     const struct record *old)
{
    int err = old->graph.data ? 0 : tl_text_drop(txn, w->org, old->hash, &w->id);
    return err ? err : tl_txn_del(txn, TL_TBL_CANVAS, key->b, key->len);
}

int tl_canvas_write(struct tl_txn *txn, void *arg)
{
    struct tl_canvas_write *w = arg;
    struct tl_org_key key;
    struct tl_bytes value = {0};
    struct record old;
    TL_AUTO_JSON json_t *head = NULL;
    TL_AUTO_FREE char *kept = NULL;
    tl_org_key(&key, w->org, &w->id);
    if (w->create)
        return replace(txn, w, &key, NULL, NULL);
    int err = tl_txn_get(txn, TL_TBL_CANVAS, key.b, key.len, &value);
    if (!err)
        err = parse_head(value, &head);
    if (err < 0)
        return err;
    if (!(kept = tl_strndup(value.data, value.len))) /* what is read is gone with the first write */
        return TL_ENOMEM;
    split((struct tl_bytes){kept, value.len}, &old);
    char tag[TL_ETAG_TEXT];
    tl_etag_revision((uint64_t)tl_json_int(head, "revision", 0), tag);
    if (w->if_match && !tl_etag_match(w->if_match, tag))
        return TL_EPRECOND;
    return w->remove ? take_away(txn, w, &key, &old) : replace(txn, w, &key, &old, head);
}

/* ---- reading ---- */

struct reading {
    const char *org;
    const struct tl_id *id;
    enum { THE_WHOLE, THE_GRAPH, THE_NAME } what;
    char *text;
    size_t len;
    uint8_t hash[TL_TEXT_HASH];
    uint64_t revision;
};

static int read_one(struct tl_txn *txn, void *arg)
{
    struct reading *r = arg;
    struct tl_org_key key;
    struct tl_bytes value;
    struct record rec;
    TL_AUTO_JSON json_t *head = NULL;
    tl_org_key(&key, r->org, r->id);
    int err = tl_txn_get(txn, TL_TBL_CANVAS, key.b, key.len, &value);
    if (!err)
        err = split(value, &rec);
    if (!err && r->what == THE_WHOLE)
        err = parse_head(value, &head);
    if (err < 0)
        return err;
    r->revision = (uint64_t)tl_json_int(head, "revision", 0);
    bool inside = rec.graph.data;
    if (inside)
        tl_text_hash(rec.graph.data, rec.graph.len, rec.hash);
    memcpy(r->hash, rec.hash, TL_TEXT_HASH);
    if (r->what == THE_NAME && !inside)
        return 0;
    if (!inside && (err = tl_text_get(txn, r->org, rec.hash, &rec.graph)) < 0)
        return err == TL_ENOTFOUND ? TL_ECORRUPT : err;
    r->len = rec.graph.len;
    r->text = r->what == THE_WHOLE ? join(rec.head.data, rec.head.len, rec.graph.data, rec.graph.len, &r->len)
                                   : tl_strndup(rec.graph.data, rec.graph.len);
    return r->text ? 0 : TL_ENOMEM;
}

int tl_canvas_read(struct tl_db *db, const char *org, const struct tl_id *id, char **ret, size_t *ret_len,
                   uint64_t *ret_revision)
{
    struct reading r = {.org = org, .id = id, .what = THE_WHOLE};
    int err = tl_db_read(db, read_one, &r);
    *ret = err < 0 ? NULL : r.text;
    *ret_len = r.len;
    *ret_revision = r.revision;
    return err;
}

int tl_canvas_read_graph(struct tl_db *db, const char *org, const struct tl_id *id, char **ret, size_t *ret_len)
{
    struct reading r = {.org = org, .id = id, .what = THE_GRAPH};
    int err = tl_db_read(db, read_one, &r);
    *ret = err < 0 ? NULL : r.text;
    *ret_len = r.len;
    return err;
}

int tl_canvas_name_graph(struct tl_db *db, const char *org, const struct tl_id *id, uint8_t ret_hash[TL_TEXT_HASH],
                         char **ret, size_t *ret_len)
{
    struct reading r = {.org = org, .id = id, .what = THE_NAME};
    int err = tl_db_read(db, read_one, &r);
    *ret = err < 0 ? NULL : r.text;
    *ret_len = r.len;
    memcpy(ret_hash, r.hash, TL_TEXT_HASH);
    return err;
}

int tl_canvas_list(struct tl_db *db, const char *org, const struct tl_id *before, size_t limit, json_t **ret_items,
                   struct tl_id *ret_next, bool *ret_more)
{
    return tl_page_read(db, TL_TBL_CANVAS, org, before, limit, parse_head, ret_items, ret_next, ret_more);
}

#include "server/page.h"

#include "base/err.h"

#include <string.h>

void tl_org_key(struct tl_org_key *ret, const char *org, const struct tl_id *id)
{
    size_t n = strlen(org) + 1; /* a token's org is shorter than TL_TOKEN_NAME */
    memcpy(ret->b, org, n);
    if (id)
        memcpy(ret->b + n, id->b, TL_ID_LEN);
    ret->len = n + (id ? TL_ID_LEN : 0);
}

struct page {
    enum tl_table table;
    struct tl_org_key prefix, from;
    const struct tl_id *before;
    size_t limit;
    int (*parse)(struct tl_bytes value, json_t **ret);
    json_t *items;
    struct tl_id last;
    bool more;
};

static int one(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct page *p = arg;
    const uint8_t *id = (const uint8_t *)key.data + key.len - TL_ID_LEN;
    if (key.len != p->prefix.len + TL_ID_LEN || (p->before && memcmp(id, p->before->b, TL_ID_LEN) >= 0))
        return 0;
    if (json_array_size(p->items) == p->limit) {
        p->more = true;
        return 1;
    }
    json_t *item = NULL;
    int err = p->parse(value, &item);
    memcpy(p->last.b, id, TL_ID_LEN);
    return err < 0 ? err : json_array_append_new(p->items, item) < 0 ? TL_ENOMEM : 0;
}

static int read_page(struct tl_txn *txn, void *arg)
{
    struct page *p = arg;
    struct tl_scan scan = {.table = p->table, .prefix = p->prefix.b, .prefix_len = p->prefix.len, .reverse = true};
    if (p->before) {
        scan.from = p->from.b;
        scan.from_len = p->from.len;
    }
    int err = tl_txn_scan(txn, &scan, one, p);
    return err < 0 ? err : 0;
}

int tl_page_read(struct tl_db *db, enum tl_table table, const char *org, const struct tl_id *before, size_t limit,
                 int (*parse)(struct tl_bytes value, json_t **ret), json_t **ret_items, struct tl_id *ret_next, bool *ret_more)
{
    struct page p = {.table = table, .before = before, .limit = limit, .parse = parse, .items = json_array()};
    *ret_items = NULL;
    if (!p.items)
        return TL_ENOMEM;
    tl_org_key(&p.prefix, org, NULL);
    tl_org_key(&p.from, org, before);
    int err = tl_db_read(db, read_page, &p);
    if (err < 0) {
        json_decref(p.items);
        return err;
    }
    *ret_items = p.items;
    *ret_next = p.last;
    *ret_more = p.more;
    return 0;
}

size_t tl_page_query(struct tl_req *req, struct tl_id *room, const struct tl_id **ret_before, struct tl_diag *diag)
{
    const char *cursor = tl_req_query(req, "cursor");
    *ret_before = cursor ? room : NULL;
    if (cursor && !tl_id_parse(cursor, room))
        tl_diag_add(diag, NULL, "cursor", NULL, "the cursor is not one that a list has given");
    return tl_req_limit(req, diag);
}

void tl_page_reply(struct tl_req *req, json_t *items, const struct tl_id *next, bool more)
{
    char text[TL_ID_TEXT];
    json_t *cursor = NULL;
    if (more) {
        tl_id_text(next, text);
        cursor = json_string(text);
    }
    tl_reply_json(req, 200, json_pack("{s:o,s:o}", "items", items, "next_cursor", cursor ? cursor : json_null()));
}

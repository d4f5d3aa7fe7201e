/* Lists of an organisation's things, newest first: keys of an organisation and an id, pages of a table, and the answer {"items","next_cursor"}. */
#ifndef TL_SERVER_PAGE_H
#define TL_SERVER_PAGE_H

#include "base/id.h"
#include "server/req.h"
#include "store/db.h"

/* "org, NUL, id" as store/tables.h has it. */
struct tl_org_key {
    uint8_t b[TL_TOKEN_NAME + TL_ID_LEN];
    size_t len;
};
void tl_org_key(struct tl_org_key *ret, const char *org, const struct tl_id *id);

/* Items of table before an id (NULL: from the newest), each made from its value by parse (*ret owned). */
int tl_page_read(struct tl_db *db, enum tl_table table, const char *org, const struct tl_id *before, size_t limit,
                 int (*parse)(struct tl_bytes value, json_t **ret), json_t **ret_items, struct tl_id *ret_next, bool *ret_more);

/* ?limit= and ?cursor= of a list; problems in diag. *ret_before is NULL without a cursor, else room. */
size_t tl_page_query(struct tl_req *req, struct tl_id *room, const struct tl_id **ret_before, struct tl_diag *diag);
/* Takes items. */
void tl_page_reply(struct tl_req *req, json_t *items, const struct tl_id *next, bool more);

#endif

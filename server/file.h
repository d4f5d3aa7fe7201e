/* Uploaded files in the store: what a person calls a file, over a blob. */
#ifndef TL_SERVER_FILE_H
#define TL_SERVER_FILE_H

#include "base/id.h"
#include "base/json.h"
#include "store/db.h"

enum { TL_FILE_NAME_MAX = 255, TL_FILE_TYPE_MAX = 127 };

struct tl_file_write {
    const char *org; /* borrowed until done */
    struct tl_id id;
    json_t *record;  /* shared */
};
int tl_file_write(struct tl_txn *txn, void *arg);

json_t *tl_file_record(const struct tl_id *id, const char *name, const char *content_type, uint64_t bytes, const char *sha256);
int tl_file_read(struct tl_db *db, const char *org, const struct tl_id *id, json_t **ret);
int tl_file_list(struct tl_db *db, const char *org, const struct tl_id *before, size_t limit, json_t **ret_items, struct tl_id *ret_next,
                 bool *ret_more);

/* The name without folders and control characters; "file" where nothing is left. ret holds TL_FILE_NAME_MAX + 1. */
void tl_file_clean_name(const char *name, char *ret);
/* "type/subtype" in lower case without parameters; application/octet-stream for anything else. */
void tl_file_clean_type(const char *type, char ret[TL_FILE_TYPE_MAX + 1]);

#endif

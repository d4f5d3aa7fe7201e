/* The registry: which capsule versions there are, whose they are, and where their sealed bytes lie. Rows are facts that
 * a client may see; the spec in a row is for lists only, and running takes the one inside the seal. */
#ifndef TL_CATALOG_REGISTRY_H
#define TL_CATALOG_REGISTRY_H

#include "capsules/capsule.h"
#include "store/db.h"

#include <jansson.h>

/* A row:
 * {"id","version","owner","state":"active"|"revoked","digest":hex,"source":hex|absent,"created_at","spec":{without
 * adapter}}. */

/* The row of id@version whoever owns it; TL_ENOTFOUND. *ret owned. */
int tl_reg_row(struct tl_db *db, const char *id, const char *version, json_t **ret);
/* All rows, or those of one id, in key order. *ret owned array. */
int tl_reg_rows(struct tl_db *db, const char *id, json_t **ret);
/* Whether org may use what the row names: its own, and the built-ins. */
bool tl_reg_visible(const json_t *row, const char *org);
/* The newest visible version among rows of one id: a release before pre-releases. Borrowed; NULL where there is none.
 */
const json_t *tl_reg_newest(const json_t *rows, const char *id, const char *org);
bool tl_reg_digest(const json_t *row, uint8_t ret[TL_DIGEST_LEN]);

/* Sealed bytes and wrap of a digest, malloc'd: for tl_capsules_open, arg is the struct tl_db. TL_ECAPSULE where they
 * are not there. */
int tl_reg_fetch(void *db, const uint8_t digest[TL_DIGEST_LEN], struct tl_capsule_bytes *ret);

/* What publishing one version writes, all in one transaction with others. */
struct tl_reg_item {
    char *id, *version, *row; /* owned; row is JSON text */
    struct tl_sealed sealed;
};
/* TL_ECONFLICT where a version is there already. */
int tl_reg_put(struct tl_txn *txn, const struct tl_reg_item *item);
void tl_reg_item_clear(struct tl_reg_item *item);

#endif

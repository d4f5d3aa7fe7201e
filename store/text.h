/* Texts kept once per organisation, by their content: graph documents, which canvases and runs name by hash. A text is there as long as somebody holds it:
 * holding and letting go belong into the transaction that writes or deletes the record with the hash in it, so nothing is left over and nothing is missed. */
#ifndef TL_STORE_TEXT_H
#define TL_STORE_TEXT_H

#include "base/hash.h"
#include "base/id.h"
#include "store/db.h"

enum { TL_TEXT_HASH = TL_BLAKE2B_LEN, TL_TEXT_HEX = 2 * TL_TEXT_HASH + 1 };

void tl_text_hash(const char *text, size_t len, uint8_t ret[TL_TEXT_HASH]);

/* holder, a canvas's or a run's id, holds the text from now on. text NULL: it must be there already, TL_ENOTFOUND where it is not. Nothing is written
 * of a text that is there. */
int tl_text_hold(struct tl_txn *txn, const char *org, const uint8_t hash[TL_TEXT_HASH], const struct tl_id *holder,
                 const char *text, size_t len);
/* holder lets go, and with the last one goes the text. 0 also where it did not hold it. */
int tl_text_drop(struct tl_txn *txn, const char *org, const uint8_t hash[TL_TEXT_HASH], const struct tl_id *holder);
/* TL_ENOTFOUND. */
int tl_text_get(struct tl_txn *txn, const char *org, const uint8_t hash[TL_TEXT_HASH], struct tl_bytes *ret);

#endif

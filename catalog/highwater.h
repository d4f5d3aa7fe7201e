/* The high-water mark: DIR/capsules.high remembers, outside the database and authenticated by the keyring, which
 * versions were published with which digest. So an older signed version that is put back, or a newer one that is taken
 * away, is noticed. */
#ifndef TL_CATALOG_HIGHWATER_H
#define TL_CATALOG_HIGHWATER_H

#include "base/diag.h"
#include "capsules/keyring.h"

#include <jansson.h>
#include <stdbool.h>

/* The marks: {id: {version: digest hex}}. TL_ENOTFOUND where there is no file, TL_ECORRUPT where it is not ours; *ret
 * owned. */
int tl_high_load(const struct tl_keyring *kr, json_t **ret);
/* Writes them durably: a temporary name, fsync, rename. */
int tl_high_save(const struct tl_keyring *kr, const json_t *marks);
/* Holds registry rows against the marks. *ret_refused: array of the ids whose versions went back or were exchanged;
 * marks gets versions that were added on top. *ret_raised: whether marks changed. TL_ENOMEM. */
int tl_high_check(const json_t *rows, json_t *marks, json_t **ret_refused, bool *ret_raised);

#endif

/* The keys of one data directory. Root key (DIR/root.key) → versioned ring keys → one key-encrypting key (KEK) per
 * organisation and version → a data key per capsule version. Beside them: the import key (X25519), the author key of
 * organisation "talos" and the issuer key of tokens (Ed25519), and keyed-BLAKE2b subkeys. All are stored wrapped in
 * TL_TBL_KEY and live in one locked, read-only region of memory. */
#ifndef TL_CAPSULES_KEYRING_H
#define TL_CAPSULES_KEYRING_H

#include "base/diag.h"
#include "store/db.h"

#include <stdint.h>

/* The organisation that the built-in capsules belong to; usable by all, and no token is ever issued for it. */
#define TL_ORG_BUILTIN "talos"

/* Purposes of subkeys. */
#define TL_SUBKEY_CACHE "cache"       /* hashes of results */
#define TL_SUBKEY_CURSOR "cursor"     /* cursors handed to clients */
#define TL_SUBKEY_EVIDENCE "evidence" /* content keys of derived rows */
#define TL_SUBKEY_STEP "step"         /* records of private steps */
#define TL_SUBKEY_STEP_ID "step-id"   /* the names of those records */
#define TL_SUBKEY_SOURCE "source"     /* fingerprints of the built-ins' sources */
#define TL_SUBKEY_HIGH "high"         /* the authenticator of DIR/capsules.high */

enum {
    TL_KEYRING_CREATE = 1, /* make root key and keys where there are none: the first start */
    TL_KEK_LEN = 32,
    TL_ED25519_PUBLIC = 32,
    TL_ED25519_SECRET = 64, /* libsodium's form: seed, public key */
    TL_X25519_LEN = 32,
    TL_RING_MAX = 64, /* ring versions kept */
};

struct tl_keyring; /* read by any thread once open */

/* dir is the data directory. Needs no writing where the keys exist, so it works beside a running server. TL_ENOTFOUND:
 * no keys yet and no CREATE; TL_ECORRUPT: the root key is missing, readable by others, or not the one that wrapped the
 * keys; diag says it in words. *ret is returned owned. */
int tl_keyring_open(const char *dir, struct tl_db *db, unsigned flags, struct tl_keyring **ret, struct tl_diag *diag);
void tl_keyring_close(struct tl_keyring *kr); /* wipes; NULL accepted */

const char *tl_keyring_dir(const struct tl_keyring *kr);
const uint8_t *tl_keyring_issuer_public(const struct tl_keyring *kr);
const uint8_t *tl_keyring_issuer_secret(const struct tl_keyring *kr);
const uint8_t *tl_keyring_author_public(const struct tl_keyring *kr);
const uint8_t *tl_keyring_author_secret(const struct tl_keyring *kr);
const uint8_t *tl_keyring_import_public(const struct tl_keyring *kr);
const uint8_t *tl_keyring_import_secret(const struct tl_keyring *kr);

/* The subkey of a purpose for an organisation ("" for the whole instance). */
void tl_keyring_subkey(const struct tl_keyring *kr, const char *purpose, const char *org, uint8_t ret[32]);

/* Makes sure that org has a KEK; waits for the commit where it makes one. */
int tl_keyring_kek_make(struct tl_keyring *kr, const char *org);
/* A KEK of org; version 0 means the newest. Hand in locked memory and wipe it. TL_ENOTFOUND, TL_ECORRUPT. */
int tl_keyring_kek(struct tl_keyring *kr, const char *org, uint32_t version, uint8_t ret[TL_KEK_LEN],
                   uint32_t *ret_version);

#endif

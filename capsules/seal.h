/* Sealing: the signed, encrypted, immutable blob of a capsule version, the wraps of its data key, and the small records
 * of private steps. Every failure to open anything is one and the same TL_ECAPSULE: a decoder that explains itself is
 * an oracle. */
#ifndef TL_CAPSULES_SEAL_H
#define TL_CAPSULES_SEAL_H

#include "capsules/keyring.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TL_SEAL_CHUNK = 64 * 1024,
    TL_SEAL_PAD_MIN = 16 * 1024, /* the smallest padded length; larger ones are powers of two */
    TL_SEAL_PAD_MAX =
        4 * 1024 * 1024, /* the largest: what is opened stays in locked memory, of which there are some 8 MiB */
    TL_SEAL_PLAIN_MAX = TL_SEAL_PAD_MAX - 8,
    TL_SEAL_NAME_MAX = 128, /* bytes of organisation, capsule id and version, each */
    TL_DIGEST_LEN = 32,
    TL_DEK_LEN = 32,
    TL_WRAP_MAX = 96,
};

/* Memory that is locked, kept out of core dumps and wiped: for data keys and what they open. One thread at a time. */
struct tl_locked;
int tl_locked_new(struct tl_locked **ret); /* TL_ENOMEM also where memory cannot be locked */
void tl_locked_wipe(struct tl_locked *l);  /* forgets what was opened into it; it may be used again */
void tl_locked_free(struct tl_locked *l);  /* NULL accepted */

/* Who a blob must be: all of it is expected, none of it is taken from the blob. */
struct tl_seal_id {
    const char *org, *capsule, *version;
    const uint8_t *author_public; /* an enrolled author of org */
};

struct tl_sealed {
    uint8_t *blob; /* owned */
    size_t len;
    uint8_t digest[TL_DIGEST_LEN];
    uint8_t wrap[TL_WRAP_MAX];
    size_t wrap_len;
};

/* Seals plain under a fresh data key, signs it as the author and wraps the key with the newest KEK of id->org.
 * TL_EINVAL: names or plain too long or empty; TL_ENOMEM. plain is borrowed; the caller wipes it. */
int tl_seal(struct tl_keyring *kr, const struct tl_seal_id *id, const uint8_t *author_secret, const void *plain,
            size_t len, struct tl_locked *locked, struct tl_sealed *ret);
void tl_sealed_clear(struct tl_sealed *s);

/* Opens a blob: identity, signature, commitment and the whole stream are verified before a byte is handed out. *ret
 * lies in locked until it is wiped, used again or freed. ret_digest may be NULL. TL_ECAPSULE, TL_ENOMEM, or an error of
 * the store. */
int tl_unseal(struct tl_keyring *kr, const struct tl_seal_id *id, const void *wrap, size_t wrap_len, const void *blob,
              size_t len, struct tl_locked *locked, const uint8_t **ret, size_t *ret_len,
              uint8_t ret_digest[TL_DIGEST_LEN]);
/* The same with the data key itself, as test vectors name it. */
int tl_unseal_dek(const struct tl_seal_id *id, const uint8_t dek[TL_DEK_LEN], const void *blob, size_t len,
                  struct tl_locked *locked, const uint8_t **ret, size_t *ret_len, uint8_t ret_digest[TL_DIGEST_LEN]);
/* Wraps the data key again with the newest KEK of id->org: after rotation, or to take over an imported capsule. */
int tl_rewrap(struct tl_keyring *kr, const struct tl_seal_id *id, const void *wrap, size_t wrap_len, const void *blob,
              size_t len, struct tl_locked *locked, uint8_t ret[TL_WRAP_MAX], size_t *ret_len);
/* Wraps a data key for the server that owns import_public, offline. */
int tl_wrap_import(const uint8_t import_public[TL_X25519_LEN], const uint8_t dek[TL_DEK_LEN], uint8_t ret[TL_WRAP_MAX],
                   size_t *ret_len);

/* Small records of private steps, padded and bound to their place (org, record id). The id is a keyed hash of run and
 * step, so that the key of a record tells nothing of the inside. */
void tl_step_id(const struct tl_keyring *kr, const char *org, const char *run_id, const char *step, uint8_t ret[32]);
int tl_step_seal(const struct tl_keyring *kr, const char *org, const uint8_t id[32], const void *plain, size_t len,
                 uint8_t **ret, size_t *ret_len);
/* *ret is malloc'd; the caller wipes and frees it. */
int tl_step_unseal(const struct tl_keyring *kr, const char *org, const uint8_t id[32], const void *sealed, size_t len,
                   uint8_t **ret, size_t *ret_len);

#endif

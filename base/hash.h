/* Hashes, hexadecimal and base64url, random bytes, constant-time comparison. SHA-256 (FIPS 180-4) names blobs; keyed BLAKE2b (RFC 7693) is for
 * everything whose format is ours. */
#ifndef TL_BASE_HASH_H
#define TL_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TL_SHA256_LEN = 32, TL_SHA256_HEX = 65, TL_BLAKE2B_LEN = 32, TL_KEY_LEN = 32 };

/* Must have succeeded once before anything else here; may be called again. TL_EINTERNAL where no randomness is to be had. */
int tl_hash_init(void);

struct tl_sha256; /* opaque; one thread at a time */
struct tl_sha256 *tl_sha256_new(void);
void tl_sha256_update(struct tl_sha256 *h, const void *bytes, size_t len);
void tl_sha256_final(struct tl_sha256 *h, uint8_t ret[TL_SHA256_LEN]);
void tl_sha256_free(struct tl_sha256 *h);
void tl_sha256_once(const void *bytes, size_t len, uint8_t ret[TL_SHA256_LEN]);

/* BLAKE2b-256, keyed where key is not NULL (TL_KEY_LEN bytes). */
struct tl_blake2b {
    _Alignas(64) uint8_t opaque[448];
};
void tl_blake2b_init(struct tl_blake2b *h, const uint8_t *key);
void tl_blake2b_update(struct tl_blake2b *h, const void *bytes, size_t len);
/* Length-prefixed (64-bit little-endian), so that fields cannot run into one another. */
void tl_blake2b_field(struct tl_blake2b *h, const void *bytes, size_t len);
void tl_blake2b_final(struct tl_blake2b *h, uint8_t ret[TL_BLAKE2B_LEN]);

void tl_hex(const uint8_t *bytes, size_t len, char *ret); /* ret holds 2*len+1 */
bool tl_unhex(const char *hex, uint8_t *ret, size_t len); /* exactly 2*len lower- or upper-case digits, then NUL */
/* base64url without padding (RFC 4648 §5). Encoding: ret holds 4*(len+2)/3+1. */
void tl_base64url(const uint8_t *bytes, size_t len, char *ret);
bool tl_unbase64url(const char *text, uint8_t *ret, size_t cap, size_t *ret_len);

void tl_random(void *ret, size_t len); /* from the operating system; cannot fail after tl_hash_init */
bool tl_equal_const_time(const void *a, const void *b, size_t len);
void tl_wipe(void *p, size_t len);

#endif

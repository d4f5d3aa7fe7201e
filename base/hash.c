#include "base/hash.h"

#include "base/err.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct tl_blake2b), "the BLAKE2b state fits");

int tl_hash_init(void)
{
    return sodium_init() < 0 ? TL_EINTERNAL : 0;
}

/* OpenSSL's SHA-256 uses the processor's instructions: some 4 times libsodium's rate on 1 GB. */
struct tl_sha256 *tl_sha256_new(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        c = NULL;
    }
    return (struct tl_sha256 *)c;
}

void tl_sha256_update(struct tl_sha256 *h, const void *bytes, size_t len)
{
    EVP_DigestUpdate((EVP_MD_CTX *)h, bytes, len);
}

void tl_sha256_final(struct tl_sha256 *h, uint8_t ret[TL_SHA256_LEN])
{
    EVP_DigestFinal_ex((EVP_MD_CTX *)h, ret, NULL);
}

void tl_sha256_free(struct tl_sha256 *h)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)h);
}

void tl_sha256_once(const void *bytes, size_t len, uint8_t ret[TL_SHA256_LEN])
{
    crypto_hash_sha256(ret, bytes, len);
}

void tl_blake2b_init(struct tl_blake2b *h, const uint8_t *key)
{
    crypto_generichash_init((void *)h->opaque, key, key ? TL_KEY_LEN : 0, TL_BLAKE2B_LEN);
}

void tl_blake2b_update(struct tl_blake2b *h, const void *bytes, size_t len)
{
    crypto_generichash_update((void *)h->opaque, bytes, len);
}

void tl_blake2b_field(struct tl_blake2b *h, const void *bytes, size_t len)
{
    uint8_t n[8];
    for (int i = 0; i < 8; i++)
        n[i] = (uint8_t)((uint64_t)len >> (8 * i));
    tl_blake2b_update(h, n, sizeof(n));
    tl_blake2b_update(h, bytes, len);
}

void tl_blake2b_final(struct tl_blake2b *h, uint8_t ret[TL_BLAKE2B_LEN])
{
    crypto_generichash_final((void *)h->opaque, ret, TL_BLAKE2B_LEN);
    sodium_memzero(h, sizeof(*h));
}

void tl_hex(const uint8_t *bytes, size_t len, char *ret)
{
    sodium_bin2hex(ret, 2 * len + 1, bytes, len);
}

bool tl_unhex(const char *hex, uint8_t *ret, size_t len)
{
    size_t n;
    const char *end;
    return strlen(hex) == 2 * len && sodium_hex2bin(ret, len, hex, 2 * len, NULL, &n, &end) == 0 && n == len &&
           *end == '\0';
}

void tl_base64url(const uint8_t *bytes, size_t len, char *ret)
{
    size_t cap = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_bin2base64(ret, cap, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool tl_unbase64url(const char *text, uint8_t *ret, size_t cap, size_t *ret_len)
{
    /* libsodium 1.0.18 takes some bytes above 127 for '-' and '_'. */
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strlen(text);
    return strspn(text, alphabet) == len &&
           sodium_base642bin(ret, cap, text, len, NULL, ret_len, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

void tl_random(void *ret, size_t len)
{
    randombytes_buf(ret, len);
}

bool tl_equal_const_time(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void tl_wipe(void *p, size_t len)
{
    sodium_memzero(p, len);
}

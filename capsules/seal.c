#include "capsules/seal.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

/* "TLSCAP1" | hdr_len u32 | header | secretstream header | chunks | signature
 * header: suite u16 | capsule_id | version | org_id | author_pk | chunk u32 | padded_len u64 | commit
 * Integers are little-endian, texts u16 length and bytes. The header is canonical: whoever knows what to expect can
 * write it down, so opening compares it and parses nothing. */
enum {
    MAGIC_LEN = 7,
    SUITE = 1,
    HEAD_MAX = MAGIC_LEN + 4 + 2 + 3 * (2 + TL_SEAL_NAME_MAX) + crypto_sign_PUBLICKEYBYTES + 4 + 8 + TL_BLAKE2B_LEN,
    STREAM_HEAD = crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    CHUNK_TAG = crypto_secretstream_xchacha20poly1305_ABYTES,
    SIG = crypto_sign_BYTES,
    LEN_PREFIX = 8,
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    ABYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    WRAP_SERVER = 1,
    WRAP_IMPORT = 2,
    WRAP_SERVER_LEN = 1 + 4 + NONCE + TL_DEK_LEN + ABYTES,
    WRAP_IMPORT_LEN = 1 + TL_DEK_LEN + crypto_box_SEALBYTES,
};
_Static_assert((int)WRAP_SERVER_LEN <= (int)TL_WRAP_MAX && (int)WRAP_IMPORT_LEN <= (int)TL_WRAP_MAX, "a wrap fits");

static const char magic[] = "TLSCAP1";

static void put_le(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

/* ---- locked memory ---- */

struct tl_locked {
    uint8_t *room; /* TL_SEAL_PAD_MAX of address space, locked up to cap */
    size_t cap, used;
    uint8_t dek[TL_DEK_LEN], kek[TL_KEK_LEN];
    crypto_secretstream_xchacha20poly1305_state stream;
};

int tl_locked_new(struct tl_locked **ret)
{
    *ret = NULL;
    struct tl_locked *l = sodium_malloc(sizeof(*l));
    if (!l)
        return TL_ENOMEM;
    bool locked = sodium_mlock(l, sizeof(*l)) == 0;
    memset(l, 0, sizeof(*l));
    void *room =
        mmap(NULL, TL_SEAL_PAD_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED || !locked) {
        if (room != MAP_FAILED)
            munmap(room, TL_SEAL_PAD_MAX);
        sodium_free(l);
        return TL_ENOMEM;
    }
    l->room = room;
    *ret = l;
    return 0;
}

void tl_locked_wipe(struct tl_locked *l)
{
    sodium_memzero(l->room, l->used);
    sodium_memzero(l->dek, sizeof(l->dek));
    sodium_memzero(l->kek, sizeof(l->kek));
    sodium_memzero(&l->stream, sizeof(l->stream));
    l->used = 0;
}

void tl_locked_free(struct tl_locked *l)
{
    if (!l)
        return;
    tl_locked_wipe(l);
    if (l->cap)
        sodium_munlock(l->room, l->cap);
    munmap(l->room, TL_SEAL_PAD_MAX);
    sodium_free(l);
}

/* Room for len bytes, locked: grows once and stays, so that opening costs no page faults. */
static uint8_t *locked_room(struct tl_locked *l, size_t len)
{
    if (len > l->cap) {
        if (sodium_mlock(l->room, len) != 0)
            return NULL;
        l->cap = len;
    }
    if (len > l->used)
        l->used = len;
    return l->room;
}

/* ---- the header ---- */

static uint64_t padded_length(size_t len)
{
    uint64_t want = (uint64_t)len + LEN_PREFIX, padded = TL_SEAL_PAD_MIN;
    while (padded < want)
        padded *= 2;
    return padded;
}

static uint64_t chunks_of(uint64_t padded)
{
    return (padded + TL_SEAL_CHUNK - 1) / TL_SEAL_CHUNK;
}

static size_t blob_length(size_t head, uint64_t padded)
{
    return head + STREAM_HEAD + (size_t)(padded + chunks_of(padded) * CHUNK_TAG) + SIG;
}

struct head {
    uint8_t bytes[HEAD_MAX];      /* from the magic on */
    size_t len;                   /* with the commitment */
    uint8_t hash[TL_BLAKE2B_LEN]; /* H(header): BLAKE2b-256 of all these bytes */
};

static uint8_t *put_text(uint8_t *p, const char *s)
{
    size_t n = strlen(s);
    put_le(p, n, 2);
    memcpy(p + 2, s, n);
    return p + 2 + n;
}

static bool good_name(const char *s)
{
    size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= TL_SEAL_NAME_MAX;
}

static bool good_id(const struct tl_seal_id *id)
{
    return good_name(id->org) && good_name(id->capsule) && good_name(id->version) && id->author_public;
}

static size_t head_length(const struct tl_seal_id *id)
{
    return MAGIC_LEN + 4 + 2 + 6 + strlen(id->capsule) + strlen(id->version) + strlen(id->org) +
           crypto_sign_PUBLICKEYBYTES + 4 + 8 + TL_BLAKE2B_LEN;
}

/* All but the commitment, which makes head->hash valid only once finish_head() was called. */
static void make_head(const struct tl_seal_id *id, uint64_t padded, struct head *h)
{
    h->len = head_length(id);
    memcpy(h->bytes, magic, MAGIC_LEN);
    put_le(h->bytes + MAGIC_LEN, h->len - MAGIC_LEN - 4, 4);
    uint8_t *p = h->bytes + MAGIC_LEN + 4;
    put_le(p, SUITE, 2);
    p = put_text(p + 2, id->capsule);
    p = put_text(p, id->version);
    p = put_text(p, id->org);
    memcpy(p, id->author_public, crypto_sign_PUBLICKEYBYTES);
    p += crypto_sign_PUBLICKEYBYTES;
    put_le(p, TL_SEAL_CHUNK, 4);
    put_le(p + 4, padded, 8);
}

/* commit = BLAKE2b-256(key = DEK, "talos-commit" | the header's fields before it) */
static void commitment(const struct head *h, const uint8_t *dek, uint8_t ret[TL_BLAKE2B_LEN])
{
    struct tl_blake2b b;
    size_t start = MAGIC_LEN + 4;
    tl_blake2b_init(&b, dek);
    tl_blake2b_update(&b, "talos-commit", 12);
    tl_blake2b_update(&b, h->bytes + start, h->len - TL_BLAKE2B_LEN - start);
    tl_blake2b_final(&b, ret);
}

static void finish_head(struct head *h, const uint8_t commit[TL_BLAKE2B_LEN])
{
    memcpy(h->bytes + h->len - TL_BLAKE2B_LEN, commit, TL_BLAKE2B_LEN);
    struct tl_blake2b b;
    tl_blake2b_init(&b, NULL);
    tl_blake2b_update(&b, h->bytes, h->len);
    tl_blake2b_final(&b, h->hash);
}

/* AD of chunk i = H(header) | i as u64 */
struct chunk_ad {
    uint8_t bytes[TL_BLAKE2B_LEN + 8];
};

static struct chunk_ad chunk_ad(const struct head *h, uint64_t i)
{
    struct chunk_ad ad;
    memcpy(ad.bytes, h->hash, TL_BLAKE2B_LEN);
    put_le(ad.bytes + TL_BLAKE2B_LEN, i, 8);
    return ad;
}

/* ---- signature and digest ---- */

enum { SIGNED_LEN = 16 + 64 };

/* What is signed: "talos-capsule-v1" | BLAKE2b-512 of everything before the signature. */
static void signed_text(const uint8_t *blob, size_t len, uint8_t ret[SIGNED_LEN])
{
    memcpy(ret, "talos-capsule-v1", 16);
    crypto_generichash(ret + 16, 64, blob, len, NULL, 0);
}

/* digest = BLAKE2b-256(that BLAKE2b-512 | signature): names the blob to the last bit at the price of one pass. */
static void digest_of(const uint8_t text[SIGNED_LEN], const uint8_t *sig, uint8_t ret[TL_DIGEST_LEN])
{
    struct tl_blake2b b;
    tl_blake2b_init(&b, NULL);
    tl_blake2b_update(&b, text + 16, 64);
    tl_blake2b_update(&b, sig, SIG);
    tl_blake2b_final(&b, ret);
}

/* ---- wraps ---- */

/* AAD = purpose | org | capsule | version | kek_v | H(header), every text with its length. */
static size_t wrap_aad(const struct tl_seal_id *id, uint32_t kek_version, const uint8_t head_hash[TL_BLAKE2B_LEN],
                       uint8_t ret[HEAD_MAX])
{
    uint8_t *p = put_text(ret, "talos-dek-v1");
    p = put_text(p, id->org);
    p = put_text(p, id->capsule);
    p = put_text(p, id->version);
    put_le(p, kek_version, 4);
    memcpy(p + 4, head_hash, TL_BLAKE2B_LEN);
    return (size_t)(p - ret) + 4 + TL_BLAKE2B_LEN;
}

static int wrap_server(struct tl_keyring *kr, const struct tl_seal_id *id, const uint8_t *head_hash,
                       struct tl_locked *l, uint8_t ret[TL_WRAP_MAX], size_t *ret_len)
{
    uint32_t version;
    int err = tl_keyring_kek_make(kr, id->org);
    if (!err)
        err = tl_keyring_kek(kr, id->org, 0, l->kek, &version);
    if (err)
        return err;
    uint8_t aad[HEAD_MAX];
    size_t n = wrap_aad(id, version, head_hash, aad);
    ret[0] = WRAP_SERVER;
    put_le(ret + 1, version, 4);
    randombytes_buf(ret + 5, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(ret + 5 + NONCE, NULL, l->dek, TL_DEK_LEN, aad, n, NULL, ret + 5,
                                               l->kek);
    sodium_memzero(l->kek, sizeof(l->kek));
    *ret_len = WRAP_SERVER_LEN;
    return 0;
}

int tl_wrap_import(const uint8_t import_public[TL_X25519_LEN], const uint8_t dek[TL_DEK_LEN], uint8_t ret[TL_WRAP_MAX],
                   size_t *ret_len)
{
    ret[0] = WRAP_IMPORT;
    if (crypto_box_seal(ret + 1, dek, TL_DEK_LEN, import_public) != 0)
        return TL_EINVAL;
    *ret_len = WRAP_IMPORT_LEN;
    return 0;
}

/* Puts the data key into l->dek. */
static int unwrap(struct tl_keyring *kr, const struct tl_seal_id *id, const uint8_t *head_hash, const uint8_t *wrap,
                  size_t len, struct tl_locked *l)
{
    if (len == WRAP_IMPORT_LEN && wrap[0] == WRAP_IMPORT)
        return crypto_box_seal_open(l->dek, wrap + 1, len - 1, tl_keyring_import_public(kr),
                                    tl_keyring_import_secret(kr)) == 0
                   ? 0
                   : TL_ECAPSULE;
    if (len != WRAP_SERVER_LEN || wrap[0] != WRAP_SERVER)
        return TL_ECAPSULE;
    uint32_t version = (uint32_t)get_le(wrap + 1, 4);
    int err = version ? tl_keyring_kek(kr, id->org, version, l->kek, NULL) : TL_ECAPSULE;
    if (err)
        return err == TL_ENOTFOUND || err == TL_ECORRUPT ? TL_ECAPSULE : err;
    uint8_t aad[HEAD_MAX];
    size_t n = wrap_aad(id, version, head_hash, aad);
    err = crypto_aead_xchacha20poly1305_ietf_decrypt(l->dek, NULL, NULL, wrap + 5 + NONCE, len - 5 - NONCE, aad, n,
                                                     wrap + 5, l->kek);
    sodium_memzero(l->kek, sizeof(l->kek));
    return err ? TL_ECAPSULE : 0;
}

/* ---- sealing ---- */

static int push_chunks(struct tl_locked *l, const struct head *h, const uint8_t *room, uint64_t padded, uint8_t *out)
{
    crypto_secretstream_xchacha20poly1305_init_push(&l->stream, out, l->dek);
    out += STREAM_HEAD;
    for (uint64_t at = 0, i = 0; at < padded; at += TL_SEAL_CHUNK, i++) {
        size_t n = padded - at < TL_SEAL_CHUNK ? (size_t)(padded - at) : TL_SEAL_CHUNK;
        struct chunk_ad ad = chunk_ad(h, i);
        bool last = at + n == padded;
        if (crypto_secretstream_xchacha20poly1305_push(&l->stream, out, NULL, room + at, n, ad.bytes, sizeof(ad.bytes),
                                                       last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0) != 0)
            return TL_EINTERNAL;
        out += n + CHUNK_TAG;
    }
    return 0;
}

int tl_seal(struct tl_keyring *kr, const struct tl_seal_id *id, const uint8_t *author_secret, const void *plain,
            size_t len, struct tl_locked *locked, struct tl_sealed *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (!good_id(id) || len == 0 || len > TL_SEAL_PLAIN_MAX)
        return TL_EINVAL;
    uint64_t padded = padded_length(len);
    struct head h;
    make_head(id, padded, &h);
    ret->len = blob_length(h.len, padded);
    ret->blob = malloc(ret->len);
    uint8_t *room = locked_room(locked, (size_t)padded);
    int err = ret->blob && room ? 0 : TL_ENOMEM;
    if (!err) {
        put_le(room, len, LEN_PREFIX);
        memcpy(room + LEN_PREFIX, plain, len);
        memset(room + LEN_PREFIX + len, 0, (size_t)padded - LEN_PREFIX - len);
        randombytes_buf(locked->dek, TL_DEK_LEN);
        uint8_t commit[TL_BLAKE2B_LEN];
        commitment(&h, locked->dek, commit);
        finish_head(&h, commit);
        memcpy(ret->blob, h.bytes, h.len);
        err = push_chunks(locked, &h, room, padded, ret->blob + h.len);
    }
    if (!err)
        err = wrap_server(kr, id, h.hash, locked, ret->wrap, &ret->wrap_len);
    if (!err) {
        uint8_t text[SIGNED_LEN], *sig = ret->blob + ret->len - SIG;
        signed_text(ret->blob, ret->len - SIG, text);
        crypto_sign_detached(sig, NULL, text, sizeof(text), author_secret);
        digest_of(text, sig, ret->digest);
    }
    tl_locked_wipe(locked);
    if (err)
        tl_sealed_clear(ret);
    return err;
}

void tl_sealed_clear(struct tl_sealed *s)
{
    free(s->blob);
    memset(s, 0, sizeof(*s));
}

/* ---- opening ---- */

/* The header that a blob of this length must have, once its commitment is copied in; TL_ECAPSULE where the bytes differ
 * anywhere else. */
static int expect_head(const struct tl_seal_id *id, const uint8_t *blob, size_t len, struct head *h,
                       uint64_t *ret_padded)
{
    if (!good_id(id))
        return TL_ECAPSULE;
    size_t head = head_length(id);
    for (uint64_t padded = TL_SEAL_PAD_MIN; padded <= TL_SEAL_PAD_MAX; padded *= 2) {
        if (blob_length(head, padded) != len)
            continue;
        make_head(id, padded, h);
        if (memcmp(h->bytes, blob, head - TL_BLAKE2B_LEN) != 0)
            return TL_ECAPSULE;
        finish_head(h, blob + head - TL_BLAKE2B_LEN);
        *ret_padded = padded;
        return 0;
    }
    return TL_ECAPSULE;
}

/* Identity and signature: what can be known without a key. */
static int verify(const struct tl_seal_id *id, const uint8_t *blob, size_t len, struct head *h, uint64_t *ret_padded,
                  uint8_t ret_digest[TL_DIGEST_LEN])
{
    if (expect_head(id, blob, len, h, ret_padded) != 0)
        return TL_ECAPSULE;
    uint8_t text[SIGNED_LEN];
    const uint8_t *sig = blob + len - SIG;
    signed_text(blob, len - SIG, text);
    if (crypto_sign_verify_detached(sig, text, sizeof(text), id->author_public) != 0)
        return TL_ECAPSULE;
    if (ret_digest)
        digest_of(text, sig, ret_digest);
    return 0;
}

static int pull_chunks(struct tl_locked *l, const struct head *h, const uint8_t *in, uint64_t padded, uint8_t *room)
{
    if (crypto_secretstream_xchacha20poly1305_init_pull(&l->stream, in, l->dek) != 0)
        return TL_ECAPSULE;
    in += STREAM_HEAD;
    for (uint64_t at = 0, i = 0; at < padded; at += TL_SEAL_CHUNK, i++) {
        size_t n = padded - at < TL_SEAL_CHUNK ? (size_t)(padded - at) : TL_SEAL_CHUNK;
        struct chunk_ad ad = chunk_ad(h, i);
        unsigned char tag, want = at + n == padded ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0;
        if (crypto_secretstream_xchacha20poly1305_pull(&l->stream, room + at, NULL, &tag, in, n + CHUNK_TAG, ad.bytes,
                                                       sizeof(ad.bytes)) != 0 ||
            tag != want)
            return TL_ECAPSULE;
        in += n + CHUNK_TAG;
    }
    return 0;
}

/* The length before the content must have led to this padding, and the padding must be zeros: one plaintext, one blob
 * form. */
static int take_plain(const uint8_t *room, uint64_t padded, const uint8_t **ret, size_t *ret_len)
{
    uint64_t len = get_le(room, LEN_PREFIX);
    if (len == 0 || len > padded - LEN_PREFIX || padded_length((size_t)len) != padded ||
        !sodium_is_zero(room + LEN_PREFIX + len, (size_t)(padded - LEN_PREFIX - len)))
        return TL_ECAPSULE;
    *ret = room + LEN_PREFIX;
    *ret_len = (size_t)len;
    return 0;
}

/* With the data key in l->dek and identity and signature verified. */
static int open_stream(struct tl_locked *l, const struct head *h, const uint8_t *blob, uint64_t padded,
                       const uint8_t **ret, size_t *ret_len)
{
    uint8_t commit[TL_BLAKE2B_LEN];
    commitment(h, l->dek, commit);
    if (sodium_memcmp(commit, h->bytes + h->len - TL_BLAKE2B_LEN, sizeof(commit)) != 0)
        return TL_ECAPSULE;
    uint8_t *room = locked_room(l, (size_t)padded);
    if (!room)
        return TL_ENOMEM;
    int err = pull_chunks(l, h, blob + h->len, padded, room);
    return err ? err : take_plain(room, padded, ret, ret_len);
}

int tl_unseal(struct tl_keyring *kr, const struct tl_seal_id *id, const void *wrap, size_t wrap_len, const void *blob,
              size_t len, struct tl_locked *locked, const uint8_t **ret, size_t *ret_len,
              uint8_t ret_digest[TL_DIGEST_LEN])
{
    struct head h;
    uint64_t padded;
    int err = verify(id, blob, len, &h, &padded, ret_digest);
    if (!err)
        err = unwrap(kr, id, h.hash, wrap, wrap_len, locked);
    if (!err)
        err = open_stream(locked, &h, blob, padded, ret, ret_len);
    if (err)
        tl_locked_wipe(locked);
    return err;
}

int tl_unseal_dek(const struct tl_seal_id *id, const uint8_t dek[TL_DEK_LEN], const void *blob, size_t len,
                  struct tl_locked *locked, const uint8_t **ret, size_t *ret_len, uint8_t ret_digest[TL_DIGEST_LEN])
{
    struct head h;
    uint64_t padded;
    int err = verify(id, blob, len, &h, &padded, ret_digest);
    memcpy(locked->dek, dek, TL_DEK_LEN);
    if (!err)
        err = open_stream(locked, &h, blob, padded, ret, ret_len);
    if (err)
        tl_locked_wipe(locked);
    return err;
}

int tl_rewrap(struct tl_keyring *kr, const struct tl_seal_id *id, const void *wrap, size_t wrap_len, const void *blob,
              size_t len, struct tl_locked *locked, uint8_t ret[TL_WRAP_MAX], size_t *ret_len)
{
    struct head h;
    uint64_t padded;
    const uint8_t *plain;
    size_t plain_len;
    int err = verify(id, blob, len, &h, &padded, NULL);
    if (!err)
        err = unwrap(kr, id, h.hash, wrap, wrap_len, locked);
    if (!err)
        err = open_stream(locked, &h, blob, padded, &plain, &plain_len);
    if (!err)
        err = wrap_server(kr, id, h.hash, locked, ret, ret_len);
    tl_locked_wipe(locked);
    return err;
}

/* ---- records of private steps ---- */

/* format 1 | nonce | XChaCha20-Poly1305 of (length u32 | plain | zeros up to a multiple of 256) */
enum { STEP_PAD = 256, STEP_MAX = 16 * 1024 * 1024 };

void tl_step_id(const struct tl_keyring *kr, const char *org, const char *run_id, const char *step, uint8_t ret[32])
{
    uint8_t key[32];
    tl_keyring_subkey(kr, TL_SUBKEY_STEP_ID, org, key);
    struct tl_blake2b h;
    tl_blake2b_init(&h, key);
    tl_blake2b_field(&h, run_id, strlen(run_id));
    tl_blake2b_field(&h, step, strlen(step));
    tl_blake2b_final(&h, ret);
    sodium_memzero(key, sizeof(key));
}

static void step_aad(const char *org, const uint8_t id[32], uint8_t ret[2 * TL_BLAKE2B_LEN])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, "talos-step-v1", 13);
    tl_blake2b_field(&h, org, strlen(org));
    tl_blake2b_final(&h, ret);
    memcpy(ret + TL_BLAKE2B_LEN, id, 32);
}

int tl_step_seal(const struct tl_keyring *kr, const char *org, const uint8_t id[32], const void *plain, size_t len,
                 uint8_t **ret, size_t *ret_len)
{
    *ret = NULL;
    if (len > STEP_MAX)
        return TL_ETOOBIG;
    size_t padded = (4 + len + STEP_PAD - 1) / STEP_PAD * STEP_PAD;
    uint8_t *out = tl_calloc(1, 1 + NONCE + padded + ABYTES), *body = out + 1 + NONCE;
    if (!out)
        return TL_ENOMEM;
    uint8_t key[32], aad[2 * TL_BLAKE2B_LEN];
    tl_keyring_subkey(kr, TL_SUBKEY_STEP, org, key);
    step_aad(org, id, aad);
    out[0] = 1;
    randombytes_buf(out + 1, NONCE);
    put_le(body, len, 4);
    memcpy(body + 4, plain, len);
    crypto_aead_xchacha20poly1305_ietf_encrypt(body, NULL, body, padded, aad, sizeof(aad), NULL, out + 1, key);
    sodium_memzero(key, sizeof(key));
    *ret = out;
    *ret_len = 1 + NONCE + padded + ABYTES;
    return 0;
}

int tl_step_unseal(const struct tl_keyring *kr, const char *org, const uint8_t id[32], const void *sealed, size_t len,
                   uint8_t **ret, size_t *ret_len)
{
    *ret = NULL;
    const uint8_t *in = sealed;
    if (len < 1 + NONCE + STEP_PAD + ABYTES || len > 1 + NONCE + STEP_MAX + STEP_PAD + ABYTES || in[0] != 1)
        return TL_ECAPSULE;
    size_t padded = len - 1 - NONCE - ABYTES;
    uint8_t *out = malloc(padded), key[32], aad[2 * TL_BLAKE2B_LEN];
    if (!out)
        return TL_ENOMEM;
    tl_keyring_subkey(kr, TL_SUBKEY_STEP, org, key);
    step_aad(org, id, aad);
    int bad = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in + 1 + NONCE, padded + ABYTES, aad,
                                                         sizeof(aad), in + 1, key);
    sodium_memzero(key, sizeof(key));
    uint64_t n = bad ? 0 : get_le(out, 4);
    if (bad || n > padded - 4) {
        sodium_memzero(out, padded);
        free(out);
        return TL_ECAPSULE;
    }
    memmove(out, out + 4, (size_t)n);
    *ret = out;
    *ret_len = (size_t)n;
    return 0;
}

/* Makes tests/vectors/seal: a second implementation of the sealed blob, written from SPEC.md section 6 on libsodium
 * alone. Its randomness is a fixed stream, so that it always makes the same files. When the format changes, from the
 * top of the sources:
 *     gcc -std=c17 -D_GNU_SOURCE -o /tmp/make_seal tests/vectors/make_seal.c -lsodium && /tmp/make_seal */
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 65536, MAX = 1 << 20 };

struct spec {
    const char *file, *org, *capsule, *version;
    size_t len;
    /* How it is made wrong, if at all. */
    int no_final_tag, early_final_tag, dirty_padding, long_length, wrong_commit, plain_ad, swap_chunks, over_padded,
        zero_length, huge_length, lying_header;
};

static unsigned char blob[2 * MAX], room[MAX], dek[32], author_pk[32], author_sk[64];
static FILE *list;
static uint64_t stream_pos;

static const char *impl_name(void)
{
    return "fixed";
}
static void impl_buf(void *const buf, const size_t size)
{
    unsigned char seed[32];
    crypto_generichash(seed, 32, (unsigned char *)&stream_pos, 8, (const unsigned char *)"talos vectors randomness",
                       24);
    stream_pos++;
    randombytes_buf_deterministic(buf, size, seed);
}
static uint32_t impl_random(void)
{
    uint32_t v;
    impl_buf(&v, 4);
    return v;
}

static size_t put(size_t at, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        blob[at + (size_t)i] = (unsigned char)(v >> (8 * i));
    return at + (size_t)bytes;
}

static size_t text(size_t at, const char *s)
{
    at = put(at, strlen(s), 2);
    memcpy(blob + at, s, strlen(s));
    return at + strlen(s);
}

static void hex(const char *name, const unsigned char *p, size_t n, const char *end)
{
    char out[200];
    sodium_bin2hex(out, sizeof(out), p, n);
    fprintf(list, "\"%s\":\"%s\"%s", name, out, end);
}

static size_t make(const struct spec *s)
{
    size_t padded = 16384;
    while (padded < s->len + 8)
        padded *= 2;
    if (s->over_padded)
        padded *= 2;
    memset(room, 0, sizeof(room));
    for (int i = 0; i < 8; i++)
        room[i] = (unsigned char)((s->huge_length   ? UINT64_MAX
                                   : s->long_length ? padded
                                   : s->zero_length ? 0
                                                    : s->len) >>
                                  (8 * i));
    for (size_t i = 0; i < s->len && !s->zero_length; i++)
        room[8 + i] = (unsigned char)(i * 7 + s->len);
    if (s->dirty_padding)
        room[padded - 1] = 1;

    memcpy(blob, "TLSCAP1", 7);
    size_t at = put(11, 1, 2);
    at = text(at, s->capsule);
    at = text(at, s->version);
    at = text(at, s->org);
    memcpy(blob + at, author_pk, 32);
    at = put(put(at + 32, CHUNK, 4), padded, 8);
    crypto_generichash_state h;
    crypto_generichash_init(&h, dek, 32, 32);
    crypto_generichash_update(&h, (const unsigned char *)"talos-commit", 12);
    crypto_generichash_update(&h, blob + 11, at - 11);
    crypto_generichash_final(&h, blob + at, 32);
    blob[at] ^= (unsigned char)s->wrong_commit;
    at += 32;
    put(7, at - 11, 4);
    unsigned char ad[40];
    crypto_generichash(ad, 32, blob, at, NULL, 0);

    crypto_secretstream_xchacha20poly1305_state st;
    crypto_secretstream_xchacha20poly1305_init_push(&st, blob + at, dek);
    at += 24;
    size_t first = at;
    for (size_t i = 0; i * CHUNK < padded; i++) {
        size_t n = padded - i * CHUNK < CHUNK ? padded - i * CHUNK : CHUNK;
        for (int k = 0; k < 8; k++)
            ad[32 + k] = (unsigned char)(i >> (8 * k));
        int last = (i + 1) * CHUNK >= padded;
        unsigned char tag = (last && !s->no_final_tag) || (s->early_final_tag && i == 0)
                                ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                                : 0;
        crypto_secretstream_xchacha20poly1305_push(&st, blob + at, NULL, room + i * CHUNK, n, s->plain_ad ? NULL : ad,
                                                   s->plain_ad ? 0 : 40, tag);
        at += n + 17;
    }
    if (s->swap_chunks)
        for (size_t i = 0; i < CHUNK + 17; i++) {
            unsigned char t = blob[first + i];
            blob[first + i] = blob[first + CHUNK + 17 + i];
            blob[first + CHUNK + 17 + i] = t;
        }
    if (s->lying_header)
        blob[13 + 2 + strlen(s->capsule) +
             2]++; /* the version's first digit: all that is inside is bound to the true one */
    unsigned char signed_text[80];
    memcpy(signed_text, "talos-capsule-v1", 16);
    crypto_generichash(signed_text + 16, 64, blob, at, NULL, 0);
    crypto_sign_detached(blob + at, NULL, signed_text, sizeof(signed_text), author_sk);
    at += 64;

    char path[200];
    snprintf(path, sizeof(path), "tests/vectors/seal/%s", s->file);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(blob, 1, at, f) != at || fclose(f) != 0)
        exit(1);
    unsigned char digest[32], plain[32], all[128];
    memcpy(all, signed_text + 16, 64);
    memcpy(all + 64, blob + at - 64, 64);
    crypto_generichash(digest, 32, all, 128, NULL, 0);
    crypto_generichash(plain, 32, room + 8, s->len, NULL, 0);
    fprintf(list, "  {\"file\":\"%s\",\"org\":\"%s\",\"capsule\":\"%s\",\"version\":\"%s\",", s->file, s->org,
            s->capsule, s->version);
    hex("author_public", author_pk, 32, ",");
    hex("dek", dek, 32, ",");
    hex("digest", digest, 32, ",");
    fprintf(list, "\"plain_len\":%zu,", s->len);
    hex("plain_blake2b", plain, 32, "}");
    return at;
}

static int count;
/* A bad vector: a file, changed. edits is JSON. */
static void bad(const char *name, const char *base, const char *more)
{
    fprintf(list, "%s\n  {\"name\":\"%s\",\"base\":\"%s\"%s}", count++ ? "," : "", name, base, more);
}

static void bad_bits(const char *base, size_t head, size_t len)
{
    char name[80], more[120];
    for (size_t at = 0; at < len; at += at < head ? 3 : at < head + 24 ? 5 : len / 23) {
        snprintf(name, sizeof(name), "bit flipped at %zu", at);
        snprintf(more, sizeof(more), ",\"xor\":[{\"at\":%zu,\"with\":%u}]", at, 1u << (at % 8));
        bad(name, base, more);
    }
    for (size_t at = len - 64; at < len; at += 9) {
        snprintf(name, sizeof(name), "signature bit flipped at %zu", at);
        snprintf(more, sizeof(more), ",\"xor\":[{\"at\":%zu,\"with\":1}]", at);
        bad(name, base, more);
    }
}

static void bad_lengths(const char *base, size_t len)
{
    static const size_t cut[] = {1, 17, 64, 65, 81, 1000, 16384};
    char name[80], more[120];
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
        snprintf(name, sizeof(name), "%zu bytes cut off", cut[i]);
        snprintf(more, sizeof(more), ",\"length\":%zu", len - cut[i]);
        bad(name, base, more);
    }
    bad("empty", base, ",\"length\":0");
    bad("magic alone", base, ",\"length\":7");
    bad("a byte more", base, ",\"append\":\"00\"");
}

/* Somebody who has no author key takes the blob, puts in his own public key and signs. */
static void bad_resigned(const char *base, size_t key_at, size_t len)
{
    unsigned char seed[32], pk[32], sk[64], sig[64], text_[80];
    char a[65], b[129], more[600];
    memset(seed, 7, sizeof(seed));
    crypto_sign_seed_keypair(pk, sk, seed);
    memcpy(blob + key_at, pk, 32);
    memcpy(text_, "talos-capsule-v1", 16);
    crypto_generichash(text_ + 16, 64, blob, len - 64, NULL, 0);
    crypto_sign_detached(sig, NULL, text_, 80, sk);
    sodium_bin2hex(a, sizeof(a), pk, 32);
    sodium_bin2hex(b, sizeof(b), sig, 64);
    snprintf(more, sizeof(more), ",\"splice\":[{\"at\":%zu,\"hex\":\"%s\"},{\"at\":%zu,\"hex\":\"%s\"}]", key_at, a,
             len - 64, b);
    bad("stripped and signed by another, the enrolled author expected", base, more);
    snprintf(more, sizeof(more),
             ",\"author_public\":\"%s\",\"splice\":[{\"at\":%zu,\"hex\":\"%s\"},{\"at\":%zu,\"hex\":\"%s\"}]", a,
             key_at, a, len - 64, b);
    bad("stripped and signed by another, who is enrolled too", base, more);
    snprintf(more, sizeof(more), ",\"splice\":[{\"at\":%zu,\"hex\":\"%s\"}]", len - 64, b);
    bad("the signature of another", base, more);
}

int main(void)
{
    static randombytes_implementation impl = {.implementation_name = impl_name, .random = impl_random, .buf = impl_buf};
    static const struct spec good[] = {
        {.file = "good-small.tlscap", .org = "talos", .capsule = "auteur.test", .version = "1.0.0", .len = 1},
        {.file = "good-full.tlscap", .org = "talos", .capsule = "auteur.test", .version = "1.0.1", .len = 16376},
        {.file = "good-next.tlscap", .org = "acme", .capsule = "a", .version = "2.0.0-rc.1", .len = 16377},
        {.file = "good-chunks.tlscap",
         .org = "acme",
         .capsule = "studio.long-name_with.parts",
         .version = "10.20.30",
         .len = 70000},
    };
    static const struct spec wrong[] = {
        {.file = "bad-no-final-tag.tlscap", .no_final_tag = 1, .len = 100},
        {.file = "bad-early-final-tag.tlscap", .early_final_tag = 1, .len = 70000},
        {.file = "bad-padding.tlscap", .dirty_padding = 1, .len = 100},
        {.file = "bad-length.tlscap", .long_length = 1, .len = 100},
        {.file = "bad-empty.tlscap", .zero_length = 1, .len = 100},
        {.file = "bad-huge-length.tlscap", .huge_length = 1, .len = 100},
        {.file = "bad-header-lies.tlscap", .lying_header = 1, .len = 100},
        {.file = "bad-over-padded.tlscap", .over_padded = 1, .len = 100},
        {.file = "bad-commit.tlscap", .wrong_commit = 1, .len = 100},
        {.file = "bad-no-ad.tlscap", .plain_ad = 1, .len = 100},
        {.file = "bad-chunk-order.tlscap", .swap_chunks = 1, .len = 70000},
    };
    unsigned char seed[32];
    if (randombytes_set_implementation(&impl) || sodium_init() < 0 ||
        !(list = fopen("tests/vectors/seal/vectors.json", "w")))
        return 1;
    memset(seed, 3, sizeof(seed));
    crypto_sign_seed_keypair(author_pk, author_sk, seed);
    memset(dek, 9, sizeof(dek));
    fprintf(list, "{\"good\":[\n");
    size_t len = 0; /* of the first, which the bad ones are made from */
    for (size_t i = 0; i < 4; i++) {
        size_t n = make(&good[i]);
        len = i ? len : n;
        fprintf(list, i < 3 ? ",\n" : "\n");
    }
    fprintf(list, "],\"made_wrong\":[\n");
    enum { WRONG = sizeof(wrong) / sizeof(wrong[0]) };
    for (size_t i = 0; i < WRONG; i++) {
        struct spec s = wrong[i];
        s.org = "talos", s.capsule = "auteur.test", s.version = "1.0.0";
        make(&s);
        fprintf(list, i + 1 < WRONG ? ",\n" : "\n");
    }
    fprintf(list, "],\"bad\":[");
    const char *base = good[0].file;
    size_t key_at = 11 + 2 + 2 + 11 + 2 + 5 + 2 + 5, head = key_at + 32 + 4 + 8 + 32;
    FILE *f = fopen("tests/vectors/seal/good-small.tlscap", "rb");
    if (!f || fread(blob, 1, sizeof(blob), f) != len)
        return 1;
    fclose(f);
    bad_bits(base, head, len);
    bad_lengths(base, len);
    bad("another organisation", base, ",\"org\":\"acme\"");
    bad("another capsule", base, ",\"capsule\":\"auteur.tesu\"");
    bad("an older version", base, ",\"version\":\"0.9.9\"");
    bad("a newer version", base, ",\"version\":\"1.0.1\"");
    bad("fields run into one another", base, ",\"capsule\":\"auteur.test1\",\"version\":\".0.0\"");
    bad("another key", base, ",\"dek\":\"0000000000000000000000000000000000000000000000000000000000000000\"");
    bad("another author", base,
        ",\"author_public\":\"0000000000000000000000000000000000000000000000000000000000000000\"");
    bad_resigned(base, key_at, len);
    fprintf(list, "\n]}\n");
    return fclose(list) != 0;
}

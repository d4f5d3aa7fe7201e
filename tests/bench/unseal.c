/* Unseal throughput over the same libsodium primitives called bare: hash of the blob, signature, stream, in turns so
 * that both see the same machine. Prints the median of the ratios of rates for each size (1 is bare), and last "unseal"
 * with the smallest of them. */
#include "capsules/seal.h"

#include "base/hash.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 101 };

static const uint8_t dek[32] = {9};

struct bare {
    uint8_t *blob;
    size_t len, padded, head;
    uint8_t *room, pk[32];
};

/* Time that this thread was at work: another program on the machine counts for neither side. */
static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* What cannot be left out: BLAKE2b over all, one signature, the stream with its additional data. No checks of form, no
 * padding, no wiping. */
static void open_bare(const struct bare *b)
{
    uint8_t text[80], ad[40] = {0};
    crypto_generichash(text + 16, 64, b->blob, b->len - 64, NULL, 0);
    memcpy(text, "talos-capsule-v1", 16);
    if (crypto_sign_verify_detached(b->blob + b->len - 64, text, 80, b->pk) != 0)
        abort();
    crypto_generichash(ad, 32, b->blob, b->head, NULL, 0);
    crypto_secretstream_xchacha20poly1305_state st;
    crypto_secretstream_xchacha20poly1305_init_pull(&st, b->blob + b->head, dek);
    const uint8_t *in = b->blob + b->head + 24;
    for (size_t at = 0, i = 0; at < b->padded; at += TL_SEAL_CHUNK, i++) {
        size_t n = b->padded - at < TL_SEAL_CHUNK ? b->padded - at : TL_SEAL_CHUNK;
        unsigned char tag;
        ad[32] = (uint8_t)i;
        if (crypto_secretstream_xchacha20poly1305_pull(&st, b->room + at, NULL, &tag, in, n + 17, ad, 40) != 0)
            abort();
        in += n + 17;
    }
}

/* A blob with a known data key, as tl_seal would make it. */
static void make(struct bare *b, size_t padded)
{
    static const char org[] = "talos", id[] = "bench", version[] = "1.0.0";
    uint8_t sk[64], *p;
    crypto_sign_keypair(b->pk, sk);
    b->padded = padded;
    b->head = 7 + 4 + 2 + 6 + 5 + 5 + 5 + 32 + 4 + 8 + 32;
    b->len = b->head + 24 + padded + (padded + TL_SEAL_CHUNK - 1) / TL_SEAL_CHUNK * 17 + 64;
    b->blob = calloc(1, b->len);
    b->room = calloc(1, padded);
    p = b->blob;
    memcpy(p, "TLSCAP1", 7);
    p[7] = (uint8_t)(b->head - 11);
    p[11] = 1;
    p += 13;
    *p = sizeof(id) - 1, memcpy(p + 2, id, 5), p += 7;
    *p = sizeof(version) - 1, memcpy(p + 2, version, 5), p += 7;
    *p = sizeof(org) - 1, memcpy(p + 2, org, 5), p += 7;
    memcpy(p, b->pk, 32);
    p += 32;
    p[2] = 1; /* 65536 */
    for (int i = 0; i < 8; i++)
        p[4 + i] = (uint8_t)((uint64_t)padded >> (8 * i));
    p += 12;
    crypto_generichash_state h;
    crypto_generichash_init(&h, dek, 32, 32);
    crypto_generichash_update(&h, (const uint8_t *)"talos-commit", 12);
    crypto_generichash_update(&h, b->blob + 11, (size_t)(p - b->blob) - 11);
    crypto_generichash_final(&h, p, 32);
    uint8_t ad[40] = {0}, text[80];
    crypto_generichash(ad, 32, b->blob, b->head, NULL, 0);
    crypto_secretstream_xchacha20poly1305_state st;
    crypto_secretstream_xchacha20poly1305_init_push(&st, b->blob + b->head, dek);
    p = b->blob + b->head + 24;
    size_t len = padded - 8;
    memcpy(b->room, &len, 8);
    memset(b->room + 8, 'x', len);
    for (size_t at = 0, i = 0; at < padded; at += TL_SEAL_CHUNK, i++) {
        size_t n = padded - at < TL_SEAL_CHUNK ? padded - at : TL_SEAL_CHUNK;
        ad[32] = (uint8_t)i;
        crypto_secretstream_xchacha20poly1305_push(&st, p, NULL, b->room + at, n, ad, 40,
                                                   at + n == padded ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                                                                    : 0);
        p += n + 17;
    }
    memcpy(text, "talos-capsule-v1", 16);
    crypto_generichash(text + 16, 64, b->blob, b->len - 64, NULL, 0);
    crypto_sign_detached(b->blob + b->len - 64, NULL, text, 80, sk);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(size_t padded, int times)
{
    struct bare b;
    struct tl_locked *locked;
    double ratios[ROUNDS], bare_best = 1e18, ours_best = 1e18;
    make(&b, padded);
    struct tl_seal_id id = {"talos", "bench", "1.0.0", b.pk};
    if (tl_locked_new(&locked))
        exit(1);
    for (int r = 0; r < ROUNDS; r++) {
        double t[2];
        for (int k = 0; k < 2; k++) {
            int ours = k ^ (r & 1);
            int64_t start = now_ns();
            for (int i = 0; i < times; i++) {
                const uint8_t *out;
                size_t n;
                if (!ours)
                    open_bare(&b);
                else if (tl_unseal_dek(&id, dek, b.blob, b.len, locked, &out, &n, NULL))
                    abort();
                else
                    tl_locked_wipe(locked);
            }
            t[ours] = (double)(now_ns() - start) / times;
        }
        ratios[r] = t[0] / t[1];
        bare_best = t[0] < bare_best ? t[0] : bare_best;
        ours_best = t[1] < ours_best ? t[1] : ours_best;
    }
    qsort(ratios, ROUNDS, sizeof(double), by_value);
    printf("size_%zu %.3f (%.0f of %.0f MB/s)\n", padded, ratios[ROUNDS / 2], (double)padded * 1000 / ours_best,
           (double)padded * 1000 / bare_best);
    tl_locked_free(locked);
    free(b.blob);
    free(b.room);
    return ratios[ROUNDS / 2];
}

int main(void)
{
    if (tl_hash_init())
        return 1;
    static const struct {
        size_t padded;
        int times;
    } sizes[] = {{16 * 1024, 20}, {64 * 1024, 10}, {1024 * 1024, 1}, {4 * 1024 * 1024, 1}};
    double least = 1e9;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        double r = measure(sizes[i].padded, sizes[i].times);
        least = r < least ? r : least;
    }
    printf("unseal %.3f\n", least);
    return 0;
}

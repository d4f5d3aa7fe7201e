#include "capsules/seal.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "tests/unit/capsules/keys.h"

#include <sodium.h>

static struct tl_locked *locked;

static int setup(void **state)
{
    return keys_setup(state) || tl_locked_new(&locked);
}

static int teardown(void **state)
{
    tl_locked_free(locked);
    return keys_teardown(state);
}

static struct tl_seal_id id_of(const char *org, const char *capsule, const char *version)
{
    return (struct tl_seal_id){org, capsule, version, tl_keyring_author_public(keys_kr)};
}

static struct tl_sealed seal_text(const struct tl_seal_id *id, const void *plain, size_t len)
{
    struct tl_sealed s;
    assert_int_equal(tl_seal(keys_kr, id, tl_keyring_author_secret(keys_kr), plain, len, locked, &s), 0);
    return s;
}

static int open_it(const struct tl_seal_id *id, const struct tl_sealed *s, const uint8_t **plain, size_t *len)
{
    uint8_t digest[32];
    *plain = NULL;
    int err = tl_unseal(keys_kr, id, s->wrap, s->wrap_len, s->blob, s->len, locked, plain, len, digest);
    if (!err)
        assert_memory_equal(digest, s->digest, 32);
    return err;
}

static void what_is_sealed_comes_out_again(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 16375, 16376, 16377, 65528, 65529, 200000, TL_SEAL_PLAIN_MAX};
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0");
    uint8_t *plain = malloc(TL_SEAL_PLAIN_MAX);
    for (size_t i = 0; i < TL_SEAL_PLAIN_MAX; i++)
        plain[i] = (uint8_t)(i * 131 >> 3);
    for (size_t i = 0; i < TL_ARRAY_LEN(sizes); i++) {
        struct tl_sealed s = seal_text(&id, plain, sizes[i]);
        const uint8_t *out;
        size_t n;
        assert_int_equal(open_it(&id, &s, &out, &n), 0);
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(out, plain, n);
        tl_sealed_clear(&s);
    }
    struct tl_sealed s;
    assert_int_equal(tl_seal(keys_kr, &id, tl_keyring_author_secret(keys_kr), plain, 0, locked, &s), TL_EINVAL);
    assert_int_equal(tl_seal(keys_kr, &id, tl_keyring_author_secret(keys_kr), plain, TL_SEAL_PLAIN_MAX + 1, locked, &s),
                     TL_EINVAL);
    free(plain);
}

static void size_tells_little(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0");
    static const uint8_t plain[16376];
    struct tl_sealed a = seal_text(&id, plain, 1), b = seal_text(&id, plain, sizeof(plain));
    assert_int_equal(a.len, b.len);
    tl_sealed_clear(&a);
    tl_sealed_clear(&b);
}

static void what_was_opened_is_wiped(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0");
    struct tl_sealed s = seal_text(&id, "a private text", 14);
    const uint8_t *out;
    size_t n;
    assert_int_equal(open_it(&id, &s, &out, &n), 0);
    assert_memory_equal(out, "a private text", 14);
    tl_locked_wipe(locked);
    for (size_t i = 0; i < 14; i++)
        assert_int_equal(out[i], 0);
    /* A failure leaves nothing either. */
    assert_int_equal(open_it(&id, &s, &out, &n), 0);
    const uint8_t *where = out;
    s.blob[s.len - 70] ^= 1;
    assert_int_equal(open_it(&id, &s, &out, &n), TL_ECAPSULE);
    for (size_t i = 0; i < 14; i++)
        assert_int_equal(where[i], 0);
    tl_sealed_clear(&s);
}

static void plain_bytes_are_not_in_the_blob(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0");
    struct tl_sealed a = seal_text(&id, "canary-7f3a", 11), b = seal_text(&id, "canary-7f3a", 11);
    assert_null(memmem(a.blob, a.len, "canary", 6));
    assert_memory_not_equal(a.digest, b.digest, 32);
    tl_sealed_clear(&a);
    tl_sealed_clear(&b);
}

/* Each bit of a header byte and of the wrap, and a bit here and there of the rest. */
static void every_flipped_bit_is_refused_alike(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0");
    struct tl_sealed s = seal_text(&id, "text", 4);
    const uint8_t *out;
    size_t n, tried = 0;
    for (size_t at = 0; at < s.len; at += at < 150 ? 1 : at > s.len - 100 ? 1 : 131)
        for (int bit = 0; bit < 8; bit += at < 150 ? 2 : 5, tried++) {
            s.blob[at] ^= (uint8_t)(1 << bit);
            assert_int_equal(open_it(&id, &s, &out, &n), TL_ECAPSULE);
            assert_null(out);
            s.blob[at] ^= (uint8_t)(1 << bit);
        }
    for (size_t at = 0; at < s.wrap_len; at++)
        for (int bit = 0; bit < 8; bit++, tried++) {
            s.wrap[at] ^= (uint8_t)(1 << bit);
            assert_int_equal(open_it(&id, &s, &out, &n), TL_ECAPSULE);
            s.wrap[at] ^= (uint8_t)(1 << bit);
        }
    assert_true(tried > 1000);
    assert_int_equal(open_it(&id, &s, &out, &n), 0);
    tl_sealed_clear(&s);
}

static void every_truncation_is_refused_alike(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0");
    struct tl_sealed s = seal_text(&id, "text", 4);
    const uint8_t *out;
    size_t n, len = s.len, wrap_len = s.wrap_len;
    for (size_t cut = 1; cut <= len; cut += cut < 200 ? 1 : 97) {
        /* A copy of just that size, so that reading past it is seen by the sanitizer. */
        uint8_t *copy = malloc(len - cut + 1);
        memcpy(copy, s.blob, len - cut);
        assert_int_equal(tl_unseal(keys_kr, &id, s.wrap, s.wrap_len, copy, len - cut, locked, &out, &n, NULL),
                         TL_ECAPSULE);
        free(copy);
    }
    for (size_t k = 0; k < wrap_len; k++) {
        s.wrap_len = k;
        assert_int_equal(open_it(&id, &s, &out, &n), TL_ECAPSULE);
    }
    tl_sealed_clear(&s);
}

static void identities_and_wraps_cannot_be_exchanged(void **state)
{
    (void)state;
    struct tl_seal_id ids[] = {id_of("talos", "auteur.x", "1.0.0"), id_of("talos", "auteur.x", "1.0.1"),
                               id_of("talos", "auteur.y", "1.0.0"), id_of("acme", "auteur.x", "1.0.0")};
    struct tl_sealed s[4];
    const uint8_t *out;
    size_t n;
    for (int i = 0; i < 4; i++)
        s[i] = seal_text(&ids[i], "text", 4);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            assert_int_equal(open_it(&ids[i], &s[k], &out, &n), i == k ? 0 : TL_ECAPSULE);
            struct tl_sealed mixed = s[i];
            memcpy(mixed.wrap, s[k].wrap, sizeof(mixed.wrap));
            mixed.wrap_len = s[k].wrap_len;
            assert_int_equal(open_it(&ids[i], &mixed, &out, &n), i == k ? 0 : TL_ECAPSULE);
        }
    /* The same version sealed twice: the wrap of one does not open the other. */
    struct tl_sealed again = seal_text(&ids[0], "text", 4);
    memcpy(again.wrap, s[0].wrap, s[0].wrap_len);
    assert_int_equal(open_it(&ids[0], &again, &out, &n), TL_ECAPSULE);
    tl_sealed_clear(&again);
    for (int i = 0; i < 4; i++)
        tl_sealed_clear(&s[i]);
}

static void another_author_is_refused(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("talos", "auteur.x", "1.0.0"), other = id;
    const uint8_t *out;
    size_t n;
    other.author_public = tl_keyring_issuer_public(keys_kr);
    struct tl_sealed s;
    assert_int_equal(tl_seal(keys_kr, &other, tl_keyring_issuer_secret(keys_kr), "text", 4, locked, &s), 0);
    assert_int_equal(open_it(&id, &s, &out, &n), TL_ECAPSULE);
    assert_int_equal(open_it(&other, &s, &out, &n), 0);
    tl_sealed_clear(&s);
    /* Our key in the header, but signed by somebody else. */
    assert_int_equal(tl_seal(keys_kr, &id, tl_keyring_issuer_secret(keys_kr), "text", 4, locked, &s), 0);
    assert_int_equal(open_it(&id, &s, &out, &n), TL_ECAPSULE);
    tl_sealed_clear(&s);
}

static void a_capsule_is_imported_by_sealed_box_and_rewrapped(void **state)
{
    (void)state;
    /* What an author does offline with the server's import key, and the server on taking it over. */
    size_t len, n;
    TL_AUTO_JSON json_t *v = NULL;
    assert_int_equal(tl_json_load("tests/vectors/seal/vectors.json", 1 << 20, &v, NULL), 0);
    const json_t *g = json_array_get(json_object_get(v, "good"), 2);
    uint8_t dek[32], pk[32], wrap[TL_WRAP_MAX], digest[32], *blob = malloc(1 << 20);
    assert_true(tl_unhex(tl_json_str(g, "dek"), dek, 32) && tl_unhex(tl_json_str(g, "author_public"), pk, 32));
    FILE *f = fopen("tests/vectors/seal/good-next.tlscap", "rb");
    len = fread(blob, 1, 1 << 20, f);
    fclose(f);
    struct tl_seal_id id = {tl_json_str(g, "org"), tl_json_str(g, "capsule"), tl_json_str(g, "version"), pk};
    const uint8_t *out;
    size_t wrap_len, again_len;
    assert_int_equal(tl_wrap_import(tl_keyring_import_public(keys_kr), dek, wrap, &wrap_len), 0);
    assert_int_equal(tl_unseal(keys_kr, &id, wrap, wrap_len, blob, len, locked, &out, &n, digest), 0);
    assert_int_equal(n, 16377);
    uint8_t again[TL_WRAP_MAX];
    assert_int_equal(tl_rewrap(keys_kr, &id, wrap, wrap_len, blob, len, locked, again, &again_len), 0);
    assert_int_equal(again[0], 1);
    assert_int_equal(tl_unseal(keys_kr, &id, again, again_len, blob, len, locked, &out, &n, digest), 0);
    assert_int_equal(tl_wrap_import(tl_keyring_issuer_public(keys_kr), dek, wrap, &wrap_len), 0);
    assert_int_equal(tl_unseal(keys_kr, &id, wrap, wrap_len, blob, len, locked, &out, &n, digest), TL_ECAPSULE);
    free(blob);
}

static size_t put_text(uint8_t *p, const char *s)
{
    p[0] = (uint8_t)strlen(s);
    p[1] = 0;
    memcpy(p + 2, s, strlen(s));
    return 2 + strlen(s);
}

/* SPEC.md 6.3, read again: with the KEK in hand the wrap opens by libsodium alone, and its key answers for the
 * commitment. */
static void a_wrap_is_what_the_specification_says(void **state)
{
    (void)state;
    struct tl_seal_id id = id_of("acme", "auteur.x", "1.0.0");
    struct tl_sealed s = seal_text(&id, "text", 4);
    size_t head = 11 + s.blob[7], n = 0;
    uint8_t kek[32], dek[32], aad[300], commit[32];
    uint32_t version;
    assert_int_equal(tl_keyring_kek(keys_kr, "acme", 0, kek, &version), 0);
    assert_int_equal(s.wrap_len, 1 + 4 + 24 + 48);
    assert_int_equal(s.wrap[0], 1);
    assert_memory_equal(s.wrap + 1, &version, 4);
    n += put_text(aad + n, "talos-dek-v1");
    n += put_text(aad + n, "acme");
    n += put_text(aad + n, "auteur.x");
    n += put_text(aad + n, "1.0.0");
    memcpy(aad + n, &version, 4);
    crypto_generichash(aad + n + 4, 32, s.blob, head, NULL, 0);
    assert_int_equal(
        crypto_aead_xchacha20poly1305_ietf_decrypt(dek, NULL, NULL, s.wrap + 29, 48, aad, n + 36, s.wrap + 5, kek), 0);
    crypto_generichash_state h;
    crypto_generichash_init(&h, dek, 32, 32);
    crypto_generichash_update(&h, (const uint8_t *)"talos-commit", 12);
    crypto_generichash_update(&h, s.blob + 11, head - 32 - 11);
    crypto_generichash_final(&h, commit, 32);
    assert_memory_equal(commit, s.blob + head - 32, 32);
    tl_sealed_clear(&s);
}

/* ---- published vectors: made by tests/vectors/make_seal.c, a second implementation ---- */

static uint8_t *load(const char *file, size_t *ret_len)
{
    char path[200];
    snprintf(path, sizeof(path), "tests/vectors/seal/%s", file);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing: tests run from the top of the sources", path);
    uint8_t *bytes = malloc(1 << 20);
    *ret_len = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

static int open_vector(const json_t *v, const json_t *over, const uint8_t *blob, size_t len, const uint8_t **out,
                       size_t *n, uint8_t digest[32])
{
    const char *keys[] = {"org", "capsule", "version", "author_public", "dek"}, *got[5];
    for (int i = 0; i < 5; i++)
        got[i] = tl_json_str(over, keys[i]) ? tl_json_str(over, keys[i]) : tl_json_str(v, keys[i]);
    uint8_t pk[32], dek[32];
    assert_true(tl_unhex(got[3], pk, 32) && tl_unhex(got[4], dek, 32));
    struct tl_seal_id id = {got[0], got[1], got[2], pk};
    return tl_unseal_dek(&id, dek, blob, len, locked, out, n, digest);
}

static void good_vectors_open(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *all = NULL;
    assert_int_equal(tl_json_load("tests/vectors/seal/vectors.json", 1 << 20, &all, NULL), 0);
    const json_t *list = json_object_get(all, "good");
    assert_true(json_array_size(list) >= 4);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        size_t len, n;
        uint8_t *blob = load(tl_json_str(v, "file"), &len), digest[32], want[32], is[32];
        const uint8_t *out;
        assert_int_equal(open_vector(v, NULL, blob, len, &out, &n, digest), 0);
        assert_int_equal(n, tl_json_int(v, "plain_len", -1));
        assert_true(tl_unhex(tl_json_str(v, "digest"), want, 32));
        assert_memory_equal(digest, want, 32);
        struct tl_blake2b h;
        tl_blake2b_init(&h, NULL);
        tl_blake2b_update(&h, out, n);
        tl_blake2b_final(&h, is);
        assert_true(tl_unhex(tl_json_str(v, "plain_blake2b"), want, 32));
        assert_memory_equal(is, want, 32);
        free(blob);
    }
}

static void vectors_made_wrong_by_an_author_are_refused(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *all = NULL;
    assert_int_equal(tl_json_load("tests/vectors/seal/vectors.json", 1 << 20, &all, NULL), 0);
    const json_t *list = json_object_get(all, "made_wrong");
    assert_true(json_array_size(list) >= 11);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        size_t len, n;
        uint8_t *blob = load(tl_json_str(v, "file"), &len), digest[32];
        const uint8_t *out = NULL;
        int err = open_vector(v, NULL, blob, len, &out, &n, digest);
        if (err != TL_ECAPSULE || out)
            fail_msg("%s was not refused: %d", tl_json_str(v, "file"), err);
        free(blob);
    }
}

static size_t apply(const json_t *v, uint8_t *blob, size_t len)
{
    const json_t *xors = json_object_get(v, "xor"), *splices = json_object_get(v, "splice");
    for (size_t i = 0; i < json_array_size(xors); i++)
        blob[tl_json_int(json_array_get(xors, i), "at", 0)] ^= (uint8_t)tl_json_int(json_array_get(xors, i), "with", 0);
    for (size_t i = 0; i < json_array_size(splices); i++) {
        const char *hex = tl_json_str(json_array_get(splices, i), "hex");
        assert_true(tl_unhex(hex, blob + tl_json_int(json_array_get(splices, i), "at", 0), strlen(hex) / 2));
    }
    len = (size_t)tl_json_int(v, "length", (int64_t)len);
    if (tl_json_str(v, "append"))
        blob[len++] = 0;
    return len;
}

static void bad_vectors_give_one_and_the_same_error(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *all = NULL;
    assert_int_equal(tl_json_load("tests/vectors/seal/vectors.json", 1 << 20, &all, NULL), 0);
    const json_t *list = json_object_get(all, "bad"), *good = json_object_get(all, "good");
    assert_true(json_array_size(list) >= 90);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i), *base = json_array_get(good, 0);
        assert_string_equal(tl_json_str(v, "base"), tl_json_str(base, "file"));
        size_t len, n;
        uint8_t *blob = load(tl_json_str(v, "base"), &len), digest[32];
        const uint8_t *out = NULL;
        len = apply(v, blob, len);
        int err = open_vector(base, v, blob, len, &out, &n, digest);
        if (err != TL_ECAPSULE || out)
            fail_msg("\"%s\" was not refused: %d", tl_json_str(v, "name"), err);
        free(blob);
    }
}

/* ---- records of private steps ---- */

static void step_records_are_bound_to_their_place(void **state)
{
    (void)state;
    uint8_t a[32], b[32], *sealed, *out;
    size_t len, n;
    tl_step_id(keys_kr, "acme", "0190-run", "bong/rhythm", a);
    tl_step_id(keys_kr, "acme", "0190-run", "bong/palette", b);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(tl_step_seal(keys_kr, "acme", a, "{\"x\":1}", 7, &sealed, &len), 0);
    assert_null(memmem(sealed, len, "{\"x\"", 4));
    assert_int_equal(len, 1 + 24 + 256 + 16);
    assert_int_equal(tl_step_unseal(keys_kr, "acme", a, sealed, len, &out, &n), 0);
    assert_int_equal(n, 7);
    assert_memory_equal(out, "{\"x\":1}", 7);
    free(out);
    assert_int_equal(tl_step_unseal(keys_kr, "acme", b, sealed, len, &out, &n), TL_ECAPSULE);
    assert_int_equal(tl_step_unseal(keys_kr, "acmf", a, sealed, len, &out, &n), TL_ECAPSULE);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(tl_step_unseal(keys_kr, "acme", a, sealed, i, &out, &n), TL_ECAPSULE);
        sealed[i] ^= 4;
        assert_int_equal(tl_step_unseal(keys_kr, "acme", a, sealed, len, &out, &n), TL_ECAPSULE);
        assert_null(out);
        sealed[i] ^= 4;
    }
    free(sealed);
    assert_int_equal(tl_step_seal(keys_kr, "acme", a, "", 0, &sealed, &len), 0);
    assert_int_equal(tl_step_unseal(keys_kr, "acme", a, sealed, len, &out, &n), 0);
    assert_int_equal(n, 0);
    free(out);
    free(sealed);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_sealed_comes_out_again),
        T(size_tells_little),
        T(what_was_opened_is_wiped),
        T(plain_bytes_are_not_in_the_blob),
        T(every_flipped_bit_is_refused_alike),
        T(every_truncation_is_refused_alike),
        T(identities_and_wraps_cannot_be_exchanged),
        T(another_author_is_refused),
        T(a_capsule_is_imported_by_sealed_box_and_rewrapped),
        T(a_wrap_is_what_the_specification_says),
        T(good_vectors_open),
        T(vectors_made_wrong_by_an_author_are_refused),
        T(bad_vectors_give_one_and_the_same_error),
        T(step_records_are_bound_to_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

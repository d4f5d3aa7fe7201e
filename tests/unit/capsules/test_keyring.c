#include "base/err.h"
#include "base/hash.h"
#include "tests/unit/capsules/keys.h"

#include <sys/stat.h>

static void first_start_makes_a_root_key_of_mode_0600(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(stat(tmp_path("root.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 13 + 64 + 1);
}

static void keys_are_the_same_after_a_restart(void **state)
{
    (void)state;
    uint8_t pub[2][32], author[2][32], import[2][32], sub[2][32], kek[2][32];
    uint32_t v[2];
    for (int i = 0; i < 2; i++) {
        memcpy(pub[i], tl_keyring_issuer_public(keys_kr), 32);
        memcpy(author[i], tl_keyring_author_public(keys_kr), 32);
        memcpy(import[i], tl_keyring_import_public(keys_kr), 32);
        tl_keyring_subkey(keys_kr, TL_SUBKEY_CACHE, "acme", sub[i]);
        assert_int_equal(tl_keyring_kek_make(keys_kr, "acme"), 0);
        assert_int_equal(tl_keyring_kek(keys_kr, "acme", 0, kek[i], &v[i]), 0);
        keys_close();
        keys_open();
    }
    assert_memory_equal(pub[0], pub[1], 32);
    assert_memory_equal(author[0], author[1], 32);
    assert_memory_equal(import[0], import[1], 32);
    assert_memory_equal(sub[0], sub[1], 32);
    assert_memory_equal(kek[0], kek[1], 32);
    assert_int_equal(v[0], 1);
    assert_memory_not_equal(pub[0], author[0], 32);
}

static void the_secret_of_the_issuer_ends_with_its_public_key(void **state)
{
    (void)state;
    assert_memory_equal(tl_keyring_issuer_secret(keys_kr) + 32, tl_keyring_issuer_public(keys_kr), 32);
    assert_memory_equal(tl_keyring_author_secret(keys_kr) + 32, tl_keyring_author_public(keys_kr), 32);
}

static void subkeys_differ_by_purpose_and_organisation(void **state)
{
    (void)state;
    uint8_t a[32], b[32], c[32];
    tl_keyring_subkey(keys_kr, TL_SUBKEY_CACHE, "acme", a);
    tl_keyring_subkey(keys_kr, TL_SUBKEY_CACHE, "acmf", b);
    tl_keyring_subkey(keys_kr, TL_SUBKEY_CURSOR, "acme", c);
    assert_memory_not_equal(a, b, 32);
    assert_memory_not_equal(a, c, 32);
}

static void organisations_have_keks_of_their_own(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    assert_int_equal(tl_keyring_kek(keys_kr, "acme", 0, a, NULL), TL_ENOTFOUND);
    assert_int_equal(tl_keyring_kek_make(keys_kr, "acme"), 0);
    assert_int_equal(tl_keyring_kek_make(keys_kr, "acme"), 0);
    assert_int_equal(tl_keyring_kek_make(keys_kr, "acme/0000000001"), 0);
    assert_int_equal(tl_keyring_kek(keys_kr, "acme", 1, a, NULL), 0);
    assert_int_equal(tl_keyring_kek(keys_kr, "acme/0000000001", 1, b, NULL), 0);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(tl_keyring_kek(keys_kr, "acme", 2, a, NULL), TL_ENOTFOUND);
}

static void opens_beside_a_running_server(void **state)
{
    (void)state;
    /* A database is never opened twice in one process: another one does it, as `talos token` would. */
    uint8_t pub[32];
    memcpy(pub, tl_keyring_issuer_public(keys_kr), 32);
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    char cmd[2 * PATH_MAX];
    snprintf(cmd, sizeof(cmd), "%.2000s --issuer %.2000s", self, tmp_dir);
    FILE *p = popen(cmd, "r");
    char hex[80] = "";
    assert_non_null(p);
    assert_non_null(fgets(hex, sizeof(hex), p));
    assert_int_equal(pclose(p), 0);
    uint8_t got[32];
    hex[64] = '\0';
    assert_true(tl_unhex(hex, got, 32));
    assert_memory_equal(got, pub, 32);
}

static int print_issuer(const char *dir)
{
    struct tl_db *db;
    struct tl_keyring *kr;
    char hex[65];
    if (tl_db_open(dir, TL_DB_READ, &db) || tl_keyring_open(dir, db, 0, &kr, NULL))
        return 1;
    tl_hex(tl_keyring_issuer_public(kr), 32, hex);
    puts(hex);
    tl_keyring_close(kr);
    tl_db_close(db);
    return 0;
}

static int reopen(unsigned flags, char *message, size_t cap)
{
    struct tl_diag diag = {0};
    struct tl_keyring *kr = NULL;
    int err = tl_keyring_open(tmp_dir, keys_db, flags, &kr, &diag);
    snprintf(message, cap, "%s", diag.count ? diag.items[0].message : "");
    tl_diag_clear(&diag);
    tl_keyring_close(kr);
    return err;
}

static void a_missing_root_key_is_not_made_anew_over_stored_keys(void **state)
{
    (void)state;
    char message[200];
    assert_int_equal(rename(tmp_path("root.key"), tmp_path("elsewhere")), 0);
    assert_int_equal(reopen(TL_KEYRING_CREATE, message, sizeof(message)), TL_ECORRUPT);
    assert_non_null(strstr(message, "missing"));
    assert_int_equal(access(tmp_path("root.key"), F_OK), -1);
    assert_int_equal(rename(tmp_path("elsewhere"), tmp_path("root.key")), 0);
    assert_int_equal(reopen(0, message, sizeof(message)), 0);
}

static void a_root_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    char message[200];
    assert_int_equal(chmod(tmp_path("root.key"), 0640), 0);
    assert_int_equal(reopen(0, message, sizeof(message)), TL_ECORRUPT);
    assert_non_null(strstr(message, "0600"));
}

static void write_root(const char *text)
{
    FILE *f = fopen(tmp_path("root.key"), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void a_wrong_or_damaged_root_key_is_refused(void **state)
{
    (void)state;
    char message[200];
    write_root("talos-root-1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
    assert_int_equal(reopen(0, message, sizeof(message)), TL_ECORRUPT);
    assert_non_null(strstr(message, "belongs to another"));
    write_root("talos-root-1 0011\n");
    assert_int_equal(reopen(0, message, sizeof(message)), TL_ECORRUPT);
    assert_non_null(strstr(message, "no root key"));
}

struct damage {
    const char *name;
    size_t at; /* SIZE_MAX: truncate */
};

static int damage(struct tl_txn *txn, void *arg)
{
    const struct damage *d = arg;
    struct tl_bytes v;
    uint8_t copy[256];
    int err = tl_txn_get(txn, TL_TBL_KEY, d->name, strlen(d->name), &v);
    if (err)
        return err;
    memcpy(copy, v.data, v.len);
    if (d->at < v.len)
        copy[d->at] ^= 1;
    return tl_txn_put(txn, TL_TBL_KEY, d->name, strlen(d->name), copy, v.len - (d->at == SIZE_MAX));
}

static void a_damaged_stored_key_is_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {"ring/0000000001", "issuer", "import", "subkeys", "author/talos"};
    char message[200];
    for (size_t i = 0; i < 5; i++)
        for (size_t at = 0; at < 77; at += 4) {
            struct damage d = {names[i], at};
            assert_int_equal(tl_db_update(keys_db, damage, &d), 0);
            assert_int_equal(reopen(TL_KEYRING_CREATE, message, sizeof(message)), TL_ECORRUPT);
            assert_int_equal(tl_db_update(keys_db, damage, &d), 0);
        }
    assert_int_equal(reopen(0, message, sizeof(message)), 0);
    struct damage cut = {"issuer", SIZE_MAX};
    assert_int_equal(tl_db_update(keys_db, damage, &cut), 0);
    assert_int_equal(reopen(0, message, sizeof(message)), TL_ECORRUPT);
}

static int swap_keys(struct tl_txn *txn, void *arg)
{
    (void)arg;
    struct tl_bytes v;
    uint8_t copy[256];
    int err = tl_txn_get(txn, TL_TBL_KEY, "issuer", 6, &v);
    memcpy(copy, v.data, v.len);
    return err ? err : tl_txn_put(txn, TL_TBL_KEY, "import", 6, copy, v.len);
}

static void a_wrapped_key_does_not_pass_for_another(void **state)
{
    (void)state;
    char message[200];
    assert_int_equal(tl_db_update(keys_db, swap_keys, NULL), 0);
    assert_int_equal(reopen(0, message, sizeof(message)), TL_ECORRUPT);
}

static void without_keys_and_without_create_there_is_nothing(void **state)
{
    (void)state;
    assert_int_equal(tmp_setup(state), 0);
    struct tl_db *db;
    struct tl_keyring *kr;
    assert_int_equal(tl_db_open(tmp_dir, TL_DB_CREATE, &db), 0);
    assert_int_equal(tl_keyring_open(tmp_dir, db, 0, &kr, NULL), TL_ENOTFOUND);
    assert_null(kr);
    assert_int_equal(access(tmp_path("root.key"), F_OK), -1);
    tl_db_close(db);
    tmp_teardown(state);
}

static int read_file(const char *path, char *buf, size_t cap)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(buf, 1, cap, f) : 0;
    if (f)
        fclose(f);
    return (int)n;
}

/* No secret stands in the database's file in clear. */
static void secrets_are_wrapped_on_disk(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    int n = read_file(tmp_path("db/data.mdb"), bytes, sizeof(bytes));
    if (n == 0)
        n = read_file(tmp_path("db"), bytes, sizeof(bytes));
    assert_true(n > 0);
    assert_null(memmem(bytes, (size_t)n, tl_keyring_issuer_secret(keys_kr), 32));
    assert_null(memmem(bytes, (size_t)n, tl_keyring_author_secret(keys_kr), 32));
    assert_null(memmem(bytes, (size_t)n, tl_keyring_import_secret(keys_kr), 32));
    assert_non_null(memmem(bytes, (size_t)n, "author/talos", 12));
}

#define T(f) cmocka_unit_test_setup_teardown(f, keys_setup, keys_teardown)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--issuer") == 0)
        return print_issuer(argv[2]);
    const struct CMUnitTest tests[] = {
        T(first_start_makes_a_root_key_of_mode_0600),
        T(keys_are_the_same_after_a_restart),
        T(the_secret_of_the_issuer_ends_with_its_public_key),
        T(subkeys_differ_by_purpose_and_organisation),
        T(organisations_have_keks_of_their_own),
        T(opens_beside_a_running_server),
        T(a_missing_root_key_is_not_made_anew_over_stored_keys),
        T(a_root_key_that_others_can_read_is_refused),
        T(a_wrong_or_damaged_root_key_is_refused),
        T(a_damaged_stored_key_is_noticed),
        T(a_wrapped_key_does_not_pass_for_another),
        cmocka_unit_test(without_keys_and_without_create_there_is_nothing),
        T(secrets_are_wrapped_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

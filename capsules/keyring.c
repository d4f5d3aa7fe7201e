#include "capsules/keyring.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A wrapped key: format 1 | ring version (u32 little-endian; 0: the root key) | nonce | XChaCha20-Poly1305 of the 32
 * bytes. */
enum {
    SECRET = 32,
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    WRAP_HEAD = 5,
    WRAPPED = WRAP_HEAD + NONCE + SECRET + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    NAME_MAX_LEN = 64,
};

static const char root_magic[] = "talos-root-1 ";
enum { ROOT_FILE_LEN = sizeof(root_magic) - 1 + 2 * SECRET + 1 };

/* Everything secret, in one sodium_malloc'd, locked region. */
struct secrets {
    uint8_t root[SECRET]; /* wiped once the ring is open */
    uint8_t ring[TL_RING_MAX][SECRET];
    uint8_t subkeys[SECRET];
    uint8_t seed[SECRET]; /* of the pair being made */
    uint8_t import_secret[TL_X25519_LEN];
    uint8_t author_secret[TL_ED25519_SECRET];
    uint8_t issuer_secret[TL_ED25519_SECRET];
    char root_text[ROOT_FILE_LEN + 1];
};

struct tl_keyring {
    struct tl_db *db;
    char *dir;
    struct secrets *sec;
    uint32_t ring_version; /* the newest; ring[v - 1] */
    uint8_t import_public[TL_X25519_LEN], author_public[TL_ED25519_PUBLIC], issuer_public[TL_ED25519_PUBLIC];
};

/* The three keys that are stored under a fixed name, and where their secret goes. */
static const char *const single_names[] = {"subkeys", "import", "author/" TL_ORG_BUILTIN, "issuer"};
enum { SINGLE_SUBKEYS, SINGLE_IMPORT, SINGLE_AUTHOR, SINGLE_ISSUER, SINGLES };

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* AAD = "talos-key-v1" | NUL | name | NUL | ring version: a wrapped key cannot stand in for another. */
static size_t wrap_aad(uint8_t aad[128], const char *name, uint32_t version)
{
    int n = snprintf((char *)aad, 120, "talos-key-v1%c%s", 0, name);
    put32(aad + n + 1, version);
    return (size_t)n + 5;
}

static void wrap_key(const uint8_t *with, uint32_t version, const char *name, const uint8_t *secret,
                     uint8_t ret[WRAPPED])
{
    uint8_t aad[128];
    size_t n = wrap_aad(aad, name, version);
    ret[0] = 1;
    put32(ret + 1, version);
    randombytes_buf(ret + WRAP_HEAD, NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(ret + WRAP_HEAD + NONCE, NULL, secret, SECRET, aad, n, NULL,
                                               ret + WRAP_HEAD, with);
}

static const uint8_t *wrapping_key(const struct tl_keyring *kr, uint32_t version)
{
    if (version == 0)
        return kr->sec->root;
    return version <= kr->ring_version ? kr->sec->ring[version - 1] : NULL;
}

static int unwrap_key(const struct tl_keyring *kr, const char *name, struct tl_bytes v, bool by_root, uint8_t *ret)
{
    const uint8_t *p = v.data;
    if (v.len != WRAPPED || p[0] != 1 || (get32(p + 1) == 0) != by_root)
        return TL_ECORRUPT;
    const uint8_t *with = wrapping_key(kr, get32(p + 1));
    uint8_t aad[128];
    size_t n = wrap_aad(aad, name, get32(p + 1));
    if (!with ||
        crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, p + WRAP_HEAD + NONCE, WRAPPED - WRAP_HEAD - NONCE,
                                                   aad, n, p + WRAP_HEAD, with) != 0)
        return TL_ECORRUPT;
    return 0;
}

/* ---- the root key's file ---- */

static int read_root(struct tl_keyring *kr, const char *path, struct tl_diag *diag)
{
    TL_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 && errno == ENOENT)
        return TL_ENOTFOUND;
    if (fd < 0 || fstat(fd, &st) < 0) {
        tl_diag_add(diag, NULL, NULL, path, "the root key cannot be read: %s", strerror(errno));
        return TL_ECORRUPT;
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077)) {
        tl_diag_add(diag, NULL, NULL, path, "the root key can be read by others: make it a file of mode 0600");
        return TL_ECORRUPT;
    }
    char *text = kr->sec->root_text;
    ssize_t n = read(fd, text, ROOT_FILE_LEN + 1);
    bool good =
        n == ROOT_FILE_LEN && memcmp(text, root_magic, sizeof(root_magic) - 1) == 0 && text[ROOT_FILE_LEN - 1] == '\n';
    if (good) {
        text[ROOT_FILE_LEN - 1] = '\0';
        good = tl_unhex(text + sizeof(root_magic) - 1, kr->sec->root, SECRET);
    }
    sodium_memzero(text, ROOT_FILE_LEN + 1);
    if (!good) {
        tl_diag_add(diag, NULL, NULL, path,
                    "the file is no root key: put back the one that belongs to this data directory");
        return TL_ECORRUPT;
    }
    return 0;
}

/* Written under another name and linked, so that no half a key is ever seen and of two first starts one wins. */
static int make_root(struct tl_keyring *kr, const char *path)
{
    char *text = kr->sec->root_text;
    randombytes_buf(kr->sec->root, SECRET);
    memcpy(text, root_magic, sizeof(root_magic) - 1);
    tl_hex(kr->sec->root, SECRET, text + sizeof(root_magic) - 1);
    text[ROOT_FILE_LEN - 1] = '\n';
    struct tl_str tmp = {0};
    tl_str_printf(&tmp, "%s.%ld.tmp", path, (long)getpid());
    if (tmp.err) {
        sodium_memzero(text, ROOT_FILE_LEN + 1);
        return TL_ENOMEM;
    }
    int err = 0;
    TL_AUTO_FD int fd = open(tmp.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, text, ROOT_FILE_LEN) != ROOT_FILE_LEN || fsync(fd) < 0)
        err = tl_err_from_errno(errno);
    sodium_memzero(text, ROOT_FILE_LEN + 1);
    if (!err && link(tmp.data, path) < 0 && errno != EEXIST)
        err = tl_err_from_errno(errno);
    unlink(tmp.data);
    TL_AUTO_FD int dir = open(kr->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!err && (dir < 0 || fsync(dir) < 0))
        err = tl_err_from_errno(errno);
    tl_str_clear(&tmp);
    return err ? err : read_root(kr, path, NULL);
}

/* ---- the stored keys ---- */

static void ring_name(uint32_t version, char ret[NAME_MAX_LEN])
{
    snprintf(ret, NAME_MAX_LEN, "ring/%010u", version);
}

/* Organisations' names have any length and any character: their keys stand under a hash. */
static void kek_name(const char *org, uint32_t version, char ret[NAME_MAX_LEN])
{
    uint8_t h[16];
    char hex[33];
    crypto_generichash(h, sizeof(h), (const uint8_t *)org, strlen(org), NULL, 0);
    tl_hex(h, sizeof(h), hex);
    snprintf(ret, NAME_MAX_LEN, "kek/%s/%010u", hex, version);
}

struct load {
    struct tl_keyring *kr;
    uint32_t found; /* ring versions seen */
};

static int see_ring(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    struct load *l = arg;
    char name[NAME_MAX_LEN];
    ring_name(l->found + 1, name);
    if (l->found >= TL_RING_MAX || key.len != strlen(name) || memcmp(key.data, name, key.len) != 0)
        return TL_ECORRUPT;
    int err = unwrap_key(l->kr, name, value, true, l->kr->sec->ring[l->found]);
    if (!err)
        l->found++;
    return err;
}

static int load_single(struct tl_txn *txn, struct tl_keyring *kr, int which)
{
    const char *name = single_names[which];
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_KEY, name, strlen(name), &v);
    if (err)
        return err == TL_ENOTFOUND ? TL_ECORRUPT : err;
    struct secrets *s = kr->sec;
    err = unwrap_key(kr, name, v, false, which == SINGLE_SUBKEYS ? s->subkeys : s->seed);
    if (err)
        return err;
    if (which == SINGLE_IMPORT) {
        memcpy(s->import_secret, s->seed, SECRET);
        crypto_scalarmult_base(kr->import_public, s->import_secret);
    } else if (which == SINGLE_AUTHOR) {
        crypto_sign_seed_keypair(kr->author_public, s->author_secret, s->seed);
    } else if (which == SINGLE_ISSUER) {
        crypto_sign_seed_keypair(kr->issuer_public, s->issuer_secret, s->seed);
    }
    sodium_memzero(s->seed, sizeof(s->seed));
    return 0;
}

/* TL_ENOTFOUND where there is no ring at all. */
static int load_keys(struct tl_txn *txn, void *arg)
{
    struct tl_keyring *kr = arg;
    struct load l = {.kr = kr};
    struct tl_scan scan = {.table = TL_TBL_KEY, .prefix = "ring/", .prefix_len = 5};
    kr->ring_version = 0;
    int err = tl_txn_scan(txn, &scan, see_ring, &l);
    if (err < 0)
        return err;
    if (!l.found)
        return TL_ENOTFOUND;
    kr->ring_version = l.found;
    for (int i = 0; i < SINGLES; i++)
        if ((err = load_single(txn, kr, i)) < 0)
            return err;
    return 0;
}

/* What a first start stores: made outside the transaction, which may be run again. */
struct first {
    char ring_name[NAME_MAX_LEN];
    uint8_t ring[WRAPPED], singles[SINGLES][WRAPPED];
};

static int store_first(struct tl_txn *txn, void *arg)
{
    const struct first *f = arg;
    int err = tl_txn_add(txn, TL_TBL_KEY, f->ring_name, strlen(f->ring_name), f->ring, WRAPPED);
    for (int i = 0; i < SINGLES && !err; i++)
        err = tl_txn_add(txn, TL_TBL_KEY, single_names[i], strlen(single_names[i]), f->singles[i], WRAPPED);
    return err;
}

static int make_first(struct tl_keyring *kr)
{
    struct first f;
    struct secrets *s = kr->sec;
    ring_name(1, f.ring_name);
    randombytes_buf(s->ring[0], SECRET);
    wrap_key(s->root, 0, f.ring_name, s->ring[0], f.ring);
    for (int i = 0; i < SINGLES; i++) {
        randombytes_buf(s->seed, SECRET);
        wrap_key(s->ring[0], 1, single_names[i], s->seed, f.singles[i]);
    }
    sodium_memzero(s->seed, SECRET);
    int err = tl_db_update(kr->db, store_first, &f);
    /* Another process may have been first: what is stored counts. */
    return err && err != TL_ECONFLICT ? err : tl_db_read(kr->db, load_keys, kr);
}

static int has_keys(struct tl_txn *txn, void *arg)
{
    (void)arg;
    struct tl_bytes v;
    char name[NAME_MAX_LEN];
    ring_name(1, name);
    return tl_txn_get(txn, TL_TBL_KEY, name, strlen(name), &v);
}

static int open_root(struct tl_keyring *kr, unsigned flags, struct tl_diag *diag)
{
    struct tl_str path = {0};
    tl_str_printf(&path, "%s/root.key", kr->dir);
    if (path.err)
        return TL_ENOMEM;
    int stored = tl_db_read(kr->db, has_keys, NULL);
    int err = stored && stored != TL_ENOTFOUND ? stored : read_root(kr, path.data, diag);
    if (err == TL_ENOTFOUND && !stored) {
        tl_diag_add(diag, NULL, NULL, path.data,
                    "the root key is missing, but the database holds keys that it wraps: put back the file that "
                    "belongs to them");
        err = TL_ECORRUPT;
    } else if (err == TL_ENOTFOUND && (flags & TL_KEYRING_CREATE)) {
        err = make_root(kr, path.data);
    }
    tl_str_clear(&path);
    return err;
}

int tl_keyring_open(const char *dir, struct tl_db *db, unsigned flags, struct tl_keyring **ret, struct tl_diag *diag)
{
    *ret = NULL;
    int err = tl_hash_init();
    if (err)
        return err;
    struct tl_keyring *kr = tl_calloc(1, sizeof(*kr));
    if (!kr)
        return TL_ENOMEM;
    kr->db = db;
    kr->dir = tl_strdup(dir);
    kr->sec = sodium_malloc(sizeof(*kr->sec));
    if (!kr->dir || !kr->sec) {
        tl_keyring_close(kr);
        return TL_ENOMEM;
    }
    /* sodium_malloc ignores a failed mlock; keys must never reach the swap. */
    if (sodium_mlock(kr->sec, sizeof(*kr->sec)) != 0) {
        tl_diag_add(diag, NULL, NULL, NULL,
                    "memory for keys cannot be locked: raise the limit of locked memory (ulimit -l)");
        tl_keyring_close(kr);
        return TL_ENOMEM;
    }
    sodium_memzero(kr->sec, sizeof(*kr->sec));
    err = open_root(kr, flags, diag);
    if (!err) {
        err = tl_db_read(db, load_keys, kr);
        if (err == TL_ENOTFOUND && (flags & TL_KEYRING_CREATE))
            err = make_first(kr);
        if (err == TL_ECORRUPT)
            tl_diag_add(diag, NULL, NULL, NULL,
                        "the root key does not open the keys of this data directory: it belongs to another one");
    }
    sodium_memzero(kr->sec->root, SECRET);
    if (err) {
        tl_keyring_close(kr);
        return err;
    }
    sodium_mprotect_readonly(kr->sec);
    *ret = kr;
    return 0;
}

void tl_keyring_close(struct tl_keyring *kr)
{
    if (!kr)
        return;
    sodium_free(kr->sec); /* wipes, whatever the protection was */
    free(kr->dir);
    free(kr);
}

const char *tl_keyring_dir(const struct tl_keyring *kr)
{
    return kr->dir;
}

const uint8_t *tl_keyring_issuer_public(const struct tl_keyring *kr)
{
    return kr->issuer_public;
}

const uint8_t *tl_keyring_issuer_secret(const struct tl_keyring *kr)
{
    return kr->sec->issuer_secret;
}

const uint8_t *tl_keyring_author_public(const struct tl_keyring *kr)
{
    return kr->author_public;
}

const uint8_t *tl_keyring_author_secret(const struct tl_keyring *kr)
{
    return kr->sec->author_secret;
}

const uint8_t *tl_keyring_import_public(const struct tl_keyring *kr)
{
    return kr->import_public;
}

const uint8_t *tl_keyring_import_secret(const struct tl_keyring *kr)
{
    return kr->sec->import_secret;
}

void tl_keyring_subkey(const struct tl_keyring *kr, const char *purpose, const char *org, uint8_t ret[32])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, kr->sec->subkeys);
    tl_blake2b_field(&h, "talos-subkey-v1", 15);
    tl_blake2b_field(&h, purpose, strlen(purpose));
    tl_blake2b_field(&h, org, strlen(org));
    tl_blake2b_final(&h, ret);
}

/* ---- KEKs ---- */

struct kek {
    struct tl_keyring *kr;
    char name[NAME_MAX_LEN];
    uint8_t *ret;
    uint32_t version;
    uint8_t wrapped[WRAPPED];
};

static int see_newest(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)value;
    struct kek *k = arg;
    if (key.len >= sizeof(k->name))
        return TL_ECORRUPT;
    memcpy(k->name, key.data, key.len);
    k->name[key.len] = '\0';
    k->version = (uint32_t)strtoul(k->name + key.len - 10, NULL, 10);
    return 1;
}

static int read_kek(struct tl_txn *txn, void *arg)
{
    struct kek *k = arg;
    if (k->version == 0) {
        struct tl_scan scan = {
            .table = TL_TBL_KEY, .prefix = k->name, .prefix_len = strlen(k->name) - 10, .reverse = true};
        char prefix[NAME_MAX_LEN];
        memcpy(prefix, k->name, sizeof(prefix)); /* the visit writes the name it found */
        scan.prefix = prefix;
        int err = tl_txn_scan(txn, &scan, see_newest, k);
        if (err <= 0)
            return err ? err : TL_ENOTFOUND;
    }
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_KEY, k->name, strlen(k->name), &v);
    return err ? err : unwrap_key(k->kr, k->name, v, false, k->ret);
}

int tl_keyring_kek(struct tl_keyring *kr, const char *org, uint32_t version, uint8_t ret[TL_KEK_LEN],
                   uint32_t *ret_version)
{
    struct kek k = {.kr = kr, .ret = ret, .version = version};
    kek_name(org, version, k.name);
    int err = tl_db_read(kr->db, read_kek, &k);
    if (ret_version)
        *ret_version = k.version;
    return err;
}

static int add_kek(struct tl_txn *txn, void *arg)
{
    const struct kek *k = arg;
    return tl_txn_add(txn, TL_TBL_KEY, k->name, strlen(k->name), k->wrapped, WRAPPED);
}

static int know_kek(struct tl_txn *txn, void *arg)
{
    const struct kek *k = arg;
    struct tl_bytes v;
    return tl_txn_get(txn, TL_TBL_KEY, k->name, strlen(k->name), &v);
}

int tl_keyring_kek_make(struct tl_keyring *kr, const char *org)
{
    struct kek k = {.kr = kr};
    kek_name(org, 1, k.name);
    int err = tl_db_read(kr->db, know_kek, &k);
    if (err != TL_ENOTFOUND)
        return err;
    uint8_t secret[TL_KEK_LEN];
    randombytes_buf(secret, sizeof(secret));
    wrap_key(kr->sec->ring[kr->ring_version - 1], kr->ring_version, k.name, secret, k.wrapped);
    sodium_memzero(secret, sizeof(secret));
    err = tl_db_update(kr->db, add_kek, &k);
    return err == TL_ECONFLICT ? 0 : err;
}

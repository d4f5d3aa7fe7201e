#include "catalog/highwater.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HIGH_MAX = 64 * 1024 * 1024 };

static char *file_path(const struct tl_keyring *kr, const char *suffix)
{
    struct tl_str s = {0};
    tl_str_printf(&s, "%s/capsules.high%s", tl_keyring_dir(kr), suffix);
    return tl_str_take(&s);
}

static int authenticate(const struct tl_keyring *kr, const json_t *marks, char ret[2 * TL_BLAKE2B_LEN + 1])
{
    uint8_t key[32], mac[TL_BLAKE2B_LEN];
    char *text = tl_json_canonical(marks);
    if (!text)
        return TL_ENOMEM;
    struct tl_blake2b h;
    tl_keyring_subkey(kr, TL_SUBKEY_HIGH, "", key);
    tl_blake2b_init(&h, key);
    tl_blake2b_field(&h, text, strlen(text));
    tl_blake2b_final(&h, mac);
    tl_hex(mac, sizeof(mac), ret);
    tl_wipe(key, sizeof(key));
    free(text);
    return 0;
}

int tl_high_load(const struct tl_keyring *kr, json_t **ret)
{
    *ret = NULL;
    TL_AUTO_FREE char *path = file_path(kr, "");
    TL_AUTO_JSON json_t *file = NULL;
    char mac[2 * TL_BLAKE2B_LEN + 1];
    int err = path ? tl_json_load(path, HIGH_MAX, &file, NULL) : TL_ENOMEM;
    if (err)
        return err == TL_EINVAL ? TL_ECORRUPT : err;
    json_t *marks = json_object_get(file, "capsules");
    const char *is = tl_json_str(file, "mac");
    if (!json_is_object(marks) || !is || strlen(is) != sizeof(mac) - 1)
        return TL_ECORRUPT;
    err = authenticate(kr, marks, mac);
    if (err)
        return err;
    if (!tl_equal_const_time(mac, is, sizeof(mac) - 1))
        return TL_ECORRUPT;
    *ret = json_incref(marks);
    return 0;
}

static int write_all(const char *path, const char *text)
{
    TL_AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t len = strlen(text), at = 0;
    if (fd < 0)
        return tl_err_from_errno(errno);
    while (at < len) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tl_err_from_errno(n < 0 ? errno : EIO);
        at += (size_t)n;
    }
    return fsync(fd) < 0 ? tl_err_from_errno(errno) : 0;
}

int tl_high_save(const struct tl_keyring *kr, const json_t *marks)
{
    char mac[2 * TL_BLAKE2B_LEN + 1];
    TL_AUTO_FREE char *path = file_path(kr, ""), *tmp = file_path(kr, ".tmp");
    int err = path && tmp ? authenticate(kr, marks, mac) : TL_ENOMEM;
    if (err)
        return err;
    TL_AUTO_JSON json_t *file = json_pack("{s:i,s:O,s:s}", "format", 1, "capsules", marks, "mac", mac);
    TL_AUTO_FREE char *text = file ? tl_json_text(file) : NULL;
    err = text ? write_all(tmp, text) : TL_ENOMEM;
    if (!err && rename(tmp, path) < 0)
        err = tl_err_from_errno(errno);
    TL_AUTO_FD int dir = open(tl_keyring_dir(kr), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!err && (dir < 0 || fsync(dir) < 0))
        err = tl_err_from_errno(errno);
    return err;
}

static const char *digest_in(const json_t *rows, const char *id, const char *version)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *is = tl_json_str(row, "id"), *v = tl_json_str(row, "version");
        if (is && v && strcmp(is, id) == 0 && strcmp(v, version) == 0)
            return tl_json_str(row, "digest");
    }
    return NULL;
}

/* Whether everything that was marked is there unchanged. */
static bool intact(const json_t *rows, const char *id, const json_t *versions)
{
    const char *version;
    json_t *digest;
    json_object_foreach((json_t *)(uintptr_t)versions, version, digest) {
        const char *is = digest_in(rows, id, version), *was = json_string_value(digest);
        if (!is || !was || strcmp(is, was) != 0)
            return false;
    }
    return true;
}

/* A version that is not marked may only come on top of those that are. */
static bool on_top(const json_t *versions, const char *version)
{
    const char *marked;
    json_t *digest;
    json_object_foreach((json_t *)(uintptr_t)versions, marked, digest)
        if (tl_cap_version_compare(version, marked) <= 0)
            return false;
    return true;
}

static bool contains(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
            return true;
    return false;
}

int tl_high_check(const json_t *rows, json_t *marks, json_t **ret_refused, bool *ret_raised)
{
    json_t *refused = *ret_refused = json_array(), *versions;
    const char *id;
    int bad = refused ? 0 : -1;
    *ret_raised = false;
    json_object_foreach(marks, id, versions)
        if (!intact(rows, id, versions))
            bad |= json_array_append_new(refused, json_string(id));
    /* Rows come in key order, not in the order of versions: all are judged against the marks as they were. */
    TL_AUTO_JSON json_t *before = json_deep_copy(marks);
    for (size_t i = 0; i < json_array_size(rows) && before && !bad; i++) {
        const json_t *row = json_array_get(rows, i);
        const char *is = tl_json_str(row, "id"), *version = tl_json_str(row, "version"),
                   *digest = tl_json_str(row, "digest");
        if (!is || !version || !digest || !tl_cap_version_valid(version))
            continue;
        const json_t *known = json_object_get(before, is);
        if (json_object_get(known, version) || contains(refused, is))
            continue;
        if (!on_top(known, version)) {
            bad |= json_array_append_new(refused, json_string(is));
            continue;
        }
        json_t *now = json_object_get(marks, is);
        if (!now)
            bad |= json_object_set_new(marks, is, now = json_object());
        bad |= json_object_set_new(now, version, json_string(digest));
        *ret_raised = true;
    }
    return bad || !before ? TL_ENOMEM : 0;
}

#include "capsules/destinations.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/secret.h"
#include "net/net.h"

#include <string.h>
#include <strings.h>

enum { FILE_MAX = 1024 * 1024, TIMEOUT_MS_MIN = 100, TIMEOUT_MS_MAX = 3600 * 1000 };
static const char variable[] = "TALOS_DESTINATIONS";

struct tl_destinations {
    struct tl_destination *items; /* sorted by name */
    size_t count;
};

static bool is_one_of(char c, const char *more)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(more, c));
}

static bool is_word(const char *s, size_t most, const char *more)
{
    size_t n = strlen(s), i = 0;
    while (i < n && is_one_of(s[i], more))
        i++;
    return n > 0 && n <= most && i == n;
}

static bool is_printable(const char *s)
{
    while (*s >= ' ' && *s <= '~')
        s++;
    return *s == '\0';
}

/* A text, or {"file": path}. Problems never quote it. *ret is freed with tl_secret_free. */
static int read_text(const json_t *j, const char *path, char **ret, struct tl_diag *diag)
{
    static const char *const keys[] = {"file", NULL};
    const char *text = json_string_value(j), *file = tl_json_str(j, "file");
    int err = TL_EINVAL;
    *ret = NULL;
    tl_json_only_keys(j, keys, NULL, path, diag);
    if (file) {
        err = tl_secret_read(file, ret);
        if (err == TL_EINVAL)
            tl_diag_add(diag, NULL, variable, path,
                        "the file \"%s\" cannot be read, or does not hold one line of at most %d printable characters",
                        file, TL_SECRET_MAX);
    } else if (text && strlen(text) == json_string_length(j) && *text && strlen(text) <= TL_SECRET_MAX &&
               is_printable(text)) {
        *ret = tl_strdup(text);
        err = *ret ? 0 : TL_ENOMEM;
    } else {
        tl_diag_add(diag, NULL, variable, path,
                    "must be a text of at most %d printable characters, or {\"file\": path}", TL_SECRET_MAX);
    }
    return err;
}

static int read_url(struct tl_destination *d, const json_t *j, const char *at, struct tl_diag *diag)
{
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&path, "%s.url", at);
    int err = path.err ? path.err : read_text(j, path.data, &d->url, diag);
    if (err)
        return err;
    d->host_port = tl_net_host_port(d->url);
    return d->host_port ? 0
                        : tl_diag_add(diag, NULL, variable, path.data,
                                      "must be an http or https address without user name and password");
}

/* What talos says itself, or what would change where one request ends. */
static bool is_ours(const char *name)
{
    static const char *const ours[] = {"Host",       "Content-Length", "Content-Type", "Transfer-Encoding",
                                       "Connection", "Expect",         "Upgrade",      "TE",
                                       "Trailer",    "Idempotency-Key"};
    for (size_t i = 0; i < TL_ARRAY_LEN(ours); i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static int read_header(struct tl_destination *d, size_t i, const char *name, const json_t *j, const char *at,
                       struct tl_diag *diag)
{
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&path, "%s.headers.%s", at, name);
    if (path.err)
        return path.err;
    if (!is_word(name, TL_DESTINATION_NAME_MAX, "!#$%&'*+-.^_`|~"))
        return tl_diag_add(diag, NULL, variable, path.data, "this is no name of a header");
    if (is_ours(name))
        return tl_diag_add(diag, NULL, variable, path.data, "the header %s is set by talos", name);
    char *value;
    int err = read_text(j, path.data, &value, diag);
    if (err)
        return err;
    if (asprintf(&d->headers[i], "%s: %s", name, value) < 0) {
        d->headers[i] = NULL;
        err = TL_ENOMEM;
    }
    tl_secret_free(value);
    return err;
}

static int read_headers(struct tl_destination *d, const json_t *j, const char *at, struct tl_diag *diag)
{
    size_t n = 0;
    d->headers = tl_calloc(TL_DESTINATION_HEADERS_MAX + 1, sizeof(*d->headers));
    if (!d->headers)
        return TL_ENOMEM;
    if (j && (!json_is_object(j) || json_object_size(j) > TL_DESTINATION_HEADERS_MAX))
        return tl_diag_add(diag, NULL, variable, at, "headers must be an object of at most %d headers",
                           TL_DESTINATION_HEADERS_MAX);
    const char *name;
    json_t *value;
    int first = 0;
    json_object_foreach((json_t *)(uintptr_t)j, name, value) {
        int err = read_header(d, n, name, value, at, diag);
        n += !err;
        first = first ? first : err;
    }
    return first;
}

static int read_one(struct tl_destination *d, const char *name, const json_t *j, struct tl_diag *diag)
{
    static const char *const keys[] = {"url", "headers", "honours_idempotency_key", "timeout_sec", NULL};
    struct tl_str at TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&at, "$.%s", name);
    d->name = tl_strdup(name);
    if (at.err || !d->name)
        return TL_ENOMEM;
    int err = 0;
    if (!is_word(name, TL_DESTINATION_NAME_MAX, "._-"))
        err = tl_diag_add(diag, NULL, variable, at.data,
                          "a destination's name has 1 to %d letters, digits, \".\", \"_\" or \"-\"",
                          TL_DESTINATION_NAME_MAX);
    if (!json_is_object(j))
        return tl_diag_add(diag, NULL, variable, at.data,
                           "a destination is an object with url, headers, honours_idempotency_key, timeout_sec");
    tl_json_only_keys(j, keys, NULL, at.data, diag);
    int url_err = read_url(d, json_object_get(j, "url"), at.data, diag),
        headers_err = read_headers(d, json_object_get(j, "headers"), at.data, diag);
    const json_t *honours = json_object_get(j, "honours_idempotency_key"), *sec = json_object_get(j, "timeout_sec");
    double ms = sec ? json_number_value(sec) * 1000 : TL_DESTINATION_TIMEOUT_MS;
    d->honours_key = json_is_true(honours);
    if (!json_is_boolean(honours))
        err = tl_diag_add(
            diag, NULL, variable, at.data,
            "honours_idempotency_key must be true or false: whether a request that comes again with the same "
            "Idempotency-Key takes effect once");
    if ((sec && !json_is_number(sec)) || ms < TIMEOUT_MS_MIN || ms > TIMEOUT_MS_MAX)
        err = tl_diag_add(diag, NULL, variable, at.data, "timeout_sec must be a number between 0.1 and 3600");
    else
        d->timeout_ms = (long)ms;
    return err ? err : url_err ? url_err : headers_err;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tl_destination *)a)->name, ((const struct tl_destination *)b)->name);
}

int tl_destinations_load(const char *path, struct tl_destinations **ret, struct tl_diag *diag)
{
    TL_AUTO_JSON json_t *j = NULL;
    struct tl_diag own TL_CLEANUP(tl_diag_clear) = {0}, *d = diag ? diag : &own;
    *ret = NULL;
    int err = tl_json_load(path, FILE_MAX, &j, d);
    if (err == TL_ENOMEM)
        return err;
    if (err < 0)
        return tl_diag_add(d, NULL, variable, NULL, "%s cannot be read as JSON of at most 1 MiB", path);
    size_t n = json_object_size(j);
    if (!json_is_object(j) || n > TL_DESTINATIONS_MAX)
        return tl_diag_add(d, NULL, variable, "$", "must be an object of at most %d destinations", TL_DESTINATIONS_MAX);
    struct tl_destinations *all = tl_calloc(1, sizeof(*all));
    if (all)
        all->items = tl_calloc(n, sizeof(*all->items));
    err = all && all->items ? 0 : TL_ENOMEM;
    const char *name;
    json_t *item;
    size_t before = d->count + d->dropped;
    json_object_foreach(j, name, item) {
        int e = err == TL_ENOMEM ? err : read_one(&all->items[all->count++], name, item, d);
        err = e == TL_ENOMEM ? e : err;
    }
    if (!err)
        err = d->err ? d->err : d->count + d->dropped > before ? TL_EINVAL : 0;
    if (err) {
        tl_destinations_free(all);
        return err;
    }
    qsort(all->items, all->count, sizeof(*all->items), by_name);
    *ret = all;
    return 0;
}

int tl_destinations_env(struct tl_destinations **ret, struct tl_diag *diag)
{
    const char *path = getenv(variable);
    *ret = NULL;
    return path && *path ? tl_destinations_load(path, ret, diag) : 0;
}

void tl_destinations_free(struct tl_destinations *all)
{
    for (size_t i = 0; all && all->items && i < all->count; i++) {
        struct tl_destination *d = &all->items[i];
        for (size_t h = 0; d->headers && d->headers[h]; h++)
            tl_secret_free(d->headers[h]);
        free(d->headers);
        free(d->name);
        tl_secret_free(d->url);
        free(d->host_port);
    }
    free(all ? all->items : NULL);
    free(all);
}

const struct tl_destination *tl_destinations_find(const struct tl_destinations *all, const char *name)
{
    const struct tl_destination key = {.name = (char *)(uintptr_t)name};
    return all && all->count ? bsearch(&key, all->items, all->count, sizeof(*all->items), by_name) : NULL;
}

size_t tl_destinations_list(const struct tl_destinations *all, const struct tl_destination **ret)
{
    *ret = all ? all->items : NULL;
    return all ? all->count : 0;
}

#include "cli/fill.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/cli.h"
#include "graph/value.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *extension, *content_type, *kind;
} media[] = {
    {".mp4", "video/mp4", "video"},        {".m4v", "video/mp4", "video"},   {".mov", "video/quicktime", "video"},
    {".mkv", "video/x-matroska", "video"}, {".webm", "video/webm", "video"}, {".avi", "video/x-msvideo", "video"},
    {".mpg", "video/mpeg", "video"},       {".ts", "video/mp2t", "video"},   {".png", "image/png", "image"},
    {".jpg", "image/jpeg", "image"},       {".jpeg", "image/jpeg", "image"}, {".webp", "image/webp", "image"},
    {".wav", "audio/wav", "audio"},        {".mp3", "audio/mpeg", "audio"},  {".m4a", "audio/mp4", "audio"},
    {".flac", "audio/flac", "audio"},      {".ogg", "audio/ogg", "audio"},   {".txt", "text/plain", "file"},
    {".json", "application/json", "file"}, {".csv", "text/csv", "file"},     {".pdf", "application/pdf", "file"},
};

const char *tl_cli_fill_content_type(const char *file, const char **ret_kind)
{
    const char *dot = strrchr(file, '.');
    for (size_t i = 0; dot && i < TL_ARRAY_LEN(media); i++)
        if (!strcasecmp(dot, media[i].extension)) {
            *ret_kind = media[i].kind;
            return media[i].content_type;
        }
    *ret_kind = "file";
    return "application/octet-stream";
}

const char *tl_cli_fill_extension(const char *content_type)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(media); i++)
        if (!strcmp(content_type, media[i].content_type))
            return media[i].extension;
    return "";
}

int tl_cli_fill_init(struct tl_cli_fill *fill, json_t *json, const char *name)
{
    memset(fill, 0, sizeof(*fill));
    json_t *graph = json_is_object(json_object_get(json, "graph")) ? json_object_get(json, "graph") : json;
    if (!json_is_array(json_object_get(graph, "nodes")))
        return TL_EINVAL;
    const char *title = tl_cli_local(json_object_get(json, "title")), *called = tl_json_str(json, "name");
    fill->graph = json_deep_copy(graph);
    fill->inputs = json_incref(json_object_get(json, "inputs"));
    fill->name = tl_strdup(title ? title : called ? called : name);
    fill->uploads = json_array();
    if (fill->graph && fill->name && fill->uploads)
        return 0;
    tl_cli_fill_clear(fill);
    return TL_ENOMEM;
}

void tl_cli_fill_clear(struct tl_cli_fill *fill)
{
    json_decref(fill->graph);
    json_decref(fill->inputs);
    json_decref(fill->uploads);
    free(fill->name);
    memset(fill, 0, sizeof(*fill));
}

static json_t *find_node(const struct tl_cli_fill *fill, const char *id, size_t len)
{
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(fill->graph, "nodes"), i, node) {
        const char *have = tl_json_str(node, "id");
        if (have && strlen(have) == len && !memcmp(have, id, len))
            return node;
    }
    return NULL;
}

/* Splits "node.rest" at the last dot before which there is a node; ids may have dots in them. */
static json_t *split_node(const struct tl_cli_fill *fill, const char *text, size_t len, const char **ret_rest)
{
    for (size_t n = len; n-- > 1;) {
        json_t *node = text[n] == '.' ? find_node(fill, text, n) : NULL;
        if (node) {
            *ret_rest = text + n + 1;
            return node;
        }
    }
    return NULL;
}

static json_t *child(json_t *object, const char *key)
{
    json_t *have = json_object_get(object, key);
    if (json_is_object(have))
        return have;
    return json_object_set_new(object, key, json_object()) < 0 ? NULL : json_object_get(object, key);
}

/* Puts value (taken) at data.params.name or, for "inputs.name" and for a name that stands there already, at data.inputs.name. */
static int put(json_t *node, const char *name, size_t len, json_t *value)
{
    TL_AUTO_FREE char *key = tl_strndup(name, len);
    json_t *data = child(node, "data");
    json_t *inputs = json_object_get(data, "inputs");
    if (!key || !data || !value) {
        json_decref(value);
        return TL_ENOMEM;
    }
    bool said = !strncmp(key, "inputs.", 7);
    json_t *where = said || json_object_get(inputs, key) ? child(data, "inputs") : child(data, "params");
    return json_object_set_new(where, said ? key + 7 : key, value) < 0 ? TL_ENOMEM : 0;
}

static json_t *literal(const char *text)
{
    json_t *value = NULL;
    return tl_json_parse(text, strlen(text), &value, NULL) < 0 ? json_string(text) : value;
}

int tl_cli_fill_set(struct tl_cli_fill *fill, const char *text, struct tl_diag *diag)
{
    const char *equals = strchr(text, '='), *rest = NULL;
    json_t *node = equals ? split_node(fill, text, (size_t)(equals - text), &rest) : NULL;
    if (!node || rest == equals)
        return tl_diag_add(diag, NULL, NULL, NULL, "--set %s: it takes node.param=value, with one of the graph's nodes",
                           text);
    json_t *value = literal(equals + 1);
    if (!value)
        return tl_diag_add(diag, NULL, NULL, NULL, "--set %s: the value is not UTF-8", text);
    return put(node, rest, (size_t)(equals - rest), value);
}

/* A template's input of that name. */
static const json_t *find_input(const struct tl_cli_fill *fill, const char *name, size_t len)
{
    size_t i;
    json_t *input;
    json_array_foreach(fill->inputs, i, input) {
        const char *node = tl_json_str(input, "node"), *param = tl_json_str(input, "param");
        size_t n = node ? strlen(node) : 0, p = param ? strlen(param) : 0;
        if (!n || !p)
            continue;
        bool by_node = len == n && !memcmp(name, node, n), by_param = len == p && !memcmp(name, param, p);
        bool by_both = len == n + 1 + p && !memcmp(name, node, n) && name[n] == '.' && !memcmp(name + n + 1, param, p);
        if (by_node || by_param || by_both)
            return input;
    }
    return NULL;
}

static int read_text(const char *path, json_t **ret)
{
    TL_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
    char buf[65536];
    ssize_t n = fd < 0 ? -1 : 0;
    while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            tl_str_add(&text, buf, (size_t)n);
        if (text.len > TL_JSON_MAX_BODY)
            return TL_ETOOBIG;
    }
    if (n < 0)
        return tl_err_from_errno(errno);
    if (text.err)
        return text.err;
    *ret = json_stringn(text.data ? text.data : "", text.len);
    return *ret ? 0 : TL_EINVAL;
}

/* A file as a parameter is its id; as the value of a port it is a media reference. */
static int take_in(struct tl_cli_fill *fill, struct tl_cli_door *door, const char *file, const char *name, bool port,
                   json_t **ret)
{
    const char *kind, *type = tl_cli_fill_content_type(file, &kind);
    TL_AUTO_JSON json_t *record = NULL;
    int err = door->ops->upload(door, file, type, name, &record);
    if (err < 0)
        return err;
    json_array_append(fill->uploads, json_object_get(record, "sha256"));
    const char *sha256 = tl_json_str(record, "sha256"), *stored = tl_json_str(record, "content_type"),
               *kept = tl_json_str(record, "name");
    *ret = port && sha256 ? tl_media_json(kind, sha256, stored ? stored : type,
                                          (uint64_t)tl_json_int(record, "bytes", 0), kept ? kept : name)
                          : json_incref(json_object_get(record, "id"));
    return *ret ? 0 : TL_ENOMEM;
}

int tl_cli_fill_input(struct tl_cli_fill *fill, struct tl_cli_door *door, const char *text, struct tl_diag *diag)
{
    const char *equals = strchr(text, '=');
    if (!equals || !equals[1])
        return tl_diag_add(diag, NULL, NULL, NULL, "--input %s: it takes name=file", text);
    size_t len = (size_t)(equals - text);
    const json_t *input = find_input(fill, text, len);
    const char *name = input ? tl_json_str(input, "param") : NULL, *wanted = input ? tl_json_str(input, "kind") : NULL;
    const char *id = input ? tl_json_str(input, "node") : NULL;
    json_t *node = id ? find_node(fill, id, strlen(id)) : split_node(fill, text, len, &name);
    if (!node)
        return tl_diag_add(diag, NULL, NULL, NULL, "--input %s: the graph has no such input", text);
    size_t name_len = input ? strlen(name) : (size_t)(equals - name);
    const char *file = equals + 1, *base = strrchr(file, '/');
    json_t *value = NULL;
    int err = 0;
    if (wanted && (!strcmp(wanted, "number") || !strcmp(wanted, "choice")))
        value = literal(file);
    else if (wanted && !strcmp(wanted, "text"))
        err = read_text(file, &value);
    else
        err = take_in(fill, door, file, base ? base + 1 : file, !strncmp(name, "inputs.", 7), &value);
    if (err < 0) {
        tl_diag_add(diag, NULL, NULL, NULL, "%s: %s", file, tl_err_text(err));
        return err;
    }
    return put(node, name, name_len, value);
}

#include "cli/outputs.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/fill.h"
#include "cli/text.h"
#include "store/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 180 };

char *tl_cli_outputs_name(const char *node, const char *port, const char *extension)
{
    struct tl_str name = {0}, both TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&both, "%s-%s", node, port);
    const char *text = both.data ? both.data : "", *from = text;
    for (uint32_t c; (c = tl_cli_text_next(&text)) && name.len < NAME_MAX_BYTES; from = text) {
        bool plain =
            c >= 0x80 ? c != 0xfffd && c >= 0xa0 : c > ' ' && c < 0x7f && !strchr("/\\:*?\"<>|'`$&;()[]{}~#!%", (int)c);
        if (plain && !(c == '.' && !name.len))
            tl_str_add(&name, from, (size_t)(text - from));
        else
            tl_str_puts(&name, "_");
    }
    tl_str_puts(&name, extension);
    return tl_str_take(&name);
}

/* Written under another name first, so that a file of the right name is whole. */
static int write_one(struct tl_cli_door *door, const char *node, const char *port, const json_t *medium,
                     const char *dir, char **ret_path)
{
    const char *type = tl_json_str(medium, "content_type");
    TL_AUTO_FREE char *name = tl_cli_outputs_name(node, port, tl_cli_fill_extension(type ? type : ""));
    TL_AUTO_FREE char *path = name ? tl_fs_join(dir, name) : NULL, *part = NULL;
    if (!path || asprintf(&part, "%s.part", path) < 0)
        return TL_ENOMEM;
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return tl_err_from_errno(errno);
    int err = door->ops->fetch(door, node, port, medium, fd);
    if (close(fd) < 0 && !err)
        err = tl_err_from_errno(errno);
    if (!err && rename(part, path) < 0)
        err = tl_err_from_errno(errno);
    if (err < 0) {
        unlink(part);
        return err;
    }
    *ret_path = path;
    path = NULL;
    return 0;
}

static bool skipped(const json_t *skip, const char *sha256)
{
    size_t i;
    json_t *s;
    json_array_foreach(skip, i, s)
        if (!strcmp(json_string_value(s), sha256))
            return true;
    return false;
}

static int write_node(struct tl_cli_door *door, const char *node, const json_t *outputs, const json_t *skip,
                      const char *dir, json_t *files)
{
    TL_AUTO_JSON json_t *written = json_object();
    const char *port;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)outputs, port, v) {
        const char *sha256 = tl_json_str(v, "sha256");
        if (!sha256 || !tl_json_str(v, "kind") || skipped(skip, sha256))
            continue;
        TL_AUTO_FREE char *path = NULL;
        int err = write_one(door, node, port, v, dir, &path);
        if (err < 0)
            return err;
        json_object_set_new(written, port, json_string(path));
    }
    return json_object_size(written) && json_object_set(files, node, written) < 0 ? TL_ENOMEM : 0;
}

int tl_cli_outputs_write(struct tl_cli_door *door, const struct tl_cli_view *view, const json_t *skip, const char *dir,
                         json_t **ret_files)
{
    *ret_files = json_object();
    int err = *ret_files ? tl_fs_mkdirs(dir) : TL_ENOMEM;
    for (size_t i = 0; !err && i < view->nnodes; i++)
        err = write_node(door, view->nodes[i].id, json_object_get(view->outputs, view->nodes[i].id), skip, dir,
                         *ret_files);
    return err;
}

/* input.clip: a clip that was uploaded. The file is looked up when the graph is checked, in the organisation that runs; its hash is part of what pins this
 * node, so that a result is never taken for that of another clip. */
#include "base/diag.h"
#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "capsules/services.h"

#include <string.h>

enum { KEY_MAX = 511 };

static const struct tl_port ports[] = {
    {"clip", TL_T_VIDEO, TL_PORT_OUT, "the clip"},
    {NULL, 0, 0, NULL},
};

static const struct tl_param params[] = {
    {"file", TL_P_STRING, TL_PARAM_REQUIRED, 0, 64, 0, NULL, NULL, "id of an uploaded file"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

/* What shape() found, in the plan's arena. */
struct clip {
    const char *sha256, *content_type, *name;
    uint64_t bytes;
};

struct look_up {
    uint8_t key[KEY_MAX];
    size_t len;
    struct tl_arena *arena;
    struct clip clip;
};

static int read_file(struct tl_txn *txn, void *arg)
{
    struct look_up *l = arg;
    struct tl_bytes bytes;
    int err = tl_txn_get(txn, TL_TBL_FILE, l->key, l->len, &bytes);
    if (err)
        return err;
    TL_AUTO_JSON json_t *file = NULL;
    if (tl_json_parse(bytes.data, bytes.len, &file, NULL) != 0)
        return TL_ECORRUPT;
    const char *sha256 = tl_json_str(file, "sha256"), *type = tl_json_str(file, "content_type"),
               *name = tl_json_str(file, "name");
    l->clip.sha256 = sha256 ? tl_arena_strdup(l->arena, sha256) : NULL;
    l->clip.content_type = type ? tl_arena_strdup(l->arena, type) : NULL;
    l->clip.name = tl_arena_strdup(l->arena, name ? name : "clip");
    l->clip.bytes = (uint64_t)tl_json_int(file, "bytes", 0);
    if (!sha256 || !type)
        return TL_ECORRUPT;
    return l->clip.sha256 && l->clip.content_type && l->clip.name ? 0 : TL_ENOMEM;
}

static int make_key(struct look_up *l, const char *org, const char *file)
{
    struct tl_id id;
    size_t n = strlen(org) + 1;
    if (!tl_id_parse(file, &id) || n + TL_ID_LEN > KEY_MAX)
        return TL_ENOTFOUND;
    memcpy(l->key, org, n);
    memcpy(l->key + n, id.b, TL_ID_LEN);
    l->len = n + TL_ID_LEN;
    return 0;
}

static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    const struct tl_cap_env *env = req->env;
    const char *file = tl_json_str(json_object_get(req->data, "params"), "file");
    if (!file || !env || !env->services || !env->services->db)
        return 0; /* the missing parameter is reported with the others; without a store run() fails */
    struct look_up *l = tl_arena_alloc(req->arena, sizeof(*l));
    if (!l)
        return TL_ENOMEM;
    l->arena = req->arena;
    int err = make_key(l, env->org, file);
    err = err ? err : tl_db_read(env->services->db, read_file, l);
    char path[160];
    snprintf(path, sizeof(path), "%s.params.file", req->path);
    if (err == TL_ENOTFOUND)
        return tl_diag_add(req->diag, req->node, "file", path,
                           "there is no such file; upload the clip and give its id");
    if (err)
        return err;
    if (strncmp(l->clip.content_type, "video/", 6) != 0)
        return tl_diag_add(req->diag, req->node, "file", path, "the file is %.80s, but must be a video",
                           l->clip.content_type);
    ret->identity = l->clip.sha256;
    ret->priv = &l->clip;
    return 0;
}

static int run(struct tl_op_ctx *ctx)
{
    const struct clip *clip = tl_op_node(ctx)->shape->priv;
    if (!clip)
        return tl_op_fail(ctx, TL_ENOTCONFIGURED, "there is no store to read the clip from");
    return tl_op_output_json(ctx, "clip",
                             tl_media_json("video", clip->sha256, clip->content_type, clip->bytes, clip->name));
}

const struct tl_op tl_op_in_clip = {
    .name = "input.clip",
    .revision = 1,
    .flags = TL_OP_PURE,
    .title = "Clip",
    .doc = "An uploaded video",
    .ports = ports,
    .params = params,
    .shape = shape,
    .run = run,
};

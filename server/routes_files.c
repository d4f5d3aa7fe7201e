/* Files: uploads, streamed to the blob store in constant memory, and downloads. Bytes are written as they come; what waits for the disk happens on the pool. */
#include "base/err.h"
#include "base/hash.h"
#include "server/etag.h"
#include "server/file.h"
#include "server/multipart.h"
#include "server/page.h"
#include "server/range.h"
#include "server/routes.h"

#include <string.h>
#include <strings.h>

#define FILE_MAX (UINT64_C(64) << 30)
#define FORM_MAX (UINT64_C(1) << 20) /* what the form around a file may add */

/* ---- uploads ---- */

struct upload {
    struct tl_blob_writer *writer; /* owned until committed */
    struct tl_multipart *form;     /* owned; NULL for a raw body */
    uint64_t bytes; /* of the file, so far */
    struct tl_file_write write;
    json_t *record;     /* owned */
    struct tl_req *req; /* owned reference while the record is being written */
};

static void upload_free(void *ctx)
{
    struct upload *u = ctx;
    tl_blob_abort(u->writer);
    tl_multipart_free(u->form);
    json_decref(u->record);
    free(u);
}

static void begin(struct tl_req *req)
{
    struct upload *u = tl_calloc(1, sizeof(*u));
    if (!u) {
        tl_reply_err(req, TL_ENOMEM, NULL);
        return;
    }
    req->ctx = u;
    req->ctx_free = upload_free;
    const char *type = req->head.content_type;
    int err = 0;
    if (type && strncasecmp(type, "multipart/form-data", 19) == 0)
        err = tl_multipart_new(type, &u->form);
    if (err < 0)
        tl_reply_err(req, err, "multipart/form-data needs a boundary of 1 to 70 characters");
    else if (req->content_length == 0 && u->form)
        tl_reply_err(req, TL_EINVAL, "the form is empty");
    else if ((err = tl_blob_begin(req->srv->conf.blobs, FILE_MAX, &u->writer)) < 0)
        tl_reply_err(req, err, NULL);
}

static int write_bytes(void *arg, const char *bytes, size_t len)
{
    struct upload *u = arg;
    u->bytes += len;
    return tl_blob_write(u->writer, bytes, len);
}

static void chunk(struct tl_req *req, const char *bytes, size_t len)
{
    struct upload *u = req->ctx;
    int err = u->form ? tl_multipart_feed(u->form, bytes, len, write_bytes, u) : write_bytes(u, bytes, len);
    if (err == TL_ECONFLICT)
        tl_reply_err(req, TL_EINVAL, "the form has more than one file; send each in a request of its own");
    else if (err < 0)
        tl_reply_err(req, err, "%s", err == TL_EINVAL ? "the form is malformed" : tl_err_text(err));
}

static void recorded(void *arg, int err)
{
    struct upload *u = (struct upload *)((char *)arg - offsetof(struct upload, write));
    struct tl_req *req = u->req;
    if (err < 0) {
        tl_reply_err(req, err, NULL);
    } else {
        tl_req_header(req, "Location", "/api/v1/files/%s", tl_json_str(u->record, "id"));
        tl_reply_json(req, 201, json_incref(u->record));
    }
    tl_req_unref(req);
}

/* X-Filename may be percent-encoded, as headers carry no more than ASCII safely. */
static char *decoded(const char *s)
{
    struct tl_str out = {0};
    for (; s && *s; s++) {
        char hex[3] = {0};
        uint8_t byte;
        if (*s == '%' && s[1] && s[2] && (memcpy(hex, s + 1, 2), tl_unhex(hex, &byte, 1)) && byte) {
            tl_str_add(&out, &byte, 1);
            s += 2;
        } else {
            tl_str_add(&out, s, 1);
        }
    }
    return tl_str_take(&out);
}

static void complete(struct tl_req *req)
{
    struct upload *u = req->ctx;
    struct tl_server *srv = req->srv;
    char sha256[TL_SHA256_HEX], name[TL_FILE_NAME_MAX + 1], type[TL_FILE_TYPE_MAX + 1];
    uint64_t bytes;
    if (u->form && tl_multipart_end(u->form) < 0) {
        tl_reply_err(req, TL_EINVAL, "the form has no part with a filename, or is not complete");
        return;
    }
    if (u->bytes == 0) {
        tl_reply_err(req, TL_EINVAL, "the file is empty");
        return;
    }
    TL_AUTO_FREE char *given = u->form ? NULL : decoded(req->head.filename);
    tl_file_clean_name(u->form ? tl_multipart_filename(u->form) : given, name);
    tl_file_clean_type(u->form ? tl_multipart_type(u->form) : req->head.content_type, type);
    int err = tl_blob_commit(u->writer, sha256, &bytes);
    u->writer = NULL;
    if (!err) {
        u->write = (struct tl_file_write){.org = req->claims.org, .id = tl_id_new()};
        u->write.record = u->record = tl_file_record(&u->write.id, name, type, bytes, sha256);
        u->req = tl_req_ref(req);
        err = u->record ? tl_db_submit(srv->conf.db, tl_file_write, &u->write, recorded) : TL_ENOMEM;
        if (err < 0)
            tl_req_unref(req);
    }
    if (err < 0)
        tl_reply_err(req, err, NULL);
}

static const struct tl_body_sink sink = {begin, chunk};

/* ---- reading ---- */

static void list(struct tl_req *req)
{
    static const char *const known[] = {"limit", "cursor", NULL};
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    struct tl_id room, next;
    const struct tl_id *before;
    json_t *items;
    bool more;
    tl_req_only_query(req, known, &diag);
    size_t limit = tl_page_query(req, &room, &before, &diag);
    int err =
        tl_diag_any(&diag) ? TL_EINVAL : tl_file_list(req->srv->conf.db, req->claims.org, before, limit, &items, &next, &more);
    if (err < 0)
        tl_reply_diag(req, err, &diag);
    else
        tl_page_reply(req, items, &next, more);
}

static int find(struct tl_req *req, json_t **ret)
{
    struct tl_id id;
    *ret = NULL;
    return tl_id_parse(req->params[0], &id) ? tl_file_read(req->srv->conf.db, req->claims.org, &id, ret) : TL_ENOTFOUND;
}

static void get(struct tl_req *req)
{
    json_t *record;
    int err = find(req, &record);
    if (err < 0)
        tl_reply_err(req, err, NULL);
    else
        tl_reply_json(req, 200, record);
}

/* What a browser may show in place: nothing that could run in this server's name. */
static bool harmless(const char *type)
{
    static const char *const exact[] = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "application/json"};
    for (size_t i = 0; i < TL_ARRAY_LEN(exact); i++)
        if (strcmp(exact[i], type) == 0)
            return true;
    return strncmp(type, "video/", 6) == 0 || strncmp(type, "audio/", 6) == 0;
}

static void disposition(struct tl_req *req, bool in_place, const char *name)
{
    struct tl_str s TL_CLEANUP(tl_str_clear) = {0};
    char clean[TL_FILE_NAME_MAX + 1];
    tl_file_clean_name(name, clean);
    tl_str_printf(&s, "%s; filename*=UTF-8''", in_place ? "inline" : "attachment");
    for (const char *p = clean; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._~", *p);
        tl_str_printf(&s, plain ? "%c" : "%%%02X", (unsigned char)*p);
    }
    if (!s.err)
        tl_req_header(req, "Content-Disposition", "%s", s.data);
}

void tl_blob_reply(struct tl_req *req, const char *sha256, const char *content_type, const char *name)
{
    TL_AUTO_FD int fd = -1;
    uint64_t size, first, len;
    char tag[TL_ETAG_TEXT], type[TL_FILE_TYPE_MAX + 1];
    int err = tl_blob_open(req->srv->conf.blobs, sha256, &fd, &size);
    if (err < 0) {
        tl_reply_err(req, err, NULL);
        return;
    }
    tl_file_clean_type(content_type, type);
    bool in_place = harmless(type);
    snprintf(tag, sizeof(tag), "\"%s\"", sha256);
    tl_req_header(req, "ETag", "%s", tag);
    tl_req_header(req, "Cache-Control", "private, no-cache");
    tl_req_header(req, "Accept-Ranges", "bytes");
    tl_req_header(req, "Content-Security-Policy", "default-src 'none'; sandbox");
    disposition(req, in_place, name);
    if (req->head.if_none_match && tl_etag_match(req->head.if_none_match, tag)) {
        tl_reply_empty(req, 304);
        return;
    }
    bool part_of_this = !req->head.if_range || strcmp(req->head.if_range, tag) == 0;
    enum tl_range range = tl_range_parse(part_of_this ? req->head.range : NULL, size, &first, &len);
    if (range == TL_RANGE_NONE) {
        tl_req_header(req, "Content-Range", "bytes */%llu", (unsigned long long)size);
        tl_reply_err(req, TL_ERANGE, NULL);
        return;
    }
    if (range == TL_RANGE_PART)
        tl_req_header(req, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)first,
                      (unsigned long long)(first + len - 1), (unsigned long long)size);
    const char *sent_type = in_place ? tl_req_strndup(req, type, strlen(type)) : "application/octet-stream";
    tl_reply_file(req, range == TL_RANGE_PART ? 206 : 200, sent_type, fd, first, len);
    fd = -1;
}

static void content(struct tl_req *req)
{
    TL_AUTO_JSON json_t *record = NULL;
    int err = find(req, &record);
    const char *sha256 = tl_json_str(record, "sha256"), *type = tl_json_str(record, "content_type");
    if (err < 0 || !sha256)
        tl_reply_err(req, err < 0 ? err : TL_ECORRUPT, NULL);
    else
        tl_blob_reply(req, sha256, type ? type : "", tl_json_str(record, "name"));
}

const struct tl_route tl_routes_files[] = {
    {.method = TL_M_POST, .pattern = "/api/v1/files", .role = TL_ROLE_MEMBER, .flags = TL_R_POOL, .max_body = FILE_MAX + FORM_MAX, .handle = complete,
     .sink = &sink, .name = "uploadFile", .summary = "Stores a file: the raw body, named by X-Filename, or the file of a form", .body = "Bytes",
     .body_type = "application/octet-stream multipart/form-data", .answers = {{201, "File"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/files", .role = TL_ROLE_VIEWER, .handle = list, .name = "listFiles", .summary = "Files, newest first",
     .query = "limit cursor", .answers = {{200, "FileList"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/files/{id}", .role = TL_ROLE_VIEWER, .handle = get, .name = "getFile", .summary = "What is known of a file",
     .answers = {{200, "File"}}},
    {.method = TL_M_GET, .pattern = "/api/v1/files/{id}/content", .role = TL_ROLE_VIEWER, .flags = TL_R_RANGE, .handle = content,
     .name = "getFileContent", .summary = "A file's bytes",
     .answers = {{200, "Bytes", "application/octet-stream"}, {206, "Bytes", "application/octet-stream"}, {304}}},
    {0},
};

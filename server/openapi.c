#include "server/openapi.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/route.h"

#include <string.h>

/* JSON with ' for ". */
static json_t *quoted(const char *text)
{
    TL_AUTO_FREE char *copy = tl_strdup(text);
    json_t *j = NULL;
    for (char *p = copy; p && *p; p++)
        if (*p == '\'')
            *p = '"';
    return copy && tl_json_parse(copy, strlen(copy), &j, NULL) == 0 ? j : NULL;
}

static json_t *schema_ref(const char *name)
{
    struct tl_str s TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&s, "#/components/schemas/%s", name);
    return json_pack("{s:s}", "$ref", s.data);
}

static json_t *response_ref(const char *name)
{
    struct tl_str s TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&s, "#/components/responses/%s", name);
    return json_pack("{s:s}", "$ref", s.data);
}

static void add_param(json_t *list, const char *in, const char *name, bool required, json_t *schema, const char *doc)
{
    json_t *p = json_pack("{s:s,s:s,s:b,s:o}", "in", in, "name", name, "required", required, "schema", schema);
    if (doc)
        json_object_set_new(p, "description", json_string(doc));
    json_array_append_new(list, p);
}

static void add_header(json_t *list, const char *name, const char *doc)
{
    add_param(list, "header", name, false, json_pack("{s:s}", "type", "string"), doc);
}

static void path_params(json_t *list, const char *pattern)
{
    for (const char *p = strchr(pattern, '{'); p; p = strchr(p, '{')) {
        size_t n = strcspn(++p, "}");
        TL_AUTO_FREE char *name = tl_strndup(p, n);
        if (name)
            add_param(list, "path", name, true, json_pack("{s:s}", "type", "string"), NULL);
    }
}

static void query_params(json_t *list, const char *names)
{
    for (const char *p = names; p && *p;) {
        size_t n = strcspn(p, " ");
        for (const struct tl_query_doc *q = tl_query_docs; q->name; q++)
            if (strlen(q->name) == n && memcmp(q->name, p, n) == 0)
                add_param(list, "query", q->name, strcmp(q->name, "code") == 0, quoted(q->text), q->doc);
        p += n;
        p += strspn(p, " ");
    }
}

static json_t *params(const struct tl_route *r)
{
    json_t *list = json_array();
    path_params(list, r->pattern);
    query_params(list, r->query);
    if (r->flags & TL_R_IDEMPOTENT)
        add_header(list, "Idempotency-Key", "1 to 200 printable ASCII characters; the same request with the same key has the same run for a day");
    if (r->flags & TL_R_IF_MATCH)
        add_header(list, "If-Match", "The ETag that was read; 412 where the canvas has changed since");
    if (r->flags & TL_R_RANGE)
        add_header(list, "Range", "One range of bytes");
    if (r->flags & TL_R_SSE)
        add_header(list, "Last-Event-ID", "The id of the last event seen; wins over after_seq");
    if (r->sink)
        add_header(list, "X-Filename", "Name of a raw body's file, percent-encoded");
    if (r->role > TL_ROLE_NONE)
        add_header(list, "X-Admin-Mode", "\"true\" with the role author or admin: parameters for administrators exist");
    return list;
}

static json_t *content(const char *types, const char *schema)
{
    json_t *all = json_object();
    for (const char *p = types ? types : "application/json"; *p;) {
        size_t n = strcspn(p, " ");
        TL_AUTO_FREE char *type = tl_strndup(p, n);
        if (type)
            json_object_set_new(all, type, json_pack("{s:o}", "schema", schema_ref(strcmp(type, "multipart/form-data") == 0 ? "FileForm" : schema)));
        p += n;
        p += strspn(p, " ");
    }
    return all;
}

static json_t *body(const struct tl_route *r)
{
    return json_pack("{s:b,s:o,s:I}", "required", !(r->flags & TL_R_EMPTY_OK), "content", content(r->body_type, r->body), "x-max-bytes",
                     (json_int_t)r->max_body);
}

static void add_error(json_t *all, int status)
{
    char code[12], name[24];
    snprintf(code, sizeof(code), "%d", status);
    snprintf(name, sizeof(name), "Error%d", status);
    if (!json_object_get(all, code))
        json_object_set_new(all, code, response_ref(name));
}

static const struct {
    int status;
    const char *doc;
} errors[] = {
    {400, "The request is not valid; details.problems names everything that is wrong"},
    {401, "No token, or one that is not valid"},
    {403, "The role does not allow this, or the Origin is foreign"},
    {404, "There is no such thing, or it belongs to another organisation"},
    {409, "The state does not allow this, or the Idempotency-Key was used for another request"},
    {411, "Transfer-Encoding is not supported; send a Content-Length"},
    {412, "The resource has changed since it was read"},
    {413, "The body is too large"},
    {416, "The range cannot be satisfied"},
    {503, "Too much is waiting, or the store takes no writes"},
};

static json_t *responses(const struct tl_route *r)
{
    json_t *all = json_object();
    for (const struct tl_route_answer *a = r->answers; a->status; a++) {
        char code[12];
        snprintf(code, sizeof(code), "%d", a->status);
        json_t *one = json_pack("{s:s}", "description", a->doc ? a->doc : a->status == 304 ? "Not modified" : tl_err_text(0));
        if (a->schema)
            json_object_set_new(one, "content", content(a->type, a->schema));
        json_object_set_new(all, code, one);
    }
    add_error(all, 400);
    if (r->role > TL_ROLE_NONE) {
        add_error(all, 401);
        add_error(all, 403);
    }
    if (strchr(r->pattern, '{') || (r->flags & TL_R_IDEMPOTENT)) /* an id in the address, or in the body */
        add_error(all, 404);
    if (r->max_body) {
        add_error(all, 411);
        add_error(all, 413);
        add_error(all, 503);
    }
    if (r->flags & TL_R_IDEMPOTENT || strstr(r->pattern, "/cancel") || strstr(r->pattern, "/approve"))
        add_error(all, 409);
    if (r->flags & TL_R_IF_MATCH)
        add_error(all, 412);
    if (r->flags & TL_R_RANGE)
        add_error(all, 416);
    return all;
}

static json_t *operation(const struct tl_route *r)
{
    json_t *op = json_pack("{s:s,s:s,s:o,s:o}", "operationId", r->name, "summary", r->summary, "parameters", params(r), "responses", responses(r));
    if (r->body)
        json_object_set_new(op, "requestBody", body(r));
    if (r->role > TL_ROLE_NONE)
        json_object_set_new(op, "x-role", json_string(tl_role_name(r->role)));
    json_object_set_new(op, "security", r->role > TL_ROLE_NONE ? json_pack("[{s:[]},{s:[]}]", "bearer", "session") : json_array());
    return op;
}

static json_t *components(void)
{
    json_t *schemas = json_object(), *answers = json_object();
    for (const struct tl_schema *s = tl_schemas; s->name; s++)
        json_object_set_new(schemas, s->name, quoted(s->text));
    for (size_t i = 0; i < TL_ARRAY_LEN(errors); i++) {
        char name[24];
        snprintf(name, sizeof(name), "Error%d", errors[i].status);
        json_object_set_new(answers, name, json_pack("{s:s,s:o}", "description", errors[i].doc, "content", content(NULL, "Error")));
    }
    return json_pack("{s:o,s:o,s:{s:{s:s,s:s,s:s},s:{s:s,s:s,s:s}}}", "schemas", schemas, "responses", answers, "securitySchemes",
                     "bearer", "type", "http", "scheme", "bearer", "bearerFormat", "JWT", "session", "type", "apiKey", "in", "cookie",
                     "name", "talos_session");
}

static const char method_keys[][8] = {"get", "post", "put", "patch", "delete"};

static const char *method_key(enum tl_method m)
{
    return method_keys[m == TL_M_GET ? 0 : m == TL_M_POST ? 1 : m == TL_M_PUT ? 2 : m == TL_M_PATCH ? 3 : 4];
}

char *tl_openapi_text(void)
{
    size_t n;
    const struct tl_route *const *routes = tl_routes(&n);
    json_t *paths = json_object();
    for (size_t i = 0; i < n; i++) {
        json_t *path = json_object_get(paths, routes[i]->pattern);
        if (!path) {
            json_object_set_new(paths, routes[i]->pattern, json_object());
            path = json_object_get(paths, routes[i]->pattern);
        }
        json_object_set_new(path, method_key(routes[i]->method), operation(routes[i]));
    }
    TL_AUTO_JSON json_t *all =
        json_pack("{s:s,s:{s:s,s:s,s:s,s:{s:s,s:s}},s:o,s:o}", "openapi", "3.1.0", "info", "title", "talos", "version", "1.0.0",
                  "description", "A node-graph canvas backend with sealed capsule nodes.", "license", "name", "Apache-2.0", "identifier",
                  "Apache-2.0", "paths", paths, "components", components());
    return all ? tl_json_text(all) : NULL;
}

#include "server/route.h"

#include "base/err.h"

#include <pthread.h>
#include <string.h>

static const struct tl_route *const groups[] = {tl_routes_system, tl_routes_runs, tl_routes_capsules, tl_routes_canvases,
                                                tl_routes_files};
static const struct tl_route *all[TL_ROUTE_MAX];
static size_t count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void gather(void)
{
    for (size_t g = 0; g < TL_ARRAY_LEN(groups); g++)
        for (const struct tl_route *r = groups[g]; r->pattern && count < TL_ROUTE_MAX; r++)
            all[count++] = r;
}

const struct tl_route *const *tl_routes(size_t *ret_count)
{
    pthread_once(&once, gather);
    *ret_count = count;
    return all;
}

/* Walks pattern and path together. A parameter stands for one segment, {node} for as many as fit: the id of a step inside a group has slashes. *n: how many
 * parameters there are so far. */
static bool fits(const char *pattern, const char *path, const char **at, size_t *len, size_t *n)
{
    for (; *pattern != '{'; pattern++, path++) {
        if (*pattern != *path)
            return false;
        if (!*pattern)
            return true;
    }
    bool spans = strncmp(pattern, "{node}", 6) == 0;
    const char *rest = pattern + strcspn(pattern, "}") + 1;
    size_t k = *n, seg = strcspn(path, "/");
    while (seg > 0 && k < TL_REQ_PARAMS) {
        at[k] = path;
        len[k] = seg;
        *n = k + 1;
        if (fits(rest, path + seg, at, len, n))
            return true;
        if (!spans || !path[seg])
            return false;
        seg += 1 + strcspn(path + seg + 1, "/");
    }
    return false;
}

int tl_route_find(struct tl_req *req, unsigned *ret_allow)
{
    size_t n, nparams, len[TL_REQ_PARAMS];
    const char *at[TL_REQ_PARAMS];
    const struct tl_route *const *list = tl_routes(&n);
    enum tl_method method = req->method == TL_M_HEAD ? TL_M_GET : req->method;
    *ret_allow = 0;
    for (size_t i = 0; i < n; i++) {
        nparams = 0;
        if (!fits(list[i]->pattern, req->path, at, len, &nparams))
            continue;
        *ret_allow |= list[i]->method == TL_M_GET ? TL_M_GET | TL_M_HEAD : (unsigned)list[i]->method;
        if (list[i]->method != method)
            continue;
        for (size_t k = 0; k < nparams; k++)
            if (!(req->params[k] = tl_req_strndup(req, at[k], len[k])))
                return TL_ENOMEM;
        req->route = list[i];
        req->route_index = i;
        return 0;
    }
    return *ret_allow ? TL_EMETHOD : TL_ENOTFOUND;
}

static const struct {
    enum tl_method method;
    const char *name;
} methods[] = {{TL_M_GET, "GET"},     {TL_M_HEAD, "HEAD"},     {TL_M_POST, "POST"},      {TL_M_PUT, "PUT"},
               {TL_M_PATCH, "PATCH"}, {TL_M_DELETE, "DELETE"}, {TL_M_OPTIONS, "OPTIONS"}};

const char *tl_method_name(enum tl_method method)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(methods); i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "?";
}

void tl_method_list(unsigned wanted, struct tl_str *ret)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(methods); i++)
        if (methods[i].method & wanted)
            tl_str_printf(ret, "%s%s", ret->len ? ", " : "", methods[i].name);
}

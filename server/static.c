#include "server/static.h"

#include "base/err.h"
#include "server/state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *ending, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},  {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"}, {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},          {".map", "application/json"},
    {".webmanifest", "application/manifest+json"}, {".svg", "image/svg+xml"},
    {".png", "image/png"},                  {".jpg", "image/jpeg"},
    {".jpeg", "image/jpeg"},                {".webp", "image/webp"},
    {".avif", "image/avif"},                {".gif", "image/gif"},
    {".ico", "image/x-icon"},               {".woff", "font/woff"},
    {".woff2", "font/woff2"},               {".ttf", "font/ttf"},
    {".wasm", "application/wasm"},          {".mp4", "video/mp4"},
    {".webm", "video/webm"},                {".mp3", "audio/mpeg"},
    {".txt", "text/plain; charset=utf-8"},  {".md", "text/plain; charset=utf-8"},
};

/* The canvas loads nothing from elsewhere and is framed by nobody. */
static const char policy[] =
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

static const char welcome[] =
    "<!doctype html><meta charset=\"utf-8\"><title>talos</title><body style=\"font:16px/1.5 sans-serif;margin:3em\">"
    "<h1>talos</h1><p>The server is running. Its API is described in <a href=\"/openapi.json\">/openapi.json</a>; "
    "start it with <code>--web DIR</code> to serve a canvas here.</p>";

const char *tl_static_type(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < TL_ARRAY_LEN(types); i++)
        if (strcasecmp(types[i].ending, dot) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* Opens a plain file below dir. The kernel refuses every way out of it, symbolic links included. */
static int open_below(const char *dir, const char *path, struct stat *ret_st)
{
    TL_AUTO_FD int base = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    if (base < 0)
        return -1;
    int fd = (int)syscall(SYS_openat2, base, path, &how, sizeof(how));
    if (fd >= 0 && (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool hidden(const char *path)
{
    return path[0] == '.' || strstr(path, "/.");
}

static void page_headers(struct tl_req *req)
{
    tl_req_header(req, "Content-Security-Policy", "%s", policy);
    tl_req_header(req, "Referrer-Policy", "no-referrer");
}

void tl_static_reply(struct tl_req *req)
{
    const char *dir = req->srv->conf.web_dir, *path = req->path + 1, *name = *path ? path : "index.html";
    struct stat st;
    if (!dir && !*path) {
        page_headers(req);
        tl_reply_text(req, 200, types[0].type, tl_strdup(welcome), sizeof(welcome) - 1);
        return;
    }
    int fd = dir && !hidden(name) ? open_below(dir, name, &st) : -1;
    const char *last = strrchr(name, '/');
    if (fd < 0 && dir && !hidden(name) && !strchr(last ? last : name, '.'))
        fd = open_below(dir, name = "index.html", &st);
    if (fd < 0) {
        tl_reply_err(req, TL_ENOTFOUND, NULL);
        return;
    }
    char tag[48];
    snprintf(tag, sizeof(tag), "\"%llx-%llx\"", (unsigned long long)st.st_mtim.tv_sec * 1000000000ULL + (unsigned long long)st.st_mtim.tv_nsec,
             (unsigned long long)st.st_size);
    page_headers(req);
    tl_req_header(req, "ETag", "%s", tag);
    tl_req_header(req, "Cache-Control", "no-cache");
    if (req->head.if_none_match && strstr(req->head.if_none_match, tag)) {
        close(fd);
        tl_reply_empty(req, 304);
    } else {
        tl_reply_file(req, 200, tl_static_type(name), fd, 0, (uint64_t)st.st_size);
    }
}

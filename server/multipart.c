#include "server/multipart.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70, HEAD_MAX = 4096, PARTS_MAX = 100 };

enum state { PREAMBLE, AFTER_BOUNDARY, HEAD, BODY, EPILOGUE };

struct tl_multipart {
    char mark[BOUNDARY_MAX + 5]; /* CRLF, two dashes, the boundary */
    size_t mark_len;
    enum state state;
    struct tl_str carry; /* what may be the beginning of a mark, or is not long enough to tell */
    bool is_file, had_file;
    int parts;
    char *filename, *type; /* owned */
};

/* The next semicolon that is not inside a quoted string; NULL where there is none. */
static const char *next_param(const char *p)
{
    for (bool quoted = false; *p && (quoted || *p != ';'); p++) {
        if (quoted && *p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quoted = !quoted;
    }
    return *p ? p : NULL;
}

/* The value of name= in a header's parameters, unquoted; returned owned. */
static char *param(const char *header, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = next_param(header); p; p = next_param(p)) {
        p++;
        p += strspn(p, " \t");
        if (strncasecmp(p, name, n) != 0 || p[n] != '=')
            continue;
        p += n + 1;
        if (*p != '"')
            return tl_strndup(p, strcspn(p, "; \t"));
        struct tl_str s = {0};
        for (p++; *p && *p != '"'; p++) {
            if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
                p++;
            tl_str_add(&s, p, 1);
        }
        return tl_str_take(&s);
    }
    return NULL;
}

int tl_multipart_new(const char *content_type, struct tl_multipart **ret)
{
    TL_AUTO_FREE char *boundary = param(content_type, "boundary");
    size_t n = boundary ? strlen(boundary) : 0;
    *ret = NULL;
    if (n == 0 || n > BOUNDARY_MAX)
        return TL_EINVAL;
    struct tl_multipart *m = tl_calloc(1, sizeof(*m));
    if (!m)
        return TL_ENOMEM;
    memcpy(m->mark, "\r\n--", 4);
    memcpy(m->mark + 4, boundary, n);
    m->mark_len = n + 4;
    tl_str_puts(&m->carry, "\r\n"); /* the first boundary may stand at the very beginning */
    *ret = m;
    return 0;
}

void tl_multipart_free(struct tl_multipart *m)
{
    if (!m)
        return;
    tl_str_clear(&m->carry);
    free(m->filename);
    free(m->type);
    free(m);
}

static int part_head(struct tl_multipart *m, char *head)
{
    TL_AUTO_FREE char *name = NULL, *type = NULL;
    char *save = NULL;
    for (char *line = strtok_r(head, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
        if (strncasecmp(line, "Content-Disposition:", 20) == 0 && !name)
            name = param(line, "filename");
        else if (strncasecmp(line, "Content-Type:", 13) == 0 && !type)
            type = tl_strdup(line + 13 + strspn(line + 13, " \t"));
    }
    m->is_file = name != NULL;
    if (!m->is_file)
        return 0;
    if (m->had_file)
        return TL_ECONFLICT;
    m->had_file = true;
    m->filename = name;
    m->type = type;
    name = type = NULL;
    return 0;
}

/* Drops the first n bytes of what is carried. */
static void drop(struct tl_multipart *m, size_t n)
{
    memmove(m->carry.data, m->carry.data + n, m->carry.len - n + 1);
    m->carry.len -= n;
}

/* One step on what is carried: 1 where there may be more to do, 0 where more bytes are needed, or an error. */
static int step(struct tl_multipart *m, int (*data)(void *arg, const char *bytes, size_t len), void *arg)
{
    struct tl_str *c = &m->carry;
    int err = 0;
    if (m->state == PREAMBLE || m->state == BODY) {
        char *at = c->len ? memmem(c->data, c->len, m->mark, m->mark_len) : NULL;
        size_t sure = at ? (size_t)(at - c->data) : c->len >= m->mark_len ? c->len - m->mark_len + 1 : 0;
        if (sure && m->state == BODY && m->is_file)
            err = data(arg, c->data, sure);
        drop(m, at ? sure + m->mark_len : sure);
        if (at) {
            m->state = AFTER_BOUNDARY;
            m->is_file = false;
        }
        return err < 0 ? err : at != NULL;
    }
    if (m->state == AFTER_BOUNDARY) {
        if (c->len < 2)
            return 0;
        bool last = memcmp(c->data, "--", 2) == 0;
        if (!last && memcmp(c->data, "\r\n", 2) != 0)
            return TL_EINVAL;
        /* The line's end is kept: an empty head is a line's end and an empty line. */
        if (last)
            drop(m, 2);
        m->state = last ? EPILOGUE : HEAD;
        return ++m->parts > PARTS_MAX ? TL_EINVAL : 1;
    }
    if (m->state == HEAD) {
        char *end = memmem(c->data, c->len, "\r\n\r\n", 4);
        if (!end)
            return c->len > HEAD_MAX ? TL_EINVAL : 0;
        if ((size_t)(end - c->data) > HEAD_MAX || memchr(c->data, '\0', (size_t)(end - c->data)))
            return TL_EINVAL;
        *end = '\0';
        err = part_head(m, c->data);
        drop(m, (size_t)(end - c->data) + 4);
        m->state = BODY;
        return err < 0 ? err : 1;
    }
    c->len = 0;
    return 0;
}

int tl_multipart_feed(struct tl_multipart *m, const char *bytes, size_t len, int (*data)(void *arg, const char *bytes, size_t len),
                      void *arg)
{
    tl_str_add(&m->carry, bytes, len);
    int more = m->carry.err ? m->carry.err : 1;
    while (more > 0)
        more = step(m, data, arg);
    return more;
}

int tl_multipart_end(const struct tl_multipart *m)
{
    return m->state == EPILOGUE && m->had_file ? 0 : TL_EINVAL;
}

const char *tl_multipart_filename(const struct tl_multipart *m)
{
    return m->filename;
}

const char *tl_multipart_type(const struct tl_multipart *m)
{
    return m->type;
}

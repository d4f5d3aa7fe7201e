#include "cli/sse.h"

#include "base/err.h"

#include <string.h>

static void empty(struct tl_str *s)
{
    s->len = 0;
    if (s->data)
        s->data[0] = '\0';
}

/* One field: "name: value", "name:value" or "name"; a line that begins with a colon is a comment. */
static void take_line(struct tl_cli_sse *sse)
{
    const char *line = sse->line.data ? sse->line.data : "";
    const char *colon = strchr(line, ':');
    size_t name = colon ? (size_t)(colon - line) : strlen(line);
    const char *value = colon ? colon + 1 : line + name;
    if (*value == ' ')
        value++;
    if (name == 4 && !memcmp(line, "data", 4)) {
        if (sse->has_data)
            tl_str_puts(&sse->data, "\n");
        tl_str_puts(&sse->data, value);
        sse->has_data = true;
    } else if (name == 2 && !memcmp(line, "id", 2)) {
        empty(&sse->id);
        tl_str_puts(&sse->id, value);
    }
}

static int end_line(struct tl_cli_sse *sse, int (*event)(void *arg, const char *id, const char *data, size_t len),
                    void *arg)
{
    int err = 0;
    if (sse->line.len) {
        take_line(sse);
    } else if (sse->has_data) {
        if (!sse->data.err)
            err = event(arg, sse->id.data ? sse->id.data : "", sse->data.data ? sse->data.data : "", sse->data.len);
        empty(&sse->data);
        sse->has_data = false;
    }
    empty(&sse->line);
    return err < 0 ? err : sse->line.err ? sse->line.err : sse->data.err ? sse->data.err : sse->id.err;
}

int tl_cli_sse_feed(struct tl_cli_sse *sse, const char *bytes, size_t len,
                    int (*event)(void *arg, const char *id, const char *data, size_t len), void *arg)
{
    for (size_t i = 0; i < len;) {
        if (sse->after_cr && bytes[i] == '\n') {
            sse->after_cr = false;
            i++;
            continue;
        }
        sse->after_cr = false;
        size_t n = 0;
        while (i + n < len && bytes[i + n] != '\n' && bytes[i + n] != '\r')
            n++;
        if (sse->line.len + n > TL_SSE_MAX_EVENT || sse->data.len > TL_SSE_MAX_EVENT)
            return TL_ETOOBIG;
        tl_str_add(&sse->line, bytes + i, n);
        i += n;
        if (i == len)
            break;
        sse->after_cr = bytes[i++] == '\r';
        int err = end_line(sse, event, arg);
        if (err < 0)
            return err;
    }
    return sse->line.err;
}

void tl_cli_sse_clear(struct tl_cli_sse *sse)
{
    tl_str_clear(&sse->line);
    tl_str_clear(&sse->data);
    tl_str_clear(&sse->id);
    sse->after_cr = sse->has_data = false;
}

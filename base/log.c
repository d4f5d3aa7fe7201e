#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdatomic.h>
#include <unistd.h>

static _Atomic int most_level = TL_LOG_INFO;
static const char *const names[] = {"error", "warn", "info", "debug"};

void tl_log_level(enum tl_log_level most)
{
    atomic_store(&most_level, (int)most);
}

void tl_log(enum tl_log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level > atomic_load(&most_level))
        return;
    struct tl_str text = {0}, line = {0};
    va_list ap;
    va_start(ap, fmt);
    tl_str_vprintf(&text, fmt, ap);
    va_end(ap);
    char ts[TL_TIME_TEXT];
    tl_time_text(tl_now_ms(), ts);
    TL_AUTO_JSON json_t *msg = json_string(text.data ? text.data : "");
    TL_AUTO_FREE char *quoted = msg ? tl_json_text(msg) : NULL;
    tl_str_printf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"message\":%s}\n", ts, names[level], event,
                  quoted ? quoted : "\"(not UTF-8)\"");
    if (!line.err && write(STDERR_FILENO, line.data, line.len) < 0) {
        /* nowhere left to say it */
    }
    tl_str_clear(&text);
    tl_str_clear(&line);
}

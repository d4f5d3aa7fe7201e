#include "cli/cli.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(const char *fmt, va_list ap, const char *more)
{
    struct tl_str line TL_CLEANUP(tl_str_clear) = {0};
    tl_str_puts(&line, "talos: ");
    tl_str_vprintf(&line, fmt, ap);
    if (more)
        tl_str_puts(&line, more);
    fprintf(stderr, "%s\n", line.data ? line.data : "talos: out of memory");
}

void tl_cli_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap, NULL);
    va_end(ap);
}

int tl_cli_usage(const struct tl_cmd *cmd, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap, NULL);
    va_end(ap);
    fprintf(stderr, "Try 'talos%s%s --help'.\n", cmd ? " " : "", cmd ? cmd->name : "");
    return TL_EXIT_USAGE;
}

int tl_cli_fail(int err, const char *fmt, ...)
{
    TL_AUTO_FREE char *why = NULL;
    if (asprintf(&why, ": %s", tl_err_text(err)) < 0)
        why = NULL;
    va_list ap;
    va_start(ap, fmt);
    say(fmt, ap, why);
    va_end(ap);
    return tl_cli_exit_status(err);
}

void tl_cli_problems(const struct tl_diag *diag)
{
    for (size_t i = 0; i < diag->count; i++) {
        const struct tl_problem *p = &diag->items[i];
        fprintf(stderr, "  %s%s%s%s%s%s%s\n", p->node ? p->node : "", p->node && p->port ? "." : "",
                p->port ? p->port : "", p->node || p->port ? ": " : "", p->message, p->path ? "  at " : "",
                p->path ? p->path : "");
    }
    if (diag->dropped)
        fprintf(stderr, "  and %zu more\n", diag->dropped);
}

int tl_cli_exit_status(int err)
{
    switch (err) {
    case 0:
        return TL_EXIT_OK;
    case TL_EINVAL:
    case TL_ETOOBIG:
        return TL_EXIT_USAGE;
    case TL_ENOTFOUND:
        return TL_EXIT_NOTFOUND;
    case TL_EBUSY:
        return TL_EXIT_BUSY;
    case TL_EIO:
    case TL_EFULL:
    case TL_ECORRUPT:
        return TL_EXIT_STORAGE;
    case TL_EAUTH:
    case TL_EFORBIDDEN:
    case TL_ETRANSIENT_IO:
    case TL_ETIMEOUT:
    case TL_EPOLICY:
        return TL_EXIT_SERVER;
    case TL_ECANCELLED:
        return TL_EXIT_CANCELLED;
    case TL_EINTERNAL:
    case TL_ENOMEM:
        return TL_EXIT_INTERNAL;
    default:
        return TL_EXIT_FAILED;
    }
}

char *tl_cli_data_dir(const char *given)
{
    const char *dir = given ? given : getenv("TALOS_DATA");
    if (dir && *dir)
        return tl_strdup(dir);
    char *path = NULL;
    const char *share = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n = -1;
    if (share && *share == '/')
        n = asprintf(&path, "%s/talos", share);
    else if (home && *home)
        n = asprintf(&path, "%s/.local/share/talos", home);
    return n < 0 ? NULL : path;
}

bool tl_cli_number(const char *text, long low, long high, long *ret)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < low || v > high)
        return false;
    *ret = v;
    return true;
}

const char *tl_cli_local(const json_t *text)
{
    static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    const char *lang = NULL;
    for (size_t i = 0; i < TL_ARRAY_LEN(names) && (!lang || !*lang); i++)
        lang = getenv(names[i]);
    const char *korean = json_string_value(json_object_get(text, "ko")),
               *english = json_string_value(json_object_get(text, "en"));
    if (json_is_string(text))
        return json_string_value(text);
    return korean && (!english || (lang && !strncmp(lang, "ko", 2))) ? korean : english;
}

bool tl_cli_bytes(const char *text, uint64_t *ret)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    const char *unit = *end && !end[1] ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (errno || text[0] < '0' || text[0] > '9' || (*end && !unit) || !v || v > ((uint64_t)INT64_MAX >> shift))
        return false;
    *ret = (uint64_t)v << shift;
    return true;
}

bool tl_cli_days(const char *text, int64_t *ret_ms)
{
    char *end;
    errno = 0;
    double days = strtod(text, &end), ms = ceil(days * 86400000);
    /* Nothing but a decimal number: strtod takes more. */
    if (errno || !*text || *end || strspn(text, "0123456789.") != strlen(text) || days > 36500)
        return false;
    *ret_ms = (int64_t)ms;
    return true;
}

bool tl_cli_seconds(const char *text, long *ret)
{
    static const struct {
        char unit;
        long seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno || end == text || v <= 0 || v > 1000000000)
        return false;
    long unit = *end ? 0 : 1;
    for (size_t i = 0; *end && !end[1] && i < TL_ARRAY_LEN(units); i++)
        if (*end == units[i].unit)
            unit = units[i].seconds;
    if (!unit || v > 1000000000 / unit)
        return false;
    *ret = v * unit;
    return true;
}

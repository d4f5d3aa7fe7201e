#include "cli/summary.h"

#include "base/mem.h"
#include "cli/text.h"
#include "wire/style.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_CELLS = 18, SCALE_CELLS = 33, CURVE_CELLS = 48, TEXT_MAX_LINES = 40 };

static void name_of(const struct tl_cli_term *term, struct tl_str *out, const char *name)
{
    struct tl_str padded TL_CLEANUP(tl_str_clear) = {0};
    int w = tl_cli_text_width(name);
    tl_cli_text_pad(&padded, name, w > NAME_CELLS ? w : NAME_CELLS);
    tl_str_puts(out, "  ");
    tl_cli_term_put(term, out, TL_INK_DIM, padded.data ? padded.data : name);
    tl_str_puts(out, " ");
}

static void indent(struct tl_str *out)
{
    tl_str_printf(out, "%*s", 2 + NAME_CELLS + 1, "");
}

static bool all_strings(const json_t *v)
{
    size_t i;
    json_t *s;
    json_array_foreach(v, i, s)
        if (!json_is_string(s))
            return false;
    return json_is_array(v) && json_array_size(v);
}

static bool all_numbers(const json_t *v)
{
    size_t i;
    json_t *n;
    json_array_foreach(v, i, n)
        if (!json_is_number(n))
            return false;
    return json_is_array(v) && json_array_size(v);
}

static bool all_colours(const json_t *v)
{
    size_t i;
    json_t *s;
    json_array_foreach(v, i, s) {
        const char *hex = json_string_value(s);
        if (!hex || hex[0] != '#' || strlen(hex) != 7 || strspn(hex + 1, "0123456789abcdefABCDEF") != 6)
            return false;
    }
    return json_array_size(v) > 0;
}

static void palette(const struct tl_cli_term *term, struct tl_str *out, const json_t *colours)
{
    size_t i;
    json_t *c;
    if (term->colour) {
        json_array_foreach(colours, i, c)
            tl_cli_term_swatch(term, out, json_string_value(c), 9);
        tl_str_puts(out, "\n");
        indent(out);
    }
    json_array_foreach(colours, i, c)
        tl_str_printf(out, "%s%s", i ? "  " : "", json_string_value(c));
    tl_str_puts(out, "\n");
}

static void style(const struct tl_cli_term *term, struct tl_str *out, const json_t *vector)
{
    size_t i;
    json_t *v;
    json_array_foreach(vector, i, v) {
        const struct tl_style_info *axis = &tl_style_info[i];
        if (i)
            indent(out);
        tl_cli_text_pad(out, axis->name, 16);
        tl_cli_term_scale(term, out, axis->low, axis->high, axis->neutral, json_number_value(v), SCALE_CELLS);
        tl_str_printf(out, " %6.2f\n", json_number_value(v));
    }
    indent(out);
    tl_cli_term_put(term, out, TL_INK_DIM,
                    term->unicode ? "┃ is neutral; what each axis means: SPEC.md, section 8"
                                  : "| is neutral; what each axis means: SPEC.md, section 8");
    tl_str_puts(out, "\n");
}

/* A curve as a row of blocks: the mean of the stretch that each cell stands for, between the curve's least and greatest. */
static void curve(const struct tl_cli_term *term, struct tl_str *out, const json_t *v)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const plain = "_.,-~=+#";
    size_t n = json_array_size(v), cells = n < CURVE_CELLS ? n : CURVE_CELLS;
    double low = json_number_value(json_array_get(v, 0)), high = low;
    for (size_t i = 1; i < n; i++) {
        double x = json_number_value(json_array_get(v, i));
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    for (size_t c = 0; c < cells; c++) {
        size_t from = c * n / cells, to = (c + 1) * n / cells;
        double sum = 0;
        for (size_t i = from; i < to; i++)
            sum += json_number_value(json_array_get(v, i));
        double x = high > low ? (sum / (double)(to - from) - low) / (high - low) : 0.5;
        int step = x < 0 ? 0 : x >= 1 ? 7 : (int)(x * 8);
        if (term->unicode)
            tl_str_puts(out, blocks[step]);
        else
            tl_str_add(out, plain + step, 1);
    }
    tl_str_printf(out, "  %.2f to %.2f, %zu values\n", low, high, n);
}

/* A paragraph broken at blanks to the width that is left beside the names. */
static void paragraph(const struct tl_cli_term *term, struct tl_str *out, const char *text, const char *bullet)
{
    int room = term->columns - (2 + NAME_CELLS + 1) - 2;
    room = room > 100 ? 100 : room < 20 ? 20 : room;
    for (int lines = 0; *text && lines < TEXT_MAX_LINES; lines++) {
        const char *at = text, *brk = NULL;
        int used = 0;
        bool newline = false;
        while (*at && used <= room) {
            const char *before = at;
            uint32_t c = tl_cli_text_next(&at);
            newline = c == '\n';
            if (newline) {
                brk = before;
                break;
            }
            used += tl_cli_text_cells(c);
            if (c == ' ' && used <= room)
                brk = before;
            if (used > room && !brk)
                brk = before;
        }
        const char *end = !*at && used <= room && !newline ? at : brk;
        TL_AUTO_FREE char *part = tl_strndup(text, (size_t)(end - text));
        if (lines)
            indent(out);
        tl_str_printf(out, "%*s", lines ? tl_cli_text_width(bullet) : 0, "");
        tl_str_puts(out, lines ? "" : bullet);
        tl_cli_text_clean(out, part ? part : "");
        tl_str_puts(out, "\n");
        text = end + (*end == ' ' || *end == '\n');
    }
}

static void sentences(const struct tl_cli_term *term, struct tl_str *out, const json_t *list)
{
    size_t i;
    json_t *s;
    json_array_foreach(list, i, s) {
        if (i)
            indent(out);
        paragraph(term, out, json_string_value(s), term->unicode ? "· " : "- ");
    }
}

static void compact(const struct tl_cli_term *term, struct tl_str *out, const json_t *v)
{
    TL_AUTO_FREE char *text = json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(4));
    struct tl_str cut TL_CLEANUP(tl_str_clear) = {0};
    int room = term->columns - (2 + NAME_CELLS + 1) - 1, w = text ? tl_cli_text_width(text) : 0;
    tl_cli_text_pad(&cut, text ? text : "", w < room ? w : room);
    tl_cli_term_put(term, out, TL_INK_DIM, cut.data ? cut.data : "");
    tl_str_puts(out, "\n");
}

/* Shots by where each begins. */
static void shots(struct tl_str *out, const json_t *list)
{
    enum { SHOWN = 12 };
    size_t i;
    json_t *shot;
    tl_str_printf(out, "%zu, from", json_array_size(list));
    json_array_foreach(list, i, shot) {
        double at = tl_json_num(shot, "start_sec", 0);
        if (i < SHOWN)
            tl_str_printf(out, " %d:%04.1f", (int)(at / 60), at - 60 * (int)(at / 60));
    }
    tl_str_puts(out, json_array_size(list) > SHOWN ? " and on\n" : "\n");
}

static void warnings(const struct tl_cli_term *term, struct tl_str *out, const json_t *list)
{
    size_t i;
    json_t *w;
    json_array_foreach(list, i, w) {
        const char *what = tl_json_str(w, "output"), *ref = tl_json_str(w, "ref"), *why = tl_json_str(w, "reason");
        struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
        what = what ? what : ref ? ref : json_string_value(w);
        tl_str_printf(&text, "%s%s%s", what ? what : "", what && why ? ": " : "", why ? why : "");
        if (i)
            indent(out);
        tl_cli_term_ink(term, out, TL_INK_YELLOW);
        paragraph(term, out, text.data ? text.data : "", "! ");
        tl_cli_term_ink(term, out, TL_INK_PLAIN);
    }
}

static void medium(const struct tl_cli_term *term, struct tl_str *out, const json_t *v, const char *path)
{
    double bytes = tl_json_num(v, "bytes", 0);
    const char *type = tl_json_str(v, "content_type"), *kind = tl_json_str(v, "kind");
    if (path)
        tl_cli_term_put(term, out, TL_INK_BOLD, path);
    else
        tl_cli_text_clean(out, kind);
    tl_str_puts(out, "  ");
    tl_cli_text_clean(out, type ? type : "");
    if (bytes >= 1e6)
        tl_str_printf(out, ", %.1f MB\n", bytes / 1e6);
    else
        tl_str_printf(out, ", %.0f kB\n", bytes / 1e3 < 1 ? 1 : bytes / 1e3);
}

static void value(const struct tl_cli_term *term, struct tl_str *out, const char *port, const json_t *v,
                  const char *path)
{
    if (json_is_null(v) || (json_is_array(v) && !json_array_size(v)) || (json_is_string(v) && !json_string_length(v)))
        return;
    name_of(term, out, port);
    if (json_is_object(v) && tl_json_str(v, "sha256") && tl_json_str(v, "kind"))
        medium(term, out, v, path);
    else if (json_is_array(v) && all_colours(v))
        palette(term, out, v);
    else if (!strcmp(port, "style_vector") && all_numbers(v) && json_array_size(v) == TL_STYLE_AXES)
        style(term, out, v);
    else if (json_is_array(v) && strstr(port, "_warnings"))
        warnings(term, out, v);
    else if (json_is_number(json_object_get(json_array_get(v, 0), "start_sec")))
        shots(out, v);
    else if (all_numbers(v))
        curve(term, out, v);
    else if (all_strings(v))
        sentences(term, out, v);
    else if (json_is_string(v))
        paragraph(term, out, json_string_value(v), "");
    else if (json_is_number(v))
        tl_str_printf(out, "%.10g\n", json_number_value(v));
    else if (json_is_boolean(v))
        tl_str_puts(out, json_is_true(v) ? "yes\n" : "no\n");
    else
        compact(term, out, v);
}

static void node(const struct tl_cli_term *term, struct tl_str *out, const struct tl_cli_view_node *n,
                 const json_t *outputs, const json_t *files)
{
    struct tl_str body TL_CLEANUP(tl_str_clear) = {0};
    const char *port;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)outputs, port, v)
        if (strcmp(port, "summary") != 0 || !json_is_object(v))
            value(term, &body, port, v, tl_json_str(json_object_get(files, n->id), port));
    /* A capsule's summary repeats its outputs; what it says beyond them is shown. */
    json_object_foreach(json_object_get(outputs, "summary"), port, v)
        if (!json_object_get(outputs, port))
            value(term, &body, port, v, NULL);
    if (!body.len)
        return;
    tl_str_puts(out, "\n");
    tl_cli_term_put(term, out, TL_INK_BOLD, n->label);
    if (*n->type && strcmp(n->type, n->label) != 0) {
        tl_str_puts(out, "  ");
        tl_cli_term_put(term, out, TL_INK_DIM, n->type);
    }
    tl_str_puts(out, "\n");
    tl_str_add(out, body.data, body.len);
}

static void ending(const struct tl_cli_term *term, const struct tl_cli_view *view, struct tl_str *out)
{
    static const char *const shown[] = {"evidence_refs", "evidence_warnings", "output_warnings",
                                        "token_usage",   "cost_usd_est",      "reason"};
    if (view->status == TL_VIEW_FAILED) {
        const json_t *error = json_object_get(view->ending, "error");
        const char *message = tl_json_str(error, "message"), *code = tl_json_str(error, "code"),
                   *where = tl_json_str(json_object_get(error, "details"), "node");
        tl_str_puts(out, "\n");
        tl_cli_term_put(term, out, TL_INK_RED, "The run failed");
        tl_str_puts(out, where ? " at " : "");
        tl_cli_text_clean(out, where ? where : "");
        tl_str_puts(out, ": ");
        tl_cli_text_clean(out, message ? message : "no reason was given");
        tl_str_puts(out, " (");
        tl_cli_text_clean(out, code ? code : "INTERNAL");
        tl_str_puts(out, ")\n");
    } else if (view->status == TL_VIEW_CANCELLED) {
        tl_str_puts(out, "\n");
        tl_cli_term_put(term, out, TL_INK_YELLOW, "The run was cancelled");
        tl_str_puts(out, "\n");
    }
    bool first = true;
    for (size_t i = 0; i < TL_ARRAY_LEN(shown); i++) {
        const json_t *v = json_object_get(view->ending, shown[i]);
        bool usage = !strcmp(shown[i], "token_usage") ? json_number_value(json_object_get(v, "total")) > 0
                                                      : !json_is_number(v) || json_number_value(v) > 0;
        if (!v || !usage || (json_is_array(v) && !json_array_size(v)))
            continue;
        if (first)
            tl_str_puts(out, "\n");
        first = false;
        value(term, out, shown[i], v, NULL);
    }
}

void tl_cli_summary(const struct tl_cli_term *term, const struct tl_cli_view *view, const json_t *files,
                    struct tl_str *out)
{
    for (size_t i = 0; i < view->nnodes; i++) {
        const json_t *outputs = json_object_get(view->outputs, view->nodes[i].id);
        if (json_object_size(outputs))
            node(term, out, &view->nodes[i], outputs, files);
    }
    ending(term, view, out);
}

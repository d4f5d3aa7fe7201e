#include "cli/progress.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

enum { REDRAW_US = 50 * 1000, LABEL_MIN = 10, LABEL_MAX = 32, BAR_MAX = 40 };

struct tl_cli_progress {
    FILE *out;
    const struct tl_cli_view *view;
    struct tl_cli_term term;
    int drawn;       /* lines on the screen that are ours */
    int64_t last_us; /* of the last redraw */
    bool due;
    enum tl_cli_view_status *told; /* without a terminal: what was last said of each node */
    json_t *asked;                 /* and of what steps ask: {step: the question} */
};

int tl_cli_progress_new(FILE *out, const struct tl_cli_view *view, struct tl_cli_progress **ret)
{
    struct tl_cli_progress *p = tl_calloc(1, sizeof(*p));
    enum tl_cli_view_status *told = tl_calloc(view->nnodes ? view->nnodes : 1, sizeof(*told));
    json_t *asked = json_object();
    if (!p || !told || !asked) {
        free(p);
        free(told);
        json_decref(asked);
        return TL_ENOMEM;
    }
    *p = (struct tl_cli_progress){.out = out, .view = view, .term = tl_cli_term_of(out), .told = told, .asked = asked};
    *ret = p;
    return 0;
}

void tl_cli_progress_free(struct tl_cli_progress *p)
{
    if (!p)
        return;
    free(p->told);
    json_decref(p->asked);
    free(p);
}

static const char *word(const struct tl_cli_view_node *n)
{
    switch (n->status) {
    case TL_VIEW_QUEUED:
        return "waits";
    case TL_VIEW_RUNNING:
        return n->message ? n->message : "";
    case TL_VIEW_WAITING:
        return "waits for a person";
    case TL_VIEW_DONE:
        return n->cached ? "done before" : "done";
    case TL_VIEW_FAILED:
        return "failed";
    case TL_VIEW_CANCELLED:
        return "cancelled";
    default:
        return "not run";
    }
}

static enum tl_ink ink(enum tl_cli_view_status status)
{
    return status == TL_VIEW_DONE      ? TL_INK_GREEN
           : status == TL_VIEW_FAILED  ? TL_INK_RED
           : status == TL_VIEW_RUNNING || status == TL_VIEW_WAITING ? TL_INK_BLUE
                                       : TL_INK_DIM;
}

static void line(const struct tl_cli_term *term, const struct tl_cli_view_node *n, int label, int bar,
                 struct tl_str *out)
{
    tl_str_puts(out, "  ");
    tl_cli_text_pad(out, n->label, label);
    tl_str_puts(out, "  ");
    tl_cli_term_bar(term, out, n->percent / 100, bar, ink(n->status));
    if (n->status == TL_VIEW_RUNNING || n->status == TL_VIEW_DONE)
        tl_str_printf(out, " %3d %% ", (int)n->percent);
    else
        tl_str_puts(out, "       ");
    struct tl_str said TL_CLEANUP(tl_str_clear) = {0};
    int room = term->columns - 1 - (2 + label + 2 + bar + 7);
    const char *text = word(n);
    if (room > 0)
        tl_cli_text_pad(&said, text, tl_cli_text_width(text) < room ? tl_cli_text_width(text) : room);
    tl_cli_term_put(term, out, n->status == TL_VIEW_RUNNING ? TL_INK_PLAIN : ink(n->status),
                    said.data ? said.data : "");
    tl_str_puts(out, "\n");
}

void tl_cli_progress_lines(const struct tl_cli_term *term, const struct tl_cli_view *view, int max, struct tl_str *out,
                           int *ret_lines)
{
    int label = LABEL_MIN;
    size_t done = 0;
    for (size_t i = 0; i < view->nnodes; i++) {
        int w = tl_cli_text_width(view->nodes[i].label);
        label = w > label ? w : label;
        done += view->nodes[i].status >= TL_VIEW_DONE;
    }
    label = label > LABEL_MAX ? LABEL_MAX : label;
    label = label > term->columns / 3 ? term->columns / 3 : label;
    int bar = (term->columns - label) / 2 - 6;
    bar = bar > BAR_MAX ? BAR_MAX : bar < 4 ? 4 : bar;
    int lines = 0;
    bool all = view->nnodes <= (size_t)max;
    /* Where not all fit, those at work are shown, and a line that counts. */
    for (size_t i = 0; i < view->nnodes && lines < (all ? max : max - 1); i++) {
        const struct tl_cli_view_node *n = &view->nodes[i];
        if (all || n->status == TL_VIEW_RUNNING || n->status == TL_VIEW_WAITING || n->status == TL_VIEW_FAILED) {
            line(term, n, label, bar, out);
            lines++;
        }
    }
    if (!all) {
        tl_str_printf(out, "  %zu of %zu nodes, %d %%\n", done, view->nnodes, (int)view->percent);
        lines++;
    }
    const char *step;
    json_t *ask;
    json_object_foreach(view->asks, step, ask) {
        if (lines == max)
            break;
        struct tl_str text TL_CLEANUP(tl_str_clear) = {0}, said TL_CLEANUP(tl_str_clear) = {0};
        tl_str_printf(&text, "%s ", step);
        tl_cli_view_ask(ask, &text);
        if (text.data)
            tl_cli_text_pad(&said, text.data, tl_cli_text_width(text.data) < term->columns - 3 ? tl_cli_text_width(text.data) : term->columns - 3);
        tl_str_printf(out, "  %s\n", said.data ? said.data : "");
        lines++;
    }
    *ret_lines = lines;
}

static void draw(struct tl_cli_progress *p)
{
    struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
    struct tl_str rows TL_CLEANUP(tl_str_clear) = {0};
    p->term = tl_cli_term_of(p->out); /* the window may have changed its size */
    int lines;
    tl_cli_progress_lines(&p->term, p->view, p->term.rows - 2, &rows, &lines);
    if (p->drawn)
        tl_str_printf(&text, "\x1b[%dA\r", p->drawn);
    for (const char *at = rows.data; at && *at;) {
        const char *end = strchr(at, '\n');
        tl_str_add(&text, at, (size_t)(end - at));
        tl_str_puts(&text, "\x1b[K\n");
        at = end + 1;
    }
    tl_str_puts(&text, "\x1b[J");
    if (text.err)
        return;
    fwrite(text.data, 1, text.len, p->out);
    fflush(p->out);
    p->drawn = lines;
    p->last_us = tl_mono_us();
    p->due = false;
}

/* Each question once, with the hash that its answer must name. */
static void tell_asks(struct tl_cli_progress *p)
{
    const char *step;
    json_t *ask;
    json_object_foreach(p->view->asks, step, ask) {
        if (json_equal(json_object_get(p->asked, step), ask))
            continue;
        struct tl_str text TL_CLEANUP(tl_str_clear) = {0}, said TL_CLEANUP(tl_str_clear) = {0};
        const char *hash = tl_json_str(ask, "hash");
        tl_str_printf(&text, "%s ", step);
        tl_cli_view_ask(ask, &text);
        if (hash)
            tl_str_printf(&text, " [hash %s]", hash);
        tl_cli_text_clean(&said, text.data ? text.data : "");
        fprintf(p->out, "  %s\n", said.data ? said.data : "");
        json_object_set(p->asked, step, ask);
    }
}

static void tell(struct tl_cli_progress *p)
{
    for (size_t i = 0; i < p->view->nnodes; i++) {
        const struct tl_cli_view_node *n = &p->view->nodes[i];
        if (n->status == p->told[i])
            continue;
        p->told[i] = n->status;
        struct tl_str text TL_CLEANUP(tl_str_clear) = {0};
        tl_cli_text_clean(&text, n->label);
        tl_str_puts(&text, ": ");
        tl_cli_text_clean(&text, n->status == TL_VIEW_RUNNING ? "running" : word(n));
        fprintf(p->out, "  %s\n", text.data ? text.data : "");
    }
    tell_asks(p);
    fflush(p->out);
}

void tl_cli_progress_show(struct tl_cli_progress *p, bool now)
{
    if (!p->term.tty)
        tell(p);
    else if (now || tl_mono_us() - p->last_us >= REDRAW_US)
        draw(p);
    else
        p->due = true;
}

int tl_cli_progress_due_ms(const struct tl_cli_progress *p)
{
    if (!p->due)
        return -1;
    int64_t left = (p->last_us + REDRAW_US - tl_mono_us()) / 1000;
    return left > 0 ? (int)left + 1 : 0;
}

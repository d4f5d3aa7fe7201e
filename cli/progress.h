/* A run while it lasts, on a terminal: one line a node with a bar, redrawn in place. Where there is no terminal, a plain line each time a node starts or ends. */
#ifndef TL_CLI_PROGRESS_H
#define TL_CLI_PROGRESS_H

#include "cli/term.h"
#include "cli/view.h"

struct tl_cli_progress;

int tl_cli_progress_new(FILE *out, const struct tl_cli_view *view, struct tl_cli_progress **ret); /* borrows both */
/* Shows what has changed in view; redraws at most every 50 ms unless now is asked for. */
void tl_cli_progress_show(struct tl_cli_progress *p, bool now);
/* Milliseconds until a redraw that was put off is due; -1: none. */
int tl_cli_progress_due_ms(const struct tl_cli_progress *p);
void tl_cli_progress_free(struct tl_cli_progress *p);

/* The lines themselves, for the tests: rows of view in term, at most max of them. */
void tl_cli_progress_lines(const struct tl_cli_term *term, const struct tl_cli_view *view, int max, struct tl_str *out,
                           int *ret_lines);

#endif

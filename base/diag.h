/* Problems found in what a person handed in, all of them at once: where each is, what is wrong and what to do. */
#ifndef TL_BASE_DIAG_H
#define TL_BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

struct json_t;

struct tl_problem {
    char *node;    /* node id, or NULL; owned, like the others */
    char *port;    /* port or parameter name, or NULL */
    char *path;    /* JSON path in the document handed in ("$.nodes[3].data.params.pacing"), or NULL */
    char *message; /* a sentence that says what is wrong and what would be right */
};

enum { TL_DIAG_MAX = 1000 }; /* further problems are counted, not kept */

/* Init to {0}. Not thread-safe. All functions accept NULL for the diag and then do nothing. */
struct tl_diag {
    struct tl_problem *items;
    size_t count, cap, dropped;
    int err; /* TL_ENOMEM where a problem could not be kept: the diag is then incomplete */
};

/* Adds a problem; node, port, path may be NULL (all are copied). Returns TL_EINVAL, so that a check can end with it. */
int tl_diag_add(struct tl_diag *diag, const char *node, const char *port, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
bool tl_diag_any(const struct tl_diag *diag);
/* {"problems":[{"node","port","path","message"}],"omitted":n}; returns owned, NULL on want of memory. */
struct json_t *tl_diag_json(const struct tl_diag *diag);
/* Back to what it had when its count and dropped were these. */
void tl_diag_cut(struct tl_diag *diag, size_t count, size_t dropped);
void tl_diag_clear(struct tl_diag *diag);

#endif

/* Canvases in the store: a name, a revision, a graph. Stored as one JSON object whose last field is the graph, so that what stands before it can be read
 * without it. */
#ifndef TL_SERVER_CANVAS_H
#define TL_SERVER_CANVAS_H

#include "base/id.h"
#include "base/json.h"
#include "store/db.h"

enum { TL_CANVAS_NAME_MAX = 200 };

struct tl_canvas_write {
    const char *org; /* borrowed until done, like the others */
    struct tl_id id;
    bool create, remove;
    const char *name;     /* NULL: as it was */
    const char *graph;    /* JSON text; NULL: as it was */
    size_t node_count;    /* of graph */
    const char *if_match; /* the header, NULL: whatever is there */
    uint64_t ret_revision;
    char *ret_head;       /* owned: the canvas without its graph, as JSON text */
};
/* A write function (tl_db_fn) on a struct tl_canvas_write. TL_ENOTFOUND, TL_EPRECOND. The caller frees ret_head. */
int tl_canvas_write(struct tl_txn *txn, void *arg);

/* The whole stored text; *ret owned. */
int tl_canvas_read(struct tl_db *db, const char *org, const struct tl_id *id, char **ret, size_t *ret_len, uint64_t *ret_revision);
/* Heads, newest first, as tl_run_list. */
int tl_canvas_list(struct tl_db *db, const char *org, const struct tl_id *before, size_t limit, json_t **ret_items,
                   struct tl_id *ret_next, bool *ret_more);
/* The head and a graph as one text. Returned owned. */
char *tl_canvas_text(const char *head, const char *graph);

#endif

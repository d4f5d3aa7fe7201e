/* Canvases in the store: a name, a revision, and the hash of the graph's text, which is kept once per organisation (store/text.h). An answer with the graph is
 * put together from the two texts. A record that holds its graph itself, as older ones do, is read too. */
#ifndef TL_SERVER_CANVAS_H
#define TL_SERVER_CANVAS_H

#include "base/id.h"
#include "base/json.h"
#include "store/text.h"

enum { TL_CANVAS_NAME_MAX = 200 };

struct tl_canvas_write {
    const char *org; /* borrowed until done, like the others */
    struct tl_id id;
    bool create, remove;
    const char *name;  /* NULL: as it was */
    const char *graph; /* JSON text; NULL: as it was */
    size_t graph_len;
    uint8_t hash[TL_TEXT_HASH]; /* of graph */
    size_t node_count;          /* of graph */
    const char *if_match;       /* the header, NULL: whatever is there */
    uint64_t ret_revision;
    char *ret_head; /* owned: the canvas without its graph, as JSON text */
};
/* A write function (tl_db_fn) on a struct tl_canvas_write. TL_ENOTFOUND, TL_EPRECOND. The caller frees ret_head. */
int tl_canvas_write(struct tl_txn *txn, void *arg);

/* The canvas with its graph, as JSON text; *ret owned. */
int tl_canvas_read(struct tl_db *db, const char *org, const struct tl_id *id, char **ret, size_t *ret_len,
                   uint64_t *ret_revision);
/* The graph's text; *ret owned. */
int tl_canvas_read_graph(struct tl_db *db, const char *org, const struct tl_id *id, char **ret, size_t *ret_len);
/* What names the graph, without reading it. *ret is NULL where the text is kept under the hash, else the text itself, owned: an older record's. */
int tl_canvas_name_graph(struct tl_db *db, const char *org, const struct tl_id *id, uint8_t ret_hash[TL_TEXT_HASH],
                         char **ret, size_t *ret_len);
/* Heads, newest first, as tl_run_list. */
int tl_canvas_list(struct tl_db *db, const char *org, const struct tl_id *before, size_t limit, json_t **ret_items,
                   struct tl_id *ret_next, bool *ret_more);
/* The head and a graph as one text. Returned owned. */
char *tl_canvas_text(const char *head, const char *graph, size_t graph_len);

#endif

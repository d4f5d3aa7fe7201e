/* What a person sees of a run, read off its events: every node's state, the outputs that have come, how it ended. */
#ifndef TL_CLI_VIEW_H
#define TL_CLI_VIEW_H

#include "base/json.h"
#include "base/str.h"

enum tl_cli_view_status {
    TL_VIEW_QUEUED,
    TL_VIEW_RUNNING,
    TL_VIEW_WAITING, /* for a person */
    TL_VIEW_DONE,
    TL_VIEW_FAILED,
    TL_VIEW_CANCELLED,
    TL_VIEW_SKIPPED
};

struct tl_cli_view_node {
    char *id, *label, *type; /* label: the graph's, or the id; type: the op, or the capsule with its version */
    char *message;           /* what it says while it runs, or NULL */
    enum tl_cli_view_status status;
    double percent;
    bool cached;
};

/* Init with tl_cli_view_init. */
struct tl_cli_view {
    struct tl_cli_view_node *nodes;
    size_t nnodes;
    json_t *index;   /* {node id: place in nodes}; owned */
    json_t *outputs; /* {node:{port:value}} as they came; owned */
    json_t *asks;    /* {step: what it waits for}, of steps inside groups too; owned */
    json_t *ending;  /* payload of the last event, once the run has ended; owned */
    enum tl_cli_view_status status;
    double percent;
    char *message;
    int64_t last_seq;
};

int tl_cli_view_init(struct tl_cli_view *view, const json_t *graph); /* borrows graph */
/* Takes in an event; unknown types and fields are ignored. */
void tl_cli_view_event(struct tl_cli_view *view, const json_t *event);
static inline bool tl_cli_view_ended(const struct tl_cli_view *view)
{
    return view->ending != NULL;
}
/* What a step asks, in a line: "waits for a person (approve, reject): Is it good?". Appends. */
void tl_cli_view_ask(const json_t *ask, struct tl_str *out);
const struct tl_cli_view_node *tl_cli_view_find(const struct tl_cli_view *view, const char *id);
void tl_cli_view_clear(struct tl_cli_view *view);

#endif

/* What a journal says, as text: events, nodes' changes, results, records. */
#ifndef TL_GRAPH_JOURNAL_TEXT_H
#define TL_GRAPH_JOURNAL_TEXT_H

#include "graph/state.h"

/* What became of a node since the last run.progress. */
struct tl_change {
    struct tl_run *run; /* a reference */
    uint32_t node;
    float progress;
    uint8_t status;
    bool cached;
    char *more; /* further fields as text: ,"message":"…" */
};

double tl_journal_percent(double v); /* to one decimal, never upwards */
/* {"id","status","progress"?,…,"cached"?} of run.progress; {"node","outputs","media"?,"cached"?} of run.partial. */
void tl_journal_add_change(struct tl_str *s, const struct tl_change *c);
void tl_journal_add_result(struct tl_str *s, const struct tl_run *run, uint32_t node);
/* The further fields of a node's change; NULL for none. Owned. run->lock held. */
char *tl_journal_more(const struct tl_node_state *s);

struct tl_record_facts {
    const char *status;
    double progress;
    uint64_t seq;
    bool ended;
    json_t *waiting; /* borrowed: some of those that wait, or NULL */
    size_t nwaiting; /* how many do */
};
char *tl_journal_record(const struct tl_run *run, const struct tl_record_facts *facts); /* owned; NULL on want of memory */

#endif

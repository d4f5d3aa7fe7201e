/* Journals for tests, written as the executor would write them. */
#ifndef TL_TESTS_UNIT_SERVER_JOURNAL_H
#define TL_TESTS_UNIT_SERVER_JOURNAL_H

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writing {
    struct tl_id run;
    const char *kind, *status;
    uint64_t first, last;
    size_t size;
};

static int write_events(struct tl_txn *txn, void *arg)
{
    struct writing *w = arg;
    char id[TL_ID_TEXT], org[5 + TL_ID_LEN] = "acme";
    tl_id_text(&w->run, id);
    bool ended = strcmp(w->status, "done") == 0;
    struct tl_str s = {0};
    tl_str_printf(&s,
                  "{\"id\":\"%s\",\"org\":\"acme\",\"sub\":\"me\",\"kind\":\"%s\",\"status\":\"%s\",\"progress\":1.0,"
                  "\"created_at\":\"x\",\"updated_at\":\"x\",\"last_seq\":%llu%s}",
                  id, w->kind, w->status, (unsigned long long)w->last, ended ? ",\"ended_at\":\"2026-01-01T00:00:00.000Z\"" : "");
    int err = tl_txn_put(txn, TL_TBL_RUN, w->run.b, TL_ID_LEN, s.data, s.len);
    memcpy(org + 5, w->run.b, TL_ID_LEN);
    if (!err)
        err = tl_txn_put(txn, TL_TBL_RUN_ORG, org, sizeof(org), "", 0);
    TL_AUTO_FREE char *filler = calloc(1, w->size + 1);
    memset(filler, 'x', w->size);
    for (uint64_t seq = w->first; !err && seq <= w->last; seq++) {
        uint8_t key[TL_ID_LEN + 8];
        memcpy(key, w->run.b, TL_ID_LEN);
        tl_key_u64(key + TL_ID_LEN, seq);
        s.len = 0;
        tl_str_printf(&s,
                      "{\"event_id\":\"%s:%llu\",\"run_id\":\"%s\",\"type\":\"%s\",\"seq\":%llu,\"ts\":\"x\","
                      "\"payload\":{\"summary\":{\"a\":1},\"filler\":\"%s\"}}",
                      id, (unsigned long long)seq, id, ended && seq == w->last ? "run.completed" : "run.progress",
                      (unsigned long long)seq, filler);
        err = tl_txn_put(txn, TL_TBL_EVENT, key, sizeof(key), s.data, s.len);
    }
    tl_str_clear(&s);
    return err;
}

/* Events first to last, each with size bytes to fill it, and the record of the run; where status is "done", the last ends it. */
__attribute__((unused)) static int write_journal(struct tl_db *db, const struct tl_id *run, const char *kind,
                                                 const char *status, uint64_t first, uint64_t last, size_t size)
{
    struct writing w = {*run, kind, status, first, last, size};
    return tl_db_update(db, write_events, &w);
}

#endif

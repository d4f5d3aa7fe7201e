/* A question as the store has it (TL_TBL_ASK): made, opened again, closed, answered, each within a transaction. Private to ask.c.
 * {"step","kind","hash","shown","decisions","opened_at","opened_ms","expires_at"?,"expires_ms"?,"form"?,"closed"?: "expired"|"cancelled",
 *  "answer"?: {"decision","comment"?,"fields"?,"outputs"?,"who","at"}} */
#ifndef TL_GRAPH_ASK_RECORD_H
#define TL_GRAPH_ASK_RECORD_H

#include "graph/ask.h"

enum { TL_ASK_KEY_LEN = TL_ID_LEN + 32 };

void tl_ask_key(const struct tl_id *run, const char *step, uint8_t ret[TL_ASK_KEY_LEN]);
/* Returned owned; NULL on want of memory. */
json_t *tl_ask_record_new(const struct tl_ask *ask, const char *step, int64_t now);
/* Asks: the record that there is stays if it is the same question, another one begins anew. *ret: the record as it is now, owned. */
int tl_ask_record_open(struct tl_txn *txn, const uint8_t *key, const json_t *record, int64_t now, json_t **ret);
/* Ends a question that has no answer. *ret as above; NULL where there is none. */
int tl_ask_record_close(struct tl_txn *txn, const uint8_t *key, const char *why, json_t **ret);
/* The run of a question and the question: TL_ENOTFOUND where org has no such run, TL_ENOTAPPROVABLE where it asked no such thing. Both owned, also on an error. */
int tl_ask_record_find(struct tl_txn *txn, const uint8_t *key, const char *org, json_t **ret_run, json_t **ret_record);
/* What an answer looks like when it is stored; owned, NULL on want of memory. */
json_t *tl_ask_answer_json(const struct tl_answer *answer, int64_t now);
/* Whether the question may be answered so: TL_EINVAL with problems. */
int tl_ask_answer_check(const json_t *record, const struct tl_answer *answer);
/* Whether the answer is accepted, as tl_run_answer says; where it is, it is stored. */
int tl_ask_record_answer(struct tl_txn *txn, const uint8_t *key, const char *org, const char *hash, json_t *answer,
                         int64_t now);

#endif

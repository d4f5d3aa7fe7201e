/* The parts of keeping results, for one another: records as bytes, the cache in memory, the tables. Private to graph/result*.c. */
#ifndef TL_GRAPH_RESULT_PRIV_H
#define TL_GRAPH_RESULT_PRIV_H

#include "graph/result.h"

/* A record: format (1 byte, 2) | flags (1) | stamp u64, big-endian | run id (16) | [flag 1: tokens in, tokens out, cost in USD (8 bytes each)] | number of
 * outputs (2) | per output its type (1, as enum tl_type counts; 0: none) and: a number 8 bytes, a boolean 1, any other its tl_value_hash (32), length (4)
 * and JSON text. Integers and IEEE 754 doubles little-endian, but for the stamp. */
enum {
    TL_RECORD_FORMAT = 2,
    TL_RECORD_STAMP = 2, /* offset */
    TL_RECORD_USAGE = 1, /* flags */
    TL_RECORD_IMPURE = 2,
};

struct tl_record_head {
    struct tl_result_facts facts;
    uint8_t flags;
};
/* The record behind `room` bytes left free at kept->bytes. hashes: 32 bytes per output, read where an output is neither number nor boolean. NULL on want of memory. */
struct tl_kept *tl_record_new(const struct tl_record_head *head, const struct tl_value *values, uint32_t n,
                              const uint8_t *hashes, size_t room);
/* Fills values (n of them, none there before) and, where *ret_hashes is to be had, malloc'd hashes of all of them (NULL where all are numbers, booleans or none). Nothing
 * in a record is trusted: TL_ENOTFOUND where it is not one of n outputs. */
int tl_record_read(const void *bytes, size_t len, struct tl_record_head *ret_head, struct tl_value *values, uint32_t n,
                   uint8_t **ret_hashes);
int tl_record_hashes(const void *bytes, size_t len, struct tl_record_head *ret_head, uint32_t n, uint8_t *ret);

/* The cache in memory: any thread. */
struct tl_hot;
struct tl_hot *tl_hot_new(uint64_t max);
void tl_hot_free(struct tl_hot *hot);
/* Takes references of its own. bytes: what the values take besides their places. Without effect where memory is wanting. */
void tl_hot_put(struct tl_hot *hot, const uint8_t key[32], const struct tl_result_facts *facts,
                const struct tl_value *values, uint32_t n, const uint8_t *hashes, size_t bytes);
bool tl_hot_get(struct tl_hot *hot, const uint8_t key[32], struct tl_result_facts *ret_facts, struct tl_value *values,
                uint32_t n, uint8_t **ret_hashes);
/* The same without the values: hashes of all n outputs. */
bool tl_hot_hashes(struct tl_hot *hot, const uint8_t key[32], struct tl_result_facts *ret_facts, uint32_t n,
                   uint8_t *ret);
void tl_hot_on_disk(struct tl_hot *hot, const uint8_t key[32]);
void tl_hot_stamp(struct tl_hot *hot, const uint8_t key[32], uint64_t stamp);

struct tl_bound;
struct tl_results {
    struct tl_db *db;
    struct tl_hot *hot;
    struct tl_bound *bound; /* of what is on disk */
    uint64_t cache_max;
    int64_t renew_ms;
    const struct tl_exec_conf *conf;
};

/* The tables. */
size_t tl_result_db_key(uint8_t *k, const char *org, const uint8_t key[32]);        /* k holds TL_ORG_MAX + 32 */
size_t tl_step_db_key(uint8_t *k, const struct tl_id *run, const uint8_t step[32]); /* k holds TL_ID_LEN + 32 */
int tl_results_prepare(struct tl_results *r);                                       /* at the start */
void tl_results_close(struct tl_results *r);                                        /* trims no more */
uint64_t tl_results_now(const struct tl_results *r);

#endif

/* A condition as a tree: what cond.c reads and cond_eval.c holds against values. Private to them. */
#ifndef TL_GRAPH_COND_TREE_H
#define TL_GRAPH_COND_TREE_H

#include "graph/cond.h"

enum tl_cond_kind { TL_COND_OR, TL_COND_AND, TL_COND_NOT, TL_COND_COMPARE, TL_COND_TRUTH };
enum tl_cond_op { TL_COND_EQ, TL_COND_NE, TL_COND_LT, TL_COND_LE, TL_COND_GT, TL_COND_GE, TL_COND_IN };
enum tl_term_kind { TL_TERM_NULL, TL_TERM_BOOLEAN, TL_TERM_NUMBER, TL_TERM_STRING, TL_TERM_LIST, TL_TERM_PATH };

/* One step of a path: ".key", "['key']" or "[2]". */
struct tl_cond_step {
    struct tl_cond_step *next;
    const char *key; /* NULL: an index */
    size_t index;
};

struct tl_term {
    enum tl_term_kind kind;
    bool boolean, length; /* length: len(path) */
    long double number;
    const char *text;
    size_t len;
    struct tl_term *first, *next; /* of a list; the next one in the list around */
    uint32_t root;
    struct tl_cond_step *steps;
};

struct tl_cond {
    enum tl_cond_kind kind;
    enum tl_cond_op op;
    struct tl_cond *first, *next; /* what or, and, not join */
    struct tl_term *left, *right; /* right: of a comparison */
};

#endif

/* JSON read from text in one pass, without building anything: the caller pulls key after key and value after value and skips what it does not want.
 * As strict and as bounded as tl_json_parse, also in what is skipped (UTF-8, no duplicate keys, depth, counts, finite numbers): the same verdict on
 * every text. A problem is sticky: from there on everything looks ended, and tl_jread_finish tells it. */
#ifndef TL_BASE_JREAD_H
#define TL_BASE_JREAD_H

#include "base/diag.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A piece of text, not terminated: of the text that is read, or of the arena where it had to be decoded. */
struct tl_jtext {
    const char *s;
    size_t len;
};
/* The same bytes. t has no NUL in it, as no string of a reader has. */
static inline bool tl_jtext_is(struct tl_jtext t, const char *word)
{
    size_t i = 0;
    while (i < t.len && word[i] == t.s[i])
        i++;
    return i == t.len && word[i] == '\0';
}
/* The same with a literal. */
#define TL_JTEXT_IS(t, word) ((t).len == sizeof(word) - 1 && memcmp((t).s, word, sizeof(word) - 1) == 0)

enum tl_jkind { TL_J_NONE, TL_J_NULL, TL_J_BOOLEAN, TL_J_NUMBER, TL_J_STRING, TL_J_LIST, TL_J_OBJECT };

struct tl_jread {
    const char *text, *at, *end;
    struct tl_arena *arena; /* borrowed; for decoded strings */
    int err;                /* 0, TL_EINVAL or TL_ENOMEM */
    const char *why;        /* what is wrong where err is TL_EINVAL; static */
    const char *wrong;      /* where it is */
    bool too_much;          /* a bound, not the grammar */
    bool fresh;             /* just entered: no comma before what comes next */
    uint32_t containers, commas;
    uint32_t depth;
    uint32_t first_key[TL_JSON_MAX_DEPTH + 1]; /* into keys, by depth */
    struct tl_jtext *keys;                     /* of the objects that are open */
    size_t nkeys, keys_cap;
};

/* Borrows text (len bytes) and arena. tl_jread_finish must follow. */
void tl_jread_init(struct tl_jread *r, const char *text, size_t len, struct tl_arena *arena);
/* The same reader on another text, as after tl_jread_init; of a reader without a problem. */
void tl_jread_again(struct tl_jread *r, const char *text, size_t len);
/* The kind of the value that comes next, TL_J_NONE where there is none. Reads nothing. */
enum tl_jkind tl_jread_kind(struct tl_jread *r);

/* Enters an object. Then, until tl_jread_key is false: one value of each key is to be read or skipped. False is the end of the object, or a problem. */
void tl_jread_object(struct tl_jread *r);
bool tl_jread_key(struct tl_jread *r, struct tl_jtext *ret);
/* The same with a list: while tl_jread_item is true, one value. */
void tl_jread_list(struct tl_jread *r);
bool tl_jread_item(struct tl_jread *r);

/* One value each; of another kind it is a problem, so ask tl_jread_kind where it may be. False with a problem. */
bool tl_jread_string(struct tl_jread *r, struct tl_jtext *ret);
bool tl_jread_number(struct tl_jread *r, double *ret);
bool tl_jread_boolean(struct tl_jread *r, bool *ret);
/* Passes over any value; ret (or NULL) is its text, which is well-formed JSON of its own. */
bool tl_jread_skip(struct tl_jread *r, struct tl_jtext *ret);

/* Nothing but white space may be left; what there is to tell is told by tl_jread_finish. The reader's err. */
int tl_jread_end(struct tl_jread *r);
/* The same, and the end: 0, TL_ENOMEM, or TL_EINVAL with one problem that names line and column. Releases the reader, not the arena. */
int tl_jread_finish(struct tl_jread *r, struct tl_diag *diag);

#endif

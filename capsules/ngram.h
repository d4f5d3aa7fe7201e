/* Private texts as a set of word runs, so that a declared output that repeats one is noticed. A run is TL_NGRAM_WORDS
 * words within one private text; case, punctuation, white space and invisible characters make no difference. */
#ifndef TL_CAPSULES_NGRAM_H
#define TL_CAPSULES_NGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { TL_NGRAM_WORDS = 8 };

struct tl_ngrams; /* immutable */

/* Every string and every key in j. TL_ENOMEM. */
int tl_ngrams_new(const json_t *j, struct tl_ngrams **ret);
void tl_ngrams_free(struct tl_ngrams *set); /* NULL accepted; wipes */
/* Whether any run of words of the private texts occurs in the strings and keys of j, read one after the other as one
 * text: a prompt that is handed out in pieces is found too. set may be NULL. */
bool tl_ngrams_found(const struct tl_ngrams *set, const json_t *j);

#endif

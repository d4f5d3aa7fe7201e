#include "capsules/ngram.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct tl_ngrams {
    uint64_t *runs; /* sorted hashes */
    size_t n, cap;
    int err;
};

/* The last words seen, as hashes. */
struct window {
    uint64_t words[TL_NGRAM_WORDS];
    size_t seen;
    void (*run)(void *arg, uint64_t hash);
    void *arg;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static void end_word(struct window *w, uint64_t *word)
{
    if (!*word)
        return;
    w->words[w->seen++ % TL_NGRAM_WORDS] = *word;
    *word = 0;
    if (w->seen < TL_NGRAM_WORDS)
        return;
    uint64_t h = 0;
    for (size_t i = 0; i < TL_NGRAM_WORDS; i++)
        h = mix(h, w->words[(w->seen + i) % TL_NGRAM_WORDS]);
    w->run(w->arg, h);
}

static uint32_t next_char(const unsigned char **p, const unsigned char *end)
{
    const unsigned char *s = *p;
    int more = s[0] < 0x80 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
    uint32_t c = more == 0 ? s[0] : s[0] & (0x3fu >> more);
    s++;
    for (; more > 0 && s < end; more--, s++)
        c = c << 6 | (*s & 0x3f);
    *p = s;
    return c;
}

/* Soft hyphen, zero-width characters, variation selectors: they hide in words without being seen. */
static bool invisible(uint32_t c)
{
    return c == 0xad || (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x2064) ||
           c == 0xfeff || (c >= 0xfe00 && c <= 0xfe0f);
}

static bool part_of_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return c >= 0xc0 && !(c >= 0x2000 && c <= 0x206f) && !(c >= 0x3000 && c <= 0x303f) &&
           !(c >= 0xff00 && c <= 0xff0f) && !(c >= 0xff1a && c <= 0xff20);
}

/* Scripts written without spaces: each character is a word. */
static bool word_of_its_own(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0x20000 && c <= 0x3ffff);
}

static void read_words(struct window *w, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    uint64_t word = 0;
    while (p < end) {
        uint32_t c = next_char(&p, end);
        if (invisible(c))
            continue;
        if (!part_of_word(c) || word_of_its_own(c))
            end_word(w, &word);
        if (!part_of_word(c))
            continue;
        c = c >= 'A' && c <= 'Z'                                           ? c + 32
            : (c >= 0xff21 && c <= 0xff3a) || (c >= 0xff41 && c <= 0xff5a) ? (c & 0x1f) + 96
                                                                           : c;
        word = mix(word ? word : 1, c);
        if (word_of_its_own(c))
            end_word(w, &word);
    }
    end_word(w, &word);
}

static void read_json(struct window *w, const json_t *j, bool apart)
{
    const char *key;
    json_t *v;
    if (json_is_string(j)) {
        read_words(w, json_string_value(j), json_string_length(j));
    } else if (json_is_array(j)) {
        for (size_t i = 0; i < json_array_size(j); i++)
            read_json(w, json_array_get(j, i), apart);
    } else if (json_is_object(j)) {
        json_object_foreach((json_t *)(uintptr_t)j, key, v) {
            read_words(w, key, strlen(key));
            if (apart)
                w->seen = 0;
            read_json(w, v, apart);
        }
    }
    if (apart)
        w->seen = 0;
}

static void add_run(void *arg, uint64_t hash)
{
    struct tl_ngrams *set = arg;
    if (!set->err && (set->err = tl_grow(&set->runs, &set->cap, set->n + 1, sizeof(*set->runs))) == 0)
        set->runs[set->n++] = hash;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int tl_ngrams_new(const json_t *j, struct tl_ngrams **ret)
{
    *ret = NULL;
    struct tl_ngrams *set = tl_calloc(1, sizeof(*set));
    if (!set)
        return TL_ENOMEM;
    struct window w = {.run = add_run, .arg = set};
    read_json(&w, j, true);
    if (set->err) {
        tl_ngrams_free(set);
        return TL_ENOMEM;
    }
    if (set->n)
        qsort(set->runs, set->n, sizeof(*set->runs), by_value);
    *ret = set;
    return 0;
}

void tl_ngrams_free(struct tl_ngrams *set)
{
    if (!set)
        return;
    if (set->runs)
        tl_wipe(set->runs, set->cap * sizeof(*set->runs));
    free(set->runs);
    free(set);
}

struct search {
    const struct tl_ngrams *set;
    bool found;
};

static void look_up(void *arg, uint64_t hash)
{
    struct search *s = arg;
    s->found = s->found || bsearch(&hash, s->set->runs, s->set->n, sizeof(hash), by_value);
}

bool tl_ngrams_found(const struct tl_ngrams *set, const json_t *j)
{
    if (!set || !set->n)
        return false;
    struct search s = {.set = set};
    struct window w = {.run = look_up, .arg = &s};
    read_json(&w, j, false);
    return s.found;
}

#include "capsules/craft/text.h"
#include "base/mem.h"
#include "capsules/craft/num.h"

#include <math.h>
#include <string.h>

const char *const tl_feature_name[TL_F_COUNT] = {
#define X(sym, name) name,
    TL_FEATURE_TABLE(X)
#undef X
};

enum word_kind { KIND_E, KIND_N, KIND_V, KIND_P };

static const struct word {
    enum word_kind kind;
    const char *stem;
    double valence, arousal;
    enum tl_feature feature;
} lexicon[] = {
#define W(kind, stem, valence, arousal, feature) {KIND_##kind, stem, valence, arousal, TL_F_##feature},
#include "capsules/craft/lexicon.def"
#undef W
};

/* What may follow a Korean noun. One syllable of a noun is followed by one of the first group only: "비" is rain in 비가, not in 비밀. */
static const char *const particles[] = {"이",   "가",   "은",   "는",   "을",   "를",   "에",   "의",   "와",   "과",
                                        "도",   "로",   "으로", "만",   "까지", "부터", "처럼", "보다", "에서", "에게",
                                        "이나", "마다", "속",   "위",   "아래", "밑",   "앞",   "뒤",   "옆",   "밖",
                                        "내내", "이다", "이며", "이고", "이었", "였다", "같은", "들",   NULL};
static const char *const verbal_endings[] = {"하",   "한",   "했", "할",   "함", "해", "적",
                                             "스러", "스런", "롭", "로운", "나", "라", NULL};

static const char *const english_endings[] = {"",   "s",   "es",    "ed",   "d",   "ing",   "ings",  "er",   "ers",
                                              "ly", "y",   "'s",    "ies",  "ied", "ful",   "fully", "less", "ness",
                                              "en", "lit", "light", "time", "ous", "ously", NULL};
static const char *const negations[] = {"not",   "no",     "never", "without", "nobody", "nothing", "hardly",
                                        "isn't", "wasn't", "don't", "doesn't", "didn't", "can't",   "cannot",
                                        "won't", "안",     "못",    "전혀",    NULL};
static const char *const strengthening[] = {"very",   "so",   "extremely", "deeply", "utterly",  "really",
                                            "too",    "매우", "너무",      "정말",   "몹시",     "아주",
                                            "극도로", "훨씬", "깊이",      "온통",   "미친듯이", NULL};
static const char *const weakening[] = {"slightly", "somewhat", "almost", "barely", "faintly", "little",
                                        "조금",     "약간",     "살짝",   "거의",   "다소",    NULL};

static const struct {
    const char *stem;
    enum tl_cue cue;
} cues[] = {
    {"처음", TL_CUE_OPEN},     {"어느날", TL_CUE_OPEN},   {"first", TL_CUE_OPEN},       {"once", TL_CUE_OPEN},
    {"갑자기", TL_CUE_TURN},   {"그러나", TL_CUE_TURN},   {"하지만", TL_CUE_TURN},      {"그런데", TL_CUE_TURN},
    {"문득", TL_CUE_TURN},     {"suddenly", TL_CUE_TURN}, {"however", TL_CUE_TURN},     {"but", TL_CUE_TURN},
    {"마침내", TL_CUE_CLIMAX}, {"결국", TL_CUE_CLIMAX},   {"드디어", TL_CUE_CLIMAX},    {"finally", TL_CUE_CLIMAX},
    {"마지막", TL_CUE_CLOSE},  {"그후", TL_CUE_CLOSE},    {"afterwards", TL_CUE_CLOSE}, {"later", TL_CUE_CLOSE},
};

enum { TOKEN_MAX = 96 };

static bool is_hangul(const unsigned char *p)
{
    /* U+AC00 to U+D7A3 in UTF-8 */
    return (p[0] == 0xEA && p[1] >= 0xB0) || p[0] == 0xEB || p[0] == 0xEC || (p[0] == 0xED && p[1] <= 0x9E);
}

static bool is_latin(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

enum tl_text_lang tl_text_lang(const char *text)
{
    size_t hangul = 0, latin = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p >= 0xEA && p[1] && p[2] && is_hangul(p)) {
            hangul++;
            p += 2;
        } else if (is_latin(*p)) {
            latin++;
        }
    }
    return hangul * 3 > latin ? TL_LANG_KO : TL_LANG_EN; /* a syllable holds some three letters */
}

static bool is_separator(const unsigned char *p, size_t left, size_t *ret_len)
{
    *ret_len = 1;
    if (*p < 0x80)
        return !is_latin(*p) && *p != '\'' && !(*p >= '0' && *p <= '9');
    if (left >= 3 && *p == 0xE2 && p[1] == 0x80 && p[2] == 0x99)
        return false; /* a typographic apostrophe */
    if (left >= 3 && ((*p == 0xE2) || (*p == 0xE3 && p[1] == 0x80))) {
        *ret_len = 3; /* general and CJK punctuation */
        return true;
    }
    return false;
}

/* Takes the next word, lower-cased, with typographic apostrophes made plain. Returns the position after it; *ret_len 0 at the end. */
static size_t next_word(const char *text, size_t at, size_t len, char ret[TOKEN_MAX], size_t *ret_len)
{
    size_t n = 0, step = 0;
    while (at < len && is_separator((const unsigned char *)text + at, len - at, &step))
        at += step;
    while (at < len && !is_separator((const unsigned char *)text + at, len - at, &step)) {
        unsigned char c = (unsigned char)text[at];
        if (c == 0xE2) {
            c = '\'';
            at += 2;
        }
        if (n < TOKEN_MAX - 1)
            ret[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        at++;
    }
    ret[n] = '\0';
    *ret_len = n;
    return at;
}

static bool in_list(const char *word, const char *const *list)
{
    for (size_t i = 0; list[i]; i++) {
        if (strcmp(word, list[i]) == 0)
            return true;
    }
    return false;
}

static bool starts_in_list(const char *word, const char *const *list)
{
    for (size_t i = 0; list[i]; i++) {
        if (strncmp(word, list[i], strlen(list[i])) == 0)
            return true;
    }
    return false;
}

static bool ending_fits(const struct word *w, size_t stem, const char *rest)
{
    if (w->kind == KIND_V)
        return true;
    if (w->kind == KIND_N) {
        if (!*rest || starts_in_list(rest, particles))
            return true;
        return stem >= 6 && starts_in_list(rest, verbal_endings);
    }
    if (in_list(rest, english_endings))
        return true;
    /* run → running, stab → stabbed */
    return rest[0] == w->stem[stem - 1] && stem >= 3 && rest[1] && in_list(rest + 1, english_endings);
}

/* How much of token (and of the word after it) an entry accounts for; 0 where it does not match. */
static size_t match(const struct word *w, const char *token, const char *after)
{
    if (token[0] != w->stem[0])
        return 0;
    size_t stem = strlen(w->stem), len = strlen(token);
    if (w->kind == KIND_P) {
        const char *space = strchr(w->stem, ' ');
        size_t first = (size_t)(space - w->stem);
        return len == first && memcmp(token, w->stem, first) == 0 && strncmp(after, space + 1, stem - first - 1) == 0
                   ? stem
                   : 0;
    }
    /* love → loving, chase → chasing */
    if (w->kind == KIND_E && w->stem[stem - 1] == 'e' && len == stem + 2 && strncmp(token, w->stem, stem - 1) == 0 &&
        strcmp(token + stem - 1, "ing") == 0)
        return stem;
    return len >= stem && strncmp(token, w->stem, stem) == 0 && ending_fits(w, stem, token + stem) ? stem : 0;
}

static const struct word *look_up(const char *token, const char *after)
{
    const struct word *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < TL_ARRAY_LEN(lexicon); i++) {
        size_t len = match(&lexicon[i], token, after);
        if (len > best_len) {
            best = &lexicon[i];
            best_len = len;
        }
    }
    return best;
}

static enum tl_cue cue_of(const char *token)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(cues); i++) {
        size_t stem = strlen(cues[i].stem);
        bool korean = (unsigned char)cues[i].stem[0] >= 0x80;
        if (korean ? strncmp(token, cues[i].stem, stem) == 0 : strcmp(token, cues[i].stem) == 0)
            return cues[i].cue;
    }
    return TL_CUE_NONE;
}

/* A Korean word may be denied by what comes after it: 무섭지 않다, 두려움이 없다. */
static bool denies_before(const char *word)
{
    return strncmp(word, "않", 3) == 0 || strncmp(word, "없", 3) == 0 || strncmp(word, "못하", 6) == 0 ||
           strncmp(word, "못한", 6) == 0 || strncmp(word, "아니", 6) == 0;
}

struct tally {
    double valence, arousal, mass;
};

static void count_word(const struct word *w, double scale, bool denied, struct tl_reading *r, struct tally *t)
{
    /* A denied feeling is a weaker one of the other sign; a denied thing is not in the scene. */
    double valence = denied ? -0.5 * w->valence : w->valence, arousal = denied ? -0.3 * w->arousal : w->arousal;
    t->valence += valence * scale;
    t->arousal += arousal * scale;
    t->mass += 1;
    r->hits++;
    if (w->feature != TL_F_NONE && !denied)
        r->feature[w->feature] = tl_craft_clamp(r->feature[w->feature] + 0.6 * scale, 0, 1);
}

void tl_text_read(const char *text, size_t len, enum tl_text_lang lang, struct tl_reading *ret)
{
    *ret = (struct tl_reading){.arousal = 0.45};
    struct tally t = {0};
    double scale = 1;
    int denied = 0; /* words for which a denial still holds */
    char token[TOKEN_MAX], after[TOKEN_MAX];
    for (size_t at = 0, n = 1; n;) {
        at = next_word(text, at, len, token, &n);
        if (!n)
            break;
        ret->words++;
        enum tl_cue cue = cue_of(token);
        if (cue != TL_CUE_NONE)
            ret->cue = cue;
        if (in_list(token, negations)) {
            denied = lang == TL_LANG_KO ? 1 : 3;
            continue;
        }
        if (in_list(token, strengthening)) {
            scale = 1.5;
            continue;
        }
        if (in_list(token, weakening)) {
            scale = 0.5;
            continue;
        }
        size_t after_len;
        next_word(text, at, len, after, &after_len);
        const struct word *w = look_up(token, after);
        if (w) {
            bool no = denied > 0 || (lang == TL_LANG_KO && denies_before(after));
            no = no || (w->kind == KIND_E && strstr(token, "less"));
            count_word(w, scale, no, ret, &t);
        }
        if (w || denied <= 1)
            scale = 1;
        denied = w ? 0 : denied - 1;
    }
    if (!ret->hits)
        return;
    /* Mean of what was said, surer with more of it. */
    double sure = t.mass / (t.mass + 0.6);
    ret->valence = tl_craft_clamp(t.valence / t.mass * sure * 1.6, -1, 1);
    ret->arousal = tl_craft_clamp(0.45 + 0.75 * t.arousal / t.mass * sure, 0, 1);
    ret->weight = tl_craft_clamp(0.4 + 0.2 * (double)ret->hits, 0, 1);
}

static bool ends_sentence(const unsigned char *p, size_t left, size_t *ret_len)
{
    *ret_len = 1;
    if (*p == '\n' || *p == '!' || *p == '?')
        return true;
    if (*p == '.')
        return left < 2 || p[1] <= ' ' || p[1] == '"' || p[1] == '\''; /* not the point in 3.5 */
    if (left >= 3 && *p == 0xE3 && p[1] == 0x80 && p[2] == 0x82) {
        *ret_len = 3; /* 。 */
        return true;
    }
    return false;
}

size_t tl_text_sentences(const char *text, enum tl_text_lang lang, struct tl_sentence *ret, size_t cap)
{
    size_t n = 0, start = 0, len = strlen(text), step = 1;
    for (size_t at = 0; at <= len && n < cap; at++) {
        bool end = at == len || ends_sentence((const unsigned char *)text + at, len - at, &step);
        if (!end)
            continue;
        if (at < len && n + 1 == cap)
            continue;
        struct tl_sentence s = {.at = start, .len = at - start};
        tl_text_read(text + s.at, s.len, lang, &s.reading);
        if (s.reading.words)
            ret[n++] = s;
        start = at < len ? at + step : len;
    }
    return n;
}

double tl_text_duration(const struct tl_sentence *s, size_t n, enum tl_text_lang lang)
{
    double sec = 0;
    for (size_t i = 0; i < n; i++) {
        double words = (double)s[i].reading.words * (lang == TL_LANG_KO ? 0.55 : 0.4);
        sec += words > 3 ? words : 3;
    }
    return floor(tl_craft_clamp(sec, 5, 600) + 0.5);
}

/* Setup, escalation, climax at three quarters, resolution. */
static double arc(double p)
{
    if (p < 0.25)
        return tl_craft_mix(0.25, 0.35, p / 0.25);
    if (p < 0.75)
        return tl_craft_mix(0.35, 0.75, (p - 0.25) / 0.5);
    return tl_craft_mix(0.75, 0.4, (p - 0.75) / 0.25);
}

static double intensity(const struct tl_reading *r, double p)
{
    double base = arc(p), said = r->arousal + 0.25 * fabs(r->valence) * (r->arousal > 0.45 ? 1 : -0.4);
    double v = tl_craft_mix(base, said, 0.75 * r->weight);
    switch (r->cue) {
    case TL_CUE_TURN:
        v += 0.12;
        break;
    case TL_CUE_CLIMAX:
        v += 0.15;
        break;
    case TL_CUE_OPEN:
    case TL_CUE_CLOSE:
        v -= 0.08;
        break;
    case TL_CUE_NONE:
        break;
    }
    return tl_craft_clamp(v, 0, 1);
}

void tl_text_curve(const struct tl_sentence *s, size_t n, double *ret, size_t m)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)s[i].reading.words + 2;
    double start = 0; /* of sentence k, in shares of the whole */
    double before_at = 0, before = n ? intensity(&s[0].reading, 0) : 0;
    size_t i = 0;
    for (size_t k = 0; k < n; k++) {
        double share = ((double)s[k].reading.words + 2) / total, middle = start + share / 2;
        double v = intensity(&s[k].reading, middle);
        /* Linear from the middle of one sentence to the middle of the next. */
        for (; i < m; i++) {
            double p = m > 1 ? (double)i / (double)(m - 1) : 0;
            if (p > middle)
                break;
            ret[i] = middle > before_at ? tl_craft_mix(before, v, (p - before_at) / (middle - before_at)) : v;
        }
        before_at = middle;
        before = v;
        start += share;
    }
    for (; i < m; i++)
        ret[i] = before;
}

/* Reading a scene's text, Korean or English, with a lexicon: mood, setting and where in the telling a sentence stands. Nothing is learned, nothing is
 * guessed beyond the words: a text without known words has weight 0. */
#ifndef TL_CAPSULES_CRAFT_TEXT_H
#define TL_CAPSULES_CRAFT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum tl_text_lang { TL_LANG_AUTO, TL_LANG_EN, TL_LANG_KO };

/* X(symbol, name): what the words of a scene speak of. */
#define TL_FEATURE_TABLE(X)                                                                                            \
    X(NIGHT, "night")                                                                                                  \
    X(DAY, "day")                                                                                                      \
    X(DUSK, "dusk") X(DAWN, "dawn") X(RAIN, "rain") X(SNOW, "snow") X(SKY, "sky") X(WATER, "water")                    \
        X(INDOOR, "indoor") X(OUTDOOR, "outdoor") X(CLASS, "class") X(CROWD, "crowd") X(ALONE, "alone")                \
            X(PAIR, "pair") X(MIRROR, "mirror") X(TABLE, "table") X(MUSIC, "music") X(SPEED, "speed")                  \
                X(STILL, "still") X(VIOLENCE, "violence") X(SECRET, "secret") X(WARM, "warm") X(COOL, "cool")

enum tl_feature {
#define X(sym, name) TL_F_##sym,
    TL_FEATURE_TABLE(X)
#undef X
        TL_F_COUNT,
    TL_F_NONE = TL_F_COUNT
};
extern const char *const tl_feature_name[TL_F_COUNT];

/* Words that place a sentence in the telling. */
enum tl_cue { TL_CUE_NONE, TL_CUE_OPEN, TL_CUE_TURN, TL_CUE_CLIMAX, TL_CUE_CLOSE };

struct tl_reading {
    double valence;             /* -1 to 1; 0 without a word that says so */
    double arousal;             /* 0 to 1; 0.45 without */
    double weight;              /* 0: nothing known was said, 1: enough */
    double feature[TL_F_COUNT]; /* 0 to 1 each */
    size_t words, hits;
    enum tl_cue cue;
};

enum { TL_TEXT_SENTENCES = 400 };

struct tl_sentence {
    size_t at, len; /* bytes of the text */
    struct tl_reading reading;
};

/* Korean where Hangul outweighs Latin letters. */
enum tl_text_lang tl_text_lang(const char *text);
/* Reads a piece of text as one. lang must not be AUTO. */
void tl_text_read(const char *text, size_t len, enum tl_text_lang lang, struct tl_reading *ret);
/* Splits into sentences and reads each; at most cap of them, what follows belongs to the last. Returns how many. */
size_t tl_text_sentences(const char *text, enum tl_text_lang lang, struct tl_sentence *ret, size_t cap);
/* Seconds that it takes to play: by words and sentences. */
double tl_text_duration(const struct tl_sentence *s, size_t n, enum tl_text_lang lang);
/* The emotion curve, 0 to 1, m values over the whole text: what the words say, laid over the arc of a telling (a slow rise to three quarters, then a
 * fall), each sentence taking time by its length. */
void tl_text_curve(const struct tl_sentence *s, size_t n, double *ret, size_t m);

#endif

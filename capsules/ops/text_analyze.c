/* text.analyze: a script, Korean or English, as an emotion curve, a duration and a summary of the scene. */
#include "base/str.h"
#include "capsules/craft/op.h"
#include "capsules/craft/text.h"

#include <string.h>

enum { SUMMARY_BYTES = 600 };

static const struct tl_port ports[] = {
    {"text", TL_T_STRING, TL_PORT_REQUIRED, "the script"},
    {"emotion_curve", TL_T_FLOATS, TL_PORT_OUT, "one value a second, 0 to 1"},
    {"duration_sec", TL_T_NUMBER, TL_PORT_OUT, "as given, or as long as the text plays"},
    {"scene_summary", TL_T_STRING, TL_PORT_OUT, "the text, or of a long one its first and strongest sentences"},
    {NULL, 0, 0, NULL},
};

static const char *const languages[] = {"auto", "ko", "en", NULL};
static const struct tl_param params[] = {
    {"duration_sec", TL_P_NUMBER, 0, 0, 7200, 0, NULL, "0", "seconds; 0: by the length of the text"},
    {"language", TL_P_ENUM, 0, 0, 0, 0, languages, "\"auto\"", "the language of the text"},
    {NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL},
};

static double strength(const struct tl_sentence *s)
{
    double said = s->reading.arousal - 0.45, mood = s->reading.valence;
    return s->reading.weight * (0.3 + (said < 0 ? -said : said) + 0.5 * (mood < 0 ? -mood : mood));
}

/* Marks the first sentence and then the strongest ones while they fit. */
static void choose(const struct tl_sentence *s, size_t n, bool *chosen)
{
    size_t used = 0;
    for (size_t round = 0; round < n; round++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            if (!chosen[i] && used + s[i].len + 2 <= SUMMARY_BYTES &&
                (best == n || strength(&s[i]) > strength(&s[best]) + 1e-9))
                best = i;
        }
        if (round == 0 && s[0].len + 2 <= SUMMARY_BYTES)
            best = 0;
        if (best == n)
            return;
        chosen[best] = true;
        used += s[best].len + 2;
    }
}

static void trim(const char *text, size_t *at, size_t *len)
{
    while (*len && (unsigned char)text[*at] <= ' ')
        (*at)++, (*len)--;
    while (*len && (unsigned char)text[*at + *len - 1] <= ' ')
        (*len)--;
}

static json_t *summary(const char *text, const struct tl_sentence *s, size_t n)
{
    size_t at = 0, len = strlen(text);
    trim(text, &at, &len);
    if (len <= SUMMARY_BYTES)
        return json_stringn(text + at, len);
    TL_CLEANUP(tl_str_clear) struct tl_str out = {0};
    TL_AUTO_FREE bool *chosen = tl_calloc(n ? n : 1, sizeof(*chosen));
    if (!chosen)
        return NULL;
    if (n)
        choose(s, n, chosen);
    for (size_t i = 0; i < n; i++) {
        size_t from = s[i].at, bytes = s[i].len;
        trim(text, &from, &bytes);
        if (chosen[i] && bytes) {
            tl_str_puts(&out, out.len ? " " : "");
            tl_str_add(&out, text + from, bytes);
            tl_str_puts(&out, ".");
        }
    }
    if (out.err)
        return NULL;
    if (out.len)
        return json_stringn(out.data, out.len);
    /* One endless sentence: its beginning, not cut inside a character. */
    for (len = SUMMARY_BYTES; len && ((unsigned char)text[at + len] & 0xC0) == 0x80;)
        len--;
    return json_stringn(text + at, len);
}

static int run(struct tl_op_ctx *ctx)
{
    const char *text = tl_op_input_text(ctx, "text"), *language = tl_op_param_text(ctx, "language");
    enum tl_text_lang lang = strcmp(language, "ko") == 0   ? TL_LANG_KO
                             : strcmp(language, "en") == 0 ? TL_LANG_EN
                                                           : tl_text_lang(text);
    TL_AUTO_FREE struct tl_sentence *s = tl_calloc(TL_TEXT_SENTENCES, sizeof(*s));
    if (!s)
        return TL_ENOMEM;
    size_t n = tl_text_sentences(text, lang, s, TL_TEXT_SENTENCES);
    if (!n)
        return tl_op_fail(ctx, TL_EINVAL, "the text has no words");
    double duration = tl_op_param_number(ctx, "duration_sec");
    if (duration <= 0)
        duration = tl_text_duration(s, n, lang);
    size_t m = tl_curve_count(duration);
    TL_AUTO_FREE double *curve = tl_calloc(m, sizeof(*curve));
    if (!curve)
        return TL_ENOMEM;
    tl_text_curve(s, n, curve, m);
    struct tl_out o = {.ctx = ctx};
    tl_out_floats(&o, "emotion_curve", curve, m);
    tl_out_number(&o, "duration_sec", duration);
    tl_out_json(&o, "scene_summary", summary(text, s, n));
    return tl_out_end(&o);
}

const struct tl_op tl_op_text_analyze = {
    .name = "text.analyze",
    .revision = 1,
    .flags = TL_OP_PURE,
    .title = "Analyze text",
    .doc = "Emotion curve, duration and summary of a script",
    .ports = ports,
    .params = params,
    .run = run,
};

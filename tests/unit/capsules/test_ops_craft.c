/* The pure functions behind the craft ops, on inputs whose truth is known; and input.clip, which asks the store. */
#include "tests/unit/capsules/craft.h"

#include "base/err.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/craft/color.h"
#include "capsules/craft/curve.h"
#include "capsules/craft/facts.h"
#include "capsules/craft/num.h"
#include "capsules/craft/rhythm.h"
#include "capsules/craft/text.h"

#include <math.h>
#include <string.h>

#define near(a, b, by) assert_true(fabs((a) - (b)) <= (by))

static void test_numbers(void **state)
{
    (void)state;
    assert_true(tl_craft_round(0.12345) == 0.1235 && tl_craft_round(-0.00001) == 0 &&
                !signbit(tl_craft_round(-0.00001)));
    assert_true(tl_craft_clamp(NAN, 0.25, 1) == 0.25 && tl_craft_clamp(INFINITY, 0, 1) == 1);
    double sum = 0, low = 1, high = -1;
    for (uint64_t i = 0; i < 10000; i++) {
        double v = tl_craft_noise(7, i);
        assert_true(v >= -1 && v <= 1);
        sum += v;
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    near(sum / 10000, 0, 0.03);
    assert_true(low < -0.99 && high > 0.99);
    assert_true(tl_craft_seed(NULL) == tl_craft_seed("") && tl_craft_seed("a") != tl_craft_seed("b"));
}

static void test_curves(void **state)
{
    (void)state;
    const double in[] = {0, 1};
    double out[5], back[2];
    tl_curve_resample(in, 2, out, 5);
    for (int i = 0; i < 5; i++)
        near(out[i], i / 4.0, 1e-12);
    tl_curve_resample(out, 5, back, 2);
    assert_true(back[0] == 0 && back[1] == 1);
    struct tl_curve_stats s;
    tl_curve_stats(out, 5, &s);
    near(s.mean, 0.5, 1e-12);
    near(s.peak_at, 1, 1e-12);
    near(s.trend, 1, 1e-12);
    const double bump[] = {0.2, 0.8, 0.2, 0.2, 0.2};
    tl_curve_ratchet(bump, 5, 1, out);
    assert_true(out[0] == 0.2 && out[4] == 0.8);
    tl_curve_pressure(bump, 5, 1, out);
    assert_true(out[1] == 0.8 && out[2] >= 0.2 && out[2] < 0.8);
    tl_curve_understate(bump, 5, 1, out);
    for (int i = 0; i < 5; i++)
        near(out[i], 0.2, 1e-12);
    double at, amount;
    tl_curve_swerve(bump, 5, &at, &amount);
    near(at, 0.25, 1e-12);
    near(amount, 0.6, 1e-12);
    const double twice[] = {0.1, 0.9, 0.1, 0.9}, mirrored[] = {0.1, 0.9, 0.9, 0.1};
    assert_true(tl_curve_halves(twice, 4) == 1 && tl_curve_halves(mirrored, 4) == 0);
    assert_true(tl_curve_count(0.1) == 2 && tl_curve_count(59.6) == 60 && tl_curve_count(1e9) == TL_CURVE_MAX);
}

static void test_colours(void **state)
{
    (void)state;
    /* There and back, over the cube. */
    for (unsigned r = 0; r < 256; r += 15) {
        for (unsigned g = 0; g < 256; g += 15) {
            for (unsigned b = 0; b < 256; b += 15) {
                char hex[TL_HEX_TEXT], again[TL_HEX_TEXT];
                struct tl_lab v;
                snprintf(hex, sizeof(hex), "#%02X%02X%02X", r, g, b);
                assert_true(tl_lab_from_hex(hex, &v));
                tl_lab_hex(v, again);
                assert_string_equal(hex, again);
            }
        }
    }
    struct tl_lab red, white;
    assert_true(tl_lab_from_hex("#ff0000", &red) && tl_lab_from_hex("#FFFFFF", &white));
    near(red.l, 0.628, 0.001); /* Ottosson's own figures */
    near(tl_lab_chroma(red), 0.2577, 0.001);
    near(tl_lab_hue(red), 29.23, 0.05);
    near(white.l, 1, 1e-4);
    assert_false(tl_lab_from_hex("#12345", &red) || tl_lab_from_hex("#12345G", &red) || tl_lab_from_hex(NULL, &red));
    struct tl_lab wild = tl_lab_into_gamut(tl_lab_from_lch(0.8, 0.4, 265));
    near(wild.l, 0.8, 1e-12);
    near(tl_lab_hue(wild), 265, 0.01);
    assert_true(tl_lab_chroma(wild) < 0.2 && tl_lab_chroma(wild) > 0.05);
    const struct tl_lab two[] = {{0.2, 0.1, 0}, {0.8, -0.1, 0}};
    struct tl_palette_stats s;
    tl_palette_stats(two, 2, &s);
    near(s.light, 0.5, 1e-12);
    near(s.spread, 0.6, 1e-12);
    near(s.strength, 0, 1e-12); /* opposite hues cancel out */
}

/* ---- text ---- */

static struct tl_reading read_text(const char *text)
{
    struct tl_reading r;
    tl_text_read(text, strlen(text), tl_text_lang(text), &r);
    return r;
}

static void test_language(void **state)
{
    (void)state;
    assert_int_equal(tl_text_lang("비 오는 밤"), TL_LANG_KO);
    assert_int_equal(tl_text_lang("A rainy night"), TL_LANG_EN);
    assert_int_equal(tl_text_lang("EXT. 골목길 - NIGHT. 그가 칼을 들고 뛴다."), TL_LANG_KO);
    assert_int_equal(tl_text_lang(""), TL_LANG_EN);
    assert_int_equal(tl_text_lang("\xff\xfe\xea"), TL_LANG_EN);
}

static void test_words(void **state)
{
    (void)state;
    /* Particles and endings. */
    static const char *const rain[] = {"비가 내린다", "비를 맞는다", "비에 젖은 옷",     "빗속에서",
                                       "폭우가",      "it rains",    "the rainy street", "Rain."};
    for (size_t i = 0; i < TL_ARRAY_LEN(rain); i++) {
        if (read_text(rain[i]).feature[TL_F_RAIN] <= 0)
            fail_msg("no rain in: %s", rain[i]);
    }
    static const char *const dry[] = {"비밀이 있다", "비참하다", "준비하다", "brain", "train", "drained"};
    for (size_t i = 0; i < TL_ARRAY_LEN(dry); i++) {
        if (read_text(dry[i]).feature[TL_F_RAIN] > 0)
            fail_msg("rain in: %s", dry[i]);
    }
    assert_true(read_text("그들은 도망쳤다").feature[TL_F_SPEED] > 0 &&
                read_text("running, he ran").feature[TL_F_SPEED] > 0.6);
    assert_true(read_text("아름다운 노래를 불렀다").valence > 0.2 && read_text("a beautiful song").valence > 0.2);
    assert_true(read_text("살인자가 칼을 들었다").valence < -0.3 && read_text("the murderer's knife").valence < 0);
    /* Denied: the fear is gone, the rain is not there. */
    assert_true(read_text("무섭다").valence < 0 && read_text("무섭지 않다").valence > 0 &&
                read_text("두려움이 없다").valence > 0);
    assert_true(read_text("안 무섭다").valence > 0 && read_text("afraid").valence < 0 &&
                read_text("she was not afraid").valence > 0);
    assert_true(read_text("isn’t afraid").valence > 0 && read_text("fearless").valence > 0);
    assert_true(read_text("비가 오지 않는다").hits == 1 && read_text("no rain").feature[TL_F_RAIN] == 0);
    /* Stronger and weaker. */
    assert_true(read_text("몹시 슬프다").valence < read_text("슬프다").valence &&
                read_text("조금 슬프다").valence > read_text("슬프다").valence);
    assert_true(read_text("very happy").valence > read_text("happy").valence &&
                read_text("slightly happy").valence < read_text("happy").valence);
    /* Two words in a row: snow falls, an eye is large. */
    assert_true(read_text("눈이 내린다").feature[TL_F_SNOW] > 0 && read_text("눈이 크다").feature[TL_F_SNOW] == 0);
    assert_true(read_text("해가 진다").feature[TL_F_DUSK] > 0 && read_text("the sun sets").feature[TL_F_DUSK] > 0);
    assert_true(read_text("차가운 바람").feature[TL_F_COOL] > 0 && read_text("차가 달린다").feature[TL_F_COOL] == 0);
    /* A text that says nothing has no weight. */
    struct tl_reading none = read_text("Xyzzy plugh frobnicate.");
    assert_true(none.weight == 0 && none.arousal == 0.45 && none.valence == 0);
}

static void test_arc(void **state)
{
    (void)state;
    struct tl_sentence s[TL_TEXT_SENTENCES];
    static const char *const stories[] = {"A quiet morning. They sit still in the calm room. Suddenly a monster "
                                          "attacks, they scream and run in panic. Later, silence and rest.",
                                          "조용한 아침이다. 둘이 가만히 방에 앉아 있다. 갑자기 괴물이 공격하고 그들은 "
                                          "비명을 지르며 도망친다. 그 후 고요한 침묵만 남는다."};
    for (int i = 0; i < 2; i++) {
        size_t n = tl_text_sentences(stories[i], tl_text_lang(stories[i]), s, TL_TEXT_SENTENCES);
        assert_int_equal(n, 4);
        double c[40];
        tl_text_curve(s, n, c, 40);
        struct tl_curve_stats stats;
        tl_curve_stats(c, 40, &stats);
        assert_true(stats.peak > 0.8 && stats.peak_at > 0.45 && stats.peak_at < 0.85);
        assert_true(c[0] < 0.4 && c[39] < 0.5);
        for (int k = 0; k < 40; k++)
            assert_true(c[k] >= 0 && c[k] <= 1);
    }
    /* Without known words: the arc of a telling. */
    size_t n = tl_text_sentences("Aa bb. Cc dd. Ee ff. Gg hh.", TL_LANG_EN, s, TL_TEXT_SENTENCES);
    double c[9];
    tl_text_curve(s, n, c, 9);
    assert_true(c[0] < c[4] && c[4] < c[6] && c[8] < c[6] + 1e-9);
    assert_true(tl_text_sentences("It was 3.5 metres. Go!", TL_LANG_EN, s, TL_TEXT_SENTENCES) == 2);
    assert_true(tl_text_sentences(" \n..!? ", TL_LANG_EN, s, TL_TEXT_SENTENCES) == 0);
    assert_true(tl_text_sentences("a. b. c. d. e.", TL_LANG_EN, s, 2) == 2);
}

/* Bytes that are no text at all must not be read past their end. */
static void test_hostile_text(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 300; round++) {
        size_t len = 1 + (size_t)((tl_craft_noise(1, round) + 1) * 100);
        char *text = malloc(len + 1); /* exactly as long, for the sanitizer to see */
        assert_non_null(text);
        for (size_t i = 0; i < len; i++) {
            unsigned char byte = (unsigned char)((tl_craft_noise(round + 2, i) + 1) * 127);
            static const unsigned char odd[] = {0xE2, 0x80, 0xEA, 0xE3, 0x99, '.', ' ', 0xED};
            text[i] = (char)(byte % 3 == 0 ? odd[byte % 8] : byte ? byte : 'x');
        }
        text[len] = '\0';
        struct tl_sentence s[8];
        double c[7];
        enum tl_text_lang lang = tl_text_lang(text);
        size_t n = tl_text_sentences(text, lang, s, 8);
        for (size_t i = 0; i < n; i++)
            assert_true(s[i].at + s[i].len <= len);
        if (n)
            tl_text_curve(s, n, c, 7);
        free(text);
    }
}

/* ---- facts ---- */

static void test_facts(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *f = craft_json("{\"a\":0.5,\"t\":125.4,\"n\":-1}");
    static const struct {
        const char *when;
        bool holds, valid;
    } cases[] = {{"[]", true, true},
                 {"[[\"a\",\">\",0.4]]", true, true},
                 {"[[\"a\",\">\",0.5]]", false, true},
                 {"[[\"a\",\">=\",0.5],[\"n\",\"<\",0]]", true, true},
                 {"[[\"no\",\">\",-9]]", false, true},
                 {"[[\"a\",\"~\",1]]", false, false},
                 {"[[\"a\",\">\"]]", false, false},
                 {"{}", false, false},
                 {"[[1,\">\",1]]", false, false}};
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        TL_AUTO_JSON json_t *when = craft_json(cases[i].when);
        assert_int_equal(tl_facts_hold(f, when), cases[i].holds);
        assert_int_equal(tl_facts_valid(when), cases[i].valid);
    }
    assert_true(tl_facts_hold(f, NULL));
    static const struct {
        const char *text, *want;
        int err;
    } templates[] = {{"{a:p} at {t:t}.", "50% at 2:05.", 0},
                     {"{a}{n:0}", "0.5-1", 0},
                     {"{a:2}", "0.50", 0},
                     {"plain", "plain", 0},
                     {"{none}", NULL, TL_ENOTFOUND},
                     {"{a", NULL, TL_ESCHEMA},
                     {"{a:zz}", NULL, TL_ESCHEMA},
                     {"", "", 0}};
    for (size_t i = 0; i < TL_ARRAY_LEN(templates); i++) {
        TL_CLEANUP(tl_str_clear) struct tl_str s = {0};
        assert_int_equal(tl_facts_expand(f, templates[i].text, &s), templates[i].err);
        if (templates[i].want)
            assert_string_equal(s.data ? s.data : "", templates[i].want);
    }
}

static double even(void *arg, double p, double c, size_t k)
{
    (void)p, (void)c, (void)k;
    return *(double *)arg;
}

static void test_rhythm(void **state)
{
    (void)state;
    const double c[] = {0.2, 0.4, 0.6, 0.8};
    double len = 3;
    struct tl_rhythm r;
    assert_int_equal(tl_rhythm_walk(c, 4, 10, even, &len, &r), 0);
    double sum = 0;
    for (size_t i = 0; i < r.n; i++)
        sum += r.shots[i];
    assert_int_equal(r.n, 4); /* 3 + 3 + 3 + 1 */
    near(sum, 10, 1e-9);
    free(r.shots);
    len = 0; /* never shorter than 0.4 s, never more than the bound */
    assert_int_equal(tl_rhythm_walk(c, 4, 7200, even, &len, &r), 0);
    assert_int_equal(r.n, TL_SHOTS_MAX);
    free(r.shots);
    /* The mean falls with the gain, whatever the curve. */
    for (double g = 0, before = 99; g <= 3; g += 0.25) {
        double mean = tl_rhythm_mean(c, 4, 4, g, 60);
        assert_true(mean < before);
        before = mean;
    }
    assert_true(tl_rhythm_base(4, 1, 0.3, 60, 0, 0.1) < tl_rhythm_base(4, -1, 0.3, 60, 0, 0.1));
    assert_true(tl_rhythm_base(4, 0, 0.3, 60, 1, 0.1) < 4 && tl_rhythm_base(4, 0, 0.3, 60, 1, 0.1) > 3);
}

/* ---- input.clip ---- */

struct put {
    uint8_t key[64];
    size_t len;
    const char *json;
};

static int put_file(struct tl_txn *txn, void *arg)
{
    const struct put *p = arg;
    return tl_txn_put(txn, TL_TBL_FILE, p->key, p->len, p->json, strlen(p->json));
}

static void store_file(const char *org, const char *id_text, const char *json)
{
    struct put p = {.json = json};
    struct tl_id id;
    assert_true(tl_id_parse(id_text, &id));
    size_t n = strlen(org) + 1;
    memcpy(p.key, org, n);
    memcpy(p.key + n, id.b, TL_ID_LEN);
    p.len = n + TL_ID_LEN;
    assert_int_equal(tl_db_update(craft_services.db, put_file, &p), 0);
}

static void test_clip(void **state)
{
    (void)state;
    static const char *const video = "0199aaaa-0000-7000-8000-000000000001",
                             *const image = "0199aaaa-0000-7000-8000-000000000002",
                             *const foreign = "0199aaaa-0000-7000-8000-000000000003";
    static const char *const sha = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const file = "{\"name\":\"my.mp4\",\"content_type\":\"%s\",\"bytes\":12,\"sha256\":\"%s\"}";
    char text[256];
    snprintf(text, sizeof(text), file, "video/mp4", sha);
    store_file("org", video, text);
    store_file("other", foreign, text);
    snprintf(text, sizeof(text), file, "image/png", sha);
    store_file("org", image, text);
    TL_AUTO_JSON json_t *o = craft_op("input.clip", json_pack("{s:s}", "file", video), NULL, NULL);
    const json_t *clip = json_object_get(o, "clip");
    assert_string_equal(tl_json_str(clip, "sha256"), sha);
    assert_string_equal(tl_json_str(clip, "kind"), "video");
    assert_string_equal(tl_json_str(clip, "name"), "my.mp4");
    assert_int_equal(tl_json_int(clip, "bytes", 0), 12);
    /* No video, another organisation's, unknown, malformed, missing: refused when the graph is checked. */
    const char *const bad[] = {image, foreign, "0199aaaa-0000-7000-8000-000000000009", "../../etc/passwd", ""};
    for (size_t i = 0; i < TL_ARRAY_LEN(bad); i++) {
        int err = 0;
        assert_null(craft_op("input.clip", json_pack("{s:s}", "file", bad[i]), NULL, &err));
        assert_int_equal(err, TL_EINVAL);
    }
    int err = 0;
    assert_null(craft_op("input.clip", json_object(), NULL, &err));
    assert_int_equal(err, TL_EINVAL);
    /* Another blob under the same id is another node: the plan names the hash. */
    struct tl_cap_env scope = {.services = &craft_services, .org = "org"};
    struct tl_graph_env env = {.find_op = tl_cap_find_op, .arg = &scope};
    TL_AUTO_JSON json_t *graph = json_pack("{s:[{s:s,s:s,s:{s:{s:s}}}],s:[]}", "nodes", "id", "n", "type", "input.clip",
                                           "data", "params", "file", video, "edges");
    struct tl_plan *plan = NULL;
    assert_int_equal(tl_plan_json(graph, &env, NULL, 0, &plan, NULL), 0);
    assert_string_equal(plan->nodes[0].shape->identity, sha);
    tl_plan_unref(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_curves), cmocka_unit_test(test_colours),
        cmocka_unit_test(test_language),     cmocka_unit_test(test_words),  cmocka_unit_test(test_arc),
        cmocka_unit_test(test_hostile_text), cmocka_unit_test(test_facts),  cmocka_unit_test(test_rhythm),
        cmocka_unit_test(test_clip),
    };
    return cmocka_run_group_tests(tests, craft_setup, craft_teardown);
}

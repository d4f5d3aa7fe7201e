/* The catalog's data: specs as the seed has them, private graphs that plan and differ, patterns and rules that fit together, templates that plan. */
#include "tests/unit/capsules/craft.h"

#include "base/json.h"
#include "base/mem.h"
#include "capsules/capsule.h"
#include "capsules/spec.h"

#include <stdio.h>
#include <string.h>

static json_t *load(const char *folder, const char *what)
{
    char path[160];
    snprintf(path, sizeof(path), "catalog/%s/%s.json", folder, what);
    return craft_file(path);
}

static json_t *auteur(const char *folder, const char *what)
{
    char path[128];
    snprintf(path, sizeof(path), "auteur/%s", folder);
    return load(path, what);
}

static void no_problems(const char *where, int err, struct tl_diag *diag)
{
    for (size_t i = 0; i < diag->count; i++)
        print_error("%s: %s %s: %s\n", where, diag->items[i].node ? diag->items[i].node : "", diag->items[i].path,
                    diag->items[i].message);
    assert_int_equal(err, 0);
    assert_false(tl_diag_any(diag));
    tl_diag_clear(diag);
}

/* Seed §10, word for word. */
static const struct want {
    const char *folder, *id, *signature, *pacing, *bias, *motion, *ref;
    double value, step;
} wants[] = {
    {"bong-joon-ho", "auteur.bong-joon-ho", "tension_bias", "medium", "cool", "controlled",
     "private-dag://auteur/bong/v1", 0.7, 0.1},
    {"park-chan-wook", "auteur.park-chan-wook", "symmetry_bias", "medium", "warm", "controlled",
     "private-dag://auteur/park/v1", 0.8, 0.05},
    {"shinkai", "auteur.shinkai", "light_diffusion", "slow", "warm", "controlled", "private-dag://auteur/shinkai/v1",
     0.75, 0.05},
    {"lee-junho", "auteur.lee-junho", "music_sync", "medium", "neutral", "dynamic", "private-dag://auteur/leejunho/v1",
     0.7, 0.05},
    {"na-hongjin", "auteur.na-hongjin", "chaos_bias", "fast", "cool", "dynamic", "private-dag://auteur/na/v1", 0.8,
     0.05},
    {"hong-sangsoo", "auteur.hong-sangsoo", "stillness", "slow", "neutral", "static", "private-dag://auteur/hong/v1",
     0.85, 0.05},
};

static void is(const json_t *have, const char *want)
{
    TL_AUTO_JSON json_t *j = craft_json(want);
    if (!json_equal(have, j))
        fail_msg("is %s, should be %s", json_dumps(have, JSON_ENCODE_ANY), want);
}

static void test_specs(void **state)
{
    (void)state;
    for (size_t i = 0; i < TL_ARRAY_LEN(wants); i++) {
        const struct want *w = &wants[i];
        TL_AUTO_JSON json_t *spec = auteur(w->folder, "spec");
        struct tl_cap_spec *parsed = NULL;
        struct tl_diag diag = {0};
        no_problems(w->folder, tl_cap_spec_parse(spec, &parsed, &diag), &diag);
        tl_cap_spec_free(parsed);
        assert_string_equal(tl_json_str(spec, "id"), w->id);
        assert_string_equal(tl_json_str(spec, "version"), "1.0.0");
        assert_string_equal(tl_json_str(spec, "patternVersion"), "v1");
        assert_string_equal(tl_json_str(json_object_get(spec, "adapter"), "internalGraphRef"), w->ref);
        assert_string_equal(tl_json_str(json_object_get(spec, "adapter"), "type"), "hybrid");
        is(json_object_get(spec, "inputs"), "{\"emotion_curve\":{\"type\":\"float[]\"},\"scene_summary\":{\"type\":"
                                            "\"string\"},\"duration_sec\":{\"type\":\"number\"}}");
        is(json_object_get(spec, "outputs"), "{\"style_vector\":{\"type\":\"float[]\"},\"palette\":{\"type\":\"string[]"
                                             "\"},\"composition_hints\":{\"type\":\"string[]\"},"
                                             "\"pacing_hints\":{\"type\":\"string[]\"}}");
        const json_t *params = json_object_get(spec, "exposedParams");
        assert_int_equal(json_object_size(params), 6);
        is(json_object_get(params, "style_intensity"),
           "{\"type\":\"number\",\"min\":0.4,\"max\":1.0,\"step\":0.05,\"default\":0.7,\"visibility\":\"public\"}");
        is(json_object_get(params, "persona_priority"), "{\"type\":\"enum\",\"options\":[\"script\",\"blended\","
                                                        "\"user\"],\"default\":\"script\",\"visibility\":\"public\"}");
        is(json_object_get(json_object_get(params, "pacing"), "options"), "[\"slow\",\"medium\",\"fast\"]");
        is(json_object_get(json_object_get(params, "color_bias"), "options"), "[\"cool\",\"neutral\",\"warm\"]");
        is(json_object_get(json_object_get(params, "camera_motion"), "options"),
           "[\"static\",\"controlled\",\"dynamic\"]");
        assert_string_equal(tl_json_str(json_object_get(params, "pacing"), "default"), w->pacing);
        assert_string_equal(tl_json_str(json_object_get(params, "color_bias"), "default"), w->bias);
        assert_string_equal(tl_json_str(json_object_get(params, "camera_motion"), "default"), w->motion);
        const json_t *own = json_object_get(params, w->signature);
        assert_true(tl_json_num(own, "min", -1) == 0 && tl_json_num(own, "max", -1) == 1 &&
                    tl_json_num(own, "step", -1) == w->step);
        assert_true(tl_json_num(own, "default", -1) == w->value);
    }
}

/* ---- private graphs ---- */

static bool has_op(const json_t *doc, const char *type)
{
    size_t i;
    json_t *n;
    json_array_foreach(json_object_get(doc, "nodes"), i, n) {
        if (strcmp(tl_json_str(n, "type"), type) == 0)
            return true;
    }
    return false;
}

static const char *type_of(const json_t *doc, const char *id)
{
    size_t i;
    json_t *n;
    json_array_foreach(json_object_get(doc, "nodes"), i, n) {
        if (strcmp(tl_json_str(n, "id"), id) == 0)
            return tl_json_str(n, "type");
    }
    fail_msg("no node %s", id);
    return NULL;
}

/* The set of "op.port > op.port" of a graph's edges: its wiring, whatever the nodes are called. */
static json_t *wiring(const json_t *doc)
{
    json_t *set = json_object(), *e;
    size_t i;
    json_array_foreach(json_object_get(doc, "edges"), i, e) {
        char text[256];
        snprintf(text, sizeof(text), "%s.%s > %s.%s", type_of(doc, tl_json_str(e, "source")),
                 tl_json_str(e, "sourceHandle"), type_of(doc, tl_json_str(e, "target")),
                 tl_json_str(e, "targetHandle"));
        json_object_set_new(set, text, json_true());
    }
    return set;
}

static size_t only_in(json_t *a, const json_t *b)
{
    size_t n = 0;
    const char *key;
    json_t *v;
    json_object_foreach(a, key, v)
        n += !json_object_get(b, key);
    return n;
}

static void test_private(void **state)
{
    (void)state;
    for (int i = 0; craft_auteurs[i]; i++) {
        TL_AUTO_JSON json_t *spec = auteur(craft_auteurs[i], "spec"), *doc = auteur(craft_auteurs[i], "private");
        struct tl_cap_spec *parsed = NULL;
        struct tl_diag diag = {0};
        no_problems(craft_auteurs[i], tl_cap_spec_parse(spec, &parsed, &diag), &diag);
        no_problems(craft_auteurs[i], tl_capsule_check(&craft_services, "talos", parsed, doc, &diag), &diag);
        tl_cap_spec_free(parsed);
        /* Hybrid: a step that asks a model, with its local branch wired. */
        TL_AUTO_JSON json_t *edges = wiring(doc);
        const char *key;
        json_t *v;
        bool local = false, used = false;
        json_object_foreach(edges, key, v) {
            local = local || strstr(key, "> llm.chat.local");
            used = used || strncmp(key, "llm.chat.result >", 17) == 0;
        }
        assert_true(has_op(doc, "llm.chat") && local && used);
        /* Every exposed parameter, every input goes somewhere. */
        json_object_foreach(json_object_get(spec, "exposedParams"), key, v) {
            char handle[96];
            bool wired = false;
            const char *edge;
            json_t *ignored;
            snprintf(handle, sizeof(handle), "graph.input.param.%s >", key);
            json_object_foreach(edges, edge, ignored)
                wired = wired || strncmp(edge, handle, strlen(handle)) == 0;
            if (!wired)
                fail_msg("%s: %s goes nowhere", craft_auteurs[i], key);
        }
        /* A graph with a broken edge does not pass. */
        json_object_set_new(json_array_get(json_object_get(doc, "edges"), 3), "targetHandle", json_string("nowhere"));
        struct tl_plan *plan = NULL;
        assert_int_not_equal(craft_plan_private(spec, doc, &plan, &diag), 0);
        assert_true(tl_diag_any(&diag));
        tl_diag_clear(&diag);
    }
}

/* The craft that is each auteur's alone. */
static void test_own_graphs(void **state)
{
    (void)state;
    static const char *const own[][8] = {
        {"rhythm.cut_density", "weather.press", "tonal.swerve", "frame.depth", NULL},              /* Bong */
        {"stillness.hold", "zoom.place", "structure.repeat", "frame.twoshot", "light.flat", NULL}, /* Hong */
        {"beat.grid", "music.sync", "gesture.accent", "light.stage", "palette.pulse", NULL},       /* Lee */
        {"chaos.perturb", "rhythm.pursuit", "frame.close", NULL},                                  /* Na */
        {"symmetry.balance", "rhythm.phrase", "palette.complement", "frame.insert", NULL},         /* Park */
        {"light.diffuse", "light.hour", "sky.share", "rhythm.breath", "palette.gradient", NULL},   /* Shinkai */
    };
    for (int a = 0; craft_auteurs[a]; a++) {
        TL_AUTO_JSON json_t *mine = auteur(craft_auteurs[a], "private");
        TL_AUTO_JSON json_t *here = wiring(mine);
        for (int b = 0; craft_auteurs[b]; b++) {
            TL_AUTO_JSON json_t *other = auteur(craft_auteurs[b], "private");
            for (int k = 0; own[a][k]; k++)
                assert_int_equal(has_op(other, own[a][k]), a == b);
            if (a == b)
                continue;
            TL_AUTO_JSON json_t *there = wiring(other);
            if (only_in(here, there) < 15)
                fail_msg("%s is wired like %s", craft_auteurs[a], craft_auteurs[b]);
        }
    }
}

/* Longest run of words between the placeholders of a template. */
static size_t longest_run(const char *text, bool *ret_filled)
{
    size_t words = 0, longest = 0;
    bool in_word = false, in_fact = false;
    *ret_filled = false;
    for (const char *p = text; *p; p++) {
        in_fact = *p == '{' || (in_fact && *p != '}');
        if (*p == '{') {
            *ret_filled = true;
            words = 0;
        }
        bool letter = !in_fact && *p != '}' && !strchr(" .,;:%-'", *p);
        words += letter && !in_word;
        in_word = letter;
        longest = words > longest ? words : longest;
    }
    return longest;
}

/* A hint must be filled with facts, and be so short between them that no run of eight words of the private side can leave: the membrane would
 * withhold it. Both languages always. */
static void test_hints(void **state)
{
    (void)state;
    for (int i = 0; craft_auteurs[i]; i++) {
        TL_AUTO_JSON json_t *doc = auteur(craft_auteurs[i], "private");
        size_t n, t, seen = 0;
        json_t *node, *one;
        json_array_foreach(json_object_get(doc, "nodes"), n, node) {
            json_array_foreach(json_object_get(json_object_get(json_object_get(node, "data"), "params"), "templates"),
                               t, one) {
                static const char *const langs[] = {"en", "ko"};
                for (int l = 0; l < 2; l++) {
                    const char *text = tl_json_str(one, langs[l]);
                    bool filled;
                    assert_non_null(text);
                    if (longest_run(text, &filled) > 6 || !filled)
                        fail_msg("%s: %s", craft_auteurs[i], text);
                }
                seen++;
            }
        }
        assert_true(seen >= 10);
    }
}

/* ---- patterns ---- */

static void test_patterns(void **state)
{
    (void)state;
    TL_AUTO_JSON json_t *v1 = load("patterns", "v1"), *ids = json_object();
    const json_t *patterns = json_object_get(v1, "patterns"), *rules = json_object_get(v1, "synapse_rules");
    assert_string_equal(tl_json_str(v1, "snapshot"), "v1");
    assert_true(json_array_size(patterns) >= 40);
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        const json_t *p = json_array_get(patterns, i);
        const char *id = tl_json_str(p, "id"), *rule = tl_json_str(p, "synapse_rule");
        assert_true(id && rule && strspn(id, "abcdefghijklmnopqrstuvwxyz-") == strlen(id));
        assert_null(json_object_get(ids, id));
        json_object_set(ids, id, json_array_get(patterns, i));
        assert_true(json_array_size(json_object_get(p, "evidence")) >= 1 &&
                    json_object_size(json_object_get(p, "axes")) >= 1);
        assert_true(tl_json_str(json_object_get(p, "name"), "en") && tl_json_str(json_object_get(p, "name"), "ko"));
        bool ruled = false;
        for (size_t r = 0; r < json_array_size(rules); r++) {
            const json_t *one = json_array_get(rules, r);
            for (size_t k = 0; k < json_array_size(json_object_get(one, "patterns")); k++)
                ruled =
                    ruled || (strcmp(tl_json_str(one, "id"), rule) == 0 &&
                              strcmp(json_string_value(json_array_get(json_object_get(one, "patterns"), k)), id) == 0);
        }
        if (!ruled)
            fail_msg("%s is not among the patterns of its rule %s", id, rule);
    }
    /* Whatever a capsule may cite is there. */
    for (int i = 0; craft_auteurs[i]; i++) {
        TL_AUTO_JSON json_t *doc = auteur(craft_auteurs[i], "private");
        size_t n, t;
        json_t *node, *topic;
        json_array_foreach(json_object_get(doc, "nodes"), n, node) {
            const json_t *params = json_object_get(json_object_get(node, "data"), "params");
            json_array_foreach(json_object_get(params, "topics"), t, topic) {
                char id[128];
                snprintf(id, sizeof(id), "%s-%s", tl_json_str(params, "library"), tl_json_str(topic, "topic"));
                if (!json_object_get(ids, id))
                    fail_msg("%s cites %s, which is not in the library", craft_auteurs[i], id);
            }
        }
    }
}

/* ---- templates ---- */

static struct tl_cap_spec *specs[8];

/* The capsule node as the canvas sees it, without sealing. */
static int capsule_shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    const char *id = tl_json_str(req->data, "capsuleId"), *version = tl_json_str(req->data, "capsuleVersion");
    for (size_t i = 0; specs[i]; i++) {
        if (!id || !version || strcmp(specs[i]->id, id) != 0 || strcmp(specs[i]->version, version) != 0)
            continue;
        struct tl_port *ports =
            tl_arena_alloc(req->arena, (specs[i]->ninputs + specs[i]->noutputs + 1) * sizeof(*ports));
        memcpy(ports, specs[i]->inputs, specs[i]->ninputs * sizeof(*ports));
        memcpy(ports + specs[i]->ninputs, specs[i]->outputs, specs[i]->noutputs * sizeof(*ports));
        ret->ports = ports;
        ret->params = specs[i]->params;
        ret->max_upstream = specs[i]->max_upstream;
        return 0;
    }
    return tl_diag_add(req->diag, req->node, NULL, req->path, "no such capsule");
}

static int no_run(struct tl_op_ctx *ctx)
{
    (void)ctx;
    return 0;
}

static const struct tl_op *find_op(void *arg, const char *name)
{
    static const char *const keys[] = {"capsuleId", "capsuleVersion", "patternVersion", NULL};
    static const struct tl_op capsule = {
        .name = "capsule", .revision = 1, .data_keys = keys, .shape = capsule_shape, .run = no_run};
    return strcmp(name, "capsule") == 0 ? &capsule : tl_cap_find_op(arg, name);
}

static const char *kind_of(const struct tl_plan_node *n, const char *param)
{
    for (uint32_t i = 0; i < n->nparams; i++) {
        const struct tl_param *p = &n->shape->params[i];
        if (strcmp(p->name, param) == 0)
            return strcmp(n->op->name, "input.clip") == 0 ? "file"
                   : p->type == TL_P_NUMBER               ? "number"
                   : p->type == TL_P_ENUM                 ? "choice"
                                                          : "text";
    }
    return "no parameter";
}

static void test_templates(void **state)
{
    (void)state;
    static const char *const names[] = {"auteur-look-study", "six-auteurs", "script-only"};
    for (int i = 0; craft_auteurs[i]; i++) {
        TL_AUTO_JSON json_t *spec = auteur(craft_auteurs[i], "spec");
        struct tl_diag diag = {0};
        no_problems(craft_auteurs[i], tl_cap_spec_parse(spec, &specs[i], &diag), &diag);
    }
    for (size_t t = 0; t < TL_ARRAY_LEN(names); t++) {
        TL_AUTO_JSON json_t *file = load("templates", names[t]);
        json_t *graph = json_object_get(file, "graph"), *node, *in;
        assert_string_equal(tl_json_str(file, "id"), names[t]);
        assert_true(tl_json_str(json_object_get(file, "title"), "en") &&
                    tl_json_str(json_object_get(file, "title"), "ko"));
        size_t i, k;
        json_array_foreach(json_object_get(graph, "nodes"), i, node) {
            json_t *data = json_object_get(node, "data");
            if (strcmp(tl_json_str(node, "type"), "capsule") == 0)
                assert_string_equal(tl_json_str(data, "capsuleVersion"), "1.0.0");
            /* The clip is the person's to give. */
            if (strcmp(tl_json_str(node, "type"), "input.clip") == 0)
                json_object_set_new(data, "params", json_pack("{s:s}", "file", "0199aaaa-0000-7000-8000-000000000000"));
            for (k = 0; k < i; k++)
                assert_false(
                    json_equal(json_object_get(node, "position"),
                               json_object_get(json_array_get(json_object_get(graph, "nodes"), k), "position")));
        }
        struct tl_cap_env scope = {.org = "org"};
        struct tl_graph_env env = {.find_op = find_op, .arg = &scope};
        struct tl_diag diag = {0};
        struct tl_plan *plan = NULL;
        no_problems(names[t], tl_plan_json(graph, &env, NULL, 0, &plan, &diag), &diag);
        json_array_foreach(json_object_get(file, "inputs"), i, in) {
            uint32_t at = tl_plan_find(plan, tl_json_str(in, "node"));
            assert_int_not_equal(at, UINT32_MAX);
            assert_string_equal(kind_of(&plan->nodes[at], tl_json_str(in, "param")), tl_json_str(in, "kind"));
        }
        tl_plan_unref(plan);
    }
    for (int i = 0; craft_auteurs[i]; i++)
        tl_cap_spec_free(specs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs), cmocka_unit_test(test_private),  cmocka_unit_test(test_own_graphs),
        cmocka_unit_test(test_hints), cmocka_unit_test(test_patterns), cmocka_unit_test(test_templates),
    };
    return cmocka_run_group_tests(tests, craft_setup, craft_teardown);
}

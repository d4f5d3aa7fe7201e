/* Golden tests: every op of the table, alone, through the executor. A file of tests/golden/ holds one op's cases:
 * {"op","cases":[{"name","params","inputs","outputs"|"error"}]}. With TALOS_GOLDEN=write in the environment the answers are written into the files
 * instead of being compared, for a person to read. */
#include "tests/unit/capsules/craft.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Ops that need a worker, a file or a sealed capsule: tests/golden/media.test.mjs; those of graph/control/: tests/unit/graph;
 * http.post: tests/crash/outside.test.mjs. */
static const char *const elsewhere[] = {"capsule", "input.clip", "media.analyze", "media.look", "media.probe", "media.sheet",
                                        "gate",    "http.post",  "loop",          "map",        "merge",       "subgraph",
                                        "switch"};

static bool writing(void)
{
    const char *how = getenv("TALOS_GOLDEN");
    return how && strcmp(how, "write") == 0;
}

/* One line a value, so that a change shows as one. */
static void write_file(const char *path, const json_t *file)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    const json_t *cases = json_object_get(file, "cases");
    fprintf(f, "{\n  \"op\": \"%s\",\n  \"cases\": [", tl_json_str(file, "op"));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const char *key, *comma = "";
        json_t *value;
        fprintf(f, "%s\n    {", i ? "," : "");
        json_object_foreach(json_array_get(cases, i), key, value) {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
            fprintf(f, "%s\n      \"%s\": %s", comma, key, text);
            free(text);
            comma = ",";
        }
        fprintf(f, "\n    }");
    }
    fprintf(f, "\n  ]\n}\n");
    assert_int_equal(fclose(f), 0);
}

static void compare(const char *path, const json_t *one, const json_t *outputs)
{
    TL_AUTO_FREE char *want = tl_json_canonical(json_object_get(one, "outputs")), *have = tl_json_canonical(outputs);
    if (!want || !have || strcmp(want, have) != 0)
        fail_msg("%s, %s:\n  golden %s\n  now    %s", path, tl_json_str(one, "name"), want ? want : "nothing",
                 have ? have : "nothing");
}

static void run_case(const char *path, const char *op, json_t *one)
{
    int err = 0;
    json_t *params = json_incref(json_object_get(one, "params")), *inputs = json_incref(json_object_get(one, "inputs"));
    TL_AUTO_JSON json_t *outputs = craft_op(op, params, inputs, &err);
    const char *error = tl_json_str(one, "error");
    if (writing()) {
        json_object_del(one, "outputs");
        json_object_del(one, "error");
        if (err)
            json_object_set_new(one, "error", json_string(tl_err_code(err)));
        else
            json_object_set(one, "outputs", outputs);
    } else if (error || err) {
        if (!error || !err || strcmp(error, tl_err_code(err)) != 0)
            fail_msg("%s, %s: ended with %s, golden is %s", path, tl_json_str(one, "name"),
                     err ? tl_err_code(err) : "outputs", error ? error : "outputs");
    } else {
        compare(path, one, outputs);
    }
}

static void test_golden(void **state)
{
    (void)state;
    size_t count, cases = 0, files = 0;
    const struct tl_op *const *ops = tl_cap_ops(&count);
    for (size_t i = 0; i < count; i++) {
        char path[128];
        bool other = false;
        for (size_t k = 0; k < TL_ARRAY_LEN(elsewhere); k++)
            other = other || strcmp(ops[i]->name, elsewhere[k]) == 0;
        if (other)
            continue;
        snprintf(path, sizeof(path), "tests/golden/%s.json", ops[i]->name);
        TL_AUTO_JSON json_t *file = craft_file(path);
        assert_string_equal(tl_json_str(file, "op"), ops[i]->name);
        json_t *list = json_object_get(file, "cases");
        if (json_array_size(list) < 2)
            fail_msg("%s: an op has at least two cases", path);
        for (size_t k = 0; k < json_array_size(list); k++)
            run_case(path, ops[i]->name, json_array_get(list, k));
        if (writing())
            write_file(path, file);
        cases += json_array_size(list);
        files++;
    }
    print_message("%zu ops, %zu cases\n", files, cases);
}

/* A file that belongs to no op would be a test that nobody runs. */
static void test_no_strays(void **state)
{
    (void)state;
    DIR *dir = opendir("tests/golden");
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char name[256];
        snprintf(name, sizeof(name), "%s", e->d_name);
        char *dot = strrchr(name, '.');
        if (!dot || strcmp(dot, ".json") != 0)
            continue;
        *dot = '\0';
        if (!tl_cap_find_op(NULL, name))
            fail_msg("tests/golden/%s.json belongs to no op", name);
    }
    closedir(dir);
}

/* bsearch relies on it; and the table is what node-types and the documentation are made of. */
static void test_table(void **state)
{
    (void)state;
    size_t count;
    const struct tl_op *const *ops = tl_cap_ops(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(tl_cap_find_op(NULL, ops[i]->name), ops[i]);
        assert_true(i == 0 || strcmp(ops[i - 1]->name, ops[i]->name) < 0);
        assert_true(ops[i]->revision > 0 && ops[i]->run && ops[i]->title && ops[i]->doc);
        for (const struct tl_port *p = ops[i]->ports; p && p->name; p++) {
            if (!p->doc)
                fail_msg("%s: the port %s says nothing of itself", ops[i]->name, p->name);
        }
        for (const struct tl_param *p = ops[i]->params; p && p->name; p++) {
            if (!p->doc)
                fail_msg("%s: the parameter %s says nothing of itself", ops[i]->name, p->name);
            if (!p->default_json)
                continue;
            TL_AUTO_JSON json_t *j = craft_json(p->default_json);
            if (p->type == TL_P_NUMBER && !(json_number_value(j) >= p->min && json_number_value(j) <= p->max))
                fail_msg("%s: the default of %s is outside its range", ops[i]->name, p->name);
        }
    }
    assert_null(tl_cap_find_op(NULL, "no.such.op"));
    assert_null(tl_cap_find_op(NULL, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_no_strays),
    };
    return cmocka_run_group_tests(tests, craft_setup, craft_teardown);
}

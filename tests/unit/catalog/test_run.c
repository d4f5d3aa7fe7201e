/* The built-in capsules through the whole house: sealed, opened, run by the executor, past the membrane, into the
 * journal. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "capsules/doors.h"
#include "capsules/membrane.h"
#include "catalog/builtin.h"
#include "catalog/catalog.h"
#include "graph/run.h"
#include "tests/unit/capsules/keys.h"

#include <pthread.h>
#include <time.h>

static struct tl_services services;
static struct tl_catalog *cat;
static struct tl_exec *exec;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int ended;

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool end)
{
    (void)arg, (void)run, (void)seq;
    pthread_mutex_lock(&lock);
    ended += end;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static int setup(void **state)
{
    if (keys_setup(state))
        return -1;
    memset(&services, 0, sizeof(services));
    services.db = keys_db;
    if (tl_cat_open(keys_db, keys_kr, &services, &cat, NULL))
        return -1;
    struct tl_exec_conf conf = {.threads = 2,
                                .db = keys_db,
                                .services = &services,
                                .replan = tl_cap_replan,
                                .cache_key = tl_cap_cache_key,
                                .complete = tl_cap_complete,
                                .notify = notify,
                                .arg = &services};
    ended = 0;
    return tl_exec_new(&conf, &exec);
}

static int teardown(void **state)
{
    tl_exec_free(exec);
    tl_cat_close(cat);
    return keys_teardown(state);
}

static struct tl_id start(const char *body_text)
{
    TL_AUTO_JSON json_t *body = NULL, *doc = NULL, *meta = NULL;
    struct tl_plan *plan = NULL;
    struct tl_diag diag = {0};
    struct tl_id id;
    assert_int_equal(tl_json_parse(body_text, strlen(body_text), &body, NULL), 0);
    int err = tl_cap_call_plan(&services, "acme", body, NULL, false, &doc, &meta, &plan, &diag);
    if (err)
        fail_msg("%d %s: %s", err, diag.count ? diag.items[0].path : "", diag.count ? diag.items[0].message : "");
    struct tl_run_req req = {
        .org = "acme", .sub = "t", .kind = TL_KIND_CAPSULE, .doc = doc, .plan = plan, .meta = meta};
    assert_int_equal(tl_run_start_wait(exec, &req, &id), 0);
    tl_plan_unref(plan);
    return id;
}

static void wait_ended(int count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&lock);
    while (ended < count && pthread_cond_timedwait(&cond, &lock, &until) == 0) {
    }
    bool got = ended >= count;
    pthread_mutex_unlock(&lock);
    assert_true(got);
}

static char *journal;
static size_t journal_len;

static int add_event(void *arg, uint64_t seq, const char *json, size_t len)
{
    (void)arg, (void)seq;
    journal = realloc(journal, journal_len + len + 1);
    assert_non_null(journal);
    memcpy(journal + journal_len, json, len);
    journal_len += len;
    return 0;
}

/* The first private text that stands in the journal, or NULL. Short ones are words that stand everywhere. */
static const char *leaked_from(const json_t *j)
{
    const char *key, *found = NULL;
    json_t *v;
    if (json_is_string(j) && json_string_length(j) >= 40 &&
        memmem(journal, journal_len, json_string_value(j), json_string_length(j)))
        return json_string_value(j);
    for (size_t i = 0; i < json_array_size(j) && !found; i++)
        found = leaked_from(json_array_get(j, i));
    json_object_foreach((json_t *)(uintptr_t)j, key, v)
        found = found ? found : leaked_from(v);
    return found;
}

static bool leaked(void)
{
    bool any = false;
    for (size_t i = 0; i < tl_builtin_count; i++)
        if (tl_builtin_files[i].kind == TL_BUILTIN_PRIVATE) {
            const struct tl_builtin_file *f = &tl_builtin_files[i];
            json_t *j = NULL;
            assert_int_equal(tl_json_parse(f->data, (size_t)(f->end - f->data), &j, NULL), 0);
            const char *text = leaked_from(j);
            any = any || text;
            json_decref(j);
        }
    return any;
}

static void check_result(const char *id, const json_t *record)
{
    static const char *const outputs[] = {"style_vector", "palette", "composition_hints", "pacing_hints"};
    const json_t *result = json_object_get(record, "result"), *summary = json_object_get(result, "summary"),
                 *refs = json_object_get(result, "evidence_refs");
    TL_AUTO_FREE char *text = tl_json_text(record);
    if (strcmp(tl_json_str(record, "status"), "done") != 0)
        fail_msg("%s: %s", id, text);
    for (size_t i = 0; i < 4; i++)
        if (json_array_size(json_object_get(summary, outputs[i])) == 0)
            fail_msg("%s gives no %s: %s", id, outputs[i], text);
    assert_int_equal(json_array_size(json_object_get(summary, "style_vector")), 12);
    if (json_object_get(summary, "output_warnings") || json_object_get(summary, "evidence_warnings"))
        fail_msg("%s: the membrane held something back: %s", id, text);
    assert_string_equal(tl_json_str(summary, "pattern_version"), "v1");
    size_t patterns = 0, rows = 0;
    for (size_t i = 0; i < json_array_size(refs); i++) {
        const char *ref = json_string_value(json_array_get(refs, i));
        assert_true(tl_evidence_ref_valid(ref));
        patterns += strncmp(ref, "db:patterns:", 12) == 0;
        rows += strncmp(ref, "sheet:CREBIT_DERIVED_INSIGHTS:", 30) == 0;
    }
    assert_true(patterns >= 1);
    assert_int_equal(rows, 1);
}

static const char *const ids[] = {"auteur.bong-joon-ho", "auteur.hong-sangsoo",   "auteur.lee-junho",
                                  "auteur.na-hongjin",   "auteur.park-chan-wook", "auteur.shinkai"};
static const char *const scenes[] = {
    "",
    ",\"inputs\":{\"emotion_curve\":[0.1,0.3,0.9,0.2],\"duration_sec\":24,\"scene_summary\":\"Rain floods the basement "
    "at night; the family runs down the stairs.\"}",
    ",\"inputs\":{\"scene_summary\":\"비 오는 밤, 두 사람이 술집에서 말없이 마주 앉아 "
    "있다.\"},\"params\":{\"style_intensity\":1.0,\"persona_priority\":\"blended\"}",
};

static void every_auteur_gives_its_whole_summary(void **state)
{
    (void)state;
    int runs = 0;
    journal = NULL;
    journal_len = 0;
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < TL_ARRAY_LEN(scenes); k++) {
            char body[600];
            snprintf(body, sizeof(body), "{\"capsule_id\":\"%s\",\"capsule_version\":\"1.0.0\"%s}", ids[i], scenes[k]);
            struct tl_id id = start(body);
            wait_ended(++runs);
            TL_AUTO_JSON json_t *record = NULL;
            assert_int_equal(tl_run_get(keys_db, "acme", &id, &record), 0);
            check_result(ids[i], record);
            assert_int_equal(tl_events_read(keys_db, &id, 0, add_event, NULL), 0);
        }
    assert_false(leaked());
    free(journal);
}

/* The scan sees a leak: one private prompt in the middle of a journal. */
static void a_planted_leak_is_seen(void **state)
{
    (void)state;
    const struct tl_builtin_file *f = tl_builtin_files;
    while (f->kind != TL_BUILTIN_PRIVATE)
        f++;
    json_t *j = NULL;
    const char *prompt = NULL;
    assert_int_equal(tl_json_parse(f->data, (size_t)(f->end - f->data), &j, NULL), 0);
    const json_t *nodes = json_object_get(j, "nodes");
    for (size_t i = 0; i < json_array_size(nodes) && !prompt; i++)
        prompt = tl_json_str(json_object_get(json_object_get(json_array_get(nodes, i), "data"), "params"), "prompt");
    assert_non_null(prompt);
    journal = NULL;
    journal_len = 0;
    add_event(NULL, 1, "{\"message\":\"", 12);
    add_event(NULL, 1, prompt, strlen(prompt));
    add_event(NULL, 1, "\"}", 2);
    assert_true(leaked());
    json_decref(j);
    free(journal);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(every_auteur_gives_its_whole_summary), T(a_planted_leak_is_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

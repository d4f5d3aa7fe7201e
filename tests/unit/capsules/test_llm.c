/* The language model and the op llm.chat, against a model in this program that answers by a script: streamed, whole, late, malformed, too busy. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/llm.h"
#include "capsules/services.h"
#include "graph/run.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct tl_op tl_op_llm_chat;

/* The model: each connection gets the next answer of the script; a NULL answer is never given. */
static int listener = -1, port;
static pthread_t server;
static const char *const *script;
static _Atomic int asked;
static char request[1 << 20];
static sem_t seen;

#define OK_STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define DELTA(text) "data: {\"choices\":[{\"delta\":{\"content\":" text "}}]}\n\n"
#define USAGE "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\r\n\r\ndata: [DONE]\n\n"

static void read_request(int fd)
{
    size_t len = 0, want = 0;
    for (;;) {
        ssize_t n = recv(fd, request + len, sizeof(request) - 1 - len, 0);
        if (n <= 0)
            return;
        len += (size_t)n;
        request[len] = '\0';
        const char *end = strstr(request, "\r\n\r\n"), *cl = strstr(request, "Content-Length: ");
        if (end && cl)
            want = strtoul(cl + 16, NULL, 10);
        if (end && len >= (size_t)(end + 4 - request) + want)
            return;
    }
}

static void *serve(void *arg)
{
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        read_request(fd);
        const char *answer = script[atomic_fetch_add(&asked, 1)];
        sem_post(&seen);
        char c;
        if (!answer)
            while (recv(fd, &c, 1, 0) > 0)
                ;
        else if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            break;
        close(fd);
    }
    return arg;
}

static struct tl_net *net;
static struct tl_llm *llm;
static struct tl_services services;

static void configure(long timeout_ms)
{
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1", port);
    setenv("TALOS_LLM_URL", url, 1);
    setenv("TALOS_LLM_MODEL", "tiny", 1);
    setenv("TALOS_LLM_USD_PER_MTOK_IN", "2", 1);
    setenv("TALOS_LLM_USD_PER_MTOK_OUT", "10.5", 1);
    struct tl_llm_conf conf;
    assert_int_equal(tl_llm_conf_env(&conf, NULL), 0);
    conf.timeout_ms = timeout_ms ? timeout_ms : conf.timeout_ms;
    const char *const trusted[] = {conf.host_port, NULL};
    assert_int_equal(tl_net_new(&(struct tl_net_policy){.trusted = trusted}, &net), 0);
    assert_int_equal(tl_llm_new(&conf, net, &llm), 0);
    assert_null(conf.url);
    services.llm = llm;
    atomic_store(&asked, 0);
    while (sem_trywait(&seen) == 0)
        ;
}

static void unconfigure(void)
{
    tl_net_free(net);
    tl_llm_free(llm);
    services.llm = NULL;
    net = NULL;
    llm = NULL;
}

static int start(void **state)
{
    (void)state;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    sem_init(&seen, 0, 0);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 64) < 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) < 0)
        return -1;
    port = ntohs(a.sin_port);
    return pthread_create(&server, NULL, serve, NULL);
}

static int stop(void **state)
{
    (void)state;
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    return 0;
}

struct result {
    sem_t ended;
    int times, err;
    char text[512];
    bool cut;
    int64_t in, out;
    double usd;
};

static void done(void *arg, int err, const struct tl_llm_answer *a)
{
    struct result *r = arg;
    r->times++;
    r->err = err;
    assert_int_equal(err != 0, a == NULL);
    if (a) {
        snprintf(r->text, sizeof(r->text), "%s", a->text);
        r->cut = a->cut;
        r->in = a->tokens_in;
        r->out = a->tokens_out;
        r->usd = a->cost_usd;
    }
    sem_post(&r->ended);
}

static void ask(const char *const *answers, struct result *r)
{
    script = answers;
    atomic_store(&asked, 0);
    memset(r, 0, sizeof(*r));
    sem_init(&r->ended, 0, 0);
    struct tl_llm_req req = {
        .system = "be \"brief\"", .prompt = "who?", .max_tokens = 7, .temperature = 0.5, .json = true, .key = "k-1", .arg = r, .done = done};
    unsigned long h;
    assert_int_equal(tl_llm_ask(llm, &req, &h), 0);
    while (sem_wait(&r->ended) < 0)
        ;
    assert_int_equal(r->times, 1);
}

static void answers_in_every_form(void **state)
{
    (void)state;
    struct result r;
    configure(0);
    ask((const char *[]){OK_STREAM ": hello\n\nevent: x\n" DELTA("\"Bong \"") "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"
                         DELTA("\"\\ubd09\\n\"") DELTA("null") USAGE, NULL}, &r);
    assert_int_equal(r.err, 0);
    assert_string_equal(r.text, "Bong 봉\n");
    assert_int_equal(r.in, 20);
    assert_int_equal(r.out, 5);
    assert_true(r.usd > 0.0000924 && r.usd < 0.0000926); /* (20 · 2 + 5 · 10.5) / 1e6 */
    assert_false(r.cut);
    assert_memory_equal(request, "POST /v1/chat/completions HTTP/1.1\r\n", 36);
    assert_non_null(strstr(request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(request, "\r\nIdempotency-Key: k-1\r\n"));
    assert_null(strstr(request, "Authorization"));
    TL_AUTO_JSON json_t *j = NULL;
    const char *body = strstr(request, "\r\n\r\n") + 4;
    assert_int_equal(tl_json_parse(body, strlen(body), &j, NULL), 0);
    assert_string_equal(tl_json_str(j, "model"), "tiny");
    assert_true(tl_json_bool(j, "stream", false));
    assert_int_equal(tl_json_int(j, "max_tokens", 0), 7);
    assert_string_equal(tl_json_str(json_array_get(json_object_get(j, "messages"), 0), "content"), "be \"brief\"");
    assert_string_equal(tl_json_str(json_array_get(json_object_get(j, "messages"), 1), "content"), "who?");
    assert_string_equal(tl_json_str(json_object_get(j, "response_format"), "type"), "json_object");
    ask((const char *[]){OK_JSON "{\"choices\":[{\"message\":{\"content\":\"whole\"},\"finish_reason\":\"length\"}]}", NULL}, &r);
    assert_int_equal(r.err, 0);
    assert_string_equal(r.text, "whole");
    assert_true(r.cut);
    assert_int_equal(r.in, 4); /* no usage said: 14 bytes asked, 5 answered */
    assert_int_equal(r.out, 2);
    ask((const char *[]){OK_STREAM DELTA("\"a\"") "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}", NULL}, &r);
    assert_string_equal(r.text, "ab"); /* the last line has no end */
    unconfigure();
}

static struct tl_str big; /* the server may still send it */

static void models_that_fail(void **state)
{
    (void)state;
    static const struct {
        const char *answers[4];
        int err, asked;
    } cases[] = {
        {{"HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", OK_STREAM DELTA("\"x\"")}, 0, 2},
        {{"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nConnection: close\r\n\r\n" DELTA("\"not this\""),
          "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nConnection: close\r\n\r\n", OK_STREAM DELTA("\"x\"")}, 0, 3},
        {{"HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nConnection: close\r\n\r\n", "HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nConnection: close\r\n\r\n",
          "HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nConnection: close\r\n\r\n", OK_STREAM DELTA("\"x\"")}, TL_ERATE, 3},
        {{"HTTP/1.1 429 Busy\r\nRetry-After: 9999\r\nConnection: close\r\n\r\n", OK_STREAM DELTA("\"x\"")}, TL_ERATE, 1},
        {{"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n"}, TL_ETRANSIENT_IO, 1},
        {{"HTTP/1.1 401 No\r\nConnection: close\r\n\r\n{\"error\":{}}"}, TL_ESCHEMA, 1},
        {{"HTTP/1.1 302 Go\r\nLocation: /x\r\nConnection: close\r\n\r\n"}, TL_ESCHEMA, 1},
        {{OK_STREAM}, TL_ESCHEMA, 1},
        {{OK_STREAM "data: [DONE]\n\n"}, TL_ESCHEMA, 1},
        {{OK_STREAM DELTA("\"x\"") "data: {oh\n\n"}, TL_ESCHEMA, 1},
        {{OK_JSON "no JSON"}, TL_ESCHEMA, 1},
        {{OK_JSON "[1]"}, TL_ESCHEMA, 1},
        {{OK_JSON "{\"choices\":{\"0\":1}}"}, TL_ESCHEMA, 1},
        {{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" DELTA("\"x\"")}, TL_ETRANSIENT_IO, 1},
        {{NULL}, TL_ETIMEOUT, 1},
    };
    configure(1500);
    for (size_t i = 0; i < TL_ARRAY_LEN(cases); i++) {
        struct result r;
        ask(cases[i].answers, &r);
        if (r.err != cases[i].err || asked != cases[i].asked)
            fail_msg("case %zu: err %d after %d tries", i, r.err, (int)asked);
        if (!r.err)
            assert_string_equal(r.text, "x");
    }
    struct result r;
    tl_str_puts(&big, OK_STREAM);
    for (int i = 0; i < 300; i++) {
        tl_str_puts(&big, "data: {\"choices\":[{\"delta\":{\"content\":\"");
        for (int k = 0; k < 1000; k++)
            tl_str_puts(&big, "x");
        tl_str_puts(&big, "\"}}]}\n\n");
    }
    ask((const char *[]){big.data, NULL}, &r);
    assert_int_equal(r.err, TL_ETOOBIG);
    unconfigure();
}

static void cancels_and_bounds(void **state)
{
    (void)state;
    struct result r = {.times = 0};
    unsigned long h;
    configure(0);
    static const char *const never[] = {NULL, "HTTP/1.1 429 Busy\r\nRetry-After: 10\r\nConnection: close\r\n\r\n", NULL};
    script = never;
    sem_init(&r.ended, 0, 0);
    struct tl_llm_req req = {.prompt = "who?", .max_tokens = 7, .arg = &r, .done = done};
    for (int i = 0; i < 2; i++) { /* while the model thinks, and while a repetition waits */
        assert_int_equal(tl_llm_ask(llm, &req, &h), 0);
        sem_wait(&seen);
        tl_llm_cancel(llm, h);
        sem_wait(&r.ended);
        assert_int_equal(r.err, TL_ECANCELLED);
    }
    tl_llm_cancel(llm, h);
    tl_llm_cancel(llm, 12345);
    assert_int_equal(r.times, 2);
    char *long_prompt = tl_calloc(TL_LLM_PROMPT_MAX + 2, 1);
    memset(long_prompt, 'x', TL_LLM_PROMPT_MAX + 1);
    req.prompt = long_prompt;
    assert_int_equal(tl_llm_ask(llm, &req, &h), TL_ETOOBIG);
    free(long_prompt);
    assert_int_equal(r.times, 2);
    unconfigure();
}

static void configuration(void **state)
{
    (void)state;
    static const char *const urls[][2] = {{"http://h:1", "http://h:1/v1/chat/completions"}, {"http://h:1/", "http://h:1/v1/chat/completions"},
                                          {"http://h:1/v1/", "http://h:1/v1/chat/completions"},
                                          {"https://h/api/v1", "https://h/api/v1/chat/completions"},
                                          {"https://h/x/chat/completions", "https://h/x/chat/completions"}};
    struct tl_llm_conf c;
    struct tl_llm *none;
    unsetenv("TALOS_LLM_URL");
    assert_int_equal(tl_llm_conf_env(&c, NULL), 0);
    assert_null(c.url);
    assert_int_equal(tl_llm_new(&c, NULL, &none), TL_ENOTCONFIGURED);
    setenv("TALOS_LLM_MODEL", "m", 1);
    for (size_t i = 0; i < TL_ARRAY_LEN(urls); i++) {
        setenv("TALOS_LLM_URL", urls[i][0], 1);
        assert_int_equal(tl_llm_conf_env(&c, NULL), 0);
        assert_string_equal(c.url, urls[i][1]);
        tl_llm_conf_clear(&c);
    }
    struct tl_diag diag = {0};
    setenv("TALOS_LLM_URL", "file:///etc/passwd", 1);
    setenv("TALOS_LLM_MODEL", "", 1);
    setenv("TALOS_LLM_USD_PER_MTOK_IN", "cheap", 1);
    setenv("TALOS_LLM_USD_PER_MTOK_OUT", "-1", 1);
    setenv("TALOS_LLM_TIMEOUT_MS", "0", 1);
    setenv("TALOS_LLM_KEY_FILE", "/nonexistent/key", 1);
    assert_int_equal(tl_llm_conf_env(&c, &diag), TL_EINVAL);
    assert_null(c.url);
    assert_int_equal(diag.count, 6); /* all at once */
    tl_diag_clear(&diag);
    unsetenv("TALOS_LLM_TIMEOUT_MS");
    char path[] = "/tmp/talos-key-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "sk-123\n", 7), 7);
    setenv("TALOS_LLM_KEY_FILE", path, 1);
    configure(0);
    struct result r;
    ask((const char *[]){OK_STREAM DELTA("\"x\""), NULL}, &r);
    assert_int_equal(r.err, 0);
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer sk-123\r\n"));
    unconfigure();
    assert_int_equal(pwrite(fd, "sk 1\r\nX: y", 10, 0), 10);
    close(fd);
    assert_int_equal(tl_llm_conf_env(&c, NULL), TL_EINVAL);
    unlink(path);
    unsetenv("TALOS_LLM_KEY_FILE");
}

/* The op, in a graph of its own under the real executor. */
static char dir[] = "/tmp/talos-llm-XXXXXX";
static struct tl_db *db;
static struct tl_exec *exec;
static sem_t ended;

static const struct tl_op *find_op(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "llm.chat") == 0 ? &tl_op_llm_chat : NULL;
}

static int replan(void *arg, const char *org, const char *kind, json_t *graph, struct tl_plan **ret, struct tl_diag *diag)
{
    static const struct tl_graph_env env = {.find_op = find_op, .allow_private = true};
    (void)arg, (void)org, (void)kind;
    return tl_plan_json(graph, &env, NULL, 0, ret, diag);
}

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool over)
{
    (void)arg, (void)run, (void)seq;
    if (over)
        sem_post(&ended);
}

static json_t *output_seen, *used_seen;
static int64_t tokens_seen;

static int complete(void *arg, const struct tl_run *run, struct tl_str *payload)
{
    struct tl_usage usage;
    int64_t ms;
    (void)arg, (void)payload;
    tl_run_usage(run, &usage, &ms);
    tokens_seen = usage.tokens_in + usage.tokens_out;
    output_seen = tl_value_json(tl_run_output(run, "a", "result"));
    used_seen = tl_value_json(tl_run_output(run, "a", "used_model"));
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static int op_setup(void **state)
{
    (void)state;
    sem_init(&ended, 0, 0);
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (!mkdtemp(dir) || tl_db_open(dir, TL_DB_CREATE, &db) < 0)
        return -1;
    struct tl_exec_conf conf = {.threads = 2, .db = db, .services = &services, .replan = replan, .complete = complete, .notify = notify};
    return tl_exec_new(&conf, &exec);
}

static int op_teardown(void **state)
{
    (void)state;
    tl_exec_free(exec);
    tl_db_close(db);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct tl_id start_op(const char *params, const char *inputs)
{
    struct tl_str s = {0};
    tl_str_printf(&s, "{\"nodes\":[{\"id\":\"a\",\"type\":\"llm.chat\",\"data\":{\"params\":%s,\"inputs\":%s}}],\"edges\":[]}", params, inputs);
    TL_AUTO_JSON json_t *graph = NULL;
    assert_int_equal(tl_json_parse(s.data, s.len, &graph, NULL), 0);
    tl_str_clear(&s);
    struct tl_plan *plan;
    assert_int_equal(replan(NULL, NULL, NULL, graph, &plan, NULL), 0);
    struct tl_run_req req = {.org = "o", .sub = "s", .kind = "canvas", .doc = graph, .plan = plan};
    struct tl_id id;
    json_decref(output_seen);
    json_decref(used_seen);
    output_seen = used_seen = NULL;
    tokens_seen = -1;
    assert_int_equal(tl_run_start_wait(exec, &req, &id), 0);
    tl_plan_unref(plan);
    return id;
}

/* Runs the op; wants its result as compact JSON ("" for a failed run) and whether the model's was used. */
static void expect(const char *answer, const char *params, const char *inputs, const char *result, bool used)
{
    script = (const char *[]){answer, NULL};
    atomic_store(&asked, 0);
    start_op(params, inputs);
    sem_wait(&ended);
    TL_AUTO_FREE char *got = output_seen ? tl_json_text(output_seen) : tl_strdup("");
    if (strcmp(got, result) != 0 || json_is_true(used_seen) != used)
        fail_msg("%s: got %s, used_model %d", params, got, json_is_true(used_seen));
}

static void op_without_a_model(void **state)
{
    (void)state;
    services.llm = NULL;
    expect(NULL, "{\"prompt\":\"x\"}", "{\"local\":\"here\"}", "\"here\"", false);
    expect(NULL, "{\"prompt\":\"x\"}", "{\"local\":[1,2]}", "[1,2]", false);
    expect(NULL, "{\"prompt\":\"x\",\"schema\":{\"a\":1}}", "{\"local\":1}", "", false);
    expect(NULL, "{\"prompt\":\"x\",\"schema\":[{\"name\":\"a\",\"type\":\"colour\"}]}", "{\"local\":1}", "", false);
    assert_int_equal(asked, 0);
}

#define JSON_PARAMS "{\"prompt\":\"x\",\"format\":\"json\",\"schema\":[{\"name\":\"tone\",\"type\":\"string\"},{\"name\":\"v\",\"type\":\"float[]\"}]}"

static void op_with_a_model(void **state)
{
    (void)state;
    configure(0);
    expect(OK_STREAM DELTA("\"hi\"") USAGE, "{\"system\":\"You are {{ who }}.\",\"prompt\":\"A {{name}} b {{n}} {{absent}}{{ list }}{{open\"}",
           "{\"local\":\"here\",\"input\":{\"name\":\"{{n}}\",\"n\":1.5,\"list\":[1,\"a\"],\"who\":\"Park \\\"Chan-wook\\\"\"}}", "\"hi\"", true);
    assert_int_equal(tokens_seen, 25);
    TL_AUTO_JSON json_t *j = NULL;
    const char *body = strstr(request, "\r\n\r\n") + 4;
    assert_int_equal(tl_json_parse(body, strlen(body), &j, NULL), 0);
    const json_t *messages = json_object_get(j, "messages");
    assert_string_equal(tl_json_str(json_array_get(messages, 0), "content"), "You are Park \"Chan-wook\".");
    assert_string_equal(tl_json_str(json_array_get(messages, 1), "content"), "A {{n}} b 1.5 [1,\"a\"]{{open");
    /* JSON: fenced, with more than was asked for; then without what was asked for */
    expect(OK_STREAM DELTA("\"```json\\n{\\\"tone\\\":\\\"cold\\\",\\\"v\\\":[0.5],\\\"x\\\":1}\\n```\""), JSON_PARAMS, "{\"local\":{\"tone\":\"warm\"}}",
           "{\"tone\":\"cold\",\"v\":[0.5]}", true);
    static const char *const wrong[] = {OK_STREAM DELTA("\"{\\\"tone\\\":\\\"cold\\\"}\""), OK_STREAM DELTA("\"{\\\"tone\\\":1,\\\"v\\\":[]}\""),
                                        OK_STREAM DELTA("\"no object\""), OK_STREAM DELTA("\"} {\""), OK_STREAM DELTA("\"{\\\"tone\\\":\""),
                                        OK_JSON "{\"choices\":[{\"message\":{\"content\":\"{\\\"tone\\\":\\\"c\\\",\\\"v\\\":[1]}\"},\"finish_reason\":\"length\"}]}",
                                        "HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n"};
    for (size_t i = 0; i < TL_ARRAY_LEN(wrong); i++)
        expect(wrong[i], JSON_PARAMS, "{\"local\":{\"tone\":\"warm\"}}", "{\"tone\":\"warm\"}", false);
    assert_int_equal(tokens_seen, 0);
    expect(OK_STREAM DELTA("\"text\""), "{\"prompt\":\"x\"}", "{\"local\":{\"a\":1}}", "{\"a\":1}", false); /* another type than local's */
    assert_true(tokens_seen > 0); /* paid for all the same */
    unconfigure();
}

static void op_is_cancelled(void **state)
{
    (void)state;
    configure(0);
    script = (const char *[]){NULL};
    struct tl_id id = start_op("{\"prompt\":\"x\"}", "{\"local\":\"here\"}");
    sem_wait(&seen);
    assert_int_equal(tl_run_cancel(exec, "o", &id, "enough"), 0);
    sem_wait(&ended);
    TL_AUTO_JSON json_t *record = NULL;
    assert_int_equal(tl_run_get(db, "o", &id, &record), 0);
    assert_string_equal(tl_json_str(record, "status"), "cancelled");
    assert_null(output_seen);
    unconfigure();
}

static int group_stop(void **state)
{
    json_decref(output_seen);
    json_decref(used_seen);
    int err = stop(state);
    tl_str_clear(&big);
    return err;
}

int main(void)
{
    if (tl_hash_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_every_form),
        cmocka_unit_test(models_that_fail),
        cmocka_unit_test(cancels_and_bounds),
        cmocka_unit_test(configuration),
        cmocka_unit_test_setup_teardown(op_without_a_model, op_setup, op_teardown),
        cmocka_unit_test_setup_teardown(op_with_a_model, op_setup, op_teardown),
        cmocka_unit_test_setup_teardown(op_is_cancelled, op_setup, op_teardown),
    };
    return cmocka_run_group_tests(tests, start, group_stop);
}

#include "capsules/llm.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/secret.h"
#include "net/net.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    STREAM_MAX = 16 * TL_LLM_TEXT_MAX, /* bytes on the wire: each delta is wrapped in JSON */
    LINE_MAX_BYTES = 64 * 1024,
    FIRST_PAUSE_MS = 500,
    LONGEST_PAUSE_MS = 10000,
};

struct tl_llm {
    struct tl_llm_conf conf;
    struct tl_net *net;
    char *auth; /* header line; NULL without a key */
    pthread_mutex_t lock;
    struct call *calls;
    unsigned long next_handle;
};

/* One question, over all its tries. */
struct call {
    struct call *next;
    struct tl_llm *llm;
    unsigned long handle, net_handle; /* net_handle and cancelled under llm->lock */
    bool cancelled;
    void *arg;
    void (*done)(void *arg, int err, const struct tl_llm_answer *answer);
    char *body, *key; /* key: the header line of the Idempotency-Key, or NULL */
    size_t body_len, asked_bytes;
    int64_t deadline_us;
    int tries;
    long retry_after_ms; /* what the model asked for, or -1 */
    struct tl_str line, text,
        whole; /* the current line, the answer so far, and all bytes as long as no event was seen */
    bool streamed, cut;
    int64_t tokens_in, tokens_out;
};

static bool price(const char *name, double *ret, struct tl_diag *diag)
{
    const char *s = getenv(name);
    char *end;
    *ret = 0;
    if (!s || !*s)
        return true;
    *ret = strtod(s, &end);
    if (*end == '\0' && isfinite(*ret) && *ret >= 0)
        return true;
    tl_diag_add(diag, NULL, name, NULL, "%s must be a number of dollars, 0 or more", name);
    return false;
}

/* The whole endpoint from what the operator wrote: a server, its /v1, or the endpoint itself. */
static char *endpoint(const char *url)
{
    struct tl_str s = {0};
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    static const char tail[] = "/chat/completions", version[] = "/v1";
    tl_str_add(&s, url, n);
    if (n < sizeof(tail) || memcmp(url + n - (sizeof(tail) - 1), tail, sizeof(tail) - 1) != 0) {
        if (n < sizeof(version) || memcmp(url + n - (sizeof(version) - 1), version, sizeof(version) - 1) != 0)
            tl_str_puts(&s, version);
        tl_str_puts(&s, tail);
    }
    return tl_str_take(&s);
}

static int read_key(const char *path, char **ret, struct tl_diag *diag)
{
    int err = tl_secret_read(path, ret);
    if (!err && strchr(*ret, ' ')) {
        tl_secret_free(*ret);
        *ret = NULL;
        err = TL_EINVAL;
    }
    if (err == TL_EINVAL)
        tl_diag_add(diag, NULL, "TALOS_LLM_KEY_FILE", NULL,
                    "the key file cannot be read, or does not hold one line of at most %d visible characters",
                    TL_SECRET_MAX);
    return err;
}

int tl_llm_conf_env(struct tl_llm_conf *ret, struct tl_diag *diag)
{
    const char *url = getenv("TALOS_LLM_URL"), *model = getenv("TALOS_LLM_MODEL"), *key = getenv("TALOS_LLM_KEY_FILE"),
               *timeout = getenv("TALOS_LLM_TIMEOUT_MS");
    *ret = (struct tl_llm_conf){.timeout_ms = TL_LLM_TIMEOUT_MS};
    if (!url || !*url)
        return 0;
    int err = 0;
    if (!model || !*model || !tl_utf8_valid(model, strlen(model)))
        err = tl_diag_add(diag, NULL, "TALOS_LLM_MODEL", NULL, "TALOS_LLM_MODEL must name the model to ask");
    if (!price("TALOS_LLM_USD_PER_MTOK_IN", &ret->usd_in, diag))
        err = TL_EINVAL;
    if (!price("TALOS_LLM_USD_PER_MTOK_OUT", &ret->usd_out, diag))
        err = TL_EINVAL;
    char *end = NULL;
    if (timeout && *timeout)
        ret->timeout_ms = strtol(timeout, &end, 10);
    if (ret->timeout_ms < 1 || ret->timeout_ms > 3600000 || (end && *end))
        err =
            tl_diag_add(diag, NULL, "TALOS_LLM_TIMEOUT_MS", NULL, "TALOS_LLM_TIMEOUT_MS must be between 1 and 3600000");
    int key_err = key && *key ? read_key(key, &ret->key, diag) : 0;
    ret->url = endpoint(url);
    ret->host_port = ret->url ? tl_net_host_port(ret->url) : NULL;
    if (ret->url && !ret->host_port)
        err = tl_diag_add(diag, NULL, "TALOS_LLM_URL", NULL, "TALOS_LLM_URL must be an http or https address");
    ret->model = tl_strdup(model);
    err = err ? err : key_err ? key_err : ret->url && ret->model ? 0 : TL_ENOMEM;
    if (err)
        tl_llm_conf_clear(ret);
    return err;
}

void tl_llm_conf_clear(struct tl_llm_conf *conf)
{
    if (!conf)
        return;
    tl_secret_free(conf->key);
    free(conf->url);
    free(conf->host_port);
    free(conf->model);
    *conf = (struct tl_llm_conf){0};
}

int tl_llm_new(struct tl_llm_conf *conf, struct tl_net *net, struct tl_llm **ret)
{
    *ret = NULL;
    struct tl_llm *llm = tl_calloc(1, sizeof(*llm));
    int err = !conf->url || !net ? TL_ENOTCONFIGURED : llm ? 0 : TL_ENOMEM;
    if (!err && conf->key) {
        struct tl_str s = {0};
        tl_str_printf(&s, "Authorization: Bearer %s", conf->key);
        llm->auth = tl_str_take(&s);
        err = llm->auth ? 0 : TL_ENOMEM;
    }
    if (err) {
        free(llm);
        tl_llm_conf_clear(conf);
        return err;
    }
    llm->conf = *conf;
    *conf = (struct tl_llm_conf){0};
    llm->net = net;
    pthread_mutex_init(&llm->lock, NULL);
    *ret = llm;
    return 0;
}

void tl_llm_free(struct tl_llm *llm)
{
    if (!llm)
        return;
    tl_secret_free(llm->auth);
    tl_llm_conf_clear(&llm->conf);
    pthread_mutex_destroy(&llm->lock);
    free(llm);
}

static void free_call(struct call *c)
{
    if (!c)
        return;
    free(c->body);
    free(c->key);
    tl_str_clear(&c->line);
    tl_str_clear(&c->text);
    tl_str_clear(&c->whole);
    free(c);
}

static void take_usage(struct call *c, const json_t *chunk)
{
    const json_t *usage = json_object_get(chunk, "usage");
    if (!json_is_object(usage))
        return;
    int64_t in = tl_json_int(usage, "prompt_tokens", 0), out = tl_json_int(usage, "completion_tokens", 0);
    c->tokens_in = in > 0 ? in : 0;
    c->tokens_out = out > 0 ? out : 0;
}

/* One chunk of a stream ("delta"), or a whole answer ("message"). */
static int take_chunk(struct call *c, const char *bytes, size_t len, const char *member)
{
    TL_AUTO_JSON json_t *j = NULL;
    int err = tl_json_parse(bytes, len, &j, NULL);
    if (err)
        return err == TL_ENOMEM ? err : TL_ESCHEMA;
    const json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
    const char *more = tl_json_str(json_object_get(choice, member), "content"),
               *why = tl_json_str(choice, "finish_reason");
    take_usage(c, j);
    if (why && strcmp(why, "length") == 0)
        c->cut = true;
    if (!more)
        return 0;
    if (strlen(more) > TL_LLM_TEXT_MAX - c->text.len)
        return TL_ETOOBIG;
    tl_str_puts(&c->text, more);
    return c->text.err;
}

static int take_line(struct call *c)
{
    const char *p = c->line.data;
    size_t n = c->line.len;
    if (n && p[n - 1] == '\r')
        n--;
    if (n < 5 || memcmp(p, "data:", 5) != 0)
        return 0; /* comments, event names, empty lines */
    p += 5, n -= 5;
    if (n && *p == ' ')
        p++, n--;
    c->streamed = true;
    return n == 6 && memcmp(p, "[DONE]", 6) == 0 ? 0 : take_chunk(c, p, n, "delta");
}

static int on_data(void *arg, const char *bytes, size_t len)
{
    struct call *c = arg;
    if (!c->streamed) {
        tl_str_add(&c->whole, bytes, len);
        if (c->whole.err)
            return c->whole.err;
    }
    while (len) {
        const char *nl = memchr(bytes, '\n', len);
        size_t n = nl ? (size_t)(nl - bytes) : len;
        if (c->line.len + n > LINE_MAX_BYTES && c->streamed)
            return TL_ETOOBIG;
        tl_str_add(&c->line, bytes, n);
        if (c->line.err)
            return c->line.err;
        if (!nl)
            return 0;
        int err = take_line(c);
        if (err)
            return err;
        tl_str_clear(&c->line);
        bytes = nl + 1;
        len -= n + 1;
    }
    return 0;
}

static void on_header(void *arg, const char *line, size_t len)
{
    struct call *c = arg;
    long ms = tl_net_retry_after(line, len);
    if (ms >= 0)
        c->retry_after_ms = ms;
}

static void finish(struct call *c, int err)
{
    struct tl_llm *llm = c->llm;
    pthread_mutex_lock(&llm->lock);
    for (struct call **p = &llm->calls; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    pthread_mutex_unlock(&llm->lock);
    if (!err && !c->text.len)
        err = TL_ESCHEMA;
    if (!err && !c->tokens_in && !c->tokens_out) {
        c->tokens_in = (int64_t)(c->asked_bytes + 3) / 4;
        c->tokens_out = (int64_t)(c->text.len + 3) / 4;
    }
    struct tl_llm_answer a = {
        .text = c->text.data,
        .len = c->text.len,
        .cut = c->cut,
        .tokens_in = c->tokens_in,
        .tokens_out = c->tokens_out,
        .cost_usd = ((double)c->tokens_in * llm->conf.usd_in + (double)c->tokens_out * llm->conf.usd_out) / 1e6,
    };
    c->done(c->arg, err, err ? NULL : &a);
    free_call(c);
}

static void on_done(void *arg, int err, int status, const char *body, size_t len);

/* Sends the question, after a pause where it is not the first time. */
static int send_call(struct call *c, long pause_ms)
{
    struct tl_llm *llm = c->llm;
    const char *headers[5] = {"Content-Type: application/json", "Accept: text/event-stream"};
    size_t n = 2;
    if (llm->auth)
        headers[n++] = llm->auth;
    if (c->key)
        headers[n++] = c->key;
    long left = (long)((c->deadline_us - tl_mono_us()) / 1000) - pause_ms;
    if (left <= 0)
        return TL_ETIMEOUT;
    struct tl_net_req req = {.method = "POST",
                             .url = llm->conf.url,
                             .headers = headers,
                             .body = c->body,
                             .body_len = c->body_len,
                             .timeout_ms = left,
                             .delay_ms = pause_ms,
                             .max_bytes = STREAM_MAX,
                             .arg = c,
                             .data = on_data,
                             .header = on_header,
                             .done = on_done};
    pthread_mutex_lock(&llm->lock);
    c->tries++;
    c->retry_after_ms = -1;
    tl_str_clear(&c->line);
    tl_str_clear(&c->text);
    tl_str_clear(&c->whole);
    c->streamed = c->cut = false;
    int err = c->cancelled ? TL_ECANCELLED : tl_net_send(llm->net, &req, &c->net_handle);
    pthread_mutex_unlock(&llm->lock);
    return err;
}

static void on_done(void *arg, int err, int status, const char *body, size_t len)
{
    struct call *c = arg;
    (void)body, (void)len;
    if (!err && (status == 429 || status == 503)) {
        long pause = c->retry_after_ms >= 0 ? c->retry_after_ms : (long)FIRST_PAUSE_MS << (c->tries - 1);
        err = status == 429 ? TL_ERATE : TL_ETRANSIENT_IO;
        if (c->tries < TL_LLM_TRIES && pause <= LONGEST_PAUSE_MS && (err = send_call(c, pause)) == 0)
            return;
    } else if (!err && status != 200) {
        err = status >= 500 ? TL_ETRANSIENT_IO : TL_ESCHEMA;
    } else if (!err && c->line.len) {
        err = take_line(c); /* the last line may end with the stream */
    }
    if (!err && !c->streamed && c->whole.len)
        err = take_chunk(c, c->whole.data, c->whole.len, "message");
    finish(c, err);
}

static json_t *message(const char *role, const char *text)
{
    return json_pack("{s:s,s:s}", "role", role, "content", text);
}

static char *request_body(const struct tl_llm *llm, const struct tl_llm_req *req)
{
    json_t *messages = json_array();
    if (req->system && *req->system)
        json_array_append_new(messages, message("system", req->system));
    json_array_append_new(messages, message("user", req->prompt));
    TL_AUTO_JSON json_t *j =
        json_pack("{s:s,s:o,s:b,s:{s:b},s:i,s:f}", "model", llm->conf.model, "messages", messages, "stream", 1,
                  "stream_options", "include_usage", 1, "max_tokens", req->max_tokens, "temperature", req->temperature);
    if (j && req->json)
        json_object_set_new(j, "response_format", json_pack("{s:s}", "type", "json_object"));
    return j ? tl_json_text(j) : NULL;
}

int tl_llm_ask(struct tl_llm *llm, const struct tl_llm_req *req, unsigned long *ret_handle)
{
    size_t asked = strlen(req->prompt) + (req->system ? strlen(req->system) : 0);
    if (asked > TL_LLM_PROMPT_MAX)
        return TL_ETOOBIG;
    struct call *c = tl_calloc(1, sizeof(*c));
    if (!c)
        return TL_ENOMEM;
    *c = (struct call){.llm = llm,
                       .arg = req->arg,
                       .done = req->done,
                       .asked_bytes = asked,
                       .body = request_body(llm, req),
                       .deadline_us = tl_mono_us() + (int64_t)llm->conf.timeout_ms * 1000};
    if (req->key && asprintf(&c->key, "Idempotency-Key: %s", req->key) < 0) {
        c->key = NULL;
        free_call(c);
        return TL_ENOMEM;
    }
    if (!c->body) {
        free_call(c);
        return TL_ENOMEM;
    }
    c->body_len = strlen(c->body);
    pthread_mutex_lock(&llm->lock);
    c->handle = ++llm->next_handle;
    c->next = llm->calls;
    llm->calls = c;
    *ret_handle = c->handle;
    pthread_mutex_unlock(&llm->lock);
    int err = send_call(c, 0); /* from here on, c may be gone where it succeeds */
    if (!err)
        return 0;
    pthread_mutex_lock(&llm->lock);
    for (struct call **p = &llm->calls; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    pthread_mutex_unlock(&llm->lock);
    free_call(c);
    return err;
}

void tl_llm_cancel(struct tl_llm *llm, unsigned long handle)
{
    pthread_mutex_lock(&llm->lock);
    for (struct call *c = llm->calls; c; c = c->next)
        if (c->handle == handle) {
            c->cancelled = true;
            tl_net_cancel(llm->net, c->net_handle);
        }
    pthread_mutex_unlock(&llm->lock);
}

/* http.post: sends JSON to a destination that the operator configured, by name. The request carries the same Idempotency-Key at every attempt of a step; where
 * the destination does not honour it, what may have arrived is not sent again: a person decides. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "capsules/destinations.h"
#include "capsules/services.h"
#include "net/net.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

enum { BODY_MAX = 1024 * 1024, RETRY_AFTER_MAX_MS = 60 * 1000 };

static const struct tl_port ports[] = {
    {"body", TL_T_JSON, TL_PORT_REQUIRED, "what is sent, as JSON; at most 1 MiB"},
    {"status", TL_T_NUMBER, TL_PORT_OUT, "the HTTP status of the answer, 200 to 299"},
    {"body", TL_T_ANY, TL_PORT_OUT, "the answer: JSON where it says so, text otherwise; at most 1 MiB"},
    {0},
};

static const struct tl_param params[] = {
    {.name = "destination",
     .type = TL_P_STRING,
     .flags = TL_PARAM_REQUIRED,
     .max = TL_DESTINATION_NAME_MAX,
     .doc = "the name of a destination that the operator configured"},
    {0},
};

struct priv {
    pthread_mutex_t lock; /* held from before the request is sent until its handle is known */
    bool locks;
    struct tl_net *net;
    unsigned long handle;
    bool cancelled;
    /* Of the network thread: */
    const struct tl_destination *to;
    bool sent, json;
    long retry_after_ms;
};

/* Whether the destination exists is known when the graph is checked. What is inside a capsule reaches nobody: nobody could be asked there how it ended. */
static int shape(const struct tl_shape_req *req, struct tl_shape *ret)
{
    (void)ret;
    const struct tl_cap_env *env = req->env;
    const struct tl_services *services = env ? env->services : NULL;
    const char *name = tl_json_str(json_object_get(req->data, "params"), "destination");
    struct tl_str path TL_CLEANUP(tl_str_clear) = {0};
    tl_str_printf(&path, "%s.params.destination", req->path);
    if (path.err)
        return path.err;
    if (env && env->nesting > 0)
        tl_diag_add(req->diag, req->node, NULL, req->path, "http.post may stand in a public graph only");
    else if (name && strlen(name) <= TL_DESTINATION_NAME_MAX &&
             !tl_destinations_find(services ? services->destinations : NULL, name))
        tl_diag_add(req->diag, req->node, "destination", path.data,
                    "there is no destination \"%s\"; the operator names them", name);
    return 0;
}

static void on_sending(void *arg)
{
    struct priv *p = tl_op_priv(arg);
    p->sent = true;
}

static void on_header(void *arg, const char *line, size_t len)
{
    static const char name[] = "content-type:";
    struct priv *p = tl_op_priv(arg);
    long ms = tl_net_retry_after(line, len);
    if (ms >= 0)
        p->retry_after_ms = ms < RETRY_AFTER_MAX_MS ? ms : RETRY_AFTER_MAX_MS;
    if (len < sizeof(name) || strncasecmp(line, name, sizeof(name) - 1) != 0)
        return;
    size_t n = sizeof(name) - 1, end = n;
    while (end < len && line[end] != ';')
        end++;
    for (; n + 4 <= end && !p->json; n++)
        p->json = strncasecmp(line + n, "json", 4) == 0;
}

static int take_answer(struct tl_op_ctx *ctx, int status, const char *body, size_t len)
{
    const struct priv *p = tl_op_priv(ctx);
    TL_AUTO_JSON json_t *j = NULL;
    if (p->json && len && tl_json_parse(body, len, &j, NULL) == TL_ENOMEM)
        return TL_ENOMEM;
    if (json_is_null(j)) {
        json_decref(j);
        j = NULL;
    }
    if (!j && (memchr(body, '\0', len) || !tl_utf8_valid(body, len)))
        return tl_op_fail(ctx, TL_EMEDIATYPE, "the destination \"%s\" answered %d with what is neither JSON nor text",
                          p->to->name, status);
    if (!j)
        j = json_stringn(body, len);
    struct tl_value v;
    if (!j || tl_value_from_json(TL_T_ANY, j, &v, NULL) < 0)
        return TL_ENOMEM;
    /* A hash is no right to a blob: what only looks like a medium is JSON. */
    if (tl_type_is_media(v.type))
        v.type = TL_T_JSON;
    int err = tl_op_output_number(ctx, "status", status);
    if (err)
        tl_value_clear(&v);
    return err ? err : tl_op_output(ctx, "body", v);
}

/* The request may have taken effect. why: what the destination did. */
static int unknown(struct tl_op_ctx *ctx, int err, const char *why)
{
    const struct priv *p = tl_op_priv(ctx);
    if (p->to->honours_key)
        return tl_op_fail(ctx, err, "the destination \"%s\" %s", p->to->name, why);
    /* The same words whatever happened: this is what a person is shown, and the answer is bound to it, also after a crash. */
    return tl_op_fail(ctx, TL_EUNKNOWN, "whether the destination \"%s\" has carried out the request is not known",
                      p->to->name);
}

static int judge_status(struct tl_op_ctx *ctx, int status, const char *body, size_t len)
{
    const struct priv *p = tl_op_priv(ctx);
    char why[32];
    snprintf(why, sizeof(why), "answered %d", status);
    if (status >= 200 && status < 300)
        return take_answer(ctx, status, body, len);
    if (status == 429 && p->retry_after_ms > 0)
        tl_op_retry_after(ctx, p->retry_after_ms);
    if (status == 429)
        return tl_op_fail(ctx, TL_ERATE, "the destination \"%s\" %s", p->to->name, why);
    if (status == 408 || status == 503) /* it says that it has not done it */
        return tl_op_fail(ctx, TL_ETRANSIENT_IO, "the destination \"%s\" %s", p->to->name, why);
    if (status >= 500)
        return unknown(ctx, TL_ETRANSIENT_IO, why);
    return tl_op_fail(ctx, TL_EINVAL, "the destination \"%s\" refused the request: it %s", p->to->name, why);
}

static int judge_error(struct tl_op_ctx *ctx, int err)
{
    const struct priv *p = tl_op_priv(ctx);
    if (err == TL_ECANCELLED)
        return err;
    if (err == TL_ETOOBIG)
        return tl_op_fail(ctx, err, "the destination \"%s\" answered more than 1 MiB", p->to->name);
    if (p->sent)
        return unknown(ctx, err, err == TL_ETIMEOUT ? "did not answer in time" : "broke the connection off");
    if (err == TL_ETIMEOUT || err == TL_ETRANSIENT_IO)
        return tl_op_fail(ctx, err, "the destination \"%s\" could not be reached", p->to->name);
    return err;
}

static void on_done(void *arg, int err, int status, const char *body, size_t len)
{
    struct tl_op_ctx *ctx = arg;
    struct priv *p = tl_op_priv(ctx);
    pthread_mutex_lock(&p->lock); /* run() has left it */
    pthread_mutex_unlock(&p->lock);
    tl_op_done(ctx, err ? judge_error(ctx, err) : judge_status(ctx, status, body, len));
}

static void on_cancel(struct tl_op_ctx *ctx)
{
    struct priv *p = tl_op_priv(ctx);
    pthread_mutex_lock(&p->lock);
    p->cancelled = true;
    if (p->handle)
        tl_net_cancel(p->net, p->handle);
    pthread_mutex_unlock(&p->lock);
}

/* Sends; ctx may be gone when this returns 0. */
static int send_body(struct tl_op_ctx *ctx, const char *body, size_t len)
{
    struct priv *p = tl_op_priv(ctx);
    const char *headers[TL_DESTINATION_HEADERS_MAX + 3];
    char key[96];
    size_t n = 0;
    snprintf(key, sizeof(key), "Idempotency-Key: %s", tl_op_idempotency_key(ctx));
    headers[n++] = "Content-Type: application/json";
    headers[n++] = key;
    for (size_t i = 0; p->to->headers[i] && i < TL_DESTINATION_HEADERS_MAX; i++)
        headers[n++] = p->to->headers[i];
    headers[n] = NULL;
    const struct tl_net_req req = {.method = "POST",
                                   .url = p->to->url,
                                   .headers = headers,
                                   .body = body,
                                   .body_len = len,
                                   .timeout_ms = p->to->timeout_ms,
                                   .max_bytes = BODY_MAX,
                                   .once = !p->to->honours_key,
                                   .arg = ctx,
                                   .sending = on_sending,
                                   .header = on_header,
                                   .done = on_done};
    tl_op_on_cancel(ctx, on_cancel);
    pthread_mutex_lock(&p->lock);
    int err = p->cancelled ? TL_ECANCELLED : tl_net_send(p->net, &req, &p->handle);
    pthread_mutex_unlock(&p->lock);
    return err == TL_EAGAIN ? TL_ETRANSIENT_IO : err;
}

static int run(struct tl_op_ctx *ctx)
{
    struct tl_services *services = tl_cap_services(ctx);
    struct priv *p = tl_op_priv(ctx);
    const char *name = tl_op_param_text(ctx, "destination");
    p->to = tl_destinations_find(services ? services->destinations : NULL, name);
    if (!p->to || !services->net)
        return tl_op_fail(ctx, TL_ENOTCONFIGURED, "there is no destination \"%s\" any more", name);
    p->net = services->net;
    if (tl_op_interrupted(ctx) && !p->to->honours_key)
        return unknown(ctx, TL_EUNKNOWN, "was being asked when the server ended");
    TL_AUTO_JSON json_t *j = tl_value_json(tl_op_input(ctx, "body"));
    TL_AUTO_FREE char *body = j ? tl_json_text(j) : NULL;
    size_t len = body ? strlen(body) : 0;
    if (!body)
        return TL_ENOMEM;
    if (len > BODY_MAX)
        return tl_op_fail(ctx, TL_ETOOBIG, "the input \"body\" is longer than 1 MiB as JSON");
    pthread_mutex_init(&p->lock, NULL);
    p->locks = true;
    int err = send_body(ctx, body, len);
    return err ? err : TL_OP_PENDING;
}

static void cleanup(struct tl_op_ctx *ctx)
{
    struct priv *p = tl_op_priv(ctx);
    if (p->locks)
        pthread_mutex_destroy(&p->lock);
}

const struct tl_op tl_op_http_post = {
    .name = "http.post",
    .revision = 1,
    .flags = TL_OP_NET | TL_OP_EFFECT,
    .title = "Send to a destination",
    .doc = "Sends JSON to a destination that the operator configured, once per run",
    .ports = ports,
    .params = params,
    .priv_size = sizeof(struct priv),
    .shape = shape,
    .run = run,
    .cleanup = cleanup,
};

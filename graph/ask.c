#include "graph/ask_record.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/body.h"
#include "graph/state.h"

#include <string.h>

enum { BUCKETS = 256 };

/* A question that a node of this process waits with. Listed: ctx lives, and whoever takes it off the list ends the node. Guarded by asks->lock. */
struct question {
    struct question *next;
    struct tl_asks *asks;
    struct tl_op_ctx *ctx;
    uint8_t key[TL_ASK_KEY_LEN];
    void (*answered)(struct tl_op_ctx *ctx, int err, const json_t *answer);
    json_t *record; /* as it is to be stored; what the store has once it was opened */
    int refs;
    bool listed;
    bool busy;            /* ctx is being shown as waiting: what ends it waits for that */
    bool cancelled, over; /* meanwhile: cancelled; answered with late_err and late */
    int late_err;
    json_t *late;
};

struct tl_asks {
    struct tl_exec *exec;
    pthread_mutex_t lock;
    struct question *open[BUCKETS];
};

int tl_asks_new(struct tl_exec *exec, struct tl_asks **ret)
{
    struct tl_asks *asks = *ret = tl_calloc(1, sizeof(*asks));
    if (!asks)
        return TL_ENOMEM;
    asks->exec = exec;
    pthread_mutex_init(&asks->lock, NULL);
    return 0;
}

void tl_asks_free(struct tl_asks *asks)
{
    if (!asks)
        return;
    pthread_mutex_destroy(&asks->lock);
    free(asks);
}

/* ---- the list ---- */

static struct question **bucket(struct tl_asks *asks, const uint8_t key[TL_ASK_KEY_LEN])
{
    return &asks->open[key[TL_ASK_KEY_LEN - 1]];
}

/* With the lock held. */
static struct question *find(struct tl_asks *asks, const uint8_t key[TL_ASK_KEY_LEN])
{
    struct question *q = *bucket(asks, key);
    while (q && memcmp(q->key, key, TL_ASK_KEY_LEN) != 0)
        q = q->next;
    return q;
}

/* With the lock held. False where it is on the list no more. */
static bool unlist(struct question *q)
{
    struct question **at = bucket(q->asks, q->key);
    if (!q->listed)
        return false;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    q->listed = false;
    tl_count(&q->asks->exec->counted.waiting, UINT64_MAX); /* one less */
    q->refs--; /* the caller has one of its own */
    return true;
}

static void unref(struct question *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->asks->lock);
    bool last = --q->refs == 0;
    pthread_mutex_unlock(&q->asks->lock);
    if (!last)
        return;
    json_decref(q->record);
    json_decref(q->late);
    free(q);
}

static struct question *find_ref(struct tl_asks *asks, const uint8_t key[TL_ASK_KEY_LEN])
{
    pthread_mutex_lock(&asks->lock);
    struct question *q = find(asks, key);
    if (q)
        q->refs++;
    pthread_mutex_unlock(&asks->lock);
    return q;
}

static struct question *of_ctx(struct tl_op_ctx *ctx)
{
    uint8_t key[TL_ASK_KEY_LEN];
    const struct tl_run *root = ctx->run->root;
    tl_ask_key(&root->id, tl_op_step_key(ctx), key);
    struct question *q = find_ref(root->exec->asks, key);
    if (q && q->ctx == ctx)
        return q;
    unref(q);
    return NULL;
}

/* Ends the wait, once. */
static void deliver(struct question *q, int err, const json_t *answer)
{
    pthread_mutex_lock(&q->asks->lock);
    bool mine = q->listed && !q->busy;
    if (q->listed && q->busy && !q->over) {
        q->over = true;
        q->late_err = err;
        q->late = json_deep_copy(answer);
    }
    if (mine)
        unlist(q);
    pthread_mutex_unlock(&q->asks->lock);
    if (mine)
        q->answered(q->ctx, err, answer);
}

/* ---- what the store is asked to change ---- */

enum { CHANGE_OPEN, CHANGE_EXPIRE, CHANGE_CLOSE };

struct change {
    struct tl_asks *asks;
    struct question *q; /* a reference; NULL for CHANGE_CLOSE */
    int what;
    uint8_t key[TL_ASK_KEY_LEN];
    int64_t now;
    json_t *found; /* the record as it is after the change */
};

static int apply(struct tl_txn *txn, void *arg)
{
    struct change *c = arg;
    json_decref(c->found); /* of a call that was undone */
    c->found = NULL;
    if (c->what == CHANGE_OPEN)
        return tl_ask_record_open(txn, c->key, c->q->record, c->now, &c->found);
    return tl_ask_record_close(txn, c->key, c->what == CHANGE_EXPIRE ? "expired" : "cancelled", &c->found);
}

static json_t *waiting_for(const json_t *record)
{
    static const char *const keys[] = {"kind", "shown", "hash", "opened_at", "expires_at", "decisions", "form"};
    json_t *what = json_object();
    for (size_t i = 0; what && i < TL_ARRAY_LEN(keys); i++)
        if (json_object_get(record, keys[i]))
            json_object_set(what, keys[i], json_object_get(record, keys[i]));
    return what;
}

static void on_alarm(struct tl_op_ctx *ctx);
static void close_later(struct tl_asks *asks, const uint8_t key[TL_ASK_KEY_LEN]);

/* The question is durable and has no answer: the node is shown as waiting. What ends it meanwhile is caught up with. */
static void show(struct question *q, const json_t *record)
{
    struct tl_asks *asks = q->asks;
    int64_t expires = tl_json_int(record, "expires_ms", 0);
    pthread_mutex_lock(&asks->lock);
    bool listed = q->busy = q->listed;
    pthread_mutex_unlock(&asks->lock);
    if (!listed)
        return;
    tl_op_waiting(q->ctx, waiting_for(record));
    int err = expires ? tl_op_alarm(q->ctx, expires, on_alarm) : 0;
    pthread_mutex_lock(&asks->lock);
    q->busy = false;
    bool cancelled = q->cancelled && unlist(q);
    pthread_mutex_unlock(&asks->lock);
    if (cancelled)
        tl_op_done(q->ctx, TL_ECANCELLED);
    else if (q->over || err)
        deliver(q, q->over ? q->late_err : err, q->late);
}

static void changed(void *arg, int err)
{
    struct change *c = arg;
    struct tl_exec *exec = c->asks->exec;
    const json_t *answer = json_object_get(c->found, "answer");
    if (c->q) {
        if (err)
            deliver(c->q, err, NULL);
        else if (answer)
            deliver(c->q, 0, answer);
        else if (json_object_get(c->found, "closed"))
            deliver(c->q, TL_EEXPIRED, NULL);
        else
            show(c->q, c->found);
    }
    unref(c->q);
    json_decref(c->found);
    free(c);
    tl_exec_commits(exec, -1);
}

/* q: a reference is made. */
static int submit(struct tl_asks *asks, int what, struct question *q, const uint8_t key[TL_ASK_KEY_LEN])
{
    struct tl_exec *exec = asks->exec;
    struct change *c = tl_calloc(1, sizeof(*c));
    if (!c)
        return TL_ENOMEM;
    *c = (struct change){.asks = asks, .q = q, .what = what, .now = tl_exec_wall_ms(exec)};
    memcpy(c->key, key, TL_ASK_KEY_LEN);
    if (q) {
        pthread_mutex_lock(&asks->lock);
        q->refs++;
        pthread_mutex_unlock(&asks->lock);
    }
    tl_exec_commits(exec, 1);
    int err = tl_db_submit(exec->conf.db, apply, c, changed);
    if (err) {
        unref(q);
        free(c);
        tl_exec_commits(exec, -1);
    }
    return err;
}

static void close_later(struct tl_asks *asks, const uint8_t key[TL_ASK_KEY_LEN])
{
    if (asks->exec->conf.db)
        submit(asks, CHANGE_CLOSE, NULL, key); /* where it fails the question stays open until it expires */
}

/* ---- the node's side ---- */

static void on_alarm(struct tl_op_ctx *ctx)
{
    struct question *q = of_ctx(ctx);
    if (!q)
        return;
    int err = q->asks->exec->conf.db ? submit(q->asks, CHANGE_EXPIRE, q, q->key) : TL_EEXPIRED;
    if (err)
        deliver(q, err, NULL);
    unref(q);
}

static void on_cancel(struct tl_op_ctx *ctx)
{
    struct question *q = of_ctx(ctx);
    struct tl_run *root = ctx->run->root;
    if (!q)
        return;
    pthread_mutex_lock(&q->asks->lock);
    q->cancelled = true;
    bool mine = !q->busy && unlist(q);
    pthread_mutex_unlock(&q->asks->lock);
    if (!root->suspended)
        close_later(q->asks, q->key);
    if (mine)
        tl_op_done(ctx, TL_ECANCELLED);
    unref(q);
}

/* What a person may say that a node gave: its outputs, but for media. */
static struct tl_port *outputs_form(const struct tl_plan_node *def)
{
    struct tl_port *form = tl_calloc(def->nout + 1, sizeof(*form));
    size_t n = 0;
    for (uint32_t k = 0; form && k < def->nout; k++)
        if (!tl_type_is_media(def->out[k]->type))
            form[n++] = *def->out[k];
    return form;
}

static json_t *new_record(struct tl_op_ctx *ctx, const struct tl_ask *ask, int64_t now)
{
    struct tl_ask full = *ask;
    TL_AUTO_FREE struct tl_port *outputs = NULL;
    if (strcmp(ask->kind, TL_ASK_UNKNOWN) == 0 && !(full.form = outputs = outputs_form(tl_op_node(ctx))))
        return NULL;
    return tl_ask_record_new(&full, tl_op_step_key(ctx), now);
}

/* Puts q on the list and has on_cancel called from now on. False where the node is being cancelled already, and has ended by this. While q is busy nobody
 * else ends the node, so that ctx lives. */
static bool enlist(struct question *q)
{
    struct tl_op_ctx *ctx = q->ctx;
    pthread_mutex_lock(&q->asks->lock);
    q->listed = q->busy = true;
    tl_count(&q->asks->exec->counted.waiting, 1);
    q->refs++;
    q->next = *bucket(q->asks, q->key);
    *bucket(q->asks, q->key) = q;
    pthread_mutex_unlock(&q->asks->lock);
    tl_op_on_cancel(ctx, on_cancel);
    pthread_mutex_lock(&ctx->run->lock);
    bool stopping = ctx->run->stopping;
    pthread_mutex_unlock(&ctx->run->lock);
    pthread_mutex_lock(&q->asks->lock);
    q->busy = false;
    bool mine = (stopping || q->cancelled) && unlist(q);
    pthread_mutex_unlock(&q->asks->lock);
    if (mine)
        tl_op_done(ctx, TL_ECANCELLED);
    return !mine;
}

int tl_ask_open(struct tl_op_ctx *ctx, const struct tl_ask *ask)
{
    struct tl_run *root = ctx->run->root;
    struct tl_asks *asks = root->exec->asks;
    struct question *q = tl_calloc(1, sizeof(*q));
    if (!q)
        return TL_ENOMEM;
    *q = (struct question){.asks = asks, .ctx = ctx, .answered = ask->answered, .refs = 1};
    q->record = new_record(ctx, ask, tl_exec_wall_ms(root->exec));
    if (!q->record) {
        free(q);
        return TL_ENOMEM;
    }
    tl_ask_key(&root->id, tl_op_step_key(ctx), q->key);
    int err = 0;
    if (!enlist(q))
        ; /* it has ended */
    else if (root->exec->conf.db)
        err = submit(asks, CHANGE_OPEN, q, q->key);
    else
        show(q, q->record);
    if (err) {
        pthread_mutex_lock(&asks->lock);
        if (!unlist(q))
            err = 0; /* it was cancelled, and has ended */
        pthread_mutex_unlock(&asks->lock);
    }
    unref(q);
    return err;
}

int tl_ask_outputs(struct tl_op_ctx *ctx, const json_t *answer)
{
    const struct tl_plan_node *def = tl_op_node(ctx);
    const json_t *outputs = json_object_get(answer, "outputs");
    int err = 0;
    for (uint32_t k = 0; k < def->nout && !err; k++) {
        struct tl_value v;
        const char *why = "";
        err = tl_body_value(def->out[k]->type, json_object_get(outputs, def->out[k]->name), &v, &why);
        if (!err && !tl_value_none(&v))
            err = tl_op_output(ctx, def->out[k]->name, v);
        else if (err == TL_EINVAL)
            err = tl_op_fail(ctx, TL_ESCHEMA, "the output \"%s\" %s", def->out[k]->name, why);
    }
    return err;
}

/* ---- the person's side ---- */

struct reply {
    struct tl_asks *asks;
    uint8_t key[TL_ASK_KEY_LEN];
    char *org, *hash;
    json_t *answer;
    int64_t now;
    void (*done)(void *arg, int err);
    void *arg;
};

static void free_reply(struct reply *r)
{
    free(r->org);
    free(r->hash);
    json_decref(r->answer);
    free(r);
}

static int put_reply(struct tl_txn *txn, void *arg)
{
    const struct reply *r = arg;
    return tl_ask_record_answer(txn, r->key, r->org, r->hash, r->answer, r->now);
}

/* Also where the same answer had been given before: the node may have missed it then. */
static void replied(void *arg, int err)
{
    struct reply *r = arg;
    struct tl_exec *exec = r->asks->exec;
    struct question *q = err ? NULL : find_ref(r->asks, r->key);
    if (r->done)
        r->done(r->arg, err);
    if (q)
        deliver(q, 0, r->answer);
    unref(q);
    free_reply(r);
    tl_exec_commits(exec, -1);
}

/* An executor without a store has what waits, and nothing else. */
static int reply_in_memory(struct reply *r, struct question *q)
{
    int err = !q ? TL_ENOTAPPROVABLE : strcmp(tl_json_str(q->record, "hash"), r->hash) != 0 ? TL_ECONFLICT : 0;
    if (!err) {
        tl_exec_commits(r->asks->exec, 1);
        replied(r, 0);
    } else {
        free_reply(r);
    }
    return err;
}

struct look {
    const uint8_t *key;
    const char *org;
    json_t *record;
};

static int look_up(struct tl_txn *txn, void *arg)
{
    struct look *l = arg;
    TL_AUTO_JSON json_t *run = NULL;
    return tl_ask_record_find(txn, l->key, l->org, &run, &l->record);
}

/* What is wrong with the answer's form, before anything is written. */
static int check_reply(struct tl_exec *exec, const char *org, const uint8_t *key, const struct tl_answer *answer)
{
    struct look l = {.key = key, .org = org};
    int err = tl_db_read(exec->conf.db, look_up, &l);
    if (!err)
        err = tl_ask_answer_check(l.record, answer);
    json_decref(l.record);
    return err;
}

int tl_run_answer(struct tl_exec *exec, const char *org, const struct tl_id *id, const char *step,
                  const struct tl_answer *answer, void (*done)(void *arg, int err), void *arg)
{
    uint8_t key[TL_ASK_KEY_LEN];
    tl_ask_key(id, step, key);
    int err = exec->conf.db ? check_reply(exec, org, key, answer) : 0;
    struct reply *r = err ? NULL : tl_calloc(1, sizeof(*r));
    if (!r)
        return err ? err : TL_ENOMEM;
    *r = (struct reply){.asks = exec->asks, .now = tl_exec_wall_ms(exec), .done = done, .arg = arg};
    memcpy(r->key, key, sizeof(key));
    r->org = tl_strdup(org);
    r->hash = tl_strdup(answer->hash);
    r->answer = tl_ask_answer_json(answer, r->now);
    if (!r->org || !r->hash || !r->answer) {
        free_reply(r);
        return TL_ENOMEM;
    }
    if (!exec->conf.db) {
        struct question *q = find_ref(exec->asks, key);
        err = reply_in_memory(r, q);
        unref(q);
        return err;
    }
    tl_exec_commits(exec, 1);
    err = tl_db_submit(exec->conf.db, put_reply, r, replied);
    if (err) {
        free_reply(r);
        tl_exec_commits(exec, -1);
    }
    return err;
}

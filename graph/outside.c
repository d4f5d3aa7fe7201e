/* Ops that change something outside (TL_OP_EFFECT): that they began is on disk before they do, and where what became of it is not known a person is asked. */
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "graph/ask.h"
#include "graph/state.h"

#include <string.h>

struct mark {
    struct tl_op_ctx *ctx; /* may be gone once it is to be removed */
    struct tl_exec *exec;
    uint8_t key[TL_ID_LEN + TL_BLAKE2B_LEN];
    uint8_t at_ms[8];
};

static struct mark *mark_of(struct tl_op_ctx *ctx)
{
    const char *step = tl_op_step_key(ctx);
    struct mark *m = tl_calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->ctx = ctx;
    m->exec = ctx->run->exec;
    memcpy(m->key, ctx->run->root->id.b, TL_ID_LEN);
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, step, strlen(step));
    tl_blake2b_final(&h, m->key + TL_ID_LEN);
    int64_t now = tl_exec_wall_ms(ctx->run->exec);
    /* Never that of the attempt before: a later question would be taken for the one that was answered. */
    tl_key_u64(m->at_ms, (uint64_t)(now > ctx->mark_ms ? now : ctx->mark_ms + 1));
    return m;
}

static int get_mark(struct tl_txn *txn, void *arg)
{
    struct mark *m = arg;
    struct tl_bytes v;
    int err = tl_txn_get(txn, TL_TBL_MARK, m->key, sizeof(m->key), &v);
    if (!err && v.len == sizeof(m->at_ms))
        memcpy(m->at_ms, v.data, v.len);
    return err;
}

static int put_mark(struct tl_txn *txn, void *arg)
{
    const struct mark *m = arg;
    return tl_txn_put(txn, TL_TBL_MARK, m->key, sizeof(m->key), m->at_ms, sizeof(m->at_ms));
}

static void go_on(struct tl_task *task)
{
    struct tl_op_ctx *ctx = (struct tl_op_ctx *)((char *)task - offsetof(struct tl_op_ctx, task));
    struct tl_run *run = tl_run_ref(ctx->run);
    pthread_mutex_lock(&run->lock);
    run->nodes[ctx->node].marked = !ctx->err;
    int err = ctx->err ? ctx->err : run->stopping ? TL_ECANCELLED : 0;
    ctx->err = 0;
    pthread_mutex_unlock(&run->lock);
    tl_op_after_attempt(ctx, err ? err : tl_op_call(ctx), NULL);
    tl_run_unlock_and_end(run);
    tl_run_unref(run);
}

static void mark_done(void *arg, int err)
{
    struct mark *m = arg;
    struct tl_exec *exec = m->exec;
    m->ctx->err = err;
    m->ctx->task.fn = go_on;
    tl_exec_task(exec, &m->ctx->task);
    free(m);
    tl_exec_commits(exec, -1);
}

/* Takes m. TL_OP_LATER, or an error. */
static int submit_mark(struct mark *m)
{
    struct tl_exec *exec = m->exec;
    tl_exec_commits(exec, 1);
    m->ctx->mark_ms = (int64_t)tl_key_u64_read(m->at_ms);
    int err = tl_db_submit(exec->conf.db, put_mark, m, mark_done);
    if (!err)
        return TL_OP_LATER;
    free(m);
    tl_exec_commits(exec, -1);
    return err;
}

static int delete_mark(struct tl_txn *txn, void *arg)
{
    const struct mark *m = arg;
    int err = tl_txn_del(txn, TL_TBL_MARK, m->key, sizeof(m->key));
    return err == TL_ENOTFOUND ? 0 : err;
}

static void mark_deleted(void *arg, int err)
{
    (void)err; /* then a person is asked without need, after a crash */
    struct mark *m = arg;
    struct tl_exec *exec = m->exec;
    free(m);
    tl_exec_commits(exec, -1);
}

/* An attempt has failed and it is known what it did outside: a later life of the server that finds the node waiting for its next attempt need ask nobody. */
void tl_op_unmark(struct tl_op_ctx *ctx)
{
    struct tl_node_state *s = &ctx->run->nodes[ctx->node];
    struct tl_exec *exec = ctx->run->exec;
    struct mark *m = s->marked && !s->unsure ? mark_of(ctx) : NULL;
    if (!m)
        return;
    s->marked = false;
    tl_exec_commits(exec, 1);
    if (tl_db_submit(exec->conf.db, delete_mark, m, mark_deleted) == 0)
        return;
    free(m);
    tl_exec_commits(exec, -1);
}

/* What reaches outside is marked first, so that a later life of the server knows that it may have happened. */
int tl_op_mark_and_call(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    bool marked = run->nodes[ctx->node].marked, first = run->nodes[ctx->node].attempts == 1;
    ctx->interrupted = run->nodes[ctx->node].unsure;
    pthread_mutex_unlock(&run->lock);
    if (marked || !run->exec->conf.db)
        return tl_op_call(ctx);
    struct mark *m = mark_of(ctx);
    if (!m)
        return TL_ENOMEM;
    int err = first ? tl_db_read(run->exec->conf.db, get_mark, m) : TL_ENOTFOUND;
    if (err == TL_ENOTFOUND)
        return submit_mark(m);
    if (err) {
        free(m);
        return err;
    }
    ctx->mark_ms = (int64_t)tl_key_u64_read(m->at_ms);
    ctx->interrupted = true;
    free(m);
    pthread_mutex_lock(&run->lock);
    run->nodes[ctx->node].marked = true;
    pthread_mutex_unlock(&run->lock);
    return tl_op_call(ctx);
}

/* A person has said what became of an attempt whose outcome was not known. */
static void unknown_answered(struct tl_op_ctx *ctx, int err, const json_t *answer)
{
    struct tl_run *run = ctx->run;
    const char *decision = tl_json_str(answer, "decision"), *comment = tl_json_str(answer, "comment");
    if (err) {
        tl_op_done(ctx, err);
    } else if (decision && strcmp(decision, "done") == 0) {
        tl_op_done(ctx, tl_ask_outputs(ctx, answer));
    } else if (decision && strcmp(decision, "retry") == 0) {
        struct mark *m = mark_of(ctx);
        pthread_mutex_lock(&run->lock);
        run->nodes[ctx->node].status = TL_NODE_RUNNING;
        run->nodes[ctx->node].unsure = false;
        tl_journal_node_changed(run, ctx->node);
        memset(ctx->priv, 0, ctx->def->op->priv_size);
        ctx->on_cancel = NULL;
        ctx->cleaned = ctx->interrupted = ctx->cancel_told = ctx->timed_out = false;
        ctx->began_us = tl_exec_mono_us(run->exec);
        ctx->in_run = true;
        pthread_mutex_unlock(&run->lock);
        int bad = m ? submit_mark(m) : TL_ENOMEM;
        if (bad != TL_OP_LATER) {
            tl_op_after_attempt(ctx, bad, NULL);
            tl_run_unlock_and_end(run);
        }
    } else {
        pthread_mutex_lock(&run->lock);
        run->nodes[ctx->node].answered = true;
        pthread_mutex_unlock(&run->lock);
        if (comment && *comment)
            tl_op_fail(ctx, TL_EUNKNOWN, "%s", comment);
        tl_op_done(ctx, TL_EUNKNOWN);
    }
}

/* Where an attempt has ended and what it did outside is not known, the node waits for a person. False where it ends. No lock is held; the context is done. */
bool tl_op_ask_person(struct tl_op_ctx *ctx)
{
    struct tl_run *run = ctx->run;
    pthread_mutex_lock(&run->lock);
    bool ask = ctx->err == TL_EUNKNOWN && ctx->def->op->flags & TL_OP_EFFECT && tl_op_open(ctx) && run->exec->conf.db &&
               !run->nodes[ctx->node].answered && !run->stopping;
    if (ask) {
        tl_node_timer_cancel(&ctx->timeout);
        ctx->done = ctx->cancel_told = false;
        ctx->on_cancel = NULL;
        ctx->calls++; /* it stays until this has returned, whoever answers */
        tl_values_clear(ctx->outputs, ctx->def->nout);
    }
    pthread_mutex_unlock(&run->lock);
    if (!ask)
        return false;
    TL_AUTO_JSON json_t *shown =
        json_pack("{s:s,s:s,s:I}", "op", ctx->def->op->name, "message",
                  ctx->message ? ctx->message : tl_err_text(TL_EUNKNOWN), "began_at", (json_int_t)ctx->mark_ms);
    TL_AUTO_FREE struct tl_port *form = tl_calloc(ctx->def->nout + 1, sizeof(*form));
    for (uint32_t k = 0; form && k < ctx->def->nout; k++)
        form[k] = *ctx->def->out[k];
    const struct tl_ask question = {.kind = TL_ASK_UNKNOWN, .shown = shown, .form = form, .answered = unknown_answered};
    int err = shown && form ? tl_ask_open(ctx, &question) : TL_ENOMEM;
    pthread_mutex_lock(&run->lock);
    if (err) { /* it cannot be asked: the node fails with what is known */
        ctx->done = run->nodes[ctx->node].answered = true;
        ctx->err = TL_EUNKNOWN;
    } else if (run->stopping && ctx->cancel_told && ctx->on_cancel && !ctx->done) {
        /* A cancel came before there was anything to be told of it. Where the question knows already, this is nothing to it. */
        pthread_mutex_unlock(&run->lock);
        ctx->on_cancel(ctx);
        pthread_mutex_lock(&run->lock);
    }
    tl_run_call_ended(ctx);
    return true;
}

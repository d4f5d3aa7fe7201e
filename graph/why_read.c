/* What a journal says of a few nodes, without making anything of the rest of it. Within events the executor's own text is searched, whose items begin with their id; an
 * event that has what is looked for is read properly. */
#include "graph/why_side.h"

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "graph/state.h"

#include <string.h>

enum {
    TYPE_WITHIN = 200, /* bytes of an event within which its type stands, before its payload */
    FEW = 8,           /* nodes whose ids are searched for one by one before an event is read */
};

static bool is_type(const char *json, size_t len, const char *type)
{
    char needle[64];
    int n = snprintf(needle, sizeof(needle), "\"type\":\"%s\"", type);
    return memmem(json, len < TYPE_WITHIN ? len : TYPE_WITHIN, needle, (size_t)n);
}

/* "key":"id" as the journal writes it. Owned; NULL on want of memory. */
static char *needle_of(const char *key, const char *id, size_t *ret_len)
{
    struct tl_str s = {0};
    tl_str_printf(&s, "\"%s\":", key);
    tl_json_add_text(&s, id, strlen(id));
    *ret_len = s.len;
    return tl_str_take(&s);
}

/* Goes to the value of payload.name of an event. False where there is none. */
static bool to_list(struct tl_jread *r, const char *name)
{
    struct tl_jtext key;
    for (int level = 0; level < 2; level++) {
        bool there = false;
        if (tl_jread_kind(r) != TL_J_OBJECT)
            return false;
        tl_jread_object(r);
        while (!there && tl_jread_key(r, &key))
            if (!(there = tl_jtext_is(key, level ? name : "payload")))
                tl_jread_skip(r, NULL);
        if (!there)
            return false;
    }
    return true;
}

/* ---- nodes' states ---- */

struct states {
    struct tl_arena arena;
    /* of one step */
    const char *step;
    char *needle; /* owned */
    size_t needle_len;
    json_t *state;
    /* or of all that failed */
    const struct tl_plan *plan;
    bool *failed, any;
};

static int take_state(struct states *s, struct tl_jtext text)
{
    json_t *state = NULL;
    int err = tl_json_parse(text.s, text.len, &state, NULL);
    if (err)
        return err == TL_ENOMEM ? err : 0;
    json_object_del(state, "id");
    json_decref(s->state);
    s->state = state;
    return 0;
}

/* {"id"?,"status",…}; id is handed in where it stands before. */
static void note_status(struct states *s, struct tl_jread *r, struct tl_jtext id)
{
    struct tl_jtext key, status = {0};
    tl_jread_object(r);
    while (tl_jread_key(r, &key))
        if (TL_JTEXT_IS(key, "id"))
            tl_jread_string(r, &id);
        else if (TL_JTEXT_IS(key, "status"))
            tl_jread_string(r, &status);
        else
            tl_jread_skip(r, NULL);
    uint32_t node = r->err || !id.s ? UINT32_MAX : tl_idmap_find(&s->plan->ids, id.s, id.len);
    if (node != UINT32_MAX) {
        s->failed[node] = TL_JTEXT_IS(status, "failed");
        s->any |= s->failed[node];
    }
}

/* One item of run.progress, or of run.reset with its key. */
static int take_item(struct states *s, struct tl_jread *r, const struct tl_jtext *key)
{
    struct tl_jtext text;
    if (s->failed) {
        note_status(s, r, key ? *key : (struct tl_jtext){0});
        return 0;
    }
    if (!tl_jread_skip(r, &text))
        return 0;
    bool is = key ? tl_jtext_is(*key, s->step)
                  : text.len > s->needle_len && memcmp(text.s + 1, s->needle, s->needle_len) == 0;
    return is ? take_state(s, text) : 0;
}

static int read_states(void *arg, uint64_t seq, const char *json, size_t len)
{
    static const char failed[] = "\"status\":\"failed\"";
    struct states *s = arg;
    struct tl_jread r;
    struct tl_jtext key;
    bool reset = is_type(json, len, "run.reset");
    (void)seq;
    if (!reset && !is_type(json, len, "run.progress"))
        return 0;
    if (!reset && s->failed && !s->any && !memmem(json, len, failed, sizeof(failed) - 1))
        return 0;
    if (!reset && s->needle && !memmem(json, len, s->needle, s->needle_len))
        return 0;
    int err = 0;
    tl_jread_init(&r, json, len, &s->arena);
    if (to_list(&r, "nodes")) {
        if (tl_jread_kind(&r) == TL_J_LIST) {
            tl_jread_list(&r);
            while (!err && tl_jread_item(&r))
                err = take_item(s, &r, NULL);
        } else {
            tl_jread_object(&r);
            while (!err && tl_jread_key(&r, &key))
                err = take_item(s, &r, &key);
        }
    }
    int bad = tl_jread_finish(&r, NULL);
    tl_arena_clear(&s->arena);
    return err ? err : bad == TL_ENOMEM ? bad : 0;
}

int tl_why_read_state(struct tl_exec *exec, const struct tl_id *run, const char *step, json_t **ret)
{
    struct states s = {.step = step};
    s.needle = needle_of("id", step, &s.needle_len);
    int err = s.needle ? tl_events_read(exec->conf.db, run, 0, read_states, &s) : TL_ENOMEM;
    free(s.needle);
    if (err)
        json_decref(s.state);
    *ret = err ? NULL : s.state;
    return err;
}

int tl_why_read_failed(struct tl_exec *exec, const struct tl_why_side *side, bool *failed)
{
    struct states s = {.plan = side->plan, .failed = failed};
    return tl_events_read(exec->conf.db, &side->id, 0, read_states, &s);
}

static int take_end(void *arg, uint64_t seq, const char *json, size_t len)
{
    json_t **ret = arg;
    TL_AUTO_JSON json_t *e = NULL;
    (void)seq;
    if (tl_json_parse(json, len, &e, NULL) == 0)
        *ret = json_incref(json_object_get(e, "payload"));
    return 1;
}

json_t *tl_why_read_end(struct tl_exec *exec, const struct tl_why_side *side)
{
    json_t *end = NULL;
    uint64_t last = (uint64_t)tl_json_int(side->record, "last_seq", 0);
    if (last > 0 && json_object_get(side->record, "ended_at"))
        tl_events_read(exec->conf.db, &side->id, last - 1, take_end, &end);
    return end;
}

/* ---- outputs ---- */

struct collect {
    struct tl_why_side *side;
    struct tl_arena arena;
    uint32_t wanted, found;
    char *needles[FEW]; /* owned; of all that are wanted, where they are few */
    size_t lens[FEW];
};

/* {"node","outputs",…} */
static int take_outputs(struct collect *c, struct tl_jread *r)
{
    struct tl_jtext key, id = {0}, outputs = {0};
    tl_jread_object(r);
    while (tl_jread_key(r, &key))
        if (TL_JTEXT_IS(key, "node"))
            tl_jread_string(r, &id);
        else if (TL_JTEXT_IS(key, "outputs"))
            tl_jread_skip(r, &outputs);
        else
            tl_jread_skip(r, NULL);
    uint32_t node = r->err || !id.s || !outputs.s ? UINT32_MAX : tl_idmap_find(&c->side->plan->ids, id.s, id.len);
    if (node == UINT32_MAX || !c->side->sources[node])
        return 0;
    struct tl_jtext *to = &c->side->outputs[node];
    c->found += !to->s;
    to->len = outputs.len;
    to->s = tl_arena_strndup(&c->side->arena, outputs.s, outputs.len);
    return to->s ? 0 : TL_ENOMEM;
}

static bool may_have(const struct collect *c, const char *json, size_t len)
{
    bool has = c->wanted > FEW;
    for (uint32_t i = 0; !has && i < c->wanted; i++)
        has = memmem(json, len, c->needles[i], c->lens[i]);
    return has;
}

static int collect_outputs(void *arg, uint64_t seq, const char *json, size_t len)
{
    struct collect *c = arg;
    struct tl_jread r;
    (void)seq;
    c->side->cut |= is_type(json, len, "run.reset");
    if (!is_type(json, len, "run.partial") || !may_have(c, json, len))
        return 0;
    int err = 0;
    tl_jread_init(&r, json, len, &c->arena);
    if (to_list(&r, "results") && tl_jread_kind(&r) == TL_J_LIST) {
        tl_jread_list(&r);
        while (!err && c->found < c->wanted && tl_jread_item(&r))
            err = take_outputs(c, &r);
    }
    int bad = tl_jread_finish(&r, NULL);
    tl_arena_clear(&c->arena);
    if (err || bad == TL_ENOMEM)
        return err ? err : bad;
    return c->found == c->wanted; /* a node's outputs are told once */
}

int tl_why_read_outputs(struct tl_exec *exec, struct tl_why_side *side)
{
    const struct tl_plan *plan = side->plan;
    struct collect c = {.side = side};
    int err = 0;
    side->sources = tl_why_sources(plan, side->node);
    side->outputs = tl_calloc(plan->nnodes + 1, sizeof(*side->outputs));
    if (!side->sources || !side->outputs)
        return TL_ENOMEM;
    for (uint32_t i = 0; !err && i < plan->nnodes; i++) {
        if (!side->sources[i])
            continue;
        if (c.wanted < FEW && !(c.needles[c.wanted] = needle_of("node", plan->nodes[i].id, &c.lens[c.wanted])))
            err = TL_ENOMEM;
        c.wanted++;
    }
    if (!err && c.wanted)
        err = tl_events_read(exec->conf.db, &side->id, 0, collect_outputs, &c);
    for (size_t i = 0; i < FEW; i++)
        free(c.needles[i]);
    return err;
}

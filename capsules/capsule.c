#include "capsules/capsule.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* A version in the cache. It is freed by eviction only, and never while it or its plan is in use. */
struct entry {
    struct tl_capsule pub;
    struct tl_capsules *set;
    struct entry *next;
    _Atomic int refs;
    struct tl_arena arena;
    struct tl_cap_spec *spec;
    struct tl_ngrams *texts;
    json_t *doc; /* the private document */
    size_t bytes;
    uint64_t used; /* set->clock when it was asked for last */
    pthread_mutex_t plan_lock;
    struct tl_plan *plan;
};

struct tl_capsules {
    struct tl_keyring *kr;
    struct tl_locked *locked; /* under lock, like the rest */
    pthread_mutex_t lock;
    struct entry *head;
    size_t count, bytes, most;
    uint64_t clock;
};

int tl_cap_harden(void)
{
    struct rlimit none = {0, 0};
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ? TL_EINTERNAL : 0;
}

void tl_wipe_free(char *text, size_t len)
{
    if (text)
        tl_wipe(text, len);
    free(text);
}

char *tl_capsule_plain(json_t *spec, json_t *private_doc, size_t *ret_len)
{
    TL_AUTO_JSON json_t *all = json_pack("{s:O,s:O}", "spec", spec, "private", private_doc);
    char *text = all ? tl_json_text(all) : NULL;
    *ret_len = text ? strlen(text) : 0;
    return text;
}

/* ---- the private graph's ports and plan ---- */

static enum tl_type param_port(enum tl_param_type type)
{
    return type == TL_P_NUMBER    ? TL_T_NUMBER
           : type == TL_P_BOOLEAN ? TL_T_BOOLEAN
           : type == TL_P_JSON    ? TL_T_JSON
                                  : TL_T_STRING;
}

static int make_in(struct tl_arena *arena, const struct tl_cap_spec *spec, struct tl_capsule *cap)
{
    struct tl_port *in = tl_arena_alloc(arena, (spec->ninputs + spec->nparams + 3) * sizeof(*in));
    size_t n = 0;
    if (!in)
        return TL_ENOMEM;
    for (uint32_t i = 0; i < spec->ninputs; i++)
        in[n++] = (struct tl_port){.name = spec->inputs[i].name, .type = spec->inputs[i].type};
    for (uint32_t i = 0; i < spec->nparams; i++) {
        char name[TL_CAP_NAME_MAX + 8];
        snprintf(name, sizeof(name), "param.%s", spec->params[i].name);
        char *kept = tl_arena_strdup(arena, name);
        if (!kept)
            return TL_ENOMEM;
        in[n++] = (struct tl_port){.name = kept, .type = param_port(spec->params[i].type)};
    }
    in[n++] = (struct tl_port){.name = "upstream_context", .type = TL_T_JSON};
    in[n++] = (struct tl_port){.name = "pattern_version", .type = TL_T_STRING};
    cap->in = in;
    cap->nin = n;
    return 0;
}

/* The ends of a private graph take what its edges bring. */
static int make_out(struct tl_arena *arena, json_t *graph, struct tl_capsule *cap)
{
    const json_t *edges = json_object_get(graph, "edges"), *nodes = json_object_get(graph, "nodes");
    const char *end = NULL;
    for (size_t i = 0; i < json_array_size(nodes) && !end; i++) {
        const char *type = tl_json_str(json_array_get(nodes, i), "type");
        if (type && strcmp(type, "graph.output") == 0)
            end = tl_json_str(json_array_get(nodes, i), "id");
    }
    struct tl_port *out = tl_arena_alloc(arena, (json_array_size(edges) + 1) * sizeof(*out));
    size_t n = 0;
    if (!out)
        return TL_ENOMEM;
    for (size_t i = 0; end && i < json_array_size(edges); i++) {
        const json_t *e = json_array_get(edges, i);
        const char *target = tl_json_str(e, "target"), *handle = tl_json_str(e, "targetHandle");
        if (!target || !handle || strcmp(target, end) != 0)
            continue;
        size_t k = 0;
        while (k < n && strcmp(out[k].name, handle) != 0)
            k++;
        if (k == n)
            out[n++] = (struct tl_port){.name = handle, .type = TL_T_ANY};
    }
    cap->out = out;
    cap->nout = n;
    return 0;
}

static int make_plan(const struct tl_capsule *cap, json_t *graph, struct tl_services *services, struct tl_plan **ret,
                     struct tl_diag *diag)
{
    struct tl_cap_env scope = {.services = services, .org = cap->owner, .nesting = 1};
    struct tl_graph_env env = {
        .find_op = tl_cap_find_op, .arg = &scope, .allow_private = true, .admin = true, .in = cap->in, .out = cap->out};
    return tl_plan_json(graph, &env, NULL, 0, ret, diag);
}

int tl_capsule_check(struct tl_services *services, const char *owner, const struct tl_cap_spec *spec,
                     json_t *private_doc, struct tl_diag *diag)
{
    struct tl_arena arena = {0};
    struct tl_capsule cap = {.spec = spec, .owner = owner};
    struct tl_plan *plan = NULL;
    int err = make_in(&arena, spec, &cap);
    if (!err)
        err = make_out(&arena, private_doc, &cap);
    if (!err)
        err = make_plan(&cap, private_doc, services, &plan, diag);
    for (uint32_t i = 0; i < spec->noutputs && (!err || err == TL_EINVAL); i++) {
        size_t k = 0;
        while (k < cap.nout && strcmp(cap.out[k].name, spec->outputs[i].name) != 0)
            k++;
        if (k == cap.nout)
            err = tl_diag_add(diag, NULL, spec->outputs[i].name, "$.edges",
                              "the declared output \"%s\" is not connected to graph.output", spec->outputs[i].name);
    }
    tl_plan_unref(plan);
    tl_arena_clear(&arena);
    return err;
}

int tl_capsule_plan(struct tl_capsule *cap, struct tl_services *services, struct tl_plan **ret)
{
    struct entry *e = (struct entry *)cap;
    struct tl_diag inside = {0}; /* about private nodes: nobody is told */
    int err = 0;
    *ret = NULL;
    pthread_mutex_lock(&e->plan_lock);
    if (!e->plan)
        err = make_plan(cap, e->doc, services, &e->plan, &inside);
    if (!err)
        *ret = tl_plan_ref(e->plan);
    pthread_mutex_unlock(&e->plan_lock);
    for (size_t i = 0; i < inside.count; i++)
        if (inside.items[i].message)
            tl_wipe(inside.items[i].message, strlen(inside.items[i].message));
    tl_diag_clear(&inside);
    return err && err != TL_ENOMEM ? TL_ECAPSULE_RUN : err;
}

/* ---- opening ---- */

static void entry_free(struct entry *e)
{
    if (!e)
        return;
    bool wiped = tl_json_wiped(true);
    tl_plan_unref(e->plan);
    tl_ngrams_free(e->texts);
    tl_cap_spec_free(e->spec);
    json_decref(e->doc);
    tl_json_wiped(wiped);
    tl_arena_clear(&e->arena);
    pthread_mutex_destroy(&e->plan_lock);
    free(e);
}

/* Everything was verified: what does not parse now was sealed wrong, which is no different to whoever asks. */
static int read_plain(struct entry *e, const struct tl_capsule_ref *ref, const char *plain, size_t len)
{
    TL_AUTO_JSON json_t *all = NULL;
    if (tl_json_parse(plain, len, &all, NULL) < 0)
        return TL_ECAPSULE;
    json_t *spec = json_object_get(all, "spec"), *doc = json_object_get(all, "private");
    e->doc = json_incref(doc);
    int err = json_is_object(doc) ? tl_cap_spec_parse(spec, &e->spec, NULL) : TL_ECAPSULE;
    if (err)
        return err == TL_ENOMEM ? err : TL_ECAPSULE;
    e->pub.spec = e->spec;
    if (strcmp(e->spec->id, ref->id.capsule) != 0 || strcmp(e->spec->version, ref->id.version) != 0)
        return TL_ECAPSULE;
    err = make_in(&e->arena, e->spec, &e->pub);
    if (!err)
        err = make_out(&e->arena, doc, &e->pub);
    if (!err)
        err = tl_ngrams_new(doc, &e->texts);
    e->pub.texts = e->texts;
    return err;
}

static int entry_new(struct tl_capsules *set, const struct tl_capsule_ref *ref, const struct tl_capsule_bytes *b,
                     struct entry **ret)
{
    struct entry *e = tl_calloc(1, sizeof(*e));
    const uint8_t *plain;
    size_t len;
    if (!e)
        return TL_ENOMEM;
    pthread_mutex_init(&e->plan_lock, NULL);
    e->set = set;
    e->pub.owner = tl_arena_strdup(&e->arena, ref->id.org);
    memcpy(e->pub.digest, ref->digest, TL_DIGEST_LEN);
    tl_hex(ref->digest, TL_DIGEST_LEN, e->pub.digest_hex);
    uint8_t digest[TL_DIGEST_LEN];
    int err = e->pub.owner ? tl_unseal(set->kr, &ref->id, b->wrap, b->wrap_len, b->blob, b->len, set->locked, &plain,
                                       &len, digest)
                           : TL_ENOMEM;
    if (!err && !tl_equal_const_time(digest, ref->digest, TL_DIGEST_LEN))
        err = TL_ECAPSULE;
    if (!err) {
        bool wiped = tl_json_wiped(true);
        err = read_plain(e, ref, (const char *)plain, len);
        tl_json_wiped(wiped);
    }
    e->bytes = b->len * 4; /* what jansson and the plan make of it, roughly */
    tl_locked_wipe(set->locked);
    if (err)
        entry_free(e);
    else
        *ret = e;
    return err;
}

/* ---- the cache ---- */

int tl_capsules_new(struct tl_keyring *kr, size_t most, struct tl_capsules **ret)
{
    *ret = NULL;
    struct tl_capsules *set = tl_calloc(1, sizeof(*set));
    if (!set)
        return TL_ENOMEM;
    set->kr = kr;
    set->most = most;
    pthread_mutex_init(&set->lock, NULL);
    int err = tl_locked_new(&set->locked);
    if (err)
        tl_capsules_free(set);
    else
        *ret = set;
    return err;
}

void tl_capsules_free(struct tl_capsules *set)
{
    if (!set)
        return;
    while (set->head) {
        struct entry *e = set->head;
        set->head = e->next;
        entry_free(e);
    }
    tl_locked_free(set->locked);
    pthread_mutex_destroy(&set->lock);
    free(set);
}

size_t tl_capsules_count(struct tl_capsules *set)
{
    pthread_mutex_lock(&set->lock);
    size_t n = set->count;
    pthread_mutex_unlock(&set->lock);
    return n;
}

/* In use: somebody holds it, or a run still holds its plan. Only the cache hands out references, so under its lock "no"
 * stays "no". */
static bool busy(struct entry *e)
{
    return e->refs > 0 || (e->plan && e->plan->refs > 1);
}

static void evict(struct tl_capsules *set)
{
    while (set->count > set->most || set->bytes > TL_CAPSULES_KEPT_BYTES) {
        struct entry **oldest = NULL;
        for (struct entry **at = &set->head; *at; at = &(*at)->next)
            if (!busy(*at) && (!oldest || (*at)->used < (*oldest)->used))
                oldest = at;
        if (!oldest)
            return;
        struct entry *gone = *oldest;
        *oldest = gone->next;
        set->count--;
        set->bytes -= gone->bytes;
        entry_free(gone);
    }
}

static struct entry *find(struct tl_capsules *set, const struct tl_capsule_ref *ref)
{
    for (struct entry *e = set->head; e; e = e->next)
        if (memcmp(e->pub.digest, ref->digest, TL_DIGEST_LEN) == 0)
            /* One blob under another name is no hit: it must fail as it would without the cache. */
            return strcmp(e->pub.owner, ref->id.org) == 0 && strcmp(e->spec->id, ref->id.capsule) == 0 &&
                           strcmp(e->spec->version, ref->id.version) == 0
                       ? e
                       : NULL;
    return NULL;
}

int tl_capsules_open(struct tl_capsules *set, const struct tl_capsule_ref *ref,
                     int (*fetch)(void *arg, const uint8_t digest[TL_DIGEST_LEN], struct tl_capsule_bytes *ret),
                     void *arg, struct tl_capsule **ret)
{
    int err = 0;
    *ret = NULL;
    pthread_mutex_lock(&set->lock);
    struct entry *e = find(set, ref);
    if (!e) {
        struct tl_capsule_bytes b = {0};
        err = fetch(arg, ref->digest, &b);
        if (!err)
            err = entry_new(set, ref, &b, &e);
        free(b.blob);
        free(b.wrap);
        if (!err) {
            e->next = set->head;
            set->head = e;
            set->count++;
            set->bytes += e->bytes;
        }
    }
    if (!err) {
        e->used = ++set->clock;
        e->refs++;
        *ret = &e->pub;
        evict(set);
    }
    pthread_mutex_unlock(&set->lock);
    return err;
}

void tl_capsule_unref(struct tl_capsule *cap)
{
    if (cap)
        ((struct entry *)cap)->refs--;
}

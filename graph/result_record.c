#include "graph/result_priv.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#include <string.h>

enum {
    AT_RUN = TL_RECORD_STAMP + 8,
    AT_REST = AT_RUN + TL_ID_LEN,
    USAGE_LEN = 24,
    HASH = 32,
};

static bool in_place(enum tl_type type)
{
    return type == TL_T_ANY || type == TL_T_NUMBER || type == TL_T_BOOLEAN;
}

static uint8_t *put_le(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (uint8_t)(v >> (8 * i));
    return p;
}

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static uint8_t *put_double(uint8_t *p, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return put_le(p, bits, 8);
}

static double get_double(const uint8_t *p)
{
    uint64_t bits = get_le(p, 8);
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint8_t *put_head(uint8_t *p, const struct tl_record_head *head, uint32_t n)
{
    const struct tl_usage *u = &head->facts.usage;
    bool usage = u->tokens_in || u->tokens_out || u->cost_usd != 0;
    *p++ = TL_RECORD_FORMAT;
    *p++ = (uint8_t)((head->flags & ~TL_RECORD_USAGE) | (usage ? TL_RECORD_USAGE : 0));
    tl_key_u64(p, head->facts.stamp);
    memcpy(p + 8, head->facts.run.b, TL_ID_LEN);
    p += 8 + TL_ID_LEN;
    if (usage) {
        p = put_le(p, (uint64_t)u->tokens_in, 8);
        p = put_le(p, (uint64_t)u->tokens_out, 8);
        p = put_double(p, u->cost_usd);
    }
    return put_le(p, n, 2);
}

static void free_texts(char **texts, uint32_t n)
{
    for (uint32_t i = 0; texts && i < n; i++)
        free(texts[i]);
    free(texts);
}

/* The JSON texts of the values that are kept as such; NULL where there are none. */
static int make_texts(const struct tl_value *values, uint32_t n, char ***ret, size_t *ret_bytes)
{
    *ret = NULL;
    *ret_bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (in_place(values[i].type))
            continue;
        if (!*ret && !(*ret = tl_calloc(n, sizeof(**ret))))
            return TL_ENOMEM;
        (*ret)[i] = tl_json_text(values[i].json);
        size_t len = (*ret)[i] ? strlen((*ret)[i]) : UINT32_MAX;
        if (len >= UINT32_MAX / 4) {
            free_texts(*ret, n);
            return TL_ENOMEM;
        }
        *ret_bytes += HASH + 4 + len;
    }
    return 0;
}

struct tl_kept *tl_record_new(const struct tl_record_head *head, const struct tl_value *values, uint32_t n,
                              const uint8_t *hashes, size_t room)
{
    char **texts;
    size_t bytes;
    if (n > UINT16_MAX || make_texts(values, n, &texts, &bytes) < 0)
        return NULL;
    size_t most = room + AT_REST + USAGE_LEN + 2 + 9 * (size_t)n + bytes;
    struct tl_kept *kept = most < UINT32_MAX ? malloc(sizeof(*kept) + most) : NULL;
    uint8_t *p = kept ? put_head(kept->bytes + room, head, n) : NULL;
    for (uint32_t i = 0; p && i < n; i++) {
        *p++ = (uint8_t)values[i].type;
        if (values[i].type == TL_T_NUMBER) {
            p = put_double(p, values[i].number);
        } else if (values[i].type == TL_T_BOOLEAN) {
            *p++ = values[i].boolean;
        } else if (values[i].type != TL_T_ANY) {
            size_t len = strlen(texts[i]);
            memcpy(p, hashes + (size_t)HASH * i, HASH);
            p = put_le(p + HASH, len, 4);
            memcpy(p, texts[i], len);
            p += len;
        }
    }
    if (kept) {
        kept->next = NULL;
        kept->kind = TL_KEPT_RESULT;
        kept->len = (uint32_t)(p - kept->bytes);
    }
    free_texts(texts, n);
    return kept;
}

struct reader {
    const uint8_t *p;
    size_t left;
};

static const uint8_t *take(struct reader *r, size_t len)
{
    if (len > r->left)
        return NULL;
    const uint8_t *p = r->p;
    r->p += len;
    r->left -= len;
    return p;
}

static int read_head(struct reader *r, struct tl_record_head *head, uint32_t n)
{
    const uint8_t *p = take(r, AT_REST);
    if (!p || p[0] != TL_RECORD_FORMAT)
        return TL_ENOTFOUND;
    *head = (struct tl_record_head){.flags = p[1], .facts.stamp = tl_key_u64_read(p + TL_RECORD_STAMP)};
    memcpy(head->facts.run.b, p + AT_RUN, TL_ID_LEN);
    if (head->flags & TL_RECORD_USAGE) {
        if (!(p = take(r, USAGE_LEN)))
            return TL_ENOTFOUND;
        head->facts.usage = (struct tl_usage){.tokens_in = (int64_t)get_le(p, 8),
                                              .tokens_out = (int64_t)get_le(p + 8, 8),
                                              .cost_usd = get_double(p + 16)};
    }
    p = take(r, 2);
    return p && get_le(p, 2) == n ? 0 : TL_ENOTFOUND;
}

/* One output: its value where it is a number or boolean, else its type, hash and text. */
struct output {
    struct tl_value v;
    const uint8_t *hash;
    const char *text;
    size_t len;
};

static int read_output(struct reader *r, struct output *o)
{
    memset(o, 0, sizeof(*o));
    const uint8_t *p = take(r, 1);
    if (!p || *p >= TL_T_COUNT)
        return TL_ENOTFOUND;
    enum tl_type type = (enum tl_type) * p;
    if (type == TL_T_NUMBER) {
        if (!(p = take(r, 8)))
            return TL_ENOTFOUND;
        o->v = tl_value_number(get_double(p));
    } else if (type == TL_T_BOOLEAN) {
        if (!(p = take(r, 1)))
            return TL_ENOTFOUND;
        o->v = tl_value_bool(*p);
    } else if (type != TL_T_ANY) {
        if (!(p = take(r, HASH + 4)))
            return TL_ENOTFOUND;
        o->v.type = type;
        o->hash = p;
        o->len = (size_t)get_le(p + HASH, 4);
        if (!(o->text = (const char *)take(r, o->len)))
            return TL_ENOTFOUND;
    }
    return 0;
}

static int make_value(const struct output *o, struct tl_value *ret)
{
    if (!o->hash) {
        *ret = o->v;
        return 0;
    }
    json_t *j = NULL;
    int err = tl_json_parse(o->text, o->len, &j, NULL);
    if (!err)
        err = tl_value_from_json(o->v.type, j, ret, NULL);
    json_decref(j);
    return err == TL_ENOMEM ? err : err ? TL_ENOTFOUND : 0;
}

int tl_record_read(const void *bytes, size_t len, struct tl_record_head *ret_head, struct tl_value *values, uint32_t n,
                   uint8_t **ret_hashes)
{
    struct reader r = {bytes, len};
    uint8_t *hashes = NULL;
    int err = read_head(&r, ret_head, n);
    uint32_t i = 0;
    for (; !err && i < n; i++) {
        struct output o;
        err = read_output(&r, &o);
        if (!err)
            err = make_value(&o, &values[i]);
        if (!err && o.hash && !hashes && !(hashes = tl_calloc(n, HASH)))
            err = TL_ENOMEM;
        if (!err && o.hash)
            memcpy(hashes + (size_t)HASH * i, o.hash, HASH);
    }
    if (!err && r.left)
        err = TL_ENOTFOUND;
    if (err) {
        while (i > 0)
            tl_value_clear(&values[--i]);
        free(hashes);
        hashes = NULL;
    }
    *ret_hashes = hashes;
    return err;
}

int tl_record_hashes(const void *bytes, size_t len, struct tl_record_head *ret_head, uint32_t n, uint8_t *ret)
{
    struct reader r = {bytes, len};
    int err = read_head(&r, ret_head, n);
    for (uint32_t i = 0; !err && i < n; i++) {
        struct output o;
        err = read_output(&r, &o);
        if (!err && o.hash)
            memcpy(ret + (size_t)HASH * i, o.hash, HASH);
        else if (!err)
            err = tl_value_hash(&o.v, ret + (size_t)HASH * i);
    }
    return err;
}

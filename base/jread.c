#include "base/jread.h"

#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FEW_KEYS = 8, /* so many are compared with one another as they come, more are sorted at the end of their object */
    SHORT_NUMBER = 64 /* bytes; a longer one is copied to the heap where it is converted the long way */
};

void tl_jread_init(struct tl_jread *r, const char *text, size_t len, struct tl_arena *arena)
{
    memset(r, 0, offsetof(struct tl_jread, first_key));
    r->first_key[0] = 0;
    r->keys = NULL;
    r->nkeys = r->keys_cap = 0;
    r->text = r->at = text;
    r->end = text + len;
    r->arena = arena;
}

void tl_jread_again(struct tl_jread *r, const char *text, size_t len)
{
    r->text = r->at = text;
    r->end = text + len;
    r->depth = r->containers = r->commas = 0;
    r->nkeys = 0;
    r->fresh = false;
}

/* Whatever is asked afterwards finds the end of the text. */
static bool fail(struct tl_jread *r, int err, const char *why)
{
    if (!r->err) {
        r->err = err;
        r->why = why;
        r->wrong = r->at;
    }
    r->at = r->end;
    return false;
}

static bool bad(struct tl_jread *r, const char *why)
{
    return fail(r, TL_EINVAL, r->at == r->end ? "the text ends too early" : why);
}

static bool too_much(struct tl_jread *r, const char *why)
{
    r->too_much |= !r->err;
    return fail(r, TL_EINVAL, why);
}

static inline int next(struct tl_jread *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
    return r->at < r->end ? (unsigned char)*r->at : -1;
}

enum tl_jkind tl_jread_kind(struct tl_jread *r)
{
    int c = next(r);
    switch (c) {
    case '{':
        return TL_J_OBJECT;
    case '[':
        return TL_J_LIST;
    case '"':
        return TL_J_STRING;
    case 't':
    case 'f':
        return TL_J_BOOLEAN;
    case 'n':
        return TL_J_NULL;
    default:
        return c == '-' || (c >= '0' && c <= '9') ? TL_J_NUMBER : TL_J_NONE;
    }
}

/* ---- strings ---- */

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)s[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* The code point of \uXXXX at s (behind the backslash), a pair of surrogates included; -1 where it is none. */
static int32_t unicode(const char *s, const char *end, size_t *ret_len)
{
    int hi = end - s >= 5 ? hex4(s + 1) : -1;
    *ret_len = 5;
    if (hi < 0xd800 || hi > 0xdfff)
        return hi;
    int lo = hi < 0xdc00 && end - s >= 11 && s[5] == '\\' && s[6] == 'u' ? hex4(s + 7) : -1;
    *ret_len = 11;
    return lo < 0xdc00 || lo > 0xdfff ? -1 : 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
}

static size_t escape(const char *s, const char *end)
{
    size_t n = 1;
    if (s < end && *s == 'u')
        return unicode(s, end, &n) > 0 ? n : 0; /* U+0000 would end a C string */
    return s < end && *s && strchr("\"\\/bfnrt", *s) ? n : 0;
}

/* Up to the first byte that is a quote, a backslash, a control character or not ASCII: eight bytes at a time, each with its highest bit set where it is
 * one. The lowest that is set is right; what borrows from it only touches those above. */
static inline const char *pass_plain(const char *p, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101u;
    for (uint64_t x; end - p >= 8; p += 8) {
        memcpy(&x, p, 8);
        uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
        uint64_t found = ((quote - ones) | (slash - ones) | (x - ones * 0x20) | x) & (ones * 0x80);
        if (found)
            return p + __builtin_ctzll(found) / 8;
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80)
        p++;
    return p;
}

/* Passes over the string at the quote; raw is what stands between the quotes. */
static inline bool pass_string(struct tl_jread *r, struct tl_jtext *ret_raw, bool *ret_escaped)
{
    const char *start = r->at + 1, *p = start;
    unsigned char high = 0;
    *ret_escaped = false;
    for (;;) {
        while ((p = pass_plain(p, r->end)) < r->end && (unsigned char)*p >= 0x80)
            high = (unsigned char)*p++;
        if (p == r->end || *p != '\\')
            break;
        size_t n = escape(p + 1, r->end);
        if (!n) {
            r->at = p;
            return bad(r, "no such escape");
        }
        *ret_escaped = true;
        p += 1 + n;
    }
    r->at = p;
    if (p == r->end || *p != '"')
        return bad(r, "a control character in a string");
    *ret_raw = (struct tl_jtext){start, (size_t)(p - start)};
    if (high && !tl_utf8_valid(start, ret_raw->len)) {
        r->at = start;
        return bad(r, "a string is not valid UTF-8");
    }
    r->at++;
    r->fresh = false;
    return true;
}

static size_t put_utf8(char *to, int32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(lead[n] | c);
    return n;
}

/* raw has been passed over, so its escapes are sound. */
static bool decode(struct tl_jread *r, struct tl_jtext raw, struct tl_jtext *ret)
{
    static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
    char *to = tl_arena_alloc(r->arena, raw.len + 1), *start = to;
    if (!to)
        return fail(r, TL_ENOMEM, NULL);
    for (const char *p = raw.s, *end = raw.s + raw.len; p < end;) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        size_t n = 1;
        const char *plain = strchr(from, *++p);
        if (*p == 'u')
            to += put_utf8(to, unicode(p, end, &n));
        else
            *to++ = plain ? into[plain - from] : *p;
        p += n;
    }
    *ret = (struct tl_jtext){start, (size_t)(to - start)};
    return true;
}

bool tl_jread_string(struct tl_jread *r, struct tl_jtext *ret)
{
    bool escaped;
    if (next(r) != '"')
        return bad(r, "a string is expected");
    return pass_string(r, ret, &escaped) && (!escaped || decode(r, *ret, ret));
}

/* ---- numbers ---- */

struct number {
    const char *start, *end;
    uint64_t mantissa; /* of the first 19 digits that count */
    int32_t digits;    /* that count: without leading zeros */
    int32_t exponent;  /* of ten, for all digits as one integer; clamped */
    bool negative, real;
};

static inline bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static const char *pass_digits(const char *p, const char *end, struct number *n)
{
    for (; is_digit(p, end); p++) {
        if (n->digits < 19)
            n->mantissa = n->mantissa * 10 + (uint64_t)(*p - '0');
        if (n->digits < 100000)
            n->digits += n->digits || *p != '0';
    }
    return p;
}

static bool pass_number(struct tl_jread *r, struct number *n)
{
    const char *p = r->at, *end = r->end;
    *n = (struct number){.start = p, .negative = *p == '-'};
    p += n->negative;
    const char *whole = p;
    p = pass_digits(p, end, n);
    bool ok = p > whole && (*whole != '0' || p == whole + 1);
    if (ok && p < end && *p == '.') {
        const char *fraction = ++p;
        p = pass_digits(p, end, n);
        n->exponent = p - fraction < 100000 ? -(int32_t)(p - fraction) : -100000;
        n->real = true;
        ok = p > fraction;
    }
    if (ok && p < end && (*p == 'e' || *p == 'E')) {
        bool minus = ++p < end && *p == '-';
        int32_t e = 0;
        p += p < end && (*p == '-' || *p == '+');
        ok = is_digit(p, end);
        for (; is_digit(p, end); p++)
            e = e < 100000 ? e * 10 + (*p - '0') : e;
        n->exponent += minus ? -e : e;
        n->real = true;
    }
    n->end = r->at = p;
    r->fresh = false;
    return ok || bad(r, "no number");
}

/* Correctly rounded by the C library, as what is seldom written needs it. */
static bool long_way(struct tl_jread *r, const struct number *n, double *ret)
{
    size_t len = (size_t)(n->end - n->start);
    char small[SHORT_NUMBER], *copy = len < sizeof(small) ? small : malloc(len + 1);
    if (!copy)
        return fail(r, TL_ENOMEM, NULL);
    memcpy(copy, n->start, len);
    copy[len] = '\0';
    *ret = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    r->at = isfinite(*ret) ? r->at : n->start;
    return isfinite(*ret) || bad(r, "a number is too large");
}

/* Integers are those of 64 bits. */
static bool in_range(struct tl_jread *r, const struct number *n)
{
    if (n->digits < 19 || (n->digits == 19 && n->mantissa <= (uint64_t)INT64_MAX + n->negative))
        return true;
    r->at = n->start;
    return bad(r, "an integer is too large");
}

bool tl_jread_number(struct tl_jread *r, double *ret)
{
    static const double ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct number n;
    if (tl_jread_kind(r) != TL_J_NUMBER)
        return bad(r, "a number is expected");
    if (!pass_number(r, &n) || (!n.real && !in_range(r, &n)))
        return false;
    /* Exact: both sides of one rounded operation are integers that a double holds. */
    if (n.real && (n.digits > 15 || n.exponent < -22 || n.exponent > 22))
        return long_way(r, &n, ret);
    double v = (double)n.mantissa;
    v = n.exponent < 0 ? v / ten[-n.exponent] : v * ten[n.exponent];
    *ret = n.negative && (n.real || n.mantissa) ? -v : v;
    return true;
}

static bool skip_number(struct tl_jread *r)
{
    struct number n;
    double v;
    if (!pass_number(r, &n) || (!n.real && !in_range(r, &n)))
        return false;
    return !n.real || n.digits + n.exponent < 300 || long_way(r, &n, &v);
}

/* ---- words ---- */

static bool word(struct tl_jread *r, const char *text, size_t len)
{
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0)
        return bad(r, "a value is expected");
    r->at += len;
    r->fresh = false;
    return true;
}

bool tl_jread_boolean(struct tl_jread *r, bool *ret)
{
    *ret = next(r) == 't';
    return *ret ? word(r, "true", 4) : word(r, "false", 5);
}

/* ---- objects and lists ---- */

static void enter(struct tl_jread *r, char c)
{
    if (next(r) != c) {
        bad(r, c == '{' ? "an object is expected" : "a list is expected");
    } else if (r->depth == TL_JSON_MAX_DEPTH) {
        too_much(r, "the JSON is nested too deep");
    } else if (++r->containers > TL_JSON_MAX_CONTAINERS) {
        too_much(r, "the JSON has too many values");
    } else {
        r->at++;
        r->first_key[++r->depth] = (uint32_t)r->nkeys;
        r->fresh = true;
    }
}

void tl_jread_object(struct tl_jread *r)
{
    enter(r, '{');
}

void tl_jread_list(struct tl_jread *r)
{
    enter(r, '[');
}

/* Goes to where the next member begins; false at the end, which is left behind, or with a problem. */
static bool member(struct tl_jread *r, char close)
{
    int c = next(r);
    if (c == close) {
        r->at++;
        r->depth--;
        r->fresh = false;
        return false;
    }
    if (r->fresh)
        return c >= 0 || bad(r, "");
    if (c != ',')
        return bad(r, close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
    if (++r->commas > TL_JSON_MAX_VALUES)
        return too_much(r, "the JSON has too many values");
    r->at++;
    return true;
}

bool tl_jread_item(struct tl_jread *r)
{
    return member(r, ']');
}

static int by_text(const void *a, const void *b)
{
    const struct tl_jtext *x = a, *y = b;
    return x->len != y->len ? (x->len < y->len ? -1 : 1) : memcmp(x->s, y->s, x->len);
}

static void leave_object(struct tl_jread *r, uint32_t first)
{
    size_t n = r->nkeys - first;
    r->nkeys = first;
    if (n <= FEW_KEYS)
        return;
    struct tl_jtext *keys = r->keys + first;
    qsort(keys, n, sizeof(*keys), by_text);
    for (size_t i = 1; i < n; i++)
        if (by_text(&keys[i - 1], &keys[i]) == 0) {
            bad(r, "an object has a key twice");
            return;
        }
}

static bool add_key(struct tl_jread *r, struct tl_jtext key)
{
    uint32_t first = r->first_key[r->depth];
    if (r->nkeys - first < FEW_KEYS)
        for (size_t i = first; i < r->nkeys; i++)
            if (r->keys[i].len == key.len &&
                (!key.len || (r->keys[i].s[0] == key.s[0] && memcmp(r->keys[i].s, key.s, key.len) == 0)))
                return bad(r, "an object has a key twice");
    if (r->nkeys == r->keys_cap && tl_grow(&r->keys, &r->keys_cap, r->nkeys + 1, sizeof(*r->keys)) < 0)
        return fail(r, TL_ENOMEM, NULL);
    r->keys[r->nkeys++] = key;
    return true;
}

bool tl_jread_key(struct tl_jread *r, struct tl_jtext *ret)
{
    uint32_t first = r->first_key[r->depth];
    if (!member(r, '}')) {
        if (!r->err)
            leave_object(r, first);
        return false;
    }
    if (!tl_jread_string(r, ret) || !add_key(r, *ret))
        return false;
    if (next(r) != ':')
        return bad(r, "':' is expected");
    r->at++;
    return true;
}

static bool skip_scalar(struct tl_jread *r, enum tl_jkind kind)
{
    struct tl_jtext raw;
    bool b;
    switch (kind) {
    case TL_J_STRING:
        return pass_string(r, &raw, &b);
    case TL_J_NUMBER:
        return skip_number(r);
    case TL_J_BOOLEAN:
        return tl_jread_boolean(r, &b);
    case TL_J_NULL:
        return word(r, "null", 4);
    default:
        return bad(r, "a value is expected");
    }
}

bool tl_jread_skip(struct tl_jread *r, struct tl_jtext *ret)
{
    uint64_t objects[2] = {0}; /* a bit a level: an object, not a list */
    uint32_t base = r->depth;
    next(r);
    const char *start = r->at;
    do {
        enum tl_jkind kind = tl_jread_kind(r);
        if (kind == TL_J_OBJECT || kind == TL_J_LIST) {
            enter(r, kind == TL_J_OBJECT ? '{' : '[');
            uint64_t bit = 1ull << (r->depth % 64);
            objects[r->depth / 64] = kind == TL_J_OBJECT ? objects[r->depth / 64] | bit : objects[r->depth / 64] & ~bit;
        } else {
            skip_scalar(r, kind);
        }
        struct tl_jtext key;
        while (!r->err && r->depth > base &&
               !(objects[r->depth / 64] >> (r->depth % 64) & 1 ? tl_jread_key(r, &key) : tl_jread_item(r)))
            ;
    } while (!r->err && r->depth > base);
    if (ret)
        *ret = r->err ? (struct tl_jtext){"", 0} : (struct tl_jtext){start, (size_t)(r->at - start)};
    return !r->err;
}

/* ---- the end ---- */

static int told(const struct tl_jread *r, struct tl_diag *diag)
{
    size_t line = 1, column = 1;
    if (r->too_much)
        return tl_diag_add(diag, NULL, NULL, "$", "%s: at most %d levels, %d objects and lists, %d values", r->why,
                           TL_JSON_MAX_DEPTH, TL_JSON_MAX_CONTAINERS, TL_JSON_MAX_VALUES);
    for (const char *p = r->text; p < r->wrong; p++) {
        line += *p == '\n';
        column = *p == '\n' ? 1 : column + (((unsigned char)*p & 0xc0) != 0x80); /* characters, not bytes */
    }
    return tl_diag_add(diag, NULL, NULL, "$", "not valid JSON at line %zu, column %zu: %s", line, column, r->why);
}

int tl_jread_end(struct tl_jread *r)
{
    if (!r->err && next(r) >= 0)
        bad(r, "the end is expected");
    return r->err;
}

int tl_jread_finish(struct tl_jread *r, struct tl_diag *diag)
{
    tl_jread_end(r);
    free(r->keys);
    r->keys = NULL;
    return r->err == TL_EINVAL ? told(r, diag) : r->err;
}

/* Reading a condition: tokens, a recursive descent of bounded depth, and the checks that the roots' types allow. */
#include "graph/cond_tree.h"

#include "base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum token { T_END, T_NAME, T_NUMBER, T_STRING, T_OPEN, T_CLOSE, T_LIST, T_LIST_END, T_DOT, T_COMMA, T_COMPARE, T_BAD };

/* What is known of a term before it has a value. */
enum known { KNOWN_NOTHING, KNOWN_NULL, KNOWN_BOOLEAN, KNOWN_NUMBER, KNOWN_STRING, KNOWN_LIST };
static const char *const known_names[] = {"", "null", "a boolean", "a number", "a text", "a list"};

struct reader {
    const char *text, *at, *end;
    const struct tl_port *roots;
    struct tl_arena *arena;
    struct tl_str *why;
    int err, depth;
    enum token token;
    const char *start; /* of the token */
    size_t len;
    enum tl_cond_op op; /* of T_COMPARE */
};

static void fail_at(struct reader *r, const char *at, const char *message)
{
    unsigned column = 1;
    if (r->err)
        return;
    for (const char *p = r->text; p < at; p++)
        column += ((unsigned char)*p & 0xc0) != 0x80;
    r->err = TL_EINVAL;
    tl_str_printf(r->why, "column %u: %s", column, message);
}

static void expected(struct reader *r, const char *what)
{
    char message[160];
    size_t n = r->len < 40 ? r->len : 40;
    while (n > 0 && n < r->len && ((unsigned char)r->start[n] & 0xc0) == 0x80)
        n--;
    if (r->token == T_END)
        snprintf(message, sizeof(message), "expected %s, found the end", what);
    else
        snprintf(message, sizeof(message), "expected %s, found %.*s%s", what, (int)n, r->start, n < r->len ? "…" : "");
    fail_at(r, r->start, message);
}

static void *make(struct reader *r, size_t size)
{
    void *p = r->err ? NULL : tl_arena_alloc(r->arena, size);
    if (!p && !r->err)
        r->err = TL_ENOMEM;
    return p;
}

/* ---- tokens ---- */

static bool name_char(char c)
{
    return c == '_' || isalnum((unsigned char)c);
}

/* JSON's form: digits without leading zeros, a fraction, an exponent. */
static const char *number_end(const char *p, const char *end)
{
    const char *digits;
    p += p < end && *p == '-';
    for (digits = p; p < end && isdigit((unsigned char)*p);)
        p++;
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    if (p < end && *p == '.') {
        for (digits = ++p; p < end && isdigit((unsigned char)*p);)
            p++;
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        for (digits = p; p < end && isdigit((unsigned char)*p);)
            p++;
        if (p == digits)
            return NULL;
    }
    return p < end && name_char(*p) ? NULL : p;
}

static const char *string_end(const char *p, const char *end)
{
    char quote = *p++;
    while (p < end && *p != quote)
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    return p < end ? p + 1 : NULL;
}

static enum token compare_token(struct reader *r)
{
    static const struct {
        char text[3];
        enum tl_cond_op op;
    } ops[] = {{"==", TL_COND_EQ}, {"!=", TL_COND_NE}, {"<=", TL_COND_LE},
               {">=", TL_COND_GE}, {"<", TL_COND_LT},  {">", TL_COND_GT}};
    for (size_t i = 0; i < TL_ARRAY_LEN(ops); i++) {
        size_t n = strlen(ops[i].text);
        if ((size_t)(r->end - r->at) >= n && memcmp(r->at, ops[i].text, n) == 0) {
            r->op = ops[i].op;
            r->at += n;
            return T_COMPARE;
        }
    }
    return T_BAD;
}

static enum token read_token(struct reader *r)
{
    static const char single[] = "()[].,";
    static const enum token tokens[] = {T_OPEN, T_CLOSE, T_LIST, T_LIST_END, T_DOT, T_COMMA};
    const char *p = r->at, *end = NULL;
    if (p == r->end)
        return T_END;
    const char *s = *p ? strchr(single, *p) : NULL;
    if (s) {
        r->at++;
        return tokens[s - single];
    }
    if (name_char(*p) && !isdigit((unsigned char)*p)) {
        while (r->at < r->end && name_char(*r->at))
            r->at++;
        return T_NAME;
    }
    if (*p == '-' || isdigit((unsigned char)*p))
        end = number_end(p, r->end);
    else if (*p == '"' || *p == '\'')
        end = string_end(p, r->end);
    else
        return compare_token(r);
    r->at = end ? end : r->at;
    return !end ? T_BAD : *p == '"' || *p == '\'' ? T_STRING : T_NUMBER;
}

static void next(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
    r->start = r->at;
    r->token = read_token(r);
    if (r->token == T_BAD)
        r->at = r->end; /* the rest is shown, nothing more is read */
    r->len = (size_t)(r->at - r->start);
}

static bool is_word(const struct reader *r, const char *word)
{
    return r->token == T_NAME && r->len == strlen(word) && memcmp(r->start, word, r->len) == 0;
}

static bool is_reserved(const struct reader *r)
{
    static const char *const words[] = {"and", "or", "not", "in", "true", "false", "null", "len"};
    for (size_t i = 0; i < TL_ARRAY_LEN(words); i++)
        if (is_word(r, words[i]))
            return true;
    return false;
}

/* ---- terms ---- */

static const char *unescape(struct reader *r, size_t *ret_len)
{
    char *copy = make(r, r->len), *to = copy;
    const char *end = r->start + r->len - 1;
    for (const char *p = r->start + 1; copy && p < end; p++) {
        char c = *p;
        if (c == '\\') {
            c = *++p;
            if (c == 'n' || c == 't')
                c = c == 'n' ? '\n' : '\t';
            else if (c != '\\' && c != '"' && c != '\'')
                fail_at(r, p - 1, "a backslash stands before \\, n, t or a quotation mark only");
        }
        *to++ = c;
    }
    *ret_len = copy ? (size_t)(to - copy) : 0;
    return copy;
}

static struct tl_term *new_term(struct reader *r, enum tl_term_kind kind)
{
    struct tl_term *t = make(r, sizeof(*t));
    if (t)
        t->kind = kind;
    return t;
}

static struct tl_term *scalar(struct reader *r)
{
    struct tl_term *t = NULL;
    if (r->token == T_NUMBER) {
        char digits[TL_COND_MAX + 1];
        memcpy(digits, r->start, r->len);
        digits[r->len] = 0;
        if ((t = new_term(r, TL_TERM_NUMBER)))
            t->number = strpbrk(digits, ".eE") ? (long double)strtod(digits, NULL) : strtold(digits, NULL);
    } else if (r->token == T_STRING) {
        if ((t = new_term(r, TL_TERM_STRING)))
            t->text = unescape(r, &t->len);
    } else if (is_word(r, "true") || is_word(r, "false")) {
        if ((t = new_term(r, TL_TERM_BOOLEAN)))
            t->boolean = is_word(r, "true");
    } else if (is_word(r, "null")) {
        t = new_term(r, TL_TERM_NULL);
    } else {
        return NULL;
    }
    next(r);
    return t;
}

static struct tl_term *list(struct reader *r)
{
    struct tl_term *t = new_term(r, TL_TERM_LIST);
    struct tl_term **tail = t ? &t->first : NULL;
    next(r);
    for (bool more = t && r->token != T_LIST_END; more && !r->err;) {
        struct tl_term *item = scalar(r);
        if (!item) {
            expected(r, "a number, a text, true, false or null");
            return NULL;
        }
        *tail = item;
        tail = &item->next;
        if ((more = r->token == T_COMMA))
            next(r);
    }
    if (r->token != T_LIST_END)
        expected(r, "\",\" or \"]\"");
    next(r);
    return t;
}

static bool index_of(const struct reader *r, size_t *ret)
{
    *ret = 0;
    if (r->token != T_NUMBER || r->len > 7)
        return false;
    for (size_t i = 0; i < r->len; i++) {
        if (!isdigit((unsigned char)r->start[i]))
            return false;
        *ret = *ret * 10 + (size_t)(r->start[i] - '0');
    }
    return true;
}

/* After a name: ".key", "['key']", "[2]". */
static struct tl_cond_step *steps(struct reader *r)
{
    struct tl_cond_step *first = NULL, **tail = &first;
    while (!r->err && (r->token == T_DOT || r->token == T_LIST)) {
        bool dot = r->token == T_DOT;
        size_t n;
        struct tl_cond_step *s = make(r, sizeof(*s));
        next(r);
        if (!s)
            return NULL;
        if (dot && r->token == T_NAME)
            s->key = tl_arena_strndup(r->arena, r->start, r->len);
        else if (!dot && r->token == T_STRING)
            s->key = unescape(r, &n);
        else if (dot || !index_of(r, &s->index))
            expected(r, dot ? "a name" : "a place from 0 or a text");
        if (!r->err && !s->key && (dot || r->token == T_STRING))
            r->err = TL_ENOMEM;
        next(r);
        if (!dot && r->token != T_LIST_END)
            expected(r, "\"]\"");
        else if (!dot)
            next(r);
        *tail = s;
        tail = &s->next;
    }
    return first;
}

static uint32_t root_of(struct reader *r)
{
    struct tl_str message = {0};
    uint32_t i;
    for (i = 0; r->roots[i].name; i++)
        if (strlen(r->roots[i].name) == r->len && memcmp(r->roots[i].name, r->start, r->len) == 0)
            return i;
    tl_str_printf(&message, "there is no \"%.*s\" here, only", (int)(r->len < 128 ? r->len : 128), r->start);
    for (i = 0; r->roots[i].name && message.len < 500; i++)
        tl_str_printf(&message, "%s %s", i ? "," : "", r->roots[i].name);
    fail_at(r, r->start, message.data ? message.data : "an unknown name");
    tl_str_clear(&message);
    return 0;
}

static struct tl_term *path(struct reader *r)
{
    struct tl_term *t = new_term(r, TL_TERM_PATH);
    if (!t)
        return NULL;
    t->root = root_of(r);
    const char *start = r->start;
    next(r);
    t->steps = steps(r);
    enum tl_type type = r->err ? TL_T_ANY : r->roots[t->root].type;
    if (t->steps && (type == TL_T_NUMBER || type == TL_T_BOOLEAN || type == TL_T_STRING)) {
        char message[200];
        snprintf(message, sizeof(message), "\"%s\" is a %s and has no parts", r->roots[t->root].name,
                 tl_type_name(type));
        fail_at(r, start, message);
    } else if (t->steps && t->steps->key && (type == TL_T_FLOATS || type == TL_T_STRINGS)) {
        fail_at(r, start, "the parts of a list are [0], [1] …");
    }
    return t;
}

static struct tl_term *term(struct reader *r, const char *what)
{
    bool wraps = is_word(r, "len");
    if (r->token == T_LIST)
        return list(r);
    struct tl_term *t = wraps ? NULL : scalar(r);
    if (t || r->err)
        return t;
    if (wraps) {
        next(r);
        if (r->token != T_OPEN)
            expected(r, "\"(\"");
        next(r);
    }
    if (r->token != T_NAME || is_reserved(r))
        expected(r, wraps ? "a path" : what);
    t = path(r);
    if (t)
        t->length = wraps;
    if (wraps && r->token != T_CLOSE)
        expected(r, "\")\"");
    else if (wraps)
        next(r);
    return t;
}

/* ---- what types say ---- */

static enum known known(const struct reader *r, const struct tl_term *t)
{
    static const enum known of_term[] = {[TL_TERM_NULL] = KNOWN_NULL,
                                         [TL_TERM_BOOLEAN] = KNOWN_BOOLEAN,
                                         [TL_TERM_NUMBER] = KNOWN_NUMBER,
                                         [TL_TERM_STRING] = KNOWN_STRING,
                                         [TL_TERM_LIST] = KNOWN_LIST};
    if (t->kind != TL_TERM_PATH)
        return of_term[t->kind];
    if (t->length)
        return KNOWN_NUMBER;
    switch (r->roots[t->root].type) {
    case TL_T_NUMBER:
        return KNOWN_NUMBER;
    case TL_T_BOOLEAN:
        return KNOWN_BOOLEAN;
    case TL_T_STRING:
        return KNOWN_STRING;
    case TL_T_FLOATS:
        return !t->steps ? KNOWN_LIST : !t->steps->next ? KNOWN_NUMBER : KNOWN_NOTHING;
    case TL_T_STRINGS:
        return !t->steps ? KNOWN_LIST : !t->steps->next ? KNOWN_STRING : KNOWN_NOTHING;
    default:
        return KNOWN_NOTHING;
    }
}

static bool has_order(enum known k)
{
    return k == KNOWN_NOTHING || k == KNOWN_NUMBER || k == KNOWN_STRING;
}

static void check_compare(struct reader *r, const struct tl_cond *c, const char *at)
{
    char message[160] = "";
    enum known a = known(r, c->left), b = known(r, c->right);
    bool differ = a != KNOWN_NOTHING && b != KNOWN_NOTHING && a != b;
    if (c->op == TL_COND_IN) {
        if (b != KNOWN_NOTHING && b != KNOWN_LIST)
            snprintf(message, sizeof(message), "\"in\" needs a list on its right, not %s", known_names[b]);
    } else if (c->op == TL_COND_EQ || c->op == TL_COND_NE) {
        if (differ && a != KNOWN_NULL && b != KNOWN_NULL)
            snprintf(message, sizeof(message), "%s is never equal to %s", known_names[a], known_names[b]);
    } else if (!has_order(a) || !has_order(b)) {
        snprintf(message, sizeof(message), "%s has no order", known_names[has_order(a) ? b : a]);
    } else if (differ) {
        snprintf(message, sizeof(message), "%s and %s have no order among them", known_names[a], known_names[b]);
    }
    if (*message)
        fail_at(r, at, message);
}

/* ---- conditions ---- */

static struct tl_cond *read_or(struct reader *r);

static struct tl_cond *new_cond(struct reader *r, enum tl_cond_kind kind)
{
    struct tl_cond *c = make(r, sizeof(*c));
    if (c)
        c->kind = kind;
    return c;
}

static struct tl_cond *read_comparison(struct reader *r)
{
    const char *start = r->start;
    struct tl_cond *c = new_cond(r, TL_COND_TRUTH);
    struct tl_term *left = term(r, "a condition");
    if (!c || r->err)
        return NULL;
    c->left = left;
    if (r->token != T_COMPARE && !is_word(r, "in")) {
        enum known k = r->token == T_BAD ? KNOWN_NOTHING : known(r, left);
        char message[80];
        snprintf(message, sizeof(message), "%s alone is no condition", known_names[k]);
        if (k != KNOWN_NOTHING && k != KNOWN_BOOLEAN)
            fail_at(r, start, message);
        return c;
    }
    const char *at = r->start;
    c->kind = TL_COND_COMPARE;
    c->op = r->token == T_COMPARE ? r->op : TL_COND_IN;
    next(r);
    c->right = term(r, "a value or a path");
    if (!r->err)
        check_compare(r, c, at);
    return c;
}

static struct tl_cond *read_one(struct reader *r)
{
    struct tl_cond *c = NULL;
    bool not = is_word(r, "not");
    if (!not &&r->token != T_OPEN)
        return read_comparison(r);
    if (++r->depth > TL_COND_DEPTH) {
        fail_at(r, r->start, "parentheses and \"not\" lie too deep within one another");
        return NULL;
    }
    next(r);
    if (not ) {
        if ((c = new_cond(r, TL_COND_NOT)))
            c->first = read_one(r);
    } else {
        c = read_or(r);
        if (!r->err && r->token != T_CLOSE)
            expected(r, "\")\", \"and\" or \"or\"");
        next(r);
    }
    r->depth--;
    return c;
}

static struct tl_cond *read_joined(struct reader *r, enum tl_cond_kind kind, const char *word,
                                   struct tl_cond *(*part)(struct reader *r))
{
    struct tl_cond *first = part(r), *last = first;
    if (r->err || !is_word(r, word))
        return first;
    struct tl_cond *c = new_cond(r, kind);
    if (c)
        c->first = first;
    while (c && !r->err && is_word(r, word)) {
        next(r);
        last->next = part(r);
        last = last->next;
    }
    return c;
}

static struct tl_cond *read_and(struct reader *r)
{
    return read_joined(r, TL_COND_AND, "and", read_one);
}

static struct tl_cond *read_or(struct reader *r)
{
    return read_joined(r, TL_COND_OR, "or", read_and);
}

int tl_cond_parse(const char *text, size_t len, const struct tl_port *roots, struct tl_arena *arena,
                  const struct tl_cond **ret, struct tl_str *why)
{
    struct reader r = {
        .text = text, .at = text, .start = text, .end = text + len, .roots = roots, .arena = arena, .why = why};
    *ret = NULL;
    if (len > TL_COND_MAX)
        tl_str_printf(why, "is %zu bytes long, at most %d are allowed", len, TL_COND_MAX);
    else if (!tl_utf8_valid(text, len))
        tl_str_puts(why, "is no UTF-8 text");
    if (why->len)
        return why->err ? why->err : TL_EINVAL;
    next(&r);
    struct tl_cond *c = read_or(&r);
    if (!r.err && r.token != T_END)
        expected(&r, c && c->kind == TL_COND_TRUTH ? "a comparison, \"and\", \"or\" or the end"
                                                   : "\"and\", \"or\" or the end");
    if (r.err)
        return why->err ? why->err : r.err;
    *ret = c;
    return 0;
}

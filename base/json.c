#include "base/json.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/jread.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
/* jansson's reference counts are atomic, but its inline functions first read them plainly (a constant's count never changes), and the last
 * reference is given up with release order only. The codecs of talos-worker synchronise their own threads inside libraries that are not
 * instrumented. ThreadSanitizer is told so here, for every program. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:^json_incref$\nrace:^json_decref$\nrace:^json_delete$\nrace:libjansson.so\n"
           "race:libavcodec.so\nrace:libavformat.so\nrace:libavutil.so\nrace:libswscale.so\nrace:libx264.so\n";
}
#endif

static _Thread_local bool wiped;

static void give_back(void *p)
{
    if (wiped && p)
        tl_wipe(p, malloc_usable_size(p));
    free(p);
}

/* It keeps malloc, so that what was allocated before, and texts that others free, stay as they are. */
__attribute__((constructor)) static void set_free(void)
{
    json_set_alloc_funcs(malloc, give_back);
}

bool tl_json_wiped(bool on)
{
    bool was = wiped;
    wiped = on;
    return was;
}

/* The text is read through before anything is built, so that hostile text costs one pass over its bytes and no memory (an empty object of two bytes becomes
 * some 240), and so that what is JSON is decided in one place. */
static int check(const char *text, size_t len, struct tl_diag *diag)
{
    struct tl_arena arena = {0};
    struct tl_jread r;
    tl_jread_init(&r, text, len, &arena);
    tl_jread_skip(&r, NULL);
    int err = tl_jread_finish(&r, diag);
    tl_arena_clear(&arena);
    return err;
}

int tl_json_parse(const char *text, size_t len, json_t **ret, struct tl_diag *diag)
{
    *ret = NULL;
    int err = check(text, len, diag);
    if (err)
        return err;
    /* The text is sound, so only memory can be wanting. */
    *ret = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    return *ret ? 0 : TL_ENOMEM;
}

static int read_whole(int fd, char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TL_EIO;
        at += (size_t)n;
    }
    return 0;
}

int tl_json_load(const char *path, size_t max, json_t **ret, struct tl_diag *diag)
{
    *ret = NULL;
    TL_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return tl_err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return TL_EINVAL;
    if ((uint64_t)st.st_size > max)
        return TL_ETOOBIG;
    size_t len = (size_t)st.st_size;
    char *text = malloc(len + 1);
    if (!text)
        return TL_ENOMEM;
    int err = read_whole(fd, text, len);
    if (!err)
        err = tl_json_parse(text, len, ret, diag);
    free(text);
    return err;
}

char *tl_json_text(const json_t *j)
{
    return json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(TL_JSON_DIGITS));
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void canonical(struct tl_str *s, const json_t *j);

static void canonical_object(struct tl_str *s, const json_t *j)
{
    size_t n = json_object_size(j), i = 0;
    TL_AUTO_FREE const char **keys = tl_calloc(n, sizeof(*keys));
    if (!keys) {
        s->err = TL_ENOMEM;
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value)
        keys[i++] = key;
    qsort(keys, n, sizeof(*keys), by_bytes);
    tl_str_puts(s, "{");
    for (i = 0; i < n; i++) {
        json_t *k = json_string(keys[i]);
        tl_str_puts(s, i ? "," : "");
        canonical(s, k);
        tl_str_puts(s, ":");
        canonical(s, json_object_get(j, keys[i]));
        json_decref(k);
    }
    tl_str_puts(s, "}");
}

static bool is_integral(double v)
{
    return v == floor(v) && v >= -0x1p63 && v < 0x1p63; /* what an integer can hold */
}

/* What "%.15g" prints for numbers from 1e-4 to 1e15, by whole numbers alone and as exactly: most of the time of telling many results is spent here.
 * Returns the length, 0 for any other number. */
static size_t usual_number(double v, char *ret)
{
    static const uint64_t tens[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
                                    10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000};
    static const double small[] = {1e-1, 1e-2, 1e-3};
    double a = fabs(v);
    if (!(a >= 1e-4 && a < 1e15))
        return 0;
    int e, exp10 = 0;
    if (a < 1)
        for (exp10 = -1; exp10 > -4 && a < small[-exp10 - 1];)
            exp10--;
    else
        while (a >= (double)tens[exp10 + 1])
            exp10++;
    /* a = m / 2^-e; its 15 digits are m × 10^(14 - exp10) / 2^-e, rounded half to even: at most 53 + 60 bits. */
    uint64_t m = (uint64_t)ldexp(frexp(a, &e), 53);
    unsigned shift = (unsigned)(53 - e);
    unsigned __int128 scaled = (unsigned __int128)m * tens[TL_JSON_DIGITS - 1 - exp10], half = (unsigned __int128)1 << (shift - 1);
    uint64_t q = (uint64_t)(scaled >> shift);
    unsigned __int128 rest = scaled - ((unsigned __int128)q << shift);
    q += rest > half || (rest == half && q & 1);
    if (q == tens[TL_JSON_DIGITS]) {
        q /= 10;
        exp10++;
    }
    char digits[TL_JSON_DIGITS + 1] = "", *at = ret;
    for (int i = TL_JSON_DIGITS; i-- > 0; q /= 10)
        digits[i] = (char)('0' + q % 10);
    digits[TL_JSON_DIGITS] = '0'; /* 1e15, where it was rounded to that */
    int n = TL_JSON_DIGITS, whole = exp10 < 0 ? 0 : exp10 + 1;
    while (n > whole && digits[n - 1] == '0')
        n--;
    if (v < 0)
        *at++ = '-';
    if (!whole)
        *at++ = '0';
    memcpy(at, digits, (size_t)whole);
    at += whole;
    if (n > whole)
        *at++ = '.';
    for (int i = exp10; n > whole && i < -1; i++)
        *at++ = '0';
    if (n > whole) {
        memcpy(at, digits + whole, (size_t)(n - whole));
        at += n - whole;
    }
    *at = '\0';
    return (size_t)(at - ret);
}

size_t tl_json_number(double v, char *ret, size_t cap)
{
    size_t usual = cap >= 32 ? usual_number(v, ret) : 0;
    if (usual)
        return usual;
    int n = snprintf(ret, cap, "%.*g", TL_JSON_DIGITS, v);
    if (!is_integral(v))
        v = strtod(ret, NULL); /* a long fraction may be integral when it is read back: 1234567890123456.5 */
    return (size_t)(is_integral(v) ? snprintf(ret, cap, "%.0f", v == 0 ? 0.0 : v) : n);
}

void tl_json_add_number(struct tl_str *s, double v)
{
    char text[32];
    if (v == (double)(int64_t)v && fabs(v) < 1e15) {
        uint64_t left = (uint64_t)(v < 0 ? -v : v);
        char *at = text + sizeof(text);
        do
            *--at = (char)('0' + left % 10);
        while (left /= 10);
        if (v < 0)
            *--at = '-';
        tl_str_add(s, at, (size_t)(text + sizeof(text) - at));
    } else {
        tl_str_add(s, text, tl_json_number(v, text, sizeof(text)));
    }
}

void tl_json_add_text(struct tl_str *s, const char *text, size_t len)
{
    size_t plain = 0;
    tl_str_add(s, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        tl_str_add(s, text + plain, i - plain);
        plain = i + 1;
        static const char letters[] = "btnvfr"; /* from 8 */
        char escape[8];
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof(escape), "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            snprintf(escape, sizeof(escape), "\\%c", letters[c - 8]);
        else
            snprintf(escape, sizeof(escape), "\\u%04X", c);
        tl_str_puts(s, escape);
    }
    tl_str_add(s, text + plain, len - plain);
    tl_str_add(s, "\"", 1);
}

static int add_dumped(const char *bytes, size_t len, void *arg)
{
    tl_str_add(arg, bytes, len);
    return 0;
}

void tl_json_add(struct tl_str *s, const json_t *j)
{
    if (!j || json_dump_callback(j, add_dumped, s, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(TL_JSON_DIGITS)) < 0)
        s->err = TL_ENOMEM;
}

static void canonical(struct tl_str *s, const json_t *j)
{
    if (json_is_object(j)) {
        canonical_object(s, j);
    } else if (json_is_array(j)) {
        tl_str_puts(s, "[");
        for (size_t i = 0; i < json_array_size(j); i++) {
            tl_str_puts(s, i ? "," : "");
            canonical(s, json_array_get(j, i));
        }
        tl_str_puts(s, "]");
    } else if (json_is_real(j)) {
        char text[32];
        tl_str_add(s, text, tl_json_number(json_real_value(j), text, sizeof(text)));
    } else {
        tl_json_add(s, j);
    }
}

char *tl_json_canonical(const json_t *j)
{
    struct tl_str s = {0};
    if (wiped) /* room for all of it, so that nothing stays behind where it would have grown */
        s.err = tl_grow(&s.data, &s.cap, 2 * json_dumpb(j, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) + 64, 1);
    canonical(&s, j);
    return tl_str_take(&s);
}

const char *tl_json_str(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

double tl_json_num(const json_t *obj, const char *key, double otherwise)
{
    const json_t *j = json_object_get(obj, key);
    return json_is_number(j) ? json_number_value(j) : otherwise;
}

int64_t tl_json_int(const json_t *obj, const char *key, int64_t otherwise)
{
    const json_t *j = json_object_get(obj, key);
    return json_is_integer(j) ? json_integer_value(j) : otherwise;
}

bool tl_json_bool(const json_t *obj, const char *key, bool otherwise)
{
    const json_t *j = json_object_get(obj, key);
    return json_is_boolean(j) ? json_is_true(j) : otherwise;
}

void tl_json_only_keys(const json_t *obj, const char *const *allowed, const char *node, const char *path,
                       struct tl_diag *diag)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)obj, key, value) {
        bool known = false;
        for (size_t i = 0; allowed[i] && !known; i++)
            known = strcmp(allowed[i], key) == 0;
        if (!known) {
            struct tl_str at = {0};
            tl_str_printf(&at, "%s.%s", path, key);
            tl_diag_add(diag, node, NULL, at.data, "unknown field \"%s\"", key);
            tl_str_clear(&at);
        }
    }
}

json_t *tl_json_floats(const double *v, size_t n)
{
    json_t *out = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(out, json_real(v[i])) < 0) {
            json_decref(out);
            return NULL;
        }
    return out;
}

int tl_json_to_floats(const json_t *j, double **ret, size_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    if (!json_is_array(j))
        return TL_EINVAL;
    size_t n = json_array_size(j);
    double *v = tl_calloc(n, sizeof(*v));
    if (!v)
        return TL_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!json_is_number(json_array_get(j, i))) {
            free(v);
            return TL_EINVAL;
        }
        v[i] = json_number_value(json_array_get(j, i));
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

/* Counts down what is left; false where it is not enough. */
static bool weigh(const json_t *j, size_t *left, unsigned levels)
{
    enum { NUMBER = 8, MARKS = 2 };
    size_t own = json_is_string(j) ? json_string_length(j) + MARKS : json_is_number(j) ? NUMBER : MARKS, i;
    const char *key;
    json_t *v;
    if (own > *left || ((json_is_array(j) || json_is_object(j)) && levels == 0))
        return false;
    *left -= own;
    json_array_foreach((json_t *)(uintptr_t)j, i, v) {
        if (!weigh(v, left, levels - 1))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)j, key, v) {
        size_t named = strlen(key) + MARKS;
        if (named > *left)
            return false;
        *left -= named;
        if (!weigh(v, left, levels - 1))
            return false;
    }
    return true;
}

bool tl_json_within(const json_t *j, size_t bytes, unsigned levels)
{
    return weigh(j, &bytes, levels);
}

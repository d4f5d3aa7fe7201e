#include "graph/value.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

#include <endian.h>
#include <math.h>
#include <string.h>

struct tl_value tl_value_ref(const struct tl_value *v)
{
    struct tl_value copy = *v;
    if (v->type != TL_T_ANY && v->type != TL_T_NUMBER && v->type != TL_T_BOOLEAN)
        json_incref(copy.json);
    return copy;
}

void tl_value_clear(struct tl_value *v)
{
    if (!v)
        return;
    if (v->type != TL_T_ANY && v->type != TL_T_NUMBER && v->type != TL_T_BOOLEAN)
        json_decref(v->json);
    memset(v, 0, sizeof(*v));
}

static bool all_numbers(const json_t *j)
{
    for (size_t i = 0; i < json_array_size(j); i++)
        if (!json_is_number(json_array_get(j, i)))
            return false;
    return json_is_array(j);
}

static bool all_strings(const json_t *j)
{
    for (size_t i = 0; i < json_array_size(j); i++)
        if (!json_is_string(json_array_get(j, i)))
            return false;
    return json_is_array(j);
}

/* The media type that a reference says it is, or TL_T_ANY. */
static enum tl_type media_type(const json_t *j)
{
    enum tl_type type;
    const char *sha = tl_json_str(j, "sha256");
    uint8_t raw[TL_SHA256_LEN];
    if (!tl_type_parse(tl_json_str(j, "kind"), &type) || !tl_type_is_media(type) || !sha ||
        !tl_unhex(sha, raw, sizeof(raw)))
        return TL_T_ANY;
    return type;
}

static enum tl_type own_type(const json_t *j)
{
    if (json_is_number(j))
        return TL_T_NUMBER;
    if (json_is_boolean(j))
        return TL_T_BOOLEAN;
    if (json_is_string(j))
        return TL_T_STRING;
    return TL_T_JSON; /* also of what looks like a medium: the form is no right to a blob */
}

int tl_value_from_json(enum tl_type type, json_t *j, struct tl_value *ret, const char **ret_why)
{
    static const char *const why[TL_T_COUNT] = {
        [TL_T_STRING] = "must be text",
        [TL_T_NUMBER] = "must be a number",
        [TL_T_BOOLEAN] = "must be true or false",
        [TL_T_FLOATS] = "must be a list of numbers",
        [TL_T_STRINGS] = "must be a list of texts",
        [TL_T_JSON] = "must be JSON other than null",
        [TL_T_VIDEO] = "must be a reference to a video",
        [TL_T_IMAGE] = "must be a reference to an image",
        [TL_T_AUDIO] = "must be a reference to audio",
        [TL_T_FILE] = "must be a reference to a file",
        [TL_T_ANY] = "must not be null",
    };
    bool ok;
    memset(ret, 0, sizeof(*ret));
    if (type == TL_T_ANY && j && !json_is_null(j))
        type = own_type(j);
    switch (type) {
    case TL_T_STRING:
        ok = json_is_string(j);
        break;
    case TL_T_NUMBER:
        ok = json_is_number(j);
        break;
    case TL_T_BOOLEAN:
        ok = json_is_boolean(j);
        break;
    case TL_T_FLOATS:
        ok = all_numbers(j);
        break;
    case TL_T_STRINGS:
        ok = all_strings(j);
        break;
    case TL_T_JSON:
        ok = j && !json_is_null(j);
        break;
    case TL_T_FILE:
        ok = media_type(j) != TL_T_ANY;
        break;
    case TL_T_VIDEO:
    case TL_T_IMAGE:
    case TL_T_AUDIO:
        ok = media_type(j) == type;
        break;
    default:
        ok = false;
    }
    if (!ok) {
        if (ret_why)
            *ret_why = why[type];
        return TL_EINVAL;
    }
    if (type == TL_T_NUMBER)
        *ret = tl_value_number(json_number_value(j));
    else if (type == TL_T_BOOLEAN)
        *ret = tl_value_bool(json_is_true(j));
    else
        *ret = tl_value_take(type, json_incref(j));
    return 0;
}

int tl_value_as(enum tl_type type, const struct tl_value *v, struct tl_value *ret, const char **ret_why)
{
    if (v->type == type || type == TL_T_ANY) {
        *ret = tl_value_ref(v);
        return 0;
    }
    if (tl_type_is_media(type) && !tl_type_is_media(v->type)) {
        memset(ret, 0, sizeof(*ret));
        if (ret_why)
            *ret_why = "must be a medium, and JSON never becomes one";
        return TL_EINVAL;
    }
    TL_AUTO_JSON json_t *j = tl_value_json(v);
    return j ? tl_value_from_json(type, j, ret, ret_why) : TL_ENOMEM;
}

json_t *tl_value_json(const struct tl_value *v)
{
    if (tl_value_none(v))
        return json_null();
    if (v->type == TL_T_BOOLEAN)
        return json_boolean(v->boolean);
    if (v->type != TL_T_NUMBER)
        return json_incref(v->json);
    if (v->number == floor(v->number) && fabs(v->number) < 9007199254740992.0)
        return json_integer((json_int_t)v->number);
    return json_real(v->number);
}

void tl_value_add(struct tl_str *s, const struct tl_value *v)
{
    if (tl_value_none(v))
        tl_str_puts(s, "null");
    else if (v->type == TL_T_BOOLEAN)
        tl_str_puts(s, v->boolean ? "true" : "false");
    else if (v->type == TL_T_NUMBER)
        tl_json_add_number(s, v->number);
    else
        tl_json_add(s, v->json);
}

const char *tl_value_sha256(const struct tl_value *v)
{
    return !tl_value_none(v) && tl_type_is_media(v->type) ? tl_json_str(v->json, "sha256") : NULL;
}

json_t *tl_media_json(const char *kind, const char *sha256, const char *content_type, uint64_t bytes, const char *name)
{
    return json_pack("{s:s,s:s,s:s,s:I,s:s}", "kind", kind, "sha256", sha256, "content_type", content_type, "bytes",
                     (json_int_t)bytes, "name", name);
}

int tl_value_hash(const struct tl_value *v, uint8_t ret[32])
{
    memset(ret, 0, 32);
    if (v->type == TL_T_NUMBER) {
        double number = v->number == 0 ? 0 : v->number; /* there is one zero */
        uint64_t bits;
        memcpy(&bits, &number, sizeof(bits));
        bits = htole64(bits);
        ret[0] = 'n';
        memcpy(ret + 8, &bits, sizeof(bits));
        return 0;
    }
    if (v->type == TL_T_BOOLEAN) {
        ret[0] = 'b';
        ret[8] = v->boolean;
        return 0;
    }
    if (v->type == TL_T_ANY)
        return 0;
    const char *type = tl_type_name(v->type);
    TL_AUTO_FREE char *text = tl_json_canonical(v->json);
    if (!text)
        return TL_ENOMEM;
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_field(&h, type, strlen(type));
    tl_blake2b_field(&h, text, strlen(text));
    tl_blake2b_final(&h, ret);
    tl_wipe(text, strlen(text)); /* it may be of a private graph */
    return 0;
}

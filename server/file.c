#include "server/file.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "server/page.h"

#include <ctype.h>
#include <string.h>

int tl_file_write(struct tl_txn *txn, void *arg)
{
    const struct tl_file_write *w = arg;
    struct tl_org_key key;
    TL_AUTO_FREE char *text = tl_json_text(w->record);
    tl_org_key(&key, w->org, &w->id);
    return text ? tl_txn_put(txn, TL_TBL_FILE, key.b, key.len, text, strlen(text)) : TL_ENOMEM;
}

json_t *tl_file_record(const struct tl_id *id, const char *name, const char *content_type, uint64_t bytes, const char *sha256)
{
    char id_text[TL_ID_TEXT], now[TL_TIME_TEXT];
    tl_id_text(id, id_text);
    tl_time_text(tl_now_ms(), now);
    return json_pack("{s:s,s:s,s:s,s:I,s:s,s:s}", "id", id_text, "name", name, "content_type", content_type, "bytes",
                     (json_int_t)bytes, "sha256", sha256, "created_at", now);
}

static int parse(struct tl_bytes value, json_t **ret)
{
    return tl_json_parse(value.data, value.len, ret, NULL) < 0 ? TL_ECORRUPT : 0;
}

struct reading {
    const char *org;
    const struct tl_id *id;
    json_t *record;
};

static int read_one(struct tl_txn *txn, void *arg)
{
    struct reading *r = arg;
    struct tl_org_key key;
    struct tl_bytes value;
    tl_org_key(&key, r->org, r->id);
    int err = tl_txn_get(txn, TL_TBL_FILE, key.b, key.len, &value);
    return err < 0 ? err : parse(value, &r->record);
}

int tl_file_read(struct tl_db *db, const char *org, const struct tl_id *id, json_t **ret)
{
    struct reading r = {.org = org, .id = id};
    int err = tl_db_read(db, read_one, &r);
    *ret = err < 0 ? NULL : r.record;
    return err;
}

int tl_file_list(struct tl_db *db, const char *org, const struct tl_id *before, size_t limit, json_t **ret_items, struct tl_id *ret_next,
                 bool *ret_more)
{
    return tl_page_read(db, TL_TBL_FILE, org, before, limit, parse, ret_items, ret_next, ret_more);
}

void tl_file_clean_name(const char *name, char *ret)
{
    size_t n = 0;
    for (const char *p = name ? name : ""; *p; p++) {
        if (*p == '/' || *p == '\\')
            n = 0;
        else if ((unsigned char)*p >= 0x20 && *p != 0x7f && n < TL_FILE_NAME_MAX)
            ret[n++] = *p;
    }
    ret[n] = '\0';
    /* Not in the middle of a character. */
    while (n && !tl_utf8_valid(ret, n))
        ret[--n] = '\0';
    if (n == 0 || strcmp(ret, ".") == 0 || strcmp(ret, "..") == 0)
        strcpy(ret, "file");
}

void tl_file_clean_type(const char *type, char ret[TL_FILE_TYPE_MAX + 1])
{
    size_t n = 0, slashes = 0;
    for (const char *p = type ? type : ""; *p && *p != ';' && *p != ' ' && n < TL_FILE_TYPE_MAX; p++) {
        slashes += *p == '/';
        if (!isalnum((unsigned char)*p) && !strchr("/!#$&-^_.+", *p)) {
            slashes = 0;
            break;
        }
        ret[n++] = (char)tolower((unsigned char)*p);
    }
    ret[n] = '\0';
    if (slashes != 1 || ret[0] == '/' || ret[n - 1] == '/')
        strcpy(ret, "application/octet-stream");
}

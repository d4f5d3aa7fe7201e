#include "store/text.h"

#include "base/err.h"

#include <string.h>

struct key {
    uint8_t b[TL_ORG_MAX + TL_TEXT_HASH + TL_ID_LEN];
    size_t text_len, len; /* the text's own key is the beginning of each holder's */
};

static int make_key(struct key *k, const char *org, const uint8_t hash[TL_TEXT_HASH], const struct tl_id *holder)
{
    size_t n = strlen(org) + 1;
    if (n > TL_ORG_MAX)
        return TL_EINVAL;
    memcpy(k->b, org, n);
    memcpy(k->b + n, hash, TL_TEXT_HASH);
    k->text_len = k->len = n + TL_TEXT_HASH;
    if (holder) {
        memcpy(k->b + k->len, holder->b, TL_ID_LEN);
        k->len += TL_ID_LEN;
    }
    return 0;
}

void tl_text_hash(const char *text, size_t len, uint8_t ret[TL_TEXT_HASH])
{
    struct tl_blake2b h;
    tl_blake2b_init(&h, NULL);
    tl_blake2b_update(&h, text, len);
    tl_blake2b_final(&h, ret);
}

int tl_text_get(struct tl_txn *txn, const char *org, const uint8_t hash[TL_TEXT_HASH], struct tl_bytes *ret)
{
    struct key k;
    int err = make_key(&k, org, hash, NULL);
    return err ? err : tl_txn_get(txn, TL_TBL_DOC, k.b, k.text_len, ret);
}

int tl_text_hold(struct tl_txn *txn, const char *org, const uint8_t hash[TL_TEXT_HASH], const struct tl_id *holder,
                 const char *text, size_t len)
{
    struct key k;
    struct tl_bytes there;
    int err = make_key(&k, org, hash, holder);
    if (!err)
        err = tl_txn_get(txn, TL_TBL_DOC, k.b, k.text_len, &there);
    if (err == TL_ENOTFOUND && text)
        err = tl_txn_put(txn, TL_TBL_DOC, k.b, k.text_len, text, len);
    return err ? err : tl_txn_put(txn, TL_TBL_DOC_REF, k.b, k.len, "", 0);
}

static int is_held(void *arg, struct tl_bytes key, struct tl_bytes value)
{
    (void)arg, (void)key, (void)value;
    return 1;
}

int tl_text_drop(struct tl_txn *txn, const char *org, const uint8_t hash[TL_TEXT_HASH], const struct tl_id *holder)
{
    struct key k;
    int err = make_key(&k, org, hash, holder);
    if (!err)
        err = tl_txn_del(txn, TL_TBL_DOC_REF, k.b, k.len);
    if (err)
        return err == TL_ENOTFOUND ? 0 : err;
    struct tl_scan others = {.table = TL_TBL_DOC_REF, .prefix = k.b, .prefix_len = k.text_len};
    err = tl_txn_scan(txn, &others, is_held, NULL);
    if (err)
        return err < 0 ? err : 0;
    err = tl_txn_del(txn, TL_TBL_DOC, k.b, k.text_len);
    return err == TL_ENOTFOUND ? 0 : err;
}

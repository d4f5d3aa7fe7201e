/* A data directory with a store and a keyring, for the tests of capsules/ and catalog/. */
#ifndef TL_TESTS_UNIT_CAPSULES_KEYS_H
#define TL_TESTS_UNIT_CAPSULES_KEYS_H

#include "capsules/keyring.h"
#include "tests/unit/store/tmp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct tl_db *keys_db;
static struct tl_keyring *keys_kr;

static inline void keys_open(void)
{
    struct tl_diag diag = {0};
    assert_int_equal(tl_db_open(tmp_dir, TL_DB_CREATE | TL_DB_EXCLUSIVE, &keys_db), 0);
    int err = tl_keyring_open(tmp_dir, keys_db, TL_KEYRING_CREATE, &keys_kr, &diag);
    if (err && diag.count)
        print_error("%s\n", diag.items[0].message);
    tl_diag_clear(&diag);
    assert_int_equal(err, 0);
}

static inline void keys_close(void)
{
    tl_keyring_close(keys_kr);
    tl_db_close(keys_db);
    keys_kr = NULL;
    keys_db = NULL;
}

static inline int keys_setup(void **state)
{
    if (tmp_setup(state) < 0)
        return -1;
    keys_open();
    return 0;
}

static inline int keys_teardown(void **state)
{
    keys_close();
    return tmp_teardown(state);
}

#endif

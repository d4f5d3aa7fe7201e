/* Looks after what is stored: walks every invariant that the tables promise by themselves, and makes a backup that opens as a data directory. */
#ifndef TL_STORE_CHECK_H
#define TL_STORE_CHECK_H

#include "store/db.h"

struct tl_check_counts {
    uint64_t problems; /* 0: all is well */
    uint64_t entries;  /* keys looked at */
    uint64_t blobs;    /* blob files looked at */
    uint64_t bytes;    /* of blobs hashed */
};

/* Walks one snapshot of db and the blob files of the data directory dir, beside a running server if need be. deep: reads and hashes every
 * blob. problem is called with a sentence for each thing that is not as it should be; it names ids and hashes, never contents. Returns 0 where it could
 * look at everything, whatever it found. */
int tl_db_check(struct tl_db *db, const char *dir, bool deep, void (*problem)(void *arg, const char *text), void *arg,
                struct tl_check_counts *ret);

/* A compacted copy of the database and all blobs of the data directory dir into target, which must be empty (TL_ECONFLICT) or absent, beside a
 * running server if need be. Blobs are hard links where the file system allows it. On disk when it returns 0. The key file is not in it: a
 * backup alone opens no capsule. */
int tl_store_backup(struct tl_db *db, const char *dir, const char *target);

#endif

/* Blobs: immutable files named by their SHA-256, under DIR/blobs/ab/abcd…; written under a temporary name, fsynced, renamed, the
 * directory fsynced, then registered in TL_TBL_BLOB. Any thread. */
#ifndef TL_STORE_BLOB_H
#define TL_STORE_BLOB_H

#include "base/hash.h"
#include "store/db.h"

struct tl_blobs;
struct tl_blob_writer; /* one thread at a time */

/* dir is the data directory; db is borrowed. Removes temporary files that a crash left. */
int tl_blobs_open(const char *dir, struct tl_db *db, struct tl_blobs **ret);
void tl_blobs_close(struct tl_blobs *blobs);

/* A writer of at most max bytes (0: no limit of its own). */
int tl_blob_begin(struct tl_blobs *blobs, uint64_t max, struct tl_blob_writer **ret);
/* TL_ETOOBIG, TL_EFULL, TL_EIO: the writer is then good for tl_blob_abort only. */
int tl_blob_write(struct tl_blob_writer *w, const void *bytes, size_t len);
/* The descriptor behind the writer, for a process that writes the blob itself; hashing is then done by tl_blob_commit, which
 * reads the file once. Commit only when that process has ended: it could still change what was hashed. */
int tl_blob_fd(struct tl_blob_writer *w);
/* Durable and registered when it returns 0. Takes w, whatever it returns. hex holds TL_SHA256_HEX. */
int tl_blob_commit(struct tl_blob_writer *w, char *hex, uint64_t *ret_size);
void tl_blob_abort(struct tl_blob_writer *w); /* takes; NULL accepted */

/* Opens a blob for reading; TL_ENOTFOUND for an unknown or malformed hash. *ret_fd is owned. */
int tl_blob_open(struct tl_blobs *blobs, const char *hex, int *ret_fd, uint64_t *ret_size);

#endif

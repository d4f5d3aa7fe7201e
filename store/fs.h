/* Small file system helpers of the store: directories, whole writes, and making names durable. */
#ifndef TL_STORE_FS_H
#define TL_STORE_FS_H

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>

enum { TL_DIR_MODE = 0700, TL_FILE_MODE = 0600 };

/* Makes path and the parents it lacks with TL_DIR_MODE, and makes the new names durable. 0 where it is there already. */
int tl_fs_mkdirs(const char *path);
/* Makes one directory below the directory dirfd, durably. 0 where it is there already. */
int tl_fs_mkdir_at(int dirfd, const char *name);
int tl_fs_open_dir(const char *path, int *ret_fd); /* *ret_fd is owned */
int tl_fs_open_dir_at(int dirfd, const char *name, int *ret_fd);
int tl_fs_sync(int fd); /* fsync of a file or a directory */
int tl_fs_write_all(int fd, const void *bytes, size_t len);
/* Appends all that can be read from in, from its start, to out. */
int tl_fs_copy(int in, int out);
/* Hash and size of a file, read from its start. */
int tl_fs_sha256(int fd, uint8_t ret[TL_SHA256_LEN], uint64_t *ret_size);
/* Whether a directory holds nothing; TL_ENOTFOUND where there is none. */
int tl_fs_is_empty(const char *path, bool *ret);
/* "dir/name", returned owned; NULL on want of memory. */
char *tl_fs_join(const char *dir, const char *name);

#endif

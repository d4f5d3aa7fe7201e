/* multipart/form-data (RFC 7578) as it arrives: the first part that has a filename is the file; others are passed over. Keeps no
 * more than a boundary's length of the body, or a part's head. */
#ifndef TL_SERVER_MULTIPART_H
#define TL_SERVER_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

struct tl_multipart; /* opaque */

/* content_type is the request's. TL_EINVAL where it has no usable boundary. */
int tl_multipart_new(const char *content_type, struct tl_multipart **ret);
void tl_multipart_free(struct tl_multipart *m);

/* Hands the file's bytes to data as they come; what data returns below 0 ends it. TL_EINVAL for a malformed body, TL_ECONFLICT for a
 * second file. */
int tl_multipart_feed(struct tl_multipart *m, const char *bytes, size_t len, int (*data)(void *arg, const char *bytes, size_t len),
                      void *arg);
/* After the last byte: 0, or TL_EINVAL where there was no file or the closing boundary is missing. */
int tl_multipart_end(const struct tl_multipart *m);
/* Of the file's part; NULL where it does not say. Borrowed. */
const char *tl_multipart_filename(const struct tl_multipart *m);
const char *tl_multipart_type(const struct tl_multipart *m);

#endif

/* A secret that the operator keeps in a file of its own: a key, the value of a header. Whoever has read one wipes it (tl_secret_free). */
#ifndef TL_CAPSULES_SECRET_H
#define TL_CAPSULES_SECRET_H

enum { TL_SECRET_MAX = 4096 };

/* The file's one line of printable ASCII, without what white space stands around it. TL_EINVAL where it cannot be read, is longer or is none; TL_ENOMEM. *ret owned. */
int tl_secret_read(const char *path, char **ret);
void tl_secret_free(char *secret); /* wipes; NULL accepted */

#endif

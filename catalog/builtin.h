/* The built-in catalog: capsules, templates and patterns that are part of the program, and their publishing at the
 * first start. */
#ifndef TL_CATALOG_BUILTIN_H
#define TL_CATALOG_BUILTIN_H

#include "capsules/capsule.h"

#include <jansson.h>
#include <stddef.h>

enum tl_builtin_kind { TL_BUILTIN_SPEC, TL_BUILTIN_PRIVATE, TL_BUILTIN_TEMPLATE, TL_BUILTIN_PATTERNS, TL_BUILTIN_END };

struct tl_builtin_file {
    enum tl_builtin_kind kind;
    const char *path; /* in the sources, for messages */
    const char *data, *end;
};
/* All of them; a spec is followed by its private document. embed.c */
extern const struct tl_builtin_file tl_builtin_files[];
extern const size_t tl_builtin_count;

/* Publishes what is not there yet; does nothing where all is. TL_ECONFLICT where a source changed and its version did
 * not, TL_EINVAL with its problems where one is not valid. */
int tl_builtin_publish(struct tl_db *db, struct tl_keyring *kr, struct tl_services *services, struct tl_diag *diag);
/* The templates, as they were written: array, owned. */
int tl_builtin_templates(json_t **ret, struct tl_diag *diag);

/* The same for a given list of files: what tests publish. */
int tl_builtin_publish_files(const struct tl_builtin_file *files, size_t count, struct tl_db *db, struct tl_keyring *kr,
                             struct tl_services *services, struct tl_diag *diag);

#endif

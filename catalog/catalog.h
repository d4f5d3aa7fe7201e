/* What can be placed on a canvas: capsule versions (registry), templates, patterns, node types. Opening it seals the
 * built-in capsules into the store where they are not there yet. Read by any thread. */
#ifndef TL_CATALOG_CATALOG_H
#define TL_CATALOG_CATALOG_H

#include "capsules/services.h"

struct tl_catalog;
struct tl_keyring; /* capsules/keyring.h */

/* Borrows db, keyring and services; fills services->keyring, open_capsule, has_capsule, open_pattern and their arg. Where it fails,
 * diag says why in words for the operator: a built-in that changed without a new version (TL_ECONFLICT), a version that
 * was put back (TL_ECAPSULE). */
int tl_cat_open(struct tl_db *db, struct tl_keyring *keyring, struct tl_services *services, struct tl_catalog **ret,
                struct tl_diag *diag);
void tl_cat_close(struct tl_catalog *cat);

/* Public specs, without adapter; admin parameters only where admin. {"items":[…]} order: id. version NULL: the newest.
 * Answers are owned by the caller. */
int tl_cat_capsules(struct tl_catalog *cat, const char *org, bool admin, json_t **ret_items);
int tl_cat_capsule(struct tl_catalog *cat, const char *org, const char *id, const char *version, bool admin,
                   json_t **ret);
/* Node types of the palette: public ops and capsules:
 * [{"type","title","doc","revision","ports":{"in","out"},"params"}]. */
int tl_cat_node_types(struct tl_catalog *cat, const char *org, bool admin, json_t **ret_items);
/* Templates: {"id","title","description","inputs":[{"node","param","label","kind"}]} in lists; with "graph" when one is
 * asked for. Public graphs only. */
int tl_cat_templates(struct tl_catalog *cat, json_t **ret_items);
int tl_cat_template(struct tl_catalog *cat, const char *id, json_t **ret);

#endif

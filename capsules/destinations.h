/* Where http.post may send to: destinations that the operator configured, by name. An address, its headers and its timeout; people who make graphs know
 * the name only. */
#ifndef TL_CAPSULES_DESTINATIONS_H
#define TL_CAPSULES_DESTINATIONS_H

#include "base/diag.h"

enum {
    TL_DESTINATIONS_MAX = 256,
    TL_DESTINATION_NAME_MAX = 64,
    TL_DESTINATION_HEADERS_MAX = 32,
    TL_DESTINATION_TIMEOUT_MS = 60 * 1000, /* where the file says nothing */
};

struct tl_destination {
    char *name, *url;
    char *host_port;  /* for the egress policy's trusted list */
    char **headers;   /* "Name: value", NULL-terminated */
    bool honours_key; /* a request that comes again with the same Idempotency-Key takes effect once */
    long timeout_ms;
};
struct tl_destinations;

/* Reads the file that TALOS_DESTINATIONS names: {name: {"url","headers"?: {name: value},"honours_idempotency_key": bool,"timeout_sec"?}}; url and the values of headers
 * are texts, or {"file": path} for a secret. *ret NULL where the variable is not set. TL_EINVAL with all problems, TL_ENOMEM. */
int tl_destinations_env(struct tl_destinations **ret, struct tl_diag *diag);
int tl_destinations_load(const char *path, struct tl_destinations **ret, struct tl_diag *diag);
void tl_destinations_free(struct tl_destinations *all); /* wipes */

/* NULL where there is none of that name; all may be NULL. */
const struct tl_destination *tl_destinations_find(const struct tl_destinations *all, const char *name);
/* In the order of their names. */
size_t tl_destinations_list(const struct tl_destinations *all, const struct tl_destination **ret);

#endif

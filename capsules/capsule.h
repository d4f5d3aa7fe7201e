/* An opened capsule version: verified, its spec read, its private graph planned once. Opened versions are kept in a
 * bounded cache; what falls out of it is wiped. Only this, the capsule node and the catalog ever see a private
 * document. */
#ifndef TL_CAPSULES_CAPSULE_H
#define TL_CAPSULES_CAPSULE_H

#include "capsules/ngram.h"
#include "capsules/seal.h"
#include "capsules/services.h"
#include "capsules/spec.h"

enum { TL_CAPSULES_KEPT = 256, TL_CAPSULES_KEPT_BYTES = 64 * 1024 * 1024 };

struct tl_capsule {
    const struct tl_cap_spec *spec;
    const struct tl_ngrams *texts; /* the private texts, for the membrane */
    uint8_t digest[TL_DIGEST_LEN];
    char digest_hex[2 * TL_DIGEST_LEN + 1];
    const char *owner;              /* the organisation that sealed it */
    const struct tl_port *in, *out; /* the private graph's own ports: what graph.input gives and graph.output takes */
    size_t nin, nout;
};

/* What is sealed: {"spec":…,"private":…} as compact JSON; returned owned (wipe with tl_wipe_free), NULL on want of
 * memory. */
char *tl_capsule_plain(json_t *spec, json_t *private_doc, size_t *ret_len);
void tl_wipe_free(char *text, size_t len);

/* Checks that a private document stands on its own: its form, its plan against the ops there are, and that its end
 * gives the declared outputs. TL_EINVAL with all problems: for the author only. */
int tl_capsule_check(struct tl_services *services, const char *owner, const struct tl_cap_spec *spec,
                     json_t *private_doc, struct tl_diag *diag);

struct tl_capsules; /* the cache; any thread */
int tl_capsules_new(struct tl_keyring *kr, size_t most, struct tl_capsules **ret);
void tl_capsules_free(struct tl_capsules *set); /* no reference may be left */

struct tl_capsule_ref {
    struct tl_seal_id id;
    uint8_t digest[TL_DIGEST_LEN];
};
/* blob and wrap of a digest, malloc'd. */
struct tl_capsule_bytes {
    uint8_t *blob, *wrap;
    size_t len, wrap_len;
};
/* Finds or opens a version; fetch is called where it is not in the cache. TL_ECAPSULE for whatever does not verify.
 * *ret is a reference. */
int tl_capsules_open(struct tl_capsules *set, const struct tl_capsule_ref *ref,
                     int (*fetch)(void *arg, const uint8_t digest[TL_DIGEST_LEN], struct tl_capsule_bytes *ret),
                     void *arg, struct tl_capsule **ret);
void tl_capsule_unref(struct tl_capsule *cap); /* NULL accepted */
size_t tl_capsules_count(struct tl_capsules *set);

/* The plan of the private graph, made at the first call. *ret is a reference, ended by tl_plan_unref before the
 * capsule's own. TL_ECAPSULE_RUN where it cannot be planned here. */
int tl_capsule_plan(struct tl_capsule *cap, struct tl_services *services, struct tl_plan **ret);

/* Lets nobody read this process: not dumpable, no core files. For main, first thing. */
int tl_cap_harden(void);

#endif

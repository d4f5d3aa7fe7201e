/* The membrane: the one place that decides what a client may see of a capsule's run. Outputs, evidence, errors and
 * progress of the private graph come in; what its spec declares comes out, as copies. No door has a second copy of
 * these rules. */
#ifndef TL_CAPSULES_MEMBRANE_H
#define TL_CAPSULES_MEMBRANE_H

#include "capsules/ngram.h"
#include "capsules/spec.h"
#include "graph/value.h"

enum {
    TL_EVIDENCE_MAX = 64,              /* references per result */
    TL_EVIDENCE_ID_MAX = 96,           /* bytes of a row's or record's id */
    TL_OUTPUT_MAX = 4 * 1024 * 1024,   /* bytes of one output as JSON */
    TL_MEMBRANE_PROGRESS_MS = 500,     /* shortest time between two reports of progress */
    TL_MEMBRANE_PROGRESS_PERCENT = 25, /* progress is told in steps of this size */
};

struct tl_membrane_in {
    const struct tl_cap_spec *spec;
    const struct tl_ngrams *texts; /* the private texts; may be NULL in tests */
    const char *pattern_version;   /* or NULL */
    const struct tl_port *ports;   /* what the private graph's end is called, nports of them */
    const struct tl_value *values;
    size_t nports;
};

struct tl_membrane_out {
    struct tl_value *outputs; /* one per spec output; none where there is nothing or it is withheld */
    /* {output: value …, "pattern_version"?, "synapse_rule_ref"?, "output_warnings"?, "evidence_warnings"?};
     * references_only leaves the values out. */
    json_t *summary;
    json_t *evidence_refs; /* admitted references, in order, each once */
};

/* TL_ENOMEM. What comes out shares nothing with what went in. */
int tl_membrane_pass(const struct tl_membrane_in *in, struct tl_membrane_out *ret);
void tl_membrane_clear(struct tl_membrane_out *out, const struct tl_cap_spec *spec);

/* Whether ref has the form sheet:NAME:row or db:table:id with one of the six tables. */
bool tl_evidence_ref_valid(const char *ref);

/* The error that a client sees for an error inside, with its fixed sentence: CAPSULE_FAILED, TIMEOUT, RATE_LIMITED,
 * WORKER_CRASH or RUN_CANCELLED. */
int tl_membrane_error(int inside, const char **ret_sentence);

/* Progress: whether to say anything now, and what. State starts as {0}; one caller at a time. */
struct tl_membrane_progress {
    int64_t last_us; /* of the last report, or of the first call */
    int percent;     /* reported last */
};
bool tl_membrane_step(struct tl_membrane_progress *p, uint32_t done, uint32_t total, int64_t now_us,
                      double *ret_fraction, const char **ret_message);

#endif

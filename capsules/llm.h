/* The configured language model: one answer to one prompt over the OpenAI-compatible chat completions protocol, streamed, with a deadline, a bound
 * on its length and a few careful repetitions. What comes back is untrusted text. */
#ifndef TL_CAPSULES_LLM_H
#define TL_CAPSULES_LLM_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_net;
struct tl_llm;

enum {
    TL_LLM_TIMEOUT_MS = 60000,      /* of a whole answer, repetitions and pauses included */
    TL_LLM_TEXT_MAX = 256 * 1024,   /* bytes of an answer's text */
    TL_LLM_PROMPT_MAX = 512 * 1024, /* bytes of system and prompt */
    TL_LLM_TRIES = 3,               /* requests, where the model says 429 or 503 */
};

/* Owned texts; tl_llm_conf_clear frees and wipes. url NULL: no model is configured. */
struct tl_llm_conf {
    char *url;              /* of the completions endpoint */
    char *host_port;        /* for the egress policy's trusted list */
    char *model, *key;      /* key may be NULL */
    double usd_in, usd_out; /* per million tokens */
    long timeout_ms;
};
/* Reads TALOS_LLM_URL (".../v1" or the whole endpoint), TALOS_LLM_MODEL, TALOS_LLM_KEY_FILE, TALOS_LLM_USD_PER_MTOK_IN and _OUT, TALOS_LLM_TIMEOUT_MS. 0 with url NULL
 * where no URL is set; TL_EINVAL with problems, TL_ENOMEM. */
int tl_llm_conf_env(struct tl_llm_conf *ret, struct tl_diag *diag);
void tl_llm_conf_clear(struct tl_llm_conf *conf);

/* Takes what conf holds, whatever it returns; borrows net. TL_ENOTCONFIGURED where conf has no url. */
int tl_llm_new(struct tl_llm_conf *conf, struct tl_net *net, struct tl_llm **ret);
/* After tl_net_free, or when no answer is awaited any more. */
void tl_llm_free(struct tl_llm *llm);

struct tl_llm_answer {
    const char *text; /* UTF-8, NUL-terminated; borrowed */
    size_t len;
    bool cut;                      /* the model stopped at its bound, not at its end */
    int64_t tokens_in, tokens_out; /* as the model says, else four bytes a token */
    double cost_usd;
};
struct tl_llm_req {
    const char *system, *prompt; /* system may be NULL; both copied */
    int max_tokens;
    double temperature;
    bool json;       /* asks for a JSON object */
    const char *key; /* sent as Idempotency-Key with every try; copied; may be NULL */
    void *arg;
    /* Once, on the network thread. err 0 with an answer that has text, or TL_ETIMEOUT, TL_ECANCELLED, TL_ERATE, TL_EPOLICY, TL_ETOOBIG, TL_ESCHEMA (no
     * answer in what came), TL_ETRANSIENT_IO, TL_ENOMEM with NULL. */
    void (*done)(void *arg, int err, const struct tl_llm_answer *answer);
};
/* 0 and a handle for tl_llm_cancel, or an error and done is not called. TL_ETOOBIG where the prompt is too long. */
int tl_llm_ask(struct tl_llm *llm, const struct tl_llm_req *req, unsigned long *ret_handle);
void tl_llm_cancel(struct tl_llm *llm, unsigned long handle); /* any thread; unknown handles are ignored */

#endif

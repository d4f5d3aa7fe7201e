/* HTTP to the outside: one thread drives all transfers (curl multi). Where it may connect is decided by the egress policy handed in, checked on every
 * connection, new or reused; no proxy, no redirect, http and https only. */
#ifndef TL_NET_NET_H
#define TL_NET_NET_H

#include <stdbool.h>
#include <stddef.h>

struct tl_net;

enum {
    TL_NET_WAITING_MAX = 4096, /* transfers asked for and not ended */
    TL_NET_RUNNING_MAX = 256,  /* transfers at once; others wait, and their time counts from when they run */
    TL_NET_URL_MAX = 8192,
    TL_NET_HEADERS_MAX = 64,          /* of a request */
    TL_NET_HEADER_BYTES = 256 * 1024, /* of an answer, in all */
};

struct tl_net_policy {
    /* host:port pairs that the operator configured: only these may be on loopback or a private network. NULL-terminated; may be NULL. */
    const char *const *trusted;
    bool allow_public; /* whether any public address may be reached */
};
/* TL_EINVAL where a trusted entry is not host:port. */
int tl_net_new(const struct tl_net_policy *policy, struct tl_net **ret);
void tl_net_free(struct tl_net *net); /* running transfers end with TL_ECANCELLED */

struct tl_net_req {
    const char *method, *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    const void *body;           /* copied */
    size_t body_len;
    long timeout_ms;  /* of the whole transfer; 0: 60 s */
    long delay_ms;    /* waits so long before it begins (a retry) */
    size_t max_bytes; /* of the answer; 0: 4 MiB */
    /* On a connection of its own: one that was kept may turn out to be dead when the request was already written, and is then repeated on another. For requests
     * that must not arrive twice. */
    bool once;
    void *arg;
    /* Optional: the connection stands, and the request is about to be written: from here on it may have arrived. On the network thread. */
    void (*sending)(void *arg);
    /* Optional: a piece of the answer as it arrives (streaming). A negative return ends the transfer with it. On the network thread. */
    int (*data)(void *arg, const char *bytes, size_t len);
    /* Optional: each header line of the answer, without its line end. On the network thread. */
    void (*header)(void *arg, const char *line, size_t len);
    /* Once, on the network thread. err: 0 (then status is the HTTP status and body the answer, empty where data was given), TL_EPOLICY,
     * TL_ETIMEOUT, TL_ETRANSIENT_IO, TL_ETOOBIG, TL_ECANCELLED, TL_ENOMEM, or what data returned. */
    void (*done)(void *arg, int err, int status, const char *body, size_t len);
};
/* 0 and a handle that may be given to tl_net_cancel until done was called; TL_EINVAL for a bad URL, method or header, TL_EAGAIN where too many
 * wait, TL_ENOMEM: done is then not called. */
int tl_net_send(struct tl_net *net, const struct tl_net_req *req, unsigned long *ret_handle);
/* done follows with TL_ECANCELLED, unless it was about to be called. Any thread; an unknown handle is ignored. */
void tl_net_cancel(struct tl_net *net, unsigned long handle);

/* The wait in ms that a header line asks for by Retry-After in seconds, at most a day; -1 where it is another line, or names a date. */
long tl_net_retry_after(const char *line, size_t len);

/* "host:port" as the policy compares it (lower case, the scheme's port, numbers written plainly), from a URL. Returned owned, NULL for a bad URL. */
char *tl_net_host_port(const char *url);

#endif

/* The egress policy: which addresses are on the public internet, and what a URL names. Without curl's transfers, so that it can be tested alone. */
#ifndef TL_NET_EGRESS_H
#define TL_NET_EGRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether an address may be reached by anybody: false for loopback, private, link-local, shared, multicast, reserved and documentation networks, and for
 * IPv6 addresses that carry such an IPv4 address (mapped, compatible, 6to4, NAT64, Teredo). Unknown families are not public. */
bool tl_net_is_public(const struct sockaddr *addr);
/* The same for an address in text form. */
bool tl_net_is_public_text(const char *ip);

/* Checks a URL (http or https, with a host, no user name or password) and returns "host:port" owned in *ret. TL_EINVAL, TL_ENOMEM. */
int tl_net_check_url(const char *url, char **ret);

#endif

#include "net/egress.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/net.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* IANA special-purpose registries (RFC 6890 and what followed): none of these is a place on the public internet. */
static const struct {
    uint32_t net;
    int bits;
} not_public4[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* carrier-grade NAT */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local, cloud metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* IETF */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool public4(uint32_t ip)
{
    for (size_t i = 0; i < TL_ARRAY_LEN(not_public4); i++)
        if ((ip ^ not_public4[i].net) >> (32 - not_public4[i].bits) == 0)
            return false;
    return true;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Only global unicast (2000::/3) is public, and of that not what is set apart or carries an IPv4 address. NAT64 lies outside of it. */
static bool public6(const uint8_t a[16])
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(a, nat64, sizeof(nat64)) == 0)
        return public4(be32(a + 12));
    if ((a[0] & 0xe0) != 0x20)
        return false; /* ::1, ::, mapped, compatible, fc00::/7, fe80::/10, ff00::/8, 64:ff9b:1::/48, 100::/64 */
    uint32_t head = be32(a);
    if (a[0] == 0x20 && a[1] == 0x02) /* 6to4: the IPv4 address follows */
        return public4(be32(a + 2));
    if (head >> 9 == 0x20010000u >> 9) /* 2001::/23: Teredo, ORCHID, benchmarks */
        return false;
    if (head == 0x20010db8)
        return false;                                             /* documentation */
    return !(a[0] == 0x3f && a[1] == 0xff && (a[2] & 0xf0) == 0); /* 3fff::/20: documentation */
}

bool tl_net_is_public(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof(in));
        return public4(ntohl(in.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, addr, sizeof(in6));
        return public6(in6.sin6_addr.s6_addr);
    }
    return false;
}

bool tl_net_is_public_text(const char *ip)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (ip && inet_pton(AF_INET, ip, &v4) == 1)
        return public4(ntohl(v4.s_addr));
    if (ip && inet_pton(AF_INET6, ip, &v6) == 1)
        return public6(v6.s6_addr);
    return false;
}

static bool plain(const char *s)
{
    size_t n = 0;
    for (; s[n]; n++)
        if ((unsigned char)s[n] <= ' ' || (unsigned char)s[n] >= 0x7f || n >= TL_NET_URL_MAX)
            return false;
    return n > 0;
}

/* The part of a parsed URL; NULL where it has none. curl_free it. */
static char *part(CURLU *u, CURLUPart what, unsigned flags)
{
    char *p = NULL;
    return curl_url_get(u, what, &p, flags) == CURLUE_OK ? p : NULL;
}

int tl_net_check_url(const char *url, char **ret)
{
    *ret = NULL;
    if (!url || !plain(url))
        return TL_EINVAL;
    CURLU *u = curl_url();
    if (!u)
        return TL_ENOMEM;
    struct tl_str out = {0};
    bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK;
    char *scheme = ok ? part(u, CURLUPART_SCHEME, 0) : NULL, *host = ok ? part(u, CURLUPART_HOST, 0) : NULL,
         *port = ok ? part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT) : NULL,
         *user = ok ? part(u, CURLUPART_USER, 0) : NULL, *password = ok ? part(u, CURLUPART_PASSWORD, 0) : NULL;
    ok = scheme && host && *host && port && !user && !password &&
         (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    if (ok) {
        for (char *p = host; *p; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        tl_str_printf(&out, "%s:%s", host, port);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(u);
    if (!ok)
        return TL_EINVAL;
    *ret = tl_str_take(&out);
    return *ret ? 0 : TL_ENOMEM;
}

char *tl_net_host_port(const char *url)
{
    char *out;
    tl_net_check_url(url, &out);
    return out;
}

/*
 * url.h - the URLs of listeners, peers and advertised clients: parse, check, print back.
 * (What people type as an endpoint is common/client/endpoint.h.) Pure; thread: any.
 */
#ifndef COMMON_BASE_URL_H
#define COMMON_BASE_URL_H

#include "common/base/err.h"
#include "common/base/limits.h"

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX, URL_UNIXS };

struct url {
    enum url_scheme scheme;
    char *host;    /* owned; without brackets; the socket's path for unix and unixs */
    uint16_t port; /* 0 for sockets */
    char *text;    /* owned; the URL printed back: scheme in lower case, the rest as given */
};

/*
 * Blanks around `text` are trimmed. http and https need host:port and no path, "[::1]:2380" for
 * IPv6; unix and unixs take a path ("unix:///a/b" is /a/b, "unix://a:1" is the file a:1).
 *
 * url     set on success only; url_fini()
 * errors  ERR_USAGE in etcd's words
 */
int url_parse(const char *text, struct url *url, struct err *err) MUST_CHECK;
void url_fini(struct url *url); /* zeroed is fine */

static inline bool url_is_tls(const struct url *url)
{
    return url->scheme == URL_HTTPS || url->scheme == URL_UNIXS;
}

#endif

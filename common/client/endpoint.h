/*
 * endpoint.h - one endpoint as people type it, taken apart: host:port, http://, https://, unix://,
 * unixs://. Pure; thread: any.
 */
#ifndef COMMON_CLIENT_ENDPOINT_H
#define COMMON_CLIENT_ENDPOINT_H

#include "common/base/err.h"
#include "common/base/slice.h"

struct endpoint {
    char *typed;  /* owned; as given, blanks trimmed */
    char *base;   /* owned; URL without path for libcurl, "https://[::1]:2379" */
    char *host;   /* owned; what the certificate is checked against, "::1", "localhost" */
    char *port;   /* owned; "2379"; "" for a socket */
    char *socket; /* owned; path of the unix socket; NULL for TCP */
    char *fault;  /* owned; why it is none; NULL = it is one. Else only `typed` tells anything */
    bool tls;
    bool scheme; /* it was given with http:// or https:// */
};

/*
 * Take `text` apart; TLS without a scheme is `tls`.
 * errors  ERR_USAGE naming the text and what is wrong with it; `endpoint` is untouched then
 */
int endpoint_parse(struct slice text, bool tls, struct endpoint *endpoint,
                   struct err *err) MUST_CHECK;
/* What does not parse, kept beside endpoints that do: nobody can connect to it. */
void endpoint_keep(struct slice text, const struct err *fault, struct endpoint *endpoint);
void endpoint_free(struct endpoint *endpoint); /* zeroed is fine */

#endif

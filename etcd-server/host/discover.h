/*
 * discover.h (edge) - who the first members of a new cluster are, when --initial-cluster does not
 * say it: a registry that each enters itself into (etcd's v2 protocol, or keys of an etcd v3), or
 * SRV records of DNS (cli.md 1.11). Blocks, with a registry until all are there; at start only, and
 * only without a data directory. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_DISCOVER_H
#define ETCD_SERVER_HOST_DISCOVER_H

#include "common/base/err.h"
#include "common/tls/tls.h"

/* Everything is borrowed. One of `url`, `token` with `endpoints`, `srv_domain` is given. */
struct discover_config {
    const char *name;
    const char *const *peer_urls; /* our own, as advertised */
    size_t peer_url_count;
    const char *cluster_token; /* --initial-cluster-token */

    const char *url; /* v2: SCHEME://HOST[:PORT]/TOKEN; "" = none */

    const char *token; /* v3; "" = none */
    const char *const *endpoints;
    size_t endpoint_count;
    bool plain;       /* endpoints without a scheme are http:// */
    const char *user; /* "USER" or "USER:PASSWORD"; "" = none */
    const char *password;
    uint64_t request_timeout_ms; /* connecting included */

    const char *srv_domain; /* "" = none */
    const char *srv_name;   /* suffix of the service; "" = none */

    struct tls_context *tls; /* for https registries; NULL = none */
};

/* What stands for the flags then; owned, discovered_free(). */
struct discovered {
    char *initial_cluster;
    char *token;      /* of the ids: as etcd, so that its members fit in */
    char *advertised; /* our own URLs as the others know them, comma separated */
};

/*
 * A registry that cannot be reached is tried again for ever, with growing pauses and a warning
 * each; so is waiting for the other members.
 * errors  ERR_USAGE and ERR_FORMAT in etcd's words with what to do: the cluster is full, no size,
 *         a used token, no SRV records, ourselves not among them
 */
int discover(const struct discover_config *config, struct discovered *discovered,
             struct err *err) MUST_CHECK;
void discovered_free(struct discovered *discovered); /* zeroed is fine */

#endif

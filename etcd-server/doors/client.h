/*
 * client.h - what a client URL, or one for metrics, serves over HTTP: host check, CORS, redirects
 * of unclean paths, then the gateway or the operators' endpoints (api.md 12.5 to 12.7, 13.1). Pure;
 * thread: core.
 */
#ifndef ETCD_SERVER_DOORS_CLIENT_H
#define ETCD_SERVER_DOORS_CLIENT_H

#include "etcd-server/doors/exchange.h"

struct gateway;
struct ops;

struct client_config {
    const char *const *cors; /* --cors: origins, or "*"; copied */
    size_t cors_count;
    const char *const *hosts; /* --host-whitelist: host names, or "*"; copied */
    size_t host_count;
    struct gateway *gateway; /* borrowed; NULL: no /v3/ */
    struct ops *ops;         /* borrowed; NULL: nothing beside the gateway */
    /* A port of its own: probes and scrapers, which come by address, and nobody else's business. No
     * check of hosts, no CORS, no /version and no /debug/vars. */
    bool monitoring;
};

struct client;
struct client *client_new(const struct client_config *config) MUST_CHECK; /* owned */
void client_free(struct client *client); /* after its last exchange; NULL is fine */

struct exchange_handler client_handler(struct client *client);

#endif

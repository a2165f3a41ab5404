/*
 * peer_lookup.c - the addresses of a URL: of a name they come from a thread of the resolver, for
 * that may take seconds; of anything else they are in the URL.
 *
 *   peer_lookup_new() -> [look_up(), on a thread] -> answered(), by way of the loop -> done()
 *
 * So done() never comes from inside peer_lookup_new(). A thread that asks cannot be stopped: who
 * waits no more drops the lookup, which ends by itself.
 */
#include "etcd-server/host/peer_lookup.h"

#include "etcd-server/host/address.h"
#include "etcd-server/host/peers_internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

#define RESOLVER_THREADS 4 /* a name server that is slow for one holds up the others later */

struct peer_lookup {
    struct host_task task;
    struct loop *loop;
    peer_lookup_fn *done; /* core only; NULL: nobody waits */
    void *arg;
    char *host; /* owned */
    uint16_t port;
    struct address addresses[PEER_ADDRESSES_MAX];
    size_t count;
    int error;              /* of getaddrinfo(), 0 */
    char why[ERR_TEXT_MAX]; /* not "": there is no place to dial */
};

static void answered(void *arg)
{
    struct peer_lookup *lookup = arg;

    if (lookup->done != NULL)
        lookup->done(lookup->arg, lookup->addresses, lookup->count,
                     lookup->why[0] != '\0' ? lookup->why : gai_strerror(lookup->error));
    free(lookup->host);
    free(lookup);
}

/* On a thread. */
static void look_up(struct peer_lookup *lookup)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];

    must(snprintf(port, sizeof(port), "%u", lookup->port) < (int)sizeof(port));
    lookup->error = getaddrinfo(lookup->host, port, &hints, &list);
    for (struct addrinfo *at = lookup->error == 0 ? list : NULL;
         at != NULL && lookup->count < PEER_ADDRESSES_MAX; at = at->ai_next) {
        struct address *address = &lookup->addresses[lookup->count];

        if (at->ai_addrlen > sizeof(address->u))
            continue;
        memcpy(&address->u, at->ai_addr, at->ai_addrlen);
        address->bytes = at->ai_addrlen;
        lookup->count++;
    }
    if (list != NULL)
        freeaddrinfo(list);
    loop_post(lookup->loop, answered, lookup);
}

static void resolver(void *arg, struct host_task *tasks)
{
    (void)arg;
    look_up(CONTAINER_OF(tasks, struct peer_lookup, task));
}

/* True when the host is an address or a path, and no name. */
static bool take_address(const struct url *url, struct address *address)
{
    if (url->scheme == URL_UNIX || url->scheme == URL_UNIXS) {
        address->u.un.sun_family = AF_UNIX;
        address->bytes = sizeof(address->u.un);
        if (strlen(url->host) >= sizeof(address->u.un.sun_path))
            return false;
        memcpy(address->u.un.sun_path, url->host, strlen(url->host));
        return true;
    }
    if (inet_pton(AF_INET, url->host, &address->u.v4.sin_addr) == 1) {
        address->u.v4.sin_family = AF_INET;
        address->u.v4.sin_port = htons(url->port);
        address->bytes = sizeof(address->u.v4);
        return true;
    }
    if (inet_pton(AF_INET6, url->host, &address->u.v6.sin6_addr) == 1) {
        address->u.v6.sin6_family = AF_INET6;
        address->u.v6.sin6_port = htons(url->port);
        address->bytes = sizeof(address->u.v6);
        return true;
    }
    return false;
}

struct peer_lookup *peer_lookup_new(struct peers *peers, const struct url *url, const char *why,
                                    peer_lookup_fn *done, void *arg)
{
    struct peer_lookup *lookup = xalloc(sizeof(*lookup));

    lookup->loop = peers->loop;
    lookup->done = done;
    lookup->arg = arg;
    (void)snprintf(lookup->why, sizeof(lookup->why), "%s", why);
    if (why[0] != '\0' || take_address(url, &lookup->addresses[0])) {
        lookup->count = why[0] == '\0';
        loop_post(lookup->loop, answered, lookup);
        return lookup;
    }
    lookup->host = xstrdup(url->host);
    lookup->port = url->port;
    if (peers->resolver == NULL)
        peers->resolver = peers_worker(peers, resolver, RESOLVER_THREADS);
    worker_post(peers->resolver, &lookup->task);
    return lookup;
}

void peer_lookup_drop(struct peer_lookup *lookup)
{
    if (lookup != NULL)
        lookup->done = NULL;
}

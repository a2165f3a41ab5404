/*
 * peer_gate.c - see peer_gate.h.
 *
 *   open -> passed on                            at once, when no name is needed
 *        -> WAITING -> again() -> passed on      after the lookup
 *        -> REFUSED -> input() -> CLOSED         its request is answered with the cause
 */
#include "etcd-server/host/peer_gate.h"

#include "common/base/log.h"
#include "common/tls/tls.h"
#include "etcd-server/host/address.h"
#include "etcd-server/host/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#define NAMES_MAX 128 /* DNS SANs that are looked up */
#define GATE_THREADS 2
#define REVERSE_MAX_BYTES (64UL * KIB) /* the names of an address */

struct peer_gate {
    const char *refused; /* static: for the log */
    struct loop *loop;
    struct link_door next;
    struct worker *resolver; /* NULL until needed */
};

struct gate_lookup {
    struct host_task task;
    struct loop *loop;
    struct gate_link *waits; /* core only; NULL: it went */
    char address[ADDRESS_TEXT_BYTES];
    char *names[NAMES_MAX]; /* owned */
    size_t name_count;
    bool fits;
};

struct gate_link {
    struct peer_gate *gate;
    struct link *link;
    struct gate_lookup *lookup; /* NULL: none under way */
    bool allowed;
    char *cause; /* owned; NULL: not refused */
};

/* The address of "127.0.0.1:40312" or "[::1]:40312"; false: there is none. */
static bool source_address(const char *remote, char address[ADDRESS_TEXT_BYTES])
{
    const char *colon = strrchr(remote, ':');
    size_t size;

    if (colon == NULL)
        return false;
    size = (size_t)(colon - remote);
    if (remote[0] == '[' && size >= 2) {
        remote++;
        size -= 2;
    }
    if (size == 0 || size >= ADDRESS_TEXT_BYTES)
        return false;
    memcpy(address, remote, size);
    address[size] = '\0';
    return true;
}

bool peer_gate_name_fits(const char *pattern, const char *name)
{
    size_t size = strlen(name), ending;

    if (size != 0 && name[size - 1] == '.')
        size--;
    if (strncmp(pattern, "*.", 2) != 0)
        return strlen(pattern) == size && strncasecmp(pattern, name, size) == 0;
    ending = strlen(++pattern);
    return size > ending && strncasecmp(pattern, name + size - ending, ending) == 0;
}

/* ---- on the thread ---- */

static bool is_address(const struct sockaddr *found, const char *address)
{
    char text[ADDRESS_TEXT_BYTES];

    return address_host(found, text) && strcmp(text, address) == 0;
}

static bool any_fits(const struct gate_lookup *lookup, const char *name)
{
    for (size_t i = 0; i < lookup->name_count; i++)
        if (peer_gate_name_fits(lookup->names[i], name))
            return true;
    return false;
}

/* All names that the address has, as a lookup of Go's gives them: getnameinfo() knows one. */
static bool reverse_fits(const struct gate_lookup *lookup)
{
    int family = strchr(lookup->address, ':') != NULL ? AF_INET6 : AF_INET;
    struct in6_addr address;
    struct hostent entry, *found = NULL;
    char *room = NULL;
    int rc = ERANGE, problem;
    bool fits = false;

    if (inet_pton(family, lookup->address, &address) != 1)
        return false;
    for (size_t bytes = KIB; rc == ERANGE && bytes <= REVERSE_MAX_BYTES; bytes *= 2) {
        free(room);
        room = xalloc(bytes);
        rc = gethostbyaddr_r(&address, family == AF_INET6 ? 16 : 4, family, &entry, room, bytes,
                             &found, &problem);
    }
    if (rc == 0 && found != NULL) {
        fits = any_fits(lookup, found->h_name);
        for (char **alias = found->h_aliases; *alias != NULL && !fits; alias++)
            fits = any_fits(lookup, *alias);
    }
    free(room);
    return fits;
}

static bool forward_fits(const struct gate_lookup *lookup, const char *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    bool fits = false;

    if (name[0] == '*' || getaddrinfo(name, NULL, &hints, &list) != 0)
        return false;
    for (struct addrinfo *at = list; at != NULL; at = at->ai_next)
        fits = fits || is_address(at->ai_addr, lookup->address);
    freeaddrinfo(list);
    return fits;
}

static void on_looked_up(void *arg);

static void look_up(void *arg, struct host_task *tasks)
{
    struct gate_lookup *lookup = CONTAINER_OF(tasks, struct gate_lookup, task);

    (void)arg;
    lookup->fits = reverse_fits(lookup);
    for (size_t i = 0; i < lookup->name_count && !lookup->fits; i++)
        lookup->fits = forward_fits(lookup, lookup->names[i]);
    loop_post(lookup->loop, on_looked_up, lookup);
}

/* ---- on the core ---- */

static void refuse(struct gate_link *waits, const char *address)
{
    struct link *link = waits->link;
    const struct tls_peer *peer = link->certificate;
    char cause[512];
    size_t size;

    (void)snprintf(cause, sizeof(cause), "tls: \"%s\" does not match any of %s [", address,
                   peer->dns.count != 0 ? "DNSNames" : "IPAddresses");
    for (size_t i = 0; i < (peer->dns.count != 0 ? peer->dns.count : peer->ips.count); i++) {
        size = strlen(cause);
        (void)snprintf(cause + size, sizeof(cause) - size, "%s\"%s\"", i != 0 ? " " : "",
                       peer->dns.count != 0 ? peer->dns.items[i] : peer->ips.items[i]);
    }
    size = strlen(cause);
    (void)snprintf(cause + size, sizeof(cause) - size, "]");
    log_warn(waits->gate->refused, log_str("remote-addr", link->remote),
             log_str("common-name", peer->cn), log_str("error", cause));
    waits->cause = xstrdup(cause);
    link->phase = LINK_HEADER;
    link->phase_ms = link->clock->now_ms;
    link->again = true; /* what came meanwhile is offered then */
    link->changed(link);
}

static void on_looked_up(void *arg)
{
    struct gate_lookup *lookup = arg;
    struct gate_link *waits = lookup->waits;

    if (waits != NULL) {
        waits->lookup = NULL;
        waits->allowed = lookup->fits;
        if (lookup->fits) {
            waits->link->again = true; /* passed on in there */
            waits->link->changed(waits->link);
        } else {
            refuse(waits, lookup->address);
        }
    }
    for (size_t i = 0; i < lookup->name_count; i++)
        free(lookup->names[i]);
    free(lookup);
}

static void start_lookup(struct gate_link *waits, const char *address)
{
    const struct tls_peer *peer = waits->link->certificate;
    struct gate_lookup *lookup = xalloc(sizeof(*lookup));
    struct err err = ERR_INIT;

    lookup->loop = waits->gate->loop;
    lookup->waits = waits;
    memcpy(lookup->address, address, strlen(address) + 1);
    while (lookup->name_count < MIN(peer->dns.count, NAMES_MAX)) {
        lookup->names[lookup->name_count] = xstrdup(peer->dns.items[lookup->name_count]);
        lookup->name_count++;
    }
    waits->lookup = lookup;
    waits->link->phase = LINK_BUSY; /* nothing is taken until then */
    if (waits->gate->resolver == NULL &&
        worker_new(GATE_THREADS, false, look_up, NULL, &waits->gate->resolver, &err) < 0)
        log_fatal("cannot start threads for lookups", log_str("error", err.text));
    must(waits->gate->resolver != NULL);
    worker_post(waits->gate->resolver, &lookup->task);
}

static void gate_open(void *arg, struct link *link)
{
    struct peer_gate *gate = arg;
    const struct tls_peer *peer = link->certificate;
    char address[ADDRESS_TEXT_BYTES];
    struct gate_link *waits;
    bool passes = peer == NULL || (peer->dns.count == 0 && peer->ips.count == 0) ||
                  !source_address(link->remote, address);

    for (size_t i = 0; !passes && i < peer->ips.count; i++)
        passes = strcmp(peer->ips.items[i], address) == 0;
    if (passes) {
        link_pass(link, &gate->next);
        return;
    }
    waits = xalloc(sizeof(*waits));
    waits->gate = gate;
    waits->link = link;
    link->door = waits;
    if (peer->dns.count == 0)
        refuse(waits, address);
    else
        start_lookup(waits, address);
}

static size_t gate_input(struct link *link, struct slice bytes)
{
    const struct gate_link *waits = link->door;

    if (link->close)
        return bytes.size;
    if (waits->cause == NULL)
        return 0;
    /* Not 403: to a member that posts that means "you were removed", and it ends (raft.md 5). */
    buf_printf(&link->out,
               "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
               "Connection: close\r\nContent-Length: %zu\r\n\r\n%s\n",
               strlen(waits->cause) + 1, waits->cause);
    link->phase = LINK_BUSY;
    link->close = true;
    link->changed(link);
    return bytes.size;
}

static void gate_close(struct link *link)
{
    struct gate_link *waits = link->door;

    if (waits->lookup != NULL)
        waits->lookup->waits = NULL;
    free(waits->cause);
    free(waits);
    link->door = NULL;
}

static void gate_again(struct link *link)
{
    struct gate_link *waits = link->door;
    struct peer_gate *gate = waits->gate;

    if (!waits->allowed)
        return;
    free(waits);
    link->phase = LINK_IDLE;
    link_pass(link, &gate->next);
}

static void gate_nothing(struct link *link)
{
    (void)link;
}

static void gate_end(struct link *link)
{
    link->close = true;
    link->changed(link);
}

struct peer_gate *peer_gate_new(struct loop *loop, const struct link_door *next,
                                const char *refused)
{
    struct peer_gate *gate = xalloc(sizeof(*gate));

    gate->refused = refused;
    gate->loop = loop;
    gate->next = *next;
    return gate;
}

void peer_gate_free(struct peer_gate *gate)
{
    if (gate == NULL)
        return;
    worker_free(gate->resolver);
    free(gate);
}

struct link_door peer_gate_door(struct peer_gate *gate)
{
    return (struct link_door){
        .arg = gate,
        .open = gate_open,
        .input = gate_input,
        .again = gate_again,
        .drained = gate_nothing,
        .wake = gate_nothing,
        .ended = gate_end,
        .drain = gate_end,
        .close = gate_close,
    };
}

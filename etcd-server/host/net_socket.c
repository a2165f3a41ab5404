/*
 * net_socket.c - a listener's URL as an address, and the socket that is bound to it. See net.h.
 *
 * As Go does it, 0.0.0.0 is every address of the machine, IPv6 as well: one socket of [::] takes
 * both (RFC 3493 5.3), and IPv4 alone is listened to only where the kernel has no IPv6.
 */
#include "etcd-server/host/net_internal.h"

#include "common/base/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

/* ---- URLs ---- */

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned long number;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    number = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

int net_bad_url(const char *url, const char *why, struct err *err)
{
    err_set(err, ERR_USAGE, "cannot listen on \"%s\": %s", url, why);
    return -1;
}

static int parse_host(const char *url, const char *host_port, struct net_place *place,
                      struct err *err)
{
    const char *colon = strrchr(host_port, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t size;
    uint16_t port;

    if (colon == NULL || !parse_port(colon + 1, &port))
        return net_bad_url(url, "give an address and a port, as in http://127.0.0.1:2379", err);
    size = (size_t)(colon - host_port);
    if (size >= sizeof(host))
        return net_bad_url(url, "expected an IP address or localhost", err);
    memcpy(host, host_port, size);
    host[size] = '\0';
    (void)snprintf(place->text, sizeof(place->text), "tcp %s", host_port);
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        place->address.u.v6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        place->address.bytes = sizeof(place->address.u.v6);
        if (inet_pton(AF_INET6, host + 1, &place->address.u.v6.sin6_addr) == 1)
            return 0;
        return net_bad_url(url, "what is in the brackets is no IPv6 address", err);
    }
    place->address.u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    place->address.bytes = sizeof(place->address.u.v4);
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
                  &place->address.u.v4.sin_addr) == 1)
        return 0;
    return net_bad_url(url, "expected IP in URL for binding", err);
}

int net_place_parse(const char *url, struct net_place *place, struct err *err)
{
    static const char *const schemes[] = {"http://", "https://", "unix://", "unixs://"};
    const char *rest = NULL;
    size_t scheme;

    *place = (struct net_place){.tls = false};
    for (scheme = 0; scheme < ARRAY_LEN(schemes); scheme++)
        if (strncmp(url, schemes[scheme], strlen(schemes[scheme])) == 0) {
            rest = url + strlen(schemes[scheme]);
            break;
        }
    if (rest == NULL)
        return net_bad_url(url, "URL scheme must be http, https, unix, or unixs", err);
    place->tls = scheme % 2 != 0;
    if (scheme < 2)
        return parse_host(url, rest, place, err);
    if (rest[0] == '\0' || strlen(rest) >= sizeof(place->address.u.un.sun_path))
        return net_bad_url(url, "the path of a unix socket has 1 to 107 bytes", err);
    place->address.u.un.sun_family = AF_UNIX;
    memcpy(place->address.u.un.sun_path, rest, strlen(rest) + 1);
    place->address.bytes = sizeof(place->address.u.un);
    (void)snprintf(place->text, sizeof(place->text), "unix %s", rest);
    return 0;
}

/* ---- listening ---- */

/* Somebody accepts there: what a kill left behind refuses. */
static bool is_served(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool served = fd >= 0 && (connect(fd, &address->u.any, address->bytes) == 0 || errno == EAGAIN);

    file_close(&fd);
    return served;
}

/* Remove what a kill left behind; false: it is in use. bind() tells of what else is there. */
static bool make_way(const struct address *address)
{
    struct stat status;

    if (lstat(address->u.un.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return true;
    if (is_served(address)) {
        errno = EADDRINUSE;
        return false;
    }
    (void)unlink(address->u.un.sun_path);
    return true;
}

bool net_refuses(const struct net_listener_config *config, const struct net_place *place)
{
    return config->refuses && place->address.u.any.sa_family != AF_UNIX;
}

/* Bound, and listening unless it `refuses`; -1 with errno, and *step says at what. */
static int bind_socket(const struct net_listener_config *config, const struct address *address,
                       bool refuses, const char **step)
{
    int family = address->u.any.sa_family, on = 1, off = 0, error;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *step = "socket";
    if (fd < 0)
        goto failed;
    *step = "setsockopt";
    /* Go sets SO_REUSEADDR on every listener: a restart need not wait for old connections. */
    if (family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        goto failed;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
        goto failed;
    if (config->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        goto failed;
    *step = "bind";
    if ((family == AF_UNIX && !make_way(address)) || bind(fd, &address->u.any, address->bytes) < 0)
        goto failed;
    *step = "listen";
    if (refuses || listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
failed:
    error = errno;
    file_close(&fd);
    errno = error;
    return -1;
}

/* [::] instead of 0.0.0.0; false: the address is another one. */
static bool every_address(const struct address *address, struct address *every)
{
    if (address->u.any.sa_family != AF_INET || address->u.v4.sin_addr.s_addr != INADDR_ANY)
        return false;
    *every = (struct address){.bytes = sizeof(every->u.v6)};
    every->u.v6.sin6_family = AF_INET6;
    every->u.v6.sin6_port = address->u.v4.sin_port;
    return true;
}

/* place, step: where, and at what. -1 */
static int cannot_listen(const char *place, const char *step, struct err *err)
{
    if (errno == EADDRINUSE) /* in etcd's words: scripts look for them */
        err_set(err, ERR_NET,
                "listen %s: %s: address already in use; another server runs there, or choose "
                "another port",
                place, step);
    else
        err_sys(err, errno, "listen %s: %s", place, step);
    err->code = ERR_NET;
    return -1;
}

int net_socket_open(const struct net_listener_config *config, const struct net_place *place,
                    struct err *err)
{
    bool refuses = net_refuses(config, place);
    const char *step = "";
    struct address every;
    int fd = -1;

    errno = EAFNOSUPPORT;
    if (every_address(&place->address, &every))
        fd = bind_socket(config, &every, refuses, &step);
    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) /* no IPv6 */
        fd = bind_socket(config, &place->address, refuses, &step);
    return fd >= 0 ? fd : cannot_listen(place->text, step, err);
}

int net_socket_listen(int fd, const char *place, struct err *err)
{
    return listen(fd, LISTEN_BACKLOG) == 0 ? 0 : cannot_listen(place, "listen", err);
}

uint16_t net_socket_port(int fd)
{
    struct address address = {.bytes = sizeof(address.u)};

    return getsockname(fd, &address.u.any, &address.bytes) == 0 ? address_port(&address.u.any) : 0;
}

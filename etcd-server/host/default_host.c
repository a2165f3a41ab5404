/*
 * default_host.c - see default_host.h. The kernel chooses: a datagram socket that is connected,
 * which sends nothing, has the address that packets of the default route leave from. The other end
 * is only ever reached by that route: 1.0.0.0 and 2000:: are what `ip route get 1` and
 * `ip route get 2000::` take, too.
 */
#include "etcd-server/host/default_host.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANY_PORT 9

static bool source_towards(const struct sockaddr *far, socklen_t bytes, char *host, size_t size)
{
    struct sockaddr_storage near = {0};
    socklen_t near_bytes = sizeof(near);
    int fd = socket(far->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && connect(fd, far, bytes) == 0 &&
                 getsockname(fd, (struct sockaddr *)&near, &near_bytes) == 0 &&
                 getnameinfo((struct sockaddr *)&near, near_bytes, host, (socklen_t)size, NULL, 0,
                             NI_NUMERICHOST) == 0;

    if (fd >= 0)
        (void)close(fd); /* nothing was sent */
    return found;
}

bool default_host(char host[DEFAULT_HOST_BYTES])
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(ANY_PORT), .sin_addr = {htonl(1UL << 24)}};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(ANY_PORT), .sin6_addr = {.s6_addr = {0x20}}};
    char address[DEFAULT_HOST_BYTES - 2];

    if (source_towards((const struct sockaddr *)&v4, sizeof(v4), host, DEFAULT_HOST_BYTES))
        return true;
    if (!source_towards((const struct sockaddr *)&v6, sizeof(v6), address, sizeof(address)))
        return false;
    (void)snprintf(host, DEFAULT_HOST_BYTES, "[%s]", address); /* fits */
    return true;
}

/* address.c - see address.h. */
#include "etcd-server/host/address.h"

#include <arpa/inet.h>

bool address_host(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES])
{
    const void *bytes;
    int family = address->sa_family;

    text[0] = '\0';
    if (family == AF_INET) {
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    } else if (family == AF_INET6) {
        const struct in6_addr *v6 =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;

        bytes = v6;
        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            bytes = v6->s6_addr + sizeof(*v6) - sizeof(struct in_addr);
            family = AF_INET;
        }
    } else {
        return false;
    }
    return inet_ntop(family, bytes, text, ADDRESS_TEXT_BYTES) != NULL;
}

uint16_t address_port(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    if (address->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    return 0;
}

/* address.h (edge) - a place to listen on or to dial, as the kernel takes it. Thread: any. */
#ifndef ETCD_SERVER_HOST_ADDRESS_H
#define ETCD_SERVER_HOST_ADDRESS_H

#include "common/base/base.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } u;
    socklen_t bytes;
};

#define ADDRESS_TEXT_BYTES INET6_ADDRSTRLEN
/*
 * The address as text, without port: "127.0.0.1", "::1". An IPv4 address in IPv6 clothes
 * (::ffff:127.0.0.1, what a socket for both shows) is written as the IPv4 address it is, as Go
 * does: so it compares with what certificates and names say. False: it is neither, `text` is "".
 */
bool address_host(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES]);
uint16_t address_port(const struct sockaddr *address); /* 0: it has none */

#endif

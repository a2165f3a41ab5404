/* address.h (edge) - a place to listen on or to dial, as the kernel takes it. Thread: any. */
#ifndef ETCD_SERVER_HOST_ADDRESS_H
#define ETCD_SERVER_HOST_ADDRESS_H

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

#endif

/*
 * port.h - HTTP/1.1 and HTTP/2 on one port: looks at what ALPN chose, else at the first bytes
 * (RFC 9113 3.3: the preface), and passes the link on to the one or the other. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_PORT_H
#define ETCD_SERVER_DOORS_PORT_H

#include "etcd-server/host/link.h"

struct port {
    struct link_door http1;
    struct link_door http2;
};

/* The link's door; `port` is borrowed as long as any of its links lives. */
struct link_door port_link_door(struct port *port);

#endif

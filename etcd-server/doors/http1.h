/*
 * http1.h - HTTP/1.x framing: a link's bytes to exchanges and their answers back to bytes.
 *
 * One request of a connection is worked on at a time; pipelined ones wait unparsed behind it and
 * are answered in order. Knows keep-alive, chunked bodies both ways, Expect: 100-continue, HEAD,
 * HTTP/1.0; refuses what is malformed (400), headers above HTTP_HEADER_MAX_BYTES or
 * HTTP_HEADERS_MAX (431), and hands bodies above JSON_BODY_MAX_BYTES to the handler as too large.
 * Upgrades to WebSocket are made where exchange_handler.upgrades says so, others ignored. Pure;
 * thread: core.
 */
#ifndef ETCD_SERVER_DOORS_HTTP1_H
#define ETCD_SERVER_DOORS_HTTP1_H

#include "etcd-server/doors/exchange.h"

/* What all connections of a listener share. Fields are private. */
struct http1_door {
    struct exchange_handler handler;
    int64_t date_s;
    char date[48]; /* "Date: Sun, 22 Nov 2026 03:36:46 GMT\r\n" */
};

void http1_door_init(struct http1_door *door, struct exchange_handler handler);
/* The link's door; `door` is borrowed as long as any of its links lives. */
struct link_door http1_link_door(struct http1_door *door);

#endif

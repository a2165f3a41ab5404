/*
 * http2.h - HTTP/2 framing: a link's bytes to exchanges, many at a time, and their answers back.
 *
 * Streams whose content-type begins with application/grpc go to the gRPC handler, as their head is
 * there; all others to the HTTP handler, collected whole unless it takes pieces, as in http1.h.
 * Flow control holds both sides back; whoever floods (resets, pings, settings, continuations, empty
 * frames) or reads nothing meets the limits of limits.h and a GOAWAY. Output is made at the end of
 * a turn for all streams together. nghttp2 stays behind it. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_HTTP2_H
#define ETCD_SERVER_DOORS_HTTP2_H

#include "etcd-server/doors/exchange.h"

struct http2_config {
    struct exchange_handler http; /* start NULL: every such request is answered 404 */
    struct exchange_handler grpc; /* start NULL: these go to `http`, too */
    uint32_t max_streams;         /* --max-concurrent-streams; at most HTTP2_STREAMS_MAX count */
    uint32_t window_bytes;        /* the largest message that a handler may wait for */
    uint64_t ping_min_ms;         /* --grpc-keepalive-min-time: clients may ping that often */
    uint64_t ping_interval_ms; /* --grpc-keepalive-interval: we ping a silent client; 0 = never */
    uint64_t ping_timeout_ms;  /* --grpc-keepalive-timeout: and wait so long */
};

struct http2_door; /* what all connections of a listener share */
struct http2_door *http2_door_new(const struct http2_config *config) MUST_CHECK; /* owned */
void http2_door_free(struct http2_door *door); /* after the last of its links; NULL is fine */

/* The link's door; `door` is borrowed as long as any of its links lives. */
struct link_door http2_link_door(struct http2_door *door);

#endif

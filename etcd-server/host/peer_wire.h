/*
 * peer_wire.h (edge) - the bytes of one connection to a member, plain or through TLS: what is to go
 * out waits in here until the socket takes it, what came is handed out. Knows no HTTP, and not what
 * is to be done when it ends. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEER_WIRE_H
#define ETCD_SERVER_HOST_PEER_WIRE_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/tls/tls.h"

#define PEER_SCRATCH_BYTES (64UL * KIB)

struct peer_wire {
    int fd;                      /* -1: none; set by who connects */
    struct tls_session *session; /* the same; NULL: plain */
    struct buf request;          /* goes out first; kept, for it may have to go out again */
    size_t request_sent;
    struct buf out;     /* goes behind it */
    uint64_t moved_ms;  /* when the socket last gave or took a byte */
    uint8_t *scratch;   /* PEER_SCRATCH_BYTES; borrowed */
    struct slice plain; /* came without TLS, not taken yet; in `scratch` */
};

enum peer_wire_result {
    PEER_WIRE_BYTES,  /* there are some */
    PEER_WIRE_AGAIN,  /* not now */
    PEER_WIRE_CLOSED, /* the other side has closed it, or it broke: err says how */
    PEER_WIRE_FAILED, /* TLS: err says why */
};

void peer_wire_init(struct peer_wire *wire, uint8_t *scratch);
void peer_wire_close(struct peer_wire *wire); /* what has not gone out is lost, but the request */
void peer_wire_fini(struct peer_wire *wire);

/* Read the socket once. After BYTES peer_wire_take() until there are none, but in the handshake. */
enum peer_wire_result peer_wire_read(struct peer_wire *wire, struct err *err) MUST_CHECK;
/* Plaintext that came; borrowed until the next call. `bytes` is set with BYTES only. */
enum peer_wire_result peer_wire_take(struct peer_wire *wire, struct slice *bytes,
                                     struct err *err) MUST_CHECK;

/* What the socket, or TLS, did not take yet: first of the request, then of `out`. */
struct slice peer_wire_unsent(const struct peer_wire *wire);
/* Write what goes; speak: the request too, not only what TLS has to say. False: it is broken. */
bool peer_wire_write(struct peer_wire *wire, bool speak) MUST_CHECK;
/* Does anything wait for the socket? */
bool peer_wire_waits(const struct peer_wire *wire, bool speak);

#endif

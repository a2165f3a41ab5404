/*
 * peer_request.h - what is asked of a member over HTTP/1.1, and its bytes. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_HOST_PEER_REQUEST_H
#define ETCD_SERVER_HOST_PEER_REQUEST_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "etcd-server/host/peer_reply.h"

struct peer_ask {
    const char *url; /* borrowed for the call, as all texts here and `body` */
    const char *method, *path;
    const char *content_type; /* NULL: none */
    const char *fields;       /* more lines; NULL: none */
    struct slice body;
    uint64_t more_bytes; /* of the body, to come through peer_dial_send() */
    uint64_t timeout_ms; /* for all of it; 0: none */
    uint64_t stall_ms;   /* without a byte either way; 0: none */
    void *arg;
    void (*head)(void *arg, const struct peer_head *head); /* NULL: not wanted */
    void (*data)(void *arg, struct slice bytes);
    /* The end: err->code ERR_OK, or why there is no whole answer. Another ask() is fine in here. */
    void (*done)(void *arg, const struct err *err);
    void (*room)(void *arg); /* what peer_dial_send() took has gone out; NULL: not wanted */
};

/* Its head and the body that is there already, in place of what is in `out`. */
void peer_request_write(const struct peer_ask *ask, struct buf *out);

#endif

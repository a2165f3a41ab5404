/*
 * peer_reply.h - reads a member's HTTP/1.1 answer: bytes in, its head and its body out. Of the head
 * it keeps the status and two headers (raft.md 2.1). Knows no socket and no clock. Pure. Thread:
 * core.
 */
#ifndef ETCD_SERVER_HOST_PEER_REPLY_H
#define ETCD_SERVER_HOST_PEER_REPLY_H

#include "common/base/base.h"
#include "common/base/slice.h"

#include <http_parser.h>

#define PEER_VERSION_BYTES 32
#define PEER_REPLY_NAME_BYTES 32  /* longer names are none of ours */
#define PEER_REPLY_VALUE_BYTES 64 /* the same */

/* The head of an answer; borrowed for the call. */
struct peer_head {
    unsigned status;
    uint64_t cluster_id;              /* 0: absent or unreadable */
    char version[PEER_VERSION_BYTES]; /* of X-Server-Version; "" = absent */
};

/* What is read goes here, in this order; false: nothing more of it is wanted. */
struct peer_reply_to {
    void *arg;
    bool (*head)(void *arg, const struct peer_head *head);
    bool (*data)(void *arg, struct slice bytes); /* a piece of the body; dies with the call */
};

/* One answer being read; embedded. Its fields are peer_reply.c's, but for the first two. */
struct peer_reply {
    bool heard; /* a byte of it has come */
    bool keep;  /* once it is whole: the other side takes another request on the connection */
    struct peer_reply_to to;
    http_parser parser;
    struct peer_head head;
    char name[PEER_REPLY_NAME_BYTES], value[PEER_REPLY_VALUE_BYTES];
    size_t name_bytes, value_bytes;
    bool in_value, head_given, complete, unwanted;
};

enum peer_reply_state {
    PEER_REPLY_MORE,     /* it goes on */
    PEER_REPLY_WHOLE,    /* its end has come; what is behind it is not looked at */
    PEER_REPLY_UNWANTED, /* head() or data() said so */
    PEER_REPLY_BROKEN,   /* it is no HTTP/1.x, or was cut */
};

/* A request is sent: what comes next is its answer. `to` is copied. */
void peer_reply_begin(struct peer_reply *reply, const struct peer_reply_to *to);

/*
 * Read on.
 *
 * bytes  borrowed for the call; empty: the other side has closed, which is the end of some answers
 * cause  set when it is broken; static
 */
enum peer_reply_state peer_reply_read(struct peer_reply *reply, struct slice bytes,
                                      const char **cause) MUST_CHECK;

#endif

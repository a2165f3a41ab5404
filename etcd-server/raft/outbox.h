/*
 * outbox.h - messages raft has decided to send, each until it may leave: at once, or when the
 * request to the log writer it depends on is done. Order is kept among those that may leave. Pure.
 * Thread: core.
 */
#ifndef ETCD_SERVER_RAFT_OUTBOX_H
#define ETCD_SERVER_RAFT_OUTBOX_H

#include "common/schema/raftmsg.h"

#define OUTBOX_UNTAGGED UINT64_MAX /* depends on a request that has not been made yet */

struct outgoing {
    struct raft_message message; /* borrows from `memory` */
    void *memory;                /* owned */
    uint64_t wait_id;            /* may leave when this request is done; 0 = at once */
};

struct outbox {
    struct outgoing *items; /* owned */
    size_t count, capacity;
    struct outgoing *given; /* owned: handed out, until outbox_give_back() */
    size_t given_count, given_capacity;
};

void outbox_fini(struct outbox *outbox);
/* Copies entries, payloads and context. `promise`: wait for the request that will hold what it
 * promises. */
void outbox_put(struct outbox *outbox, const struct raft_message *message, bool promise);
/* All that is promised so far is in the requests up to `given_id`. */
void outbox_tag(struct outbox *outbox, uint64_t given_id);
/* Move what may leave now to `given`. */
void outbox_release(struct outbox *outbox, uint64_t written_id);
void outbox_give_back(struct outbox *outbox);

#endif

/*
 * readonly.h - read indexes asked for and not yet confirmed (raft.md 8.8), and those answered.
 *
 * The leader numbers its requests. A member that answers a heartbeat with the context of request n
 * has confirmed the leadership for n and for every request before it, so one number per member is
 * all there is to count. Contexts name requests on the wire; they are unique. Pure. Thread: core.
 */
#ifndef ETCD_SERVER_RAFT_READONLY_H
#define ETCD_SERVER_RAFT_READONLY_H

#include "common/base/limits.h"
#include "common/base/slice.h"
#include "etcd-server/raft/raft.h"

struct read_request {
    uint64_t number;  /* of the round, ascending */
    uint64_t from;    /* the member that asks */
    uint64_t read_id; /* of the caller, when it was asked here */
    uint64_t index;   /* what was committed when it came */
    uint8_t context[RAFT_READ_CONTEXT_MAX];
    size_t context_size;
};

struct read_queue {
    struct read_request *items; /* owned; oldest first; at most RAFT_READS_MAX */
    size_t count, capacity;
};

struct readonly {
    struct read_queue waiting;   /* leader: until an entry of its term is committed */
    struct read_queue asked;     /* leader: until a quorum has confirmed the round */
    struct read_queue forwarded; /* follower: until the leader answers */
    uint64_t next_number;
    bool round_due;            /* leader: a heartbeat with the newest context is to be sent */
    struct raft_read *answers; /* owned */
    size_t answer_count, answer_capacity;
};

void readonly_fini(struct readonly *readonly);
bool read_queue_is_full(const struct read_queue *queue);
void read_queue_push(struct read_queue *queue, const struct read_request *request);
void read_queue_drop(struct read_queue *queue, size_t count);          /* the oldest */
struct slice read_request_context(const struct read_request *request); /* borrowed */
/* The position of a context, or queue->count. */
size_t read_queue_find(const struct read_queue *queue, struct slice context);
void readonly_answer(struct readonly *readonly, uint64_t read_id, uint64_t index);
/* The leader is another one, or none: nothing pending can be answered; reads of `id` fail. */
void readonly_fail_all(struct readonly *readonly, uint64_t id);

#endif

/*
 * door_call.h - what the two doors of calls (gateway.h, grpc.h) do alike, whatever their messages
 * look like: where their calls go, a call and its memory, kept for the next one, and the time a
 * client gives it. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_DOOR_CALL_H
#define ETCD_SERVER_DOORS_DOOR_CALL_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "etcd-server/service/call.h"
#include "etcd-server/service/metrics.h"

/* Where a door's calls go. */
struct door_config {
    struct service *service; /* handed to the functions below; borrowed */
    void (*start)(struct service *service, struct call *call);  /* service_start */
    void (*cancel)(struct service *service, struct call *call); /* service_cancel */
    /* NULL, or service_ended: hears what became of each call that was started. */
    void (*ended)(struct service *service, const struct call *call, const struct call_end *end);
    struct metrics *metrics;  /* borrowed; NULL: not counted */
    size_t max_message_bytes; /* --max-request-bytes + REQUEST_OVERHEAD_BYTES; above: code 8 */
};

#define SPARE_CALLS_MAX 256                 /* ended calls that a door keeps with their memory */
#define DEADLINE_FAR_MS (1ULL << 50)        /* beyond any clock */
#define DOOR_SCRATCH_KEPT_BYTES (1UL * MIB) /* of the buffer in which answers are made */

/* Owned by a call; what is large of it is given back between two calls. */
struct call_memory {
    struct arena *arena;   /* call.arena */
    struct arena *message; /* BIDI: of the message being handled */
    struct buf *in;        /* bytes that are no whole message yet, or wait for their turn */
};

void call_memory_init(struct call_memory memory);
/* A message was handled; a conversation rests behind it for as long as it likes: little is kept. */
void call_memory_rest(struct call_memory memory);
/* Of bytes that wait, once none does. */
void call_in_used_up(struct buf *in);
/*
 * Fields of no schema, those given again and again, and escapes take many times what they stand
 * for, and a call may wait for days: the message once more, of what is left of it, when the arena,
 * which holds nothing else, is much larger than that. The old one is gone.
 */
ProtobufCMessage *call_message_lean(ProtobufCMessage *message, struct arena *arena) MUST_CHECK;
/* An arena knows where it is: after its struct was copied to another place. */
void call_memory_moved(struct call_memory memory);

/* Part of a door's call, which is one block of the heap: with it the call is used again. */
struct pooled_call {
    struct pooled_call *next;
    struct call_memory memory; /* of that call */
    void *block;               /* that call */
};

/*
 * The calls of a door that have ended. One may still be on its handler's stack (it answered from
 * within start()), so it is free for use only when something else comes in: call_pool_recycle().
 */
struct call_pool {
    struct pooled_call *ended, *spare;
    size_t spare_count;
};
void call_pool_end(struct call_pool *pool, struct pooled_call *call);
void call_pool_recycle(struct call_pool *pool);
void *call_pool_take(struct call_pool *pool); /* the block of a spare one; NULL: there is none */
void call_pool_free(struct call_pool *pool);

#define GRPC_TIMEOUT_DIGITS 8  /* gRPC over HTTP/2: TimeoutValue */
#define CALL_TIMEOUT_DIGITS 18 /* fit into 64 bits in any case */
/*
 * "300m": up to `digits_max` digits (CALL_TIMEOUT_DIGITS at most) and a unit of H M S m u n.
 * timeout_ns  UINT64_MAX when it is more; untouched when it is malformed: false
 */
bool call_timeout_parse(struct slice text, size_t digits_max, uint64_t *timeout_ns);

#endif

/*
 * grpc_internal.h - what grpc.c (requests), grpc_answer.c (answers) and grpc_range.c (large ranges)
 * share. Thread: core.
 */
#ifndef ETCD_SERVER_DOORS_GRPC_INTERNAL_H
#define ETCD_SERVER_DOORS_GRPC_INTERNAL_H

#include "etcd-server/doors/door_call.h"
#include "etcd-server/doors/grpc.h"
#include "etcd-server/doors/grpc_gzip.h"

#define GRPC_PREFIX_BYTES 5 /* of a message: is it compressed, how long is it */

/* One call at this door. */
struct grpc_call {
    struct door_call base;
    bool gzip;                /* the request is gzip, so is the answer */
    bool whole;               /* unary: base.in is the message, the client's end is missing */
    struct grpc_range *range; /* owned while CALL_RANGE: measured, then pulled by the framing */
    bool range_begun;         /* its message is on its way */
};

_Static_assert(offsetof(struct grpc_call, base) == 0, "exchange->state is either");

struct grpc {
    struct door door;
    struct buf packed;      /* an answer in door.scratch before it is compressed */
    struct buf inflated;    /* a request */
    struct grpc_gzip *gzip; /* owned */
    size_t kept_bytes;      /* slices that ranges keep */
};

static inline struct grpc *grpc_of(const struct grpc_call *call)
{
    return CONTAINER_OF(call->base.door, struct grpc, door);
}

extern const struct call_ops grpc_call_ops;

/* End the call with a status, whatever was answered before. */
void grpc_refuse(struct grpc_call *call, enum grpc_code code, const char *text);
/* The same without a call: routing errors. */
void grpc_refuse_exchange(struct exchange *exchange, enum grpc_code code, const char *text);
/* RESOURCE_EXHAUSTED: the answer has more than GRPC_MESSAGE_MAX_BYTES. */
void grpc_refuse_large(struct grpc_call *call, uint64_t bytes);
/* A message of a stream was too large to be sent: end the call in a later turn. */
void grpc_end_soon(struct grpc_call *call);
/* The head of an answer with messages; a message's prefix; its metrics; the end of the answer. */
void grpc_begin(struct grpc_call *call);
void grpc_put_prefix(uint8_t prefix[GRPC_PREFIX_BYTES], bool compressed, size_t bytes);
void grpc_count_sent(struct grpc_call *call, size_t bytes);
void grpc_end(struct grpc_call *call);

/*
 * A range whose first `front_count` key-values are in `front`, behind room for a prefix and the
 * encoded head (borrowed); `source` is taken, `next` is what it gave last, behind those.
 */
void grpc_range_start(struct grpc_call *call, const struct buf *front, size_t front_count,
                      struct kv_source *source, struct slice next);
/* The same of one that is there in pieces, all behind `front`; they are borrowed from `source`. */
void grpc_range_lend(struct grpc_call *call, const struct buf *front, struct kv_source *source,
                     const struct shared_pieces *pieces, size_t key_values);
void grpc_range_drop(struct grpc_call *call); /* what is left of it; fine without one */

/* The socket has drained: resume the handler. */
void grpc_drained(struct exchange *exchange);

#endif

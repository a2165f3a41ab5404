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

/*
 *   READING -> WAITING -> STREAM -> ENDED
 *                 `----> RANGE ----^      measured, then pulled by the framing (grpc_range.c)
 */
enum grpc_state {
    GRPC_READING, /* the handler does not know of it yet */
    GRPC_WAITING, /* the handler has the call, nothing was answered */
    GRPC_STREAM,  /* messages were sent, the handler has the call */
    GRPC_RANGE,   /* the call has ended, `range` is being written */
    GRPC_ENDED,   /* neither handler nor exchange knows it any more */
};

/* One call at this door. Recycled with one block of each arena. */
struct grpc_call {
    struct call call;
    struct grpc *grpc; /* borrowed */
    struct pooled_call pooled;
    struct exchange *exchange; /* borrowed; NULL when ended */
    enum grpc_state state;
    bool counted;               /* metrics know that it began */
    bool told;                  /* config.ended() knows that it is over */
    struct call_end end;        /* for it */
    bool paused;                /* send() said so; resume is owed */
    bool gzip;                  /* the request is gzip, so is the answer */
    bool whole;                 /* unary: `in` is the message, the client's end is missing */
    bool end_seen;              /* the client sends no more */
    bool end_told;              /* BIDI: message(NULL) was called */
    struct buf in;              /* bytes that are no whole message yet, or wait for their turn */
    struct arena message_arena; /* of the request; BIDI: of the message being handled */
    struct grpc_range *range;   /* owned while GRPC_RANGE */
    bool range_begun;           /* its message is on its way */
};

struct grpc {
    struct door_config config;
    struct buf scratch;     /* one answer or a piece of it */
    struct buf packed;      /* the same, before it is compressed */
    struct buf inflated;    /* a request */
    struct grpc_gzip *gzip; /* owned */
    struct call_pool calls; /* that have ended */
    size_t kept_bytes;      /* slices that ranges keep */
};

extern const struct call_ops grpc_call_ops;

/* End the call with a status, whatever was answered before. */
void grpc_refuse(struct grpc_call *call, enum grpc_code code, const char *text);
/* The same without a call: routing errors. */
void grpc_refuse_exchange(struct exchange *exchange, enum grpc_code code, const char *text);
/* The call is over: count it and put it where it is recycled from. */
void grpc_call_over(struct grpc_call *call, enum grpc_code code);
/* What became of it is known, though its answer may still be on its way; the first word counts. */
void grpc_tell_end(struct grpc_call *call, enum grpc_code code);
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
void grpc_range_drop(struct grpc_call *call); /* what is left of it */

/* The socket has drained: resume the handler. */
void grpc_drained(struct exchange *exchange);

#endif

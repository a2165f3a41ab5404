/*
 * gateway_internal.h - what gateway.c (requests) and gateway_answer.c (answers) share. Thread:
 * core.
 */
#ifndef ETCD_SERVER_DOORS_GATEWAY_INTERNAL_H
#define ETCD_SERVER_DOORS_GATEWAY_INTERNAL_H

#include "common/base/json_split.h"
#include "etcd-server/doors/door_call.h"
#include "etcd-server/doors/gateway.h"

/*
 *   READING -> WAITING -> STREAM -> ENDED
 *                 `----> RANGE ----^
 */
enum gateway_state {
    GATEWAY_READING, /* the handler does not know of it yet */
    GATEWAY_WAITING, /* the handler has the call, nothing was answered */
    GATEWAY_STREAM,  /* messages were sent, the handler has the call */
    GATEWAY_RANGE,   /* the call has ended, `source` is being written */
    GATEWAY_ENDED,   /* neither handler nor exchange knows it any more */
};

/* One call at this door. Recycled with one block of its arena. */
struct gateway_call {
    struct call call;
    struct gateway *gateway; /* borrowed */
    struct pooled_call pooled;
    struct exchange *exchange; /* borrowed; NULL when ended */
    enum gateway_state state;
    bool counted;               /* metrics know that it began */
    bool told;                  /* config.ended() knows that it is over */
    struct call_end end;        /* for it */
    uint64_t full_since_ms;     /* the range waits for its client to read */
    bool paused;                /* send() said so; resume is owed */
    bool range_first;           /* no key-value was written yet */
    bool digest;                /* raw: the client asked for trailers, so one is to tell `crc` */
    uint32_t crc;               /* raw: CRC-32C of the body so far */
    struct kv_source *source;   /* owned while GATEWAY_RANGE */
    struct buf in;              /* JSON values that are not whole yet, or wait for their turn */
    struct json_split split;    /* of `in` */
    size_t untaken_bytes;       /* of pieces: to be told to the framing */
    struct arena message_arena; /* of the request; BIDI: of the message being handled */
    bool end_seen;              /* the client sends no more */
    bool end_told;              /* BIDI: message(NULL) was called */
    bool ended_by_words;        /* by a first one that is no message */
    bool expired;               /* its deadline was over before it began */
};

struct gateway {
    struct door_config config;
    struct buf scratch;     /* one answer or piece of it */
    struct call_pool calls; /* that have ended */
};

extern const struct call_ops gateway_call_ops;

/* Answer with a refusal, whatever was answered before. Ends the call at this door. */
void gateway_refuse(struct gateway_call *call, enum grpc_code code, const char *text);
/* The same before the first message was read, where a stream's body is that of a unary call. */
void gateway_refuse_plainly(struct gateway_call *call, enum grpc_code code, const char *text);
/* The same without a call: routing errors. */
void gateway_refuse_exchange(struct gateway *gateway, struct exchange *exchange,
                             enum grpc_code code, const char *text);
/* The call is over: count it and put it where it is recycled from. */
void gateway_call_over(struct gateway_call *call, enum grpc_code code);
/* The socket has drained: go on with a range, or resume the handler. */
void gateway_drained(struct exchange *exchange);

#endif

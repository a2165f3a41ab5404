/*
 * gateway_internal.h - what gateway.c (requests) and gateway_answer.c (answers) share. Thread:
 * core.
 */
#ifndef ETCD_SERVER_DOORS_GATEWAY_INTERNAL_H
#define ETCD_SERVER_DOORS_GATEWAY_INTERNAL_H

#include "common/base/json_split.h"
#include "etcd-server/doors/door_call.h"
#include "etcd-server/doors/gateway.h"

/* One call at this door. */
struct gateway_call {
    struct door_call base;
    uint64_t full_since_ms;   /* the range waits for its client to read */
    bool range_first;         /* no key-value was written yet */
    bool digest;              /* raw: the client asked for trailers, so one is to tell `crc` */
    uint32_t crc;             /* raw: CRC-32C of the body so far */
    struct kv_source *source; /* owned while CALL_RANGE */
    struct json_split split;  /* of base.in: JSON values */
    size_t untaken_bytes;     /* of pieces: to be told to the framing */
    bool ended_by_words;      /* by a first one that is no message */
    bool expired;             /* its deadline was over before it began */
};

_Static_assert(offsetof(struct gateway_call, base) == 0, "exchange->state is either");

struct gateway {
    struct door door;
};

extern const struct call_ops gateway_call_ops;

/* Answer with a refusal, whatever was answered before. Ends the call at this door. */
void gateway_refuse(struct gateway_call *call, enum grpc_code code, const char *text);
/* The same before the first message was read, where a stream's body is that of a unary call. */
void gateway_refuse_plainly(struct gateway_call *call, enum grpc_code code, const char *text);
/* The same without a call: routing errors. */
void gateway_refuse_exchange(struct gateway *gateway, struct exchange *exchange,
                             enum grpc_code code, const char *text);
void gateway_drop_range(struct door_call *base);
/* The socket has drained: go on with a range, or resume the handler. */
void gateway_drained(struct exchange *exchange);

#endif

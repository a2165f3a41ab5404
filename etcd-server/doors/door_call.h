/*
 * door_call.h - what the two doors of calls (gateway.h, grpc.h) do alike, whatever their messages
 * look like: where their calls go, the life of a call, its memory, kept for the next one, and the
 * time a client gives it. Pure; thread: core.
 */
#ifndef ETCD_SERVER_DOORS_DOOR_CALL_H
#define ETCD_SERVER_DOORS_DOOR_CALL_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "etcd-server/doors/exchange.h"
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

/*
 *   READING -> WAITING -> STREAM -> ENDED
 *                 `----> RANGE ----^
 */
enum door_call_state {
    CALL_READING, /* the handler does not know of it yet */
    CALL_WAITING, /* the handler has the call, nothing was answered */
    CALL_STREAM,  /* messages were sent, the handler has the call */
    CALL_RANGE,   /* the call has ended, its range is being written */
    CALL_ENDED,   /* neither handler nor exchange knows it any more */
};

/* One call at a door: the first member of the door's own struct (exchange->state is both), a block
 * of the heap that is used again with what its arenas and `in` have. */
struct door_call {
    struct call rpc;
    struct door *door;         /* borrowed */
    struct exchange *exchange; /* borrowed; NULL when ended */
    enum door_call_state state;
    struct call_end end;        /* for config.ended() ... */
    bool told;                  /* ... which knows that it is over */
    bool counted;               /* metrics know that it began */
    bool paused;                /* send() said so; resume is owed */
    bool end_seen;              /* the client sends no more */
    bool end_told;              /* BIDI: message(NULL) was called */
    struct buf in;              /* bytes that are no whole message yet, or wait for their turn */
    struct arena message_arena; /* of the request; BIDI: of the message being handled */
    struct door_call *next;     /* among those that have ended */
};

/* What the doors do each in its own way. */
struct door_ways {
    const struct call_ops *ops;
    /* End the call with a status, whatever was answered before. */
    void (*refuse)(struct door_call *call, enum grpc_code code, const char *text);
    void (*drop_range)(struct door_call *call); /* what is left of it */
    void (*drained)(struct exchange *exchange); /* the client has read what it was sent */
};

/*
 * A door. A call that has ended may still be on its handler's stack (it answered from within
 * start()), so it is free for use only when something else comes in: door_recycle().
 */
struct door {
    struct door_config config;
    const struct door_ways *ways; /* borrowed */
    struct buf scratch;           /* one answer or a piece of it */
    struct door_call *ended, *spare;
    size_t spare_count;
};

void door_init(struct door *door, const struct door_config *config, const struct door_ways *ways);
void door_fini(struct door *door);
void door_recycle(struct door *door);
struct buf *door_scratch(struct buf *scratch); /* emptied, with little of its memory kept */

/*
 * A call that reads its request: `bytes` of the door's own struct, zeroed behind the door_call. The
 * exchange is the call's from here on (its state, gone, stop, drained), and it ends by
 * door_call_over().
 */
struct door_call *door_call_new(struct door *door, size_t bytes, const struct rpc_row *row,
                                struct exchange *exchange) MUST_CHECK;
/* Metrics hear that it began. client_version: client-api-version; empty: none */
void door_call_count(struct door_call *call, struct slice client_version);
/* Give it to its handler, which may answer at once. */
void door_call_start(struct door_call *call);
/* Take it back from its handler, or stop the range it left. */
void door_call_cancel(struct door_call *call);
/* What became of it is known, though its answer may still be on its way; the first word counts. */
void door_call_tell_end(struct door_call *call, enum grpc_code code);
/* It is over: count it and put it where it is recycled from. */
void door_call_over(struct door_call *call, enum grpc_code code);
/* The client has read: a handler that paused goes on. */
void door_call_resume(struct door_call *call);

/* A message was handled; a conversation rests behind it for as long as it likes: little is kept. */
void door_call_rest(struct door_call *call);
/* Of bytes that wait, once none does. */
void call_in_used_up(struct buf *in);
/*
 * Fields of no schema, those given again and again, and escapes take many times what they stand
 * for, and a call may wait for days: the message once more, of what is left of it, when the arena,
 * which holds nothing else, is much larger than that. The old one is gone.
 */
ProtobufCMessage *call_message_lean(ProtobufCMessage *message, struct arena *arena) MUST_CHECK;

#define GRPC_TIMEOUT_DIGITS 8  /* gRPC over HTTP/2: TimeoutValue */
#define CALL_TIMEOUT_DIGITS 18 /* fit into 64 bits in any case */
/*
 * "300m": up to `digits_max` digits (CALL_TIMEOUT_DIGITS at most) and a unit of H M S m u n.
 * timeout_ns  UINT64_MAX when it is more; untouched when it is malformed: false
 */
bool call_timeout_parse(struct slice text, size_t digits_max, uint64_t *timeout_ns);

#endif

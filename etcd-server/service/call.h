/*
 * call.h - one call of an RPC on its way from a door to a handler and back.
 *
 * A door (gateway, gRPC, the simulator's client) makes the call, fills in request and caller, and
 * hands it to service_start(). The handler answers through the call's ops, at once or on a later
 * turn of the loop. A handler never sees the door, a door never sees the store. Life: made by the
 * door; ends exactly once, by reply, reply_range or finish (the handler's side) or by cancel (the
 * door's side: client gone, deadline passed). After its end neither side uses the other's fields;
 * the door frees the call when its answer has been flushed. Thread: core.
 */
#ifndef ETCD_SERVER_SERVICE_CALL_H
#define ETCD_SERVER_SERVICE_CALL_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/shared.h"
#include "common/schema/rpc.h"

struct call;
struct watch_message;

/* Key-values of a large answer, pulled by the door as its socket drains. */
struct kv_source {
    /* Next encoded mvccpb.KeyValue, borrowed until the next pull; false at the end. */
    bool (*next)(struct kv_source *source, struct slice *key_value);
    /* After next() returned false: does the range have more than was given (RangeResponse.more)? */
    bool (*more)(struct kv_source *source);
    /* Begin again: next() gives the same key-values once more, as often as is wished. */
    void (*rewind)(struct kv_source *source);
    /* All of them at once, each as a field `kvs` of the answer, until free(); how many there are.
     * To be asked before next(); false: next() it is. */
    bool (*pieces)(struct kv_source *source, struct shared_pieces *pieces, size_t *key_values);
    bool lasting; /* what next() gives lives until free() */
    void (*free)(struct kv_source *source);
};

struct call_ops {
    /* Unary: the answer. Encodes at once: `response` and what it borrows may die when this returns.
     * Ends the call. */
    void (*reply)(struct call *call, const ProtobufCMessage *response);
    /*
     * Unary Range: `head` is a RangeResponse with header and count but no kvs; `source` is taken
     * and pulled until its end, then `more` is written. Ends the call.
     */
    void (*reply_range)(struct call *call, const ProtobufCMessage *head, struct kv_source *source);
    /* Streams: one message, encoded at once. False: the client has more unread output than
     * HTTP_OUT_HIGH_BYTES, pause until call->resume is called (the message was taken all the same).
     */
    bool (*send)(struct call *call, const ProtobufCMessage *message);
    /*
     * Watch: `head` is a WatchResponse without events, those of `events` follow it: the next
     * `count` from events->first on, encoded already (watch_event.h). Returns as send(). A door may
     * leave this NULL: then the handler builds the whole message for send().
     */
    bool (*send_events)(struct call *call, const ProtobufCMessage *head,
                        const struct watch_message *events);
    /* As reply() and send(), the message packed already. A door may leave them NULL. */
    void (*reply_packed)(struct call *call, struct slice message);
    bool (*send_packed)(struct call *call, struct slice message);
    /* End of a stream (ERR_OK), or refusal; `text` NULL: the code's own. Ends the call. */
    void (*finish)(struct call *call, enum err_code code, const char *text);
};

struct call {
    const struct rpc_row *row;
    const struct call_ops *ops; /* the door's */
    struct arena arena;         /* everything of this call; freed by the door */
    /* of row->request; for BIDI the first message, NULL when there was none */
    ProtobufCMessage *request;

    /* who calls */
    const char *token; /* auth token; NULL = none given */
    /* CN of the verified client certificate; NULL = none, or it may not be used */
    const char *common_name;
    bool through_gateway; /* so that common_name is no user ... */
    bool as_certificate;  /* ... unless the caller says that it is his */
    bool from_peer;       /* by the peer port: that member takes us for the leader */
    bool raw;             /* Snapshot: the door sends the blobs alone, so they may be large */
    bool require_leader;  /* metadata hasleader: true */
    uint64_t deadline_ms; /* on the host's monotonic clock; 0 = none of its own */
    const char *remote;   /* "127.0.0.1:40312", for the log; borrowed; NULL = not known */

    uint64_t began_ns; /* the service's: when the call came to it; 0 = it did not */

    /* the handler's side; the door calls these when set, on later turns only */
    void *state; /* the handler's; from the arena, or freed by cancel/end */
    /* the call is over, drop what `state` holds, do not answer */
    void (*cancel)(struct call *call);
    void (*resume)(struct call *call); /* a paused stream may go on */
    /* BIDI: a further message, which dies when this returns; NULL = client's end */
    void (*message)(struct call *call, ProtobufCMessage *message);
};

/* What became of a call, as its door has seen it. */
struct call_end {
    enum grpc_code code;
    const char *error; /* what a refusal said; NULL: none; borrowed */
    /* The answer; NULL: none, or it is gone, or was packed; borrowed. */
    const ProtobufCMessage *response;
    uint64_t bytes;      /* of the answer's encoding, beside those of `response` */
    uint64_t key_values; /* in the answer to a Range ... */
    int64_t count;       /* ... and its RangeResponse.count, when `response` is gone */
    uint64_t waited_ms;  /* for the client to read */
};

struct service;

/* Give a call to its handler. May answer before it returns. */
void service_start(struct service *service, struct call *call);
/* The door's cancel: client gone or deadline passed. Runs call->cancel when set. */
void service_cancel(struct service *service, struct call *call);
/* The door's last word, once per call: it is answered or gone, its request still there. */
void service_ended(struct service *service, const struct call *call, const struct call_end *end);

#endif

/*
 * watch_stream.h - the messages of one watch, whoever wants them: taken up again where they were
 * when the connection breaks or the server goes away, of which one line on stderr tells; so does
 * one of a server that is not there yet. Thread: one for each watch.
 */
#ifndef ETCD_CTL_WATCH_STREAM_H
#define ETCD_CTL_WATCH_STREAM_H

#include "common/client/client.h"
#include "common/schema/rpc.pb-c.h"

struct watch_order {
    ProtobufCBinaryData key, range_end; /* borrowed */
    int64_t revision;                   /* first one wanted; 0 = from now */
    bool prev_kv, progress_notify;
    bool require_leader;        /* a server that has none for long ends the watch */
    const char *const *command; /* to run for each event; NULL at its end; NULL = none; borrowed */
};

/* "created" comes each time that the watch was taken up. `response` dies when it returns. -1 with
 * `err` ends it all. */
typedef int watch_message_fn(void *arg, const Etcdserverpb__WatchResponse *response,
                             struct err *err);

/*
 * Hand each message to `each`, until the server cancels the watch (0; that message was handed on)
 * or something fails for good (-1): a refusal, what `each` said. A server that is not there yet is
 * waited for. One that has no leader cancels: that message has no header.
 */
int watch_stream(struct client *client, const struct watch_order *order, watch_message_fn *each,
                 void *arg, struct err *err) MUST_CHECK;

#endif

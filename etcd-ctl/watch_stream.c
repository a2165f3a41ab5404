/* watch_stream.c - see watch_stream.h. */
#include "etcd-ctl/watch_stream.h"
#include "common/base/clock.h"
#include "etcd-ctl/ctl.h"

#include <stdio.h>

#define ELECTION_MS 5000 /* that a broken watch waits for a leader, wherever it is taken up */

struct stream {
    watch_message_fn *each;
    void *arg;
    int64_t next; /* revision to go on from; 0 = from now */
    bool created;
    bool live; /* created on the connection there is */
    bool cancelled;
    bool failed;       /* `each` said so */
    bool told;         /* that it is broken, or did not begin */
    int64_t broken_ms; /* since when; 0 = it is not */
};

static int on_message(void *arg, const ProtobufCMessage *message, struct err *err)
{
    const Etcdserverpb__WatchResponse *response = (const void *)message;
    struct stream *stream = arg;
    int64_t revision = response->header != NULL ? response->header->revision : 0;

    if (response->created && !response->canceled) {
        stream->created = stream->live = true;
        stream->told = false;
        stream->broken_ms = 0;
        if (stream->next == 0)
            stream->next = revision + 1;
    }
    if (stream->each(stream->arg, response, err) < 0) {
        stream->failed = true;
        return -1;
    }
    if (response->canceled) {
        stream->cancelled = true;
        return 1;
    }
    if (response->n_events == 0 && !response->created)
        stream->next = MAX(stream->next, revision + 1);
    for (size_t i = 0; i < response->n_events; i++)
        if (response->events[i]->kv != NULL)
            stream->next = MAX(stream->next, response->events[i]->kv->mod_revision + 1);
    return 0;
}

/* A server that stops says UNAVAILABLE: the next one will know more. */
static bool is_final(const struct stream *stream, const struct client *client,
                     const struct err *cause)
{
    const struct client_failure *failure = client_failure(client);

    if (!stream->created)
        return !client_may_pass(client, cause);
    return failure->kind == CLIENT_FAILURE_REFUSED && failure->grpc != GRPC_UNAVAILABLE;
}

/* Final in etcd's client too. But where a broken watch is taken up, there may be an election. */
static bool leader_is_lost(const struct stream *stream, const struct watch_order *order,
                           const struct err *cause)
{
    return order->require_leader && cause->code == ERR_NO_LEADER &&
           (stream->live || stream->broken_ms == 0 || clock_ms() - stream->broken_ms > ELECTION_MS);
}

/* The server went away, or is not there: once for each time, whoever waits for events must know
 * that none can come. */
static void tell(struct stream *stream, const struct client *client, const char *cause)
{
    if (stream->told)
        return;
    (void)fprintf(stderr, "watch: %s%s", cause[0] != '\0' ? cause : client_endpoint(client, 0),
                  cause[0] != '\0' ? "" : " ended it");
    if (stream->created)
        (void)fprintf(stderr, "; trying again from revision %" PRId64 "\n", stream->next);
    else
        (void)fprintf(stderr, "; waiting for the server\n");
    stream->told = true;
}

/* One stream, from its beginning to its end. */
static int follow(struct stream *stream, struct client *client, const struct watch_order *order,
                  struct err *err)
{
    const struct client_sink sink = {
        .each = on_message, .arg = stream, .require_leader = order->require_leader};
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    struct client_octets none;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    create.key = order->key;
    create.range_end = order->range_end;
    create.prev_kv = order->prev_kv;
    create.progress_notify = order->progress_notify;
    create.start_revision = stream->next;
    stream->live = false;
    return client_stream_bytes(client, RPC_Watch_Watch, &request.base, &sink, &none, err);
}

static int cancel_for_leader(const struct stream *stream, struct err *err)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;

    response.canceled = true;
    response.cancel_reason = (char *)(uintptr_t)err_text(ERR_NO_LEADER);
    return stream->each(stream->arg, &response, err);
}

int watch_stream(struct client *client, const struct watch_order *order, watch_message_fn *each,
                 void *arg, struct err *err)
{
    struct stream stream = {.each = each, .arg = arg, .next = order->revision};

    for (;;) {
        struct err cause = ERR_INIT;
        int rc = follow(&stream, client, order, &cause);

        if (rc < 0 && leader_is_lost(&stream, order, &cause))
            return cancel_for_leader(&stream, err);
        if (rc < 0 && (stream.failed || is_final(&stream, client, &cause))) {
            *err = cause;
            return -1;
        }
        if (stream.cancelled)
            return 0;
        if (rc == 0 && !stream.created) {
            err_set(err, ERR_FORMAT, "%s: the watch ended before it began",
                    client_endpoint(client, 0));
            return -1;
        }
        if (stream.broken_ms == 0)
            stream.broken_ms = clock_ms();
        tell(&stream, client, cause.text);
        clock_pause_ms(CTL_RETRY_PAUSE_MS);
    }
}

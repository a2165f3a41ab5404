/* watch_stream.c - see watch_stream.h. */
#include "etcd-ctl/watch_stream.h"
#include "common/base/clock.h"
#include "etcd-ctl/ctl.h"

#include <stdio.h>

struct stream {
    watch_message_fn *each;
    void *arg;
    int64_t next; /* revision to go on from; 0 = from now */
    bool created;
    bool cancelled;
    bool failed; /* `each` said so */
    bool told;   /* that it is broken */
};

static int on_message(void *arg, const ProtobufCMessage *message, struct err *err)
{
    const Etcdserverpb__WatchResponse *response = (const void *)message;
    struct stream *stream = arg;
    int64_t revision = response->header != NULL ? response->header->revision : 0;

    if (response->created && !response->canceled) {
        stream->created = true;
        stream->told = false;
        if (stream->next == 0)
            stream->next = revision + 1;
        return 0;
    }
    if (stream->each(stream->arg, response, err) < 0) {
        stream->failed = true;
        return -1;
    }
    if (response->canceled) {
        stream->cancelled = true;
        return 1;
    }
    if (response->n_events == 0)
        stream->next = MAX(stream->next, revision + 1);
    for (size_t i = 0; i < response->n_events; i++)
        if (response->events[i]->kv != NULL)
            stream->next = MAX(stream->next, response->events[i]->kv->mod_revision + 1);
    return 0;
}

/* A server that stops says UNAVAILABLE: the next one will know more. */
static bool is_final(const struct client_failure *failure)
{
    return failure->kind == CLIENT_FAILURE_REFUSED && failure->grpc != GRPC_UNAVAILABLE;
}

/* The server went away: once for each time, whoever waits for events must know that none
 * can come. */
static void tell(struct stream *stream, const struct client *client, const char *cause)
{
    if (stream->told)
        return;
    (void)fprintf(stderr, "watch: %s%s; trying again from revision %" PRId64 "\n",
                  cause[0] != '\0' ? cause : client_endpoint(client, 0),
                  cause[0] != '\0' ? "" : " ended it", stream->next);
    stream->told = true;
}

int watch_stream(struct client *client, const struct watch_order *order, watch_message_fn *each,
                 void *arg, struct err *err)
{
    struct stream stream = {.each = each, .arg = arg, .next = order->revision};
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;

    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    create.key = order->key;
    create.range_end = order->range_end;
    create.prev_kv = order->prev_kv;
    create.progress_notify = order->progress_notify;
    for (;;) {
        struct err cause = ERR_INIT;

        create.start_revision = stream.next;
        if (client_stream(client, RPC_Watch_Watch, &request.base, on_message, &stream, &cause) <
                0 &&
            (!stream.created || stream.failed || is_final(client_failure(client)))) {
            *err = cause;
            return -1;
        }
        if (stream.cancelled)
            return 0;
        if (!stream.created) {
            err_set(err, ERR_FORMAT, "%s: the watch ended before it began",
                    client_endpoint(client, 0));
            return -1;
        }
        tell(&stream, client, cause.text);
        clock_pause_ms(CTL_RETRY_PAUSE_MS);
    }
}

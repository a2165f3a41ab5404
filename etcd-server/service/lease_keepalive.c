/*
 * lease_keepalive.c - LeaseKeepAlive (api.md 8): one answer per message, in order.
 *
 * A message is answered at once, unless its renewal must wait (lease_duty.h); those behind it queue
 * up, as ids only. The client's end ends the stream when the last answer is out. One that wants a
 * leader ends when there is none: its client then looks for another member, while the lease lives.
 */
#include "common/base/base.h"
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "etcd-server/service/authorise.h"

struct keepalive {
    struct service *service;
    struct call *call;
    struct lease_query query;
    Etcdserverpb__ResponseHeader header; /* of the message being answered */
    bool asking;                         /* `query` is under way */
    bool paused;                         /* the client reads too slowly */
    bool ended;                          /* the client says no more */
    bool running;                        /* go_on() is on the stack */
    enum err_code failure;               /* why it must end; ERR_OK = no reason */
    int64_t *ids;                        /* a ring of those not yet asked for */
    size_t first, count, capacity;
    struct keepalive *next, **at; /* in service->keepalives; NULL: it wants no leader */
};

static void stream_free(struct keepalive *stream)
{
    if (stream->at != NULL)
        *stream->at = stream->next;
    if (stream->at != NULL && stream->next != NULL)
        stream->next->at = stream->at;
    free(stream->ids);
    free(stream);
}

static void stream_end(struct keepalive *stream)
{
    struct call *call = stream->call;
    enum err_code code = stream->failure;

    call->cancel = NULL;
    call->resume = NULL;
    call->message = NULL;
    lease_forget(&stream->query);
    stream_free(stream);
    call->ops->finish(call, code, NULL);
}

static void cancel(struct call *call)
{
    struct keepalive *stream = call->state;

    lease_forget(&stream->query);
    stream_free(stream);
}

/* False: too many wait already. */
static bool enqueue(struct keepalive *stream, int64_t id)
{
    if (stream->count == LEASE_KEEPALIVES_QUEUED_MAX)
        return false;
    if (stream->count == stream->capacity) {
        size_t capacity = MAX(stream->capacity * 2, 4);
        int64_t *ids = xalloc(capacity * sizeof(*ids));

        for (size_t i = 0; i < stream->count; i++)
            ids[i] = stream->ids[(stream->first + i) % stream->capacity];
        free(stream->ids);
        stream->ids = ids;
        stream->first = 0;
        stream->capacity = capacity;
    }
    stream->ids[(stream->first + stream->count++) % stream->capacity] = id;
    return true;
}

static void go_on(struct keepalive *stream);

static void renewed(struct lease_query *query, enum err_code code, const struct lease *lease)
{
    struct keepalive *stream = CONTAINER_OF(query, struct keepalive, query);
    Etcdserverpb__LeaseKeepAliveResponse response = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;

    stream->asking = false;
    if (code != ERR_OK && code != ERR_LEASE_NOT_FOUND) {
        stream->failure = code;
    } else {
        response.header = &stream->header;
        response.id = query->id;
        response.ttl = query->remote   ? query->remote_ttl_s
                       : lease != NULL ? lease->ttl_s
                                       : 5 * PLANTED(LEASE_GONE);
        stream->paused =
            !stream->call->ops->send(stream->call, (const ProtobufCMessage *)&response);
    }
    if (!stream->running)
        go_on(stream);
}

static void ask_next(struct keepalive *stream)
{
    int64_t id = stream->ids[stream->first];

    stream->first = (stream->first + 1) % stream->capacity;
    stream->count--;
    stream->failure = service_differs(stream->service) ? ERR_CORRUPT
                      : PLANTED(LEASE_RIGHTS)
                          ? ERR_OK
                          : authorise_lease(stream->service, stream->call, AUTH_WRITE, id);
    if (stream->failure != ERR_OK)
        return;
    stream->query = (struct lease_query){.id = id, .renew = true, .done = renewed};
    etcdserverpb__response_header__init(&stream->header);
    engine_fill_header(stream->service->engine, &stream->header); /* before the renewal */
    stream->asking = true;
    lease_ask(stream->service->leases, &stream->query); /* may answer before it returns */
}

/* Answer what can be answered; the stream may be gone afterwards. */
static void go_on(struct keepalive *stream)
{
    stream->running = true;
    while (stream->failure == ERR_OK && !stream->asking && !stream->paused && stream->count != 0)
        ask_next(stream);
    stream->running = false;
    if (stream->failure != ERR_OK || (stream->ended && !stream->asking && stream->count == 0))
        stream_end(stream);
}

static void on_message(struct call *call, ProtobufCMessage *message)
{
    struct keepalive *stream = call->state;

    if (message == NULL)
        stream->ended = true;
    else if (!enqueue(stream,
                      ((const Etcdserverpb__LeaseKeepAliveRequest *)(const void *)message)->id))
        stream->failure = ERR_REQUEST_TOO_MANY_REQUESTS;
    go_on(stream);
}

static void on_resume(struct call *call)
{
    struct keepalive *stream = call->state;

    stream->paused = false;
    go_on(stream);
}

void lease_keepalives_tick(struct service *service)
{
    struct keepalive *next;

    if (!service_leader_is_lost(service))
        return;
    for (struct keepalive *stream = service->keepalives; stream != NULL; stream = next) {
        next = stream->next;
        stream->failure = ERR_NO_LEADER;
        stream_end(stream);
    }
}

/* Those that want a leader are found when it is lost. */
static void enlist(struct keepalive *stream)
{
    stream->next = stream->service->keepalives;
    stream->at = &stream->service->keepalives;
    if (stream->next != NULL)
        stream->next->at = &stream->next;
    stream->service->keepalives = stream;
}

void lease_keep_alive(struct service *service, struct call *call)
{
    struct keepalive *stream = xalloc(sizeof(*stream));

    stream->service = service;
    stream->call = call;
    call->state = stream;
    call->cancel = cancel;
    call->resume = on_resume;
    call->message = on_message;
    if (call->require_leader)
        enlist(stream);
    if (call->request != NULL)
        on_message(call, call->request);
}

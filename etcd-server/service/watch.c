/*
 * watch.c - the Watch RPC (api.md 7): one call is one stream of many watchers.
 *
 *   create, cancel, progress requests   ->  state/watch.h  ->  messages of events, fragments
 *
 * What is sent when is decided in state/watch.c; here are the messages, who may watch, the clock of
 * progress_notify, and the end of streams that want a leader when there is none.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "common/schema/pbbytes.h"
#include "common/schema/pbwire.h"
#include "etcd-server/service/authorise.h"

#include <stdio.h>

#define LEADERLESS_ELECTIONS 3 /* election timeouts without a leader that end a stream */
#define NOTIFY_JITTER_PARTS 10 /* up to a tenth is added to the interval */
#define PROGRESS_WATCH_ID (-1) /* in a message for the whole stream */
#define FRAGMENT_MARK_BYTES 2  /* fragment = true, encoded */
#define REASON_BYTES 160       /* of a cancel_reason */
#define WATCH_WRITERS_MS 20    /* so long after a write one step of history is made in a ms ... */
#define WATCH_WAITED_MS 2      /* ... and only every so often while one waits for his answer */

struct watch_call {
    struct watch_call *previous, *next; /* of the service */
    struct service *service;
    struct call *call;
    struct watch_stream *stream;
    uint64_t notify_ms; /* between notifications */
    uint64_t notify_at_ms;
};

/* ---- messages ---- */

struct response {
    Etcdserverpb__WatchResponse message;
    Etcdserverpb__ResponseHeader header;
};

static void response_init(struct watch_call *watch, struct response *response, int64_t watch_id)
{
    response->message = (Etcdserverpb__WatchResponse)ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response->header = (Etcdserverpb__ResponseHeader)ETCDSERVERPB__RESPONSE_HEADER__INIT;
    engine_fill_header(watch->service->engine, &response->header);
    response->message.header = &response->header;
    response->message.watch_id = watch_id;
}

static bool send(struct watch_call *watch, const struct response *response)
{
    return watch->call->ops->send(watch->call, &response->message.base);
}

/* From a request: what happens when the stream is full is told to its watchers. */
static void answer(struct watch_call *watch, const struct response *response)
{
    if (!send(watch, response))
        watch_stream_full(watch->stream);
}

/* For a door without send_events: the message as structs. */
static bool send_unpacked(struct watch_call *watch, struct response *response,
                          const struct watch_message *events)
{
    Mvccpb__Event **list = xalloc(events->count * sizeof(Mvccpb__Event *));
    const struct watch_hit *hit = events->first;
    bool more;

    for (size_t i = 0; i < events->count; i++, hit = hit->next) {
        struct slice wire = hit->event->wire[events->previous];

        list[i] = mvccpb__event__unpack(NULL, wire.size, wire.data);
        must(list[i] != NULL); /* encoded by watch_event.c */
    }
    response->message.events = list;
    response->message.n_events = events->count;
    more = send(watch, response);
    for (size_t i = 0; i < events->count; i++)
        mvccpb__event__free_unpacked(list[i], NULL);
    free(list);
    return more;
}

static bool send_part(struct watch_call *watch, const struct watch_message *part, bool cut)
{
    struct response response;

    response_init(watch, &response, part->watch_id);
    response.header.revision = part->revision;
    response.message.fragment = cut;
    if (watch->call->ops->send_events != NULL)
        return watch->call->ops->send_events(watch->call, &response.message.base, part);
    return send_unpacked(watch, &response, part);
}

/* How many events of `rest` fit into one message beside `bytes` of other fields, at least one. */
static size_t part_count(const struct watch_call *watch, const struct watch_message *rest,
                         size_t bytes)
{
    const struct watch_hit *hit = rest->first;
    size_t limit = watch->service->config.max_message_bytes, count = 0;

    for (; count < rest->count; count++, hit = hit->next) {
        bytes += pb_bytes_field_bytes(hit->event->wire[rest->previous].size);
        if (count != 0 && bytes >= limit)
            break;
    }
    return count;
}

/* What is in a message beside its events, less the mark of a fragment. */
static size_t other_bytes(struct watch_call *watch, const struct watch_message *message)
{
    struct response response;

    response_init(watch, &response, message->watch_id);
    response.header.revision = message->revision;
    return protobuf_c_message_get_packed_size(&response.message.base);
}

static bool on_events(void *arg, const struct watch_message *message)
{
    struct watch_call *watch = arg;
    struct watch_message part = *message;
    size_t left = message->count, bytes = message->fragment ? other_bytes(watch, message) : 0;
    bool more = true, whole = !message->fragment || part_count(watch, message, bytes) == left;

    while (left != 0) {
        part.count = left;
        if (!whole) /* as in etcd: the mark counts in the last part, too */
            part.count = part_count(watch, &part, bytes + FRAGMENT_MARK_BYTES);
        left -= part.count;
        more = send_part(watch, &part, left != 0);
        for (size_t i = 0; i < part.count; i++)
            part.first = part.first->next;
    }
    return more;
}

static bool on_compacted(void *arg, int64_t watch_id, int64_t revision)
{
    struct watch_call *watch = arg;
    struct response response;

    response_init(watch, &response, watch_id);
    response.header.revision = 0;
    response.message.canceled = true;
    response.message.compact_revision = revision;
    return send(watch, &response);
}

static bool on_progress(void *arg, int64_t watch_id)
{
    struct watch_call *watch = arg;
    struct response response;

    response_init(watch, &response, watch_id);
    return send(watch, &response);
}

static const struct watch_stream_ops stream_ops = {
    .events = on_events, .compacted = on_compacted, .progress = on_progress};

/* ---- requests ---- */

/* May the caller watch this range? Asked at creation only (api.md 7). */
static enum err_code may_watch(struct watch_call *watch,
                               const Etcdserverpb__WatchCreateRequest *create)
{
    struct slice key = pb_slice(create->key);

    if (PLANTED(WATCH_RIGHTS))
        return ERR_OK;
    return authorise_keys(watch->service, watch->call, AUTH_READ,
                          key.size != 0 ? key : SLICE_LITERAL("\0"), pb_slice(create->range_end));
}

static void refuse(struct watch_call *watch, const char *reason)
{
    struct response response;

    response_init(watch, &response, PROGRESS_WATCH_ID);
    response.message.created = true;
    response.message.canceled = true;
    response.message.cancel_reason = (char *)(uintptr_t)reason; /* generated code has no const */
    answer(watch, &response);
}

static void refuse_rights(struct watch_call *watch, enum err_code code)
{
    char reason[REASON_BYTES];

    (void)snprintf(reason, sizeof(reason), "rpc error: code = %s desc = %s",
                   grpc_code_name(err_grpc_code(code)), err_text(code)); /* fits */
    refuse(watch, reason);
}

static void create(struct watch_call *watch, const Etcdserverpb__WatchCreateRequest *create)
{
    struct watch_request request = {.key = pb_slice(create->key),
                                    .range_end = pb_slice(create->range_end),
                                    .id = create->watch_id,
                                    .start_revision = create->start_revision,
                                    .prev_kv = create->prev_kv,
                                    .fragment = create->fragment,
                                    .progress_notify = create->progress_notify};
    struct response response;
    enum err_code code;
    int64_t id = 0;

    if (create->start_revision < 0) { /* before the rights are looked at, as in etcd */
        refuse(watch, err_text(ERR_COMPACTED));
        return;
    }
    code = may_watch(watch, create);
    if (code != ERR_OK) {
        refuse_rights(watch, code);
        return;
    }
    for (size_t i = 0; i < create->n_filters; i++) {
        request.no_put |=
            create->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
        request.no_delete |=
            create->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    }
    switch (watch_create(watch->stream, &request, &id)) {
    case WATCH_MADE:
        response_init(watch, &response, id);
        response.message.created = true;
        answer(watch, &response);
        break;
    case WATCH_DUPLICATE_ID:
        refuse(watch, "mvcc: duplicate watch ID provided on the WatchStream");
        break;
    case WATCH_EMPTY_RANGE:
        refuse(watch, "mvcc: watcher range is empty");
        break;
    case WATCH_COMPACTED:
        refuse(watch, err_text(ERR_COMPACTED));
        break;
    }
}

static void cancel(struct watch_call *watch, int64_t id)
{
    struct response response;

    if (!watch_cancel(watch->stream, id))
        return;
    response_init(watch, &response, id);
    response.message.canceled = true;
    answer(watch, &response);
}

static void progress(struct watch_call *watch)
{
    struct response response;

    if (!watch_stream_in_step(watch->stream))
        return;
    response_init(watch, &response, PROGRESS_WATCH_ID);
    answer(watch, &response);
}

static void on_message(struct call *call, ProtobufCMessage *message)
{
    const Etcdserverpb__WatchRequest *request = (const void *)message;
    struct watch_call *watch = call->state;

    if (request == NULL) /* the client's end is not that of its watches */
        return;
    switch (request->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create(watch, request->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        cancel(watch, request->cancel_request->watch_id);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        progress(watch);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION__NOT_SET:
    case _ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION__CASE_IS_INT_SIZE:
        break;
    }
}

/* ---- the stream ---- */

static void on_resume(struct call *call)
{
    watch_stream_resume(((struct watch_call *)call->state)->stream);
}

static void drop(struct watch_call *watch)
{
    if (watch->previous != NULL)
        watch->previous->next = watch->next;
    else
        watch->service->watches = watch->next;
    if (watch->next != NULL)
        watch->next->previous = watch->previous;
    watch_stream_free(watch->stream); /* the struct lies in the call's arena */
}

static void on_cancel(struct call *call)
{
    drop(call->state);
}

void watch_watch(struct service *service, struct call *call)
{
    struct host *host = engine_host(service->engine);
    struct watch_call *watch = call_alloc(call, sizeof(*watch));
    uint64_t interval_ms = MAX(service->config.watch_notify_ms, 1);

    if (watch == NULL)
        return;
    watch->service = service;
    watch->call = call;
    watch->stream = watch_stream_new(engine_watches(service->engine), &stream_ops, watch);
    watch->notify_ms =
        interval_ms + host->ops->random(host) % (interval_ms / NOTIFY_JITTER_PARTS + 1);
    watch->notify_at_ms = host_now_ms(host) + watch->notify_ms;
    watch->next = service->watches;
    if (watch->next != NULL)
        watch->next->previous = watch;
    service->watches = watch;
    call->state = watch;
    call->cancel = on_cancel;
    call->resume = on_resume;
    call->message = on_message;
    if (call->request != NULL)
        on_message(call, call->request);
}

/* Those who write come first: a step is made when none of them waits, or has to; but one that is
 * owed is made at once, or who is behind would stay so for as long as they write. */
static bool step_can_wait(struct service *service, uint64_t now_ms)
{
    int64_t revision = mvcc_revision(engine_mvcc(service->engine));
    uint64_t pause_ms = engine_waited_for(service->engine) ? WATCH_WAITED_MS : 1;

    if (revision != service->written_revision) {
        service->written_revision = revision;
        service->written_ms = now_ms;
    }
    return now_ms - service->written_ms < WATCH_WRITERS_MS &&
           now_ms - service->history_ms < pause_ms &&
           !watch_owes_step(engine_watches(service->engine));
}

uint64_t watch_rest(struct service *service)
{
    struct watch_hub *hub = engine_watches(service->engine);
    uint64_t now_ms = host_now_ms(engine_host(service->engine));

    if (!watch_has_history(hub))
        return UINT64_MAX;
    if (step_can_wait(service, now_ms))
        return now_ms + 1;
    service->history_ms = now_ms;
    while (watch_step(hub) && watch_owes_step(hub))
        continue;
    return now_ms; /* what it answered wants to be sent, and there may be more */
}

bool service_leader_is_lost(const struct service *service)
{
    return service->leaderless_ticks > LEADERLESS_ELECTIONS * service->config.election_ticks;
}

void watch_tick(struct service *service)
{
    uint64_t now_ms = host_now_ms(engine_host(service->engine));
    bool lost = service_leader_is_lost(service);
    bool corrupt = service_differs(service);
    struct watch_call *next;

    for (struct watch_call *watch = service->watches; watch != NULL; watch = next) {
        next = watch->next;
        if (corrupt || (lost && watch->call->require_leader)) {
            drop(watch);
            call_refuse(watch->call, corrupt ? ERR_CORRUPT : ERR_NO_LEADER);
            continue;
        }
        if (now_ms < watch->notify_at_ms)
            continue;
        watch->notify_at_ms = now_ms + watch->notify_ms;
        if (watch_stream_wants_notify(watch->stream))
            watch_stream_notify(watch->stream);
    }
}

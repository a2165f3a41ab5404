/*
 * observe.c - Election.Observe (api.md 14): the leader's key now, then each proclamation and each
 * new leader.
 *
 *   READING  a linearizable read of the oldest key under NAME/; what changes meanwhile: once more
 *   LED      a put of the leader's key is sent; its deletion -> READING
 *   NOBODY   silent; a put under NAME/ makes a leader
 *
 * A read may fail before it has begun and end the call, so none begins in the watchers' hub, which
 * is not done with the stream then: it wakes the call, and the end of the turn reads. One that
 * wants a leader of the cluster ends when there is none: its client then looks for another member.
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "common/schema/election.pb-c.h"
#include "common/schema/pbbytes.h"
#include "etcd-server/service/candidate.h"
#include "etcd-server/service/service_internal.h"

enum observe_state { OBSERVE_READING, OBSERVE_LED, OBSERVE_NOBODY };

struct observe {
    struct service *service;
    struct call *call;
    struct watch_stream *stream;
    struct subcall subcall;
    enum observe_state state;
    bool changed; /* while READING */
    bool blind;   /* its history was compacted: it watches nothing any more */
    bool woken;   /* it is in the service's list of those who have to read */
    struct observe *next_woken;
    struct observe *next, **at; /* in service->observes; NULL: it wants no leader */
    struct buf leader;          /* its key, when LED */
    int64_t seen_revision;      /* newest state of the leader's key that was sent */
    int64_t read_revision;      /* of the last read: what came until then it has seen */
    uint8_t *prefix, *past;     /* NAME/ and what follows it, in the call's arena */
    size_t prefix_bytes;
    Etcdserverpb__TxnRequest txn;
    Etcdserverpb__RequestOp op;
    Etcdserverpb__RequestOp *ops[1];
    Etcdserverpb__RangeRequest range;
};

/* From within the watchers' hub: the rest is done at the end of the turn. */
static void wake(struct observe *observe)
{
    if (observe->woken)
        return;
    observe->woken = true;
    observe->next_woken = observe->service->woken_observes;
    observe->service->woken_observes = observe;
}

static void sleep(struct observe *observe)
{
    struct observe **at = &observe->service->woken_observes;

    if (!observe->woken)
        return;
    while (*at != observe)
        at = &(*at)->next_woken;
    *at = observe->next_woken;
    observe->woken = false;
}

/* Those that want a leader are found when it is lost. */
static void enlist(struct observe *observe)
{
    observe->next = observe->service->observes;
    observe->at = &observe->service->observes;
    if (observe->next != NULL)
        observe->next->at = &observe->next;
    observe->service->observes = observe;
}

/* NULL: nobody is listed. */
static struct observe *delist_first(struct service *service)
{
    struct observe *first = service->observes;

    if (first == NULL)
        return NULL;
    service->observes = first->next;
    if (first->next != NULL)
        first->next->at = &service->observes;
    first->at = NULL;
    return first;
}

static void observe_free(struct observe *observe)
{
    if (observe->at != NULL)
        *observe->at = observe->next;
    if (observe->at != NULL && observe->next != NULL)
        observe->next->at = observe->at;
    sleep(observe);
    watch_stream_free(observe->stream);
    subcall_cancel(observe->service, &observe->subcall);
    subcall_fini(&observe->subcall);
    buf_free(&observe->leader);
    free(observe);
}

static void leave(struct call *call)
{
    observe_free(call->state);
}

static void resume(struct call *call)
{
    watch_stream_resume(((struct observe *)call->state)->stream);
}

/* Tell the client who leads, unless it knows this state of the key. False: it reads too slowly. */
static bool tell(struct observe *observe, Mvccpb__KeyValue *kv)
{
    V3electionpb__LeaderResponse response = V3ELECTIONPB__LEADER_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    bool same = observe->state == OBSERVE_LED &&
                slice_equal(buf_slice(&observe->leader), pb_slice(kv->key));

    if (same && kv->mod_revision <= observe->seen_revision && !PLANTED(OBSERVE_AGAIN))
        return true;
    observe->state = OBSERVE_LED;
    observe->seen_revision = kv->mod_revision;
    buf_reset(&observe->leader);
    buf_append(&observe->leader, kv->key.data, kv->key.len);
    engine_fill_header(observe->service->engine, &header);
    response.header = &header;
    response.kv = kv;
    return observe->call->ops->send(observe->call, &response.base);
}

static void read_leader(struct observe *observe);

static void leader_read(void *arg, enum err_code code, const char *text,
                        const ProtobufCMessage *message)
{
    struct observe *observe = arg;
    struct call *call = observe->call;
    const Etcdserverpb__TxnResponse *txn = (const Etcdserverpb__TxnResponse *)(const void *)message;
    const Etcdserverpb__RangeResponse *range;

    if (code != ERR_OK) {
        call->cancel = NULL;
        call->resume = NULL;
        candidate_refuse(call, text);
        observe_free(observe);
        return;
    }
    /* what was asked for */
    range = txn->n_responses == 1 ? txn->responses[0]->response_range : NULL;
    observe->state = OBSERVE_NOBODY;
    observe->read_revision = txn->header->revision;
    if (range != NULL && range->n_kvs != 0) {
        observe->state = buf_used(&observe->leader) != 0 ? OBSERVE_LED : OBSERVE_NOBODY;
        if (!tell(observe, range->kvs[0]))
            watch_stream_full(observe->stream);
    } else {
        buf_reset(&observe->leader);
    }
    if (observe->changed)
        read_leader(observe);
}

static void read_leader(struct observe *observe)
{
    observe->state = OBSERVE_READING;
    observe->changed = false;
    subcall_start(observe->service, &observe->subcall, observe->call, RPC_KV_Txn,
                  &observe->txn.base, leader_read, observe);
}

/* One change under NAME/; false: the client reads too slowly. */
static bool take_event(struct observe *observe, Mvccpb__Event *event)
{
    bool deleted = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    bool of_leader = slice_equal(buf_slice(&observe->leader), pb_slice(event->kv->key));

    if (event->kv->mod_revision <= observe->read_revision) /* a watch that lags behind the reads */
        return true;
    switch (observe->state) {
    case OBSERVE_READING:
        observe->changed = true;
        return true;
    case OBSERVE_LED:
        if (!of_leader && (deleted || !PLANTED(OBSERVE_ANYBODY)))
            return true;
        if (!deleted)
            return tell(observe, event->kv);
        observe->state = PLANTED(OBSERVE_DEAF) ? OBSERVE_NOBODY : OBSERVE_READING;
        if (!PLANTED(OBSERVE_DEAF))
            wake(observe);
        return true;
    case OBSERVE_NOBODY:
        return deleted || tell(observe, event->kv);
    }
    return true;
}

static bool on_events(void *arg, const struct watch_message *message)
{
    struct observe *observe = arg;
    const struct watch_hit *hit = message->first;
    bool more = true;

    if (service_differs(observe->service)) {
        observe->state = OBSERVE_READING; /* which is refused, and ends the call */
        wake(observe);
        return true;
    }
    for (size_t i = 0; i < message->count; i++, hit = hit->next) {
        struct slice wire = hit->event->wire[0];
        Mvccpb__Event *event = mvccpb__event__unpack(NULL, wire.size, wire.data);

        must(event != NULL && event->kv != NULL); /* encoded by watch_event.c */
        more = take_event(observe, event) && more;
        mvccpb__event__free_unpacked(event, NULL);
    }
    return more;
}

static bool on_compacted(void *arg, int64_t watch_id, int64_t revision)
{
    (void)watch_id;
    (void)revision;
    ((struct observe *)arg)->blind = true; /* a new watch, and a read of what this one missed */
    wake(arg);
    return true;
}

static const struct watch_stream_ops stream_ops = {.events = on_events, .compacted = on_compacted};

/* NAME/ and the first key behind all of those. */
static bool make_range(struct observe *observe, const V3electionpb__LeaderRequest *request)
{
    observe->prefix_bytes = request->name.len + 1;
    observe->prefix = arena_alloc(&observe->call->arena, observe->prefix_bytes);
    observe->past = arena_alloc(&observe->call->arena, observe->prefix_bytes);
    if (observe->prefix == NULL || observe->past == NULL)
        return false;
    if (request->name.len != 0)
        memcpy(observe->prefix, request->name.data, request->name.len);
    observe->prefix[request->name.len] = '/';
    memcpy(observe->past, observe->prefix, observe->prefix_bytes);
    observe->past[request->name.len] = '/' + 1;
    etcdserverpb__txn_request__init(&observe->txn);
    etcdserverpb__request_op__init(&observe->op);
    etcdserverpb__range_request__init(&observe->range);
    observe->range.key = (ProtobufCBinaryData){observe->prefix_bytes, observe->prefix};
    observe->range.range_end = (ProtobufCBinaryData){observe->prefix_bytes, observe->past};
    observe->range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    observe->range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE;
    observe->range.limit = 1;
    observe->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    observe->op.request_range = &observe->range;
    observe->ops[0] = &observe->op;
    observe->txn.success = observe->ops;
    observe->txn.n_success = 1;
    return true;
}

static void watch_from_now(struct observe *observe)
{
    struct watch_request watch = {.key = slice_of(observe->prefix, observe->prefix_bytes),
                                  .range_end = slice_of(observe->past, observe->prefix_bytes)};
    int64_t id = 0;

    must(watch_create(observe->stream, &watch, &id) == WATCH_MADE); /* not an empty range */
}

void observes_turn(struct service *service)
{
    while (service->woken_observes != NULL) {
        struct observe *observe = service->woken_observes;

        sleep(observe);
        if (observe->blind && !PLANTED(OBSERVE_BLIND))
            watch_from_now(observe);
        observe->blind = false;
        if (observe->subcall.active)
            observe->changed = true;
        else
            read_leader(observe);
    }
}

void observes_tick(struct service *service)
{
    struct observe *observe;

    if (!service_leader_is_lost(service))
        return;
    while ((observe = delist_first(service)) != NULL) {
        struct call *call = observe->call;

        observe_free(observe);
        call->resume = NULL;
        call_refuse(call, ERR_NO_LEADER);
    }
}

void election_observe(struct service *service, struct call *call)
{
    const V3electionpb__LeaderRequest *request =
        (const V3electionpb__LeaderRequest *)(const void *)call->request;
    struct observe *observe = xalloc(sizeof(*observe));

    observe->service = service;
    observe->call = call;
    observe->leader = BUF_INIT(service->config.max_message_bytes);
    if (!make_range(observe, request)) {
        free(observe);
        call_refuse(call, ERR_REQUEST_TOO_LARGE);
        return;
    }
    observe->stream = watch_stream_new(engine_watches(service->engine), &stream_ops, observe);
    watch_from_now(observe);
    call->state = observe;
    call->cancel = leave;
    call->resume = resume;
    if (call->require_leader)
        enlist(observe);
    read_leader(observe);
}

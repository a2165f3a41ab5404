/*
 * toy_service.h - a service without a store, for tests of the doors: it answers at once, later, in
 * pieces or never, depending on what is asked. Static functions: include it once per program.
 *
 *   KV.Put         revision + 1, at once (or when toy_release() is called, if `hold` is set)
 *   KV.Range       `key` says how: "n:KEYS:BYTES" a range of that many values (an odd number of
 *                  them is lasting), "p:..." the same in pieces, else refused with ERR_COMPACTED;
 * "" ERR_EMPTY_KEY Snapshot       three messages of 5 bytes; Watch: one message per message, stays
 * open LeaseKeepAlive one message per message, then the end Lock           never others         an
 * empty message of the right type
 */
#ifndef TESTS_LIB_TOY_SERVICE_H
#define TESTS_LIB_TOY_SERVICE_H

#include "common/base/limits.h"
#include "common/schema/kv.pb-c.h"
#include "common/schema/pbwire.h"
#include "common/schema/rpc.pb-c.h"
#include "etcd-server/doors/gateway.h"
#include "etcd-server/doors/ops.h"

#include <stdio.h>

struct toy {
    int64_t revision;
    bool hold;         /* puts wait for toy_release() */
    struct call *held; /* the last one that waits */
    size_t cancelled;
    size_t streamed; /* snapshot messages sent */
    size_t sources;  /* kv sources not freed */
    size_t pulled;   /* key-values given out */
    const char *token;
    char token_text[64];
    bool require_leader;
    bool named;      /* by a certificate */
    size_t messages; /* BIDI messages got */
    bool ended;      /* BIDI end seen */
    bool fail_reads; /* ops */
    struct ops_read *held_read;
    bool hold_reads;
    struct ops_facts facts;
};

#define TOY_PIECES 16U
#define TOY_PIECE_KEYS 50U /* in each but the last */

struct toy_source {
    struct kv_source source;
    struct toy *toy;
    size_t left, keys;
    uint8_t *encoded;
    size_t encoded_bytes;
    bool in_pieces;
    struct shared_slice pieces[TOY_PIECES]; /* of one and the same, a reference each */
    size_t piece_count;
};

static inline struct toy *toy_of(struct service *service)
{
    return (struct toy *)(void *)service;
}

static Etcdserverpb__ResponseHeader toy_header(struct toy *toy)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    header.cluster_id = 3220502729976901414U;
    header.member_id = 10601487386321235570U;
    header.revision = toy->revision;
    header.raft_term = 2;
    return header;
}

static inline void toy_put(struct toy *toy, struct call *call)
{
    Etcdserverpb__ResponseHeader header;
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;

    toy->revision++;
    header = toy_header(toy);
    response.header = &header;
    call->ops->reply(call, &response.base);
}

static inline bool toy_next(struct kv_source *base, struct slice *key_value)
{
    struct toy_source *source = CONTAINER_OF(base, struct toy_source, source);

    if (source->left == 0)
        return false;
    source->left--;
    source->toy->pulled++;
    *key_value = slice_of(source->encoded, source->encoded_bytes);
    return true;
}

static inline void toy_rewind(struct kv_source *base)
{
    struct toy_source *source = CONTAINER_OF(base, struct toy_source, source);

    source->left = source->keys;
}

static inline bool toy_pieces(struct kv_source *base, struct shared_pieces *pieces,
                              size_t *key_values)
{
    struct toy_source *source = CONTAINER_OF(base, struct toy_source, source);
    size_t each = pb_bytes_field_bytes(source->encoded_bytes), left = source->keys;
    struct shared *run;

    if (!source->in_pieces || left == 0 || left > (size_t)TOY_PIECES * TOY_PIECE_KEYS)
        return false;
    run = shared_new(TOY_PIECE_KEYS * each);
    for (size_t i = 0; i < TOY_PIECE_KEYS; i++)
        (void)pb_put_bytes(run->data + i * each, RANGE_KVS_FIELD,
                           slice_of(source->encoded, source->encoded_bytes));
    for (; left != 0; left -= MIN(left, TOY_PIECE_KEYS))
        source->pieces[source->piece_count++] =
            (struct shared_slice){.owner = shared_ref(run),
                                  .bytes = slice_of(run->data, MIN(left, TOY_PIECE_KEYS) * each)};
    shared_unref(run);
    *pieces = (struct shared_pieces){
        .all = source->pieces, .count = source->piece_count, .bytes = source->keys * each};
    *key_values = source->keys;
    return true;
}

static inline bool toy_more(struct kv_source *base)
{
    (void)base;
    return true;
}

static inline void toy_source_free(struct kv_source *base)
{
    struct toy_source *source = CONTAINER_OF(base, struct toy_source, source);

    source->toy->sources--;
    for (size_t i = 0; i < source->piece_count; i++)
        shared_unref(source->pieces[i].owner);
    free(source->encoded);
    free(source);
}

/* Of the values of its ranges. */
static inline uint8_t toy_value_byte(size_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

static inline struct kv_source *toy_source_new(struct toy *toy, size_t keys, size_t bytes,
                                               bool in_pieces)
{
    Mvccpb__KeyValue key_value = MVCCPB__KEY_VALUE__INIT;
    struct toy_source *source = xalloc(sizeof(*source));
    uint8_t key[1] = {'a'};

    source->source = (struct kv_source){.next = toy_next,
                                        .more = toy_more,
                                        .rewind = toy_rewind,
                                        .pieces = toy_pieces,
                                        .free = toy_source_free};
    source->in_pieces = in_pieces;
    source->source.lasting = keys % 2 == 1;
    source->toy = toy;
    source->left = source->keys = keys;
    key_value.key.data = key;
    key_value.key.len = 1;
    key_value.value.data = xalloc(MAX(bytes, 1));
    key_value.value.len = bytes;
    for (size_t i = 0; i < bytes; i++)
        key_value.value.data[i] = toy_value_byte(i);
    key_value.mod_revision = 5;
    source->encoded = xalloc(protobuf_c_message_get_packed_size(&key_value.base) + 1);
    source->encoded_bytes = protobuf_c_message_pack(&key_value.base, source->encoded);
    free(key_value.value.data);
    toy->sources++;
    return &source->source;
}

#define TOY_VALUE_MAX 1000000UL   /* fuzzers ask for anything: bytes of a value ... */
#define TOY_ANSWER_MAX 40000000UL /* ... and of all of them */

static inline void toy_range(struct toy *toy, struct call *call)
{
    Etcdserverpb__RangeRequest *request = (Etcdserverpb__RangeRequest *)(void *)call->request;
    Etcdserverpb__ResponseHeader header = toy_header(toy);
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    unsigned long keys = 0, bytes = 0;
    char text[64], kind;

    (void)snprintf(text, sizeof(text), "%.*s", (int)MIN(request->key.len, 60),
                   request->key.len != 0 ? (const char *)request->key.data : "");
    response.header = &header;
    if (request->key.len == 0)
        call->ops->finish(call, ERR_EMPTY_KEY, NULL);
    else if (sscanf(text, "%c:%lu:%lu", &kind, &keys, &bytes) == 3 &&
             (kind == 'n' || kind == 'p')) {
        bytes = MIN(bytes, TOY_VALUE_MAX);
        keys = MIN(keys, TOY_ANSWER_MAX / (bytes + 100));
        call->ops->reply_range(call, &response.base, toy_source_new(toy, keys, bytes, kind == 'p'));
    } else if (text[0] == 'g')
        call->ops->reply(call, &response.base);
    else
        call->ops->finish(call, ERR_COMPACTED, NULL);
}

static inline void toy_snapshot_more(struct call *call)
{
    struct toy *toy = call->state;
    Etcdserverpb__SnapshotResponse response;
    uint8_t blob[5] = "hello";

    etcdserverpb__snapshot_response__init(&response);
    response.blob.data = blob;
    response.blob.len = sizeof(blob);
    while (toy->streamed < 3) {
        toy->streamed++;
        response.remaining_bytes = 15 - 5 * toy->streamed;
        if (!call->ops->send(call, &response.base))
            return;
    }
    toy->streamed = 0;
    call->ops->finish(call, ERR_OK, NULL);
}

static inline void toy_watch_message(struct call *call, ProtobufCMessage *message)
{
    struct toy *toy = call->state;
    Etcdserverpb__WatchResponse watch;
    Etcdserverpb__LeaseKeepAliveResponse alive = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    bool is_watch = call->row->id == RPC_Watch_Watch;

    etcdserverpb__watch_response__init(&watch);
    if (message == NULL) {
        toy->ended = true;
        if (!is_watch)
            call->ops->finish(call, ERR_OK, NULL);
        return;
    }
    toy->messages++;
    watch.created = 1;
    alive.id = (int64_t)toy->messages;
    (void)call->ops->send(call, is_watch ? &watch.base : &alive.base);
}

static inline void toy_cancel_call(struct call *call)
{
    struct toy *toy = call->state;

    toy->cancelled++;
    if (toy->held == call)
        toy->held = NULL;
    toy->streamed = 0;
}

static inline void toy_other(struct call *call)
{
    ProtobufCMessage *response = arena_zalloc(&call->arena, call->row->response->sizeof_message);

    must(response != NULL);
    protobuf_c_message_init(call->row->response, response);
    call->ops->reply(call, response);
}

static inline void toy_start(struct service *service, struct call *call)
{
    struct toy *toy = toy_of(service);

    call->state = toy;
    call->cancel = toy_cancel_call;
    toy->token = NULL;
    if (call->token != NULL)
        (void)snprintf(toy->token_text, sizeof(toy->token_text), "%s", call->token);
    toy->token = call->token != NULL ? toy->token_text : NULL;
    toy->require_leader = call->require_leader;
    toy->named = call->common_name != NULL;
    if (call->row->id == RPC_Lock_Lock || (call->row->id == RPC_KV_Put && toy->hold)) {
        toy->held = call;
    } else if (call->row->id == RPC_KV_Put) {
        toy_put(toy, call);
    } else if (call->row->id == RPC_KV_Range) {
        toy_range(toy, call);
    } else if (call->row->kind == RPC_SERVER_STREAM) {
        call->resume = toy_snapshot_more;
        toy_snapshot_more(call);
    } else if (call->row->kind == RPC_BIDI) {
        toy->messages = 0;
        toy->ended = false;
        call->message = toy_watch_message;
        if (call->request != NULL)
            toy_watch_message(call, call->request);
    } else {
        toy_other(call);
    }
}

static inline void toy_cancel(struct service *service, struct call *call)
{
    (void)service;
    if (call->cancel != NULL)
        call->cancel(call);
}

/* ---- what ops asks ---- */

static inline void toy_facts(void *arg, struct ops_facts *facts)
{
    struct toy *toy = arg;

    *facts = toy->facts;
}

static inline void toy_read(void *arg, struct ops_read *read)
{
    struct toy *toy = arg;

    if (toy->hold_reads)
        toy->held_read = read;
    else
        read->done(read, toy->fail_reads ? "etcdserver: request timed out" : NULL);
}

static inline void toy_cancel_read(void *arg, struct ops_read *read)
{
    struct toy *toy = arg;

    toy->cancelled++;
    if (toy->held_read == read)
        toy->held_read = NULL;
}

static inline struct ops_env toy_ops_env(struct toy *toy, struct metrics *metrics)
{
    (void)snprintf(toy->facts.server_version, sizeof(toy->facts.server_version), "3.5.30");
    (void)snprintf(toy->facts.cluster_version, sizeof(toy->facts.cluster_version), "3.5.0");
    toy->facts.has_leader = true;
    return (struct ops_env){.arg = toy,
                            .facts = toy_facts,
                            .read = toy_read,
                            .cancel_read = toy_cancel_read,
                            .metrics = metrics};
}

static inline struct door_config toy_door_config(struct toy *toy, struct metrics *metrics)
{
    return (struct door_config){.service = (struct service *)(void *)toy,
                                .start = toy_start,
                                .cancel = toy_cancel,
                                .metrics = metrics,
                                .max_message_bytes =
                                    MAX_REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES};
}

#endif

/*
 * grpc.c - see grpc.h: routing, metadata, the way of a request to its handler.
 *
 *   head -> row of the path -> metadata -> call
 *   data -> 5-byte prefix, message -> unpacked into the call's arena -> config.start()
 *   ... and its other ends: the client went, its deadline passed, the server stops.
 *
 * A unary call starts when the client has ended its side; till then its message stays bytes, which
 * the framing counts, for unpacked it may take many times as much. A BIDI call starts with its
 * first message; further ones are handed on in later turns, each in memory that is gone afterwards.
 * A call that has ended may still be on its handler's stack, so it is recycled only when something
 * comes in.
 */
#include "etcd-server/doors/grpc_internal.h"

#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/pbgroup.h"
#include "common/schema/pbwire.h"

#include <stdio.h>

#define MESSAGES_PER_TURN 32 /* of one BIDI call: then the others have theirs */

struct grpc *grpc_new(const struct door_config *config)
{
    struct grpc *grpc = xalloc(sizeof(*grpc));

    grpc->config = *config;
    buf_init(&grpc->scratch, HTTP_OUT_MAX_BYTES);
    buf_init(&grpc->packed, HTTP_OUT_MAX_BYTES);
    buf_init(&grpc->inflated, config->max_message_bytes);
    grpc->gzip = grpc_gzip_new();
    return grpc;
}

void grpc_free(struct grpc *grpc)
{
    if (grpc == NULL)
        return;
    call_pool_free(&grpc->calls);
    buf_free(&grpc->scratch);
    buf_free(&grpc->packed);
    buf_free(&grpc->inflated);
    grpc_gzip_free(grpc->gzip);
    free(grpc);
}

/* ---- calls ---- */

static struct grpc_call *call_new(struct grpc *grpc, const struct rpc_row *row,
                                  struct exchange *exchange)
{
    struct grpc_call *call;

    call_pool_recycle(&grpc->calls);
    call = call_pool_take(&grpc->calls);
    if (call != NULL) {
        struct grpc_call kept = *call;

        *call = (struct grpc_call){.call.arena = kept.call.arena,
                                   .message_arena = kept.message_arena,
                                   .in = kept.in,
                                   .pooled = kept.pooled};
    } else {
        call = xalloc(sizeof(*call));
        call->pooled = (struct pooled_call){
            .memory = {&call->call.arena, &call->message_arena, &call->in}, .block = call};
        call_memory_init(call->pooled.memory);
    }
    call_memory_moved(call->pooled.memory);
    call->call.row = row;
    call->call.ops = &grpc_call_ops;
    call->call.common_name = exchange->link->common_name;
    call->call.remote = exchange->link->remote;
    call->grpc = grpc;
    call->exchange = exchange;
    exchange->state = call;
    return call;
}

void grpc_tell_end(struct grpc_call *call, enum grpc_code code)
{
    const struct door_config *config = &call->grpc->config;

    if (config->ended == NULL || call->told)
        return;
    call->told = true;
    call->end.code = code;
    config->ended(config->service, &call->call, &call->end);
}

void grpc_call_over(struct grpc_call *call, enum grpc_code code)
{
    struct grpc *grpc = call->grpc;

    must(call->state != GRPC_ENDED);
    if (call->counted && call->state != GRPC_RANGE)
        metrics_call_handled(grpc->config.metrics, call->call.row, code);
    grpc_tell_end(call, code);
    call->state = GRPC_ENDED;
    call->exchange = NULL;
    call_pool_end(&grpc->calls, &call->pooled);
}

/* Take the call back from its handler, or stop the range it left. */
static void cancel(struct grpc_call *call)
{
    struct grpc *grpc = call->grpc;

    if (call->state == GRPC_RANGE) {
        grpc_range_drop(call);
    } else if (call->state != GRPC_READING) {
        grpc->config.cancel(grpc->config.service, &call->call);
    }
}

static void on_gone(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    cancel(call);
    grpc_call_over(call, GRPC_CANCELLED);
}

static void on_deadline(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;
    bool begun = call->state == GRPC_RANGE && call->range_begun;

    cancel(call);
    if (begun) { /* half a message cannot end in a status */
        grpc_call_over(call, GRPC_DEADLINE_EXCEEDED);
        exchange_abort(exchange);
        return;
    }
    grpc_refuse(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

static void on_gap(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    cancel(call);
    grpc_refuse_large(call, GRPC_MESSAGE_MAX_BYTES + 1);
}

void grpc_end_soon(struct grpc_call *call)
{
    call->exchange->wake = on_gap; /* a later turn: the handler is at work */
    exchange_wake_at(call->exchange, call->exchange->link->clock->now_ms);
}

static void on_stop(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    if (call->state == GRPC_RANGE ||
        (call->call.row->kind == RPC_UNARY && call->state != GRPC_READING))
        return; /* these end by themselves */
    cancel(call);
    grpc_refuse(call, GRPC_UNAVAILABLE, err_text(ERR_STOPPED));
}

/* ---- metadata (api.md 1) ---- */

/* False: the call was refused. */
static bool take_timeout(struct grpc_call *call, struct slice value)
{
    uint64_t timeout_ns = 0, timeout_ms, now_ms = call->exchange->link->clock->now_ms;
    char text[96];

    if (!call_timeout_parse(value, GRPC_TIMEOUT_DIGITS, &timeout_ns)) {
        (void)snprintf(text, sizeof(text), "malformed grpc-timeout: \"%.*s\"",
                       (int)MIN(value.size, 40), (const char *)value.data);
        grpc_refuse(call, GRPC_INTERNAL, text);
        return false;
    }
    timeout_ms = timeout_ns / (uint64_t)NS_PER_MS + (timeout_ns % (uint64_t)NS_PER_MS != 0);
    if (timeout_ms == 0) {
        grpc_refuse(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        return false;
    }
    call->call.deadline_ms = now_ms + MIN(timeout_ms, DEADLINE_FAR_MS);
    call->exchange->wake = on_deadline;
    exchange_wake_at(call->exchange, call->call.deadline_ms);
    return true;
}

static bool take_encoding(struct grpc_call *call, struct slice value)
{
    char text[128];

    if (slice_equal(value, SLICE_LITERAL("identity")))
        return true;
    call->gzip = slice_equal(value, SLICE_LITERAL("gzip"));
    if (call->gzip)
        return true;
    (void)snprintf(text, sizeof(text),
                   "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"",
                   (int)MIN(value.size, 40), (const char *)value.data);
    grpc_refuse(call, GRPC_UNIMPLEMENTED, text);
    return false;
}

static bool take_metadata(struct grpc_call *call, struct slice *version)
{
    const struct exchange *exchange = call->exchange;
    struct slice token = SLICE_EMPTY, authorization = SLICE_EMPTY;
    bool has_token = false, has_authorization = false;

    for (size_t i = 0; i < exchange->field_count; i++) {
        struct slice name = exchange->fields[i].name, value = exchange->fields[i].value;

        if (slice_equal(name, SLICE_LITERAL("token"))) { /* of several the first counts */
            token = has_token ? token : value;
            has_token = true;
        } else if (slice_equal(name, SLICE_LITERAL("authorization"))) {
            authorization = has_authorization ? authorization : value;
            has_authorization = true;
        } else if (slice_equal(name, SLICE_LITERAL("hasleader"))) {
            call->call.require_leader = slice_equal(value, SLICE_LITERAL("true"));
        } else if (slice_equal(name, SLICE_LITERAL("grpcgateway-accept"))) {
            call->call.common_name = NULL; /* that of a gateway, not of who calls (api.md 9.3) */
        } else if (slice_equal(name, SLICE_LITERAL("client-api-version"))) {
            *version = value;
        } else if (slice_equal(name, SLICE_LITERAL("grpc-timeout"))) {
            if (!take_timeout(call, value))
                return false;
        } else if (slice_equal(name, SLICE_LITERAL("grpc-encoding"))) {
            if (!take_encoding(call, value))
                return false;
        }
    }
    if (has_token || has_authorization) {
        if (!has_token)
            token = authorization;
        call->call.token = arena_strndup(&call->call.arena, token.data, token.size);
        must(call->call.token != NULL); /* headers are far below the arena's maximum */
    }
    return true;
}

/* ---- messages ---- */

static size_t prefix_length(const uint8_t *prefix)
{
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

/*
 * Is there a whole message at the front of `bytes`? 1 = `frame` is it, prefix included; 0 = not
 * yet; -1 = the call was refused.
 */
static int find_message(struct grpc_call *call, struct slice bytes, struct slice *frame)
{
    size_t max = call->grpc->config.max_message_bytes;
    size_t length;
    char text[96];

    call->exchange->wants_bytes = 0;
    if (bytes.size < GRPC_PREFIX_BYTES)
        return 0;
    length = prefix_length(bytes.data);
    if (length > max) {
        (void)snprintf(text, sizeof(text), "grpc: received message larger than max (%zu vs. %zu)",
                       length, max);
        grpc_refuse(call, GRPC_RESOURCE_EXHAUSTED, text);
        return -1;
    }
    if (bytes.data[0] > 1) {
        (void)snprintf(text, sizeof(text), "grpc: received unexpected payload format %u",
                       bytes.data[0]);
        grpc_refuse(call, GRPC_INTERNAL, text);
        return -1;
    }
    if (bytes.size - GRPC_PREFIX_BYTES < length) {
        call->exchange->wants_bytes = GRPC_PREFIX_BYTES + length;
        return 0;
    }
    *frame = slice_of(bytes.data, GRPC_PREFIX_BYTES + length);
    return 1;
}

/* What the frame holds, decompressed if need be; false: the call was refused. */
static bool open_frame(struct grpc_call *call, struct slice frame, struct slice *content)
{
    struct grpc *grpc = call->grpc;
    char text[112];

    *content = slice_of(frame.data + GRPC_PREFIX_BYTES, frame.size - GRPC_PREFIX_BYTES);
    if (frame.data[0] == 0)
        return true;
    if (!call->gzip) {
        grpc_refuse(call, GRPC_INTERNAL,
                    "grpc: compressed flag set with identity or empty encoding");
        return false;
    }
    buf_reset(&grpc->inflated);
    switch (grpc_gzip_unpack(grpc->gzip, *content, &grpc->inflated)) {
    case GRPC_GZIP_OK:
        *content = buf_slice(&grpc->inflated);
        return true;
    case GRPC_GZIP_LARGE:
        (void)snprintf(text, sizeof(text),
                       "grpc: received message after decompression larger than max (%zu vs. %zu)",
                       grpc->config.max_message_bytes + 1, grpc->config.max_message_bytes);
        grpc_refuse(call, GRPC_RESOURCE_EXHAUSTED, text);
        return false;
    case GRPC_GZIP_BAD:
        grpc_refuse(call, GRPC_INTERNAL,
                    "grpc: failed to decompress the received message: it is not whole gzip data");
        return false;
    }
    return false;
}

/* Groups among unknown fields are skipped, as etcd skips them. */
static ProtobufCMessage *unpack_bytes(const ProtobufCMessageDescriptor *type, struct slice bytes,
                                      struct arena *arena)
{
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &arena->allocator, bytes.size, bytes.data);
    uint8_t *copy;

    if (message != NULL || bytes.size == 0 || arena->used > CALL_ARENA_MAX_BYTES / 2)
        return message;
    copy = xalloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    if (pb_cover_groups(type, copy, bytes.size) != 0)
        message = protobuf_c_message_unpack(type, &arena->allocator, bytes.size, copy);
    free(copy);
    return message;
}

/*
 * A text with a NUL in it, which protobuf-c would end there: the user "u\0x" would be "u". Texts
 * are in requests themselves, none in messages within them. NULL: there is none.
 */
static const char *find_cut_text(const ProtobufCMessageDescriptor *type, struct slice bytes)
{
    struct pb_reader reader = pb_reader_of(bytes, type->name);
    const ProtobufCFieldDescriptor *known;
    struct pb_field field;
    bool has_texts = false;

    for (unsigned i = 0; i < type->n_fields; i++)
        has_texts = has_texts || type->fields[i].type == PROTOBUF_C_TYPE_STRING;
    while (has_texts && reader.at != reader.end && pb_skim(&reader, &field) == 1) {
        if (field.wire != PB_BYTES || field.bytes.size == 0 ||
            memchr(field.bytes.data, '\0', field.bytes.size) == NULL)
            continue;
        known = protobuf_c_message_descriptor_get_field(type, field.number);
        if (known != NULL && known->type == PROTOBUF_C_TYPE_STRING)
            return known->name;
    }
    return NULL;
}

/* The frame's message in `arena`; NULL: the call was refused. */
static ProtobufCMessage *unpack(struct grpc_call *call, struct slice frame, struct arena *arena)
{
    const ProtobufCMessageDescriptor *type = call->call.row->request;
    struct grpc *grpc = call->grpc;
    ProtobufCMessage *message = NULL;
    const char *cut;
    struct slice content;
    char text[192];

    if (!open_frame(call, frame, &content))
        return NULL;
    if (!pb_depth_within(type, content, MESSAGE_DEPTH_MAX)) {
        (void)snprintf(text, sizeof(text),
                       "grpc: the received message nests deeper than %lu levels",
                       MESSAGE_DEPTH_MAX);
        grpc_refuse(call, GRPC_INTERNAL, text);
        return NULL;
    }
    cut = find_cut_text(type, content);
    if (cut != NULL) {
        (void)snprintf(text, sizeof(text),
                       "field \"%s\": a text with a NUL character in it; leave it out", cut);
        grpc_refuse(call, GRPC_INVALID_ARGUMENT, text);
        return NULL;
    }
    message = unpack_bytes(type, content, arena);
    if (message != NULL && call->call.row->kind != RPC_BIDI)
        message = call_message_lean(message, arena);
    if (message == NULL && arena->used > CALL_ARENA_MAX_BYTES / 2) {
        grpc_refuse(call, GRPC_RESOURCE_EXHAUSTED,
                    "grpc: the received message needs too much memory");
    } else if (message == NULL) {
        (void)snprintf(text, sizeof(text),
                       "grpc: error unmarshalling request: %zu bytes that are no %s", content.size,
                       type->name);
        grpc_refuse(call, GRPC_INTERNAL, text);
    } else if (grpc->config.metrics != NULL) {
        if (call->state != GRPC_READING) /* the first was counted when the call began */
            grpc->config.metrics->rpcs[call->call.row->id].received++;
        grpc->config.metrics->grpc_received_bytes += frame.size;
    }
    return message;
}

static void start(struct grpc_call *call)
{
    call->state = GRPC_WAITING;
    call->grpc->config.start(call->grpc->config.service, &call->call);
}

/* ---- unary and server stream: one message, then the end ---- */

static void only_message(struct grpc_call *call, struct slice bytes)
{
    struct slice frame;
    int found;

    buf_append_slice(&call->in, bytes);
    found = call->whole ? 1 : find_message(call, buf_slice(&call->in), &frame);
    if (found > 0 && (call->whole || frame.size != buf_used(&call->in)))
        grpc_refuse(call, GRPC_INTERNAL, "grpc: more than one message for a method that takes one");
    else
        call->whole = found > 0;
}

static void only_end(struct grpc_call *call)
{
    struct slice frame = buf_slice(&call->in);

    if (call->state != GRPC_READING)
        return;
    if (!call->whole) {
        grpc_refuse(call, GRPC_INTERNAL,
                    frame.size != 0 ? "unexpected EOF" : "grpc: the request has no message");
        return;
    }
    call->call.request = unpack(call, frame, &call->message_arena);
    if (call->call.request == NULL)
        return;
    exchange_taken(call->exchange, frame.size);
    buf_reset(&call->in);
    call_in_used_up(&call->in); /* the arena has it */
    start(call);
}

/* ---- BIDI ---- */

/* Next message of `in`, if there is a whole one: as find_message(), unpacked. */
static int next_message(struct grpc_call *call, struct arena *arena, ProtobufCMessage **message)
{
    struct slice frame;
    int found = find_message(call, buf_slice(&call->in), &frame);

    if (found == 0)
        exchange_taken(call->exchange, 0); /* it may want more */
    if (found <= 0)
        return found;
    *message = unpack(call, frame, arena);
    if (*message == NULL)
        return -1;
    buf_consume(&call->in, frame.size);
    exchange_taken(call->exchange, frame.size);
    return 1;
}

/* The next message, or the end, to the handler; false: there is nothing to hand on. */
static bool hand_on(struct grpc_call *call)
{
    ProtobufCMessage *message = NULL;
    int found;

    if (call->state == GRPC_ENDED || call->paused || call->end_told || call->call.message == NULL)
        return false;
    found = next_message(call, &call->message_arena, &message);
    if (found < 0)
        return false;
    if (found == 0) {
        if (!call->end_seen)
            return false;
        if (buf_used(&call->in) != 0) {
            cancel(call);
            grpc_refuse(call, GRPC_INTERNAL, "unexpected EOF");
            return false;
        }
        call->end_told = true;
    }
    call->call.message(&call->call, message); /* may end the call */
    call_memory_rest(call->pooled.memory);
    return true;
}

static void on_turn(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    for (int i = 0; i < MESSAGES_PER_TURN; i++)
        if (!hand_on(call))
            return;
    if (call->state != GRPC_ENDED)
        exchange_again(exchange);
}

static void bidi_more(struct grpc_call *call)
{
    struct exchange *exchange = call->exchange;
    int found;

    if (call->state == GRPC_READING) {
        found = next_message(call, &call->message_arena, &call->call.request);
        if (found < 0 || (found == 0 && !call->end_seen))
            return;
        if (found == 0 && buf_used(&call->in) != 0) {
            grpc_refuse(call, GRPC_INTERNAL, "unexpected EOF");
            return;
        }
        exchange_again(exchange);
        start(call);
        call->call.request = NULL; /* handled */
        call_memory_rest(call->pooled.memory);
    } else if (!call->paused) {
        exchange_again(exchange);
    }
}

static void on_data(struct exchange *exchange, struct slice bytes, bool ended)
{
    struct grpc_call *call = exchange->state;

    call_pool_recycle(&call->grpc->calls);
    call->end_seen |= ended;
    if (call->call.row->kind == RPC_BIDI) {
        buf_append_slice(&call->in, bytes);
        bidi_more(call);
    } else if (ended) {
        only_end(call);
    } else if (bytes.size != 0) {
        only_message(call, bytes);
    }
}

/* ---- routing ---- */

static void refuse_path(struct exchange *exchange)
{
    struct slice path = exchange->path;
    size_t slash = path.size;
    char text[320];
    bool known = false;

    while (slash > 0 && path.data[slash - 1] != '/')
        slash--;
    if (slash < 2 || path.data[0] != '/') {
        (void)snprintf(text, sizeof(text), "malformed method name: \"%.*s\"",
                       (int)MIN(path.size, 200), (const char *)path.data);
        grpc_refuse_exchange(exchange, GRPC_UNIMPLEMENTED, text);
        return;
    }
    for (size_t i = 0; i < RPC_COUNT && !known; i++)
        known = slice_starts_with(slice_text(rpc_row((enum rpc_id)i)->grpc),
                                  slice_of(path.data, slash));
    if (known)
        (void)snprintf(text, sizeof(text), "unknown method %.*s for service %.*s",
                       (int)MIN(path.size - slash, 100), (const char *)path.data + slash,
                       (int)MIN(slash - 2, 100), (const char *)path.data + 1);
    else
        (void)snprintf(text, sizeof(text), "unknown service %.*s", (int)MIN(slash - 2, 200),
                       (const char *)path.data + 1);
    grpc_refuse_exchange(exchange, GRPC_UNIMPLEMENTED, text);
}

static const struct slice reflection_alpha =
    SLICE_LITERAL("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");

static void on_start(void *arg, struct exchange *exchange)
{
    struct grpc *grpc = arg;
    struct slice version = SLICE_EMPTY;
    struct grpc_call *call;
    const struct rpc_row *row;

    if (exchange->method != METHOD_POST) {
        grpc_refuse_exchange(exchange, GRPC_INTERNAL, "gRPC takes POST and no other method");
        return;
    }
    row = rpc_find_by_grpc(exchange->path);
    if (slice_equal(exchange->path, reflection_alpha)) /* the same messages under another name */
        row = rpc_row(RPC_ServerReflection_ServerReflectionInfo);
    if (row == NULL) {
        refuse_path(exchange);
        return;
    }
    call = call_new(grpc, row, exchange);
    exchange->data = on_data;
    exchange->gone = on_gone;
    exchange->stop = on_stop;
    exchange->drained = grpc_drained;
    exchange->open_ended = row->kind == RPC_BIDI || row->id == RPC_Election_Observe;
    exchange->holds_view = row->id == RPC_KV_RangeStream || row->id == RPC_Maintenance_Snapshot;
    if (row->kind == RPC_BIDI)
        exchange->turn = on_turn;
    if (!take_metadata(call, &version))
        return;
    if (grpc->config.metrics != NULL) {
        metrics_call_started(grpc->config.metrics, row, version);
        call->counted = true;
    }
}

struct exchange_handler grpc_handler(struct grpc *grpc)
{
    return (struct exchange_handler){.arg = grpc, .start = on_start};
}

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
 */
#include "etcd-server/doors/grpc_internal.h"

#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/pbgroup.h"
#include "common/schema/pbwire.h"

#include <stdio.h>

#define MESSAGES_PER_TURN 32 /* of one BIDI call: then the others have theirs */

/* ---- the door ---- */

static void refuse(struct door_call *base, enum grpc_code code, const char *text)
{
    grpc_refuse(CONTAINER_OF(base, struct grpc_call, base), code, text);
}

static void drop_range(struct door_call *base)
{
    grpc_range_drop(CONTAINER_OF(base, struct grpc_call, base));
}

static const struct door_ways ways = {
    .ops = &grpc_call_ops, .refuse = refuse, .drop_range = drop_range, .drained = grpc_drained};

struct grpc *grpc_new(const struct door_config *config)
{
    struct grpc *grpc = xalloc(sizeof(*grpc));

    door_init(&grpc->door, config, &ways);
    buf_init(&grpc->packed, HTTP_OUT_MAX_BYTES);
    buf_init(&grpc->inflated, config->max_message_bytes);
    grpc->gzip = grpc_gzip_new();
    return grpc;
}

void grpc_free(struct grpc *grpc)
{
    if (grpc == NULL)
        return;
    door_fini(&grpc->door);
    buf_free(&grpc->packed);
    buf_free(&grpc->inflated);
    grpc_gzip_free(grpc->gzip);
    free(grpc);
}

/* ---- the ends of a call ---- */

static void on_deadline(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;
    bool begun = call->base.state == CALL_RANGE && call->range_begun;

    door_call_cancel(&call->base);
    if (begun) { /* half a message cannot end in a status */
        door_call_over(&call->base, GRPC_DEADLINE_EXCEEDED);
        exchange_abort(exchange);
        return;
    }
    grpc_refuse(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

static void on_gap(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    door_call_cancel(&call->base);
    grpc_refuse_large(call, GRPC_MESSAGE_MAX_BYTES + 1);
}

void grpc_end_soon(struct grpc_call *call)
{
    call->base.exchange->wake = on_gap; /* a later turn: the handler is at work */
    exchange_wake_at(call->base.exchange, call->base.exchange->link->clock->now_ms);
}

/* ---- metadata (api.md 1) ---- */

/* False: the call was refused. */
static bool take_timeout(struct grpc_call *call, struct slice value)
{
    uint64_t timeout_ns = 0, timeout_ms, now_ms = call->base.exchange->link->clock->now_ms;
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
    call->base.rpc.deadline_ms = now_ms + MIN(timeout_ms, DEADLINE_FAR_MS);
    call->base.exchange->wake = on_deadline;
    exchange_wake_at(call->base.exchange, call->base.rpc.deadline_ms);
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
    const struct exchange *exchange = call->base.exchange;
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
            call->base.rpc.require_leader = slice_equal(value, SLICE_LITERAL("true"));
        } else if (slice_equal(name, SLICE_LITERAL("grpcgateway-accept"))) {
            /* it is that of a gateway, not of who calls (api.md 9.3) */
            call->base.rpc.common_name = NULL;
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
        call->base.rpc.token = arena_strndup(&call->base.rpc.arena, token.data, token.size);
        must(call->base.rpc.token != NULL); /* headers are far below the arena's maximum */
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
    size_t max = call->base.door->config.max_message_bytes;
    size_t length;
    char text[96];

    call->base.exchange->wants_bytes = 0;
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
        call->base.exchange->wants_bytes = GRPC_PREFIX_BYTES + length;
        return 0;
    }
    *frame = slice_of(bytes.data, GRPC_PREFIX_BYTES + length);
    return 1;
}

/* What the frame holds, decompressed if need be; false: the call was refused. */
static bool open_frame(struct grpc_call *call, struct slice frame, struct slice *content)
{
    struct grpc *grpc = grpc_of(call);
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
                       grpc->door.config.max_message_bytes + 1,
                       grpc->door.config.max_message_bytes);
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
    const ProtobufCMessageDescriptor *type = call->base.rpc.row->request;
    struct grpc *grpc = grpc_of(call);
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
    if (message != NULL && call->base.rpc.row->kind != RPC_BIDI)
        message = call_message_lean(message, arena);
    if (message == NULL && arena->used > CALL_ARENA_MAX_BYTES / 2) {
        grpc_refuse(call, GRPC_RESOURCE_EXHAUSTED,
                    "grpc: the received message needs too much memory");
    } else if (message == NULL) {
        (void)snprintf(text, sizeof(text),
                       "grpc: error unmarshalling request: %zu bytes that are no %s", content.size,
                       type->name);
        grpc_refuse(call, GRPC_INTERNAL, text);
    } else if (grpc->door.config.metrics != NULL) {
        if (call->base.state != CALL_READING) /* the first was counted when the call began */
            grpc->door.config.metrics->rpcs[call->base.rpc.row->id].received++;
        grpc->door.config.metrics->grpc_received_bytes += frame.size;
    }
    return message;
}

/* ---- unary and server stream: one message, then the end ---- */

static void only_message(struct grpc_call *call, struct slice bytes)
{
    struct slice frame;
    int found;

    buf_append_slice(&call->base.in, bytes);
    found = call->whole ? 1 : find_message(call, buf_slice(&call->base.in), &frame);
    if (found > 0 && (call->whole || frame.size != buf_used(&call->base.in)))
        grpc_refuse(call, GRPC_INTERNAL, "grpc: more than one message for a method that takes one");
    else
        call->whole = found > 0;
}

static void only_end(struct grpc_call *call)
{
    struct slice frame = buf_slice(&call->base.in);

    if (call->base.state != CALL_READING)
        return;
    if (!call->whole) {
        grpc_refuse(call, GRPC_INTERNAL,
                    frame.size != 0 ? "unexpected EOF" : "grpc: the request has no message");
        return;
    }
    call->base.rpc.request = unpack(call, frame, &call->base.message_arena);
    if (call->base.rpc.request == NULL)
        return;
    exchange_taken(call->base.exchange, frame.size);
    buf_reset(&call->base.in);
    call_in_used_up(&call->base.in); /* the arena has it */
    door_call_start(&call->base);
}

/* ---- BIDI ---- */

/* Next message of `in`, if there is a whole one: as find_message(), unpacked. */
static int next_message(struct grpc_call *call, struct arena *arena, ProtobufCMessage **message)
{
    struct slice frame;
    int found = find_message(call, buf_slice(&call->base.in), &frame);

    if (found == 0)
        exchange_taken(call->base.exchange, 0); /* it may want more */
    if (found <= 0)
        return found;
    *message = unpack(call, frame, arena);
    if (*message == NULL)
        return -1;
    buf_consume(&call->base.in, frame.size);
    exchange_taken(call->base.exchange, frame.size);
    return 1;
}

/* The next message, or the end, to the handler; false: there is nothing to hand on. */
static bool hand_on(struct grpc_call *call)
{
    ProtobufCMessage *message = NULL;
    int found;

    if (call->base.state == CALL_ENDED || call->base.paused || call->base.end_told ||
        call->base.rpc.message == NULL)
        return false;
    found = next_message(call, &call->base.message_arena, &message);
    if (found < 0)
        return false;
    if (found == 0) {
        if (!call->base.end_seen)
            return false;
        if (buf_used(&call->base.in) != 0) {
            door_call_cancel(&call->base);
            grpc_refuse(call, GRPC_INTERNAL, "unexpected EOF");
            return false;
        }
        call->base.end_told = true;
    }
    call->base.rpc.message(&call->base.rpc, message); /* may end the call */
    door_call_rest(&call->base);
    return true;
}

static void on_turn(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    for (int i = 0; i < MESSAGES_PER_TURN; i++)
        if (!hand_on(call))
            return;
    if (call->base.state != CALL_ENDED)
        exchange_again(exchange);
}

static void bidi_more(struct grpc_call *call)
{
    struct exchange *exchange = call->base.exchange;
    int found;

    if (call->base.state == CALL_READING) {
        found = next_message(call, &call->base.message_arena, &call->base.rpc.request);
        if (found < 0 || (found == 0 && !call->base.end_seen))
            return;
        if (found == 0 && buf_used(&call->base.in) != 0) {
            grpc_refuse(call, GRPC_INTERNAL, "unexpected EOF");
            return;
        }
        exchange_again(exchange);
        door_call_start(&call->base);
        call->base.rpc.request = NULL; /* handled */
        door_call_rest(&call->base);
    } else if (!call->base.paused) {
        exchange_again(exchange);
    }
}

static void on_data(struct exchange *exchange, struct slice bytes, bool ended)
{
    struct grpc_call *call = exchange->state;

    door_recycle(call->base.door);
    call->base.end_seen |= ended;
    if (call->base.rpc.row->kind == RPC_BIDI) {
        buf_append_slice(&call->base.in, bytes);
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
    struct door_call *call;
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
    call = door_call_new(&grpc->door, sizeof(struct grpc_call), row, exchange);
    exchange->data = on_data;
    if (row->kind == RPC_BIDI)
        exchange->turn = on_turn;
    if (take_metadata(CONTAINER_OF(call, struct grpc_call, base), &version))
        door_call_count(call, version);
}

struct exchange_handler grpc_handler(struct grpc *grpc)
{
    return (struct exchange_handler){.arg = grpc, .start = on_start};
}

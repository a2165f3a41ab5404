/*
 * gateway_answer.c - the answering half of gateway.h: what call->ops do, and errors as JSON.
 *
 *   reply        {...}                       one body
 *   reply_range  {...,"kvs":[ pieces ... ]}  one body if it fits into RANGE_CHUNK_BYTES
 *   send         {"result":{...}}\n          a chunk each
 */
#include "common/schema/pbbytes.h"
#include "etcd-server/doors/gateway_internal.h"

#include "common/base/base64.h"
#include "common/base/crc32c.h"
#include "common/base/limits.h"
#include "common/base/sha256.h"
#include "common/schema/kv.pb-c.h"
#include "common/schema/pbjson.h"
#include "common/schema/pbwire.h"
#include "common/schema/rpc.pb-c.h"
#include "etcd-server/state/watch.h"

#include <stdio.h>

#define PIECES_PER_TURN 8 /* a reader as fast as we are must not keep the others waiting */

static const char json_type[] = "application/json";
static const char grpc_field[] = "Grpc-Metadata-Content-Type: application/grpc\r\n";

static unsigned http_status(enum grpc_code code)
{
    switch (code) {
    case GRPC_OK:
        return 200;
    case GRPC_CANCELLED:
        return 499;
    case GRPC_INVALID_ARGUMENT:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_OUT_OF_RANGE:
        return 400;
    case GRPC_DEADLINE_EXCEEDED:
        return 504;
    case GRPC_NOT_FOUND:
        return 404;
    case GRPC_ALREADY_EXISTS:
    case GRPC_ABORTED:
        return 409;
    case GRPC_PERMISSION_DENIED:
        return 403;
    case GRPC_RESOURCE_EXHAUSTED:
        return 429;
    case GRPC_UNIMPLEMENTED:
        return 501;
    case GRPC_UNAVAILABLE:
        return 503;
    case GRPC_UNAUTHENTICATED:
        return 401;
    case GRPC_UNKNOWN:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        return 500;
    }
    return 500;
}

static struct gateway_call *of_call(struct call *rpc)
{
    return CONTAINER_OF(rpc, struct gateway_call, base.rpc);
}

static struct gateway *gateway_of(const struct gateway_call *call)
{
    return CONTAINER_OF(call->base.door, struct gateway, door);
}

/* ---- errors (api.md 12.3; design.md: the members of both gateway versions) ---- */

static void put_error(struct buf *out, enum grpc_code code, const char *text, bool both)
{
    struct slice message = slice_text(text);

    buf_append_text(out, "{");
    if (both) {
        buf_append_text(out, "\"error\":");
        pbjson_write_string(message, out);
        buf_append_text(out, ",");
    }
    buf_append_text(out, "\"code\":");
    buf_append_uint(out, (uint64_t)code);
    buf_append_text(out, ",\"message\":");
    pbjson_write_string(message, out);
    buf_append_text(out, "}");
}

void gateway_refuse_exchange(struct gateway *gateway, struct exchange *exchange,
                             enum grpc_code code, const char *text)
{
    struct exchange_head head = {.status = http_status(code), .content_type = json_type};
    struct buf *out = door_scratch(&gateway->door.scratch);
    char challenge[128];

    if (code == GRPC_UNAUTHENTICATED && strpbrk(text, "\r\n") == NULL &&
        snprintf(challenge, sizeof(challenge), "WWW-Authenticate: %s\r\n", text) <
            (int)sizeof(challenge))
        head.fields = challenge;

    put_error(out, code, text, true);
    exchange_answer(exchange, &head, buf_slice(out));
}

static void put_stream_error(struct buf *out, enum grpc_code code, const char *text)
{
    buf_append_text(out, "{\"error\":");
    put_error(out, code, text, false);
    buf_append_text(out, "}");
}

void gateway_refuse_plainly(struct gateway_call *call, enum grpc_code code, const char *text)
{
    struct exchange *exchange = call->base.exchange;

    call->base.end.error = text;
    door_call_over(&call->base, code);
    gateway_refuse_exchange(gateway_of(call), exchange, code, text);
}

void gateway_refuse(struct gateway_call *call, enum grpc_code code, const char *text)
{
    struct exchange_head head = {.status = http_status(code), .content_type = json_type};
    struct exchange *exchange = call->base.exchange;
    bool begun = call->base.state == CALL_STREAM;
    bool raw = call->base.rpc.raw;
    struct buf *out;

    if (call->base.rpc.row->kind == RPC_UNARY) {
        gateway_refuse_plainly(call, code, text);
        return;
    }
    call->base.end.error = text;
    door_call_over(&call->base, code);
    out = door_scratch(&call->base.door->scratch);
    put_stream_error(out, code, text);
    if (!begun) {
        exchange_answer(exchange, &head, buf_slice(out));
        return;
    }
    if (raw) {
        exchange_abort(exchange); /* there is no room for words between the bytes */
        return;
    }
    buf_append_text(out, "\n");
    exchange_send(exchange, buf_slice(out));
    exchange_end(exchange);
}

/* ---- unary ---- */

static void count_sent(struct gateway_call *call)
{
    if (call->base.door->config.metrics != NULL)
        call->base.door->config.metrics->rpcs[call->base.rpc.row->id].sent++;
}

/* As etcd, whose gateway is a gRPC client of its own server; here the bytes are those of JSON. */
static void count_bytes(struct gateway_call *call, size_t bytes)
{
    if (call->base.door->config.metrics != NULL)
        call->base.door->config.metrics->grpc_sent_bytes += bytes;
}

/* End the call with the JSON in `out`, if it could be written. */
static void reply_json(struct gateway_call *call, struct buf *out, bool written)
{
    static const struct exchange_head head = {
        .status = 200, .content_type = json_type, .fields = grpc_field};
    struct exchange *exchange = call->base.exchange;

    must(call->base.state == CALL_WAITING && call->base.rpc.row->kind == RPC_UNARY);
    if (!written) {
        gateway_refuse(call, GRPC_RESOURCE_EXHAUSTED, "grpc: the answer is larger than max");
        return;
    }
    count_sent(call);
    count_bytes(call, buf_used(out));
    door_call_over(&call->base, GRPC_OK);
    exchange_answer(exchange, &head, buf_slice(out));
}

static void op_reply(struct call *rpc, const ProtobufCMessage *response)
{
    struct gateway_call *call = of_call(rpc);
    struct buf *out = door_scratch(&call->base.door->scratch);

    must(response->descriptor == call->base.rpc.row->response);
    call->base.end.response = response;
    reply_json(call, out, pbjson_write(response, PBJSON_GATEWAY, out));
}

static void op_reply_packed(struct call *rpc, struct slice message)
{
    struct gateway_call *call = of_call(rpc);
    struct buf *out = door_scratch(&call->base.door->scratch);

    call->base.end.bytes = message.size;
    reply_json(call, out,
               pbjson_write_encoded(call->base.rpc.row->response, message, PBJSON_GATEWAY, out));
}

/* ---- ranges ---- */

#define AHEAD_MAX 12 /* of 1 KiB each they fit into the processor's first cache */

struct ahead {
    struct slice key_values[AHEAD_MAX]; /* borrowed from the source */
    size_t count;
};

/* Key-values that come next; false behind the last. They lie far apart: the first one is written
 * while the others come nearer. */
static bool look_ahead(struct kv_source *source, struct ahead *ahead, size_t json_bytes)
{
    size_t most = source->lasting ? AHEAD_MAX : 1, bytes = 0;

    for (ahead->count = 0; ahead->count < most && bytes < json_bytes; ahead->count++) {
        struct slice *key_value = &ahead->key_values[ahead->count];

        if (!source->next(source, key_value))
            return ahead->count != 0;
        slice_prefetch(*key_value);
        bytes += key_value->size / 3 * 4;
    }
    return true;
}

static bool put_key_values(struct gateway_call *call, struct buf *out, const struct ahead *ahead)
{
    for (size_t i = 0; i < ahead->count; i++) {
        struct slice key_value = ahead->key_values[i];

        buf_append_text(out, call->range_first ? ",\"kvs\":[" : ",");
        call->range_first = false;
        call->base.end.bytes += pb_bytes_field_bytes(key_value.size);
        call->base.end.key_values++;
        if (!pbjson_write_encoded(&mvccpb__key_value__descriptor, key_value, PBJSON_GATEWAY, out))
            return false;
    }
    return true;
}

/* One piece of about RANGE_CHUNK_BYTES; sets *ended behind the last. False: `source` is damaged. */
static bool put_piece(struct gateway_call *call, struct buf *out, bool *ended)
{
    struct ahead ahead;

    *ended = false;
    while (buf_used(out) < RANGE_CHUNK_BYTES) {
        if (!look_ahead(call->source, &ahead, RANGE_CHUNK_BYTES - buf_used(out))) {
            bool more = call->source->more(call->source);

            if (!call->range_first)
                buf_append_text(out, "]");
            buf_append_text(out, more ? ",\"more\":true}" : "}");
            *ended = true;
            return true;
        }
        if (!put_key_values(call, out, &ahead))
            return false;
    }
    return true;
}

void gateway_drop_range(struct door_call *base)
{
    struct gateway_call *call = CONTAINER_OF(base, struct gateway_call, base);

    if (call->source != NULL)
        call->source->free(call->source);
    call->source = NULL;
}

static void range_over(struct gateway_call *call)
{
    gateway_drop_range(&call->base);
    door_call_over(&call->base, GRPC_OK);
}

/* Write pieces until the end, or the link is full. */
static void go_on(struct gateway_call *call)
{
    struct exchange *exchange = call->base.exchange;
    bool ended = false;

    for (int pieces = 0; !exchange_full(exchange); pieces++) {
        struct buf *out;

        if (pieces == PIECES_PER_TURN) {
            exchange_again(exchange);
            return;
        }
        out = door_scratch(&call->base.door->scratch);
        if (!put_piece(call, out, &ended)) {
            range_over(call);
            exchange_abort(exchange);
            return;
        }
        count_bytes(call, buf_used(out));
        exchange_send(exchange, buf_slice(out));
        if (ended) {
            range_over(call);
            exchange_end(exchange);
            return;
        }
    }
    call->full_since_ms = exchange->link->clock->now_ms;
}

static void on_range_turn(struct exchange *exchange)
{
    go_on(exchange->state);
}

static void op_reply_range(struct call *rpc, const ProtobufCMessage *response,
                           struct kv_source *source)
{
    static const struct exchange_head head = {
        .status = 200, .content_type = json_type, .fields = grpc_field};
    struct gateway_call *call = of_call(rpc);
    struct exchange *exchange = call->base.exchange;
    struct buf *out = door_scratch(&call->base.door->scratch);
    bool ended, good;

    must(call->base.state == CALL_WAITING && call->base.rpc.row->kind == RPC_UNARY);
    must(pbjson_write(response, PBJSON_GATEWAY, out));          /* a header and a count */
    must(buf_used(out) > 2 && out->data[out->size - 1] == '}'); /* the header is always there */
    out->size--;
    count_sent(call);
    if (call->base.door->config.metrics != NULL)
        metrics_call_handled(call->base.door->config.metrics, call->base.rpc.row, GRPC_OK);
    call->base.state = CALL_RANGE;
    call->source = source;
    call->range_first = true;
    call->base.end.response = response;
    good = put_piece(call, out, &ended);
    count_bytes(call, good ? buf_used(out) : 0);
    if (!good || ended)
        range_over(call);
    if (!good)
        gateway_refuse_exchange(gateway_of(call), exchange, GRPC_INTERNAL,
                                "a stored key-value cannot be decoded: check this member's data");
    else if (ended)
        exchange_answer(exchange, &head, buf_slice(out));
    if (!good || ended)
        return;
    call->base.end.response = NULL; /* it dies with this call */
    call->base.end.bytes += protobuf_c_message_get_packed_size(response);
    call->base.end.count = ((const Etcdserverpb__RangeResponse *)(const void *)response)->count;
    exchange->turn = on_range_turn;
    exchange->holds_view = true;
    exchange_begin(exchange, &head);
    exchange_send(exchange, buf_slice(out));
    go_on(call);
}

/* ---- streams ---- */

static bool send_line(struct gateway_call *call, struct exchange *exchange, const struct buf *line)
{
    static const struct exchange_head head = {
        .status = 200, .content_type = json_type, .fields = grpc_field};

    count_sent(call);
    count_bytes(call, buf_used(line));
    if (call->base.state == CALL_WAITING) {
        exchange_begin(exchange, &head);
        call->base.state = CALL_STREAM;
    }
    exchange_send(exchange, buf_slice(line));
    call->base.paused = exchange_full(exchange);
    return !call->base.paused;
}

/* With a digest to come behind it the body is of no told length: HTTP/1 has trailers for
 * such only. */
static void begin_raw(struct gateway_call *call, uint64_t body_bytes)
{
    struct exchange_head head = {
        .status = 200, .content_type = "application/octet-stream", .fields = grpc_field};
    char fields[128];

    if (call->digest) {
        (void)snprintf(fields, sizeof(fields),
                       "%sTrailer: Content-Digest\r\nSnapshot-Length: %" PRIu64 "\r\n", grpc_field,
                       body_bytes);
        head.fields = fields;
    } else {
        head.body_bytes = body_bytes;
    }
    exchange_begin(call->base.exchange, &head);
    call->base.state = CALL_STREAM;
}

/* The bytes of a snapshot: what is to come, and the hash behind it, make the length. */
static bool send_blob(struct gateway_call *call, const ProtobufCMessage *message)
{
    const Etcdserverpb__SnapshotResponse *piece =
        (const Etcdserverpb__SnapshotResponse *)(const void *)message; /* the row's type */
    struct exchange *exchange = call->base.exchange;

    must(message->descriptor == &etcdserverpb__snapshot_response__descriptor);
    count_sent(call);
    count_bytes(call, piece->blob.len);
    if (call->base.state == CALL_WAITING)
        begin_raw(call, piece->remaining_bytes + piece->blob.len + SHA256_BYTES);
    if (call->digest)
        call->crc = crc32c(call->crc, piece->blob.data, piece->blob.len);
    exchange_send(exchange, pb_slice(piece->blob));
    call->base.paused = exchange_full(exchange);
    return !call->base.paused;
}

static bool op_send(struct call *rpc, const ProtobufCMessage *message)
{
    struct gateway_call *call = of_call(rpc);
    struct exchange *exchange = call->base.exchange;
    struct buf *out = door_scratch(&call->base.door->scratch);

    must((call->base.state == CALL_WAITING || call->base.state == CALL_STREAM) &&
         call->base.rpc.row->kind != RPC_UNARY);
    if (rpc->raw)
        return send_blob(call, message);
    buf_append_text(out, "{\"result\":");
    (void)pbjson_write(message, PBJSON_GATEWAY, out); /* overflow shows at the link: it closes */
    buf_append_text(out, "}\n");
    return send_line(call, exchange, out);
}

/* As op_send(); the events' JSON is made once for all gateway calls that send it. */
static bool op_send_events(struct call *rpc, const ProtobufCMessage *response,
                           const struct watch_message *events)
{
    struct gateway_call *call = of_call(rpc);
    struct exchange *exchange = call->base.exchange;
    struct buf *out = door_scratch(&call->base.door->scratch);
    const struct watch_hit *hit = events->first;

    must(call->base.state == CALL_WAITING || call->base.state == CALL_STREAM);
    buf_append_text(out, "{\"result\":");
    must(pbjson_write(response, PBJSON_GATEWAY, out));          /* a header and some numbers */
    must(buf_used(out) > 2 && out->data[out->size - 1] == '}'); /* the header is always there */
    out->size--;
    buf_append_text(out, ",\"events\":[");
    for (size_t i = 0; i < events->count; i++, hit = hit->next) {
        if (i != 0)
            buf_append_byte(out, ',');
        buf_append_slice(out, watch_event_json(hit->event, events->previous));
    }
    buf_append_text(out, "]}}\n");
    return send_line(call, exchange, out);
}

void gateway_drained(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;

    if (call->base.state == CALL_RANGE) {
        call->base.end.waited_ms += exchange->link->clock->now_ms - call->full_since_ms;
        go_on(call);
        return;
    }
    door_call_resume(&call->base);
}

/* The digest in words of RFC 9530: base64 of the four bytes, the highest first. */
static void end_with_digest(struct gateway_call *call, struct exchange *exchange)
{
    const uint8_t crc[] = {(uint8_t)(call->crc >> 24), (uint8_t)(call->crc >> 16),
                           (uint8_t)(call->crc >> 8), (uint8_t)call->crc};
    struct buf *out = door_scratch(&call->base.door->scratch);

    buf_append_text(out, "content-digest: crc32c=:");
    must(base64_encode(slice_of(crc, sizeof(crc)), out));
    buf_append_text(out, ":\r\n");
    exchange_trail(exchange, NULL, buf_text(out));
}

static void op_finish(struct call *rpc, enum err_code code, const char *text)
{
    static const struct exchange_head silent = {.status = 200}; /* nothing is of no type */
    struct gateway_call *call = of_call(rpc);
    struct exchange *exchange = call->base.exchange;
    enum door_call_state state = call->base.state;

    must(state == CALL_WAITING || state == CALL_STREAM);
    if (code != ERR_OK) {
        gateway_refuse(call, err_grpc_code(code), text != NULL ? text : err_text(code));
        return;
    }
    must(call->base.rpc.row->kind != RPC_UNARY);
    door_call_over(&call->base, GRPC_OK);
    if (state == CALL_WAITING)
        exchange_answer(exchange, &silent, SLICE_EMPTY);
    else if (call->digest)
        end_with_digest(call, exchange);
    else
        exchange_end(exchange);
}

const struct call_ops gateway_call_ops = {
    .reply = op_reply,
    .reply_packed = op_reply_packed,
    .reply_range = op_reply_range,
    .send = op_send,
    .send_events = op_send_events,
    .finish = op_finish,
};

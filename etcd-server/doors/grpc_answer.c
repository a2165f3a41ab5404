/*
 * grpc_answer.c - the answering half of grpc.h: what call->ops do, and statuses.
 *
 *   reply        HEADERS, prefix and message, trailers
 *   reply_range  the same, the encoded key-values copied as they are; a large one: grpc_range.c
 *   send         prefix and message
 *   send_events  the same; the encoded events are copied as they are
 *   send_packed  the same; all of it is encoded
 *   finish       trailers; alone when nothing was sent
 */
#include "etcd-server/doors/grpc_internal.h"

#include "common/base/limits.h"
#include "common/schema/rpc.pb-c.h"
#include "common/schema/pbwire.h"
#include "etcd-server/state/watch.h"

#include <stdio.h>

#define STATUS_BYTES (3 * ERR_TEXT_MAX + 64) /* trailers: a text may need three bytes for each */
#define RANGE_MORE_FIELD 3
#define WATCH_EVENTS_FIELD 11 /* of WatchResponse */

static const char grpc_type[] = "application/grpc";

static struct grpc_call *of_call(struct call *rpc)
{
    return CONTAINER_OF(rpc, struct grpc_call, base.rpc);
}

/* ---- statuses ---- */

/* "grpc-status: 3\r\ngrpc-message: ...\r\n"; the text percent-encoded (gRPC over HTTP/2). */
static void put_status(char out[STATUS_BYTES], enum grpc_code code, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t at = (size_t)snprintf(out, 48, "grpc-status: %d\r\ngrpc-message: ", (int)code);

    for (; *text != '\0' && at < STATUS_BYTES - 8; text++) {
        uint8_t c = (uint8_t)*text;

        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[at++] = (char)c;
            continue;
        }
        out[at++] = '%';
        out[at++] = digits[c >> 4];
        out[at++] = digits[c & 15];
    }
    memcpy(out + at, "\r\n", 3);
}

void grpc_refuse_exchange(struct exchange *exchange, enum grpc_code code, const char *text)
{
    static const struct exchange_head head = {.status = 200, .content_type = grpc_type};
    char status[STATUS_BYTES];

    put_status(status, code, text);
    exchange_trail(exchange, &head, status);
}

void grpc_refuse(struct grpc_call *call, enum grpc_code code, const char *text)
{
    struct exchange *exchange = call->base.exchange;

    call->base.end.error = code != GRPC_OK ? text : NULL;
    door_call_over(&call->base, code);
    grpc_refuse_exchange(exchange, code, text);
}

/* ---- messages ---- */

void grpc_begin(struct grpc_call *call)
{
    struct exchange_head head = {.status = 200,
                                 .content_type = grpc_type,
                                 .fields = call->gzip ? "grpc-encoding: gzip\r\n" : NULL};

    exchange_begin(call->base.exchange, &head);
}

void grpc_end(struct grpc_call *call)
{
    struct exchange *exchange = call->base.exchange;

    door_call_over(&call->base, GRPC_OK);
    exchange_trail(exchange, NULL, "grpc-status: 0\r\ngrpc-message: \r\n");
}

void grpc_put_prefix(uint8_t prefix[GRPC_PREFIX_BYTES], bool compressed, size_t bytes)
{
    prefix[0] = compressed;
    prefix[1] = (uint8_t)(bytes >> 24);
    prefix[2] = (uint8_t)(bytes >> 16);
    prefix[3] = (uint8_t)(bytes >> 8);
    prefix[4] = (uint8_t)bytes;
}

void grpc_count_sent(struct grpc_call *call, size_t bytes)
{
    struct metrics *metrics = call->base.door->config.metrics;

    if (metrics == NULL)
        return;
    metrics->rpcs[call->base.rpc.row->id].sent++;
    metrics->grpc_sent_bytes += bytes;
}

void grpc_refuse_large(struct grpc_call *call, uint64_t bytes)
{
    char text[112];

    (void)snprintf(text, sizeof(text),
                   "grpc: trying to send message larger than max (%" PRIu64 " vs. %lu)", bytes,
                   GRPC_MESSAGE_MAX_BYTES);
    grpc_refuse(call, GRPC_RESOURCE_EXHAUSTED, text);
}

/* Send what lies in `frame` behind room for its prefix; compressed if the call is. */
static void send_frame(struct grpc_call *call, struct buf *frame)
{
    struct grpc *grpc = grpc_of(call);
    struct slice whole = buf_slice(frame);

    if (call->gzip) {
        struct buf *packed = door_scratch(&grpc->packed);
        uint8_t zeros[GRPC_PREFIX_BYTES] = {0};

        buf_append(packed, zeros, sizeof(zeros));
        if (grpc_gzip_pack(grpc->gzip,
                           slice_of(whole.data + GRPC_PREFIX_BYTES, whole.size - GRPC_PREFIX_BYTES),
                           packed))
            frame = packed;
    }
    grpc_put_prefix(frame->data + frame->start, frame == &grpc->packed,
                    buf_used(frame) - GRPC_PREFIX_BYTES);
    grpc_count_sent(call, buf_used(frame));
    exchange_send(call->base.exchange, buf_slice(frame));
}

/* `message` behind room for its prefix, in the scratch buffer; NULL: it is too large. */
static struct buf *encode(struct grpc_call *call, const ProtobufCMessage *message, size_t *size)
{
    struct buf *out = door_scratch(&call->base.door->scratch);
    uint8_t *room;

    *size = protobuf_c_message_get_packed_size(message);
    if (*size > GRPC_MESSAGE_MAX_BYTES)
        return NULL;
    room = buf_reserve(out, GRPC_PREFIX_BYTES + *size);
    if (room == NULL)
        return NULL;
    must(protobuf_c_message_pack(message, room + GRPC_PREFIX_BYTES) == *size);
    buf_advance(out, GRPC_PREFIX_BYTES + *size);
    return out;
}

static void op_reply(struct call *rpc, const ProtobufCMessage *response)
{
    struct grpc_call *call = of_call(rpc);
    struct buf *out;
    size_t size;

    must(call->base.state == CALL_WAITING && call->base.rpc.row->kind == RPC_UNARY);
    must(response->descriptor == call->base.rpc.row->response);
    out = encode(call, response, &size);
    if (out == NULL) {
        grpc_refuse_large(call, size);
        return;
    }
    grpc_begin(call);
    send_frame(call, out);
    call->base.end.response = response;
    grpc_end(call);
}

/* `message` behind room for its prefix, in the scratch buffer. */
static struct buf *frame_packed(struct grpc_call *call, struct slice message)
{
    struct buf *out = door_scratch(&call->base.door->scratch);
    uint8_t prefix[GRPC_PREFIX_BYTES] = {0};

    buf_append(out, prefix, sizeof(prefix));
    buf_append_slice(out, message);
    return out;
}

static void op_reply_packed(struct call *rpc, struct slice message)
{
    struct grpc_call *call = of_call(rpc);

    must(call->base.state == CALL_WAITING && call->base.rpc.row->kind == RPC_UNARY);
    if (message.size > GRPC_MESSAGE_MAX_BYTES) {
        grpc_refuse_large(call, message.size);
        return;
    }
    grpc_begin(call);
    send_frame(call, frame_packed(call, message));
    call->base.end.bytes = message.size;
    grpc_end(call);
}

/* ---- ranges ---- */

static bool put_key_value(struct buf *out, struct slice key_value)
{
    uint8_t *room = buf_reserve(out, pb_bytes_field_bytes(key_value.size));

    if (room == NULL)
        return false;
    (void)pb_put_bytes(room, RANGE_KVS_FIELD, key_value);
    buf_advance(out, pb_bytes_field_bytes(key_value.size));
    return true;
}

static void op_reply_range(struct call *rpc, const ProtobufCMessage *response,
                           struct kv_source *source)
{
    static const uint8_t more[] = {PB_TAG(RANGE_MORE_FIELD, PB_VARINT), 1};
    struct grpc_call *call = of_call(rpc);
    struct shared_pieces pieces = {.count = 0};
    struct slice key_value;
    struct buf *out;
    size_t size, most, count = 0;

    must(call->base.state == CALL_WAITING && call->base.rpc.row->kind == RPC_UNARY);
    out = encode(call, response, &size);
    must(out != NULL); /* a header and a count */
    call->base.end.count = ((const Etcdserverpb__RangeResponse *)(const void *)response)->count;
    most = call->gzip ? GRPC_RANGE_GZIP_BYTES : GRPC_RANGE_WHOLE_BYTES;
    if (source->pieces(source, &pieces, &count)) {
        if (buf_used(out) + pieces.bytes > most) {
            grpc_range_lend(call, out, source, &pieces, count);
            return;
        }
        for (size_t i = 0; i < pieces.count; i++)
            must(buf_append_slice(out, pieces.all[i].bytes));
    }
    while (pieces.count == 0 && source->next(source, &key_value)) {
        if (buf_used(out) + key_value.size > most) {
            grpc_range_start(call, out, count, source, key_value);
            return;
        }
        must(put_key_value(out, key_value));
        count++;
    }
    if (source->more(source))
        buf_append(out, more, sizeof(more));
    source->free(source);
    grpc_begin(call);
    call->base.end.bytes = buf_used(out) - GRPC_PREFIX_BYTES;
    call->base.end.key_values = count;
    send_frame(call, out);
    grpc_end(call);
}

/* ---- streams ---- */

/* Send the frame made for a stream, beginning the answer if need be. As op_send(). */
static bool send_on(struct grpc_call *call, struct buf *out)
{
    if (call->base.state == CALL_WAITING) {
        grpc_begin(call);
        call->base.state = CALL_STREAM;
    }
    if (out != NULL && !out->overflow &&
        buf_used(out) - GRPC_PREFIX_BYTES <= GRPC_MESSAGE_MAX_BYTES)
        send_frame(call, out);
    else /* the stream has a gap: end it so that the client notices */
        grpc_end_soon(call);
    call->base.paused = exchange_full(call->base.exchange);
    return !call->base.paused;
}

static bool may_send(const struct grpc_call *call)
{
    return (call->base.state == CALL_WAITING || call->base.state == CALL_STREAM) &&
           call->base.rpc.row->kind != RPC_UNARY;
}

static bool op_send(struct call *rpc, const ProtobufCMessage *message)
{
    struct grpc_call *call = of_call(rpc);
    size_t size;

    must(may_send(call));
    return send_on(call, encode(call, message, &size));
}

static bool op_send_packed(struct call *rpc, struct slice message)
{
    struct grpc_call *call = of_call(rpc);

    must(may_send(call));
    return send_on(call, frame_packed(call, message));
}

static bool op_send_events(struct call *rpc, const ProtobufCMessage *head,
                           const struct watch_message *events)
{
    struct grpc_call *call = of_call(rpc);
    const struct watch_hit *hit = events->first;
    size_t size;
    struct buf *out = encode(call, head, &size);

    must(may_send(call) && out != NULL);
    for (size_t i = 0; i < events->count; i++, hit = hit->next) {
        struct slice event = hit->event->wire[events->previous];
        uint8_t *room = buf_reserve(out, pb_bytes_field_bytes(event.size));

        if (room == NULL)
            break;
        (void)pb_put_bytes(room, WATCH_EVENTS_FIELD, event);
        buf_advance(out, pb_bytes_field_bytes(event.size));
    }
    return send_on(call, out);
}

void grpc_drained(struct exchange *exchange)
{
    door_call_resume(exchange->state);
}

static void op_finish(struct call *rpc, enum err_code code, const char *text)
{
    struct grpc_call *call = of_call(rpc);

    must(call->base.state == CALL_WAITING || call->base.state == CALL_STREAM);
    if (code != ERR_OK) {
        grpc_refuse(call, err_grpc_code(code), text != NULL ? text : err_text(code));
        return;
    }
    must(call->base.rpc.row->kind != RPC_UNARY);
    if (call->base.state == CALL_WAITING)
        grpc_refuse(call, GRPC_OK, "");
    else
        grpc_end(call);
}

const struct call_ops grpc_call_ops = {
    .reply = op_reply,
    .reply_packed = op_reply_packed,
    .reply_range = op_reply_range,
    .send = op_send,
    .send_events = op_send_events,
    .send_packed = op_send_packed,
    .finish = op_finish,
};

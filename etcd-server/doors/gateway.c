/*
 * gateway.c - see gateway.h: routing, metadata, the way of a request to its handler.
 *
 *   exchange -> row of the path -> headers -> JSON -> call -> config.start()
 *   BIDI: JSON, JSON, ... whole or as they come -> call.message(), one per turn, each in memory of
 *   its own
 *   ... and its other ends: the client went, its deadline passed, the server stops.
 */
#include "etcd-server/doors/gateway_internal.h"

#include "common/base/base64.h"
#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/pbjson.h"
#include "etcd-server/doors/accept.h"

#include <stdio.h>

/* ---- the door ---- */

static void refuse(struct door_call *base, enum grpc_code code, const char *text)
{
    gateway_refuse(CONTAINER_OF(base, struct gateway_call, base), code, text);
}

static const struct door_ways ways = {.ops = &gateway_call_ops,
                                      .refuse = refuse,
                                      .drop_range = gateway_drop_range,
                                      .drained = gateway_drained};

struct gateway *gateway_new(const struct door_config *config)
{
    struct gateway *gateway = xalloc(sizeof(*gateway));

    door_init(&gateway->door, config, &ways);
    return gateway;
}

void gateway_free(struct gateway *gateway)
{
    if (gateway == NULL)
        return;
    door_fini(&gateway->door);
    free(gateway);
}

static void on_deadline(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;

    if (call->base.state == CALL_RANGE)
        return; /* answered in time; how long the client takes to read is its own affair */
    door_call_cancel(&call->base);
    gateway_refuse(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

/* ---- metadata (api.md 12.8) ---- */

static bool set_text(struct gateway_call *call, const char **text, struct slice value)
{
    *text = arena_strndup(&call->base.rpc.arena, value.data, value.size);
    return *text != NULL;
}

/*
 * As a gateway of etcd reads it: with a sign if one likes; 0 and nothing at all mean no deadline,
 * less than that is over already, which is said when the message is sound. False: the call was
 * refused.
 */
static bool take_timeout(struct gateway_call *call, struct slice value)
{
    uint64_t timeout_ns = 0, timeout_ms, now_ms = call->base.exchange->link->clock->now_ms;
    bool negative = value.size > 1 && value.data[0] == '-';
    struct slice number = value;
    char text[96];

    if (value.size == 0)
        return true;
    if (negative || (value.size > 1 && value.data[0] == '+'))
        number = slice_of(value.data + 1, value.size - 1);
    if (!call_timeout_parse(number, CALL_TIMEOUT_DIGITS, &timeout_ns)) {
        (void)snprintf(text, sizeof(text), "invalid grpc-timeout: %.*s", (int)MIN(value.size, 40),
                       (const char *)value.data);
        gateway_refuse_plainly(call, GRPC_INVALID_ARGUMENT, text);
        return false;
    }
    if (timeout_ns == 0)
        return true;
    timeout_ms = negative ? 0 : timeout_ns / (uint64_t)NS_PER_MS;
    if (timeout_ms == 0) {
        call->expired = true;
        return true;
    }
    call->base.rpc.deadline_ms = now_ms + MIN(timeout_ms, DEADLINE_FAR_MS);
    call->base.exchange->wake = on_deadline;
    exchange_wake_at(call->base.exchange, call->base.rpc.deadline_ms);
    return true;
}

/* A snapshot's bytes as they are, for who asks for them by name and does not prefer JSON; else, and
 * in a WebSocket, base64 in lines of JSON. */
static bool wants_raw(const struct rpc_row *row, const struct exchange *exchange)
{
    return row->id == RPC_Maintenance_Snapshot && !exchange->in_pieces &&
           accept_prefers(exchange, "application/octet-stream", "application/json");
}

/* Who takes trailers is told the digest of the bytes in one, behind them (RFC 9110 10.1.4). */
static bool wants_digest(const struct exchange *exchange)
{
    struct slice value;

    return exchange_field(exchange, "te", &value) && accept_lists(value, "trailers");
}

static void refuse_expired(struct gateway_call *call)
{
    gateway_refuse_plainly(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

/* Metadata named ...-bin is base64. False: it is not, and the call was refused. */
static bool check_binary(struct gateway_call *call, struct slice name, struct slice value)
{
    static const struct slice suffix = SLICE_LITERAL("-bin");
    size_t size = 0;
    uint8_t *bytes;
    char text[128];
    bool good;

    if (name.size < suffix.size ||
        !exchange_name_is(slice_of(name.data + name.size - suffix.size, suffix.size), "-bin"))
        return true;
    bytes = xalloc(BASE64_DECODED_MAX(value.size));
    good = base64_decode(value, bytes, &size);
    free(bytes);
    if (good)
        return true;
    (void)snprintf(text, sizeof(text), "invalid binary header %.*s: illegal base64 data",
                   (int)MIN(name.size, 64), (const char *)name.data);
    gateway_refuse_plainly(call, GRPC_INVALID_ARGUMENT, text);
    return false;
}

/*
 * Was it the other end of this connection who said that its certificate is the user? Not who only
 * passes on what others sent him: the header has to be named in Connection, which is for one hop
 * and not to be passed on (RFC 9110 7.6.1), and nothing may tell of a proxy.
 */
static bool is_of_this_hop(const struct exchange *exchange, const char *name)
{
    static const char *const of_proxies[] = {"via", "forwarded", "x-forwarded-for", "x-real-ip"};
    struct slice value;

    for (size_t i = 0; i < ARRAY_LEN(of_proxies); i++)
        if (exchange_field(exchange, of_proxies[i], &value))
            return false;
    return exchange_field(exchange, "connection", &value) && accept_lists(value, name);
}

static bool take_metadata(struct gateway_call *call, struct slice *version)
{
    static const char prefix[] = "grpc-metadata-", certificate_user[] = "etcd-certificate-user";
    const struct exchange *exchange = call->base.exchange;
    const char *authorization = NULL;
    bool ok = true;

    for (size_t i = 0; i < exchange->field_count && ok; i++) {
        struct slice name = exchange->fields[i].name, value = exchange->fields[i].value;

        if (name.size < 12 || (name.data[0] | 32) > 'g') /* most headers, quickly */
            continue;
        if (exchange_name_is(name, "authorization")) {
            ok = set_text(call, &authorization, value);
        } else if (exchange_name_is(name, "grpc-timeout")) {
            if (!take_timeout(call, value))
                return false;
        } else if (exchange_name_is(name, certificate_user)) {
            call->base.rpc.as_certificate = slice_equal(value, SLICE_LITERAL("true")) &&
                                            is_of_this_hop(exchange, certificate_user);
        } else if (exchange_name_starts(name, prefix)) {
            if (!check_binary(call, name, value))
                return false;
            name = slice_of(name.data + sizeof(prefix) - 1, name.size - sizeof(prefix) + 1);
            if (exchange_name_is(name, "token"))
                ok = set_text(call, &call->base.rpc.token, value);
            else if (exchange_name_is(name, "authorization"))
                ok = set_text(call, &authorization, value);
            else if (exchange_name_is(name, "hasleader"))
                call->base.rpc.require_leader = slice_equal(value, SLICE_LITERAL("true"));
            else if (exchange_name_is(name, "client-api-version"))
                *version = value;
        }
    }
    must(ok); /* headers are far below the arena's maximum */
    if (call->base.rpc.token == NULL)
        call->base.rpc.token = authorization;
    return true;
}

/* ---- messages ---- */

static bool too_large(struct gateway_call *call, uint64_t bytes)
{
    char text[128];

    if (bytes <= call->base.door->config.max_message_bytes)
        return false;
    (void)snprintf(text, sizeof(text),
                   "grpc: received message larger than max (%" PRIu64 " vs. %zu)", bytes,
                   call->base.door->config.max_message_bytes);
    gateway_refuse(call, GRPC_RESOURCE_EXHAUSTED, text);
    return true;
}

/*
 * The first message, of `text`; NULL and refused when it is malformed or too large. No message to a
 * LeaseKeepAlive is, as behind the first one, the client's end, as in etcd: an answer of nothing.
 * (To a Watch, too; but there etcd says nothing for ever.)
 */
static ProtobufCMessage *take_message(struct gateway_call *call, struct slice text)
{
    struct arena *arena = &call->base.message_arena;
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;

    if (pbjson_parse(call->base.rpc.row->request, text, NULL, arena, &message, &err) < 0) {
        if (err.code == ERR_NO_MEMORY)
            gateway_refuse(call, GRPC_RESOURCE_EXHAUSTED, err.text);
        else if (call->base.rpc.row->id == RPC_Lease_LeaseKeepAlive)
            call->ended_by_words = true;
        else if (call->base.rpc.row->kind == RPC_BIDI)
            gateway_refuse(call, GRPC_INVALID_ARGUMENT, err.text);
        else
            gateway_refuse_plainly(call, GRPC_INVALID_ARGUMENT, err.text);
        return NULL;
    }
    if (call->base.door->config.metrics != NULL)
        call->base.door->config.metrics->grpc_received_bytes += text.size;
    /* JSON is never shorter than the message it stands for */
    if (text.size > call->base.door->config.max_message_bytes &&
        too_large(call, protobuf_c_message_get_packed_size(message)))
        return NULL;
    return call->base.rpc.row->kind == RPC_BIDI ? message : call_message_lean(message, arena);
}

#define PIECE_BYTES (8UL * KIB) /* a value that is longer and not whole may be any length */

/* What was sent and does not wait here any longer is used up: the client may send more. */
static void take_pieces(struct gateway_call *call)
{
    size_t left = buf_used(&call->base.in);
    size_t bytes = call->untaken_bytes - MIN(left, call->untaken_bytes);

    call->base.exchange->wants_bytes =
        left > PIECE_BYTES ? 2 * call->base.door->config.max_message_bytes + 1 : 0;
    call->untaken_bytes -= bytes;
    exchange_taken(call->base.exchange, bytes);
}

/* Nothing of it will be looked at. */
static void ignore_pieces(struct gateway_call *call)
{
    buf_reset(&call->base.in);
    take_pieces(call);
}

/*
 * The next value of `in`, which stays there; at the client's end what is left, be it blank. False:
 * it is not there yet.
 */
static bool next_value(struct gateway_call *call, struct slice *value)
{
    struct slice in = buf_slice(&call->base.in);
    size_t bytes = in.size;

    if (!json_split_next(&call->split, in, &bytes) && !call->base.end_seen)
        return false;
    *value = json_skip_blanks(slice_of(in.data, bytes));
    return true;
}

static void drop_value(struct gateway_call *call, struct slice value)
{
    if (buf_used(&call->base.in) != 0)
        buf_consume(&call->base.in,
                    (size_t)(value.data + value.size - buf_slice(&call->base.in).data));
}

/* A value that is not whole is longer than any message needs to be: base64 adds a third. */
static bool endless(const struct gateway_call *call)
{
    return buf_used(&call->base.in) > 2 * call->base.door->config.max_message_bytes;
}

/* BIDI: hand the next message on, or the end of them; one per turn. */
static void on_turn(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;
    struct slice value;

    if (call->base.state == CALL_READING || call->base.end_told || call->base.paused ||
        call->base.rpc.message == NULL)
        return; /* paused: resumed by drained */
    if (!next_value(call, &value)) {
        if (endless(call)) {
            door_call_cancel(&call->base);
            must(too_large(call, buf_used(&call->base.in)));
        } else {
            take_pieces(call);
        }
        return;
    }
    if (value.size != 0 && pbjson_parse(call->base.rpc.row->request, value, NULL,
                                        &call->base.message_arena, &message, &err) < 0)
        message = NULL; /* what is no message behind the first one is the client's end */
    drop_value(call, value);
    call->base.end_told = message == NULL;
    if (message != NULL) {
        if (call->base.door->config.metrics != NULL)
            call->base.door->config.metrics->rpcs[call->base.rpc.row->id].received++;
        exchange_again(exchange);
    } else {
        ignore_pieces(call);
    }
    call->base.rpc.message(&call->base.rpc, message); /* may end the call */
    door_call_rest(&call->base);
}

/* Hand the call to its handler as soon as its first message is there. */
static void start_with_first(struct gateway_call *call)
{
    bool bidi = call->base.rpc.row->kind == RPC_BIDI;
    struct slice value;

    if (!next_value(call, &value)) {
        if (endless(call))
            must(too_large(call, buf_used(&call->base.in)));
        else
            take_pieces(call);
        return;
    }
    if (value.size != 0 || !bidi) {
        call->base.rpc.request = take_message(call, value);
        if (call->base.rpc.request == NULL && !call->ended_by_words)
            return;
    }
    drop_value(call, value);
    if (call->ended_by_words) { /* the next value is that of an end */
        call->base.end_seen = true;
        ignore_pieces(call);
    }
    if (bidi) {
        call->base.exchange->turn = on_turn;
        exchange_again(call->base.exchange);
    } else {
        ignore_pieces(call);
    }
    door_call_start(&call->base);
    if (bidi) { /* handled */
        call->base.rpc.request = NULL;
        door_call_rest(&call->base);
    }
}

static void on_data(struct exchange *exchange, struct slice bytes, bool ended)
{
    struct gateway_call *call = exchange->state;

    call->untaken_bytes += bytes.size;
    call->base.end_seen = call->base.end_seen || ended;
    if (call->base.state != CALL_READING &&
        (call->base.rpc.row->kind != RPC_BIDI || call->base.end_told)) {
        ignore_pieces(call);
        return;
    }
    if (!call->ended_by_words)
        buf_append_slice(&call->base.in, bytes);
    if (call->base.state == CALL_READING)
        start_with_first(call);
    else
        exchange_again(exchange);
}

static void start_call(struct gateway *gateway, const struct rpc_row *row,
                       struct exchange *exchange)
{
    struct door_call *base =
        door_call_new(&gateway->door, sizeof(struct gateway_call), row, exchange);
    struct gateway_call *call = CONTAINER_OF(base, struct gateway_call, base);
    struct slice version = SLICE_EMPTY;

    base->rpc.through_gateway = true;
    call->base.rpc.raw = wants_raw(row, exchange);
    call->digest = call->base.rpc.raw && wants_digest(exchange);
    if (!take_metadata(call, &version))
        return;
    if (exchange->in_pieces || row->kind == RPC_BIDI)
        door_call_count(&call->base, version);
    if (call->expired && (exchange->in_pieces || row->kind == RPC_BIDI)) {
        refuse_expired(call);
    } else if (exchange->body_too_large) {
        must(
            too_large(call, MAX(exchange->body_bytes, gateway->door.config.max_message_bytes + 1)));
    } else if (exchange->in_pieces) {
        exchange->data = on_data;
    } else if (row->kind == RPC_BIDI) {
        buf_append_slice(&call->base.in, exchange->body);
        call->base.end_seen = true;
        start_with_first(call);
    } else {
        call->base.rpc.request = take_message(call, exchange->body);
        if (call->base.rpc.request == NULL)
            return;
        if (call->expired) {
            refuse_expired(call);
            return;
        }
        door_call_count(&call->base,
                        version); /* in etcd what cannot be read does not come to gRPC */
        door_call_start(base);
    }
}

/* ---- routing (api.md 12.5) ---- */

static const struct slice prefix_v3 = SLICE_LITERAL("/v3/");
static const struct slice prefix_beta = SLICE_LITERAL("/v3beta/");

bool gateway_serves(struct slice path)
{
    return slice_starts_with(path, prefix_v3) || slice_starts_with(path, prefix_beta);
}

/* The row of a path, of its older spelling too; NULL: there is none. */
static const struct rpc_row *find_row(struct slice path)
{
    char v3[128]; /* longer than any path of the table */
    int length;

    if (!slice_starts_with(path, prefix_beta))
        return rpc_find_by_path(path);
    length = snprintf(v3, sizeof(v3), "/v3/%.*s", (int)MIN(path.size - prefix_beta.size, 200),
                      (const char *)path.data + prefix_beta.size);
    if (length <= 0 || (size_t)length >= sizeof(v3))
        return NULL;
    return rpc_find_by_path(slice_of(v3, (size_t)length));
}

bool gateway_streams(const struct exchange *exchange)
{
    const struct rpc_row *row = exchange->method == METHOD_POST ? find_row(exchange->path) : NULL;

    return row != NULL && row->kind == RPC_BIDI;
}

void gateway_start(struct gateway *gateway, struct exchange *exchange, struct slice path)
{
    const struct rpc_row *row = find_row(path);

    if (row == NULL)
        gateway_refuse_exchange(gateway, exchange, GRPC_NOT_FOUND, "Not Found");
    else if (exchange->method != METHOD_POST)
        gateway_refuse_exchange(gateway, exchange, GRPC_UNIMPLEMENTED, "Method Not Allowed");
    else
        start_call(gateway, row, exchange);
}

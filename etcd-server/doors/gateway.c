/*
 * gateway.c - see gateway.h: routing, metadata, the way of a request to its handler.
 *
 *   exchange -> row of the path -> headers -> JSON -> call -> config.start()
 *   ... and its other ends: the client went, its deadline passed, the server stops.
 *
 * A call that has ended may still be on its handler's stack (it answered from within start()), so
 * it is recycled only when the next one begins.
 */
#include "etcd-server/doors/gateway_internal.h"

#include "common/base/limits.h"
#include "common/schema/pbjson.h"

#include <stdio.h>

#define SPARE_CALLS_MAX 256            /* ended calls kept with their memory */
#define SPARE_ARENA_BYTES (64UL * KIB) /* more than that is given back */
#define TIMEOUT_DIGITS_MAX 8           /* gRPC over HTTP/2: TimeoutValue */
#define DEADLINE_FAR_MS (1ULL << 50)   /* beyond any clock */

struct gateway *gateway_new(const struct gateway_config *config)
{
    struct gateway *gateway = xalloc(sizeof(*gateway));

    gateway->config = *config;
    buf_init(&gateway->scratch, HTTP_OUT_MAX_BYTES);
    return gateway;
}

static void free_calls(struct gateway_call *call)
{
    struct gateway_call *next;

    for (; call != NULL; call = next) {
        next = call->next;
        arena_free(&call->call.arena);
        free(call);
    }
}

void gateway_free(struct gateway *gateway)
{
    if (gateway == NULL)
        return;
    free_calls(gateway->ended);
    free_calls(gateway->spare);
    buf_free(&gateway->scratch);
    free(gateway);
}

/* ---- calls ---- */

static void recycle(struct gateway *gateway)
{
    struct gateway_call *call = gateway->ended, *next;

    gateway->ended = NULL;
    for (; call != NULL; call = next) {
        next = call->next;
        call->next = NULL;
        if (gateway->spare_count == SPARE_CALLS_MAX) {
            free_calls(call);
            continue;
        }
        arena_reset(&call->call.arena);
        if (call->call.arena.used > SPARE_ARENA_BYTES)
            arena_free(&call->call.arena);
        call->next = gateway->spare;
        gateway->spare = call;
        gateway->spare_count++;
    }
}

static struct gateway_call *call_new(struct gateway *gateway, const struct rpc_row *row,
                                     struct exchange *exchange)
{
    struct gateway_call *call;
    struct arena arena;

    recycle(gateway);
    call = gateway->spare;
    if (call != NULL) {
        gateway->spare = call->next;
        gateway->spare_count--;
        arena = call->call.arena;
        *call = (struct gateway_call){.call = {.arena = arena}};
    } else {
        call = xalloc(sizeof(*call));
        arena_init(&call->call.arena, CALL_ARENA_MAX_BYTES);
    }
    call->call.arena.allocator.allocator_data = &call->call.arena;
    call->call.row = row;
    call->call.ops = &gateway_call_ops;
    call->call.through_gateway = true;
    call->call.common_name = exchange->link->common_name;
    call->gateway = gateway;
    call->exchange = exchange;
    exchange->state = call;
    return call;
}

void gateway_call_over(struct gateway_call *call, enum grpc_code code)
{
    struct gateway *gateway = call->gateway;

    must(call->state != GATEWAY_ENDED);
    if (call->counted && call->state != GATEWAY_RANGE)
        metrics_call_handled(gateway->config.metrics, call->call.row, code);
    call->state = GATEWAY_ENDED;
    call->exchange = NULL;
    call->next = gateway->ended;
    gateway->ended = call;
}

/* Take the call back from its handler, or stop the range it left. */
static void cancel(struct gateway_call *call)
{
    struct gateway *gateway = call->gateway;

    if (call->state == GATEWAY_RANGE) {
        if (call->source != NULL)
            call->source->free(call->source);
        call->source = NULL;
        return;
    }
    gateway->config.cancel(gateway->config.service, &call->call);
}

static void on_gone(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;

    cancel(call);
    gateway_call_over(call, GRPC_CANCELLED);
}

static void on_deadline(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;

    if (call->state == GATEWAY_RANGE)
        return; /* answered in time; how long the client takes to read is its own affair */
    cancel(call);
    gateway_refuse(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

static void on_stop(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;

    if (call->call.row->kind == RPC_UNARY || call->state == GATEWAY_RANGE)
        return; /* these end by themselves */
    cancel(call);
    gateway_refuse(call, GRPC_UNAVAILABLE, err_text(ERR_STOPPED));
}

/* ---- metadata (api.md 12.8) ---- */

/* "300m": up to eight digits and a unit of H M S m u n. False when it is malformed. */
static bool parse_timeout(struct slice text, uint64_t *timeout_ms)
{
    uint64_t number = 0;
    size_t digits = text.size - 1;

    if (text.size < 2 || digits > TIMEOUT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    switch (text.data[digits]) {
    case 'H':
        *timeout_ms = number * 3600000;
        return true;
    case 'M':
        *timeout_ms = number * 60000;
        return true;
    case 'S':
        *timeout_ms = number * 1000;
        return true;
    case 'm':
        *timeout_ms = number;
        return true;
    case 'u':
        *timeout_ms = number / 1000;
        return true;
    case 'n':
        *timeout_ms = number / 1000000;
        return true;
    default:
        return false;
    }
}

static bool set_text(struct gateway_call *call, const char **text, struct slice value)
{
    *text = arena_strndup(&call->call.arena, value.data, value.size);
    return *text != NULL;
}

/* False: the call was refused. */
static bool take_timeout(struct gateway_call *call, struct slice value)
{
    uint64_t timeout_ms = 0, now_ms = call->exchange->link->clock->now_ms;
    char text[96];

    if (!parse_timeout(value, &timeout_ms)) {
        (void)snprintf(text, sizeof(text), "invalid grpc-timeout: %.*s", (int)MIN(value.size, 40),
                       (const char *)value.data);
        gateway_refuse(call, GRPC_INVALID_ARGUMENT, text);
        return false;
    }
    if (timeout_ms == 0) {
        gateway_refuse(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        return false;
    }
    call->call.deadline_ms = now_ms + MIN(timeout_ms, DEADLINE_FAR_MS);
    call->exchange->wake = on_deadline;
    exchange_wake_at(call->exchange, call->call.deadline_ms);
    return true;
}

static bool take_metadata(struct gateway_call *call, struct slice *version)
{
    static const char prefix[] = "grpc-metadata-";
    const struct exchange *exchange = call->exchange;
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
        } else if (exchange_name_starts(name, prefix)) {
            name = slice_of(name.data + sizeof(prefix) - 1, name.size - sizeof(prefix) + 1);
            if (exchange_name_is(name, "token"))
                ok = set_text(call, &call->call.token, value);
            else if (exchange_name_is(name, "authorization"))
                ok = set_text(call, &authorization, value);
            else if (exchange_name_is(name, "hasleader"))
                call->call.require_leader = slice_equal(value, SLICE_LITERAL("true"));
            else if (exchange_name_is(name, "client-api-version"))
                *version = value;
        }
    }
    must(ok); /* headers are far below the arena's maximum */
    if (call->call.token == NULL)
        call->call.token = authorization;
    return true;
}

/* ---- messages ---- */

static bool too_large(struct gateway_call *call, uint64_t bytes)
{
    char text[128];

    if (bytes <= call->gateway->config.max_message_bytes)
        return false;
    (void)snprintf(text, sizeof(text),
                   "grpc: received message larger than max (%" PRIu64 " vs. %zu)", bytes,
                   call->gateway->config.max_message_bytes);
    gateway_refuse(call, GRPC_RESOURCE_EXHAUSTED, text);
    return true;
}

/* The next message of `text`; NULL and refused when it is malformed or too large. */
static ProtobufCMessage *take_message(struct gateway_call *call, struct slice text, size_t *used)
{
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;

    if (pbjson_parse(call->call.row->request, text, used, &call->call.arena, &message, &err) < 0) {
        if (err.code == ERR_NO_MEMORY)
            gateway_refuse(call, GRPC_RESOURCE_EXHAUSTED, err.text);
        else
            gateway_refuse(call, GRPC_INVALID_ARGUMENT, err.text);
        return NULL;
    }
    /* JSON is never shorter than the message it stands for */
    if (text.size > call->gateway->config.max_message_bytes &&
        too_large(call, protobuf_c_message_get_packed_size(message)))
        return NULL;
    return message;
}

static struct slice skip_blanks(struct slice text)
{
    while (text.size != 0 && (text.data[0] == ' ' || text.data[0] == '\t' || text.data[0] == '\n' ||
                              text.data[0] == '\r'))
        text = slice_of(text.data + 1, text.size - 1);
    return text;
}

/* BIDI: hand the next message of the body on, or the end of them; one per turn. */
static void on_turn(struct exchange *exchange)
{
    struct gateway_call *call = exchange->state;
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;
    size_t used = 0;

    if (call->end_told || call->paused || call->call.message == NULL)
        return; /* paused: resumed by drained */
    call->rest = skip_blanks(call->rest);
    if (call->rest.size != 0 && pbjson_parse(call->call.row->request, call->rest, &used,
                                             &call->call.arena, &message, &err) < 0)
        message = NULL; /* what is no message behind the first one is the client's end */
    if (used != 0)
        call->rest = slice_of(call->rest.data + used, call->rest.size - used);
    call->end_told = message == NULL;
    if (message != NULL) {
        if (call->gateway->config.metrics != NULL)
            call->gateway->config.metrics->rpcs[call->call.row->id].received++;
        exchange_again(exchange);
    }
    call->call.message(&call->call, message); /* may end the call */
}

static void start_bidi(struct gateway_call *call, struct slice body)
{
    struct gateway *gateway = call->gateway;
    size_t used = 0;

    body = skip_blanks(body);
    if (body.size != 0) {
        call->call.request = take_message(call, body, &used);
        if (call->call.request == NULL)
            return;
        body = slice_of(body.data + used, body.size - used);
    }
    if (body.size != 0) {
        const void *copy = arena_copy(&call->call.arena, body.data, body.size);

        must(copy != NULL || body.size > CALL_ARENA_MAX_BYTES / 2);
        call->rest = slice_of(copy, copy != NULL ? body.size : 0);
    }
    call->exchange->turn = on_turn;
    exchange_again(call->exchange);
    gateway->config.start(gateway->config.service, &call->call);
}

static void start_call(struct gateway *gateway, const struct rpc_row *row,
                       struct exchange *exchange)
{
    struct gateway_call *call = call_new(gateway, row, exchange);
    struct slice body = exchange->body, version = SLICE_EMPTY;

    exchange->gone = on_gone;
    exchange->stop = on_stop;
    exchange->drained = gateway_drained;
    if (!take_metadata(call, &version))
        return;
    if (gateway->config.metrics != NULL) {
        metrics_call_started(gateway->config.metrics, row, version);
        call->counted = true;
    }
    if (exchange->body_too_large) {
        must(too_large(call, MAX(exchange->body_bytes, gateway->config.max_message_bytes + 1)));
        return;
    }
    if (row->kind == RPC_BIDI) {
        start_bidi(call, body);
        return;
    }
    call->call.request = take_message(call, body, NULL);
    if (call->call.request != NULL)
        gateway->config.start(gateway->config.service, &call->call);
}

/* ---- routing (api.md 12.5) ---- */

static const struct slice prefix_v3 = SLICE_LITERAL("/v3/");
static const struct slice prefix_beta = SLICE_LITERAL("/v3beta/");

bool gateway_serves(struct slice path)
{
    return slice_starts_with(path, prefix_v3) || slice_starts_with(path, prefix_beta);
}

void gateway_start(struct gateway *gateway, struct exchange *exchange, struct slice path)
{
    char v3[128]; /* longer than any path of the table */
    const struct rpc_row *row;
    int length;

    if (slice_starts_with(path, prefix_beta)) {
        length = snprintf(v3, sizeof(v3), "/v3/%.*s", (int)MIN(path.size - prefix_beta.size, 200),
                          (const char *)path.data + prefix_beta.size);
        path =
            length > 0 && (size_t)length < sizeof(v3) ? slice_of(v3, (size_t)length) : SLICE_EMPTY;
    }
    row = rpc_find_by_path(path);
    if (row == NULL)
        gateway_refuse_exchange(gateway, exchange, GRPC_NOT_FOUND, "Not Found");
    else if (exchange->method != METHOD_POST)
        gateway_refuse_exchange(gateway, exchange, GRPC_UNIMPLEMENTED, "Method Not Allowed");
    else
        start_call(gateway, row, exchange);
}

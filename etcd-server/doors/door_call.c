/* door_call.c - see door_call.h. */
#include "etcd-server/doors/door_call.h"

#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/pbwire.h"

#define SPARE_ARENA_BYTES (64UL * KIB) /* more than that is given back */
#define KEEP_IN_BYTES (16UL * KIB)     /* the same */
#define LEAN_BYTES (64UL * KIB)        /* of a message unpacked, and so many times its bytes, ... */
#define LEAN_FACTOR 4                  /* ... are fine */

/* ---- memory ---- */

static void empty_arena(struct arena *arena)
{
    arena_reset(arena);
    if (arena->used > SPARE_ARENA_BYTES)
        arena_free(arena);
}

void call_in_used_up(struct buf *in)
{
    if (buf_used(in) == 0 && in->capacity > KEEP_IN_BYTES)
        buf_free(in);
}

void door_call_rest(struct door_call *call)
{
    empty_arena(&call->message_arena);
    call_in_used_up(&call->in);
}

static ProtobufCMessage *copy_message(ProtobufCMessage *message, size_t size, struct arena *arena)
{
    uint8_t *packed = xalloc(MAX(size, 1));
    ProtobufCMessage *copy;

    must(protobuf_c_message_pack(message, packed) == size);
    copy = protobuf_c_message_unpack(message->descriptor, &arena->allocator, size, packed);
    free(packed);
    return copy;
}

ProtobufCMessage *call_message_lean(ProtobufCMessage *message, struct arena *arena)
{
    ProtobufCMessage *copy;
    struct arena fresh;
    size_t size;

    if (arena->used <= LEAN_BYTES)
        return message;
    pb_drop_unknown(message);
    size = protobuf_c_message_get_packed_size(message);
    if (arena->used <= LEAN_BYTES + LEAN_FACTOR * size)
        return message;
    arena_init(&fresh, arena->max);
    copy = copy_message(message, size, &fresh);
    if (copy == NULL || fresh.used >= arena->used) { /* many small messages are what it is */
        arena_free(&fresh);
        return message;
    }
    arena_free(arena);
    *arena = fresh;
    arena->allocator.allocator_data = arena;
    return copy;
}

/* ---- the door ---- */

void door_init(struct door *door, const struct door_config *config, const struct door_ways *ways)
{
    *door = (struct door){.config = *config, .ways = ways};
    buf_init(&door->scratch, HTTP_OUT_MAX_BYTES);
}

static void free_calls(struct door_call *call)
{
    struct door_call *next;

    for (; call != NULL; call = next) {
        next = call->next;
        arena_free(&call->rpc.arena);
        arena_free(&call->message_arena);
        buf_free(&call->in);
        free(call);
    }
}

void door_fini(struct door *door)
{
    free_calls(door->ended);
    free_calls(door->spare);
    buf_free(&door->scratch);
}

void door_recycle(struct door *door)
{
    struct door_call *call = door->ended, *next;

    door->ended = NULL;
    for (; call != NULL; call = next) {
        next = call->next;
        call->next = NULL;
        if (door->spare_count == SPARE_CALLS_MAX) {
            free_calls(call);
            continue;
        }
        empty_arena(&call->rpc.arena);
        buf_reset(&call->in);
        door_call_rest(call);
        call->next = door->spare;
        door->spare = call;
        door->spare_count++;
    }
}

struct buf *door_scratch(struct buf *scratch)
{
    buf_reset(scratch);
    if (scratch->capacity > DOOR_SCRATCH_KEPT_BYTES)
        buf_free(scratch);
    return scratch;
}

/* ---- the life of a call ---- */

/* A spare one with its memory, or one of `bytes`. All else in it is zero. */
static struct door_call *take(struct door *door, size_t bytes)
{
    struct door_call *call = door->spare, kept;

    if (call == NULL) {
        call = xalloc(bytes);
        arena_init(&call->rpc.arena, CALL_ARENA_MAX_BYTES);
        arena_init(&call->message_arena, CALL_ARENA_MAX_BYTES);
        buf_init(&call->in, BUF_UNLIMITED); /* HTTP_BODY_OPEN_MAX_BYTES or a window bound it */
        return call;
    }
    door->spare = call->next;
    door->spare_count--;
    kept = *call;
    memset(call, 0, bytes);
    call->rpc.arena = kept.rpc.arena; /* at the same place, which an arena has to know */
    call->message_arena = kept.message_arena;
    call->in = kept.in;
    return call;
}

static void on_gone(struct exchange *exchange)
{
    struct door_call *call = exchange->state;

    door_call_cancel(call);
    door_call_over(call, GRPC_CANCELLED);
}

static void on_stop(struct exchange *exchange)
{
    struct door_call *call = exchange->state;

    if (call->state == CALL_RANGE ||
        (call->rpc.row->kind == RPC_UNARY && call->state != CALL_READING))
        return; /* these end by themselves */
    door_call_cancel(call);
    call->door->ways->refuse(call, GRPC_UNAVAILABLE, err_text(ERR_STOPPED));
}

struct door_call *door_call_new(struct door *door, size_t bytes, const struct rpc_row *row,
                                struct exchange *exchange)
{
    struct door_call *call;

    door_recycle(door);
    call = take(door, bytes);
    call->rpc.row = row;
    call->rpc.ops = door->ways->ops;
    call->rpc.common_name = exchange->link->common_name;
    call->rpc.remote = exchange->link->remote;
    call->door = door;
    call->exchange = exchange;
    exchange->state = call;
    exchange->gone = on_gone;
    exchange->stop = on_stop;
    exchange->drained = door->ways->drained;
    exchange->open_ended = row->kind == RPC_BIDI || row->id == RPC_Election_Observe;
    exchange->holds_view = row->id == RPC_KV_RangeStream || row->id == RPC_Maintenance_Snapshot;
    return call;
}

void door_call_count(struct door_call *call, struct slice client_version)
{
    if (call->door->config.metrics == NULL)
        return;
    metrics_call_started(call->door->config.metrics, call->rpc.row, client_version);
    call->counted = true;
}

void door_call_start(struct door_call *call)
{
    call->state = CALL_WAITING;
    call->door->config.start(call->door->config.service, &call->rpc);
}

void door_call_cancel(struct door_call *call)
{
    struct door *door = call->door;

    if (call->state == CALL_RANGE)
        door->ways->drop_range(call);
    else if (call->state != CALL_READING)
        door->config.cancel(door->config.service, &call->rpc);
}

void door_call_tell_end(struct door_call *call, enum grpc_code code)
{
    const struct door_config *config = &call->door->config;

    if (config->ended == NULL || call->told)
        return;
    call->told = true;
    call->end.code = code;
    config->ended(config->service, &call->rpc, &call->end);
}

void door_call_over(struct door_call *call, enum grpc_code code)
{
    struct door *door = call->door;

    must(call->state != CALL_ENDED);
    if (call->counted && call->state != CALL_RANGE)
        metrics_call_handled(door->config.metrics, call->rpc.row, code);
    door_call_tell_end(call, code);
    call->state = CALL_ENDED;
    call->exchange = NULL;
    call->next = door->ended;
    door->ended = call;
}

void door_call_resume(struct door_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    if (call->rpc.row->kind == RPC_BIDI && !call->end_told)
        exchange_again(call->exchange);
    if (call->rpc.resume != NULL)
        call->rpc.resume(&call->rpc);
}

/* ---- time ---- */

bool call_timeout_parse(struct slice text, size_t digits_max, uint64_t *timeout_ns)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600 * NS_PER_S}, {'M', 60 * NS_PER_S}, {'S', NS_PER_S},
                 {'m', NS_PER_MS},       {'u', 1000},          {'n', 1}};
    uint64_t number = 0;
    size_t digits = text.size - 1;

    must(digits_max <= CALL_TIMEOUT_DIGITS);
    if (text.size < 2 || digits > digits_max)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (text.data[digits] != (uint8_t)units[i].unit)
            continue;
        *timeout_ns = number <= UINT64_MAX / units[i].ns ? number * units[i].ns : UINT64_MAX;
        return true;
    }
    return false;
}

/* door_call.c - see door_call.h. */
#include "etcd-server/doors/door_call.h"

#include "common/base/duration.h"
#include "common/base/limits.h"
#include "common/schema/pbwire.h"

#define SPARE_ARENA_BYTES (64UL * KIB) /* more than that is given back */
#define KEEP_IN_BYTES (16UL * KIB)     /* the same */
#define LEAN_BYTES (64UL * KIB)        /* of a message unpacked, and so many times its bytes, ... */
#define LEAN_FACTOR 4                  /* ... are fine */

void call_memory_init(struct call_memory memory)
{
    arena_init(memory.arena, CALL_ARENA_MAX_BYTES);
    arena_init(memory.message, CALL_ARENA_MAX_BYTES);
    buf_init(memory.in, BUF_UNLIMITED); /* HTTP_BODY_OPEN_MAX_BYTES or a stream's window bound it */
}

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

void call_memory_rest(struct call_memory memory)
{
    empty_arena(memory.message);
    call_in_used_up(memory.in);
}

static void memory_reuse(struct call_memory memory)
{
    empty_arena(memory.arena);
    buf_reset(memory.in);
    call_memory_rest(memory);
}

static void memory_free(struct call_memory memory)
{
    arena_free(memory.arena);
    arena_free(memory.message);
    buf_free(memory.in);
}

void call_memory_moved(struct call_memory memory)
{
    memory.arena->allocator.allocator_data = memory.arena;
    memory.message->allocator.allocator_data = memory.message;
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

/* ---- calls that have ended ---- */

void call_pool_end(struct call_pool *pool, struct pooled_call *call)
{
    call->next = pool->ended;
    pool->ended = call;
}

static void free_calls(struct pooled_call *call)
{
    struct pooled_call *next;

    for (; call != NULL; call = next) {
        next = call->next;
        memory_free(call->memory);
        free(call->block);
    }
}

void call_pool_recycle(struct call_pool *pool)
{
    struct pooled_call *call = pool->ended, *next;

    pool->ended = NULL;
    for (; call != NULL; call = next) {
        next = call->next;
        call->next = NULL;
        if (pool->spare_count == SPARE_CALLS_MAX) {
            free_calls(call);
            continue;
        }
        memory_reuse(call->memory);
        call->next = pool->spare;
        pool->spare = call;
        pool->spare_count++;
    }
}

void *call_pool_take(struct call_pool *pool)
{
    struct pooled_call *call = pool->spare;

    if (call == NULL)
        return NULL;
    pool->spare = call->next;
    pool->spare_count--;
    return call->block;
}

void call_pool_free(struct call_pool *pool)
{
    free_calls(pool->ended);
    free_calls(pool->spare);
    *pool = (struct call_pool){0};
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

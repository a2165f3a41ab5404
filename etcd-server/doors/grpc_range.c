/*
 * grpc_range.c - a large range as one message, in memory of a fixed size.
 *
 * A gRPC message says its length first, so the range is pulled twice: once to measure, once to send
 * as the socket drains. What was seen while measuring is kept as far as it goes and not pulled
 * again: `front`, encoded, then `kept`, borrowed (when the source's key-values last).
 *
 *   MEASURE --end--> FRONT -> KEPT --all--> the end of the message
 *                               `--not all--> SKIP -> REST --> the end of the message
 *
 * Each step does RANGE_SLICE_KEYS key-values a turn, so that others have theirs.
 */
#include "etcd-server/doors/grpc_internal.h"

#include "common/base/limits.h"
#include "common/schema/pbwire.h"

#define KEPT_MAX 65536UL  /* slices: 1 MiB */
#define PIECES_PER_TURN 8 /* a reader as fast as we are must not keep the others waiting */
#define RANGE_KVS_FIELD 2 /* of RangeResponse */

enum grpc_range_step { RANGE_MEASURE, RANGE_FRONT, RANGE_KEPT, RANGE_SKIP, RANGE_REST };

struct grpc_range {
    enum grpc_range_step step;
    struct kv_source *source; /* owned */
    struct buf front;         /* prefix, head and the first key-values */
    size_t front_count;       /* key-values in it */
    struct slice *kept;       /* owned; those behind */
    size_t kept_count, kept_next, kept_capacity;
    size_t skipped;
    uint64_t total; /* bytes of the message */
    bool all_kept;  /* nothing is behind `kept` */
};

static const uint8_t more_bytes[] = {PB_TAG(3, PB_VARINT), 1}; /* RangeResponse.more */

static void range_free(struct grpc_range *range)
{
    if (range == NULL)
        return;
    range->source->free(range->source);
    buf_free(&range->front);
    free(range->kept);
    free(range);
}

void grpc_range_drop(struct grpc_call *call)
{
    range_free(call->range);
    call->range = NULL;
}

static bool keep(struct grpc_range *range, struct slice key_value)
{
    if (!range->source->lasting || range->kept_count == KEPT_MAX)
        return false;
    if (range->kept_count == range->kept_capacity) {
        range->kept_capacity = MAX(1024, range->kept_capacity * 2);
        range->kept = xrealloc(range->kept, range->kept_capacity * sizeof(*range->kept));
    }
    range->kept[range->kept_count++] = key_value;
    return true;
}

/* The message's length is known: say it. False: it is too large, the call was refused. */
static bool announce(struct grpc_call *call, struct grpc_range *range)
{
    if (range->source->more(range->source))
        range->total += sizeof(more_bytes);
    if (range->total > GRPC_MESSAGE_MAX_BYTES) {
        uint64_t total = range->total;

        grpc_range_drop(call);
        grpc_refuse_large(call, total);
        return false;
    }
    grpc_put_prefix(range->front.data + range->front.start, false, (size_t)range->total);
    grpc_count_sent(call, (size_t)range->total + GRPC_PREFIX_BYTES);
    grpc_begin(call);
    call->range_begun = true;
    range->step = RANGE_FRONT;
    return true;
}

/* One turn's worth; true when it is done. */
static bool measure(struct grpc_range *range)
{
    struct slice key_value;

    for (size_t i = 0; i < RANGE_SLICE_KEYS; i++) {
        if (!range->source->next(range->source, &key_value))
            return true;
        range->total += pb_bytes_field_bytes(key_value.size);
        if (range->all_kept)
            range->all_kept = keep(range, key_value);
    }
    return false;
}

static bool skip(struct grpc_range *range)
{
    struct slice key_value;

    for (size_t i = 0; i < RANGE_SLICE_KEYS; i++) {
        if (range->skipped == range->front_count + range->kept_count)
            return true;
        must(range->source->next(range->source, &key_value)); /* it was there before */
        range->skipped++;
    }
    return false;
}

static void put_key_value(struct buf *out, struct slice key_value)
{
    uint8_t *room = buf_reserve(out, pb_bytes_field_bytes(key_value.size));

    must(room != NULL);
    (void)pb_put_bytes(room, RANGE_KVS_FIELD, key_value);
    buf_advance(out, pb_bytes_field_bytes(key_value.size));
}

/* A piece of the message into the empty `out`; empty: that was all. */
static void next_piece(struct grpc_range *range, struct buf *out)
{
    struct slice key_value;

    while (buf_used(out) < RANGE_CHUNK_BYTES) {
        if (range->step == RANGE_KEPT) {
            if (range->kept_next == range->kept_count)
                return;
            put_key_value(out, range->kept[range->kept_next++]);
        } else {
            if (!range->source->next(range->source, &key_value))
                return;
            put_key_value(out, key_value);
        }
    }
}

static void finish(struct grpc_call *call)
{
    struct grpc_range *range = call->range;

    if (range->source->more(range->source))
        exchange_send(call->exchange, slice_of(more_bytes, sizeof(more_bytes)));
    grpc_range_drop(call);
    grpc_end(call);
}

/* Send one piece; false when the message is complete. */
static bool send_piece(struct grpc_call *call)
{
    struct grpc_range *range = call->range;
    struct buf *out;

    if (range->step == RANGE_FRONT) {
        exchange_send(call->exchange, buf_slice(&range->front));
        buf_free(&range->front);
        range->step = RANGE_KEPT;
        return true;
    }
    out = grpc_fresh(&call->grpc->scratch);
    next_piece(range, out);
    if (buf_used(out) != 0) {
        exchange_send(call->exchange, buf_slice(out));
        return true;
    }
    if (range->step == RANGE_KEPT && !range->all_kept) {
        range->source->rewind(range->source);
        range->step = RANGE_SKIP;
        return true;
    }
    finish(call);
    return false;
}

/* Go on until the end, or the client has enough unread. */
void grpc_range_go_on(struct grpc_call *call)
{
    struct exchange *exchange = call->exchange;
    struct grpc_range *range = call->range;

    if (range->step == RANGE_MEASURE) {
        if (!measure(range))
            exchange_again(exchange);
        else if (announce(call, range))
            grpc_range_go_on(call);
        return;
    }
    for (int pieces = 0; !exchange_full(exchange); pieces++) {
        if (range->step == RANGE_SKIP && skip(range))
            range->step = RANGE_REST;
        if (pieces == PIECES_PER_TURN || range->step == RANGE_SKIP) {
            exchange_again(exchange);
            return;
        }
        if (!send_piece(call))
            return;
    }
}

static void on_turn(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    if (call->range != NULL)
        grpc_range_go_on(call);
}

void grpc_range_start(struct grpc_call *call, struct buf *front, size_t front_count,
                      struct kv_source *source)
{
    struct grpc_range *range = xalloc(sizeof(*range));

    *range = (struct grpc_range){.step = RANGE_MEASURE,
                                 .source = source,
                                 .front = *front,
                                 .front_count = front_count,
                                 .total = buf_used(front) - GRPC_PREFIX_BYTES,
                                 .all_kept = true};
    *front = BUF_INIT(front->max); /* its memory is the range's now */
    if (call->counted)
        metrics_call_handled(call->grpc->config.metrics, call->call.row, GRPC_OK);
    call->state = GRPC_RANGE;
    call->range = range;
    call->exchange->turn = on_turn;
    grpc_range_go_on(call);
}

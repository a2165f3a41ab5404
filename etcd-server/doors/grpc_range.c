/*
 * grpc_range.c - a large range as one message, in memory of a fixed size.
 *
 * A gRPC message says its length first, so the range is walked twice: once to measure it, once to
 * write it, straight to where the connection's output is, as the windows open. What was seen while
 * measuring is kept if it is not too much (and the source's key-values last); else the source
 * begins again behind those in `front`.
 *
 *   MEASURE, RANGE_SLICE_KEYS a turn -> front is sent -> pull()... -> pulled(): the end
 *   pieces: it is measured already --^
 *
 * Until then a view of the store is held, and with it what was written meanwhile: a client that
 * reads less than VIEW_LEAST_BYTES in WRITE_STALL_TIMEOUT_MS loses the stream (http2_flow.c).
 */
#include "etcd-server/doors/grpc_internal.h"

#include "common/base/limits.h"
#include "common/schema/pbwire.h"

#define HELD_BYTES (20UL * KIB) /* of one range, beside what it keeps: about */
#define KEPT_MAX (GRPC_RANGE_KEPT_BYTES / sizeof(struct slice))

struct grpc_range {
    struct kv_source *source; /* owned */
    struct buf front;         /* prefix, head and the first key-values */
    size_t front_count;       /* key-values in it */
    uint64_t key_values;      /* with those behind it, as measured */
    struct slice *kept;       /* owned; those behind */
    size_t kept_count, kept_next, kept_capacity;
    bool all_kept;               /* else `kept` is of no use */
    struct shared_pieces pieces; /* in place of key-values; none: count 0 */
    size_t piece_next;
    uint64_t total;                    /* bytes of the message */
    uint8_t tag[16];                   /* of the key-value being written: tag and length */
    struct slice tag_left, bytes_left; /* of it, or of a piece */
    bool last;                         /* all key-values are written, RangeResponse.more is left */
};

static const uint8_t more_bytes[] = {PB_TAG(3, PB_VARINT), 1}; /* RangeResponse.more */

static void drop_kept(struct grpc_call *call, struct grpc_range *range)
{
    grpc_of(call)->kept_bytes -= range->kept_capacity * sizeof(*range->kept);
    free(range->kept);
    range->kept = NULL;
    range->kept_count = range->kept_capacity = 0;
}

void grpc_range_drop(struct grpc_call *call)
{
    struct grpc_range *range = call->range;

    if (range == NULL)
        return;
    range->source->free(range->source);
    buf_free(&range->front);
    drop_kept(call, range);
    free(range);
    call->range = NULL;
}

/* ---- measuring ---- */

static bool keep(struct grpc_call *call, struct grpc_range *range, struct slice key_value)
{
    if (range->kept_count == range->kept_capacity) {
        size_t capacity = MIN(MAX(64, range->kept_capacity * 4), KEPT_MAX);
        size_t grown = (capacity - range->kept_capacity) * sizeof(*range->kept);

        if (grown == 0 || grpc_of(call)->kept_bytes + grown > GRPC_RANGES_KEPT_BYTES)
            return false;
        range->kept = xrealloc(range->kept, capacity * sizeof(*range->kept));
        range->kept_capacity = capacity;
        grpc_of(call)->kept_bytes += grown;
    }
    range->kept[range->kept_count++] = key_value;
    return true;
}

static void count_in(struct grpc_call *call, struct grpc_range *range, struct slice key_value)
{
    range->total += pb_bytes_field_bytes(key_value.size);
    range->key_values++;
    if (range->all_kept && !keep(call, range, key_value)) {
        range->all_kept = false;
        drop_kept(call, range);
    }
}

/* One turn's worth; true when it is done. */
static bool measure(struct grpc_call *call, struct grpc_range *range)
{
    struct slice key_value;

    for (size_t i = 0; i < RANGE_SLICE_KEYS; i++) {
        if (!range->source->next(range->source, &key_value))
            return true;
        count_in(call, range, key_value);
    }
    return false;
}

/* The source once more, behind `front`: that has few key-values. */
static void begin_again(struct grpc_range *range)
{
    struct slice key_value;

    range->source->rewind(range->source);
    for (size_t i = 0; i < range->front_count; i++)
        must(range->source->next(range->source, &key_value)); /* it was there before */
}

/* The message's length is known: say it, and have the rest pulled. */
static void announce(struct grpc_call *call, struct grpc_range *range)
{
    uint64_t rest;

    if (range->source->more(range->source))
        range->total += sizeof(more_bytes);
    rest = range->total - (buf_used(&range->front) - GRPC_PREFIX_BYTES);
    if (range->total > GRPC_MESSAGE_MAX_BYTES) {
        uint64_t total = range->total;

        grpc_range_drop(call);
        grpc_refuse_large(call, total);
        return;
    }
    if (!range->all_kept)
        begin_again(range);
    grpc_put_prefix(range->front.data + range->front.start, false, (size_t)range->total);
    grpc_count_sent(call, (size_t)range->total + GRPC_PREFIX_BYTES);
    call->base.end.bytes = range->total;
    call->base.end.key_values = range->key_values;
    door_call_tell_end(&call->base, GRPC_OK); /* the rest is the client's pace */
    call->base.exchange->holds_view = true;
    grpc_begin(call);
    call->range_begun = true;
    exchange_send(call->base.exchange, buf_slice(&range->front));
    buf_free(&range->front);
    if (rest != 0) {
        exchange_pull(call->base.exchange, rest,
                      HELD_BYTES + range->kept_capacity * sizeof(*range->kept));
        return;
    }
    grpc_range_drop(call);
    grpc_end(call);
}

static void go_on(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    if (call->range == NULL)
        return;
    if (measure(call, call->range))
        announce(call, call->range);
    else
        exchange_again(exchange);
}

/* ---- writing ---- */

static bool next_key_value(struct grpc_range *range, struct slice *key_value)
{
    if (!range->all_kept)
        return range->source->next(range->source, key_value);
    if (range->kept_next == range->kept_count)
        return false;
    *key_value = range->kept[range->kept_next++];
    if (range->kept_next + 1 < range->kept_count)
        slice_prefetch(range->kept[range->kept_next + 1]); /* it lies in another page, far away */
    return true;
}

static void begin_next(struct grpc_range *range)
{
    must(!range->last); /* no more is pulled than was measured */
    if (range->piece_next < range->pieces.count) {
        range->bytes_left = range->pieces.all[range->piece_next++].bytes;
    } else if (next_key_value(range, &range->bytes_left)) {
        const uint8_t *end = pb_put_header(range->tag, RANGE_KVS_FIELD, range->bytes_left.size);

        range->tag_left = slice_of(range->tag, (size_t)(end - range->tag));
    } else {
        range->last = true;
        range->bytes_left = slice_of(more_bytes, sizeof(more_bytes));
    }
}

static void pull(struct exchange *exchange, uint8_t *out, size_t bytes)
{
    struct grpc_range *range = ((struct grpc_call *)exchange->state)->range;

    while (bytes != 0) {
        struct slice *left = range->tag_left.size != 0 ? &range->tag_left : &range->bytes_left;
        size_t size = MIN(left->size, bytes);

        if (size == 0) {
            begin_next(range);
            continue;
        }
        memcpy(out, left->data, size);
        *left = slice_of(left->data + size, left->size - size);
        out += size;
        bytes -= size;
    }
}

static bool lend(struct exchange *exchange, size_t most, struct shared_slice *piece)
{
    struct grpc_range *range = ((struct grpc_call *)exchange->state)->range;
    struct slice *left = &range->bytes_left;
    size_t size;

    if (left->size == 0 && range->piece_next < range->pieces.count)
        begin_next(range);
    size = MIN(left->size, most);
    if (size == 0 || range->piece_next == 0 || range->last)
        return false;
    *piece =
        (struct shared_slice){.owner = shared_ref(range->pieces.all[range->piece_next - 1].owner),
                              .bytes = slice_of(left->data, size)};
    *left = slice_of(left->data + size, left->size - size);
    return true;
}

static void pulled(struct exchange *exchange)
{
    struct grpc_call *call = exchange->state;

    grpc_range_drop(call);
    grpc_end(call);
}

static struct grpc_range *range_new(struct grpc_call *call, const struct buf *front,
                                    struct kv_source *source)
{
    struct grpc_range *range = xalloc(sizeof(*range));

    *range = (struct grpc_range){.source = source,
                                 .front = BUF_INIT(BUF_UNLIMITED),
                                 .total = buf_used(front) - GRPC_PREFIX_BYTES};
    buf_append_slice(&range->front, buf_slice(front));
    if (call->base.counted)
        metrics_call_handled(call->base.door->config.metrics, call->base.rpc.row, GRPC_OK);
    call->base.state = CALL_RANGE;
    call->range = range;
    call->base.exchange->turn = go_on;
    call->base.exchange->pull = pull;
    call->base.exchange->pulled = pulled;
    return range;
}

void grpc_range_start(struct grpc_call *call, const struct buf *front, size_t front_count,
                      struct kv_source *source, struct slice next)
{
    struct grpc_range *range = range_new(call, front, source);

    range->front_count = front_count;
    range->key_values = front_count;
    range->all_kept = source->lasting;
    count_in(call, range, next);
    go_on(call->base.exchange);
}

void grpc_range_lend(struct grpc_call *call, const struct buf *front, struct kv_source *source,
                     const struct shared_pieces *pieces, size_t key_values)
{
    struct grpc_range *range = range_new(call, front, source);

    call->base.exchange->lend = lend;
    range->pieces = *pieces;
    range->key_values = key_values;
    range->total += pieces->bytes;
    range->all_kept = true; /* there are none */
    announce(call, range);
}

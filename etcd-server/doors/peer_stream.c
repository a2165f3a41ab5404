/*
 * peer_stream.c - see peer_stream.h.
 *
 * Decoding is in two steps: measure() finds out how long the item is, as far as its bytes are
 * there, and remembers how far it got; take_item() reads it when it is whole. An item that came in
 * one piece is read where it lies; else it is collected in `pending`, which grows with what has
 * come and never ahead of it.
 */
#include "etcd-server/doors/peer_stream.h"

#define MSGAPP_HEARTBEAT 0
#define MSGAPP_ENTRIES 1
#define MSGAPP_WHOLE 2
#define LENGTH_BYTES 8
#define FIXED_BYTES 256        /* at most, of a message without its entries and context */
#define ENTRY_FIXED_BYTES 64   /* the same of an entry without its data */
#define KEEP_BYTES (256 * KIB) /* memory an idle stream may keep */
#define KEEP_ENTRIES 4096UL    /* the same, for lists of entries */
#define ENTRIES_MAX (PEER_MESSAGE_ARENA_MAX / sizeof(struct raft_entry))

const char *peer_stream_path(enum peer_stream_kind kind)
{
    return kind == PEER_STREAM_MSGAPP ? "msgapp" : "message";
}

const char *peer_stream_word(enum peer_stream_kind kind)
{
    return kind == PEER_STREAM_MSGAPP ? "msgappv2" : "message";
}

/* ---- writing ---- */

static bool put_u64(struct buf *out, uint64_t number)
{
    uint8_t bytes[LENGTH_BYTES];

    for (size_t i = 0; i < LENGTH_BYTES; i++)
        bytes[i] = (uint8_t)(number >> (8 * (LENGTH_BYTES - 1 - i)));
    return buf_append(out, bytes, sizeof(bytes));
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t number = 0;

    for (size_t i = 0; i < LENGTH_BYTES; i++)
        number = number << 8 | at[i];
    return number;
}

/* Length and message. */
static bool put_message(struct buf *out, const struct raft_message *message)
{
    size_t at, size;

    if (!put_u64(out, 0))
        return false;
    at = buf_used(out);
    if (!raft_message_encode(message, out))
        return false;
    size = buf_used(out) - at;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        out->data[out->start + at - 1 - i] = (uint8_t)((uint64_t)size >> (8 * i));
    return true;
}

static bool put_entries(struct buf *out, const struct raft_message *message)
{
    if (!buf_append_byte(out, MSGAPP_ENTRIES) || !put_u64(out, message->entry_count))
        return false;
    for (size_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];

        if (!put_u64(out, raft_entry_encoded_bytes(entry)) || !raft_entry_encode(entry, out))
            return false;
    }
    return put_u64(out, message->commit);
}

static bool put_msgapp(struct buf *out, struct peer_stream_state *state,
                       const struct raft_message *message)
{
    must(message->type == RAFT_MSG_APP);
    if (state->index == message->index && state->term == message->log_term &&
        message->log_term == message->term) {
        if (!put_entries(out, message))
            return false;
        state->index += message->entry_count;
        return true;
    }
    if (!buf_append_byte(out, MSGAPP_WHOLE) || !put_message(out, message))
        return false;
    state->term = message->term;
    state->index = message->entry_count != 0 ? message->entries[message->entry_count - 1].index
                                             : message->index;
    return true;
}

bool peer_stream_encode(enum peer_stream_kind kind, struct peer_stream_state *state,
                        const struct raft_message *message, struct buf *out)
{
    size_t before = buf_used(out);

    must(message->type != RAFT_MSG_SNAP);
    if (kind == PEER_STREAM_MSGAPP ? put_msgapp(out, state, message) : put_message(out, message))
        return true;
    out->size = out->start + before;
    return false;
}

bool peer_stream_encode_heartbeat(enum peer_stream_kind kind, struct buf *out)
{
    struct raft_message message = {.type = RAFT_MSG_HEARTBEAT};

    if (kind == PEER_STREAM_MSGAPP)
        return buf_append_byte(out, MSGAPP_HEARTBEAT);
    return peer_stream_encode(kind, NULL, &message, out);
}

size_t peer_stream_bytes(const struct raft_message *message)
{
    size_t bytes = FIXED_BYTES + message->context.size;

    for (size_t i = 0; i < message->entry_count; i++)
        bytes += ENTRY_FIXED_BYTES + message->entries[i].data.size;
    return bytes;
}

/* ---- reading ---- */

void peer_decoder_init(struct peer_decoder *decoder, enum peer_stream_kind kind, uint64_t local,
                       uint64_t remote)
{
    *decoder = (struct peer_decoder){.kind = kind, .local = local, .remote = remote};
    buf_init(&decoder->pending, PEER_ITEM_MAX_BYTES + 2 * LENGTH_BYTES);
    arena_init(&decoder->arena, PEER_MESSAGE_ARENA_MAX);
}

void peer_decoder_fini(struct peer_decoder *decoder)
{
    buf_free(&decoder->pending);
    arena_free(&decoder->arena);
    free(decoder->entries);
    decoder->entries = NULL;
}

static int too_long(uint64_t bytes, struct err *err)
{
    err_set(err, ERR_FORMAT,
            "a message of %" PRIu64 " bytes on a peer stream; at most %lu are taken", bytes,
            PEER_ITEM_MAX_BYTES);
    return -1;
}

/* `known` bytes of head are there, `bytes` more belong to it. */
static int extend(struct peer_decoder *decoder, size_t known, uint64_t bytes, struct err *err)
{
    if (bytes > PEER_ITEM_MAX_BYTES - MIN(known, PEER_ITEM_MAX_BYTES))
        return too_long(bytes, err);
    decoder->known = known + (size_t)bytes;
    decoder->wanted = decoder->known;
    return 0;
}

/* Item 01: entries one after another. 1 when whole. */
static int measure_entries(struct peer_decoder *decoder, const uint8_t *data, size_t size,
                           struct err *err)
{
    if (decoder->known == 0) {
        decoder->wanted = 1 + LENGTH_BYTES;
        if (size < decoder->wanted)
            return 0;
        decoder->left = get_u64(data + 1);
        if (decoder->left > ENTRIES_MAX) {
            err_set(err, ERR_FORMAT,
                    "%" PRIu64 " entries in one item of a peer stream; at most %zu are taken",
                    decoder->left, ENTRIES_MAX);
            return -1;
        }
        decoder->known = decoder->wanted;
    }
    while (decoder->left != 0) {
        decoder->wanted = decoder->known + LENGTH_BYTES;
        if (size < decoder->wanted)
            return 0;
        if (extend(decoder, decoder->wanted, get_u64(data + decoder->known), err) < 0)
            return -1;
        decoder->left--;
    }
    decoder->wanted = decoder->known + LENGTH_BYTES; /* the commit index */
    return size >= decoder->wanted;
}

/* 1: the item is whole and `wanted` long; 0: that many bytes are needed to go on; -1: bad. */
static int measure(struct peer_decoder *decoder, const uint8_t *data, size_t size, struct err *err)
{
    size_t head = decoder->kind == PEER_STREAM_MSGAPP ? 1 : 0;

    if (head != 0) {
        decoder->wanted = MAX(decoder->wanted, 1);
        if (size == 0)
            return 0;
        if (data[0] == MSGAPP_HEARTBEAT)
            return 1;
        if (data[0] == MSGAPP_ENTRIES)
            return measure_entries(decoder, data, size, err);
        if (data[0] != MSGAPP_WHOLE) {
            err_set(err, ERR_FORMAT, "unknown kind %u of an item on a msgapp stream", data[0]);
            return -1;
        }
    }
    if (decoder->known == 0) {
        decoder->wanted = head + LENGTH_BYTES;
        if (size < decoder->wanted)
            return 0;
        if (extend(decoder, decoder->wanted, get_u64(data + head), err) < 0)
            return -1;
    }
    return size >= decoder->wanted;
}

static bool take_heartbeat(const struct raft_message *message)
{
    return message->type == RAFT_MSG_HEARTBEAT && message->from == 0 && message->to == 0;
}

static enum peer_decoded take_whole(struct peer_decoder *decoder, struct slice bytes,
                                    struct raft_message *message, struct err *err)
{
    if (raft_message_decode(bytes, &decoder->arena, message, err) < 0)
        return PEER_DECODED_BAD;
    if (decoder->kind == PEER_STREAM_MESSAGE && take_heartbeat(message))
        return PEER_DECODED_HEARTBEAT;
    if (message->type == RAFT_MSG_SNAP ||
        (decoder->kind == PEER_STREAM_MSGAPP && message->type != RAFT_MSG_APP)) {
        err_set(err, ERR_FORMAT, "a message of type %d does not belong on a %s stream",
                (int)message->type, peer_stream_path(decoder->kind));
        return PEER_DECODED_BAD;
    }
    decoder->state.term = message->term;
    decoder->state.index = message->entry_count != 0
                               ? message->entries[message->entry_count - 1].index
                               : message->index;
    return PEER_DECODED_MESSAGE;
}

static void need_entries(struct peer_decoder *decoder, size_t count)
{
    if (decoder->entry_capacity > KEEP_ENTRIES && count <= KEEP_ENTRIES) {
        free(decoder->entries);
        decoder->entries = NULL;
        decoder->entry_capacity = 0;
    }
    if (count <= decoder->entry_capacity)
        return;
    decoder->entry_capacity = MAX(count, 16);
    decoder->entries =
        xrealloc(decoder->entries, decoder->entry_capacity * sizeof(struct raft_entry));
}

static enum peer_decoded take_entries(struct peer_decoder *decoder, struct slice item,
                                      struct raft_message *message, struct err *err)
{
    size_t count = (size_t)get_u64(item.data + 1), at = 1 + LENGTH_BYTES;

    need_entries(decoder, count);
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)get_u64(item.data + at);

        at += LENGTH_BYTES;
        must(at + size + LENGTH_BYTES <= item.size); /* measured */
        if (raft_entry_decode(slice_of(item.data + at, size), &decoder->entries[i], err) < 0)
            return PEER_DECODED_BAD;
        at += size;
    }
    *message = (struct raft_message){.type = RAFT_MSG_APP,
                                     .to = decoder->local,
                                     .from = decoder->remote,
                                     .term = decoder->state.term,
                                     .log_term = decoder->state.term,
                                     .index = decoder->state.index,
                                     .entries = decoder->entries,
                                     .entry_count = count,
                                     .commit = get_u64(item.data + at)};
    decoder->state.index += count;
    return PEER_DECODED_MESSAGE;
}

static enum peer_decoded take_item(struct peer_decoder *decoder, struct slice item,
                                   struct raft_message *message, struct err *err)
{
    size_t head = LENGTH_BYTES;

    arena_reset(&decoder->arena);
    decoder->known = 0;
    decoder->wanted = 0;
    if (decoder->kind == PEER_STREAM_MSGAPP) {
        if (item.data[0] == MSGAPP_HEARTBEAT)
            return PEER_DECODED_HEARTBEAT;
        if (item.data[0] == MSGAPP_ENTRIES)
            return take_entries(decoder, item, message, err);
        head++;
    }
    return take_whole(decoder, slice_of(item.data + head, item.size - head), message, err);
}

static void take_bytes(struct slice *bytes, size_t count)
{
    bytes->data += count;
    bytes->size -= count;
}

enum peer_decoded peer_decoder_next(struct peer_decoder *decoder, struct slice *bytes,
                                    struct raft_message *message, struct err *err)
{
    struct slice item;
    int whole;

    if (decoder->given) {
        buf_reset(&decoder->pending);
        if (decoder->pending.capacity > KEEP_BYTES)
            buf_free(&decoder->pending);
        decoder->given = false;
    }
    if (bytes->size == 0)
        return PEER_DECODED_MORE;
    if (buf_used(&decoder->pending) == 0) {
        whole = measure(decoder, bytes->data, bytes->size, err);
        if (whole > 0) {
            item = slice_of(bytes->data, MAX(decoder->wanted, 1));
            take_bytes(bytes, item.size);
            return take_item(decoder, item, message, err);
        }
        if (whole < 0)
            return PEER_DECODED_BAD;
    }
    do {
        size_t more = MIN(bytes->size, decoder->wanted - buf_used(&decoder->pending));

        if (!buf_append(&decoder->pending, bytes->data, more)) {
            (void)too_long(decoder->wanted, err);
            return PEER_DECODED_BAD;
        }
        take_bytes(bytes, more);
        whole = measure(decoder, decoder->pending.data, decoder->pending.size, err);
    } while (whole == 0 && bytes->size != 0);
    if (whole < 0)
        return PEER_DECODED_BAD;
    if (whole == 0)
        return PEER_DECODED_MORE;
    decoder->given = true;
    return take_item(decoder, buf_slice(&decoder->pending), message, err);
}

/* ---- snapshots ---- */

bool peer_snapshot_encode(const struct raft_message *message, struct buf *out)
{
    size_t before = buf_used(out);

    must(message->type == RAFT_MSG_SNAP);
    if (put_message(out, message))
        return true;
    out->size = out->start + before;
    return false;
}

void peer_snapshot_decoder_init(struct peer_snapshot_decoder *decoder)
{
    *decoder = (struct peer_snapshot_decoder){.whole = false};
    buf_init(&decoder->pending, PEER_SNAPSHOT_MESSAGE_MAX + LENGTH_BYTES);
    arena_init(&decoder->arena, PEER_MESSAGE_ARENA_MAX);
}

void peer_snapshot_decoder_fini(struct peer_snapshot_decoder *decoder)
{
    buf_free(&decoder->pending);
    arena_free(&decoder->arena);
}

/* Move up to `wanted` bytes in all into `pending`; true when they are there. */
static bool collect(struct peer_snapshot_decoder *decoder, struct slice *bytes, size_t wanted)
{
    size_t more = MIN(bytes->size, wanted - MIN(wanted, decoder->pending.size));

    must(buf_append(&decoder->pending, bytes->data, more)); /* measured before */
    take_bytes(bytes, more);
    return decoder->pending.size >= wanted;
}

enum peer_decoded peer_snapshot_decoder_next(struct peer_snapshot_decoder *decoder,
                                             struct slice *bytes, struct raft_message *message,
                                             struct err *err)
{
    struct err cause = ERR_INIT;
    uint64_t size;

    must(!decoder->whole);
    if (decoder->pending.size < LENGTH_BYTES && !collect(decoder, bytes, LENGTH_BYTES))
        return PEER_DECODED_MORE;
    size = get_u64(decoder->pending.data);
    if (size > PEER_SNAPSHOT_MESSAGE_MAX) {
        err_set(err, ERR_FORMAT, "failed to decode raft message (rafthttp: error limit exceeded)");
        return PEER_DECODED_BAD;
    }
    if (!collect(decoder, bytes, LENGTH_BYTES + (size_t)size))
        return PEER_DECODED_MORE;
    decoder->whole = true;
    if (raft_message_decode(slice_of(decoder->pending.data + LENGTH_BYTES, (size_t)size),
                            &decoder->arena, message, &cause) < 0) {
        err_set(err, ERR_FORMAT, "failed to decode raft message (%s)", cause.text);
        return PEER_DECODED_BAD;
    }
    if (message->type != RAFT_MSG_SNAP || message->snapshot == NULL) {
        err_set(err, ERR_FORMAT, "wrong raft message type");
        return PEER_DECODED_BAD;
    }
    return PEER_DECODED_MESSAGE;
}

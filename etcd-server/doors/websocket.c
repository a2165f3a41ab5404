/*
 * websocket.c - see websocket.h. A frame (RFC 6455 5.2):
 *
 *   FIN RSV opcode | MASK length | length of 2 or 8 bytes | mask of 4 | payload, masked
 *
 * Messages pass through as they come, whatever frames they are cut into; control frames, which may
 * stand between those, are kept until they are whole.
 */
#include "etcd-server/doors/websocket.h"

#include "common/base/base64.h"

#include <openssl/evp.h>

#define FIN 0x80U
#define RSV 0x70U
#define OPCODE 0x0fU
#define CONTROL 0x08U /* the opcodes from here on */
#define MASKED 0x80U
#define LENGTH 0x7fU
#define MASK_BYTES 4U
#define KEY_BYTES 16U

static const char accept_magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */

/* Bytes of the head, as far as they can be known. */
static size_t head_size(const struct websocket_reader *reader)
{
    unsigned length = reader->head[1] & LENGTH;

    if (reader->head_bytes < 2)
        return 2;
    return 2U + (length == 127 ? 8U : length == 126 ? 2U : 0U) + MASK_BYTES;
}

static uint64_t payload_length(const struct websocket_reader *reader)
{
    unsigned length = reader->head[1] & LENGTH, count = length == 127 ? 8 : length == 126 ? 2 : 0;
    uint64_t value = 0;

    if (count == 0)
        return length;
    for (unsigned i = 0; i < count; i++)
        value = value << 8 | reader->head[2 + i];
    return value;
}

/* What is wrong with the first two bytes; NULL: nothing. */
static const char *fault(const struct websocket_reader *reader)
{
    unsigned first = reader->head[0], opcode = first & OPCODE, length = reader->head[1] & LENGTH;

    if ((first & RSV) != 0)
        return "RSV bits set: no extension was agreed on";
    if ((reader->head[1] & MASKED) == 0)
        return "a client's frames must be masked";
    if (opcode > WEBSOCKET_PONG || (opcode > WEBSOCKET_BINARY && opcode < WEBSOCKET_CLOSE))
        return "unknown opcode";
    if ((opcode & CONTROL) != 0 && ((first & FIN) == 0 || length > WEBSOCKET_CONTROL_BYTES))
        return "a control frame must be whole and of 125 bytes at most";
    if ((opcode & CONTROL) == 0 && (opcode == WEBSOCKET_CONTINUATION) != reader->in_message)
        return reader->in_message ? "a message begins inside another"
                                  : "a continuation of no message";
    return NULL;
}

static struct slice take_front(struct slice *bytes, uint64_t most)
{
    struct slice front = slice_of(bytes->data, (size_t)MIN(most, bytes->size));

    *bytes = slice_of(bytes->data + front.size, bytes->size - front.size);
    return front;
}

/* False: more is needed. */
static bool read_head(struct websocket_reader *reader, struct slice *bytes, const char **wrong)
{
    while (reader->head_bytes < head_size(reader)) {
        struct slice part = take_front(bytes, head_size(reader) - reader->head_bytes);

        if (part.size == 0)
            return false;
        memcpy(reader->head + reader->head_bytes, part.data, part.size);
        reader->head_bytes += part.size;
        if (reader->head_bytes == 2)
            *wrong = fault(reader);
        if (*wrong != NULL)
            return true;
    }
    reader->left = payload_length(reader);
    reader->passed = 0;
    reader->payload = true;
    if (reader->left >> 63 != 0)
        *wrong = "a length of more than 63 bits";
    return true;
}

static void unmask(struct websocket_reader *reader, struct slice from, uint8_t *to)
{
    const uint8_t *mask = reader->head + reader->head_bytes - MASK_BYTES;

    for (size_t i = 0; i < from.size; i++)
        to[i] = from.data[i] ^ mask[(reader->passed + i) % MASK_BYTES];
    reader->left -= from.size;
    reader->passed += from.size;
}

static enum websocket_event stop(struct websocket_reader *reader, enum websocket_event event)
{
    reader->ended = true;
    return event;
}

/* The frame is whole. */
static enum websocket_event end_frame(struct websocket_reader *reader, struct slice *content)
{
    unsigned opcode = reader->head[0] & OPCODE;

    reader->payload = false;
    reader->head_bytes = 0;
    *content = slice_of(reader->control, (size_t)reader->passed);
    switch (opcode) {
    case WEBSOCKET_CLOSE:
        return stop(reader, WEBSOCKET_CLOSED);
    case WEBSOCKET_PING:
        return WEBSOCKET_PINGED;
    case WEBSOCKET_PONG: /* we asked for none */
        return WEBSOCKET_MORE;
    default:
        *content = SLICE_EMPTY;
        reader->in_message = (reader->head[0] & FIN) == 0;
        return reader->in_message ? WEBSOCKET_MORE : WEBSOCKET_MESSAGE_END;
    }
}

enum websocket_event websocket_read(struct websocket_reader *reader, struct slice *bytes,
                                    uint8_t piece[WEBSOCKET_PIECE_BYTES], struct slice *content)
{
    while (!reader->ended) {
        bool control = (reader->head[0] & CONTROL) != 0;
        enum websocket_event event;
        const char *wrong = NULL;
        struct slice part;

        if (!reader->payload) {
            if (!read_head(reader, bytes, &wrong))
                return WEBSOCKET_MORE;
            if (wrong != NULL) {
                *content = slice_text(wrong);
                return stop(reader, WEBSOCKET_WRONG);
            }
            continue;
        }
        if (reader->left == 0) {
            event = end_frame(reader, content);
            if (event != WEBSOCKET_MORE)
                return event;
            continue;
        }
        part = take_front(bytes, control ? reader->left : MIN(reader->left, WEBSOCKET_PIECE_BYTES));
        if (part.size == 0)
            return WEBSOCKET_MORE;
        if (control) { /* at most WEBSOCKET_CONTROL_BYTES: fault() */
            unmask(reader, part, reader->control + reader->passed);
            continue;
        }
        unmask(reader, part, piece);
        *content = slice_of(piece, part.size);
        return WEBSOCKET_PIECE;
    }
    *bytes = SLICE_EMPTY;
    return WEBSOCKET_MORE;
}

void websocket_put(struct buf *out, enum websocket_opcode opcode, bool last, struct slice payload)
{
    unsigned more = payload.size > UINT16_MAX ? 8 : payload.size > WEBSOCKET_CONTROL_BYTES ? 2 : 0;

    buf_append_byte(out, (uint8_t)((last ? FIN : 0U) | (unsigned)opcode));
    buf_append_byte(out, (uint8_t)(more == 8 ? 127 : more == 2 ? 126 : payload.size));
    while (more-- != 0)
        buf_append_byte(out, (uint8_t)((uint64_t)payload.size >> 8 * more));
    buf_append_slice(out, payload);
}

void websocket_put_close(struct buf *out, enum websocket_status status, struct slice reason)
{
    uint8_t payload[WEBSOCKET_CONTROL_BYTES];
    size_t size = MIN(reason.size, sizeof(payload) - 2);

    payload[0] = (uint8_t)((unsigned)status >> 8);
    payload[1] = (uint8_t)status;
    if (size != 0)
        memcpy(payload + 2, reason.data, size);
    websocket_put(out, WEBSOCKET_CLOSE, true, slice_of(payload, 2 + size));
}

bool websocket_accept(struct slice key, char accept[WEBSOCKET_ACCEPT_BYTES])
{
    struct buf text = BUF_INIT(256), encoded = BUF_INIT(WEBSOCKET_ACCEPT_BYTES);
    uint8_t digest[EVP_MAX_MD_SIZE], decoded[BASE64_DECODED_MAX(24)];
    unsigned size = 0;
    size_t bytes;

    if (key.size != 24 || !base64_decode(key, decoded, &bytes) || bytes != KEY_BYTES)
        return false;
    buf_append_slice(&text, key);
    buf_append_text(&text, accept_magic);
    must(EVP_Digest(text.data, text.size, digest, &size, EVP_sha1(), NULL) == 1 && size == 20);
    must(base64_encode(slice_of(digest, size), &encoded) &&
         encoded.size == WEBSOCKET_ACCEPT_BYTES - 1);
    memcpy(accept, encoded.data, encoded.size);
    accept[encoded.size] = '\0';
    buf_free(&text);
    buf_free(&encoded);
    return true;
}

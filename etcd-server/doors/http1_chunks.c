/*
 * http1_chunks.c - are the chunks of a body framed as RFC 9112 7.1 has it? See http1_internal.h.
 *
 *   SIZE -> EXTENSION -> SIZE_END -> DATA -> DATA_END -> DATA_LAST -> SIZE
 *     `-----------------^   `-> NONE, behind the last chunk
 */
#include "common/base/hex.h"
#include "etcd-server/doors/http1_internal.h"

#define SIZE_DIGITS_MAX 16

static bool in_size(struct http1_chunks *chunks, uint8_t c)
{
    int digit = hex_digit(c);

    if (digit >= 0) {
        chunks->left = chunks->left << 4 | (uint64_t)digit;
        return ++chunks->digits <= SIZE_DIGITS_MAX;
    }
    chunks->state = c == '\r' ? CHUNKS_SIZE_END : CHUNKS_EXTENSION;
    return chunks->digits != 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
}

/* One byte that is no data. */
static bool step(struct http1_chunks *chunks, uint8_t c)
{
    switch (chunks->state) {
    case CHUNKS_HEAD_END:
        *chunks = (struct http1_chunks){.state = CHUNKS_SIZE};
        return c == '\n';
    case CHUNKS_SIZE:
        return in_size(chunks, c);
    case CHUNKS_EXTENSION:
        if (c == '\r')
            chunks->state = CHUNKS_SIZE_END;
        return c != '\n';
    case CHUNKS_SIZE_END:
        chunks->state = chunks->left != 0 ? CHUNKS_DATA : CHUNKS_NONE;
        return c == '\n';
    case CHUNKS_DATA_END:
        chunks->state = CHUNKS_DATA_LAST;
        return c == '\r';
    case CHUNKS_DATA_LAST:
        *chunks = (struct http1_chunks){.state = CHUNKS_SIZE};
        return c == '\n';
    case CHUNKS_NONE:
    case CHUNKS_DATA:
        break;
    }
    return true;
}

bool http1_chunks_good(struct http1_chunks *chunks, struct slice bytes)
{
    for (size_t at = 0; at < bytes.size && chunks->state != CHUNKS_NONE;) {
        uint64_t data = MIN(chunks->left, bytes.size - at);

        if (chunks->state != CHUNKS_DATA) {
            if (!step(chunks, bytes.data[at++]))
                return false;
            continue;
        }
        at += data;
        chunks->left -= data;
        if (chunks->left == 0)
            chunks->state = CHUNKS_DATA_END;
    }
    return true;
}
